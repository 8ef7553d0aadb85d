//! `NAME-podvolumebackups.json.gz`: volumes that were copied file by file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    backup::Metadata,
    lenient::{or_default, seconds},
};
use crate::{FormatError, compressed};

const WHAT: &str = "pod volume backups";

/// A PodVolumeBackup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolumeBackup {
    /// `PodVolumeBackup`, where Velero says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// `velero.io/v1`, where Velero says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Who it is.
    pub metadata: Metadata,
    /// Of what.
    #[serde(deserialize_with = "or_default")]
    pub spec: PodVolumeSpec,
    /// What came of it.
    #[serde(deserialize_with = "or_default")]
    pub status: PodVolumeStatus,
}

/// Which volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolumeSpec {
    /// The node on which it was read.
    pub node: String,
    /// The pod.
    pub pod: PodReference,
    /// The volume's name in the pod.
    pub volume: String,
    /// The BackupStorageLocation.
    pub backup_storage_location: String,
    /// The repository: a URL.
    pub repo_identifier: String,
    /// `kopia`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uploader_type: String,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodReference {
    /// `Pod`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolumeStatus {
    /// `Completed`, `Failed` …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// On the node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// In the repository.
    #[serde(rename = "snapshotID", skip_serializing_if = "String::is_empty")]
    pub snapshot_id: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it began.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Timestamp>,
    /// When it was done.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Timestamp>,
}

/// For a store.
pub fn encode(backups: &[PodVolumeBackup]) -> Result<Vec<u8>, FormatError> {
    compressed::encode(WHAT, &backups)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<Vec<PodVolumeBackup>, FormatError> {
    compressed::decode(WHAT, bytes)
}
