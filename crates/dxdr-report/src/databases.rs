//! Databases of environments, and what became of those that a restore brought back.

use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit};
use dxdr_plan::{
    instance::DatabaseSeen,
    readiness::{Outcome, Row},
};
use dxdr_run::restore::databases::RestoredDatabase;
use serde_json::{Value, json};

use crate::{
    quantity::{bytes, counted},
    readiness,
    table::{fitting, table},
};

/// A database of the model.
#[derive(Debug)]
pub struct Listed {
    /// Whose.
    pub environment: String,
    /// Which.
    pub unit: DatabaseUnit,
    /// The policy that captures it, and what is promised; `None`: nothing does.
    pub captured: Option<(String, String)>,
}

/// A database that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// Whose.
    pub environment: String,
    /// Which.
    pub unit: DatabaseUnit,
    /// What it is like, or why it cannot be captured.
    pub found: Found,
}

/// What was seen of a database.
#[derive(Debug)]
pub enum Found {
    /// On a server in the cluster: what it is like, or why it cannot be captured.
    Server(Result<Box<DatabaseFacts>, NotReady>),
    /// On an instance.
    Instance {
        /// What it says of itself, where somebody could ask.
        seen: Option<DatabaseSeen>,
        /// What concerns it: rows of the instance, and its own.
        rows: Vec<Row>,
    },
}

impl Checked {
    /// Why it cannot be captured or brought back.
    pub fn problem(&self) -> Option<NotReady> {
        match &self.found {
            Found::Server(found) => found.as_ref().err().cloned(),
            Found::Instance { rows, .. } => {
                let worst = rows.iter().find(|row| row.outcome >= Outcome::Failed)?;
                Some(NotReady { message: format!("{}: {}", worst.what, worst.detail), hint: worst.remedies.first().cloned() })
            }
        }
    }
}

/// Why a database cannot be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// What happened, with its causes.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

fn place(unit: &DatabaseUnit) -> (&'static str, String) {
    match &unit.location {
        DatabaseLocation::CloudSql { project, instance, .. } => ("cloud-sql", format!("{project}:{instance}")),
        DatabaseLocation::Postgresql(server) => {
            let named = server.service.clone().or_else(|| server.address.clone());
            let secret = || server.credentials_secret.as_ref().map(|secret| format!("as Secret {secret} says"));
            ("postgresql", named.or_else(secret).unwrap_or_default())
        }
    }
}

/// A table, for people.
pub fn list_text(listed: &[Listed], width: Option<usize>) -> String {
    if listed.is_empty() {
        return "no environment has a database".to_owned();
    }
    let rows = listed.iter().map(|listed| {
        let (kind, place) = place(&listed.unit);
        let captured = match &listed.captured {
            Some((policy, level)) => format!("{level}, by policy {policy}"),
            None => "not by any policy".to_owned(),
        };
        let database = listed.unit.database.clone().unwrap_or_default();
        vec![listed.environment.clone(), listed.unit.name.clone(), kind.to_owned(), place, database, captured]
    });
    let header = ["ENVIRONMENT", "NAME", "KIND", "PLACE", "DATABASE", "CAPTURED"];
    fitting(&header, rows.collect(), width, &["DATABASE", "CAPTURED"])
}

/// The same as `dxdr.io/databases/v1`.
pub fn list_json(listed: &[Listed]) -> Value {
    let one = |listed: &Listed| {
        let (kind, place) = place(&listed.unit);
        json!({
            "environment": listed.environment, "name": listed.unit.name, "kind": kind, "place": place, "database": listed.unit.database,
            "policy": listed.captured.as_ref().map(|(policy, _)| policy),
            "consistency": listed.captured.as_ref().map(|(_, level)| level),
        })
    };
    json!({"format": "dxdr.io/databases/v1", "databases": listed.iter().map(one).collect::<Vec<_>>()})
}

/// A row each, for people, with what to do below; then what was looked at on instances.
pub fn check_text(checked: &[Checked]) -> String {
    if checked.is_empty() {
        return "no environment has a database".to_owned();
    }
    let rows = checked.iter().map(|checked| {
        let (state, what) = match (checked.problem(), &checked.found) {
            (Some(problem), _) => ("failed", problem.message),
            (None, Found::Server(Ok(facts))) => {
                let replica = if facts.replica { ", on a replica" } else { "" };
                ("ready", format!("{}{replica}", described(&facts.version, &facts.database, facts.size)))
            }
            (None, Found::Instance { seen: Some(seen), .. }) => {
                let database = checked.unit.database.as_deref().unwrap_or_default();
                ("ready", described(&seen.version, database, Some(seen.size)))
            }
            (None, _) => ("ready", "it is there".to_owned()),
        };
        vec![checked.environment.clone(), checked.unit.name.clone(), state.to_owned(), what]
    });
    let mut text = table(&["ENVIRONMENT", "NAME", "STATE", "WHAT"], rows.collect());
    for checked in checked {
        // What to do about an instance is said with its rows, once.
        if let Found::Server(Err(NotReady { hint: Some(hint), .. })) = &checked.found {
            text.push_str(&format!("{} of {}: {hint}\n", checked.unit, checked.environment));
        }
    }
    let rows = of_instances(checked);
    if !rows.is_empty() {
        text.push_str(&format!("\n{}", readiness::text(&rows)));
    }
    text
}

fn described(version: &str, database: &str, size: Option<u64>) -> String {
    let size = size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    format!("PostgreSQL {version}, database `{database}`{size}")
}

/// Everything that was looked at on instances, each once.
fn of_instances(checked: &[Checked]) -> Vec<Row> {
    let mut all: Vec<Row> = Vec::new();
    for checked in checked {
        let Found::Instance { rows, .. } = &checked.found else { continue };
        for row in rows {
            if !all.contains(row) {
                all.push(row.clone());
            }
        }
    }
    all
}

/// The same as `dxdr.io/databases-check/v1`.
pub fn check_json(checked: &[Checked]) -> Value {
    let one = |checked: &Checked| {
        let (facts, seen) = match &checked.found {
            Found::Server(found) => (found.as_ref().ok(), None),
            Found::Instance { seen, .. } => (None, seen.as_ref()),
        };
        let extensions = facts.map(|facts| &facts.extensions).or(seen.map(|seen| &seen.extensions));
        let problem = checked.problem();
        json!({
            "environment": checked.environment, "name": checked.unit.name,
            "state": if problem.is_some() { "failed" } else { "ready" },
            "version": facts.map(|facts| &facts.version).or(seen.map(|seen| &seen.version)),
            "database": facts.map(|facts| &facts.database).or(checked.unit.database.as_ref()),
            "size": facts.and_then(|facts| facts.size).or(seen.map(|seen| seen.size)),
            "program": facts.map(|facts| &facts.program),
            "roles": facts.map(|facts| &facts.roles), "replica": facts.map(|facts| facts.replica),
            "extensions": extensions.map(|extensions| extensions.iter().map(|(name, version)| json!({"name": name, "version": version})).collect::<Vec<_>>()),
            "error": problem.as_ref().map(|problem| &problem.message), "hint": problem.as_ref().and_then(|problem| problem.hint.as_ref()),
        })
    };
    json!({
        "format": "dxdr.io/databases-check/v1", "databases": checked.iter().map(one).collect::<Vec<_>>(),
        "rows": readiness::rows(&of_instances(checked)),
    })
}

/// What is put back, or was.
pub fn undo_text(databases: &[RestoredDatabase], done: bool) -> String {
    let mut text = String::new();
    for database in databases {
        let beside = database.kept.as_deref().unwrap_or_default();
        let said = if done { "is what it was before the restore" } else { "becomes what it was before the restore" };
        text.push_str(&format!(
            "database {}: `{}` {said}; what the restore brought is `{beside}`\n",
            database.name, database.database
        ));
    }
    text
}

/// The same as `dxdr.io/databases-undo/v1`.
pub fn undo_json(run: &str, databases: &[RestoredDatabase], done: bool) -> Value {
    let one =
        |database: &RestoredDatabase| json!({"name": database.name, "database": database.database, "beside": database.kept});
    json!({"format": "dxdr.io/databases-undo/v1", "run": run, "done": done, "databases": databases.iter().map(one).collect::<Vec<_>>()})
}

/// What is dropped, or was.
pub fn discard_text(names: &[String], done: bool) -> String {
    if done {
        let instances = names.iter().filter(|name| name.starts_with("instance ")).count();
        let databases = counted(names.len() - instances, "database");
        return match instances {
            0 => format!("{databases} dropped"),
            instances => format!("{databases} dropped, {} deleted", counted(instances, "instance")),
        };
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{}, as far as they are there", quoted.join(", "))
}

/// The same as `dxdr.io/databases-discard/v1`.
pub fn discard_json(run: &str, names: &[String], done: bool) -> Value {
    json!({"format": "dxdr.io/databases-discard/v1", "run": run, "done": done, "databases": names})
}
