//! Carrying out a backup: snapshots of volumes, capture, describe, index, and then the manifest.
//!
//! ```text
//! hold ─► quiesce ─► snapshot ─► thaw ─► capture ─► dump ─► export ─► retain ─► describe (side objects, velero-backup.json) ─► index ─► manifest, read back ─► release ─► let go
//! ```
//!
//! Until the manifest is written there is no recovery point, only leftovers that the run's journal names. Each step writes objects
//! whose keys the plan has fixed; the evidence of `capture` holds all that the later steps need, so that another process can go on.

use std::collections::BTreeMap;

use bytes::Bytes;
use dxdr_catalog::{
    CapturedKind, Component, Engine, Gap, KeysComponent, RecoveryPoint, ResourcesComponent, Sha256, SourceCluster, StoredObject,
    Trigger,
};
use dxdr_environment::{Environment, ObjectReference, ResourceKind, canonical};
use dxdr_format::{
    hashing::sha256,
    journal::{Evidence, Outcome, Planned, PlannedStep, RunKind},
    manifest,
    velero::{self, backup::NativeBackup},
};
use dxdr_plan::{
    Step,
    backup::{BackupPlan, BackupRequest, HookTime, RecordedBackup, SecretsRule},
    selection::Filters,
};
use dxdr_policy::{BackupPolicy, HoldTime};
use dxdr_provider::{
    ClusterErrorKind, StorageErrorKind,
    cluster::{Discovery, ListScope},
    object_storage::{ListRequest, PutCondition},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    active::ActiveRun,
    capture::{self, Captured, capture},
    catalog,
    context::RunContext,
    database::{self, Databases, Dumped, steps::DatabaseSteps},
    error::RunError,
    hook,
    journal::History,
    lease,
    sealing::Examination,
    snapshot::{self, Unfit, Volumes},
    witness::{self, Between, Witness},
};

/// A Secret may be a megabyte.
const SECRETS_ON_A_PAGE: u32 = 50;

/// Looks at the cluster and plans a recovery point of `environment`. Changes nothing.
///
/// # Errors
/// When the namespace is not there or is being deleted, or the cluster cannot be discovered.
pub async fn plan(
    context: &RunContext,
    environment: &Environment,
    policy: Option<&BackupPolicy>,
    trigger: Trigger,
) -> Result<BackupPlan, RunError> {
    let now = context.clock.now();
    let namespace = environment.namespace.as_str();
    let mut request = BackupRequest::of_environment(environment.name.clone(), vec![namespace.to_owned()]);
    request.trigger = trigger;
    request.environment_digest = Some(sha256(canonical::canonical(environment).to_string().as_bytes()));
    if let Some(policy) = policy {
        request.policy = Some(policy.name.to_string());
        request.filters = Filters::of_policy(namespace, &policy.resources);
        if policy.secrets.sealed_only {
            request.secrets = SecretsRule::LeaveOutSealed;
        }
        request.volumes = policy.volumes;
    }
    let discovery = look(context, &request.namespaces).await?;
    let plan = dxdr_plan::backup::plan(&request, &discovery.kinds, &discovery.failed_groups, now, seed(context))?;
    let observed = snapshot::observe(context, &plan, &discovery.kinds).await?;
    let databases = database::planned(&context.store, environment, policy);
    Ok(plan.with_volumes(&observed).with_databases(databases))
}

/// Plans what an earlier process of a run began, under its names, on the cluster as it is now.
pub(crate) async fn plan_again(context: &RunContext, recorded: &RecordedBackup) -> Result<BackupPlan, RunError> {
    let discovery = look(context, &recorded.request.namespaces).await?;
    Ok(recorded.plan(&discovery.kinds, &discovery.failed_groups)?)
}

/// What the cluster serves, once it is certain that there is something to read and somewhere to write.
async fn look(context: &RunContext, namespaces: &[String]) -> Result<Discovery, RunError> {
    reachable_store(context).await?;
    for namespace in namespaces {
        living_namespace(context, namespace).await?;
    }
    Ok(context.cluster.discover().await?)
}

/// Why the archive that an earlier process captured is not there as it left it; `None` when it is. Reads it whole.
pub(crate) async fn archive_problem(context: &RunContext, point: &str, evidence: &Evidence) -> Result<Option<String>, RunError> {
    let captured = Evidenced::from_evidence(evidence)?;
    let key = context.store.layout.archive_key(point);
    let stat = match context.store.storage.stat(&key).await {
        Ok(stat) => stat,
        Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(Some("it is gone".to_owned())),
        Err(error) => return Err(error.into()),
    };
    if stat.size != captured.size {
        return Ok(Some(format!("it has {} bytes instead of {}", stat.size, captured.size)));
    }
    Ok(match context.store.digest(&key, &context.stop, |_| ()).await? {
        None => Some("it is gone".to_owned()),
        Some(found) if found.sha256 != captured.sha256 => Some("its SHA-256 is another one".to_owned()),
        Some(_) => None,
    })
}

/// The Secrets that would go into the archive as plain as the API has them, by their names; their values are not looked at.
/// `None` where Secrets cannot be listed, and so nobody knows: the capture finds that out too, and makes it a gap.
///
/// # Errors
/// When the cluster cannot be reached.
pub async fn plain_secrets(context: &RunContext, plan: &BackupPlan) -> Result<Option<Vec<String>>, RunError> {
    let (mut names, mut examination) = (Vec::new(), Examination::new(context.sealing.clone()));
    // SealedSecrets come before Secrets in every plan.
    for task in &plan.lists {
        if !is_secrets(&task.kind) && !examination.wants(&task.kind) {
            continue;
        }
        let scope = ListScope { namespace: task.namespace.clone(), label_selector: task.label_selector.clone() };
        let mut continuation: Option<String> = None;
        loop {
            let page = match context.cluster.list(&task.kind, &scope, SECRETS_ON_A_PAGE, continuation.as_deref()).await {
                Ok(page) => page,
                Err(error) if matches!(error.kind, ClusterErrorKind::Forbidden | ClusterErrorKind::Expired) => {
                    if is_secrets(&task.kind) {
                        return Ok(None);
                    }
                    // What cannot be looked into makes nothing again.
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let kept = page.items.iter().filter_map(|item| capture::kept_name(plan, &mut examination, &task.kind, item));
            if is_secrets(&task.kind) {
                names.extend(kept);
            } else {
                kept.for_each(drop);
            }
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
    }
    Ok(Some(names))
}

fn is_secrets(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.plural == "secrets"
}

/// What makes the names of this process's runs differ from those of another one that starts in the same second.
pub fn seed(context: &RunContext) -> u64 {
    seed_of(&context.holder, context.clock.now())
}

/// The same for a process that has no context yet.
pub fn seed_of(holder: &str, now: Timestamp) -> u64 {
    let text = format!("{holder} {}", now.as_nanosecond());
    let Sha256(bytes) = sha256(text.as_bytes());
    bytes.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// The Namespace object of that name.
pub fn namespace_reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            plural: "namespaces".to_owned(),
            namespaced: false,
        },
        namespace: None,
        name: name.to_owned(),
    }
}

/// Fails unless the store is there and lets us in: some servers make a bucket that is missing when something is put into it.
pub(crate) async fn reachable_store(context: &RunContext) -> Result<(), RunError> {
    let prefix = context.store.layout.backups_prefix();
    context.store.storage.list(&ListRequest { prefix, limit: Some(1), ..ListRequest::default() }).await?;
    Ok(())
}

/// Fails unless the namespace is there and not going away: a backup of a namespace that is being deleted holds what is left of it.
pub(crate) async fn living_namespace(context: &RunContext, name: &str) -> Result<(), RunError> {
    let problem = match context.cluster.get(&namespace_reference(name)).await? {
        None => "is not there",
        Some(json) => {
            let object: Value = serde_json::from_slice(&json).unwrap_or_default();
            if object.pointer("/metadata/deletionTimestamp").is_none() {
                return Ok(());
            }
            "is being deleted: what could be captured is only what is left of it"
        }
    };
    Err(RunError::Namespace { namespace: name.to_owned(), problem: problem.to_owned() })
}

/// The cluster a point is taken from. What cannot be read stays empty: it is for information.
async fn source_cluster(context: &RunContext) -> SourceCluster {
    let version = context.cluster.version().await.map(|version| version.git_version).unwrap_or_default();
    let identity = match context.cluster.get(&namespace_reference("kube-system")).await {
        Ok(Some(json)) => serde_json::from_slice::<Value>(&json)
            .ok()
            .and_then(|object| object.pointer("/metadata/uid").and_then(Value::as_str).map(str::to_owned)),
        _ => None,
    };
    SourceCluster { version, identity }
}

/// Takes the recovery point that `plan` describes.
pub async fn backup(context: &RunContext, plan: &BackupPlan) -> Result<RecoveryPoint, RunError> {
    lease::held(context, plan.environment.as_str(), &plan.run, async {
        let run = ActiveRun::begin(context, &plan.run, planned(context, plan)).await?;
        carry_out(context, plan, run).await
    })
    .await
}

/// Goes on with a backup that an earlier process left. The capture is repeated unless it was finished.
pub async fn resume(context: &RunContext, plan: &BackupPlan, history: History) -> Result<RecoveryPoint, RunError> {
    lease::held(context, plan.environment.as_str(), &plan.run, async {
        let run = ActiveRun::resume(context, history).await?;
        carry_out(context, plan, run).await
    })
    .await
}

#[tracing::instrument(name = "backup", skip_all, fields(run = plan.run, environment = %plan.environment, point = plan.point))]
async fn carry_out(context: &RunContext, plan: &BackupPlan, mut run: ActiveRun) -> Result<RecoveryPoint, RunError> {
    let result = steps(context, plan, &mut run).await.map(|point| {
        let outcome = if point.complete() { Outcome::Succeeded } else { Outcome::Partial };
        let summary = format!("recovery point {}", point.name);
        (point, outcome, summary)
    });
    let remaining = match run.left() {
        left if left.is_empty() => format!("recovery point {} is there", plan.point),
        left => format!("there is no recovery point yet, left to do: {}", left.join(", ")),
    };
    run.end(result, vec![remaining]).await
}

/// The steps themselves: also part of a restore in place, whose journal then has them.
pub(crate) async fn steps(context: &RunContext, plan: &BackupPlan, run: &mut ActiveRun) -> Result<RecoveryPoint, RunError> {
    let of = plan.point_databases();
    let steps = (plan.steps.dump.as_ref(), plan.steps.export.as_ref());
    let mut databases = DatabaseSteps::open(context, of, steps, run).await?;
    let witness = Witness::new(&context.clock, plan.started, run.resumed());
    let mut volumes = volumes(context, plan, run, databases.databases(), &witness).await?;
    databases.databases().hold(context, of, HoldTime::Whenever, &witness).await?;

    let captured = match run.earlier(&plan.steps.capture) {
        Some(evidence) => Evidenced::from_evidence(&evidence)?,
        None => {
            run.start(&plan.steps.capture).await?;
            let key = context.store.layout.archive_key(&plan.point);
            let captured = capture(context, plan, volumes.snapshots(), &key).await?;
            let between = witness.saw(captured.read.first, captured.read.last);
            let evidenced = Evidenced::new(captured, between, source_cluster(context).await);
            let summary = format!("{} objects of {} kinds", evidenced.items, evidenced.kinds.len());
            run.finish(&plan.steps.capture, &summary, evidenced.to_evidence()?).await?;
            evidenced
        }
    };

    let dumped = databases.dump(context, run).await?;
    let instants: Vec<Timestamp> = volumes.components().iter().map(Component::instant).collect();
    let exported = databases.export(context, run, &witness, Some((&instants, captured.instant))).await?;
    let dumped = dumped.joined(exported);

    if let (Some(step), Some(taken)) = (&plan.steps.retain, &volumes.taken) {
        volumes.retained = match run.earlier(step) {
            Some(evidence) => snapshot::from_evidence(&evidence)?,
            None => {
                run.start(step).await?;
                let retained = snapshot::retain(context, plan, taken).await?;
                let summary = format!("{} are kept", taken.snapshots.len() - retained.failed.len().min(taken.snapshots.len()));
                run.finish(step, &summary, snapshot::to_evidence(&retained)?).await?;
                retained
            }
        };
    }

    run.start(&plan.steps.describe).await?;
    let content = Content { captured, volumes, dumped };
    let mut objects = vec![content.captured.archive(&plan.point)];
    for (key, bytes) in side_objects(plan, &content)? {
        objects.push(StoredObject { key: key.clone(), size: bytes.len() as u64, sha256: sha256(&bytes) });
        let key = context.store.layout.object_key(&plan.point, &key);
        context.store.write(&key, bytes, PutCondition::Always).await?;
    }
    run.finish(&plan.steps.describe, &format!("{} side objects", objects.len() - 1), Evidence::new()).await?;
    objects.extend(content.dumped.objects()?);

    let point = recovery_point(plan, &content, objects);
    run.start(&plan.steps.index).await?;
    // A capture that was done again has another instant, and the entry of the first one would lead to it from the wrong one.
    let steps = [&plan.steps.dump, &plan.steps.export].into_iter().flatten();
    let dumps: Vec<Evidence> = steps.flat_map(|step| run.all_earlier(step)).collect();
    let captures = run.all_earlier(&plan.steps.capture);
    for instant in database::possible_instants(captures.iter().filter_map(instant_of_capture), &dumps) {
        if instant != point.instant {
            let key = context.store.layout.point_index_key(plan.environment.as_str(), instant, &plan.point);
            context.store.storage.delete(&key).await?;
        }
    }
    catalog::index(&context.store, &point).await?;
    run.finish(&plan.steps.index, "the point can be found by its instant", Evidence::new()).await?;

    run.start(&plan.steps.manifest).await?;
    let bytes = Bytes::from(manifest::encode(&point));
    let key = context.store.layout.manifest_key(&plan.point);
    context.store.write(&key, bytes.clone(), PutCondition::Always).await?;
    let read_back = context.store.read(&key).await?.unwrap_or_default();
    if read_back != bytes {
        return Err(RunError::Checksum {
            key,
            store: context.store.storage.describe(),
            expected: sha256(&bytes).to_string(),
            found: sha256(&read_back).to_string(),
        });
    }
    run.finish(&plan.steps.manifest, "written and read back", Evidence::new()).await?;

    if let (Some(step), Some(taken)) = (&plan.steps.release, &content.volumes.taken) {
        run.start(step).await?;
        snapshot::release(context, plan, taken).await?;
        run.finish(step, "the storage has the snapshots, the cluster nothing of them", Evidence::new()).await?;
    }
    Ok(point)
}

/// What a point is made of.
struct Content {
    captured: Evidenced,
    volumes: Volumes,
    dumped: Dumped,
}

/// Has the snapshots taken, with the hooks around them. Those behind run whatever becomes of the snapshots.
async fn volumes(
    context: &RunContext,
    plan: &BackupPlan,
    run: &mut ActiveRun,
    databases: &mut Databases<'_>,
    witness: &Witness,
) -> Result<Volumes, RunError> {
    let taken = snapshots(context, plan, run, databases, witness).await;
    let Some(step) = &plan.steps.thaw else { return taken };
    if let (Ok(_), Some(evidence)) = (&taken, run.earlier(step)) {
        return Ok(Volumes { after: snapshot::from_evidence(&evidence)?, ..taken? });
    }
    let begun = if taken.is_ok() { run.start(step).await } else { Ok(()) };
    let after = hook::run(context, plan, HookTime::After).await;
    let taken = taken?;
    begun?;
    run.finish(step, &format!("{} failed", after.count()), snapshot::to_evidence(&after)?).await?;
    Ok(Volumes { after, ..taken })
}

async fn snapshots(
    context: &RunContext,
    plan: &BackupPlan,
    run: &mut ActiveRun,
    databases: &mut Databases<'_>,
    witness: &Witness,
) -> Result<Volumes, RunError> {
    let Some(step) = &plan.steps.snapshot else { return Ok(Volumes::default()) };
    let (mut volumes, mut unfit) = (Volumes::default(), Unfit::default());
    let mut fresh = !run.started_earlier(step);
    if let Some(quiesce) = &plan.steps.quiesce {
        if run.finished_earlier(step) {
            volumes.before =
                run.earlier(quiesce).map(|evidence| snapshot::from_evidence(&evidence)).transpose()?.unwrap_or_default();
        } else {
            // What an earlier process froze and never thawed cannot be frozen again. Where it thawed it, this does nothing, or fails.
            if run.started_earlier(quiesce) {
                hook::run(context, plan, HookTime::After).await;
            }
            // Whatever ended an earlier process, applications may have gone on since: what it asked for is of nothing that held still.
            if !std::mem::replace(&mut fresh, true) {
                unfit.left = snapshot::discard_earlier(context, plan).await?;
            }
            run.start(quiesce).await?;
            volumes.before = hook::run(context, plan, HookTime::Before).await;
            run.finish(quiesce, &format!("{} failed", volumes.before.count()), snapshot::to_evidence(&volumes.before)?).await?;
        }
    }
    unfit.hooks = volumes.before.clone();
    let taken = match run.earlier(step) {
        Some(evidence) => snapshot::from_evidence(&evidence)?,
        None => {
            run.start(step).await?;
            // Snapshots that another process of the run has asked for already are older.
            if fresh {
                databases.hold(context, plan.point_databases(), HoldTime::BeforeSnapshots, witness).await?;
            }
            let taken = snapshot::take(context, plan, &unfit, witness).await?;
            let summary = format!("{} taken, {} failed", taken.snapshots.len(), taken.failed.len());
            run.finish(step, &summary, snapshot::to_evidence(&taken)?).await?;
            taken
        }
    };
    volumes.taken = Some(taken);
    // Unless an earlier process has let the applications go on.
    if !plan.steps.thaw.as_ref().is_some_and(|step| run.started_earlier(step)) {
        databases.hold(context, plan.point_databases(), HoldTime::BehindSnapshots, witness).await?;
    }
    Ok(volumes)
}

fn planned(context: &RunContext, plan: &BackupPlan) -> Planned {
    Planned {
        run: plan.run.clone(),
        kind: RunKind::Backup,
        environment: plan.environment.to_string(),
        parameters: plan.parameters(),
        points: vec![plan.point.clone()],
        steps: plan.steps.all().into_iter().map(recorded).collect(),
        program: context.program.clone(),
        holder: context.holder.clone(),
        started: plan.started,
    }
}

/// A step as the journal has it.
pub(crate) fn recorded(step: &Step) -> PlannedStep {
    PlannedStep { id: step.id.clone(), title: step.title.clone(), reason: step.reason.clone(), repeatable: step.repeatable }
}

/// The objects beside the archive, by their keys in the point's folder, `velero-backup.json` last: with it Velero sees the backup.
fn side_objects(plan: &BackupPlan, content: &Content) -> Result<Vec<(String, Bytes)>, RunError> {
    let Content { captured, volumes, .. } = content;
    let name = &plan.point;
    let unexpected = |error: dxdr_format::FormatError| RunError::Unexpected(error.to_string());
    let errors: Vec<String> = gaps(plan, content).iter().map(|gap| format!("{}: {}", gap.what, gap.reason)).collect();
    let side = velero::side::SideObjects {
        name,
        resource_list: &captured.resource_list,
        errors: &errors,
        volumes: &volumes.infos(plan),
        snapshots: volumes.snapshots(),
        started: plan.started,
        completed: captured.instant,
        items: captured.items,
    };
    let mut objects: Vec<(String, Bytes)> =
        side.encode().map_err(unexpected)?.into_iter().map(|(key, bytes)| (key, Bytes::from(bytes))).collect();
    let backup = velero::backup::Backup::native(&NativeBackup {
        name,
        environment: plan.environment.as_str(),
        run: &plan.run,
        namespaces: &plan.namespaces,
        cluster: &captured.cluster,
        started: plan.started,
        completed: captured.instant,
        expires: plan.expires,
        items: captured.items,
        errors: errors.len() as u64,
        snapshots: (plan.snapshots().count() as u64, volumes.ready() as u64),
    });
    let metadata = velero::backup::encode(&backup).map_err(unexpected)?;
    objects.push((velero::layout::METADATA.to_owned(), Bytes::from(metadata)));
    Ok(objects)
}

/// Everything that the point lacks.
fn gaps(plan: &BackupPlan, content: &Content) -> Vec<Gap> {
    let mut gaps = content.captured.gaps.clone();
    gaps.extend(content.volumes.gaps(plan));
    gaps.extend(content.dumped.gaps());
    gaps.sort();
    gaps
}

fn recovery_point(plan: &BackupPlan, content: &Content, objects: Vec<StoredObject>) -> RecoveryPoint {
    let Content { captured, volumes, dumped } = content;
    let resources = Component::Resources(ResourcesComponent {
        instant: captured.instant,
        between: witness::interval(captured.between),
        items: captured.items,
        bytes: captured.bytes,
        kinds: captured.kinds.clone(),
    });
    let keys = captured
        .keys
        .iter()
        .map(|fingerprints| Component::Keys(KeysComponent { instant: captured.instant, fingerprints: fingerprints.clone() }));
    let keys: Vec<Component> = keys.collect();
    RecoveryPoint {
        name: plan.point.clone(),
        environment: plan.environment.clone(),
        namespaces: plan.namespaces.clone(),
        engine: Engine::Native,
        policy: plan.policy.clone(),
        trigger: plan.trigger.clone(),
        run: plan.run.clone(),
        started: plan.started,
        // A database that was captured again by a process that went on with the run is newer than the objects.
        instant: dumped.latest().map_or(captured.instant, |latest| latest.max(captured.instant)),
        expires: plan.expires,
        cluster: captured.cluster.clone(),
        environment_digest: plan.environment_digest,
        components: [vec![resources], volumes.components(), dumped.components().collect(), keys].concat(),
        objects,
        gaps: gaps(plan, content),
    }
}

/// What the capture leaves to the steps behind it, in the journal: enough for another process to go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvidenceOfCapture {
    size: u64,
    sha256: String,
    items: u64,
    bytes: u64,
    instant: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    between: Option<Between>,
    kinds: Vec<KindEvidence>,
    gaps: Vec<(String, String)>,
    keys: Option<Vec<String>>,
    resource_list: BTreeMap<String, Vec<String>>,
    cluster_version: String,
    cluster_identity: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindEvidence {
    group_resource: String,
    version: String,
    namespace: Option<String>,
    resource_version: String,
    items: u64,
}

/// The point's instant, from the evidence of its capture.
pub(crate) fn instant_of_capture(evidence: &Evidence) -> Option<Timestamp> {
    Evidenced::from_evidence(evidence).ok().map(|captured| captured.instant)
}

/// What was captured, by this process or an earlier one.
struct Evidenced {
    size: u64,
    sha256: Sha256,
    items: u64,
    bytes: u64,
    instant: Timestamp,
    between: Option<Between>,
    kinds: Vec<CapturedKind>,
    gaps: Vec<Gap>,
    keys: Option<Vec<String>>,
    resource_list: BTreeMap<String, Vec<String>>,
    cluster: SourceCluster,
}

impl Evidenced {
    fn new(captured: Captured, between: Between, cluster: SourceCluster) -> Self {
        Self {
            size: captured.archive.size,
            sha256: captured.archive.sha256,
            items: captured.items,
            bytes: captured.bytes,
            instant: captured.instant,
            between: Some(between),
            kinds: captured.kinds,
            gaps: captured.gaps,
            keys: captured.keys,
            resource_list: captured.resource_list,
            cluster,
        }
    }

    /// The archive as an object of the point.
    fn archive(&self, point: &str) -> StoredObject {
        StoredObject { key: format!("{point}.tar.gz"), size: self.size, sha256: self.sha256 }
    }

    fn to_evidence(&self) -> Result<Evidence, RunError> {
        let evidence = EvidenceOfCapture {
            size: self.size,
            sha256: self.sha256.to_string(),
            items: self.items,
            bytes: self.bytes,
            instant: self.instant,
            between: self.between,
            kinds: self
                .kinds
                .iter()
                .map(|kind| KindEvidence {
                    group_resource: kind.group_resource.clone(),
                    version: kind.version.clone(),
                    namespace: kind.namespace.clone(),
                    resource_version: kind.resource_version.clone(),
                    items: kind.items,
                })
                .collect(),
            gaps: self.gaps.iter().map(|gap| (gap.what.clone(), gap.reason.clone())).collect(),
            keys: self.keys.clone(),
            resource_list: self.resource_list.clone(),
            cluster_version: self.cluster.version.clone(),
            cluster_identity: self.cluster.identity.clone(),
        };
        match serde_json::to_value(evidence) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(RunError::Unexpected("the evidence of a capture is not an object".to_owned())),
            Err(error) => Err(RunError::Unexpected(error.to_string())),
        }
    }

    fn from_evidence(evidence: &Evidence) -> Result<Self, RunError> {
        let unusable =
            |reason: String| RunError::Unexpected(format!("the journal's evidence of the capture is unusable: {reason}"));
        let evidence: EvidenceOfCapture =
            serde_json::from_value(Value::Object(evidence.clone())).map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            size: evidence.size,
            sha256: Sha256::parse(&evidence.sha256).ok_or_else(|| unusable("a SHA-256 is none".to_owned()))?,
            items: evidence.items,
            bytes: evidence.bytes,
            instant: evidence.instant,
            between: evidence.between,
            kinds: evidence
                .kinds
                .into_iter()
                .map(|kind| CapturedKind {
                    group_resource: kind.group_resource,
                    version: kind.version,
                    namespace: kind.namespace,
                    resource_version: kind.resource_version,
                    items: kind.items,
                })
                .collect(),
            gaps: evidence.gaps.into_iter().map(|(what, reason)| Gap { what, reason }).collect(),
            keys: evidence.keys,
            resource_list: evidence.resource_list,
            cluster: SourceCluster { version: evidence.cluster_version, identity: evidence.cluster_identity },
        })
    }
}
