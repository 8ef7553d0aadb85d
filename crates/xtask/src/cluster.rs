//! A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as plain
//! processes, with RBAC and the default admission plugins on; and if wanted an S3 server, volumes with snapshots, Velero,
//! and the Sealed Secrets controller beside it.
//!
//! ```text
//!   build  tools/MODULE  ──►  ~/.cache/dxdr/tools/NAME/STAMP/NAME
//!   up     certificates ─► etcd ─► kube-apiserver ─► controller manager, scheduler
//!                       (─► weed) (─► containerd, kubelet) (─► CSI driver, its sidecars, snapshot controller)
//!                       (─► Sealed Secrets) (─► velero)
//!   down   the same backwards, by the recorded processes and no others
//! ```
//!
//! Without a node Pods stay Pending, and what controllers do without one (quota, service accounts, garbage collection,
//! namespace deletion, admission) is as in production.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::{checkout, interruption};

pub(crate) mod address;
pub(crate) mod administrator;
pub(crate) mod cache;
pub(crate) mod credentials;
pub(crate) mod digest;
pub(crate) mod files;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod processes;
pub(crate) mod programs;
pub(crate) mod readiness;
pub(crate) mod sealed_secrets;
pub(crate) mod seaweedfs;
pub(crate) mod servers;
pub(crate) mod signature;
pub(crate) mod temporary;
pub(crate) mod velero;
pub(crate) mod volumes;
pub(crate) mod wheels;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build the servers into the cache; a second build takes a second
    Build {
        /// Also install the S3 server (SeaweedFS)
        #[arg(long)]
        s3: bool,
        /// Also build the CSI driver with its sidecars, and the snapshot controller
        #[arg(long)]
        csi: bool,
        /// Also build Velero with its plugin for S3
        #[arg(long)]
        velero: bool,
        #[command(flatten)]
        version: VeleroVersion,
        /// Also build the Sealed Secrets controller, and kubeseal
        #[arg(long)]
        sealed_secrets: bool,
        /// Also build what a node is made of
        #[arg(long)]
        node: bool,
    },
    /// Start the servers and wait until they are ready
    ///
    /// Prints the lines to put into a shell; the administrator's kubeconfig is DIRECTORY/kubeconfig.
    Up {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        parts: Parts,
    },
    /// Stop exactly what `up` started; its state stays and can be started again
    Down {
        #[command(flatten)]
        place: Place,
        /// Also delete the folder with all state
        #[arg(long)]
        delete: bool,
    },
}

#[derive(Args)]
pub(crate) struct Place {
    /// Folder for state, logs and the kubeconfig [default: target/cluster]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

impl Place {
    fn resolve(&self) -> Result<PathBuf> {
        let chosen = self.directory.clone().unwrap_or_else(|| checkout::root().join("target/cluster"));
        std::path::absolute(&chosen).with_context(|| format!("cannot resolve {}", chosen.display()))
    }
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build { s3, csi, velero, version, sealed_secrets, node } => {
            let programs = programs::build()?;
            println!("{}", programs.directory_of_kubectl().display());
            if s3 {
                println!("{}", seaweedfs::install()?.display());
            }
            if csi {
                println!("{}", programs::build_volumes()?.driver.display());
            }
            if velero {
                println!("{}", programs::build_velero(version.release)?.velero.display());
            }
            if sealed_secrets {
                println!("{}", programs::build_sealed_secrets()?.kubeseal.display());
            }
            if node {
                println!("{}", programs::build_node()?.kubelet.display());
            }
        }
        Command::Up { place, parts } => {
            interruption::watch()?;
            let cluster = Cluster::start(&place.resolve()?, parts)?;
            eprintln!("to use it:\n");
            print!("{}", cluster.shell_lines());
        }
        Command::Down { place, delete } => {
            let directory = place.resolve()?;
            Cluster::stop(&directory)?;
            if delete && directory.exists() {
                std::fs::remove_dir_all(&directory).with_context(|| format!("cannot delete {}", directory.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What to start beside the control plane.
#[derive(Clone, Copy, Default, Args)]
pub(crate) struct Parts {
    /// Also start an S3 server (SeaweedFS) with a bucket
    #[arg(long)]
    pub(crate) s3: bool,
    /// Also start a CSI driver whose volumes are folders, with all that snapshots need
    #[arg(long)]
    pub(crate) csi: bool,
    /// Also start a Velero server whose storage location is in the bucket
    #[arg(long, requires = "s3")]
    pub(crate) velero: bool,
    #[command(flatten)]
    pub(crate) version: VeleroVersion,
    /// Also start the Sealed Secrets controller
    #[arg(long)]
    pub(crate) sealed_secrets: bool,
    /// Also start a node, on which pods run that tolerate its taint (takes root)
    #[arg(long)]
    pub(crate) node: bool,
}

/// Which Velero.
#[derive(Clone, Copy, Default, Args)]
pub(crate) struct VeleroVersion {
    /// Velero's minor version
    #[arg(id = "velero_version", long = "velero-version", value_enum, default_value_t, value_name = "VERSION")]
    pub(crate) release: velero::Release,
}

/// What shall be started, built.
struct Built {
    weed: Option<PathBuf>,
    programs: programs::Programs,
    volumes: Option<programs::VolumePrograms>,
    velero: Option<programs::VeleroPrograms>,
    sealed_secrets: Option<programs::SealedSecretsPrograms>,
    node: Option<programs::NodePrograms>,
}

impl Built {
    fn start(self, processes: &mut processes::Processes) -> Result<Cluster> {
        let directory = processes.directory().to_owned();
        servers::start(processes, &self.programs)?;
        let administrator = administrator::Administrator::of(&directory, &self.programs.kubectl);
        let object_storage = self.weed.as_deref().map(|weed| seaweedfs::start(processes, weed)).transpose()?;
        // Before the volumes: their driver mounts where the node's pods see it.
        let node = self.node.map(|programs| node::start(processes, &programs, &administrator)).transpose()?;
        let volumes = self.volumes;
        let volumes = volumes.map(|programs| volumes::start(processes, &programs, &administrator, node.as_ref())).transpose()?;
        let sealed_secrets = self.sealed_secrets.as_ref();
        let sealed_secrets =
            sealed_secrets.map(|programs| sealed_secrets::start(processes, programs, &administrator)).transpose()?;
        let velero = self.velero.as_ref().zip(object_storage.as_ref());
        let velero = velero
            .map(|(programs, storage)| velero::start(processes, programs, &administrator, storage, node.as_ref()))
            .transpose()?;
        Ok(Cluster { directory, kubectl: self.programs.kubectl, object_storage, volumes, velero, sealed_secrets, node })
    }
}

/// Servers that are up, and how to reach them.
pub(crate) struct Cluster {
    directory: PathBuf,
    kubectl: PathBuf,
    object_storage: Option<seaweedfs::Endpoint>,
    volumes: Option<volumes::Volumes>,
    velero: Option<velero::Velero>,
    sealed_secrets: Option<sealed_secrets::SealedSecrets>,
    node: Option<node::Node>,
}

impl Cluster {
    /// Builds what is not built, starts everything and waits until it is ready. When anything fails, or Ctrl-C
    /// arrives, what was started is stopped again before this returns.
    pub(crate) fn start(directory: &Path, parts: Parts) -> Result<Self> {
        // The quick one first, so that a missing Python is said before Go has worked for minutes.
        let weed = if parts.s3 { Some(seaweedfs::install()?) } else { None };
        let built = Built {
            weed,
            programs: programs::build()?,
            volumes: if parts.csi { Some(programs::build_volumes()?) } else { None },
            velero: if parts.velero { Some(programs::build_velero(parts.version.release)?) } else { None },
            sealed_secrets: if parts.sealed_secrets { Some(programs::build_sealed_secrets()?) } else { None },
            node: if parts.node { Some(programs::build_node()?) } else { None },
        };
        started(directory, |processes| {
            let cluster = built.start(processes)?;
            cluster.write_environment_file()?;
            Ok(cluster)
        })
    }

    /// Stops what was started for this folder, in reverse order. Nothing running is not an error.
    pub(crate) fn stop(directory: &Path) -> Result<()> {
        processes::Processes::recorded(directory)?.stop_all()?;
        sweep(directory)
    }

    pub(crate) fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// The variables at which tests look for real servers.
    pub(crate) fn test_variables(&self) -> Vec<(&'static str, String)> {
        let mut variables =
            vec![("DXDR_TEST_KUBECONFIG", self.kubeconfig()), ("DXDR_TEST_KUBECTL", self.kubectl.display().to_string())];
        if let Some(storage) = &self.object_storage {
            variables.extend(storage.test_variables());
        }
        if let Some(volumes) = &self.volumes {
            variables.extend(volumes.test_variables());
        }
        if let Some(controller) = &self.sealed_secrets {
            variables.extend(controller.test_variables());
        }
        if let Some(node) = &self.node {
            variables.extend(node.test_variables());
        }
        if let Some(velero) = &self.velero {
            variables.extend(velero.test_variables());
        }
        variables
    }

    /// Installs what the Sealed Secrets controller needs, without starting one; the program that starts it.
    pub(crate) fn prepare_sealed_secrets(&self) -> Result<PathBuf> {
        let programs = programs::build_sealed_secrets()?;
        sealed_secrets::prepare(&self.directory.join("sealed-secrets"), &programs, &self.administrator())
    }

    /// The administrator.
    pub(crate) fn administrator(&self) -> administrator::Administrator {
        administrator::Administrator::of(&self.directory, &self.kubectl)
    }

    /// Variables of S3 clients; none without an S3 server.
    pub(crate) fn client_variables(&self) -> Vec<(&'static str, String)> {
        self.object_storage.as_ref().map(seaweedfs::Endpoint::client_variables).unwrap_or_default()
    }

    /// The id of a server's process, by the name of its log.
    pub(crate) fn process_id(&self, name: &str) -> Result<u32> {
        processes::Processes::recorded(&self.directory)?.id_of(name).with_context(|| format!("{name} does not run"))
    }

    /// Fails with the end of its log when a server has ended.
    pub(crate) fn check_alive(&self, name: &str) -> Result<()> {
        processes::Processes::recorded(&self.directory)?.check_alive(name)
    }

    pub(crate) fn kubeconfig(&self) -> String {
        self.directory.join("kubeconfig").display().to_string()
    }

    fn shell_lines(&self) -> String {
        let line = |file: &str| {
            let path = self.directory.join(file).display().to_string();
            format!(". {}", shell_word(&path))
        };
        let mut lines = format!("{}\n", line("environment"));
        if self.object_storage.is_some() {
            lines.push_str(&format!("{}   # for S3 clients\n", line("s3/environment")));
        }
        lines
    }

    fn write_environment_file(&self) -> Result<()> {
        let cache = self.directory.join("kubectl-cache").display().to_string();
        let mut variables = vec![
            ("KUBECONFIG", self.kubeconfig()),
            // kubectl remembers discovery by host and port: another cluster on this port would be taken for this one
            ("KUBECACHEDIR", cache),
        ];
        variables.extend(self.test_variables());
        let mut text = exports(&variables);
        if let Some(folder) = self.kubectl.parent() {
            let folder = shell_word(&folder.display().to_string());
            text.push_str(&format!("export PATH={folder}:\"$PATH\"\n"));
        }
        files::write_private(&self.directory.join("environment"), &text)
    }
}

/// What `start` says of servers that it has started for a folder. When it fails, they are stopped again before this returns.
fn started<T>(directory: &Path, start: impl FnOnce(&mut processes::Processes) -> Result<T>) -> Result<T> {
    let mut processes = processes::Processes::open(directory)?;
    start(&mut processes).inspect_err(|_| {
        for second in [processes.stop_all(), sweep(directory)].into_iter().filter_map(Result::err) {
            eprintln!("warning: {second:#}");
        }
    })
}

/// Removes what servers leave outside the folder.
fn sweep(directory: &Path) -> Result<()> {
    // Each, whatever becomes of the others.
    let swept = [seaweedfs::sweep(directory), address::sweep(&directory.join("sealed-secrets")), node::sweep(directory)];
    swept.into_iter().collect()
}

/// Lines for a POSIX shell.
fn exports(variables: &[(&str, String)]) -> String {
    variables.iter().map(|(name, value)| format!("export {name}={}\n", shell_word(value))).collect()
}

/// Quotes for a POSIX shell.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    #[test]
    fn what_was_started_before_a_failure_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = None;
        let failed: Result<()> = started(directory.path(), |processes| {
            processes.start("sleeper", std::process::Command::new("sleep").arg("600"), Duration::from_secs(5))?;
            process = processes.id_of("sleeper");
            bail!("the file cannot be written")
        });
        assert_eq!(failed.unwrap_err().to_string(), "the file cannot be written");
        assert_eq!(processes::command_line(process.unwrap()), "");
    }
}
