//! The Sealed Secrets controller, as a process outside the cluster, with kubeseal beside it.
//!
//! It knows the configuration of a Pod only, at fixed paths: it gets a mount namespace of its own in which a folder lies over /run. For
//! clients that ask it through the API server it must have an address that Endpoints may name, which no address of 127.0.0.0/8 is:
//! where root may, it gets one on the loopback device.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::address;
use super::administrator::Administrator;
use super::files::{write_private, write_program};
use super::ports::Block;
use super::processes::Processes;
use super::programs::SealedSecretsPrograms;
use super::readiness::{Readiness, wait};

/// Of its keys, and of its Service.
const NAMESPACE: &str = "kube-system";
/// What kubeseal looks for.
const NAME: &str = "sealed-secrets-controller";
const PATIENCE: Duration = Duration::from_secs(5);
/// The folder that a Pod finds at /var/run/secrets/kubernetes.io/serviceaccount.
const ACCOUNT: &str = "secrets/kubernetes.io/serviceaccount";

/// A running controller.
pub(crate) struct SealedSecrets {
    kubeseal: PathBuf,
    /// Program that starts another one.
    controller: PathBuf,
    /// The controller itself, for a pod.
    program: PathBuf,
    url: String,
    process: u32,
    /// Whether it is reached through the API server, too.
    proxied: bool,
}

impl SealedSecrets {
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("DXDR_TEST_KUBESEAL", self.kubeseal.display().to_string()),
            ("DXDR_TEST_SEALED_SECRETS_URL", self.url.clone()),
            ("DXDR_TEST_SEALED_SECRETS_CONTROLLER", self.controller.display().to_string()),
            ("DXDR_TEST_SEALED_SECRETS_PROGRAM", self.program.display().to_string()),
            // Told by SIGUSR1, it renews its key.
            ("DXDR_TEST_SEALED_SECRETS_PROCESS", self.process.to_string()),
        ];
        if self.proxied {
            variables.push(("DXDR_TEST_SEALED_SECRETS_NAMESPACE", NAMESPACE.to_owned()));
        }
        variables
    }
}

/// Installs the definition, starts the controller and returns when it has a key and listens.
pub(crate) fn start(
    processes: &mut Processes,
    programs: &SealedSecretsPrograms,
    administrator: &Administrator,
) -> Result<SealedSecrets> {
    let begin = Instant::now();
    let folder = processes.directory().join("sealed-secrets");
    let controller = prepare(&folder, programs, administrator)?;
    let block = Block::of(&folder)?;
    let port = block.port(0);
    let own = address::add(&folder, &block)?;
    if own.is_none() {
        eprintln!(
            "Sealed Secrets cannot be asked through the API server: that takes the right to add an address to the loopback device"
        );
    }
    let host = own.as_deref().unwrap_or("127.0.0.1");
    let url = format!("http://{host}:{port}");
    let mut command = Command::new(&controller);
    command
        .arg(format!("--listen-addr={host}:{port}"))
        .arg(format!("--listen-metrics-addr=127.0.0.1:{}", block.port(1)))
        // Its limits are for a shared cluster, and make tests wait. A second key would come by itself after a month.
        .args(["--rate-limit=1000000", "--kubeclient-qps=-1", "--key-renew-period=0"])
        .env("POD_NAMESPACE", NAMESPACE);
    processes.start("sealed-secrets", &mut command, PATIENCE)?;
    if let Some(address) = &own {
        administrator.apply_objects(&[pod(port), service(port)])?;
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}).to_string();
        let place = ["--namespace", NAMESPACE, "--subresource=status", "--type=merge"];
        administrator.output(&[&["patch", "pod", NAME][..], &place, &["--patch", &status]].concat())?;
        administrator.apply_objects(&[endpoints(address, port)])?;
    }
    // The port opens when it has a key.
    wait(processes, &["sealed-secrets"], "the Sealed Secrets controller", || match TcpStream::connect((host, port)) {
        Ok(_) => Readiness::Ready,
        Err(seen) => Readiness::NotYet(format!("{host}:{port}: {seen}")),
    })?;
    eprintln!("Sealed Secrets ready after {:.1} s at {url}", begin.elapsed().as_secs_f64());
    let process = processes.id_of("sealed-secrets").context("the Sealed Secrets controller has ended")?;
    let (kubeseal, program) = (programs.kubeseal.clone(), programs.controller.clone());
    Ok(SealedSecrets { kubeseal, controller, program, url, process, proxied: own.is_some() })
}

/// Installs the definition and an account, and answers a program that becomes a controller there. None is started.
pub(crate) fn prepare(folder: &Path, programs: &SealedSecretsPrograms, administrator: &Administrator) -> Result<PathBuf> {
    let run = folder.join("run");
    for definition in &programs.definitions {
        let text = fs::read_to_string(definition).with_context(|| format!("cannot read {}", definition.display()))?;
        administrator.apply_definitions(&text)?;
    }
    administrator.apply_objects(&account())?;
    write_account(&run.join(ACCOUNT), administrator)?;
    let server = administrator.output(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"])?;
    let (host, port) = server
        .trim()
        .strip_prefix("https://")
        .and_then(|address| address.rsplit_once(':'))
        .with_context(|| format!("the kubeconfig has no server with a port: {server}"))?;
    let controller = folder.join("controller");
    write_program(&controller, &in_a_pod(&run, &programs.controller, host, port))?;
    Ok(controller)
}

/// What a Pod finds of its service account.
fn write_account(folder: &Path, administrator: &Administrator) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let token = administrator.output(&["create", "token", NAME, "--namespace", NAMESPACE, "--duration=24h"])?;
    write_private(&folder.join("token"), token.trim())?;
    let field = "--output=jsonpath={.clusters[0].cluster.certificate-authority-data}";
    let authority = administrator.output(&["config", "view", "--raw", "--minify", field])?;
    let authority = STANDARD.decode(authority.trim()).context("the kubeconfig's authority is not base64")?;
    let file = folder.join("ca.crt");
    fs::write(&file, authority).with_context(|| format!("cannot write {}", file.display()))
}

/// A program that becomes the controller, with the folder `run` where it looks for /run, and nowhere else. Its flags are the controller's;
/// POD_NAMESPACE says where its keys are.
fn in_a_pod(run: &Path, controller: &Path, host: &str, port: &str) -> String {
    // Who is not root becomes it in a user namespace, which is what a mount takes.
    let unshare = if rustix::process::geteuid().is_root() { "unshare -m" } else { "unshare -rm" };
    let word = |path: &Path| super::shell_word(&path.display().to_string());
    format!(
        "#!/bin/sh\nexport KUBERNETES_SERVICE_HOST={host} KUBERNETES_SERVICE_PORT={port}\nexec {unshare} sh -c 'mount --bind \"$1\" \"$(readlink -f /var/run)\" && shift && exec \"$@\"' sh {} {} \"$@\"\n",
        word(run),
        word(controller)
    )
}

fn account() -> [Value; 2] {
    let subject = json!({"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": NAME},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [subject]
        }),
    ]
}

/// Endpoints count only when they refer to a Pod with their address. No scheduler looks at this one.
fn pod(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"schedulerName": "none", "containers": [{
            "name": "controller", "image": "none.invalid/none", "ports": [{"containerPort": port}]
        }]}
    })
}

/// Without a selector: the endpoints are ours.
fn service(port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": port}]}
    })
}

fn endpoints(address: &str, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": NAME, "namespace": NAMESPACE},
        "subsets": [{
            "addresses": [{"ip": address, "targetRef": {"kind": "Pod", "name": NAME, "namespace": NAMESPACE}}],
            "ports": [{"name": "http", "port": port}]
        }]
    })
}
