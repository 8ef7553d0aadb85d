//! `NAME-volumeinfo.json.gz`: what became of each volume. Since Velero 1.13; a broken one fails the restore, an empty list is fine.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lenient::{or_default, seconds};
use crate::{FormatError, compressed};

const WHAT: &str = "volume information";

/// One volume. At most one of the four informations is there, by its method.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeInfo {
    /// Its claim.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pvc_name: String,
    /// Its claim's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pvc_namespace: String,
    /// Its PersistentVolume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pv_name: String,
    /// `NativeSnapshot`, `PodVolumeBackup`, `CSISnapshot`; empty when skipped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backup_method: String,
    /// Whether the snapshot's data was copied to the store.
    pub snapshot_data_moved: bool,
    /// Whether the snapshot was kept after that.
    pub preserve_local_snapshot: bool,
    /// Whether nothing was done with it.
    pub skipped: bool,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub skipped_reason: String,
    /// When it began.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Timestamp>,
    /// When it was done.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Timestamp>,
    /// `succeeded`, `failed`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub result: String,
    /// A CSI snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi_snapshot_info: Option<CsiSnapshotInfo>,
    /// A snapshot whose data was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_data_movement_info: Option<SnapshotDataMovementInfo>,
    /// A snapshot by a plugin of Velero's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_snapshot_info: Option<NativeSnapshotInfo>,
    /// A copy file by file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvb_info: Option<PodVolumeInfo>,
    /// Of the PersistentVolume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pv_info: Option<PersistentVolumeInfo>,
}

/// A CSI snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CsiSnapshotInfo {
    /// The storage system's name for it.
    pub snapshot_handle: String,
    /// Bytes.
    pub size: i64,
    /// The CSI driver.
    pub driver: String,
    /// The VolumeSnapshotContent.
    pub vsc_name: String,
    /// Of the item operation.
    #[serde(rename = "operationID", skip_serializing_if = "String::is_empty")]
    pub operation_id: String,
    /// Without a JSON name in Velero's type, hence spelled as in Go.
    #[serde(rename = "ReadyToUse", skip_serializing_if = "Option::is_none")]
    pub ready_to_use: Option<bool>,
    /// Of a group of volumes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_group_snapshot_handle: String,
}

/// A snapshot whose data was moved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotDataMovementInfo {
    /// `velero`
    pub data_mover: String,
    /// `kopia`
    pub uploader_type: String,
    /// The snapshot that was kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub retained_snapshot: String,
    /// The data mover's name for the copy.
    pub snapshot_handle: String,
    /// Of the item operation.
    #[serde(rename = "operationID")]
    pub operation_id: String,
    /// Bytes.
    pub size: i64,
    /// Bytes that were new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental_size: Option<i64>,
    /// Of the DataUpload; spelled as in Go.
    #[serde(rename = "Phase", skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// A snapshot by a plugin of Velero's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NativeSnapshotInfo {
    /// The provider's name for it.
    pub snapshot_handle: String,
    /// `gp3`
    pub volume_type: String,
    /// Availability zone.
    #[serde(rename = "volumeAZ", skip_serializing_if = "String::is_empty")]
    pub volume_az: String,
    /// A number, as text.
    pub iops: String,
    /// Spelled as in Go.
    #[serde(rename = "Phase", skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// A copy file by file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolumeInfo {
    /// The uploader's name for it.
    pub snapshot_handle: String,
    /// Bytes.
    pub size: i64,
    /// Bytes that were new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental_size: Option<i64>,
    /// `kopia`
    pub uploader_type: String,
    /// In the pod.
    pub volume_name: String,
    /// The pod.
    pub pod_name: String,
    /// Its namespace.
    pub pod_namespace: String,
    /// Its node.
    pub node_name: String,
    /// Spelled as in Go.
    #[serde(rename = "Phase", skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// Of the PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeInfo {
    /// `Delete`, `Retain`.
    pub reclaim_policy: String,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

impl VolumeInfo {
    /// The storage system's, or the data mover's, name for what was kept.
    pub fn handle(&self) -> Option<&str> {
        let handles = [
            self.csi_snapshot_info.as_ref().map(|info| &info.snapshot_handle),
            self.snapshot_data_movement_info.as_ref().map(|info| &info.snapshot_handle),
            self.native_snapshot_info.as_ref().map(|info| &info.snapshot_handle),
            self.pvb_info.as_ref().map(|info| &info.snapshot_handle),
        ];
        handles.into_iter().flatten().map(String::as_str).find(|handle| !handle.is_empty())
    }
}

/// For a store.
pub fn encode(volumes: &[VolumeInfo]) -> Result<Vec<u8>, FormatError> {
    compressed::encode(WHAT, &volumes)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<Vec<VolumeInfo>, FormatError> {
    compressed::decode(WHAT, bytes)
}

/// One volume of a Restore, in `restores/NAME/NAME-volumeinfo.json.gz`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoredVolume {
    /// Its PersistentVolume in the target, which may have a name of its own.
    pub pv_name: String,
    /// `NativeSnapshot`, `PodVolumeRestore`, `CSISnapshot`.
    pub restore_method: String,
}

/// What a Restore says of its volumes. Since Velero 1.14.
pub fn decode_restored(bytes: &[u8]) -> Result<Vec<RestoredVolume>, FormatError> {
    compressed::decode(WHAT, bytes)
}
