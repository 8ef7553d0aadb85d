//! Volumes and snapshots: the driver of `tools/csi-driver`, the sidecars that Kubernetes' storage project pairs with every
//! driver, and the snapshot controller.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::administrator::Administrator;
use super::node::Node;
use super::processes::Processes;
use super::programs::VolumePrograms;
use super::readiness::{Readiness, wait};
use super::servers::Arguments;

const DRIVER: &str = "directories.csi.dxdr.io";
/// Makes a volume as soon as a claim exists.
const STORAGE_CLASS: &str = "dxdr-test";
/// Makes a volume when a pod that uses the claim has a node.
const WAITING_STORAGE_CLASS: &str = "dxdr-test-waiting";
const SNAPSHOT_CLASS: &str = "dxdr-test";
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest path of a socket on Linux, less the zero behind it.
const LONGEST_SOCKET: usize = 107;

/// Where the driver keeps its volumes, and what to name in manifests.
pub(crate) struct Volumes {
    data: PathBuf,
}

impl Volumes {
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DXDR_TEST_CSI_DATA", self.data.display().to_string()),
            ("DXDR_TEST_CSI_DRIVER", DRIVER.to_owned()),
            ("DXDR_TEST_STORAGE_CLASS", STORAGE_CLASS.to_owned()),
            ("DXDR_TEST_WAITING_STORAGE_CLASS", WAITING_STORAGE_CLASS.to_owned()),
            ("DXDR_TEST_SNAPSHOT_CLASS", SNAPSHOT_CLASS.to_owned()),
        ]
    }
}

/// Starts everything with its data under `FOLDER/csi` and returns when a claim got a volume and the volume a snapshot.
/// Pods on `node` can use the volumes.
pub(crate) fn start(
    processes: &mut Processes,
    programs: &VolumePrograms,
    administrator: &Administrator,
    node: Option<&Node>,
) -> Result<Volumes> {
    let begin = Instant::now();
    let folder = processes.directory().join("csi");
    let data = folder.join("data");
    fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
    let socket = folder.join("socket");
    if socket.as_os_str().len() > LONGEST_SOCKET {
        bail!(
            "{} is too long for the path of a socket ({LONGEST_SOCKET} bytes)\nhint: give a shorter folder with --directory",
            socket.display()
        );
    }
    for definition in &programs.snapshot_definitions {
        let text = fs::read_to_string(definition).with_context(|| format!("cannot read {}", definition.display()))?;
        administrator.apply_definitions(&text)?;
    }
    administrator.apply_objects(&classes())?;

    let driver =
        Arguments::of(&programs.driver).flag("name", DRIVER).flag("socket", socket.display()).flag("folder", data.display());
    let mut driver = match node {
        Some(node) => node.enter(&driver.flag("registration", node.registration(DRIVER).display()).command()),
        None => driver.command(),
    };
    processes.start("csi-driver", &mut driver, PATIENCE)?;
    let sidecar = |program| {
        Arguments::of(program)
            .flag("kubeconfig", administrator.kubeconfig().display())
            .flag("kube-api-qps", 100)
            .flag("kube-api-burst", 200)
    };
    let at_driver = |program| sidecar(program).flag("csi-address", socket.display()).flag("extra-create-metadata", true);
    let groups = |program: Arguments| program.flag("feature-gates", "CSIVolumeGroupSnapshot=true").command();
    processes.start("snapshot-controller", &mut groups(sidecar(&programs.snapshot_controller)), PATIENCE)?;
    processes.start("csi-snapshotter", &mut groups(at_driver(&programs.csi_snapshotter)), PATIENCE)?;
    let mut provisioner = at_driver(&programs.csi_provisioner).flag("feature-gates", "Topology=false").command();
    // It takes itself for a pod.
    provisioner.env("POD_NAME", "csi-provisioner").env("NAMESPACE", "default");
    processes.start("csi-provisioner", &mut provisioner, PATIENCE)?;

    if node.is_some() {
        wait(processes, &["csi-driver", "kubelet"], "the driver on the node", || Node::knows(administrator, DRIVER))?;
    }
    prove(processes, administrator)?;
    eprintln!("volumes and snapshots ready after {:.1} s in {}", begin.elapsed().as_secs_f64(), data.display());
    Ok(Volumes { data })
}

/// A claim and a snapshot of it, and away with both: the processes have no readiness of their own that would mean as much.
fn prove(processes: &Processes, administrator: &Administrator) -> Result<()> {
    const NAME: &str = "dxdr-test-ready";
    let metadata = json!({"name": NAME, "namespace": "default"});
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
        "spec": {
            "storageClassName": STORAGE_CLASS, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}
        }
    });
    let snapshot = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "metadata": metadata,
        "spec": {"volumeSnapshotClassName": SNAPSHOT_CLASS, "source": {"persistentVolumeClaimName": NAME}}
    });
    let names = ["csi-driver", "snapshot-controller", "csi-snapshotter", "csi-provisioner"];
    let becomes = |what: &str, path: String, field: &'static str, expected: Value| {
        wait(processes, &names, what, || match administrator.get(&path) {
            Ok(object) if object["status"][field] == expected => Readiness::Ready,
            Ok(object) => Readiness::NotYet(format!("its status is {}", object["status"])),
            Err(seen) => Readiness::NotYet(seen),
        })
    };
    administrator.apply_objects(std::slice::from_ref(&claim))?;
    let path = format!("/api/v1/namespaces/default/persistentvolumeclaims/{NAME}");
    becomes("a claim", path, "phase", json!("Bound"))?;
    administrator.apply_objects(std::slice::from_ref(&snapshot))?;
    let path = format!("/apis/snapshot.storage.k8s.io/v1/namespaces/default/volumesnapshots/{NAME}");
    becomes("a snapshot", path, "readyToUse", json!(true))?;
    administrator.delete(&[snapshot, claim])
}

fn classes() -> Vec<Value> {
    let storage = |name: &str, binding: &str| {
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
            "provisioner": DRIVER, "reclaimPolicy": "Delete", "volumeBindingMode": binding
        })
    };
    vec![
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": DRIVER},
            // What a directory is mounted from is there already.
            "spec": {"attachRequired": false, "podInfoOnMount": false, "volumeLifecycleModes": ["Persistent"]}
        }),
        storage(STORAGE_CLASS, "Immediate"),
        storage(WAITING_STORAGE_CLASS, "WaitForFirstConsumer"),
        json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass",
            // The label is how Velero chooses among classes of one driver.
            "metadata": {"name": SNAPSHOT_CLASS, "labels": {"velero.io/csi-volumesnapshot-class": "true"}},
            "driver": DRIVER, "deletionPolicy": "Delete"
        }),
        json!({
            "apiVersion": "groupsnapshot.storage.k8s.io/v1", "kind": "VolumeGroupSnapshotClass",
            "metadata": {"name": SNAPSHOT_CLASS}, "driver": DRIVER, "deletionPolicy": "Delete"
        }),
    ]
}
