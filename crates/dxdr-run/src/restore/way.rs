//! The way to where a database is brought back: a server in the cluster, or an instance of a database service.

use std::sync::Arc;

use dxdr_environment::{DatabaseLocation, DatabaseUnit, InstanceName};
use dxdr_plan::{
    instance::Priority,
    restore::{CloneRoute, Cost, DatabaseRestore, Route},
};
use dxdr_provider::{
    Database, StorageErrorKind,
    database::{DatabaseProblem, Examined, Load, Swap},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    context::RunContext,
    database,
    error::RunError,
    instance::{self, Beside, BesideOrder, ExportOrder, HandedOver, Import, InstanceTurns},
};

/// For whom databases are brought back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    /// The run whose mark they carry.
    pub(super) run: &'a str,
    /// The environment.
    pub(super) environment: &'a str,
    /// Where the environment's servers and their Secrets are.
    pub(super) namespace: &'a str,
    /// How long one piece of work on an instance may wait for its turn, and take.
    pub(super) timeout: SignedDuration,
}

/// Where a database is brought back.
pub(super) enum Way {
    Server(Arc<dyn Database>),
    Instance(Box<Beside>),
}

impl Way {
    /// Finds it: for a server, credentials are looked up, and it answers.
    pub(super) async fn open(context: &RunContext, whose: Whose<'_>, unit: &DatabaseUnit) -> Result<Self, RunError> {
        match &unit.location {
            DatabaseLocation::Postgresql(_) => Ok(Self::Server(database::open_unit(context, whose.namespace, unit).await?)),
            DatabaseLocation::CloudSql { project, instance, .. } => {
                let name = InstanceName::new(project, instance);
                let turns = InstanceTurns::of(context, &name).await.map_err(|message| instance::unreachable(&name, message))?;
                let (run, environment) = (whose.run.to_owned(), whose.environment.to_owned());
                let order = BesideOrder { run, environment, timeout: whose.timeout };
                Ok(Self::Instance(Box::new(Beside { turns, order })))
            }
        }
    }

    /// What bringing it back would meet, and what it takes. Changes nothing.
    pub(super) async fn examine(
        &self,
        context: &RunContext,
        point: &str,
        restore: &DatabaseRestore,
    ) -> Result<(Examined, Cost), RunError> {
        match (self, &restore.route) {
            (Self::Server(server), Route::Load { .. }) => Ok((server.examine(&load(restore, "")).await?, restore.cost)),
            (Self::Instance(beside), Route::Import { uri, .. }) => {
                let (mut examined, took) =
                    beside.examine(&import(restore, uri), &restore.database, restore.kept.as_deref()).await?;
                examined.problems.extend(object_problem(context, point, restore).await?);
                beside.examine_users(&restore.users, &mut examined).await;
                Ok((examined, Cost { export: took.export, import: took.import, ..restore.cost }))
            }
            (Self::Instance(beside), Route::CloneAndImport { clone, .. }) => {
                let import = import(restore, "");
                let (mut examined, _) = beside.examine(&import, &restore.database, restore.kept.as_deref()).await?;
                beside.examine_users(&restore.users, &mut examined).await;
                let cost = beside.examine_clone(clone, &mut examined, restore.cost).await?;
                Ok((examined, cost))
            }
            (Self::Instance(beside), Route::Clone(clone)) => {
                let mut examined = Examined::default();
                let cost = beside.examine_clone(clone, &mut examined, restore.cost).await?;
                Ok((examined, cost))
            }
            _ => Err(mismatched(restore)),
        }
    }

    /// Has the instance cloned, where the route leads over that.
    pub(super) async fn clone_instance(&self, restore: &DatabaseRestore) -> Result<(), RunError> {
        match (self, restore.route.clone_route()) {
            (Self::Instance(beside), Some(clone)) => beside.clone_instance(clone).await.map(|_| ()),
            _ => Err(mismatched(restore)),
        }
    }

    /// Brings it beside.
    pub(super) async fn load(
        &self,
        context: &RunContext,
        point: &str,
        restore: &DatabaseRestore,
        run: &str,
    ) -> Result<(), RunError> {
        match (self, &restore.route) {
            (Self::Server(server), Route::Load { key }) => {
                let place = dxdr_provider::database::DumpPlace {
                    sha256: restore.sha256.map(|sha256| sha256.0),
                    ..database::place(context, point, key)
                };
                let order = load(restore, run);
                tokio::select! {
                    loaded = server.load(&order, &place) => Ok(loaded?),
                    () = context.stop.wait() => Err(RunError::Interrupted),
                }
            }
            (Self::Instance(beside), Route::Import { uri, .. }) => beside.import(&import(restore, uri)).await,
            (Self::Instance(beside), Route::CloneAndImport { clone, database }) => {
                let order = ExportOrder {
                    run: run.to_owned(),
                    environment: beside.order.environment.clone(),
                    unit: restore.unit.name.clone(),
                    database: database.clone(),
                    key: transfer_key(context, run, &restore.unit),
                    // Nobody works on a clone who would feel it.
                    offload: false,
                    timeout: restore.timeout,
                    priority: Priority::Restore,
                };
                let exported = instance::export(&beside.of_clone(clone).turns, &context.store, &order).await;
                let exported = exported.map_err(instance::not_again)?;
                beside.import(&import(restore, &exported.url)).await
            }
            _ => Err(mismatched(restore)),
        }
    }

    /// Waits for what an earlier process of a run that `began` then asked for and did not see the end of: until it is there, nothing tells that it is
    /// the run's.
    /// `beside`: the name of a database that it makes on the instance, which may be gone where it makes none.
    pub(super) async fn settle(
        &self,
        clone: Option<&CloneRoute>,
        beside: Option<&str>,
        began: Timestamp,
    ) -> Result<(), RunError> {
        let Self::Instance(on) = self else { return Ok(()) };
        if let Some(clone) = clone {
            on.settle_clone(clone).await?;
        }
        match beside {
            Some(beside) => on.settle_databases(beside, began).await,
            None => Ok(()),
        }
    }

    /// Deletes the clone and what was exported from it, if they are there and carry the labels of the run. What was deleted.
    pub(super) async fn discard_clone(
        &self,
        context: &RunContext,
        clone: &CloneRoute,
        unit: &DatabaseUnit,
        run: &str,
    ) -> Result<Option<String>, RunError> {
        let Self::Instance(beside) = self else { return Ok(None) };
        let key = transfer_key(context, run, unit);
        if context.store.storage.url(&key).is_some() {
            context.store.storage.delete(&key).await?;
        }
        let name = beside.of_clone(clone).turns.instance.clone();
        let deleted = beside.discard_instance(&name).await?;
        Ok(deleted.then(|| format!("instance {}", name.instance)))
    }

    /// Gives what was brought what the original has and no export; `None` when there is no original.
    pub(super) async fn hand_over(&self, restore: &DatabaseRestore) -> Result<Option<HandedOver>, RunError> {
        match self {
            Self::Instance(beside) => beside.hand_over(&restore.database, &restore.beside).await,
            Self::Server(_) => Err(mismatched(restore)),
        }
    }

    /// Puts one database in the place of another.
    pub(super) async fn swap(&self, swap: &Swap) -> Result<(), RunError> {
        match self {
            Self::Server(server) => Ok(server.swap(swap).await?),
            Self::Instance(beside) => beside.swap(swap).await,
        }
    }

    /// Whether that was done, by what is there. Changes nothing.
    pub(super) async fn swapped(&self, swap: &Swap) -> Result<bool, RunError> {
        match self {
            Self::Server(server) => Ok(server.swapped(swap).await?),
            Self::Instance(beside) => beside.swapped(swap).await,
        }
    }

    /// Drops the database of that name if it carries the mark of the run; `Ok(false)` when there is none.
    pub(super) async fn discard(&self, name: &str, run: &str) -> Result<bool, RunError> {
        match self {
            Self::Server(server) => Ok(server.discard(name, run).await?),
            Self::Instance(beside) => beside.discard(name).await,
        }
    }
}

/// What a person is told to do about a failure on the way.
pub(super) fn hint(error: &RunError) -> Option<String> {
    match error {
        RunError::Database(error) => error.hint.clone(),
        RunError::Instance(error) => error.hint.clone(),
        RunError::InstanceOperation { hint, .. } => hint.clone(),
        _ => None,
    }
}

/// Whether the export is in the store as it was written. The service would say so only after it has begun.
async fn object_problem(
    context: &RunContext,
    point: &str,
    restore: &DatabaseRestore,
) -> Result<Option<DatabaseProblem>, RunError> {
    let Some(key) = restore.route.key() else { return Ok(None) };
    let key = context.store.layout.object_key(point, key);
    let message = match context.store.storage.stat(&key).await {
        Ok(stat) if restore.size.is_none_or(|size| size == stat.size) => return Ok(None),
        Ok(stat) => format!("its export `{key}` has {} bytes, and not those that were written", stat.size),
        Err(error) if error.kind == StorageErrorKind::NotFound => format!("its export `{key}` is not there any more"),
        Err(error) => return Err(error.into()),
    };
    let remedy = "restore another recovery point; `dxdr points` says which are damaged".to_owned();
    Ok(Some(DatabaseProblem { message, remedy }))
}

/// Where what is exported from a clone lies until it is imported.
fn transfer_key(context: &RunContext, run: &str, unit: &DatabaseUnit) -> String {
    // As in points: the service is told a URL, in which `%` may begin an escape.
    context.store.layout.transfer_key(run, &unit.file_name().replace('%', "="))
}

fn load(restore: &DatabaseRestore, run: &str) -> Load {
    Load { name: restore.beside.clone(), facts: restore.facts.clone(), size: restore.size, run: run.to_owned() }
}

fn import(restore: &DatabaseRestore, uri: &str) -> Import {
    Import { unit: restore.unit.name.clone(), database: restore.beside.clone(), uri: uri.to_owned() }
}

fn mismatched(restore: &DatabaseRestore) -> RunError {
    RunError::Unexpected(format!("{} cannot come back by route {}", restore.unit, restore.route))
}
