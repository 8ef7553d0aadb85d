//! A server that is measured on, in a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Bench;
use crate::interruption;

/// How long it may take to write how it is reached.
const STARTING: Duration = Duration::from_secs(30);

/// It ends when this does.
pub(super) struct Served {
    process: Child,
    file: PathBuf,
}

impl Served {
    /// What the measuring program serves by one of its commands.
    pub(super) fn start(bench: &Bench, serve: &str) -> Result<Self> {
        let mut command = Command::new(&bench.program);
        command.arg(serve);
        Self::start_command(command, &bench.folder, serve)
    }

    /// A command that serves until its stdin ends, and writes how it is reached into the file that is its last argument.
    fn start_command(mut command: Command, folder: &Path, name: &str) -> Result<Self> {
        let file = folder.join(name);
        let path = folder.join(format!("{name}.log"));
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        command.arg(&file).stdin(Stdio::piped()).stderr(log);
        let process = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let mut served = Self { process, file };
        let deadline = Instant::now() + STARTING;
        while !served.file.exists() {
            interruption::check()?;
            if Instant::now() > deadline || served.process.try_wait().context("cannot look at a process")?.is_some() {
                bail!("`{name}` does not start: {}", fs::read_to_string(&path).unwrap_or_default().trim());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(served)
    }

    /// Where it says how it is reached.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Nothing it holds is worth waiting for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]);
        command
    }

    #[test]
    fn a_server_is_there_once_it_says_how_it_is_reached_and_goes_with_whoever_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo $$ >\"$1.partial\"; mv \"$1.partial\" \"$1\"; exec cat";
        let served = Served::start_command(shell(script), folder.path(), "serve").unwrap();
        let process = fs::read_to_string(served.file()).unwrap();
        drop(served);
        assert!(!Path::new("/proc").join(process.trim()).exists());
    }

    #[test]
    fn what_a_server_printed_before_it_ended_is_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let failed = Served::start_command(shell("echo no port >&2; exit 1"), folder.path(), "serve").map(drop).unwrap_err();
        assert_eq!(failed.to_string(), "`serve` does not start: no port");
    }
}
