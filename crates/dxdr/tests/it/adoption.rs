//! What Velero's schedules made while dxdr was away becomes recovery points when somebody looks.

use std::{fs, io::Write as _};

use dxdr_format::velero::archive::{ArchiveWriter, ItemPath};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::place::Place;

const MANIFESTS: &str = "\
apiVersion: dxdr.io/v1alpha1
kind: Environment
metadata: {name: staging}
spec: {namespace: staging, tier: non-production}
---
apiVersion: dxdr.io/v1alpha1
kind: BackupStore
metadata: {name: primary}
spec: {directory: {path: store}}
---
apiVersion: dxdr.io/v1alpha1
kind: BackupPolicy
metadata: {name: all}
spec: {environments: [staging], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, store: primary, retention: {daily: 7}}
";

pub(crate) fn zipped(value: &Value) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(value.to_string().as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// An archive of objects, each with its resource's name in archives.
pub(crate) fn archived(items: &[(&str, Value)]) -> Vec<u8> {
    let mut archive = ArchiveWriter::new(Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    for (group_resource, object) in items {
        let path = ItemPath {
            group_resource: (*group_resource).to_owned(),
            version: object["apiVersion"].as_str().and_then(|version| version.rsplit('/').next()).map(str::to_owned),
            namespace: object["metadata"]["namespace"].as_str().map(str::to_owned),
            name: object["metadata"]["name"].as_str().unwrap().to_owned(),
        };
        archive.append(&path, object.to_string().as_bytes()).unwrap();
    }
    archive.finish().unwrap()
}

/// A folder as Velero leaves it: two objects, one of them a claim with a CSI snapshot.
fn backup(place: &Place, name: &str, phase: &str, labels: &Value) {
    backup_with(place, name, phase, labels, &[]);
}

/// The same with more objects: the resource's name in archives, and the object.
pub(crate) fn backup_with(place: &Place, name: &str, phase: &str, labels: &Value, more: &[(&str, Value)]) {
    let folder = place.path().join("store/backups").join(name);
    fs::create_dir_all(&folder).unwrap();
    let metadata = json!({
        "kind": "Backup", "apiVersion": "velero.io/v1", "metadata": {"name": name, "namespace": "velero", "labels": labels},
        "spec": {"includedNamespaces": ["staging"], "snapshotVolumes": true},
        "status": {"version": 1, "formatVersion": "1.1.0", "phase": phase, "startTimestamp": "2024-05-01T10:00:00Z",
            "completionTimestamp": "2024-05-01T10:00:09Z"}
    });
    let object =
        |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "staging"}});
    let mut claim = object("PersistentVolumeClaim", "data");
    claim["spec"] =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"});
    let items = [("persistentvolumeclaims", claim), ("configmaps", object("ConfigMap", "settings"))];
    let volumes = json!([{"pvcName": "data", "pvcNamespace": "staging", "backupMethod": "CSISnapshot", "result": "succeeded",
        "csiSnapshotInfo": {"snapshotHandle": "snap-1", "size": 1024, "driver": "csi.example.org"}}]);
    let write = |file: &str, bytes: &[u8]| fs::write(folder.join(file), bytes).unwrap();
    write(&format!("{name}.tar.gz"), &archived(&[&items[..], more].concat()));
    write(&format!("{name}-volumeinfo.json.gz"), &zipped(&volumes));
    write("velero-backup.json", metadata.to_string().as_bytes());
}

fn place() -> Place {
    let place = Place::empty();
    fs::create_dir_all(place.path().join("policies")).unwrap();
    fs::write(place.path().join("policies/all.yaml"), MANIFESTS).unwrap();
    place
}

fn manifest(place: &Place, name: &str) -> Option<Vec<u8>> {
    fs::read(place.path().join("store/backups").join(name).join("dxdr-manifest.json")).ok()
}

fn points(place: &Place, more: &[&str]) -> Vec<Value> {
    let said = place.run(&[&["points", "staging", "--output", "json"], more].concat()).exits(0);
    let page: Value = serde_json::from_str(&said.stdout).unwrap();
    page["points"].as_array().unwrap().clone()
}

const NAME: &str = "dxdr-staging-20240501100000";

fn ours() -> Value {
    json!({"dxdr.io/environment": "staging", "dxdr.io/policy": "all", "velero.io/schedule-name": "dxdr-staging"})
}

#[test]
fn a_scheduled_backup_is_adopted_once_and_is_the_same_whoever_does_it() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    let first = points(&place, &[]);
    assert_eq!((first[0]["name"].as_str(), first[0]["state"].as_str()), (Some(NAME), Some("complete")));
    assert_eq!(first[0]["components"][1]["claim"], "data");
    let written = manifest(&place, NAME).unwrap();
    assert_eq!(points(&place, &[]), first);
    assert_eq!(manifest(&place, NAME).unwrap(), written);
    // The index has it: an instant finds it.
    place.run(&["restore", "--at", "2024-05-01T11:00Z", "staging", "--plan"]).exits(0);
    fs::remove_file(place.path().join("store/backups").join(NAME).join("dxdr-manifest.json")).unwrap();
    points(&place, &[]);
    assert_eq!(manifest(&place, NAME).unwrap(), written);
}

#[test]
fn a_backup_of_an_environment_that_nobody_here_declares_waits_for_somebody_who_does() {
    let place = Place::empty();
    fs::create_dir_all(place.path().join("policies")).unwrap();
    backup(&place, "dxdr-staging-20240501090000", "Completed", &ours());
    backup(&place, NAME, "Completed", &ours());
    let manifests = |text: &str| fs::write(place.path().join("policies/all.yaml"), text).unwrap();
    let without_environment = MANIFESTS.replace("staging", "dev");
    let policy_of_another = format!("{without_environment}---\n{}", MANIFESTS.split("---\n").next().unwrap());
    for declared in [without_environment, policy_of_another] {
        manifests(&declared);
        let said = place.run(&["points"]).exits(0);
        let waits = format!("not adopted yet: 2 backups of Velero's of environment `staging` (the last is {NAME})");
        assert!(said.stderr.contains(&waits) && said.stderr.contains("`dxdr points staging`"), "{}", said.stderr);
        assert!(said.stdout.contains(NAME), "it is listed as Velero's own: {}", said.stdout);
        assert_eq!(manifest(&place, NAME), None);
    }
    manifests(MANIFESTS);
    assert_eq!(points(&place, &[])[0]["state"], "complete");
    assert!(manifest(&place, NAME).is_some());
}

#[test]
fn copies_of_volumes_without_a_claim_are_in_the_point_and_what_becomes_of_them_in_the_plan() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    let copy = json!([{"backupMethod": "PodVolumeBackup", "result": "succeeded", "completionTimestamp": "2024-05-01T10:00:08Z",
        "pvbInfo": {"snapshotHandle": "k77", "size": 4096, "uploaderType": "kopia", "volumeName": "cache", "podName": "web-0",
            "podNamespace": "staging", "nodeName": "n1"}}]);
    let folder = place.path().join("store/backups").join(NAME);
    fs::write(folder.join(format!("{NAME}-volumeinfo.json.gz")), zipped(&copy)).unwrap();
    let point = points(&place, &[]).remove(0);
    let component = &point["components"][1];
    assert_eq!(component["pod"], json!({"name": "web-0", "volume": "cache"}), "{point:#}");
    assert_eq!((&component["method"], &component["claim"]), (&json!("file-system"), &json!("")));
    // Nothing captured the claim.
    assert_eq!(point["gaps"][0]["what"], "volume staging/data");
    let said = place.run(&["restore", "--point", NAME, "staging", "--plan"]).exits(0).stdout;
    assert!(said.contains("1 volume of pods without a claim will be empty") && said.contains("pods staging/web-0"), "{said}");
}

#[test]
fn what_is_not_over_or_somebody_else_s_or_only_looked_at_stays_as_it_is() {
    let place = place();
    backup(&place, "dxdr-staging-20240501110000", "Finalizing", &ours());
    backup(&place, "nightly-20240501120000", "Completed", &json!({"velero.io/schedule-name": "nightly"}));
    backup(&place, NAME, "Completed", &ours());
    points(&place, &["--no-adopt"]);
    assert_eq!(manifest(&place, NAME), None);
    points(&place, &[]);
    assert!(manifest(&place, NAME).is_some());
    assert_eq!(manifest(&place, "dxdr-staging-20240501110000"), None);
    assert_eq!(manifest(&place, "nightly-20240501120000"), None);
}

#[test]
fn an_archive_that_is_cut_in_half_is_told_and_no_point() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    let archive = place.path().join("store/backups").join(NAME).join(format!("{NAME}.tar.gz"));
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    let said = place.run(&["points", "staging"]).exits(0);
    assert!(said.stderr.contains("cannot be adopted"), "{}", said.stderr);
    assert_eq!(manifest(&place, NAME), None);
}

#[test]
fn a_backup_that_velero_deleted_takes_its_point_along() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    points(&place, &[]);
    fs::remove_dir_all(place.path().join("store/backups").join(NAME)).unwrap();
    assert_eq!(points(&place, &[]), Vec::<Value>::new());
    place.run(&["restore", "--at", "2024-05-01T11:00Z", "staging", "--plan"]).refuses(5);
}

#[test]
fn a_point_whose_parts_are_too_far_apart_is_refused_unless_that_is_said_to_be_fine() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    // The snapshot's own time is not in the archive, so that Velero's counts: of ten minutes later.
    let folder = place.path().join("store/backups").join(NAME);
    let volumes = json!([{"pvcName": "data", "pvcNamespace": "staging", "backupMethod": "CSISnapshot", "result": "succeeded",
        "completionTimestamp": "2024-05-01T10:20:09Z", "csiSnapshotInfo": {"snapshotHandle": "snap-1", "driver": "csi.example.org"}}]);
    fs::write(folder.join(format!("{NAME}-volumeinfo.json.gz")), zipped(&volumes)).unwrap();
    points(&place, &[]);
    let restore = ["restore", "--at", "2024-05-01T11:00Z", "staging", "--plan"];
    let said = place.run(&restore).refuses(5);
    assert!(said.stderr.contains("--max-skew 20m 10s`"), "{}", said.stderr);
    // What is known of the objects is that they were read within nine seconds, and of the volume a whole second.
    place.run(&[&restore[..], &["--max-skew", "20m"]].concat()).refuses(5);
    let said = place.run(&[&restore[..], &["--max-skew", "20m 10s"]].concat()).exits(0);
    assert!(said.stdout.contains("volume staging/data as of 2024-05-01T10:20:09Z"), "{}", said.stdout);
    let said = place.run(&[&restore[..], &["--max-skew", "20m 10s", "--output", "json"]].concat()).exits(0);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    // At most: Velero began to read objects nine seconds before it was done, and the volume's second may have been almost over.
    assert_eq!((&plan["skewSeconds"], &plan["components"][1]["component"]), (&json!(1210), &json!("volume staging/data")));
}

#[test]
fn what_takes_hours_by_nature_is_refused_only_where_a_limit_is_declared() {
    let place = place();
    backup(&place, NAME, "Completed", &ours());
    let copies = json!([{"pvcName": "data", "pvcNamespace": "staging", "backupMethod": "PodVolumeBackup", "result": "succeeded",
        "startTimestamp": "2024-05-01T11:00:00Z", "completionTimestamp": "2024-05-01T13:00:00Z",
        "pvbInfo": {"snapshotHandle": "k77", "size": 4096, "uploaderType": "kopia", "volumeName": "data", "podName": "web-0",
            "podNamespace": "staging", "nodeName": "n1"}}]);
    let folder = place.path().join("store/backups").join(NAME);
    fs::write(folder.join(format!("{NAME}-volumeinfo.json.gz")), zipped(&copies)).unwrap();
    let listed = |apart: usize| {
        let said = place.run(&["points", "staging", "--output", "json"]).exits(0);
        let page: Value = serde_json::from_str(&said.stdout).unwrap();
        let found = (page["apart"].as_array().unwrap().len(), &page["points"][0]["skewSeconds"]);
        assert_eq!(found, (apart, &json!(10_801)), "{page:#}");
    };
    listed(0);
    let restore = ["restore", "--point", NAME, "staging", "--empty-volumes", "--plan"];
    place.run(&restore).exits(0);
    let said = place.run(&[&restore[..], &["--max-skew", "10m"]].concat()).refuses(5);
    assert!(said.stderr.contains("10m is allowed"), "{}", said.stderr);
    let declared = MANIFESTS.replace("retention:", "maxSkew: 10m, retention:");
    fs::write(place.path().join("policies/all.yaml"), declared).unwrap();
    listed(1);
    place.run(&restore).refuses(5);
}

#[test]
fn a_point_that_velero_deleted_leaves_the_index_too_and_one_that_is_being_written_does_not() {
    let place = place();
    let labels = ours();
    for name in ["dxdr-staging-20240501100000", "dxdr-staging-20240502100000"] {
        backup(&place, name, "Completed", &labels);
    }
    assert_eq!(points(&place, &[]).len(), 2);
    let index = || {
        let mut names: Vec<String> = fs::read_dir(place.path().join("store/metadata/dxdr/points/staging"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(index().len(), 2);
    let folder = |name: &str| place.path().join("store/backups").join(name);
    fs::remove_dir_all(folder("dxdr-staging-20240501100000")).unwrap();
    // Everything but the manifest is there, as a moment before the end of a backup.
    fs::remove_file(folder("dxdr-staging-20240502100000").join("dxdr-manifest.json")).unwrap();
    fs::remove_file(folder("dxdr-staging-20240502100000").join("velero-backup.json")).unwrap();
    assert_eq!(points(&place, &["--no-adopt"]).len(), 0);
    assert_eq!(index().len(), 2);
    assert_eq!(points(&place, &[]).len(), 0);
    assert_eq!(index().len(), 1);
    assert!(index()[0].ends_with("dxdr-staging-20240502100000"), "{:?}", index());
}
