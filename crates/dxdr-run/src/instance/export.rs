//! Exports of databases into the store, by the service itself.
//!
//! The service writes the object; nothing of it passes through here until it is read back, once, to know its digest. What failed in an
//! earlier process of the run is tried again as another job that writes another object: see [`attempted`].

use async_trait::async_trait;
use dxdr_catalog::Sha256;
use dxdr_plan::instance::{Job, OperationStatus, Priority, Work};
use dxdr_provider::{StorageErrorKind, instance::InstanceRequest};
use jiff::{SignedDuration, Timestamp};

use super::{Done, InstanceTurns, Made, carry_out, operation_of};
use crate::{
    error::RunError,
    event::Event,
    store::{Digested, Store},
};

/// Bytes of an export that are read back between two reports.
const TOLD_EVERY: u64 = 16 << 20;

/// How often an export is tried in one run. Each attempt behind the first takes somebody who resumes it.
const ATTEMPTS: u32 = 9;

/// An export that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOrder {
    /// The run that wants it.
    pub run: String,
    /// Whose environment.
    pub environment: String,
    /// What the point calls the database. Unique in the run.
    pub unit: String,
    /// The database on the instance.
    pub database: String,
    /// Key in the store.
    pub key: String,
    /// On a machine of its own.
    pub offload: bool,
    /// How long it may wait and take.
    pub timeout: SignedDuration,
    /// Who goes first.
    pub priority: Priority,
}

impl ExportOrder {
    /// What the ledger calls it: the same for every process of the run. Attempts behind the first have `#` and their number behind it.
    pub fn job(&self) -> String {
        format!("{}/{}", self.run, self.unit)
    }
}

/// The key of an attempt, from that of the first one. `.2` goes between `.sql` and `.gz`, where no database's name can be.
pub fn attempted(key: &str, attempt: u32) -> String {
    match (attempt, key.strip_suffix(".gz")) {
        (..=1, _) => key.to_owned(),
        // The service compresses what is called so.
        (_, Some(stem)) => format!("{stem}.{attempt}.gz"),
        (_, None) => format!("{key}.{attempt}"),
    }
}

/// An export that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// By which the service finds it.
    pub url: String,
    /// Which attempt it is: its key is that of [`attempted`].
    pub attempt: u32,
    /// When the dump began: everything committed before is in it. Where that is not known, when its object was there: nothing in it is
    /// later, and what was committed since it began is missing.
    pub instant: Timestamp,
    /// When it was asked for, by the clock of this process, where this process did: nothing that it lacks was committed before.
    pub asked: Option<Timestamp>,
    /// When it was seen done, by the clock of this process: nothing committed later is in it.
    pub seen: Timestamp,
    /// Whether it is known when the dump began.
    pub exact: bool,
    /// Bytes.
    pub size: u64,
    /// Of the bytes, as they were read back.
    pub sha256: Sha256,
    /// The service's name of the operation, where it still knew it.
    pub operation: Option<String>,
    /// How long the operation waited for the instance, in seconds.
    pub waited: Option<i64>,
    /// How long it worked, in seconds.
    pub worked: Option<i64>,
}

/// Has a database exported into the store. Asked again for the same order, by whatever process, it takes up what was begun, and tries again
/// what failed before it was asked.
pub async fn export(turns: &InstanceTurns, store: &Store, order: &ExportOrder) -> Result<Exported, RunError> {
    let mut attempt = 1;
    loop {
        let key = attempted(&order.key, attempt);
        let Some(uri) = store.storage.url(&key) else {
            return Err(RunError::NoExport { instance: turns.instance.to_string(), store: store.storage.describe() });
        };
        // What a restore reads has the one name that its journal says.
        let may_be_another = order.priority == Priority::Backup && attempt < ATTEMPTS;
        let failed_before = may_be_another && has_failed(turns, &uri).await;
        match once(turns, store, order, attempt, &key, &uri).await {
            Err(RunError::InstanceOperation { operation, .. }) if failed_before => {
                tracing::info!(operation, attempt, "failed in an earlier process, and is tried again");
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// Whether the service knows of an export to this object that failed. Where it cannot be asked now, it is not tried again.
async fn has_failed(turns: &InstanceTurns, uri: &str) -> bool {
    let operations = turns.instances.operations(&turns.instance).await.unwrap_or_default();
    operations.iter().map(operation_of).any(|operation| {
        matches!(&operation.work, Work::Export { uri: theirs, .. } if theirs == uri)
            && matches!(operation.status, OperationStatus::Failed(_))
    })
}

async fn once(
    turns: &InstanceTurns,
    store: &Store,
    order: &ExportOrder,
    attempt: u32,
    key: &str,
    uri: &str,
) -> Result<Exported, RunError> {
    let (id, priority) = match attempt {
        ..=1 => (order.job(), order.priority),
        _ => (format!("{}#{attempt}", order.job()), Priority::RepeatedExport),
    };
    let job = Job {
        id,
        run: order.run.clone(),
        environment: order.environment.clone(),
        priority,
        work: Work::Export { uri: uri.to_owned(), offloaded: order.offload },
        deadline: turns.clock.now().saturating_add(order.timeout).unwrap_or(Timestamp::MAX),
    };
    let request = InstanceRequest::Export { database: order.database.clone(), uri: uri.to_owned(), offload: order.offload };
    let object = ObjectInStore { store, key };
    let (operation, asked) = match carry_out(turns, &job, &request, &object).await? {
        Done::Operation(operation, asked) => (Some(*operation), asked),
        Done::Made => (None, None),
    };
    let seen = turns.clock.now();
    let Digested { size, sha256, stat } = read_back(turns, store, order, key).await?;
    let begun = operation.as_ref().and_then(|operation| operation.started.or(operation.accepted));
    let written = match begun {
        Some(_) => None,
        // Not every store tells the time along with the bytes.
        None => store.storage.stat(key).await?.modified.or(stat.modified),
    };
    Ok(Exported {
        url: uri.to_owned(),
        attempt,
        // Without the operation, the end of the export is all that is known: the object was written then.
        instant: begun.or(written).unwrap_or_else(|| turns.clock.now()),
        exact: begun.is_some(),
        asked,
        seen,
        size,
        sha256,
        waited: operation.as_ref().and_then(|operation| operation.queued_for()).map(|waited| waited.as_secs()),
        worked: operation.as_ref().and_then(|operation| operation.worked_for()).map(|worked| worked.as_secs()),
        operation: operation.map(|operation| operation.name),
    })
}

struct ObjectInStore<'a> {
    store: &'a Store,
    key: &'a str,
}

#[async_trait]
impl Made for ObjectInStore<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        match self.store.storage.stat(self.key).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Size, digest and time of an object, of all its bytes.
async fn read_back(turns: &InstanceTurns, store: &Store, order: &ExportOrder, key: &str) -> Result<Digested, RunError> {
    let step = order.job();
    let mut told = 0;
    let tell = |bytes: u64| {
        if bytes - told >= TOLD_EVERY {
            told = bytes;
            let at = format!("reading the export of {} back", order.unit);
            turns.reporter.report(&Event::Progress { step: step.clone(), done: 0, total: None, bytes, at });
        }
    };
    let found = store.digest(key, &turns.stop, tell).await?;
    found.ok_or_else(|| RunError::Missing { key: key.to_owned(), store: store.storage.describe() })
}
