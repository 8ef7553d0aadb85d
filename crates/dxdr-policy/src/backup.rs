//! A backup policy: what is promised for some environments, and how it is kept.

use dxdr_environment::EnvironmentName;
use jiff::SignedDuration;

use crate::{retention::Retention, schedule::Schedule};

/// What is promised for some environments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupPolicy {
    /// Name of the manifest.
    pub name: String,
    /// Whose promise it is; an environment has at most one policy.
    pub environments: Vec<EnvironmentName>,
    /// What is promised.
    pub objectives: Objectives,
    /// When recovery points are taken; `None`: see [`Schedule::derived`].
    pub schedule: Option<Schedule>,
    /// Who captures the resources.
    pub engine: Engine,
    /// Name of the store.
    pub store: String,
    /// How volumes are captured.
    pub volumes: VolumeMethod,
    /// How databases are captured; `None`: not at all.
    pub databases: Option<DatabasePolicy>,
    /// How Secrets are captured.
    pub secrets: SecretsPolicy,
    /// How far apart the instants of what a restore brings back may lie.
    pub max_skew: SignedDuration,
    /// How long points are kept.
    pub retention: Retention,
}

impl BackupPolicy {
    /// When a recovery point of `environment` is taken: as written, or as the objective asks.
    pub fn schedule_of(&self, environment: &EnvironmentName) -> Schedule {
        self.schedule.clone().unwrap_or_else(|| Schedule::derived(environment.as_str(), self.objectives.data_loss))
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

/// Who captures the resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// dxdr itself.
    #[default]
    Native,
    /// A Velero server.
    Velero,
}

/// How volumes are captured.
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

/// How databases are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabasePolicy {
    /// The method.
    pub method: DatabaseMethod,
    /// Whether an export runs on a machine of its own.
    pub offload: bool,
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
}

/// How Secrets are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecretsPolicy {
    /// Leave out Secrets that a SealedSecret recreates.
    pub sealed_only: bool,
}
