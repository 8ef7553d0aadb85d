//! Making Velero's Schedules and locations what the policies say.

use bytes::Bytes;
use dxdr_environment::ObjectReference;
use dxdr_plan::velero::{ObjectState, Observed, SchedulePlan, schedules, storage_locations};
use dxdr_provider::{Cluster, ClusterError, cluster::WriteOptions};

use super::server::{self, FIELD_MANAGER};
use crate::error::RunError;

/// Looks at what Velero has. Asks the server what it is, by an object that is removed again; changes nothing else.
pub async fn observe(cluster: &dyn Cluster, namespace: &str, seed: u64) -> Result<Observed, RunError> {
    // In this order, so that a cluster without Velero is told before anything is written.
    let schedules = server::objects(cluster, &schedules(), namespace).await?;
    let locations = server::objects(cluster, &storage_locations(), namespace).await?;
    let status = server::status(cluster, namespace, seed).await?;
    let (server_version, plugins) = status.map(|status| (status.version, status.plugins)).unzip();
    Ok(Observed { server_version, plugins: plugins.unwrap_or_default(), schedules, locations })
}

/// What became of one object.
#[derive(Debug)]
pub struct Applied {
    /// Which.
    pub object: ObjectReference,
    /// Whether it was removed; otherwise it was applied.
    pub removed: bool,
    /// Why not, where it failed.
    pub error: Option<ClusterError>,
}

/// Applies what is missing or differs, and with `prune` removes what is left over. With `dry_run` the server checks everything and
/// stores nothing. An object that fails does not stop the others.
pub async fn apply(
    cluster: &dyn Cluster,
    plan: &SchedulePlan,
    prune: bool,
    force: bool,
    dry_run: bool,
) -> Result<Vec<Applied>, RunError> {
    let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run, retry: true };
    let mut results = Vec::new();
    for planned in plan.objects.iter().filter(|planned| planned.state != ObjectState::Same) {
        let body = Bytes::from(planned.desired.value.to_string());
        let object = planned.desired.reference.clone();
        let error = cluster.apply(&object, body, force, &options).await.err();
        results.push(Applied { object, removed: false, error });
    }
    if prune {
        for object in &plan.orphaned {
            let error = cluster.delete(object, None, &options).await.err();
            results.push(Applied { object: object.clone(), removed: true, error });
        }
    }
    Ok(results)
}
