//! PostgreSQL's own client programs: where they are, and what they say when they fail.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use dxdr_provider::{DatabaseError, DatabaseErrorKind};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::connection::Connection;

/// Names the folder with the programs, where more than one version is installed.
const FOLDER_VARIABLE: &str = "DXDR_POSTGRESQL_PROGRAMS";
/// As much as is kept of what a program says.
const SAID_LIMIT: usize = 64 << 10;

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Psql,
    Dump,
    Restore,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Psql => "psql",
            Self::Dump => "pg_dump",
            Self::Restore => "pg_restore",
        }
    }

    /// A command of it that reaches the server.
    pub(crate) fn command(self, connection: &Connection, described: &str) -> Result<Command, DatabaseError> {
        let mut command = Command::new(self.path(described)?);
        connection.prepare(&mut command, described)?;
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    fn path(self, described: &str) -> Result<PathBuf, DatabaseError> {
        let folders = match std::env::var_os(FOLDER_VARIABLE) {
            Some(folder) => vec![PathBuf::from(folder)],
            None => folders(Path::new("/usr/lib/postgresql"), std::env::var_os("PATH").as_deref()),
        };
        folders.iter().map(|folder| folder.join(self.name())).find(|path| path.is_file()).ok_or_else(|| DatabaseError {
            kind: DatabaseErrorKind::ProgramMissing,
            action: "reach",
            database: described.to_owned(),
            message: format!("`{}` is not installed here", self.name()),
            hint: Some(format!(
                "install PostgreSQL's client programs (Debian: postgresql-client), not older than the server, or name their folder in {FOLDER_VARIABLE}"
            )),
            source: None,
        })
    }

    /// What `--version` says: `pg_dump (PostgreSQL) 15.14`, and its major version.
    pub(crate) async fn version(self, described: &str) -> Result<(String, u32), DatabaseError> {
        let path = self.path(described)?;
        let output = Command::new(&path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output().await;
        let failed = |message: String| DatabaseError {
            kind: DatabaseErrorKind::ProgramMissing,
            action: "reach",
            database: described.to_owned(),
            message,
            hint: Some(format!("install PostgreSQL's client programs anew, or name their folder in {FOLDER_VARIABLE}")),
            source: None,
        };
        let output = output.map_err(|error| failed(format!("`{}` does not start: {error}", path.display())))?;
        let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
        match major(&text) {
            Some(major) if output.status.success() => Ok((text, major)),
            _ => Err(failed(format!("`{} --version` says `{text}`", path.display()))),
        }
    }
}

/// The major version in `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0)`, or in `15.14`.
pub(crate) fn major(version: &str) -> Option<u32> {
    let number = match version.split_once(") ") {
        Some((_, rest)) => rest,
        None => version,
    };
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Where the programs may be, the newest version first: a newer program reads an older server, never the other way round. On Debian
/// what PATH has is a script that chooses one of these.
fn folders(debian: &Path, path: Option<&OsStr>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(debian).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let on_path = path.into_iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
    versions.into_iter().map(|(_, folder)| folder).chain(on_path).collect()
}

/// Starts a program; what it says on stderr is collected.
pub(crate) fn start(mut command: Command, described: &str) -> Result<Started, DatabaseError> {
    let mut child = command.spawn().map_err(|error| DatabaseError {
        kind: DatabaseErrorKind::ProgramMissing,
        action: "reach",
        database: described.to_owned(),
        message: format!("`{}` does not start: {error}", Path::new(command.as_std().get_program()).display()),
        hint: None,
        source: None,
    })?;
    let said = tokio::spawn(collect(child.stderr.take()));
    Ok(Started { child, said })
}

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    said: JoinHandle<String>,
}

impl Started {
    /// Waits for its end: how it ended, and what it said on stderr.
    pub(crate) async fn ended(mut self) -> (std::io::Result<ExitStatus>, String) {
        drop(self.child.stdin.take());
        let status = self.child.wait().await;
        (status, self.said.await.unwrap_or_default())
    }
}

async fn collect(stream: Option<impl AsyncRead + Unpin>) -> String {
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    let Some(mut stream) = stream else { return String::new() };
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        let room = SAID_LIMIT.saturating_sub(said.len()).min(count);
        said.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_programs_and_servers_say() {
        assert_eq!(major("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major("psql (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major("16.3 (Debian 16.3-1)"), Some(16));
        assert_eq!(major("sh: not found"), None);
    }

    #[test]
    fn the_newest_installed_version_comes_first_and_relative_folders_never() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["9", "15", "16", "common"] {
            std::fs::create_dir(directory.path().join(version)).unwrap();
        }
        let found = folders(directory.path(), Some(OsStr::new("/usr/bin:relative:")));
        let expected = ["16/bin", "15/bin", "9/bin"].map(|name| directory.path().join(name));
        assert_eq!(found, [expected.to_vec(), vec![PathBuf::from("/usr/bin")]].concat());
    }
}
