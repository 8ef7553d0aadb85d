//! What was seen of an instance.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Operation;
use crate::readiness::Answer;

/// What was seen of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSeen {
    /// `POSTGRES_15`
    pub version: String,
    /// `RUNNABLE`
    pub state: String,
    /// Whether somebody stopped it.
    pub stopped: bool,
    /// `europe-west1`
    pub region: String,
    /// The account that reads and writes buckets for it.
    pub service_account: String,
    /// Whether it may not be deleted.
    pub deletion_protection: bool,
    /// Whether it is backed up every day.
    pub automatic_backups: bool,
    /// Whether statements may be executed on it through the service.
    pub statements_allowed: bool,
    /// Whether accounts of Google Cloud may log in to its databases.
    pub account_login: bool,
    /// From when to when it can be cloned as it was.
    pub window: Option<(Timestamp, Timestamp)>,
    /// The databases on it.
    pub databases: Vec<String>,
    /// Its last operations, the newest first.
    pub operations: Vec<Operation>,
}

impl InstanceSeen {
    /// Whether its databases are PostgreSQL's: others cannot be renamed into place.
    pub fn is_postgresql(&self) -> bool {
        self.version.starts_with("POSTGRES")
    }
}

/// What was seen of an instance by somebody who also logged in to its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceExamined {
    /// What the service says.
    pub seen: InstanceSeen,
    /// Which of [`PERMISSIONS`](super::PERMISSIONS) we have in its project.
    pub granted: Answer<Vec<String>>,
    /// Who may log in to it, as the service lists them.
    pub users: Answer<Vec<String>>,
    /// What the database says that statements about others are executed in; `None`: nobody could ask.
    pub administration: Option<Answer<DatabaseSeen>>,
    /// What the policies of buckets say that its databases are exported to, by their names: the roles of the instance's account, each with whether it is given with
    /// a condition. Those that nobody asked are missing.
    pub buckets: BTreeMap<String, Answer<Vec<(String, bool)>>>,
    /// What the databases of the model say that are there; those that nobody could ask are missing.
    pub databases: BTreeMap<String, Answer<DatabaseSeen>>,
}

/// What a database on an instance says of itself, and of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSeen {
    /// As whom our statements are executed.
    pub account: String,
    /// Whether that user may see, mark and rename databases.
    pub administrator: bool,
    /// The server's version: `15.4`.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// Extensions, with their versions.
    pub extensions: Vec<(String, String)>,
}
