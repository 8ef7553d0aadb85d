//! What somebody saw who looked at a Velero installation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What is there.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What the server says it is; `None`: no server answered.
    pub server_version: Option<String>,
    /// The server's Deployment, where no server answered and it can be seen.
    pub deployment: Option<Value>,
    /// Names of its plugins; empty when no server answered.
    pub plugins: Vec<String>,
    /// All Schedules of the namespace.
    pub schedules: Vec<Value>,
    /// All BackupStorageLocations of the namespace.
    pub locations: Vec<Value>,
    /// All VolumeSnapshotLocations of the namespace.
    pub snapshot_locations: Vec<Value>,
    /// The Secrets that locations and stores name, by name.
    pub credentials: BTreeMap<String, CredentialObserved>,
    /// The CSI drivers of the claims whose content Velero is to capture.
    pub drivers: BTreeSet<String>,
    /// All VolumeSnapshotClasses; empty where they were not looked at.
    pub snapshot_classes: Vec<Value>,
}

/// A Secret with credentials; never its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialObserved {
    /// It has these keys.
    Keys(Vec<String>),
    /// There is none.
    Missing,
    /// It cannot be seen.
    Hidden(String),
}
