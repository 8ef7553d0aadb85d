//! What Velero's Schedules and locations are, and what they need.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_plan::velero::{Observed, SchedulesRequest, schedules, snapshot_classes, snapshot_locations, storage_locations};
use dxdr_policy::{Engine, VolumeMethod};
use dxdr_provider::{Cluster, ClusterErrorKind};
use serde_json::Value;

use super::server;
use crate::{
    comparison::listed,
    error::RunError,
    readiness::{claims, credential, deployment, everywhere},
};

/// Looks at what Velero has. Asks the server what it is, by an object that is removed again; changes nothing else.
pub async fn observe(cluster: &dyn Cluster, request: &SchedulesRequest<'_>, seed: u64) -> Result<Observed, RunError> {
    let namespace = request.namespace;
    // In this order, so that a cluster without Velero is told before anything is written.
    let schedules = server::objects(cluster, &schedules(), namespace).await?;
    let locations = server::objects(cluster, &storage_locations(), namespace).await?;
    let snapshot_locations = server::objects(cluster, &snapshot_locations(), namespace).await?;
    let mut credentials = BTreeMap::new();
    let velero = request.stores.iter().filter_map(|store| store.velero.as_ref());
    let named = velero.flat_map(|velero| {
        let of_snapshots = velero.snapshot_locations.iter().filter_map(|location| location.credential.as_ref());
        velero.credential.iter().chain(of_snapshots)
    });
    for (name, _) in named {
        if !credentials.contains_key(name) {
            credentials.insert(name.clone(), credential(cluster, namespace, name).await);
        }
    }
    let drivers = drivers(cluster, request).await?;
    let snapshot_classes = if drivers.is_empty() { Vec::new() } else { classes(cluster).await? };
    let status = server::status(cluster, namespace, seed).await?;
    let deployment = match status {
        Some(_) => None,
        None => deployment(cluster, namespace).await,
    };
    let (server_version, plugins) = status.map(|status| (status.version, status.plugins)).unzip();
    let plugins = plugins.unwrap_or_default();
    Ok(Observed {
        server_version,
        deployment,
        plugins,
        schedules,
        locations,
        snapshot_locations,
        credentials,
        drivers,
        snapshot_classes,
    })
}

/// The CSI drivers of the claims that policies have Velero capture. Claims that we may not see are Velero's business alone.
async fn drivers(cluster: &dyn Cluster, request: &SchedulesRequest<'_>) -> Result<BTreeSet<String>, RunError> {
    let mut drivers = BTreeSet::new();
    let by_velero = |name| {
        let captures = |method| method != VolumeMethod::None;
        let mut policies =
            request.policies.iter().filter(|policy| policy.engine == Engine::Velero && captures(policy.volumes.method));
        policies.any(|policy| policy.environments.contains(name))
    };
    for environment in request.environments.iter().filter(|environment| by_velero(&environment.name)) {
        match claims(cluster, environment).await {
            Ok(claims) => drivers.extend(claims.into_iter().filter_map(|claim| claim.driver)),
            Err(RunError::Cluster(error)) if error.kind == ClusterErrorKind::Forbidden => {}
            Err(error) => return Err(error),
        }
    }
    Ok(drivers)
}

/// All VolumeSnapshotClasses; none where the kind is not served, or not shown to us.
async fn classes(cluster: &dyn Cluster) -> Result<Vec<Value>, RunError> {
    match listed(cluster, &snapshot_classes(), &everywhere()).await {
        Err(RunError::Cluster(error)) if matches!(error.kind, ClusterErrorKind::NotFound | ClusterErrorKind::Forbidden) => {
            Ok(Vec::new())
        }
        classes => classes,
    }
}
