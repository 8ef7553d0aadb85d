//! Copies made file by file that a real Velero server has made, and brings back through pods on a real node.
//!
//! Velero's server, its rules for pods, its repository in the bucket and its helper in the pods are real. So is its node agent up to 1.16, which copies
//! files itself. From 1.17 on it is played: the real one starts pods that must reach the API server, and pods on this node reach nobody. What is played
//! is one folder copied to another, the phase that says so, and the file by which the helper learns of it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Stdio,
};

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use super::{
    World,
    node::{Node, in_pod},
    velero::{CONTENT, Velero, completed},
};
use crate::{gated::Running, objects::core, objects::reference};

const GATE: &str = "dxdr.io/carries-nothing";

fn deployment(namespace: &str) -> ObjectReference {
    reference("apps", "v1", "Deployment", "deployments", Some(namespace), "db")
}

/// Two pods that share the volume of claim `data` and have two of their own, one of them of a claim that is made and goes with them.
fn runs_on(world: &World, velero: &Velero, node: &Node) {
    let mount = |name: &str| json!({"name": name, "mountPath": format!("/{name}")});
    let mounts = ["data", "cache", "scratch"].map(mount);
    // Velero's helper takes this over; its own choice is a profile that this node does not know.
    let containers = [json!({"name": "db", "volumeMounts": mounts, "securityContext": {"runAsUser": 0}})];
    // The labels by which Velero finds the pods find its claim, too.
    let scratch = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"storageClassName": velero.storage_class,
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    let volumes = json!({"volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "cache", "emptyDir": {}},
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": scratch}}
    ]});
    let mut specification = node.specification(&containers, &volumes);
    specification["initContainers"] =
        json!([{"name": "first", "image": specification["containers"][0]["image"], "command": ["/bin/sh", "-c", ":"]}]);
    let labels = json!({"app": "db"});
    // Older node agents look for it where it is not, and the backup fails in part.
    let not_copied = json!({"backup.velero.io/backup-volumes-excludes": "scratch"});
    world.create((
        deployment(&world.namespace),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "db", "namespace": world.namespace},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels, "annotations": not_copied}, "spec": specification}}
        }),
    ));
    ready(world, &world.namespace);
}

#[track_caller]
fn ready(world: &World, namespace: &str) {
    let deployment = deployment(namespace);
    world.wait_until("the Deployment's pods are ready", |world| {
        world.get(&deployment).is_some_and(|object| object["status"]["readyReplicas"] == 2)
    });
}

/// What Velero looks at of its node agents, whoever does their work, and how its helper is called on this node.
fn node_agent(world: &World, velero: &Velero, node: &Node) -> Vec<ObjectReference> {
    let namespace = velero.object("Backup", "").namespace.unwrap();
    let (at, labels) = (Some(namespace.as_str()), json!({"name": "node-agent", "role": "node-agent", "test": world.namespace}));
    let specification = node.specification(&[json!({"name": "node-agent"})], &json!({}));
    let image = specification["containers"][0]["image"].clone();
    let agents = reference("apps", "v1", "DaemonSet", "daemonsets", at, "node-agent");
    let mut nowhere = specification.clone();
    nowhere["nodeSelector"] = json!({"nowhere": "yes"});
    let made = [
        (
            agents.clone(),
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": agents.name, "namespace": namespace},
                "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": nowhere}}}),
        ),
        (
            core("Pod", at, "node-agent-played"),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "node-agent-played", "namespace": namespace,
                "labels": {"name": "node-agent", "role": "node-agent"}}, "spec": specification}),
        ),
        (
            core("ConfigMap", at, "restore-helper-of-tests"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "restore-helper-of-tests", "namespace": namespace,
                "labels": {"velero.io/plugin-config": "", "velero.io/pod-volume-restore": "RestoreItemAction"}}, "data": {"image": image}}),
        ),
    ];
    let references: Vec<ObjectReference> = made.iter().map(|(reference, _)| reference.clone()).collect();
    made.into_iter().for_each(|object| world.create(object));
    world.wait_until("the node agent runs", |world| {
        world.get(&references[1]).is_some_and(|pod| pod["status"]["phase"] == "Running")
    });
    references
}

/// The objects of a kind of Velero's that are about pods of a namespace.
fn about(world: &World, velero: &Velero, kind: &str, namespace: &str) -> Vec<Value> {
    let all = velero.object(kind, "");
    let names = world.names(&all.kind, all.namespace.as_deref());
    let objects = names.iter().filter_map(|name| world.get(&velero.object(kind, name)));
    objects.filter(|object| object["spec"]["pod"]["namespace"] == namespace).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Changes an object that its controller writes, too.
fn finish(world: &World, object: &ObjectReference, status: &Value) {
    world.wait_until(&format!("{object} is told to be over"), |world| {
        let mut live = world.get(object).unwrap();
        live["status"] = status.clone();
        let body = bytes::Bytes::from(live.to_string());
        world.runtime.block_on(dxdr_provider::Cluster::replace(&world.cluster, object, body, &super::options())).is_ok()
    });
}

fn copy_file(from: &Path, to: &Path) {
    fs::copy(from.join("content"), to.join("content")).unwrap();
}

/// Has Velero copy the files of the namespace; the backup, and the pod that carries those of the claim. `copied` plays the node agent for each of them,
/// where it is not real.
fn back_up(world: &World, velero: &Velero, mut copied: impl FnMut(&Value)) -> (String, String) {
    let specification = json!({
        "includedNamespaces": [world.namespace], "storageLocation": velero.location, "snapshotVolumes": false,
        "defaultVolumesToFsBackup": true, "ttl": "1h0m0s"
    });
    let backup = velero.create(world, "Backup", &format!("{}-files", world.namespace), &specification);
    let mut carrier = None;
    world.wait_until("Velero has the files copied", |world| {
        for copy in about(world, velero, "PodVolumeBackup", &world.namespace) {
            if copy["spec"]["volume"] == "data" {
                carrier = copy["spec"]["pod"]["name"].as_str().map(str::to_owned);
            }
            if copy["status"]["phase"] != "Completed" {
                copied(&copy);
            }
        }
        world.get(&backup).is_some_and(|object| object["status"]["completionTimestamp"].is_string())
    });
    completed(world, &backup);
    (backup.name, carrier.expect("the files of the claim were copied"))
}

/// Restores the namespace beside, into volumes that are made when a pod of theirs has a node.
fn start_restore(world: &World, velero: &Velero, backup: &str, beside: &str) -> Running {
    let class = format!("{}={}", velero.storage_class, velero.waiting_storage_class);
    let arguments = ["restore", "journey", "--point", backup, "--into", beside, "--storage-class", &class, "--yes"];
    let mut command = world.place.command(&[&arguments[..], &["--kubeconfig", &world.kubeconfig]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command)
}

/// The files are in the pods of the Deployment, and nothing is left of what brought them.
fn files_are_back(world: &World, velero: &Velero, restore: Running, beside: &str, carriers: &[&str]) {
    let (code, said) = restore.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Have Velero copy the files of 1 volume"), "{said}");
    ready(world, beside);
    let pods = world.names(&core("Pod", Some(beside), "").kind, Some(beside));
    assert_eq!(pods.iter().filter(|name| carriers.contains(&name.as_str())).collect::<Vec<_>>(), [""; 0], "carriers are gone");
    let claims = world.names(&core("PersistentVolumeClaim", Some(beside), "").kind, Some(beside));
    let of_carrier = |claim: &&String| carriers.iter().any(|carrier| claim.starts_with(carrier));
    assert_eq!(claims.iter().filter(of_carrier).collect::<Vec<_>>(), [""; 0], "Velero makes no claims");
    for pod in &pods {
        in_pod(world, beside, pod, &format!("test \"$(cat /data/content)\" = '{CONTENT}'"));
    }
    let claim = world.get(&core("PersistentVolumeClaim", Some(beside), "data")).unwrap();
    assert_eq!(claim["spec"]["storageClassName"], velero.waiting_storage_class.as_str());
    assert_eq!(claim["metadata"]["annotations"].get("dxdr.io/awaits-copy"), None, "{claim:#}");
}

#[test]
fn files_that_velero_s_own_node_agent_copied_come_back() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    if !velero.has_node_agent {
        eprintln!("did not run: Velero's node agent is not there, or works in pods, which reach nobody on this node");
        return;
    }
    let world = velero.world("copied");
    let deep = velero.volume_of(&world, &world.namespace).join("deep");
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("large"), vec![7; 3 << 20]).unwrap();
    symlink("../content", deep.join("link")).unwrap();
    fs::set_permissions(deep.join("large"), Permissions::from_mode(0o640)).unwrap();
    runs_on(&world, &velero, &node);
    let agents = node_agent(&world, &velero, &node);
    let (backup, carrier) = back_up(&world, &velero, |_| ());
    fs::write(velero.volume_of(&world, &world.namespace).join("content"), "damaged").unwrap();

    let beside = world.beside("again");
    files_are_back(&world, &velero, start_restore(&world, &velero, &backup, &beside), &beside, &[&carrier]);
    let copies = about(&world, &velero, "PodVolumeRestore", &beside);
    let phases: Vec<_> = copies.iter().map(|copy| (&copy["spec"]["volume"], &copy["status"]["phase"])).collect();
    assert_eq!(phases, [(&json!("data"), &json!("Completed"))], "{copies:#?}");
    let deep = velero.volume_of(&world, &beside).join("deep");
    assert_eq!(fs::read(deep.join("large")).unwrap(), vec![7; 3 << 20]);
    assert_eq!(fs::metadata(deep.join("large")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_link(deep.join("link")).unwrap(), Path::new("../content"));
    agents.iter().for_each(|object| world.delete(object));
}

#[test]
fn files_come_back_through_a_pod_that_runs_nothing_before_what_mounts_them_is_made() {
    let (Some(velero), Some(node)) = (Velero::named(), Node::named()) else { return };
    if velero.has_node_agent {
        eprintln!("did not run: Velero's node agent is there, and would not wait for who plays it");
        return;
    }
    let world = velero.world("files");
    runs_on(&world, &velero, &node);
    let agents = node_agent(&world, &velero, &node);
    let kept = tempfile::tempdir().unwrap();
    let (backup, carrier) = back_up(&world, &velero, |copy| {
        let volume = copy["spec"]["volume"].as_str().unwrap();
        if volume == "data" {
            copy_file(&velero.volume_of(&world, &world.namespace), kept.path());
        }
        let status = json!({"phase": "Completed", "snapshotID": format!("played-{volume}"), "path": format!("/{volume}"),
            "startTimestamp": "2024-05-01T10:00:00Z", "completionTimestamp": "2024-05-01T10:00:01Z",
            "progress": {"totalBytes": CONTENT.len(), "bytesDone": CONTENT.len()}});
        finish(&world, &velero.object("PodVolumeBackup", name(copy)), &status);
    });
    fs::write(velero.volume_of(&world, &world.namespace).join("content"), "damaged").unwrap();

    let beside = world.beside("again");
    let restore = start_restore(&world, &velero, &backup, &beside);
    let mut copying = Vec::new();
    world.wait_until("Velero has the files copied back", |world| {
        if let Some(said) = restore.over() {
            panic!("it is over before:\n{said}");
        }
        copying = about(world, &velero, "PodVolumeRestore", &beside);
        !copying.is_empty()
    });
    // Of the pod's own volume there is a copy, too, and nothing asks for it.
    let [copy] = copying.as_slice() else { panic!("{copying:#?}") };
    assert_eq!((&copy["spec"]["volume"], &copy["spec"]["pod"]["name"]), (&json!("data"), &json!(carrier)));
    let pod = core("Pod", Some(&beside), &carrier);
    world.wait_until("the helper runs in the carrier", |world| {
        world.get(&pod).is_some_and(|pod| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object())
    });
    let live = world.get(&pod).unwrap();
    let names = |list: &str| live["spec"][list].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (names("initContainers"), names("volumes")),
        (vec![json!("restore-wait")], vec![json!("data"), json!("cache")]),
        "{live:#}"
    );
    assert_eq!(live["spec"]["containers"][0]["command"], json!(["/dxdr.io/nothing"]), "{live:#}");
    assert_eq!(live["metadata"]["labels"].get("app"), None, "{live:#}");
    assert_eq!(world.get(&deployment(&beside)), None, "nothing that mounts the volume is there");
    let others: Vec<Value> = world
        .names(&pod.kind, Some(&beside))
        .iter()
        .filter(|name| **name != carrier)
        .map(|name| world.get(&core("Pod", Some(&beside), name)).unwrap())
        .collect();
    let [along] = others.as_slice() else { panic!("{others:#?}") };
    assert_eq!((&along["spec"]["schedulingGates"][0]["name"], along["spec"].get("nodeName")), (&json!(GATE), None), "{along:#}");

    // What the node agent does.
    let volume = velero.volume_of(&world, &beside);
    copy_file(kept.path(), &volume);
    let restore_uid = copy["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap();
    fs::create_dir(volume.join(".velero")).unwrap();
    fs::write(volume.join(".velero").join(restore_uid), "").unwrap();
    finish(&world, &velero.object("PodVolumeRestore", name(copy)), &json!({"phase": "Completed"}));

    files_are_back(&world, &velero, restore, &beside, &[&carrier, name(along)]);
    assert!(!volume.join(".velero").exists(), "Velero's helper takes its traces away");
    agents.iter().for_each(|object| world.delete(object));
}
