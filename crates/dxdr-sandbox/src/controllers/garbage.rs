//! Owners and dependents.

use std::sync::Arc;

use serde_json::Value;

use crate::kind::Kind;
use crate::store::{Locator, Stored};
use crate::world::{World, value};

/// Deletes a new object whose owners are all gone.
pub(super) fn check_owners(world: &mut World, kind: &Arc<Kind>, stored: &Arc<Stored>) {
    collect(world, kind, stored);
}

/// Deletes the dependents of a removed object, or takes the reference out of those that have another owner.
pub(super) fn after_removal(world: &mut World, removed: &Stored) {
    for locator in world.store.dependents(&removed.uid) {
        if let Some((kind, stored)) = load(world, &locator) {
            collect(world, &kind, &stored);
        }
    }
    // An owner deleted in the foreground waits for the last of its dependents.
    for owner in &removed.owners {
        let Some(locator) = world.store.find_uid(owner).cloned() else { continue };
        if let Some((kind, stored)) = load(world, &locator) {
            release_foreground(world, &kind, &stored);
        }
    }
}

/// Deletes what depends on an object that is being deleted in the foreground.
pub(super) fn foreground(world: &mut World, owner: &Arc<Stored>) {
    let Some(locator) = world.store.find_uid(&owner.uid).cloned() else { return };
    let Some((kind, owner)) = load(world, &locator) else { return };
    if !has_finalizer(&value(&kind, &owner), "foregroundDeletion") {
        return;
    }
    for locator in world.store.dependents(&owner.uid) {
        if let Some((kind, stored)) = load(world, &locator) {
            world.delete_now(&kind, &stored, Some("Foreground"));
        }
    }
    release_foreground(world, &kind, &owner);
}

/// Takes the references to an owner out of its dependents.
pub(crate) fn orphan(world: &mut World, uid: &str) {
    for locator in world.store.dependents(uid) {
        let Some((kind, stored)) = load(world, &locator) else { continue };
        let mut object = value(&kind, &stored);
        keep_owners(&mut object, |owner| owner["uid"] != uid);
        world.put(&kind, object);
    }
}

/// Removes an object that is marked for deletion and has no finalizer left.
pub(super) fn finish_if_free(world: &mut World, kind: &Arc<Kind>, stored: &Arc<Stored>) {
    if kind.is("", "namespaces") {
        return;
    }
    let Some(current) = world.read(kind, &stored.namespace, &stored.name) else { return };
    let object = value(kind, &current);
    let metadata = &object["metadata"];
    let marked = metadata.get("deletionTimestamp").is_some();
    if marked && metadata["finalizers"].as_array().is_none_or(Vec::is_empty) {
        world.remove(kind, &current);
    }
}

fn collect(world: &mut World, kind: &Arc<Kind>, stored: &Arc<Stored>) {
    let alive = |world: &World, owner: &Value| -> bool {
        let uid = owner["uid"].as_str().unwrap_or_default();
        let Some((resource, key)) = world.store.find_uid(uid) else { return false };
        // An owner in another namespace is no owner.
        world.store.get(*resource, key).is_some_and(|owner| owner.namespace.is_empty() || owner.namespace == stored.namespace)
    };
    let object = value(kind, stored);
    let owners: Vec<Value> = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    if owners.is_empty() {
        return;
    }
    let living = owners.iter().filter(|owner| alive(world, owner)).count();
    if living == 0 {
        world.delete_now(kind, stored, None);
    } else if living < owners.len() {
        let mut object = object;
        let dead: Vec<Value> = owners.into_iter().filter(|owner| !alive(world, owner)).collect();
        keep_owners(&mut object, |owner| !dead.contains(owner));
        world.put(kind, object);
    }
}

fn keep_owners(object: &mut Value, keep: impl Fn(&Value) -> bool) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    if let Some(owners) = metadata.get_mut("ownerReferences").and_then(Value::as_array_mut) {
        owners.retain(keep);
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        }
    }
}

fn release_foreground(world: &mut World, kind: &Arc<Kind>, owner: &Arc<Stored>) {
    let mut object = value(kind, owner);
    if !has_finalizer(&object, "foregroundDeletion") {
        return;
    }
    let blocked = world.store.dependents(&owner.uid).iter().any(|locator| {
        load(world, locator).is_some_and(|(kind, stored)| {
            value(&kind, &stored)["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|reference| reference["uid"] == owner.uid.as_str() && reference["blockOwnerDeletion"] == true)
        })
    });
    if blocked {
        return;
    }
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != "foregroundDeletion");
    }
    let stored = world.put(kind, object);
    finish_if_free(world, kind, &stored);
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().any(|found| found == finalizer)
}

fn load(world: &World, (resource, key): &Locator) -> Option<(Arc<Kind>, Arc<Stored>)> {
    Some((world.kinds.by_id(*resource)?, world.store.get(*resource, key)?))
}
