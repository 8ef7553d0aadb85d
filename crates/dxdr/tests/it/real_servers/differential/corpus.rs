//! Namespaces with what people keep in them, made from a number: the same number makes the same objects.

use serde_json::{Map, Value, json};

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut state = self.0;
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ (state >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}

/// A pod that has succeeded, once somebody says so in its status.
pub(super) const ENDED_POD: &str = "ended";

/// What the corpus needs of the cluster it is made in.
pub(super) struct Surroundings<'a> {
    /// A class whose volumes are made at once.
    pub(super) storage_class: &'a str,
    /// A class whose volumes are made for a pod, so never.
    pub(super) waiting_storage_class: &'a str,
    /// A class of snapshots of the former's volumes.
    pub(super) snapshot_class: &'a str,
}

/// A namespace and its objects, in the order in which they can be created. A `uid` of `""` in an owner reference stands for that of
/// the object of that kind and name.
pub(super) fn objects<'a>(seed: u64, namespace: &'a str, surroundings: &Surroundings<'_>) -> Vec<Value> {
    let mut corpus = Corpus { dice: Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)), namespace, objects: Vec::new() };
    corpus.namespace();
    let makers: [fn(&mut Corpus<'a>); 27] = [
        Corpus::config_maps,
        Corpus::secrets,
        Corpus::token,
        Corpus::accounts,
        Corpus::deployment,
        Corpus::stateful_set,
        Corpus::daemon_set,
        Corpus::bare_replica_set,
        Corpus::replication_controller,
        Corpus::jobs,
        Corpus::cron_job,
        Corpus::pods,
        Corpus::services,
        Corpus::endpoints,
        Corpus::ingress,
        Corpus::network_policies,
        Corpus::limits,
        Corpus::autoscaler,
        Corpus::disruption_budget,
        Corpus::custom,
        Corpus::of_operators,
        Corpus::owned,
        Corpus::finalized,
        Corpus::excluded,
        Corpus::rarities,
        Corpus::over,
        Corpus::cluster_scoped,
    ];
    for make in makers {
        if corpus.dice.chance(55) {
            make(&mut corpus);
        }
    }
    corpus.claims(surroundings);
    // Behind all others, so that these stay what they were.
    for make in [Corpus::retained, Corpus::read_by_velero, Corpus::hooked] {
        if corpus.dice.chance(30) {
            make(&mut corpus);
        }
    }
    if corpus.dice.chance(15) {
        corpus.snapshot(surroundings);
    }
    corpus.objects
}

struct Corpus<'a> {
    dice: Dice,
    namespace: &'a str,
    objects: Vec<Value>,
}

impl Corpus<'_> {
    fn namespace(&mut self) {
        let mut labels = json!({"team": self.dice.of(&["shop", "billing", "platform"])});
        if self.dice.chance(30) {
            labels["pod-security.kubernetes.io/warn"] = self.dice.of(&["baseline", "restricted"]).into();
        }
        let annotations = if self.dice.chance(50) { json!({"example.org/owner": "someone@example.org"}) } else { json!({}) };
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels, "annotations": annotations}
        }));
    }

    fn metadata(&mut self, name: &str) -> Value {
        let mut metadata = json!({"name": name, "namespace": self.namespace, "labels": {"app.kubernetes.io/name": name}});
        if self.dice.chance(25) {
            metadata["annotations"] = json!({
                "example.org/note": "quotes \" and <tags> & ünïcödé",
                "argocd.argoproj.io/tracking-id": format!("shop:{name}")
            });
        }
        if self.dice.chance(15) {
            metadata["labels"]["example.org/long"] = "x".repeat(63).into();
        }
        metadata
    }

    fn add(&mut self, api_version: &str, kind: &str, name: &str, body: Value) {
        let metadata = self.metadata(name);
        self.add_with(api_version, kind, metadata, body);
    }

    fn add_with(&mut self, api_version: &str, kind: &str, metadata: Value, body: Value) {
        let mut object = Map::from_iter([
            ("apiVersion".to_owned(), api_version.into()),
            ("kind".to_owned(), kind.into()),
            ("metadata".to_owned(), metadata),
        ]);
        if let Value::Object(body) = body {
            object.extend(body);
        }
        self.objects.push(Value::Object(object));
    }

    fn pod(&mut self, name: &str) -> Value {
        let mut container = json!({
            "name": "main", "image": format!("registry.example.org/{name}:1.{}", self.dice.below(9)),
            "env": [{"name": "MODE", "value": self.dice.of(&["fast", "safe"])}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}
        });
        if self.dice.chance(40) {
            container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
            container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": "http"}});
        }
        if self.dice.chance(30) {
            container["envFrom"] = json!([{"configMapRef": {"name": "settings", "optional": true}}]);
        }
        let mut spec = json!({"containers": [container]});
        if self.dice.chance(30) {
            spec["initContainers"] = json!([{"name": "prepare", "image": "registry.example.org/prepare:1"}]);
        }
        if self.dice.chance(30) {
            spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings", "optional": true}}]);
            spec["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
        }
        if self.dice.chance(25) {
            spec["tolerations"] =
                json!([{"key": "dx/environment", "operator": "Equal", "value": "staging", "effect": "NoSchedule"}]);
            spec["nodeSelector"] = json!({"dx/pool": "staging"});
        }
        if self.dice.chance(20) {
            spec["priorityClassName"] = "system-cluster-critical".into();
        }
        if self.dice.chance(20) {
            spec["serviceAccountName"] = "default".into();
            spec["automountServiceAccountToken"] = false.into();
        }
        json!({"metadata": {"labels": {"app": name}}, "spec": spec})
    }

    fn config_maps(&mut self) {
        self.add("v1", "ConfigMap", "settings", json!({"data": {"a": "1", "html": "<b>&amp;</b>", "lines": "one\ntwo\n"}}));
        if self.dice.chance(50) {
            let body = json!({"immutable": true, "data": {"fixed": "yes"}, "binaryData": {"blob": "AAECAwQ="}});
            self.add("v1", "ConfigMap", "fixed", body);
        }
        if self.dice.chance(20) {
            self.add("v1", "ConfigMap", "large", json!({"data": {"text": "0123456789abcdef".repeat(4_000)}}));
        }
        if self.dice.chance(20) {
            self.add("v1", "ConfigMap", "empty.with.dots", json!({}));
        }
    }

    fn secrets(&mut self) {
        self.add("v1", "Secret", "password", json!({"type": "Opaque", "data": {"password": "c2VjcmV0"}}));
        if self.dice.chance(40) {
            let body = json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eyJhdXRocyI6e319"}});
            self.add("v1", "Secret", "registry", body);
        }
        if self.dice.chance(40) {
            self.add("v1", "Secret", "fixed", json!({"type": "Opaque", "immutable": true, "data": {"a": "MQ=="}}));
        }
        if self.dice.chance(30) {
            let body = json!({"type": "helm.sh/release.v1", "data": {"release": "SDRzSUFBQUE="}});
            self.add("v1", "Secret", "sh.helm.release.v1.shop.v3", body);
        }
    }

    fn token(&mut self) {
        self.add("v1", "ServiceAccount", "robot", json!({}));
        let mut metadata = self.metadata("robot-token");
        metadata["annotations"] = json!({"kubernetes.io/service-account.name": "robot"});
        self.add_with("v1", "Secret", metadata, json!({"type": "kubernetes.io/service-account-token"}));
    }

    fn accounts(&mut self) {
        let mut body = json!({"imagePullSecrets": [{"name": "registry"}]});
        if self.dice.chance(50) {
            body["automountServiceAccountToken"] = false.into();
        }
        self.add("v1", "ServiceAccount", "deployer", body);
        let rules = json!([{"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get", "list", "watch"]}]);
        self.add("rbac.authorization.k8s.io/v1", "Role", "reader", json!({"rules": rules}));
        let (group, subject) =
            ("rbac.authorization.k8s.io", json!({"kind": "ServiceAccount", "name": "deployer", "namespace": self.namespace}));
        let role = json!({"apiGroup": group, "kind": "Role", "name": "reader"});
        self.add(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "deployer-reads",
            json!({"roleRef": role, "subjects": [subject]}),
        );
        if self.dice.chance(60) {
            let role = json!({"apiGroup": group, "kind": "ClusterRole", "name": "view"});
            let people = json!([{"apiGroup": group, "kind": "Group", "name": "developers"}, subject]);
            self.add(
                "rbac.authorization.k8s.io/v1",
                "RoleBinding",
                "developers-view",
                json!({"roleRef": role, "subjects": people}),
            );
        }
    }

    fn deployment(&mut self) {
        let (template, replicas) = (self.pod("web"), self.dice.below(3));
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template});
        self.add("apps/v1", "Deployment", "web", json!({"spec": spec}));
    }

    fn stateful_set(&mut self) {
        let (template, replicas) = (self.pod("database"), self.dice.below(2));
        let headless =
            json!({"spec": {"clusterIP": "None", "selector": {"app": "database"}, "ports": [{"name": "sql", "port": 5432}]}});
        self.add("v1", "Service", "database", headless);
        let spec = json!({"serviceName": "database", "replicas": replicas, "selector": {"matchLabels": {"app": "database"}}, "template": template});
        self.add("apps/v1", "StatefulSet", "database", json!({"spec": spec}));
    }

    fn daemon_set(&mut self) {
        let template = self.pod("agent");
        self.add(
            "apps/v1",
            "DaemonSet",
            "agent",
            json!({"spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template}}),
        );
    }

    fn bare_replica_set(&mut self) {
        let (template, replicas) = (self.pod("alone"), self.dice.below(2));
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": "alone"}}, "template": template});
        self.add("apps/v1", "ReplicaSet", "alone", json!({"spec": spec}));
    }

    fn replication_controller(&mut self) {
        let (template, replicas) = (self.pod("legacy"), self.dice.below(2));
        self.add(
            "v1",
            "ReplicationController",
            "legacy",
            json!({"spec": {"replicas": replicas, "selector": {"app": "legacy"}, "template": template}}),
        );
    }

    fn job_template(&mut self, name: &str) -> Value {
        let mut template = self.pod(name);
        template["spec"]["restartPolicy"] = "Never".into();
        template
    }

    fn jobs(&mut self) {
        let template = self.job_template("migrate");
        let suspended = self.dice.chance(50);
        self.add("batch/v1", "Job", "migrate", json!({"spec": {"suspend": suspended, "backoffLimit": 2, "template": template}}));
        if self.dice.chance(30) {
            let mut template = self.job_template("import");
            template["metadata"]["labels"] = json!({"job": "import"});
            let spec = json!({"suspend": true, "manualSelector": true, "selector": {"matchLabels": {"job": "import"}}, "template": template});
            self.add("batch/v1", "Job", "import", json!({"spec": spec}));
        }
    }

    fn cron_job(&mut self) {
        let template = self.job_template("nightly");
        let suspend = self.dice.chance(50);
        let spec = json!({"schedule": "0 3 1 1 *", "timeZone": "Europe/Berlin", "suspend": suspend, "jobTemplate": {"spec": {"template": template}}});
        self.add("batch/v1", "CronJob", "nightly", json!({"spec": spec}));
    }

    fn pods(&mut self) {
        let mut pod = self.pod("shell");
        pod["metadata"] = json!({});
        let spec = pod["spec"].take();
        self.add("v1", "Pod", "shell", json!({"spec": spec}));
        let template = self.pod("template");
        self.add("v1", "PodTemplate", "template", json!({"template": template}));
    }

    fn services(&mut self) {
        self.add(
            "v1",
            "Service",
            "web",
            json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
        );
        let kind = self.dice.of(&["NodePort", "LoadBalancer"]);
        let spec =
            json!({"type": kind, "selector": {"app": "web"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 443}]});
        self.add("v1", "Service", "public", json!({"spec": spec}));
        if self.dice.chance(40) {
            let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": {"app": "web"}, "ports": [{"port": 80}]});
            self.add("v1", "Service", "local", json!({"spec": spec}));
        }
        if self.dice.chance(40) {
            self.add("v1", "Service", "outside", json!({"spec": {"type": "ExternalName", "externalName": "db.example.org"}}));
        }
    }

    fn endpoints(&mut self) {
        self.add("v1", "Service", "legacy-database", json!({"spec": {"ports": [{"port": 5432}]}}));
        let subsets = json!([{"addresses": [{"ip": "192.0.2.10"}], "ports": [{"port": 5432}]}]);
        self.add("v1", "Endpoints", "legacy-database", json!({"subsets": subsets}));
        if self.dice.chance(40) {
            self.add("v1", "Service", "sliced", json!({"spec": {"ports": [{"name": "sql", "port": 5432}]}}));
            let mut metadata = self.metadata("sliced-by-hand");
            metadata["labels"]["kubernetes.io/service-name"] = "sliced".into();
            let body = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.11"]}], "ports": [{"name": "sql", "port": 5432}]});
            self.add_with("discovery.k8s.io/v1", "EndpointSlice", metadata, body);
        }
    }

    fn ingress(&mut self) {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let host = format!("{}.example.org", self.namespace);
        let spec = json!({
            "ingressClassName": "nginx", "tls": [{"hosts": [host], "secretName": "web-tls"}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
        });
        self.add("networking.k8s.io/v1", "Ingress", "web", json!({"spec": spec}));
    }

    fn network_policies(&mut self) {
        self.add(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "nothing",
            json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}),
        );
        let from = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}]);
        let spec =
            json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": from, "ports": [{"port": 8080}]}]});
        self.add("networking.k8s.io/v1", "NetworkPolicy", "web", json!({"spec": spec}));
    }

    fn limits(&mut self) {
        let limit = json!({"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"}, "defaultRequest": {"cpu": "0.1", "memory": "128Mi"}});
        self.add("v1", "LimitRange", "limits", json!({"spec": {"limits": [limit]}}));
        self.add("v1", "ResourceQuota", "quota", json!({"spec": {"hard": {"count/configmaps": "500", "pods": "100"}}}));
    }

    fn autoscaler(&mut self) {
        let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "absent"});
        let metric =
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}});
        let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5, "metrics": [metric]});
        self.add("autoscaling/v2", "HorizontalPodAutoscaler", "web", json!({"spec": spec}));
    }

    fn disruption_budget(&mut self) {
        let bound = if self.dice.chance(50) { json!({"minAvailable": 1}) } else { json!({"maxUnavailable": "25%"}) };
        let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}});
        for (key, value) in bound.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.add("policy/v1", "PodDisruptionBudget", "web", json!({"spec": spec}));
    }

    fn custom(&mut self) {
        let spec = json!({"plan": self.dice.of(&["free", "team", "enterprise"]), "domains": ["a.example.org"]});
        self.add("shop.example.org/v1", "Tenant", "acme", json!({"spec": spec, "status": {"phase": "Ready"}}));
        if self.dice.chance(60) {
            let spec = json!({"encryptedData": {"password": "AgB0"}, "template": {"metadata": {"name": "sealed"}}});
            self.add("bitnami.com/v1alpha1", "SealedSecret", "sealed", json!({"spec": spec}));
            if self.dice.chance(60) {
                let mut metadata = self.metadata("sealed");
                metadata["ownerReferences"] = json!([{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "name": "sealed", "uid": "", "controller": true}]);
                self.add_with("v1", "Secret", metadata, json!({"type": "Opaque", "data": {"password": "c2VjcmV0"}}));
            }
        }
    }

    /// Of operators that are not there: what they would make is the corpus' to make.
    fn of_operators(&mut self) {
        let host = format!("{}.example.org", self.namespace);
        self.add(
            "cert-manager.io/v1",
            "Issuer",
            "letsencrypt",
            json!({"spec": {"acme": {"server": "https://acme.example.org/directory"}}}),
        );
        let issuer = json!({"name": "letsencrypt", "kind": "Issuer"});
        let spec = json!({"secretName": "web-tls", "dnsNames": [host], "issuerRef": issuer});
        self.add("cert-manager.io/v1", "Certificate", "web", json!({"spec": spec}));
        let mut metadata = self.metadata("web-tls");
        metadata["annotations"] =
            json!({"cert-manager.io/certificate-name": "web", "cert-manager.io/issuer-name": "letsencrypt"});
        let data = json!({"tls.crt": "Y2VydGlmaWNhdGU=", "tls.key": "a2V5"});
        self.add_with("v1", "Secret", metadata, json!({"type": "kubernetes.io/tls", "data": data}));
        if self.dice.chance(60) {
            self.add("traefik.io/v1alpha1", "Middleware", "rate-limit", json!({"spec": {"rateLimit": {"average": 100}}}));
            let route = json!({"kind": "Rule", "match": format!("Host(`{host}`)"), "services": [{"name": "web", "port": 80}], "middlewares": [{"name": "rate-limit"}]});
            self.add(
                "traefik.io/v1alpha1",
                "IngressRoute",
                "web",
                json!({"spec": {"entryPoints": ["websecure"], "routes": [route]}}),
            );
        }
    }

    fn owned(&mut self) {
        self.add("v1", "ConfigMap", "owner", json!({}));
        let mut metadata = self.metadata("owned");
        metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": ""}]);
        if self.dice.chance(50) {
            metadata["ownerReferences"][0]["controller"] = true.into();
            metadata["ownerReferences"][0]["blockOwnerDeletion"] = true.into();
        }
        self.add_with("v1", "ConfigMap", metadata, json!({"data": {"a": "1"}}));
    }

    fn finalized(&mut self) {
        let mut metadata = self.metadata("held");
        metadata["finalizers"] = json!(["example.org/hold"]);
        self.add_with("v1", "ConfigMap", metadata, json!({"data": {"a": "1"}}));
    }

    fn excluded(&mut self) {
        let mut metadata = self.metadata("left-out");
        metadata["labels"]["velero.io/exclude-from-backup"] = "true".into();
        self.add_with("v1", "ConfigMap", metadata, json!({"data": {"a": "1"}}));
        let mut metadata = self.metadata("not-left-out");
        metadata["labels"]["velero.io/exclude-from-backup"] = "false".into();
        self.add_with("v1", "Secret", metadata, json!({"type": "Opaque"}));
    }

    fn rarities(&mut self) {
        let spec = json!({"holderIdentity": "someone", "leaseDurationSeconds": 15});
        self.add("coordination.k8s.io/v1", "Lease", "leader", json!({"spec": spec}));
        let data = json!({"revision": 1, "data": {"spec": {"replicas": 1}}});
        self.add("apps/v1", "ControllerRevision", "by-hand", data);
        let involved = json!({"kind": "ConfigMap", "name": "settings", "namespace": self.namespace});
        self.add(
            "v1",
            "Event",
            "something.happened",
            json!({"involvedObject": involved, "reason": "Test", "message": "it happened", "type": "Normal"}),
        );
        let request =
            json!({"spec": {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.org"}}]}}});
        self.add("resource.k8s.io/v1", "ResourceClaimTemplate", "gpu", json!({"spec": request}));
    }

    /// What has come to its end. A Job of no pods does so at once; the pod is ended by [`ENDED_POD`]'s status.
    fn over(&mut self) {
        let template = self.job_template("nothing-to-do");
        self.add("batch/v1", "Job", "nothing-to-do", json!({"spec": {"completions": 0, "template": template}}));
        let mut pod = self.pod(ENDED_POD);
        let spec = pod["spec"].take();
        self.add("v1", "Pod", ENDED_POD, json!({"spec": spec}));
    }

    /// What is not in the namespace, and needed there.
    fn cluster_scoped(&mut self) {
        let named = |metadata: &str, namespace: &str| json!({"name": format!("{namespace}-{metadata}")});
        let class = named("urgent", self.namespace);
        let body = json!({"value": 1000, "globalDefault": false, "description": "of a test"});
        self.add_with("scheduling.k8s.io/v1", "PriorityClass", class.clone(), body);
        let mut pod = self.pod("urgent");
        let mut spec = pod["spec"].take();
        spec["priorityClassName"] = class["name"].clone();
        self.add("v1", "Pod", "urgent", json!({"spec": spec}));
        self.add("v1", "ServiceAccount", "watcher", json!({}));
        let role = named("watcher", self.namespace);
        let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
        self.add_with("rbac.authorization.k8s.io/v1", "ClusterRole", role.clone(), json!({"rules": rules}));
        let body = json!({
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": "watcher", "namespace": self.namespace}]
        });
        self.add_with("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", role, body);
    }

    /// A volume that somebody made by hand, and that outlives its claim.
    fn retained(&mut self) {
        let name = format!("{}-by-hand", self.namespace);
        let (modes, storage) = (json!(["ReadWriteMany"]), json!({"storage": "1Mi"}));
        let spec = json!({
            "capacity": storage, "accessModes": modes, "nfs": {"server": "192.0.2.20", "path": "/exports"}, "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": self.namespace, "name": "by-hand"}
        });
        self.add_with("v1", "PersistentVolume", json!({"name": name}), json!({"spec": spec}));
        let spec = json!({
            "storageClassName": "", "volumeName": name, "accessModes": modes, "resources": {"requests": storage}
        });
        self.add("v1", "PersistentVolumeClaim", "by-hand", json!({"spec": spec}));
    }

    /// A snapshot that somebody took, of nobody's backup.
    fn snapshot(&mut self, surroundings: &Surroundings<'_>) {
        let spec = json!({
            "storageClassName": surroundings.storage_class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}}
        });
        self.add("v1", "PersistentVolumeClaim", "copied", json!({"spec": spec}));
        let spec = json!({
            "volumeSnapshotClassName": surroundings.snapshot_class, "source": {"persistentVolumeClaimName": "copied"}
        });
        self.add("snapshot.storage.k8s.io/v1", "VolumeSnapshot", "before-upgrade", json!({"spec": spec}));
    }

    /// ConfigMaps that mean something to Velero, in its own namespace only.
    fn read_by_velero(&mut self) {
        let mut metadata = self.metadata("change-storage-class");
        metadata["labels"]["velero.io/plugin-config"] = "".into();
        metadata["labels"]["velero.io/change-storage-class"] = "RestoreItemAction".into();
        self.add_with("v1", "ConfigMap", metadata, json!({"data": {"old": "new"}}));
    }

    /// A pod that asks Velero for something when it is restored.
    fn hooked(&mut self) {
        let mut pod = self.pod("hooked");
        let mut metadata = self.metadata("hooked");
        metadata["annotations"] = json!({
            "init.hook.restore.velero.io/container-image": "registry.example.org/prepare:1",
            "init.hook.restore.velero.io/container-name": "restore-hook",
            "init.hook.restore.velero.io/command": "[\"/prepare\"]"
        });
        let spec = pod["spec"].take();
        self.add_with("v1", "Pod", metadata, json!({"spec": spec}));
    }

    fn claims(&mut self, surroundings: &Surroundings<'_>) {
        let requests = json!({"requests": {"storage": "1Mi"}});
        if self.dice.chance(15) {
            let spec =
                json!({"storageClassName": surroundings.storage_class, "accessModes": ["ReadWriteOnce"], "resources": requests});
            self.add("v1", "PersistentVolumeClaim", "data", json!({"spec": spec}));
        }
        if self.dice.chance(15) {
            let spec = json!({"storageClassName": surroundings.waiting_storage_class, "accessModes": ["ReadWriteOnce"], "resources": requests});
            self.add("v1", "PersistentVolumeClaim", "later", json!({"spec": spec}));
        }
    }
}

#[test]
fn a_number_makes_the_same_objects_every_time() {
    let surroundings = Surroundings { storage_class: "fast", waiting_storage_class: "later", snapshot_class: "copies" };
    let made = |seed| objects(seed, "staging", &surroundings);
    assert_eq!(made(7), made(7));
    let kinds = |seed| made(seed).iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all: std::collections::BTreeSet<String> = (0..200).flat_map(kinds).collect();
    assert!(all.len() >= 38, "{all:?}");
}
