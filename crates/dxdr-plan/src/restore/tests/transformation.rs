use serde_json::{Value, json};

use super::world::{beside, in_place, object, owned_by};
use crate::restore::{
    Change, RestoreRequest,
    transform::{replacement, transform},
};

/// Everything of the object but what every object has.
fn written(request: &RestoreRequest, group_resource: &str, more: Value) -> Value {
    let transformed = transform(request, object(group_resource, "it", more));
    let again = transform(request, transformed.object.clone());
    assert_eq!(again.object, transformed.object, "{group_resource}: transforming again changes something");
    let mut object = transformed.object;
    let tree = object.as_object_mut().unwrap();
    tree.remove("apiVersion");
    tree.remove("kind");
    let metadata = tree["metadata"].as_object_mut().unwrap();
    metadata.remove("name");
    metadata.remove("namespace");
    if metadata.is_empty() {
        tree.remove("metadata");
    }
    object
}

#[test]
fn what_a_server_sets_is_stripped_and_what_people_set_is_kept() {
    let token = |name: &str| json!({"name": name});
    let table: Vec<(&str, &str, Value, Value)> = vec![
        (
            "status goes",
            "deployments.apps",
            json!({"spec": {"replicas": 2}, "status": {"replicas": 2}}),
            json!({"spec": {"replicas": 2}}),
        ),
        (
            "an unknown field stays",
            "widgets.example.org",
            json!({"future": [1, {"a": null}]}),
            json!({"future": [1, {"a": null}]}),
        ),
        (
            "labels and annotations stay, controllers' own go",
            "deployments.apps",
            json!({"metadata": {"labels": {"app": "api"}, "annotations": {"deployment.kubernetes.io/revision": "4", "note": "x"}}}),
            json!({"metadata": {"labels": {"app": "api"}, "annotations": {"note": "x"}}}),
        ),
        ("owners go", "configmaps", owned_by("deployments.apps", "api"), json!({})),
        (
            "finalizers of the cluster go, others stay in place",
            "persistentvolumeclaims",
            json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "example.org/archive"]}}),
            json!({"metadata": {"finalizers": ["example.org/archive"]}}),
        ),
        (
            "assigned addresses and ports go",
            "services",
            json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "healthCheckNodePort": 30001, "ports": [{"port": 80, "nodePort": 30000}]}}),
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "a headless Service stays one",
            "services",
            json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
            json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}),
        ),
        (
            "a port that somebody owns stays",
            "services",
            json!({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}}}}]},
                "spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 81, "nodePort": 30001}]}}),
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 81}]}}),
        ),
        (
            "a claim asks for a volume anew",
            "persistentvolumeclaims",
            json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": "pv-1", "storageClassName": "fast"}}),
            json!({"spec": {"storageClassName": "fast"}}),
        ),
        (
            "a volume forgets the claim's uid",
            "persistentvolumes",
            json!({"spec": {"claimRef": {"namespace": "staging", "name": "data", "uid": "u", "resourceVersion": "5"}}}),
            json!({"spec": {"claimRef": {"namespace": "staging", "name": "data"}}}),
        ),
        (
            "a Pod forgets its node, its number and what was injected",
            "pods",
            json!({"spec": {"nodeName": "n1", "priority": 1000, "priorityClassName": "high", "serviceAccountName": "api",
                "volumes": [{"name": "data"}, {"name": "kube-api-access-x2x"}, {"name": "api-token-9"}],
                "containers": [{"name": "api", "volumeMounts": [{"name": "kube-api-access-x2x"}]}]}}),
            json!({"spec": {"priorityClassName": "high", "serviceAccountName": "api", "volumes": [{"name": "data"}], "containers": [{"name": "api"}]}}),
        ),
        (
            "a Job forgets its identity",
            "jobs.batch",
            json!({"metadata": {"labels": {"controller-uid": "u", "app": "x"}},
                "spec": {"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                    "template": {"metadata": {"labels": {"controller-uid": "u", "job-name": "it"}}}}}),
            json!({"metadata": {"labels": {"app": "x"}}, "spec": {"template": {"metadata": {"labels": {"job-name": "it"}}}}}),
        ),
        (
            "a Job that chose its selector keeps it",
            "jobs.batch",
            json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"controller-uid": "u"}}}}),
            json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"controller-uid": "u"}}}}),
        ),
        (
            "an account forgets its tokens",
            "serviceaccounts",
            json!({"secrets": [token("it-token-x"), token("registry")], "imagePullSecrets": [token("it-dockercfg-y")]}),
            json!({"secrets": [token("registry")]}),
        ),
        (
            "a token Secret that somebody asked for keeps its account and forgets the token",
            "secrets",
            json!({"type": "kubernetes.io/service-account-token", "data": {"token": "dA==", "ca.crt": "Yw==", "namespace": "bg=="},
                "metadata": {"annotations": {"kubernetes.io/service-account.name": "api", "kubernetes.io/service-account.uid": "u"}}}),
            json!({"type": "kubernetes.io/service-account-token",
                "metadata": {"annotations": {"kubernetes.io/service-account.name": "api"}}}),
        ),
        ("a Namespace forgets its finalizer", "namespaces", json!({"spec": {"finalizers": ["kubernetes"]}}), json!({})),
    ];
    for (case, kind, archived, expected) in table {
        assert_eq!(written(&in_place(), kind, archived), expected, "{case}");
    }
}

#[test]
fn beside_even_a_node_port_that_somebody_asked_for_stays_the_original_s() {
    let owned = json!({"metadata": {"managedFields": [{"fieldsV1": {"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}}}}]},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}});
    assert_eq!(written(&beside(), "services", owned), json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}}));
}

#[test]
fn fields_that_name_the_namespace_follow_it() {
    let table: Vec<(&str, Value, Value)> = vec![
        (
            "rolebindings.rbac.authorization.k8s.io",
            json!({"subjects": [
                {"kind": "ServiceAccount", "name": "api", "namespace": "staging"},
                {"kind": "ServiceAccount", "name": "scraper", "namespace": "monitoring"},
                {"kind": "Group", "name": "system:serviceaccounts:staging"},
                {"kind": "User", "name": "system:serviceaccount:staging:api"},
                {"kind": "Group", "name": "staging"}]}),
            json!({"subjects": [
                {"kind": "ServiceAccount", "name": "api", "namespace": "copy"},
                {"kind": "ServiceAccount", "name": "scraper", "namespace": "monitoring"},
                {"kind": "Group", "name": "system:serviceaccounts:copy"},
                {"kind": "User", "name": "system:serviceaccount:copy:api"},
                {"kind": "Group", "name": "staging"}]}),
        ),
        (
            "networkpolicies.networking.k8s.io",
            json!({"spec": {"ingress": [{"from": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "staging"}}},
                {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["staging", "ingress"]}]}},
                {"podSelector": {"matchLabels": {"app": "staging"}}}]}]}}),
            json!({"spec": {"ingress": [{"from": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "copy"}}},
                {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["copy", "ingress"]}]}},
                {"podSelector": {"matchLabels": {"app": "staging"}}}]}]}}),
        ),
        (
            "ingressroutes.traefik.io",
            json!({"spec": {"routes": [{"match": "Host(`staging`)", "services": [{"name": "api", "namespace": "staging"}], "middlewares": [{"name": "auth", "namespace": "ingress"}]}]}}),
            json!({"spec": {"routes": [{"match": "Host(`staging`)", "services": [{"name": "api", "namespace": "copy"}], "middlewares": [{"name": "auth", "namespace": "ingress"}]}]}}),
        ),
        (
            "statefulsets.apps",
            json!({"spec": {"template": {"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["staging", "production"]}]}},
                "containers": [{"env": [{"name": "DATABASE", "value": "db.staging.svc"}, {"name": "ENVIRONMENT", "value": "staging"}]}]}}}}),
            json!({"spec": {"template": {"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["copy", "production"]}]}},
                "containers": [{"env": [{"name": "DATABASE", "value": "db.staging.svc"}, {"name": "ENVIRONMENT", "value": "staging"}]}]}}}}),
        ),
        (
            "namespaces",
            json!({"metadata": {"name": "staging", "labels": {"kubernetes.io/metadata.name": "staging", "team": "staging"}}}),
            json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "copy", "team": "staging"}}}),
        ),
        (
            "persistentvolumes",
            json!({"spec": {"claimRef": {"namespace": "staging", "name": "data"}}}),
            json!({"spec": {"claimRef": {"namespace": "copy", "name": "data"}}}),
        ),
        (
            "sealedsecrets.bitnami.com",
            json!({"spec": {"template": {"metadata": {"name": "db", "namespace": "staging"}}}}),
            json!({"spec": {"template": {"metadata": {"name": "db", "namespace": "copy"}}}}),
        ),
        (
            "configmaps",
            json!({"metadata": {"annotations": {"meta.helm.sh/release-namespace": "staging", "argocd.argoproj.io/tracking-id": "x"}}, "data": {"namespace": "staging"}}),
            json!({"metadata": {"annotations": {"meta.helm.sh/release-namespace": "copy"}}, "data": {"namespace": "staging"}}),
        ),
    ];
    for (kind, archived, expected) in table {
        assert_eq!(written(&beside(), kind, archived), expected, "{kind}");
    }
    let transformed = transform(&beside(), object("configmaps", "it", json!({})));
    assert_eq!(transformed.object["metadata"]["namespace"], "copy");
    assert!(transformed.changes.contains(Change::Namespace));
}

#[test]
fn a_cluster_wide_binding_gets_a_name_of_its_own_beside() {
    let transformed = transform(&beside(), object("clusterrolebindings.rbac.authorization.k8s.io", "api", json!({})));
    assert_eq!(transformed.object["metadata"]["name"], "api-copy");
    assert!(transformed.changes.contains(Change::Renamed));
    assert_eq!(transform(&beside(), transformed.object.clone()).object, transformed.object);
}

#[test]
fn every_change_says_what_and_why() {
    let transformed = transform(&in_place(), object("pods", "it", json!({"spec": {"nodeName": "n1"}, "status": {}})));
    let changes: Vec<_> = transformed.changes.iter().collect();
    assert_eq!(changes, [Change::ServerFields, Change::Status, Change::ManagedFields, Change::Node]);
    assert_eq!(Change::Node.to_string(), "the node removed: the scheduler finds a place for it");
}

#[test]
fn a_replacement_keeps_what_the_server_assigned_and_drops_what_was_added() {
    let archived =
        object("services", "api", json!({"spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30000}]}}));
    let live = object(
        "services",
        "api",
        json!({"metadata": {"resourceVersion": "99", "labels": {"added": "later"}},
            "spec": {"clusterIP": "10.0.0.7", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "nodePort": 31000}]}, "status": {"loadBalancer": {}}}),
    );
    let desired = transform(&in_place(), archived).object;
    let replaced = replacement(&in_place(), &desired, &live);
    assert_eq!(replaced["spec"], json!({"clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 31000}]}));
    assert_eq!(replaced["metadata"]["resourceVersion"], "99");
    assert_eq!(replaced["metadata"].get("labels"), None);
    assert_eq!(replaced["metadata"].get("managedFields"), None);
    assert_eq!(replaced["status"], json!({"loadBalancer": {}}));
}

#[test]
fn a_claim_waits_no_more_for_the_volume_that_a_data_mover_once_filled() {
    let moved = |others: Value| {
        let mut labels = json!({"velero.io/dynamic-pv-restore": "staging.data.x7k2v"});
        labels.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        object("persistentvolumeclaims", "data", json!({"spec": {"selector": {"matchLabels": labels}}}))
    };
    let alone = transform(&in_place(), moved(json!({})));
    assert_eq!(alone.object["spec"], json!({}));
    assert!(alone.changes.contains(Change::ClaimBinding));
    let others = json!({"disk": "fast"});
    assert_eq!(transform(&in_place(), moved(others.clone())).object["spec"]["selector"], json!({"matchLabels": others}));
}
