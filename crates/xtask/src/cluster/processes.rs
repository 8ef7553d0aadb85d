//! The processes started for a folder, on record from the moment they exist.
//!
//! `FOLDER/processes.json` names each by process id *and* start time: a process id alone comes back for somebody
//! else's process, and stopping means never to signal that one. Each process is the leader of a process group of
//! its own, so that Ctrl-C at the terminal reaches the chore and not its servers, which are then stopped in order;
//! and each carries `DXDR_CLUSTER_DIRECTORY`, by which a person can find what a killed chore left.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

const RECORD: &str = "processes.json";
/// How often to look whether a process has gone.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    process_id: u32,
    /// Field 22 of /proc/PID/stat: clock ticks between the machine's start and the process's.
    start_time: u64,
    /// Seconds between the request to stop and the end by force.
    patience_seconds: u64,
}

/// The processes of one folder, in the order in which they were started.
pub(crate) struct Processes {
    directory: PathBuf,
    records: Vec<Record>,
}

impl Processes {
    /// Prepares a folder for starting servers in it. Refuses while servers of it are running.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        if !Path::new("/proc/self/stat").exists() {
            bail!("the control plane for tests runs on Linux only: processes are told apart by /proc");
        }
        let mut processes = Self::recorded(directory)?;
        if let Some(running) = processes.records.iter().find(|record| is_running(record)) {
            bail!(
                "{} is running already in {} (process {})\nhint: stop it with `cargo xtask cluster down --directory {}`",
                running.name,
                directory.display(),
                running.process_id,
                directory.display()
            );
        }
        processes.records.clear();
        let logs = directory.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        processes.write()?;
        Ok(processes)
    }

    /// What is on record for a folder; nothing for a folder that was never used.
    pub(crate) fn recorded(directory: &Path) -> Result<Self> {
        let path = directory.join(RECORD);
        let records = match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("{} is not a record of processes", path.display()))?
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        Ok(Self { directory: directory.to_owned(), records })
    }

    /// The id of a process that is on record and runs.
    pub(crate) fn id_of(&self, name: &str) -> Option<u32> {
        self.records.iter().find(|record| record.name == name && is_running(record)).map(|record| record.process_id)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{name}.log"))
    }

    /// Starts a command in the background and records it. `patience` is how long it gets to stop by itself later.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command, patience: Duration) -> Result<()> {
        let path = self.log_of(name);
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let log_too = log.try_clone().with_context(|| format!("cannot open {} twice", path.display()))?;
        let mut child = command
            .env("DXDR_CLUSTER_DIRECTORY", &self.directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        let process_id = child.id();
        let Some(start_time) = start_time(process_id) else {
            // It ended before it could be looked at; the next readiness check would not know why.
            let _ = child.wait();
            bail!("{name} ended at once\n{}", self.last_lines(name));
        };
        self.records.push(Record { name: name.to_owned(), process_id, start_time, patience_seconds: patience.as_secs() });
        self.write()
    }

    /// Fails with the last lines of its log when the process has ended.
    pub(crate) fn check_alive(&self, name: &str) -> Result<()> {
        match self.records.iter().find(|record| record.name == name) {
            Some(record) if is_running(record) => Ok(()),
            _ => bail!("{name} died; the end of {}:\n{}", self.log_of(name).display(), self.last_lines(name)),
        }
    }

    /// Stops what is on record and still running, the last started first, and returns when all have gone. One that does not
    /// end keeps none of the others; it stays on record.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        self.stop_each(stop)
    }

    fn stop_each(&mut self, stop: impl Fn(&Record) -> Result<()>) -> Result<()> {
        let mut failures = Vec::new();
        let mut left = Vec::new();
        while let Some(record) = self.records.pop() {
            if let Err(error) = stop(&record) {
                failures.push(format!("{error:#}"));
                left.insert(0, record);
            }
        }
        self.records = left;
        self.write()?;
        if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("; ")) }
    }

    fn last_lines(&self, name: &str) -> String {
        let text = fs::read(self.log_of(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    fn write(&self) -> Result<()> {
        if !self.directory.exists() {
            return Ok(()); // nothing was ever started in it
        }
        let path = self.directory.join(RECORD);
        let new = self.directory.join(format!("{RECORD}.new"));
        let text = serde_json::to_vec_pretty(&self.records).context("cannot encode the record of processes")?;
        fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("cannot replace {}", path.display()))
    }
}

fn stop(record: &Record) -> Result<()> {
    for (signal, patience) in [
        (Signal::TERM, Duration::from_secs(record.patience_seconds)),
        // A process that ignores SIGKILL hangs in the kernel; say so rather than wait for ever.
        (Signal::KILL, Duration::from_secs(30)),
    ] {
        if !is_running(record) {
            return Ok(());
        }
        let process = i32::try_from(record.process_id).ok().and_then(Pid::from_raw);
        let process = process.with_context(|| format!("{} is not a process id", record.process_id))?;
        // Asked, it ends its children itself (Velero's plugins); ended by force it cannot, so that they go with it.
        let sent = if signal == Signal::KILL { kill_process_group(process, signal) } else { kill_process(process, signal) };
        match sent {
            // It ended between the look and the signal.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot stop {} (process {})", record.name, record.process_id));
            }
        }
        let start = Instant::now();
        while start.elapsed() < patience {
            if !is_running(record) {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
    }
    bail!("{} (process {}) does not end", record.name, record.process_id)
}

fn is_running(record: &Record) -> bool {
    start_time(record.process_id) == Some(record.start_time)
}

/// When a process started; nothing for one that is gone, or that has ended and only waits to be collected.
fn start_time(process_id: u32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?)
}

/// The second field is the command in parentheses and may hold spaces and parentheses; behind the last `)` the
/// state is the third field of the line and the start time the 22nd.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// The command line of a process; none of one that has ended, whether it was waited for or not.
#[cfg(test)]
pub(super) fn command_line(process_id: u32) -> String {
    fs::read_to_string(format!("/proc/{process_id}/cmdline")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 2000 100";

    #[test]
    fn the_start_time_is_found_behind_a_command_with_parentheses() {
        assert_eq!(parse_start_time(STAT), Some(777));
    }

    #[test]
    fn an_ended_process_that_waits_to_be_collected_is_not_running() {
        assert_eq!(parse_start_time(&STAT.replace(") S ", ") Z ")), None);
    }

    #[test]
    fn a_process_that_does_not_end_keeps_none_of_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Processes::open(directory.path()).unwrap();
        for name in ["first", "stuck", "last"] {
            processes.start(name, &mut sleep(), Duration::from_secs(5)).unwrap();
        }
        let hangs = |record: &Record| if record.name == "stuck" { bail!("stuck does not end") } else { stop(record) };
        assert_eq!(processes.stop_each(hangs).unwrap_err().to_string(), "stuck does not end");

        let mut left = Processes::recorded(directory.path()).unwrap();
        assert_eq!(["first", "stuck", "last"].map(|name| left.id_of(name).is_some()), [false, true, false]);
        left.stop_all().unwrap();
    }

    fn sleep() -> Command {
        let mut command = Command::new("sleep");
        command.arg("600");
        command
    }

    #[test]
    fn what_was_started_is_found_by_another_process_and_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Processes::open(directory.path()).unwrap();
        processes.start("sleeper", &mut sleep(), Duration::from_secs(5)).unwrap();
        processes.check_alive("sleeper").unwrap();

        let mut found = Processes::recorded(directory.path()).unwrap();
        found.check_alive("sleeper").unwrap();
        assert!(Processes::open(directory.path()).is_err(), "a folder in use is refused");
        found.stop_all().unwrap();
        assert!(processes.check_alive("sleeper").is_err());
    }

    #[test]
    fn a_process_that_only_has_the_recorded_id_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Processes::open(directory.path()).unwrap();
        processes.start("sleeper", &mut sleep(), Duration::from_secs(5)).unwrap();

        let mut mistaken = Processes::recorded(directory.path()).unwrap();
        mistaken.records[0].start_time += 1;
        mistaken.stop_all().unwrap();

        processes.check_alive("sleeper").unwrap();
        processes.stop_all().unwrap();
    }

    #[test]
    fn a_process_that_ignores_the_request_is_ended_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Processes::open(directory.path()).unwrap();
        let mut deaf = Command::new("sh");
        deaf.args(["-c", "trap '' TERM; while :; do sleep 0.05; done"]);
        processes.start("deaf", &mut deaf, Duration::from_secs(0)).unwrap();
        processes.stop_all().unwrap();
        assert!(processes.check_alive("deaf").is_err());
    }
}
