//! Volumes that outlive their claim, of which a real Velero server has no copy: nobody binds a second claim to them.

use std::{fs, io::Read as _};

use bytes::Bytes;
use dxdr_environment::ObjectReference;
use dxdr_provider::{
    ObjectStorage,
    object_storage::{ObjectBody, PutCondition},
};
use flate2::read::GzDecoder;
use futures::StreamExt;
use serde_json::{Value, json};

use super::{
    World,
    velero::{CONTENT, Velero},
};
use crate::{
    adoption::zipped,
    objects::{core, reference},
};

/// A claim `shared` on a volume that somebody made by hand; the volume.
fn shared(world: &World) -> ObjectReference {
    let volume = core("PersistentVolume", None, &format!("{}-shared", world.namespace));
    let claim = core("PersistentVolumeClaim", Some(&world.namespace), "shared");
    let (modes, storage) = (json!(["ReadWriteMany"]), json!({"storage": "1Mi"}));
    world.create((
        volume.clone(),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume.name},
            "spec": {
                "capacity": storage, "accessModes": modes, "nfs": {"server": "127.0.0.1", "path": "/exports"},
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
                "storageClassName": "", "volumeName": volume.name, "accessModes": modes, "resources": {"requests": storage}
            }
        }),
    ));
    world.wait_until("the claim is bound", |world| world.get(&claim).unwrap()["status"]["phase"] == "Bound");
    volume
}

/// Lets what Velero says of the claim `data` read as if its content lay in the store, where only Velero can read it.
fn moved(velero: &Velero, world: &World, backup: &str) {
    let storage = velero.servers.storage(&world.runtime);
    let prefix = velero.servers.prefix.as_deref().unwrap();
    let key = format!("{prefix}/backups/{backup}/{backup}-volumeinfo.json.gz");
    world.runtime.block_on(async {
        let (mut stored, mut stream) = (Vec::new(), storage.get(&key, None).await.unwrap().stream);
        while let Some(chunk) = stream.next().await {
            stored.extend_from_slice(&chunk.unwrap());
        }
        let mut text = String::new();
        GzDecoder::new(stored.as_slice()).read_to_string(&mut text).unwrap();
        let mut volumes: Value = serde_json::from_str(&text).unwrap();
        let data = volumes.as_array_mut().unwrap().iter_mut().find(|volume| volume["pvcName"] == "data").unwrap();
        data["snapshotDataMoved"] = true.into();
        let body = ObjectBody::Bytes(Bytes::from(zipped(&volumes)));
        storage.put(&key, body, PutCondition::Always).await.unwrap();
    });
}

/// What a data mover leaves that has moved data into the claim `data`, for a Restore.
fn download(velero: &Velero, world: &World, restore: &Value, target: &str) -> (ObjectReference, Value) {
    let (asked, uid) = (restore["metadata"]["name"].as_str().unwrap(), &restore["metadata"]["uid"]);
    let namespace = restore["metadata"]["namespace"].as_str().unwrap();
    let object = reference("velero.io", "v2alpha1", "DataDownload", "datadownloads", Some(namespace), asked);
    let value = json!({
        "apiVersion": "velero.io/v2alpha1", "kind": "DataDownload",
        "metadata": {"name": asked, "namespace": namespace, "labels": {"velero.io/restore-name": asked, "velero.io/restore-uid": uid}},
        "spec": {
            "backupStorageLocation": velero.location, "operationTimeout": "10m0s", "snapshotID": "k0f3",
            "sourceNamespace": world.namespace, "targetVolume": {"namespace": target, "pv": "", "pvc": "data"}
        },
        "status": {"phase": "Completed"}
    });
    (object, value)
}

#[test]
fn a_volume_that_somebody_made_by_hand_is_bound_to_no_second_claim() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("retained");
    let volume = shared(&world);
    let backup = velero.back_up(&world);
    // As in another cluster: the archive has the volume, and the target does not.
    world.delete(&core("PersistentVolumeClaim", Some(&world.namespace), "shared"));
    world.delete(&volume);
    world.wait_until("the volume is gone", |world| world.get(&volume).is_none());

    let everything = world.beside("everything");
    let restore = ["restore", "journey", "--point", &backup, "--into", &everything];
    let said = world.run(&[&restore[..], &["--executor", "velero", "--yes"]].concat()).refuses(4);
    assert!(said.stderr.contains("would bind a claim to the storage of the original"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("persistentvolumes {}", volume.name)), "{}", said.stderr);
    assert_eq!(world.get(&core("Namespace", None, &everything)), None);

    // A CSI snapshot stands for the data mover's copy; asked for claims alone, older servers do not take its VolumeSnapshot along.
    if !velero.has_since((1, 18, 3), "bring a claim back from its CSI snapshot when asked for claims alone") {
        velero.delete(&world, &backup);
        return;
    }
    moved(&velero, &world, &backup);
    let limited = world.beside("limited");
    let said = world.run(&["restore", "journey", "--point", &backup, "--into", &limited, "--yes"]).refuses(1);
    assert!(said.stderr.contains("Have Velero bring back 1 volume"), "{}", said.stderr);
    // The claim is there, and nobody has said that data was moved into it.
    let reason = format!("persistentvolumeclaims {limited}/data: Velero's Restore is Completed, and brought nothing into it");
    assert!(said.stderr.contains(&reason), "{}", said.stderr);
    let restores = world.names(&velero.object("Restore", "").kind, velero.object("Restore", "").namespace.as_deref());
    let restore = restores.iter().find(|name| name.ends_with("-volumes")).unwrap();
    let asked = world.get(&velero.object("Restore", restore)).unwrap();
    let selector = &asked["spec"]["orLabelSelectors"][0]["matchLabels"];
    assert_eq!(selector["velero.io/backup-name"], backup.as_str(), "{asked:#}");
    let download = download(&velero, &world, &asked, &limited);
    world.create(download.clone());
    let said = world.run(&["runs", "resume", restore.strip_suffix("-volumes").unwrap(), "--yes"]).exits(3);
    assert!(said.stderr.contains("/shared is there without its data"), "{}", said.stderr);
    world.delete(&download.0);
    assert_eq!(fs::read_to_string(velero.volume_of(&world, &limited).join("content")).unwrap(), CONTENT);
    let empty = world.get(&core("PersistentVolumeClaim", Some(&limited), "shared")).unwrap();
    assert_eq!((empty["spec"].get("volumeName"), &empty["status"]["phase"]), (None, &json!("Pending")), "{empty:#}");
    assert_eq!(world.get(&volume), None, "the volume of the original was made again");
    velero.delete(&world, &backup);
}
