//! What ran: listed, shown, resumed, cleaned up, by any process that reaches the store.

use std::collections::BTreeMap;

use dxdr_catalog::RecoveryPoint;
use dxdr_environment::Environment;
use dxdr_format::{
    journal::{Entry, Evidence, Finished, Planned, RunKind},
    velero::csi_snapshot::CsiSnapshot,
};
use dxdr_plan::{
    backup::{BackupPlan, DATABASES_FOLDER, HookTime, RecordedBackup},
    restore::{
        RecordedDatabase, RestoreRequest,
        copies::FILES,
        plan::{THROUGH_VELERO, VELERO},
    },
    velero::VeleroBackupPlan,
};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    backup, catalog,
    context::RunContext,
    database,
    error::RunError,
    event::Event,
    hook,
    journal::{History, Journal},
    lease,
    restore::{self, PROTECTIVE, Prepared, ProtectivePoint, RestoreOrder, RestoreReport},
    snapshot::{self, SnapshotLeft, Taken},
    store::Store,
    velero,
};

/// The step of a backup whose evidence has the point's instant.
const CAPTURE: &str = "capture";
/// The step of a backup whose evidence has the instants of databases.
const DUMP: &str = "dump";
/// The step of a backup whose evidence has those of databases that a service exports.
const EXPORT: &str = "export";
/// The step of a backup behind which the point exists.
const MANIFEST: &str = "manifest";
/// The step of a backup in which applications are told to hold still.
const QUIESCE: &str = "quiesce";
/// The step of a backup in which they are told to go on.
const THAW: &str = "thaw";
/// The step of a backup whose evidence has the snapshots of volumes.
const SNAPSHOT: &str = "snapshot";
/// The step of a backup behind which nothing of them is in the cluster any more.
const RELEASE: &str = "release";

/// A run, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its identifier; identifiers sort by time.
    pub run: String,
    /// Backup or restore.
    pub kind: RunKind,
    /// The environment.
    pub environment: String,
    /// When it began.
    pub started: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// Steps that were finished, of those planned.
    pub steps: (usize, usize),
    /// When its journal was written last.
    pub last_heard_of: Timestamp,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// It ended.
    Ended {
        /// `succeeded`, `partial`, `failed`, `cleaned`.
        outcome: String,
        /// In a few words.
        summary: String,
    },
    /// It did not: its process is at work, or was killed, or gave up. The reason, where the journal has one.
    Unfinished {
        /// What the journal says last: an error, a request to stop, or the step it was at.
        last: String,
    },
}

/// What the folders of the runs hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Runs whose journal cannot be understood, with the reason.
    pub unreadable: Vec<(String, String)>,
}

/// Every run of the store.
pub async fn list(store: &Store) -> Result<Found, RunError> {
    let mut runs = store.folders(&store.layout.runs_prefix()).await?;
    runs.sort_unstable_by(|left, right| right.cmp(left));
    let mut found = Found::default();
    for run in runs {
        match History::read(store, &run).await {
            Ok(history) => found.runs.extend(history.as_ref().and_then(summary)),
            Err(error @ RunError::Format { .. }) => found.unreadable.push((run, crate::active::chain(&error))),
            Err(error) => return Err(error),
        }
    }
    // Two runs may begin in one second, and no more than that is in their names.
    found.runs.sort_by(|left, right| right.started.cmp(&left.started).then_with(|| right.run.cmp(&left.run)));
    Ok(found)
}

/// The journal of one run.
pub async fn history(store: &Store, run: &str) -> Result<History, RunError> {
    History::read(store, run).await?.ok_or_else(|| RunError::NoSuchRun(run.to_owned()))
}

/// The journal of a run that can be resumed or cleaned up.
pub async fn unfinished(store: &Store, run: &str) -> Result<History, RunError> {
    let history = history(store, run).await?;
    match history.outcome() {
        Some(Finished { outcome, .. }) => Err(RunError::Over { run: run.to_owned(), outcome: outcome.word().to_owned() }),
        None => Ok(history),
    }
}

/// A journal in a line; `None` for one that does not say what was planned.
pub fn summary(history: &History) -> Option<RunSummary> {
    let planned = history.planned()?;
    let finished = planned.steps.iter().filter(|step| history.finished(&step.id).is_some()).count();
    let state = match history.outcome() {
        Some(finished) => RunState::Ended { outcome: finished.outcome.word().to_owned(), summary: finished.summary.clone() },
        None => RunState::Unfinished { last: last(history) },
    };
    Some(RunSummary {
        run: history.run.clone(),
        kind: planned.kind,
        environment: planned.environment.clone(),
        started: planned.started,
        state,
        steps: (finished, planned.steps.len()),
        last_heard_of: history.entries.last().map_or(planned.started, Entry::at),
    })
}

fn last(history: &History) -> String {
    match history.entries.last() {
        Some(Entry::StepFailed(failed)) => failed.error.clone(),
        Some(Entry::Interrupted(interrupted)) => interrupted.reason.clone(),
        Some(Entry::StepStarted(started)) => format!("in step {}", started.step),
        Some(Entry::StepFinished(finished)) => format!("behind step {}", finished.step),
        Some(Entry::Resumed(_)) => "resumed".to_owned(),
        _ => "planned".to_owned(),
    }
}

/// What cleaning up would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Keys of the store, in the order in which they go.
    pub keys: Vec<String>,
    /// Snapshots of volumes, as far as they are there.
    pub snapshots: Vec<SnapshotLeft>,
    /// Databases that were loaded beside, and not put in place.
    pub databases: Vec<RecordedDatabase>,
    /// Databases that were put in place, and stay.
    pub in_place: Vec<RecordedDatabase>,
}

/// What cleaning up would remove: snapshots of volumes, and the keys of a point that never came to be. `velero-backup.json` goes
/// first, so that Velero never sees half a backup, then the entry of the index, then the rest. A restore leaves objects in the
/// cluster, which its plan names; they are not removed, since they may be in use. A backup that Velero was asked for is Velero's to
/// delete, with its snapshots; what was captured of databases beside it goes, and the rest is adopted when somebody looks.
pub async fn leftovers(store: &Store, history: &History) -> Result<Leftovers, RunError> {
    let mut left = Leftovers::default();
    let Some(planned) = history.planned() else { return Ok(left) };
    let keys = &mut left.keys;
    if VeleroBackupPlan::recorded(&planned.parameters) {
        for point in planned.points() {
            if store.read(&store.layout.manifest_key(&point)).await?.is_none() {
                keys.extend(store.keys(&store.layout.object_key(&point, DATABASES_FOLDER)).await?);
            }
        }
        return Ok(left);
    }
    let mut exists = false;
    for point in planned.points() {
        // With its manifest it is a recovery point, whatever became of the run.
        if store.read(&store.layout.manifest_key(&point)).await?.is_some() {
            exists = true;
            continue;
        }
        let marker = store.layout.backup_key(&point);
        let objects = store.keys(&store.layout.backup_prefix(&point)).await?;
        let (marker, rest): (Vec<String>, Vec<String>) = objects.into_iter().partition(|key| *key == marker);
        keys.extend(marker);
        // Entered into the index before the manifest, under the instant that the capture found.
        let captures = history.evidence(CAPTURE).into_iter().filter_map(backup::instant_of_capture);
        let dumps: Vec<Evidence> = [DUMP, EXPORT].into_iter().flat_map(|step| history.evidence(step)).cloned().collect();
        for instant in database::possible_instants(captures, &dumps) {
            let key = store.layout.point_index_key(&planned.environment, instant, &point);
            if store.read(&key).await?.is_some() {
                keys.push(key);
            }
        }
        keys.extend(rest);
    }
    left.snapshots = snapshots_left(history, planned, exists);
    left.databases = restore::databases::unfinished(history);
    left.in_place = restore::databases::in_place(history);
    Ok(left)
}

impl Leftovers {
    /// With what the servers say of databases of which the journal does not say whether they were put in place.
    pub fn with_found(mut self, found: Vec<RecordedDatabase>) -> Self {
        self.databases.retain(|database| !found.contains(database));
        self.in_place.extend(found);
        self
    }
}

/// The snapshots whose objects the run may have left in the cluster; `exists` says whether there is a point that needs them.
fn snapshots_left(history: &History, planned: &Planned, exists: bool) -> Vec<SnapshotLeft> {
    if !history.started(SNAPSHOT) || history.finished(RELEASE).is_some() {
        return Vec::new();
    }
    let made = RecordedBackup::planned_snapshots(parameters_of_backup(planned)).unwrap_or_default();
    let taken = taken(history);
    let (snapshots, groups) = taken.as_ref().map(|taken| (&taken.snapshots[..], &taken.groups[..])).unwrap_or_default();
    let single = made.single.into_iter().map(|(namespace, name)| {
        let is_it = |known: &CsiSnapshot| known.namespace == namespace && known.name == name;
        let kept = exists && snapshots.iter().any(is_it);
        SnapshotLeft { namespace, name, group: None, kept }
    });
    let grouped = made.groups.into_iter().map(|made| {
        let kept = exists && groups.iter().any(|known| known.namespace == made.namespace && known.name == made.name);
        SnapshotLeft { namespace: made.namespace, name: made.name, group: Some(made.version), kept }
    });
    // Their names are the cluster's: of groups that were not seen taken, nobody knows them, and they go with their group.
    let members = snapshots.iter().filter(|snapshot| snapshot.group.is_some()).map(|member| SnapshotLeft {
        namespace: member.namespace.clone(),
        name: member.name.clone(),
        group: None,
        kept: exists,
    });
    single.chain(grouped).chain(members).collect()
}

/// Those of the backup: the run's own, or of the point that protects from a restore.
fn parameters_of_backup(planned: &Planned) -> &Map<String, Value> {
    planned.parameters.get(PROTECTIVE).and_then(Value::as_object).unwrap_or(&planned.parameters)
}

/// What an earlier process saw taken.
fn taken(history: &History) -> Option<Taken> {
    history.evidence(SNAPSHOT).pop().and_then(|evidence| snapshot::from_evidence(evidence).ok())
}

/// Removes what a run left, and ends its journal. Refused while another process holds the environment.
pub async fn clean(context: &RunContext, history: &History) -> Result<Leftovers, RunError> {
    let environment = history.planned().map(|planned| planned.environment.clone()).unwrap_or_default();
    lease::held(context, &environment, &history.run, remove(context, history)).await
}

async fn remove(context: &RunContext, history: &History) -> Result<Leftovers, RunError> {
    let mut journal = Journal::behind(&context.store, history);
    journal.record(&Entry::resumed(&context.holder, context.clock.now())).await?;
    let (history, unknown) = restore::databases::settle(context, history, &mut journal).await?;
    let history = &history;
    let mut left = leftovers(&context.store, history).await?;
    // Of which nobody knows whether it is in place, that is left.
    left.databases.retain(|database| unknown.iter().all(|(unknown, _)| unknown != database));
    if history.started(QUIESCE) && history.finished(THAW).is_none() {
        let hooks = history.planned().and_then(|planned| RecordedBackup::planned_hooks(parameters_of_backup(planned)));
        let hooks = hooks.unwrap_or_default();
        // What failed was told; there is no point that could lack it.
        hook::run_all(context, hooks.iter().filter(|hook| hook.when == HookTime::After)).await;
    }
    // Before the evidence of what the storage calls them is out of reach.
    snapshot::discard(context, &left.snapshots, taken(history).as_ref()).await?;
    let stuck = restore::databases::remove(context, history, &left.databases).await?;
    for key in &left.keys {
        context.store.storage.delete(key).await?;
    }
    if history.planned().is_some_and(|planned| planned.kind == RunKind::Restore) {
        restore::discard_snapshots(context, &history.run).await?;
    }
    let unknown = unknown.into_iter().map(|(database, error)| (format!("database `{}`", database.beside), error));
    let through_velero = end_velero(context, history).await.err().map(|error| ("what Velero does for it".to_owned(), error));
    let mut stuck = stuck.into_iter().chain(unknown).chain(through_velero);
    if let Some((first, source)) = stuck.next() {
        let others = stuck.map(|(what, error)| format!("{what} ({})", crate::active::chain(&error)));
        let what = std::iter::once(first).chain(others).collect::<Vec<_>>().join(", ");
        return Err(RunError::LeftBehind { run: history.run.clone(), what, source: Box::new(source) });
    }
    let summary = format!("{} objects removed", left.keys.len() + left.snapshots.len() + left.databases.len());
    journal.record(&Entry::Finished(Finished::cleaned(summary, context.clock.now()))).await?;
    Ok(left)
}

/// Ends what Velero does for the run, and removes what it was asked through.
async fn end_velero(context: &RunContext, history: &History) -> Result<(), RunError> {
    let Some(step) = THROUGH_VELERO.into_iter().find(|step| history.started(step)) else { return Ok(()) };
    velero::ending::end(context, &history.run, step).await?;
    let texts = history.planned().map(texts).unwrap_or_default();
    match texts.get("beside").or_else(|| texts.get("source-namespace")) {
        // Both are told by modifiers how Velero changes what it restores.
        Some(namespace) if history.started(FILES) || history.started(VELERO) => {
            restore::copies::discard(context, &history.run, namespace).await
        }
        _ => Ok(()),
    }
}

/// What a resumed run came to.
#[derive(Debug)]
pub enum Resumed {
    /// A recovery point.
    Backup(Box<RecoveryPoint>),
    /// A restore.
    Restore(Box<RestoreReport>),
}

/// An unfinished run, planned again: what is left of it.
#[derive(Debug)]
pub enum Resumption {
    /// A backup.
    Backup {
        /// What is left; no lists when everything was captured.
        plan: Box<BackupPlan>,
        /// What was done.
        history: History,
    },
    /// A backup that Velero makes.
    VeleroBackup {
        /// As it was asked for.
        plan: Box<VeleroBackupPlan>,
        /// What was done.
        history: History,
    },
    /// A restore.
    Restore {
        /// With the protective point where it is not there yet.
        order: Box<RestoreOrder>,
        /// Compared with the cluster as it is now.
        prepared: Box<Prepared>,
        /// What was done.
        history: History,
    },
}

/// Plans an unfinished run again, from what its journal says was asked for. `environment` is the environment as the manifests have it
/// now. Changes nothing.
///
/// # Errors
/// When the environment is in another namespace by now, and the run would touch the one it was in; when the recovery point is gone.
pub async fn prepare(context: &RunContext, environment: &Environment, mut history: History) -> Result<Resumption, RunError> {
    let planned = history.planned().ok_or_else(|| RunError::NoSuchRun(history.run.clone()))?.clone();
    let unusable = || RunError::Unexpected(format!("the journal of {} does not say what was asked for", planned.run));
    match planned.kind {
        RunKind::Backup if VeleroBackupPlan::recorded(&planned.parameters) => {
            let plan =
                VeleroBackupPlan::parse(environment.name.clone(), &planned.run, &planned.parameters).ok_or_else(unusable)?;
            Ok(Resumption::VeleroBackup { plan: Box::new(plan), history })
        }
        RunKind::Backup => {
            let recorded =
                RecordedBackup::parse(environment.name.clone(), &planned.run, &planned.parameters).ok_or_else(unusable)?;
            let plan = Box::new(backup_plan(context, environment, &recorded, &mut history).await?);
            Ok(Resumption::Backup { plan, history })
        }
        RunKind::Restore => {
            let texts = texts(&planned);
            let request = RestoreRequest::from_parameters(environment.name.clone(), &texts).ok_or_else(unusable)?;
            if !request.beside() {
                unmoved(environment, &planned.run, &request.source_namespace)?;
            }
            let gone = || RunError::PointGone { point: request.point.clone(), run: planned.run.clone() };
            let entry = catalog::named(&context.store, &request.point).await?.ok_or_else(gone)?;
            let protective = match planned.parameters.get(PROTECTIVE) {
                Some(Value::Object(parameters)) => {
                    let recorded =
                        RecordedBackup::parse(environment.name.clone(), &planned.run, parameters).ok_or_else(unusable)?;
                    Some(protective(context, environment, &recorded, &mut history).await?)
                }
                _ => None,
            };
            let mut prepared = restore::prepare_again(context, &entry, request.clone(), &history).await?;
            if let dxdr_catalog::Entry::Ours(point) = &entry {
                let recorded = restore::databases::of_run(&history);
                prepared.plan.databases = recorded.into_iter().filter_map(|database| database.of_point(point)).collect();
            }
            let notes = restore::examine(context, &prepared.plan).await;
            prepared.plan.notes.extend(notes);
            let order = RestoreOrder { run: planned.run.clone(), entry, request, protective };
            Ok(Resumption::Restore { order: Box::new(order), prepared: Box::new(prepared), history })
        }
    }
}

/// Goes on with an unfinished run: does what is left.
pub async fn resume(context: &RunContext, resumption: Resumption) -> Result<Resumed, RunError> {
    match resumption {
        Resumption::VeleroBackup { plan, history } => {
            Ok(Resumed::Backup(Box::new(velero::backup::resume(context, &plan, history).await?)))
        }
        Resumption::Backup { plan, history } => Ok(Resumed::Backup(Box::new(backup::resume(context, &plan, history).await?))),
        Resumption::Restore { order, prepared, history } => {
            Ok(Resumed::Restore(Box::new(restore::resume(context, &order, *prepared, history).await?)))
        }
    }
}

/// The point that a restore in place takes first, by its journal.
pub fn protective_point(planned: &Planned) -> Option<String> {
    planned.parameters.get(PROTECTIVE)?.get("point")?.as_str().map(str::to_owned)
}

/// The way back of a restore that an earlier process left: what is left of taking it, or the point itself.
async fn protective(
    context: &RunContext,
    environment: &Environment,
    recorded: &RecordedBackup,
    history: &mut History,
) -> Result<ProtectivePoint, RunError> {
    let unreleased = history.left().iter().any(|step| step.id == RELEASE);
    if history.finished(MANIFEST).is_none() || unreleased {
        return Ok(ProtectivePoint::ToTake(Box::new(backup_plan(context, environment, recorded, history).await?)));
    }
    let point = match catalog::named(&context.store, &recorded.point).await? {
        Some(dxdr_catalog::Entry::Ours(point)) => Some(Box::new(point)),
        Some(dxdr_catalog::Entry::Foreign(_)) | None => None,
    };
    Ok(ProtectivePoint::Taken { name: recorded.point.clone(), point })
}

/// What is left of a backup. What was captured is not captured again, unless the archive is not there any more as it was left.
async fn backup_plan(
    context: &RunContext,
    environment: &Environment,
    recorded: &RecordedBackup,
    history: &mut History,
) -> Result<BackupPlan, RunError> {
    if let Some(evidence) = history.finished(CAPTURE) {
        let Some(problem) = backup::archive_problem(context, &recorded.point, evidence).await? else {
            return Ok(recorded.captured()?);
        };
        let text = format!("the archive of {} is not as it was left: {problem}; it is captured again", recorded.point);
        context.reporter.report(&Event::Warning { text });
        history.disregard(CAPTURE);
    }
    for namespace in &recorded.request.namespaces {
        unmoved(environment, &recorded.run, namespace)?;
    }
    backup::plan_again(context, recorded).await
}

/// Fails when the environment is in another namespace by now than when the run was planned.
fn unmoved(environment: &Environment, run: &str, namespace: &str) -> Result<(), RunError> {
    if environment.namespace.as_str() == namespace {
        return Ok(());
    }
    Err(RunError::Moved {
        environment: environment.name.to_string(),
        run: run.to_owned(),
        was: namespace.to_owned(),
        is: environment.namespace.to_string(),
    })
}

fn texts(planned: &Planned) -> BTreeMap<String, String> {
    planned.parameters.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
