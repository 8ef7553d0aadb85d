//! Which fields name a namespace, by kind, and so follow a restore into another one.
//!
//! Only fields whose schema says "a namespace" are rewritten. Host names and connection strings are text: they are found and
//! reported, never changed.

use serde_json::{Map, Value};

/// Fields of a kind: group, kind (`*`: all of the group), paths. `[]` stands for every element of a list.
const FIELDS: &[(&str, &str, &[&str])] = &[
    ("rbac.authorization.k8s.io", "RoleBinding", &["subjects[].namespace"]),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", &["subjects[].namespace"]),
    ("", "PersistentVolume", &["spec.claimRef.namespace"]),
    ("apps", "*", &POD_TEMPLATE),
    ("batch", "Job", &POD_TEMPLATE),
    ("batch", "CronJob", &CRON_TEMPLATE),
    ("", "Pod", &POD),
    ("admissionregistration.k8s.io", "*", &["webhooks[].clientConfig.service.namespace"]),
    ("apiregistration.k8s.io", "APIService", &["spec.service.namespace"]),
    ("monitoring.coreos.com", "*", &["spec.namespaceSelector.matchNames[]"]),
    ("bitnami.com", "SealedSecret", &["spec.template.metadata.namespace"]),
    ("traefik.io", "*", &TRAEFIK),
    ("traefik.containo.us", "*", &TRAEFIK),
    ("gateway.networking.k8s.io", "*", &GATEWAY),
    (
        "cilium.io",
        "*",
        &[
            "spec.ingress[].fromEndpoints[].matchLabels.k8s:io.kubernetes.pod.namespace",
            "spec.egress[].toEndpoints[].matchLabels.k8s:io.kubernetes.pod.namespace",
        ],
    ),
    ("kustomize.toolkit.fluxcd.io", "Kustomization", &["spec.targetNamespace", "spec.sourceRef.namespace"]),
    (
        "helm.toolkit.fluxcd.io",
        "HelmRelease",
        &["spec.targetNamespace", "spec.storageNamespace", "spec.chart.spec.sourceRef.namespace"],
    ),
    ("argoproj.io", "Application", &["spec.destination.namespace"]),
    ("snapshot.storage.k8s.io", "VolumeSnapshotContent", &["spec.volumeSnapshotRef.namespace"]),
    ("keda.sh", "*", &["spec.triggers[].metadata.namespace"]),
];

const POD: [&str; 4] = [
    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
    "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
];
const POD_TEMPLATE: [&str; 4] = [
    "spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.template.spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
    "spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
];
const CRON_TEMPLATE: [&str; 4] = [
    "spec.jobTemplate.spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.jobTemplate.spec.template.spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
    "spec.jobTemplate.spec.template.spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[].namespaces[]",
    "spec.jobTemplate.spec.template.spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm.namespaces[]",
];
/// Routes of all protocols, services that weigh or mirror, middlewares.
const TRAEFIK: [&str; 9] = [
    "spec.routes[].services[].namespace",
    "spec.routes[].middlewares[].namespace",
    "spec.tls.options.namespace",
    "spec.tls.store.namespace",
    "spec.weighted.services[].namespace",
    "spec.mirroring.namespace",
    "spec.mirroring.mirrors[].namespace",
    "spec.chain.middlewares[].namespace",
    "spec.errors.service.namespace",
];
/// Routes of all protocols, Gateways, ReferenceGrants.
const GATEWAY: [&str; 5] = [
    "spec.parentRefs[].namespace",
    "spec.rules[].backendRefs[].namespace",
    "spec.rules[].filters[].requestMirror.backendRef.namespace",
    "spec.listeners[].tls.certificateRefs[].namespace",
    "spec.from[].namespace",
];

/// The label that holds a namespace's name wherever it is selected by.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Where Helm keeps the namespace of a release.
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Replaces `source` by `target` in every field that names a namespace, and answers where. `metadata.namespace` is not among them.
pub(super) fn rewrite(group: &str, kind: &str, object: &mut Value, source: &str, target: &str) -> Vec<&'static str> {
    let mut rewritten = Vec::new();
    for (_, _, paths) in FIELDS.iter().filter(|(of, named, _)| *of == group && (*named == "*" || *named == kind)) {
        for path in *paths {
            if at(object, path, source, target) {
                rewritten.push(*path);
            }
        }
    }
    if group == "rbac.authorization.k8s.io" && accounts(object.get_mut("subjects"), source, target) {
        rewritten.push("subjects[].name");
    }
    if group == "security.openshift.io" && kind == "SecurityContextConstraints" {
        for (field, path) in [("users", "users[]"), ("groups", "groups[]")] {
            let names = object.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
            if names.fold(false, |changed, name| account(name, source, target) | changed) {
                rewritten.push(path);
            }
        }
    }
    if let Some(spec) = object.get_mut("spec")
        && selectors(spec, source, target)
    {
        rewritten.push("matchLabels[kubernetes.io/metadata.name]");
    }
    if let Some(webhooks) = object.get_mut("webhooks")
        && selectors(webhooks, source, target)
    {
        rewritten.push("webhooks[].namespaceSelector");
    }
    if let Some(value) = object.pointer_mut("/metadata/annotations").and_then(|annotations| annotations.get_mut(HELM_NAMESPACE))
        && replace(value, source, target)
    {
        rewritten.push("metadata.annotations[meta.helm.sh/release-namespace]");
    }
    rewritten
}

fn replace(value: &mut Value, source: &str, target: &str) -> bool {
    let found = value.as_str() == Some(source);
    if found {
        *value = Value::from(target);
    }
    found
}

/// Follows a path; the last step's name may itself contain dots and colons after `matchLabels.`.
fn at(value: &mut Value, path: &str, source: &str, target: &str) -> bool {
    if path.is_empty() {
        return replace(value, source, target);
    }
    if let Some(rest) = path.strip_prefix("[]") {
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let Some(list) = value.as_array_mut() else { return false };
        return list.iter_mut().fold(false, |changed, element| at(element, rest, source, target) | changed);
    }
    if let Some(field) = value.get_mut(path) {
        return replace(field, source, target);
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    value.get_mut(name).is_some_and(|field| at(field, rest, source, target))
}

/// Users and groups that stand for ServiceAccounts.
fn accounts(subjects: Option<&mut Value>, source: &str, target: &str) -> bool {
    let subjects = subjects.and_then(Value::as_array_mut).into_iter().flatten();
    subjects.filter_map(|subject| subject.get_mut("name")).fold(false, |changed, name| account(name, source, target) | changed)
}

fn account(name: &mut Value, source: &str, target: &str) -> bool {
    let Some(text) = name.as_str() else { return false };
    let replaced = if text.strip_prefix("system:serviceaccounts:") == Some(source) {
        format!("system:serviceaccounts:{target}")
    } else {
        match text.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, account)) if namespace == source => format!("system:serviceaccount:{target}:{account}"),
            _ => return false,
        }
    };
    *name = Value::from(replaced);
    true
}

/// Label selectors on a namespace's name, at any depth: that label means a namespace in every kind.
fn selectors(value: &mut Value, source: &str, target: &str) -> bool {
    match value {
        Value::Array(list) => list.iter_mut().fold(false, |changed, element| selectors(element, source, target) | changed),
        Value::Object(object) => {
            let mut changed = by_expression(object, source, target);
            for (key, value) in object.iter_mut() {
                changed |= if key == "matchLabels" {
                    value.get_mut(NAME_LABEL).is_some_and(|name| replace(name, source, target))
                } else {
                    selectors(value, source, target)
                };
            }
            changed
        }
        _ => false,
    }
}

fn by_expression(object: &mut Map<String, Value>, source: &str, target: &str) -> bool {
    if object.get("key").and_then(Value::as_str) != Some(NAME_LABEL) {
        return false;
    }
    let values = object.get_mut("values").and_then(Value::as_array_mut).into_iter().flatten();
    values.fold(false, |changed, value| replace(value, source, target) | changed)
}
