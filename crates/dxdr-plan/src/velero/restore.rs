//! A Restore that a Velero server carries out.

use std::collections::BTreeMap;

use dxdr_catalog::name;
use dxdr_environment::{DesiredObject, ObjectReference};
use serde_json::{Value, json};

use super::{backup::RUN_LABEL, configmaps, restores};
use crate::restore::{
    Existing, FileCopies, InertPod, REPLACES, RestorePlan, RestoreRequest, VeleroVolume, Volumes, copies::CARRIER_LABEL,
    selectors, volume::NATIVE_SNAPSHOT,
};

const MANAGER_LABEL: &str = "app.kubernetes.io/managed-by";

/// What Velero needs to bring back the volumes that only it can read: the claims, and the volumes behind them, to which it comes
/// through the claims only.
const OF_VOLUMES: [&str; 2] = ["persistentvolumeclaims", "persistentvolumes"];

/// Annotation of a Restore that counts for nothing, whatever its phase: what came of it is not what was asked for.
pub const VOID: &str = "dxdr.io/void";
/// Velero's label on what it has restored: the Restore.
pub const RESTORED_BY: &str = "velero.io/restore-name";
/// What Velero puts in the place of the end of a name that is too long for a label.
const HASH: usize = 6;

/// The name of a Restore that is asked for the `number`th time.
pub fn attempt(restore: &str, number: u32) -> String {
    if number == 1 { restore.to_owned() } else { format!("{restore}-{number}") }
}

/// Whether Velero made `object` for `restore`, asked for the first time or again.
pub fn came_with(object: &Value, restore: &str) -> bool {
    let label = object.pointer("/metadata/labels").and_then(|labels| labels.get(RESTORED_BY)).and_then(Value::as_str);
    let Some(label) = label else { return false };
    match restore.get(..name::LONGEST - HASH) {
        Some(kept) if label.len() == name::LONGEST => label.starts_with(kept),
        _ => is_attempt(label, restore),
    }
}

/// Whether `name` is that of `restore`, asked for the first time or again.
pub fn is_attempt(name: &str, restore: &str) -> bool {
    let number = |rest: &str| rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok());
    name.strip_prefix(restore).is_some_and(|rest| rest.is_empty() || number(rest))
}

/// What Velero is asked for so that it brings back volumes.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreOfVolumes {
    /// The ConfigMap that tells which storage classes have another name here, where some have.
    pub modifiers: Option<DesiredObject>,
    /// The Restore of claims.
    pub restore: DesiredObject,
}

/// The Restore, in Velero's `namespace`, of the claims that `plan` leaves to Velero: found by their labels, where all of them have some.
/// Otherwise it is of every claim, and leaves those alone that are there.
pub fn restore_of_volumes(plan: &RestorePlan, run: &str, namespace: &str) -> RestoreOfVolumes {
    let name = format!("{run}-volumes");
    let mut spec = json!({
        "backupName": plan.point,
        "includedNamespaces": [plan.source_namespace],
        "includedResources": OF_VOLUMES,
        "namespaceMapping": mapping(&plan.source_namespace, &plan.target_namespace),
        "restorePVs": true,
        "existingResourcePolicy": "none",
    });
    let selectors: Vec<_> = selectors(&plan.through_velero).into_iter().map(|labels| json!({"matchLabels": labels})).collect();
    if !selectors.is_empty() {
        spec["orLabelSelectors"] = selectors.into();
    }
    let rules: Vec<Value> = plan.through_velero.iter().flat_map(classes).collect();
    let modifiers = (!rules.is_empty()).then(|| {
        spec["resourceModifier"] = json!({"kind": "ConfigMap", "name": name});
        modifiers(&name, run, namespace, rules)
    });
    RestoreOfVolumes { modifiers, restore: object(&name, run, namespace, spec) }
}

/// Gives a claim the storage class that it is to have here. A volume that a plugin makes from a snapshot has that of the archive, and would not go with it.
fn classes(volume: &VeleroVolume) -> Vec<Value> {
    let Some((archived, class)) = &volume.class else { return Vec::new() };
    let patch = json!({"spec": {"storageClassName": class}}).to_string();
    let patches = json!([{"patchData": patch}]);
    let claim = json!({"groupResource": "persistentvolumeclaims", "resourceNameRegex": named(&volume.claim.name)});
    let mut rules = vec![json!({"conditions": claim, "mergePatches": patches})];
    if volume.method == NATIVE_SNAPSHOT {
        let matches = json!([{"path": "/spec/storageClassName", "value": archived}]);
        let volumes = json!({"groupResource": "persistentvolumes", "matches": matches});
        rules.push(json!({"conditions": volumes, "mergePatches": patches}));
    }
    rules
}

/// What Velero is asked for so that it copies files back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreOfFiles {
    /// The ConfigMap that tells how pods are changed: without it Velero refuses the Restore.
    pub modifiers: DesiredObject,
    /// The Restore of pods.
    pub restore: DesiredObject,
}

/// The Restore, in Velero's `namespace`, of the pods through which `copies` come back, none of which runs anything of its own. Servers before 1.18.3 copy
/// nothing where a Restore is not of claims and volumes, too, so that both are named. No volume comes all the same, since it is of nothing outside of
/// namespaces; and no claim is made: those that are there stay as they are, and of any other Velero is given one that the API server refuses.
pub fn restore_of_files(plan: &RestorePlan, copies: &FileCopies, run: &str, namespace: &str) -> RestoreOfFiles {
    let name = format!("{run}-files");
    let no_claim = json!({
        "conditions": {"groupResource": OF_VOLUMES[0]},
        "mergePatches": [{"patchData": json!({"spec": {"accessModes": null, "volumeName": null}}).to_string()}],
    });
    let rules = copies.pods.iter().flat_map(|pod| rules(pod, run)).chain([no_claim]).collect();
    let modifiers = modifiers(&name, run, namespace, rules);
    let mut spec = json!({
        "backupName": plan.point,
        "includedNamespaces": [plan.source_namespace],
        "includedResources": ["pods", OF_VOLUMES[0], OF_VOLUMES[1]],
        "includeClusterResources": false,
        "namespaceMapping": mapping(&plan.source_namespace, &plan.target_namespace),
        "restorePVs": false,
        "existingResourcePolicy": "none",
        "resourceModifier": {"kind": "ConfigMap", "name": name},
    });
    let selectors: Vec<_> = copies.selectors.iter().map(|labels| json!({"matchLabels": labels})).collect();
    if !selectors.is_empty() {
        spec["orLabelSelectors"] = selectors.into();
    }
    RestoreOfFiles { modifiers, restore: object(&name, run, namespace, spec) }
}

/// The ConfigMap `name`, in Velero's `namespace`, with rules by which it changes what it restores.
fn modifiers(name: &str, run: &str, namespace: &str, rules: Vec<Value>) -> DesiredObject {
    let rules = json!({"version": "v1", "resourceModifierRules": rules});
    let kind = configmaps();
    let value = json!({
        "apiVersion": "v1", "kind": kind.kind, "metadata": metadata(name, run, namespace), "data": {"rules.json": rules.to_string()},
    });
    let reference = ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
    DesiredObject { reference, value }
}

/// That very name, as Velero looks for names.
fn named(name: &str) -> String {
    format!("^{}$", name.replace('.', "\\."))
}

fn metadata(name: &str, run: &str, namespace: &str) -> Value {
    json!({"name": name, "namespace": namespace, "labels": {MANAGER_LABEL: "dxdr", RUN_LABEL: name::in_label(run)}})
}

/// How the pod is changed. Velero looks for it by its name in the archive.
fn rules(pod: &InertPod, run: &str) -> Vec<Value> {
    let conditions = json!({"groupResource": "pods", "resourceNameRegex": named(&pod.name)});
    let mut patch = pod.patch.clone();
    let mut labels = json!({MANAGER_LABEL: "dxdr", CARRIER_LABEL: name::in_label(run)});
    if pod.labelled {
        labels[REPLACES] = "replace".into();
    }
    patch["metadata"]["labels"] = labels;
    let mut rules = vec![json!({"conditions": conditions, "strategicPatches": [{"patchData": patch.to_string()}]})];
    if pod.unnamed_hook && pod.carries {
        // All others are gone: it is right behind Velero's own.
        let patch = json!({"operation": "remove", "path": "/spec/initContainers/1"});
        rules.push(json!({"conditions": conditions, "patches": [patch]}));
    }
    rules
}

/// The Restore, in Velero's `namespace`, of everything that `request` asks for.
pub fn restore_of_everything(request: &RestoreRequest, run: &str, namespace: &str) -> DesiredObject {
    let mut spec = json!({
        "backupName": request.point,
        "includedNamespaces": [request.source_namespace],
        "namespaceMapping": mapping(&request.source_namespace, request.target_namespace()),
        "restorePVs": request.volumes == Volumes::Captured,
        "existingResourcePolicy": if request.existing == Existing::Update { "update" } else { "none" },
    });
    for (field, kinds) in [("includedResources", &request.include), ("excludedResources", &request.exclude)] {
        if !kinds.is_empty() {
            spec[field] = json!(kinds);
        }
    }
    object(run, run, namespace, spec)
}

fn mapping<'a>(source: &'a str, target: &'a str) -> BTreeMap<&'a str, &'a str> {
    if source == target { BTreeMap::new() } else { BTreeMap::from([(source, target)]) }
}

fn object(name: &str, run: &str, namespace: &str, spec: Value) -> DesiredObject {
    let kind = restores();
    let value = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata(name, run, namespace), "spec": spec,
    });
    DesiredObject { reference: ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }, value }
}
