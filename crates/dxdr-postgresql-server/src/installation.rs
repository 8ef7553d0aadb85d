//! Where PostgreSQL's programs are, and what is started of them.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Server, account};

/// A PostgreSQL that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    programs: PathBuf,
}

impl Installation {
    /// The newest that Debian installed, else the one on the `PATH`; `None` where there is none.
    pub fn find() -> Option<Self> {
        let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> =
            entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
        versions.sort();
        let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let folders = versions.into_iter().rev().map(|(_, folder)| folder).chain(on_path);
        folders.into_iter().find(|folder| folder.join("initdb").is_file()).map(|programs| Self { programs })
    }

    /// The folder in which the programs are.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// One of the programs, run as the account that servers run as. Nothing of the environment tells it whom to connect to, and its streams lead nowhere.
    pub fn command(&self, program: &str) -> Command {
        self.command_at(&self.programs.join(program))
    }

    /// A program of the system, run in the same way.
    pub fn system_command(&self, program: &str) -> Command {
        self.command_at(Path::new(program))
    }

    fn command_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        account::lower(&mut command);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Makes a cluster in `data`, which must not be there yet and whose parent is the account's.
    pub fn initialize<Argument: AsRef<OsStr>>(
        &self,
        data: &Path,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> io::Result<()> {
        let mut initdb = self.command("initdb");
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync"]).args(arguments).arg("--pgdata").arg(data);
        run(&mut initdb)
    }

    /// Starts a server on `data`. It is not ready yet; what it says goes to the end of `log`, or nowhere.
    pub fn start(&self, data: &Path, settings: &[String], log: Option<&Path>) -> io::Result<Server> {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(data);
        for setting in settings {
            postgres.arg("-c").arg(setting);
        }
        if let Some(log) = log {
            postgres.stderr(fs::OpenOptions::new().create(true).append(true).open(log)?);
        }
        Ok(Server::new(postgres.spawn()?))
    }
}

/// Runs a command to its end; what it says when it fails is the error.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stderr(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} failed ({}): {}", output.status, said.trim())))
}
