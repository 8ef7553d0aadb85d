//! What ran: listed, shown, resumed, cleaned up, by any process that reaches the store.

use std::collections::BTreeMap;

use dxdr_catalog::{RecoveryPoint, Trigger};
use dxdr_environment::Environment;
use dxdr_format::journal::{Entry, Finished, Planned, RunKind};
use dxdr_plan::{backup::BackupPlan, restore::RestoreRequest};
use dxdr_policy::BackupPolicy;
use jiff::Timestamp;

use crate::{
    backup, catalog,
    context::RunContext,
    error::RunError,
    journal::{History, Journal},
    lease,
    restore::{self, RestoreOrder, RestoreReport},
    store::Store,
};

/// The step of a backup whose evidence has the point's instant.
const CAPTURE: &str = "capture";

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

/// What cleaning up would remove: the keys of a point that never came to be. A restore leaves objects in the cluster, which its plan
/// names; they are not removed, since they may be in use.
pub async fn leftovers(store: &Store, history: &History) -> Result<Vec<String>, RunError> {
    let Some(planned) = history.planned() else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    for point in planned.points() {
        // With its manifest it is a recovery point, whatever became of the run.
        if store.read(&store.layout.manifest_key(&point)).await?.is_none() {
            keys.extend(store.keys(&store.layout.backup_prefix(&point)).await?);
            // Entered into the index before the manifest, under the instant that the capture found.
            if let Some(instant) = history.finished(CAPTURE).and_then(backup::instant_of_capture) {
                let key = store.layout.point_index_key(&planned.environment, instant, &point);
                if store.read(&key).await?.is_some() {
                    keys.push(key);
                }
            }
        }
    }
    Ok(keys)
}

/// Removes what a run left, and ends its journal. Refused while another process holds the environment.
pub async fn clean(context: &RunContext, history: &History) -> Result<Vec<String>, RunError> {
    let environment = history.planned().map(|planned| planned.environment.clone()).unwrap_or_default();
    let hold = lease::hold(context, &environment, &history.run).await?;
    let result = remove(context, history).await;
    hold.conclude(result).await
}

async fn remove(context: &RunContext, history: &History) -> Result<Vec<String>, RunError> {
    let mut journal = Journal::behind(&context.store, history);
    journal.record(&Entry::resumed(&context.holder, context.clock.now())).await?;
    let keys = leftovers(&context.store, history).await?;
    for key in &keys {
        context.store.storage.delete(key).await?;
    }
    let summary = format!("{} objects removed", keys.len());
    journal.record(&Entry::Finished(Finished::cleaned(summary, context.clock.now()))).await?;
    Ok(keys)
}

/// What a resumed run came to.
#[derive(Debug)]
pub enum Resumed {
    /// A recovery point.
    Backup(Box<RecoveryPoint>),
    /// A restore.
    Restore(RestoreReport),
}

/// Goes on with an unfinished run: plans again, and does what is left.
pub async fn resume(
    context: &RunContext,
    environment: &Environment,
    policy: Option<&BackupPolicy>,
    history: History,
) -> Result<Resumed, RunError> {
    let planned = history.planned().ok_or_else(|| RunError::NoSuchRun(history.run.clone()))?.clone();
    let parameters = parameters(&planned);
    match planned.kind {
        RunKind::Backup => {
            let plan = backup_plan(context, environment, policy, &planned, &parameters, Trigger::Requested).await?;
            Ok(Resumed::Backup(Box::new(backup::resume(context, &plan, history).await?)))
        }
        RunKind::Restore => {
            let unusable = || RunError::Unexpected(format!("the journal of {} does not say what was asked for", planned.run));
            let request = RestoreRequest::from_parameters(environment.name.clone(), &parameters).ok_or_else(unusable)?;
            let entry = catalog::named(&context.store, &request.point)
                .await?
                .ok_or_else(|| RunError::Unexpected(format!("recovery point {} is gone", request.point)))?;
            let protected = parameters.contains_key("protective-point") && history.finished("manifest").is_none();
            let protective = if protected {
                let trigger = Trigger::Protective { restore_run: planned.run.clone() };
                Some(backup_plan(context, environment, policy, &planned, &parameters, trigger).await?)
            } else {
                None
            };
            let prepared = restore::prepare(&context.store, Some(&context.cluster), &entry, request.clone()).await?;
            let order = RestoreOrder { run: planned.run.clone(), entry, request, protective };
            let mut report = restore::resume(context, &order, prepared, history).await?;
            report.protective_point = report.protective_point.or_else(|| parameters.get("protective-point").cloned());
            Ok(Resumed::Restore(report))
        }
    }
}

/// The plan of the run's own point, under the names that the journal has.
async fn backup_plan(
    context: &RunContext,
    environment: &Environment,
    policy: Option<&BackupPolicy>,
    planned: &Planned,
    parameters: &BTreeMap<String, String>,
    trigger: Trigger,
) -> Result<BackupPlan, RunError> {
    let unusable = || RunError::Unexpected(format!("the journal of {} does not name its recovery point", planned.run));
    let point = planned.points.first().ok_or_else(unusable)?;
    let started = parameters.get("protective-started").and_then(|text| text.parse().ok()).unwrap_or(planned.started);
    backup::plan_again(context, environment, policy, point, &planned.run, started, trigger).await
}

fn parameters(planned: &Planned) -> BTreeMap<String, String> {
    planned.parameters.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
