//! What dxdr has left on instances of a database service.

use dxdr_plan::instance::leftover::{Left, Leftover};
use serde_json::{Value, json};

use crate::table::fitting;

/// What it is, for people.
pub fn what(left: &Left) -> String {
    match &left.database {
        Some(database) => format!("database `{database}` of {}", left.instance),
        None => left.instance.to_string(),
    }
}

/// A table, and what to do about those that stay.
pub fn text(leftovers: &[Leftover], width: Option<usize>) -> String {
    if leftovers.is_empty() {
        return "nothing of dxdr's is left on the instances".to_owned();
    }
    let rows = leftovers.iter().map(|leftover| {
        let (becomes, reason) = match &leftover.kept {
            None => ("goes", "its time is over, and nobody uses it".to_owned()),
            Some(kept) => ("stays", kept.reason.clone()),
        };
        let database = leftover.left.database.clone().unwrap_or_else(|| "-".to_owned());
        vec![leftover.left.instance.to_string(), database, leftover.left.run.clone(), becomes.to_owned(), reason]
    });
    let mut text = fitting(&["INSTANCE", "DATABASE", "RUN", "BECOMES", "BECAUSE"], rows.collect(), width, &["RUN", "BECAUSE"]);
    for leftover in leftovers {
        if let Some(remedy) = leftover.kept.as_ref().and_then(|kept| kept.remedy.as_ref()) {
            text.push_str(&format!("{}: {remedy}\n", what(&leftover.left)));
        }
    }
    text
}

/// The same as `dxdr.io/databases-reap/v1`; `removed` are those that were removed, of those that go.
pub fn json(leftovers: &[Leftover], done: bool) -> Value {
    let one = |leftover: &Leftover| {
        let left = &leftover.left;
        json!({
            "project": left.instance.project, "instance": left.instance.instance, "database": left.database, "run": left.run,
            "expires": left.expires.map(|expires| expires.to_string()), "goes": leftover.kept.is_none(),
            "reason": leftover.kept.as_ref().map(|kept| &kept.reason), "remedy": leftover.kept.as_ref().and_then(|kept| kept.remedy.clone()),
        })
    };
    json!({"format": "dxdr.io/databases-reap/v1", "done": done, "leftovers": leftovers.iter().map(one).collect::<Vec<_>>()})
}
