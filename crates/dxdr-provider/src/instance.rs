//! Instances of a managed database service (Cloud SQL): what may be asked of them, one operation at a time each.
//!
//! ```text
//! submit ─► the name of an operation ─► operation, until it ended ─► succeeded, or failed, which only the operation says
//! ```

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use jiff::Timestamp;

/// The service.
#[async_trait]
pub trait Instances: Debug + Send + Sync {
    /// What and where it is, for people: `Cloud SQL at https://…`. Never credentials.
    fn describe(&self) -> String;

    /// What is known of an instance.
    async fn instance(&self, instance: &InstanceName) -> Result<Instance, InstanceError>;

    /// All instances of a project.
    async fn instances(&self, project: &str) -> Result<Vec<Instance>, InstanceError>;

    /// Between which instants a clone of it can be made; `None` where its log is not kept.
    async fn recovery_window(&self, instance: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError>;

    /// The databases on it, as the service lists them.
    async fn databases(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError>;

    /// Who may log in to it, as the service lists them. Of PostgreSQL they are roles; there may be more of those than are listed.
    async fn users(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError>;

    /// The backups of it that there are, the newest first. Those of an instance that is gone may be kept, and are among them.
    async fn backups(&self, instance: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError>;

    /// Its last operations, the newest first: those that run, and some that ended.
    async fn operations(&self, instance: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError>;

    /// One operation by its name; `None` when the service does not know it (any more).
    async fn operation(&self, project: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError>;

    /// Asks for something, once: it is not sent again whatever the answer. Answers the name of the operation.
    ///
    /// [`InstanceErrorKind::Busy`] and every other error whose kind is [`definite`](InstanceErrorKind::definite): it was not accepted. Any
    /// other error: nobody knows.
    async fn submit(&self, instance: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError>;

    /// Which of these permissions we have in a project. One that is given for some of its instances alone may be missing here.
    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<Vec<String>, InstanceError>;

    /// Runs a statement in a database and answers its rows.
    async fn execute(&self, instance: &InstanceName, database: &str, statement: &str) -> Result<Rows, InstanceError>;
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: InstanceName,
    /// `POSTGRES_15`
    pub version: String,
    /// `RUNNABLE`, `SUSPENDED`, …
    pub state: String,
    /// Whether somebody stopped it, so that nothing can be done on it.
    pub stopped: bool,
    /// `europe-west1`
    pub region: String,
    /// The account that reads and writes buckets for it. Not the caller's.
    pub service_account: String,
    /// Whether it is protected from being deleted.
    pub deletion_protection: bool,
    /// Whether it is backed up every day.
    pub automatic_backups: bool,
    /// Whether its log is kept, so that a clone of an instant can be made.
    pub log_kept: bool,
    /// For how many days.
    pub log_days: Option<u32>,
    /// Whether statements may be executed on it through the service.
    pub statements_allowed: bool,
    /// Whether accounts of Google Cloud may log in to its databases.
    pub account_login: bool,
    /// Labels that users gave it.
    pub labels: BTreeMap<String, String>,
    /// Gigabytes of its disk.
    pub disk_gigabytes: Option<u64>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

/// From when to when the log of an instance goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryWindow {
    /// The first instant.
    pub earliest: Timestamp,
    /// The last one, which moves on.
    pub latest: Timestamp,
}

/// A backup of a whole instance, which the service keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceBackup {
    /// `projects/PROJECT/backups/ID`: by it, another instance is made of it.
    pub name: String,
    /// Who made it.
    pub origin: BackupOrigin,
    /// What it is called, if somebody asked for it.
    pub description: String,
    /// Whether it is whole, so that an instance can be made of it.
    pub whole: bool,
    /// Everything that was written up to then is in it.
    pub started: Option<Timestamp>,
    /// Nothing that was written later is in it.
    pub ended: Option<Timestamp>,
    /// Bytes that are paid for, at most.
    pub size: Option<u64>,
    /// When the service removes it, where that is said.
    pub expires: Option<Timestamp>,
}

/// Who made a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupOrigin {
    /// The service, every day; as many are kept as the instance says.
    Automatic,
    /// Somebody asked for it; it is kept until somebody deletes it.
    Requested,
    /// The service, when the instance was deleted.
    Final,
    /// Anything else.
    Other,
}

/// What may be asked of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceRequest {
    /// Write a database to an object of Cloud Storage that is not there yet.
    Export {
        /// Which.
        database: String,
        /// `gs://BUCKET/OBJECT`; compressed where it ends in `.gz`.
        uri: String,
        /// On a machine of its own.
        offload: bool,
    },
    /// Read an object into an empty database.
    Import {
        /// Which.
        database: String,
        /// `gs://BUCKET/OBJECT`
        uri: String,
    },
    /// A backup of the whole instance.
    Backup {
        /// What it is called, to be found again.
        description: String,
    },
    /// Another instance, as this one was.
    Clone {
        /// Its name, in the same project.
        destination: String,
        /// When; `None`: now.
        at: Option<Timestamp>,
    },
    /// The instance itself, which is not there yet, out of a backup of another one. Whether one that is there would be overwritten is documented nowhere.
    Restore {
        /// [`InstanceBackup::name`]
        backup: String,
        /// Labels that it has from its beginning; it may be deleted.
        labels: BTreeMap<String, String>,
    },
    /// Remove a backup.
    DeleteBackup {
        /// [`InstanceBackup::name`]
        backup: String,
    },
    /// An empty database.
    CreateDatabase {
        /// Its name.
        database: String,
    },
    /// Remove a database.
    DeleteDatabase {
        /// Its name.
        database: String,
    },
    /// Give the instance these labels besides those it has, and the protection from deletion that is said.
    Label {
        /// The labels.
        labels: BTreeMap<String, String>,
        /// `None`: as it is.
        deletion_protection: Option<bool>,
    },
    /// Remove the instance.
    Delete,
}

/// An operation of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceOperation {
    /// The service's name for it.
    pub name: String,
    /// `EXPORT`, `MAINTENANCE`, …
    pub kind: String,
    /// The object that an export writes or an import reads.
    pub uri: Option<String>,
    /// The databases that it names.
    pub databases: Vec<String>,
    /// Whether it runs on a machine of its own.
    pub offloaded: bool,
    /// The instance it is about: of a clone, or of what is made out of a backup, the new one.
    pub target: String,
    /// The description of the backup that it makes.
    pub description: Option<String>,
    /// Who asked for it, as far as the service tells.
    pub user: String,
    /// When it was accepted.
    pub accepted: Option<Timestamp>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How far it is.
    pub state: OperationState,
}

/// How far an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationState {
    /// Accepted, not begun.
    Pending,
    /// Being done.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended, and nothing was achieved.
    Failed(OperationFailure),
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationFailure {
    /// What kind of failure it is.
    pub kind: InstanceErrorKind,
    /// `CODE: message` of the service, several behind one another.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Rows of a query, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values; `None` is NULL.
    pub values: Vec<Vec<Option<String>>>,
    /// Whether there were more: what is here proves nothing then.
    pub truncated: bool,
}

/// What went wrong with an instance.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {what}: {message}")]
pub struct InstanceError {
    /// What kind of failure it is; callers decide by this.
    pub kind: InstanceErrorKind,
    /// What was tried: `export`, `look at`, …
    pub action: &'static str,
    /// To what: ``instance `projects/p/instances/i` ``.
    pub what: String,
    /// What the service said.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The cause below, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of failure a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceErrorKind {
    /// Another operation is in progress.
    Busy,
    /// No such instance, database or operation; or no such project.
    NotFound,
    /// The API is not switched on in the project.
    Disabled,
    /// The caller may not do this.
    Forbidden,
    /// The credentials are missing or not accepted.
    Unauthenticated,
    /// The account of the instance may not write or read the bucket.
    BucketForbidden,
    /// The object of an export is there already.
    ObjectExists,
    /// The name is taken, or was until a few days ago.
    NameTaken,
    /// The instance is stopped.
    Stopped,
    /// The instant is not in the recovery window.
    OutsideWindow,
    /// It is protected from being deleted.
    Protected,
    /// A quota is used up.
    Quota,
    /// Too many requests.
    Throttled,
    /// The request makes no sense to the service.
    Invalid,
    /// Nothing answers there.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The service failed (5xx).
    Unavailable,
    /// Nothing was sent: what has to be known before could not be found out for now.
    NotSent,
    /// The answer cannot be understood.
    Malformed,
    /// Anything else.
    Other,
}

impl InstanceErrorKind {
    /// Whether a request that ended so was certainly not accepted.
    pub fn definite(self) -> bool {
        !matches!(self, Self::Unreachable | Self::TimedOut | Self::Unavailable | Self::Malformed | Self::Other)
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Busy | Self::Throttled | Self::Unreachable | Self::TimedOut | Self::Unavailable | Self::NotSent)
    }
}
