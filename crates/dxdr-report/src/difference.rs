//! Field-by-field differences.

use dxdr_environment::difference::Difference;
use serde_json::{Value, json};

/// Values longer than this are cut: a diff is read, not parsed.
const LONGEST_VALUE: usize = 60;

/// `    spec.replicas: 0 → 2`, a line a field.
pub fn text(differences: &[Difference], indent: &str) -> String {
    differences
        .iter()
        .map(|difference| {
            format!("{indent}{}: {} → {}\n", difference.path, value(difference.live.as_ref()), value(difference.desired.as_ref()))
        })
        .collect()
}

/// A list of `{path, live, desired}`; `null` where one side has nothing.
pub fn json(differences: &[Difference]) -> Value {
    differences
        .iter()
        .map(|difference| json!({"path": difference.path.to_string(), "live": difference.live, "desired": difference.desired}))
        .collect()
}

fn value(value: Option<&Value>) -> String {
    let Some(value) = value else { return "(nothing)".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= LONGEST_VALUE {
        return text;
    }
    let cut: String = text.chars().take(LONGEST_VALUE).collect();
    format!("{cut}…")
}
