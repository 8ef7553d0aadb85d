//! What to do next, as the adapters know it.

use dxdr_kubernetes::Denied;
use dxdr_provider::{ClusterError, StorageError};

/// About a cluster's failure.
pub(crate) fn cluster(error: &ClusterError) -> Vec<String> {
    dxdr_kubernetes::hints(error)
}

/// About a store's failure.
pub(crate) fn storage(error: &StorageError) -> Vec<String> {
    dxdr_object_storage::hints(error)
}

/// The store's error inside one of a stream.
pub(crate) fn storage_cause(error: &std::io::Error) -> Option<&StorageError> {
    dxdr_object_storage::storage_error_of(error)
}

/// Commands that give the account of a forbidden request what a run's Lease needs.
pub(crate) fn lease_grant(error: &ClusterError, namespace: &str) -> impl Iterator<Item = String> {
    let Some(denied) = Denied::of(&error.message) else { return Vec::new().into_iter() };
    let mut commands = Vec::new();
    if denied.resource == "namespaces" {
        commands.push(format!("kubectl create namespace {namespace}"));
    }
    let leases = Denied { resource: "leases.coordination.k8s.io".to_owned(), namespace: Some(namespace.to_owned()), ..denied };
    commands.extend(leases.grant("get,create,update"));
    commands.into_iter()
}
