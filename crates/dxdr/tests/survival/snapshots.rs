//! A storage that takes snapshots, as its CSI driver and the snapshot controller show it to a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster, cluster::ListScope};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{World, options};

pub(crate) const DRIVER: &str = "disks.example.org";
const GROUP: &str = "snapshot.storage.k8s.io";

/// The storage: what it keeps, whatever is in the cluster.
#[derive(Debug, Default, Clone)]
pub(crate) struct Storage {
    kept: Arc<Mutex<BTreeSet<String>>>,
    /// Claims of which it takes none.
    refused: Arc<Mutex<BTreeSet<String>>>,
    /// Claims whose snapshots it cuts, and does not let anybody use.
    dawdles: Arc<Mutex<BTreeSet<String>>>,
    /// What had run in pods when each was cut, the last time that it was.
    cut: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    executed: Arc<Mutex<Vec<String>>>,
}

impl Storage {
    /// The handles of its snapshots.
    pub(crate) fn handles(&self) -> BTreeSet<String> {
        self.kept.lock().unwrap().clone()
    }

    /// What had run in pods when a snapshot was cut.
    pub(crate) fn cut_after(&self, handle: &str) -> Vec<String> {
        self.cut.lock().unwrap()[handle].clone()
    }

    /// Lets nobody use the snapshots that it cuts of a claim.
    pub(crate) fn dawdle(&self, claim: &str) {
        self.dawdles.lock().unwrap().insert(claim.to_owned());
    }

    /// Takes no snapshot of a claim from now on.
    pub(crate) fn refuse(&self, claim: &str) {
        self.refused.lock().unwrap().insert(claim.to_owned());
    }
}

pub(crate) fn reference(group: &str, kind: &str, plural: &str, namespace: Option<&str>, name: &str) -> ObjectReference {
    let kind = ResourceKind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: namespace.is_some(),
    };
    ObjectReference { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn snapshot(name: &str) -> ObjectReference {
    reference(GROUP, "VolumeSnapshot", "volumesnapshots", Some("staging"), name)
}

pub(crate) fn claim(name: &str) -> ObjectReference {
    reference("", "PersistentVolumeClaim", "persistentvolumeclaims", Some("staging"), name)
}

fn content(name: &str) -> ObjectReference {
    reference(GROUP, "VolumeSnapshotContent", "volumesnapshotcontents", None, name)
}

/// Two claims with volumes of the driver, its class of snapshots, the storage at work, and a pod on one of the volumes that wants to be
/// told before and after a snapshot.
pub(crate) async fn with_volumes(world: &World, before: &str) -> Storage {
    for (kind, plural, scope) in [
        ("VolumeSnapshot", "volumesnapshots", "Namespaced"),
        ("VolumeSnapshotContent", "volumesnapshotcontents", "Cluster"),
        ("VolumeSnapshotClass", "volumesnapshotclasses", "Cluster"),
    ] {
        let name = format!("{plural}.{GROUP}");
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {
                "group": GROUP, "scope": scope, "names": {"kind": kind, "plural": plural},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
            }
        });
        let definitions = "customresourcedefinitions";
        world.create(&reference("apiextensions.k8s.io", "CustomResourceDefinition", definitions, None, &name), object).await;
    }
    let class = reference(GROUP, "VolumeSnapshotClass", "volumesnapshotclasses", None, "disks");
    let object = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "disks"},
        "driver": DRIVER, "deletionPolicy": "Delete"
    });
    world.create(&class, object).await;
    for claim in ["data", "logs"] {
        let volume = format!("pv-{claim}");
        let size = json!({"storage": "1Mi"});
        let object = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {"capacity": size, "accessModes": ["ReadWriteOnce"], "csi": {"driver": DRIVER, "volumeHandle": volume}}
        });
        world.create(&reference("", "PersistentVolume", "persistentvolumes", None, &volume), object).await;
        let object = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": "staging"},
            "spec": {"volumeName": volume, "storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": size}}
        });
        world.create(&self::claim(claim), object).await;
    }
    running_pod(world, before).await;
    let storage = Storage { executed: Arc::clone(&world.executed), ..Storage::default() };
    let client = kube::Client::new(world.sandbox.router(), "default");
    tokio::spawn(work(Arc::clone(&world.cluster), client, storage.clone()));
    storage
}

async fn running_pod(world: &World, before: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "db-0", "namespace": "staging",
            "annotations": {"pre.hook.backup.velero.io/command": before, "post.hook.backup.velero.io/command": "thaw"}
        },
        "spec": {
            "containers": [{"name": "db", "image": "db"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        }
    });
    world.create(&reference("", "Pod", "pods", Some("staging"), "db-0"), object).await;
    // Nothing runs in the sandbox; a status is what a client writes.
    let client = kube::Client::new(world.sandbox.router(), "default");
    let pods = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Pod"));
    let pods: Api<DynamicObject> = Api::namespaced_with(client, "staging", &pods);
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("db-0", &PatchParams::default(), &running).await.unwrap();
}

/// Cuts what is asked for, provides volumes from snapshots that it has, and removes a snapshot when its content goes that says so, before the content is let go of.
async fn work(cluster: Arc<dyn Cluster>, client: kube::Client, storage: Storage) {
    let claims = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "PersistentVolumeClaim"));
    let claims: Api<DynamicObject> = Api::namespaced_with(client, "staging", &claims);
    loop {
        let snapshots = list(&cluster, &snapshot("").kind).await;
        for object in snapshots.values().filter(|object| object.get("status").is_none()) {
            match object["spec"]["source"]["volumeSnapshotContentName"].as_str() {
                Some(of) => known(&cluster, &storage, object, of).await,
                None => cut(&cluster, &storage, object).await,
            }
        }
        for (name, claim) in list(&cluster, &claim("").kind).await {
            let filled = claim["spec"]["dataSource"]["name"].as_str().is_some_and(|of| snapshots.contains_key(of));
            if filled && claim["status"]["phase"] != "Bound" {
                let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
                let _ = claims.patch_status(&name, &PatchParams::default(), &bound).await;
            }
        }
        for (name, mut object) in list(&cluster, &content("").kind).await {
            let delete = object["spec"]["deletionPolicy"] == "Delete";
            let owner = object["spec"]["volumeSnapshotRef"]["name"].as_str().unwrap();
            // What fails here is done by the next round.
            if object["metadata"].get("deletionTimestamp").is_some() {
                if delete {
                    storage.kept.lock().unwrap().remove(object["status"]["snapshotHandle"].as_str().unwrap());
                }
                object["metadata"]["finalizers"] = json!([]);
                let _ = cluster.replace(&content(&name), Bytes::from(object.to_string()), &options()).await;
            } else if delete && !snapshots.contains_key(owner) {
                let _ = cluster.delete(&content(&name), None, &options()).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A snapshot of somebody's own content can be used when the storage has what the content names.
async fn known(cluster: &Arc<dyn Cluster>, storage: &Storage, object: &Value, of: &str) {
    let contents = list(cluster, &content("").kind).await;
    let handle = contents.get(of).and_then(|content| content["spec"]["source"]["snapshotHandle"].as_str());
    if handle.is_some_and(|handle| storage.handles().contains(handle)) {
        let mut object = object.clone();
        object["status"] = json!({"boundVolumeSnapshotContentName": of, "readyToUse": true});
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let _ = cluster.replace(&snapshot(&name), Bytes::from(object.to_string()), &options()).await;
    }
}

async fn cut(cluster: &Arc<dyn Cluster>, storage: &Storage, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let (bound, handle) = (format!("content-{name}"), format!("handle-{name}"));
    let claim = object["spec"]["source"]["persistentVolumeClaimName"].as_str().unwrap();
    if storage.refused.lock().unwrap().contains(claim) {
        let mut object = object.clone();
        object["status"] = json!({"error": {"message": "the disk is on fire"}, "readyToUse": false});
        let _ = cluster.replace(&snapshot(name), Bytes::from(object.to_string()), &options()).await;
        return;
    }
    storage.kept.lock().unwrap().insert(handle.clone());
    storage.cut.lock().unwrap().insert(handle.clone(), storage.executed.lock().unwrap().clone());
    let (taken, ready) = (jiff::Timestamp::now(), !storage.dawdles.lock().unwrap().contains(claim));
    let made = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": {"name": bound, "finalizers": ["example.org/storage"]},
        "spec": {
            "deletionPolicy": "Delete", "driver": DRIVER, "source": {"volumeHandle": "pv"},
            "volumeSnapshotRef": {"name": name, "namespace": "staging"}
        },
        "status": {
            "snapshotHandle": handle, "creationTime": i64::try_from(taken.as_nanosecond()).unwrap(), "restoreSize": 1024,
            "readyToUse": ready
        }
    });
    // Whether it was made by the round before, or its snapshot was deleted meanwhile: the next round sees.
    let _ = cluster.create(&content(&bound), Bytes::from(made.to_string()), &options()).await;
    let mut object = object.clone();
    object["status"] = json!({"boundVolumeSnapshotContentName": bound, "creationTime": taken.to_string(), "readyToUse": ready, "restoreSize": "1Ki"});
    let _ = cluster.replace(&snapshot(name), Bytes::from(object.to_string()), &options()).await;
}

/// By name, with `apiVersion` and `kind`.
async fn list(cluster: &Arc<dyn Cluster>, kind: &ResourceKind) -> BTreeMap<String, Value> {
    let scope = ListScope { namespace: None, label_selector: None };
    let Ok(page) = cluster.list(kind, &scope, 500, None).await else { return BTreeMap::new() };
    let objects = page.items.iter().map(|item| serde_json::from_slice::<Value>(item).unwrap());
    objects.map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), object)).collect()
}

/// Deletes the VolumeSnapshots of claims that are bound, and not their contents: as if a run had been killed in between.
pub(crate) async fn let_go_of_what_is_bound(world: &World) {
    let claims = list(&world.cluster, &claim("").kind).await;
    for (name, snapshot) in list(&world.cluster, &snapshot("").kind).await {
        let of = snapshot["metadata"]["annotations"]["dxdr.io/claim"].as_str().unwrap_or_default();
        if claims.get(of).is_some_and(|claim| claim["status"]["phase"] == "Bound") {
            world.cluster.delete(&self::snapshot(&name), None, &options()).await.unwrap();
        }
    }
}

/// Names of the objects of snapshots that are in the cluster.
pub(crate) async fn objects(world: &World) -> Vec<String> {
    let snapshots = list(&world.cluster, &snapshot("").kind).await;
    let contents = list(&world.cluster, &content("").kind).await;
    snapshots.into_keys().chain(contents.into_keys()).collect()
}
