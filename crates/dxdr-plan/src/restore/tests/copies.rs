use dxdr_catalog::{PodVolume, VolumeComponent};
use serde_json::{Value, json};

use super::world::{Archive, World, beside, in_place, notes, object, served, shown};
use crate::{
    restore::{
        Carrying, Executor, FileCopies, RestorePlan, RestorePlanner, RestoreRequest, Volumes, carrying,
        copies::{AWAITS_COPY, CARRIER_LABEL},
        warnings,
    },
    velero::{attempt, came_with, restore_of_files},
};

const CLAIMS: &str = "persistentvolumeclaims";
const ANOTHER_POINT: &str = "staging-20240401t100000z-x7k2v";

/// A copy of volume `volume` of a pod; `claim` is empty of the pod's own.
fn copied(claim: &str, pod: &str, volume: &str) -> VolumeComponent {
    VolumeComponent {
        namespace: "staging".to_owned(),
        claim: claim.to_owned(),
        pod: Some(PodVolume { pod: pod.to_owned(), volume: volume.to_owned() }),
        instant: "2024-05-01T09:59:58Z".parse().unwrap(),
        between: None,
        method: "file-system".to_owned(),
        driver: String::new(),
        handle: "k77".to_owned(),
        size: Some(4096),
        late: false,
    }
}

fn claim(class: &str) -> Value {
    json!({"spec": {"storageClassName": class, "volumeName": "pv-1", "resources": {"requests": {"storage": "1Gi"}}}})
}

/// A database's pod: of a StatefulSet, with a volume of a claim, one of its own, and a Secret.
fn database() -> Value {
    json!({
        "metadata": {
            "labels": {"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"},
            "annotations": {"post.hook.restore.velero.io/command": "[\"/bin/true\"]"}
        },
        "spec": {
            "serviceAccountName": "database", "nodeName": "n1", "nodeSelector": {"disk": "fast"},
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
            "topologySpreadConstraints": [{"maxSkew": 1}],
            "initContainers": [{"name": "restore-wait", "image": "velero"}, {"name": "migrate", "image": "db:1"}],
            "containers": [{
                "name": "db", "image": "db:1", "command": ["postgres"], "env": [{"name": "A", "value": "b"}],
                "resources": {"requests": {"cpu": "1"}, "claims": [{"name": "gpu"}]}, "securityContext": {"runAsUser": 70},
                "volumeMounts": [{"name": "files", "mountPath": "/data"}], "readinessProbe": {"exec": {"command": ["ready"]}}
            }],
            "volumes": [
                {"name": "files", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "cache", "emptyDir": {}},
                {"name": "password", "secret": {"secretName": "password"}}
            ]
        },
        "status": {"phase": "Running"}
    })
}

fn pod(labels: &Value, volumes: &Value, phase: &str) -> Value {
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], "volumes": volumes}, "status": {"phase": phase}
    })
}

fn archive() -> Archive {
    let web = json!({"app": "web"});
    Archive::staging()
        .with("serviceaccounts", "database", json!({}))
        .with(CLAIMS, "data", claim("fast"))
        .with("pods", "db-0", database())
        .with("pods", "web-1", pod(&web, &json!([]), "Running"))
}

fn plan_of(archive: &Archive, request: &RestoreRequest, volumes: &[VolumeComponent], live: Option<&World>) -> RestorePlan {
    let kinds = live.map(|_| served());
    let planner = RestorePlanner::new(request.clone(), kinds.as_deref(), live.map(World::live)).unwrap();
    archive.feed(planner.volumes(volumes))
}

/// A copy of the database's volume, and of the cache beside it.
fn copies() -> [VolumeComponent; 2] {
    [copied("data", "db-0", "files"), copied("", "db-0", "cache")]
}

fn copies_of(plan: &RestorePlan) -> &FileCopies {
    assert!(!plan.refused(), "{:?}", notes(plan));
    plan.copies.as_ref().unwrap()
}

fn refusal(plan: &RestorePlan) -> String {
    let refusal = plan.refusals().next().unwrap_or_else(|| panic!("{:?}", notes(plan)));
    format!("{} [{}]", refusal.text, refusal.object.as_ref().unwrap())
}

/// The rules by which Velero changes pods. Behind them is always the one that keeps it from making claims.
fn rules(plan: &RestorePlan) -> Vec<Value> {
    let asked = restore_of_files(plan, copies_of(plan), "a-run", "velero");
    let rules: Value = serde_json::from_str(asked.modifiers.value["data"]["rules.json"].as_str().unwrap()).unwrap();
    assert_eq!(rules["version"], "v1");
    let mut rules = rules["resourceModifierRules"].as_array().unwrap().clone();
    let patch = r#"{"spec":{"accessModes":null,"volumeName":null}}"#;
    assert_eq!(rules.pop().unwrap(), json!({"conditions": {"groupResource": CLAIMS}, "mergePatches": [{"patchData": patch}]}));
    rules
}

fn patch(rule: &Value) -> Value {
    serde_json::from_str(rule["strategicPatches"][0]["patchData"].as_str().unwrap()).unwrap()
}

#[test]
fn a_claim_is_made_empty_and_filled_behind_all_claims_before_anything_mounts_it() {
    let plan = plan_of(&archive(), &beside(), &copies(), None);
    let copies = copies_of(&plan);
    assert_eq!(copies.claims.len(), 1);
    assert_eq!(copies.claims[0].claim.to_string(), "persistentvolumeclaims copy/data");
    assert_eq!(copies.claims[0].carrier, PodVolume { pod: "db-0".to_owned(), volume: "files".to_owned() });
    assert!(shown(&plan).contains(&"claims: create persistentvolumeclaims copy/data".to_owned()), "{:?}", shown(&plan));
    let steps: Vec<String> = plan.steps().into_iter().map(|step| step.id).collect();
    assert_eq!(steps, ["namespaces", "accounts", "claims", "velero-files", "workloads"]);
    assert!(!plan.nothing_to_do());
    let told = notes(&plan);
    assert_eq!(told.iter().filter(|note| note.contains("without a claim will be empty")).count(), 1, "{told:?}");
}

#[test]
fn velero_is_asked_for_the_pods_that_have_a_carrier_s_labels_and_makes_no_claim_and_no_volume() {
    let plan = plan_of(&archive(), &beside(), &copies(), None);
    let asked = restore_of_files(&plan, copies_of(&plan), "a-run", "velero-system");
    assert_eq!(asked.restore.reference.to_string(), "restores.velero.io velero-system/a-run-files");
    assert_eq!(
        asked.restore.value["spec"],
        json!({
            "backupName": "staging-20240501t100000z-x7k2v", "includedNamespaces": ["staging"], "namespaceMapping": {"staging": "copy"},
            "includedResources": ["pods", CLAIMS, "persistentvolumes"], "includeClusterResources": false, "restorePVs": false,
            "existingResourcePolicy": "none",
            "orLabelSelectors": [{"matchLabels": {"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"}}],
            "resourceModifier": {"kind": "ConfigMap", "name": "a-run-files"}
        })
    );
    assert_eq!(asked.modifiers.reference.to_string(), "configmaps velero-system/a-run-files");
    assert_eq!(asked.modifiers.value["metadata"]["labels"]["dxdr.io/run"], "a-run");
    assert_eq!(copies_of(&plan).alongside().count(), 0);
}

#[test]
fn a_carrier_keeps_what_decides_where_its_volume_lies_and_runs_nothing() {
    let plan = plan_of(&archive(), &beside(), &copies(), None);
    let rules = rules(&plan);
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["conditions"], json!({"groupResource": "pods", "resourceNameRegex": "^db-0$"}));
    assert_eq!(
        patch(&rules[0]),
        json!({
            "metadata": {
                "annotations": {"$patch": "replace"}, "finalizers": null,
                "labels": {"$patch": "replace", "app.kubernetes.io/managed-by": "dxdr", CARRIER_LABEL: "a-run"}
            },
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": false,
                "topologySpreadConstraints": null, "affinity": {"podAffinity": null, "podAntiAffinity": null},
                "initContainers": [
                    {"$patch": "delete", "name": "migrate"},
                    {"name": "restore-wait", "volumeMounts": [{"$patch": "delete", "mountPath": "/restores/cache"}]}
                ],
                "containers": [{"$patch": "replace"}, {
                    "name": "db", "image": "db:1", "imagePullPolicy": "Never", "command": ["/dxdr.io/nothing"],
                    "resources": {"requests": {"cpu": "1"}}, "securityContext": {"runAsUser": 70}
                }],
                "volumes": [
                    {"$patch": "replace"}, {"name": "files", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "cache", "downwardAPI": {}}
                ]
            }
        })
    );
}

#[test]
fn what_velero_cannot_tell_from_a_carrier_comes_along_and_gets_no_node() {
    let (web, files) = (json!({"app": "web"}), json!([{"name": "files", "persistentVolumeClaim": {"claimName": "data"}}]));
    let archive = Archive::staging()
        .with(CLAIMS, "data", claim("fast"))
        .with("pods", "web-1", pod(&web, &files, "Running"))
        .with("pods", "web.2", pod(&json!({"app": "web", "canary": "yes"}), &files, "Pending"))
        .with("pods", "web-3", pod(&web, &files, "Succeeded"))
        .with("pods", "other", pod(&json!({"app": "other"}), &json!([]), "Running"));
    let volumes = [copied("data", "web-1", "files"), copied("", "web.2", "cache")];
    let plan = plan_of(&archive, &beside(), &volumes, None);
    let names: Vec<&str> = copies_of(&plan).alongside().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["web.2"]);
    let changes = rules(&plan);
    assert_eq!(changes[1]["conditions"]["resourceNameRegex"], "^web\\.2$");
    let spec = &patch(&changes[1])["spec"];
    assert_eq!(spec["schedulingGates"], json!([{"name": "dxdr.io/carries-nothing"}]));
    assert_eq!(spec["initContainers"], json!([{"$patch": "delete", "name": "restore-wait"}]));
    assert_eq!(spec["volumes"], json!([{"$patch": "replace"}, {"name": "cache", "downwardAPI": {}}]));
    // No account of that name comes.
    assert_eq!(patch(&changes[0])["spec"]["serviceAccountName"], "default");

    let bare = Archive::staging()
        .with(CLAIMS, "data", claim("fast"))
        .with("pods", "web-1", pod(&Value::Null, &files, "Running"))
        .with("pods", "other", pod(&web, &json!([]), "Running"));
    let plan = plan_of(&bare, &beside(), &volumes[..1], None);
    assert_eq!(copies_of(&plan).alongside().count(), 1);
    let asked = restore_of_files(&plan, copies_of(&plan), "a-run", "velero");
    assert_eq!(asked.restore.value["spec"].get("orLabelSelectors"), None);
    // Nothing to be replaced: the labels would be lost with the word that says so.
    let web = rules(&plan).into_iter().find(|rule| rule["conditions"]["resourceNameRegex"] == "^web-1$").unwrap();
    assert_eq!(patch(&web)["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "dxdr", CARRIER_LABEL: "a-run"}));
}

#[test]
fn hooks_of_velero_s_do_not_run_in_a_carrier() {
    let hooked = |annotations: Value| {
        let mut hooked = database();
        hooked["metadata"]["annotations"] = annotations;
        let archive = Archive::staging().with(CLAIMS, "data", claim("fast")).with("pods", "db-0", hooked);
        rules(&plan_of(&archive, &beside(), &copies(), None))
    };
    let (image, name) = ("init.hook.restore.velero.io/container-image", "init.hook.restore.velero.io/container-name");
    let named = hooked(json!({image: "busybox", name: "prepare"}));
    assert_eq!(named.len(), 1);
    assert!(patch(&named[0])["spec"]["initContainers"].to_string().contains(r#"{"$patch":"delete","name":"prepare"}"#));
    // Velero makes up a name, and puts it right behind its own.
    let unnamed = hooked(json!({image: "busybox"}));
    assert_eq!(unnamed[1]["patches"], json!([{"operation": "remove", "path": "/spec/initContainers/1"}]));
    assert_eq!(unnamed[1]["conditions"], unnamed[0]["conditions"]);
}

#[test]
fn a_copy_whose_pod_velero_would_not_restore_is_refused() {
    const NO_POD: &str = "of 1 volume there is a copy made file by file, which comes back in the pod alone that it was read in, and the archive has no such pod that ran [persistentvolumeclaims copy/data]";
    let files = json!([{"name": "files", "persistentVolumeClaim": {"claimName": "data"}}]);
    let with = |name: &str, phase: &str| {
        let archive = Archive::staging().with(CLAIMS, "data", claim("fast"));
        archive.with("pods", name, pod(&json!({"app": "db"}), &files, phase))
    };
    let plan = |archive: &Archive, volumes: &[VolumeComponent]| plan_of(archive, &beside(), volumes, None);
    let volumes = [copied("data", "db-0", "files")];
    copies_of(&plan(&with("db-0", "Running"), &volumes));
    assert_eq!(refusal(&plan(&with("db-0", "Succeeded"), &volumes)), NO_POD);
    assert_eq!(refusal(&plan(&with("db-1", "Running"), &volumes)), NO_POD);
    assert_eq!(refusal(&plan(&with("db-0", "Running"), &[copied("data", "db-0", "cache")])), NO_POD);
    let unknown = VolumeComponent { pod: None, ..volumes[0].clone() };
    assert_eq!(refusal(&plan(&with("db-0", "Running"), &[unknown])), NO_POD);
    // Nothing of it comes back where nothing is asked for, or Velero restores everything.
    for request in
        [RestoreRequest { volumes: Volumes::Empty, ..beside() }, RestoreRequest { executor: Executor::Velero, ..beside() }]
    {
        let plan = plan_of(&with("db-0", "Succeeded"), &request, &volumes, None);
        assert!(!plan.refused() && plan.copies.is_none(), "{:?}", notes(&plan));
    }
}

#[test]
fn a_claim_for_which_no_volume_is_made_is_refused() {
    let refused = |class: &str, live: Option<&World>| {
        let archive = Archive::staging().with(CLAIMS, "data", claim(class)).with("pods", "db-0", database());
        refusal(&plan_of(&archive, &beside(), &copies(), live))
    };
    let by_hand = "1 volume claim asks for a volume that somebody makes by hand, and there is none to write the copy of the files to [persistentvolumeclaims copy/data]";
    assert_eq!(refused("", None), by_hand);
    let lacks = "1 volume claim asks for a volume of class `fast` to write the copy of the files to, and the target has no such class [persistentvolumeclaims copy/data]";
    assert_eq!(refused("fast", Some(&World::default())), lacks);
    let mut has = World::default();
    has.put(object("storageclasses.storage.k8s.io", "other", json!({})));
    let mapped = RestoreRequest { storage_classes: [("fast".to_owned(), "other".to_owned())].into(), ..beside() };
    copies_of(&plan_of(&archive(), &mapped, &copies(), Some(&has)));
}

/// The cluster as it was, without the claim and what runs; with the class of its volume.
fn scaled_down() -> World {
    let mut world = World::of(&archive());
    world.objects.retain(|(kind, ..), _| kind != CLAIMS && kind != "pods");
    world.put(object("storageclasses.storage.k8s.io", "fast", json!({})));
    world
}

/// The same, with a claim that a run left behind which died while files came from `point`.
fn marked(point: &str) -> World {
    let mut world = scaled_down();
    world.put(marked_claim("data", point));
    // The run's own carrier is in nobody's way, and no pod that was there.
    world.put(object("pods", "db-0", json!({"metadata": {"labels": {CARRIER_LABEL: "a-run"}}})));
    world
}

fn marked_claim(name: &str, point: &str) -> Value {
    let mut live = object(CLAIMS, name, claim("fast"));
    live["metadata"]["annotations"] = json!({AWAITS_COPY: point});
    live
}

#[test]
fn in_place_nothing_may_run_that_mounts_the_volume_or_has_a_carrier_s_name() {
    let files = json!([{"name": "anything", "persistentVolumeClaim": {"claimName": "data"}}]);
    let with = |name: &str, pod: Value| {
        let mut world = scaled_down();
        world.put(object("pods", name, pod));
        plan_of(&archive(), &in_place(), &copies(), Some(&world))
    };
    copies_of(&plan_of(&archive(), &in_place(), &copies(), Some(&scaled_down())));
    let told = |name: &str| {
        format!(
            "1 pod is there that mounts a volume whose files are to come back, or takes a pod's place that Velero needs for that [pods staging/{name}]"
        )
    };
    assert_eq!(refusal(&with("db-new", pod(&json!({}), &files, "Pending"))), told("db-new"));
    assert_eq!(refusal(&with("db-0", pod(&json!({}), &json!([]), "Running"))), told("db-0"));
    copies_of(&with("db-old", pod(&json!({}), &files, "Failed")));
    copies_of(&with("web-9", pod(&json!({}), &json!([]), "Running")));
}

#[test]
fn who_comes_behind_a_run_that_died_goes_on_with_claims_that_are_marked() {
    let plan = plan_of(&archive(), &in_place(), &copies(), Some(&marked("staging-20240501t100000z-x7k2v")));
    assert_eq!(copies_of(&plan).claims.len(), 1);
    assert!(shown(&plan).contains(&"claims: same persistentvolumeclaims staging/data".to_owned()), "{:?}", shown(&plan));
    assert!(shown(&plan).contains(&"workloads: create pods staging/db-0".to_owned()), "{:?}", shown(&plan));
    assert!(!notes(&plan).iter().any(|note| note.contains("stays as it is now")), "{:?}", notes(&plan));

    let other = plan_of(&archive(), &in_place(), &copies(), Some(&marked(ANOTHER_POINT)));
    assert_eq!(
        refusal(&other),
        format!(
            "1 volume claim is there and half filled with the copy that recovery point {ANOTHER_POINT} has [persistentvolumeclaims staging/data]"
        )
    );
    // Nor does anything start on half of the files because this restore brings none back.
    let half = marked("staging-20240501t100000z-x7k2v");
    let without = RestoreRequest { volumes: Volumes::Empty, ..in_place() };
    let by_velero = RestoreRequest { executor: Executor::Velero, ..in_place() };
    for (request, copies) in [(in_place(), Vec::new()), (without, copies().to_vec()), (by_velero, copies().to_vec())] {
        let refused = refusal(&plan_of(&archive(), &request, &copies, Some(&half)));
        assert!(refused.starts_with("1 volume claim is there and half filled"), "{refused}");
    }
    // A claim without the mark is whole, or somebody else's.
    let whole = plan_of(&archive(), &in_place(), &copies(), Some(&World::of(&archive())));
    assert!(
        whole.copies.is_none() && notes(&whole).iter().any(|note| note.contains("stays as it is now")),
        "{:?}",
        notes(&whole)
    );
    // A mark that was captured is of another claim.
    let mut captured = archive();
    captured.0[2].1["metadata"]["annotations"] = json!({AWAITS_COPY: ANOTHER_POINT});
    let plan = plan_of(&captured, &in_place(), &copies(), Some(&World::of(&archive())));
    assert!(shown(&plan).contains(&"claims: same persistentvolumeclaims staging/data".to_owned()), "{:?}", shown(&plan));
}

#[test]
fn a_claim_that_waits_for_its_files_is_seen_whatever_is_restored() {
    const HALF: &str =
        "1 volume claim is there and half filled with the copy that recovery point staging-20240501t100000z-x7k2v has";
    let half = marked("staging-20240501t100000z-x7k2v");
    let only = |kinds: &[&str]| RestoreRequest { include: kinds.iter().map(|kind| (*kind).to_owned()).collect(), ..in_place() };
    let planned = |request: &RestoreRequest, live: &World| plan_of(&archive(), request, &copies(), Some(live));
    assert_eq!(refusal(&planned(&only(&["pods"]), &half)), format!("{HALF} [persistentvolumeclaims staging/data]"));
    let without = RestoreRequest { exclude: vec!["pvc".to_owned()], ..in_place() };
    let mut served_names = served();
    served_names.iter_mut().filter(|kind| kind.kind.plural == CLAIMS).for_each(|kind| kind.short_names = vec!["pvc".to_owned()]);
    let planner = RestorePlanner::new(without, Some(&served_names), Some(half.live())).unwrap();
    assert_eq!(refusal(&archive().feed(planner.volumes(&copies()))), format!("{HALF} [persistentvolumeclaims staging/data]"));

    // Nothing starts: it is said.
    let mut changed = half;
    changed.objects.retain(|(kind, ..), _| kind != "serviceaccounts");
    let plan = planned(&only(&["serviceaccounts"]), &changed);
    assert!(!plan.refused() && !plan.nothing_to_do(), "{:?}", notes(&plan));
    let told = format!("warning: {HALF}; nothing that is written now starts anything");
    assert!(notes(&plan).contains(&told), "{:?}", notes(&plan));

    // One that goes is in nobody's way, be it that somebody deletes it or that this restore does.
    let mut leaving = scaled_down();
    let mut claim = marked_claim("data", ANOTHER_POINT);
    claim["metadata"]["deletionTimestamp"] = "2024-05-02T00:00:00Z".into();
    claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    leaving.put(claim);
    assert!(!planned(&only(&["pods"]), &leaving).refused());
    let mut strange = scaled_down();
    strange.put(marked_claim("strange", ANOTHER_POINT));
    let refused = refusal(&planned(&in_place(), &strange));
    assert!(refused.ends_with("[persistentvolumeclaims staging/strange]"), "{refused}");
    let pruning = RestoreRequest { prune: true, ..in_place() };
    copies_of(&planned(&pruning, &strange));
    // Nor does one of another namespace matter.
    let mut elsewhere = scaled_down();
    let mut claim = marked_claim("data", ANOTHER_POINT);
    claim["metadata"]["namespace"] = "production".into();
    elsewhere.put(claim);
    copies_of(&planned(&in_place(), &elsewhere));
}

#[test]
fn more_pods_than_velero_can_be_told_of_are_refused() {
    let long = json!({"containers": [{"name": "app", "image": "x".repeat(200_000)}]});
    let mut archive = archive();
    for number in 0..4 {
        let labels = json!({"app": "db", "statefulset.kubernetes.io/pod-name": "db-0"});
        archive = archive.with("pods", &format!("extra-{number}"), json!({"metadata": {"labels": labels}, "spec": long}));
    }
    let refused = refusal(&plan_of(&archive, &beside(), &copies(), None));
    assert!(refused.starts_with("5 pods carry the labels"), "{refused}");
}

#[test]
fn what_velero_made_is_known_by_the_restore_that_it_made_it_for() {
    let labelled = |value: &str| json!({"metadata": {"labels": {"velero.io/restore-name": value}}});
    assert!(came_with(&labelled("a-run-files"), "a-run-files"));
    assert!(came_with(&labelled(&attempt("a-run-files", 2)), "a-run-files"));
    for other in ["a-run-volumes", "a-run", "a-run-files-x", "another-run-files", ""] {
        assert!(!came_with(&labelled(other), "a-run-files"), "{other}");
    }
    assert!(!came_with(&json!({"metadata": {"labels": {"app": "db"}}}), "a-run-files"));
    // Velero's own: 57 letters and six of a hash.
    let long = "20240501t100000z-restore-an-environment-of-a-long-name-x7k2v-files";
    let label = "20240501t100000z-restore-an-environment-of-a-long-name-x7b6cf4e";
    assert!(came_with(&labelled(label), long));
    assert!(!came_with(&labelled(&label.replace("0501", "0502")), long));
}

/// A carrier on a node, with what the node says of Velero's init container.
fn carrier(state: &Value, status: &Value) -> Value {
    let mut status = status.clone();
    status["initContainerStatuses"] =
        json!([{"name": "other", "state": {"running": {}}}, {"name": "restore-wait", "state": state}]);
    json!({"metadata": {"uid": "u1"}, "spec": {"nodeName": "n1", "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "data"}}]},
        "status": status})
}

#[test]
fn a_carrier_tells_how_far_it_is_and_what_keeps_it() {
    let pending = json!({"phase": "Pending"});
    let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let of = |state: &Value, status: &Value| carrying(&carrier(state, status));
    assert_eq!(of(&waiting("PodInitializing", ""), &pending), Carrying::Begins);
    assert_eq!(of(&json!({"running": {}}), &pending), Carrying::Runs);
    for reason in ["ImagePullBackOff", "ErrImagePull", "CreateContainerError", "CreateContainerConfigError", "InvalidImageName"] {
        assert_eq!(of(&waiting(reason, "no such thing"), &pending), Carrying::Hindered(format!("{reason}: no such thing")));
    }
    // What comes behind Velero's init container cannot run, which ends the pod.
    let ended = |code: u8| json!({"terminated": {"exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }}});
    assert_eq!(of(&ended(0), &json!({"phase": "Failed"})), Carrying::Done);
    assert_eq!(of(&ended(1), &pending), Carrying::Over("Error".to_owned()));
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "});
    assert_eq!(
        of(&json!({"running": {}}), &evicted),
        Carrying::Over("Evicted: The node was low on resource: memory.".to_owned())
    );
    let mut drained = carrier(&json!({"running": {}}), &pending);
    drained["metadata"]["deletionTimestamp"] = "2024-05-01T10:00:00Z".into();
    assert_eq!(carrying(&drained), Carrying::Over("somebody deleted it at 2024-05-01T10:00:00Z".to_owned()));

    let condition = json!({"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"});
    let mut unplaced = json!({"spec": {}, "status": {"phase": "Pending", "conditions": [condition]}});
    assert_eq!(carrying(&unplaced), Carrying::Unplaced("0/3 nodes are available".to_owned()));
    unplaced["spec"]["schedulingGates"] = json!([{"name": "dxdr.io/carries-nothing"}]);
    assert_eq!(carrying(&unplaced), Carrying::Nothing);
}

#[test]
fn what_events_say_of_a_carrier_and_its_claims_is_known_by_its_reason() {
    let event = |kind: &str, name: &str, uid: &str, class: &str, reason: &str| json!({"type": class, "reason": reason, "message": "it is so", "involvedObject": {"kind": kind, "name": name, "uid": uid}});
    let events = [
        event("Pod", "db-0", "u1", "Warning", "FailedMount"),
        event("Pod", "db-0", "u1", "Warning", "FailedMount"),
        event("Pod", "db-0", "u1", "Normal", "Scheduled"),
        event("Pod", "db-0", "u0", "Warning", "FailedOfAnEarlierPod"),
        event("PersistentVolumeClaim", "data", "c1", "Warning", "ProvisioningFailed"),
        event("PersistentVolumeClaim", "other", "c2", "Warning", "ProvisioningFailedOfAnother"),
    ];
    let told = warnings(&events, &carrier(&json!({}), &json!({"phase": "Pending"})));
    assert_eq!(told.into_values().collect::<Vec<_>>(), ["FailedMount: it is so", "ProvisioningFailed: it is so"]);
}
