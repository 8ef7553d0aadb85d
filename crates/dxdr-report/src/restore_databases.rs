//! Databases in the plan of a restore: by which route each comes back, why, and what that takes.

use dxdr_environment::{DatabaseFacts, DatabaseLocation};
use dxdr_plan::restore::{DatabaseRestore, Route};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::quantity::{bytes, duration, instant};

/// A few lines, for people.
pub(crate) fn text(database: &DatabaseRestore) -> String {
    let size = database.size.map(|size| format!("{}, ", bytes(size))).unwrap_or_default();
    let (what, how) = match &database.route {
        Route::Load { .. } => (
            "dump",
            format!(
                "PostgreSQL {}, database `{}`, is loaded as `{}`",
                database.facts.version, database.facts.database, database.beside
            ),
        ),
        Route::Import { .. } => ("export", format!("is imported as `{}` on {}", database.beside, place(&database.unit.location))),
    };
    let mut text = format!("Database {}: {what} ({size}as of {})\n  + {how}\n", database.unit.name, instant(database.instant));
    if let Some(kept) = &database.kept {
        text.push_str(&format!("  ~ it takes the place of `{}`, which is kept as `{kept}`\n", database.database));
    }
    if let Some(cost) = cost(database) {
        text.push_str(&format!("  route {}: {}; {cost}\n", database.route, reason(&database.route)));
    }
    let needed = [("roles", database.facts.roles.clone()), ("extensions", extensions(&database.facts))];
    for (what, names) in needed.into_iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("  needs the {what} {}\n", names.join(", ")));
    }
    text
}

/// The same for programs.
pub(crate) fn json(database: &DatabaseRestore) -> Value {
    let seconds = |took: Option<SignedDuration>| took.map(|took| took.as_secs());
    let cost = &database.cost;
    json!({
        "name": database.unit.name, "instant": database.instant.to_string(), "size": database.size, "key": database.route.key(),
        "database": database.database, "beside": database.beside, "kept": database.kept,
        "route": {
            "kind": database.route.word(), "reason": reason(&database.route), "bytes": cost.bytes,
            "exportSeconds": seconds(cost.export), "importSeconds": seconds(cost.import),
        },
        "needs": {"version": database.facts.version, "roles": database.facts.roles, "extensions": extensions(&database.facts)},
    })
}

fn place(location: &DatabaseLocation) -> String {
    match location {
        DatabaseLocation::CloudSql { project, instance, .. } => format!("projects/{project}/instances/{instance}"),
        DatabaseLocation::Postgresql(server) => server.service.clone().unwrap_or_default(),
    }
}

/// Why by this route.
fn reason(route: &Route) -> &'static str {
    match route {
        Route::Load { .. } => "the point has its dump",
        Route::Import { .. } => "the point has its export, of this database alone; nothing else on the instance is touched",
    }
}

/// What the service's work takes; `None` where it is not the service that works.
fn cost(database: &DatabaseRestore) -> Option<String> {
    let Route::Import { .. } = &database.route else { return None };
    let cost = &database.cost;
    let read = cost.bytes.map_or_else(|| "bytes unknown".to_owned(), |size| format!("{} are read", bytes(size)));
    let time = match (cost.import, cost.export) {
        (Some(import), _) => format!("the last import of them took {}", duration(import)),
        (None, Some(export)) => format!("time unknown, their export took {}", duration(export)),
        (None, None) => "time unknown".to_owned(),
    };
    Some(format!("{read}, {time}"))
}

fn extensions(facts: &DatabaseFacts) -> Vec<String> {
    facts.extensions.iter().map(|(name, version)| format!("{name} {version}")).collect()
}
