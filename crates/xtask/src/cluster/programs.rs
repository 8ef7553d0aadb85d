//! The servers, built from source at the versions pinned in `tools/`.
//!
//! A built program lies at `CACHE/NAME/STAMP/NAME`, where the stamp covers all that decides its bytes: module files,
//! flags, the Go version and whether there is C in it. What is there is up to date by construction; another checkout with other pins has
//! other stamps and disturbs nobody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::cache::Cache;
use super::digest::hexadecimal;
use super::velero::Release;
use crate::failure::MissingProgram;
use crate::{checkout, interruption};

/// Flags that do not differ between programs. Part of the stamp.
const FLAGS: [&str; 3] = ["-trimpath", "-mod=readonly", "-buildvcs=false"];

const KUBERNETES: &str = "k8s.io/kubernetes";

/// Paths of the built programs.
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) kube_apiserver: PathBuf,
    pub(crate) kube_controller_manager: PathBuf,
    pub(crate) kube_scheduler: PathBuf,
    pub(crate) kubectl: PathBuf,
}

impl Programs {
    /// The folder to put on PATH: it holds kubectl and nothing else.
    pub(crate) fn directory_of_kubectl(&self) -> &Path {
        self.kubectl.parent().unwrap_or(&self.kubectl)
    }
}

/// Builds what is not built, one build at a time on this machine. From empty Go caches four minutes on two cores;
/// when all is built a second.
pub(crate) fn build() -> Result<Programs> {
    let cache = Cache::locked()?;
    let etcd = Module::read("etcd", "go.etcd.io/etcd/server/v3")?;
    let kubernetes = Module::read("control-plane", KUBERNETES)?;
    let command = |name: &str| kubernetes.build_of_kubernetes(&cache, name);
    Ok(Programs {
        // The module's root is etcd's own main package.
        etcd: etcd.build(&cache, "etcd", "go.etcd.io/etcd/server/v3", "")?,
        kube_apiserver: command("kube-apiserver")?,
        kube_controller_manager: command("kube-controller-manager")?,
        kube_scheduler: command("kube-scheduler")?,
        kubectl: command("kubectl")?,
    })
}

/// As [`build`], of kubectl alone.
pub(crate) fn build_kubectl() -> Result<PathBuf> {
    Module::read("control-plane", KUBERNETES)?.build_of_kubernetes(&Cache::locked()?, "kubectl")
}

/// Paths of what volumes and snapshots need.
pub(crate) struct VolumePrograms {
    pub(crate) driver: PathBuf,
    pub(crate) snapshot_controller: PathBuf,
    pub(crate) csi_snapshotter: PathBuf,
    pub(crate) csi_provisioner: PathBuf,
    /// Files, each with a CRD of `snapshot.storage.k8s.io` or `groupsnapshot.storage.k8s.io`.
    pub(crate) snapshot_definitions: Vec<PathBuf>,
}

/// As [`build`]; from empty Go caches two minutes.
pub(crate) fn build_volumes() -> Result<VolumePrograms> {
    const SNAPSHOTTER: &str = "github.com/kubernetes-csi/external-snapshotter/v8";
    const PROVISIONER: &str = "github.com/kubernetes-csi/external-provisioner/v6";
    let cache = Cache::locked()?;
    let driver = Module::read("csi-driver", "github.com/container-storage-interface/spec")?;
    let snapshotter = Module::read("csi", SNAPSHOTTER)?;
    let provisioner = Module::read("csi", PROVISIONER)?;
    let command = |module: &Module, of: &str, name: &str| {
        module.build(&cache, name, &format!("{of}/cmd/{name}"), &format!("-X main.version={}", module.version))
    };
    let definitions = |group: &str| {
        let (name, begin) = (format!("{group}-definitions"), format!("{group}.storage.k8s.io_"));
        snapshotter.files(&cache, &name, "github.com/kubernetes-csi/external-snapshotter/client/v8", "config/crd", &begin)
    };
    Ok(VolumePrograms {
        driver: driver.build(&cache, "csi-driver", ".", "")?,
        snapshot_controller: command(&snapshotter, SNAPSHOTTER, "snapshot-controller")?,
        csi_snapshotter: command(&snapshotter, SNAPSHOTTER, "csi-snapshotter")?,
        csi_provisioner: command(&provisioner, PROVISIONER, "csi-provisioner")?,
        snapshot_definitions: [definitions("snapshot")?, definitions("groupsnapshot")?].concat(),
    })
}

/// Paths of Velero's programs.
pub(crate) struct VeleroPrograms {
    pub(crate) velero: PathBuf,
    /// The plugin through which it speaks S3.
    pub(crate) plugin: PathBuf,
    pub(crate) release: Release,
    pub(crate) version: String,
}

const VELERO: &str = "github.com/vmware-tanzu/velero";

/// As [`build`]; from empty Go caches four minutes. The plugin is the newest, whatever the server: they speak gRPC, and
/// what they say to each other has not changed. Not every Go proxy has older ones.
pub(crate) fn build_velero(release: Release) -> Result<VeleroPrograms> {
    const PLUGIN: &str = "github.com/vmware-tanzu/velero-plugin-for-aws";
    let cache = Cache::locked()?;
    let velero = Module::read(release.module(), VELERO)?;
    let plugin = Module::read(Release::default().module(), PLUGIN)?;
    let link_flags = format!(
        "-X {VELERO}/pkg/buildinfo.Version={} \
         -X sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0",
        velero.version
    );
    Ok(VeleroPrograms {
        // The address: without it every server also listens on port 8080 of all interfaces, and a second one dies.
        velero: velero.build(&cache, "velero", &format!("{VELERO}/cmd/velero"), &link_flags)?,
        plugin: plugin.build(&cache, "velero-plugin-for-aws", &format!("{PLUGIN}/velero-plugin-for-aws"), "")?,
        release,
        version: velero.version,
    })
}

/// Paths of what Sealed Secrets is.
pub(crate) struct SealedSecretsPrograms {
    pub(crate) controller: PathBuf,
    pub(crate) kubeseal: PathBuf,
    /// Files, each with a CRD of `bitnami.com`.
    pub(crate) definitions: Vec<PathBuf>,
}

/// As [`build`]; from empty Go caches a minute.
pub(crate) fn build_sealed_secrets() -> Result<SealedSecretsPrograms> {
    const SEALED_SECRETS: &str = "github.com/bitnami/sealed-secrets";
    let cache = Cache::locked()?;
    let module = Module::read("sealed-secrets", SEALED_SECRETS)?;
    let version = format!("-X main.VERSION={}", module.version.trim_start_matches('v'));
    Ok(SealedSecretsPrograms {
        controller: module.build(&cache, "sealed-secrets-controller", &format!("{SEALED_SECRETS}/cmd/controller"), &version)?,
        kubeseal: module.build(&cache, "kubeseal", &format!("{SEALED_SECRETS}/cmd/kubeseal"), &version)?,
        definitions: module.files(
            &cache,
            "sealed-secrets-definitions",
            SEALED_SECRETS,
            "helm/sealed-secrets/crds",
            "bitnami.com_",
        )?,
    })
}

/// Paths of what a node is made of.
pub(crate) struct NodePrograms {
    pub(crate) kubelet: PathBuf,
    pub(crate) containerd: PathBuf,
    /// What containerd starts each pod through.
    pub(crate) shim: PathBuf,
    pub(crate) runc: PathBuf,
    /// Puts images into containerd.
    pub(crate) ctr: PathBuf,
    /// The program in the image of pods.
    pub(crate) pod: PathBuf,
    /// Velero's own beside it: pods that it restores wait by it for their files.
    pub(crate) restore_helper: PathBuf,
}

/// As [`build`], which it is quick after; from empty Go caches two minutes.
pub(crate) fn build_node() -> Result<NodePrograms> {
    const CONTAINERD: &str = "github.com/containerd/containerd/v2";
    const RUNC: &str = "github.com/opencontainers/runc";
    let cache = Cache::locked()?;
    let kubernetes = Module::read("control-plane", KUBERNETES)?;
    let containerd = Module::read("node", CONTAINERD)?;
    // It enters namespaces before Go's threads exist, in C. Without its build tags it needs no library.
    let runc = Module { c: true, ..Module::read("node", RUNC)? };
    let pod = Module::read("pod", "mvdan.cc/sh/v3")?;
    let velero = Module::read(Release::default().module(), VELERO)?;
    let version = format!("-X {CONTAINERD}/version.Version={}", containerd.version);
    let command = |name: &str| containerd.build(&cache, name, &format!("{CONTAINERD}/cmd/{name}"), &version);
    Ok(NodePrograms {
        kubelet: kubernetes.build_of_kubernetes(&cache, "kubelet")?,
        containerd: command("containerd")?,
        shim: command("containerd-shim-runc-v2")?,
        ctr: command("ctr")?,
        runc: runc.build(&cache, "runc", RUNC, "")?,
        pod: pod.build(&cache, "pod", ".", "")?,
        restore_helper: velero.build(&cache, "velero-restore-helper", &format!("{VELERO}/cmd/velero-restore-helper"), "")?,
    })
}

/// The folder of a module that the one in `tools/FOLDER` requires; downloaded when it is not there.
pub(crate) fn download(folder: &str, module: &str) -> Result<PathBuf> {
    download_in(&checkout::root().join("tools").join(folder), module)
}

fn download_in(directory: &Path, module: &str) -> Result<PathBuf> {
    let output = run(go(directory).args(["mod", "download", "-json", module]))?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["Dir"].as_str() {
        Some(source) if output.status.success() => Ok(PathBuf::from(source)),
        _ => {
            let reason = answer["Error"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr), Into::into);
            bail!("cannot download {module}: {}", reason.trim())
        }
    }
}

/// GOCACHE, GOMODCACHE, GOPROXY and GOTOOLCHAIN are Go's business and honoured as it finds them.
fn go(directory: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(directory).env("GOWORK", "off").env_remove("GOFLAGS");
    go
}

/// One Go module below `tools/`.
struct Module {
    directory: PathBuf,
    /// Version of the module's main requirement, with its `v`.
    version: String,
    /// Bytes of go.mod, go.sum, `go version`, and of the sources that lie beside them.
    pins: Vec<Vec<u8>>,
    /// Whether there is C in it.
    c: bool,
}

impl Module {
    fn read(folder: &str, requirement: &str) -> Result<Self> {
        let directory = checkout::root().join("tools").join(folder);
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let requirements = read("go.mod")?;
        let version = version_of(&String::from_utf8_lossy(&requirements), requirement)
            .with_context(|| format!("tools/{folder}/go.mod does not require {requirement}"))?;
        // Asked in the module's folder: its go.mod may choose another toolchain.
        let output = run(Command::new("go").arg("version").current_dir(&directory))?;
        if !output.status.success() {
            bail!("`go version` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let mut pins = vec![requirements, read("go.sum")?, output.stdout];
        for name in names_with(&directory, |name| name.ends_with(".go"))? {
            pins.push(read(&name)?);
        }
        Ok(Self { directory, version, pins, c: false })
    }

    /// One of Kubernetes' own programs.
    fn build_of_kubernetes(&self, cache: &Cache, name: &str) -> Result<PathBuf> {
        self.build(cache, name, &format!("{KUBERNETES}/cmd/{name}"), &kubernetes_version_flags(&self.version))
    }

    fn build(&self, cache: &Cache, name: &str, package: &str, link_flags: &str) -> Result<PathBuf> {
        let link_flags = format!("-s -w {link_flags}");
        let folder = cache.folder().join(name).join(self.stamp(package, &link_flags));
        let program = folder.join(name);
        if program.exists() {
            return Ok(program);
        }
        interruption::check()?;
        eprintln!("building {name} {} ...", self.version);
        let start = Instant::now();
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let unfinished = folder.join("unfinished");
        let output = run(go(&self.directory)
            .env("CGO_ENABLED", if self.c { "1" } else { "0" })
            .arg("build")
            .args(FLAGS)
            .args(["-ldflags", &link_flags, "-o"])
            .arg(&unfinished)
            .arg(package))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("go: downloading")).collect();
            bail!("{name} did not build:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        // Last, so that a program that exists is a finished one.
        fs::rename(&unfinished, &program).with_context(|| format!("cannot put {} in place", program.display()))?;
        eprintln!("built {name} in {} s", start.elapsed().as_secs());
        Ok(program)
    }

    /// Copies files of a required module into the cache, so that they outlive Go's own: those of a folder whose names
    /// begin in a certain way.
    fn files(&self, cache: &Cache, name: &str, module: &str, folder: &str, begin: &str) -> Result<Vec<PathBuf>> {
        let finished = cache.folder().join(name).join(self.stamp(module, &format!("{folder}/{begin}")));
        if !finished.exists() {
            let source = download_in(&self.directory, module)?.join(folder);
            let unfinished = cache.folder().join(name).join("unfinished");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).with_context(|| format!("cannot delete {}", unfinished.display()))?;
            }
            fs::create_dir_all(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
            for file in names_with(&source, |name| name.starts_with(begin))? {
                // Read and written rather than copied: files of Go's cache cannot be written.
                let bytes = fs::read(source.join(&file)).with_context(|| format!("cannot read {file} of {module}"))?;
                fs::write(unfinished.join(&file), bytes).with_context(|| format!("cannot write {file}"))?;
            }
            fs::rename(&unfinished, &finished).with_context(|| format!("cannot put {} in place", finished.display()))?;
        }
        let names = names_with(&finished, |_| true)?;
        if names.is_empty() {
            bail!("{module} has no file {folder}/{begin}…");
        }
        Ok(names.into_iter().map(|name| finished.join(name)).collect())
    }

    fn stamp(&self, package: &str, link_flags: &str) -> String {
        let mut hash = Sha256::new();
        let flags = FLAGS.join(" ");
        let texts = [package.as_bytes(), link_flags.as_bytes(), flags.as_bytes()];
        // One without C is stamped by nothing more, so that its stamp is what it was before others had any.
        let c = self.c.then_some(&b"CGO_ENABLED=1"[..]);
        for part in self.pins.iter().map(Vec::as_slice).chain(texts).chain(c) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hexadecimal(&hash.finalize())[..16].to_owned()
    }
}

/// The names of the files of a folder that fit, sorted.
fn names_with(folder: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let context = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let name = entry.with_context(context)?.file_name().to_string_lossy().into_owned();
        if fits(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Without these the servers call themselves v0.0.0-master, and clients that look at the version go astray.
fn kubernetes_version_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let flags = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(|package| {
        format!(
            "-X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean"
        )
    });
    flags.join(" ")
}

/// The version that a go.mod requires of a module, from either form of `require`.
fn version_of(requirements: &str, module: &str) -> Option<String> {
    requirements.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        (words.next()? == module).then(|| words.next()).flatten().filter(|word| word.starts_with('v')).map(str::to_owned)
    })
}

fn run(command: &mut Command) -> Result<Output> {
    match command.output() {
        Ok(output) => Ok(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(MissingProgram {
            program: "go",
            needed_for: "real servers (Kubernetes, etcd, Velero and a CSI driver are built from source)",
            remedy: "install Go 1.26 or newer (https://go.dev/dl), or run the Rust-only suite: cargo test --workspace",
        }
        .into()),
        Err(error) => Err(error).context("cannot run go"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_both_forms_of_a_requirement() {
        let block = "require (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\nreplace (\n\tk8s.io/api => k8s.io/api v0.36.3\n)";
        assert_eq!(version_of(block, "k8s.io/kubernetes").as_deref(), Some("v1.36.3"));
        assert_eq!(version_of("require a.b/c v1.0.0", "a.b/c").as_deref(), Some("v1.0.0"));
        assert_eq!(version_of(block, "k8s.io/api"), None, "a replacement is not a requirement");
    }

    #[test]
    fn a_program_is_stamped_by_all_that_decides_its_bytes() {
        let module = |pin: &str| Module {
            directory: PathBuf::new(),
            version: "v1".to_owned(),
            pins: vec![pin.as_bytes().to_vec()],
            c: false,
        };
        let with_c = Module { c: true, ..module("a") };
        let stamp = module("a").stamp("p", "f");
        assert_eq!(stamp, module("a").stamp("p", "f"));
        assert_ne!(stamp, module("b").stamp("p", "f"));
        assert_ne!(stamp, module("a").stamp("pf", ""));
        assert_ne!(stamp, with_c.stamp("p", "f"));
    }
}
