//! Reading what a plan must know of volumes: claims, their volumes and classes, and the classes of snapshots.

use dxdr_catalog::Gap;
use dxdr_environment::{DiscoveredKind, ObjectReference, ResourceKind};
use dxdr_plan::backup::{
    BackupPlan, GROUP_SNAPSHOT_GROUP, GROUP_SNAPSHOT_VERSIONS, ObservedGroups, ObservedVolumes, SNAPSHOT_GROUP,
};
use dxdr_policy::VolumeMethod;
use dxdr_provider::{ClusterError, ClusterErrorKind, cluster::ListScope};
use futures::{StreamExt, stream};
use serde_json::Value;

use crate::{capture::fatal, context::RunContext, error::RunError};

const PAGE: u32 = 500;
/// How often a list begins again that the server forgot.
const RESTARTS: u32 = 3;
/// Volumes read at the same time.
const IN_FLIGHT: usize = 8;

/// Reads it for the namespaces of `plan`. What cannot be read is part of what is known.
pub(crate) async fn observe(
    context: &RunContext,
    plan: &BackupPlan,
    kinds: &[DiscoveredKind],
) -> Result<ObservedVolumes, RunError> {
    let mut observed = ObservedVolumes::default();
    let claims = core("PersistentVolumeClaim", "persistentvolumeclaims", true);
    for namespace in &plan.namespaces {
        match list(context, &claims, Some(namespace)).await? {
            Ok(found) => observed.claims.extend(found),
            Err(error) => observed.gaps.push(Gap { what: Gap::volumes(namespace), reason: error.message }),
        }
    }
    if plan.volume_policy.method == VolumeMethod::None || observed.claims.is_empty() {
        return Ok(observed);
    }
    let pods = core("Pod", "pods", true);
    for namespace in &plan.namespaces {
        match list(context, &pods, Some(namespace)).await? {
            Ok(found) => observed.pods.extend(found),
            Err(error) => observed.gaps.push(Gap { what: format!("hooks of pods in {namespace}"), reason: error.message }),
        }
    }
    let volumes = stream::iter(observed.bound()).map(|name| async move {
        let volume = core("PersistentVolume", "persistentvolumes", false);
        let reference = ObjectReference { kind: volume, namespace: None, name: name.clone() };
        (name, context.cluster.get(&reference).await)
    });
    for (name, read) in volumes.buffer_unordered(IN_FLIGHT).collect::<Vec<_>>().await {
        let read = match read {
            Ok(json) => Ok(json.and_then(|json| serde_json::from_slice(&json).ok())),
            Err(error) if fatal(&error) => return Err(error.into()),
            Err(error) => Err(error.message),
        };
        observed.volumes.insert(name, read);
    }
    for name in observed.classes() {
        let kind = ResourceKind { group: "storage.k8s.io".to_owned(), ..core("StorageClass", "storageclasses", false) };
        // One that may not be read only lacks a say in which class of snapshots is taken.
        if let Ok(Some(json)) = context.cluster.get(&ObjectReference { kind, namespace: None, name: name.clone() }).await {
            observed.storage_classes.insert(name, serde_json::from_slice(&json).unwrap_or_default());
        }
    }
    let served =
        |kind: &&DiscoveredKind| kind.kind.group == SNAPSHOT_GROUP && kind.served_versions.iter().any(|version| version == "v1");
    let plurals: Vec<&str> = kinds.iter().filter(served).map(|kind| kind.kind.plural.as_str()).collect();
    if ["volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"].iter().all(|plural| plurals.contains(plural)) {
        let classes = list(context, &super::kind("VolumeSnapshotClass", "volumesnapshotclasses", false), None).await?;
        observed.snapshot_classes = Some(classes.map_err(|error| error.message));
    }
    if let Some(version) = version_of_groups(kinds) {
        let kind = super::group::kind("VolumeGroupSnapshotClass", "volumegroupsnapshotclasses", &version, false);
        let classes = list(context, &kind, None).await?.map_err(|error| error.message);
        observed.groups = Some(ObservedGroups { version, classes });
    }
    Ok(observed)
}

/// The version in which all kinds of group snapshots are served.
fn version_of_groups(kinds: &[DiscoveredKind]) -> Option<String> {
    const PLURALS: [&str; 3] = ["volumegroupsnapshots", "volumegroupsnapshotcontents", "volumegroupsnapshotclasses"];
    let served = |plural: &str, version: &str| {
        let of_plural = kinds.iter().filter(|kind| kind.kind.group == GROUP_SNAPSHOT_GROUP && kind.kind.plural == plural);
        of_plural.flat_map(|kind| &kind.served_versions).any(|served| served == version)
    };
    let all = |version: &&str| PLURALS.iter().all(|plural| served(plural, version));
    GROUP_SNAPSHOT_VERSIONS.iter().copied().find(all).map(str::to_owned)
}

/// All objects of a kind; the inner error is the kind's own.
async fn list(
    context: &RunContext,
    kind: &ResourceKind,
    namespace: Option<&str>,
) -> Result<Result<Vec<Value>, ClusterError>, RunError> {
    let scope = ListScope { namespace: namespace.map(str::to_owned), label_selector: None };
    let (mut objects, mut continuation, mut restarts) = (Vec::new(), None::<String>, 0);
    loop {
        match context.cluster.list(kind, &scope, PAGE, continuation.as_deref()).await {
            Ok(page) => {
                objects.extend(page.items.iter().filter_map(|item| serde_json::from_slice::<Value>(item).ok()));
                continuation = page.continuation;
            }
            Err(error) if error.kind == ClusterErrorKind::Expired && restarts < RESTARTS => {
                restarts += 1;
                (objects, continuation) = (Vec::new(), None);
                continue;
            }
            Err(error) if fatal(&error) => return Err(error.into()),
            Err(error) => return Ok(Err(error)),
        }
        if continuation.is_none() {
            return Ok(Ok(objects));
        }
    }
}

fn core(kind: &str, plural: &str, namespaced: bool) -> ResourceKind {
    ResourceKind { group: String::new(), version: "v1".to_owned(), kind: kind.to_owned(), plural: plural.to_owned(), namespaced }
}
