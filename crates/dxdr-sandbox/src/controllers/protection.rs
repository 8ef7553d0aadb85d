//! Claims and volumes in use: they are kept by a finalizer until nothing uses them.

use std::sync::Arc;

use serde_json::Value;

use super::garbage;
use crate::kind::Kind;
use crate::store::Stored;
use crate::world::{World, text, value};

/// Lets an object that is being deleted go when nothing uses it.
pub(super) fn release(world: &mut World, kind: &Arc<Kind>, stored: &Stored) {
    let (finalizer, free) = match kind.plural.as_str() {
        "persistentvolumeclaims" if kind.group.is_empty() => {
            ("kubernetes.io/pvc-protection", !mounted(world, &stored.namespace, &stored.name))
        }
        "persistentvolumes" if kind.group.is_empty() => ("kubernetes.io/pv-protection", true),
        _ => return,
    };
    let Some(current) = world.read(kind, &stored.namespace, &stored.name).filter(|_| free) else { return };
    let mut object = value(kind, &current);
    if object["metadata"].get("deletionTimestamp").is_none() || object["status"]["phase"] == "Bound" && finalizer.contains("/pv-")
    {
        return;
    }
    let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() else { return };
    finalizers.retain(|one| one != finalizer);
    let stored = world.put(kind, object);
    garbage::finish_if_free(world, kind, &stored);
}

/// A Pod that is gone may have been the last to use a claim.
pub(super) fn after_removal(world: &mut World, kind: &Kind, removed: &Stored) {
    let Some(claims) = world.built_in("", "persistentvolumeclaims").filter(|_| kind.is("", "pods")) else { return };
    for name in claims_of(&value(kind, removed)) {
        if let Some(claim) = world.read(&claims, &removed.namespace, &name) {
            release(world, &claims, &claim);
        }
    }
}

fn mounted(world: &World, namespace: &str, claim: &str) -> bool {
    let Some(pods) = world.built_in("", "pods") else { return false };
    let page = world.store.list(pods.resource, &format!("{namespace}/"), "", u64::MAX, 0, |_| true);
    page.items.iter().map(|pod| value(&pods, pod)).any(|pod| {
        // A Pod without a node has not begun, and will not while its claim is being deleted.
        pod["spec"].get("nodeName").is_some() && claims_of(&pod).iter().any(|name| name == claim)
    })
}

fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array();
    volumes.into_iter().flatten().map(|volume| text(volume["persistentVolumeClaim"].get("claimName"))).collect()
}
