//! What becomes of a point's databases when it is restored: each is loaded under a new name beside the one that is there, and in place
//! the two change names.

use dxdr_catalog::{Component, DatabaseComponent, RecoveryPoint, Sha256, name};
use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    backup::database,
    review::{Note, Severity},
    step::Step,
};

/// The method of a component that is a dump in the point's folder.
const DUMP: &str = "dump";
/// The method of a component that Cloud SQL has written.
const EXPORT: &str = "export";
/// As long as a name in PostgreSQL can be.
const LONGEST_NAME: usize = 63;

/// One database on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRestore {
    /// Which, and on which server, by the model as it is.
    pub unit: DatabaseUnit,
    /// The dump, relative to the point's folder.
    pub key: String,
    /// Bytes of it.
    pub size: Option<u64>,
    /// Of the bytes.
    pub sha256: Option<Sha256>,
    /// As of when it is.
    pub instant: Timestamp,
    /// What the server calls the original.
    pub database: String,
    /// What it was like; the journal does not have this, the point does.
    pub facts: DatabaseFacts,
    /// The name that it is loaded under.
    pub beside: String,
    /// In place: what the one that is there is called afterwards.
    pub kept: Option<String>,
}

impl DatabaseRestore {
    /// The step that loads it.
    pub fn load_step(&self) -> Step {
        let title = format!("Load {} as `{}`", self.unit, self.beside);
        let reason = "beside what is there, in one transaction: what is used is not touched";
        Step::new(&format!("load-{}", self.unit.file_name()), title, reason, true)
    }

    /// The step that puts it in the original's place.
    pub fn swap_step(&self) -> Option<Step> {
        let kept = self.kept.as_ref()?;
        let title = format!("Put it in the place of `{}`, which becomes `{kept}`", self.database);
        let reason =
            "both are renamed in one transaction, and connections are cut; the old one is kept until somebody discards it";
        Some(Step::new(&format!("swap-{}", self.unit.file_name()), title, reason, true))
    }

    /// For a journal.
    pub fn parameters(&self) -> Value {
        json!({
            "name": self.unit.name, "database": self.database, "location": database::location(&self.unit.location),
            "beside": self.beside, "kept": self.kept,
        })
    }
}

/// The databases of a restore, and what is to be said of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DatabaseRestores {
    /// Those that come back.
    pub restores: Vec<DatabaseRestore>,
    /// Those that do not, and what else a person should know.
    pub notes: Vec<Note>,
}

/// Plans bringing the point's databases back to the servers that the model has, as of `now`, which goes into the names.
pub fn plan(point: &RecoveryPoint, environment: &Environment, in_place: bool, now: Timestamp) -> DatabaseRestores {
    let mut planned = DatabaseRestores::default();
    let units: Vec<DatabaseUnit> = environment.databases.iter().flat_map(dxdr_environment::Database::units).collect();
    let components = point.components.iter().filter_map(|component| match component {
        Component::Database(database) => Some(database),
        _ => None,
    });
    for component in components {
        let left_out = |reason: String, hint: &str| Note {
            severity: Severity::Warning,
            text: format!("database {} is not restored: {reason}", component.name),
            object: None,
            count: 1,
            hint: Some(hint.to_owned()),
        };
        let unit = units.iter().find(|unit| unit.name == component.name);
        match (unit, &component.facts) {
            (None, _) => planned.notes.push(left_out(
                format!("environment `{}` has no database of that name any more", environment.name),
                "declare it again, or load its dump yourself: it lies in the point's folder",
            )),
            (Some(unit), Some(facts)) if component.method == DUMP && matches!(unit.location, DatabaseLocation::Postgresql(_)) => {
                planned.restores.push(restore(point, component, unit, facts, in_place, now));
            }
            (Some(unit), _) if component.method == EXPORT => {
                let hint = import_by_hand(unit, &component.location);
                let reason = format!("it was exported to {}, and this version does not import exports", component.location);
                planned.notes.push(left_out(reason, &hint));
            }
            (Some(_), _) => planned.notes.push(left_out(
                format!("this version does not load a component of method `{}`", component.method),
                "`dxdr points --output json` says where it is",
            )),
        }
    }
    planned
}

/// What a person does with an export. An import does not replace what is there: it fails.
fn import_by_hand(unit: &DatabaseUnit, url: &str) -> String {
    match &unit.location {
        DatabaseLocation::CloudSql { project, instance, .. } => format!(
            "import it by hand into an empty database: `gcloud sql databases create NAME --instance {instance} --project {project}`, then `gcloud sql import sql {instance} {url} --database NAME --project {project}`"
        ),
        DatabaseLocation::Postgresql(_) => "load it by hand: it is SQL text, compressed by gzip".to_owned(),
    }
}

fn restore(
    point: &RecoveryPoint,
    component: &DatabaseComponent,
    unit: &DatabaseUnit,
    facts: &DatabaseFacts,
    in_place: bool,
    now: Timestamp,
) -> DatabaseRestore {
    // A model that names another database by now means that one to be replaced.
    let database = unit.database.clone().unwrap_or_else(|| facts.database.clone());
    let stamp = now.strftime("%Y%m%dt%H%M%Sz").to_string();
    DatabaseRestore {
        key: component.location.clone(),
        size: component.size,
        sha256: point.objects.iter().find(|object| object.key == component.location).map(|object| object.sha256),
        instant: component.instant,
        facts: facts.clone(),
        beside: named(&database, &format!("_restored_{stamp}")),
        kept: in_place.then(|| named(&database, &format!("_before_{stamp}"))),
        unit: DatabaseUnit { database: Some(database.clone()), ..unit.clone() },
        database,
    }
}

/// The name with something behind it. Where both are too long the name gives way, to a fingerprint of all of it: two that begin alike must not become one.
fn named(database: &str, suffix: &str) -> String {
    if database.len() + suffix.len() <= LONGEST_NAME {
        return format!("{database}{suffix}");
    }
    let suffix = format!("-{}{suffix}", name::fingerprint(database));
    let mut end = database.len().min(LONGEST_NAME.saturating_sub(suffix.len()));
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", database.get(..end).unwrap_or_default())
}

/// What a journal says of the databases of a restore; `None` where something is missing.
pub fn recorded(value: &Value) -> Option<Vec<RecordedDatabase>> {
    let text = |record: &Value, key: &str| record.get(key)?.as_str().map(str::to_owned);
    let database = |record: &Value| {
        let name = text(record, "name")?;
        let database = text(record, "database")?;
        let location = database::recorded_location(record.get("location")?)?;
        Some(RecordedDatabase {
            unit: DatabaseUnit { name, database: Some(database.clone()), location },
            database,
            beside: text(record, "beside")?,
            kept: text(record, "kept"),
        })
    };
    value.as_array()?.iter().map(database).collect()
}

/// A database of a restore, by its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDatabase {
    /// Which, and on which server.
    pub unit: DatabaseUnit,
    /// What the server calls the original.
    pub database: String,
    /// The name that it is loaded under.
    pub beside: String,
    /// In place: what the one that was there is called.
    pub kept: Option<String>,
}

impl RecordedDatabase {
    /// The same with what the point says of it; `None` when it does not have it.
    pub fn of_point(self, point: &RecoveryPoint) -> Option<DatabaseRestore> {
        let component = point.components.iter().find_map(|component| match component {
            Component::Database(database) if database.name == self.unit.name => Some(database),
            _ => None,
        })?;
        let facts = *component.facts.clone()?;
        Some(DatabaseRestore {
            key: component.location.clone(),
            size: component.size,
            sha256: point.objects.iter().find(|object| object.key == component.location).map(|object| object.sha256),
            instant: component.instant,
            facts,
            unit: self.unit,
            database: self.database,
            beside: self.beside,
            kept: self.kept,
        })
    }

    /// What its steps are called in the journal: loading, and putting it in place.
    pub fn step_ids(&self) -> (String, String) {
        (format!("load-{}", self.unit.file_name()), format!("swap-{}", self.unit.file_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_long_as_the_server_takes_and_no_character_is_cut() {
        assert_eq!(named("orders", "_restored_20240501t100000z"), "orders_restored_20240501t100000z");
        let long = named(&"é".repeat(40), "_before_20240501t100000z");
        assert!(long.len() <= LONGEST_NAME && long.starts_with("ééé") && long.ends_with("_before_20240501t100000z"), "{long}");
    }

    #[test]
    fn long_names_that_begin_alike_stay_two() {
        let long = "a".repeat(60);
        assert_ne!(
            named(&format!("{long}x"), "_before_20240501t100000z"),
            named(&format!("{long}y"), "_before_20240501t100000z")
        );
    }
}
