//! Instances that are real servers: each a PostgreSQL cluster of its own, with the log from its first moment on.
//!
//! ```text
//! template (initialised once) ─► data ─► archive, a file for each piece of the log
//!                                base ─┐     │
//! clone as of an instant:        copy ◄┘ ◄───┘ up to the last transaction that was committed by then
//! ```
//!
//! The superuser is `cloudsqladmin`, as it is there; who executes statements is `postgres`, which is none. What asks here blocks, so operations run it on threads of their own.

mod cluster;
mod execution;
mod programs;
mod recovery;
mod session;
mod stream;
pub(crate) mod work;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use dxdr_postgresql_server::{Installation, account};

pub(crate) use cluster::Cluster;
pub(crate) use execution::execute;
pub(crate) use recovery::Copy;
pub(crate) use session::SqlError;

/// The superuser, whom nobody outside of this module becomes.
const ADMINISTRATOR: &str = "cloudsqladmin";
/// Whom databases belong to that the API creates, and of whom all users are members that it creates.
const OWNER: &str = "cloudsqlsuperuser";
/// Who executes statements when nobody else is named.
pub(crate) const USER: &str = "postgres";

/// What a cluster begins with. A superuser of one's own is what Cloud SQL gives nobody.
const ROLES: &str = "CREATE ROLE cloudsqlsuperuser CREATEDB CREATEROLE;\
    GRANT pg_signal_backend, pg_monitor TO cloudsqlsuperuser;\
    CREATE ROLE postgres LOGIN CREATEDB CREATEROLE IN ROLE cloudsqlsuperuser;\
    ALTER DATABASE postgres OWNER TO cloudsqlsuperuser;";

/// All servers of an emulator, in one folder.
pub(crate) struct Servers {
    installation: Installation,
    known: Mutex<Known>,
    closed: Arc<AtomicBool>,
}

struct Known {
    /// `None` once everything is over.
    directory: Option<tempfile::TempDir>,
    template: Option<Arc<Path>>,
    clusters: Vec<Weak<Cluster>>,
    /// How many folders were made.
    folders: u64,
}

impl Servers {
    pub(crate) fn new(installation: Installation) -> io::Result<Self> {
        let directory = Some(account::directory()?);
        let known = Known { directory, template: None, clusters: Vec::new(), folders: 0 };
        Ok(Self { installation, known: Mutex::new(known), closed: Arc::default() })
    }

    /// A new, empty server that runs.
    pub(crate) fn create(&self) -> io::Result<Arc<Cluster>> {
        let template = self.template()?;
        let cluster = self.place(template)?;
        cluster.begin()?;
        Ok(cluster)
    }

    /// The cluster of which all others are copies; made when the first one is needed.
    fn template(&self) -> io::Result<Arc<Path>> {
        // Held meanwhile: the others want the same one.
        let mut known = self.known();
        if let Some(template) = &known.template {
            return Ok(Arc::clone(template));
        }
        let folder = known.folder()?;
        let data = folder.join("data");
        self.installation
            .initialize(&data, [format!("--username={ADMINISTRATOR}"), "--auth=trust".to_owned(), SEGMENT.to_owned()])?;
        let template: Arc<Path> = data.into();
        let cluster = self.register(&mut known, folder, Arc::clone(&template));
        cluster.prepare(ROLES)?;
        cluster.keep_files();
        known.template = Some(Arc::clone(&template));
        Ok(template)
    }

    /// A place for a cluster that begins as a copy of `base`.
    fn place(&self, base: Arc<Path>) -> io::Result<Arc<Cluster>> {
        let mut known = self.known();
        let folder = known.folder()?;
        Ok(self.register(&mut known, folder, base))
    }

    fn register(&self, known: &mut Known, folder: PathBuf, base: Arc<Path>) -> Arc<Cluster> {
        let cluster = Arc::new(Cluster::new(self.installation.clone(), folder, base, Arc::clone(&self.closed)));
        known.clusters.retain(|cluster| cluster.strong_count() > 0);
        known.clusters.push(Arc::downgrade(&cluster));
        cluster
    }

    /// Ends every server, also those that are being made, and removes their files.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let (directory, clusters) = {
            let mut known = self.known();
            (known.directory.take(), std::mem::take(&mut known.clusters))
        };
        clusters.iter().filter_map(Weak::upgrade).for_each(|cluster| cluster.end());
        drop(directory);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pieces of the log are small: an unfinished one is handed over with every clone.
const SEGMENT: &str = "--wal-segsize=1";

impl Known {
    fn folder(&mut self) -> io::Result<PathBuf> {
        let directory = self.directory.as_ref().ok_or_else(over)?;
        self.folders += 1;
        let folder = directory.path().join(self.folders.to_string());
        account::create_directory(&folder)?;
        Ok(folder)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.close();
    }
}

fn over() -> io::Error {
    io::Error::other("the emulator has ended")
}

/// Copies a folder of the account's as the account.
fn copy(installation: &Installation, from: &Path, to: &Path) -> io::Result<()> {
    let status = installation.system_command("cp").arg("-Rp").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{} cannot be copied ({status})", from.display()))) }
}

/// Removes a folder; one that is not there is removed.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
