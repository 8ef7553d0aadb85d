//! `BackupStore`

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// Where recovery points are kept: a bucket or a directory. Credentials never stand here; they come from where the store's own tools
/// look for them (environment, profile, instance or workload identity).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["s3"]}, {"required": ["gcs"]}, {"required": ["directory"]}]))]
pub(crate) struct BackupStoreSpec {
    /// A bucket of S3, or of a store that speaks its protocol.
    pub(crate) s3: Option<S3Spec>,
    /// A bucket of Google Cloud Storage.
    pub(crate) gcs: Option<GcsSpec>,
    /// A directory: for trying dxdr, and for stores mounted as a file system.
    pub(crate) directory: Option<DirectorySpec>,
    /// What Velero calls this store. Left out: the location of the same bucket and prefix if Velero has one, else one of the store's name.
    pub(crate) velero: Option<VeleroLocationSpec>,
}

/// The BackupStorageLocation of a store.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VeleroLocationSpec {
    /// Its name: `default`.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) location: String,
    /// The Secret in Velero's namespace with the credentials. Left out: those of Velero's server.
    pub(crate) credential: Option<VeleroCredentialSpec>,
    /// VolumeSnapshotLocations for what is backed up into this store, one a provider: for volumes that no CSI driver made, whose
    /// snapshots plugins of Velero's take. Left out: none is made, and backups name none.
    #[serde(default)]
    pub(crate) snapshot_locations: Vec<SnapshotLocationSpec>,
}

/// A VolumeSnapshotLocation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SnapshotLocationSpec {
    /// Its name: `default`.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) name: String,
    /// The plugin that takes the snapshots: `aws`, `gcp`, `azure`, `example.org/storage`.
    #[schemars(length(min = 1))]
    pub(crate) provider: String,
    /// What the plugin is told: `region` for AWS, `project` and `snapshotLocation` for Google, as its documentation says.
    #[serde(default)]
    pub(crate) config: BTreeMap<String, String>,
    /// The Secret in Velero's namespace with the credentials. Left out: those of Velero's server.
    pub(crate) credential: Option<VeleroCredentialSpec>,
}

/// A key of a Secret in Velero's namespace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VeleroCredentialSpec {
    /// The Secret's name.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// The key in it.
    #[schemars(length(min = 1))]
    pub(crate) key: String,
}

/// A bucket of S3.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct S3Spec {
    /// Its name.
    #[schemars(length(min = 1))]
    pub(crate) bucket: String,
    /// Folder in the bucket; the same as that of Velero's BackupStorageLocation to share one. Left out: the whole bucket.
    pub(crate) prefix: Option<String>,
    /// Region. Left out: as the environment of the process says.
    pub(crate) region: Option<String>,
    /// URL of a store that is not AWS: `https://s3.example.org`.
    pub(crate) endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs and not in the host name, as most stores that are not AWS need. False when left
    /// out.
    #[serde(default)]
    pub(crate) force_path_style: bool,
    /// Key of KMS that encrypts what is written, by ARN, id or alias. Left out: as the bucket says.
    pub(crate) kms_key: Option<String>,
    /// Profile of the AWS configuration that holds the credentials. Left out: as the environment of the process says.
    pub(crate) profile: Option<String>,
    /// Who signs the certificate of `endpoint`, as PEM; several may follow one another. Left out: the authorities that the system
    /// trusts. Velero gets it as `caCert` of its location.
    pub(crate) certificate_authority: Option<String>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GcsSpec {
    /// Its name.
    #[schemars(length(min = 1))]
    pub(crate) bucket: String,
    /// Folder in the bucket. Left out: the whole bucket.
    pub(crate) prefix: Option<String>,
    /// Key of Cloud KMS that encrypts what is written, by resource name. Left out: as the bucket says.
    pub(crate) kms_key: Option<String>,
}

/// A directory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DirectorySpec {
    /// Its path. A relative one starts where the command runs.
    #[schemars(length(min = 1))]
    pub(crate) path: String,
}
