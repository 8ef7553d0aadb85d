//! Clusters out of what others were: as of an instant, and from backups.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use dxdr_postgresql_server::account;
use jiff::Timestamp;

use super::{ADMINISTRATOR, Cluster, Servers, cluster::quoted, copy, remove};

/// How long a piece of the log may take into the archive. Two loaded cores may take long.
const ARCHIVED: Duration = Duration::from_secs(180);

impl Servers {
    /// A cluster that is what `source` was: everything that had been committed by then is in it, and nothing else. `None`: as it is now.
    pub(crate) fn clone_of(&self, source: &Cluster, at: Option<Timestamp>) -> io::Result<Arc<Cluster>> {
        source.hand_over(at)?;
        let cluster = self.place(source.base())?;
        copy(&cluster.installation, &cluster.base(), &cluster.data())?;
        account::write(&cluster.data().join("recovery.signal"), "")?;
        let place = quoted(&source.archive()).replace('%', "%%");
        let mut settings = vec!["archive_mode=off".to_owned(), format!("restore_command=cp {place}/%f \"%p\"")];
        if let Some(at) = at {
            // PostgreSQL tells microseconds, and takes what was committed at that one. `Z` is an abbreviation, of which it knows none while it reads its settings.
            let at = format!("{at:.6}").replace('T', " ").replace('Z', "+00");
            settings.push(format!("recovery_target_time={at}"));
            settings.push("recovery_target_action=promote".to_owned());
        }
        cluster.start(&settings)?;
        cluster.await_answer("SELECT pg_is_in_recovery()")?;
        cluster.begin_anew()?;
        Ok(cluster)
    }

    /// The files of a cluster, which goes on.
    pub(crate) fn copy_of(&self, source: &Cluster) -> io::Result<Arc<Copy>> {
        let copy = Copy { folder: self.known().folder()? };
        source.back_up(&copy.data())?;
        Ok(Arc::new(copy))
    }

    /// Another cluster out of such files.
    pub(crate) fn out_of(&self, backup: &Copy) -> io::Result<Arc<Cluster>> {
        let cluster = self.place(backup.data().into())?;
        cluster.restore(backup)?;
        Ok(cluster)
    }
}

/// The files of a cluster as it was. They go with the last who knows them.
#[derive(Debug)]
pub(crate) struct Copy {
    folder: PathBuf,
}

impl Copy {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            tracing::warn!(%error, "a backup stays in {}", self.folder.display());
        }
    }
}

impl Cluster {
    /// Stops, takes what is there for the base, and goes on with a log of its own.
    fn begin_anew(&self) -> io::Result<()> {
        self.stop();
        let base = self.folder.join("base");
        remove(&base)?;
        copy(&self.installation, &self.data(), &base)?;
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = base.into();
        self.log_from_here()
    }

    /// Sees to it that the archive has everything up to `at`, and a transaction behind it: PostgreSQL knows that it has seen everything up to an instant when it has seen
    /// something later.
    fn hand_over(&self, at: Option<Timestamp>) -> io::Result<()> {
        // Two that are within a microsecond are one to PostgreSQL.
        let late_enough = |at: Timestamp| Timestamp::now().duration_since(at) >= jiff::SignedDuration::from_millis(2);
        while at.is_some_and(|at| !late_enough(at)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.commit_something()?;
        let answers = self.administer("postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
        let piece = answers.map_err(io::Error::other)?.first().and_then(|answer| answer.first_value()).unwrap_or_default();
        let end = Instant::now() + ARCHIVED;
        loop {
            self.administer("postgres", "SELECT pg_switch_wal()").map_err(io::Error::other)?;
            let next_try = (Instant::now() + Duration::from_secs(1)).min(end);
            while Instant::now() < next_try {
                if self.archived(&piece)? {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            if Instant::now() >= end {
                return Err(io::Error::other(format!("the log of {} is not archived", self.folder.display())));
            }
            // A piece without anything in it is not handed over.
            self.commit_something()?;
        }
    }

    fn commit_something(&self) -> io::Result<()> {
        self.administer("postgres", "SELECT txid_current()").map(drop).map_err(io::Error::other)
    }

    /// Whether that piece of the log, or a later one, is in the archive.
    fn archived(&self, piece: &str) -> io::Result<bool> {
        for entry in fs::read_dir(self.archive())? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.len() == piece.len() && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && *name >= *piece {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies the cluster while it runs.
    fn back_up(&self, to: &Path) -> io::Result<()> {
        let mut command = self.client("pg_basebackup", ADMINISTRATOR, "postgres");
        // What the database is called is for programs that connect to one.
        command.env_remove("PGDATABASE").arg("--pgdata").arg(to);
        command.args(["--wal-method=fetch", "--checkpoint=fast", "--no-sync", "--no-password"]);
        let output = command.stderr(std::process::Stdio::piped()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    /// Becomes what such a copy is. Its log begins anew: there is no way back to before.
    pub(crate) fn restore(&self, backup: &Copy) -> io::Result<()> {
        self.stop();
        remove(&self.data())?;
        copy(&self.installation, &backup.data(), &self.data())?;
        // It is consistent once it has read its own log to the end.
        self.start(&["archive_mode=off".to_owned()])?;
        self.begin_anew()
    }
}
