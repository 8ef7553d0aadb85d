//! What becomes of a point's databases when it is restored: each is loaded under a new name beside the one that is there, and in place
//! the two change names.

mod instance;
mod recorded;

use std::collections::BTreeMap;

use dxdr_catalog::{Component, DatabaseComponent, RecoveryPoint, Sha256, name};
use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment, InstanceName};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    choice::Considered,
    recovery::Recovery,
    route::{Cost, Route},
};
use crate::{
    backup::database,
    instance::InstanceUse,
    review::{Note, Severity},
    step::Step,
};
pub use recorded::{RecordedDatabase, recorded};

/// Kinds of steps of a database.
pub(super) const STEPS: usize = 5;
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
    /// The routes that there were, with why this one was taken; empty where there was no choice.
    pub considered: Vec<Considered>,
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
    /// Who could log in to its instance then; the point has this as well. Empty where nobody said so.
    pub users: Vec<String>,
    /// The name that it is loaded under; of a clone, which has it under its own, the instance's.
    pub beside: String,
    /// In place: what the one that is there is called afterwards.
    pub kept: Option<String>,
}

impl DatabaseRestore {
    /// All of its steps, in their order; those of several databases are done kind by kind.
    pub fn steps(&self) -> [Option<Step>; STEPS] {
        [self.clone_step(), self.load_step(), self.drop_step(), self.handover_step(), self.swap_step()]
    }

    /// The step that has the new instance made.
    pub fn clone_step(&self) -> Option<Step> {
        let clone = self.route.clone_route()?;
        let title = match &clone.backup {
            None => format!("Clone {} as of {} to `{}`", clone.source, clone.at, clone.destination),
            Some(backup) => format!("Make `{}` out of {backup}, the backup of {}", clone.destination, clone.source),
        };
        let reason = "a new instance, labelled and not protected; the one that is used goes on";
        Some(Step::new(&self.step_id("clone"), title, reason, true))
    }

    /// The step that brings it beside.
    pub fn load_step(&self) -> Option<Step> {
        let (title, reason) = match &self.route {
            Route::Load { .. } => (
                format!("Load {} as `{}`", self.unit, self.beside),
                "beside what is there, in one transaction: what is used is not touched",
            ),
            Route::Import { .. } => (
                format!("Import {} as `{}`", self.unit, self.beside),
                "into a new database, when it is its turn on the instance: what is used is not touched",
            ),
            Route::CloneAndImport { clone, database } => (
                format!("Export `{database}` from `{}` and import it as `{}`, for {}", clone.destination, self.beside, self.unit),
                "into a new database, when it is its turn on the instance: nothing else of the new instance is taken",
            ),
            Route::Clone(_) => return None,
        };
        Some(Step::new(&self.step_id("load"), title, reason, true))
    }

    /// The step that deletes an instance which was made on the way.
    pub fn drop_step(&self) -> Option<Step> {
        let Route::CloneAndImport { clone, .. } = &self.route else { return None };
        let title = format!("Delete instance `{}`", clone.destination);
        Some(Step::new(&self.step_id("drop"), title, "what was needed of it is beside; it costs as long as it is there", true))
    }

    /// The step that gives it what the original has and no export. A dump that is loaded has it along.
    pub fn handover_step(&self) -> Option<Step> {
        self.kept.as_ref()?;
        if !matches!(self.route, Route::Import { .. } | Route::CloneAndImport { .. }) {
            return None;
        }
        let title = format!("Give `{}` the owner, rights and settings of `{}`", self.beside, self.database);
        let reason = "as that has them then: no export has them, and applications need them";
        Some(Step::new(&self.step_id("handover"), title, reason, true))
    }

    /// The step that puts it in the original's place.
    pub fn swap_step(&self) -> Option<Step> {
        let kept = self.kept.as_ref()?;
        let title = format!("Put it in the place of `{}`, which becomes `{kept}`", self.database);
        let reason =
            "both are renamed in one transaction, and connections are cut; the old one is kept until somebody discards it";
        Some(Step::new(&self.step_id("swap"), title, reason, true))
    }

    fn step_id(&self, what: &str) -> String {
        format!("{what}-{}", self.unit.file_name())
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
#[derive(Debug, Clone, Copy)]
pub struct DatabaseOrder<'a> {
    /// In the place of those that are there.
    pub in_place: bool,
    /// How long one piece of work on an instance may wait for its turn, and take.
    pub timeout: SignedDuration,
    /// When it is planned.
    pub now: Timestamp,
    /// The run. When it began and what makes it unique goes into the names: two runs of one second do not meet.
    pub run: &'a str,
    /// Who has what on which instance.
    pub uses: &'a [InstanceUse],
    /// What instances can be brought back to, as they say now; of those that are not here, what the point says counts.
    pub recoveries: &'a BTreeMap<InstanceName, Recovery>,
    /// How far apart what comes back may lie.
    pub max_skew: SignedDuration,
    /// Why the service cannot write into the store.
    pub no_exports: Option<&'a str>,
}

/// Instances whose log, or a backup of which, the point relies on.
pub fn relied_instances(point: &RecoveryPoint) -> Vec<InstanceName> {
    let backed_up = |component: &DatabaseComponent| component.backup.as_ref().map(|backup| backup.instance.clone());
    let mut instances: Vec<InstanceName> =
        databases(point).filter_map(|component| logged(component).or_else(|| backed_up(component))).collect();
    instances.sort();
    instances.dedup();
    instances
}

fn databases(point: &RecoveryPoint) -> impl Iterator<Item = &DatabaseComponent> {
    point.components.iter().filter_map(|component| match component {
        Component::Database(database) => Some(database),
        _ => None,
    })
}

/// The instance in whose log the component is.
fn logged(component: &DatabaseComponent) -> Option<InstanceName> {
    if component.method != DatabaseComponent::POINT_IN_TIME {
        return None;
    }
    let (project, instance) = component.location.strip_prefix("projects/")?.split_once("/instances/")?;
    Some(InstanceName::new(project, instance))
}

/// Plans bringing the point's databases back to the servers that the model has.
pub fn plan(point: &RecoveryPoint, environment: &Environment, order: DatabaseOrder<'_>) -> DatabaseRestores {
    let mut planned = DatabaseRestores::default();
    let units: Vec<DatabaseUnit> = environment.databases.iter().flat_map(dxdr_environment::Database::units).collect();
    let mut seen: Vec<&str> = Vec::new();
    for component in databases(point) {
        // A database may be in the point by more than one method: the choice between them is one.
        if seen.contains(&component.name.as_str()) {
            continue;
        }
        seen.push(&component.name);
        let Some(unit) = units.iter().find(|unit| unit.name == component.name) else {
            planned.notes.push(left_out(
                component,
                &format!("environment `{}` has no database of that name any more", environment.name),
                "declare it again, or load it yourself: `dxdr points --output json` says where it is",
            ));
            continue;
        };
        let all: Vec<&DatabaseComponent> = databases(point).filter(|other| other.name == component.name).collect();
        match (component.method.as_str(), &unit.location, &component.facts) {
            (DatabaseComponent::DUMP, DatabaseLocation::Postgresql(_), Some(facts)) => {
                let route = Route::Load { key: component.location.clone() };
                planned.restores.push(restore(point, component, unit, route, facts, order));
            }
            (
                DatabaseComponent::EXPORT | DatabaseComponent::POINT_IN_TIME | DatabaseComponent::BACKUP,
                DatabaseLocation::CloudSql { .. },
                _,
            ) => {
                instance::plan(point, &all, unit, environment, order, &mut planned);
            }
            (DatabaseComponent::EXPORT, ..) => {
                let hint = instance::import_by_hand(unit, &component.location);
                let reason = format!("it was exported to {}, and the model has it elsewhere by now", component.location);
                planned.notes.push(left_out(component, &reason, &hint));
            }
            _ => planned.notes.push(left_out(
                component,
                &format!("a component of method `{}` cannot be brought back to where the model has it", component.method),
                "`dxdr points --output json` says where it is",
            )),
        }
    }
    let missing = units.iter().filter(|unit| !seen.contains(&unit.name.as_str()));
    planned.notes.extend(missing.map(|unit| not_in_it(unit, environment, order)));
    planned
}

/// That the point does not have a database of the environment. Why, its gaps say.
fn not_in_it(unit: &DatabaseUnit, environment: &Environment, order: DatabaseOrder<'_>) -> Note {
    let becomes = if order.in_place { "stays as it is" } else { "does not come back" };
    Note {
        severity: Severity::Warning,
        text: format!("{unit} is not in the point, and {becomes}"),
        object: None,
        count: 1,
        hint: Some(format!("`dxdr points {}` says which points have it", environment.name)),
    }
}

fn left_out(component: &DatabaseComponent, reason: &str, hint: &str) -> Note {
    Note {
        severity: Severity::Warning,
        text: format!("database {} is not restored: {reason}", component.name),
        object: None,
        count: 1,
        hint: Some(hint.to_owned()),
    }
}

fn restore(
    point: &RecoveryPoint,
    component: &DatabaseComponent,
    unit: &DatabaseUnit,
    route: Route,
    facts: &DatabaseFacts,
    order: DatabaseOrder<'_>,
) -> DatabaseRestore {
    // A model that names another database by now means that one to be replaced.
    let database = unit.database.clone().unwrap_or_else(|| facts.database.clone());
    let of_run = of_run(order.run);
    let beside = match &route {
        Route::Clone(clone) => clone.destination.clone(),
        _ => named(&database, &format!("_restored_{of_run}")),
    };
    let in_place = order.in_place && route.is_beside();
    DatabaseRestore {
        considered: Vec::new(),
        cost: Cost { bytes: component.size, ..Cost::default() },
        timeout: order.timeout,
        size: component.size,
        sha256: digest(point, &route),
        instant: route.clone_route().map_or(component.instant, |clone| clone.at),
        facts: facts.clone(),
        users: component.users.clone(),
        beside,
        kept: in_place.then(|| named(&database, &format!("_before_{of_run}"))),
        unit: DatabaseUnit { database: Some(database.clone()).filter(|name| !name.is_empty()), ..unit.clone() },
        database,
        route,
    }
}

fn digest(point: &RecoveryPoint, route: &Route) -> Option<Sha256> {
    let key = route.key()?;
    point.objects.iter().find(|object| object.key == key).map(|object| object.sha256)
}

/// `20240501t100000z_x7k2m`: when the run began, and what tells it from others of that second.
fn of_run(run: &str) -> String {
    let (began, rest) = run.split_once('-').unwrap_or((run, ""));
    match rest.rsplit_once('-') {
        Some((_, tail)) => format!("{began}_{tail}"),
        None => began.to_owned(),
    }
}

/// The name of an attempt's database, from that of the first one.
pub fn attempted(beside: &str, attempt: u32) -> String {
    match attempt {
        ..=1 => beside.to_owned(),
        _ => named(beside, &format!("_{attempt}")),
    }
}

/// The name with something behind it. Where both are too long the name gives way, to a fingerprint of all of it: two that begin alike must not become one.
/// So does what has a meaning in a URL: by one the service is told what to delete.
fn named(database: &str, suffix: &str) -> String {
    let means_something = |letter: char| matches!(letter, '/' | '\\' | '%') || letter.is_control();
    let plain = database.replace(means_something, "_");
    if plain == database && database.len() + suffix.len() <= LONGEST_NAME {
        return format!("{database}{suffix}");
    }
    let suffix = format!("-{}{suffix}", name::fingerprint(database));
    let mut end = plain.len().min(LONGEST_NAME.saturating_sub(suffix.len()));
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", plain.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dxdr_catalog::{Engine, KeptBackup, KeptLog, SourceCluster, StoredObject, Trigger};
    use dxdr_environment::{Database, EnvironmentName, NamespaceName, Tier};
    use dxdr_policy::DATABASE_TIMEOUT;

    use super::*;
    use crate::restore::recovery::SeenBackup;

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
            log: None,
            backup: None,
            users: vec!["app".to_owned()],
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

    fn order(in_place: bool) -> DatabaseOrder<'static> {
        static NONE: BTreeMap<InstanceName, Recovery> = BTreeMap::new();
        let now = at("2024-05-02T10:00:00Z");
        let run = "20240502t100000z-restore-staging-x7k2m";
        let (timeout, max_skew) = (SignedDuration::from_mins(7), SignedDuration::from_hours(24));
        DatabaseOrder { in_place, timeout, now, run, uses: &[], recoveries: &NONE, max_skew, no_exports: None }
    }

    /// The same point, which names an instant in the log besides, kept for so many days.
    fn logged_point(days: i64, with_export: bool) -> RecoveryPoint {
        let mut point = point();
        let Component::Database(export) = point.components[0].clone() else { panic!() };
        let until = export.instant + SignedDuration::from_hours(24 * days);
        let log =
            KeptLog { earliest: at("2024-04-28T10:00:00Z"), latest: export.instant, until, database: Some("shop".to_owned()) };
        point.components.push(Component::Database(DatabaseComponent {
            method: DatabaseComponent::POINT_IN_TIME.to_owned(),
            location: "projects/p/instances/i".to_owned(),
            size: None,
            consistency: Some("aligned".to_owned()),
            log: Some(log),
            ..export
        }));
        if !with_export {
            point.components.remove(0);
        }
        point
    }

    #[test]
    fn an_instance_of_its_own_is_cloned_beside_and_in_place_one_database_of_the_clone_is_taken() {
        for (in_place, word) in [(false, "clone"), (true, "clone-export-import")] {
            let planned = plan(&logged_point(7, true), &environment(&["shop"]), order(in_place));
            let [restore] = &planned.restores[..] else { panic!("{planned:?}") };
            assert_eq!((restore.route.word(), restore.kept.is_some()), (word, in_place));
            assert_eq!(restore.considered.len(), 5);
            let clone = restore.route.clone_route().unwrap();
            assert!(clone.destination.starts_with("dxdr-staging-20240502-"), "{}", clone.destination);
            assert_eq!((clone.at, clone.expires), (at("2024-05-01T10:00:00Z"), at("2024-05-09T10:00:00Z")));
            let steps: Vec<String> = restore.steps().into_iter().flatten().map(|step| step.id).collect();
            let expected: &[&str] = if in_place {
                &["clone-orders", "load-orders", "drop-orders", "handover-orders", "swap-orders"]
            } else {
                &["clone-orders"]
            };
            assert_eq!(steps, expected);
            let recorded = recorded(&Value::Array(vec![restore.parameters()])).unwrap().remove(0);
            assert_eq!(recorded.databases().len(), if in_place { 2 } else { 0 });
            assert!(recorded.unused().ends_with(&format!("instance `{}`", clone.destination)), "{}", recorded.unused());
            let resumed = recorded.of_point(&logged_point(7, true)).unwrap();
            assert_eq!(DatabaseRestore { considered: restore.considered.clone(), ..resumed }, *restore);
        }
    }

    #[test]
    fn a_database_that_is_not_in_the_point_is_named_with_what_becomes_of_it() {
        let mut point = point();
        point.components.clear();
        for (in_place, becomes) in [(true, "stays as it is"), (false, "does not come back")] {
            let planned = plan(&point, &environment(&["shop"]), order(in_place));
            let [note] = &planned.notes[..] else { panic!("{planned:?}") };
            assert_eq!(note.text, format!("database orders is not in the point, and {becomes}"));
            assert_eq!(note.hint.as_deref(), Some("`dxdr points staging` says which points have it"));
        }
    }

    #[test]
    fn what_was_renamed_since_is_taken_of_the_clone_by_the_name_that_it_had_then() {
        let environment = environment(&["store"]);
        let planned = plan(&logged_point(7, false), &environment, order(true));
        let restore = &planned.restores[0];
        let Route::CloneAndImport { database, .. } = &restore.route else { panic!("{restore:?}") };
        assert_eq!((database.as_str(), restore.database.as_str()), ("shop", "store"));
        assert!(
            restore.beside.starts_with("store_restored_") && restore.load_step().unwrap().title.starts_with("Export `shop` from")
        );
        // Of the clone that stays, it is the name there.
        assert_eq!(plan(&logged_point(7, false), &environment, order(false)).restores[0].database, "shop");
        // A point that says nothing means the name that the model has.
        let mut point = logged_point(7, false);
        let Component::Database(component) = &mut point.components[0] else { panic!() };
        component.log.as_mut().unwrap().database = None;
        let Route::CloneAndImport { database, .. } = &plan(&point, &environment, order(true)).restores[0].route else { panic!() };
        assert_eq!(database, "store");
    }

    #[test]
    fn what_an_instance_says_now_counts_more_than_what_the_point_says_it_would() {
        let at_once = plan(&logged_point(7, false), &environment(&[]), order(false));
        assert_eq!(at_once.restores[0].route.word(), "clone");
        // Half a day is kept, and a day has gone by.
        let gone = plan(&logged_point(0, false), &environment(&[]), order(false));
        assert!(gone.restores.is_empty() && gone.notes[0].severity == Severity::Fatal, "{gone:?}");
        assert!(gone.notes[0].text.contains("clone: 2024-05-01T10:00:00Z is before the log of the instance"), "{gone:?}");
        let recoveries = BTreeMap::from([(InstanceName::new("p", "i"), Recovery::default())]);
        let off = plan(&logged_point(7, false), &environment(&[]), DatabaseOrder { recoveries: &recoveries, ..order(false) });
        assert!(off.notes[0].text.contains("the log of the instance is not kept"), "{off:?}");
    }

    fn seen_backup(name: &str, started: &str, ended: &str) -> SeenBackup {
        SeenBackup { name: format!("projects/p/backups/{name}"), started: at(started), ended: at(ended) }
    }

    /// A point that names a backup of the instance, taken at ten.
    fn backed_up_point() -> RecoveryPoint {
        let mut point = logged_point(7, false);
        let Component::Database(logged) = point.components[0].clone() else { panic!() };
        let backup = KeptBackup {
            instance: InstanceName::new("p", "i"),
            database: Some("shop".to_owned()),
            ended: at("2024-05-01T10:03:00Z"),
        };
        point.components = vec![Component::Database(DatabaseComponent {
            method: DatabaseComponent::BACKUP.to_owned(),
            location: "projects/p/backups/7".to_owned(),
            log: None,
            backup: Some(backup),
            ..logged
        })];
        point
    }

    #[test]
    fn where_the_log_does_not_reach_back_the_instance_comes_out_of_the_newest_backup_before_and_that_is_said() {
        let backups = vec![
            seen_backup("3", "2024-05-01T09:59:00Z", "2024-05-01T10:00:01Z"),
            seen_backup("2", "2024-05-01T02:00:00Z", "2024-05-01T02:05:00Z"),
            seen_backup("1", "2024-04-30T02:00:00Z", "2024-04-30T02:05:00Z"),
        ];
        let recoveries = BTreeMap::from([(InstanceName::new("p", "i"), Recovery { backups, ..Recovery::default() })]);
        for (in_place, word) in [(false, "backup"), (true, "backup-export-import")] {
            let order = DatabaseOrder { recoveries: &recoveries, ..order(in_place) };
            let planned = plan(&logged_point(7, false), &environment(&["shop"]), order);
            let [restore] = &planned.restores[..] else { panic!("{planned:?}") };
            let route = restore.route.clone_route().unwrap();
            assert_eq!((restore.route.word(), route.backup.as_deref()), (word, Some("projects/p/backups/2")));
            assert_eq!((route.at, restore.instant), (at("2024-05-01T02:00:00Z"), at("2024-05-01T02:00:00Z")));
            let note = &planned.notes[0];
            assert!(note.severity == Severity::Warning && note.text.contains("8h"), "{note:?}");
            assert!(restore.clone_step().unwrap().title.contains("out of projects/p/backups/2"), "{restore:?}");
            let recorded = recorded(&Value::Array(vec![restore.parameters()])).unwrap().remove(0);
            let resumed = recorded.of_point(&logged_point(7, false)).unwrap();
            assert_eq!(DatabaseRestore { considered: restore.considered.clone(), ..resumed }, *restore);
            let near = DatabaseOrder { max_skew: SignedDuration::from_hours(1), ..order };
            let refused = plan(&logged_point(7, false), &environment(&["shop"]), near);
            assert!(refused.restores.is_empty() && refused.notes[0].text.contains("--max-skew 8h"), "{refused:?}");
        }
    }

    #[test]
    fn the_backup_of_a_point_is_taken_while_it_is_there_and_also_when_its_instance_is_gone() {
        let (point, environment) = (backed_up_point(), environment(&["shop"]));
        assert_eq!(relied_instances(&point), [InstanceName::new("p", "i")]);
        let unseen = plan(&point, &environment, order(false));
        assert_eq!(unseen.restores[0].route.clone_route().unwrap().backup.as_deref(), Some("projects/p/backups/7"));
        let recorded = recorded(&Value::Array(vec![unseen.restores[0].parameters()])).unwrap().remove(0);
        let resumed = recorded.of_point(&point).unwrap();
        assert_eq!(DatabaseRestore { considered: unseen.restores[0].considered.clone(), ..resumed }, unseen.restores[0]);
        let with = |backups: Vec<SeenBackup>, gone: bool, in_place: bool| {
            let recovery = Recovery { backups, gone, ..Recovery::default() };
            let recoveries = BTreeMap::from([(InstanceName::new("p", "i"), recovery)]);
            plan(&point, &environment, DatabaseOrder { recoveries: &recoveries, ..order(in_place) })
        };
        let own = || vec![seen_backup("7", "2024-05-01T10:00:00Z", "2024-05-01T10:03:00Z")];
        assert_eq!(with(own(), false, true).restores[0].route.word(), "backup-export-import");
        assert_eq!(with(own(), true, false).restores[0].route.word(), "backup");
        let nowhere = with(own(), true, true);
        assert!(nowhere.restores.is_empty() && nowhere.notes[0].text.contains("there is none to import into"), "{nowhere:?}");
        // Somebody deleted it.
        let lost = with(vec![seen_backup("6", "2024-05-01T02:00:00Z", "2024-05-01T02:05:00Z")], false, false);
        assert_eq!(lost.restores[0].route.clone_route().unwrap().backup.as_deref(), Some("projects/p/backups/6"));
        let nothing = with(Vec::new(), false, false);
        assert!(nothing.notes[0].text.contains("the backup of the point is not there any more"), "{nothing:?}");
    }

    #[test]
    fn databases_of_one_instance_come_by_one_clone() {
        let mut point = logged_point(7, false);
        let Component::Database(first) = point.components[0].clone() else { panic!() };
        point.components = ["orders/a", "orders/b"]
            .map(|name| Component::Database(DatabaseComponent { name: name.to_owned(), ..first.clone() }))
            .to_vec();
        for in_place in [false, true] {
            let planned = plan(&point, &environment(&["a", "b"]), order(in_place));
            let [one, other] = &planned.restores[..] else { panic!("{planned:?}") };
            assert_eq!(one.route.clone_route(), other.route.clone_route());
            assert_ne!(one.clone_step().unwrap().id, other.clone_step().unwrap().id);
        }
    }

    #[test]
    fn of_an_instance_that_others_use_a_clone_is_only_ever_a_step() {
        let mut neighbour = environment(&["other"]);
        neighbour.name = EnvironmentName::parse("dev").unwrap();
        let uses = crate::instance::uses(&[environment(&["shop"]), neighbour]);
        for in_place in [false, true] {
            let order = DatabaseOrder { uses: &uses, ..order(in_place) };
            let planned = plan(&logged_point(7, false), &environment(&["shop"]), order);
            assert_eq!(planned.restores[0].route.word(), "clone-export-import");
            let whole = plan(&logged_point(7, false), &environment(&[]), order);
            assert!(whole.restores.is_empty() && whole.notes[0].text.contains("also dev's"), "{whole:?}");
        }
    }

    #[test]
    fn an_export_is_imported_beside_and_what_the_journal_has_of_it_is_what_was_planned() {
        let planned = plan(&point(), &environment(&["shop"]), order(true));
        let [restore] = &planned.restores[..] else { panic!("{planned:?}") };
        assert_eq!(
            (restore.beside.as_str(), restore.kept.as_deref()),
            ("shop_restored_20240502t100000z_x7k2m", Some("shop_before_20240502t100000z_x7k2m"))
        );
        assert_eq!((restore.route.word(), restore.route.key()), ("import", Some("databases/orders.sql.gz")));
        assert_eq!((restore.sha256, restore.cost.bytes), (Some(Sha256([3; 32])), Some(7)));
        assert_eq!(restore.users, ["app"]);
        assert!(planned.notes.iter().all(|note| note.severity < Severity::Fatal));
        let recorded = recorded(&Value::Array(vec![restore.parameters()])).unwrap().remove(0);
        let resumed = recorded.of_point(&point()).unwrap();
        assert_eq!(DatabaseRestore { considered: restore.considered.clone(), ..resumed }, *restore);
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
    fn what_has_a_meaning_in_a_url_is_in_no_name_that_a_restore_gives() {
        let names = ["a/b", "a%b", "a\\b", "a\tb", "a_b"].map(|database| named(database, "_restored_20240501t100000z"));
        assert_eq!(names[4], "a_b_restored_20240501t100000z");
        assert!(names.iter().all(|name| !name.contains(['/', '%', '\\', '\t']) && name.starts_with("a_b")), "{names:?}");
        let different: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }

    #[test]
    fn runs_of_one_second_give_names_of_their_own() {
        let [one, other] = ["x7k2m", "b9n4q"].map(|tail| of_run(&format!("20240501t100000z-restore-team-staging-{tail}")));
        assert_eq!((one.as_str(), other.as_str()), ("20240501t100000z_x7k2m", "20240501t100000z_b9n4q"));
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
