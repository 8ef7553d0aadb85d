//! What somebody saw who looked.

use std::collections::BTreeMap;

use dxdr_environment::{DiscoveredKind, EnvironmentName};
use serde_json::Value;

use super::rights::{Activity, Right};
use crate::velero::Observed as VeleroObjects;

/// An answer, or why there is none.
pub type Answer<T> = Result<T, Trouble>;

/// Why something could not be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, to what.
    pub message: String,
    /// What to do.
    pub hints: Vec<String>,
    /// It did not answer, or did not let us in.
    pub unreachable: bool,
}

/// What the server said about each right.
pub type RightsAnswered = Vec<(Right, Answer<bool>)>;

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The cluster, as people name it.
    pub cluster: String,
    /// The API server's version.
    pub version: Answer<String>,
    /// What it serves.
    pub kinds: Vec<DiscoveredKind>,
    /// Groups that did not answer, and why.
    pub failed_groups: Vec<(String, String)>,
    /// Who we are there, where the server says so.
    pub user: Option<String>,
    /// Velero; `None`: not installed.
    pub velero: Answer<Option<VeleroObserved>>,
    /// Every store, by name.
    pub stores: BTreeMap<String, StoreObserved>,
    /// Every VolumeSnapshotClass.
    pub snapshot_classes: Answer<Vec<Value>>,
    /// The claims of the environments whose volumes a policy promises.
    pub claims: BTreeMap<EnvironmentName, Answer<Vec<ClaimObserved>>>,
    /// What is needed for what, and whether we may: in the order of [`super::activities`].
    pub rights: Vec<(Activity, RightsAnswered)>,
}

/// An installation of Velero.
#[derive(Debug, Clone, Default)]
pub struct VeleroObserved {
    /// What its server says, its Schedules and BackupStorageLocations.
    pub objects: VeleroObjects,
    /// Whether its server was asked at all.
    pub asked: bool,
    /// The Deployment `velero`, where we may see it.
    pub deployment: Option<Value>,
    /// The DaemonSet `node-agent`, where we may see it.
    pub node_agent: Option<Value>,
}

/// A store.
#[derive(Debug, Clone)]
pub struct StoreObserved {
    /// Where it is, as people name it.
    pub place: String,
    /// Folders at the root of Velero's prefix that Velero does not know; or why that is not known.
    pub unknown_folders: Answer<Vec<String>>,
    /// Whether it can be written to.
    pub writing: Writing,
}

/// What an attempt to write said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    /// Nobody tried.
    NotTried,
    /// It could be written and removed again, and a second writer of the same key was refused.
    Works,
    /// The second writer was not refused: the store ignores conditions.
    Unconditional,
    /// It could be written, and this is why it could not be removed.
    NotRemoved(String, Trouble),
    /// It could not be written.
    Refused(Trouble),
}

/// A claim of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimObserved {
    /// Its name.
    pub name: String,
    /// The CSI driver of its volume, or of its class while it has none; `None`: no CSI driver.
    pub driver: Option<String>,
}
