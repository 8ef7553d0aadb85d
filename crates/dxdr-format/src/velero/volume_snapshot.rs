//! Snapshots: by Velero's own plugins in `NAME-volumesnapshots.json.gz`, and by CSI in three files that Velero wrote up to 1.16 and
//! 1.17. Since then the CSI objects lie in the archive like any other.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::or_default;
use crate::{FormatError, compressed};

const WHAT: &str = "volume snapshots";
const CSI: &str = "CSI volume snapshots";

/// A snapshot by a plugin of Velero's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSnapshot {
    /// Of what.
    #[serde(deserialize_with = "or_default")]
    pub spec: SnapshotSpec,
    /// What came of it.
    #[serde(deserialize_with = "or_default")]
    pub status: SnapshotStatus,
}

/// Of what a snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotSpec {
    /// The backup.
    pub backup_name: String,
    /// Its UID.
    #[serde(rename = "backupUID")]
    pub backup_uid: String,
    /// The VolumeSnapshotLocation.
    pub location: String,
    /// The volume.
    pub persistent_volume_name: String,
    /// The provider's name for the volume.
    #[serde(rename = "providerVolumeID")]
    pub provider_volume_id: String,
    /// `gp3`
    pub volume_type: String,
    /// Availability zone.
    #[serde(rename = "volumeAZ", skip_serializing_if = "String::is_empty")]
    pub volume_az: String,
    /// For types that have them.
    #[serde(rename = "volumeIOPS", skip_serializing_if = "Option::is_none")]
    pub volume_iops: Option<i64>,
}

/// What came of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotStatus {
    /// The provider's name for the snapshot.
    #[serde(rename = "providerSnapshotID", skip_serializing_if = "String::is_empty")]
    pub provider_snapshot_id: String,
    /// `New`, `Completed`, `Failed`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// For a store.
pub fn encode(snapshots: &[VolumeSnapshot]) -> Result<Vec<u8>, FormatError> {
    compressed::encode(WHAT, &snapshots)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<Vec<VolumeSnapshot>, FormatError> {
    compressed::decode(WHAT, bytes)
}

/// One of the three CSI files, for a store.
pub fn encode_csi(objects: &[Value]) -> Result<Vec<u8>, FormatError> {
    compressed::encode(CSI, &objects)
}

/// One of the three CSI files, from a store: VolumeSnapshots, VolumeSnapshotContents or VolumeSnapshotClasses as the API has them.
pub fn decode_csi(bytes: &[u8]) -> Result<Vec<Value>, FormatError> {
    compressed::decode(CSI, bytes)
}
