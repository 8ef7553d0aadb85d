//! What policies and stores mean to a Velero server, held against what is there.
//!
//! ```text
//! environments + policies + stores ─┐
//!                                   ├─► SchedulePlan: per Schedule and location missing, same, or differing field by field;
//! what lives in Velero's namespace ─┘                 what is ours and no longer wanted; what is somebody else's
//! ```
//!
//! Only fields that the model decides are named, so that server-side apply leaves everybody else's alone, Velero's own included.

mod backup;
pub(crate) mod location;
mod logs;
mod observed;
pub(crate) mod plan;
mod reader;
mod remedy;
mod restore;
mod schedule;
pub(crate) mod snapshot_class;
pub(crate) mod snapshot_location;
mod version;

use dxdr_environment::ResourceKind;

pub use backup::{DATABASES_ANNOTATION, NoLocation, RUN_LABEL, VeleroBackupPlan, VeleroBackupSteps, backup_plan, location_of};
pub use location::leads_elsewhere;
pub use logs::{databases_then, logs_then};
pub use observed::{CredentialObserved, Observed};
pub use plan::{SchedulePlan, SchedulesRequest, plan};
pub use remedy::remedy;
pub use restore::{
    RESTORED_BY, RestoreOfFiles, RestoreOfVolumes, VOID, attempt, came_with, is_attempt, restore_of_everything, restore_of_files,
    restore_of_volumes,
};
pub use schedule::schedule_name;
pub use snapshot_class::snapshot_classes;
pub use version::{CronParser, VeleroVersion};

/// The namespace in which Velero is installed unless somebody says otherwise.
pub const NAMESPACE: &str = "velero";
/// Label with the policy's name on what is compiled from it.
pub const POLICY_LABEL: &str = "dxdr.io/policy";

/// A kind of Velero's first API version.
pub fn kind(kind: &str, plural: &str) -> ResourceKind {
    ResourceKind {
        group: "velero.io".to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
    }
}

/// `schedules.velero.io`
pub fn schedules() -> ResourceKind {
    kind("Schedule", "schedules")
}

/// `backupstoragelocations.velero.io`
pub fn storage_locations() -> ResourceKind {
    kind("BackupStorageLocation", "backupstoragelocations")
}

/// `volumesnapshotlocations.velero.io`
pub fn snapshot_locations() -> ResourceKind {
    kind("VolumeSnapshotLocation", "volumesnapshotlocations")
}

/// `backups.velero.io`
pub fn backups() -> ResourceKind {
    kind("Backup", "backups")
}

/// `restores.velero.io`
pub fn restores() -> ResourceKind {
    kind("Restore", "restores")
}

/// `configmaps`, in which Velero is told how to change what it restores.
pub fn configmaps() -> ResourceKind {
    ResourceKind { group: String::new(), ..kind("ConfigMap", "configmaps") }
}

/// `podvolumerestores.velero.io`
pub fn pod_volume_restores() -> ResourceKind {
    kind("PodVolumeRestore", "podvolumerestores")
}

/// `datadownloads.velero.io`: a data mover at work for a claim that is restored.
pub fn data_downloads() -> ResourceKind {
    ResourceKind { version: "v2alpha1".to_owned(), ..kind("DataDownload", "datadownloads") }
}

/// `serverstatusrequests.velero.io`
pub fn server_status_requests() -> ResourceKind {
    kind("ServerStatusRequest", "serverstatusrequests")
}
