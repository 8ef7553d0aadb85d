//! Databases in the plan of a restore: by which route each comes back, why, and what that takes.

use dxdr_environment::{DatabaseFacts, DatabaseLocation};
use dxdr_plan::restore::{CloneRoute, Considered, DatabaseRestore, Route};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::quantity::{bytes, duration, instant};

/// A few lines, for people.
pub(crate) fn text(database: &DatabaseRestore) -> String {
    let size = database.size.map(|size| format!("{}, ", bytes(size))).unwrap_or_default();
    let facts = &database.facts;
    let (what, how) = match &database.route {
        Route::Load { .. } => {
            ("dump", format!("PostgreSQL {}, database `{}`, is loaded as `{}`", facts.version, facts.database, database.beside))
        }
        Route::Import { .. } => ("export", format!("is imported as `{}` on {}", database.beside, place(&database.unit.location))),
        Route::Clone(clone) => (out_of(clone), format!("{} the new instance `{}`", comes_back(clone), clone.destination)),
        Route::CloneAndImport { clone, database: there } => (
            out_of(clone),
            format!(
                "{} `{}`; `{there}` of it{} is imported as `{}` on {}, and that instance deleted",
                comes_back(clone),
                clone.destination,
                if *there == database.database { "" } else { ", as it was called then," },
                database.beside,
                place(&database.unit.location)
            ),
        ),
    };
    let mut text = format!("Database {}: {what} ({size}as of {})\n  + {how}\n", database.unit.name, instant(database.instant));
    if let Some(kept) = &database.kept {
        text.push_str(&format!("  ~ it takes the place of `{}`, which is kept as `{kept}`\n", database.database));
    }
    if let Some(cost) = cost(database) {
        text.push_str(&format!("  route {}: {cost}\n", database.route));
    }
    for considered in &database.considered {
        text.push_str(&considered_text(considered));
    }
    let needed = [("roles", facts.roles.clone()), ("extensions", extensions(facts))];
    for (what, names) in needed.into_iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("  needs the {what} {}\n", names.join(", ")));
    }
    text
}

/// The same for programs.
pub(crate) fn json(database: &DatabaseRestore) -> Value {
    let seconds = |took: Option<SignedDuration>| took.map(|took| took.as_secs());
    let cost = &database.cost;
    let clone = database.route.clone_route();
    json!({
        "name": database.unit.name, "instant": database.instant.to_string(), "size": database.size, "key": database.route.key(),
        "database": database.database, "beside": database.route.is_beside().then_some(&database.beside), "kept": database.kept,
        "route": {
            "kind": database.route.word(), "bytes": cost.bytes, "diskGigabytes": cost.disk_gigabytes,
            "exportSeconds": seconds(cost.export), "importSeconds": seconds(cost.import), "cloneSeconds": seconds(cost.clone),
            "clone": clone.map(|clone| json!({
                "source": clone.source.to_string(), "instance": clone.destination, "expires": clone.expires.to_string(),
                "backup": clone.backup,
            })),
            "considered": database.considered.iter().map(considered_json).collect::<Vec<_>>(),
        },
        "needs": {"version": database.facts.version, "roles": database.facts.roles, "extensions": extensions(&database.facts)},
    })
}

/// What a new instance is made of.
fn out_of(clone: &CloneRoute) -> &'static str {
    if clone.backup.is_some() { "backup of its instance" } else { "log" }
}

fn comes_back(clone: &CloneRoute) -> String {
    match &clone.backup {
        None => format!("{} is cloned as it was, to", clone.source),
        Some(backup) => format!("{} comes back out of {backup}, as", clone.source),
    }
}

fn considered_text(considered: &Considered) -> String {
    let at = considered.instant.map(|at| format!(", as of {}", instant(at))).unwrap_or_default();
    format!("    {}{at} is {}: {}\n", considered.kind.word(), considered.verdict.word(), considered.verdict.reason())
}

fn considered_json(considered: &Considered) -> Value {
    json!({
        "kind": considered.kind.word(), "instant": considered.instant.map(|at| at.to_string()),
        "verdict": considered.verdict.word(), "reason": considered.verdict.reason(),
    })
}

fn place(location: &DatabaseLocation) -> String {
    match location {
        DatabaseLocation::CloudSql { project, instance, .. } => format!("projects/{project}/instances/{instance}"),
        DatabaseLocation::Postgresql(server) => server.service.clone().unwrap_or_default(),
    }
}

/// What the service's work takes; `None` where it is not the service that works.
fn cost(database: &DatabaseRestore) -> Option<String> {
    let cost = &database.cost;
    let unknown = "time unknown".to_owned();
    if database.route.clone_route().is_some() {
        if database.route.clone_route().is_some_and(|clone| clone.backup.is_some()) {
            let held = cost.bytes.map(|size| format!(", whose backup has {}", bytes(size))).unwrap_or_default();
            return Some(format!("an instance for as long as it is there{held}, time unknown"));
        }
        let disk = cost
            .disk_gigabytes
            .map_or_else(|| "a disk as large as the original's".to_owned(), |size| format!("a disk of {size} GB"));
        let time = cost.clone.map_or(unknown, |took| format!("the last clone of the instance took {}", duration(took)));
        let then = if database.route.is_beside() { ", then as long as its export and import take" } else { "" };
        return Some(format!("an instance with {disk} for as long as it is there, {time}{then}"));
    }
    let Route::Import { .. } = &database.route else { return None };
    let read = cost.bytes.map_or_else(|| "bytes unknown".to_owned(), |size| format!("{} are read", bytes(size)));
    let time = match (cost.import, cost.export) {
        (Some(import), _) => format!("the last import of them took {}", duration(import)),
        (None, Some(export)) => format!("time unknown, their export took {}", duration(export)),
        (None, None) => unknown,
    };
    Some(format!("{read}, {time}"))
}

fn extensions(facts: &DatabaseFacts) -> Vec<String> {
    facts.extensions.iter().map(|(name, version)| format!("{name} {version}")).collect()
}
