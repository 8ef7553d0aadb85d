//! What a node takes of the machine, and gives back: namespaces in which all of it lives, and control groups.
//!
//! Everything of the node, down to the processes in its pods, is in one process namespace. When the first process of that ends, the kernel
//! ends all others; and with the mount namespace go all mounts. What is left are empty control groups.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::digest;
use super::super::processes::Processes;
use super::super::readiness::{Readiness, wait};

/// How the namespaces' first process is called among the processes.
const FIRST: &str = "node";
/// Lets everything see /var/lib as it is, and what is written there go nowhere: a kubelet and containerd write to folders of it whatever their
/// configuration says. And /run is empty. Whoever has a namespace of his own behind this one sees what is mounted here later.
const MOUNTS: &str = "\
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/upper /run/work
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/upper,workdir=/run/work overlay /var/lib
";
/// Makes a root that has nothing but some folders where they are, and one under another name, and becomes a program there. What a program leaves
/// anywhere else is in memory, and goes with it.
const ROOT: &str = "\
root=/run/root
mkdir -p \"$root\"
mount -t tmpfs tmpfs \"$root\"
mkdir -p \"$root/tmp\" \"$root$1\"
mount --rbind \"$0\" \"$root$1\"
shift
while [ \"$1\" != -- ]; do
    mkdir -p \"$root$1\"
    mount --rbind \"$1\" \"$root$1\"
    shift
done
shift
exec chroot \"$root\" \"$@\"
";
/// How long the kernel may take to end all that was in the namespaces.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why no node can be had on this machine, if none can.
pub(crate) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    for program in ["unshare", "nsenter", "mount", "ip"] {
        let found = Command::new(program).arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            return Some(format!("`{program}` is not installed (Debian: util-linux, mount, iproute2)"));
        }
    }
    let tried = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-ec", MOUNTS])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        return Some("this machine lets nobody make namespaces with mounts of their own".to_owned());
    }
    match hierarchies(&["cgroup"]) {
        Ok(found) if found.is_empty() => Some("its control groups are not of version 1, and others were not tried".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    }
}

/// Namespaces in which programs can be started.
pub(crate) struct Namespaces {
    first: u32,
}

impl Namespaces {
    /// Makes them. `pause` becomes their first process.
    pub(crate) fn make(processes: &mut Processes, folder: &Path, pause: &Path) -> Result<Self> {
        if ["/run", "/var/lib"].iter().any(|hidden| folder.starts_with(hidden)) {
            bail!("a node cannot have its data in {}\nhint: give a folder elsewhere with --directory", folder.display());
        }
        let ready = folder.join("namespaces-ready");
        if ready.exists() {
            fs::remove_file(&ready).with_context(|| format!("cannot delete {}", ready.display()))?;
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-ec"])
            .arg(format!("{MOUNTS}: >\"$1\"\nexec \"$0\""))
            .args([pause, &ready]);
        // It waits for the first process and does nothing else: asked to end, it goes on waiting.
        processes.start(FIRST, &mut command, Duration::ZERO)?;
        wait(processes, &[FIRST], "a namespace of mounts", || match ready.exists() {
            true => Readiness::Ready,
            false => Readiness::NotYet("the mounts are not there".to_owned()),
        })?;
        let parent = processes.id_of(FIRST).context("the node's namespaces have gone")?;
        let path = format!("/proc/{parent}/task/{parent}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let first = children.split_whitespace().next().and_then(|child| child.parse().ok());
        Ok(Self { first: first.with_context(|| format!("{path} names no process"))? })
    }

    /// The same command, in the namespaces. What runs in them is ended with them, whatever becomes of the process that is waited for here.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entering = Command::new("nsenter");
        entering.arg(format!("--target={}", self.first)).args(["--mount", "--pid", "--"]);
        entering.arg(command.get_program()).args(command.get_args());
        take_environment(&mut entering, command);
        entering
    }

    /// The same command, where nothing is but `folders`, the machine's processes and devices, and `folder` under the name `known_as`. It sees, too,
    /// what is mounted into them later.
    pub(crate) fn enter_root(&self, command: &Command, folder: &Path, known_as: &str, folders: &[&Path]) -> Command {
        let mut within = Command::new("unshare");
        within.args(["--mount", "--propagation", "slave", "sh", "-ec", ROOT]).arg(folder).arg(known_as);
        within.args(["/proc", "/dev"]).args(folders).arg("--").arg(command.get_program()).args(command.get_args());
        take_environment(&mut within, command);
        self.enter(&within)
    }
}

/// Has `command` know what `other` was to know.
fn take_environment(command: &mut Command, other: &Command) {
    for (name, value) in other.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// The control group below which all of a node's are, made in every hierarchy.
pub(crate) fn make_control_group(folder: &Path) -> Result<String> {
    let name = control_group(folder);
    for hierarchy in hierarchies(&["cgroup"])? {
        let group = hierarchy.join(&name);
        fs::create_dir_all(&group).with_context(|| format!("cannot make control group {}", group.display()))?;
        // Empty, they keep every process out.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (from, to) = (hierarchy.join(file), group.join(file));
            if let Ok(value) = fs::read_to_string(&from) {
                fs::write(&to, value).with_context(|| format!("cannot write {}", to.display()))?;
            }
        }
    }
    Ok(format!("/{name}"))
}

/// Returns when nothing of the node is on the machine any more, except in its folder.
pub(crate) fn sweep(folder: &Path) -> Result<()> {
    let start = Instant::now();
    // Where one of version 2 lies beside those of version 1, the kubelet is in it, too.
    for hierarchy in hierarchies(&["cgroup", "cgroup2"])? {
        let group = hierarchy.join(control_group(folder));
        // A group can be removed when the last process in it has gone, which the kernel takes its time for.
        while let Err(error) = remove_groups(&group) {
            if start.elapsed() > PATIENCE {
                bail!("cannot remove control group {}: {error}", group.display());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Its own name for each folder: several nodes may run.
fn control_group(folder: &Path) -> String {
    format!("dxdr-node-{}", &digest::of(folder.as_os_str().as_bytes())[..16])
}

fn remove_groups(group: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

/// Where control groups are mounted, of the versions that these types of mounts are.
fn hierarchies(types: &[&str]) -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(mounted(&mounts, types))
}

fn mounted(mounts: &str, types: &[&str]) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let fits = after.split(' ').next().is_some_and(|kind| types.contains(&kind));
        fits.then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    };
    mounts.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_groups_are_found_among_the_mounts() {
        let mounts = "30 24 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             31 30 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
             39 30 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(mounted(mounts, &["cgroup"]), [PathBuf::from("/sys/fs/cgroup/memory")]);
        assert_eq!(mounted(mounts, &["cgroup", "cgroup2"]).len(), 2);
    }

    #[test]
    fn groups_go_with_the_groups_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("group");
        fs::create_dir_all(group.join("pods/one")).unwrap();
        remove_groups(&group).unwrap();
        remove_groups(&group).unwrap();
        assert!(!group.exists());
    }
}
