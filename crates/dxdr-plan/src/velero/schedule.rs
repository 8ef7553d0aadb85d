//! A policy as a Schedule of Velero.

use dxdr_catalog::name;
use dxdr_environment::{
    Environment, ObjectReference,
    compile::{DesiredObject, ENVIRONMENT_LABEL},
};
use dxdr_policy::{BackupPolicy, ResourceFilters, Retention, Schedule, VolumeMethod};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::{POLICY_LABEL, schedules, version::CronParser};

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

/// How long Velero must keep a backup so that no tier of the retention loses one that it still counts: one period more than the
/// longest tier has. Finer tiers are thinned out by dxdr.
pub fn time_to_live(retention: &Retention) -> SignedDuration {
    let hours = [
        (retention.hourly, 1),
        (retention.daily, 24),
        (retention.weekly, 24 * 7),
        (retention.monthly, 24 * 31),
        (retention.yearly, 24 * 366),
    ];
    let longest = hours.into_iter().filter(|(count, _)| *count > 0).map(|(count, hours)| (i64::from(count) + 1) * hours).max();
    longest.map_or(FOR_EVER, SignedDuration::from_hours)
}

/// Where a backup of Velero's goes, by Velero's names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// The BackupStorageLocation.
    pub(super) location: &'a str,
    /// The VolumeSnapshotLocations, at most one of a provider; none: as the server says.
    pub(super) snapshots: &'a [&'a str],
}

/// The Schedule of `environment` under `policy` that fires at `when`, writing to `places`, for a server that reads it by `parser`; paused on a
/// standby cluster.
pub(super) fn schedule(
    environment: &Environment,
    policy: &BackupPolicy,
    when: &Schedule,
    places: &Places<'_>,
    namespace: &str,
    parser: CronParser,
    paused: bool,
) -> DesiredObject {
    let expression = match parser {
        CronParser::RobfigWithoutZones => when.expression().to_owned(),
        // A zone of the database always has a name; without one it can only be UTC.
        _ => format!("CRON_TZ={} {}", when.zone().iana_name().unwrap_or("UTC"), when.expression()),
    };
    let name = schedule_name(environment.name.as_str());
    let labels = json!({
        "app.kubernetes.io/managed-by": "dxdr",
        ENVIRONMENT_LABEL: environment.name.as_str(),
        POLICY_LABEL: policy.name,
    });
    let value = json!({
        "apiVersion": schedules().api_version(),
        "kind": schedules().kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "schedule": expression,
            "paused": paused,
            // Deleting the Schedule must not delete what it made.
            "useOwnerReferencesInBackup": false,
            "template": template(environment, policy, places, labels.clone()),
        },
    });
    DesiredObject { reference: ObjectReference { kind: schedules(), namespace: Some(namespace.to_owned()), name }, value }
}

/// The Backup that Velero is to make. Everything is written whose default differs between servers.
pub(super) fn template(environment: &Environment, policy: &BackupPolicy, places: &Places<'_>, labels: Value) -> Value {
    let mut template = Map::new();
    let mut put = |field: &str, value: Value| template.insert(field.to_owned(), value);
    put("metadata", json!({"labels": labels}));
    put("storageLocation", places.location.into());
    if !places.snapshots.is_empty() {
        put("volumeSnapshotLocations", json!(places.snapshots));
    }
    put("includedNamespaces", json!([environment.namespace.as_str()]));
    put("ttl", go_duration(time_to_live(&policy.retention)).into());
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
    use dxdr_policy::{Engine, Objectives, SecretsPolicy, VolumePolicy};

    use super::*;

    const PRIMARY: Places<'static> = Places { location: "primary", snapshots: &[] };

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
            max_skew: SignedDuration::from_mins(15),
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
                "metadata": {"name": "dxdr-staging", "namespace": "velero", "labels": labels},
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
        let places = Places { snapshots: &["aws-default"], ..PRIMARY };
        let spec =
            schedule(&environment("staging"), &policy(), &when(), &places, "velero", CronParser::GoCron, false).value["spec"]
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
        let hours = |retention| time_to_live(&retention).as_hours();
        assert_eq!(hours(Retention { hourly: 24, ..Retention::default() }), 25);
        assert_eq!(hours(Retention { hourly: 1000, daily: 2, ..Retention::default() }), 1001);
        assert_eq!(hours(Retention { at_least: 3, ..Retention::default() }), 87_600);
    }
}
