//! What becomes of a point's databases when it is restored: each is loaded under a new name beside the one that is there, and in place
//! the two change names.

use dxdr_catalog::{Component, DatabaseComponent, RecoveryPoint, Sha256, StoredObject, name};
use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment};
use dxdr_policy::DATABASE_TIMEOUT;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::route::{Cost, Route};
use crate::{
    backup::database,
    review::{Note, Severity},
    step::Step,
};

/// As long as a name in PostgreSQL can be.
const LONGEST_NAME: usize = 63;

/// One database on its way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRestore {
    /// Which, and on which server, by the model as it is.
    pub unit: DatabaseUnit,
    /// By which route.
    pub route: Route,
    /// What that takes.
    pub cost: Cost,
    /// How long one piece of work on an instance may wait for its turn, and take.
    pub timeout: SignedDuration,
    /// Bytes of what is read.
    pub size: Option<u64>,
    /// Of the bytes.
    pub sha256: Option<Sha256>,
    /// As of when it is.
    pub instant: Timestamp,
    /// What the server calls the original.
    pub database: String,
    /// What it was like; the journal does not have this, the point does. Empty where the service keeps such things to itself.
    pub facts: DatabaseFacts,
    /// The name that it is loaded under.
    pub beside: String,
    /// In place: what the one that is there is called afterwards.
    pub kept: Option<String>,
}

impl DatabaseRestore {
    /// The step that brings it beside.
    pub fn load_step(&self) -> Step {
        let (title, reason) = match &self.route {
            Route::Load { .. } => (
                format!("Load {} as `{}`", self.unit, self.beside),
                "beside what is there, in one transaction: what is used is not touched",
            ),
            Route::Import { .. } => (
                format!("Import {} as `{}`", self.unit, self.beside),
                "into a new database, when it is its turn on the instance: what is used is not touched",
            ),
        };
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
            "beside": self.beside, "kept": self.kept, "route": self.route.parameters(), "timeout": self.timeout.as_secs(),
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

/// How databases are to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseOrder {
    /// In the place of those that are there.
    pub in_place: bool,
    /// How long one piece of work on an instance may wait for its turn, and take.
    pub timeout: SignedDuration,
    /// Goes into the names.
    pub now: Timestamp,
}

/// Plans bringing the point's databases back to the servers that the model has.
pub fn plan(point: &RecoveryPoint, environment: &Environment, order: DatabaseOrder) -> DatabaseRestores {
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
        let Some(unit) = unit else {
            planned.notes.push(left_out(
                format!("environment `{}` has no database of that name any more", environment.name),
                "declare it again, or load it yourself: `dxdr points --output json` says where it is",
            ));
            continue;
        };
        match (component.method.as_str(), &unit.location, &component.facts) {
            (DatabaseComponent::DUMP, DatabaseLocation::Postgresql(_), Some(facts)) => {
                let route = Route::Load { key: component.location.clone() };
                planned.restores.push(restore(point, component, unit, route, facts, order));
            }
            (DatabaseComponent::EXPORT, DatabaseLocation::CloudSql { .. }, _) if unit.database.is_some() => {
                let key = exported(point, component).map(|object| object.key.clone());
                let route = Route::Import { uri: component.location.clone(), key };
                planned.restores.push(restore(point, component, unit, route, &DatabaseFacts::default(), order));
                planned.notes.push(unexported(component));
            }
            (DatabaseComponent::EXPORT, ..) => {
                let hint = import_by_hand(unit, &component.location);
                let reason = format!(
                    "it was exported to {}, and the model names no database that it could be imported as",
                    component.location
                );
                planned.notes.push(left_out(reason, &hint));
            }
            _ => planned.notes.push(left_out(
                format!("a component of method `{}` cannot be brought back to where the model has it", component.method),
                "`dxdr points --output json` says where it is",
            )),
        }
    }
    planned
}

/// The object of an export, among those of its point.
fn exported<'a>(point: &'a RecoveryPoint, component: &DatabaseComponent) -> Option<&'a StoredObject> {
    point.objects.iter().find(|object| component.location.ends_with(&format!("/{}", object.key)))
}

/// What belongs to a database and is in no export.
fn unexported(component: &DatabaseComponent) -> Note {
    Note {
        severity: Severity::Warning,
        text: format!("database {} comes back without its own owner, rights and settings: no export has them", component.name),
        object: None,
        count: 1,
        hint: Some(
            "`\\l` and `\\drds` in psql show those of the original; give them to the new one where applications need them"
                .to_owned(),
        ),
    }
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
    route: Route,
    facts: &DatabaseFacts,
    order: DatabaseOrder,
) -> DatabaseRestore {
    // A model that names another database by now means that one to be replaced.
    let database = unit.database.clone().unwrap_or_else(|| facts.database.clone());
    let stamp = order.now.strftime("%Y%m%dt%H%M%Sz").to_string();
    DatabaseRestore {
        cost: Cost { bytes: component.size, ..Cost::default() },
        timeout: order.timeout,
        size: component.size,
        sha256: digest(point, &route),
        instant: component.instant,
        facts: facts.clone(),
        beside: named(&database, &format!("_restored_{stamp}")),
        kept: order.in_place.then(|| named(&database, &format!("_before_{stamp}"))),
        unit: DatabaseUnit { database: Some(database.clone()), ..unit.clone() },
        database,
        route,
    }
}

fn digest(point: &RecoveryPoint, route: &Route) -> Option<Sha256> {
    let key = route.key()?;
    point.objects.iter().find(|object| object.key == key).map(|object| object.sha256)
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
        let component = point.components.iter().find_map(|component| match component {
            Component::Database(database) if database.name == self.unit.name => Some(database),
            _ => None,
        })?;
        let route = self.route.unwrap_or_else(|| Route::Load { key: component.location.clone() });
        let facts = match (&route, component.facts.clone()) {
            (_, Some(facts)) => *facts,
            (Route::Load { .. }, None) => return None,
            (Route::Import { .. }, None) => DatabaseFacts::default(),
        };
        Some(DatabaseRestore {
            cost: Cost { bytes: component.size, ..Cost::default() },
            timeout: self.timeout,
            size: component.size,
            sha256: digest(point, &route),
            instant: component.instant,
            facts,
            unit: self.unit,
            database: self.database,
            beside: self.beside,
            kept: self.kept,
            route,
        })
    }

    /// What its steps are called in the journal: loading, and putting it in place.
    pub fn step_ids(&self) -> (String, String) {
        (format!("load-{}", self.unit.file_name()), format!("swap-{}", self.unit.file_name()))
    }
}

#[cfg(test)]
mod tests {
    use dxdr_catalog::{Engine, SourceCluster, Trigger};
    use dxdr_environment::{Database, EnvironmentName, NamespaceName, Tier};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A point with one export, `databases/orders.sql.gz`.
    fn point() -> RecoveryPoint {
        let component = DatabaseComponent {
            name: "orders".to_owned(),
            instant: at("2024-05-01T10:00:00Z"),
            between: None,
            method: DatabaseComponent::EXPORT.to_owned(),
            location: "gs://b/velero/backups/p-1/databases/orders.sql.gz".to_owned(),
            size: Some(7),
            consistency: None,
            facts: None,
        };
        RecoveryPoint {
            name: "p-1".to_owned(),
            environment: EnvironmentName::parse("staging").unwrap(),
            namespaces: vec!["staging".to_owned()],
            engine: Engine::Native,
            policy: None,
            trigger: Trigger::Requested,
            run: "run".to_owned(),
            started: at("2024-05-01T10:00:00Z"),
            instant: at("2024-05-01T10:00:00Z"),
            expires: None,
            cluster: SourceCluster::default(),
            environment_digest: None,
            components: vec![Component::Database(component)],
            objects: vec![StoredObject { key: "databases/orders.sql.gz".to_owned(), size: 7, sha256: Sha256([3; 32]) }],
            gaps: Vec::new(),
        }
    }

    fn environment(databases: &[&str]) -> Environment {
        let (name, namespace) = (EnvironmentName::parse("staging").unwrap(), NamespaceName::parse("staging").unwrap());
        let mut environment = Environment::bare(name, namespace, Tier::NonProduction);
        let databases = databases.iter().map(|name| (*name).to_owned()).collect();
        let location = DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases };
        environment.databases.push(Database { name: "orders".to_owned(), location });
        environment
    }

    fn order(in_place: bool) -> DatabaseOrder {
        DatabaseOrder { in_place, timeout: SignedDuration::from_mins(7), now: at("2024-05-02T10:00:00Z") }
    }

    #[test]
    fn an_export_is_imported_beside_and_what_the_journal_has_of_it_is_what_was_planned() {
        let planned = plan(&point(), &environment(&["shop"]), order(true));
        let [restore] = &planned.restores[..] else { panic!("{planned:?}") };
        assert_eq!(
            (restore.beside.as_str(), restore.kept.as_deref()),
            ("shop_restored_20240502t100000z", Some("shop_before_20240502t100000z"))
        );
        assert_eq!((restore.route.word(), restore.route.key()), ("import", Some("databases/orders.sql.gz")));
        assert_eq!((restore.sha256, restore.cost.bytes), (Some(Sha256([3; 32])), Some(7)));
        assert!(planned.notes.iter().all(|note| note.severity < Severity::Fatal));
        let recorded = recorded(&Value::Array(vec![restore.parameters()])).unwrap().remove(0);
        assert_eq!(recorded.of_point(&point()).as_ref(), Some(restore));
        assert_eq!(plan(&point(), &environment(&["shop"]), order(false)).restores[0].kept, None);
    }

    #[test]
    fn an_export_that_belongs_to_no_database_of_the_model_is_left_to_a_person() {
        let whole = plan(&point(), &environment(&[]), order(true));
        assert!(whole.restores.is_empty() && whole.notes[0].hint.as_ref().unwrap().contains("gcloud sql import sql i gs://b/"));
        let mut gone = environment(&[]);
        gone.databases.clear();
        let gone = plan(&point(), &gone, order(true));
        assert!(gone.restores.is_empty() && gone.notes[0].text.contains("has no database of that name any more"));
    }

    #[test]
    fn a_journal_of_those_who_loaded_dumps_only_is_read_as_such() {
        let unit = &environment(&["shop"]).databases[0].units()[0];
        let record = json!([{
            "name": "orders", "database": "shop", "location": database::location(&unit.location), "beside": "a", "kept": null,
        }]);
        let recorded = recorded(&record).unwrap().remove(0);
        assert_eq!((recorded.route.as_ref(), recorded.timeout), (None, DATABASE_TIMEOUT));
        // Its point has no dump, so there is nothing to load.
        assert_eq!(recorded.of_point(&point()), None);
    }

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
