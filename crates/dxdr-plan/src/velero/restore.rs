//! A Restore that a Velero server carries out.

use std::collections::BTreeMap;

use dxdr_catalog::name;
use dxdr_environment::{DesiredObject, ObjectReference};
use serde_json::json;

use super::{backup::RUN_LABEL, restores};
use crate::restore::{ClusterScoped, Existing, RestorePlan, RestoreRequest, Volumes, selectors};

/// What Velero needs to bring back the volumes that only it can read: the claims, and the volumes behind them, to which it comes
/// through the claims only.
const OF_VOLUMES: [&str; 2] = ["persistentvolumeclaims", "persistentvolumes"];

/// The Restore, in Velero's `namespace`, of the claims that `plan` leaves to Velero: found by their labels, where all of them have some.
/// Otherwise it is of every claim, and leaves those alone that are there.
pub fn restore_of_volumes(plan: &RestorePlan, run: &str, namespace: &str) -> DesiredObject {
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
    object(&name, run, namespace, spec)
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
    match request.cluster_scoped {
        // Velero's own choice: what restored objects lean on.
        ClusterScoped::Needed => {}
        ClusterScoped::None => spec["includeClusterResources"] = false.into(),
        ClusterScoped::All => spec["includeClusterResources"] = true.into(),
    }
    object(run, run, namespace, spec)
}

fn mapping<'a>(source: &'a str, target: &'a str) -> BTreeMap<&'a str, &'a str> {
    if source == target { BTreeMap::new() } else { BTreeMap::from([(source, target)]) }
}

fn object(name: &str, run: &str, namespace: &str, spec: serde_json::Value) -> DesiredObject {
    let kind = restores();
    let labels = json!({"app.kubernetes.io/managed-by": "dxdr", RUN_LABEL: name::shortened(run, name::LONGEST)});
    let value = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec,
    });
    DesiredObject { reference: ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }, value }
}
