//! Volumes: what was captured of them, filling new ones from the storage's snapshots, and letting go of these.
//!
//! ```text
//! claim ─► content for the handle ─► VolumeSnapshot ─► ready ─► claim with data source ─► bound ─► both objects deleted
//! ```
//!
//! The content's policy is Retain from its first moment: nothing that is deleted here takes the storage's snapshot along.

use std::time::Duration;

use bytes::Bytes;
use dxdr_catalog::{Component, Entry, Gap, VolumeComponent, name};
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_format::{
    hashing::sha256,
    journal::Evidence,
    velero::{
        adoption::{ArchiveFacts, captured_volumes, volume_gaps},
        layout::BackupObject,
        volume_info,
    },
};
use dxdr_plan::{
    backup::GROUP_SNAPSHOT_VERSIONS,
    restore::{
        CapturedVolume, RestorePlan, VolumeSource,
        volume::{self, ImportedSnapshot},
    },
    velero::RUN_LABEL,
};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind,
    cluster::{ListScope, WriteOptions},
};
use serde_json::Value;

use super::{Prepared, RestoreReport, unbound::Surroundings, write};
use crate::{
    active::ActiveRun,
    context::RunContext,
    error::RunError,
    event::{Event, Reporter},
    stop::StopRequest,
    store::Store,
};

/// A storage that has the snapshot answers within seconds.
const GETTING_READY: Duration = Duration::from_secs(300);
/// An error that the storage repeats for so long is its answer.
const FAILING: Duration = Duration::from_secs(30);
/// How long claims may take to be bound before their snapshots are left to them. Claims that wait for a consumer are bound once their
/// pods are scheduled.
const BINDING: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
const PAGE: u32 = 500;
/// Annotation of a VolumeSnapshot with the claim that it fills.
const CLAIM: &str = "dxdr.io/claim";

/// What was captured of the volumes of `entry`, and what it lacks of those of `namespace`.
pub(super) async fn captured(
    store: &Store,
    entry: &Entry,
    namespace: &str,
) -> Result<(Vec<VolumeComponent>, Vec<Gap>), RunError> {
    match entry {
        Entry::Ours(point) => {
            let volumes = point.components.iter().filter_map(|component| match component {
                Component::Volume(volume) => Some(volume.clone()),
                _ => None,
            });
            Ok((volumes.collect(), point.gaps.clone()))
        }
        Entry::Foreign(backup) => {
            let key = store.layout.backup_object_key(&backup.name, BackupObject::VolumeInfo);
            let format = |source| RunError::Format { key: key.clone(), store: store.storage.describe(), source };
            let volumes = match store.read(&key).await? {
                Some(bytes) => volume_info::decode(&bytes).map_err(format)?,
                None => Vec::new(),
            };
            let completed = backup.completed.or(backup.started).unwrap_or_default();
            let started = backup.started.unwrap_or(completed);
            let gaps = if backup.volumes { volume_gaps(&volumes, namespace) } else { Vec::new() };
            Ok((captured_volumes(&volumes, &ArchiveFacts::default(), (started, completed)).collect(), gaps))
        }
    }
}

/// Makes the storage's snapshot known for the claim `desired`, which is about to be created, and lets it be filled from it.
/// Repeatable: the objects' names follow from the run and the claim. What a failure leaves is removed again.
pub(super) async fn fill(
    cluster: &dyn Cluster,
    stop: &StopRequest,
    run: &str,
    claim: &ObjectReference,
    captured: &CapturedVolume,
    desired: &mut Value,
) -> Result<(), ClusterError> {
    let VolumeSource::Snapshot { driver, handle } = &captured.source else { return Ok(()) };
    let name = format!("dxdr-{:.20}", sha256(format!("{run} {claim}").as_bytes()).to_string());
    let mode = desired.pointer("/spec/volumeMode").and_then(Value::as_str).unwrap_or("Filesystem");
    let class = class_of(cluster, driver).await;
    let mut imported = volume::imported(run, &name, claim, (driver, handle), class.as_deref(), mode);
    imported.snapshot.value["metadata"]["annotations"] = serde_json::json!({CLAIM: claim.name});
    for object in [&imported.content, &imported.snapshot] {
        match cluster.create(&object.reference, Bytes::from(object.value.to_string()), &options()).await {
            Ok(_) => {}
            Err(error) if error.kind == ClusterErrorKind::AlreadyExists => {}
            Err(error) => return Err(discarded(cluster, &imported, error).await),
        }
    }
    if let Err(error) = ready(cluster, stop, claim, &imported, handle).await {
        drop_group(cluster, &name).await;
        return Err(discarded(cluster, &imported, error).await);
    }
    volume::fill(desired, &name, captured.size);
    Ok(())
}

/// The error, with what was made until it happened removed again as far as it can be.
async fn discarded(cluster: &dyn Cluster, imported: &ImportedSnapshot, error: ClusterError) -> ClusterError {
    for object in [&imported.snapshot, &imported.content] {
        // The first error is what must be heard of; a content that stays keeps nothing and deletes nothing.
        let _ = cluster.delete(&object.reference, None, &options()).await;
    }
    error
}

/// A VolumeSnapshotClass of the driver, the default one first: drivers that need credentials find them through it.
async fn class_of(cluster: &dyn Cluster, driver: &str) -> Option<String> {
    let scope = ListScope { namespace: None, label_selector: None };
    // An account that may not list them gets along without, as most drivers do.
    let page = cluster.list(&volume::classes(), &scope, PAGE, None).await.ok()?;
    let classes: Vec<Value> = page.items.iter().filter_map(|item| serde_json::from_slice(item).ok()).collect();
    let of_driver = classes.iter().filter(|class| class.get("driver").and_then(Value::as_str) == Some(driver));
    let is_default = |class: &Value| {
        let annotation = class.pointer("/metadata/annotations/snapshot.storage.kubernetes.io~1is-default-class");
        annotation.and_then(Value::as_str) == Some("true")
    };
    let best = of_driver.max_by_key(|class| is_default(class))?;
    best.pointer("/metadata/name").and_then(Value::as_str).map(str::to_owned)
}

/// Waits until the snapshot can be used.
async fn ready(
    cluster: &dyn Cluster,
    stop: &StopRequest,
    claim: &ObjectReference,
    imported: &ImportedSnapshot,
    handle: &str,
) -> Result<(), ClusterError> {
    let began = tokio::time::Instant::now();
    let mut group_known = false;
    let (mut failing_since, mut reason) = (None, "nobody has taken it up: does a snapshot controller run?".to_owned());
    loop {
        let objects = [cluster.get(&imported.snapshot.reference).await?, cluster.get(&imported.content.reference).await?];
        let objects =
            objects.map(|object| object.and_then(|json| serde_json::from_slice::<Value>(&json).ok()).unwrap_or_default());
        if objects.first().and_then(|snapshot| snapshot.pointer("/status/readyToUse")).and_then(Value::as_bool) == Some(true) {
            return Ok(());
        }
        let group = objects.iter().find_map(|object| object.pointer("/status/volumeGroupSnapshotHandle")?.as_str());
        if let (Some(group), false) = (group, group_known) {
            make_group_known(cluster, imported, group).await?;
            group_known = true;
        }
        let error = objects.iter().find_map(|object| object.pointer("/status/error/message")?.as_str());
        match error {
            Some(error) => {
                reason = error.to_owned();
                failing_since.get_or_insert_with(tokio::time::Instant::now);
            }
            None => failing_since = None,
        }
        let given_up = failing_since.is_some_and(|since| since.elapsed() > FAILING) || began.elapsed() > GETTING_READY;
        if given_up || stop.asked() {
            if stop.asked() {
                reason = "somebody asked to stop".to_owned();
            }
            return Err(ClusterError {
                kind: ClusterErrorKind::Other,
                action: "restore",
                object: claim.to_string(),
                cluster: cluster.describe(),
                message: format!("snapshot {handle} cannot be used: {reason}"),
                source: None,
            });
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = stop.wait() => {}
        }
    }
}

/// Makes the group known of which the driver says that the snapshot is a member.
async fn make_group_known(cluster: &dyn Cluster, imported: &ImportedSnapshot, group: &str) -> Result<(), ClusterError> {
    for version in GROUP_SNAPSHOT_VERSIONS {
        let object = volume::imported_group(imported, group, version);
        match cluster.create(&object.reference, Bytes::from(object.value.to_string()), &options()).await {
            Ok(_) => break,
            Err(error) if error.kind == ClusterErrorKind::AlreadyExists => break,
            // It is not served in this version; where it is in none, nobody asks for it.
            Err(error) if error.kind == ClusterErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes away what made a group known. What cannot be is harmless, and has no content but a name.
async fn drop_group(cluster: &dyn Cluster, name: &str) {
    for version in GROUP_SNAPSHOT_VERSIONS {
        let reference = ObjectReference { name: name.to_owned(), ..volume::contents_of_groups(version) };
        if let Ok(true) = cluster.delete(&reference, None, &options()).await {
            break;
        }
    }
}

/// Waits until the run's claims are bound, and deletes what stood for their snapshots. What stands for those of claims that are not stays, and
/// is named: a claim that nobody uses yet may rightly wait for its consumer, and any other one has failed.
pub(super) async fn release(
    context: &RunContext,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    let from_snapshots = prepared
        .plan
        .stages
        .iter()
        .flat_map(|stage| &stage.objects)
        .any(|object| object.volume.as_ref().is_some_and(|volume| matches!(volume.source, VolumeSource::Snapshot { .. })));
    if !from_snapshots {
        return Ok(());
    }
    let cluster = context.cluster.as_ref();
    let mut held = of_run(cluster, run.id(), volume::snapshots(), Some(&prepared.plan.target_namespace)).await?;
    // Killed between letting go of the one and of the other, a run leaves contents alone.
    let contents = of_run(cluster, run.id(), volume::contents(), None).await?;
    if held.is_empty() && contents.is_empty() && prepared.plan.release_step().is_none() {
        return Ok(());
    }
    let alone = |content: &&Held| held.iter().all(|snapshot| snapshot.reference.name != content.reference.name);
    let alone: Vec<&Held> = contents.iter().filter(alone).collect();
    let step = RestorePlan::release();
    run.start(&step).await?;
    for content in alone {
        cluster.delete(&content.reference, None, &options()).await?;
        if content.in_group {
            drop_group(cluster, &content.reference.name).await;
        }
    }
    let count = held.len();
    held = let_go(cluster, context.reporter.as_ref(), &context.stop, &step.id, held).await?;
    let at = (run.id(), prepared.plan.target_namespace.as_str());
    report.failed.extend(not_bound(cluster, context.reporter.as_ref(), at, &held).await?);
    let summary = format!("{} of {count} snapshots let go of", count - held.len());
    run.finish(&step, &summary, Evidence::new()).await
}

/// Tells of claims that are not bound; answers those that do not wait rightly.
async fn not_bound(
    cluster: &dyn Cluster,
    reporter: &dyn Reporter,
    (run, namespace): (&str, &str),
    held: &[Held],
) -> Result<Vec<ClusterError>, RunError> {
    let mut failed = Vec::new();
    if held.is_empty() {
        return Ok(failed);
    }
    let mut surroundings = Surroundings::look(cluster, namespace).await?;
    for snapshot in held {
        let stays = format!(
            "{} stays: delete it, and the VolumeSnapshotContent of that name, when it is bound (`kubectl delete volumesnapshot,volumesnapshotcontent -l {RUN_LABEL}={} -n {namespace}`)",
            snapshot.reference,
            name::in_label(run),
        );
        let Some(reason) = surroundings.why(cluster, &snapshot.claim).await? else {
            let text = format!("claim {} waits for the first pod that uses it; until then {stays}", snapshot.claim);
            reporter.report(&Event::Warning { text });
            continue;
        };
        let claim = surroundings.claim(&snapshot.claim);
        let error = ClusterError {
            kind: ClusterErrorKind::Other,
            action: "restore",
            object: claim.to_string(),
            cluster: cluster.describe(),
            message: format!("it is not bound after {} s: {reason}; {stays}", BINDING.as_secs()),
            source: None,
        };
        reporter.report(&Event::ObjectFailed { object: claim, error: error.message.clone() });
        failed.push(error);
    }
    Ok(failed)
}

/// Deletes what stands for the snapshots whose claims are bound, as they become so; answers the others when the time is over.
async fn let_go(
    cluster: &dyn Cluster,
    reporter: &dyn Reporter,
    stop: &StopRequest,
    step: &str,
    mut held: Vec<Held>,
) -> Result<Vec<Held>, RunError> {
    let count = held.len();
    let began = tokio::time::Instant::now();
    loop {
        let mut waiting = Vec::new();
        for snapshot in held {
            if is_bound(cluster, &snapshot).await? {
                drop_snapshot(cluster, &snapshot.reference).await?;
                if snapshot.in_group {
                    drop_group(cluster, &snapshot.reference.name).await;
                }
            } else {
                waiting.push(snapshot);
            }
        }
        held = waiting;
        if held.is_empty() || began.elapsed() > BINDING {
            return Ok(held);
        }
        reporter.report(&Event::Progress {
            step: step.to_owned(),
            done: (count - held.len()) as u64,
            total: Some(count as u64),
            bytes: 0,
            at: "claims that are bound".to_owned(),
        });
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = stop.wait() => return Err(RunError::Interrupted),
        }
    }
}

/// Deletes what stands for snapshots in the cluster for a run that is cleaned up.
pub(crate) async fn discard(context: &RunContext, run: &str) -> Result<u64, RunError> {
    let cluster = context.cluster.as_ref();
    let mut discarded = 0;
    for content in of_run(cluster, run, volume::contents(), None).await? {
        if let Some(snapshot) = content.of {
            cluster.delete(&snapshot, None, &options()).await?;
        }
        discarded += u64::from(cluster.delete(&content.reference, None, &options()).await?);
        if content.in_group {
            drop_group(cluster, &content.reference.name).await;
        }
    }
    Ok(discarded)
}

/// An object that stands for a snapshot.
struct Held {
    reference: ObjectReference,
    /// The claim it fills.
    claim: String,
    /// Of a content: its VolumeSnapshot.
    of: Option<ObjectReference>,
    /// Whether its driver says that it is of a group, which then was made known, too.
    in_group: bool,
}

/// The run's snapshots or contents. None where the kind is not served, or may not be listed: then nothing was made of it either.
async fn of_run(cluster: &dyn Cluster, run: &str, kind: ResourceKind, namespace: Option<&str>) -> Result<Vec<Held>, RunError> {
    let selector = format!("{RUN_LABEL}={}", name::in_label(run));
    let scope = ListScope { namespace: namespace.map(str::to_owned), label_selector: Some(selector) };
    let objects = match all(cluster, &kind, &scope).await {
        Ok(objects) => objects,
        Err(error) if matches!(error.kind, ClusterErrorKind::NotFound | ClusterErrorKind::Forbidden) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let held = objects.iter().filter_map(|object| {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        // The run's protective point takes snapshots of its own, which are none of a restore's.
        text("/spec/source/volumeSnapshotContentName").or(text("/spec/source/snapshotHandle"))?;
        let of = text("/spec/volumeSnapshotRef/name").map(|name| ObjectReference {
            kind: volume::snapshots(),
            namespace: text("/spec/volumeSnapshotRef/namespace"),
            name,
        });
        Some(Held {
            reference: ObjectReference {
                kind: kind.clone(),
                namespace: namespace.map(str::to_owned),
                name: text("/metadata/name").unwrap_or_default(),
            },
            claim: text("/metadata/annotations/dxdr.io~1claim").unwrap_or_default(),
            in_group: text("/status/volumeGroupSnapshotHandle").or(text("/status/volumeGroupSnapshotName")).is_some(),
            of,
        })
    });
    Ok(held.collect())
}

/// All objects of a kind.
pub(super) async fn all(cluster: &dyn Cluster, kind: &ResourceKind, scope: &ListScope) -> Result<Vec<Value>, ClusterError> {
    let (mut objects, mut continuation) = (Vec::new(), None::<String>);
    loop {
        let page = cluster.list(kind, scope, PAGE, continuation.as_deref()).await?;
        objects.extend(page.items.iter().filter_map(|item| serde_json::from_slice::<Value>(item).ok()));
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(objects);
        }
    }
}

/// Whether the claim that the snapshot fills is bound, or gone.
async fn is_bound(cluster: &dyn Cluster, snapshot: &Held) -> Result<bool, RunError> {
    let kind = volume::claims();
    let claim = ObjectReference { kind, namespace: snapshot.reference.namespace.clone(), name: snapshot.claim.clone() };
    let Some(json) = cluster.get(&claim).await? else { return Ok(true) };
    let claim: Value = serde_json::from_slice(&json).unwrap_or_default();
    Ok(claim.pointer("/status/phase").and_then(Value::as_str) == Some("Bound"))
}

/// Deletes a VolumeSnapshot and the content of its name, in this order: a content whose snapshot is there is in use.
async fn drop_snapshot(cluster: &dyn Cluster, snapshot: &ObjectReference) -> Result<(), RunError> {
    cluster.delete(snapshot, None, &options()).await?;
    let content = ObjectReference { kind: volume::contents(), namespace: None, name: snapshot.name.clone() };
    cluster.delete(&content, None, &options()).await?;
    Ok(())
}

fn options() -> WriteOptions {
    WriteOptions { retry: true, ..write::options() }
}

#[cfg(test)]
mod tests;
