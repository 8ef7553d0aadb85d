//! A namespace as people have them: applications, each of eleven objects of different kinds. Nothing in them starts a pod.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use futures::stream;
use serde_json::{Value, json};

use crate::{Place, cluster, measurement::Measurement, world};

/// Creates a namespace with `count` applications.
pub(crate) async fn seed(place: &Place, count: u64) -> Result<Measurement> {
    let cluster = world::connect(place).await?;
    cluster::create_namespace(&cluster, &place.namespace).await?;
    let began = Instant::now();
    let objects: Vec<(ObjectReference, Bytes)> = (0..count).flat_map(|number| objects(&place.namespace, number)).collect();
    let created = objects.len() as u64;
    let bytes = cluster::create_all(&cluster, stream::iter(objects)).await?;
    Ok(Measurement::new(began.elapsed(), created, bytes))
}

fn objects(namespace: &str, number: u64) -> Vec<(ObjectReference, Bytes)> {
    let name = format!("shop-{number:04}");
    let labels = json!({"app": name});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [{
        "name": "main", "image": format!("registry.example.org/{name}:1.0"), "ports": [{"name": "http", "containerPort": 8080}],
        "envFrom": [{"configMapRef": {"name": name}}, {"secretRef": {"name": name}}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
    }]}});
    let mut job = pod.clone();
    job["spec"]["restartPolicy"] = "Never".into();
    let selector = json!({"matchLabels": labels});
    let rbac = "rbac.authorization.k8s.io";
    let host = format!("{name}.example.org");
    let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
    let rule = json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let of = |group: &str, kind: &str, plural: &str, body: Value| object(namespace, &name, group, kind, plural, body);
    vec![
        of("", "ConfigMap", "configmaps", json!({"data": {"application.properties": "level=info\n".repeat(40)}})),
        of("", "Secret", "secrets", json!({"type": "Opaque", "stringData": {"password": name}})),
        of("", "ServiceAccount", "serviceaccounts", json!({})),
        of(rbac, "Role", "roles", json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})),
        of(
            rbac,
            "RoleBinding",
            "rolebindings",
            json!({
                "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
            }),
        ),
        of(
            "",
            "Service",
            "services",
            json!({"spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
        ),
        of("apps", "Deployment", "deployments", json!({"spec": {"replicas": 0, "selector": selector, "template": pod}})),
        of("networking.k8s.io", "Ingress", "ingresses", json!({"spec": {"rules": [rule]}})),
        of("networking.k8s.io", "NetworkPolicy", "networkpolicies", json!({"spec": {"podSelector": selector}})),
        of("policy", "PodDisruptionBudget", "poddisruptionbudgets", json!({"spec": {"minAvailable": 1, "selector": selector}})),
        of(
            "batch",
            "CronJob",
            "cronjobs",
            json!({"spec": {"schedule": "0 3 * * *", "suspend": true, "jobTemplate": {"spec": {"template": job}}}}),
        ),
    ]
}

fn object(namespace: &str, name: &str, group: &str, kind: &str, plural: &str, mut body: Value) -> (ObjectReference, Bytes) {
    let kind = ResourceKind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
    };
    body["apiVersion"] = kind.api_version().into();
    body["kind"] = kind.kind.as_str().into();
    body["metadata"] =
        json!({"name": name, "namespace": namespace, "labels": {"app": name, "app.kubernetes.io/part-of": "bench"}});
    let reference = ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
    (reference, Bytes::from(body.to_string()))
}
