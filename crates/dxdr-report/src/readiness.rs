//! Whether a cluster and the stores are ready.

use dxdr_plan::readiness::{Outcome, Row};
use serde_json::{Value, json};

use crate::quantity;

/// A line a row, what to do about it below; the last line counts.
pub fn text(rows: &[Row]) -> String {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or_default();
    let (outcomes, whats) = (width(|row| row.outcome.word()), width(|row| &row.what));
    let mut text = String::new();
    for row in rows {
        text.push_str(&format!("{:outcomes$}  {:whats$}  {}\n", row.outcome.word(), row.what, row.detail));
        for remedy in &row.remedies {
            text.push_str(&format!("{:outcomes$}    {remedy}\n", ""));
        }
    }
    let count = |outcome: Outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let counts = [Outcome::Unreachable, Outcome::Failed, Outcome::Warning, Outcome::Unknown];
    let counts = counts.into_iter().filter(|outcome| count(*outcome) > 0);
    let counts: Vec<String> = counts.map(|outcome| format!("{} {}", count(outcome), outcome.word())).collect();
    let looked = quantity::counted(rows.len(), "thing");
    text.push_str(&match counts.as_slice() {
        [] => format!("{looked} looked at: ready\n"),
        counts => format!("{looked} looked at: {}\n", counts.join(", ")),
    });
    text
}

/// `dxdr.io/cluster-check/v1`
pub fn json(rows: &[Row]) -> Value {
    let ready = rows.iter().all(|row| row.outcome < Outcome::Failed);
    json!({"format": "dxdr.io/cluster-check/v1", "rows": self::rows(rows), "ready": ready})
}

/// The rows alone.
pub(crate) fn rows(rows: &[Row]) -> Vec<Value> {
    rows.iter()
        .map(|row| json!({"what": row.what, "result": row.outcome.word(), "detail": row.detail, "remedies": row.remedies}))
        .collect()
}
