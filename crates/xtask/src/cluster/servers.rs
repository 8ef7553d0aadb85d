//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler: how each is started, and when it is ready.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::administrator::Administrator;
use super::credentials::Certificates;
use super::files::write_private;
use super::ports::Block;
use super::processes::Processes;
use super::programs::Programs;
use super::readiness::{Readiness, wait};

/// All four stop within two seconds when asked; the API server waits for requests in flight.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the four in order and returns when the cluster does all it will ever do: the API server answers, the
/// controllers work (the first service account is there), the scheduler and the controller manager call themselves
/// healthy. Writes the administrator's kubeconfig. A folder used before comes up with the state it had.
pub(crate) fn start(processes: &mut Processes, programs: &Programs) -> Result<()> {
    let begin = Instant::now();
    let directory = processes.directory().to_owned();
    let plane = ControlPlane::prepare(&directory, programs)?;

    processes.start("etcd", &mut plane.etcd(), PATIENCE)?;
    processes.start("kube-apiserver", &mut plane.kube_apiserver(), PATIENCE)?;
    wait(processes, &["etcd", "kube-apiserver"], "kube-apiserver", || plane.answers("/readyz", plane.api))?;

    processes.start("kube-controller-manager", &mut plane.kube_controller_manager(), PATIENCE)?;
    processes.start("kube-scheduler", &mut plane.kube_scheduler(), PATIENCE)?;
    let both = ["kube-controller-manager", "kube-scheduler"];
    wait(processes, &both, "the controller manager", || plane.answers("/healthz", plane.controller_manager))?;
    wait(processes, &both, "the scheduler", || plane.answers("/readyz", plane.scheduler))?;
    // The controllers work when they have made the first service account. Pods are refused before it exists.
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    wait(processes, &both, "the service account `default`", || plane.has(account))?;
    eprintln!("control plane ready after {:.1} s at https://127.0.0.1:{}", begin.elapsed().as_secs_f64(), plane.api);
    Ok(())
}

/// Everything that the four have to agree on.
struct ControlPlane<'a> {
    directory: &'a Path,
    programs: &'a Programs,
    certificates: Certificates,
    api: u16,
    etcd: u16,
    etcd_peer: u16,
    controller_manager: u16,
    scheduler: u16,
    /// Holds the ports until the servers listen.
    _block: Block,
}

impl<'a> ControlPlane<'a> {
    fn prepare(directory: &'a Path, programs: &'a Programs) -> Result<Self> {
        let block = Block::of(directory)?;
        let plane = Self {
            directory,
            programs,
            certificates: Certificates::of(directory)?,
            api: block.port(0),
            etcd: block.port(1),
            etcd_peer: block.port(2),
            controller_manager: block.port(3),
            scheduler: block.port(4),
            _block: block,
        };
        plane.write_configuration()?;
        Ok(plane)
    }

    fn write_configuration(&self) -> Result<()> {
        for (name, client) in [
            ("kubeconfig", "administrator"),
            ("controller-manager.kubeconfig", "controller-manager"),
            ("scheduler.kubeconfig", "scheduler"),
            ("node.kubeconfig", "node"),
        ] {
            write_private(&self.directory.join(name), &self.certificates.kubeconfig(client, self.api)?)?;
        }
        // Leader election and request rates of the scheduler have no flags.
        let kubeconfig = self.directory.join("scheduler.kubeconfig");
        write_private(
            &self.directory.join("scheduler.yaml"),
            &format!(
                "apiVersion: kubescheduler.config.k8s.io/v1\n\
                 kind: KubeSchedulerConfiguration\n\
                 leaderElection: {{leaderElect: false}}\n\
                 clientConnection: {{kubeconfig: {kubeconfig:?}, qps: 200, burst: 400}}\n"
            ),
        )
    }

    fn etcd(&self) -> Command {
        let client = format!("http://127.0.0.1:{}", self.etcd);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer);
        Arguments::of(&self.programs.etcd)
            .flag("name", "dxdr-test")
            .flag("data-dir", self.directory.join("etcd").display())
            .flag("listen-client-urls", &client)
            .flag("advertise-client-urls", &client)
            .flag("listen-peer-urls", &peer)
            .flag("initial-advertise-peer-urls", &peer)
            .flag("initial-cluster", format!("dxdr-test={peer}"))
            // The default of 2 GB ends a benchmark of large clusters.
            .flag("quota-backend-bytes", 4_294_967_296_u64)
            // A test cluster need not survive a power failure, and the disk is spared.
            .flag("unsafe-no-fsync", true)
            .flag("log-level", "warn")
            .command()
    }

    fn kube_apiserver(&self) -> Command {
        self.serving(&self.programs.kube_apiserver, self.api)
            .flag("etcd-servers", format!("http://127.0.0.1:{}", self.etcd))
            .flag("advertise-address", "127.0.0.1")
            // Without it the server keeps failing to publish a loopback address as its endpoint.
            .flag("endpoint-reconciler-type", "none")
            // As in production. The default admission plugins (quota, limits, webhooks, policies) are on by themselves.
            .flag("authorization-mode", "Node,RBAC")
            .flag("enable-admission-plugins", "NodeRestriction")
            .flag("allow-privileged", true)
            .flag("service-cluster-ip-range", "10.96.0.0/16")
            .flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local")
            .flag("service-account-key-file", self.directory.join("certificates/service-account.pub").display())
            .flag("service-account-signing-key-file", self.certificates.key("service-account").display())
            .flag("requestheader-allowed-names", "front-proxy")
            .flag("requestheader-username-headers", "X-Remote-User")
            .flag("requestheader-group-headers", "X-Remote-Group")
            .flag("requestheader-extra-headers-prefix", "X-Remote-Extra-")
            .flag("proxy-client-cert-file", self.certificates.certificate("front-proxy").display())
            .flag("proxy-client-key-file", self.certificates.key("front-proxy").display())
            // Commands in pods, and their logs, are asked of the kubelet.
            .flag("kubelet-client-certificate", self.certificates.certificate("administrator").display())
            .flag("kubelet-client-key", self.certificates.key("administrator").display())
            .flag("kubelet-preferred-address-types", "InternalIP")
            .flag("shutdown-delay-duration", "0s")
            .flag("profiling", false)
            .command()
    }

    fn kube_controller_manager(&self) -> Command {
        let kubeconfig = self.directory.join("controller-manager.kubeconfig");
        self.serving(&self.programs.kube_controller_manager, self.controller_manager)
            .flag("kubeconfig", kubeconfig.display())
            .flag("authentication-kubeconfig", kubeconfig.display())
            .flag("authorization-kubeconfig", kubeconfig.display())
            .flag("service-account-private-key-file", self.certificates.key("service-account").display())
            .flag("root-ca-file", self.certificates.certificate("authority").display())
            .flag("cluster-signing-cert-file", self.certificates.certificate("authority").display())
            .flag("cluster-signing-key-file", self.certificates.key("authority").display())
            // Each controller with its own RBAC, as in production.
            .flag("use-service-account-credentials", true)
            // No wait for a lease after a crash.
            .flag("leader-elect", false)
            .flag("allocate-node-cidrs", false)
            // A StorageClass with provisioner kubernetes.io/host-path makes volumes without a CSI driver.
            .flag("enable-hostpath-provisioner", true)
            // With the default of 20 a second the controllers take 7.5 s to get ready instead of 3.
            .flag("kube-api-qps", 200)
            .flag("kube-api-burst", 400)
            .command()
    }

    fn kube_scheduler(&self) -> Command {
        let kubeconfig = self.directory.join("scheduler.kubeconfig");
        self.serving(&self.programs.kube_scheduler, self.scheduler)
            .flag("config", self.directory.join("scheduler.yaml").display())
            .flag("authentication-kubeconfig", kubeconfig.display())
            .flag("authorization-kubeconfig", kubeconfig.display())
            .command()
    }

    /// What the three Kubernetes servers have in common: loopback, TLS, and whom they believe.
    fn serving(&self, program: &Path, port: u16) -> Arguments {
        Arguments::of(program)
            .flag("bind-address", "127.0.0.1")
            .flag("secure-port", port)
            .flag("tls-cert-file", self.certificates.certificate("server").display())
            .flag("tls-private-key-file", self.certificates.key("server").display())
            .flag("client-ca-file", self.certificates.certificate("authority").display())
            .flag("requestheader-client-ca-file", self.certificates.certificate("front-proxy-authority").display())
    }

    /// Whether a health endpoint says `ok`, on the API server or on the port of one of the others.
    fn answers(&self, path: &str, port: u16) -> Readiness {
        match self.administrator(port).raw(path) {
            Ok(text) if text.trim() == "ok" => Readiness::Ready,
            Ok(text) | Err(text) => Readiness::NotYet(text),
        }
    }

    fn has(&self, path: &str) -> Readiness {
        self.administrator(self.api).raw(path).map_or_else(Readiness::NotYet, |_| Readiness::Ready)
    }

    /// Of the API server, or of the health endpoints of another by its port.
    fn administrator(&self, port: u16) -> Administrator {
        Administrator::of(self.directory, &self.programs.kubectl).at(port)
    }
}

/// Flags in the form that Go programs read: `--name=value`.
pub(crate) struct Arguments {
    program: PathBuf,
    flags: Vec<String>,
}

impl Arguments {
    pub(crate) fn of(program: &Path) -> Self {
        Self { program: program.to_owned(), flags: Vec::new() }
    }

    pub(crate) fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.flags.push(format!("--{name}={value}"));
        self
    }

    pub(crate) fn command(self) -> Command {
        let mut command = Command::new(self.program);
        command.args(self.flags);
        command
    }
}
