//! What every run needs: the world it acts on, and whom it tells.

use std::sync::Arc;

use dxdr_policy::BackupStore;
use dxdr_provider::{Clock, Cluster, Databases};

use crate::{event::Reporter, instance::InstanceAccess, sealing::SealingKeys, stop::StopRequest, store::Store};

/// The namespace in which Leases are held: not the environment's own, which may be what is being restored.
pub const LEASE_NAMESPACE: &str = "dxdr-system";

/// The world of one run.
#[derive(Clone)]
pub struct RunContext {
    /// Where points and journals lie.
    pub store: Store,
    /// The store as it is declared, to be held against Velero's locations; `None`: it is nobody's declaration.
    pub declared: Option<BackupStore>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Told of everything that happens.
    pub reporter: Arc<dyn Reporter>,
    /// Asked between steps and between objects.
    pub stop: StopRequest,
    /// Who we are, for the Lease and the journal: host and process.
    pub holder: String,
    /// Where Leases are held.
    pub lease_namespace: String,
    /// Where Velero is installed, for what is left to it.
    pub velero_namespace: String,
    /// The keys behind the environment's SealedSecrets, where a policy says what becomes of them.
    pub sealing: Option<SealingKeys>,
    /// The way to the environment's databases.
    pub databases: Option<Arc<dyn Databases>>,
    /// The way to the service behind database instances.
    pub instances: Option<Arc<dyn InstanceAccess>>,
    /// Name and version of the program, for manifests and journals.
    pub program: String,
}

impl std::fmt::Debug for RunContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RunContext")
            .field("store", &self.store.name)
            .field("cluster", &self.cluster)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}
