//! Where recovery points are kept.

use std::{collections::BTreeMap, path::PathBuf};

/// A store by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStore {
    /// Name of the manifest.
    pub name: String,
    /// Where it is.
    pub location: StoreLocation,
    /// What Velero calls it, where that is fixed.
    pub velero: Option<VeleroLocation>,
}

/// A location of Velero's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VeleroLocation {
    /// Name of the BackupStorageLocation.
    pub name: String,
    /// Name and key of the Secret in Velero's namespace; `None`: the server's own credentials.
    pub credential: Option<(String, String)>,
    /// Where plugins of Velero's own keep snapshots of volumes for what is backed up into the store; at most one of a provider.
    pub snapshot_locations: Vec<SnapshotLocation>,
}

/// A VolumeSnapshotLocation of Velero's: for volumes that no CSI driver made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLocation {
    /// Its name.
    pub name: String,
    /// The plugin: `aws`, `gcp`, `example.org/storage`.
    pub provider: String,
    /// What the plugin is told.
    pub config: BTreeMap<String, String>,
    /// Name and key of the Secret in Velero's namespace; `None`: the server's own credentials.
    pub credential: Option<(String, String)>,
}

impl BackupStore {
    /// The VolumeSnapshotLocations of what is backed up into it.
    pub fn snapshot_locations(&self) -> &[SnapshotLocation] {
        self.velero.as_ref().map_or(&[], |velero| &velero.snapshot_locations)
    }

    /// The KMS key that the server is told to encrypt with.
    pub fn kms_key(&self) -> Option<&str> {
        match &self.location {
            StoreLocation::S3(location) => location.kms_key.as_deref(),
            StoreLocation::Gcs(location) => location.kms_key.as_deref(),
            StoreLocation::Directory { .. } => None,
        }
    }
}

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A bucket of S3, or of something that speaks its protocol.
    S3(S3Location),
    /// A bucket of Google Cloud Storage.
    Gcs(GcsLocation),
    /// A directory of this machine.
    Directory {
        /// Its path.
        path: PathBuf,
    },
}

/// A bucket that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Location {
    /// Name of the bucket.
    pub bucket: String,
    /// Velero's prefix in the bucket, without slashes at its ends; empty: the bucket's root.
    pub prefix: String,
    /// Region; the usual places name it when left out.
    pub region: Option<String>,
    /// URL of a server other than Amazon's.
    pub endpoint: Option<String>,
    /// Bucket in the path instead of the host name.
    pub force_path_style: bool,
    /// KMS key that the server encrypts with.
    pub kms_key: Option<String>,
    /// Profile of the credentials file.
    pub profile: Option<String>,
    /// PEM of who signs the server's certificate; `None`: the authorities that the system trusts.
    pub certificate_authority: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcsLocation {
    /// Name of the bucket.
    pub bucket: String,
    /// Velero's prefix in the bucket, without slashes at its ends; empty: the bucket's root.
    pub prefix: String,
    /// KMS key that the server encrypts with.
    pub kms_key: Option<String>,
}
