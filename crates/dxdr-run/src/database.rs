//! Databases in recovery points: their instants are fixed around the snapshots of volumes, their dumps read when the applications have
//! long gone on.
//!
//! ```text
//! open and inspect ─► hold (at the time that the level asks for) ─► dump into the point's folder
//! ```
//!
//! What Cloud SQL exports has no hold: see [`export`]. The steps of a run around all that are in [`steps`].
//!
//! What is held is this process's: one that goes on with a killed run opens and holds anew, and whether the promise still stands
//! follows from where it was by then. A database that fails costs the point that database only.

pub(crate) mod export;
pub(crate) mod log;
pub(crate) mod steps;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dxdr_catalog::{Component, DatabaseComponent, Gap, KeptBackup, Sha256, StoredObject};
use dxdr_environment::{DatabaseUnit, Environment, InstanceName};
use dxdr_format::{database::DatabaseFacts, journal::Evidence};
use dxdr_plan::backup::{DatabasePlan, DumpPlan, Late, PointDatabases, Stillness, planned_databases};
use dxdr_policy::{BackupPolicy, HoldTime};
use dxdr_provider::{
    Database, DatabaseError, DatabaseErrorKind,
    database::{DumpPlace, HeldDatabase},
};
use futures::{StreamExt as _, future::join_all, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    context::RunContext,
    error::RunError,
    event::{Event, Reporter},
    store::Store,
    witness::{self, Between, Witness},
};
pub use log::InstanceLogs;
use log::OneLog;

/// Databases that are opened and looked at at the same time: servers have few connections to spare.
const OPENED_AT_ONCE: usize = 4;
/// How long fixing an instant may take while applications hold still. It takes milliseconds, unless the server itself was made to hold still: then it would wait
/// for the hooks that end that, and they for it.
const WHILE_STILL: Duration = Duration::from_secs(15);
/// How long it may take while they work.
const WHILE_WORKING: Duration = Duration::from_secs(120);

/// The databases of a plan on their way into its point.
#[derive(Debug, Default)]
pub(crate) struct Databases<'a> {
    opened: Vec<Opened<'a>>,
    held: Vec<Held<'a>>,
    failed: Vec<Failed>,
}

#[derive(Debug)]
struct Opened<'a> {
    database: &'a DatabasePlan,
    dump: &'a DumpPlan,
    way: Arc<dyn Database>,
    /// Why it is held no earlier than it will be.
    late: Late,
}

#[derive(Debug)]
struct Held<'a> {
    opened: Opened<'a>,
    at: HoldTime,
    between: Between,
    held: Box<dyn HeldDatabase>,
}

/// A database that is not in the point, and why, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    what: String,
    reason: String,
}

/// Everything that became of the databases, for the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dumped {
    dumps: Vec<OneDump>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<OneLog>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    backups: Vec<OneBackup>,
    /// Who may log in to the instance, by the database on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    users: BTreeMap<String, Vec<String>>,
    failed: Vec<Failed>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneDump {
    name: String,
    key: String,
    instant: Timestamp,
    /// When that was, by the clock of the run's first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    between: Option<Between>,
    size: u64,
    sha256: String,
    consistency: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<DatabaseFacts>,
    /// Of an export: by which the service finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Why the promise does not stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

/// A database in a backup of its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneBackup {
    name: String,
    /// The service's name for the backup.
    backup: String,
    project: String,
    instance: String,
    /// What the instance called it then.
    database: Option<String>,
    instant: Timestamp,
    ended: Timestamp,
    /// When it was made, by the clock of the run's first process.
    between: Between,
    size: Option<u64>,
    consistency: String,
}

impl OneDump {
    /// Nothing in it is later. A server says the instant of a dump; an export looks at the database at some moment of its work, the last of which is when it was
    /// seen done.
    fn last(&self) -> Timestamp {
        match (&self.url, self.between) {
            (Some(_), Some((_, last))) => last.max(self.instant),
            _ => self.instant,
        }
    }
}

impl<'a> Databases<'a> {
    /// Finds the way to each, a few at a time, while nothing holds still yet.
    pub(crate) async fn open(context: &RunContext, of: PointDatabases<'a>) -> Self {
        let opening = of.dumps().map(|(database, dump)| async move {
            let opened = inspected(context, of.namespace, &database.unit).await;
            (database, dump, opened)
        });
        let mut databases = Self::default();
        let opened: Vec<_> = stream::iter(opening).buffered(OPENED_AT_ONCE).collect().await;
        for (database, dump, opened) in opened {
            match opened {
                Ok(way) => databases.opened.push(Opened { database, dump, way, late: Late::default() }),
                Err(error) => databases.fail(context, database, &error),
            }
        }
        databases
    }

    /// Fixes the instants of those whose time it is. `at` is what time it really is, `Whenever` being the last. One that takes too long is a failure of that
    /// database: whoever holds still goes on.
    ///
    /// # Errors
    /// When somebody asks to stop.
    pub(crate) async fn hold(
        &mut self,
        context: &RunContext,
        of: PointDatabases<'_>,
        at: HoldTime,
        witness: &Witness,
    ) -> Result<(), RunError> {
        let now = |opened: &Opened| opened.dump.hold_time() <= at;
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.opened).into_iter().partition(now);
        self.opened = later;
        let still = at < HoldTime::Whenever && of.stillness == Stillness::Hooks;
        let limit = if still { WHILE_STILL } else { WHILE_WORKING };
        let holding = now.into_iter().map(|opened| async move {
            let (place, since) = (place(context, of.point, &opened.dump.key), witness.now());
            let held = tokio::time::timeout(limit, opened.way.hold(&place)).await;
            let between = witness.saw(since, witness.now());
            let held = held.unwrap_or_else(|_| Err(stuck(opened.database, limit, still)));
            (opened, between, held)
        });
        let held = tokio::select! {
            held = join_all(holding) => held,
            () = context.stop.wait() => return Err(RunError::Interrupted),
        };
        for (opened, between, held) in held {
            match held {
                Ok(held) => self.held.push(Held { opened, at, between, held }),
                Err(error) => self.fail(context, opened.database, &error),
            }
        }
        Ok(())
    }

    /// Waits for what somebody else does, who may be away for hours. What is held keeps a connection and a transaction of its server, so it is let go when it was held for as
    /// long as its dump may take, and is held again when its time comes.
    pub(crate) async fn hold_during<T>(&mut self, context: &RunContext, waiting: impl Future<Output = T>) -> T {
        let mut waiting = std::pin::pin!(waiting);
        let limits = self.held.iter().map(|held| Duration::try_from(held.opened.dump.timeout).unwrap_or_default());
        if let Some(limit) = limits.min() {
            tokio::select! {
                done = &mut waiting => return done,
                () = tokio::time::sleep(limit) => self.let_go(context),
            }
        }
        waiting.await
    }

    fn let_go(&mut self, context: &RunContext) {
        for Held { opened, .. } in std::mem::take(&mut self.held) {
            let text = format!(
                "{} is let go, having been held for {:#}: Velero has not cut its snapshots (`kubectl --namespace {} get backups` shows what it is at); it is held again behind them. \
                 `databases.timeout` in the policy says how long it may be held",
                opened.database.what(),
                opened.dump.timeout,
                context.velero_namespace,
            );
            context.reporter.report(&Event::Warning { text });
            self.opened.push(Opened { late: Late::LetGo, ..opened });
        }
    }

    /// Reads the dumps into the store, one after the other.
    ///
    /// # Errors
    /// When the store fails, or somebody asks to stop: the other failures are a database's own.
    pub(crate) async fn dump(mut self, context: &RunContext, of: PointDatabases<'_>) -> Result<Dumped, RunError> {
        let mut dumps = Vec::new();
        for Held { opened, at, between, held } in std::mem::take(&mut self.held) {
            let Opened { database, dump, late, .. } = opened;
            let (instant, facts) = (held.instant(), held.facts().clone());
            let limit = std::time::Duration::try_from(dump.timeout).unwrap_or_default();
            let dumping =
                async { tokio::time::timeout(limit, held.dump()).await.unwrap_or_else(|_| Err(unfinished(database, dump))) };
            let dumped = tokio::select! {
                dumped = dumping => dumped,
                () = context.stop.wait() => return Err(RunError::Interrupted),
            };
            match dumped {
                Ok(dumped) => {
                    let broken = of.broken(dump, (at, late), facts.replica);
                    if let Some(reason) = &broken {
                        context.reporter.report(&Event::Warning { text: format!("{}: {reason}", database.what()) });
                    }
                    dumps.push(OneDump {
                        name: database.unit.name.clone(),
                        key: dump.key.clone(),
                        instant,
                        between: Some(between),
                        size: dumped.size,
                        sha256: Sha256(dumped.sha256).to_string(),
                        consistency: of.dumped(dump).word().to_owned(),
                        facts: Some(facts.into()),
                        url: None,
                        broken,
                    });
                }
                Err(error) if error.kind == DatabaseErrorKind::Store => return Err(error.into()),
                Err(error) => self.fail(context, database, &error),
            }
        }
        dumps.sort_by(|left, right| left.name.cmp(&right.name));
        self.failed.sort_by(|left, right| left.what.cmp(&right.what));
        Ok(Dumped { dumps, failed: self.failed, ..Dumped::default() })
    }

    fn fail(&mut self, context: &RunContext, database: &DatabasePlan, error: &DatabaseError) {
        let failed = Failed { what: database.what(), reason: reason(error) };
        failed.report(context.reporter.as_ref());
        self.failed.push(failed);
    }
}

impl Failed {
    fn report(&self, reporter: &dyn Reporter) {
        reporter.report(&Event::Warning { text: format!("{} could not be captured: {}", self.what, self.reason) });
    }
}

impl Dumped {
    /// In a few words.
    pub(crate) fn summary(&self) -> String {
        let some = |count: usize, what: &str| if count == 0 { String::new() } else { format!("{count} in {what}, ") };
        let (logs, backups) = (some(self.logs.len(), "logs"), some(self.backups.len(), "backups of their instances"));
        format!("{} in the store, {logs}{backups}{} failed", self.dumps.len(), self.failed.len())
    }

    /// Without databases that were not captured, each with the reason.
    pub(crate) fn without(databases: impl Iterator<Item = (String, String)>) -> Self {
        Self { failed: databases.map(|(what, reason)| Failed { what, reason }).collect(), ..Self::default() }
    }

    /// Tells of what is not in it.
    pub(crate) fn report_failures(&self, reporter: &dyn Reporter) {
        self.failed.iter().for_each(|failed| failed.report(reporter));
    }

    /// Both in one.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        self.dumps.extend(other.dumps);
        self.logs.extend(other.logs);
        self.backups.extend(other.backups);
        self.users.extend(other.users);
        self.failed.extend(other.failed);
        self
    }

    /// The latest instant of them. Points have milliseconds, and nothing in one is later than it says.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let logs = self.logs.iter().map(|log| log.instant);
        let backups = self.backups.iter().map(|backup| backup.between.1.max(backup.instant));
        let latest = self.dumps.iter().map(OneDump::last).chain(logs).chain(backups).max()?;
        let part = i64::from(latest.subsec_nanosecond()).rem_euclid(1_000_000);
        let rest = if part == 0 { 0 } else { 1_000_000 - part };
        latest.checked_add(jiff::SignedDuration::from_nanos(rest)).ok()
    }

    /// What the point lacks.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let failed = self.failed.iter().map(|failed| Gap { what: failed.what.clone(), reason: failed.reason.clone() });
        let broken = self.dumps.iter().filter_map(|dump| {
            Some(Gap { what: format!("the consistency of database {}", dump.name), reason: dump.broken.clone()? })
        });
        failed.chain(broken)
    }

    /// Whether nothing of a database service is in it.
    pub(crate) fn nothing_of_a_service(&self) -> bool {
        self.logs.is_empty() && self.backups.is_empty() && self.dumps.iter().all(|dump| dump.url.is_none())
    }

    fn users_of(&self, name: &str) -> Vec<String> {
        self.users.get(name).cloned().unwrap_or_default()
    }

    /// As parts of the point.
    pub(crate) fn components(&self) -> impl Iterator<Item = Component> {
        let dumps = self.dumps.iter().map(|dump| {
            Component::Database(DatabaseComponent {
                name: dump.name.clone(),
                instant: dump.instant,
                between: witness::interval(dump.between),
                method: if dump.url.is_some() { DatabaseComponent::EXPORT } else { DatabaseComponent::DUMP }.to_owned(),
                location: dump.url.clone().unwrap_or_else(|| dump.key.clone()),
                size: Some(dump.size),
                consistency: dump.broken.is_none().then(|| dump.consistency.clone()),
                facts: dump.facts.clone().map(|facts| Box::new(facts.into())),
                log: None,
                backup: None,
                users: self.users_of(&dump.name),
            })
        });
        let logs = self.logs.iter().map(|log| {
            Component::Database(DatabaseComponent {
                name: log.name.clone(),
                instant: log.instant,
                between: Some(log.between()),
                method: DatabaseComponent::POINT_IN_TIME.to_owned(),
                location: log.location.clone(),
                size: None,
                consistency: Some(log.consistency.clone()),
                facts: None,
                log: Some(log.kept()),
                backup: None,
                users: self.users_of(&log.name),
            })
        });
        let backups = self.backups.iter().map(|backup| {
            let instance = InstanceName::new(&backup.project, &backup.instance);
            Component::Database(DatabaseComponent {
                name: backup.name.clone(),
                instant: backup.instant,
                between: witness::interval(Some(backup.between)),
                method: DatabaseComponent::BACKUP.to_owned(),
                location: backup.backup.clone(),
                size: backup.size,
                consistency: Some(backup.consistency.clone()),
                facts: None,
                log: None,
                backup: Some(KeptBackup { instance, database: backup.database.clone(), ended: backup.ended }),
                users: self.users_of(&backup.name),
            })
        });
        dumps.chain(logs).chain(backups)
    }

    /// As objects of the point.
    pub(crate) fn objects(&self) -> Result<Vec<StoredObject>, RunError> {
        let object = |dump: &OneDump| {
            let sha256 = Sha256::parse(&dump.sha256)
                .ok_or_else(|| RunError::Unexpected("the journal's SHA-256 of a dump is none".to_owned()))?;
            Ok(StoredObject { key: dump.key.clone(), size: dump.size, sha256 })
        };
        self.dumps.iter().map(object).collect()
    }
}

/// The instants that a point may stand for, by what a journal has of captures and of dumps: each was entered into the index under one of
/// them.
pub(crate) fn possible_instants(captures: impl Iterator<Item = Timestamp>, dumps: &[Evidence]) -> Vec<Timestamp> {
    let latest = |evidence: &Evidence| crate::snapshot::from_evidence::<Dumped>(evidence).ok()?.latest();
    let latest: Vec<Timestamp> = dumps.iter().filter_map(latest).collect();
    let mut instants: Vec<Timestamp> =
        captures.flat_map(|capture| latest.iter().map(move |dump| capture.max(*dump)).chain([capture])).collect();
    instants.sort_unstable();
    instants.dedup();
    instants
}

/// What to do is part of the reason: a point that lacks a database says how to have it next time.
pub(crate) fn reason(error: &DatabaseError) -> String {
    let text = crate::active::chain(error);
    match &error.hint {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

/// What becomes of an environment's databases in points that lie in `store`.
pub(crate) fn planned(store: &Store, environment: &Environment, policy: Option<&BackupPolicy>) -> Vec<DatabasePlan> {
    let units = environment.databases.iter().flat_map(dxdr_environment::Database::units).collect();
    let (named, databases) = (policy.map(|policy| policy.name.as_str()), policy.and_then(|policy| policy.databases));
    planned_databases(units, databases, named, export::impossible(store).as_deref())
}

/// Where the dump of a key in a point's folder lies.
pub(crate) fn place(context: &RunContext, point: &str, key: &str) -> DumpPlace {
    DumpPlace { storage: context.store.storage.clone(), key: context.store.layout.object_key(point, key), sha256: None }
}

/// Opens a database, where the program has a way to one.
pub(crate) async fn open_unit(
    context: &RunContext,
    namespace: &str,
    unit: &DatabaseUnit,
) -> Result<Arc<dyn Database>, DatabaseError> {
    let Some(databases) = &context.databases else {
        return Err(DatabaseError {
            kind: DatabaseErrorKind::Unsupported,
            action: "reach",
            database: unit.to_string(),
            message: "this program has no way to databases".to_owned(),
            hint: None,
            source: None,
        });
    };
    databases.open(namespace, unit).await
}

async fn inspected(context: &RunContext, namespace: &str, unit: &DatabaseUnit) -> Result<Arc<dyn Database>, DatabaseError> {
    let opened = open_unit(context, namespace, unit).await?;
    opened.inspect().await?;
    Ok(opened)
}

fn stuck(database: &DatabasePlan, limit: Duration, still: bool) -> DatabaseError {
    let hint = if still {
        "a hook that freezes the volume of the server's own data stops the server too: leave that volume out of the freeze, or say `databases.consistency: independent` in the policy"
    } else {
        "look at the server's log for what keeps it from answering"
    };
    DatabaseError {
        kind: DatabaseErrorKind::TimedOut,
        action: "dump",
        database: database.what(),
        message: format!("its instant could not be fixed within {} seconds", limit.as_secs()),
        hint: Some(hint.to_owned()),
        source: None,
    }
}

fn unfinished(database: &DatabasePlan, dump: &DumpPlan) -> DatabaseError {
    DatabaseError {
        kind: DatabaseErrorKind::TimedOut,
        action: "dump",
        database: database.what(),
        message: format!("it was not done within {:#}", dump.timeout),
        hint: Some("allow more with `databases.timeout` in the policy, or find out what holds it up".to_owned()),
        source: None,
    }
}

#[cfg(test)]
#[path = "database_test.rs"]
mod tests;
