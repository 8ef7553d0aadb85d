//! Where the ledger of an instance lies: in an annotation of a Lease, beside those that hold environments, written over the
//! `resourceVersion` that was read.
//!
//! It could lie in the store. But a store has no way to write over exactly what was read, and what is worth keeping of an instance's work stands in the
//! journals; the ledger only keeps apart those who work at the same time, and they meet in a cluster. Runs of two clusters on one instance meet at the service
//! itself: each sees the other's operation as a stranger's, and waits for it.

use std::sync::Arc;

use bytes::Bytes;
use dxdr_environment::{InstanceName, ObjectReference};
use dxdr_format::{hashing, ledger};
use dxdr_plan::instance::Ledger;
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use serde_json::{Value, json};

use crate::{error::RunError, lease};

/// The annotation that holds the ledger.
const LEDGER: &str = "dxdr.io/instance-ledger";
/// The annotation that names the instance.
const INSTANCE: &str = "dxdr.io/instance";
const FIELD_MANAGER: &str = "dxdr-instance";

/// The Lease of one instance.
#[derive(Debug, Clone)]
pub struct LedgerLease {
    cluster: Arc<dyn Cluster>,
    namespace: String,
    instance: InstanceName,
}

/// A ledger as it was read.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) ledger: Ledger,
    /// The Lease; `None`: there was none.
    lease: Option<Value>,
}

impl LedgerLease {
    /// The one of `instance`, in the namespace of Leases of `cluster`.
    pub fn new(cluster: Arc<dyn Cluster>, namespace: &str, instance: &InstanceName) -> Self {
        Self { cluster, namespace: namespace.to_owned(), instance: instance.clone() }
    }

    /// The one of another instance, in the same place.
    pub(super) fn of(&self, instance: &InstanceName) -> Self {
        Self::new(Arc::clone(&self.cluster), &self.namespace, instance)
    }

    /// What is recorded now. An instance that nobody worked on has an empty ledger.
    pub async fn current(&self) -> Result<Ledger, RunError> {
        Ok(self.read().await?.ledger)
    }

    pub(super) async fn read(&self) -> Result<Version, RunError> {
        let reference = self.reference();
        let Some(bytes) = self.cluster.get(&reference).await.map_err(|error| self.unheld(error))? else {
            return Ok(Version { ledger: Ledger::default(), lease: None });
        };
        let lease: Value =
            serde_json::from_slice(&bytes).map_err(|error| RunError::Unexpected(format!("{reference} is no Lease: {error}")))?;
        let ledger = match lease["metadata"]["annotations"][LEDGER].as_str() {
            Some(text) => ledger::read(text).map_err(|source| RunError::Format {
                key: format!("annotation {LEDGER} of {reference}"),
                store: self.cluster.describe(),
                source,
            })?,
            None => Ledger::default(),
        };
        Ok(Version { ledger, lease: Some(lease) })
    }

    /// Writes `ledger` over what was read; `Ok(false)` when somebody was faster.
    pub(super) async fn write(&self, read: &Version, ledger: &Ledger) -> Result<bool, RunError> {
        let reference = self.reference();
        let text = ledger::write(ledger);
        let result = match &read.lease {
            Some(lease) => {
                let mut lease = lease.clone();
                lease["metadata"]["annotations"][LEDGER] = json!(text);
                self.cluster.replace(&reference, Bytes::from(lease.to_string()), &options()).await
            }
            None => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {
                        "name": reference.name,
                        "namespace": self.namespace,
                        "annotations": { INSTANCE: self.instance.to_string(), LEDGER: text },
                    },
                    "spec": {},
                });
                self.cluster.create(&reference, Bytes::from(lease.to_string()), &options()).await
            }
        };
        match result {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.kind,
                    ClusterErrorKind::Conflict | ClusterErrorKind::AlreadyExists | ClusterErrorKind::NotFound
                ) && !(read.lease.is_none() && error.kind == ClusterErrorKind::NotFound) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.unheld(error)),
        }
    }

    fn unheld(&self, source: ClusterError) -> RunError {
        RunError::Hold { environment: self.instance.to_string(), namespace: self.namespace.clone(), source }
    }

    /// Names of instances are short and of projects unique, but both together may be longer than a name in Kubernetes: the digest tells them
    /// apart, the beginning is for people.
    fn reference(&self) -> ObjectReference {
        let name = self.instance.to_string();
        let digest: String = hashing::sha256(name.as_bytes()).to_string().chars().take(12).collect();
        let readable: String = self
            .instance
            .instance
            .chars()
            .filter(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || *letter == '-')
            .take(40)
            .collect();
        let name = format!("dxdr-instance-{readable}-{digest}");
        ObjectReference { kind: lease::kind(), namespace: Some(self.namespace.clone()), name }
    }
}

fn options() -> WriteOptions {
    WriteOptions { manager: FIELD_MANAGER.into(), dry_run: false, retry: false }
}
