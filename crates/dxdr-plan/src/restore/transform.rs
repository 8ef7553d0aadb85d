//! What is written of an archived object. The one function that planner and executor share.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    change::{Change, Changes},
    copies::AWAITS_COPY,
    mapping,
    request::RestoreRequest,
    rules,
};

/// An object as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Transformed {
    /// The object.
    pub object: Value,
    /// How it differs from the archived one.
    pub changes: Changes,
    /// Which fields named the namespace.
    pub rewritten: Vec<&'static str>,
}

/// What is written of `object`. Deterministic, and changes nothing when it is done again.
pub fn transform(request: &RestoreRequest, mut object: Value) -> Transformed {
    let (group, kind) = identity(&object);
    let mut changes = strip(&group, &kind, &mut object, request.beside());
    if rename_classes(&group, &kind, &mut object, &request.storage_classes) {
        changes.insert(Change::StorageClass);
    }
    let (source, target) = (request.source_namespace.as_str(), request.target_namespace());
    let mut rewritten = Vec::new();
    if source != target {
        place(&group, &kind, &mut object, source, target, &mut changes);
        rewritten = mapping::rewrite(&group, &kind, &mut object, source, target);
        if !rewritten.is_empty() {
            changes.insert(Change::NamespaceReferences);
        }
    }
    Transformed { object, changes, rewritten }
}

/// Replaces the storage classes of a claim, or of a StatefulSet's templates of claims; whether there was something to replace.
fn rename_classes(group: &str, kind: &str, object: &mut Value, classes: &BTreeMap<String, String>) -> bool {
    let mut renamed = false;
    let mut rename = |claim: &mut Value| {
        if let Some(class) = claim.pointer_mut("/spec/storageClassName")
            && let Some(other) = class.as_str().and_then(|class| classes.get(class))
        {
            *class = other.as_str().into();
            renamed = true;
        }
    };
    match (group, kind) {
        ("", "PersistentVolumeClaim") => rename(object),
        ("apps", "StatefulSet") => {
            let templates = object.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
            templates.into_iter().flatten().for_each(rename);
        }
        _ => {}
    }
    renamed
}

/// An object without the marks that Velero puts on what it backs up and restores, by which it is no other than it was.
pub(super) fn without_velero_marks(mut object: Value) -> Value {
    const LABELS: [&str; 3] = ["velero.io/backup-name", "velero.io/restore-name", "velero.io/volume-snapshot-name"];
    const ANNOTATIONS: [&str; 3] = [
        "velero.io/data-upload-name",
        "backup.velero.io/must-include-additional-items",
        "restore.velero.io/must-include-additional-items",
    ];
    let labels = remove_in(&mut object, "/metadata/labels", &LABELS);
    let annotations = remove_in(&mut object, "/metadata/annotations", &ANNOTATIONS);
    if let Some(metadata) = object.get_mut("metadata").filter(|_| labels || annotations) {
        drop_empty(metadata, "labels");
        drop_empty(metadata, "annotations");
    }
    object
}

/// `live` made to be `desired`: what a server set itself stays (addresses, bindings, the `resourceVersion` that guards the write),
/// everything else is as desired. For objects of which fields must go, which server-side apply cannot do.
pub fn replacement(request: &RestoreRequest, desired: &Value, live: &Value) -> Value {
    let (group, kind) = identity(desired);
    let mut stripped = live.clone();
    strip(&group, &kind, &mut stripped, request.beside());
    let mut object = desired.clone();
    carry_over(&stripped, live, &mut object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // Absent means untouched; present would have to be complete.
        metadata.remove("managedFields");
    }
    object
}

/// Puts into `object` what `live` has and its stripped form has not.
fn carry_over(stripped: &Value, live: &Value, object: &mut Value) {
    match (stripped, live, object) {
        (Value::Object(stripped), Value::Object(live), Value::Object(object)) => {
            for (key, live) in live {
                match (stripped.get(key), object.get_mut(key)) {
                    (None, None) => {
                        object.insert(key.clone(), live.clone());
                    }
                    (Some(stripped), Some(object)) => carry_over(stripped, live, object),
                    _ => {}
                }
            }
        }
        (Value::Array(stripped), Value::Array(live), Value::Array(object)) if stripped.len() == live.len() => {
            for element in object.iter_mut() {
                let same = |candidate: &Value| {
                    let key = |key: &str| candidate.get(key) == element.get(key);
                    element.is_object() && key("name") && key("port") && key("protocol")
                };
                if let Some(position) = stripped.iter().position(same)
                    && let (Some(stripped), Some(live)) = (stripped.get(position), live.get(position))
                {
                    carry_over(stripped, live, element);
                }
            }
        }
        _ => {}
    }
}

/// Group and kind of an object.
pub(super) fn identity(object: &Value) -> (String, String) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    (group.to_owned(), text("kind").to_owned())
}

/// Removes what a server, a controller or admission sets, and what holds only for the original.
pub(super) fn strip(group: &str, kind: &str, object: &mut Value, beside: bool) -> Changes {
    let mut changes = Changes::default();
    // Told from fields that go in a moment.
    let explicit = if (group, kind) == ("", "Service") { ExplicitPorts::of(object) } else { ExplicitPorts::All };
    let Some(tree) = object.as_object_mut() else { return changes };
    if tree.remove("status").is_some() {
        changes.insert(Change::Status);
    }
    if let Some(metadata) = tree.get_mut("metadata").and_then(Value::as_object_mut) {
        strip_metadata(metadata, beside, &mut changes);
    }
    match (group, kind) {
        ("", "Namespace") => {
            if remove_in(object, "/spec", &["finalizers"]) {
                changes.insert(Change::Finalizers);
            }
            drop_empty(object, "spec");
        }
        ("", "Service") => strip_service(object, &explicit, beside, &mut changes),
        ("", "Pod") => strip_pod(object, &mut changes),
        ("", "PersistentVolumeClaim") => {
            // By its label a data mover of Velero's had the claim wait for the volume that it filled; no other volume has it.
            let moved = remove_in(object, "/spec/selector/matchLabels", &["velero.io/dynamic-pv-restore"]);
            if moved {
                drop_empty_selector(object);
            }
            let bound = remove_in(object, "/spec", &["volumeName"]);
            changes.insert_if(bound | moved, Change::ClaimBinding);
            let filled = remove_in(object, "/spec", &["dataSource", "dataSourceRef"]);
            changes.insert_if(filled, Change::DataSource);
        }
        ("", "PersistentVolume") => {
            let claimed = remove_in(object, "/spec/claimRef", &["uid", "resourceVersion"]);
            changes.insert_if(claimed, Change::VolumeClaim);
        }
        ("", "ServiceAccount") => strip_account(object, &mut changes),
        ("", "Secret") => strip_token(object, &mut changes),
        ("batch", "Job") => strip_job(object, &mut changes),
        _ => {}
    }
    changes
}

/// Annotations that controllers keep for themselves.
const CONTROLLER_ANNOTATIONS: [&str; 13] = [
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "control-plane.alpha.kubernetes.io/leader",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "velero.io/volume-snapshot-name",
    "autoscaling.alpha.kubernetes.io/conditions",
    "autoscaling.alpha.kubernetes.io/current-metrics",
    AWAITS_COPY,
];

/// Annotations by which a controller outside of the namespace takes an object for its own.
const TRACKING_ANNOTATIONS: [&str; 2] = ["argocd.argoproj.io/tracking-id", "external-dns.alpha.kubernetes.io/"];

fn strip_metadata(metadata: &mut Map<String, Value>, beside: bool, changes: &mut Changes) {
    let mut remove = |keys: &[&str], change| {
        let before = metadata.len();
        keys.iter().for_each(|key| {
            metadata.remove(*key);
        });
        if metadata.len() != before {
            changes.insert(change);
        }
    };
    remove(
        &[
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ],
        Change::ServerFields,
    );
    remove(&["managedFields"], Change::ManagedFields);
    remove(&["ownerReferences"], Change::OwnerReferences);
    if metadata.contains_key("name") && metadata.remove("generateName").is_some() {
        changes.insert(Change::GenerateName);
    }
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        let before = finalizers.len();
        finalizers.retain(|finalizer| !beside && finalizer.as_str().is_some_and(|finalizer| !of_the_cluster(finalizer)));
        if finalizers.len() != before {
            changes.insert(Change::Finalizers);
        }
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        let before = annotations.len();
        annotations.retain(|key, _| !CONTROLLER_ANNOTATIONS.contains(&key.as_str()));
        if annotations.len() != before {
            changes.insert(Change::ControllerAnnotations);
        }
        let before = annotations.len();
        annotations.retain(|key, _| !beside || !TRACKING_ANNOTATIONS.iter().any(|prefix| key.starts_with(prefix)));
        if annotations.len() != before {
            changes.insert(Change::Tracking);
        }
    }
    for key in ["annotations", "labels"] {
        if metadata.get(key).and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.remove(key);
        }
    }
}

/// `kubernetes.io/pvc-protection`, `service.kubernetes.io/load-balancer-cleanup`, `foregroundDeletion`: the cluster sets them again.
fn of_the_cluster(finalizer: &str) -> bool {
    match finalizer.split_once('/') {
        None => true,
        Some((domain, _)) => domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io"),
    }
}

fn strip_service(object: &mut Value, explicit: &ExplicitPorts, beside: bool, changes: &mut Changes) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    // A headless Service is one because it says so.
    let headless = spec.get("clusterIP").and_then(Value::as_str) == Some("None");
    if !headless && (spec.remove("clusterIP").is_some() | spec.remove("clusterIPs").is_some()) {
        changes.insert(Change::ServiceAddresses);
    }
    // A node port is the whole cluster's: beside, even one that somebody asked for is the original's.
    let mut assigned = (beside || !explicit.has_health_check()) && spec.remove("healthCheckNodePort").is_some();
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if port.contains_key("nodePort") && (beside || !explicit.has(port)) {
            port.remove("nodePort");
            assigned = true;
        }
    }
    if assigned {
        changes.insert(Change::AssignedPorts);
    }
}

/// Node ports that somebody asked for.
enum ExplicitPorts {
    /// The object comes from no server: nothing in it was assigned.
    All,
    /// As `kubectl apply` or the owners of the fields tell.
    These {
        /// `port` and `protocol` of the ports.
        ports: Vec<(u64, String)>,
        health_check: bool,
    },
}

impl ExplicitPorts {
    fn of(object: &Value) -> Self {
        if object.pointer("/metadata/uid").is_none() {
            return Self::All;
        }
        let (mut ports, mut health_check) = (Vec::new(), false);
        let applied = object
            .pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration")
            .and_then(Value::as_str)
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(spec) = applied.as_ref().and_then(|applied| applied.get("spec")) {
            health_check |= spec.get("healthCheckNodePort").is_some();
            let listed = spec.get("ports").and_then(Value::as_array).into_iter().flatten();
            ports.extend(listed.filter(|port| port.get("nodePort").is_some()).filter_map(port_key));
        }
        for owned in object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten() {
            let Some(spec) = owned.pointer("/fieldsV1/f:spec") else { continue };
            health_check |= spec.get("f:healthCheckNodePort").is_some();
            let listed = spec.get("f:ports").and_then(Value::as_object).into_iter().flatten();
            let asked = listed.filter(|(_, fields)| fields.get("f:nodePort").is_some());
            ports.extend(asked.filter_map(|(key, _)| port_key(&serde_json::from_str(key.strip_prefix("k:")?).ok()?)));
        }
        Self::These { ports, health_check }
    }

    fn has(&self, port: &Map<String, Value>) -> bool {
        match self {
            Self::All => true,
            Self::These { ports, .. } => port_key(&Value::Object(port.clone())).is_some_and(|key| ports.contains(&key)),
        }
    }

    fn has_health_check(&self) -> bool {
        matches!(self, Self::All | Self::These { health_check: true, .. })
    }
}

fn port_key(port: &Value) -> Option<(u64, String)> {
    let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
    Some((port.get("port")?.as_u64()?, protocol.to_owned()))
}

fn strip_pod(object: &mut Value, changes: &mut Changes) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.remove("nodeName").is_some() {
        changes.insert(Change::Node);
    }
    let account = spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or("default");
    let token = format!("{account}-token-");
    let injected = |name: Option<&Value>| {
        name.and_then(Value::as_str).is_some_and(|name| name.starts_with("kube-api-access-") || name.starts_with(&token))
    };
    let mut removed = false;
    for (list, inside) in [("volumes", false), ("containers", true), ("initContainers", true), ("ephemeralContainers", true)] {
        let Some(elements) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        if inside {
            for container in elements.iter_mut().filter_map(Value::as_object_mut) {
                let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) else { continue };
                let before = mounts.len();
                mounts.retain(|mount| !injected(mount.get("name")));
                removed |= mounts.len() != before;
                if mounts.is_empty() {
                    container.remove("volumeMounts");
                }
            }
        } else {
            let before = elements.len();
            elements.retain(|volume| !injected(volume.get("name")));
            removed |= elements.len() != before;
        }
    }
    drop_empty_list(spec, "volumes");
    // Worked out from the class at admission, which refuses another number.
    removed |= spec.remove("priority").is_some();
    removed |= spec.remove("preemptionPolicy").is_some();
    if removed {
        changes.insert(Change::PodAdmission);
    }
}

fn strip_account(object: &mut Value, changes: &mut Changes) {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let made = [format!("{name}-token-"), format!("{name}-dockercfg-")];
    let Some(tree) = object.as_object_mut() else { return };
    for list in ["secrets", "imagePullSecrets"] {
        let Some(secrets) = tree.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let before = secrets.len();
        secrets.retain(|secret| {
            let name = secret.get("name").and_then(Value::as_str).unwrap_or_default();
            !made.iter().any(|prefix| name.starts_with(prefix))
        });
        if secrets.len() != before {
            changes.insert(Change::AccountTokens);
        }
        drop_empty_list(tree, list);
    }
}

/// The Secret of an account's token keeps its account; the token is made anew for the account that is there now.
fn strip_token(object: &mut Value, changes: &mut Changes) {
    if object.get("type").and_then(Value::as_str) != Some(rules::ACCOUNT_TOKEN) {
        return;
    }
    let mut removed = remove_in(object, "/data", &["token", "ca.crt", "namespace"]);
    removed |= remove_in(object, "/metadata/annotations", &["kubernetes.io/service-account.uid"]);
    drop_empty(object, "data");
    if removed {
        changes.insert(Change::AccountTokens);
    }
}

fn strip_job(object: &mut Value, changes: &mut Changes) {
    if object.pointer("/spec/manualSelector").and_then(Value::as_bool) == Some(true) {
        return;
    }
    let generated = ["controller-uid", "batch.kubernetes.io/controller-uid"];
    let mut removed = remove_in(object, "/metadata/labels", &generated);
    removed |= remove_in(object, "/spec/template/metadata/labels", &generated);
    removed |= remove_in(object, "/spec/selector/matchLabels", &generated);
    drop_empty_selector(object);
    if removed {
        changes.insert(Change::JobIdentity);
    }
}

/// A selector that selects nothing any more.
fn drop_empty_selector(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        let selects_nothing =
            spec.get("selector").and_then(Value::as_object).is_some_and(|selector| selector.values().all(empty));
        if selects_nothing {
            spec.remove("selector");
        }
    }
}

/// Puts an object into the target namespace.
fn place(group: &str, kind: &str, object: &mut Value, source: &str, target: &str, changes: &mut Changes) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("namespace").and_then(Value::as_str) == Some(source) {
        metadata.insert("namespace".to_owned(), target.into());
        changes.insert(Change::Namespace);
    }
    if (group, kind) == ("", "Namespace") && metadata.get("name").and_then(Value::as_str) == Some(source) {
        metadata.insert("name".to_owned(), target.into());
        if let Some(name) = metadata.get_mut("labels").and_then(|labels| labels.get_mut("kubernetes.io/metadata.name")) {
            *name = target.into();
        }
        changes.insert(Change::Namespace);
    }
    // Beside, a cluster-wide binding gets a name of its own: under its old one, the original would lose its rights.
    if (group, kind) == ("rbac.authorization.k8s.io", "ClusterRoleBinding")
        && let Some(name) = metadata.get("name").and_then(Value::as_str)
    {
        let own = own_name(name, target);
        if own != name {
            metadata.insert("name".to_owned(), own.into());
            changes.insert(Change::Renamed);
        }
    }
}

/// A cluster-scoped object's name for its copy in `target`.
pub(super) fn own_name(name: &str, target: &str) -> String {
    let ending = format!("-{target}");
    if name.ends_with(&ending) { name.to_owned() } else { format!("{name}{ending}") }
}

fn remove_in(object: &mut Value, pointer: &str, keys: &[&str]) -> bool {
    let Some(tree) = object.pointer_mut(pointer).and_then(Value::as_object_mut) else { return false };
    let before = tree.len();
    tree.retain(|key, _| !keys.contains(&key.as_str()));
    tree.len() != before
}

fn drop_empty(object: &mut Value, key: &str) {
    if let Some(tree) = object.as_object_mut()
        && tree.get(key).and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        tree.remove(key);
    }
}

fn drop_empty_list(tree: &mut Map<String, Value>, key: &str) {
    if tree.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        tree.remove(key);
    }
}
