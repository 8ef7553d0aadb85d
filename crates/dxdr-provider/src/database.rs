//! One database on one server, as much of it as a backup and a restore need.
//!
//! ```text
//! backup    inspect ─► hold (its instant is fixed) ─► dump (into the store, however long that takes)
//! restore   examine ─► load (under a new name, beside) ─► swap (by renaming, both at once) ─► or swap back
//! ```
//!
//! What is made is marked with the run that made it. Nothing is removed, and nothing replaced, that does not carry such a mark.

use std::{fmt, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use dxdr_environment::{DatabaseFacts, DatabaseUnit};
use jiff::Timestamp;

use crate::ObjectStorage;

/// Finds the way to databases.
#[async_trait]
pub trait Databases: Debug + Send + Sync {
    /// Opens `unit` of the environment in `namespace`: its address and credentials are looked up, and it answers.
    async fn open(&self, namespace: &str, unit: &DatabaseUnit) -> Result<Arc<dyn Database>, DatabaseError>;
}

/// A database.
#[async_trait]
pub trait Database: Debug + Send + Sync {
    /// What and where it is, for people: `PostgreSQL database "orders" at postgres.staging.svc:5432`. Never credentials.
    fn describe(&self) -> String;

    /// Looks at it: what it is like, and whether it can be dumped. An error is the reason why it cannot. Changes nothing.
    async fn inspect(&self) -> Result<DatabaseFacts, DatabaseError>;

    /// Fixes the instant: what is dumped afterwards is the database as it is now. Short, since applications may be holding still: who asks
    /// gives up after seconds, by dropping the future. Dropping what is held lets go of it.
    async fn hold(&self, place: &DumpPlace) -> Result<Box<dyn HeldDatabase>, DatabaseError>;

    /// What loading would meet. Changes nothing.
    async fn examine(&self, load: &Load) -> Result<Examined, DatabaseError>;

    /// Makes a new database of the dump in `place`, whole or not at all. Done again by the same run, it begins anew.
    async fn load(&self, load: &Load, place: &DumpPlace) -> Result<(), DatabaseError>;

    /// Puts one database in the place of another, whole or not at all, and cuts the connections to both. Done again, it finds that
    /// it was done.
    async fn swap(&self, swap: &Swap) -> Result<(), DatabaseError>;

    /// Whether the swap was done, by what is there: for whoever finds that an earlier process began it. Changes nothing.
    async fn swapped(&self, swap: &Swap) -> Result<bool, DatabaseError>;

    /// Drops the database of that name if it carries the mark of `run`; `Ok(false)` when there is none.
    async fn discard(&self, name: &str, run: &str) -> Result<bool, DatabaseError>;
}

/// A database whose instant is fixed.
#[async_trait]
pub trait HeldDatabase: Debug + Send {
    /// The instant, by the clock of the database: everything committed before is in it.
    fn instant(&self) -> Timestamp;

    /// What the database is like at the instant.
    fn facts(&self) -> &DatabaseFacts;

    /// Puts it into the place that was named when it was held. An object that is there already is replaced: a run that was killed
    /// left it.
    async fn dump(self: Box<Self>) -> Result<Dumped, DatabaseError>;
}

/// Where a dump goes, or lies.
#[derive(Debug, Clone)]
pub struct DumpPlace {
    /// The store.
    pub storage: Arc<dyn ObjectStorage>,
    /// Key below the store's root.
    pub key: String,
    /// SHA-256 of the dump, where it is there and known.
    pub sha256: Option<[u8; 32]>,
}

/// A dump in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Bytes.
    pub size: u64,
    /// Of the bytes.
    pub sha256: [u8; 32],
}

/// A database that is to be made of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The name it gets.
    pub name: String,
    /// What it was like.
    pub facts: DatabaseFacts,
    /// Bytes of the dump, where known.
    pub size: Option<u64>,
    /// The run that makes it.
    pub run: String,
}

/// What loading would meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Examined {
    /// What stands in the way.
    pub problems: Vec<DatabaseProblem>,
    /// What may stand in the way: only loading it tells.
    pub doubts: Vec<DatabaseProblem>,
    /// Whether a database of the original's name is there.
    pub original: bool,
    /// Connections to it that a swap would cut.
    pub connections: u64,
}

/// Why a dump could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseProblem {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Two databases that change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The name that applications know.
    pub name: String,
    /// What takes its place.
    pub from: String,
    /// What the one that has the name now is called afterwards, if there is one.
    pub kept: String,
    /// The run that does it.
    pub run: String,
}

impl Swap {
    /// What undoes it.
    pub fn reversed(&self) -> Self {
        Self { name: self.name.clone(), from: self.kept.clone(), kept: self.from.clone(), run: self.run.clone() }
    }
}

/// What went wrong with a database.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {database}: {message}")]
pub struct DatabaseError {
    /// What kind of failure it is; callers decide by this.
    pub kind: DatabaseErrorKind,
    /// What was tried: `reach`, `dump`, `load`, `swap`, …
    pub action: &'static str,
    /// [`Database::describe`], or the unit's name before it was opened.
    pub database: String,
    /// What happened, without what is said above.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The cause below, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of failure a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseErrorKind {
    /// Nothing answers there.
    Unreachable,
    /// It did not answer, or was not done, in time.
    TimedOut,
    /// The credentials are missing or not accepted.
    Unauthenticated,
    /// The connection cannot be protected as asked.
    Insecure,
    /// There is no database, or no instance, of that name.
    NotFound,
    /// The account may not do this.
    Forbidden,
    /// Server, dump and programs are of versions that do not go together.
    VersionMismatch,
    /// A program that is needed is not installed.
    ProgramMissing,
    /// Roles, extensions or locales that the dump needs are not there.
    Unprepared,
    /// Something else has the name.
    NameTaken,
    /// Something else is going on there; later it may work.
    Busy,
    /// It is protected from this, or shared with others.
    Protected,
    /// The database's disk is full, or a quota is used up.
    Full,
    /// The store failed, not the database.
    Store,
    /// What is in the store is not what was written.
    Corrupt,
    /// This cannot be done with such a database.
    Unsupported,
    /// Anything else.
    Other,
}

impl DatabaseErrorKind {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Busy)
    }
}

impl fmt::Display for DatabaseProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.message, self.remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_that_is_undone_leaves_everything_as_it_was() {
        let swap = Swap { name: "orders".to_owned(), from: "new".to_owned(), kept: "old".to_owned(), run: "run".to_owned() };
        let mut databases = vec!["orders", "new"];
        let rename = |databases: &mut Vec<&'static str>, from: &str, to: &'static str| {
            let place = databases.iter().position(|name| *name == from).unwrap();
            databases[place] = to;
        };
        rename(&mut databases, &swap.name, "old");
        rename(&mut databases, &swap.from, "orders");
        assert_eq!(databases, ["old", "orders"]);
        let back = swap.reversed();
        assert_eq!((back.name.as_str(), back.from.as_str(), back.kept.as_str()), ("orders", "old", "new"));
        rename(&mut databases, &back.name, "new");
        rename(&mut databases, &back.from, "orders");
        assert_eq!(databases, ["orders", "new"]);
        assert_eq!(back.reversed(), swap);
    }
}
