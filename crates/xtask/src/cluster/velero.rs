//! A Velero server with its plugin for S3, as a process outside the cluster.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::administrator::Administrator;
use super::node::{self, Node};
use super::ports::Block;
use super::processes::Processes;
use super::programs::VeleroPrograms;
use super::readiness::{Readiness, wait};
use super::seaweedfs::{self, Endpoint};
use super::servers::Arguments;

pub(crate) const NAMESPACE: &str = "velero";
/// Of its own in the bucket: an unknown folder beside `backups` makes Velero call the location unavailable.
const PREFIX: &str = "velero";
pub(crate) const LOCATION: &str = "default";
/// Kinds that tests make objects of.
const DEFINITIONS_OF_TESTS: &str = include_str!("definitions.yaml");
/// Asked to stop, it waits for a restore that is being finished, up to half a minute.
const PATIENCE: Duration = Duration::from_secs(5);

/// A minor release, of which `tools/` pins a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Release {
    #[value(name = "1.14")]
    V1_14,
    #[value(name = "1.15")]
    V1_15,
    #[value(name = "1.16")]
    V1_16,
    #[value(name = "1.17")]
    V1_17,
    #[default]
    #[value(name = "1.18")]
    V1_18,
}

impl Release {
    /// The folder of its Go module below `tools/`.
    pub(crate) fn module(self) -> &'static str {
        match self {
            Self::V1_14 => "velero-1.14",
            Self::V1_15 => "velero-1.15",
            Self::V1_16 => "velero-1.16",
            Self::V1_17 => "velero-1.17",
            Self::V1_18 => "velero",
        }
    }

    /// Whether its node agent copies files in its own process, and not in pods that must reach the API server.
    fn agent_copies(self) -> bool {
        matches!(self, Self::V1_14 | Self::V1_15 | Self::V1_16)
    }
}

/// A running server.
pub(crate) struct Velero {
    version: String,
    /// What copies files on the node runs, too.
    has_agent: bool,
}

impl Velero {
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("DXDR_TEST_VELERO_VERSION", self.version.clone()),
            ("DXDR_TEST_VELERO_NAMESPACE", NAMESPACE.to_owned()),
            ("DXDR_TEST_VELERO_LOCATION", LOCATION.to_owned()),
            ("DXDR_TEST_VELERO_PREFIX", PREFIX.to_owned()),
        ];
        if self.has_agent {
            variables.push(("DXDR_TEST_VELERO_NODE_AGENT", node::NAME.to_owned()));
        }
        variables
    }
}

/// Installs what the server looks for and starts it; returns when its storage location is available. Kinds that are
/// defined later are missing from its backups for five minutes, so that this comes after all others. On `node`, its node agent runs, where that works in
/// its own process.
pub(crate) fn start(
    processes: &mut Processes,
    programs: &VeleroPrograms,
    administrator: &Administrator,
    storage: &Endpoint,
    node: Option<&Node>,
) -> Result<Velero> {
    let begin = Instant::now();
    let folder = processes.directory().join("velero");
    // Every executable of this folder is run as a plugin.
    let plugins = folder.join("plugins");
    let temporary = folder.join("temporary");
    if plugins.exists() {
        fs::remove_dir_all(&plugins).with_context(|| format!("cannot delete {}", plugins.display()))?;
    }
    for path in [&plugins, &temporary] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let plugin = plugins.join("velero-plugin-for-aws");
    symlink(&programs.plugin, &plugin).with_context(|| format!("cannot make {}", plugin.display()))?;
    administrator.apply_definitions(&definitions(&programs.velero, &folder)?)?;
    administrator.apply_definitions(DEFINITIONS_OF_TESTS)?;
    administrator.apply_objects(&objects(storage, &programs.version)?)?;

    let block = Block::of(&folder)?;
    let since = Timestamp::from_second(Timestamp::now().as_second()).context("no clock")?;
    let mut server = Arguments::of(&programs.velero).flag("kubeconfig", administrator.kubeconfig().display());
    for (name, value) in [("namespace", NAMESPACE), ("features", "EnableCSI"), ("profiler-address", "")] {
        server = server.flag(name, value);
    }
    let mut server = server
        .flag("plugin-dir", plugins.display())
        .flag("metrics-address", format!("127.0.0.1:{}", block.port(0)))
        // Velero looks for others' backups once a minute whatever this says, and at its start if this is shorter.
        .flag("backup-sync-period", "1s")
        .flag("store-validation-frequency", "5s")
        // Older ones copy files by another program, which would have to be here.
        .flag("uploader-type", "kopia")
        // A restore whose volumes do not come holds up every later one as long as this: ten minutes by default.
        .flag("resource-timeout", "1m")
        .command();
    // Its plugins, among them those for CSI, are processes of their own and do not see its flags.
    in_folder(server.arg("server"), &folder).env("KUBECONFIG", administrator.kubeconfig());
    processes.start("velero", &mut server, PATIENCE)?;
    let path = format!("/apis/velero.io/v1/namespaces/{NAMESPACE}/backupstoragelocations/{LOCATION}");
    wait(processes, &["velero"], "Velero's storage location", || match administrator.get(&path) {
        Ok(location) if is_available(&location["status"], since) => Readiness::Ready,
        Ok(location) => Readiness::NotYet(format!("its status is {}", location["status"])),
        Err(seen) => Readiness::NotYet(seen),
    })?;
    let node = node.filter(|_| programs.release.agent_copies());
    if let Some(node) = node {
        start_agent(processes, programs, administrator, node, &folder, block.port(1))?;
    }
    let agent = if node.is_some() { ", and its node agent" } else { "" };
    eprintln!("Velero{agent} ready after {:.1} s with {}/{PREFIX}", begin.elapsed().as_secs_f64(), seaweedfs::BUCKET);
    Ok(Velero { version: programs.version.clone(), has_agent: node.is_some() })
}

/// What copies files of volumes on the node. It looks for pods' volumes at a path that is nobody's on this machine, and keeps credentials in one that several
/// servers would share.
fn start_agent(
    processes: &mut Processes,
    programs: &VeleroPrograms,
    administrator: &Administrator,
    node: &Node,
    folder: &Path,
    port: u16,
) -> Result<()> {
    const AGENT: &str = "node-agent";
    let mut agent = Command::new(&programs.velero);
    agent.args([AGENT, "server", "--features=EnableCSI"]).arg(format!("--namespace={NAMESPACE}"));
    agent.arg(format!("--kubeconfig={}", administrator.kubeconfig().display()));
    agent.arg(format!("--metrics-address=127.0.0.1:{port}"));
    in_folder(&mut agent, folder).env("NODE_NAME", node::NAME);
    let built = programs.velero.parent().context("a program lies in a folder")?.to_owned();
    let mut agent = node.enter_beside_pods(&agent, "/host_pods", &[Path::new("/etc"), &built, processes.directory()]);
    processes.start(AGENT, &mut agent, PATIENCE)?;
    wait(processes, &[AGENT], "Velero's node agent", || match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Readiness::Ready,
        Err(error) => Readiness::NotYet(format!("nobody listens at port {port}: {error}")),
    })
}

/// Validated by this server, not by the one before it in the same folder.
fn is_available(status: &Value, since: Timestamp) -> bool {
    let validated = status["lastValidationTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    status["phase"] == "Available" && validated.is_some_and(|instant| instant >= since)
}

/// The CRDs that belong to this version: the program prints them.
fn definitions(velero: &Path, folder: &Path) -> Result<String> {
    let mut command = Command::new(velero);
    command.args(["install", "--crds-only", "--dry-run", "--output=yaml"]);
    let output = in_folder(&mut command, folder).output().context("cannot run velero")?;
    if !output.status.success() {
        bail!("velero does not print its CRDs: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("velero's CRDs are not text")
}

/// Archives, credentials and configuration go here and not into the home of whoever runs this.
fn in_folder<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env("TMPDIR", folder.join("temporary"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

fn objects(storage: &Endpoint, version: &str) -> Result<Vec<Value>> {
    let credentials =
        fs::read_to_string(&storage.credentials).with_context(|| format!("cannot read {}", storage.credentials.display()))?;
    let labels = json!({"component": "velero"});
    Ok(vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cloud-credentials", "namespace": NAMESPACE},
            "stringData": {"cloud": credentials}
        }),
        // Without pods: every restore reads the server's image from the Deployment of this name, and fails without it.
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "velero", "namespace": NAMESPACE, "labels": labels},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "velero", "image": format!("velero/velero:{version}"), "args": ["server", "--features=EnableCSI"]}]}
            }}
        }),
        json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": {"name": LOCATION, "namespace": NAMESPACE},
            "spec": {
                "provider": "aws", "default": true,
                "credential": {"name": "cloud-credentials", "key": "cloud"},
                "objectStorage": {"bucket": seaweedfs::BUCKET, "prefix": PREFIX},
                // An empty algorithm: not every S3 server takes the checksum behind the body that is the default.
                "config": {
                    "region": "us-east-1", "s3ForcePathStyle": "true", "s3Url": storage.url(), "checksumAlgorithm": ""
                }
            }
        }),
    ])
}
