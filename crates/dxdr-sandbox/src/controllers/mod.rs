//! Just enough of the controllers of a cluster, run as part of the write that wakes them: whoever gets an answer finds
//! the world settled.

mod definition;
mod garbage;
mod namespace;
mod protection;

use std::sync::Arc;

use crate::kind::Kind;
use crate::quota;
use crate::store::Stored;
use crate::world::World;

pub(crate) use garbage::orphan;
pub(crate) use namespace::bootstrap;

/// Something that happened and may have consequences.
pub(crate) enum Work {
    Created(Arc<Kind>, Arc<Stored>),
    Updated(Arc<Kind>, Arc<Stored>),
    /// Got its deletion timestamp.
    Marked(Arc<Kind>, Arc<Stored>),
    Removed(Arc<Kind>, Arc<Stored>),
}

/// Says in the status of a workload that its newest form has been seen, which is all its controller does while it has
/// no Pods.
pub(crate) fn observe(kind: &Kind, object: &mut serde_json::Value) {
    let workload = matches!(kind.plural.as_str(), "deployments" | "statefulsets" | "daemonsets" | "replicasets");
    if kind.group == "apps" && workload {
        object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
    }
}

/// Follows consequences until there are none.
pub(crate) fn settle(world: &mut World) {
    while let Some(work) = world.work.pop_front() {
        match work {
            Work::Created(kind, stored) => {
                if kind.is("", "namespaces") {
                    namespace::furnish(world, &stored.name);
                }
                if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
                    definition::establish(world, &kind, &stored);
                }
                if !stored.owners.is_empty() {
                    garbage::check_owners(world, &kind, &stored);
                }
                quota::refresh(world, &stored.namespace);
            }
            Work::Updated(kind, stored) => {
                garbage::finish_if_free(world, &kind, &stored);
                if kind.is("", "namespaces") {
                    namespace::terminate(world, &stored.name);
                }
                if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
                    definition::establish(world, &kind, &stored);
                }
                if matches!(kind.plural.as_str(), "resourcequotas" | "persistentvolumeclaims" | "services") {
                    quota::refresh(world, &stored.namespace);
                }
            }
            Work::Marked(kind, stored) => {
                if kind.is("", "namespaces") {
                    namespace::terminate(world, &stored.name);
                } else if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
                    definition::terminate(world, &stored.name);
                } else {
                    protection::release(world, &kind, &stored);
                    garbage::foreground(world, &stored);
                }
            }
            Work::Removed(kind, stored) => {
                garbage::after_removal(world, &stored);
                if let Some(custom) = &kind.custom {
                    definition::terminate(world, &custom.definition);
                }
                if !stored.namespace.is_empty() {
                    namespace::terminate(world, &stored.namespace);
                    namespace::refurnish(world, &kind, &stored);
                    protection::after_removal(world, &kind, &stored);
                    quota::refresh(world, &stored.namespace);
                }
            }
        }
    }
}
