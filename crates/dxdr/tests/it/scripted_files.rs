//! Copies made file by file, which come back through pods that a Velero server restores: the test plays the server and its node agents.

use std::{thread, time::Duration};

use dxdr_environment::ObjectReference;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    gated::Running,
    objects::{core, reference},
    scripted_velero::{self, BACKUP, LIMITED, Scripted, velero},
};

const AWAITS: &str = "/metadata/annotations/dxdr.io~1awaits-copy";
const CARRIER: &str = "dxdr.io/carrier";

pub(crate) fn deployment(namespace: &str) -> ObjectReference {
    reference("apps", "v1", "Deployment", "deployments", Some(namespace), "db")
}

/// A pod of the archive that nothing controls, with the volume of claim `data`.
fn tool() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tool", "namespace": "staging", "labels": {"app": "tool"}},
        "spec": {
            "containers": [{"name": "app", "image": "app:1", "volumeMounts": [{"name": "files", "mountPath": "/data"}]}],
            "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "data"}}]
        },
        "status": {"phase": "Running"}
    })
}

pub(crate) fn archived_deployment() -> Value {
    let labels = json!({"app": "db"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "db", "namespace": "staging"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "db", "image": "db:1"}]}}
        }
    })
}

/// What Velero says of its copy of the files of claim `data`.
fn copied_files() -> Value {
    json!({"pvcName": "data", "pvcNamespace": "staging", "pvName": "pv-1", "backupMethod": "PodVolumeBackup", "result": "succeeded",
        "pvbInfo": {"snapshotHandle": "k77", "size": 4096, "uploaderType": "kopia", "volumeName": "files", "podName": "tool",
            "podNamespace": "staging", "nodeName": "n1"}})
}

/// A backup with a copy of the files of claim `data`; `agents`: whether Velero has node agents.
fn scripted(agents: bool) -> Scripted {
    scripted_with(&[copied_files()], &[("pods", tool()), ("deployments.apps", archived_deployment())], agents)
}

fn scripted_with(volumes: &[Value], objects: &[(&str, Value)], agents: bool) -> Scripted {
    let scripted = Scripted::new(volumes, objects);
    if agents {
        let labels = json!({"name": "node-agent"});
        let agent = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "node-agent", "namespace": "velero"},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "node-agent", "image": "velero"}]}}}
        });
        scripted.served.create((reference("apps", "v1", "DaemonSet", "daemonsets", Some("velero"), "node-agent"), agent));
    }
    scripted
}

fn claim() -> ObjectReference {
    core("PersistentVolumeClaim", Some("copy"), "data")
}

fn pod() -> ObjectReference {
    core("Pod", Some("copy"), "tool")
}

fn modifiers(restore: &Value) -> ObjectReference {
    core("ConfigMap", Some("velero"), restore["spec"]["resourceModifier"]["name"].as_str().unwrap())
}

/// Restores the pod as the modifiers say, as far as it matters here.
fn carrier_comes(scripted: &Scripted, restore: &Value) {
    carrier_comes_as(scripted, restore, &helper_ended());
}

/// What a carrier says when the files are in it.
fn helper_ended() -> Value {
    let ended = json!([{"name": "restore-wait", "image": "velero", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0}}}]);
    json!({"phase": "Failed", "initContainerStatuses": ended})
}

fn carrier_comes_as(scripted: &Scripted, restore: &Value, status: &Value) {
    let rules = scripted.served.get(&modifiers(restore)).unwrap();
    let rules: Value = serde_json::from_str(rules["data"]["rules.json"].as_str().unwrap()).unwrap();
    let [rule, _] = rules["resourceModifierRules"].as_array().unwrap().as_slice() else { panic!("{rules:#}") };
    assert_eq!(rule["conditions"]["resourceNameRegex"], "^tool$");
    let patch: Value = serde_json::from_str(rule["strategicPatches"][0]["patchData"].as_str().unwrap()).unwrap();
    let mut labels = patch["metadata"]["labels"].clone();
    labels.as_object_mut().unwrap().remove("$patch");
    let mut carrier = tool();
    carrier["metadata"] = json!({"name": "tool", "namespace": "copy", "labels": labels});
    carrier["spec"]["initContainers"] = json!([{"name": "restore-wait", "image": "velero"}]);
    scripted.served.create((pod(), carrier));
    scripted.served.set_status(&pod(), status);
}

/// Says what became of copying.
fn copied(scripted: &Scripted, restore: &Value, status: &Value) {
    let name = format!("{}-x", restore["metadata"]["name"].as_str().unwrap());
    let claim = scripted.served.get(&claim()).unwrap();
    let pod = scripted.served.get(&pod()).unwrap_or_default();
    let labels = json!({"velero.io/restore-uid": restore["metadata"]["uid"], "velero.io/pvc-uid": claim["metadata"]["uid"],
        "velero.io/pod-uid": pod.pointer("/metadata/uid").unwrap_or(&json!("gone"))});
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "PodVolumeRestore", "metadata": {"name": name, "namespace": "velero", "labels": labels},
        "spec": {"pod": {"name": "tool", "namespace": "copy"}, "volume": "files"}, "status": status
    });
    scripted.served.create((velero("PodVolumeRestore", &name), object));
}

/// Velero takes it up.
fn begins(scripted: &Scripted, restore: &Value) {
    let restore = velero("Restore", restore["metadata"]["name"].as_str().unwrap());
    scripted.served.change(&restore, |object| object["status"] = json!({"phase": "InProgress"}));
}

/// Waits for what the program does to one of Velero's objects.
#[track_caller]
fn until(scripted: &Scripted, program: &Running, object: &ObjectReference, what: impl Fn(&Value) -> bool) {
    for _ in 0..2400 {
        if scripted.served.get(object).is_some_and(|object| what(&object)) {
            return;
        }
        if let Some(said) = program.over() {
            panic!("it is over, and {object} is as it was:\n{said}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{object} is as it was after two minutes");
}

/// The copy that Velero makes for a Restore.
fn copy_of(restore: &Value) -> ObjectReference {
    velero("PodVolumeRestore", &format!("{}-x", restore["metadata"]["name"].as_str().unwrap()))
}

/// Lets a kind of Velero's have these fields in its `spec`, and no others.
fn knows(scripted: &Scripted, plural: &str, fields: &Value) {
    let (group, name) = ("apiextensions.k8s.io", format!("{plural}.velero.io"));
    let definition = reference(group, "v1", "CustomResourceDefinition", "customresourcedefinitions", None, &name);
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    scripted.served.change(&definition, |definition| {
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}, "status": open}});
    });
}

fn completes(scripted: &Scripted, restore: &Value) {
    carrier_comes(scripted, restore);
    copied(scripted, restore, &json!({"phase": "Completed"}));
    scripted.ends(restore, &json!({"phase": "Completed"}), &json!({}), &json!({}));
}

/// The files are back, and whatever brought them is gone.
fn is_whole(scripted: &Scripted, program: Running, restore: &Value) {
    let (code, said) = program.ends();
    assert_eq!(code, Some(0), "{said}");
    let served = &scripted.served;
    assert_eq!(served.get(&claim()).unwrap().pointer(AWAITS), None);
    assert_eq!(served.get(&modifiers(restore)), None);
    // The pod of the archive has taken the carrier's place.
    let tool = served.get(&pod()).unwrap();
    assert_eq!((&tool["metadata"]["labels"], tool["spec"].get("initContainers")), (&json!({"app": "tool"}), None), "{tool:#}");
    assert!(served.get(&deployment("copy")).is_some());
}

fn runs_of(scripted: &Scripted) -> Vec<String> {
    let runs = scripted.served.run(&["runs", "list", "--output", "json"]).exits(0).stdout;
    let runs: Value = serde_json::from_str(&runs).unwrap();
    runs["runs"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn run_of(scripted: &Scripted) -> String {
    runs_of(scripted).remove(0)
}

#[test]
fn files_come_back_through_pods_that_are_gone_before_anything_that_mounts_the_volume_is_made() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    assert_eq!(
        asked["spec"],
        json!({
            "backupName": BACKUP, "includedNamespaces": ["staging"], "namespaceMapping": {"staging": "copy"},
            "includedResources": ["pods", "persistentvolumeclaims", "persistentvolumes"], "includeClusterResources": false, "restorePVs": false,
            "orLabelSelectors": [{"matchLabels": {"app": "tool"}}], "existingResourcePolicy": "none",
            "resourceModifier": {"kind": "ConfigMap", "name": asked["metadata"]["name"]}
        })
    );
    assert_eq!(served.get(&claim()).unwrap().pointer(AWAITS), Some(&json!(BACKUP)));
    assert_eq!((served.get(&deployment("copy")), served.get(&pod())), (None, None));
    completes(&scripted, &asked);
    is_whole(&scripted, restore, &asked);
    let again = served.run(&["restore", "staging", "--point", BACKUP, "--into", "copy", "--dry-run"]).exits(0).stdout;
    assert!(again.contains("Volume claims: 1 as they were") && !again.contains("copy the files"), "{again}");
}

#[test]
fn the_plan_says_what_is_copied_back_and_through_which_pod() {
    let scripted = scripted(true);
    let said = scripted.served.run(&["restore", "staging", "--point", BACKUP, "--into", "copy", "--dry-run"]).exits(0).stdout;
    assert!(said.contains("Have Velero copy the files of 1 volume"), "{said}");
    assert!(said.contains("> persistentvolumeclaims copy/data (file-system), as of "), "{said}");
    assert!(said.contains("in volume files of pod tool"), "{said}");
    let plan = ["restore", "staging", "--point", BACKUP, "--into", "copy", "--plan", "--output", "json"];
    let plan: Value = serde_json::from_str(&scripted.served.run(&plan).exits(0).stdout).unwrap();
    assert_eq!(plan["files"]["claims"][0]["object"], "persistentvolumeclaims copy/data", "{plan:#}");
    assert_eq!(plan["files"]["claims"][0]["pod"], json!({"name": "tool", "volume": "files"}));
    assert_eq!(plan["files"]["alongside"], json!([]));
}

#[test]
fn where_nobody_copies_files_the_restore_is_refused_before_anything_is_written() {
    let said = scripted(false).served.refuses_and_changes_nothing(&LIMITED, 4);
    assert!(said.stderr.contains("copied back by Velero's node agents, and none is in namespace `velero`"), "{}", said.stderr);
    assert!(said.stderr.contains("--use-node-agent"), "{}", said.stderr);
}

#[test]
fn where_a_restore_cannot_say_how_pods_are_changed_it_is_refused_before_anything_is_written() {
    let scripted = scripted(true);
    // As it was in Velero 1.10: what is not in the schema is dropped by the server.
    let text = json!({"type": "string"});
    let list = json!({"type": "array", "items": {"type": "string"}});
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let fields = json!({"backupName": text, "existingResourcePolicy": text, "includedNamespaces": list, "includedResources": list,
        "namespaceMapping": open, "orLabelSelectors": {"type": "array", "items": open}});
    knows(&scripted, "restores", &fields);
    let said = scripted.served.refuses_and_changes_nothing(&LIMITED, 4);
    assert!(said.stderr.contains("Restores have no field `resourceModifier`"), "{}", said.stderr);
    assert!(said.stderr.contains("velero install --crds-only"), "{}", said.stderr);
}

#[test]
fn pods_that_come_as_they_were_are_removed_and_nothing_counts_that_came_with_them() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    begins(&scripted, &asked);
    let mut unchanged = tool();
    unchanged["metadata"] = json!({"name": "tool", "namespace": "copy", "labels": {"app": "tool", "velero.io/restore-name": asked["metadata"]["name"]}});
    served.create((pod(), unchanged));
    copied(&scripted, &asked, &json!({"phase": "Completed"}));
    let void = velero("Restore", asked["metadata"]["name"].as_str().unwrap());
    until(&scripted, &restore, &void, |object| object["metadata"]["annotations"]["dxdr.io/void"] == "true");
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("made pods copy/tool as in the archive, to run"), "{said}");
    assert!(said.contains("they may have written to persistentvolumeclaims copy/data: delete these before going on"), "{said}");
    assert_eq!((served.get(&pod()), served.get(&deployment("copy"))), (None, None));
    assert!(served.get(&claim()).unwrap().pointer(AWAITS).is_some());

    // The claim is the one that it was, and Velero says that the copy is in it.
    let resumed = served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    let again = scripted.asked_again(&resumed, 2);
    completes(&scripted, &again);
    is_whole(&scripted, resumed, &again);
}

#[test]
fn what_does_not_come_back_ends_the_run_before_anything_mounts_it_and_is_asked_for_again() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    carrier_comes(&scripted, &asked);
    copied(&scripted, &asked, &json!({"phase": "Failed", "message": "error to connect to the repository"}));
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &json!({}), &json!({}));
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("persistentvolumeclaims copy/data: Velero's copying of it is Failed: error to connect"), "{said}");
    assert_eq!((served.get(&pod()), served.get(&deployment("copy")), served.get(&modifiers(&asked))), (None, None, None));
    assert!(served.get(&claim()).unwrap().pointer(AWAITS).is_some());

    let resumed = served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    let again = scripted.asked_again(&resumed, 2);
    assert_eq!(again["metadata"]["name"], format!("{}-2", asked["metadata"]["name"].as_str().unwrap()));
    completes(&scripted, &again);
    is_whole(&scripted, resumed, &again);
}

#[test]
fn a_run_that_is_killed_while_velero_copies_goes_on_with_the_same_restore() {
    let scripted = scripted(true);
    let restore = scripted.served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    restore.kill();
    carrier_comes(&scripted, &asked);
    copied(&scripted, &asked, &json!({"phase": "Completed"}));
    let resumed = scripted.served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    is_whole(&scripted, resumed, &asked);
    assert_eq!(scripted.served.list(&velero("Restore", "").kind, "velero").len(), 1);
}

/// A pod of somebody else's that mounts the claim.
fn stranger(scripted: &Scripted) -> ObjectReference {
    let stranger = core("Pod", Some("copy"), "stranger");
    let mut object = tool();
    object["metadata"] = json!({"name": "stranger", "namespace": "copy"});
    scripted.served.create((stranger.clone(), object));
    stranger
}

#[test]
fn a_pod_that_mounts_a_claim_while_it_is_filled_is_named_and_the_claim_stays_marked() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    let stranger = stranger(&scripted);
    completes(&scripted, &asked);
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("pods copy/stranger mounts persistentvolumeclaims copy/data, into which files are only now copied back"),
        "{said}"
    );
    assert!(said.contains("delete the claims, too, and they are made and filled anew"), "{said}");
    assert!(served.get(&claim()).unwrap().pointer(AWAITS).is_some());
    assert_eq!(served.get(&deployment("copy")), None);

    // It has ended by itself: what it did to the files it has done.
    served.set_status(&stranger, &json!({"phase": "Succeeded"}));
    let said = served.run(&["runs", "resume", &run_of(&scripted), "--yes"]).refuses(1);
    assert!(said.stderr.contains("pods copy/stranger mounted persistentvolumeclaims copy/data"), "{}", said.stderr);

    served.delete(&stranger);
    served.delete(&claim());
    let resumed = served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    let again = scripted.asked_again(&resumed, 2);
    completes(&scripted, &again);
    is_whole(&scripted, resumed, &again);
}

#[test]
fn a_pod_that_mounts_a_claim_before_velero_is_asked_for_files_is_named_and_velero_is_not_asked() {
    // While Velero brings back another volume, the claim is there.
    let labels = json!({"app": "other"});
    let objects = [
        ("persistentvolumeclaims", scripted_velero::claim("other", "pv-2", &labels)),
        ("pods", tool()),
        ("deployments.apps", archived_deployment()),
    ];
    let scripted = scripted_with(&[copied_files(), scripted_velero::moved("other", "pv-2")], &objects, true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let volumes = scripted.asked(&restore);
    let stranger = stranger(&scripted);
    scripted.brings(&volumes, "other");
    scripted.ends(&volumes, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    let (code, said) = restore.ends();
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("pods copy/stranger mounts persistentvolumeclaims copy/data, into which files are still to be copied"),
        "{said}"
    );
    assert_eq!(served.list(&velero("Restore", "").kind, "velero").len(), 1);

    served.delete(&stranger);
    let resumed = served.start(&["runs", "resume", &run_of(&scripted), "--yes"]);
    scripted.asked_again(&resumed, 2);
    let asked = served.get(&velero("Restore", &format!("{}-files", run_of(&scripted)))).unwrap();
    completes(&scripted, &asked);
    is_whole(&scripted, resumed, &asked);
}

#[test]
fn what_keeps_a_carrier_from_taking_files_is_told_while_velero_waits_for_it() {
    let scripted = scripted(true);
    let restore = scripted.served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"velero\""});
    let helper = json!([{"name": "restore-wait", "image": "velero", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": waiting}}]);
    carrier_comes_as(&scripted, &asked, &json!({"phase": "Pending", "initContainerStatuses": helper}));
    restore.until_it_says(
        "pod copy/tool, into which files are to be copied, does not begin: ImagePullBackOff: Back-off pulling image",
    );
    scripted.served.set_status(&pod(), &helper_ended());
    copied(&scripted, &asked, &json!({"phase": "Completed"}));
    scripted.ends(&asked, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    is_whole(&scripted, restore, &asked);
}

#[test]
fn velero_is_not_left_waiting_for_a_carrier_that_is_over() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    for (status, why) in [(Some(evicted), "Evicted: The node was low on resource: memory."), (None, "somebody deleted it")] {
        let scripted = scripted(true);
        let restore = scripted.served.start(&LIMITED);
        let asked = scripted.asked(&restore);
        begins(&scripted, &asked);
        let waiting = json!([{"name": "restore-wait", "image": "velero", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "CreateContainerError", "message": "not yet"}}}]);
        carrier_comes_as(&scripted, &asked, &json!({"phase": "Pending", "initContainerStatuses": waiting}));
        copied(&scripted, &asked, &json!({"phase": "InProgress"}));
        // It has been seen.
        restore.until_it_says("CreateContainerError");
        match status {
            Some(status) => scripted.served.set_status(&pod(), &status),
            None => scripted.served.delete(&pod()),
        }
        until(&scripted, &restore, &copy_of(&asked), |copy| copy["spec"]["cancel"] == true);
        scripted.served.change(&copy_of(&asked), |copy| copy["status"]["phase"] = "Canceled".into());
        scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &json!({}), &json!({}));
        let (code, said) = restore.ends();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("copy/data: pod tool was over before the files had come: {why}")), "{said}");
    }
}

/// Asks a run to stop while Velero copies, which lets go of the environment at once, and answers it with what it said.
fn stopped(scripted: &Scripted, restore: Running) -> (String, String) {
    restore.signal(Signal::TERM);
    let (code, said) = restore.ends();
    assert_eq!(code, Some(130), "{said}");
    (run_of(scripted), said)
}

#[test]
fn a_run_that_is_cleaned_up_ends_what_velero_does_and_leaves_no_carriers_which_would_be_in_the_next_one_s_way() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    begins(&scripted, &asked);
    carrier_comes(&scripted, &asked);
    copied(&scripted, &asked, &json!({"phase": "InProgress"}));
    let (run, said) = stopped(&scripted, restore);
    let goes_on =
        format!("Velero still has restores.velero.io velero/{run}-files to carry out: `dxdr runs resume {run}` takes up");
    assert!(said.contains(&goes_on), "{said}");
    assert!(served.get(&pod()).is_some() && served.get(&modifiers(&asked)).is_some());

    let said = served.run(&LIMITED).refuses(1);
    assert!(
        said.stderr.contains(&format!("pods of run {run} are in the way, or will be: `dxdr runs resume {run}`")),
        "{}",
        said.stderr
    );
    // Both began in one second, maybe.
    let other = runs_of(&scripted).into_iter().find(|other| *other != run).unwrap();
    let clean = served.start(&["runs", "clean", &run, "--yes"]);
    until(&scripted, &clean, &copy_of(&asked), |copy| copy["spec"]["cancel"] == true);
    // What Velero makes until it is over goes, too.
    let late = core("Pod", Some("copy"), "late");
    let mut unchanged = tool();
    unchanged["metadata"] =
        json!({"name": "late", "namespace": "copy", "labels": {"velero.io/restore-name": asked["metadata"]["name"]}});
    served.create((late.clone(), unchanged));
    served.change(&copy_of(&asked), |copy| copy["status"]["phase"] = "Canceled".into());
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &json!({}), &json!({}));
    let (code, said) = clean.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("What Velero does for it is ended"), "{said}");
    assert_eq!((served.get(&pod()), served.get(&late), served.get(&modifiers(&asked))), (None, None, None));

    let resumed = served.start(&["runs", "resume", &other, "--yes"]);
    scripted.asked_again(&resumed, 2);
    let again = served.get(&velero("Restore", &format!("{other}-files"))).unwrap();
    carrier_comes(&scripted, &again);
    assert_eq!(served.get(&pod()).unwrap()["metadata"]["labels"][CARRIER], other.as_str());
    copied(&scripted, &again, &json!({"phase": "Completed"}));
    scripted.ends(&again, &json!({"phase": "Completed"}), &json!({}), &json!({}));
    is_whole(&scripted, resumed, &again);
}

#[test]
fn a_restore_that_velero_has_not_begun_is_taken_back_and_pods_of_a_run_that_is_over_are_in_nobody_s_way() {
    let scripted = scripted(true);
    let served = &scripted.served;
    let restore = served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    let (run, _) = stopped(&scripted, restore);
    served.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!(served.list(&velero("Restore", "").kind, "velero"), [Value::Null; 0]);

    let mut late = tool();
    late["metadata"] = json!({"name": "tool", "namespace": "copy", "labels": {CARRIER: run}});
    served.create((pod(), late));
    let next = served.start(&LIMITED);
    let asked_next = scripted.asked(&next);
    assert_ne!(asked["metadata"]["name"], asked_next["metadata"]["name"]);
    completes(&scripted, &asked_next);
    is_whole(&scripted, next, &asked_next);
}

#[test]
fn a_copy_that_an_old_velero_cannot_cancel_is_given_up_where_nobody_has_begun_it() {
    let scripted = scripted(true);
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    knows(&scripted, "podvolumerestores", &json!({"pod": open, "volume": {"type": "string"}}));
    let restore = scripted.served.start(&LIMITED);
    let asked = scripted.asked(&restore);
    begins(&scripted, &asked);
    copied(&scripted, &asked, &json!({}));
    let (run, _) = stopped(&scripted, restore);
    let clean = scripted.served.start(&["runs", "clean", &run, "--yes"]);
    until(&scripted, &clean, &copy_of(&asked), |copy| copy["status"]["phase"] == "Failed");
    scripted.ends(&asked, &json!({"phase": "PartiallyFailed", "errors": 1}), &json!({}), &json!({}));
    let (code, said) = clean.ends();
    assert_eq!(code, Some(0), "{said}");
}
