use dxdr_catalog::VolumeComponent;
use serde_json::{Value, json};

use super::world::{Archive, World, beside, in_place, left_out, notes, object, shown};
use crate::restore::{
    Action, CapturedVolume, Change, Executor, PlannedObject, RestorePlan, RestorePlanner, RestoreRequest, VolumeSource, Volumes,
    transform::transform, volume,
};

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
        instant: "2024-05-01T09:59:58Z".parse().unwrap(),
        method: method.to_owned(),
        driver: "csi.example".to_owned(),
        handle: "snap-1".to_owned(),
        size: Some(1 << 30),
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
    let volume = CapturedVolume { source, instant: "2024-05-01T09:59:58Z".parse().unwrap(), size: Some(1 << 30) };
    assert_eq!((&planned.action, planned.volume.as_deref()), (&Action::Create, Some(&volume)));
    assert_eq!(steps(&plan), ["namespaces", "configuration", "claims", "release-snapshots"]);
    assert!(!notes(&plan).iter().any(|note| note.contains("volume")), "{:?}", notes(&plan));
}

#[test]
fn a_claim_of_which_nothing_was_captured_says_that_it_will_be_empty() {
    let uncaptured = plan(&beside(), &[], None);
    assert_eq!(claim_of(&uncaptured).unwrap().volume, None);
    assert_eq!(
        notes(&uncaptured),
        ["warning: 1 volume claim is created with new, empty volumes: nothing of their data was captured"]
    );
    let other = VolumeComponent { claim: "other".to_owned(), ..captured("csi-snapshot") };
    let elsewhere = VolumeComponent { namespace: "elsewhere".to_owned(), ..captured("csi-snapshot") };
    assert_eq!(plan(&beside(), &[other, elsewhere], None), uncaptured);
    let asked = plan(&RestoreRequest { volumes: Volumes::Empty, ..beside() }, &[captured("csi-snapshot")], None);
    assert_eq!(notes(&asked), ["warning: 1 volume claim is created with new, empty volumes: as asked"]);
    assert_eq!(steps(&asked), ["namespaces", "configuration", "claims"]);
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
fn what_only_velero_can_read_goes_through_velero_behind_the_other_claims() {
    let request = beside();
    let plan = plan(&request, &[captured("data-mover")], None);
    assert_eq!(claim_of(&plan), None);
    assert_eq!(left_out(&plan), ["persistentvolumeclaims staging/data: Velero brings it back with its volume (data-mover)"]);
    assert_eq!(plan.through_velero[0].claim.to_string(), "persistentvolumeclaims copy/data");
    assert_eq!(steps(&plan), ["namespaces", "configuration", "velero-volumes"]);
    assert!(!plan.refused());
    let copied = super::volumes::plan(&request, &[captured("file-system")], None);
    assert!(copied.refused(), "{:?}", notes(&copied));
    let by_velero = RestoreRequest { executor: Executor::Velero, ..request };
    let by_velero = super::volumes::plan(&by_velero, &[captured("file-system")], None);
    assert!(!by_velero.refused() && by_velero.through_velero.is_empty(), "{:?}", notes(&by_velero));
    assert_eq!(steps(&by_velero), ["velero-restore"]);
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
