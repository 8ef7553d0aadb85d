//! Volumes that belong together, taken at one instant by a real CSI driver.

use std::fs;

use serde_json::{Value, json};

use super::{
    World,
    velero::Velero,
    volumes::{folder_of_snapshot, volumes_of},
};
use crate::objects::{core, reference};

const GROUP: &str = "groupsnapshot.storage.k8s.io";

/// Claims `data` and `log` of group `shop` and `other` of none, each with content.
fn with_group(velero: &Velero, name: &str) -> World {
    let world = World::with_objects(&velero.servers, name);
    for (name, labels) in [
        ("data", json!({"velero.io/volume-group": "shop"})),
        ("log", json!({"velero.io/volume-group": "shop"})),
        ("other", json!({})),
    ] {
        world.create((
            core("PersistentVolumeClaim", Some(&world.namespace), name),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
                "spec": {
                    "storageClassName": velero.storage_class, "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Mi"}}
                }
            }),
        ));
        fs::write(velero.volume_of_claim(&world, &world.namespace, name).join("content"), name).unwrap();
    }
    world
}

/// Names of what stands in the cluster for snapshots of the world's namespace.
fn standing(world: &World) -> Vec<String> {
    let single = reference("snapshot.storage.k8s.io", "v1", "VolumeSnapshot", "volumesnapshots", Some(""), "").kind;
    let group = reference(GROUP, "v1", "VolumeGroupSnapshot", "volumegroupsnapshots", Some(""), "").kind;
    [&single, &group].into_iter().flat_map(|kind| world.names(kind, Some(&world.namespace))).collect()
}

/// Contents of groups whose VolumeGroupSnapshot was in a namespace.
fn contents_of_groups(world: &World, namespace: &str) -> Vec<Value> {
    let kind = reference(GROUP, "v1", "VolumeGroupSnapshotContent", "volumegroupsnapshotcontents", None, "").kind;
    let at = |name: &String| world.get(&reference(GROUP, "v1", &kind.kind, &kind.plural, None, name));
    let contents = world.names(&kind, None).iter().filter_map(at).collect::<Vec<_>>();
    contents.into_iter().filter(|content| content["spec"]["volumeGroupSnapshotRef"]["namespace"] == namespace).collect()
}

#[test]
fn claims_of_one_group_are_of_one_instant_and_come_back() {
    let Some(velero) = Velero::named() else { return };
    let world = with_group(&velero, "group");
    let planned = world.run(&["backup", "now", "journey", "--dry-run"]).exits(0);
    let lines: Vec<&str> = planned.stderr.lines().filter(|line| line.contains("snapshot by")).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("in group shop")).count(), 2, "{lines:?}");

    let point = world.point();
    let volumes = volumes_of(&world, &point);
    assert_eq!(volumes.len(), 3, "{volumes:?}");
    let of = |claim: &str| volumes.iter().find(|volume| volume["claim"] == claim).unwrap();
    assert_eq!(of("data")["instant"], of("log")["instant"]);
    assert_ne!(of("data")["handle"], of("log")["handle"]);
    for claim in ["data", "log", "other"] {
        let folder = folder_of_snapshot(&velero, of(claim)["handle"].as_str().unwrap());
        assert_eq!(fs::read_to_string(folder.join("content")).unwrap(), claim);
        // One call for the two that belong together, and another for the third.
        let record =
            velero.volumes.parent().unwrap().join("records").join(format!("{}.json", folder.file_name().unwrap().display()));
        let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
        assert_eq!(record["group"].is_string(), claim != "other", "{record}");
    }
    assert_eq!(standing(&world), [""; 0]);
    assert_eq!(contents_of_groups(&world, &world.namespace), [Value::Null; 0]);

    let beside = world.beside("again");
    world.run(&["restore", "journey", "--point", &point, "--into", &beside, "--yes"]).exits(0);
    for claim in ["data", "log", "other"] {
        let folder = velero.volume_of_claim(&world, &beside, claim);
        assert_eq!(fs::read_to_string(folder.join("content")).unwrap(), claim);
    }
    assert_eq!(contents_of_groups(&world, &beside), [Value::Null; 0], "what made the group known is gone");
}

#[test]
fn a_group_of_which_one_cannot_be_taken_costs_the_point_all_of_it_and_leaves_nothing() {
    let Some(velero) = Velero::named() else { return };
    let world = with_group(&velero, "group-failed");
    let broken = velero.volume_of_claim(&world, &world.namespace, "log");
    fs::rename(&broken, broken.with_extension("away")).unwrap();
    let taken = world.run(&["backup", "now", "journey", "--output", "json"]).exits(3);
    fs::rename(broken.with_extension("away"), &broken).unwrap();
    assert!(taken.stderr.contains("/data could not be captured"), "{}", taken.stderr);
    let point: Value = serde_json::from_str(&taken.stdout).unwrap();
    let volumes = volumes_of(&world, point["name"].as_str().unwrap());
    assert_eq!(volumes.iter().map(|volume| &volume["claim"]).collect::<Vec<_>>(), ["other"]);
    assert_eq!(standing(&world), [""; 0]);
    assert_eq!(contents_of_groups(&world, &world.namespace), [Value::Null; 0]);
}

#[test]
fn a_group_with_a_volume_that_is_left_out_is_taken_singly_and_the_plan_says_why() {
    let Some(velero) = Velero::named() else { return };
    let world = with_group(&velero, "parted");
    let log = core("PersistentVolumeClaim", Some(&world.namespace), "log");
    let mut claim = world.get(&log).unwrap();
    claim["metadata"]["labels"]["velero.io/exclude-from-backup"] = "true".into();
    world.replace(&log, &claim);
    let planned = world.run(&["backup", "now", "journey", "--dry-run"]).exits(0);
    assert!(planned.stderr.contains("not at one instant with the others of group `shop`"), "{}", planned.stderr);
    let point = world.point();
    assert_eq!(volumes_of(&world, &point).len(), 2);
}

#[test]
fn velero_restores_a_member_of_a_group_from_a_point_of_dxdr() {
    let Some(velero) = Velero::named() else { return };
    // The snapshot controller waits for a content of the group, which older ones do not make.
    if !velero.has_since((1, 18, 1), "restore a snapshot whose driver says that it is of a group") {
        return;
    }
    let world = with_group(&velero, "group-velero");
    let point = world.point();
    let backup = velero.object("Backup", &point);
    world.wait_until("Velero has found the point", |world| world.get(&backup).is_some());
    let beside = world.beside("again");
    velero.restore(&world, &point, &beside);
    for claim in ["data", "log"] {
        let folder = velero.volume_of_claim(&world, &beside, claim);
        assert_eq!(fs::read_to_string(folder.join("content")).unwrap(), claim);
    }
}
