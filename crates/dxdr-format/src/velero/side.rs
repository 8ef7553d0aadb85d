//! The objects that stand beside the archive of a backup of ours. Velero needs none of them; `velero describe --details` and
//! `velero backup logs` show them.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    csi_snapshot::CsiSnapshot,
    item_operation,
    layout::BackupObject,
    pod_volume_backup,
    resource_list::{self, ResourceList},
    results::{self, Messages, Results},
    volume_info::{self, VolumeInfo},
    volume_snapshot,
};
use crate::{FormatError, compressed};

/// What they tell.
#[derive(Debug, Clone, Copy)]
pub struct SideObjects<'a> {
    /// Of the backup.
    pub name: &'a str,
    /// `apps/v1/Deployment` to `NAMESPACE/NAME` of each object.
    pub resource_list: &'a BTreeMap<String, Vec<String>>,
    /// What could not be captured, and why.
    pub errors: &'a [String],
    /// What became of each volume.
    pub volumes: &'a [VolumeInfo],
    /// What the storage has taken of them.
    pub snapshots: &'a [CsiSnapshot],
    /// When capturing began.
    pub started: Timestamp,
    /// When it ended.
    pub completed: Timestamp,
    /// Objects in the archive.
    pub items: u64,
}

impl SideObjects<'_> {
    /// Their keys in the backup's folder, and their bytes: the same for the same arguments.
    pub fn encode(&self) -> Result<Vec<(String, Vec<u8>)>, FormatError> {
        let errors = Messages { velero: self.errors.to_vec(), ..Messages::default() };
        let mut objects = vec![
            (BackupObject::Logs, compressed::compress("log", self.log().as_bytes())?),
            (BackupObject::Results, results::encode(&Results { errors, warnings: Messages::default() })?),
            (BackupObject::ResourceList, resource_list::encode(&ResourceList(self.resource_list.clone()))?),
            (BackupObject::VolumeInfo, volume_info::encode(self.volumes)?),
            (BackupObject::ItemOperations, item_operation::encode(&[])?),
            (BackupObject::VolumeSnapshots, volume_snapshot::encode(&[])?),
            (BackupObject::PodVolumeBackups, pod_volume_backup::encode(&[])?),
        ];
        if !self.snapshots.is_empty() {
            // Servers up to 1.15 delete the storage's snapshots through the contents in the cluster, and make those of others' backups from this
            // object; later ones make them of the archive.
            let contents: Vec<Value> =
                self.snapshots.iter().map(|snapshot| snapshot.volume_snapshot_content(self.name)).collect();
            objects.push((BackupObject::CsiVolumeSnapshotContents, volume_snapshot::encode_csi(&contents)?));
        }
        Ok(objects.into_iter().map(|(object, bytes)| (object.file_name(self.name), bytes)).collect())
    }

    /// In the form of Velero's log lines, so that tools which read these read ours.
    fn log(&self) -> String {
        let mut log = String::new();
        let mut line = |at: Timestamp, level: &str, message: &str| {
            // Writing to a String does not fail.
            let _ = writeln!(log, "time={:?} level={level} msg={message:?} backup={:?}", at.to_string(), self.name);
        };
        line(self.started, "info", "Backup by dxdr begins");
        for error in self.errors {
            line(self.completed, "error", error);
        }
        line(self.completed, "info", &format!("Backed up a total of {} items", self.items));
        log
    }
}
