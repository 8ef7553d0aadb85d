//! Snapshots of volumes by their CSI drivers.
//!
//! ```text
//! take      a VolumeSnapshot per claim, all at once ─► handle and instant of each (claims that belong together: group.rs)
//! (the objects are captured)
//! retain    ready to use ─► content's deletionPolicy Retain, looked at again
//! (the point is written)
//! release   VolumeSnapshot and content deleted; the storage keeps the snapshot
//! discard   the same with deletionPolicy Delete: the storage's snapshot goes, too
//! ```
//!
//! Objects are named after the point, so that another process of the run finds what an earlier one made. A claim that fails costs the
//! point that volume only. Until there is a point, everything can be removed through the objects; from then on nothing of them is needed.

mod group;
mod observe;
mod wait;

use std::time::Duration;

use bytes::Bytes;
use dxdr_catalog::{Component, Gap, VolumeComponent};
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_format::{
    journal::Evidence,
    velero::{
        csi_snapshot::{CsiSnapshot, VolumeFacts},
        volume_info::VolumeInfo,
    },
};
use dxdr_plan::{
    backup::{BackupPlan, PlannedGroup, SNAPSHOT_GROUP, SnapshotPlan, VolumeFate, VolumePlan},
    velero::RUN_LABEL,
};
use dxdr_provider::{ClusterError, ClusterErrorKind, cluster::WriteOptions};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use group::TakenGroup;
pub(crate) use observe::observe;
use wait::{Awaited, wait};

use crate::{
    capture::fatal,
    context::RunContext,
    error::RunError,
    event::Event,
    hook::Failures,
    witness::{self, Between, Witness},
};

/// Field manager of what is written for snapshots.
const FIELD_MANAGER: &str = "dxdr-snapshots";
/// Requests at the same time: the snapshots of an environment are asked for within one round trip or two.
const IN_FLIGHT: usize = 16;
/// How long controllers may take to let go of a deleted object before somebody is told that it is still there.
const GOING: Duration = Duration::from_secs(20);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What the storage has taken, and what not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Taken {
    pub(crate) started: Timestamp,
    pub(crate) completed: Timestamp,
    pub(crate) snapshots: Vec<CsiSnapshot>,
    pub(crate) failed: Vec<Failed>,
    /// Groups of which all were taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<TakenGroup>,
    /// When that was, by the clock of the run's first process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) between: Option<Between>,
}

/// A snapshot that cannot be relied on, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) namespace: String,
    pub(crate) claim: String,
    pub(crate) reason: String,
}

/// Which of the taken ones cannot be relied on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retained {
    /// They go with objects of the cluster.
    pub(crate) failed: Vec<Failed>,
    /// They are kept, and the storage has not said in time that they can be restored from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) late: Vec<Failed>,
}

/// Everything that became of the volumes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Volumes {
    /// Hooks before the snapshots that failed.
    pub(crate) before: Failures,
    pub(crate) taken: Option<Taken>,
    /// Hooks after the snapshots that failed.
    pub(crate) after: Failures,
    pub(crate) retained: Retained,
}

impl Volumes {
    /// The snapshots that the storage has.
    pub(crate) fn snapshots(&self) -> &[CsiSnapshot] {
        self.taken.as_ref().map(|taken| taken.snapshots.as_slice()).unwrap_or_default()
    }

    /// Why there is no snapshot of a claim that is kept.
    fn lost(&self, namespace: &str, claim: &str) -> Option<&str> {
        let taken = self.taken.iter().flat_map(|taken| &taken.failed);
        of_claim(taken.chain(&self.retained.failed), namespace, claim)
    }

    /// Why the snapshot of a claim, though it is kept, cannot be restored from yet.
    fn late(&self, namespace: &str, claim: &str) -> Option<&str> {
        of_claim(&self.retained.late, namespace, claim)
    }

    /// Why the snapshot of a claim cannot be relied on.
    fn failure(&self, namespace: &str, claim: &str) -> Option<&str> {
        self.lost(namespace, claim).or_else(|| self.late(namespace, claim))
    }

    /// How many can be restored from.
    pub(crate) fn ready(&self) -> usize {
        self.snapshots().iter().filter(|snapshot| self.failure(&snapshot.namespace, &snapshot.claim).is_none()).count()
    }

    /// What the point lacks because of snapshots that failed.
    pub(crate) fn gaps(&self, plan: &BackupPlan) -> Vec<Gap> {
        let gap = |volume: &VolumePlan| {
            let reason = self.failure(&volume.namespace, &volume.claim)?.to_owned();
            Some(Gap { what: volume.what(), reason })
        };
        let volumes = plan.snapshots().filter_map(|(volume, _)| gap(volume));
        volumes.chain(self.before.gaps()).chain(self.after.gaps()).collect()
    }

    /// The snapshots that are kept, as parts of the point. Whether one that was late can be restored from shows when somebody does.
    pub(crate) fn components(&self) -> Vec<Component> {
        let kept = self.snapshots().iter().filter(|snapshot| self.lost(&snapshot.namespace, &snapshot.claim).is_none());
        kept.map(|snapshot| {
            Component::Volume(VolumeComponent {
                namespace: snapshot.namespace.clone(),
                claim: snapshot.claim.clone(),
                pod: None,
                instant: snapshot.taken,
                between: witness::interval(self.taken.as_ref().and_then(|taken| taken.between)),
                method: "csi-snapshot".to_owned(),
                driver: snapshot.driver.clone(),
                handle: snapshot.handle.clone(),
                size: snapshot.size,
                late: self.late(&snapshot.namespace, &snapshot.claim).is_some(),
            })
        })
        .collect()
    }

    /// What Velero is told of each volume that there is. Of an unbound claim it has nothing to say.
    pub(crate) fn infos(&self, plan: &BackupPlan) -> Vec<VolumeInfo> {
        plan.volumes.iter().filter_map(|volume| self.info(plan, volume)).collect()
    }

    fn info(&self, plan: &BackupPlan, volume: &VolumePlan) -> Option<VolumeInfo> {
        let persistent = volume.snapshot().map(|snapshot| (snapshot.reclaim_policy.as_str(), &snapshot.volume_labels));
        let facts = VolumeFacts {
            namespace: &volume.namespace,
            claim: &volume.claim,
            volume: volume.volume.as_deref()?,
            persistent_volume: persistent,
            started: self.taken.as_ref().map_or(plan.started, |taken| taken.started),
            completed: self.taken.as_ref().map_or(plan.started, |taken| taken.completed),
        };
        Some(match &volume.fate {
            VolumeFate::LeftOut(reason) | VolumeFate::Unprotected(reason) => facts.skipped(reason),
            VolumeFate::Snapshot(_) => {
                let is_of = |snapshot: &&CsiSnapshot| snapshot.namespace == volume.namespace && snapshot.claim == volume.claim;
                match self.snapshots().iter().find(is_of) {
                    Some(snapshot) => facts.taken(snapshot, self.failure(&volume.namespace, &volume.claim).is_none()),
                    None => facts.failed(),
                }
            }
        })
    }
}

fn of_claim<'a>(failed: impl IntoIterator<Item = &'a Failed>, namespace: &str, claim: &str) -> Option<&'a str> {
    let failed = failed.into_iter().find(|failed| failed.namespace == namespace && failed.claim == claim);
    failed.map(|failed| failed.reason.as_str())
}

/// What keeps volumes from being captured before anything is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfit {
    /// Hooks that failed.
    pub(crate) hooks: Failures,
    /// Snapshots of an earlier process that do not go.
    pub(crate) left: Vec<Failed>,
}

impl Unfit {
    fn of_claim(&self, namespace: &str, claim: &str) -> Option<String> {
        of_claim(&self.left, namespace, claim).map(str::to_owned).or_else(|| self.hooks.of_claim(namespace, claim))
    }
}

/// For the journal.
pub(crate) fn to_evidence(value: &impl Serialize) -> Result<Evidence, RunError> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(RunError::Unexpected("the evidence of a step is not an object".to_owned())),
        Err(error) => Err(RunError::Unexpected(error.to_string())),
    }
}

/// From the journal.
pub(crate) fn from_evidence<T: serde::de::DeserializeOwned>(evidence: &Evidence) -> Result<T, RunError> {
    let unusable = |error| RunError::Unexpected(format!("the journal's evidence of the snapshots is unusable: {error}"));
    serde_json::from_value(Value::Object(evidence.clone())).map_err(unusable)
}

/// Has every snapshot taken of pods that hold still, and waits until the storage has cut each or said why not. May be done again: what is there is taken over.
pub(crate) async fn take(context: &RunContext, plan: &BackupPlan, unfit: &Unfit, witness: &Witness) -> Result<Taken, RunError> {
    let started = context.clock.now();
    let groups = plan.groups();
    let (singles, grouped) =
        futures::future::try_join(singles(context, plan, unfit), in_groups(context, plan, &groups, unfit)).await?;
    let (mut snapshots, mut failed) = singles;
    let mut taken = Vec::new();
    for (planned, outcome) in groups.iter().zip(grouped) {
        match outcome {
            Ok((group, members)) => {
                taken.push(group);
                snapshots.extend(members);
            }
            Err(reason) => {
                failed.extend(planned.members.iter().map(|(volume, _)| failure(context, volume, reason.clone())));
            }
        }
    }
    snapshots.sort_by(|left, right| (&left.namespace, &left.claim).cmp(&(&right.namespace, &right.claim)));
    failed.sort_by(|left, right| (&left.namespace, &left.claim).cmp(&(&right.namespace, &right.claim)));
    let completed = context.clock.now();
    let between = Some(witness.saw_for_the_run(started, completed));
    Ok(Taken { started, completed, snapshots, failed, groups: taken, between })
}

/// What became of the groups, in their order.
async fn in_groups(
    context: &RunContext,
    plan: &BackupPlan,
    groups: &[PlannedGroup<'_>],
    unfit: &Unfit,
) -> Result<Vec<group::Outcome>, RunError> {
    let taking = groups.iter().map(|planned| async move {
        match group::unfit(planned, unfit) {
            Some(reason) => Ok(Err(reason)),
            None => group::take(context, plan, planned).await,
        }
    });
    futures::future::try_join_all(taking).await
}

/// What became of the volumes that are of no group.
async fn singles(context: &RunContext, plan: &BackupPlan, unfit: &Unfit) -> Result<(Vec<CsiSnapshot>, Vec<Failed>), RunError> {
    let (mut awaited, mut failed) = (Vec::new(), Vec::new());
    let single = || plan.snapshots().filter(|(_, snapshot)| snapshot.group.is_none());
    for (volume, _) in single() {
        if let Some(reason) = unfit.of_claim(&volume.namespace, &volume.claim) {
            failed.push(failure(context, volume, reason));
        }
    }
    let is_fit = |volume: &VolumePlan| unfit.of_claim(&volume.namespace, &volume.claim).is_none();
    let asking = stream::iter(single().filter(|(volume, _)| is_fit(volume)))
        .map(|(volume, snapshot)| async move { (volume, ask(context, plan, volume, snapshot).await) });
    let asked: Vec<_> = asking.buffer_unordered(IN_FLIGHT).collect().await;
    for (volume, asked) in asked {
        match asked? {
            Ok(()) => awaited.push(Awaited::of(&volume.namespace, &volume.claim, volume.snapshot_name(&plan.point))),
            Err(reason) => failed.push(failure(context, volume, reason)),
        }
    }
    let cut = |object: &Value| {
        text(object, "/status/boundVolumeSnapshotContentName").is_some() && text(object, "/status/creationTime").is_some()
    };
    let came = wait(context, plan, "snapshot", awaited, cut).await?;
    let mut snapshots = Vec::new();
    for (awaited, came) in came {
        let Some((volume, snapshot)) = plan.snapshots().find(|(volume, _)| awaited.is_of(volume)) else { continue };
        let taken = match came {
            Ok(object) => described(context, volume, snapshot, &object).await?,
            Err(reason) => Err(reason),
        };
        match taken {
            Ok(taken) => snapshots.push(taken),
            Err(reason) => failed.push(failure(context, volume, reason)),
        }
    }
    Ok((snapshots, failed))
}

/// Asks for one snapshot. The inner error is the claim's own: it costs the point this volume.
async fn ask(
    context: &RunContext,
    plan: &BackupPlan,
    volume: &VolumePlan,
    snapshot: &SnapshotPlan,
) -> Result<Result<(), String>, RunError> {
    if context.stop.asked() {
        return Err(RunError::Interrupted);
    }
    let reference = snapshot_reference(&volume.namespace, &volume.snapshot_name(&plan.point));
    let labels = group::labels(plan);
    let object = json!({
        "apiVersion": reference.kind.api_version(), "kind": reference.kind.kind,
        "metadata": {"name": reference.name, "namespace": volume.namespace, "labels": labels},
        "spec": {"source": {"persistentVolumeClaimName": volume.claim}, "volumeSnapshotClassName": snapshot.class},
    });
    match context.cluster.create(&reference, Bytes::from(object.to_string()), &options()).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => {
            let live = get(context, &reference).await?.unwrap_or_default();
            let ours = live.pointer("/metadata/labels").and_then(|live| live.get(RUN_LABEL)) == labels.get(RUN_LABEL);
            let same = text(&live, "/spec/source/persistentVolumeClaimName") == Some(volume.claim.as_str());
            Ok(if ours && same { Ok(()) } else { Err(format!("{reference} exists and is not this run's")) })
        }
        Err(error) if fatal(&error) => Err(error.into()),
        Err(error) => Ok(Err(words(&error))),
    }
}

/// What is known of a snapshot that was cut.
async fn described(
    context: &RunContext,
    volume: &VolumePlan,
    snapshot: &SnapshotPlan,
    object: &Value,
) -> Result<Result<CsiSnapshot, String>, RunError> {
    let content = text(object, "/status/boundVolumeSnapshotContentName").unwrap_or_default().to_owned();
    let live = match context.cluster.get(&content_reference(&content)).await {
        Ok(Some(json)) => parsed(&json)?,
        Ok(None) => return Ok(Err(format!("its VolumeSnapshotContent {content} is gone"))),
        Err(error) if fatal(&error) => return Err(error.into()),
        Err(error) => return Ok(Err(words(&error))),
    };
    let handle = text(&live, "/status/snapshotHandle");
    let taken = live.pointer("/status/creationTime").and_then(Value::as_i64);
    let taken = taken.and_then(|nanoseconds| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok());
    let (Some(handle), Some(taken)) = (handle, taken) else {
        return Ok(Err(format!("its VolumeSnapshotContent {content} has no handle, or no time")));
    };
    Ok(Ok(CsiSnapshot {
        namespace: volume.namespace.clone(),
        claim: volume.claim.clone(),
        volume: volume.volume.clone().unwrap_or_default(),
        driver: snapshot.driver.clone(),
        class: snapshot.class.clone(),
        name: text(object, "/metadata/name").unwrap_or_default().to_owned(),
        uid: text(object, "/metadata/uid").unwrap_or_default().to_owned(),
        content_uid: text(&live, "/metadata/uid").unwrap_or_default().to_owned(),
        handle: handle.to_owned(),
        taken,
        size: live.pointer("/status/restoreSize").and_then(Value::as_u64),
        volume_mode: text(&live, "/spec/sourceVolumeMode").map(str::to_owned),
        group: text(&live, "/status/volumeGroupSnapshotHandle").map(str::to_owned),
        content,
    }))
}

/// Waits until the taken snapshots can be restored from, and sees to it that the storage keeps them whatever becomes of their objects.
/// One that is not ready in time is kept, too: it may get ready, and the point says that it was not.
pub(crate) async fn retain(context: &RunContext, plan: &BackupPlan, taken: &Taken) -> Result<Retained, RunError> {
    let awaited = |snapshot: &CsiSnapshot| Awaited::of(&snapshot.namespace, &snapshot.claim, snapshot.name.clone());
    let waiting = taken.snapshots.iter().map(awaited).collect();
    let ready = |object: &Value| object.pointer("/status/readyToUse") == Some(&Value::Bool(true));
    let mut retained = Retained::default();
    for (awaited, came) in wait(context, plan, "retain", waiting, ready).await? {
        if let (Err(reason), Some((volume, _))) = (came, plan.snapshots().find(|(volume, _)| awaited.is_of(volume))) {
            let reason = format!("its snapshot cannot be restored from yet: {reason}");
            context.reporter.report(&Event::Warning { text: format!("{}: {reason}; it is kept", volume.what()) });
            retained.late.push(Failed { namespace: volume.namespace.clone(), claim: volume.claim.clone(), reason });
        }
    }
    for snapshot in &taken.snapshots {
        if let Err(reason) = set_policy(context, &content_reference(&snapshot.content), "Retain").await?
            && let Some((volume, _)) =
                plan.snapshots().find(|(volume, _)| volume.namespace == snapshot.namespace && volume.claim == snapshot.claim)
        {
            retained.failed.push(failure(context, volume, format!("its snapshot goes with its namespace: {reason}")));
        }
    }
    for group in &taken.groups {
        if let Err(reason) = group::retain(context, group).await? {
            let planned = plan.groups();
            let is_it = |known: &&PlannedGroup<'_>| {
                known.namespace == group.namespace && known.group.snapshot_name(&plan.point) == group.name
            };
            for (volume, _) in planned.iter().filter(is_it).flat_map(|planned| &planned.members) {
                let reason = format!("the snapshot of its group goes with its namespace: {reason}");
                retained.failed.push(failure(context, volume, reason));
            }
        }
    }
    Ok(retained)
}

/// Sets what becomes of the storage's snapshot when its content is deleted, and looks whether it is set.
async fn set_policy(context: &RunContext, content: &ObjectReference, policy: &str) -> Result<Result<(), String>, RunError> {
    let patch = json!({
        "apiVersion": content.kind.api_version(), "kind": content.kind.kind,
        "metadata": {"name": content.name}, "spec": {"deletionPolicy": policy},
    });
    match context.cluster.apply(content, Bytes::from(patch.to_string()), true, &options()).await {
        Ok(json) if text(&parsed(&json)?, "/spec/deletionPolicy") == Some(policy) => Ok(Ok(())),
        Ok(_) => Ok(Err(format!("the deletionPolicy of {content} is not {policy} though it was set"))),
        Err(error) if fatal(&error) => Err(error.into()),
        Err(error) => Ok(Err(words(&error))),
    }
}

/// Takes the objects of kept snapshots out of the cluster, and those that failed altogether with whatever they hold.
pub(crate) async fn release(context: &RunContext, plan: &BackupPlan, taken: &Taken) -> Result<(), RunError> {
    for planned in plan.groups() {
        let name = planned.group.snapshot_name(&plan.point);
        let kept = taken.groups.iter().find(|taken| taken.namespace == planned.namespace && taken.name == name);
        let reference = group::reference(planned.namespace, &name, &planned.group.version);
        remove_group(context, &reference, kept.map(|taken| taken.content.as_str()), kept.is_some()).await?;
    }
    let kept = taken.snapshots.iter().map(|snapshot| (snapshot.namespace.clone(), snapshot.name.clone(), true));
    let failed = taken.failed.iter().filter_map(|failed| {
        let is_of = |volume: &VolumePlan| volume.namespace == failed.namespace && volume.claim == failed.claim;
        let (volume, snapshot) = plan.snapshots().find(|(volume, _)| is_of(volume))?;
        // What there was of a group has gone with it.
        snapshot.group.is_none().then(|| (failed.namespace.clone(), volume.snapshot_name(&plan.point), false))
    });
    remove_all(context, kept.chain(failed).collect(), &taken.snapshots).await
}

/// Removes what a run that came to nothing has made: the storage's snapshots, too.
pub(crate) async fn discard(context: &RunContext, left: &[SnapshotLeft], taken: Option<&Taken>) -> Result<(), RunError> {
    // Groups first: as long as one is there, its members stay.
    for left in left {
        let Some(version) = &left.group else { continue };
        let groups = taken.map(|taken| taken.groups.as_slice()).unwrap_or_default();
        let known = groups.iter().find(|known| known.namespace == left.namespace && known.name == left.name);
        let reference = group::reference(&left.namespace, &left.name, version);
        remove_group(context, &reference, known.map(|known| known.content.as_str()), left.kept).await?;
    }
    let single = left.iter().filter(|left| left.group.is_none());
    let single = single.map(|left| (left.namespace.clone(), left.name.clone(), left.kept)).collect();
    remove_all(context, single, taken.map(|taken| taken.snapshots.as_slice()).unwrap_or_default()).await
}

/// Removes the snapshots that an earlier process of the run may have asked for, with what the storage has of them, and waits until they are gone:
/// others of their names are to be taken. Answers those that stay in the way.
pub(crate) async fn discard_earlier(context: &RunContext, plan: &BackupPlan) -> Result<Vec<Failed>, RunError> {
    let mut left = Vec::new();
    let stays = |volume: &VolumePlan, reason: &str| Failed {
        namespace: volume.namespace.clone(),
        claim: volume.claim.clone(),
        reason: format!("a snapshot of an earlier attempt, since when nothing holds still, is in the way: {reason}"),
    };
    for planned in plan.groups() {
        let reference = group::reference(planned.namespace, &planned.group.snapshot_name(&plan.point), &planned.group.version);
        if let Err(reason) = group::remove(context, &reference, None, false).await? {
            left.extend(planned.members.iter().map(|(volume, _)| stays(volume, &reason)));
        }
    }
    let singles = plan.snapshots().filter(|(_, snapshot)| snapshot.group.is_none());
    let removing = stream::iter(singles).map(|(volume, _)| async move {
        let snapshot = snapshot_reference(&volume.namespace, &volume.snapshot_name(&plan.point));
        Ok::<_, RunError>((volume, remove(context, &snapshot, None, false).await?))
    });
    for removed in removing.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await {
        if let (volume, Err(reason)) = removed? {
            left.push(stays(volume, &reason));
        }
    }
    Ok(left)
}

async fn remove_group(context: &RunContext, group: &ObjectReference, content: Option<&str>, keep: bool) -> Result<(), RunError> {
    if let Err(reason) = group::remove(context, group, content, keep).await? {
        let text = format!("{group} and its content are still in the cluster: {reason}");
        context.reporter.report(&Event::Warning { text });
    }
    Ok(())
}

/// A snapshot whose objects a run may have left in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotLeft {
    /// Its namespace.
    pub namespace: String,
    /// The VolumeSnapshot, or the VolumeGroupSnapshot.
    pub name: String,
    /// Of a VolumeGroupSnapshot: the version of its kind.
    pub group: Option<String>,
    /// Whether a recovery point needs the storage's snapshot: only the objects go then.
    pub kept: bool,
}

async fn remove_all(context: &RunContext, all: Vec<(String, String, bool)>, taken: &[CsiSnapshot]) -> Result<(), RunError> {
    let removing = stream::iter(all).map(|(namespace, name, keep)| {
        let content = taken
            .iter()
            .find(|snapshot| snapshot.namespace == namespace && snapshot.name == name)
            .map(|known| known.content.clone());
        async move {
            let what = snapshot_reference(&namespace, &name);
            Ok::<_, RunError>((what.clone(), remove(context, &what, content, keep).await?))
        }
    });
    let removed: Vec<_> = removing.buffer_unordered(IN_FLIGHT).collect().await;
    for removed in removed {
        if let (what, Err(reason)) = removed? {
            let text = format!("{what} and its content are still in the cluster: {reason}");
            context.reporter.report(&Event::Warning { text });
        }
    }
    Ok(())
}

/// Removes a VolumeSnapshot and its content; the storage's snapshot stays when `keep`. Nothing is deleted before the content says so.
async fn remove(
    context: &RunContext,
    snapshot: &ObjectReference,
    content: Option<String>,
    keep: bool,
) -> Result<Result<(), String>, RunError> {
    let live = get(context, snapshot).await?;
    let bound = live.as_ref().and_then(|live| text(live, "/status/boundVolumeSnapshotContentName").map(str::to_owned));
    // Where nothing was bound, there is nothing to keep.
    let content = bound.or(content).map(|content| content_reference(&content));
    if let Some(content) = &content
        && get(context, content).await?.is_some()
    {
        let policy = if keep { "Retain" } else { "Delete" };
        if let Err(reason) = set_policy(context, content, policy).await? {
            return Ok(Err(reason));
        }
    }
    for object in [snapshot].into_iter().chain(&content) {
        if let Err(reason) = delete(context, object).await? {
            return Ok(Err(reason));
        }
    }
    gone(context, [snapshot].into_iter().chain(&content)).await
}

/// Waits until deleted objects are let go of.
async fn gone(context: &RunContext, objects: impl IntoIterator<Item = &ObjectReference>) -> Result<Result<(), String>, RunError> {
    let end = tokio::time::Instant::now() + GOING;
    for object in objects {
        while get(context, object).await?.is_some() {
            if tokio::time::Instant::now() > end {
                return Ok(Err(format!("{object} is being deleted, and the snapshot controller does not let go of it")));
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
    Ok(Ok(()))
}

async fn delete(context: &RunContext, object: &ObjectReference) -> Result<Result<(), String>, RunError> {
    match context.cluster.delete(object, None, &options()).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.kind == ClusterErrorKind::NotFound => Ok(Ok(())),
        Err(error) if fatal(&error) => Err(error.into()),
        Err(error) => Ok(Err(words(&error))),
    }
}

fn failure(context: &RunContext, volume: &VolumePlan, reason: String) -> Failed {
    context.reporter.report(&Event::Warning { text: format!("{} could not be captured: {reason}", volume.what()) });
    Failed { namespace: volume.namespace.clone(), claim: volume.claim.clone(), reason }
}

async fn get(context: &RunContext, reference: &ObjectReference) -> Result<Option<Value>, RunError> {
    match context.cluster.get(reference).await {
        Ok(json) => json.map(|json| parsed(&json)).transpose(),
        // The kind is not served any more.
        Err(error) if error.kind == ClusterErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn parsed(json: &[u8]) -> Result<Value, RunError> {
    serde_json::from_slice(json).map_err(|error| RunError::Unexpected(format!("an object of a snapshot is no JSON: {error}")))
}

/// What was tried and what the server said, without the name of the cluster.
fn words(error: &ClusterError) -> String {
    format!("cannot {} {}: {}", error.action, error.object, error.message)
}

fn options() -> WriteOptions {
    WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true }
}

pub(crate) fn kind(kind: &str, plural: &str, namespaced: bool) -> ResourceKind {
    ResourceKind {
        group: SNAPSHOT_GROUP.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
    }
}

pub(crate) fn snapshot_reference(namespace: &str, name: &str) -> ObjectReference {
    let kind = kind("VolumeSnapshot", "volumesnapshots", true);
    ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

pub(crate) fn content_reference(name: &str) -> ObjectReference {
    let kind = kind("VolumeSnapshotContent", "volumesnapshotcontents", false);
    ObjectReference { kind, namespace: None, name: name.to_owned() }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
