//! `executeSql` on a real server.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    Cluster, SqlError, USER,
    session::{Answer, Session},
};

/// How long the service lets statements run.
const LIMIT: Duration = Duration::from_secs(30);
/// `INVALID_ARGUMENT` of `google.rpc.Code`.
const INVALID: u8 = 3;

impl Cluster {
    /// Executes statements in a database, as that user.
    pub(crate) fn query(&self, database: &str, user: Option<&str>, statements: &str) -> Result<Vec<Answer>, SqlError> {
        self.session(user.unwrap_or(USER), database, LIMIT)?.ask(statements)
    }
}

/// The answer of the service: rows up to `limit` of each statement, or why there are none, which is an answer and no refusal.
pub(crate) fn execute(cluster: &Cluster, database: &str, user: Option<&str>, statements: &str, limit: usize) -> Value {
    let answered = cluster.session(user.unwrap_or(USER), database, LIMIT).and_then(|mut session| {
        let answers = session.ask(statements)?;
        let kinds = kinds(&mut session, &answers);
        Ok((answers, kinds))
    });
    match answered {
        Ok((answers, kinds)) => {
            let results: Vec<Value> = answers.iter().map(|answer| result(answer, &kinds, limit)).collect();
            json!({"results": results})
        }
        Err(error) => json!({"results": [], "status": {"code": INVALID, "message": error.to_string()}}),
    }
}

fn result(answer: &Answer, kinds: &BTreeMap<u32, String>, limit: usize) -> Value {
    if answer.columns.is_empty() {
        return json!({"message": answer.done});
    }
    let kind = |number: u32| kinds.get(&number).map_or("UNKNOWN", String::as_str);
    let columns: Vec<Value> =
        answer.columns.iter().map(|column| json!({"name": column.name, "type": kind(column.kind)})).collect();
    let value =
        |value: &Option<String>| value.as_ref().map_or_else(|| json!({"nullValue": true}), |value| json!({"value": value}));
    let rows: Vec<Value> =
        answer.rows.iter().take(limit).map(|row| json!({"values": row.iter().map(value).collect::<Vec<_>>()})).collect();
    json!({"columns": columns, "rows": rows, "message": answer.done, "partialResult": answer.rows.len() > limit})
}

/// What the types of the columns are called. A session that its own statements ended knows no names any more.
fn kinds(session: &mut Session, answers: &[Answer]) -> BTreeMap<u32, String> {
    let numbers: Vec<String> = answers.iter().flat_map(|answer| &answer.columns).map(|column| column.kind.to_string()).collect();
    if numbers.is_empty() {
        return BTreeMap::new();
    }
    let query = format!("SELECT oid, upper(typname) FROM pg_catalog.pg_type WHERE oid IN ({})", numbers.join(", "));
    let rows = session.ask(&query).unwrap_or_default().into_iter().flat_map(|answer| answer.rows);
    rows.filter_map(|row| {
        let [number, name] = <[Option<String>; 2]>::try_from(row).ok()?;
        Some((number?.parse().ok()?, name?))
    })
    .collect()
}
