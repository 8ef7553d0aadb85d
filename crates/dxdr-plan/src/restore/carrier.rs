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

/// How far a carrier is, by what its node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrying {
    /// It is meant to carry nothing, and no node gets it.
    Nothing,
    /// No node has it yet: the scheduler's words.
    Unplaced(String),
    /// Velero's init container is about to run.
    Begins,
    /// It does not run, which has a reason: what its node says.
    Hindered(String),
    /// It runs, and files come.
    Runs,
    /// It has ended by itself: all files are there.
    Done,
    /// It is over, or going, and files were still to come: why.
    Over(String),
}

/// How far the carrier `pod` is.
pub fn carrying(pod: &Value) -> Carrying {
    let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    if list(spec, "schedulingGates").next().is_some() {
        return Carrying::Nothing;
    }
    let status = pod.get("status").unwrap_or(&Value::Null);
    let waiting = list(status, "initContainerStatuses").find(|container| container.get("name") == Some(&json!(WAITING)));
    let state = |name: &str| waiting?.get("state")?.get(name);
    let ended = state("terminated");
    if ended.is_some_and(|ended| ended.get("exitCode") == Some(&json!(0))) {
        return Carrying::Done;
    }
    if let Some(deleted) = pod.pointer("/metadata/deletionTimestamp").and_then(Value::as_str) {
        return Carrying::Over(format!("somebody deleted it at {deleted}"));
    }
    if ended.is_some() || matches!(text("/status/phase"), "Failed" | "Succeeded") {
        let pod_says = told(text("/status/reason"), text("/status/message"));
        return Carrying::Over(pod_says.or_else(|| ended.and_then(told_of)).unwrap_or_else(|| "nobody says why".to_owned()));
    }
    if state("running").is_some() {
        return Carrying::Runs;
    }
    let hindrance = state("waiting").filter(|waiting| {
        !matches!(waiting.get("reason").and_then(Value::as_str), None | Some("" | "PodInitializing" | "ContainerCreating"))
    });
    if let Some(hindrance) = hindrance.and_then(told_of) {
        return Carrying::Hindered(hindrance);
    }
    if !text("/spec/nodeName").is_empty() {
        return Carrying::Begins;
    }
    let mut scheduled = list(status, "conditions").filter(|condition| condition.get("type") == Some(&json!("PodScheduled")));
    let message = scheduled.find_map(|condition| condition.get("message")?.as_str());
    Carrying::Unplaced(message.unwrap_or("nobody says why").to_owned())
}

/// What is said of a pod, or of a claim that it waits for, in those `events` that warn; by their reason.
pub fn warnings(events: &[Value], pod: &Value) -> BTreeMap<String, String> {
    let uid = pod.pointer("/metadata/uid");
    let concerns = |event: &Value| {
        let about = |field: &str| event.get("involvedObject").and_then(|about| about.get(field));
        let claim = about("name").and_then(Value::as_str).is_some_and(|name| mounts_claim(pod, name));
        uid.is_some() && about("uid") == uid || claim && about("kind") == Some(&json!("PersistentVolumeClaim"))
    };
    let warning = |event: &&Value| event.get("type") == Some(&json!("Warning")) && concerns(event);
    let reason = |event: &Value| event.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
    events.iter().filter(warning).filter_map(|event| Some((reason(event), told_of(event)?))).collect()
}

/// `reason: message` of a state or an event.
fn told_of(state: &Value) -> Option<String> {
    let text = |field: &str| state.get(field).and_then(Value::as_str).unwrap_or_default();
    told(text("reason"), text("message"))
}

fn told(reason: &str, message: &str) -> Option<String> {
    let said: Vec<&str> = [reason, message.trim()].into_iter().filter(|text| !text.is_empty()).collect();
    (!said.is_empty()).then(|| said.join(": "))
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
