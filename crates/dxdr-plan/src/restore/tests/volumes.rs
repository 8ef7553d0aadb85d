use dxdr_catalog::{Gap, PodVolume, VolumeComponent};
use serde_json::{Value, json};

use super::world::{Archive, World, beside, in_place, left_out, notes, object, owned_by, shown};
use crate::restore::{
    Action, CapturedVolume, Change, Executor, PlannedObject, RestorePlan, RestorePlanner, RestoreRequest, VolumeSource, Volumes,
    transform::transform, volume,
};
use crate::velero::restore_of_volumes;

const CLAIMS: &str = "persistentvolumeclaims";

fn claim() -> Value {
    json!({"spec": {"storageClassName": "fast", "volumeName": "pv-1", "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Bound"}})
}

fn archive() -> Archive {
    Archive::staging().with(CLAIMS, "data", claim()).with("configmaps", "settings", json!({}))
}

fn captured(method: &str) -> VolumeComponent {
    VolumeComponent {
        namespace: "staging".to_owned(),
        claim: "data".to_owned(),
        pod: None,
        instant: "2024-05-01T09:59:58Z".parse().unwrap(),
        between: None,
        method: method.to_owned(),
        driver: "csi.example".to_owned(),
        handle: "snap-1".to_owned(),
        size: Some(1 << 30),
        late: false,
    }
}

fn plan(request: &RestoreRequest, volumes: &[VolumeComponent], live: Option<&World>) -> RestorePlan {
    let served = live.map(|_| super::world::served());
    let planner = RestorePlanner::new(request.clone(), served.as_deref(), live.map(World::live)).unwrap();
    archive().feed(planner.volumes(volumes))
}

fn claim_of(plan: &RestorePlan) -> Option<&PlannedObject> {
    plan.stages.iter().flat_map(|stage| &stage.objects).find(|object| object.target.kind.plural == CLAIMS)
}

fn steps(plan: &RestorePlan) -> Vec<String> {
    plan.steps().into_iter().map(|step| step.id).collect()
}

#[test]
fn a_claim_that_is_created_is_filled_from_its_snapshot() {
    let plan = plan(&beside(), &[captured("csi-snapshot")], None);
    let planned = claim_of(&plan).unwrap();
    let source = VolumeSource::Snapshot { driver: "csi.example".to_owned(), handle: "snap-1".to_owned() };
    let volume = CapturedVolume { source, instant: "2024-05-01T09:59:58Z".parse().unwrap(), size: Some(1 << 30), late: false };
    assert_eq!((&planned.action, planned.volume.as_deref()), (&Action::Create, Some(&volume)));
    assert_eq!(steps(&plan), ["namespaces", "configuration", "claims", "release-snapshots"]);
    assert!(!notes(&plan).iter().any(|note| note.contains("volume")), "{:?}", notes(&plan));
}

/// The plan of a point that lacks what `gaps` name.
fn plan_lacking(archive: &Archive, request: &RestoreRequest, gaps: &[&str]) -> RestorePlan {
    let gaps: Vec<Gap> =
        gaps.iter().map(|what| Gap { what: (*what).to_owned(), reason: "the disk is on fire".to_owned() }).collect();
    archive.feed(RestorePlanner::new(request.clone(), None, None).unwrap().gaps(&gaps))
}

#[test]
fn a_claim_whose_data_the_point_lacks_is_empty_and_nobody_wanted_that() {
    for gap in ["volume staging/data", "volumes in staging"] {
        let lacking = plan_lacking(&archive(), &beside(), &[gap]);
        assert_eq!(claim_of(&lacking).unwrap().volume, None);
        assert_eq!(
            notes(&lacking),
            ["warning: 1 volume claim is created with new, empty volumes: nothing of their data was captured"]
        );
        let without: Vec<_> = lacking.without_data.iter().map(|(claim, reason)| (claim.to_string(), reason.as_str())).collect();
        assert_eq!(without, [("persistentvolumeclaims copy/data".to_owned(), "the disk is on fire")]);
    }
    // What stays keeps its data, and what is not restored has none.
    let live = World::of(&archive());
    let gaps = [Gap { what: "volume staging/data".to_owned(), reason: String::new() }];
    let planner = RestorePlanner::new(in_place(), Some(&super::world::served()), Some(live.live())).unwrap();
    assert_eq!(archive().feed(planner.gaps(&gaps)).without_data, []);
    let without = RestoreRequest { exclude: vec![CLAIMS.to_owned()], ..beside() };
    assert_eq!(plan_lacking(&archive(), &without, &["volume staging/data"]).without_data, []);
}

#[test]
fn a_claim_that_is_empty_on_purpose_or_always_was_is_said_and_nothing_more() {
    let told = |plan: &RestorePlan| {
        assert_eq!(plan.without_data, []);
        notes(plan)
    };
    let empty = "1 volume claim is created with new, empty volumes";
    // The point lacks others.
    let left_out = plan_lacking(&archive(), &beside(), &["volume staging/other", "volume elsewhere/data", "secrets in staging"]);
    assert_eq!(told(&left_out), [format!("warning: {empty}: their data was left out of the point on purpose")]);
    let other = VolumeComponent { claim: "other".to_owned(), ..captured("csi-snapshot") };
    let elsewhere = VolumeComponent { namespace: "elsewhere".to_owned(), ..captured("csi-snapshot") };
    assert_eq!(plan(&beside(), &[other, elsewhere], None), left_out);
    let asked = RestoreRequest { volumes: Volumes::Empty, ..beside() };
    let asked_lacking = plan_lacking(&archive(), &asked, &["volume staging/data"]);
    assert_eq!(told(&asked_lacking), [format!("warning: {empty}: as asked")]);
    let asked = plan(&asked, &[captured("csi-snapshot")], None);
    assert_eq!(told(&asked), [format!("warning: {empty}: as asked")]);
    assert_eq!(steps(&asked), ["namespaces", "configuration", "claims"]);
    let unbound =
        Archive::staging().with(CLAIMS, "data", json!({"spec": {"storageClassName": "fast"}, "status": {"phase": "Pending"}}));
    let unbound = plan_lacking(&unbound, &beside(), &["volume staging/data"]);
    assert_eq!(told(&unbound), [format!("note: {empty}: there was no volume yet")]);
}

#[test]
fn a_volume_that_no_class_makes_is_promised_to_nobody() {
    let by_hand = json!({"spec": {"storageClassName": "", "volumeName": "nfs"}, "status": {"phase": "Bound"}});
    let archive = Archive::staging().with(CLAIMS, "data", by_hand);
    let lacking = plan_lacking(&archive, &beside(), &["volume staging/data"]);
    let pending = "warning: 1 volume claim asks for a volume that somebody makes by hand, and stays pending until there is one";
    assert_eq!(notes(&lacking), [pending]);
    assert_eq!(lacking.without_data.len(), 1);
    // Nobody fills one from a snapshot, either.
    let filled = archive.feed(RestorePlanner::new(beside(), None, None).unwrap().volumes(&[captured("csi-snapshot")]));
    assert_eq!(notes(&filled), [pending]);
    // A class that makes it.
    let classes = [(String::new(), "fast".to_owned())].into_iter().collect();
    let request = RestoreRequest { storage_classes: classes, ..beside() };
    assert_eq!(RestoreRequest::from_parameters(request.environment.clone(), &request.parameters()).as_ref(), Some(&request));
    let named = archive.feed(RestorePlanner::new(request, None, None).unwrap().volumes(&[captured("csi-snapshot")]));
    assert_eq!(notes(&named), [""; 0]);
}

#[test]
fn a_snapshot_of_which_nobody_knew_that_it_can_be_used_is_told_of_and_used() {
    let late = plan(&beside(), &[VolumeComponent { late: true, ..captured("csi-snapshot") }], None);
    assert!(claim_of(&late).unwrap().volume.is_some());
    assert_eq!(
        notes(&late),
        [
            "warning: 1 volume is restored from a snapshot of which the storage had not said yet, when the point was written, that it can be used"
        ]
    );
}

#[test]
fn the_data_of_a_claim_that_is_there_stays() {
    let world = World::of(&archive());
    let plan = plan(&in_place(), &[captured("csi-snapshot")], Some(&world));
    assert!(plan.nothing_to_do());
    assert!(plan.release_step().is_none());
    assert_eq!(notes(&plan), ["warning: 1 volume claim is there, and the data of their volumes stays as it is now"]);
}

#[test]
fn a_claim_that_is_made_for_a_pod_is_the_pod_s_also_where_only_velero_can_read_its_volume() {
    let mut scratch = claim();
    scratch["metadata"] = owned_by("pods", "api-1")["metadata"].clone();
    let archive = Archive::staging().with("pods", "api-1", json!({})).with(CLAIMS, "data", scratch);
    let planner = RestorePlanner::new(beside(), None, None).unwrap();
    let plan = archive.feed(planner.volumes(&[captured("data-mover")]));
    assert_eq!(left_out(&plan), ["persistentvolumeclaims staging/data: Pod api-1 makes it again"]);
    assert_eq!((plan.through_velero.len(), plan.velero_step()), (0, None));
}

#[test]
fn what_only_velero_can_read_goes_through_velero_behind_the_other_claims() {
    let request = beside();
    let plan = plan(&request, &[captured("data-mover")], None);
    assert_eq!(claim_of(&plan), None);
    assert_eq!(left_out(&plan), ["persistentvolumeclaims staging/data: Velero brings it back with its volume (data-mover)"]);
    assert_eq!(plan.through_velero[0].claim.to_string(), "persistentvolumeclaims copy/data");
    assert_eq!(steps(&plan), ["namespaces", "configuration", "velero-volumes"]);
    assert!(!plan.refused());
    let by_velero = RestoreRequest { executor: Executor::Velero, ..request };
    let by_velero = super::volumes::plan(&by_velero, &[captured("file-system")], None);
    assert!(!by_velero.refused() && by_velero.through_velero.is_empty(), "{:?}", notes(&by_velero));
    assert_eq!(steps(&by_velero), ["velero-restore"]);
}

#[test]
fn a_claim_that_velero_alone_brings_back_is_something_to_do() {
    let mut world = World::of(&archive());
    world.objects.retain(|(kind, ..), _| kind != CLAIMS);
    let plan = plan(&in_place(), &[captured("data-mover")], Some(&world));
    assert_eq!(steps(&plan), ["velero-volumes"]);
    assert!(!plan.nothing_to_do());
    let alone = RestoreRequest { include: vec![CLAIMS.to_owned()], ..in_place() };
    assert!(!super::volumes::plan(&alone, &[captured("data-mover")], Some(&world)).refused());
}

#[test]
fn a_data_mover_that_waits_for_a_pod_which_comes_behind_it_is_told_of() {
    let notes_of = |mode: &str, method: &str| {
        let mut world = World::default();
        world.put(object("storageclasses.storage.k8s.io", "fast", json!({"volumeBindingMode": mode})));
        notes(&plan(&beside(), &[captured(method)], Some(&world)))
    };
    let told = notes_of("WaitForFirstConsumer", "data-mover");
    assert!(
        told.iter()
            .any(|note| note.starts_with("warning: 1 volume claim is of a storage class that makes a volume for a pod only")),
        "{told:?}"
    );
    for other in [notes_of("Immediate", "data-mover"), notes_of("WaitForFirstConsumer", "native-snapshot")] {
        assert!(!other.iter().any(|note| note.contains("for a pod only")), "{other:?}");
    }
}

#[test]
fn a_claim_that_velero_was_asked_for_is_not_taken_for_whole_because_it_is_there() {
    let world = World::of(&archive());
    let planned = |begun: &str, method: &str| {
        let served = super::world::served();
        let planner = RestorePlanner::new(in_place(), Some(&served), Some(world.live())).unwrap();
        archive().feed(planner.volumes(&[captured(method)]).begun([begun.to_owned()]))
    };
    let resumed = planned("data", "data-mover");
    assert_eq!(steps(&resumed), ["velero-volumes"]);
    assert_eq!(resumed.through_velero[0].claim.to_string(), "persistentvolumeclaims staging/data");
    for other in [planned("other", "data-mover"), planned("data", "csi-snapshot")] {
        assert!(other.nothing_to_do());
        assert_eq!(notes(&other), ["warning: 1 volume claim is there, and the data of their volumes stays as it is now"]);
    }
}

#[test]
fn velero_is_told_which_storage_class_has_another_name_here() {
    let renamed = |from: &str, method: &str| {
        let classes = [(from.to_owned(), "faster".to_owned())].into_iter().collect();
        let plan = plan(&RestoreRequest { storage_classes: classes, ..beside() }, &[captured(method)], None);
        restore_of_volumes(&plan, "a-run", "velero")
    };
    let asked = renamed("fast", "data-mover");
    let modifiers = asked.modifiers.unwrap();
    assert_eq!(modifiers.reference.to_string(), "configmaps velero/a-run-volumes");
    assert_eq!(asked.restore.value["spec"]["resourceModifier"], json!({"kind": "ConfigMap", "name": "a-run-volumes"}));
    let rules = |modifiers: &Value| serde_json::from_str::<Value>(modifiers["data"]["rules.json"].as_str().unwrap()).unwrap();
    let patches = json!([{"patchData": "{\"spec\":{\"storageClassName\":\"faster\"}}"}]);
    let of_claim = json!({"conditions": {"groupResource": CLAIMS, "resourceNameRegex": "^data$"}, "mergePatches": patches});
    assert_eq!(rules(&modifiers.value), json!({"version": "v1", "resourceModifierRules": [of_claim]}));
    // What a plugin makes is bound to its claim only when it has the same class.
    let matches = json!([{"path": "/spec/storageClassName", "value": "fast"}]);
    let of_volume = json!({"conditions": {"groupResource": "persistentvolumes", "matches": matches}, "mergePatches": patches});
    let native = renamed("fast", "native-snapshot").modifiers.unwrap();
    assert_eq!(rules(&native.value)["resourceModifierRules"], json!([of_claim, of_volume]));
    let other = renamed("other", "data-mover");
    assert_eq!((other.modifiers, other.restore.value["spec"].get("resourceModifier")), (None, None));
}

#[test]
fn a_target_that_cannot_use_the_snapshot_is_named_before_anything_is_written() {
    // No kind of the group of snapshots is served.
    let refused = plan(&beside(), &[captured("csi-snapshot")], Some(&World::default()));
    assert!(refused.refused());
    let fatal = &notes(&refused)[0];
    assert_eq!(fatal, "fatal: 1 volume cannot be restored from its snapshot: the target does not serve snapshot.storage.k8s.io");
    assert!(
        notes(&refused).contains(&"warning: 1 volume claim asks for storage class `fast`, which is not in the target".to_owned())
    );
}

#[test]
fn what_filled_the_old_volume_does_not_fill_the_new_one() {
    let source = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "gone"});
    let filled =
        object(CLAIMS, "data", json!({"spec": {"dataSource": source, "dataSourceRef": source, "storageClassName": "gp2"}}));
    let request = RestoreRequest { storage_classes: [("gp2".to_owned(), "gp3".to_owned())].into_iter().collect(), ..in_place() };
    let transformed = transform(&request, filled);
    assert_eq!(transformed.object["spec"], json!({"storageClassName": "gp3"}));
    assert!(transformed.changes.contains(Change::DataSource) && transformed.changes.contains(Change::StorageClass));
    let set = object(
        "statefulsets.apps",
        "db",
        json!({"spec": {"volumeClaimTemplates": [{"spec": {"storageClassName": "gp2"}}, {"spec": {"storageClassName": "other"}}]}}),
    );
    let templates = &transform(&request, set).object["spec"]["volumeClaimTemplates"];
    assert_eq!(*templates, json!([{"spec": {"storageClassName": "gp3"}}, {"spec": {"storageClassName": "other"}}]));
}

#[test]
fn a_volume_has_room_for_its_snapshot_and_never_shrinks() {
    let asks = |text: &str| json!({"spec": {"resources": {"requests": {"storage": text}}}});
    let filled = |asked: &str, size| {
        let mut claim = asks(asked);
        volume::fill(&mut claim, "dxdr-1", size);
        assert_eq!(claim["spec"]["dataSource"]["name"], "dxdr-1");
        claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap().to_owned()
    };
    assert_eq!(filled("1Gi", Some(1 << 30)), "1Gi");
    assert_eq!(filled("2Gi", Some(1 << 30)), "2Gi");
    assert_eq!(filled("1Gi", Some(10 << 30)), "10737418240");
    assert_eq!(filled("1Gi", None), "1Gi");

    let mut world = World::of(&archive());
    world.object(CLAIMS, Some("staging"), "data")["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    assert!(
        shown(&plan(&in_place(), &[], Some(&world))).contains(&"claims: leave persistentvolumeclaims staging/data".to_owned())
    );
    world.object(CLAIMS, Some("staging"), "data")["spec"]["resources"]["requests"]["storage"] = "512Mi".into();
    assert!(
        shown(&plan(&in_place(), &[], Some(&world))).contains(&"claims: update persistentvolumeclaims staging/data".to_owned())
    );
}

#[test]
fn what_stands_for_a_snapshot_never_takes_it_along() {
    let plan = plan(&beside(), &[captured("csi-snapshot")], None);
    let claim = &claim_of(&plan).unwrap().target;
    let imported = volume::imported("a-run", "dxdr-1", claim, ("csi.example", "snap-1"), Some("secret-class"), "Block");
    let content = &imported.content.value;
    assert_eq!(content["spec"]["deletionPolicy"], "Retain");
    assert_eq!(content["spec"]["source"], json!({"snapshotHandle": "snap-1"}));
    assert_eq!(
        (&content["spec"]["sourceVolumeMode"], &content["spec"]["volumeSnapshotClassName"]),
        (&json!("Block"), &json!("secret-class"))
    );
    assert_eq!(content["spec"]["volumeSnapshotRef"]["namespace"], "copy");
    assert_eq!(imported.snapshot.value["spec"]["source"], json!({"volumeSnapshotContentName": "dxdr-1"}));
    assert_eq!(imported.snapshot.reference.to_string(), "volumesnapshots.snapshot.storage.k8s.io copy/dxdr-1");
}

#[test]
fn what_makes_a_group_known_points_to_the_one_member_and_deletes_nothing() {
    let plan = plan(&beside(), &[captured("csi-snapshot")], None);
    let claim = &claim_of(&plan).unwrap().target;
    let imported = volume::imported("a-run", "dxdr-1", claim, ("csi.example", "snap-1"), None, "Filesystem");
    let group = volume::imported_group(&imported, "group-1", "v1beta2");
    assert_eq!(group.reference.to_string(), "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io dxdr-1");
    let spec = &group.value["spec"];
    assert_eq!((&spec["deletionPolicy"], &spec["driver"]), (&json!("Retain"), &json!("csi.example")));
    let handles = json!({"volumeGroupSnapshotHandle": "group-1", "volumeSnapshotHandles": ["snap-1"]});
    assert_eq!(spec["source"]["groupSnapshotHandles"], handles);
    assert_eq!(spec["volumeGroupSnapshotRef"]["namespace"], "copy");
    assert_eq!(group.value["metadata"]["labels"], imported.content.value["metadata"]["labels"]);
}

/// An archive with a claim that only Velero can bring back, and one on storage that outlives it.
fn beside_shared_storage(labels: Value, shared: Value, policy: &str) -> Archive {
    let claim = |volume: &str, labels: Value| json!({"metadata": {"labels": labels}, "spec": {"volumeName": volume}});
    Archive::staging()
        .with(CLAIMS, "data", claim("pv-1", labels))
        .with(CLAIMS, "files", claim("nfs", shared))
        .with("persistentvolumes", "pv-1", json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}))
        .with("configmaps", "settings", json!({}))
        .with("persistentvolumes", "nfs", json!({"spec": {"persistentVolumeReclaimPolicy": policy, "nfs": {"server": "filer"}}}))
}

fn plan_of(archive: &Archive, request: &RestoreRequest, volumes: &[VolumeComponent], live: Option<&World>) -> RestorePlan {
    let served = live.map(|_| super::world::served());
    let planner = RestorePlanner::new(request.clone(), served.as_deref(), live.map(World::live)).unwrap();
    archive.feed(planner.volumes(volumes))
}

fn with_policy(mut object: Value, policy: &str) -> Value {
    if object["kind"] == "PersistentVolume" {
        object["spec"]["persistentVolumeReclaimPolicy"] = policy.into();
    }
    object
}

const BOUND_TWICE: &str = "fatal: Velero would bind a claim to the storage of the original, along with the volumes that only it can bring back: there is no copy of the data, and it asks for the very volume that it had";

#[test]
fn what_velero_brings_back_is_found_by_its_labels_and_nothing_else_is() {
    let labels = json!({"app": "db", "velero.io/volume-snapshot-name": "velero-data-x"});
    let archive = beside_shared_storage(labels.clone(), json!({"app": "files"}), "Retain");
    let plan = plan_of(&archive, &beside(), &[captured("data-mover")], None);
    assert!(!plan.refused(), "{:?}", notes(&plan));
    let asked = restore_of_volumes(&plan, "a-run", "velero-system");
    assert_eq!(asked.modifiers, None);
    let restore = asked.restore;
    assert_eq!(restore.reference.to_string(), "restores.velero.io velero-system/a-run-volumes");
    assert_eq!(
        restore.value["spec"],
        json!({
            "backupName": "staging-20240501t100000z-x7k2v", "includedNamespaces": ["staging"], "namespaceMapping": {"staging": "copy"},
            "includedResources": [CLAIMS, "persistentvolumes"], "orLabelSelectors": [{"matchLabels": labels}],
            "restorePVs": true, "existingResourcePolicy": "none",
        })
    );
    assert_eq!(restore.value["metadata"]["labels"]["dxdr.io/run"], "a-run");
    let in_place = plan_of(&archive, &in_place(), &[captured("native-snapshot")], None);
    assert_eq!(restore_of_volumes(&in_place, "a-run", "velero").restore.value["spec"]["namespaceMapping"], json!({}));
}

#[test]
fn velero_is_never_let_loose_on_storage_that_belongs_to_the_original() {
    let app = || json!({"app": "db"});
    let moved = [captured("data-mover")];
    let refusal = |archive: &Archive, request: &RestoreRequest, live: Option<&World>| {
        let plan = plan_of(archive, request, &moved, live);
        notes(&plan).into_iter().find(|note| note.starts_with("fatal"))
    };
    // Nothing tells the claims apart.
    for (ours, theirs) in [(json!({}), json!({"app": "files"})), (app(), json!({"app": "db", "tier": "files"}))] {
        let archive = beside_shared_storage(ours, theirs, "Retain");
        assert_eq!(refusal(&archive, &beside(), None).as_deref(), Some(BOUND_TWICE));
        assert_eq!(refusal(&archive, &in_place(), None).as_deref(), Some(BOUND_TWICE));
        // Velero leaves a volume alone that is there.
        assert_eq!(refusal(&archive, &in_place(), Some(&World::of(&archive))), None);
        assert_eq!(refusal(&archive, &RestoreRequest { volumes: Volumes::Empty, ..beside() }, None), None);
    }
    // Provisioned anew, or brought back from a copy of its own.
    let archive = beside_shared_storage(json!({}), app(), "Delete");
    let plan = plan_of(&archive, &beside(), &moved, None);
    assert!(!plan.refused(), "{:?}", notes(&plan));
    assert_eq!(restore_of_volumes(&plan, "a-run", "velero").restore.value["spec"].get("orLabelSelectors"), None);
    let archive = beside_shared_storage(json!({}), app(), "Retain");
    let both = [captured("data-mover"), VolumeComponent { claim: "files".to_owned(), ..captured("csi-snapshot") }];
    assert!(!plan_of(&archive, &beside(), &both, None).refused());
}

#[test]
fn a_restore_that_velero_carries_out_is_refused_where_it_would_bind_storage_twice() {
    let archive = beside_shared_storage(json!({"app": "db"}), json!({"app": "files"}), "Retain");
    let by_velero = RestoreRequest { executor: Executor::Velero, ..beside() };
    let refusals = |request: &RestoreRequest, live: Option<&World>| {
        let plan = plan_of(&archive, request, &[captured("csi-snapshot")], live);
        plan.refusals().map(|note| (note.object.as_ref().map(ToString::to_string), note.hint.clone())).collect::<Vec<_>>()
    };
    let found = refusals(&by_velero, None);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0.as_deref(), Some("persistentvolumes nfs"));
    assert!(found[0].1.as_ref().unwrap().contains("without `--executor velero`"));
    // `restorePVs: false` keeps no volume out that has no snapshot.
    assert_eq!(refusals(&RestoreRequest { volumes: Volumes::Empty, ..by_velero.clone() }, None).len(), 1);
    // Of a plugin's snapshot Velero then makes the volume with the original's disk, whatever its reclaim policy.
    for policy in ["Retain", "Delete"] {
        let archive = beside_shared_storage(json!({"app": "db"}), json!({}), "Delete");
        let archive = Archive(archive.0.into_iter().map(|(kind, object)| (kind, with_policy(object, policy))).collect());
        let plan = |volumes, method: &str| {
            plan_of(&archive, &RestoreRequest { volumes, ..by_velero.clone() }, &[captured(method)], None)
        };
        let bound: Vec<String> = plan(Volumes::Empty, "native-snapshot").refusals().map(|note| note.text.clone()).collect();
        let reason = "the copy of the data is not to be used, and it asks for the very volume that it had";
        assert!(bound.iter().any(|text| text.ends_with(reason)), "{policy}: {bound:?}");
        let others = [plan(Volumes::Captured, "native-snapshot"), plan(Volumes::Empty, "data-mover")];
        assert!(others.iter().flat_map(RestorePlan::refusals).all(|note| !note.text.contains(reason)));
    }
    let without = RestoreRequest { exclude: vec![CLAIMS.to_owned()], ..by_velero.clone() };
    assert_eq!(refusals(&without, None), []);
    assert_eq!(refusals(&RestoreRequest { executor: Executor::Dxdr, ..by_velero.clone() }, None), []);
    // The archive need not have the volume for that.
    let lacks = Archive(archive.0.iter().filter(|(kind, _)| kind != "persistentvolumes").cloned().collect());
    let unknown = plan_of(&lacks, &by_velero, &[captured("csi-snapshot")], None);
    assert_eq!(unknown.refusals().count(), 1, "{:?}", notes(&unknown));
    let in_place = RestoreRequest { executor: Executor::Velero, ..in_place() };
    assert_eq!(refusals(&in_place, None).len(), 1);
    assert_eq!(refusals(&in_place, Some(&World::of(&archive))), []);
}

#[test]
fn copies_of_volumes_without_a_claim_are_told_of() {
    let pod = |pod: &str| Some(PodVolume { pod: pod.to_owned(), volume: "cache".to_owned() });
    let copy = |name: &str| VolumeComponent { claim: String::new(), pod: pod(name), ..captured("file-system") };
    let volumes = [captured("csi-snapshot"), copy("web-0"), copy("web-1")];
    let told = plan(&beside(), &volumes, None);
    assert_eq!(
        notes(&told),
        [
            "warning: 2 volumes of pods without a claim will be empty: the copies of their files, made one by one, come back with the pods themselves, which Velero alone does"
        ]
    );
    assert_eq!(told.notes[0].object.as_ref().unwrap().to_string(), "pods staging/web-0");
    assert!(claim_of(&told).unwrap().volume.is_some());
    let by_velero = RestoreRequest { executor: Executor::Velero, ..beside() };
    assert_eq!(notes(&plan(&by_velero, &volumes, None)), [""; 0]);
}
