//! A node: containerd, runc and a kubelet as plain processes, so that pods run.
//!
//! Pods that want it say so by tolerating its taint; all others stay Pending, as without it. It has no Services, no name service and no way
//! out for pods; it mounts volumes, runs commands in pods, and restarts what ends. It takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::address;
use super::administrator::Administrator;
use super::credentials::Certificates;
use super::files::write_private;
use super::ports::Block;
use super::processes::Processes;
use super::programs::NodePrograms;
use super::readiness::{Readiness, wait};
use super::servers::Arguments;

mod machine;
mod runtime;

pub(crate) use machine::obstacle;

/// The certificate of its kubelet has it, too.
pub(super) const NAME: &str = "dxdr-test-node";
/// Keeps pods away that do not say that they want to run.
const TAINT: &str = "dxdr.io/test-node";

/// A running node.
pub(crate) struct Node {
    namespaces: machine::Namespaces,
    kubelet: PathBuf,
}

impl Node {
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        vec![("DXDR_TEST_NODE", NAME.to_owned()), ("DXDR_TEST_POD_IMAGE", runtime::IMAGE.to_owned())]
    }

    /// The same command, where it sees the node's mounts and the node sees its.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        self.namespaces.enter(command)
    }

    /// The same command where pods' volumes are at `known_as`, and little else is but `folders`.
    pub(crate) fn enter_beside_pods(&self, command: &Command, known_as: &str, folders: &[&Path]) -> Command {
        self.namespaces.enter_root(command, &self.kubelet.join("pods"), known_as, folders)
    }

    /// Where the kubelet looks for sockets of drivers.
    pub(crate) fn registration(&self, driver: &str) -> PathBuf {
        self.kubelet.join("plugins_registry").join(format!("{driver}.socket"))
    }

    /// Whether the kubelet mounts volumes of a driver.
    pub(crate) fn knows(administrator: &Administrator, driver: &str) -> Readiness {
        match administrator.get(&format!("/apis/storage.k8s.io/v1/csinodes/{NAME}")) {
            Ok(node) => {
                let drivers = node["spec"]["drivers"].as_array().cloned().unwrap_or_default();
                if drivers.iter().any(|known| known["name"] == driver) {
                    Readiness::Ready
                } else {
                    Readiness::NotYet(format!("its drivers are {drivers:?}"))
                }
            }
            Err(seen) => Readiness::NotYet(seen),
        }
    }
}

/// Starts everything below `FOLDER/node` and returns when a pod has run.
pub(crate) fn start(processes: &mut Processes, programs: &NodePrograms, administrator: &Administrator) -> Result<Node> {
    let begin = Instant::now();
    if let Some(obstacle) = obstacle() {
        bail!("no node can run on this machine: {obstacle}");
    }
    let folder = processes.directory().join("node");
    let kubelet = folder.join("kubelet");
    fs::create_dir_all(&kubelet).with_context(|| format!("cannot create {}", kubelet.display()))?;
    let block = Block::of(&folder)?;
    let Some(address) = address::add(&folder, &block)? else {
        bail!("cannot add an address to the loopback device; a node must have one that is not 127.0.0.1");
    };
    let control_group = machine::make_control_group(&folder)?;
    let pause = folder.join("bin/pause");
    link(&pause, &programs.pod)?;
    let namespaces = machine::Namespaces::make(processes, &folder, &pause)?;
    let runtime = runtime::start(processes, programs, &namespaces, &folder)?;

    let configuration = folder.join("kubelet.yaml");
    let certificates = Certificates::of(processes.directory())?;
    let text = configured(&folder, &certificates, &block, &address, &control_group, &runtime.socket).to_string();
    write_private(&configuration, &text)?;
    let command = Arguments::of(&programs.kubelet)
        .flag("config", configuration.display())
        .flag("kubeconfig", processes.directory().join("node.kubeconfig").display())
        .flag("hostname-override", NAME)
        .flag("node-ip", &address)
        .flag("root-dir", kubelet.display())
        .flag("cert-dir", kubelet.join("certificates").display())
        .command();
    processes.start("kubelet", &mut namespaces.enter(&command), Duration::ZERO)?;
    prove(processes, administrator)?;
    eprintln!("node ready after {:.1} s: pods that tolerate {TAINT} run", begin.elapsed().as_secs_f64());
    Ok(Node { namespaces, kubelet })
}

/// Gives back what it took of the machine, once its processes have been told to end.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    let folder = directory.join("node");
    if !folder.exists() {
        return Ok(());
    }
    address::sweep(&folder)?;
    machine::sweep(&folder)
}

/// Makes a program known under a name, whatever the name was of before.
fn link(name: &Path, program: &Path) -> Result<()> {
    let context = || format!("cannot create {}", name.display());
    if let Some(folder) = name.parent() {
        fs::create_dir_all(folder).with_context(context)?;
    }
    if name.is_symlink() {
        fs::remove_file(name).with_context(context)?;
    }
    std::os::unix::fs::symlink(program, name).with_context(context)
}

fn configured(
    folder: &Path,
    certificates: &Certificates,
    block: &Block,
    address: &str,
    control_group: &str,
    runtime: &Path,
) -> Value {
    let path = |name: &str| folder.join(name).display().to_string();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": control_group,
        "failSwapOn": false,
        // It takes a right that root need not have to make oneself less likely to be ended.
        "oomScoreAdj": 0,
        "address": address, "port": block.port(0),
        "healthzBindAddress": "127.0.0.1", "healthzPort": block.port(1),
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": certificates.certificate("authority").display().to_string()}
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", runtime.display()),
        "podLogsDir": path("logs"), "volumePluginDir": path("volume-plugins"),
        // Pods have nobody to ask for names.
        "resolvConf": "",
        // A full disk is not this node's business, and its one image has to stay.
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        // Sooner than every minute: a pod that is told to end, or a volume that has come, is noticed by it.
        "syncFrequency": "5s", "nodeStatusUpdateFrequency": "5s",
        "makeIPTablesUtilChains": false,
        "registerWithTaints": [{"key": TAINT, "effect": "NoSchedule"}],
    })
}

/// A pod that runs, and away with it: of a node that was there before, this says more than its status.
fn prove(processes: &Processes, administrator: &Administrator) -> Result<()> {
    const READY: &str = "dxdr-test-node-ready";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": READY, "namespace": "default"},
        "spec": {
            "containers": [{"name": "pause", "image": runtime::IMAGE}],
            "tolerations": [{"key": TAINT, "operator": "Exists"}], "automountServiceAccountToken": false
        }
    });
    administrator.delete(std::slice::from_ref(&pod))?;
    administrator.apply_objects(std::slice::from_ref(&pod))?;
    wait(processes, &["node", "containerd", "kubelet"], "a pod on the node", || {
        match administrator.get(&format!("/api/v1/namespaces/default/pods/{READY}")) {
            Ok(pod) if pod["status"]["phase"] == "Running" => Readiness::Ready,
            Ok(pod) => Readiness::NotYet(format!("its status is {}", pod["status"])),
            Err(seen) => Readiness::NotYet(seen),
        }
    })?;
    administrator.delete(&[pod])
}
