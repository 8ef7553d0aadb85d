//! Namespaces: what each gets when it begins, and how it ends.

use std::sync::Arc;

use serde_json::{Value, json};

use super::settle;
use crate::kind::Kind;
use crate::store::Stored;
use crate::world::{Deleted, FieldValidation, World, Write, value};

const ROOT_CERTIFICATE: &str = "kube-root-ca.crt";

/// The namespaces and the Service every cluster begins with.
pub(crate) fn bootstrap(world: &mut World) {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        create(world, "namespaces", "", json!({"metadata": {"name": name}}));
    }
    create(
        world,
        "services",
        "default",
        json!({
            "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
        }),
    );
    settle(world);
}

/// Gives a new namespace what the controller manager gives it.
pub(super) fn furnish(world: &mut World, namespace: &str) {
    create(world, "serviceaccounts", namespace, json!({"metadata": {"name": "default"}}));
    create(
        world,
        "configmaps",
        namespace,
        json!({
            "metadata": {
                "name": ROOT_CERTIFICATE,
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."},
            },
            "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
        }),
    );
}

/// Puts back what the controller manager puts back.
pub(super) fn refurnish(world: &mut World, kind: &Kind, removed: &Stored) {
    let ours = kind.is("", "serviceaccounts") && removed.name == "default"
        || kind.is("", "configmaps") && removed.name == ROOT_CERTIFICATE;
    let Some(namespaces) = world.built_in("", "namespaces").filter(|_| ours) else { return };
    let active = world
        .read(&namespaces, "", &removed.namespace)
        .is_some_and(|stored| value(&namespaces, &stored)["metadata"].get("deletionTimestamp").is_none());
    if active {
        furnish(world, &removed.namespace);
    }
}

/// Empties a namespace that is being deleted, and removes it when it is empty.
pub(super) fn terminate(world: &mut World, name: &str) {
    let Some(kind) = world.built_in("", "namespaces") else { return };
    let Some(stored) = world.read(&kind, "", name) else { return };
    let object = value(&kind, &stored);
    if object["metadata"].get("deletionTimestamp").is_none() {
        return;
    }
    let mut remaining: Vec<(Arc<Kind>, Arc<Stored>)> = Vec::new();
    for resource in world.store.resources_in(name) {
        let Some(kind) = world.kinds.by_id(resource) else { continue };
        let page = world.store.list(resource, &format!("{name}/"), "", u64::MAX, 0, |_| true);
        remaining.extend(page.items.into_iter().map(|stored| (Arc::clone(&kind), stored)));
    }
    let mut held = 0;
    for (kind, stored) in &remaining {
        let marked = value(kind, stored)["metadata"].get("deletionTimestamp").is_some();
        if marked || matches!(world.delete_now(kind, stored, Some("Background")), Deleted::Going(_)) {
            held += 1;
        }
    }
    if held == 0 && world.store.resources_in(name).is_empty() {
        finish(world, &kind, object, &stored);
    } else {
        report(world, &kind, object, &remaining);
    }
}

fn finish(world: &mut World, kind: &Arc<Kind>, mut object: Value, stored: &Arc<Stored>) {
    let finalizers = |value: &Value| value.as_array().is_none_or(|list| list.iter().all(|one| one == "kubernetes"));
    let own = object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    if finalizers(&object["spec"]["finalizers"]) && own {
        world.remove(kind, stored);
    } else if object["spec"]["finalizers"].as_array().is_some_and(|list| list.iter().any(|one| one == "kubernetes")) {
        if let Some(list) = object["spec"]["finalizers"].as_array_mut() {
            list.retain(|one| one != "kubernetes");
            if list.is_empty() {
                object["spec"] = json!({});
            }
        }
        world.put(kind, object);
    }
}

/// Writes the conditions of a namespace whose content does not go.
fn report(world: &mut World, kind: &Arc<Kind>, mut object: Value, remaining: &[(Arc<Kind>, Arc<Stored>)]) {
    let mut resources = std::collections::BTreeMap::<String, usize>::new();
    let mut finalizers = std::collections::BTreeMap::<String, usize>::new();
    for (kind, stored) in remaining {
        let Some(current) = world.read(kind, &stored.namespace, &stored.name) else { continue };
        let resource = if kind.group.is_empty() { format!("{}.", kind.plural) } else { kind.qualified_plural() };
        *resources.entry(resource).or_default() += 1;
        for finalizer in value(kind, &current)["metadata"]["finalizers"].as_array().into_iter().flatten() {
            *finalizers.entry(finalizer.as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let list = |counts: &std::collections::BTreeMap<String, usize>, what: &str| {
        counts.iter().map(|(name, count)| format!("{name} {what} {count} resource instances")).collect::<Vec<_>>().join(", ")
    };
    let now = world.now();
    let condition = |of_type: &str, status: &str, reason: &str, message: String| json!({"type": of_type, "status": status, "reason": reason, "message": message, "lastTransitionTime": now});
    let conditions = json!([
        condition(
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned()
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned()
        ),
        condition(
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned()
        ),
        condition(
            "NamespaceContentRemaining",
            "True",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", list(&resources, "has"))
        ),
        condition(
            "NamespaceFinalizersRemaining",
            "True",
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {}", list(&finalizers, "in"))
        ),
    ]);
    let texts = |value: &Value| -> Vec<Value> {
        value.as_array().into_iter().flatten().map(|condition| condition["message"].clone()).collect()
    };
    if texts(&object["status"]["conditions"]) != texts(&conditions) {
        object["status"]["conditions"] = conditions;
        world.put(kind, object);
    }
}

fn create(world: &mut World, plural: &str, namespace: &str, mut object: Value) {
    let Some(kind) = world.built_in("", plural) else { return };
    object["apiVersion"] = "v1".into();
    object["kind"] = kind.kind.as_str().into();
    let write = Write {
        kind: &kind,
        namespace,
        manager: "kube-controller-manager",
        subresource: "",
        dry_run: false,
        validation: FieldValidation::Ignore,
    };
    // It may be there already: then that is the one.
    let _ = world.create(&write, object);
}
