//! The tests that need real servers, run against them.
//!
//! Those tests look at `DXDR_TEST_…` variables and skip, saying so, without them; here the variables are set, and `DXDR_TEST_REQUIRED`
//! names the parts that are there, for which no test may skip.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::temporary::{in_cluster, with_object_storage};
use crate::cluster::{Parts, VeleroVersion, files, node, programs, velero, wheels};
use crate::{checkout, interruption};

/// Crates with tests that talk to real servers.
const CRATES: [&str; 5] = ["dxdr-object-storage", "dxdr-storage-emulator", "dxdr-kubernetes", "dxdr-sandbox", "dxdr"];
/// The tests of `dxdr` that talk to a Velero server: those that an older one is run for.
const OF_VELERO: [&str; 9] = [
    "real_servers::velero::",
    "real_servers::schedules::",
    "real_servers::unfinished::",
    "real_servers::volumes::",
    "real_servers::groups::",
    "real_servers::retained::",
    "real_servers::hooks::",
    "real_servers::files::",
    "a_point_that_velero_took",
];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Use this context of your kubeconfig, and start nothing but an S3 server beside it
    ///
    /// The tests create and delete namespaces and cluster-scoped objects of their own. Never name production here. Those that need more than an
    /// API server say so and do not run.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["keep", "without_velero", "velero_version"])]
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
    match &arguments.context {
        Some(context) => in_your_cluster(arguments, context),
        None => in_a_cluster(arguments),
    }
}

fn in_a_cluster(arguments: &Arguments) -> Result<ExitCode> {
    if runs_those_of_velero(arguments) {
        check_filters(&OF_VELERO)?;
    }
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
    in_cluster(parts, arguments.keep, |cluster| {
        let mut variables = cluster.test_variables();
        let proxied = variables.iter().any(|(name, _)| *name == "DXDR_TEST_SEALED_SECRETS_NAMESPACE");
        if !proxied {
            not_run.push(
                "tests that ask the Sealed Secrets controller through the API server: it has no address of its own".to_owned(),
            );
        }
        variables.push(("DXDR_TEST_REQUIRED", required(all, node, proxied)));
        tell(&not_run, arguments.not_run.as_deref())?;
        // As empty as a control plane is after a disaster: for restores into another cluster.
        in_cluster(Parts::default(), false, |second| {
            let controller = second.prepare_sealed_secrets()?;
            variables.push(("DXDR_TEST_SECOND_KUBECONFIG", second.kubeconfig()));
            variables.push(("DXDR_TEST_SECOND_SEALED_SECRETS_CONTROLLER", controller.display().to_string()));
            run_tests(arguments, variables)
        })
    })
}

/// Nothing is known of the cluster but its API server, and what one's own has beside it says nothing of this one.
fn in_your_cluster(arguments: &Arguments, context: &str) -> Result<ExitCode> {
    let kubectl = programs::build_kubectl()?;
    with_object_storage(|storage, folder| {
        let mut variables = storage.test_variables();
        variables.push(("DXDR_TEST_KUBECONFIG", kubeconfig_of(&kubectl, context, folder)?));
        variables.push(("DXDR_TEST_KUBECTL", kubectl.display().to_string()));
        variables.push(("DXDR_TEST_REQUIRED", "servers".to_owned()));
        let parts = "Velero, volumes, a node, the Sealed Secrets controller or a second cluster";
        tell(&[format!("tests that need {parts}: --context")], arguments.not_run.as_deref())?;
        run_tests(arguments, variables)
    })
}

fn run_tests(arguments: &Arguments, mut variables: Vec<(&'static str, String)>) -> Result<ExitCode> {
    variables.push(("DXDR_TEST_FAKE_GCS_SERVER", wheels::fake_gcs_server()?.display().to_string()));
    let mut command = Command::new(checkout::cargo());
    command.arg("test").args(tests(arguments));
    let begin = Instant::now();
    let code = test(&mut command, &variables);
    eprintln!("end-to-end tests took {} s", begin.elapsed().as_secs());
    code
}

fn is_older(arguments: &Arguments) -> bool {
    arguments.version.release != velero::Release::default()
}

fn runs_those_of_velero(arguments: &Arguments) -> bool {
    is_older(arguments) && arguments.test_arguments.is_empty()
}

/// Which tests, as `cargo test` is told. With an older Velero those that do not talk to it are what they are with the newest.
fn tests(arguments: &Arguments) -> Vec<OsString> {
    let chosen: Vec<OsString> = if runs_those_of_velero(arguments) {
        ["--test", "it", "--"].into_iter().chain(OF_VELERO).map(OsString::from).collect()
    } else {
        arguments.test_arguments.clone()
    };
    let crates = if is_older(arguments) { &["dxdr"][..] } else { &CRATES[..] };
    let packages = crates.iter().flat_map(|name| ["--package", name]).chain(["--no-fail-fast"]).map(OsString::from);
    packages.chain(chosen).collect()
}

/// Fails when one of them fits no test of `dxdr`: a module that was renamed would no longer be run, and nobody would notice.
pub(crate) fn check_filters(filters: &[&str]) -> Result<()> {
    let output = Command::new(checkout::cargo())
        .current_dir(checkout::root())
        .args(["test", "--package", "dxdr", "--test", "it", "--", "--list", "--format", "terse"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo test")?;
    if !output.status.success() {
        bail!("cargo test does not list the tests of dxdr ({})", output.status);
    }
    let unfit = unfit(filters, &String::from_utf8_lossy(&output.stdout));
    if unfit.is_empty() {
        return Ok(());
    }
    bail!("no test of dxdr is called as {} says\nhint: where a module was renamed, the chore has its old name", unfit.join(", "))
}

/// Those of the filters that fit no line of `cargo test -- --list`.
fn unfit<'a>(filters: &[&'a str], listed: &str) -> Vec<&'a str> {
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    filters.iter().copied().filter(|filter| !names.iter().any(|name| name.contains(filter))).collect()
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
    files::write_private(&path, &String::from_utf8_lossy(&output.stdout))?;
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
        let told = |line: &str| {
            let arguments = <Program as clap::Parser>::parse_from(line.split(' ')).arguments;
            tests(&arguments).join(" ".as_ref()).into_string().unwrap()
        };
        assert!(!told("end-to-end").contains("velero") && told("end-to-end").contains("dxdr-sandbox"));
        assert!(
            told("end-to-end --velero-version 1.14").starts_with("--package dxdr --no-fail-fast --test it -- real_servers::")
        );
        assert!(told("end-to-end --velero-version 1.14 -- one").ends_with("--package dxdr --no-fail-fast one"));
    }

    #[test]
    fn a_filter_that_fits_no_test_is_found() {
        let listed = "real_servers::hooks::quiesced: test\nreal_servers::velero::a_run: test\nvolumes.rs: benchmark\n";
        assert_eq!(
            unfit(&["real_servers::velero::", "real_servers::volumes::", "volumes"], listed),
            ["real_servers::volumes::", "volumes"]
        );
    }

    #[test]
    fn what_was_started_is_required_and_nothing_else() {
        assert_eq!(required(true, true, true), "servers,sealing,second,velero,node,sealing-proxy");
        assert_eq!(required(true, false, false), "servers,sealing,second,velero");
        assert_eq!(required(false, false, false), "servers,sealing,second");
    }
}
