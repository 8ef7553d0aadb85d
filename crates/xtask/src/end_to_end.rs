//! The tests that need real servers, run against them.
//!
//! Those tests look at `DXDR_TEST_…` variables and skip, saying so, without them; here the variables are set, and `DXDR_TEST_REQUIRED`
//! names the parts that are there, for which no test may skip.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, Parts, VeleroVersion, node, velero, wheels};
use crate::{checkout, interruption};

/// Crates with tests that talk to real servers.
const CRATES: [&str; 5] = ["dxdr-object-storage", "dxdr-storage-emulator", "dxdr-kubernetes", "dxdr-sandbox", "dxdr"];
/// The tests of `dxdr` that talk to a Velero server: those that an older one is run for.
const OF_VELERO: [&str; 8] = [
    "real_servers::velero::",
    "real_servers::schedules::",
    "real_servers::unfinished::",
    "real_servers::volumes::",
    "real_servers::groups::",
    "real_servers::retained::",
    "real_servers::hooks::",
    "a_point_that_velero_took",
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Use this context of your kubeconfig instead of starting a control plane
    ///
    /// The tests create and delete namespaces and cluster-scoped objects of their own. Never name production here.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Leave the servers running afterwards, and say how to stop them
    #[arg(long)]
    keep: bool,
    /// Start neither Velero nor volumes with snapshots nor a node; the tests that need them say so and do not run
    #[arg(long)]
    without_velero: bool,
    #[command(flatten)]
    version: VeleroVersion,
    /// Write what will not run, and why, into this file, a line each
    #[arg(long, value_name = "FILE")]
    not_run: Option<PathBuf>,
    /// Passed on to `cargo test`, such as the name of one test
    #[arg(last = true)]
    test_arguments: Vec<OsString>,
}

/// The exit code is that of `cargo test`; 3 when a program that is needed is not installed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let all = !arguments.without_velero;
    let obstacle = if all { node::obstacle() } else { None };
    let node = all && obstacle.is_none();
    let mut not_run = Vec::new();
    if let Some(obstacle) = obstacle {
        not_run.push(format!("tests that need a node: {obstacle}"));
    }
    if !all {
        not_run.push("tests that need Velero, volumes or a node: --without-velero".to_owned());
    }
    let parts = Parts { s3: true, csi: all, velero: all, version: arguments.version, sealed_secrets: true, node };
    in_cluster(parts, arguments.keep, |cluster, folder| {
        let mut variables = cluster.test_variables();
        let proxied = variables.iter().any(|(name, _)| *name == "DXDR_TEST_SEALED_SECRETS_NAMESPACE");
        if !proxied {
            not_run.push(
                "tests that ask the Sealed Secrets controller through the API server: it has no address of its own".to_owned(),
            );
        }
        variables.push(("DXDR_TEST_REQUIRED", required(all, node, proxied)));
        tell(&not_run, arguments.not_run.as_deref())?;
        variables.push(("DXDR_TEST_FAKE_GCS_SERVER", wheels::fake_gcs_server()?.display().to_string()));
        if let Some(context) = &arguments.context {
            let kubeconfig = kubeconfig_of(cluster.kubectl(), context, folder)?;
            for (name, value) in &mut variables {
                if *name == "DXDR_TEST_KUBECONFIG" {
                    value.clone_from(&kubeconfig);
                }
            }
        }
        beside_a_second(folder, |second| {
            variables.extend(second);
            let mut command = Command::new(checkout::cargo());
            command.arg("test").args(tests(arguments));
            let begin = Instant::now();
            let code = test(&mut command, &variables);
            eprintln!("end-to-end tests took {} s", begin.elapsed().as_secs());
            code
        })
    })
}

/// Which tests, as `cargo test` is told. With an older Velero those that do not talk to it are what they are with the newest.
fn tests(arguments: &Arguments) -> Vec<OsString> {
    let older = arguments.version.line != velero::Line::default();
    let chosen: Vec<OsString> = match (arguments.test_arguments.as_slice(), older) {
        ([], true) => ["--test", "it", "--"].into_iter().chain(OF_VELERO).map(OsString::from).collect(),
        (given, _) => given.to_vec(),
    };
    let crates = if older { &["dxdr"][..] } else { &CRATES[..] };
    let packages = crates.iter().flat_map(|name| ["--package", name]).chain(["--no-fail-fast"]).map(OsString::from);
    packages.chain(chosen).collect()
}

/// The parts that are there, by the names that the tests have for them.
fn required(velero: bool, node: bool, proxied: bool) -> String {
    let parts = [("velero", velero), ("node", node), ("sealing-proxy", proxied)];
    let parts = parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
    ["servers", "sealing", "second"].into_iter().chain(parts).collect::<Vec<_>>().join(",")
}

/// Says what will not run, and leaves it in a file for whoever sums up.
fn tell(not_run: &[String], file: Option<&Path>) -> Result<()> {
    for line in not_run {
        eprintln!("will not run: {line}");
    }
    let Some(file) = file else { return Ok(()) };
    let text: String = not_run.iter().map(|line| format!("{line}\n")).collect();
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Does something beside a second control plane, which is as empty as one is after a disaster: for restores into another cluster. Variables say where it is.
fn beside_a_second(folder: &Path, act: impl FnOnce(Vec<(&'static str, String)>) -> Result<ExitCode>) -> Result<ExitCode> {
    let directory = folder.join("second");
    fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let outcome = Cluster::start(&directory, Parts::default()).and_then(|second| {
        let controller = second.prepare_sealed_secrets()?;
        act(vec![
            ("DXDR_TEST_SECOND_KUBECONFIG", second.kubeconfig()),
            ("DXDR_TEST_SECOND_SEALED_SECRETS_CONTROLLER", controller.display().to_string()),
        ])
    });
    match (outcome, Cluster::stop(&directory)) {
        (Ok(_), Err(error)) => Err(error.context("the second control plane was not stopped")),
        (Err(error), Err(second)) => {
            eprintln!("warning: the second control plane was not stopped: {second:#}");
            Err(error)
        }
        (outcome, Ok(())) => outcome,
    }
}

/// Does something with servers in a temporary folder, which is handed on, and stops them.
pub(crate) fn in_cluster(parts: Parts, keep: bool, act: impl FnOnce(&Cluster, &Path) -> Result<ExitCode>) -> Result<ExitCode> {
    interruption::watch()?;
    // The paths of sockets below it may have 107 bytes at most.
    let folder = tempfile::Builder::new().prefix("dxdr-").tempdir().context("cannot create a temporary folder")?;
    let directory = folder.path().join("cluster");
    fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let outcome = Cluster::start(&directory, parts).and_then(|cluster| act(&cluster, folder.path()));
    if keep && outcome.is_ok() {
        eprintln!("the servers are still running; to use and to stop them:\n");
        println!(". {0}/environment\ncargo xtask cluster down --delete --directory {0}", directory.display());
        let _kept = folder.keep();
        return outcome;
    }
    match Cluster::stop(&directory) {
        Ok(()) => outcome,
        // What the tests said is worth more than that a server would not stop, but both are said.
        Err(error) => {
            eprintln!("warning: not all servers were stopped: {error:#}");
            let kept = folder.keep();
            bail!("servers of {} are still running", kept.display())
        }
    }
}

/// Runs a `cargo test` with `variables` in its environment; its exit code is the answer.
pub(crate) fn test(command: &mut Command, variables: &[(&str, String)]) -> Result<ExitCode> {
    command.current_dir(checkout::root()).envs(variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().context("cannot run cargo test")?;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for cargo test")? {
            break status;
        }
        if let Err(interrupted) = interruption::check() {
            // Ctrl-C at a terminal has reached the tests too; a signal to this process alone has not.
            interrupt(&child);
            child.wait().context("cannot wait for cargo test")?;
            return Err(interrupted);
        }
        thread::sleep(Duration::from_millis(50));
    };
    // Without a code it was ended by a signal.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn interrupt(child: &Child) {
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile, which is what is wanted.
        let _ = kill_process(process, Signal::INT);
    }
}

/// A kubeconfig with nothing but one context of the user's, so that a test cannot reach for another.
fn kubeconfig_of(kubectl: &Path, context: &str, folder: &Path) -> Result<String> {
    let output = Command::new(kubectl)
        .args(["config", "view", "--raw", "--minify", "--flatten", "--context", context])
        .output()
        .context("cannot run kubectl")?;
    if !output.status.success() {
        bail!("cannot use context `{context}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let path = folder.join("kubeconfig");
    crate::cluster::credentials::write_private(&path, &String::from_utf8_lossy(&output.stdout))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_velero_is_for_the_tests_that_talk_to_it() {
        #[derive(clap::Parser)]
        struct Program {
            #[command(flatten)]
            arguments: Arguments,
        }
        let told = |line: &str| -> String {
            let arguments = <Program as clap::Parser>::parse_from(line.split(' ')).arguments;
            tests(&arguments).join(" ".as_ref()).into_string().unwrap_or_default()
        };
        assert!(!told("end-to-end").contains("velero") && told("end-to-end").contains("dxdr-sandbox"));
        assert!(
            told("end-to-end --velero-version 1.14").starts_with("--package dxdr --no-fail-fast --test it -- real_servers::")
        );
        assert!(told("end-to-end --velero-version 1.14 -- one").ends_with("--package dxdr --no-fail-fast one"));
    }

    #[test]
    fn what_was_started_is_required_and_nothing_else() {
        assert_eq!(required(true, true, true), "servers,sealing,second,velero,node,sealing-proxy");
        assert_eq!(required(true, false, false), "servers,sealing,second,velero");
        assert_eq!(required(false, false, false), "servers,sealing,second");
    }
}
