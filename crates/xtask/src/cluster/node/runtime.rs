//! containerd, the network that it gives pods, and the image that they run.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::super::digest;
use super::super::files::write_program;
use super::super::processes::Processes;
use super::super::programs::NodePrograms;
use super::super::readiness::{Readiness, wait};
use super::machine::Namespaces;

/// What pods name as their image. No registry has it.
pub(crate) const IMAGE: &str = "dxdr.test/pod:1";
/// The programs in it, all of them one.
const LINKS: [&str; 2] = ["pause", "sh"];

/// A plugin of the Container Network Interface. A pod gets a network of its own with an address in it, and no way out: on this machine
/// nothing is forwarded, and nothing has to be taken back.
const PLUGIN: &str = r#"#!/bin/sh
set -e
cat >/dev/null
case $CNI_COMMAND in
ADD)
    number=2
    until mkdir "ADDRESSES/$number" 2>/dev/null; do
        number=$((number + 1))
        if [ ! -d ADDRESSES ] || [ "$number" -gt 1000 ]; then
            echo "no address can be taken in ADDRESSES" >&2
            exit 1
        fi
    done
    : >"ADDRESSES/$number/$CNI_CONTAINERID"
    address=10.98.$((number / 250)).$((number % 250 + 1))
    nsenter --net="$CNI_NETNS" sh -ec "
        ip link add $CNI_IFNAME type veth peer name peer
        ip address add $address/32 dev $CNI_IFNAME
        ip link set peer up
        ip link set $CNI_IFNAME up" >&2
    echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],"ips":[{"address":"'"$address"'/32","interface":0}]}'
    ;;
DEL)
    for file in ADDRESSES/*/"$CNI_CONTAINERID"; do
        if [ -e "$file" ]; then rm "$file" && rmdir "${file%/*}"; fi
    done
    ;;
VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}' ;;
esac
"#;

/// A running containerd.
pub(crate) struct Runtime {
    pub(crate) socket: PathBuf,
}

/// Starts it with its data below `folder` and returns when it has the image.
pub(crate) fn start(
    processes: &mut Processes,
    programs: &NodePrograms,
    namespaces: &Namespaces,
    folder: &Path,
) -> Result<Runtime> {
    let socket = folder.join("containerd.socket");
    let state = folder.join("state");
    let network = folder.join("network");
    // Of a life before: as after a machine's start, nothing of it is there any more.
    for gone in [&state, &network] {
        if gone.exists() {
            fs::remove_dir_all(gone).with_context(|| format!("cannot delete {}", gone.display()))?;
        }
    }
    let (plugins, addresses) = (network.join("plugins"), network.join("addresses"));
    for folder in [&state, &plugins, &addresses] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write_program(&plugins.join("isolated"), &PLUGIN.replace("ADDRESSES", &addresses.display().to_string()))?;
    let list = network.join("10-isolated.conflist");
    let text = json!({"cniVersion": "1.0.0", "name": "isolated", "plugins": [{"type": "isolated"}]}).to_string();
    fs::write(&list, text).with_context(|| format!("cannot write {}", list.display()))?;
    let configuration = folder.join("containerd.toml");
    let text = configured(programs, folder, &socket, &plugins, &network);
    fs::write(&configuration, text).with_context(|| format!("cannot write {}", configuration.display()))?;
    let image = folder.join("image.tar");
    write_image(&[("bin/pod", &programs.pod), ("velero-restore-helper", &programs.restore_helper)], &image)?;

    // The first runs the second: tools/pod/runc.go.
    let bin = folder.join("bin");
    for (link, program) in [("runc", &programs.pod), ("runc-real", &programs.runc)] {
        super::link(&bin.join(link), program)?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(&programs.containerd);
    command.arg("--config").arg(&configuration).env("PATH", format!("{}:{path}", bin.display()));
    // What it runs has no time to end: the namespaces take it along.
    processes.start("containerd", &mut namespaces.enter(&command), Duration::ZERO)?;
    let ctr = || {
        let mut command = Command::new(&programs.ctr);
        command.arg("--address").arg(&socket).args(["--namespace", "k8s.io"]);
        command
    };
    wait(processes, &["containerd"], "containerd", || {
        printed(ctr().arg("version")).map_or_else(Readiness::NotYet, |_| Readiness::Ready)
    })?;
    let mut import = ctr();
    import.args(["images", "import", "--local"]).arg(&image);
    if let Err(reason) = printed(&mut namespaces.enter(&import)) {
        bail!("cannot put the image of pods into containerd: {reason}");
    }
    Ok(Runtime { socket })
}

fn configured(programs: &NodePrograms, folder: &Path, socket: &Path, plugins: &Path, network: &Path) -> String {
    // A basic string of TOML is one of JSON.
    let word = |path: &Path| json!(path.display().to_string()).to_string();
    format!(
        r#"version = 3
root = {root}
state = {state}
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri"]
[grpc]
  address = {socket}
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{plugins}]
    conf_dir = {network}
    use_internal_loopback = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = {shim}
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = {runc}
        Root = {runc_root}
        SystemdCgroup = false
"#,
        root = word(&folder.join("containerd")),
        state = word(&folder.join("state")),
        socket = word(socket),
        plugins = word(plugins),
        network = word(network),
        shim = word(&programs.shim),
        runc = word(&folder.join("bin/runc")),
        runc_root = word(Path::new("/run/runc")),
    )
}

/// What a program printed; when it failed, on stderr.
fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// An image of one layer with programs by their places, as an archive that containerd reads.
fn write_image(programs: &[(&'static str, &Path)], archive: &Path) -> Result<()> {
    let read = |(place, program): &(&'static str, &Path)| {
        let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
        Ok((*place, bytes))
    };
    let programs = programs.iter().map(read).collect::<Result<Vec<_>>>()?;
    let file = File::create(archive).with_context(|| format!("cannot create {}", archive.display()))?;
    archived(&programs, file).with_context(|| format!("cannot write {}", archive.display()))
}

fn archived(programs: &[(&str, Vec<u8>)], file: impl std::io::Write) -> std::io::Result<()> {
    let layer = layer(programs)?;
    let digest = digest::of(&layer);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let configuration = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/pause"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}, "history": [{"created_by": "cargo xtask cluster"}]
    })
    .to_string();
    let name = format!("{}.json", digest::of(&configuration));
    let path = format!("{digest}/layer.tar");
    let manifest = json!([{"Config": name, "RepoTags": [IMAGE], "Layers": [path]}]).to_string();
    let mut archive = tar::Builder::new(file);
    for (path, bytes) in [(&path[..], &layer[..]), (&name, configuration.as_bytes()), ("manifest.json", manifest.as_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes)?;
    }
    archive.into_inner()?.flush()
}

fn layer(programs: &[(&str, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Cursor::new(Vec::new()));
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header
    };
    for (folder, mode) in [("bin/", 0o755), ("tmp/", 0o1777)] {
        layer.append_data(&mut header(tar::EntryType::Directory, mode, 0), folder, &[][..])?;
    }
    for (place, program) in programs {
        layer.append_data(&mut header(tar::EntryType::Regular, 0o755, program.len()), place, &program[..])?;
    }
    for link in LINKS {
        layer.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), format!("bin/{link}"), "pod")?;
    }
    Ok(layer.into_inner()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if let Some(target) = entry.link_name().unwrap() {
                bytes = target.display().to_string().into_bytes();
            }
            (path, bytes)
        });
        entries.collect()
    }

    #[test]
    fn a_pod_for_which_there_is_no_address_is_refused_and_not_waited_for() {
        let mut plugin = Command::new("sh");
        plugin.args(["-c", &PLUGIN.replace("ADDRESSES", "/nowhere/addresses")]).env("CNI_COMMAND", "ADD");
        let output = plugin.stdin(std::process::Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("no address can be taken in /nowhere/addresses"));
    }

    #[test]
    fn the_image_has_its_programs_under_each_of_their_names_and_says_what_its_layer_hashes_to() {
        let mut archive = Vec::new();
        archived(&[("bin/pod", b"program".to_vec()), ("helper", b"another".to_vec())], &mut archive).unwrap();
        let outer = files(&archive);
        let manifest: serde_json::Value = serde_json::from_slice(&outer["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"][0], IMAGE);
        let layer = &outer[manifest[0]["Layers"][0].as_str().unwrap()];
        let configuration: serde_json::Value = serde_json::from_slice(&outer[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        assert_eq!(configuration["rootfs"]["diff_ids"][0], format!("sha256:{}", digest::of(layer)));
        let inner = files(layer);
        assert_eq!((&inner["bin/pod"][..], &inner["helper"][..]), (&b"program"[..], &b"another"[..]));
        for link in LINKS {
            assert_eq!(inner[&format!("bin/{link}")], b"pod");
        }
    }
}
