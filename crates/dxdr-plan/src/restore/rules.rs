//! What is known of kinds: what no restore brings back, what its owner makes again, which fields cannot change.

use dxdr_environment::Quantity;
use serde_json::Value;

use super::{
    live::FieldChange,
    plan::{LeaveReason, LeftOutReason},
};

/// A controller's reference in an object.
pub(super) struct Controller<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// The owner that manages the object.
pub(super) fn controller(object: &Value) -> Option<Controller<'_>> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))?;
    let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    Some(Controller { group, kind: text("kind"), name: text("name"), uid: text("uid") })
}

/// Whether the owner makes the object again as it was. Others (what an operator owns for a custom resource) are restored themselves:
/// a generated password that is generated again is another one.
pub(super) fn makes_again(owner: &Controller<'_>, group: &str, kind: &str) -> bool {
    matches!(
        (owner.group, owner.kind, group, kind),
        ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet", "", "Pod")
            | ("", "ReplicationController", "", "Pod")
            // Of a volume that is made for the pod: one that is there and not the pod's keeps it from starting.
            | ("", "Pod", "", "PersistentVolumeClaim")
            | ("apps", "Deployment", "apps", "ReplicaSet")
            | ("apps", "StatefulSet" | "DaemonSet", "apps", "ControllerRevision")
            | ("batch", "Job", "", "Pod")
            | ("batch", "CronJob", "batch", "Job")
            | ("", "Service" | "Endpoints", "discovery.k8s.io", "EndpointSlice")
            | ("bitnami.com", "SealedSecret", "", "Secret")
            | ("cert-manager.io", "Certificate", "cert-manager.io", "CertificateRequest")
            | ("cert-manager.io", "CertificateRequest", "acme.cert-manager.io", "Order")
            | ("acme.cert-manager.io", "Order", "acme.cert-manager.io", "Challenge")
            | ("argoproj.io", "Rollout", "apps", "ReplicaSet")
            | ("keda.sh", "ScaledObject", "autoscaling", "HorizontalPodAutoscaler")
            | ("monitoring.coreos.com", "Prometheus" | "Alertmanager" | "ThanosRuler", "apps", "StatefulSet")
    )
}

/// Kinds that no restore brings back.
pub(super) fn never_restored(group: &str, plural: &str) -> Option<LeftOutReason> {
    let reason = match (group, plural) {
        ("" | "events.k8s.io", "events") => "it tells what happened there",
        ("coordination.k8s.io", "leases" | "leasecandidates") => "leadership is taken anew",
        ("", "nodes" | "componentstatuses") | ("storage.k8s.io", "csinodes" | "csistoragecapacities" | "volumeattachments") => {
            "it describes the machines of its cluster"
        }
        ("metrics.k8s.io", _) => "it is measured anew",
        ("velero.io", _) => "Velero keeps its records in the store, and would act on them",
        ("snapshot.storage.k8s.io" | "groupsnapshot.storage.k8s.io", plural) if !plural.ends_with("classes") => {
            "it stands for the stored snapshot itself; deleting the copy would delete the snapshot"
        }
        ("authentication.k8s.io" | "authorization.k8s.io", _) => "it is a question, not an object",
        ("certificates.k8s.io", "certificatesigningrequests") => "it was a request to that cluster",
        ("resource.k8s.io", "resourceslices") => "it describes the machines of its cluster",
        _ => return None,
    };
    Some(LeftOutReason::BelongsToSource(reason))
}

/// Objects that are not restored whatever is asked for, by what is in them.
pub(super) fn left_out(group: &str, kind: &str, name: &str, object: &Value) -> Option<LeftOutReason> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    match (group, kind) {
        ("", "ConfigMap") if ["kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"].contains(&name) => {
            Some(LeftOutReason::MadeByCluster)
        }
        ("", "ServiceAccount") if name == "default" && is_plain_account(object) => Some(LeftOutReason::MadeByCluster),
        ("", "Secret") if text("/type") == Some(ACCOUNT_TOKEN) && is_generated_token(name, object) => {
            Some(LeftOutReason::MadeByCluster)
        }
        ("", "Pod") if matches!(text("/status/phase"), Some("Succeeded" | "Failed")) => Some(LeftOutReason::Finished),
        ("", "Pod") if object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() => {
            Some(LeftOutReason::BelongsToSource("it is run by a node on its own"))
        }
        ("batch", "Job") if text("/status/completionTime").is_some() || has_failed(object) => Some(LeftOutReason::Finished),
        ("rbac.authorization.k8s.io", _)
            if text("/metadata/labels/kubernetes.io~1bootstrapping") == Some("rbac-defaults")
                // In a namespace, anybody may call a Role so.
                || kind.starts_with("Cluster") && name.starts_with("system:") =>
        {
            Some(LeftOutReason::MadeByCluster)
        }
        ("scheduling.k8s.io", "PriorityClass") if name.starts_with("system-") => Some(LeftOutReason::MadeByCluster),
        ("apiregistration.k8s.io", "APIService")
            if object.pointer("/metadata/labels/kube-aggregator.kubernetes.io~1automanaged").is_some()
                || object.pointer("/spec/service").is_none() =>
        {
            Some(LeftOutReason::MadeByCluster)
        }
        _ => None,
    }
}

/// The type of a Secret that a controller fills with an account's token.
pub(super) const ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// The annotation that names a token's account.
const TOKEN_ACCOUNT: &str = "/metadata/annotations/kubernetes.io~1service-account.name";

/// A token Secret that old clusters made for every account, and that comes back, or is no longer needed, by itself. One that somebody
/// asked for has a name of its own, and no cluster makes it again.
fn is_generated_token(name: &str, object: &Value) -> bool {
    let Some(account) = object.pointer(TOKEN_ACCOUNT).and_then(Value::as_str) else { return true };
    let random = name.strip_prefix(account).and_then(|rest| rest.strip_prefix("-token-"));
    random.is_some_and(|random| random.len() == 5 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A `default` account as the cluster makes it.
fn is_plain_account(object: &Value) -> bool {
    let own = |pointer: &str| {
        object.pointer(pointer).is_some_and(|value| {
            !value.as_array().is_some_and(Vec::is_empty) && !value.as_object().is_some_and(serde_json::Map::is_empty)
        })
    };
    !own("/imagePullSecrets")
        && !own("/automountServiceAccountToken")
        && !own("/metadata/labels")
        && !own("/metadata/annotations")
}

fn has_failed(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut conditions = conditions.map(|condition| (condition.get("type"), condition.get("status")));
    conditions.any(|(name, status)| {
        matches!(name.and_then(Value::as_str), Some("Failed" | "Complete")) && status.and_then(Value::as_str) == Some("True")
    })
}

/// Groups whose objects stand for something outside of the cluster that is deleted with them.
pub(super) fn controls_outside(group: &str) -> bool {
    ["cnrm.cloud.google.com", "crossplane.io", "upbound.io", "services.k8s.aws", "azure.com", "infra.contrib.fluxcd.io"]
        .iter()
        .any(|domain| group == *domain || group.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
}

/// Kinds that are nothing but what is in them: deleting one and creating it as it was loses nothing, and stops nothing that runs.
pub(super) fn recreated(group: &str, kind: &str) -> bool {
    matches!((group, kind), ("", "ConfigMap" | "Secret") | ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding"))
}

/// Why no server accepts `differences` for `live`, where one of them is of a field that cannot be changed.
pub(super) fn immutable(group: &str, kind: &str, live: &Value, differences: &[FieldChange]) -> Option<LeaveReason> {
    let under = |path: &str, prefixes: &[&str]| {
        prefixes
            .iter()
            .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
    };
    // What counts is whether it is frozen now: one that was frozen at the instant and is not any more can go back.
    let frozen = live.get("immutable").and_then(Value::as_bool) == Some(true);
    let fixed = |path: &str| match (group, kind) {
        ("apps", "Deployment" | "DaemonSet" | "ReplicaSet") => under(path, &["spec.selector"]),
        ("apps", "StatefulSet") => {
            path.starts_with("spec.")
                && !under(
                    path,
                    &[
                        "spec.replicas",
                        "spec.ordinals",
                        "spec.template",
                        "spec.updateStrategy",
                        "spec.persistentVolumeClaimRetentionPolicy",
                        "spec.minReadySeconds",
                        "spec.revisionHistoryLimit",
                    ],
                )
        }
        ("batch", "Job") => under(path, &["spec.selector", "spec.template", "spec.completionMode", "spec.manualSelector"]),
        ("", "PersistentVolumeClaim") => {
            path.starts_with("spec.") && !under(path, &["spec.resources", "spec.volumeAttributesClassName"])
        }
        ("", "Pod") => path.starts_with("spec."),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => under(path, &["roleRef"]),
        ("", "Secret") => under(path, &["type"]) || frozen && under(path, &["data", "immutable"]),
        ("", "ConfigMap") => frozen && under(path, &["data", "binaryData", "immutable"]),
        ("storage.k8s.io", "StorageClass") => under(path, &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]),
        ("scheduling.k8s.io", "PriorityClass") => under(path, &["value", "preemptionPolicy"]),
        _ => false,
    };
    if differences.iter().any(|difference| fixed(&difference.path)) {
        return Some(LeaveReason::Immutable);
    }
    let is_claim = (group, kind) == ("", "PersistentVolumeClaim");
    (is_claim && differences.iter().any(shrinks)).then_some(LeaveReason::Larger)
}

/// Whether a volume would have to become smaller.
fn shrinks(difference: &FieldChange) -> bool {
    let amount = |text: &Option<String>| Quantity::parse(text.as_deref()?.trim_matches('"')).ok();
    difference.path == "spec.resources.requests.storage"
        && matches!((amount(&difference.from), amount(&difference.to)), (Some(from), Some(to)) if to < from)
}

/// `metadata.uid` and others as a number that takes no allocation. Not a UUID: a hash of it.
pub(super) fn uid_number(uid: &str) -> u128 {
    let digits: String = uid.chars().filter(|character| *character != '-').collect();
    u128::from_str_radix(&digits, 16).unwrap_or_else(|_| {
        // FNV-1a, 128 bits.
        uid.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        })
    })
}
