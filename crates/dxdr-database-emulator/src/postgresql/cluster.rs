//! One cluster: its folder, and the server that runs on it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dxdr_postgresql_server::{Installation, Server, account};

use super::{
    ADMINISTRATOR, OWNER, copy, over, remove,
    session::{Session, SqlError},
};

/// How long a server may take until it answers. Two loaded cores may take long.
const STARTED: Duration = Duration::from_secs(180);
/// How long a statement of an operation may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server with its files: `data`, the pieces of its log in `archive`, and what it was at its beginning.
pub(crate) struct Cluster {
    pub(super) installation: Installation,
    pub(super) folder: PathBuf,
    /// What the log begins at.
    pub(super) base: Mutex<Arc<Path>>,
    process: Mutex<Option<Server>>,
    files_stay: AtomicBool,
    closed: Arc<AtomicBool>,
}

impl Cluster {
    pub(super) fn new(installation: Installation, folder: PathBuf, base: Arc<Path>, closed: Arc<AtomicBool>) -> Self {
        let (base, process) = (Mutex::new(base), Mutex::new(None));
        Self { installation, folder, base, process, files_stay: AtomicBool::new(false), closed }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn archive(&self) -> PathBuf {
        self.folder.join("archive")
    }

    pub(super) fn base(&self) -> Arc<Path> {
        Arc::clone(&self.base.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts on a copy of the base, with a log of its own.
    pub(super) fn begin(&self) -> io::Result<()> {
        copy(&self.installation, &self.base(), &self.data())?;
        self.log_from_here()
    }

    /// Starts with a log that begins at what there is.
    pub(super) fn log_from_here(&self) -> io::Result<()> {
        let archive = self.archive();
        remove(&archive)?;
        account::create_directory(&archive)?;
        // Under its own name a piece is whole. `%` is PostgreSQL's.
        let place = quoted(&archive).replace('%', "%%");
        let command = format!("archive_command=cp \"%p\" {place}/%f.part && mv {place}/%f.part {place}/%f");
        self.start(&["archive_mode=on".to_owned(), command])
    }

    /// Executes statements in a server that does nothing else, and stops it.
    pub(super) fn prepare(&self, statements: &str) -> io::Result<()> {
        self.start(&["archive_mode=off".to_owned()])?;
        self.administer("postgres", statements).map_err(io::Error::other)?;
        self.stop();
        Ok(())
    }

    /// Starts, and waits until it answers.
    pub(super) fn start(&self, settings: &[String]) -> io::Result<()> {
        let socket = format!("unix_socket_directories=\"{}\"", self.folder.display());
        let own = [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "port=5432",
            "fsync=off",
            "shared_buffers=16MB",
            "max_connections=40",
            "autovacuum=off",
            "jit=off",
        ];
        let settings: Vec<String> = own.into_iter().map(str::to_owned).chain([socket]).chain(settings.iter().cloned()).collect();
        {
            let mut process = self.process();
            // Asked under the lock that `end` takes: what is started here is ended there.
            if self.closed.load(Ordering::SeqCst) {
                return Err(over());
            }
            *process = Some(self.installation.start(&self.data(), &settings, Some(&self.said()))?);
        }
        self.await_answer("SELECT 1")
    }

    /// Waits until a query can be asked, and answers a first value that is neither empty nor `t`.
    pub(super) fn await_answer(&self, query: &str) -> io::Result<()> {
        let end = Instant::now() + STARTED;
        while Instant::now() < end {
            if self.closed.load(Ordering::SeqCst) {
                return Err(over());
            }
            if self.process().as_mut().is_none_or(Server::has_ended) {
                break;
            }
            let answer = self.administer("postgres", query).ok().and_then(|results| results.first()?.first_value());
            if answer.is_some_and(|value| value != "t") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let said = fs::read_to_string(self.said()).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Err(io::Error::other(format!("PostgreSQL in {} does not come up: {}", self.folder.display(), last.join("; "))))
    }

    /// Stops the server in good order, so that its files can be copied.
    pub(super) fn stop(&self) {
        if let Some(mut server) = self.process().take() {
            server.stop();
        }
    }

    /// Stops the server at once.
    pub(crate) fn end(&self) {
        if let Some(mut server) = self.process().take() {
            server.end();
        }
    }

    /// Others begin as copies of it: its files outlive it.
    pub(super) fn keep_files(&self) {
        self.files_stay.store(true, Ordering::SeqCst);
    }

    fn process(&self) -> MutexGuard<'_, Option<Server>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// A session in a database, which ends every statement that takes longer than `limit`.
    pub(super) fn session(&self, user: &str, database: &str, limit: Duration) -> Result<Session, SqlError> {
        Session::open(&self.folder, user, database, limit)
    }

    /// Executes statements as the superuser.
    pub(super) fn administer(&self, database: &str, statements: &str) -> Result<Vec<super::session::Answer>, SqlError> {
        self.session(ADMINISTRATOR, database, PATIENCE)?.ask(statements)
    }

    fn names(&self, query: &str) -> Result<Vec<String>, SqlError> {
        let answers = self.administer("postgres", query)?;
        let rows = answers.into_iter().flat_map(|answer| answer.rows);
        Ok(rows.filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    pub(crate) fn database_names(&self) -> Result<Vec<String>, SqlError> {
        self.names("SELECT datname FROM pg_catalog.pg_database WHERE NOT datistemplate ORDER BY 1")
    }

    pub(crate) fn user_names(&self) -> Result<Vec<String>, SqlError> {
        self.names("SELECT rolname FROM pg_catalog.pg_roles WHERE rolcanlogin AND rolname <> 'cloudsqladmin' ORDER BY 1")
    }

    pub(crate) fn create_database(&self, name: &str) -> Result<(), SqlError> {
        self.administer("postgres", &format!("CREATE DATABASE {} OWNER {OWNER}", identifier(name))).map(drop)
    }

    pub(crate) fn delete_database(&self, name: &str) -> Result<(), SqlError> {
        self.administer("postgres", &format!("DROP DATABASE {}", identifier(name))).map(drop)
    }

    pub(crate) fn create_user(&self, name: &str) -> Result<(), SqlError> {
        let statement = format!("CREATE ROLE {} LOGIN CREATEDB CREATEROLE IN ROLE {OWNER}", identifier(name));
        self.administer("postgres", &statement).map(drop)
    }

    pub(crate) fn delete_user(&self, name: &str) -> Result<(), SqlError> {
        self.administer("postgres", &format!("DROP ROLE {}", identifier(name))).map(drop)
    }

    /// A client program that connects as that user.
    pub(super) fn client(&self, program: &str, user: &str, database: &str) -> Command {
        let mut command = self.installation.command(program);
        command.env("PGHOST", &self.folder).env("PGPORT", "5432").env("PGUSER", user).env("PGDATABASE", database);
        command
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cluster").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
        if !self.files_stay.load(Ordering::SeqCst) {
            // What cannot be removed goes with the folder of all.
            let _ = remove(&self.folder);
        }
    }
}

/// A name in SQL.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A path for a shell.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
