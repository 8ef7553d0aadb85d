//! A policy as a Schedule of Velero.

use dxdr_catalog::name;
use dxdr_environment::{
    Database, Environment, ObjectReference,
    compile::{DesiredObject, ENVIRONMENT_LABEL},
};
use dxdr_policy::{BackupPolicy, ResourceFilters, Retention, Schedule, VolumeMethod};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::{POLICY_LABEL, logs, reader::ZONE, schedules, version::CronParser};
use crate::backup::planned_databases;

/// Velero puts `-20240501100000` behind the name for its backups, whose name it makes a label of.
const LONGEST_NAME: usize = name::LONGEST - 15;
/// In front of an environment's name.
const PREFIX: &str = "dxdr-";
/// How long uploads of a data mover may take.
const OPERATION_TIMEOUT: &str = "4h0m0s";
/// Kept "for ever", where nothing is said of retention: Velero knows no such value.
const FOR_EVER: SignedDuration = SignedDuration::from_hours(24 * 365 * 10);

/// The Schedule's name of an environment: `dxdr-staging`, shortened with a fingerprint where its backups' names would not be labels.
pub fn schedule_name(environment: &str) -> String {
    format!("{PREFIX}{}", name::shortened(environment, LONGEST_NAME - PREFIX.len()))
}

/// How long Velero must keep a backup so that no tier of the retention loses one that it still counts, as long as backups succeed: one
/// period more than the longest tier has. A period without a point is none that a tier counts, so it is at least what lies between two
/// points. Finer tiers are thinned out by dxdr.
pub(super) fn time_to_live(policy: &BackupPolicy) -> SignedDuration {
    let Retention { hourly, daily, weekly, monthly, yearly, at_least } = policy.retention;
    let tiers = [(hourly, 1), (daily, 24), (weekly, 24 * 7), (monthly, 24 * 31), (yearly, 24 * 366)];
    if tiers.iter().all(|(count, _)| *count == 0) {
        return FOR_EVER;
    }
    let interval = policy.interval().as_secs().unsigned_abs().div_ceil(3600);
    let hours = |(count, hours): (u32, u64)| (u64::from(count) + 1) * hours.max(interval);
    let longest = tiers.into_iter().chain([(at_least, 0)]).filter(|(count, _)| *count > 0).map(hours).max().unwrap_or_default();
    SignedDuration::from_hours(i64::try_from(longest).unwrap_or(i64::MAX / 3600))
}

/// How long it takes without a backup until Velero deletes the last ones, too, although the retention keeps some however old they are. `None`
/// where nothing of the kind is promised, or nothing is ever deleted.
pub(super) fn outlived(policy: &BackupPolicy) -> Option<SignedDuration> {
    let kept = time_to_live(policy);
    (policy.retention.at_least > 0 && kept < FOR_EVER).then_some(kept)
}

/// Where a backup of Velero's goes, by Velero's names, and how long it stays there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Destination<'a> {
    /// The BackupStorageLocation.
    pub(super) location: &'a str,
    /// The VolumeSnapshotLocations, at most one of a provider; none: as the server says.
    pub(super) snapshots: &'a [&'a str],
    /// See [`time_to_live`].
    pub(super) kept: SignedDuration,
}

/// The Schedule of `environment` under `policy` that fires at `when`, writing to `destination`, for a server that reads it by `parser`; paused on a
/// standby cluster.
pub(super) fn schedule(
    environment: &Environment,
    policy: &BackupPolicy,
    when: &Schedule,
    destination: &Destination<'_>,
    namespace: &str,
    parser: CronParser,
    paused: bool,
) -> DesiredObject {
    let expression = match parser {
        CronParser::RobfigWithoutZones => when.expression().to_owned(),
        // A zone of the database always has a name; without one it can only be UTC.
        _ => format!("{ZONE}{} {}", when.zone().iana_name().unwrap_or("UTC"), when.expression()),
    };
    let name = schedule_name(environment.name.as_str());
    let labels = json!({
        "app.kubernetes.io/managed-by": "dxdr",
        ENVIRONMENT_LABEL: environment.name.as_str(),
        POLICY_LABEL: policy.name,
    });
    let units = environment.databases.iter().flat_map(Database::units).collect();
    // Whether something can be exported into the store makes no difference to what is in logs.
    let databases = planned_databases(units, policy.databases, Some(&policy.name), None);
    let value = json!({
        "apiVersion": schedules().api_version(),
        "kind": schedules().kind,
        "metadata": {
            "name": name, "namespace": namespace, "labels": labels, "annotations": {logs::ANNOTATION: logs::annotation(&databases)},
        },
        "spec": {
            "schedule": expression,
            "paused": paused,
            // Deleting the Schedule must not delete what it made.
            "useOwnerReferencesInBackup": false,
            "template": template(environment, policy, destination, labels.clone()),
        },
    });
    DesiredObject { reference: ObjectReference { kind: schedules(), namespace: Some(namespace.to_owned()), name }, value }
}

/// The Backup that Velero is to make. Everything is written whose default differs between servers.
pub(super) fn template(environment: &Environment, policy: &BackupPolicy, destination: &Destination<'_>, labels: Value) -> Value {
    let mut template = Map::new();
    let mut put = |field: &str, value: Value| template.insert(field.to_owned(), value);
    put("metadata", json!({"labels": labels}));
    put("storageLocation", destination.location.into());
    if !destination.snapshots.is_empty() {
        put("volumeSnapshotLocations", json!(destination.snapshots));
    }
    put("includedNamespaces", json!([environment.namespace.as_str()]));
    put("ttl", go_duration(destination.kept).into());
    put("snapshotVolumes", (policy.volumes.method != VolumeMethod::None).into());
    put("snapshotMoveData", (policy.volumes.method == VolumeMethod::DataMover).into());
    put("defaultVolumesToFsBackup", false.into());
    put("csiSnapshotTimeout", go_duration(policy.volumes.timeout).into());
    put("itemOperationTimeout", OPERATION_TIMEOUT.into());
    filters(&policy.resources, &mut template);
    Value::Object(template)
}

/// Without filters, what is cluster-scoped comes along as the namespace needs it: volumes of its claims, definitions of its custom
/// resources, cluster roles of its accounts.
fn filters(filters: &ResourceFilters, template: &mut Map<String, Value>) {
    let lists = [
        ("includedResources", &filters.included),
        ("excludedResources", &filters.excluded),
        ("includedClusterScopedResources", &filters.included_cluster_scoped),
        ("excludedClusterScopedResources", &filters.excluded_cluster_scoped),
        ("includedNamespaceScopedResources", &filters.included_namespace_scoped),
        ("excludedNamespaceScopedResources", &filters.excluded_namespace_scoped),
    ];
    for (field, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        template.insert(field.to_owned(), json!(list));
    }
    if let Some(include) = filters.include_cluster_resources {
        template.insert("includeClusterResources".to_owned(), include.into());
    }
}

/// Whole seconds, as Go prints them: another spelling of the same time would look like drift once Velero has written the object.
fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{EnvironmentName, NamespaceName, environment::Tier};
    use dxdr_policy::{
        Engine, Objectives, SecretsPolicy, VolumePolicy,
        retention::{Candidate, decide},
    };
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const PRIMARY: Destination<'static> =
        Destination { location: "primary", snapshots: &[], kept: SignedDuration::from_hours(9672) };

    fn policy() -> BackupPolicy {
        BackupPolicy {
            name: "non-production".to_owned(),
            environments: vec![EnvironmentName::parse("staging").unwrap()],
            objectives: Objectives { data_loss: SignedDuration::from_hours(1), recovery_time: SignedDuration::from_mins(30) },
            schedule: None,
            engine: Engine::Velero,
            store: "primary".to_owned(),
            volumes: VolumePolicy::by(VolumeMethod::CsiSnapshot),
            databases: None,
            secrets: SecretsPolicy::default(),
            resources: ResourceFilters::default(),
            max_skew: None,
            retention: Retention { hourly: 24, daily: 14, weekly: 8, monthly: 12, ..Retention::default() },
        }
    }

    fn when() -> Schedule {
        Schedule::parse("*/30 * * * *", Some("Europe/Berlin")).unwrap()
    }

    fn environment(name: &str) -> Environment {
        let namespace = NamespaceName::parse("staging").unwrap();
        Environment::bare(EnvironmentName::parse(name).unwrap(), namespace, Tier::NonProduction)
    }

    #[test]
    fn a_policy_becomes_a_schedule_that_says_everything_whose_default_differs() {
        let object = schedule(&environment("staging"), &policy(), &when(), &PRIMARY, "velero", CronParser::GoCron, false);
        let labels =
            json!({"app.kubernetes.io/managed-by": "dxdr", "dxdr.io/environment": "staging", "dxdr.io/policy": "non-production"});
        assert_eq!(
            object.value,
            json!({
                "apiVersion": "velero.io/v1", "kind": "Schedule",
                "metadata": {
                    "name": "dxdr-staging", "namespace": "velero", "labels": labels, "annotations": {"dxdr.io/database-logs": "[]"},
                },
                "spec": {
                    "schedule": "CRON_TZ=Europe/Berlin */30 * * * *", "paused": false, "useOwnerReferencesInBackup": false,
                    "template": {
                        "metadata": {"labels": labels}, "storageLocation": "primary", "includedNamespaces": ["staging"],
                        "ttl": "9672h0m0s", "snapshotVolumes": true, "snapshotMoveData": false, "defaultVolumesToFsBackup": false,
                        "csiSnapshotTimeout": "10m0s", "itemOperationTimeout": "4h0m0s"
                    }
                }
            })
        );
    }

    #[test]
    fn snapshot_locations_are_named_where_the_store_names_them() {
        let destination = Destination { snapshots: &["aws-default"], ..PRIMARY };
        let spec = schedule(&environment("staging"), &policy(), &when(), &destination, "velero", CronParser::GoCron, false).value
            ["spec"]
            .clone();
        assert_eq!(spec["template"]["volumeSnapshotLocations"], json!(["aws-default"]));
    }

    #[test]
    fn a_server_that_reads_no_zone_is_given_none() {
        let object =
            schedule(&environment("staging"), &policy(), &when(), &PRIMARY, "velero", CronParser::RobfigWithoutZones, false);
        assert_eq!(object.value["spec"]["schedule"], "*/30 * * * *");
    }

    #[test]
    fn filters_are_velero_s_own() {
        let mut policy = policy();
        policy.resources.excluded_namespace_scoped = vec!["pods".to_owned()];
        policy.volumes.method = VolumeMethod::DataMover;
        let template = &schedule(&environment("staging"), &policy, &when(), &PRIMARY, "velero", CronParser::GoCron, false).value
            ["spec"]["template"];
        assert_eq!(template["excludedNamespaceScopedResources"], json!(["pods"]));
        assert_eq!(template["snapshotMoveData"], true);
        policy.resources = ResourceFilters { include_cluster_resources: Some(false), ..ResourceFilters::default() };
        let template = &schedule(&environment("staging"), &policy, &when(), &PRIMARY, "velero", CronParser::GoCron, false).value
            ["spec"]["template"];
        assert_eq!(template["includeClusterResources"], false);
    }

    #[test]
    fn the_names_of_its_backups_are_labels_however_long_the_environment_s_is() {
        assert_eq!(schedule_name("staging"), "dxdr-staging");
        let (long, other) = (format!("{}a", "x".repeat(62)), format!("{}b", "x".repeat(62)));
        assert!(schedule_name(&long).len() + "-20240501100000".len() <= 63);
        assert_ne!(schedule_name(&long), schedule_name(&other));
    }

    #[test]
    fn velero_keeps_what_the_longest_tier_counts() {
        let none = Retention::default();
        let kept = |cron: &str, retention| {
            let policy = BackupPolicy { schedule: Some(Schedule::parse(cron, None).unwrap()), retention, ..policy() };
            (time_to_live(&policy).as_hours(), outlived(&policy).map(|kept| kept.as_hours()))
        };
        for (cron, retention, hours, outlived) in [
            ("*/30 * * * *", Retention { hourly: 24, ..none }, 25, None),
            ("*/30 * * * *", Retention { hourly: 1000, daily: 2, ..none }, 1001, None),
            // Hours that have no point are not counted.
            ("0 */6 * * *", Retention { hourly: 24, ..none }, 150, None),
            ("0 2 * * 1", Retention { daily: 7, ..none }, 8 * 168, None),
            ("0 2 * * *", Retention { daily: 2, at_least: 30, ..none }, 31 * 24, Some(31 * 24)),
            ("0 2 * * *", Retention { daily: 14, at_least: 5, ..none }, 15 * 24, Some(15 * 24)),
            ("0 2 * * *", Retention { at_least: 3, ..none }, 87_600, None),
            ("0 2 * * *", none, 87_600, None),
        ] {
            assert_eq!(kept(cron, retention), (hours, outlived), "{cron} {retention:?}");
        }
        // Every 30 minutes, where an hour may be lost.
        let derived = BackupPolicy { schedule: None, retention: Retention { hourly: 24, ..none }, ..policy() };
        assert_eq!(time_to_live(&derived).as_hours(), 25);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The oracle is the retention itself: at every firing, what it keeps of all that were made is as young as Velero leaves it.
        #[test]
        fn what_the_retention_counts_is_still_there(
            cron in prop::sample::select(vec!["17 * * * *", "0 */6 * * *", "5 2 * * *", "0 2 * * 1", "0 9-17 * * mon-fri", "0 0 1 */2 *"]),
            counts in prop::array::uniform6(0u32..6),
            days in 1i64..300,
        ) {
            let [hourly, daily, weekly, monthly, yearly, at_least] = counts;
            let retention = Retention { hourly, daily, weekly, monthly, yearly, at_least };
            let schedule = Schedule::parse(cron, Some("Europe/Berlin")).unwrap();
            let policy = BackupPolicy { schedule: Some(schedule.clone()), retention, ..policy() };
            let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
            let now = began + SignedDuration::from_hours(24 * days);
            let made = schedule.firings(began).take_while(|instant| *instant < now);
            let points = made.map(|instant| Candidate { name: instant.to_string(), instant, complete: true }).collect();
            let kept = time_to_live(&policy);
            for decision in decide(&retention, points, schedule.zone()).iter().filter(|decision| decision.stays()) {
                prop_assert!(now.duration_since(decision.candidate.instant) <= kept, "{:?}", decision);
            }
        }
    }
}
