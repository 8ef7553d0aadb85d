//! Copies made file by file: having Velero write them into claims that are there for them, through pods that run nothing.
//!
//! ```text
//! claim, marked ─► modifiers ─► Restore of pods ─► over ─► what it says of each volume ─► pods gone ─► modifiers gone ─► mark taken off
//! ```
//!
//! The mark says that a claim is not whole. It is set as the claim is created and goes last, so that whoever comes after a process that
//! died finds what is left to do: another Restore is asked for where the last one is over and did not bring everything. Nothing that mounts
//! a claim is made before its mark is gone.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_format::journal::Evidence;
use dxdr_plan::{
    Note, Severity,
    restore::{
        CapturedVolume, CopiedClaim, FileCopies, RestorePlan, VolumeSource,
        copies::{AWAITS_COPY, CARRIER_LABEL, pods},
    },
    step::Step,
    velero::{RUN_LABEL, RestoreOfFiles, configmaps, pod_volume_restores, restore_of_files},
};
use dxdr_provider::{
    ClusterErrorKind,
    cluster::{ListScope, WriteOptions},
};
use serde_json::Value;

use super::{Prepared, write};
use crate::{
    active::ActiveRun,
    context::RunContext,
    error::RunError,
    event::Event,
    velero::{
        restore::{Adopted, VeleroOutcome, restore},
        server::FIELD_MANAGER,
    },
};

/// Velero's helper looks once a second whether it is done, and then takes its traces out of the volumes.
const TIDYING: Duration = Duration::from_secs(20);
/// How long pods may take to go that have a second to end.
const GOING: Duration = Duration::from_secs(180);
/// A pod that no node has by then waits for something that somebody should know of.
const PLACING: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Between two looks at whether pods have found a node.
const BETWEEN_LOOKS_AT_NODES: Duration = Duration::from_secs(10);
const PAGE: u32 = 500;
/// The init container that Velero puts first.
const WAITING: &str = "restore-wait";
/// What runs on every node where files are copied, by the node's system.
const NODE_AGENTS: [&str; 2] = ["node-agent", "node-agent-windows"];
const INSTALL_NODE_AGENT: &str = "`velero install --use-node-agent`, or `deployNodeAgent: true` in the Helm chart's values; `--empty-volumes` leaves the volumes empty";

/// What forbids that files come back although the plan has them: nobody is there to copy them.
pub async fn examine(context: &RunContext, plan: &RestorePlan) -> Vec<Note> {
    let Some(copies) = &plan.copies else { return Vec::new() };
    for name in NODE_AGENTS {
        let reference =
            ObjectReference { kind: daemon_sets(), namespace: Some(context.velero_namespace.clone()), name: name.to_owned() };
        // Whoever may not look learns it from Velero.
        if !matches!(context.cluster.get(&reference).await, Ok(None)) {
            return Vec::new();
        }
    }
    let (count, first) = (copies.claims.len(), copies.claims.first().map(|copied| copied.claim.clone()));
    let volumes = if count == 1 { "1 volume is".to_owned() } else { format!("{count} volumes are") };
    vec![Note {
        severity: Severity::Fatal,
        text: format!(
            "the files of {volumes} copied back by Velero's node agents, and none is in namespace `{}`",
            context.velero_namespace
        ),
        hint: Some(INSTALL_NODE_AGENT.to_owned()),
        object: first,
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }]
}

/// Marks a claim that is about to be created for a copy of `point`.
pub(super) fn mark(captured: &CapturedVolume, point: &str, claim: &mut Value) {
    if let (VolumeSource::Files { .. }, Some(metadata)) =
        (&captured.source, claim.get_mut("metadata").and_then(Value::as_object_mut))
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
        annotations[AWAITS_COPY] = point.into();
    }
}

/// Has Velero copy back what the plan says, and removes what that took.
///
/// # Errors
/// When something did not come back: what mounts it must not be made.
pub(super) async fn bring_back(context: &RunContext, prepared: &Prepared, run: &mut ActiveRun) -> Result<(), RunError> {
    let plan = &prepared.plan;
    let (Some(step), Some(copies)) = (plan.copies_step(), &plan.copies) else { return Ok(()) };
    run.start(&step).await?;
    let asked = restore_of_files(plan, copies, run.id(), &context.velero_namespace);
    let carriers = Carriers { context, namespace: &plan.target_namespace, run: run.id(), step: &step };
    carriers.clear_way().await?;
    claims_there(context, copies).await?;
    let mut adopted = Adopted::Carried;
    loop {
        provide(context, &asked).await?;
        let outcome = tokio::select! {
            outcome = restore(context, &asked.restore, &plan.point, &step, adopted) => outcome,
            never = carriers.watch_over() => match never {},
        };
        if matches!(outcome, Err(RunError::Interrupted)) {
            return Err(RunError::Interrupted);
        }
        let missing = match &outcome {
            Ok(outcome) => missing(context, copies, outcome).await?,
            Err(_) => BTreeMap::new(),
        };
        carriers.remove(outcome.is_ok() && missing.is_empty()).await?;
        delete(context, &asked.modifiers.reference, None).await?;
        let outcome = outcome?;
        let back = copies.claims.iter().filter(|copied| !missing.contains_key(&copied.claim));
        let count = back.clone().count();
        for copied in back {
            unmark(context, &copied.claim).await?;
        }
        if missing.is_empty() {
            return run.finish(&step, &format!("{}: {count} volumes", outcome.phase), Evidence::new()).await;
        }
        if !outcome.found_over {
            let told = missing.into_iter().map(|(claim, reason)| format!("{claim}: {reason}")).collect::<Vec<_>>();
            return Err(RunError::Files(told.join("; ")));
        }
        adopted = Adopted::Running;
    }
}

/// Removes the pods and the modifiers of a run that is cleaned up.
pub(crate) async fn discard(context: &RunContext, run: &str, namespace: &str) -> Result<(), RunError> {
    for pod in labelled(context, &pods(), Some(namespace), &format!("{CARRIER_LABEL}={}", name::in_label(run))).await? {
        delete(context, &reference(&pods(), &pod), uid(&pod)).await?;
    }
    let selector = format!("{RUN_LABEL}={}", name::in_label(run));
    for modifiers in labelled(context, &configmaps(), Some(&context.velero_namespace), &selector).await? {
        delete(context, &reference(&configmaps(), &modifiers), uid(&modifiers)).await?;
    }
    Ok(())
}

/// Where a claim could not be made, its pod would wait for it for ever.
async fn claims_there(context: &RunContext, copies: &FileCopies) -> Result<(), RunError> {
    for copied in &copies.claims {
        if context.cluster.get(&copied.claim).await?.is_none() {
            return Err(RunError::Files(format!("{} is not there to be filled", copied.claim)));
        }
    }
    Ok(())
}

/// Puts the modifiers where Velero looks for them.
async fn provide(context: &RunContext, asked: &RestoreOfFiles) -> Result<(), RunError> {
    let modifiers = &asked.modifiers;
    let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true };
    context.cluster.apply(&modifiers.reference, Bytes::from(modifiers.value.to_string()), true, &options).await?;
    Ok(())
}

/// The claims whose copy is not in them, with the reason.
async fn missing(
    context: &RunContext,
    copies: &FileCopies,
    outcome: &VeleroOutcome,
) -> Result<BTreeMap<ObjectReference, String>, RunError> {
    let selector = format!("velero.io/restore-uid={}", outcome.uid);
    let copied = labelled(context, &pod_volume_restores(), Some(&context.velero_namespace), &selector).await?;
    let mut missing = BTreeMap::new();
    for CopiedClaim { claim, carrier, .. } in &copies.claims {
        let text = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        // One that was deleted since and made again has the same name, and nothing in it.
        let live = context.cluster.get(claim).await?.and_then(|live| serde_json::from_slice::<Value>(&live).ok());
        let made = live.as_ref().and_then(uid).map(str::to_owned).unwrap_or_default();
        let of_claim = |object: &&Value| {
            let of_pod = text(object, "/spec/pod/name") == carrier.pod && text(object, "/spec/volume") == carrier.volume;
            of_pod && text(object, "/metadata/labels/velero.io~1pvc-uid") == made
        };
        let found = copied.iter().find(of_claim);
        let reason = match found.map(|object| (text(object, "/status/phase"), text(object, "/status/message"))) {
            Some((phase, _)) if phase == "Completed" => continue,
            Some((phase, message)) if message.is_empty() => format!("Velero's copying of it is {phase}"),
            Some((phase, message)) => format!("Velero's copying of it is {phase}: {message}"),
            None => outcome
                .errors
                .iter()
                .chain(&outcome.warnings)
                .find(|text| text.contains(&carrier.pod))
                .or(outcome.errors.first())
                .map_or_else(
                    || format!("Velero's Restore is {}, and copied nothing", outcome.phase),
                    |text| format!("Velero says: {text}"),
                ),
        };
        missing.insert(claim.clone(), reason);
    }
    Ok(missing)
}

/// Takes the mark off a claim that is whole.
async fn unmark(context: &RunContext, claim: &ObjectReference) -> Result<(), RunError> {
    loop {
        let Some(live) = context.cluster.get(claim).await? else { return Ok(()) };
        let mut live: Value = serde_json::from_slice(&live).unwrap_or_default();
        let annotations = live.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        if annotations.is_none_or(|annotations| annotations.remove(AWAITS_COPY).is_none()) {
            return Ok(());
        }
        match context.cluster.replace(claim, Bytes::from(live.to_string()), &options()).await {
            Ok(_) => return Ok(()),
            // Who binds the claim writes to it, too.
            Err(error) if error.kind == ClusterErrorKind::Conflict => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The pods that Velero restores for this run.
struct Carriers<'a> {
    context: &'a RunContext,
    namespace: &'a str,
    run: &'a str,
    step: &'a Step,
}

impl Carriers<'_> {
    async fn list(&self) -> Result<Vec<Value>, RunError> {
        let selector = format!("{CARRIER_LABEL}={}", name::in_label(self.run));
        labelled(self.context, &pods(), Some(self.namespace), &selector).await
    }

    /// Pods of another run are of the same names, and Velero would leave them alone.
    async fn clear_way(&self) -> Result<(), RunError> {
        let there = labelled(self.context, &pods(), Some(self.namespace), CARRIER_LABEL).await?;
        let run = |pod: &Value| pod.get("metadata")?.get("labels")?.get(CARRIER_LABEL)?.as_str().map(str::to_owned);
        match there.iter().filter_map(run).find(|run| *run != name::in_label(self.run)) {
            Some(other) => {
                Err(RunError::Files(format!("pods of run {other} are in the way: `dxdr runs clean {other}` removes them")))
            }
            None => Ok(()),
        }
    }

    /// Says of pods that find no node for long, since Velero waits for them without a word. Never ends.
    async fn watch_over(&self) -> Infallible {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(BETWEEN_LOOKS_AT_NODES).await;
            let pods = match self.list().await {
                Ok(pods) => pods,
                // Whoever follows the Restore meets what is for good.
                Err(error) => {
                    tracing::debug!(%error, "the pods are looked at again");
                    continue;
                }
            };
            let waiting = pods.iter().find_map(unplaced);
            if let (Some(text), true) = (waiting, began.elapsed() > PLACING) {
                self.context.reporter.report(&Event::Warning { text });
                return std::future::pending().await;
            }
        }
    }

    /// Removes the pods. `tidy`: once Velero's helper has taken its traces out of the volumes.
    async fn remove(&self, tidy: bool) -> Result<(), RunError> {
        let (began, mut told) = (tokio::time::Instant::now(), false);
        loop {
            let there = self.list().await?;
            if there.is_empty() {
                return Ok(());
            }
            let busy = tidy && began.elapsed() < TIDYING;
            for pod in there.iter().filter(|pod| !busy || tidied(pod)) {
                told |= tidy && !tidied(pod);
                delete(self.context, &reference(&pods(), pod), uid(pod)).await?;
            }
            if told {
                let text = "Velero's helper did not end in time: a folder `.velero`, of no use to anybody, stays in the volumes";
                self.context.reporter.report(&Event::Warning { text: text.to_owned() });
                told = false;
            }
            if began.elapsed() > GOING {
                let names = there.iter().map(|pod| reference(&pods(), pod).to_string()).collect::<Vec<_>>().join(", ");
                return Err(RunError::Files(format!("{names} does not go, and what mounts the same volumes cannot come")));
            }
            self.context.reporter.report(&Event::Progress {
                step: self.step.id.clone(),
                done: 0,
                total: Some(there.len() as u64),
                bytes: 0,
                at: "pods that are removed again".to_owned(),
            });
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                () = self.context.stop.wait() => return Err(RunError::Interrupted),
            }
        }
    }
}

/// Whether Velero's helper in the pod has ended, or has none to run in.
fn tidied(pod: &Value) -> bool {
    let statuses = pod.pointer("/status/initContainerStatuses").and_then(Value::as_array).into_iter().flatten();
    let ended = |status: &Value| status.pointer("/state/terminated").is_some();
    let gated = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    gated || statuses.filter(|status| status.get("name").and_then(Value::as_str) == Some(WAITING)).any(ended)
}

/// Why a carrier is on no node; nothing of one that is, or that is meant for none.
fn unplaced(pod: &Value) -> Option<String> {
    let gated = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    if gated || pod.pointer("/spec/nodeName").is_some() {
        return None;
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let scheduled = conditions.filter(|condition| condition.get("type").and_then(Value::as_str) == Some("PodScheduled"));
    let message = scheduled.filter_map(|condition| condition.get("message")?.as_str()).next().unwrap_or("nobody says why");
    let pod = reference(&pods(), pod);
    Some(format!("{pod}, into which files are to be copied, has found no node in {} s: {message}", PLACING.as_secs()))
}

/// Every object of a kind with a label.
async fn labelled(
    context: &RunContext,
    kind: &ResourceKind,
    namespace: Option<&str>,
    selector: &str,
) -> Result<Vec<Value>, RunError> {
    let scope = ListScope { namespace: namespace.map(str::to_owned), label_selector: Some(selector.to_owned()) };
    let (mut objects, mut continuation) = (Vec::new(), None::<String>);
    loop {
        let page = context.cluster.list(kind, &scope, PAGE, continuation.as_deref()).await?;
        for item in &page.items {
            objects.push(serde_json::from_slice(item).map_err(|error| RunError::Unexpected(format!("a {kind}: {error}")))?);
        }
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(objects);
        }
    }
}

fn daemon_sets() -> ResourceKind {
    ResourceKind {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        kind: "DaemonSet".to_owned(),
        plural: "daemonsets".to_owned(),
        namespaced: true,
    }
}

fn reference(kind: &ResourceKind, object: &Value) -> ObjectReference {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    ObjectReference {
        kind: kind.clone(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

fn uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid").and_then(Value::as_str)
}

async fn delete(context: &RunContext, object: &ObjectReference, uid: Option<&str>) -> Result<(), RunError> {
    context.cluster.delete(object, uid, &options()).await?;
    Ok(())
}

fn options() -> WriteOptions {
    WriteOptions { retry: true, ..write::options() }
}
