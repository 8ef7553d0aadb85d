//! A pod of the archive, made to run nothing.
//!
//! What is left of it is what decides where a volume lies: nodes that it may go to, what it asks of them, its account and security. Velero's
//! own init container gets the volumes to be filled, and nothing comes behind it that could start. The change is a strategic merge patch,
//! which Velero (1.13 and later) applies behind its own actions on the pod and before it creates it; none of its parts depends on what else
//! is in the pod by then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// The init container that Velero puts first, and its name before Velero 1.10, which old archives may have.
const WAITING: &str = "restore-wait";
const WAITING_BEFORE: &str = "restic-wait";
/// A program that no image has.
const NO_PROGRAM: &str = "/dxdr.io/nothing";
/// What nobody ever lifts: the scheduler leaves the pod alone.
const GATE: &str = "dxdr.io/carries-nothing";
/// With these Velero adds an init container, of a name of its own making when it is given none.
const HOOK_IMAGE: &str = "init.hook.restore.velero.io/container-image";
const HOOK_NAME: &str = "init.hook.restore.velero.io/container-name";
/// What tells in a strategic merge patch that something is not merged.
pub(crate) const REPLACES: &str = "$patch";

/// How Velero is to change a pod so that it runs nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct InertPod {
    /// Its name, in the archive and in the target.
    pub name: String,
    /// Whether files come back through it. No node gets it otherwise.
    pub carries: bool,
    /// The strategic merge patch, without labels.
    pub patch: Value,
    /// Whether it has labels, which all must go: a controller, a Service or a policy would take it for one of theirs.
    pub labelled: bool,
    /// Whether Velero gives it an init container of which nobody knows the name.
    pub unnamed_hook: bool,
}

impl InertPod {
    /// What it takes in a ConfigMap, more or less: quotes within quotes have a backslash.
    pub(super) fn bytes(&self) -> usize {
        self.patch.to_string().len() * 5 / 4 + 300
    }
}

/// The patch for `pod`. `carried`: its volumes that files come back into; `copied`: all of which there is a copy; `has_account`: whether
/// its account is in the target.
pub(super) fn inert(
    name: &str,
    pod: &Value,
    carried: &BTreeSet<String>,
    copied: &BTreeSet<String>,
    has_account: bool,
) -> InertPod {
    let carries = !carried.is_empty();
    let spec = pod.get("spec").cloned().unwrap_or_default();
    let annotation = |name: &str| pod.get("metadata")?.get("annotations")?.get(name)?.as_str();
    let hook = annotation(HOOK_IMAGE).map(|_| annotation(HOOK_NAME).filter(|name| !name.is_empty()));
    let mut changed = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": false,
        "initContainers": init_containers(&spec, hook.flatten(), carried, copied),
        "containers": replaced(list(&spec, "containers").map(container)),
        "volumes": replaced(volumes(&spec, carried, copied)),
    });
    for key in ["activeDeadlineSeconds", "ephemeralContainers", "readinessGates", "resourceClaims", "topologySpreadConstraints"] {
        if spec.get(key).is_some() {
            changed[key] = Value::Null;
        }
    }
    if let Some(affinity) = spec.get("affinity") {
        // A DaemonSet's pod is for one node by its name. The other pods that a pod wants near, or far, are not there yet.
        let one_node = affinity.to_string().contains("\"matchFields\"");
        changed["affinity"] = if one_node { Value::Null } else { json!({"podAffinity": null, "podAntiAffinity": null}) };
    }
    if !has_account {
        changed["serviceAccountName"] = "default".into();
        changed["serviceAccount"] = "default".into();
    }
    if !carries {
        changed["schedulingGates"] = json!([{"name": GATE}]);
    }
    InertPod {
        name: name.to_owned(),
        carries,
        // Its annotations are hooks of Velero's, and switches of what changes pods as they are made; whoever takes finalizers away knows the pod by labels that it
        // does not have here.
        patch: json!({"metadata": {"annotations": {REPLACES: "replace"}, "finalizers": null}, "spec": changed}),
        labelled: !labels(pod).is_empty(),
        unnamed_hook: hook == Some(None),
    }
}

/// The labels of an object.
pub(super) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The account of a pod.
pub(super) fn account(pod: &Value) -> &str {
    pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty()).unwrap_or("default")
}

/// Whether `volume` of the pod is that of `claim`.
pub(super) fn mounts(pod: &Value, volume: &str, claim: &str) -> bool {
    claims(pod).any(|(name, of)| name == volume && of == claim)
}

/// Whether the pod has the volume of `claim`, by whatever name.
pub fn mounts_claim(pod: &Value, claim: &str) -> bool {
    claims(pod).any(|(_, of)| of == claim)
}

/// The pod's volumes that are of claims, with the claims.
fn claims(pod: &Value) -> impl Iterator<Item = (&str, &str)> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes
        .filter_map(|volume| Some((volume.get("name")?.as_str()?, volume.pointer("/persistentVolumeClaim/claimName")?.as_str()?)))
}

fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// What a patch puts in the place of a whole list.
fn replaced(elements: impl IntoIterator<Item = Value>) -> Value {
    std::iter::once(json!({REPLACES: "replace"})).chain(elements).collect()
}

/// A container that asks for what it asked for, and cannot start: it has a program that is not there, and no image is fetched for it.
fn container(archived: &Value) -> Value {
    let kept = ["name", "image", "resources", "securityContext"];
    let kept = kept.into_iter().filter_map(|key| Some((key.to_owned(), archived.get(key)?.clone())));
    let mut container: Map<String, Value> = kept.collect();
    if let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) {
        resources.remove("claims");
    }
    container.insert("imagePullPolicy".to_owned(), "Never".into());
    container.insert("command".to_owned(), json!([NO_PROGRAM]));
    Value::Object(container)
}

/// The claims to be filled. What Velero has copies of besides is of a kind into which it copies nothing.
fn volumes(spec: &Value, carried: &BTreeSet<String>, copied: &BTreeSet<String>) -> Vec<Value> {
    let name = |volume: &Value| volume.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let filled = list(spec, "volumes").filter(|volume| carried.contains(&name(volume))).map(|volume| {
        json!({"name": name(volume), "persistentVolumeClaim": {"claimName": volume.pointer("/persistentVolumeClaim/claimName")}})
    });
    filled.chain(copied.difference(carried).map(|name| json!({"name": name, "downwardAPI": {}}))).collect()
}

/// Takes away every init container but Velero's, and from that one what it would wait for in vain.
fn init_containers(spec: &Value, hook: Option<&str>, carried: &BTreeSet<String>, copied: &BTreeSet<String>) -> Value {
    let archived = list(spec, "initContainers").filter_map(|container| container.get("name")?.as_str());
    let gone = archived.chain(hook).filter(|name| ![WAITING, WAITING_BEFORE].contains(name));
    let unused = carried.is_empty().then_some(WAITING);
    let mut patch: Vec<Value> = gone.chain(unused).map(|name| json!({REPLACES: "delete", "name": name})).collect();
    let in_vain =
        copied.difference(carried).map(|volume| json!({REPLACES: "delete", "mountPath": format!("/restores/{volume}")}));
    let in_vain: Vec<Value> = in_vain.collect();
    if !carried.is_empty() && !in_vain.is_empty() {
        patch.push(json!({"name": WAITING, "volumeMounts": in_vain}));
    }
    patch.into()
}
