//! Why a run cannot go on.

use dxdr_environment::ObjectReference;
use dxdr_format::velero::archive::ArchiveError;
use dxdr_provider::{ClusterError, DatabaseError, StorageError};

/// A run's failure. What it left behind is in its journal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The cluster failed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A database failed where that is not a matter of that database alone.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// An archive cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An archive of the store cannot be read.
    #[error("cannot restore from `{key}` in {store}")]
    Unrestorable {
        /// Its key.
        key: String,
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// An object of the store cannot be understood.
    #[error("cannot understand `{key}` in {store}")]
    Format {
        /// Its key.
        key: String,
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: dxdr_format::FormatError,
    },
    /// An object that the manifest names, or that every backup has, is gone.
    #[error("`{key}` is missing in {store}, without it the recovery point cannot be restored")]
    Missing {
        /// Its key.
        key: String,
        /// The store.
        store: String,
    },
    /// What is stored is not what the manifest says.
    #[error("`{key}` in {store} is not what was written: its SHA-256 is {found}, the manifest says {expected}")]
    Checksum {
        /// Its key.
        key: String,
        /// The store.
        store: String,
        /// What the manifest says.
        expected: String,
        /// What was read.
        found: String,
    },
    /// Another process writes this run's journal.
    #[error("run `{run}` is being carried out by another process: entry {sequence} of its journal was written by somebody else")]
    JournalTaken {
        /// The run.
        run: String,
        /// The entry that was taken.
        sequence: u32,
    },
    /// Another run holds the environment.
    #[error("environment `{environment}` is held by {holder}{since}")]
    Locked {
        /// The environment.
        environment: String,
        /// Who holds it.
        holder: String,
        /// Since when and for which run, in words, or empty.
        since: String,
        /// The run, where the Lease names one.
        run: Option<String>,
    },
    /// The Lease that keeps two runs apart can be neither read nor written.
    #[error("cannot hold environment `{environment}` by its Lease in namespace `{namespace}`")]
    Hold {
        /// The environment.
        environment: String,
        /// Where Leases are held.
        namespace: String,
        /// Why.
        #[source]
        source: ClusterError,
    },
    /// The run's hold on the environment was lost while it was working.
    #[error("the hold on environment `{environment}` was lost: {reason}")]
    HoldLost {
        /// The environment.
        environment: String,
        /// How.
        reason: String,
    },
    /// Velero's kinds are not served, or its namespace is not there.
    #[error("Velero is not installed in namespace `{namespace}` of this cluster")]
    NoVelero {
        /// Where it was looked for.
        namespace: String,
        /// What the cluster said.
        #[source]
        source: ClusterError,
    },
    /// An object of Velero's that was being followed does not move on.
    #[error("{object} has been {phase} for {minutes} min without a change")]
    Standstill {
        /// Which.
        object: ObjectReference,
        /// In which phase.
        phase: String,
        /// For how long.
        minutes: u64,
    },
    /// Velero cannot be asked to back up into the store.
    #[error(transparent)]
    NoLocation(#[from] dxdr_plan::velero::NoLocation),
    /// Velero ended a backup from which nothing can be restored.
    #[error("Velero ended backup `{backup}` as {phase}: {reason}")]
    VeleroBackup {
        /// Which.
        backup: String,
        /// How.
        phase: String,
        /// Why.
        reason: String,
    },
    /// Velero ended a Restore that did nothing, or cannot begin it.
    #[error("Velero's restore `{restore}` is {phase}: {reason}")]
    VeleroRestore {
        /// Which.
        restore: String,
        /// How.
        phase: String,
        /// Why.
        reason: String,
    },
    /// What Velero has under the name of a backup is not what lies in the store, or cannot be restored.
    #[error("Velero's backup `{backup}` is not the one that the plan was made from: {reason}")]
    OtherBackup {
        /// Which.
        backup: String,
        /// How that is known.
        reason: String,
    },
    /// Copies made file by file are not in their volumes.
    #[error("files did not come back: {0}")]
    Files(String),
    /// Pods that were to run nothing came out of Velero's Restore as they are in the archive.
    #[error("Velero's restore `{restore}` made {pods} as in the archive, to run, and not as it was asked to; removed again")]
    Unchanged {
        /// Which.
        restore: String,
        /// The pods.
        pods: String,
        /// The claims that they mount, of those that wait for their files.
        claims: String,
    },
    /// What was captured of volumes is not in them.
    #[error("the data of volumes did not come back: {0}")]
    Unfilled(String),
    /// Volumes that Velero alone brings back are not there with their data.
    #[error("volumes did not come back: {0}")]
    Volumes(String),
    /// Pods of others mount claims that wait for their files.
    #[error("{}, into which files are {}", .mounts.join(", "), if *.copied { "only now copied back" } else { "still to be copied back" })]
    Mounted {
        /// Which mounts which.
        mounts: Vec<String>,
        /// Whether the files are back by now.
        copied: bool,
    },
    /// An object that was being followed was deleted.
    #[error("{object} was deleted by somebody while it was being followed")]
    Vanished {
        /// Which.
        object: String,
    },
    /// Planning found no way.
    #[error(transparent)]
    Plan(#[from] dxdr_plan::PlanError),
    /// No such run.
    #[error("there is no run `{0}` in this store")]
    NoSuchRun(String),
    /// The run is over.
    #[error("run `{run}` is over: {outcome}")]
    Over {
        /// The run.
        run: String,
        /// How it ended.
        outcome: String,
    },
    /// The run may still go on.
    #[error("run `{run}` is not over")]
    NotOver {
        /// The run.
        run: String,
    },
    /// The namespace to act on is not there, or is going away.
    #[error("namespace `{namespace}` {problem}")]
    Namespace {
        /// Which.
        namespace: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The environment is not any more where the run was planned for.
    #[error("environment `{environment}` was namespace `{was}` when run `{run}` was planned, and is `{is}` now")]
    Moved {
        /// The environment.
        environment: String,
        /// The run.
        run: String,
        /// Its namespace then.
        was: String,
        /// Its namespace by the manifests.
        is: String,
    },
    /// The recovery point that a restore went back to is gone.
    #[error("recovery point `{point}`, which run `{run}` goes back to, is not in the store any more")]
    PointGone {
        /// The point.
        point: String,
        /// The run.
        run: String,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Interrupted,
    /// A run that has its journal came to no end: it can be resumed or cleaned up.
    #[error("run `{run}` is unfinished: {}", .remaining.join("; "))]
    Unfinished {
        /// The run.
        run: String,
        /// How far it came, and what is left.
        remaining: Vec<String>,
        /// What stopped it.
        #[source]
        source: Box<RunError>,
    },
    /// What a run left is removed, but for something. The run stays unfinished, so that it can be cleaned up again.
    #[error("what run `{run}` left is removed, but not {what}")]
    LeftBehind {
        /// The run.
        run: String,
        /// What could not be removed, and why, but for the first.
        what: String,
        /// Why the first could not.
        #[source]
        source: Box<RunError>,
    },
    /// What a restore put in place was replaced by a later one.
    #[error("`{database}` is what the later run {later} put in place")]
    Replaced {
        /// That run.
        later: String,
        /// The database.
        database: String,
    },
    /// The archive is not any more what the plan was made from.
    #[error("`{key}` in {store} changed since the plan was made from it: {item} is another one now")]
    ArchiveChanged {
        /// Its key.
        key: String,
        /// The store.
        store: String,
        /// The first item that differs.
        item: String,
    },
    /// The database service refused, or does not answer.
    #[error(transparent)]
    Instance(dxdr_provider::InstanceError),
    /// A database instance was busy until the deadline. Nothing was asked of it.
    #[error("{what} on {instance} did not get its turn in time: {obstacle}")]
    InstanceBusy {
        /// Which.
        instance: String,
        /// What was to be done.
        what: String,
        /// What was in the way: whose, what, since when.
        obstacle: String,
    },
    /// The service writes exports into buckets of Google Cloud Storage only.
    #[error("{instance} cannot be exported into {store}: Cloud SQL writes into buckets of Google Cloud Storage only")]
    NoExport {
        /// Which.
        instance: String,
        /// The store.
        store: String,
    },
    /// An operation of ours on a database instance does not end. It goes on, and is not asked for again.
    #[error("{what} on {instance} is not done in time: operation {operation} has been running since {since}")]
    InstanceOverdue {
        /// Which.
        instance: String,
        /// What is being done.
        what: String,
        /// The service's name for it.
        operation: String,
        /// When it began.
        since: String,
    },
    /// An operation of ours on a database instance failed.
    #[error("{what} on {instance} failed (operation {operation}): {message}")]
    InstanceOperation {
        /// Which.
        instance: String,
        /// What was to be done.
        what: String,
        /// The service's name for it.
        operation: String,
        /// What the service says.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Something that cannot happen did.
    #[error("unexpected: {0}")]
    Unexpected(String),
}
