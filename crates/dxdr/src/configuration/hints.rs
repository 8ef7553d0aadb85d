//! What to do next, as the adapters know it.

use dxdr_provider::{ClusterError, StorageError};

/// About a cluster's failure.
pub(crate) fn cluster(error: &ClusterError) -> Vec<String> {
    dxdr_kubernetes::hints(error)
}

/// About a store's failure.
pub(crate) fn storage(error: &StorageError) -> Vec<String> {
    dxdr_object_storage::hints(error)
}
