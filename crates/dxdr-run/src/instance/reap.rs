//! What dxdr has left on instances and on the way between them: found by labels, marks and folders alone, and removed by them.

use std::collections::BTreeMap;

use dxdr_catalog::{Component, DatabaseComponent, Entry, name};
use dxdr_environment::InstanceName;
use dxdr_plan::instance::{
    InstanceUse, label,
    leftover::{
        Left, LeftBackup, LeftTransfer, Leftover, MadeBackup, ReliedBackups, Relying, RunProgress, Transfer, judge,
        judge_backups, judge_transfers, of_database, of_instance,
    },
};
use dxdr_provider::{InstanceError, Instances, instance::InstanceBackup};
use jiff::{SignedDuration, Timestamp};

use super::{Beside, BesideOrder, InstanceTurns, statement};
use crate::{catalog, context::RunContext, error::RunError, journal::History, store::Store};

/// How long the removal of one of them may wait for its turn, and take.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// What was found, and where nobody could look.
#[derive(Debug, Default)]
pub struct FoundLeftovers {
    /// With what becomes of each.
    pub leftovers: Vec<Leftover>,
    /// Objects in stores, with what becomes of each.
    pub transfers: Vec<LeftTransfer>,
    /// Backups of instances that are used, with what becomes of each.
    pub backups: Vec<LeftBackup>,
    /// Instances whose databases could not be looked at, and why.
    pub unseen: Vec<(InstanceName, InstanceError)>,
}

/// Looks for them: instances in the projects of those that are used, databases on these, and what lies in `stores` on the way from one to another. There, runs have
/// their journals. Changes nothing.
pub async fn leftovers(
    instances: &dyn Instances,
    uses: &[InstanceUse],
    stores: &[Store],
    now: Timestamp,
) -> Result<FoundLeftovers, RunError> {
    let mut projects: Vec<&str> = uses.iter().map(|used| used.instance.project.as_str()).collect();
    projects.sort_unstable();
    projects.dedup();
    let mut left: Vec<Left> = Vec::new();
    let mut unseen = Vec::new();
    for project in projects {
        for found in instances.instances(project).await? {
            left.extend(of_instance(&found.name, &found.labels, found.deletion_protection));
            // Of one that is stopped nothing is seen, and of others than PostgreSQL nothing is made.
            let looked_at = uses.iter().any(|used| used.instance == found.name);
            if looked_at && !found.stopped && found.version.starts_with("POSTGRES") {
                match marked(instances, &found.name).await {
                    Ok(databases) => left.extend(databases),
                    Err(error) => unseen.push((found.name, error)),
                }
            }
        }
    }
    for left in left.iter_mut().filter(|left| left.database.is_none() && label::may_be_cut(&left.run)) {
        if let Some(run) = named_by(stores, &left.run).await? {
            left.run = run;
        }
    }
    let mut backups = Vec::new();
    for instance in uses.iter().map(|used| &used.instance) {
        match instances.backups(instance).await {
            Ok(found) => backups.extend(found.into_iter().filter_map(|backup| made_backup(instance, backup))),
            Err(error) => unseen.push((instance.clone(), error)),
        }
    }
    let relied = if backups.is_empty() { ReliedBackups::default() } else { relied(stores).await? };
    let mut transfers = Vec::new();
    for store in stores {
        let prefix = store.layout.transfers_prefix();
        for (key, size) in store.sizes(&prefix).await? {
            let run = key.strip_prefix(&prefix).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
            transfers.push(Transfer { store: store.name.clone(), key, run, size });
        }
    }
    let mut runs = BTreeMap::new();
    let of_left = left.iter().map(|left| &left.run).chain(transfers.iter().map(|transfer| &transfer.run));
    for run in of_left.chain(backups.iter().map(|backup| &backup.run)).cloned().collect::<Vec<_>>() {
        if !runs.contains_key(&run)
            && let Some(progress) = progress(stores, &run).await?
        {
            runs.insert(run, progress);
        }
    }
    let transfers = judge_transfers(transfers, &runs, now);
    let backups = judge_backups(backups, &relied, &runs, now);
    Ok(FoundLeftovers { leftovers: judge(left, uses, &runs, now), transfers, backups, unseen })
}

/// A backup that a run of ours made, by its description.
fn made_backup(instance: &InstanceName, backup: InstanceBackup) -> Option<MadeBackup> {
    let run = label::run_of_backup(&backup.description)?.to_owned();
    Some(MadeBackup { instance: instance.clone(), name: backup.name, run, taken: backup.started, size: backup.size })
}

/// Who relies on backups, by the points in stores.
async fn relied(stores: &[Store]) -> Result<ReliedBackups, RunError> {
    let mut relied = ReliedBackups::default();
    for store in stores {
        let found = catalog::all(store, None).await?;
        // Of backups that are not ours nobody relies on one of these.
        let ours = found.unreadable.into_iter().map(|(folder, _)| folder).find(|folder| name::parse(folder).is_some());
        relied.unreadable = relied.unreadable.or(ours);
        for entry in found.entries {
            let Entry::Ours(point) = entry else { continue };
            for component in &point.components {
                if let Component::Database(DatabaseComponent { backup: Some(_), location, .. }) = component {
                    let point = Relying { point: point.name.clone(), expires: point.expires };
                    relied.points.entry(location.clone()).or_default().push(point);
                }
            }
        }
    }
    Ok(relied)
}

/// The databases on an instance that carry a mark.
async fn marked(instances: &dyn Instances, instance: &InstanceName) -> Result<Vec<Left>, InstanceError> {
    let rows = instances.execute(instance, statement::ADMINISTRATION, &statement::plainly(statement::CATALOGUE)).await?;
    let found = statement::catalogue(&rows).unwrap_or_default();
    let marked = found.iter().filter_map(|found| Some(of_database(instance, &found.name, found.mark()?, found.connections)));
    Ok(marked.collect())
}

/// The run whose name was too long for a label.
async fn named_by(stores: &[Store], label: &str) -> Result<Option<String>, RunError> {
    for store in stores {
        let runs = store.folders(&store.layout.runs_prefix()).await?;
        if let Some(run) = runs.into_iter().find(|run| label::names(label, run)) {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// How far a run is, by whichever store has its journal.
async fn progress(stores: &[Store], run: &str) -> Result<Option<RunProgress>, RunError> {
    for store in stores {
        if let Some(history) = History::read(store, run).await? {
            let ended = history.outcome().is_some();
            return Ok(Some(if ended { RunProgress::Ended } else { RunProgress::Unfinished }));
        }
    }
    Ok(None)
}

/// Removes an object that may go. Its run is looked at once more: one that goes on by now keeps it, `Ok(false)`.
pub async fn remove_transfer(stores: &[Store], transfer: &Transfer) -> Result<bool, RunError> {
    if progress(stores, &transfer.run).await? == Some(RunProgress::Unfinished) {
        return Ok(false);
    }
    for store in stores.iter().filter(|store| store.name == transfer.store) {
        store.storage.delete(&transfer.key).await?;
    }
    Ok(true)
}

/// Removes a backup that may go, when it is its turn; `Ok(false)` when it was gone, or a point relies on it by now.
pub async fn remove_backup(
    context: &RunContext,
    stores: &[Store],
    backup: &MadeBackup,
    now: Timestamp,
) -> Result<bool, RunError> {
    let mut runs = BTreeMap::new();
    if let Some(progress) = progress(stores, &backup.run).await? {
        runs.insert(backup.run.clone(), progress);
    }
    let judged = judge_backups(vec![backup.clone()], &relied(stores).await?, &runs, now);
    if judged.iter().any(|left| left.kept.is_some()) {
        return Ok(false);
    }
    let turns =
        InstanceTurns::of(context, &backup.instance).await.map_err(|reason| super::unreachable(&backup.instance, reason))?;
    super::backup::remove_backup(&turns, &backup.run, &backup.name).await
}

/// Removes one that may go, when it is its turn; `Ok(false)` when it was gone. What lost its label or mark by then stays, and is an error.
pub async fn remove(context: &RunContext, left: &Left) -> Result<bool, RunError> {
    let turns = InstanceTurns::of(context, &left.instance).await.map_err(|reason| super::unreachable(&left.instance, reason))?;
    let order = BesideOrder { run: left.run.clone(), environment: "-".to_owned(), timeout: PATIENCE };
    let beside = Beside { turns, order };
    match &left.database {
        Some(database) => beside.discard(database).await,
        None => beside.discard_instance(&left.instance).await,
    }
}
