//! The values the server fills in where an object says nothing.

use serde_json::{Map, Value, json};

use crate::kind::Kind;

/// Fills in what a new object of a built-in kind leaves open.
pub(crate) fn of_new(object: &mut Value, kind: &Kind) {
    if kind.custom.is_some() {
        return;
    }
    if kind.is("", "secrets") {
        merge_string_data(object);
    }
    fill(object, kind);
}

/// The same for an update; some defaults look at the object as it was.
pub(crate) fn of_update(object: &mut Value, live: &Value, kind: &Kind) {
    if kind.custom.is_some() {
        return;
    }
    if kind.is("", "secrets") {
        merge_string_data(object);
    }
    if kind.is("", "services") {
        // What was allocated stays when the client does not mention it.
        let stays = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"];
        let same_type = object["spec"].get("type").unwrap_or(&json!("ClusterIP")) != "ExternalName";
        for name in stays {
            if same_type
                && object["spec"].get(name).is_none()
                && let (Some(value), Some(spec)) = (live["spec"].get(name), object["spec"].as_object_mut())
            {
                spec.insert(name.to_owned(), value.clone());
            }
        }
    }
    fill(object, kind);
}

/// The status a new object starts with; what the client sent as status is dropped.
pub(crate) fn initial_status(object: &mut Value, kind: &Kind) {
    let Some(map) = object.as_object_mut() else { return };
    if kind.is("", "nodes") || kind.is("", "persistentvolumes") && map.contains_key("status") {
        return;
    }
    map.remove("status");
    let status = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => json!({"phase": "Active"}),
        ("", "pods") => json!({"phase": "Pending", "qosClass": quality_of_service(&map["spec"])}),
        ("", "persistentvolumeclaims" | "persistentvolumes") => json!({"phase": "Pending"}),
        ("", "services") | ("networking.k8s.io", "ingresses") => json!({"loadBalancer": {}}),
        ("apps", "statefulsets" | "replicasets") | ("", "replicationcontrollers") => json!({"replicas": 0}),
        ("apps", "daemonsets") => {
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
        }
        (
            "apps" | "batch" | "" | "apiextensions.k8s.io" | "certificates.k8s.io",
            "deployments" | "jobs" | "cronjobs" | "resourcequotas" | "certificatesigningrequests",
        ) => json!({}),
        ("policy", "poddisruptionbudgets") => {
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
        }
        ("autoscaling", "horizontalpodautoscalers") => json!({"currentMetrics": null, "desiredReplicas": 0}),
        _ => return,
    };
    map.insert("status".to_owned(), status);
}

fn merge_string_data(secret: &mut Value) {
    use base64::Engine as _;
    let Some(map) = secret.as_object_mut() else { return };
    let Some(Value::Object(plain)) = map.remove("stringData") else { return };
    let data = map.entry("data").or_insert_with(|| json!({}));
    for (name, value) in plain {
        if let Some(text) = value.as_str() {
            data[name] = base64::engine::general_purpose::STANDARD.encode(text).into();
        }
    }
}

fn set(map: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    map.entry(name).or_insert_with(|| value.into());
}

fn object_at<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    value.as_object_mut()?.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

fn fill(object: &mut Value, kind: &Kind) {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => {
            if let Some(map) = object.as_object_mut() {
                set(map, "type", "Opaque");
            }
        }
        ("", "namespaces") => {
            let name = object["metadata"]["name"].clone();
            if let Some(labels) = object_at(&mut object["metadata"], "labels") {
                labels.insert("kubernetes.io/metadata.name".to_owned(), name);
            }
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "finalizers", json!(["kubernetes"]));
            }
        }
        ("", "pods") => {
            if let Some(spec) = object.get_mut("spec") {
                pod_spec(spec);
                if let Some(spec) = spec.as_object_mut() {
                    set(spec, "enableServiceLinks", true);
                    set(spec, "preemptionPolicy", "PreemptLowerPriority");
                    set(spec, "priority", 0);
                }
                request_limits(spec);
            }
        }
        ("", "podtemplates") => template(object.pointer_mut("/template")),
        ("", "services") => service(object),
        ("", "persistentvolumeclaims") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "volumeMode", "Filesystem");
            }
        }
        ("", "persistentvolumes") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "volumeMode", "Filesystem");
                set(spec, "persistentVolumeReclaimPolicy", "Retain");
            }
        }
        ("", "replicationcontrollers") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "replicas", 1);
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("apps", "deployments") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "replicas", 1);
                set(spec, "revisionHistoryLimit", 10);
                set(spec, "progressDeadlineSeconds", 600);
                rolling(spec, "strategy", &json!({"maxSurge": "25%", "maxUnavailable": "25%"}));
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("apps", "replicasets") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "replicas", 1);
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("apps", "daemonsets") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "revisionHistoryLimit", 10);
                rolling(spec, "updateStrategy", &json!({"maxSurge": 0, "maxUnavailable": 1}));
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("apps", "statefulsets") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "replicas", 1);
                set(spec, "revisionHistoryLimit", 10);
                set(spec, "podManagementPolicy", "OrderedReady");
                set(spec, "persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"}));
                rolling(spec, "updateStrategy", &json!({"partition": 0}));
                for claim in spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(map) = claim.as_object_mut() {
                        set(map, "apiVersion", "v1");
                        set(map, "kind", "PersistentVolumeClaim");
                        set(map, "status", json!({"phase": "Pending"}));
                    }
                    if let Some(spec) = object_at(claim, "spec") {
                        set(spec, "volumeMode", "Filesystem");
                    }
                }
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("batch", "jobs") => {
            if let Some(spec) = object_at(object, "spec") {
                job(spec);
            }
            template(object.pointer_mut("/spec/template"));
        }
        ("batch", "cronjobs") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "concurrencyPolicy", "Allow");
                set(spec, "suspend", false);
                set(spec, "successfulJobsHistoryLimit", 3);
                set(spec, "failedJobsHistoryLimit", 1);
            }
            if let Some(template) = object.pointer_mut("/spec/jobTemplate") {
                object_at(template, "metadata");
            }
            template(object.pointer_mut("/spec/jobTemplate/spec/template"));
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            if let Some(role) = object_at(object, "roleRef") {
                set(role, "apiGroup", "rbac.authorization.k8s.io");
            }
            for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                let group = if subject["kind"] == "ServiceAccount" { "" } else { "rbac.authorization.k8s.io" };
                if let Some(subject) = subject.as_object_mut()
                    && !group.is_empty()
                {
                    set(subject, "apiGroup", group);
                }
            }
        }
        ("networking.k8s.io", "networkpolicies") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "podSelector", json!({}));
                let mut types = vec!["Ingress"];
                if spec.get("egress").is_some() {
                    types.push("Egress");
                }
                set(spec, "policyTypes", json!(types));
                for direction in ["ingress", "egress"] {
                    for rule in spec.get_mut(direction).and_then(Value::as_array_mut).into_iter().flatten() {
                        for port in rule.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                            if let Some(port) = port.as_object_mut() {
                                set(port, "protocol", "TCP");
                            }
                        }
                    }
                }
            }
        }
        ("storage.k8s.io", "storageclasses") => {
            if let Some(map) = object.as_object_mut() {
                set(map, "reclaimPolicy", "Delete");
                set(map, "volumeBindingMode", "Immediate");
            }
        }
        ("autoscaling", "horizontalpodautoscalers") => {
            if let Some(spec) = object_at(object, "spec") {
                set(spec, "minReplicas", 1);
            }
        }
        ("", "limitranges") => limit_range(object),
        ("scheduling.k8s.io", "priorityclasses") => {
            if let Some(map) = object.as_object_mut() {
                set(map, "preemptionPolicy", "PreemptLowerPriority");
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition(object),
        _ => {}
    }
}

fn rolling(spec: &mut Map<String, Value>, name: &str, parameters: &Value) {
    let strategy = spec.entry(name).or_insert_with(|| json!({}));
    let Some(strategy) = strategy.as_object_mut() else { return };
    set(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
        if let (Some(rolling), Some(parameters)) = (rolling.as_object_mut(), parameters.as_object()) {
            for (name, value) in parameters {
                set(rolling, name, value.clone());
            }
        }
    }
}

fn job(spec: &mut Map<String, Value>) {
    set(spec, "backoffLimit", 6);
    set(spec, "completionMode", "NonIndexed");
    if spec.get("parallelism").is_none() && spec.get("completions").is_none() {
        set(spec, "completions", 1);
    }
    set(spec, "parallelism", 1);
    set(spec, "suspend", false);
    set(spec, "podReplacementPolicy", "TerminatingOrFailed");
}

fn template(template: Option<&mut Value>) {
    let Some(map) = template.and_then(Value::as_object_mut) else { return };
    set(map, "metadata", json!({}));
    if let Some(spec) = map.get_mut("spec") {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Value) {
    let Some(map) = spec.as_object_mut() else { return };
    set(map, "restartPolicy", "Always");
    set(map, "terminationGracePeriodSeconds", 30);
    set(map, "dnsPolicy", "ClusterFirst");
    set(map, "schedulerName", "default-scheduler");
    set(map, "securityContext", json!({}));
    if let Some(account) = map.get("serviceAccountName").cloned() {
        map.insert("serviceAccount".to_owned(), account);
    } else if let Some(account) = map.get("serviceAccount").cloned() {
        map.insert("serviceAccountName".to_owned(), account);
    }
    for list in ["containers", "initContainers"] {
        for container in map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { continue };
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let last = image.rsplit('/').next().unwrap_or_default();
            let latest = !image.contains('@') && (last.ends_with(":latest") || !last.contains(':'));
            set(container, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
            set(container, "terminationMessagePath", "/dev/termination-log");
            set(container, "terminationMessagePolicy", "File");
            set(container, "resources", json!({}));
            for port in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(port) = port.as_object_mut() {
                    set(port, "protocol", "TCP");
                }
            }
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) else { continue };
                set(probe, "failureThreshold", 3);
                set(probe, "periodSeconds", 10);
                set(probe, "successThreshold", 1);
                set(probe, "timeoutSeconds", 1);
                if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                    set(get, "path", "/");
                    set(get, "scheme", "HTTP");
                }
            }
            for variable in container.get_mut("env").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef").and_then(Value::as_object_mut) {
                    set(field, "apiVersion", "v1");
                }
            }
        }
    }
    for volume in map.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                set(source, "defaultMode", 420);
            }
        }
    }
}

/// What a container of a Pod may take at most is what it requests, when it requests nothing.
fn request_limits(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
            for (name, limit) in limits {
                if container["resources"]["requests"].get(&name).is_none() {
                    container["resources"]["requests"][name] = limit;
                }
            }
        }
    }
}

fn quality_of_service(spec: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
            for name in ["cpu", "memory"] {
                any |= !requests[name].is_null() || !limits[name].is_null();
                all &= !limits[name].is_null() && requests[name] == limits[name];
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn service(object: &mut Value) {
    let Some(spec) = object_at(object, "spec") else { return };
    set(spec, "type", "ClusterIP");
    set(spec, "sessionAffinity", "None");
    let external_name = spec["type"] == "ExternalName";
    if !external_name {
        set(spec, "internalTrafficPolicy", "Cluster");
        if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
            set(spec, "externalTrafficPolicy", "Cluster");
        }
        if spec["type"] == "LoadBalancer" {
            set(spec, "allocateLoadBalancerNodePorts", true);
        }
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(port) = port.as_object_mut() else { continue };
        set(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    }
}

fn limit_range(object: &mut Value) {
    for limit in object.pointer_mut("/spec/limits").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(limit) = limit.as_object_mut() else { continue };
        if limit.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(Value::Object(source)) = limit.get(from).cloned() else { continue };
            let target = limit.entry(to).or_insert_with(|| json!({}));
            if let Some(target) = target.as_object_mut() {
                for (name, value) in source {
                    set(target, &name, value);
                }
            }
        }
    }
}

fn definition(object: &mut Value) {
    let Some(spec) = object_at(object, "spec") else { return };
    set(spec, "conversion", json!({"strategy": "None"}));
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        set(names, "singular", kind.to_lowercase());
        set(names, "listKind", format!("{kind}List"));
    }
}
