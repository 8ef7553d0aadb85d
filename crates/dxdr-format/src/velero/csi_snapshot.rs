//! A snapshot by a CSI driver as Velero's archive has it: the claim says which VolumeSnapshot is its own, that one names its content,
//! and the content has the storage system's name for the snapshot. A Velero server restores the claim's data from these three alone,
//! and deletes the storage's snapshot with the backup by the label on the content.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::volume_info::{CsiSnapshotInfo, PersistentVolumeInfo, VolumeInfo};

/// `volumesnapshots`, as in archives.
pub const VOLUME_SNAPSHOTS: &str = "volumesnapshots.snapshot.storage.k8s.io";
/// `volumesnapshotcontents`, as in archives.
pub const VOLUME_SNAPSHOT_CONTENTS: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
const API_VERSION: &str = "snapshot.storage.k8s.io/v1";
/// On a claim: its VolumeSnapshot.
const SNAPSHOT_ANNOTATION: &str = "velero.io/volume-snapshot-name";
/// On a snapshot and its content: the backup they belong to.
const BACKUP_LABEL: &str = "velero.io/backup-name";
/// On contents: their driver's sidecar must do its part before they go.
const PROTECTION: &str = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";

/// A snapshot that the storage has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CsiSnapshot {
    /// Namespace of the claim.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// Its PersistentVolume.
    pub volume: String,
    /// The CSI driver.
    pub driver: String,
    /// The VolumeSnapshotClass.
    pub class: String,
    /// The VolumeSnapshot.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The VolumeSnapshotContent.
    pub content: String,
    /// Its UID. Velero makes the name of it by which it has the storage's snapshot deleted.
    pub content_uid: String,
    /// The storage system's name for the snapshot.
    pub handle: String,
    /// When the storage took it.
    pub taken: Timestamp,
    /// Bytes that a volume made from it needs.
    pub size: Option<u64>,
    /// `Filesystem`, `Block`; where the content says so.
    pub volume_mode: Option<String>,
    /// The storage system's name for the snapshot of the group that it was taken with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl CsiSnapshot {
    /// The claim's JSON, saying which snapshot is its own. `None` for what is no JSON object.
    pub fn annotated(&self, claim: &[u8]) -> Option<Vec<u8>> {
        let mut claim: Value = serde_json::from_slice(claim).ok()?;
        let metadata = claim.get_mut("metadata")?.as_object_mut()?;
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        annotations.as_object_mut()?.insert(SNAPSHOT_ANNOTATION.to_owned(), self.name.as_str().into());
        serde_json::to_vec(&claim).ok()
    }

    /// The VolumeSnapshot of `backup`.
    pub fn volume_snapshot(&self, backup: &str) -> Value {
        let mut snapshot = json!({
            "apiVersion": API_VERSION, "kind": "VolumeSnapshot",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "uid": self.uid, "labels": {BACKUP_LABEL: backup},
                "annotations": {
                    "velero.io/csi-volumesnapshot-handle": self.handle,
                    "velero.io/csi-driver-name": self.driver,
                    "velero.io/csi-vsc-deletion-policy": "Retain",
                    "velero.io/csi-volumesnapshot-restore-size": self.size.unwrap_or_default().to_string(),
                },
            },
            "spec": {"source": {"persistentVolumeClaimName": self.claim}, "volumeSnapshotClassName": self.class},
            "status": {
                "boundVolumeSnapshotContentName": self.content,
                "creationTime": self.taken.to_string(),
                "readyToUse": true,
                "restoreSize": self.size.unwrap_or_default().to_string(),
            },
        });
        if let Some(group) = &self.group {
            // Without a content for the group, the snapshot controller takes no member of it up: Velero makes one where it reads this.
            snapshot["metadata"]["annotations"]["velero.io/csi-volumegroupsnapshot-handle"] = group.as_str().into();
        }
        snapshot
    }

    /// The VolumeSnapshotContent of `backup`: static, so that it can be made again wherever the storage is reached.
    pub fn volume_snapshot_content(&self, backup: &str) -> Value {
        let mut content = json!({
            "apiVersion": API_VERSION, "kind": "VolumeSnapshotContent",
            "metadata": {
                "name": self.content, "uid": self.content_uid, "labels": {BACKUP_LABEL: backup},
                // Velero has the storage's snapshot deleted through a content made of this one: without it, that is gone before the
                // driver's sidecar has looked at it.
                "finalizers": [PROTECTION],
            },
            "spec": {
                "deletionPolicy": "Retain",
                "driver": self.driver,
                "source": {"snapshotHandle": self.handle},
                "volumeSnapshotClassName": self.class,
                "volumeSnapshotRef": {
                    "apiVersion": API_VERSION, "kind": "VolumeSnapshot", "name": self.name, "namespace": self.namespace,
                    "uid": self.uid,
                },
            },
            "status": {
                "snapshotHandle": self.handle,
                "creationTime": i64::try_from(self.taken.as_nanosecond()).unwrap_or_default(),
                "readyToUse": true,
                "restoreSize": self.size.unwrap_or_default(),
            },
        });
        if let Some(mode) = &self.volume_mode {
            content["spec"]["sourceVolumeMode"] = mode.as_str().into();
        }
        content
    }
}

/// What is said of a volume in [`volume_info`](super::volume_info), whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts<'a> {
    /// Namespace of the claim.
    pub namespace: &'a str,
    /// The claim.
    pub claim: &'a str,
    /// Its PersistentVolume.
    pub volume: &'a str,
    /// What its PersistentVolume is like, where that is known: reclaim policy and labels.
    pub persistent_volume: Option<(&'a str, &'a BTreeMap<String, String>)>,
    /// When capturing began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Timestamp,
}

impl VolumeFacts<'_> {
    fn record(&self) -> VolumeInfo {
        VolumeInfo {
            pvc_name: self.claim.to_owned(),
            pvc_namespace: self.namespace.to_owned(),
            pv_name: self.volume.to_owned(),
            start_timestamp: Some(self.started),
            pv_info: self.persistent_volume.map(|(reclaim_policy, labels)| PersistentVolumeInfo {
                reclaim_policy: reclaim_policy.to_owned(),
                labels: labels.clone(),
            }),
            ..VolumeInfo::default()
        }
    }

    /// That it was left out.
    pub fn skipped(&self, reason: &str) -> VolumeInfo {
        VolumeInfo { skipped: true, skipped_reason: reason.to_owned(), ..self.record() }
    }

    /// That a snapshot of it was to be taken and failed.
    pub fn failed(&self) -> VolumeInfo {
        VolumeInfo {
            backup_method: "CSISnapshot".to_owned(),
            completion_timestamp: Some(self.completed),
            result: "failed".to_owned(),
            ..self.record()
        }
    }

    /// That `snapshot` was taken of it; whether it can be restored from.
    pub fn taken(&self, snapshot: &CsiSnapshot, ready: bool) -> VolumeInfo {
        let result = if ready { "succeeded" } else { "failed" };
        VolumeInfo {
            result: result.to_owned(),
            csi_snapshot_info: Some(CsiSnapshotInfo {
                snapshot_handle: snapshot.handle.clone(),
                size: snapshot.size.and_then(|size| i64::try_from(size).ok()).unwrap_or_default(),
                driver: snapshot.driver.clone(),
                vsc_name: snapshot.content.clone(),
                ready_to_use: Some(ready),
                volume_group_snapshot_handle: snapshot.group.clone().unwrap_or_default(),
                ..CsiSnapshotInfo::default()
            }),
            ..self.failed()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> CsiSnapshot {
        CsiSnapshot {
            namespace: "staging".to_owned(),
            claim: "data".to_owned(),
            volume: "pv-1".to_owned(),
            driver: "disks.example.org".to_owned(),
            class: "disks".to_owned(),
            name: "point-data".to_owned(),
            uid: "1".to_owned(),
            content: "snapcontent-1".to_owned(),
            content_uid: "2".to_owned(),
            handle: "snap-1".to_owned(),
            taken: "2024-05-01T10:00:03.5Z".parse().unwrap(),
            size: Some(1024),
            volume_mode: Some("Filesystem".to_owned()),
            group: None,
        }
    }

    #[test]
    fn claim_snapshot_and_content_lead_to_the_handle() {
        let snapshot = snapshot();
        let claim = br#"{"metadata":{"name":"data","annotations":null},"spec":{"volumeName":"pv-1"}}"#;
        let claim: Value = serde_json::from_slice(&snapshot.annotated(claim).unwrap()).unwrap();
        assert_eq!(claim["spec"]["volumeName"], "pv-1");
        let named = &claim["metadata"]["annotations"]["velero.io/volume-snapshot-name"];
        let object = snapshot.volume_snapshot("point");
        assert_eq!(&object["metadata"]["name"], named);
        let content = snapshot.volume_snapshot_content("point");
        assert_eq!(object["status"]["boundVolumeSnapshotContentName"], content["metadata"]["name"]);
        assert_eq!(content["spec"]["source"]["snapshotHandle"], "snap-1");
        assert_eq!(content["status"]["creationTime"], 1_714_557_603_500_000_000_i64);
        assert_eq!(snapshot.annotated(b"[]"), None);
    }

    #[test]
    fn what_became_of_a_volume_is_said_whatever_it_was() {
        let labels = BTreeMap::new();
        let at: Timestamp = "2024-05-01T10:00:03Z".parse().unwrap();
        let facts = VolumeFacts {
            namespace: "staging",
            claim: "data",
            volume: "pv-1",
            persistent_volume: Some(("Delete", &labels)),
            started: at,
            completed: at,
        };
        assert_eq!(facts.taken(&snapshot(), true).handle(), Some("snap-1"));
        assert_eq!(facts.taken(&snapshot(), false).result, "failed");
        let member = CsiSnapshot { group: Some("group-1".to_owned()), ..snapshot() };
        let annotations = &member.volume_snapshot("point")["metadata"]["annotations"];
        assert_eq!(annotations["velero.io/csi-volumegroupsnapshot-handle"], "group-1");
        assert_eq!(facts.taken(&member, true).csi_snapshot_info.unwrap().volume_group_snapshot_handle, "group-1");
        assert_eq!((facts.failed().handle(), facts.failed().result), (None, "failed".to_owned()));
        assert_eq!((facts.skipped("so").skipped, facts.skipped("so").backup_method), (true, String::new()));
    }
}
