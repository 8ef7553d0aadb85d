//! What Velero's Schedules and locations are.

use dxdr_plan::velero::{Observed, schedules, storage_locations};
use dxdr_provider::Cluster;

use super::server;
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
