//! A backup policy: what is promised for some environments, and how it is kept.

use dxdr_environment::EnvironmentName;
use jiff::SignedDuration;

use crate::{
    consistency::{Consistency, References},
    retention::Retention,
    schedule::Schedule,
};

/// What is promised for some environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPolicy {
    /// Name of the manifest.
    pub name: String,
    /// Whose promise it is; an environment has at most one policy.
    pub environments: Vec<EnvironmentName>,
    /// What is promised.
    pub objectives: Objectives,
    /// When recovery points are taken; `None`: see [`timings`](crate::timings).
    pub schedule: Option<Schedule>,
    /// Who captures the resources.
    pub engine: Engine,
    /// Name of the store.
    pub store: String,
    /// How volumes are captured.
    pub volumes: VolumePolicy,
    /// How databases are captured; `None`: not at all.
    pub databases: Option<DatabasePolicy>,
    /// How Secrets are captured.
    pub secrets: SecretsPolicy,
    /// Which kinds are captured.
    pub resources: ResourceFilters,
    /// How far apart what a restore brings back may lie at most, where that is promised: what is not known of an instant counts.
    pub max_skew: Option<SignedDuration>,
    /// How long points are kept.
    pub retention: Retention,
}

impl BackupPolicy {
    /// The longest time between two of its points, as long as none fails.
    pub fn interval(&self) -> SignedDuration {
        let derived = || SignedDuration::from_mins(i64::from(Schedule::derived_period(self.objectives.data_loss)));
        // In the years that are looked at every schedule fires twice and more, that of a leap day three times.
        self.schedule.as_ref().map_or_else(derived, |schedule| schedule.longest_interval().unwrap_or_default())
    }
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Objectives {
    /// The most that may be lost (RPO).
    pub data_loss: SignedDuration,
    /// The longest that recovery may take (RTO).
    pub recovery_time: SignedDuration,
}

/// Which kinds are captured, by Velero's filters and with their meaning; empty lists are everything. Kinds are named as kubectl names
/// them, with globs. There is no selection by labels: what a selector left out could not be told from what was not there. A single
/// object is left out by the label `velero.io/exclude-from-backup=true`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceFilters {
    /// Only these kinds; excludes the four scoped lists.
    pub included: Vec<String>,
    /// Not these kinds; excludes the four scoped lists.
    pub excluded: Vec<String>,
    /// Whether cluster-scoped kinds are taken, too; excludes the four scoped lists.
    pub include_cluster_resources: Option<bool>,
    /// Only these cluster-scoped kinds.
    pub included_cluster_scoped: Vec<String>,
    /// Not these cluster-scoped kinds.
    pub excluded_cluster_scoped: Vec<String>,
    /// Only these namespaced kinds.
    pub included_namespace_scoped: Vec<String>,
    /// Not these namespaced kinds.
    pub excluded_namespace_scoped: Vec<String>,
}

impl ResourceFilters {
    /// Whether filters of both styles are given, which exclude each other.
    pub fn mixed(&self) -> bool {
        let old = !self.included.is_empty() || !self.excluded.is_empty() || self.include_cluster_resources.is_some();
        let scoped = [
            &self.included_cluster_scoped,
            &self.excluded_cluster_scoped,
            &self.included_namespace_scoped,
            &self.excluded_namespace_scoped,
        ];
        old && scoped.iter().any(|list| !list.is_empty())
    }
}

/// Who captures the resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// dxdr itself.
    #[default]
    Native,
    /// A Velero server.
    Velero,
}

/// How long a snapshot may take until it can be restored from, where nothing is said: Velero's own value.
pub const SNAPSHOT_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// How volumes are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumePolicy {
    /// The method.
    pub method: VolumeMethod,
    /// How long a snapshot may take until it can be restored from.
    pub timeout: SignedDuration,
}

impl VolumePolicy {
    /// By `method`, with the usual timeout.
    pub const fn by(method: VolumeMethod) -> Self {
        Self { method, timeout: SNAPSHOT_TIMEOUT }
    }
}

/// By what means volumes are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VolumeMethod {
    /// A snapshot of the CSI driver.
    CsiSnapshot,
    /// A snapshot whose content is copied to the store.
    DataMover,
    /// Not at all.
    #[default]
    None,
}

/// How long one database may take where nothing is said.
pub const DATABASE_TIMEOUT: SignedDuration = SignedDuration::from_hours(1);

/// How databases are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabasePolicy {
    /// The method.
    pub method: DatabaseMethod,
    /// Whether an export runs on a machine of its own.
    pub offload: bool,
    /// How their instants belong to those of the volumes.
    pub consistency: Consistency,
    /// Which of the two points to the other.
    pub references: References,
    /// How long one database may take.
    pub timeout: SignedDuration,
}

impl DatabasePolicy {
    /// By `method`, with everything else as it is where nothing is said.
    pub fn by(method: DatabaseMethod) -> Self {
        Self {
            method,
            offload: false,
            consistency: Consistency::default(),
            references: References::default(),
            timeout: DATABASE_TIMEOUT,
        }
    }
}

/// How a database is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseMethod {
    /// An export with each recovery point.
    Export,
    /// The instance's log, from which any instant can be recovered.
    PointInTime,
    /// Both.
    Both,
    /// A backup of the whole instance with each recovery point, which the service keeps.
    Backup,
}

/// How Secrets are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecretsPolicy {
    /// Leave out Secrets that a SealedSecret recreates.
    pub sealed_only: bool,
}
