//! Hooks that run in real pods around the snapshots of their volumes, and what a restored pod finds on its volume.

use std::fs;

use serde_json::{Value, json};

use super::{
    World,
    node::{Node, in_pod, runs},
    velero::Velero,
    volumes::{folder_of_snapshot, volumes_of},
};
use crate::objects::core;

/// Annotations for a hook, with more of them.
fn hook(when: &str, script: &str, more: &[(&str, &str)]) -> Value {
    let mut annotations = json!({});
    annotations[format!("{when}.hook.backup.velero.io/command")] = json!(["/bin/sh", "-c", script]).to_string().into();
    annotations[format!("{when}.hook.backup.velero.io/container")] = "db".into();
    for (name, value) in more {
        annotations[format!("{when}.hook.backup.velero.io/{name}")] = (*value).into();
    }
    annotations
}

fn both(mut one: Value, other: &Value) -> Value {
    for (key, value) in other.as_object().unwrap() {
        one[key] = value.clone();
    }
    one
}

/// The application holds still by writing so onto its volume.
fn holds_still() -> Value {
    both(hook("pre", "echo still > /data/state", &[]), &hook("post", "echo moving > /data/state", &[]))
}

fn claim(world: &World, class: &str, name: &str) {
    world.create((
        core("PersistentVolumeClaim", Some(&world.namespace), name),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": world.namespace},
            "spec": {
                "storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}}
            }
        }),
    ));
}

#[test]
fn a_snapshot_is_taken_while_the_pod_holds_still_and_a_restored_pod_reads_it() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    let world = velero.world("still");
    let pod = node.pod(&world, "app", "data", &holds_still());
    runs(&world, &pod);
    in_pod(&world, &world.namespace, "app", "echo moving > /data/state; echo written by the pod > /data/rows");

    let planned = world.run(&["backup", "now", "journey", "--dry-run"]).exits(0);
    assert!(planned.stderr.contains("pre hook of pod") && planned.stderr.contains("post hook of pod"), "{}", planned.stderr);
    let live = velero.volume_of(&world, &world.namespace);
    assert_eq!(fs::read_to_string(live.join("state")).unwrap(), "moving\n", "a plan runs no hook");

    let point = world.point();
    let volumes = volumes_of(&world, &point);
    let taken = folder_of_snapshot(&velero, volumes[0]["handle"].as_str().unwrap());
    assert_eq!(fs::read_to_string(taken.join("state")).unwrap(), "still\n");
    assert_eq!(fs::read_to_string(live.join("state")).unwrap(), "moving\n", "it was told to go on");

    in_pod(&world, &world.namespace, "app", "echo damaged > /data/rows");
    let beside = world.beside("again");
    world.run(&["restore", "journey", "--point", &point, "--into", &beside, "--yes"]).exits(0);
    runs(&world, &core("Pod", Some(&beside), "app"));
    in_pod(&world, &beside, "app", "test \"$(cat /data/rows)\" = 'written by the pod'");
    in_pod(&world, &beside, "app", "test \"$(cat /data/state)\" = still");
    assert_ne!(velero.volume_of(&world, &beside), live);
}

#[test]
fn velero_runs_the_same_hooks_at_the_same_times() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    let world = velero.world("still-velero");
    runs(&world, &node.pod(&world, "app", "data", &holds_still()));
    let backup = velero.back_up(&world);
    let live = velero.volume_of(&world, &world.namespace);
    assert_eq!(fs::read_to_string(live.join("state")).unwrap(), "moving\n");
    let beside = world.beside("again");
    world.run(&["restore", "journey", "--point", &backup, "--into", &beside, "--yes"]).exits(0);
    runs(&world, &core("Pod", Some(&beside), "app"));
    in_pod(&world, &beside, "app", "test \"$(cat /data/state)\" = still");
}

#[test]
fn a_hook_that_fails_costs_the_volume_unless_its_pod_says_to_go_on() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    let world = World::with_objects(&velero.servers, "unquiet");
    let busy = "echo the disk is busy >&2; exit 3";
    let pods = [
        ("busy", hook("pre", busy, &[])),
        ("going-on", hook("pre", busy, &[("on-error", "Continue")])),
        ("hanging", hook("pre", "sleep 600", &[("timeout", "2s")])),
        ("nobody", hook("pre", "exit 0", &[("container", "nobody")])),
        ("late", hook("post", "exit 4", &[])),
        ("missing", json!({"pre.hook.backup.velero.io/command": "/bin/missing"})),
    ];
    let pods = pods.map(|(name, annotations)| {
        claim(&world, &velero.storage_class, name);
        node.pod(&world, name, name, &annotations)
    });
    for pod in &pods {
        runs(&world, pod);
    }

    let taken = world.run(&["backup", "now", "journey", "--output", "json"]).exits(3);
    let point: Value = serde_json::from_str(&taken.stdout).unwrap();
    let mut captured: Vec<String> = volumes_of(&world, point["name"].as_str().unwrap())
        .iter()
        .map(|volume| volume["claim"].as_str().unwrap().to_owned())
        .collect();
    captured.sort();
    assert_eq!(captured, ["going-on", "late"], "{}", taken.stderr);
    let said = |what: &str, words: &[&str]| {
        let line = taken.stderr.lines().find(|line| line.contains(what) && words.iter().all(|word| line.contains(word)));
        assert!(line.is_some(), "nothing of {what} has {words:?}: {}", taken.stderr);
    };
    said("/busy", &["3", "the disk is busy"]);
    said("/going-on", &["3", "the disk is busy", "it goes on"]);
    said("/hanging", &["2s"]);
    said("/nobody", &["nobody"]);
    said("post hook of pod", &["/late", "4"]);
    said("/missing", &["/bin/missing"]);
}

#[test]
fn a_claim_that_waits_for_its_pod_is_filled_when_the_restored_pod_is_there() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    let world = World::with_objects(&velero.servers, "waiting");
    claim(&world, &velero.waiting_storage_class, "data");
    runs(&world, &node.pod(&world, "app", "data", &json!({})));
    in_pod(&world, &world.namespace, "app", "echo written by the pod > /data/rows");
    let point = world.point();
    in_pod(&world, &world.namespace, "app", "echo damaged > /data/rows");

    let other = format!("{}={}", velero.waiting_storage_class, velero.storage_class);
    for (name, class, more) in [
        ("again", &velero.waiting_storage_class, &[][..]),
        ("elsewhere", &velero.storage_class, &["--storage-class", other.as_str()]),
    ] {
        let beside = world.beside(name);
        let restore = ["restore", "journey", "--point", &point, "--into", &beside, "--yes"];
        let said = world.run(&[&restore[..], more].concat()).exits(0);
        // The pod comes before its snapshot is let go of.
        assert!(said.stderr.contains("1 of 1 snapshots let go of"), "{}", said.stderr);
        runs(&world, &core("Pod", Some(&beside), "app"));
        in_pod(&world, &beside, "app", "test \"$(cat /data/rows)\" = 'written by the pod'");
        let claim = world.get(&core("PersistentVolumeClaim", Some(&beside), "data")).unwrap();
        assert_eq!(claim["spec"]["storageClassName"], class.as_str(), "{claim:#}");
        assert_eq!(claim["spec"]["dataSource"]["kind"], "VolumeSnapshot", "{claim:#}");
        for size in ["/spec/resources/requests/storage", "/status/capacity/storage"] {
            assert_eq!(claim.pointer(size), Some(&json!("1Mi")), "{size}: {claim:#}");
        }
    }
}
