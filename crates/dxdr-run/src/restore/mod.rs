//! Restoring: prepare (read the archive and the target, plan), then carry the plan out stage by stage.
//!
//! ```text
//! archive ─► planner ◄─ live objects of the target          prepare: changes nothing
//!               │
//!               ▼
//!          RestorePlan ─► hold ─► protective point (in place) ─► databases ─► stage ─► stage ─► … ─► prune ─► release
//! ```
//!
//! Restoring converges: an object that an earlier attempt wrote is found to be as planned. So a run that was killed is resumed by
//! planning again and doing what is left; only the protective point is remembered by its name.

pub mod apply;
pub mod archive;
pub mod copies;
pub mod databases;
pub mod live;
mod unbound;
mod velero_volumes;
mod volumes;
mod way;
pub mod write;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use dxdr_catalog::{Entry, RecoveryPoint, Sha256};
use dxdr_environment::EnvironmentName;
use dxdr_format::{
    journal::{Evidence, Outcome, Planned, RunKind},
    velero::resource_list::Restored,
};
use dxdr_plan::{
    Note, PlanError,
    backup::BackupPlan,
    restore::{
        Action, CopiedClaim, DatabaseRestore, Executor, RestorePlan, RestorePlanner, RestoreRequest, VeleroVolume, VolumeSource,
    },
    velero::restore_of_everything,
};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};

use crate::{
    active::ActiveRun, backup, context::RunContext, error::RunError, event::Event, journal::History, lease, store::Store,
    velero::restore as velero,
};
use serde_json::{Map, Value};

use archive::{ArchiveSource, Fingerprints};

/// The parameter of a restore's journal that has those of its protective point.
pub(crate) const PROTECTIVE: &str = "protective";

/// The parameter of a restore's journal that has the claims whose data the point lacks.
const WITHOUT_DATA: &str = "without-data";

/// A restore, planned.
#[derive(Debug)]
pub struct Prepared {
    /// What will be done.
    pub plan: RestorePlan,
    /// What was asked for.
    pub request: RestoreRequest,
    /// Where the objects come from.
    pub source: ArchiveSource,
    /// What they were when the plan was made.
    pub fingerprints: Arc<Fingerprints>,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct RestoreReport {
    /// The run.
    pub run: String,
    /// The environment.
    pub environment: String,
    /// The namespace beside, when it went beside.
    pub beside: Option<String>,
    /// The protective point, when one was taken.
    pub protective_point: Option<String>,
    /// Objects created.
    pub created: u64,
    /// Objects changed.
    pub updated: u64,
    /// Objects that were as planned already.
    pub unchanged: u64,
    /// Objects that differ and were left as they are.
    pub left: u64,
    /// Of these, the ones that should have been changed and that nobody can change.
    pub immutable: Vec<String>,
    /// Also of these, the ones that are being deleted.
    pub being_deleted: Vec<String>,
    /// Objects deleted because they were not there at the instant.
    pub pruned: u64,
    /// Objects that the server made something else of: their names and the fields.
    pub differing: Vec<(String, Vec<String>)>,
    /// Objects that Velero made although the plan leaves them out, or to others.
    pub beyond: Vec<String>,
    /// Objects that could not be written or removed; the errors name them.
    pub failed: Vec<ClusterError>,
    /// Objects that the target does not serve: their names, and what it does serve.
    pub not_served: Vec<(String, String)>,
    /// Volume claims that were created although the point lacks their data, and nobody asked for empty ones: their names, and why it does.
    pub without_data: Vec<(String, String)>,
    /// Why objects that were to be removed were kept.
    pub kept: Option<String>,
    /// Databases that were brought back.
    pub databases: Vec<databases::RestoredDatabase>,
}

impl RestoreReport {
    /// Before anything is done.
    pub fn of_plan(plan: &RestorePlan) -> Self {
        let not_served = plan.not_served().map(|left_out| (left_out.object.to_string(), left_out.reason.to_string())).collect();
        let beside = (plan.target_namespace != plan.source_namespace).then(|| plan.target_namespace.clone());
        Self {
            environment: plan.environment.to_string(),
            beside,
            not_served,
            left: plan.counts.leave,
            immutable: plan.immutable().map(|object| object.target.to_string()).collect(),
            being_deleted: plan.being_deleted().map(|object| object.target.to_string()).collect(),
            without_data: plan.without_data.iter().map(|(claim, reason)| (claim.to_string(), reason.clone())).collect(),
            ..Self::default()
        }
    }

    /// Whether everything of the plan is as it was at the instant.
    pub fn complete(&self) -> bool {
        let left = self.immutable.is_empty() && self.being_deleted.is_empty() && self.kept.is_none();
        left && self.failed.is_empty() && self.not_served.is_empty() && self.without_data.is_empty()
    }
}

pub(crate) use volumes::discard as discard_snapshots;

/// What forbids the plan that only the cluster, and what runs there, can tell. Changes nothing.
pub async fn examine(context: &RunContext, plan: &RestorePlan) -> Vec<Note> {
    let mut notes = velero::examine(context, plan).await;
    notes.extend(copies::examine(context, plan).await);
    notes
}

/// The archive of an entry.
pub fn source(store: &Store, entry: &Entry) -> ArchiveSource {
    let key = store.layout.archive_key(entry.name());
    let sha256 = match entry {
        Entry::Ours(point) => recorded(store, point, &key),
        Entry::Foreign(_) => None,
    };
    ArchiveSource { store: store.clone(), key, sha256 }
}

fn recorded(store: &Store, point: &RecoveryPoint, key: &str) -> Option<Sha256> {
    point.objects.iter().find(|object| store.layout.object_key(&point.name, &object.key) == key).map(|object| object.sha256)
}

/// Reads the archive, and the target where there is a cluster, and plans. Without a cluster the plan is made from the store alone,
/// and knows nothing of what lives in the target. Changes nothing.
pub async fn prepare(
    store: &Store,
    cluster: Option<&Arc<dyn Cluster>>,
    entry: &Entry,
    request: RestoreRequest,
) -> Result<Prepared, RunError> {
    planned_with(store, cluster, entry, request, BTreeSet::new()).await
}

/// The same for a run that an earlier process left, by its journal.
pub(crate) async fn prepare_again(
    context: &RunContext,
    entry: &Entry,
    request: RestoreRequest,
    history: &History,
) -> Result<Prepared, RunError> {
    planned_with(&context.store, Some(&context.cluster), entry, request, velero_volumes::begun(history)).await
}

/// `begun`: claims that Velero was asked to bring back before.
async fn planned_with(
    store: &Store,
    cluster: Option<&Arc<dyn Cluster>>,
    entry: &Entry,
    request: RestoreRequest,
    begun: BTreeSet<String>,
) -> Result<Prepared, RunError> {
    if let Some(reason) = entry.unrestorable() {
        return Err(PlanError::Unrestorable { backup: entry.name().to_owned(), reason: reason.to_string() }.into());
    }
    if request.prune
        && let Some(reason) = unknown_extent(entry)
    {
        return Err(PlanError::Prune { reason }.into());
    }
    let source = source(store, entry);
    let (kinds, live) = match cluster {
        Some(cluster) => {
            let discovery = cluster.discover().await?;
            let live = live::observe(cluster, &discovery.kinds, request.target_namespace()).await?;
            (Some(discovery.kinds), Some(live))
        }
        None => (None, None),
    };
    // A kind that was read and had no objects is known to have had none: what is of it now was not there then.
    let captured = match entry {
        Entry::Ours(point) => point.resources().map(|resources| resources.kinds.clone()).unwrap_or_default(),
        Entry::Foreign(_) => Vec::new(),
    };
    let (volumes, gaps) = volumes::captured(store, entry, &request.source_namespace).await?;
    let planner = RestorePlanner::new(request.clone(), kinds.as_deref(), live)?
        .volumes(&volumes)
        .begun(begun)
        .gaps(&gaps)
        .captured(captured.into_iter().map(|kind| kind.group_resource));
    let (planner, fingerprints) = source
        .visit((planner, Fingerprints::default()), |(planner, fingerprints), number, item, json| {
            fingerprints.take(item, json);
            planner.observe(number, &item.group_resource, item.namespace.as_deref(), &item.name, json)?;
            Ok(true)
        })
        .await?;
    Ok(Prepared { plan: planner.finish(), request, source, fingerprints: Arc::new(fingerprints) })
}

/// Why the entry does not tell what was there; `None` when it does.
fn unknown_extent(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Ours(point) if point.complete() => None,
        Entry::Ours(point) => Some(format!("recovery point {} is partial, it lacks {}", point.name, lacks(point))),
        Entry::Foreign(backup) => {
            Some(format!("{} is a backup of Velero's, whose filters may have left objects out", backup.name))
        }
    }
}

/// A restore to be carried out.
#[derive(Debug)]
pub struct RestoreOrder {
    /// The run's identifier.
    pub run: String,
    /// The point or backup to go back to.
    pub entry: Entry,
    /// What was asked for.
    pub request: RestoreRequest,
    /// The way back; in place only.
    pub protective: Option<ProtectivePoint>,
}

impl RestoreOrder {
    /// The protective point that is still to be taken.
    pub fn to_protect(&self) -> Option<&BackupPlan> {
        match &self.protective {
            Some(ProtectivePoint::ToTake(plan)) => Some(plan),
            Some(ProtectivePoint::Taken { .. }) | None => None,
        }
    }
}

/// The recovery point of the state before a restore in place.
#[derive(Debug)]
pub enum ProtectivePoint {
    /// Taken before anything is written.
    ToTake(Box<BackupPlan>),
    /// An earlier process of the same run took it.
    Taken {
        /// Its name.
        name: String,
        /// As it is in the store; `None` when somebody removed it since.
        point: Option<Box<RecoveryPoint>>,
    },
}

/// Carries out a restore as a new run.
pub async fn restore(context: &RunContext, order: &RestoreOrder, prepared: Prepared) -> Result<RestoreReport, RunError> {
    lease::held(context, order.request.environment.as_str(), &order.run, async {
        let run = ActiveRun::begin(context, &order.run, planned(context, order, &prepared)).await?;
        let report = RestoreReport::of_plan(&prepared.plan);
        carry_out(context, order, prepared, run, report).await
    })
    .await
}

fn planned(context: &RunContext, order: &RestoreOrder, prepared: &Prepared) -> Planned {
    let mut parameters: Map<String, Value> =
        order.request.parameters().into_iter().map(|(key, value)| (key, value.into())).collect();
    let protective = order.to_protect();
    if let Some(plan) = protective {
        parameters.insert(PROTECTIVE.to_owned(), plan.parameters().into());
    }
    if !prepared.plan.databases.is_empty() {
        let recorded = prepared.plan.databases.iter().map(DatabaseRestore::parameters).collect();
        parameters.insert(databases::DATABASES.to_owned(), recorded);
    }
    if !prepared.plan.through_velero.is_empty() {
        let claims = prepared.plan.through_velero.iter().map(|volume| volume.claim.name.clone());
        parameters.insert(velero_volumes::CLAIMS.to_owned(), claims.collect());
    }
    if !prepared.plan.without_data.is_empty() {
        let claims = prepared.plan.without_data.iter().map(|(claim, reason)| (claim.to_string(), reason.as_str().into()));
        parameters.insert(WITHOUT_DATA.to_owned(), Value::Object(claims.collect()));
    }
    let protective_steps =
        protective.map(|plan| plan.steps.all().into_iter().map(backup::recorded).collect()).unwrap_or_default();
    Planned {
        run: order.run.clone(),
        kind: RunKind::Restore,
        environment: order.request.environment.to_string(),
        parameters,
        points: protective.map(|plan| plan.point.clone()).into_iter().collect(),
        steps: [protective_steps, prepared.plan.steps().iter().map(backup::recorded).collect::<Vec<_>>()].concat(),
        program: context.program.clone(),
        holder: context.holder.clone(),
        started: context.clock.now(),
    }
}

/// The claims of which the plan of an earlier process said that the point lacks their data, and why it does.
fn without_data(history: &History) -> impl Iterator<Item = (String, String)> {
    let recorded = history.planned().and_then(|planned| planned.parameters.get(WITHOUT_DATA)).and_then(Value::as_object);
    recorded.into_iter().flatten().filter_map(|(claim, reason)| Some((claim.clone(), reason.as_str()?.to_owned())))
}

/// Goes on with a restore that an earlier process left: plans again, and does what is left.
pub async fn resume(
    context: &RunContext,
    order: &RestoreOrder,
    prepared: Prepared,
    history: History,
) -> Result<RestoreReport, RunError> {
    lease::held(context, order.request.environment.as_str(), &order.run, async {
        let mut report = RestoreReport::of_plan(&prepared.plan);
        // A claim that an earlier process created is there by now, and has its data no more than before.
        let created = without_data(&history).filter(|(claim, _)| report.without_data.iter().all(|(known, _)| known != claim));
        let created: Vec<_> = created.collect();
        report.without_data.extend(created);
        let run = ActiveRun::resume(context, history).await?;
        carry_out(context, order, prepared, run, report).await
    })
    .await
}

#[tracing::instrument(name = "restore", skip_all, fields(run = order.run, environment = %order.request.environment, point = order.request.point))]
async fn carry_out(
    context: &RunContext,
    order: &RestoreOrder,
    prepared: Prepared,
    mut run: ActiveRun,
    mut report: RestoreReport,
) -> Result<RestoreReport, RunError> {
    report.run.clone_from(&order.run);
    let done = steps(context, order, &prepared, &mut run, &mut report).await;
    let counts = &prepared.plan.counts;
    let mut remaining = vec![format!(
        "{} of {} objects are written, {} of {} removed",
        report.created + report.updated,
        counts.create + counts.update,
        report.pruned,
        counts.prune
    )];
    let swaps: Vec<_> = prepared.plan.databases.iter().filter_map(DatabaseRestore::swap_step).collect();
    if !swaps.is_empty() {
        let left = run.left();
        let done = swaps.iter().filter(|swap| !left.contains(&swap.id)).count();
        remaining.push(format!("{done} of {} databases have changed places", swaps.len()));
    }
    remaining.extend(report.protective_point.iter().map(|point| format!("the state before is recovery point {point}")));
    let result = done.map(|()| {
        let outcome = if report.complete() { Outcome::Succeeded } else { Outcome::Partial };
        let summary = format!(
            "{} created, {} updated, {} unchanged, {} pruned, {} failed",
            report.created,
            report.updated,
            report.unchanged,
            report.pruned,
            report.failed.len()
        );
        (report, outcome, summary)
    });
    run.end(result, remaining).await
}

async fn steps(
    context: &RunContext,
    order: &RestoreOrder,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    match &order.protective {
        Some(ProtectivePoint::ToTake(plan)) => {
            let point = backup::steps(context, plan, run).await?;
            protected(context, order, &point, report);
        }
        Some(ProtectivePoint::Taken { point: Some(point), .. }) => protected(context, order, point, report),
        Some(ProtectivePoint::Taken { name, point: None }) => {
            report.kept = Some(format!("the protective point {name} is gone, so nothing would bring them back"));
        }
        None => {}
    }
    report.databases = databases::restore(context, &order.request, &prepared.plan.databases, run).await?;
    match order.request.executor {
        Executor::Dxdr => apply::stages(context, prepared, run, report).await?,
        Executor::Velero => return by_velero(context, order, prepared, run, report).await,
    }
    if !report.failed.is_empty() {
        report.kept = Some("not everything could be written, and what is there may still be needed".to_owned());
    }
    if prepared.plan.prune.is_empty() {
        report.kept = None;
    }
    prune(context, prepared, run, report).await
}

/// Has Velero carry everything out, and holds what came of it against the plan.
async fn by_velero(
    context: &RunContext,
    order: &RestoreOrder,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    let step = RestorePlan::velero_restore();
    run.start(&step).await?;
    let object = restore_of_everything(&order.request, run.id(), &context.velero_namespace);
    let outcome = velero::restore(context, &object, &order.request.point, &step, velero::Adopted::Carried).await?;
    let lacking = lacking_data(context, &prepared.plan, &outcome).await?;
    let now = prepare(&context.store, Some(&context.cluster), &order.entry, order.request.clone()).await?;
    report.left = now.plan.counts.leave;
    report.immutable = now.plan.immutable().map(|object| object.target.to_string()).collect();
    report.being_deleted = now.plan.being_deleted().map(|object| object.target.to_string()).collect();
    for planned in now.plan.stages.iter().flat_map(|stage| &stage.objects) {
        match &planned.action {
            Action::Create => {
                let words = velero_volumes::words(&planned.target, &outcome);
                report.failed.push(velero_volumes::not_back(context, &planned.target, words));
            }
            Action::Update { differences, .. } => {
                let paths: Vec<&str> = differences.iter().map(|difference| difference.path.as_str()).collect();
                let reason = format!("Velero left it different: {}", paths.join(", "));
                report.failed.push(velero_volumes::not_back(context, &planned.target, reason));
            }
            Action::Same | Action::Leave { .. } => {}
        }
    }
    report.failed.extend(lacking);
    if report.failed.is_empty() && (outcome.phase != "Completed" || !outcome.errors.is_empty()) {
        report.failed.push(velero_volumes::not_back(
            context,
            &object.reference,
            velero_volumes::words(&object.reference, &outcome),
        ));
    }
    let (was, is) = (&prepared.plan.counts, &now.plan.counts);
    report.created = was.create.saturating_sub(is.create);
    report.updated = was.update.saturating_sub(is.update);
    report.unchanged = was.same;
    report.beyond = beyond(&prepared.plan, &outcome.restored);
    for text in outcome.errors.iter().chain(&outcome.warnings) {
        context.reporter.report(&Event::Warning { text: format!("Velero: {text}") });
    }
    let summary = format!(
        "{}: {} created, {} updated, {} differ, {} missing, {} beyond the plan",
        outcome.phase,
        report.created,
        report.updated,
        is.update,
        is.create,
        report.beyond.len()
    );
    run.finish(&step, &summary, Evidence::new()).await
}

/// The claims that Velero made of `plan`, and that lack their data: by what it says of each copy, or snapshot, that nobody else can read.
async fn lacking_data(
    context: &RunContext,
    plan: &RestorePlan,
    outcome: &velero::VeleroOutcome,
) -> Result<Vec<ClusterError>, RunError> {
    let (mut volumes, mut copies) = (Vec::new(), Vec::new());
    let created = plan.stages.iter().flat_map(|stage| &stage.objects).filter(|object| object.action == Action::Create);
    for (claim, captured) in created.filter_map(|object| Some((object.target.clone(), object.volume.as_deref()?))) {
        match &captured.source {
            VolumeSource::Velero { method } => volumes.push(VeleroVolume {
                claim,
                method: method.clone(),
                instant: captured.instant,
                labels: BTreeMap::new(),
                class: None,
            }),
            VolumeSource::Files { pod: Some(pod) } => {
                copies.push(CopiedClaim { claim, carrier: pod.clone(), instant: captured.instant });
            }
            VolumeSource::Files { pod: None } | VolumeSource::Snapshot { .. } => {}
        }
    }
    let volumes = velero_volumes::missing(context, &volumes, outcome).await?;
    let volumes = volumes.into_iter().map(|(claim, missing)| (claim, missing.reason));
    let mut lacking = Vec::new();
    for (claim, reason) in volumes.chain(copies::missing(context, &copies, outcome).await?) {
        // One that is not there is told of as any object is.
        if context.cluster.get(&claim).await?.is_some() {
            lacking.push(velero_volumes::not_back(context, &claim, reason));
        }
    }
    Ok(lacking)
}

/// What Velero created that `plan` does not.
fn beyond(plan: &RestorePlan, restored: &[Restored]) -> Vec<String> {
    let objects = plan.stages.iter().flat_map(|stage| &stage.objects).map(|object| &object.target);
    let planned: HashSet<(&str, &str, Option<&str>, &str)> = objects
        .map(|target| (target.kind.group.as_str(), target.kind.kind.as_str(), target.namespace.as_deref(), target.name.as_str()))
        .collect();
    let unplanned = |one: &&Restored| {
        let key = (one.group.as_str(), one.kind.as_str(), one.namespace.as_deref(), one.name.as_str());
        one.action == "created" && !planned.contains(&key)
    };
    let named = |one: &Restored| {
        let namespace = one.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", one.kind, one.name)
    };
    restored.iter().filter(unplanned).map(named).collect()
}

/// Says how to go back, and keeps what a partial point would not bring back.
fn protected(context: &RunContext, order: &RestoreOrder, point: &RecoveryPoint, report: &mut RestoreReport) {
    context.reporter.report(&Event::Warning { text: way_back(&order.request.environment, point) });
    if !point.complete() {
        report.kept = Some(format!("the protective point lacks {}, so nothing would bring them back", lacks(point)));
    }
    report.protective_point = Some(point.name.clone());
}

/// How to undo a restore with its protective point. A partial point brings nothing back that it lacks, and nobody may prune by it.
fn way_back(environment: &EnvironmentName, point: &RecoveryPoint) -> String {
    let command = format!("to undo this restore: dxdr restore {environment} --point {} --in-place", point.name);
    if point.complete() {
        return format!("{command} --prune");
    }
    format!("{command}; it does not bring back {}, which could not be captured", lacks(point))
}

fn lacks(point: &RecoveryPoint) -> String {
    point.gaps.iter().map(|gap| gap.what.as_str()).collect::<Vec<_>>().join(", ")
}

/// Deletes what was not there at the instant, guarded by the `uid` that the plan saw.
async fn prune(
    context: &RunContext,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    let Some(step) = prepared.plan.prune_step() else { return Ok(()) };
    run.start(&step).await?;
    if let Some(reason) = &report.kept {
        let text = format!("{} objects that were not there at the instant are kept: {reason}", prepared.plan.prune.len());
        context.reporter.report(&Event::Warning { text });
        return run.finish(&step, "nothing removed", Evidence::new()).await;
    }
    for object in &prepared.plan.prune {
        if context.stop.asked() {
            return Err(RunError::Interrupted);
        }
        match context
            .cluster
            .delete(&object.reference, object.uid.as_deref(), &WriteOptions { retry: true, ..write::options() })
            .await
        {
            Ok(deleted) => report.pruned += u64::from(deleted),
            // Somebody else's object of that name by now: not the one that was to go.
            Err(error) if error.kind == ClusterErrorKind::Conflict => {}
            Err(error) if error.kind == ClusterErrorKind::Unreachable => return Err(error.into()),
            Err(error) => {
                context.reporter.report(&Event::ObjectFailed { object: object.reference.clone(), error: error.message.clone() });
                report.failed.push(error);
            }
        }
    }
    let summary = format!("{} objects removed", report.pruned);
    run.finish(&step, &summary, Evidence::new()).await
}
