//! Exports of databases into the store, by the service itself.
//!
//! The service writes the object; nothing of it passes through here until it is read back, once, to know its digest.

use async_trait::async_trait;
use dxdr_catalog::Sha256;
use dxdr_plan::instance::{Job, Priority, Work};
use dxdr_provider::{StorageErrorKind, instance::InstanceRequest};
use jiff::{SignedDuration, Timestamp};

use super::{Done, InstanceTurns, Made, carry_out};
use crate::{
    error::RunError,
    event::Event,
    store::{Digested, Store},
};

/// Bytes of an export that are read back between two reports.
const TOLD_EVERY: u64 = 16 << 20;

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
    /// What the ledger calls it: the same for every process of the run.
    pub fn job(&self) -> String {
        format!("{}/{}", self.run, self.unit)
    }
}

/// An export that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// By which the service finds it.
    pub url: String,
    /// When the dump began: everything committed before is in it.
    pub instant: Timestamp,
    /// When it was seen done, by the clock of this process: nothing committed later is in it.
    pub seen: Timestamp,
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

/// Has a database exported into the store. Asked again for the same order, by whatever process, it takes up what was begun.
pub async fn export(turns: &InstanceTurns, store: &Store, order: &ExportOrder) -> Result<Exported, RunError> {
    let Some(uri) = store.storage.url(&order.key) else {
        return Err(RunError::NoExport { instance: turns.instance.to_string(), store: store.storage.describe() });
    };
    let now = turns.clock.now();
    let job = Job {
        id: order.job(),
        run: order.run.clone(),
        environment: order.environment.clone(),
        priority: order.priority,
        work: Work::Export { uri: uri.clone(), offloaded: order.offload },
        deadline: now.saturating_add(order.timeout).unwrap_or(Timestamp::MAX),
    };
    let request = InstanceRequest::Export { database: order.database.clone(), uri: uri.clone(), offload: order.offload };
    let object = ObjectInStore { store, key: &order.key };
    let operation = match carry_out(turns, &job, &request, &object).await? {
        Done::Operation(operation) => Some(operation),
        Done::Made => None,
    };
    let seen = turns.clock.now();
    let Digested { size, sha256, stat } = read_back(turns, store, order).await?;
    let begun = operation.as_ref().and_then(|operation| operation.started.or(operation.accepted));
    Ok(Exported {
        url: uri,
        // Without the operation, the end of the export is all that is known: the object was written then.
        instant: begun.or(stat.modified).unwrap_or(now),
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
async fn read_back(turns: &InstanceTurns, store: &Store, order: &ExportOrder) -> Result<Digested, RunError> {
    let step = order.job();
    let mut told = 0;
    let tell = |bytes: u64| {
        if bytes - told >= TOLD_EVERY {
            told = bytes;
            let at = format!("reading the export of {} back", order.unit);
            turns.reporter.report(&Event::Progress { step: step.clone(), done: 0, total: None, bytes, at });
        }
    };
    let found = store.digest(&order.key, &turns.stop, tell).await?;
    found.ok_or_else(|| RunError::Missing { key: order.key.clone(), store: store.storage.describe() })
}
