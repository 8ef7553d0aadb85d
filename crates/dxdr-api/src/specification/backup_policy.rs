//! `BackupPolicy`

use schemars::JsonSchema;
use serde::Deserialize;

/// What is promised for some environments: how much may be lost, how long recovery may take, and so when, how and where recovery
/// points are taken and how long they are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BackupPolicySpec {
    /// Names of the environments. An environment has at most one policy.
    #[schemars(length(min = 1))]
    pub(crate) environments: Vec<String>,
    /// What is promised.
    pub(crate) objectives: ObjectivesSpec,
    /// When recovery points are taken. Left out: often enough for `objectives.dataLoss`, at a minute of each environment's own, apart from others whose databases are
    /// exported from the same instance.
    pub(crate) schedule: Option<ScheduleSpec>,
    /// Who captures the Kubernetes objects.
    #[serde(default)]
    pub(crate) engine: EngineName,
    /// Name of the BackupStore that holds the recovery points.
    #[schemars(length(min = 1))]
    pub(crate) store: String,
    /// How volumes are captured.
    #[serde(default)]
    pub(crate) volumes: VolumesSpec,
    /// How databases are captured.
    #[serde(default)]
    pub(crate) databases: DatabasesSpec,
    /// How Secrets are captured.
    #[serde(default)]
    pub(crate) secrets: SecretsSpec,
    /// Which kinds are captured. Left out: everything that lives in the namespace, and what belongs to it.
    #[serde(default)]
    pub(crate) resources: ResourcesSpec,
    /// How far apart what a restore brings back may lie at most, as in `5m`: it counts for everything in a point, so that it has to be longer than exports of databases take. Left out: 10m between what is of a moment, as far as that certainly lies apart; exports and copies made file by file take as long as they take.
    pub(crate) max_skew: Option<String>,
    /// How long recovery points are kept.
    #[serde(default)]
    pub(crate) retention: RetentionSpec,
}

/// What is promised; durations as in `90s`, `30m`, `1h30m`, `7d`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObjectivesSpec {
    /// The most that may be lost, as a time (RPO).
    pub(crate) data_loss: String,
    /// The longest that recovery may take (RTO).
    pub(crate) recovery_time: String,
}

/// When recovery points are taken.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ScheduleSpec {
    /// Minute, hour, day of month, month, day of week: `"*/30 * * * *"`, in quotes.
    #[schemars(length(min = 1))]
    pub(crate) cron: String,
    /// IANA time zone of the expression. Left out: UTC.
    pub(crate) time_zone: Option<String>,
}

/// Who captures the Kubernetes objects.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EngineName {
    /// dxdr itself
    #[default]
    Native,
    /// a Velero server in the cluster
    Velero,
}

/// How volumes are captured.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VolumesSpec {
    /// The method.
    #[serde(default)]
    pub(crate) method: VolumeMethodName,
    /// How long a snapshot may take until it can be restored from; `10m` when left out. A volume that takes longer is missing in the
    /// recovery point, which is then partial.
    pub(crate) timeout: Option<String>,
}

/// How a volume is captured.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum VolumeMethodName {
    /// a snapshot by the CSI driver, which stays in the storage system
    CsiSnapshot,
    /// a snapshot whose content Velero's data mover copies to the store
    DataMover,
    /// not at all
    #[default]
    None,
}

/// How databases are captured.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DatabasesSpec {
    /// The method. Left out: databases are not captured.
    pub(crate) method: Option<DatabaseMethodName>,
    /// Whether Cloud SQL exports on a machine of its own, so that the instance does not feel it. False when left out.
    #[serde(default)]
    pub(crate) offload: bool,
    /// How the instants of databases belong to those of volumes. `aligned` when left out.
    #[serde(default)]
    pub(crate) consistency: ConsistencyName,
    /// Which of the two points to the other; what is pointed to is captured last. `databaseToVolumes` when left out.
    #[serde(default)]
    pub(crate) references: ReferencesName,
    /// How long one database may take; `1h` when left out. A database that takes longer is missing in the recovery point, which is then
    /// partial.
    pub(crate) timeout: Option<String>,
}

/// How the instants of databases belong to those of volumes.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ConsistencyName {
    /// not at all: the recovery point says how far apart they are
    Independent,
    /// no reference in the direction of `references` dangles
    #[default]
    Aligned,
    /// both are of a moment in which pods' backup hooks had the applications hold still
    Quiesced,
    /// the same, and the database's own coordinates of the moment are kept
    Logged,
}

/// Which of the two points to the other.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ReferencesName {
    /// rows name files on volumes: the database is captured before the volumes
    #[default]
    DatabaseToVolumes,
    /// files on volumes name rows: the volumes are captured before the database
    VolumesToDatabase,
}

/// How a database is captured.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DatabaseMethodName {
    /// an export into the store with each recovery point
    Export,
    /// the instance's own log, from which any instant can be recovered
    PointInTime,
    /// both
    Both,
    /// a backup of the whole Cloud SQL instance with each recovery point, which the service keeps until `dxdr databases reap` removes it
    Backup,
}

/// How Secrets are captured.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecretsSpec {
    /// Whether Secrets that a SealedSecret recreates are left out. Where a SealingPolicy is for the environment, only those are for which it is proved
    /// that a key in escrow makes the same Secret again. False when left out.
    #[serde(default)]
    pub(crate) sealed_only: bool,
}

/// Which kinds are captured: Velero's filters, with their meaning. Kinds as kubectl names them (`deployments`, `deploy`,
/// `certificates.cert-manager.io`), with globs. The first three exclude the other four.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ResourcesSpec {
    /// Only these kinds.
    #[serde(default)]
    pub(crate) included: Vec<String>,
    /// Not these kinds.
    #[serde(default)]
    pub(crate) excluded: Vec<String>,
    /// Whether cluster-scoped kinds are taken. Left out: those that captured objects need.
    pub(crate) include_cluster_resources: Option<bool>,
    /// Only these cluster-scoped kinds.
    #[serde(default)]
    pub(crate) included_cluster_scoped: Vec<String>,
    /// Not these cluster-scoped kinds.
    #[serde(default)]
    pub(crate) excluded_cluster_scoped: Vec<String>,
    /// Only these namespaced kinds.
    #[serde(default)]
    pub(crate) included_namespace_scoped: Vec<String>,
    /// Not these namespaced kinds.
    #[serde(default)]
    pub(crate) excluded_namespace_scoped: Vec<String>,
}

/// How many recovery points are kept: the newest of each of the last hours, days, weeks, months, years.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RetentionSpec {
    /// Hours.
    #[serde(default)]
    pub(crate) hourly: u32,
    /// Days.
    #[serde(default)]
    pub(crate) daily: u32,
    /// Weeks.
    #[serde(default)]
    pub(crate) weekly: u32,
    /// Months.
    #[serde(default)]
    pub(crate) monthly: u32,
    /// Years.
    #[serde(default)]
    pub(crate) yearly: u32,
    /// At least so many are kept, however old they are.
    pub(crate) at_least: Option<u32>,
}
