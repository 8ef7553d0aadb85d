//! Restores that go through a Velero server, whose part the test plays: what dxdr asks for, and what it makes of each answer.

use std::{fs, thread, time::Duration};

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use crate::{
    adoption::{backup_with, zipped},
    gated::Running,
    objects::{self, core, reference},
    scripted_files::{archived_deployment, deployment, run_of},
    served::Served,
};

pub(crate) const BACKUP: &str = "nightly-20240501100000";
const CLAIMS: &str = "persistentvolumeclaims";

/// A cluster with Velero's kinds, and a backup of Velero's in the store.
pub(crate) struct Scripted {
    pub(crate) served: Served,
}

pub(crate) fn velero(kind: &str, name: &str) -> ObjectReference {
    reference("velero.io", "v1", kind, &format!("{}s", kind.to_lowercase()), Some("velero"), name)
}

/// Velero's namespace, and some of its kinds.
pub(crate) fn install(served: &Served, kinds: &[&str]) {
    served.create(objects::namespace("velero"));
    kinds.iter().for_each(|kind| define(served, kind, "v1"));
}

fn define(served: &Served, kind: &str, version: &str) {
    let plural = format!("{}s", kind.to_lowercase());
    let name = format!("{plural}.velero.io");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {
            "group": "velero.io", "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
        }
    });
    let group = "apiextensions.k8s.io";
    let reference = reference(group, "v1", "CustomResourceDefinition", "customresourcedefinitions", None, &name);
    served.create((reference, definition));
}

/// A claim of the archive.
pub(crate) fn claim(name: &str, volume: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "staging", "labels": labels},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "",
            "volumeMode": "Filesystem", "volumeName": volume
        },
        "status": {"phase": "Bound"}
    })
}

fn volume(name: &str, policy: &str, claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": policy,
            "nfs": {"server": "filer.example.org", "path": "/exports"}, "claimRef": {"namespace": "staging", "name": claim}
        }
    })
}

pub(crate) fn moved(claim: &str, volume: &str) -> Value {
    json!({"pvcName": claim, "pvcNamespace": "staging", "pvName": volume, "backupMethod": "CSISnapshot", "snapshotDataMoved": true,
        "result": "succeeded", "snapshotDataMovementInfo": {"dataMover": "velero", "uploaderType": "kopia", "snapshotHandle": "k0f3",
            "operationID": "du-1", "size": 4096, "retainedSnapshot": ""}})
}

fn snapshot(claim: &str, volume: &str) -> Value {
    json!({"pvcName": claim, "pvcNamespace": "staging", "pvName": volume, "backupMethod": "NativeSnapshot", "result": "succeeded",
        "nativeSnapshotInfo": {"snapshotHandle": "snap-0a", "volumeType": "gp3", "iops": ""}})
}

fn restored(claim: &str) -> ObjectReference {
    core("PersistentVolumeClaim", Some("copy"), claim)
}

impl Scripted {
    pub(crate) fn new(volumes: &[Value], objects: &[(&str, Value)]) -> Self {
        let served = Served::new();
        install(&served, &["Backup", "Restore", "PodVolumeRestore"]);
        define(&served, "DataDownload", "v2alpha1");
        let namespace = [("namespaces", objects::namespace("staging").1)];
        let archived = [&namespace[..], objects].concat();
        backup_with(&served.place, BACKUP, "Completed", &json!({"velero.io/schedule-name": "nightly"}), &archived);
        let folder = served.place.path().join("store/backups").join(BACKUP);
        fs::write(folder.join(format!("{BACKUP}-volumeinfo.json.gz")), zipped(&json!(volumes))).unwrap();
        // As Velero does with what it finds in the store.
        served.create((
            velero("Backup", BACKUP),
            json!({
                "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": BACKUP, "namespace": "velero"},
                "spec": {}, "status": {"phase": "Completed", "startTimestamp": "2024-05-01T10:00:00Z"}
            }),
        ));
        Self { served }
    }

    /// With a claim that only Velero can bring back beside one on storage that belongs to the original.
    fn with_volumes() -> Self {
        let objects = [
            (CLAIMS, claim("db", "pv-db", &json!({"app": "db", "velero.io/volume-snapshot-name": "velero-db-x"}))),
            (CLAIMS, claim("files", "nfs", &json!({"app": "files"}))),
            ("persistentvolumes", volume("pv-db", "Delete", "db")),
            ("persistentvolumes", volume("nfs", "Retain", "files")),
            ("deployments.apps", archived_deployment()),
        ];
        Self::new(&[moved("db", "pv-db")], &objects)
    }

    /// With a claim of which a plugin of Velero's took a snapshot.
    fn with_snapshot() -> Self {
        let objects = [
            (CLAIMS, claim("db", "pv-db", &json!({"app": "db"}))),
            ("persistentvolumes", volume("pv-db", "Delete", "db")),
            ("deployments.apps", archived_deployment()),
        ];
        Self::new(&[snapshot("db", "pv-db")], &objects)
    }

    /// The Restore that dxdr asks for.
    pub(crate) fn asked(&self, program: &Running) -> Value {
        self.asked_again(program, 1)
    }

    /// The same when it is the one of that number.
    pub(crate) fn asked_again(&self, program: &Running, number: usize) -> Value {
        for _ in 0..2400 {
            let mut restores = self.served.list(&velero("Restore", "").kind, "velero");
            if restores.len() == number {
                return restores.pop().unwrap();
            }
            if let Some(said) = program.over() {
                panic!("it asked for no Restore:\n{said}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("no Restore was asked for within two minutes");
    }

    /// Makes a claim in the target, as Velero does, long before it is bound.
    fn makes(&self, restore: &Value, name: &str, volume: &str) {
        let mut made = claim(name, volume, &json!({"velero.io/restore-name": restore["metadata"]["name"]}));
        made["metadata"]["namespace"] = "copy".into();
        self.served.create((restored(name), made));
        self.served.set_status(&restored(name), &json!({"phase": "Pending"}));
    }

    /// Moves data into the volume of a claim, as a data mover does.
    fn moves(&self, restore: &Value, claim: &str, status: &Value) {
        let (asked, uid) = (&restore["metadata"]["name"], &restore["metadata"]["uid"]);
        let name = format!("{}-x", asked.as_str().unwrap());
        let labels = json!({"velero.io/restore-uid": uid, "velero.io/restore-name": asked});
        let download = json!({
            "apiVersion": "velero.io/v2alpha1", "kind": "DataDownload",
            "metadata": {"name": name, "namespace": "velero", "labels": labels},
            "spec": {"targetVolume": {"pvc": claim, "pv": "", "namespace": "copy"}, "snapshotID": "k0f3"}, "status": status
        });
        let reference = reference("velero.io", "v2alpha1", "DataDownload", "datadownloads", Some("velero"), &name);
        self.served.create((reference, download));
    }

    fn binds(&self, claim: &str) {
        self.served.set_status(&restored(claim), &json!({"phase": "Bound"}));
    }

    /// Brings a claim back with its data.
    pub(crate) fn brings(&self, restore: &Value, claim: &str) {
        self.makes(restore, claim, "");
        self.moves(restore, claim, &json!({"phase": "Completed"}));
        self.binds(claim);
    }

    fn restores(&self) -> usize {
        self.served.list(&velero("Restore", "").kind, "velero").len()
    }

    /// Ends it, with what Velero says of it in the store.
    pub(crate) fn ends(&self, restore: &Value, status: &Value, results: &Value, list: &Value) {
        let name = restore["metadata"]["name"].as_str().unwrap();
        let folder = self.served.store().join("restores").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("restore-{name}-results.gz")), zipped(results)).unwrap();
        fs::write(folder.join(format!("restore-{name}-resource-list.json.gz")), zipped(list)).unwrap();
        let restore = velero("Restore", name);
        self.served.change(&restore, |object| object["status"] = json!({"phase": "InProgress"}));
        self.served.change(&restore, |object| object["status"] = status.clone());
    }
}

/// How a restore of everything ends: nothing was captured of the claim on storage that belongs to the original.
fn whole_but_for_files((code, said): (Option<i32>, String)) -> String {
    assert_eq!(code, Some(3), "{said}");
    let lacking = "persistentvolumeclaims copy/files is there without its data: nothing captured it";
    assert!(said.contains(lacking) && said.contains("--empty-volumes"), "{said}");
    said
}

pub(crate) const LIMITED: [&str; 7] = ["restore", "staging", "--point", BACKUP, "--into", "copy", "--yes"];

#[test]
fn what_only_velero_can_read_comes_back_through_a_restore_of_just_that() {
    let scripted = Scripted::with_volumes();
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    assert_eq!(
        asked["spec"],
        json!({
            "backupName": BACKUP, "includedNamespaces": ["staging"], "namespaceMapping": {"staging": "copy"},
            "includedResources": [CLAIMS, "persistentvolumes"],
            "orLabelSelectors": [{"matchLabels": {"app": "db", "velero.io/volume-snapshot-name": "velero-db-x"}}],
            "restorePVs": true, "existingResourcePolicy": "none"
        })
    );
    // The others are there already, with new volumes, and nothing is that mounts them.
    let files = served.get(&core("PersistentVolumeClaim", Some("copy"), "files")).unwrap();
    assert_eq!((files["spec"].get("volumeName"), served.get(&deployment("copy"))), (None, None));
    scripted.brings(&asked, "db");
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    let said = whole_but_for_files(restore.ends());
    assert!(said.contains("Have Velero bring back 1 volume"), "{said}");
    assert_eq!(served.get(&core("PersistentVolume", None, "nfs")), None);
    assert!(served.get(&deployment("copy")).is_some());
    assert_eq!(scripted.restores(), 1);
}

#[test]
fn a_claim_that_velero_does_not_make_ends_the_run_before_a_controller_makes_an_empty_one() {
    let scripted = Scripted::with_volumes();
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    let results =
        json!({"errors": {"namespaces": {"copy": ["error preparing persistentvolumeclaims/copy/db: no node-agent runs"]}}});
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &results, &json!({}));
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("volumes did not come back: persistentvolumeclaims copy/db"), "{said}");
    assert!(said.contains("no node-agent runs"), "{said}");
    assert_eq!(scripted.served.get(&deployment("copy")), None);

    let resumed = scripted.served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    let again = scripted.asked_again(&resumed, 2);
    scripted.brings(&again, "db");
    scripted.ends(&again, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    whole_but_for_files(resumed.ends());
    assert!(scripted.served.get(&deployment("copy")).is_some());
}

#[test]
fn a_claim_that_is_there_without_its_data_is_not_back_and_is_asked_for_again_once_it_is_gone() {
    let scripted = Scripted::with_volumes();
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    scripted.makes(&asked, "db", "");
    scripted.moves(&asked, "db", &json!({"phase": "Failed", "message": "error to connect to the repository: wrong password"}));
    // What data movers say is not among its results.
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &json!({}), &json!({}));
    let not_back = |(code, said): (Option<i32>, String)| {
        assert_eq!(code, Some(1), "{said}");
        let reason = "persistentvolumeclaims copy/db: Velero's copying of it is Failed: error to connect to the repository: wrong password";
        assert!(said.contains(reason), "{said}");
        assert!(said.contains("delete those of the claims that are there"), "{said}");
        assert_eq!((served.get(&deployment("copy")), scripted.restores()), (None, 1), "{said}");
    };
    not_back(restore.ends());
    let run = run_of(&scripted);
    let resume = ["runs", "resume", &run, "--yes"];
    not_back(served.start(&resume).ends());

    served.delete(&restored("db"));
    let resumed = served.start(&resume);
    let again = scripted.asked_again(&resumed, 2);
    assert_eq!(again["spec"], asked["spec"]);
    scripted.brings(&again, "db");
    scripted.ends(&again, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    whole_but_for_files(resumed.ends());
    assert!(served.get(&deployment("copy")).is_some());
}

#[test]
fn a_run_that_is_killed_while_velero_moves_data_waits_for_what_comes_of_it() {
    let scripted = Scripted::with_volumes();
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    restore.kill();
    scripted.makes(&asked, "db", "");
    let run = run_of(&scripted);
    let dry = served.run(&["runs", "resume", &run, "--dry-run"]).exits(0).stdout;
    assert!(dry.contains("Have Velero bring back 1 volume"), "{dry}");
    let resumed = served.start(&["runs", "resume", &run, "--yes"]);
    scripted.moves(&asked, "db", &json!({"phase": "Completed"}));
    scripted.binds("db");
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    whole_but_for_files(resumed.ends());
    assert!(served.get(&deployment("copy")).is_some());
    assert_eq!(scripted.restores(), 1);
}

#[test]
fn a_claim_is_back_from_a_plugin_s_snapshot_when_its_volume_was_made_from_one() {
    for (from, code) in [("velero-clone-1", 0), ("pv-db", 1)] {
        let scripted = Scripted::with_snapshot();
        let restore = scripted.served.start(&LIMITED);
        let asked = scripted.asked(&restore);
        scripted.makes(&asked, "db", from);
        scripted.binds("db");
        let name = asked["metadata"]["name"].as_str().unwrap();
        let folder = scripted.served.store().join("restores").join(name);
        fs::create_dir_all(&folder).unwrap();
        let made = json!([{"pvName": "velero-clone-1", "restoreMethod": "NativeSnapshot", "snapshotDataMoved": false}]);
        fs::write(folder.join(format!("{name}-volumeinfo.json.gz")), zipped(&made)).unwrap();
        scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
        let (ended, said) = restore.ends();
        assert_eq!(ended, Some(code), "{said}");
        assert_eq!(
            said.contains("persistentvolumeclaims copy/db: Velero's Restore is Completed, and brought nothing into it"),
            code == 1
        );
        assert_eq!(scripted.served.get(&deployment("copy")).is_some(), code == 0);
    }
}

#[test]
fn what_velero_knows_under_the_name_of_another_backup_is_not_restored() {
    let scripted = Scripted::with_volumes();
    let by_velero = ["restore", "staging", "--point", BACKUP, "--into", "copy", "--executor", "velero", "--yes"];
    for (status, reason) in [
        (json!({"phase": "Deleting", "startTimestamp": "2024-05-01T10:00:00Z"}), "it is Deleting"),
        (
            json!({"phase": "Completed", "startTimestamp": "2024-05-01T10:00:07Z"}),
            "it began at 2024-05-01T10:00:07Z, and that in ",
        ),
    ] {
        scripted.served.change(&velero("Backup", BACKUP), |backup| backup["status"] = status);
        for arguments in [&LIMITED[..], &by_velero] {
            let refused = scripted.served.refuses_and_changes_nothing(arguments, 4).stderr;
            assert!(refused.contains(&format!("`{BACKUP}` is not the one that this plan is made from: {reason}")), "{refused}");
        }
    }
}

#[test]
fn a_backup_that_velero_deletes_is_not_restored_however_it_is_named() {
    let scripted = Scripted::with_volumes();
    for (phase, said) in [("Deleting", "Velero says that it is Deleting"), ("", "Velero has not begun it")] {
        backup_with(&scripted.served.place, BACKUP, phase, &json!({}), &[]);
        let refused = scripted.served.refuses_and_changes_nothing(&LIMITED, 5).stderr;
        assert!(refused.contains(&format!("from backup `{BACKUP}` nothing can be restored: {said}")), "{refused}");
    }
}

#[test]
fn a_restore_that_velero_refuses_ends_the_run_with_its_reasons_and_is_asked_for_again() {
    let scripted = Scripted::with_volumes();
    let restore = scripted.served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    let refused =
        json!({"phase": "FailedValidation", "validationErrors": ["the BSL default is unavailable, cannot retrieve the backup"]});
    scripted.ends(&asked, &refused, &json!({}), &json!({}));
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is FailedValidation: the BSL default is unavailable"), "{said}");
    assert!(said.contains("velero restore describe"), "{said}");

    // When the reason is mended, the run is finished by another Restore of the same.
    let run = run_of(&scripted);
    assert!(said.contains(&format!("`dxdr runs resume {run}`")), "{said}");
    let resumed = scripted.served.start(&["runs", "resume", &run, "--yes"]);
    let again = scripted.asked_again(&resumed, 2);
    assert_eq!(again["metadata"]["name"], format!("{run}-volumes-2"));
    assert_eq!(again["spec"], asked["spec"]);
    scripted.brings(&again, "db");
    scripted.ends(&again, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    whole_but_for_files(resumed.ends());
}

#[test]
fn a_restore_that_would_bind_storage_twice_is_refused_before_velero_hears_of_it() {
    let scripted = Scripted::with_volumes();
    let by_velero = ["restore", "staging", "--point", BACKUP, "--into", "copy", "--executor", "velero", "--yes"];
    let said = scripted.served.refuses_and_changes_nothing(&by_velero, 4);
    assert!(said.stderr.contains("would bind a claim to the storage of the original"), "{}", said.stderr);
    assert!(said.stderr.contains("persistentvolumes nfs"), "{}", said.stderr);
}

#[test]
fn what_velero_made_of_everything_is_held_against_the_plan() {
    let scripted = Scripted::new(&[], &[]);
    let served = &scripted.served;
    let restore = served.start(&BY_VELERO);
    let asked = scripted.asked(&restore);
    assert_eq!(asked["spec"]["namespaceMapping"], json!({"staging": "copy"}));
    served.create(objects::namespace("copy"));
    scripted.makes(&asked, "data", "");
    let refusal =
        "error restoring configmaps/copy/settings: admission webhook \"policy.example.org\" denied the request: no settings";
    let results = json!({"errors": {"namespaces": {"copy": [refusal]}}});
    let list = json!({
        "v1/Namespace": ["copy(created)"], "v1/ConfigMap": ["copy/settings(failed)", "copy/stray(created)"],
        "v1/PersistentVolumeClaim": ["copy/data(created)"], "apps/v1/ReplicaSet": ["copy/api-1(created)", "copy/api-2(skipped)"]
    });
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &results, &list);
    let (code, report, said) = restore.ends_with_output();
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("denied the request: no settings"), "{said}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["beyondPlan"], json!(["ReplicaSet copy/api-1", "ConfigMap copy/stray"]), "{report:#}");
    assert_eq!(report["failed"][0]["object"], "configmaps copy/settings", "{report:#}");
    assert!(report["failed"][0]["reason"].as_str().unwrap().contains("policy.example.org"), "{report:#}");
    let runs = served.run(&["runs", "list"]).exits(0).stdout;
    assert!(runs.contains("partial"), "{runs}");
}

const BY_VELERO: [&str; 11] =
    ["restore", "staging", "--point", BACKUP, "--into", "copy", "--executor", "velero", "--yes", "--output", "json"];

#[test]
fn what_velero_says_of_its_restore_counts_where_nothing_else_tells() {
    for (status, results, reason) in [
        (json!({"phase": "Completed"}), json!({}), None),
        (json!({"phase": "PartiallyFailed", "errors": 1}), json!({}), Some("PartiallyFailed, and does not say why")),
        (
            json!({"phase": "PartiallyFailed", "errors": 1}),
            json!({"errors": {"namespaces": {"copy": ["error executing hook in pod api-1: exit code 1"]}}}),
            Some("PartiallyFailed: error executing hook in pod api-1"),
        ),
    ] {
        let scripted = Scripted::new(&[], &[]);
        let served = &scripted.served;
        let restore = served.start(&BY_VELERO);
        let asked = scripted.asked(&restore);
        served.create(objects::namespace("copy"));
        let labels = json!({"velero.io/backup-name": BACKUP, "velero.io/restore-name": asked["metadata"]["name"]});
        let metadata = |name: &str| json!({"name": name, "namespace": "copy", "labels": labels});
        let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("settings")});
        served.create((core("ConfigMap", Some("copy"), "settings"), settings));
        let spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"});
        let data = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata("data"), "spec": spec});
        served.create((restored("data"), data));
        scripted.ends(&asked, &status, &results, &json!({}));
        let (code, report, said) = restore.ends_with_output();
        assert_eq!(code, Some(if reason.is_some() { 3 } else { 0 }), "{said}");
        let report: Value = serde_json::from_str(&report).unwrap();
        let failed = report["failed"].as_array().unwrap();
        assert_eq!(failed.len(), usize::from(reason.is_some()), "{report:#}");
        if let Some(reason) = reason {
            assert!(failed[0]["object"].as_str().unwrap().starts_with("restores.velero.io velero/"), "{report:#}");
            assert!(failed[0]["reason"].as_str().unwrap().contains(reason), "{report:#}");
        }
    }
}

#[test]
fn what_velero_leaves_different_or_without_its_data_is_not_restored() {
    let objects = [(CLAIMS, claim("db", "pv-db", &json!({}))), ("persistentvolumes", volume("pv-db", "Delete", "db"))];
    let scripted = Scripted::new(&[moved("db", "pv-db")], &objects);
    let served = &scripted.served;
    let restore = served.start(&BY_VELERO);
    let asked = scripted.asked(&restore);
    served.create(objects::namespace("copy"));
    served.create(objects::config_map("copy", "settings", "not as it was"));
    for name in ["data", "db"] {
        scripted.makes(&asked, name, "");
    }
    scripted.moves(&asked, "db", &json!({"phase": "Canceled", "message": "no node agent runs"}));
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    let (code, report, said) = restore.ends_with_output();
    assert_eq!(code, Some(3), "{said}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let failed = report["failed"].as_array().unwrap().iter().map(|failed| (failed["object"].as_str(), failed["reason"].as_str()));
    let failed: Vec<_> = failed.map(|(object, reason)| format!("{}: {}", object.unwrap(), reason.unwrap())).collect();
    assert_eq!(
        failed,
        [
            "configmaps copy/settings: Velero left it different: data",
            "persistentvolumeclaims copy/db: Velero's copying of it is Canceled: no node agent runs",
        ],
        "{report:#}"
    );
    // Of another class than it was, which nobody can change.
    assert_eq!(report["immutable"], json!(["persistentvolumeclaims copy/data"]));
}
