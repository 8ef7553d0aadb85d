//! Databases of a restore, as its journal has them.

use dxdr_catalog::{DatabaseComponent, RecoveryPoint};
use dxdr_environment::{DatabaseFacts, DatabaseUnit};
use dxdr_policy::DATABASE_TIMEOUT;
use jiff::SignedDuration;
use serde_json::Value;

use super::{DatabaseRestore, databases, digest};
use crate::{
    backup::database,
    restore::route::{CloneRoute, Cost, Route},
};

/// What a journal says of the databases of a restore; `None` where something is missing.
pub fn recorded(value: &Value) -> Option<Vec<RecordedDatabase>> {
    let text = |record: &Value, key: &str| record.get(key)?.as_str().map(str::to_owned);
    let database = |record: &Value| {
        let name = text(record, "name")?;
        let database = text(record, "database")?;
        let location = database::recorded_location(record.get("location")?)?;
        Some(RecordedDatabase {
            unit: DatabaseUnit { name, database: Some(database.clone()).filter(|name| !name.is_empty()), location },
            database,
            beside: text(record, "beside")?,
            kept: text(record, "kept"),
            // Those who wrote neither loaded dumps only.
            route: record.get("route").and_then(Route::recorded),
            timeout: record.get("timeout").and_then(Value::as_i64).map_or(DATABASE_TIMEOUT, SignedDuration::from_secs),
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
    /// By which route; `None`: its dump is loaded.
    pub route: Option<Route>,
    /// How long one piece of work on an instance may wait for its turn, and take.
    pub timeout: SignedDuration,
}

impl RecordedDatabase {
    /// The same with what the point says of it; `None` when it does not have it.
    pub fn of_point(self, point: &RecoveryPoint) -> Option<DatabaseRestore> {
        let methods: &[&str] = match &self.route {
            None | Some(Route::Load { .. }) => &[DatabaseComponent::DUMP],
            Some(Route::Import { .. }) => &[DatabaseComponent::EXPORT],
            // Out of a backup, also where the point relies on the log.
            Some(Route::Clone(clone) | Route::CloneAndImport { clone, .. }) if clone.backup.is_some() => {
                &[DatabaseComponent::BACKUP, DatabaseComponent::POINT_IN_TIME]
            }
            Some(Route::Clone(_) | Route::CloneAndImport { .. }) => &[DatabaseComponent::POINT_IN_TIME],
        };
        let of =
            |method: &&str| databases(point).find(|component| component.name == self.unit.name && component.method == **method);
        let component = methods.iter().find_map(of)?;
        let route = self.route.unwrap_or_else(|| Route::Load { key: component.location.clone() });
        let facts = match (&route, component.facts.clone()) {
            (_, Some(facts)) => *facts,
            (Route::Load { .. }, None) => return None,
            (_, None) => DatabaseFacts::default(),
        };
        Some(DatabaseRestore {
            considered: Vec::new(),
            cost: Cost { bytes: component.size, ..Cost::default() },
            timeout: self.timeout,
            size: component.size,
            sha256: digest(point, &route),
            instant: route.clone_route().map_or(component.instant, |clone| clone.at),
            facts,
            users: component.users.clone(),
            unit: self.unit,
            database: self.database,
            beside: self.beside,
            kept: self.kept,
            route,
        })
    }

    /// What the steps are called in the journal that make something, and the one that puts it in place.
    pub fn step_ids(&self) -> ([String; 2], String) {
        let id = |what: &str| format!("{what}-{}", self.unit.file_name());
        ([id("clone"), id("load")], id("swap"))
    }

    /// Whether it makes a database on the server of the original.
    pub fn is_beside(&self) -> bool {
        self.route.as_ref().is_none_or(Route::is_beside)
    }

    /// The databases on the server that it makes or renames, as far as they are not used.
    pub fn databases(&self) -> Vec<&str> {
        let beside = self.is_beside().then_some(self.beside.as_str());
        beside.into_iter().chain(self.kept.as_deref()).collect()
    }

    /// The clone that it makes.
    pub fn clone_route(&self) -> Option<&CloneRoute> {
        self.route.as_ref()?.clone_route()
    }

    /// What it makes and nobody uses until it is in place, for people.
    pub fn unused(&self) -> String {
        let clone = self.clone_route().map(|clone| format!("instance `{}`", clone.destination));
        let beside = self.is_beside().then(|| format!("database `{}`", self.beside));
        beside.into_iter().chain(clone).collect::<Vec<_>>().join(" and ")
    }
}
