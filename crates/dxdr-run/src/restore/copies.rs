//! Copies made file by file: having Velero write them into claims that are there for them, through pods that run nothing.
//!
//! ```text
//! claim, marked ─► modifiers ─► Restore of pods ─► over ─► what it says of each volume ─► pods gone ─► modifiers gone ─► mark taken off
//! ```
//!
//! The mark says that a claim is not whole. It is set as the claim is created and goes last, so that whoever comes after a process that
//! died finds what is left to do: another Restore is asked for where the last one is over and did not bring everything. Nothing that mounts
//! a claim is made before its mark is gone.

mod carriers;

use std::collections::BTreeMap;

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::{DesiredObject, ObjectReference, ResourceKind};
use dxdr_format::journal::Evidence;
use dxdr_plan::{
    Note, Severity,
    restore::{
        CapturedVolume, CopiedClaim, FileCopies, RestorePlan, VolumeSource,
        copies::{AWAITS_COPY, FILES},
    },
    velero::{RUN_LABEL, RestoreOfFiles, configmaps, pod_volume_restores, restore_of_files},
};
use dxdr_provider::cluster::WriteOptions;
use serde_json::Value;

use super::{Prepared, write};
use crate::{
    active::{ActiveRun, chain},
    context::RunContext,
    error::RunError,
    event::Event,
    velero::{
        ending,
        restore::{Adopted, VeleroOutcome, restore},
        server::{self, amend, labelled, reference, uid},
    },
};
use carriers::{Carriers, Purpose, Watch};

/// Of a cluster whose Restores drop what says how pods are changed.
const WITHOUT_MODIFIERS: &str =
    "Velero in pods that must run nothing, and Restores have no field `resourceModifier`, which sees to that, in namespace";
const NEWER_VELERO: &str = "the definitions of Velero's kinds are older than 1.12: upgrade Velero (1.14 or newer), and them with `velero install --crds-only --dry-run -o yaml | kubectl apply -f -`; `--empty-volumes` leaves the volumes empty";
/// What runs on every node where files are copied, by the node's system.
const NODE_AGENTS: [&str; 2] = ["node-agent", "node-agent-windows"];
const INSTALL_NODE_AGENT: &str = "`velero install --use-node-agent`, or `deployNodeAgent: true` in the Helm chart's values; `--empty-volumes` leaves the volumes empty";

/// What forbids that files come back although the plan has them: nobody is there to copy them, or the pods would not come as they are asked
/// for.
pub async fn examine(context: &RunContext, plan: &RestorePlan) -> Vec<Note> {
    let Some(copies) = &plan.copies else { return Vec::new() };
    let (count, first) = (copies.claims.len(), copies.claims.first().map(|copied| copied.claim.clone()));
    let volumes = if count == 1 { "1 volume is".to_owned() } else { format!("{count} volumes are") };
    let namespace = &context.velero_namespace;
    let fatal = |problem: &str, hint: &str| Note {
        severity: Severity::Fatal,
        text: format!("the files of {volumes} copied back by {problem} `{namespace}`"),
        hint: Some(hint.to_owned()),
        object: first.clone(),
        count: u32::try_from(count).unwrap_or(u32::MAX),
    };
    let mut notes = Vec::new();
    if without_node_agents(context).await {
        notes.push(fatal("Velero's node agents, and none is in namespace", INSTALL_NODE_AGENT));
    }
    if drops_modifiers(context, &restore_of_files(plan, copies, &plan.point, namespace).restore).await {
        notes.push(fatal(WITHOUT_MODIFIERS, NEWER_VELERO));
    }
    notes
}

/// Whether nobody copies files. Whoever may not look learns it from Velero.
async fn without_node_agents(context: &RunContext) -> bool {
    for name in NODE_AGENTS {
        let reference =
            ObjectReference { kind: daemon_sets(), namespace: Some(context.velero_namespace.clone()), name: name.to_owned() };
        if !matches!(context.cluster.get(&reference).await, Ok(None)) {
            return false;
        }
    }
    true
}

/// Whether a Restore loses here what says how pods are changed: a definition that does not know the field has the server drop it without a
/// word, and the pods come and run. The server is asked what it would make of the Restore; where it does not say, the pods themselves
/// are looked at.
async fn drops_modifiers(context: &RunContext, restore: &DesiredObject) -> bool {
    let mut asked = restore.clone();
    // The Restore itself may be there.
    asked.reference.name.push_str("-asked");
    asked.value["metadata"]["name"] = asked.reference.name.as_str().into();
    let options = WriteOptions { dry_run: true, ..server::options() };
    let made = context.cluster.create(&asked.reference, Bytes::from(asked.value.to_string()), &options).await;
    let made = made.ok().and_then(|made| serde_json::from_slice::<Value>(&made).ok());
    made.is_some_and(|made| made.pointer("/spec/resourceModifier/name").is_none())
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
/// Whoever asks this process to stop, or takes the cluster away from it, has Velero go on: what it copies meanwhile counts for the process
/// that resumes the run.
///
/// # Errors
/// When something did not come back: what mounts it must not be made.
pub(super) async fn bring_back(context: &RunContext, prepared: &Prepared, run: &mut ActiveRun) -> Result<(), RunError> {
    let plan = &prepared.plan;
    let (Some(step), Some(copies)) = (plan.copies_step(), &plan.copies) else { return Ok(()) };
    run.start(&step).await?;
    let asked = restore_of_files(plan, copies, run.id(), &context.velero_namespace);
    let carriers = Carriers { context, namespace: &plan.target_namespace, run: run.id() };
    let purpose = Purpose { restore: &asked.restore.reference, claims: &copies.claims };
    carriers.clear_way().await?;
    claims_there(carriers, copies).await?;
    if drops_modifiers(context, &asked.restore).await {
        let namespace = &context.velero_namespace;
        return Err(RunError::Files(format!("they are copied back by {WITHOUT_MODIFIERS} `{namespace}`: {NEWER_VELERO}")));
    }
    let mut adopted = Adopted::Carried;
    loop {
        provide(context, &asked.modifiers).await?;
        let mut watch = Watch::new(carriers, purpose);
        let outcome = tokio::select! {
            outcome = restore(context, &asked.restore, &plan.point, &step, adopted) => outcome,
            unchanged = watch.over() => Err(carriers.refuse(purpose, &unchanged).await),
        };
        // Some may have come since the last look.
        let outcome = match carriers.unchanged(purpose.restore).await {
            Ok(unchanged) if unchanged.is_empty() => outcome,
            Ok(unchanged) => Err(carriers.refuse(purpose, &unchanged).await),
            Err(unknown) => outcome.and(Err(unknown)),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Err(given_up(carriers, &asked, error).await),
        };
        let mut missing = missing(context, &copies.claims, &outcome).await?;
        for copied in &copies.claims {
            if let (Some(why), Some(reason)) = (watch.lost(&copied.carrier.pod), missing.get_mut(&copied.claim)) {
                why.clone_into(reason);
            }
        }
        carriers.remove(missing.is_empty()).await?;
        delete(context, &asked.modifiers.reference, None).await?;
        let back: Vec<&CopiedClaim> = copies.claims.iter().filter(|copied| !missing.contains_key(&copied.claim)).collect();
        let strangers = carriers.strangers(back.iter().copied()).await?;
        let mounted = |claim: &ObjectReference| strangers.iter().any(|stranger| stranger.claim == *claim);
        for copied in back.iter().filter(|copied| !mounted(&copied.claim)) {
            unmark(context, &copied.claim).await?;
        }
        if !strangers.is_empty() {
            for (claim, reason) in &missing {
                context.reporter.report(&Event::Warning { text: format!("files did not come back: {claim}: {reason}") });
            }
            return Err(RunError::Mounted { mounts: strangers.iter().map(ToString::to_string).collect(), copied: true });
        }
        if missing.is_empty() {
            return run.finish(&step, &format!("{}: {} volumes", outcome.phase, back.len()), Evidence::new()).await;
        }
        if !outcome.found_over {
            let told = missing.into_iter().map(|(claim, reason)| format!("{claim}: {reason}")).collect::<Vec<_>>();
            return Err(RunError::Files(told.join("; ")));
        }
        adopted = Adopted::Running;
    }
}

/// Removes what is of no use any more after `error`, and answers it. A Restore that goes on is let go on, with its pods, but for one whose
/// pods run what they should not.
async fn given_up(carriers: Carriers<'_>, asked: &RestoreOfFiles, error: RunError) -> RunError {
    let Carriers { context, run, .. } = carriers;
    let warn = |text: String| context.reporter.report(&Event::Warning { text });
    let clean = format!("`dxdr runs clean {run}` ends it");
    let left = if matches!(error, RunError::Unchanged { .. }) {
        ending::end(context, run, FILES).await.map_err(|left| format!("{}; {clean}", chain(&left)))
    } else {
        let further = format!("`dxdr runs resume {run}` takes up what it has copied by then, {clean}");
        match ending::going(context, run).await {
            Ok(going) => {
                going.first().map_or(Ok(()), |(restore, _)| Err(format!("Velero still has {restore} to carry out: {further}")))
            }
            Err(left) => {
                Err(format!("Velero may still have {} to carry out ({}): {further}", asked.restore.reference, chain(&left)))
            }
        }
    };
    if let Err(left) = left {
        warn(left);
        return error;
    }
    let removed = match carriers.remove(false).await {
        Ok(()) => delete(context, &asked.modifiers.reference, None).await,
        failed => failed,
    };
    if let Err(left) = removed {
        warn(format!("not everything is removed that files came back through: {}; `dxdr runs clean {run}` does", chain(&left)));
    }
    error
}

/// Removes the pods and the modifiers of a run that is cleaned up, when its Restores are over.
pub(crate) async fn discard(context: &RunContext, run: &str, namespace: &str) -> Result<(), RunError> {
    Carriers { context, namespace, run }.discard().await?;
    let selector = format!("{RUN_LABEL}={}", name::in_label(run));
    for modifiers in labelled(context.cluster.as_ref(), &configmaps(), &context.velero_namespace, &selector).await? {
        delete(context, &reference(&configmaps(), &modifiers), uid(&modifiers)).await?;
    }
    Ok(())
}

/// Where a claim could not be made, its pod would wait for it for ever. Whoever mounts one by now would run on what is not whole.
async fn claims_there(carriers: Carriers<'_>, copies: &FileCopies) -> Result<(), RunError> {
    for copied in &copies.claims {
        if carriers.context.cluster.get(&copied.claim).await?.is_none() {
            return Err(RunError::Files(format!("{} is not there to be filled", copied.claim)));
        }
    }
    let strangers = carriers.strangers(copies.claims.iter()).await?;
    let running: Vec<String> = strangers.iter().filter(|stranger| !stranger.over).map(ToString::to_string).collect();
    if running.is_empty() { Ok(()) } else { Err(RunError::Mounted { mounts: running, copied: false }) }
}

/// Puts the modifiers where Velero looks for them.
pub(super) async fn provide(context: &RunContext, modifiers: &DesiredObject) -> Result<(), RunError> {
    let body = Bytes::from(modifiers.value.to_string());
    context.cluster.apply(&modifiers.reference, body, true, &server::options()).await?;
    Ok(())
}

/// The claims whose copy is not in them, with the reason.
pub(super) async fn missing(
    context: &RunContext,
    copies: &[CopiedClaim],
    outcome: &VeleroOutcome,
) -> Result<BTreeMap<ObjectReference, String>, RunError> {
    if copies.is_empty() {
        return Ok(BTreeMap::new());
    }
    let selector = format!("velero.io/restore-uid={}", outcome.uid());
    let (cluster, namespace) = (context.cluster.as_ref(), &context.velero_namespace);
    let copied = labelled(cluster, &pod_volume_restores(), namespace, &selector).await?;
    let mut missing = BTreeMap::new();
    for CopiedClaim { claim, carrier, .. } in copies {
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
    // Who binds the claim writes to it, too.
    amend(context.cluster.as_ref(), claim, &options(), |live| {
        let annotations = live.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
        annotations.is_some_and(|annotations| annotations.remove(AWAITS_COPY).is_some())
    })
    .await?;
    Ok(())
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

pub(super) async fn delete(context: &RunContext, object: &ObjectReference, uid: Option<&str>) -> Result<(), RunError> {
    context.cluster.delete(object, uid, &options()).await?;
    Ok(())
}

fn options() -> WriteOptions {
    WriteOptions { retry: true, ..write::options() }
}
