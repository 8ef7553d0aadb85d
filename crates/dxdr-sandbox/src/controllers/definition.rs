//! CustomResourceDefinitions: established when created, emptied before they go.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::store::Stored;
use crate::world::{Deleted, World, text, value};

/// Serves the kinds of a definition and says so in its status.
pub(super) fn establish(world: &mut World, kind: &Arc<Kind>, stored: &Arc<Stored>) {
    let Some(current) = world.read(kind, "", &stored.name) else { return };
    let mut object = value(kind, &current);
    if object["metadata"].get("deletionTimestamp").is_some() {
        return;
    }
    world.kinds.define(&object);
    let now = world.now();
    let mut stored_versions: Vec<Value> = object["status"]["storedVersions"].as_array().cloned().unwrap_or_default();
    for version in object["spec"]["versions"].as_array().into_iter().flatten() {
        if version["storage"] == true && !stored_versions.contains(&version["name"]) {
            stored_versions.push(version["name"].clone());
        }
    }
    let condition = |of_type: &str, reason: &str, message: &str| {
        let since = object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == of_type)
            .map_or_else(|| Value::from(now.as_str()), |condition| condition["lastTransitionTime"].clone());
        json!({"type": of_type, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let status = json!({
        "acceptedNames": object["spec"]["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored_versions,
    });
    if object["status"] != status {
        object["status"] = status;
        world.put(kind, object);
    }
}

/// Deletes the objects of a definition that is being deleted, and then the definition.
pub(super) fn terminate(world: &mut World, name: &str) {
    let Some(kind) = world.built_in("apiextensions.k8s.io", "customresourcedefinitions") else { return };
    let Some(stored) = world.read(&kind, "", name) else { return };
    let mut object = value(&kind, &stored);
    if object["metadata"].get("deletionTimestamp").is_none() {
        return;
    }
    let (group, plural) = (text(object["spec"].get("group")), text(object["spec"]["names"].get("plural")));
    let mut held = false;
    if let Some(custom) = world.kinds.of_resource(&group, &plural) {
        let page = world.store.list(custom.resource, "", "", u64::MAX, 0, |_| true);
        for instance in page.items {
            let marked = value(&custom, &instance)["metadata"].get("deletionTimestamp").is_some();
            held |= marked || matches!(world.delete_now(&custom, &instance, None), Deleted::Going(_));
        }
    }
    if held {
        return;
    }
    if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != "customresourcecleanup.apiextensions.k8s.io");
        if !finalizers.is_empty() {
            world.put(&kind, object);
            return;
        }
    }
    world.kinds.undefine(&group, &plural);
    world.remove(&kind, &stored);
}
