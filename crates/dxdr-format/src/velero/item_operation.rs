//! `NAME-itemoperations.json.gz`: what went on after the archive was written, snapshots becoming ready and data being moved.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lenient::{or_default, seconds, zero};
use crate::{FormatError, compressed};

const WHAT: &str = "item operations";

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemOperation {
    /// What it is.
    #[serde(deserialize_with = "or_default")]
    pub spec: OperationSpec,
    /// How far it came.
    #[serde(deserialize_with = "or_default")]
    pub status: OperationStatus,
}

/// What an operation is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationSpec {
    /// The backup.
    pub backup_name: String,
    /// Its UID.
    #[serde(rename = "backupUID")]
    pub backup_uid: String,
    /// The plugin: `velero.io/csi-volumesnapshot-backupper`.
    pub backup_item_action: String,
    /// The object it is about.
    pub resource_identifier: ResourceIdentifier,
    /// The plugin's name for it.
    #[serde(rename = "operationID")]
    pub operation_id: String,
    /// Objects that are stored again when it is done.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub post_operation_items: Vec<ResourceIdentifier>,
}

/// An object. Velero's type has no JSON names, so its fields are spelled as in Go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ResourceIdentifier {
    /// `snapshot.storage.k8s.io`
    pub group: String,
    /// `volumesnapshots`
    pub resource: String,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How far an operation came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OperationStatus {
    /// `New`, `InProgress`, `Completed`, `Failed`.
    pub phase: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Units that are done.
    #[serde(rename = "nCompleted", deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub completed: u64,
    /// Units there are.
    #[serde(rename = "nTotal", deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub total: u64,
    /// `Byte`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operation_units: String,
    /// The plugin's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When Velero learned of it.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When it began.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When Velero last looked.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub updated: Option<Timestamp>,
}

/// For a store.
pub fn encode(operations: &[ItemOperation]) -> Result<Vec<u8>, FormatError> {
    compressed::encode(WHAT, &operations)
}

/// From a store.
pub fn decode(bytes: &[u8]) -> Result<Vec<ItemOperation>, FormatError> {
    compressed::decode(WHAT, bytes)
}
