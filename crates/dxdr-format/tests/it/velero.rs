//! What a real Velero server wrote is read, and what is written beside an archive is read again.

use std::{collections::BTreeMap, path::Path};

use dxdr_catalog::ForeignBackup;
use dxdr_format::velero::{
    archive::{ArchiveReader, ArchiveWriter, ItemPath, Limits},
    backup,
    csi_snapshot::CsiSnapshot,
    item_operation::{self, ItemOperation, OperationSpec, OperationStatus, ResourceIdentifier},
    layout::BackupObject,
    pod_volume_backup::{self, PodVolumeBackup},
    resource_list::{self, ResourceList},
    results::{self, Messages, Results},
    side::SideObjects,
    volume_info::{self, CsiSnapshotInfo, VolumeInfo},
    volume_snapshot::{self, SnapshotSpec, VolumeSnapshot},
};
use serde_json::{Value, json};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/velero-1.18.3/shop-1").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn golden_object(object: BackupObject) -> Vec<u8> {
    golden(&object.file_name("shop-1"))
}

fn items(bytes: &[u8]) -> Vec<(ItemPath, Vec<u8>)> {
    let mut reader = ArchiveReader::new(bytes, Limits::default());
    let mut items = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        items.push((item.path.clone(), item.json.to_vec()));
    }
    assert_eq!(reader.summary().unknown, 0);
    assert_eq!(reader.summary().format_version.as_deref(), Some("1.1.0"));
    items
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes), &mut content).unwrap();
    content
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn veleros_archive_is_read_whole() {
    let items = items(&golden_object(BackupObject::Archive));
    let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, json) in &items {
        let object: Value = serde_json::from_slice(json).unwrap();
        assert_eq!(object["metadata"]["name"], path.name.as_str());
        let api_version = object["apiVersion"].as_str().unwrap();
        assert_eq!(api_version.rsplit('/').next(), path.version.as_deref(), "{path}: the preferred copy says the version");
        let name = path.namespace.as_ref().map_or(path.name.clone(), |namespace| format!("{namespace}/{}", path.name));
        listed.entry(format!("{api_version}/{}", object["kind"].as_str().unwrap())).or_default().push(name);
    }
    listed.values_mut().for_each(|names| names.sort());
    assert_eq!(resource_list::decode(&golden_object(BackupObject::ResourceList)).unwrap(), ResourceList(listed));
    let settings = items.iter().find(|(path, _)| path.name == "settings").unwrap();
    assert!(String::from_utf8_lossy(&settings.1).contains("\\u003ca href"), "bytes are as they were stored");
    assert!(items.iter().any(|(path, _)| path.name == "a".repeat(120)), "a long name is read");
}

#[test]
fn our_archive_of_veleros_items_has_veleros_bytes_inside_but_for_the_time() {
    let theirs = golden_object(BackupObject::Archive);
    let mut writer = ArchiveWriter::new(Vec::new(), jiff::Timestamp::UNIX_EPOCH).unwrap();
    for (path, json) in items(&theirs) {
        writer.append(&path, &json).unwrap();
    }
    let ours = writer.finish().unwrap();
    assert_eq!(ours[..10], theirs[..10]);
    // Without what time changes, and the name in front of a PAX record, which nobody reads.
    let listing = |bytes: &[u8]| -> Vec<_> {
        let content = gunzip(bytes);
        let mut archive = tar::Archive::new(&content[..]);
        let mut entries = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut header = entry.header().as_bytes().to_vec();
            header[136..156].fill(0);
            if entry.path_bytes().len() > 100 {
                header[..100].fill(0);
            }
            let path = entry.path_bytes().into_owned();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            entries.push((path, header, content));
        }
        entries
    };
    assert_eq!(listing(&ours), listing(&theirs));
}

#[test]
fn veleros_metadata_is_read() {
    let backup = backup::decode(&golden("velero-backup.json")).unwrap();
    assert!(backup.terminal());
    assert_eq!(backup.metadata.annotations["velero.io/source-cluster-k8s-gitversion"], "v1.36.3");
    assert_eq!(backup.spec.ttl.as_deref(), Some("720h0m0s"));
    let foreign = ForeignBackup::from(backup.clone());
    assert_eq!(foreign.name, "shop-1");
    assert!(foreign.restorable() && foreign.covers("shop") && !foreign.covers("other"));
    assert_eq!(foreign.items, Some(13));
    assert!(foreign.started.is_some() && foreign.completed > foreign.started && foreign.expires > foreign.completed);
    assert_eq!(backup::decode(&backup::encode(&backup).unwrap()).unwrap(), backup);
}

#[test]
fn what_velero_writes_beside_is_read() {
    assert_eq!(results::decode(&golden_object(BackupObject::Results)).unwrap(), Results::default());
    assert_eq!(volume_info::decode(&golden_object(BackupObject::VolumeInfo)).unwrap(), []);
    assert_eq!(item_operation::decode(&golden_object(BackupObject::ItemOperations)).unwrap(), []);
    assert_eq!(volume_snapshot::decode(&golden_object(BackupObject::VolumeSnapshots)).unwrap(), []);
    assert_eq!(pod_volume_backup::decode(&golden_object(BackupObject::PodVolumeBackups)).unwrap(), []);
}

#[test]
fn what_we_write_beside_has_veleros_text() {
    let list = resource_list::decode(&golden_object(BackupObject::ResourceList)).unwrap();
    assert_eq!(gunzip(&resource_list::encode(&list).unwrap()), gunzip(&golden_object(BackupObject::ResourceList)));
    let results = results::encode(&Results::default()).unwrap();
    assert_eq!(gunzip(&results), gunzip(&golden_object(BackupObject::Results)));
}

#[test]
fn fields_that_go_leaves_without_a_name_are_capitalised() {
    let operation = ItemOperation {
        spec: OperationSpec {
            backup_name: "a".into(),
            backup_uid: "u".into(),
            resource_identifier: ResourceIdentifier {
                group: "snapshot.storage.k8s.io".into(),
                resource: "volumesnapshots".into(),
                namespace: "n".into(),
                name: "v".into(),
            },
            ..OperationSpec::default()
        },
        status: OperationStatus { phase: "Completed".into(), total: 3, completed: 3, ..OperationStatus::default() },
    };
    let bytes = item_operation::encode(std::slice::from_ref(&operation)).unwrap();
    let value: Value = serde_json::from_slice(&gunzip(&bytes)).unwrap();
    assert_eq!(
        value[0]["spec"]["resourceIdentifier"],
        json!({"Group": "snapshot.storage.k8s.io", "Resource": "volumesnapshots", "Namespace": "n", "Name": "v"})
    );
    assert_eq!(value[0]["status"], json!({"phase": "Completed", "nTotal": 3, "nCompleted": 3}));
    assert_eq!(item_operation::decode(&bytes).unwrap(), [operation]);

    let volume = VolumeInfo {
        pvc_name: "data".into(),
        backup_method: "CSISnapshot".into(),
        csi_snapshot_info: Some(CsiSnapshotInfo {
            snapshot_handle: "h".into(),
            ready_to_use: Some(true),
            ..CsiSnapshotInfo::default()
        }),
        ..VolumeInfo::default()
    };
    let bytes = volume_info::encode(std::slice::from_ref(&volume)).unwrap();
    let value: Value = serde_json::from_slice(&gunzip(&bytes)).unwrap();
    assert_eq!(value[0]["csiSnapshotInfo"]["ReadyToUse"], true);
    assert_eq!(volume.handle(), Some("h"));
    assert_eq!(volume_info::decode(&bytes).unwrap(), [volume]);
    let phases = r#"[{"pvbInfo":{"Phase":"Completed","snapshotHandle":"p"}},{"nativeSnapshotInfo":{"Phase":"Failed","iops":"100"}},
        {"snapshotDataMovementInfo":{"Phase":"Completed","operationID":"o"},"pvInfo":{"reclaimPolicy":"Delete","labels":null}}]"#;
    let volumes = volume_info::decode(&gzip(phases)).unwrap();
    assert_eq!(volumes[0].pvb_info.as_ref().unwrap().phase, "Completed");
    assert_eq!(volumes[1].native_snapshot_info.as_ref().unwrap().phase, "Failed");
    assert_eq!(volumes[2].snapshot_data_movement_info.as_ref().unwrap().operation_id, "o");
}

#[test]
fn snapshots_and_pod_volumes_come_back_and_old_files_are_read() {
    let snapshot = VolumeSnapshot {
        spec: SnapshotSpec { provider_volume_id: "vol-1".into(), volume_iops: Some(100), ..SnapshotSpec::default() },
        ..VolumeSnapshot::default()
    };
    let bytes = volume_snapshot::encode(std::slice::from_ref(&snapshot)).unwrap();
    assert!(String::from_utf8(gunzip(&bytes)).unwrap().contains("\"providerVolumeID\":\"vol-1\""));
    assert_eq!(volume_snapshot::decode(&bytes).unwrap(), [snapshot]);
    let volumes = r#"[{"kind":"PodVolumeBackup","apiVersion":"velero.io/v1","metadata":{"name":"a-x","labels":{"velero.io/backup-name":"a"}},
        "spec":{"node":"n","pod":{"kind":"Pod","namespace":"s","name":"p","uid":"u"},"volume":"data","backupStorageLocation":"default",
        "repoIdentifier":"","uploaderType":"kopia","tags":{"a":"b"}},"status":{"phase":"Completed","snapshotID":"k1","progress":{"totalBytes":1}}}]"#;
    let volumes = pod_volume_backup::decode(&gzip(volumes)).unwrap();
    assert_eq!((volumes[0].spec.pod.name.as_str(), volumes[0].status.snapshot_id.as_str()), ("p", "k1"));
    let bytes = pod_volume_backup::encode(&volumes).unwrap();
    assert_eq!(pod_volume_backup::decode(&bytes).unwrap(), volumes);
    assert_eq!(pod_volume_backup::decode(&gzip("null")).unwrap(), Vec::<PodVolumeBackup>::new());
    let csi = volume_snapshot::decode_csi(&gzip(r#"[{"kind":"VolumeSnapshot","metadata":{"name":"v"}}]"#)).unwrap();
    assert_eq!(csi[0]["metadata"]["name"], "v");
    assert!(volume_snapshot::decode_csi(&gzip("null")).unwrap().is_empty());
}

#[test]
fn the_objects_beside_our_archive_are_all_there_and_always_the_same() {
    let list = BTreeMap::from([("v1/Pod".to_owned(), vec!["s/b".to_owned(), "s/a".to_owned()])]);
    let side = SideObjects {
        name: "staging-1",
        resource_list: &list,
        errors: &["secrets in s: forbidden, \"as they say\"".to_owned()],
        volumes: &[],
        snapshots: &[],
        started: "2024-05-01T10:00:00Z".parse().unwrap(),
        completed: "2024-05-01T10:00:04Z".parse().unwrap(),
        items: 2,
    };
    let objects = side.encode().unwrap();
    assert_eq!(side.encode().unwrap(), objects);
    let text: Vec<String> =
        objects.iter().map(|(key, bytes)| format!("{key}\n{}", String::from_utf8(gunzip(bytes)).unwrap())).collect();
    insta::assert_snapshot!(text.concat(), @r#"
    staging-1-logs.gz
    time="2024-05-01T10:00:00Z" level=info msg="Backup by dxdr begins" backup="staging-1"
    time="2024-05-01T10:00:04Z" level=error msg="secrets in s: forbidden, \"as they say\"" backup="staging-1"
    time="2024-05-01T10:00:04Z" level=info msg="Backed up a total of 2 items" backup="staging-1"
    staging-1-results.gz
    {"errors":{"velero":["secrets in s: forbidden, \"as they say\""]},"warnings":{}}
    staging-1-resource-list.json.gz
    {"v1/Pod":["s/a","s/b"]}
    staging-1-volumeinfo.json.gz
    []
    staging-1-itemoperations.json.gz
    []
    staging-1-volumesnapshots.json.gz
    []
    staging-1-podvolumebackups.json.gz
    []
    "#);
    let bytes = &objects.iter().find(|(key, _)| key.ends_with("-results.gz")).unwrap().1;
    let expected = Messages { velero: side.errors.to_vec(), ..Messages::default() };
    assert_eq!(results::decode(bytes).unwrap().errors, expected);

    let snapshot = CsiSnapshot {
        namespace: "s".to_owned(),
        claim: "data".to_owned(),
        volume: "pv-1".to_owned(),
        driver: "disks.example.org".to_owned(),
        class: "disks".to_owned(),
        name: "staging-1-data".to_owned(),
        uid: "1".to_owned(),
        content: "snapcontent-1".to_owned(),
        content_uid: "2".to_owned(),
        handle: "snap-1".to_owned(),
        taken: "2024-05-01T10:00:01Z".parse().unwrap(),
        size: Some(1),
        volume_mode: None,
        group: None,
    };
    let with = SideObjects { snapshots: std::slice::from_ref(&snapshot), ..side }.encode().unwrap();
    let added: Vec<_> = with.iter().filter(|object| !objects.contains(object)).collect();
    let [(key, bytes)] = added.as_slice() else { panic!("{added:?}") };
    assert_eq!(key, "staging-1-csi-volumesnapshotcontents.json.gz");
    // The same that the archive has.
    assert_eq!(volume_snapshot::decode_csi(bytes).unwrap(), [snapshot.volume_snapshot_content("staging-1")]);
}
