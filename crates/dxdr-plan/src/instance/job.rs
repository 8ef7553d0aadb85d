//! A piece of work on an instance, and an operation as the service shows it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// A piece of work that one run wants done on an instance, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique: the run, what in it, and which attempt.
    pub id: String,
    /// The run.
    pub run: String,
    /// Whose environment it is for.
    pub environment: String,
    /// Who goes first.
    pub priority: Priority,
    /// What is to be done.
    pub work: Work,
    /// Until then it may wait for its turn. What was accepted is never given up.
    pub deadline: Timestamp,
}

/// Who goes first at an instance; of equal ones the one that came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits for an environment.
    Restore,
    /// A rehearsal of that.
    Drill,
    /// A recovery point.
    Backup,
    /// An export that was tried before, or is one of many.
    RepeatedExport,
}

impl Priority {
    /// In a word, as ledgers and tables have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Drill => "drill",
            Self::Backup => "backup",
            Self::RepeatedExport => "repeated-export",
        }
    }
}

/// What is done on an instance, with what makes it recognisable: no two pieces of work of ours have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Databases are written to an object that does not exist before.
    Export {
        /// `gs://…`
        uri: String,
        /// On a machine of its own: everything but imports and exports may go on beside it.
        offloaded: bool,
    },
    /// An object is read into a database that is empty before.
    Import {
        /// `gs://…`
        uri: String,
        /// Into which.
        database: String,
    },
    /// A backup of the whole instance.
    Backup {
        /// What it is called.
        description: String,
    },
    /// Another instance is made as this one was at an instant.
    Clone {
        /// Its name.
        destination: String,
    },
    /// The instance, which is not there before, is made out of a backup.
    Restore {
        /// Its name.
        destination: String,
    },
    /// A backup of ours is removed. What the service shows of such an operation does not say which.
    DeleteBackup {
        /// The service's name for it.
        backup: String,
    },
    /// A database is made on the instance.
    CreateDatabase {
        /// Its name.
        database: String,
    },
    /// A database of ours is removed from the instance.
    DeleteDatabase {
        /// Its name.
        database: String,
    },
    /// The instance, which is ours, is removed.
    DeleteInstance,
    /// The instance gets labels. What the service shows of such an operation does not say which.
    Label,
    /// Anything that others do: `MAINTENANCE`.
    Other(String),
}

impl Work {
    /// Whether it is the same piece of work, not only of the same kind.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Export { uri, .. }, Self::Export { uri: theirs, .. }) => uri == theirs,
            (Self::Label | Self::Other(_), _) => false,
            (one, other) => one == other,
        }
    }

    /// Whether it cannot begin while `running` is not over.
    pub fn waits_for(&self, running: &Self) -> bool {
        match running {
            Self::Export { offloaded: true, .. } => matches!(self, Self::Export { .. } | Self::Import { .. }),
            _ => true,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Export { uri, .. } => write!(formatter, "export to {uri}"),
            Self::Import { uri, database } => write!(formatter, "import of {uri} into database `{database}`"),
            Self::Backup { description } => write!(formatter, "backup `{description}`"),
            Self::Clone { destination } => write!(formatter, "clone to instance `{destination}`"),
            Self::Restore { destination } => write!(formatter, "making of instance `{destination}` out of a backup"),
            Self::DeleteBackup { backup } => write!(formatter, "deletion of backup `{backup}`"),
            Self::CreateDatabase { database } => write!(formatter, "creation of database `{database}`"),
            Self::DeleteDatabase { database } => write!(formatter, "deletion of database `{database}`"),
            Self::DeleteInstance => formatter.write_str("deletion of the instance"),
            Self::Label => formatter.write_str("labelling of the instance"),
            Self::Other(kind) => formatter.write_str(kind),
        }
    }
}

/// An operation as the service shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The service's name for it.
    pub name: String,
    /// What it does.
    pub work: Work,
    /// How far it is.
    pub status: OperationStatus,
    /// Who asked for it, as far as the service tells.
    pub user: String,
    /// When it was accepted.
    pub accepted: Option<Timestamp>,
    /// When work on it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationStatus {
    /// Accepted, waiting for the instance.
    Pending,
    /// Being done.
    Running,
    /// Done, with success.
    Succeeded,
    /// Done, without.
    Failed(Box<Fault>),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What the service says of it, as `CODE: message`.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the instance's account was refused by the bucket.
    pub refused_by_bucket: bool,
}

impl Operation {
    /// Whether it still occupies the instance.
    pub fn is_running(&self) -> bool {
        matches!(self.status, OperationStatus::Pending | OperationStatus::Running)
    }

    /// From being accepted to its beginning.
    pub fn queued_for(&self) -> Option<SignedDuration> {
        Some(self.started?.duration_since(self.accepted?))
    }

    /// From its beginning to its end.
    pub fn worked_for(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started?))
    }
}
