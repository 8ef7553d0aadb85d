//! Snapshots of groups: one VolumeGroupSnapshot, of which the controller makes a VolumeSnapshot for each claim.
//!
//! ```text
//! take      VolumeGroupSnapshot ─► its VolumeSnapshots, labelled as ours ─► handle of each, one instant for all
//! retain    the content of the group and those of its members: deletionPolicy Retain
//! release   VolumeGroupSnapshot, its content, then the members as any other snapshot
//! ```
//!
//! A group is captured whole or not at all: half of it is not what the label promises.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::{ObjectReference, ResourceKind, compile::ENVIRONMENT_LABEL};
use dxdr_format::velero::csi_snapshot::CsiSnapshot;
use dxdr_plan::{
    backup::{BackupPlan, GROUP_LABEL, GROUP_SNAPSHOT_GROUP, PlannedGroup},
    selection::EXCLUDE_LABEL,
    velero::RUN_LABEL,
};
use dxdr_provider::{ClusterErrorKind, cluster::ListScope};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{BETWEEN_LOOKS, Unfit, content_reference, delete, described, get, options, parsed, set_policy, text, words};
use crate::{capture::fatal, context::RunContext, error::RunError};

/// As of single snapshots: who has failed for so long has failed five times.
const ERROR_PATIENCE: Duration = Duration::from_secs(30);
const PAGE: u32 = 500;

/// A group that the storage has taken, as the cluster shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TakenGroup {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The VolumeGroupSnapshotContent.
    pub(crate) content: String,
}

/// A group with its members' snapshots, or why it was not taken.
pub(super) type Outcome = Result<(TakenGroup, Vec<CsiSnapshot>), String>;

/// Why a group is not captured, where one of its members cannot be.
pub(super) fn unfit(group: &PlannedGroup<'_>, unfit: &Unfit) -> Option<String> {
    let reason = |claim: &str| Some(format!("{}: {}", claim, unfit.of_claim(group.namespace, claim)?));
    let reason = group.members.iter().find_map(|(volume, _)| reason(&volume.claim))?;
    Some(format!("group `{}` is captured whole or not at all, and {reason}", group.group.label))
}

/// Has one group taken and waits until the storage has cut all of it, or said why not. May be done again.
pub(super) async fn take(context: &RunContext, plan: &BackupPlan, group: &PlannedGroup<'_>) -> Result<Outcome, RunError> {
    if let Err(reason) = ask(context, plan, group).await? {
        return Ok(Err(reason));
    }
    let (content, members) = match cut(context, plan, group).await? {
        Ok(cut) => cut,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut snapshots = Vec::new();
    for (volume, snapshot) in &group.members {
        let Some(object) = members.get(&volume.claim) else { continue };
        let name = text(object, "/metadata/name").unwrap_or_default();
        if let Err(reason) = label(context, plan, group.namespace, name).await? {
            return Ok(Err(reason));
        }
        match described(context, volume, snapshot, object).await? {
            Ok(taken) => snapshots.push(taken),
            Err(reason) => return Ok(Err(format!("claim {} of group `{}`: {reason}", volume.claim, group.group.label))),
        }
    }
    // Drivers that cut one after the other while all are held still have several times for one instant: that of the last.
    if let Some(instant) = snapshots.iter().map(|snapshot| snapshot.taken).max() {
        snapshots.iter_mut().for_each(|snapshot| snapshot.taken = instant);
    }
    let name = group.group.snapshot_name(&plan.point);
    let taken = TakenGroup { namespace: group.namespace.to_owned(), name, version: group.group.version.clone(), content };
    Ok(Ok((taken, snapshots)))
}

async fn ask(context: &RunContext, plan: &BackupPlan, group: &PlannedGroup<'_>) -> Result<Result<(), String>, RunError> {
    let reference = reference(group.namespace, &group.group.snapshot_name(&plan.point), &group.group.version);
    let labels = labels(plan);
    let object = json!({
        "apiVersion": reference.kind.api_version(), "kind": reference.kind.kind,
        "metadata": {"name": reference.name, "namespace": group.namespace, "labels": labels},
        "spec": {
            "volumeGroupSnapshotClassName": group.group.class,
            "source": {"selector": {"matchLabels": {GROUP_LABEL: group.group.label}}},
        },
    });
    match context.cluster.create(&reference, Bytes::from(object.to_string()), &options()).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => {
            let live = get(context, &reference).await?.unwrap_or_default();
            let ours = live.pointer("/metadata/labels").and_then(|live| live.get(RUN_LABEL)) == labels.get(RUN_LABEL);
            Ok(if ours { Ok(()) } else { Err(format!("{reference} exists and is not this run's")) })
        }
        Err(error) if fatal(&error) => Err(error.into()),
        Err(error) => Ok(Err(words(&error))),
    }
}

/// The group's content, and the VolumeSnapshot of each claim, once all were cut.
type Cut = (String, BTreeMap<String, Value>);

async fn cut(context: &RunContext, plan: &BackupPlan, group: &PlannedGroup<'_>) -> Result<Result<Cut, String>, RunError> {
    let reference = reference(group.namespace, &group.group.snapshot_name(&plan.point), &group.group.version);
    let timeout = Duration::try_from(plan.volume_policy.timeout).unwrap_or_default();
    let deadline = Instant::now() + timeout;
    let mut failing: Option<Instant> = None;
    loop {
        let Some(live) = get(context, &reference).await? else {
            return Ok(Err(format!("{reference} was deleted by somebody")));
        };
        let content = text(&live, "/status/boundVolumeGroupSnapshotContentName");
        if let (Some(content), Some(_)) = (content, text(&live, "/status/creationTime")) {
            match members(context, group.namespace, &live).await? {
                Ok(members) => {
                    if let Some(cut) = complete(group, members) {
                        return Ok(cut.map(|members| (content.to_owned(), members)));
                    }
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let error = text(&live, "/status/error/message");
        failing = error.map(|_| failing.unwrap_or_else(Instant::now));
        let late = Instant::now() >= deadline;
        match error {
            Some(error) if late || failing.is_some_and(|since| since.elapsed() > ERROR_PATIENCE) => {
                return Ok(Err(error.to_owned()));
            }
            None if late => return Ok(Err(format!("the driver said nothing within {} s", timeout.as_secs()))),
            Some(_) | None => {}
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = context.stop.wait() => return Err(RunError::Interrupted),
        }
    }
}

/// The members by their claims once all were cut; an error where there are others than those that were planned.
fn complete(group: &PlannedGroup<'_>, members: Vec<Value>) -> Option<Result<BTreeMap<String, Value>, String>> {
    let mut by_claim = BTreeMap::new();
    for member in members {
        text(&member, "/status/boundVolumeSnapshotContentName")?;
        text(&member, "/status/creationTime")?;
        let claim = text(&member, "/spec/source/persistentVolumeClaimName").unwrap_or_default().to_owned();
        if !group.members.iter().any(|(volume, _)| volume.claim == claim) {
            let label = &group.group.label;
            return Some(Err(format!("claim {claim} came into group `{label}` while its snapshot was taken")));
        }
        by_claim.insert(claim, member);
    }
    (by_claim.len() == group.members.len()).then_some(Ok(by_claim))
}

/// The VolumeSnapshots that the controller made for a group.
async fn members(context: &RunContext, namespace: &str, group: &Value) -> Result<Result<Vec<Value>, String>, RunError> {
    let uid = text(group, "/metadata/uid");
    let scope = ListScope { namespace: Some(namespace.to_owned()), label_selector: None };
    let kind = super::kind("VolumeSnapshot", "volumesnapshots", true);
    let (mut members, mut continuation) = (Vec::new(), None::<String>);
    loop {
        let page = match context.cluster.list(&kind, &scope, PAGE, continuation.as_deref()).await {
            Ok(page) => page,
            Err(error) if fatal(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(words(&error))),
        };
        for item in &page.items {
            let object = parsed(item)?;
            let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            if owners.is_some_and(|owners| owners.iter().any(|owner| text(owner, "/uid") == uid)) {
                members.push(object);
            }
        }
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(Ok(members));
        }
    }
}

/// Marks a snapshot that the controller made: no backup takes it along as one of the environment's own.
async fn label(context: &RunContext, plan: &BackupPlan, namespace: &str, name: &str) -> Result<Result<(), String>, RunError> {
    let reference = super::snapshot_reference(namespace, name);
    let patch = json!({
        "apiVersion": reference.kind.api_version(), "kind": reference.kind.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels(plan)},
    });
    match context.cluster.apply(&reference, Bytes::from(patch.to_string()), true, &options()).await {
        Ok(_) => Ok(Ok(())),
        Err(error) if fatal(&error) => Err(error.into()),
        Err(error) => Ok(Err(words(&error))),
    }
}

/// Labels of what is made for a point.
pub(super) fn labels(plan: &BackupPlan) -> Map<String, Value> {
    let pairs = [
        ("app.kubernetes.io/managed-by", "dxdr".to_owned()),
        (ENVIRONMENT_LABEL, plan.environment.to_string()),
        (RUN_LABEL, name::in_label(&plan.run)),
        // It belongs to this point alone: no backup takes it along as one of the environment's own.
        (EXCLUDE_LABEL, "true".to_owned()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// Sees to it that the storage keeps the group whatever becomes of its objects.
pub(super) async fn retain(context: &RunContext, group: &TakenGroup) -> Result<Result<(), String>, RunError> {
    set_policy(context, &group_content(&group.content, &group.version), "Retain").await
}

/// Removes a VolumeGroupSnapshot with its content and its members; the storage's snapshots stay when `keep`. Nothing is deleted before the
/// contents say so. `content`: where it is known.
pub(super) async fn remove(
    context: &RunContext,
    group: &ObjectReference,
    content: Option<&str>,
    keep: bool,
) -> Result<Result<(), String>, RunError> {
    let live = get(context, group).await?;
    let bound = live.as_ref().and_then(|live| text(live, "/status/boundVolumeGroupSnapshotContentName").map(str::to_owned));
    let content = bound.or(content.map(str::to_owned)).map(|content| group_content(&content, &group.kind.version));
    let policy = if keep { "Retain" } else { "Delete" };
    let mut gone = Vec::new();
    if let Some(live) = &live {
        let members = match members(context, group.namespace.as_deref().unwrap_or_default(), live).await? {
            Ok(members) => members,
            Err(reason) => return Ok(Err(reason)),
        };
        for member in members {
            if let Some(content) = text(&member, "/status/boundVolumeSnapshotContentName")
                && let Err(reason) = set_policy(context, &content_reference(content), policy).await?
            {
                return Ok(Err(reason));
            }
        }
        gone.push(group.clone());
    }
    if let Some(content) = content
        && get(context, &content).await?.is_some()
    {
        if let Err(reason) = set_policy(context, &content, policy).await? {
            return Ok(Err(reason));
        }
        gone.push(content);
    }
    for object in &gone {
        if let Err(reason) = delete(context, object).await? {
            return Ok(Err(reason));
        }
    }
    super::gone(context, &gone).await
}

pub(super) fn reference(namespace: &str, name: &str, version: &str) -> ObjectReference {
    let kind = kind("VolumeGroupSnapshot", "volumegroupsnapshots", version, true);
    ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

fn group_content(name: &str, version: &str) -> ObjectReference {
    let kind = kind("VolumeGroupSnapshotContent", "volumegroupsnapshotcontents", version, false);
    ObjectReference { kind, namespace: None, name: name.to_owned() }
}

pub(super) fn kind(kind: &str, plural: &str, version: &str, namespaced: bool) -> ResourceKind {
    ResourceKind {
        group: GROUP_SNAPSHOT_GROUP.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
    }
}
