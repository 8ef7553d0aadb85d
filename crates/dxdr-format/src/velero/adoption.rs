//! What a backup that Velero made is as a recovery point. A pure function of what lies in its folder: whoever adopts it, and whenever,
//! the manifest is the same.

use std::collections::BTreeMap;

use dxdr_catalog::{
    CapturedKind, Component, Engine, Gap, Interval, PodVolume, RecoveryPoint, ResourcesComponent, SourceCluster, StoredObject,
    Trigger, VolumeComponent,
};
use dxdr_environment::EnvironmentName;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    archive::ItemPath,
    backup::Backup,
    results::{Messages, Results},
    volume_info::VolumeInfo,
};

/// Label with the environment's name, on what dxdr's Schedules make.
pub const ENVIRONMENT_LABEL: &str = "dxdr.io/environment";
/// Label with the policy's name.
pub const POLICY_LABEL: &str = "dxdr.io/policy";
/// Label with the run that asked for the backup.
pub const RUN_LABEL: &str = "dxdr.io/run";
/// Label with the Schedule's name.
const SCHEDULE_LABEL: &str = "velero.io/schedule-name";
/// So many of Velero's errors are named; its own results have all of them.
const ERRORS_NAMED: usize = 20;

/// What an archive holds, gathered item by item.
#[derive(Debug, Default)]
pub struct ArchiveFacts {
    items: u64,
    bytes: u64,
    kinds: BTreeMap<(String, String, Option<String>), u64>,
    /// Claims in it: namespace and name.
    claims: Vec<(String, String)>,
    /// When the storage took each snapshot, by its handle.
    taken: BTreeMap<String, Timestamp>,
}

impl ArchiveFacts {
    /// Takes the next item.
    pub fn observe(&mut self, path: &ItemPath, json: &[u8]) {
        self.items += 1;
        self.bytes += json.len() as u64;
        let version = path.version.clone().unwrap_or_default();
        *self.kinds.entry((path.group_resource.clone(), version, path.namespace.clone())).or_default() += 1;
        match (path.group_resource.as_str(), &path.namespace) {
            ("persistentvolumeclaims", Some(namespace)) => self.claims.push((namespace.clone(), path.name.clone())),
            ("volumesnapshotcontents.snapshot.storage.k8s.io", None) => {
                self.taken.extend(serde_json::from_slice(json).ok().as_ref().and_then(taken));
            }
            _ => {}
        }
    }
}

/// A content's handle, and when the storage took the snapshot: nanoseconds since 1970.
fn taken(content: &Value) -> Option<(String, Timestamp)> {
    let handle = content.pointer("/status/snapshotHandle")?.as_str()?;
    let nanoseconds = content.pointer("/status/creationTime")?.as_i64()?;
    Some((handle.to_owned(), Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()?))
}

/// What lies in the folder of a backup.
#[derive(Debug)]
pub struct Folder<'a> {
    /// `velero-backup.json`
    pub backup: &'a Backup,
    /// Of the archive.
    pub archive: &'a ArchiveFacts,
    /// `NAME-volumeinfo.json.gz`
    pub volumes: &'a [VolumeInfo],
    /// `NAME-results.gz`
    pub results: &'a Results,
    /// Every object but our manifest, with its size and hash.
    pub objects: Vec<StoredObject>,
}

/// Whose backup it is, if dxdr had it made and it can be restored.
pub fn environment_of(backup: &Backup) -> Option<EnvironmentName> {
    let restorable = matches!(backup.status.phase.as_str(), "Completed" | "PartiallyFailed");
    let complete = restorable && backup.status.start_timestamp.is_some() && backup.status.completion_timestamp.is_some();
    let name = backup.metadata.labels.get(ENVIRONMENT_LABEL).filter(|_| complete)?;
    EnvironmentName::parse(name).ok()
}

/// The recovery point; `None` for a backup that is not one of dxdr's environments, or not restorable.
pub fn recovery_point(folder: Folder<'_>) -> Option<RecoveryPoint> {
    let Folder { backup, archive, volumes, results, objects } = folder;
    let environment = environment_of(backup)?;
    let (started, completed) = (backup.status.start_timestamp?, backup.status.completion_timestamp?);
    let label = |name: &str| backup.metadata.labels.get(name).cloned();
    let annotation = |name: &str| backup.metadata.annotations.get(name).cloned();
    let kinds = archive
        .kinds
        .iter()
        .map(|((group_resource, version, namespace), items)| CapturedKind {
            group_resource: group_resource.clone(),
            version: version.clone(),
            namespace: namespace.clone(),
            // Velero does not say which list it read.
            resource_version: String::new(),
            items: *items,
        })
        .collect();
    // It does not say when in between it has read what.
    let between = Some(Interval { first: started, last: Interval::told(completed).last });
    let resources = ResourcesComponent { instant: completed, between, items: archive.items, bytes: archive.bytes, kinds };
    let mut components = vec![Component::Resources(resources)];
    components.extend(captured_volumes(volumes, archive, (started, completed)).map(Component::Volume));
    // Everything in the point was captured at or before its instant; a copy of a volume may have taken longer.
    let instant = components.iter().map(Component::instant).max().unwrap_or(completed);
    Some(RecoveryPoint {
        name: backup.metadata.name.clone(),
        environment,
        namespaces: backup.spec.included_namespaces.clone(),
        engine: Engine::Velero,
        policy: label(POLICY_LABEL),
        trigger: if label(SCHEDULE_LABEL).is_some() { Trigger::Scheduled } else { Trigger::Requested },
        run: label(RUN_LABEL).unwrap_or_default(),
        started,
        instant,
        expires: backup.status.expiration,
        cluster: SourceCluster {
            version: annotation("velero.io/source-cluster-k8s-gitversion").unwrap_or_default(),
            identity: None,
        },
        environment_digest: None,
        components,
        objects,
        gaps: gaps(backup, archive, volumes, results),
    })
}

/// The first and the last instant at which each volume of an adopted point can have been captured, and that of the objects: what an instant in a database's log is chosen
/// by. A storage says when it cut a snapshot; of what Velero says itself nothing is known but that it was at work.
pub fn instants(point: &RecoveryPoint) -> (Vec<Timestamp>, Timestamp) {
    let resources = point.components.iter().find(|component| matches!(component, Component::Resources(_)));
    let objects = resources.map_or(point.instant, Component::instant);
    let volumes = point.components.iter().filter_map(|component| match component {
        Component::Volume(volume) => Some(volume),
        _ => None,
    });
    let volumes = volumes.flat_map(|volume| {
        let told = volume.between.is_none() && volume.instant < objects;
        [if told { volume.instant } else { point.started.min(volume.instant) }, volume.instant]
    });
    (volumes.collect(), objects)
}

/// What Velero kept of volumes. `backup`: when it was started and completed, between which all was taken that nothing else is known of.
pub fn captured_volumes<'a>(
    volumes: &'a [VolumeInfo],
    archive: &'a ArchiveFacts,
    backup: (Timestamp, Timestamp),
) -> impl Iterator<Item = VolumeComponent> + 'a {
    volumes.iter().filter(|volume| captured(volume)).map(move |volume| component(volume, archive, backup))
}

/// What a backup that was to have volumes lacks of those of `namespace`.
pub fn volume_gaps(volumes: &[VolumeInfo], namespace: &str) -> Vec<Gap> {
    let told = volumes.iter().filter(|volume| volume.pvc_namespace == namespace).filter_map(uncaptured);
    told.chain([Gap { what: Gap::volumes(namespace), reason: UNTOLD.to_owned() }]).collect()
}

/// Of a volume that Velero says nothing of.
const UNTOLD: &str = "nothing captured it";

/// Why nothing of a volume was kept; `None` where something was.
fn uncaptured(volume: &VolumeInfo) -> Option<Gap> {
    let reason = match volume {
        volume if captured(volume) || empty(volume) => return None,
        volume if volume.skipped => format!("Velero skipped it: {}", volume.skipped_reason),
        _ => "Velero could not capture it".to_owned(),
    };
    Some(Gap { what: Gap::volume(&volume.pvc_namespace, &volume.pvc_name), reason })
}

/// Whether something of the volume was kept.
fn captured(volume: &VolumeInfo) -> bool {
    !volume.skipped && volume.result != "failed" && volume.handle().is_some()
}

/// Whether there was nothing to be copied: of an empty directory Velero makes no snapshot in its repository, and calls it done.
fn empty(volume: &VolumeInfo) -> bool {
    volume.result == "succeeded" && volume.pvb_info.is_some() && volume.handle().is_none()
}

/// The namespace of what was copied file by file, and in which pod it was read. Where Velero names no claim the volume is the pod's own,
/// as `emptyDir` is.
fn of_pod(volume: &VolumeInfo) -> Option<(String, PodVolume)> {
    let info = volume.pvb_info.as_ref()?;
    Some((info.pod_namespace.clone(), PodVolume { pod: info.pod_name.clone(), volume: info.volume_name.clone() }))
}

fn component(volume: &VolumeInfo, archive: &ArchiveFacts, (started, completed): (Timestamp, Timestamp)) -> VolumeComponent {
    let csi = volume.csi_snapshot_info.as_ref();
    let method = match (volume.backup_method.as_str(), volume.snapshot_data_moved) {
        (_, true) => "data-mover",
        ("PodVolumeBackup", _) => VolumeComponent::FILE_SYSTEM,
        ("NativeSnapshot", _) => "native-snapshot",
        _ => "csi-snapshot",
    };
    let size = [
        csi.map(|info| info.size),
        volume.snapshot_data_movement_info.as_ref().map(|info| info.size),
        volume.pvb_info.as_ref().map(|info| info.size),
    ];
    let size = size.into_iter().flatten().find(|size| *size > 0).and_then(|size| u64::try_from(size).ok());
    let handle = volume.handle().unwrap_or_default().to_owned();
    // A copy file by file is of no instant: what it has was there at its end at the latest.
    let taken = csi.and_then(|info| archive.taken.get(&info.snapshot_handle)).copied();
    let instant = taken.or(volume.completion_timestamp).unwrap_or(completed);
    // What a data mover says begins with its copying, behind the snapshot that it copies.
    let since = if volume.snapshot_data_moved { Some(started) } else { volume.start_timestamp };
    let since = since.filter(|since| taken.is_none() && *since <= instant);
    let (namespace, pod) = match of_pod(volume) {
        Some((namespace, pod)) if volume.pvc_name.is_empty() => (namespace, Some(pod)),
        copied => (volume.pvc_namespace.clone(), copied.map(|(_, pod)| pod)),
    };
    VolumeComponent {
        namespace,
        claim: volume.pvc_name.clone(),
        pod,
        instant,
        between: since.map(|first| Interval { first, last: Interval::told(instant).last }),
        method: method.to_owned(),
        driver: csi.map(|info| info.driver.clone()).unwrap_or_default(),
        handle,
        size,
        late: false,
    }
}

/// What is missing: volumes that were not captured, claims of which nothing is known, and what Velero says went wrong.
fn gaps(backup: &Backup, archive: &ArchiveFacts, volumes: &[VolumeInfo], results: &Results) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let gap = |what: String, reason: &str| Gap { what, reason: reason.to_owned() };
    if backup.spec.promises_volumes() {
        for (namespace, claim) in &archive.claims {
            match volumes.iter().find(|volume| volume.pvc_namespace == *namespace && volume.pvc_name == *claim) {
                Some(volume) => gaps.extend(uncaptured(volume)),
                None => gaps.push(gap(Gap::volume(namespace, claim), UNTOLD)),
            }
        }
    }
    if backup.status.phase == "PartiallyFailed" {
        let messages = said(&results.errors);
        let hidden = messages.len().saturating_sub(ERRORS_NAMED);
        gaps.extend(messages.into_iter().take(ERRORS_NAMED));
        if hidden > 0 {
            gaps.push(gap(format!("{hidden} more errors"), "Velero's results name them"));
        }
        if gaps.is_empty() {
            gaps.push(gap("part of the backup".to_owned(), "Velero calls it PartiallyFailed, and its results do not say why"));
        }
    }
    gaps
}

fn said(errors: &Messages) -> Vec<Gap> {
    let of = |what: String| move |reason: &String| Gap { what: what.clone(), reason: reason.trim().to_owned() };
    let velero = errors.velero.iter().map(of("part of the backup".to_owned()));
    let cluster = errors.cluster.iter().map(of("cluster-scoped objects".to_owned()));
    let namespaces = errors.namespaces.iter().flat_map(|(name, reasons)| reasons.iter().map(of(format!("objects of {name}"))));
    velero.chain(cluster).chain(namespaces).collect()
}

#[cfg(test)]
mod tests {
    use std::slice;

    use serde_json::json;

    use super::super::volume_info::{CsiSnapshotInfo, PodVolumeInfo};
    use super::*;

    fn backup(phase: &str) -> Backup {
        serde_json::from_value(json!({
            "metadata": {"name": "dxdr-staging-20240501100000", "labels": {
                "dxdr.io/environment": "staging", "dxdr.io/policy": "non-production", "velero.io/schedule-name": "dxdr-staging"}},
            "spec": {"includedNamespaces": ["staging"], "snapshotVolumes": true},
            "status": {"phase": phase, "startTimestamp": "2024-05-01T10:00:00Z", "completionTimestamp": "2024-05-01T10:00:09Z",
                "expiration": "2024-05-31T10:00:00Z"}
        }))
        .unwrap()
    }

    fn archive() -> ArchiveFacts {
        let mut facts = ArchiveFacts::default();
        let path = |group_resource: &str, namespace: Option<&str>, name: &str| ItemPath {
            group_resource: group_resource.to_owned(),
            version: Some("v1".to_owned()),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        facts.observe(&path("persistentvolumeclaims", Some("staging"), "data"), b"{}");
        let content = json!({"status": {"snapshotHandle": "snap-1", "creationTime": 1_714_557_603_500_000_000_i64}});
        let contents = path("volumesnapshotcontents.snapshot.storage.k8s.io", None, "content-1");
        facts.observe(&contents, content.to_string().as_bytes());
        facts
    }

    fn volume() -> VolumeInfo {
        let csi = CsiSnapshotInfo {
            snapshot_handle: "snap-1".to_owned(),
            size: 1024,
            driver: "csi.example".to_owned(),
            ..CsiSnapshotInfo::default()
        };
        VolumeInfo {
            pvc_name: "data".to_owned(),
            pvc_namespace: "staging".to_owned(),
            backup_method: "CSISnapshot".to_owned(),
            result: "succeeded".to_owned(),
            csi_snapshot_info: Some(csi),
            ..VolumeInfo::default()
        }
    }

    fn point(backup: &Backup, volumes: &[VolumeInfo], results: &Results) -> Option<RecoveryPoint> {
        recovery_point(Folder { backup, archive: &archive(), volumes, results, objects: Vec::new() })
    }

    #[test]
    fn an_empty_directory_that_was_copied_lacks_nothing() {
        let copied = |result: &str, handle: &str| VolumeInfo {
            pvb_info: Some(PodVolumeInfo { snapshot_handle: handle.to_owned(), ..PodVolumeInfo::default() }),
            csi_snapshot_info: None,
            backup_method: "PodVolumeBackup".to_owned(),
            result: result.to_owned(),
            ..volume()
        };
        for (result, handle, kept, lacking) in
            [("succeeded", "k1", 1, false), ("succeeded", "", 0, false), ("failed", "k1", 0, true), ("failed", "", 0, true)]
        {
            let volume = copied(result, handle);
            assert_eq!(usize::from(captured(&volume)), kept, "{result} {handle}");
            assert_eq!(uncaptured(&volume).is_some(), lacking, "{result} {handle}");
        }
    }

    #[test]
    fn a_scheduled_backup_is_a_point_of_its_environment_with_its_volumes() {
        let point = point(&backup("Completed"), &[volume()], &Results::default()).unwrap();
        assert_eq!((point.environment.as_str(), point.policy.as_deref()), ("staging", Some("non-production")));
        assert_eq!((point.engine, point.trigger.clone()), (Engine::Velero, Trigger::Scheduled));
        assert_eq!(point.instant, "2024-05-01T10:00:09Z".parse().unwrap());
        assert!(point.complete());
        let Some(Component::Volume(volume)) = point.components.get(1) else { panic!("{:?}", point.components) };
        assert_eq!((volume.method.as_str(), volume.handle.as_str(), volume.size), ("csi-snapshot", "snap-1", Some(1024)));
        // The storage's own time, not Velero's.
        assert_eq!(volume.instant, "2024-05-01T10:00:03.5Z".parse().unwrap());
    }

    #[test]
    fn a_claim_that_nothing_captured_makes_the_point_partial_unless_none_was_promised() {
        let point_of = |volumes: &[VolumeInfo]| point(&backup("Completed"), volumes, &Results::default()).unwrap();
        assert_eq!(
            point_of(&[]).gaps,
            [Gap { what: "volume staging/data".to_owned(), reason: "nothing captured it".to_owned() }]
        );
        let skipped = VolumeInfo { skipped: true, skipped_reason: "a policy says so".to_owned(), ..volume() };
        assert_eq!(point_of(slice::from_ref(&skipped)).gaps[0].reason, "Velero skipped it: a policy says so");
        let failed = VolumeInfo { result: "failed".to_owned(), ..volume() };
        assert_eq!(point_of(slice::from_ref(&failed)).gaps.len(), 1);
        let mut without = backup("Completed");
        without.spec.snapshot_volumes = Some(false);
        assert!(point(&without, &[], &Results::default()).unwrap().complete());
    }

    #[test]
    fn what_was_kept_of_a_volume_is_told_by_its_method() {
        let begun = "2024-05-01T10:00:01Z";
        let info = |method: &str, moved: bool, more: serde_json::Value| -> VolumeInfo {
            let mut info = json!({
                "pvcName": "data", "pvcNamespace": "staging", "pvName": "pv-1", "backupMethod": method, "snapshotDataMoved": moved,
                "preserveLocalSnapshot": false, "skipped": false, "result": "succeeded", "startTimestamp": begun,
                "completionTimestamp": "2024-05-01T10:00:07Z"
            });
            info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(info).unwrap()
        };
        // As Velero 1.18.3 writes them.
        let csi = json!({"csiSnapshotInfo": {"snapshotHandle": "snap-1", "size": 1024, "driver": "csi.example", "vscName": "vsc-1",
            "operationID": "staging/velero-data-x/2024-05-01T10:00:01Z", "ReadyToUse": true}});
        let moved = json!({"snapshotDataMovementInfo": {"dataMover": "velero", "uploaderType": "kopia", "retainedSnapshot": "",
            "snapshotHandle": "k0f3", "operationID": "du-1", "size": 2048, "Phase": "Completed"}});
        let native = json!({"nativeSnapshotInfo": {"snapshotHandle": "snap-0a", "volumeType": "gp3", "volumeAZ": "eu-1a",
            "iops": "3000", "Phase": "Completed"}});
        let copied = json!({"pvbInfo": {"snapshotHandle": "k77", "size": 4096, "uploaderType": "kopia", "volumeName": "data",
            "podName": "db-0", "podNamespace": "staging", "nodeName": "n1", "Phase": "Completed"}});
        let (storage, velero) = ("2024-05-01T10:00:03.5Z", "2024-05-01T10:00:07Z");
        for (volume, method, driver, handle, size, instant) in [
            (info("CSISnapshot", false, csi), "csi-snapshot", "csi.example", "snap-1", Some(1024), storage),
            (info("CSISnapshot", true, moved), "data-mover", "", "k0f3", Some(2048), velero),
            (info("NativeSnapshot", false, native), "native-snapshot", "", "snap-0a", None, velero),
            (info("PodVolumeBackup", false, copied), "file-system", "", "k77", Some(4096), velero),
        ] {
            let point = point(&backup("Completed"), slice::from_ref(&volume), &Results::default()).unwrap();
            let [Component::Resources(_), Component::Volume(component)] = &point.components[..] else {
                panic!("{method}: {:?}", point.components)
            };
            let expected = VolumeComponent {
                namespace: "staging".to_owned(),
                claim: "data".to_owned(),
                pod: (method == "file-system").then(|| PodVolume { pod: "db-0".to_owned(), volume: "data".to_owned() }),
                instant: instant.parse().unwrap(),
                // Of what Velero says itself: from the beginning to the end of the second in which it was done. A data mover begins behind the snapshot.
                between: (instant == velero).then(|| Interval {
                    first: if method == "data-mover" {
                        backup("Completed").status.start_timestamp.unwrap()
                    } else {
                        begun.parse().unwrap()
                    },
                    last: "2024-05-01T10:00:08Z".parse().unwrap(),
                }),
                method: method.to_owned(),
                driver: driver.to_owned(),
                handle: handle.to_owned(),
                size,
                late: false,
            };
            assert_eq!(*component, expected);
            assert_eq!(point.gaps, [], "{method}");
        }
    }

    #[test]
    fn a_copy_of_a_volume_without_a_claim_names_its_pod() {
        let copied: VolumeInfo = serde_json::from_value(json!({
            "backupMethod": "PodVolumeBackup", "snapshotDataMoved": false, "preserveLocalSnapshot": false, "skipped": false,
            "result": "succeeded", "startTimestamp": null, "completionTimestamp": null,
            "pvbInfo": {"snapshotHandle": "k77", "size": 4096, "uploaderType": "kopia", "volumeName": "cache", "podName": "web-0",
                "podNamespace": "staging", "nodeName": "n1", "Phase": "Completed"}
        }))
        .unwrap();
        let point = point(&backup("Completed"), &[volume(), copied], &Results::default()).unwrap();
        let Some(Component::Volume(component)) = point.components.get(2) else { panic!("{:?}", point.components) };
        assert_eq!(component.pod, Some(PodVolume { pod: "web-0".to_owned(), volume: "cache".to_owned() }));
        assert_eq!((component.namespace.as_str(), component.claim.as_str()), ("staging", ""));
        assert_eq!(component.to_string(), "volume cache of pod staging/web-0");
        assert!(point.complete());
    }

    #[test]
    fn a_partial_failure_says_why() {
        let mut results = Results::default();
        results.errors.namespaces.insert("staging".to_owned(), vec!["hook failed\n".to_owned()]);
        let partial = point(&backup("PartiallyFailed"), &[volume()], &results).unwrap();
        assert_eq!(partial.gaps, [Gap { what: "objects of staging".to_owned(), reason: "hook failed".to_owned() }]);
        assert!(!point(&backup("PartiallyFailed"), &[volume()], &Results::default()).unwrap().complete());
    }

    #[test]
    fn what_is_not_ours_or_not_over_is_no_point() {
        for phase in ["InProgress", "Failed", "Finalizing", "Deleting", "WaitingForPluginOperations"] {
            assert_eq!(point(&backup(phase), &[], &Results::default()), None, "{phase}");
        }
        let mut foreign = backup("Completed");
        foreign.metadata.labels.clear();
        assert_eq!(point(&foreign, &[], &Results::default()), None);
    }
}
