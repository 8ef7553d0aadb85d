//! What lives in an environment of the demonstration: about sixty objects, in the order in which they can be created.
//!
//! Controllers are played: the ReplicaSets, Pods and EndpointSlices that a cluster's controllers would make are in the list, with
//! owner references whose `uid` is left empty and filled in when the owner has been created.

use serde_json::{Value, json};

/// The services of the shop, with their replicas.
const SERVICES: [(&str, u32); 5] = [("api", 2), ("web", 2), ("worker", 1), ("search", 1), ("mailer", 1)];

/// Every object of the environment `namespace`, whose workloads run where `scheduling` (a pod specification's fields) says.
/// `host` is the name it answers to.
pub(crate) fn objects(namespace: &str, host: &str, scheduling: &Value) -> Vec<Value> {
    let mut all = configuration(namespace, host);
    all.extend(identities(namespace));
    all.extend(storage(namespace, scheduling));
    for (name, replicas) in SERVICES {
        all.extend(service(namespace, name, replicas, scheduling));
    }
    all.extend(traffic(namespace, host));
    all.extend(work(namespace, scheduling));
    all.push(json!({
        "apiVersion": "shop.example.org/v1", "kind": "Tenant", "metadata": metadata(namespace, "acme", "tenants"),
        "spec": {"plan": "team", "seats": 25, "domains": ["acme.example.org"]}
    }));
    all
}

fn metadata(namespace: &str, name: &str, component: &str) -> Value {
    json!({
        "name": name, "namespace": namespace,
        "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/component": component}
    })
}

fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": "", "controller": true, "blockOwnerDeletion": true}])
}

/// ConfigMaps, Secrets, and SealedSecrets with the Secrets that their controller makes of them.
fn configuration(namespace: &str, host: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for (name, data) in [
        ("shop-settings", json!({"LOG_LEVEL": "info", "PUBLIC_URL": format!("https://{host}"), "FEATURE_CHECKOUT": "on"})),
        ("web-nginx", json!({"nginx.conf": "worker_processes auto;\nevents {}\nhttp { server { listen 8080; root /srv; } }\n"})),
        ("search-synonyms", json!({"synonyms.txt": "trousers, pants\ntrainers, sneakers\n"})),
        ("mail-templates", json!({"welcome.txt": "Welcome, {{ name }}!\n", "invoice.txt": "Your invoice: {{ total }} <€>\n"})),
    ] {
        all.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(namespace, name, "configuration"), "data": data}));
    }
    all.push(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": metadata(namespace, "registry", "configuration"),
        "data": {".dockerconfigjson": "eyJhdXRocyI6e319"}
    }));
    for (name, keys) in [("orders-database", ["username", "password"]), ("mail-relay", ["account", "token"])] {
        let sealed: serde_json::Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), Value::from(format!("AgB{}{key}", "demonstration0".repeat(6))))).collect();
        all.push(json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": metadata(namespace, name, "configuration"),
            "spec": {"encryptedData": sealed, "template": {"metadata": {"name": name, "namespace": namespace}, "type": "Opaque"}}
        }));
        let opened: serde_json::Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), Value::from("ZXhhbXBsZQ=="))).collect();
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata(namespace, name, "configuration"), "data": opened});
        secret["metadata"]["ownerReferences"] = owner("bitnami.com/v1alpha1", "SealedSecret", name);
        all.push(secret);
    }
    all
}

/// ServiceAccounts, Roles and RoleBindings.
fn identities(namespace: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for name in ["shop", "deployer"] {
        all.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(namespace, name, "access")}));
    }
    all.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata(namespace, "deployer", "access"),
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "list", "watch", "patch"]}]
    }));
    all.push(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata(namespace, "deployer", "access"),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}]
    }));
    all
}

fn pod_specification(name: &str, scheduling: &Value) -> Value {
    let mut specification = json!({
        "serviceAccountName": "shop",
        "imagePullSecrets": [{"name": "registry"}],
        "containers": [{
            "name": name, "image": format!("registry.example.org/shop/{name}:1.4.2"),
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "envFrom": [{"configMapRef": {"name": "shop-settings"}}],
            "env": [{"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "orders-database", "key": "password"}}}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
        }]
    });
    for (field, value) in scheduling.as_object().into_iter().flatten() {
        specification[field] = value.clone();
    }
    specification
}

/// A StatefulSet with a claim for each of its Pods.
fn storage(namespace: &str, scheduling: &Value) -> Vec<Value> {
    let selector = json!({"app.kubernetes.io/name": "redis"});
    let mut labelled = metadata(namespace, "redis", "cache");
    labelled["labels"]["app.kubernetes.io/name"] = "redis".into();
    let mut all = vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": labelled, "spec": {"clusterIP": "None", "selector": selector, "ports": [{"name": "redis", "port": 6379}]}}),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": labelled,
            "spec": {
                "serviceName": "redis", "replicas": 2, "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": selector}, "spec": pod_specification("redis", scheduling)},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]
            }
        }),
    ];
    for ordinal in 0..2 {
        all.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("data-redis-{ordinal}"), "namespace": namespace, "labels": selector},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        }));
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("redis-{ordinal}"), "namespace": namespace, "labels": selector},
            "spec": pod_specification("redis", scheduling)
        });
        pod["metadata"]["ownerReferences"] = owner("apps/v1", "StatefulSet", "redis");
        all.push(pod);
    }
    all.push(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata(namespace, "uploads", "storage"),
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}}
    }));
    all
}

/// A Deployment, what it owns, its Service, and its autoscaling.
fn service(namespace: &str, name: &str, replicas: u32, scheduling: &Value) -> Vec<Value> {
    let selector = json!({"app.kubernetes.io/name": name});
    let replica_set = format!("{name}-6d4f9c7b5");
    let mut template_labels = selector.clone();
    template_labels["pod-template-hash"] = "6d4f9c7b5".into();
    let mut all = vec![
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(namespace, name, "service"),
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": selector},
                "template": {"metadata": {"labels": selector}, "spec": pod_specification(name, scheduling)}
            }
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": replica_set, "namespace": namespace, "labels": template_labels, "ownerReferences": owner("apps/v1", "Deployment", name)},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": template_labels},
                "template": {"metadata": {"labels": template_labels}, "spec": pod_specification(name, scheduling)}
            }
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(namespace, name, "service"),
            "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]}
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{name}-x8k2p"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}, "ownerReferences": owner("v1", "Service", name)},
            "endpoints": [{"addresses": ["10.42.0.17"], "conditions": {"ready": true}}], "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]
        }),
    ];
    for replica in 0..replicas {
        all.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{replica_set}-{}", ["q7wz4", "m2xkd"][replica as usize % 2]), "namespace": namespace, "labels": template_labels, "ownerReferences": owner("apps/v1", "ReplicaSet", &replica_set)},
            "spec": pod_specification(name, scheduling)
        }));
    }
    if replicas > 1 {
        all.push(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata(namespace, name, "service"),
            "spec": {"minReplicas": replicas, "maxReplicas": 6, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}
        }));
        all.push(json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(namespace, name, "service"),
            "spec": {"minAvailable": 1, "selector": {"matchLabels": selector}}
        }));
    }
    all
}

/// How requests come in.
fn traffic(namespace: &str, host: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata(namespace, "web", "traffic"),
            "spec": {"tls": [{"hosts": [host], "secretName": "web-tls"}], "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"name": "http"}}}}]}}]}
        }),
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": metadata(namespace, "api", "traffic"),
            "spec": {"entryPoints": ["websecure"], "routes": [{"match": format!("Host(`api.{host}`)"), "kind": "Rule", "middlewares": [{"name": "rate-limit", "namespace": namespace}], "services": [{"name": "api", "namespace": namespace, "port": "http"}]}]}
        }),
        json!({
            "apiVersion": "traefik.io/v1alpha1", "kind": "Middleware", "metadata": metadata(namespace, "rate-limit", "traffic"),
            "spec": {"rateLimit": {"average": 100, "burst": 200}}
        }),
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata(namespace, "internal", "traffic"),
            "spec": {"selfSigned": {}}
        }),
        json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": metadata(namespace, "web", "traffic"),
            "spec": {"secretName": "web-tls", "dnsNames": [host, format!("api.{host}")], "issuerRef": {"name": "internal", "kind": "Issuer"}}
        }),
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(namespace, "redis", "traffic"),
            "spec": {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "redis"}}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "shop"}}}], "ports": [{"port": 6379, "protocol": "TCP"}]}]}
        }),
    ]
}

/// Work that runs by itself.
fn work(namespace: &str, scheduling: &Value) -> Vec<Value> {
    let mut specification = pod_specification("worker", scheduling);
    specification["restartPolicy"] = "OnFailure".into();
    vec![json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata(namespace, "nightly-report", "work"),
        "spec": {"schedule": "15 2 * * *", "timeZone": "Europe/Berlin", "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"template": {"spec": specification}}}}
    })]
}
