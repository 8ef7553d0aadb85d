//! What lives in the target: read once, kept as the server's bytes.

use std::sync::Arc;

use bytes::Bytes;
use dxdr_environment::{DiscoveredKind, ObjectReference, ResourceKind};
use dxdr_plan::restore::LiveObjects;
use dxdr_provider::{Cluster, ClusterErrorKind, cluster::ListScope};
use futures::{StreamExt, stream};
use serde::Deserialize;

use crate::error::RunError;

/// Lists read at the same time.
const LISTS_IN_FLIGHT: usize = 8;
/// Objects on a page.
const PAGE: u32 = 500;
/// How often a list begins again whose revision the server forgot, before its kind is called unknown.
const RESTARTS: u32 = 3;

/// Reads every listable kind of the target namespace, and the cluster-scoped kinds that a restore may meet. Kinds that cannot be
/// listed, or that the server forgets faster than they are read, are remembered as unknown: the plan says so, instead of taking their
/// objects for missing.
pub async fn observe(cluster: &Arc<dyn Cluster>, kinds: &[DiscoveredKind], namespace: &str) -> Result<LiveObjects, RunError> {
    let wanted: Vec<ResourceKind> = kinds
        .iter()
        .filter(|kind| kind.verbs.iter().any(|verb| verb == "list") && kind.verbs.iter().any(|verb| verb == "create"))
        .filter(|kind| kind.kind.namespaced || LiveObjects::wants(&kind.kind))
        .map(|kind| kind.kind.clone())
        .collect();
    let mut lists = stream::iter(wanted)
        .map(|kind| async move {
            let listed = match is_namespace(&kind) {
                // Of them only the target matters, which an account may see that may not list all.
                true => target(cluster.as_ref(), &kind, namespace).await,
                false => list(cluster.as_ref(), &kind, namespace).await,
            };
            (kind, listed)
        })
        .buffer_unordered(LISTS_IN_FLIGHT);
    let mut live = LiveObjects::default();
    while let Some((kind, listed)) = lists.next().await {
        match listed {
            Ok(items) => {
                for (name, item) in items {
                    let namespace = kind.namespaced.then_some(namespace);
                    live.insert(&kind, namespace, &name, item.to_vec());
                }
            }
            Err(error) if matches!(error.kind, ClusterErrorKind::Unreachable | ClusterErrorKind::Unauthenticated) => {
                return Err(error.into());
            }
            Err(error) => live.unknown(&kind, error.message),
        }
    }
    Ok(live)
}

#[derive(Deserialize)]
struct Named {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

fn is_namespace(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

async fn target(
    cluster: &dyn Cluster,
    kind: &ResourceKind,
    namespace: &str,
) -> Result<Vec<(String, Bytes)>, dxdr_provider::ClusterError> {
    let reference = ObjectReference { kind: kind.clone(), namespace: None, name: namespace.to_owned() };
    Ok(cluster.get(&reference).await?.into_iter().map(|json| (namespace.to_owned(), json)).collect())
}

/// # Errors
/// [`ClusterErrorKind::Expired`] when the list had to begin again more than [`RESTARTS`] times.
async fn list(
    cluster: &dyn Cluster,
    kind: &ResourceKind,
    namespace: &str,
) -> Result<Vec<(String, Bytes)>, dxdr_provider::ClusterError> {
    let scope = ListScope { namespace: kind.namespaced.then(|| namespace.to_owned()), label_selector: None };
    let mut items = Vec::new();
    let (mut continuation, mut restarts) = (None::<String>, 0);
    loop {
        let page = match cluster.list(kind, &scope, PAGE, continuation.as_deref()).await {
            // Forgotten in the middle: begin again.
            Err(error) if error.kind == ClusterErrorKind::Expired && continuation.is_some() && restarts < RESTARTS => {
                restarts += 1;
                items.clear();
                continuation = None;
                continue;
            }
            page => page?,
        };
        items.extend(page.items.into_iter().filter_map(|item| {
            let named: Named = serde_json::from_slice(&item).ok()?;
            Some((named.metadata.name, item))
        }));
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(items);
        }
    }
}
