//! `velero-backup.json`: the Backup as Velero's API has it. Marker and metadata in one, and hence written last.

use std::collections::BTreeMap;

use dxdr_catalog::{ForeignBackup, SourceCluster};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    duration,
    lenient::{or_default, seconds, zero},
};
use crate::FormatError;

const WHAT: &str = "backup metadata";
const API_VERSION: &str = "velero.io/v1";
const KIND: &str = "Backup";
/// Bytes. Velero reads up to 1 GiB; a Backup that came out of an API server has at most 1.5 MiB.
const LIMIT: u64 = 16 << 20;

/// Phases that a backup does not leave. Metadata in any other must never lie in a store: Velero up to 1.18.2 *runs* a backup whose
/// phase is empty or `New`.
pub const TERMINAL_PHASES: [&str; 3] = ["Completed", "PartiallyFailed", "Failed"];

/// A Velero Backup.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backup {
    /// Who it is.
    pub metadata: Metadata,
    /// What was asked for.
    #[serde(deserialize_with = "or_default")]
    pub spec: Spec,
    /// What came of it.
    #[serde(deserialize_with = "or_default")]
    pub status: Status,
}

/// `metadata`, as far as it matters outside the cluster that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name of the folder, or Velero cannot find the archive.
    pub name: String,
    /// Velero's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// `velero.io/schedule-name`, `velero.io/storage-location` …
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `velero.io/source-cluster-k8s-gitversion` …
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// `spec`: filters and methods. Durations are Go's, `720h0m0s`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "Velero's documentation describes each of its own fields")]
pub struct Spec {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub included_namespaces: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespaces: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub included_resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub excluded_resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub included_cluster_scoped_resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub excluded_cluster_scoped_resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub included_namespace_scoped_resources: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub excluded_namespace_scoped_resources: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<Value>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub or_label_selectors: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_cluster_resources: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_volumes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_move_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_volumes_to_fs_backup: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_location: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub volume_snapshot_locations: Vec<String>,
}

impl Spec {
    /// Whether the data of volumes was to be in it, in whatever way.
    pub fn promises_volumes(&self) -> bool {
        self.snapshot_volumes != Some(false) || self.default_volumes_to_fs_backup == Some(true)
    }
}

/// `status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Always 1.
    #[serde(skip_serializing_if = "zero")]
    pub version: u64,
    /// Of the archive: `1.1.0` when it has both styles of paths. Velero compares it as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format_version: String,
    /// When Velero removes it. `None`: never. In the past: every server with write access removes it at once.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Timestamp>,
    /// One of [`TERMINAL_PHASES`], or it must not be used.
    #[serde(deserialize_with = "or_default")]
    pub phase: String,
    /// Why it was refused.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
    /// A restore from a schedule takes the newest by this.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub start_timestamp: Option<Timestamp>,
    /// When it was complete.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub completion_timestamp: Option<Timestamp>,
    /// Why it failed; `PartiallyFailed` has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// Lines of its log.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub warnings: u64,
    /// Lines of its log.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub errors: u64,
    /// Objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Volumes, by Velero's own plugins.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub volume_snapshots_attempted: u64,
    /// Of these.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub volume_snapshots_completed: u64,
    /// Volumes, by CSI.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub csi_volume_snapshots_attempted: u64,
    /// Of these.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub csi_volume_snapshots_completed: u64,
    /// What went on behind the archive.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub backup_item_operations_attempted: u64,
    /// Of these.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub backup_item_operations_completed: u64,
    /// Of these.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "zero")]
    pub backup_item_operations_failed: u64,
}

/// `status.progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Objects there are.
    pub total_items: u64,
    /// Objects in the archive.
    pub items_backed_up: u64,
}

/// What a backup of ours says of itself to Velero.
#[derive(Debug, Clone)]
pub struct NativeBackup<'a> {
    /// Name of the point, the backup and the folder.
    pub name: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// The run that took it.
    pub run: &'a str,
    /// The namespaces it covers.
    pub namespaces: &'a [String],
    /// Where it was taken.
    pub cluster: &'a SourceCluster,
    /// When it began.
    pub started: Timestamp,
    /// The instant it stands for.
    pub completed: Timestamp,
    /// When retention, ours or Velero's, may remove it.
    pub expires: Option<Timestamp>,
    /// Objects in the archive.
    pub items: u64,
    /// Gaps. With any, the phase is `PartiallyFailed`.
    pub errors: u64,
    /// CSI snapshots: asked for, and to be restored from.
    pub snapshots: (u64, u64),
}

impl Backup {
    /// The metadata of a backup that dxdr took: terminal, with all that `velero describe` shows.
    pub fn native(native: &NativeBackup<'_>) -> Self {
        let mut annotations = BTreeMap::from([
            ("dxdr.io/engine".to_owned(), "native".to_owned()),
            ("dxdr.io/environment".to_owned(), native.environment.to_owned()),
            ("dxdr.io/run".to_owned(), native.run.to_owned()),
        ]);
        let version = &native.cluster.version;
        if !version.is_empty() {
            annotations.insert("velero.io/source-cluster-k8s-gitversion".to_owned(), version.clone());
        }
        let mut numbers = version.trim_start_matches('v').split('.');
        if let (Some(major), Some(minor)) = (numbers.next().filter(|major| !major.is_empty()), numbers.next()) {
            annotations.insert("velero.io/source-cluster-k8s-major-version".to_owned(), major.to_owned());
            annotations.insert("velero.io/source-cluster-k8s-minor-version".to_owned(), minor.to_owned());
        }
        Self {
            metadata: Metadata {
                name: native.name.to_owned(),
                namespace: Some("velero".to_owned()),
                labels: BTreeMap::from([("velero.io/storage-location".to_owned(), "default".to_owned())]),
                annotations,
            },
            spec: Spec {
                included_namespaces: native.namespaces.to_vec(),
                storage_location: Some("default".to_owned()),
                ttl: native.expires.map(|expires| duration::encode(expires.duration_since(native.started))),
                ..Spec::default()
            },
            status: Status {
                version: 1,
                format_version: "1.1.0".to_owned(),
                expiration: native.expires,
                phase: if native.errors == 0 { "Completed" } else { "PartiallyFailed" }.to_owned(),
                start_timestamp: Some(native.started),
                completion_timestamp: Some(native.completed),
                errors: native.errors,
                csi_volume_snapshots_attempted: native.snapshots.0,
                csi_volume_snapshots_completed: native.snapshots.1,
                progress: Some(Progress { total_items: native.items, items_backed_up: native.items }),
                ..Status::default()
            },
        }
    }

    /// Whether nothing will change in it any more.
    pub fn terminal(&self) -> bool {
        TERMINAL_PHASES.contains(&self.status.phase.as_str())
    }
}

impl From<Backup> for ForeignBackup {
    fn from(backup: Backup) -> Self {
        let volumes = backup.spec.promises_volumes();
        Self {
            name: backup.metadata.name,
            included_namespaces: backup.spec.included_namespaces,
            excluded_namespaces: backup.spec.excluded_namespaces,
            phase: backup.status.phase,
            started: backup.status.start_timestamp,
            completed: backup.status.completion_timestamp,
            expires: backup.status.expiration,
            items: backup.status.progress.map(|progress| progress.items_backed_up),
            errors: backup.status.errors,
            warnings: backup.status.warnings,
            schedule: backup.metadata.labels.get("velero.io/schedule-name").cloned(),
            volumes,
        }
    }
}

/// Indented, as Velero writes it. Refused where the phase is not terminal, or the name missing.
pub fn encode(backup: &Backup) -> Result<Vec<u8>, FormatError> {
    #[derive(Serialize)]
    struct Written<'a> {
        kind: &'static str,
        #[serde(rename = "apiVersion")]
        api_version: &'static str,
        #[serde(flatten)]
        backup: &'a Backup,
    }

    if !backup.terminal() {
        let problem = format!("only {} may lie in a store", TERMINAL_PHASES.join(", "));
        return Err(FormatError::Field { what: WHAT, field: "status.phase", found: backup.status.phase.clone(), problem });
    }
    named(backup)?;
    let written = Written { kind: KIND, api_version: API_VERSION, backup };
    serde_json::to_vec_pretty(&written).map_err(|source| FormatError::Json { what: WHAT, source })
}

/// Reads what any Velero wrote; unknown fields are passed over. In which folder it lies, the caller compares with the name.
pub fn decode(bytes: &[u8]) -> Result<Backup, FormatError> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Head {
        kind: String,
        api_version: String,
    }

    if bytes.len() as u64 > LIMIT {
        return Err(FormatError::TooLarge { what: WHAT, limit: LIMIT });
    }
    let json = |source| FormatError::Json { what: WHAT, source };
    let head: Head = serde_json::from_slice(bytes).map_err(json)?;
    if head.kind != KIND || head.api_version != API_VERSION {
        let found = format!("{:?} of {:?}", head.kind, head.api_version);
        return Err(FormatError::Kind { what: WHAT, found, expected: format!("{KIND:?} of {API_VERSION:?}") });
    }
    let backup: Backup = serde_json::from_slice(bytes).map_err(json)?;
    named(&backup)?;
    Ok(backup)
}

fn named(backup: &Backup) -> Result<(), FormatError> {
    if backup.metadata.name.is_empty() {
        let problem = "a backup has the name of its folder".to_owned();
        return Err(FormatError::Field { what: WHAT, field: "metadata.name", found: String::new(), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(errors: u64) -> Backup {
        Backup::native(&NativeBackup {
            name: "staging-20240501t100000z-x7k2m",
            environment: "staging",
            run: "20240501t100000z-backup-staging-x7k2m",
            namespaces: &["staging".to_owned()],
            cluster: &SourceCluster { version: "v1.36.3".to_owned(), identity: None },
            started: "2024-05-01T10:00:00.5Z".parse().unwrap(),
            completed: "2024-05-01T10:00:04.999Z".parse().unwrap(),
            expires: Some("2024-05-31T10:00:00.5Z".parse().unwrap()),
            items: 61,
            errors,
            snapshots: (0, 0),
        })
    }

    #[test]
    fn our_metadata_says_all_that_velero_shows() {
        let text = String::from_utf8(encode(&native(2)).unwrap()).unwrap();
        insta::assert_snapshot!(text, @r#"
        {
          "kind": "Backup",
          "apiVersion": "velero.io/v1",
          "metadata": {
            "name": "staging-20240501t100000z-x7k2m",
            "namespace": "velero",
            "labels": {
              "velero.io/storage-location": "default"
            },
            "annotations": {
              "dxdr.io/engine": "native",
              "dxdr.io/environment": "staging",
              "dxdr.io/run": "20240501t100000z-backup-staging-x7k2m",
              "velero.io/source-cluster-k8s-gitversion": "v1.36.3",
              "velero.io/source-cluster-k8s-major-version": "1",
              "velero.io/source-cluster-k8s-minor-version": "36"
            }
          },
          "spec": {
            "includedNamespaces": [
              "staging"
            ],
            "ttl": "720h0m0s",
            "storageLocation": "default"
          },
          "status": {
            "version": 1,
            "formatVersion": "1.1.0",
            "expiration": "2024-05-31T10:00:00Z",
            "phase": "PartiallyFailed",
            "startTimestamp": "2024-05-01T10:00:00Z",
            "completionTimestamp": "2024-05-01T10:00:04Z",
            "errors": 2,
            "progress": {
              "totalItems": 61,
              "itemsBackedUp": 61
            }
          }
        }
        "#);
    }

    #[test]
    fn metadata_is_never_written_in_a_phase_that_velero_would_run_or_change() {
        for phase in ["", "New", "InProgress", "Finalizing", "Deleting"] {
            let mut backup = native(0);
            backup.status.phase = phase.to_owned();
            assert!(matches!(encode(&backup), Err(FormatError::Field { field: "status.phase", .. })), "{phase}");
        }
    }

    #[test]
    fn the_least_that_velero_takes_is_read() {
        let json = br#"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"a"},"status":{"phase":"Completed"}}"#;
        let foreign = ForeignBackup::from(decode(json).unwrap());
        assert_eq!((foreign.name.as_str(), foreign.phase.as_str(), foreign.completed), ("a", "Completed", None));
    }

    #[test]
    fn nulls_and_unknown_fields_are_passed_over() {
        let json = br#"{"apiVersion":"velero.io/v1","kind":"Backup","later":1,
            "metadata":{"name":"a","labels":null,"creationTimestamp":null},
            "spec":{"includedNamespaces":null,"ttl":null,"later":{}},
            "status":{"phase":"Completed","errors":null,"expiration":null,"progress":null,"hookStatus":{}}}"#;
        let backup = decode(json).unwrap();
        assert_eq!(backup.status.errors, 0);
        assert_eq!(backup.spec, Spec::default());
        decode(br#"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"a"},"spec":null,"status":null}"#).unwrap();
    }

    #[test]
    fn what_is_no_backup_is_refused() {
        for json in [
            "",
            "[]",
            "{}",
            r#"{"apiVersion":"velero.io/v1","kind":"Restore","metadata":{"name":"a"}}"#,
            r#"{"apiVersion":"velero.io/v2","kind":"Backup","metadata":{"name":"a"}}"#,
            r#"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{}}"#,
            r#"{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"a"},"status":{"startTimestamp":"yesterday"}}"#,
        ] {
            assert!(decode(json.as_bytes()).is_err(), "{json}");
        }
    }
}
