//! Names of the objects of a Velero backup, relative to its folder `backups/NAME/`.

/// The marker and metadata: written last, with a terminal phase, or not at all.
pub const METADATA: &str = "velero-backup.json";

/// Our manifest. Velero ignores it, and deletes it with the backup.
pub const MANIFEST: &str = "dxdr-manifest.json";

/// Directories that may lie at the root of a storage location. Any other makes the whole location `Unavailable` for every server.
pub const TOP_LEVEL_DIRECTORIES: [&str; 6] = ["backups", "restores", "restic", "metadata", "plugins", "kopia"];

/// An object of a backup beside its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupObject {
    /// `NAME.tar.gz`: the objects.
    Archive,
    /// `NAME-logs.gz`: lines of text.
    Logs,
    /// `NAME-results.gz`: warnings and errors.
    Results,
    /// `NAME-resource-list.json.gz`: names by kind.
    ResourceList,
    /// `NAME-volumeinfo.json.gz`: what became of each volume.
    VolumeInfo,
    /// `NAME-itemoperations.json.gz`: what went on after the archive was written.
    ItemOperations,
    /// `NAME-volumesnapshots.json.gz`: snapshots taken by Velero's own plugins.
    VolumeSnapshots,
    /// `NAME-podvolumebackups.json.gz`: volumes copied file by file.
    PodVolumeBackups,
    /// `NAME-csi-volumesnapshots.json.gz`: up to Velero 1.16.
    CsiVolumeSnapshots,
    /// `NAME-csi-volumesnapshotcontents.json.gz`: up to Velero 1.16.
    CsiVolumeSnapshotContents,
    /// `NAME-csi-volumesnapshotclasses.json.gz`: up to Velero 1.17.
    CsiVolumeSnapshotClasses,
}

impl BackupObject {
    /// All of them, in the order in which dxdr writes those that it writes.
    pub const ALL: [Self; 11] = [
        Self::Archive,
        Self::Logs,
        Self::Results,
        Self::ResourceList,
        Self::VolumeInfo,
        Self::ItemOperations,
        Self::VolumeSnapshots,
        Self::PodVolumeBackups,
        Self::CsiVolumeSnapshots,
        Self::CsiVolumeSnapshotContents,
        Self::CsiVolumeSnapshotClasses,
    ];

    /// What follows the backup's name: `-resource-list.json.gz`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Archive => ".tar.gz",
            Self::Logs => "-logs.gz",
            Self::Results => "-results.gz",
            Self::ResourceList => "-resource-list.json.gz",
            Self::VolumeInfo => "-volumeinfo.json.gz",
            Self::ItemOperations => "-itemoperations.json.gz",
            Self::VolumeSnapshots => "-volumesnapshots.json.gz",
            Self::PodVolumeBackups => "-podvolumebackups.json.gz",
            Self::CsiVolumeSnapshots => "-csi-volumesnapshots.json.gz",
            Self::CsiVolumeSnapshotContents => "-csi-volumesnapshotcontents.json.gz",
            Self::CsiVolumeSnapshotClasses => "-csi-volumesnapshotclasses.json.gz",
        }
    }

    /// Its name in the folder of `backup`.
    pub fn file_name(self, backup: &str) -> String {
        format!("{backup}{}", self.suffix())
    }

    /// Which object of `backup` a file of its folder is; `None` for ours, the metadata, and whatever else lies there.
    pub fn of(backup: &str, file_name: &str) -> Option<Self> {
        let suffix = file_name.strip_prefix(backup)?;
        Self::ALL.into_iter().find(|object| object.suffix() == suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_is_found_by_its_name() {
        for object in BackupObject::ALL {
            assert_eq!(BackupObject::of("a-1", &object.file_name("a-1")), Some(object));
        }
        assert_eq!(BackupObject::of("a-1", METADATA), None);
        assert_eq!(BackupObject::of("a-1", MANIFEST), None);
        assert_eq!(BackupObject::of("a", "a-1.tar.gz"), None);
    }
}
