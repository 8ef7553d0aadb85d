//! Where the data of a restored volume claim comes from.

use std::collections::BTreeMap;

use dxdr_catalog::{PodVolume, VolumeComponent};
use dxdr_environment::{DesiredObject, ObjectReference, Quantity, ResourceKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{backup::GROUP_SNAPSHOT_GROUP, velero::RUN_LABEL};

/// API group of snapshots.
pub const SNAPSHOTS: &str = "snapshot.storage.k8s.io";

/// The method whose copies of snapshots lie in the store, as a data mover of Velero's wrote them.
pub const DATA_MOVER: &str = "data-mover";
/// The method whose snapshots a plugin of Velero's takes, and makes volumes from.
pub const NATIVE_SNAPSHOT: &str = "native-snapshot";

/// How the data of a claim comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    /// From a snapshot that the storage holds.
    Snapshot {
        /// The CSI driver of the storage.
        driver: String,
        /// The storage's name for the snapshot.
        handle: String,
    },
    /// From what only Velero can read.
    Velero {
        /// `data-mover`, `native-snapshot`.
        method: String,
    },
    /// From a copy made file by file, which Velero alone brings back, and into a pod only.
    Files {
        /// In which pod it was read; `None`: nobody wrote it down.
        pod: Option<PodVolume>,
    },
}

/// The data of one volume, as it was captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedVolume {
    /// Where it is.
    pub source: VolumeSource,
    /// The instant it is of.
    pub instant: Timestamp,
    /// Bytes that a new volume needs.
    pub size: Option<u64>,
    /// Whether nobody knew yet that it can be restored from.
    pub late: bool,
}

impl CapturedVolume {
    /// What a recovery point says of a volume.
    pub fn of(component: &VolumeComponent) -> Self {
        let source = match component.method.as_str() {
            "csi-snapshot" => VolumeSource::Snapshot { driver: component.driver.clone(), handle: component.handle.clone() },
            VolumeComponent::FILE_SYSTEM => VolumeSource::Files { pod: component.pod.clone() },
            method => VolumeSource::Velero { method: method.to_owned() },
        };
        Self { source, instant: component.instant, size: component.size, late: component.late }
    }
}

/// A claim whose volume Velero must bring back, since nobody else can read what it kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VeleroVolume {
    /// The claim, in the target.
    pub claim: ObjectReference,
    /// `data-mover`, `native-snapshot`.
    pub method: String,
    /// The instant it is of.
    pub instant: Timestamp,
    /// The claim's, in the archive: by nothing else does Velero find it among others.
    pub labels: BTreeMap<String, String>,
    /// Its storage class in the archive and in the target, where these differ.
    pub class: Option<(String, String)>,
}

/// Objects through which the storage's snapshot becomes known to the target: a content that stands for it and is kept when it is
/// deleted, and a VolumeSnapshot in the claim's namespace that the claim is filled from. Both are this run's own, so that two restores
/// of one snapshot never meet.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedSnapshot {
    /// The VolumeSnapshotContent.
    pub content: DesiredObject,
    /// The VolumeSnapshot.
    pub snapshot: DesiredObject,
}

/// The objects for one claim. `name`: of both, unique to the run and the claim. `class`: a VolumeSnapshotClass of the driver, where the
/// target has one; drivers that need credentials find them through it. `mode`: the claim's `volumeMode`.
pub fn imported(
    run: &str,
    name: &str,
    claim: &ObjectReference,
    source: (&str, &str),
    class: Option<&str>,
    mode: &str,
) -> ImportedSnapshot {
    let (driver, handle) = source;
    let namespace = claim.namespace.clone().unwrap_or_default();
    let labels = json!({"app.kubernetes.io/managed-by": "dxdr", RUN_LABEL: dxdr_catalog::name::in_label(run)});
    let kind = contents();
    let mut content = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": {
            // Deleting it must never delete the snapshot, which is the backup.
            "deletionPolicy": "Retain",
            "driver": driver,
            "source": {"snapshotHandle": handle},
            "sourceVolumeMode": mode,
            "volumeSnapshotRef": {"apiVersion": snapshots().api_version(), "kind": snapshots().kind, "name": name, "namespace": namespace},
        },
    });
    let mut snapshot = json!({
        "apiVersion": kind.api_version(), "kind": snapshots().kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"source": {"volumeSnapshotContentName": name}},
    });
    if let Some(class) = class {
        for object in [&mut content, &mut snapshot] {
            object["spec"]["volumeSnapshotClassName"] = class.into();
        }
    }
    let reference = |kind: ResourceKind, namespace: Option<String>| ObjectReference { kind, namespace, name: name.to_owned() };
    ImportedSnapshot {
        content: DesiredObject { reference: reference(kind, None), value: content },
        snapshot: DesiredObject { reference: reference(snapshots(), Some(namespace.clone())), value: snapshot },
    }
}

/// The content of a group for the `imported` member of it whose driver says that it is one: without, the snapshot controller never
/// takes the member up. Nothing but the member is looked for through it, and nothing is deleted with it. `version`: of the kind, as the target serves it.
pub fn imported_group(imported: &ImportedSnapshot, group: &str, version: &str) -> DesiredObject {
    let mut reference = contents_of_groups(version);
    reference.name.clone_from(&imported.content.reference.name);
    let spec = imported.content.value.pointer("/spec").cloned().unwrap_or_default();
    let kind = &reference.kind;
    let value = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": reference.name, "labels": imported.content.value.pointer("/metadata/labels")},
        "spec": {
            "deletionPolicy": "Retain",
            "driver": spec.get("driver"),
            "source": {"groupSnapshotHandles": {
                "volumeGroupSnapshotHandle": group,
                "volumeSnapshotHandles": [spec.pointer("/source/snapshotHandle")],
            }},
            "volumeGroupSnapshotRef": {
                "apiVersion": kind.api_version(), "kind": "VolumeGroupSnapshot", "name": reference.name,
                "namespace": imported.snapshot.reference.namespace,
            },
        },
    });
    DesiredObject { reference, value }
}

/// A `volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io` without a name.
pub fn contents_of_groups(version: &str) -> ObjectReference {
    let kind = ResourceKind {
        group: GROUP_SNAPSHOT_GROUP.to_owned(),
        version: version.to_owned(),
        kind: "VolumeGroupSnapshotContent".to_owned(),
        plural: "volumegroupsnapshotcontents".to_owned(),
        namespaced: false,
    };
    ObjectReference { kind, namespace: None, name: String::new() }
}

/// Lets `claim`, which is about to be created, be filled from the VolumeSnapshot `snapshot`, with room for `size` bytes.
pub fn fill(claim: &mut Value, snapshot: &str, size: Option<u64>) {
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.insert("dataSource".to_owned(), json!({"apiGroup": SNAPSHOTS, "kind": snapshots().kind, "name": snapshot}));
    let Some(size) = size else { return };
    let asked = spec.get("resources").and_then(|resources| resources.pointer("/requests/storage")).and_then(Value::as_str);
    // A storage that rounds up makes snapshots that are larger than what was asked for, and no volume smaller than its snapshot.
    let enough = asked.and_then(|asked| Quantity::parse(asked).ok()).zip(Quantity::parse(&size.to_string()).ok());
    if enough.is_none_or(|(asked, needed)| asked < needed) {
        let resources = spec.entry("resources").or_insert_with(|| json!({}));
        if let Some(resources) = resources.as_object_mut() {
            let requests = resources.entry("requests").or_insert_with(|| json!({}));
            if let Some(requests) = requests.as_object_mut() {
                requests.insert("storage".to_owned(), size.to_string().into());
            }
        }
    }
}

/// `persistentvolumeclaims`
pub fn claims() -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "PersistentVolumeClaim".to_owned(),
        plural: "persistentvolumeclaims".to_owned(),
        namespaced: true,
    }
}

/// `volumesnapshots.snapshot.storage.k8s.io`
pub fn snapshots() -> ResourceKind {
    kind("VolumeSnapshot", "volumesnapshots", true)
}

/// `volumesnapshotcontents.snapshot.storage.k8s.io`
pub fn contents() -> ResourceKind {
    kind("VolumeSnapshotContent", "volumesnapshotcontents", false)
}

/// `volumesnapshotclasses.snapshot.storage.k8s.io`
pub fn classes() -> ResourceKind {
    kind("VolumeSnapshotClass", "volumesnapshotclasses", false)
}

fn kind(kind: &str, plural: &str, namespaced: bool) -> ResourceKind {
    ResourceKind {
        group: SNAPSHOTS.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
    }
}
