//! Snapshots of volumes that dxdr has taken by a real CSI driver, without Velero, and what a real Velero server makes of them.

use std::{fs, path::PathBuf};

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use super::{
    World,
    velero::{CONTENT, Velero},
};
use crate::objects::{core, reference};

/// The objects of snapshots that are in the cluster for the claims of a namespace.
fn snapshot_objects(world: &World, point: &str) -> Vec<ObjectReference> {
    let group = "snapshot.storage.k8s.io";
    let snapshot = reference(group, "v1", "VolumeSnapshot", "volumesnapshots", Some(&world.namespace), &format!("{point}-data"));
    [snapshot].into_iter().filter(|object| world.get(object).is_some()).collect()
}

pub(super) fn volumes_of(world: &World, point: &str) -> Vec<Value> {
    let points = world.run(&["points", "journey", "--output", "json"]).exits(0).stdout;
    let points: Value = serde_json::from_str(&points).unwrap();
    let points = points["points"].as_array().unwrap();
    let point = points.iter().find(|known| known["name"] == point).unwrap();
    point["components"].as_array().unwrap().iter().filter(|part| part["kind"] == "volume").cloned().collect()
}

pub(super) fn folder_of_snapshot(velero: &Velero, handle: &str) -> PathBuf {
    velero.volumes.parent().unwrap().join("snapshots").join(handle)
}

#[test]
fn a_point_has_the_content_of_its_volumes_and_leaves_nothing_in_the_cluster() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("native");
    let planned = world.run(&["backup", "now", "journey", "--dry-run"]).exits(0);
    assert!(planned.stderr.contains("/data: snapshot by"), "{}", planned.stderr);

    let point = world.point();
    let volumes = volumes_of(&world, &point);
    assert_eq!(volumes.len(), 1, "{volumes:?}");
    let folder = folder_of_snapshot(&velero, volumes[0]["handle"].as_str().unwrap());
    assert_eq!(fs::read_to_string(folder.join("content")).unwrap(), CONTENT);
    assert_eq!(snapshot_objects(&world, &point), []);

    // The storage keeps it though the claim and its volume go.
    world.delete(&core("PersistentVolumeClaim", Some(&world.namespace), "data"));
    assert_eq!(fs::read_to_string(folder.join("content")).unwrap(), CONTENT);
}

#[test]
fn velero_brings_the_content_back_from_a_point_of_dxdr_and_deletes_its_snapshots_with_it() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("interchange");
    let point = world.point();
    let handle = volumes_of(&world, &point)[0]["handle"].as_str().unwrap().to_owned();
    let original = velero.volume_of(&world, &world.namespace);
    fs::write(original.join("content"), "damaged").unwrap();

    let backup = velero.object("Backup", &point);
    world.wait_until("Velero has found the point", |world| world.get(&backup).is_some());
    let beside = world.beside("again");
    velero.restore(&world, &point, &beside);
    let restored = velero.volume_of(&world, &beside);
    assert_ne!(restored, original);
    assert_eq!(fs::read_to_string(restored.join("content")).unwrap(), CONTENT);

    let folder = folder_of_snapshot(&velero, &handle);
    assert!(folder.exists());
    velero.delete(&world, &point);
    world.wait_until("the storage's snapshot is gone", |_| !folder.exists());
}

#[test]
fn a_claim_whose_driver_refuses_costs_the_point_that_volume_only() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("refused");
    let claim = core("PersistentVolumeClaim", Some(&world.namespace), "shared");
    let volume = core("PersistentVolume", None, &format!("{}-shared", world.namespace));
    let modes = json!(["ReadWriteMany"]);
    world.create((
        volume.clone(),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume.name},
            "spec": {
                "capacity": {"storage": "1Mi"}, "accessModes": modes, "nfs": {"server": "127.0.0.1", "path": "/"},
                "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": world.namespace, "name": "shared"}
            }
        }),
    ));
    world.create((
        claim.clone(),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared", "namespace": world.namespace},
            "spec": {
                "storageClassName": "", "volumeName": volume.name, "accessModes": modes,
                "resources": {"requests": {"storage": "1Mi"}}
            }
        }),
    ));
    world.wait_until("the claim is bound", |world| world.get(&claim).unwrap()["status"]["phase"] == "Bound");

    let taken = world.run(&["backup", "now", "journey", "--output", "json"]).exits(3);
    assert!(taken.stderr.contains("/shared") && taken.stderr.contains("is of type nfs"), "{}", taken.stderr);
    let point: Value = serde_json::from_str(&taken.stdout).unwrap();
    assert_eq!(volumes_of(&world, point["name"].as_str().unwrap()).len(), 1);
}
