//! Writing the stages of a plan, many objects in flight.
//!
//! The archive is read in passes. A pass takes as many stages as lie in the archive in the plan's order: all of ours in one or two
//! passes, each stage in one of its own at worst. Between two stages everything in flight is waited for.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use dxdr_environment::ObjectReference;
use dxdr_format::journal::Evidence;
use dxdr_plan::restore::{Action, PlannedObject, Stage};
use dxdr_provider::{ClusterError, ClusterErrorKind};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Prepared, RestoreReport, copies, velero_volumes, volumes,
    write::{Written, write},
};
use crate::{
    active::ActiveRun,
    adaptive_limit::{AdaptiveLimit, Bounds},
    context::RunContext,
    error::RunError,
    event::Event,
};

/// Objects handed to writers at the same time. How many of them are on their way to the server is up to the adaptive limit, which
/// begins here too: an API server on two cores takes creates at its full rate with 32 in flight.
const WRITES_IN_FLIGHT: usize = 32;
/// Objects read ahead of the writers.
const READ_AHEAD: usize = 64;
/// How long a definition may take to be established and served.
const ESTABLISHING: Duration = Duration::from_secs(60);

/// Writes every stage that has something to write.
pub async fn stages(
    context: &RunContext,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    report.unchanged += prepared.plan.counts.same;
    let total = prepared.plan.stages.iter().flat_map(|stage| &stage.objects).filter(|object| object.writes()).count() as u64;
    let writing = Writing { context, prepared, limit: AdaptiveLimit::new(Bounds::default()), total };
    let mut claims_are_there = false;
    for pass in passes(&prepared.plan.stages) {
        let wanted: HashMap<u32, &PlannedObject> = pass
            .iter()
            .flat_map(|stage| &stage.objects)
            .filter(|object| object.writes())
            .map(|object| (object.index, object))
            .collect();
        let mut numbers: Vec<u32> = wanted.keys().copied().collect();
        numbers.sort_unstable();
        let (sender, mut receiver) = mpsc::channel(READ_AHEAD);
        let (source, fingerprints) = (prepared.source.clone(), Arc::clone(&prepared.fingerprints));
        let reading = tokio::spawn(async move { source.pick(numbers, fingerprints, sender).await });
        let mut written = Ok(());
        for stage in pass {
            if stage.behind_claims() && !std::mem::replace(&mut claims_are_there, true) {
                through_velero(context, prepared, run, report).await?;
            }
            written = write_stage(&writing, stage, &mut receiver, run, report).await;
            if written.is_err() {
                break;
            }
        }
        drop(receiver);
        // An archive that could not be read to its end is why a stage has come up short: that is what must be heard of.
        reading.await.map_err(|panic| RunError::Unexpected(panic.to_string()))??;
        written?;
    }
    if !claims_are_there {
        through_velero(context, prepared, run, report).await?;
    }
    volumes::release(context, prepared, run, report).await
}

/// What needs every claim to be there, and comes before anything that mounts one.
async fn through_velero(
    context: &RunContext,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    velero_volumes::bring_back(context, prepared, run, report).await?;
    copies::bring_back(context, prepared, run).await
}

/// What all stages of a restore share.
struct Writing<'a> {
    context: &'a RunContext,
    prepared: &'a Prepared,
    limit: AdaptiveLimit,
    /// Objects to write in all stages together.
    total: u64,
}

/// Groups stages so that within a group the archive's order is the plan's.
fn passes(stages: &[Stage]) -> Vec<Vec<&Stage>> {
    let mut passes: Vec<Vec<&Stage>> = Vec::new();
    let mut position = 0;
    for stage in stages.iter().filter(|stage| stage.objects.iter().any(PlannedObject::writes)) {
        let numbers = stage.objects.iter().filter(|object| object.writes()).map(|object| object.index);
        let (first, last) = (numbers.clone().min().unwrap_or(0), numbers.max().unwrap_or(0));
        match passes.last_mut() {
            Some(pass) if first >= position => pass.push(stage),
            _ => passes.push(vec![stage]),
        }
        position = last + 1;
    }
    passes
}

#[tracing::instrument(name = "stage", skip_all, fields(stage = stage.id))]
async fn write_stage(
    writing: &Writing<'_>,
    stage: &Stage,
    items: &mut mpsc::Receiver<(u32, Vec<u8>)>,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    let Writing { context, prepared, limit, total } = writing;
    run.start(&stage.step()).await?;
    let planned: HashMap<u32, &PlannedObject> =
        stage.objects.iter().filter(|object| object.writes()).map(|object| (object.index, object)).collect();
    let request = Arc::new(prepared.request.clone());
    let mut in_flight: JoinSet<(PlannedObject, Written)> = JoinSet::new();
    let (mut stopped, mut short) = (None, Short::default());
    let mut bytes = 0;
    for _ in 0..planned.len() {
        if context.stop.asked() {
            stopped = Some(RunError::Interrupted);
            break;
        }
        let Some((number, json)) = items.recv().await else {
            stopped = Some(RunError::Unexpected(format!("the archive ended within stage {}", stage.id)));
            break;
        };
        let Some(object) = planned.get(&number) else {
            stopped = Some(RunError::Unexpected(format!("item {number} of the archive is not of stage {}", stage.id)));
            break;
        };
        if in_flight.len() >= WRITES_IN_FLIGHT
            && let Some(done) = in_flight.join_next().await
            && let Some(error) = settle(context, done, report, &mut short)
        {
            stopped = Some(error);
            break;
        }
        bytes += json.len() as u64;
        let (cluster, request, object) = (Arc::clone(&context.cluster), Arc::clone(&request), (*object).clone());
        let (limit, stop, run) = (limit.clone(), context.stop.clone(), report.run.clone());
        in_flight.spawn(async move {
            let written = write(cluster.as_ref(), &limit, &stop, (&run, &request), &object, &json).await;
            (object, written)
        });
        let done = report.created + report.updated + report.failed.len() as u64;
        if done.is_multiple_of(50) {
            context.reporter.report(&Event::Progress {
                step: stage.id.to_string(),
                done,
                total: Some(*total),
                bytes,
                at: stage.title.to_string(),
            });
        }
    }
    // What is in flight is finished in any case: a write whose answer nobody reads is a write nobody knows of.
    while let Some(done) = in_flight.join_next().await {
        let error = settle(context, done, report, &mut short);
        stopped = stopped.or(error);
    }
    stopped = stopped.or((!short.unfilled.is_empty()).then(|| RunError::Unfilled(short.unfilled.join("; "))));
    if let Some(error) = stopped {
        // Objects that were not tried again any more tell nothing but that somebody asked to stop.
        return Err(if context.stop.asked() { RunError::Interrupted } else { error });
    }
    let definitions = stage.objects.iter().filter(|object| object.target.kind.plural == "customresourcedefinitions");
    // A refused one is never established: its objects fail, and are named, too.
    for object in definitions.filter(|object| !short.refused.contains(&object.target)) {
        established(context, &object.target).await?;
    }
    let summary = format!("{}: {} objects", stage.title, planned.len());
    run.finish(&stage.step(), &summary, Evidence::new()).await
}

/// What of a stage did not come to be.
#[derive(Default)]
struct Short {
    refused: HashSet<ObjectReference>,
    /// Claims that are not there with what was captured of their volumes, and why.
    unfilled: Vec<String>,
}

/// Counts one result; an error ends the stage when no other object can fare better.
fn settle(
    context: &RunContext,
    done: Result<(PlannedObject, Written), tokio::task::JoinError>,
    report: &mut RestoreReport,
    short: &mut Short,
) -> Option<RunError> {
    let (object, written) = match done {
        Ok(done) => done,
        Err(panic) => return Some(RunError::Unexpected(panic.to_string())),
    };
    if let Some(reason) = unfilled(&object, &written) {
        context.reporter.report(&Event::ObjectFailed { object: object.target.clone(), error: reason.clone() });
        short.unfilled.push(format!("{}: {reason}", object.target));
        return None;
    }
    let reference = object.target;
    match written {
        Written::Created => report.created += 1,
        Written::Updated => report.updated += 1,
        Written::Unchanged => report.unchanged += 1,
        Written::Left => report.left += 1,
        Written::Differs { paths, created } => {
            if created {
                report.created += 1;
            } else {
                report.updated += 1;
            }
            report.differing.push((reference.to_string(), paths));
        }
        Written::BeingDeleted => {
            let error = "it is being deleted, and its finalizers hold it".to_owned();
            context.reporter.report(&Event::ObjectFailed { object: reference.clone(), error });
            report.being_deleted.push(reference.to_string());
            short.refused.insert(reference);
        }
        Written::Failed(error) if hopeless(&reference, &error) => return Some(error.into()),
        Written::Failed(error) => {
            context.reporter.report(&Event::ObjectFailed { object: reference.clone(), error: error.message.clone() });
            report.failed.push(error);
            short.refused.insert(reference);
        }
    }
    None
}

/// Why a claim is not there with what was captured of its volume. Whoever mounts it would make an empty one of its name, or has, and the next
/// restore would find a claim that keeps its data.
fn unfilled(object: &PlannedObject, written: &Written) -> Option<String> {
    if object.action != Action::Create || object.volume.is_none() {
        return None;
    }
    match written {
        Written::Failed(error) if hopeless(&object.target, error) => None,
        Written::Failed(error) => Some(error.message.clone()),
        Written::BeingDeleted => Some("it is being deleted, and its finalizers hold it".to_owned()),
        Written::Left => Some("somebody made it since the plan was made, with another volume".to_owned()),
        Written::Created | Written::Updated | Written::Unchanged | Written::Differs { .. } => None,
    }
}

/// Whether the next object would fail just the same: without its namespace nothing of it can be written either.
fn hopeless(reference: &ObjectReference, error: &ClusterError) -> bool {
    (reference.kind.group.is_empty() && reference.kind.plural == "namespaces")
        || error.kind.retryable()
        || matches!(error.kind, ClusterErrorKind::Unauthenticated | ClusterErrorKind::NamespaceTerminating)
}

/// Waits until a definition is established and its kind is served.
async fn established(context: &RunContext, definition: &ObjectReference) -> Result<(), RunError> {
    let deadline = tokio::time::Instant::now() + ESTABLISHING;
    loop {
        if context.stop.asked() {
            return Err(RunError::Interrupted);
        }
        if let Some(json) = context.cluster.get(definition).await?
            && serde_json::from_slice::<Value>(&json).is_ok_and(|definition| is_established(&definition))
        {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(RunError::Unexpected(format!("{definition} is not established after {} s", ESTABLISHING.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_established(definition: &Value) -> bool {
    definition["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    })
}

#[cfg(test)]
mod tests {
    use dxdr_plan::restore::{CapturedVolume, Changes, VolumeSource, volume};

    use super::*;

    fn claim(action: Action, captured: bool) -> PlannedObject {
        let kind = volume::claims();
        let volume = captured.then(|| {
            let source = VolumeSource::Snapshot { driver: "disks.example.org".to_owned(), handle: "snap-1".to_owned() };
            Box::new(CapturedVolume { source, instant: jiff::Timestamp::UNIX_EPOCH, size: None, late: false })
        });
        let target = ObjectReference { kind, namespace: Some("copy".to_owned()), name: "data".to_owned() };
        PlannedObject { index: 0, target, action, changes: Changes::default(), volume }
    }

    fn failed(kind: ClusterErrorKind) -> Written {
        Written::Failed(ClusterError {
            kind,
            action: "restore",
            object: "it".to_owned(),
            cluster: "a cluster".to_owned(),
            message: "the disk is on fire".to_owned(),
            source: None,
        })
    }

    #[test]
    fn a_claim_that_is_not_there_with_what_was_captured_is_unfilled_whatever_kept_it_from_that() {
        let filled = claim(Action::Create, true);
        assert_eq!(unfilled(&filled, &failed(ClusterErrorKind::Other)).as_deref(), Some("the disk is on fire"));
        assert!(unfilled(&filled, &Written::BeingDeleted).is_some());
        // Made meanwhile by a controller: its volume is another one.
        assert!(unfilled(&filled, &Written::Left).is_some());
        for written in [Written::Created, Written::Unchanged, Written::Differs { paths: Vec::new(), created: true }] {
            assert_eq!(unfilled(&filled, &written), None);
        }
        // Nothing fares better then, and the run ends with that.
        assert_eq!(unfilled(&filled, &failed(ClusterErrorKind::Unreachable)), None);
        // There is nothing that it lacks.
        assert_eq!(unfilled(&claim(Action::Create, false), &failed(ClusterErrorKind::Other)), None);
        assert_eq!(unfilled(&claim(Action::Same, true), &Written::Left), None);
    }
}
