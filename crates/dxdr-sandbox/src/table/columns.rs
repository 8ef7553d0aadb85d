//! The columns of the built-in kinds, as the real server has them.

use jiff::Timestamp;
use serde_json::Value;

use super::age as age_of;
use crate::kind::Kind;
use crate::world::text;

pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) of_type: &'static str,
    /// Only in wide output.
    pub(super) wide: bool,
    pub(super) cell: fn(&Value, Timestamp) -> Value,
}

const fn column(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { name, of_type: "string", wide: false, cell }
}

const fn number_column(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { name, of_type: "integer", wide: false, cell }
}

const fn wide(name: &'static str, cell: fn(&Value, Timestamp) -> Value) -> Column {
    Column { name, of_type: "string", wide: true, cell }
}

const NAME: Column = column("Name", |object, _| object["metadata"]["name"].clone());
const AGE: Column = column("Age", |object, now| age_of(&object["metadata"]["creationTimestamp"], now));
const CREATED_AT: Column = Column {
    name: "Created At",
    of_type: "date",
    wide: false,
    cell: |object, _| object["metadata"]["creationTimestamp"].clone(),
};

const TEMPLATE_CONTAINERS: Column = wide("Containers", |object, _| containers(&object["spec"]["template"]["spec"], "name"));
const TEMPLATE_IMAGES: Column = wide("Images", |object, _| containers(&object["spec"]["template"]["spec"], "image"));
const LABEL_SELECTOR: Column = wide("Selector", |object, _| selector(&object["spec"]["selector"]["matchLabels"]));

pub(super) fn of(kind: &Kind) -> Vec<Column> {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => vec![
            NAME,
            column("Ready", pod_ready),
            column("Status", pod_status),
            column("Restarts", pod_restarts),
            AGE,
            wide("IP", |pod, _| or_none(text(pod["status"].get("podIP")))),
            wide("Node", |pod, _| or_none(text(pod["spec"].get("nodeName")))),
            wide("Nominated Node", |pod, _| or_none(text(pod["status"].get("nominatedNodeName")))),
            wide("Readiness Gates", |_, _| "<none>".into()),
        ],
        ("apps", "deployments") => vec![
            NAME,
            column("Ready", |d, _| {
                format!("{}/{}", number(&d["status"]["readyReplicas"]), number(&d["spec"]["replicas"])).into()
            }),
            column("Up-to-date", |d, _| number(&d["status"]["updatedReplicas"]).into()),
            column("Available", |d, _| number(&d["status"]["availableReplicas"]).into()),
            AGE,
            TEMPLATE_CONTAINERS,
            TEMPLATE_IMAGES,
            LABEL_SELECTOR,
        ],
        ("apps", "replicasets") | ("", "replicationcontrollers") => vec![
            NAME,
            number_column("Desired", |r, _| number(&r["spec"]["replicas"]).into()),
            number_column("Current", |r, _| number(&r["status"]["replicas"]).into()),
            number_column("Ready", |r, _| number(&r["status"]["readyReplicas"]).into()),
            AGE,
            TEMPLATE_CONTAINERS,
            TEMPLATE_IMAGES,
            LABEL_SELECTOR,
        ],
        ("apps", "statefulsets") => vec![
            NAME,
            column("Ready", |s, _| {
                format!("{}/{}", number(&s["status"]["readyReplicas"]), number(&s["spec"]["replicas"])).into()
            }),
            AGE,
            TEMPLATE_CONTAINERS,
            TEMPLATE_IMAGES,
        ],
        ("apps", "daemonsets") => vec![
            NAME,
            number_column("Desired", |d, _| number(&d["status"]["desiredNumberScheduled"]).into()),
            number_column("Current", |d, _| number(&d["status"]["currentNumberScheduled"]).into()),
            number_column("Ready", |d, _| number(&d["status"]["numberReady"]).into()),
            number_column("Up-to-date", |d, _| number(&d["status"]["updatedNumberScheduled"]).into()),
            number_column("Available", |d, _| number(&d["status"]["numberAvailable"]).into()),
            column("Node Selector", |d, _| selector(&d["spec"]["template"]["spec"]["nodeSelector"])),
            AGE,
            TEMPLATE_CONTAINERS,
            TEMPLATE_IMAGES,
            LABEL_SELECTOR,
        ],
        ("apps", "controllerrevisions") => vec![
            NAME,
            column("Controller", |revision, _| {
                let owners = revision["metadata"]["ownerReferences"].as_array();
                let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
                let Some(owner) = owner else { return "<none>".into() };
                let group =
                    text(owner.get("apiVersion")).split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
                format!("{}{group}/{}", text(owner.get("kind")).to_lowercase(), text(owner.get("name"))).into()
            }),
            number_column("Revision", |revision, _| number(&revision["revision"]).into()),
            AGE,
        ],
        ("batch", "jobs") => vec![
            NAME,
            column("Status", job_status),
            column("Completions", |job, _| {
                format!("{}/{}", number(&job["status"]["succeeded"]), job["spec"]["completions"].as_i64().unwrap_or(1)).into()
            }),
            column("Duration", |job, now| match (&job["status"]["startTime"], &job["status"]["completionTime"]) {
                (Value::Null, _) => "".into(),
                (start, Value::Null) => age_of(start, now),
                (start, end) => age_of(start, text(Some(end)).parse().unwrap_or(now)),
            }),
            AGE,
            TEMPLATE_CONTAINERS,
            TEMPLATE_IMAGES,
            LABEL_SELECTOR,
        ],
        ("batch", "cronjobs") => vec![
            NAME,
            column("Schedule", |c, _| c["spec"]["schedule"].clone()),
            column("Timezone", |c, _| or_none(text(c["spec"].get("timeZone")))),
            column("Suspend", |c, _| (if c["spec"]["suspend"] == true { "True" } else { "False" }).into()),
            number_column("Active", |c, _| count(&c["status"]["active"]).into()),
            column("Last Schedule", |c, now| match &c["status"]["lastScheduleTime"] {
                Value::Null => "<none>".into(),
                time => age_of(time, now),
            }),
            AGE,
            wide("Containers", |c, _| containers(&c["spec"]["jobTemplate"]["spec"]["template"]["spec"], "name")),
            wide("Images", |c, _| containers(&c["spec"]["jobTemplate"]["spec"]["template"]["spec"], "image")),
            wide("Selector", |c, _| selector(&c["spec"]["jobTemplate"]["spec"]["selector"]["matchLabels"])),
        ],
        ("", "services") => vec![
            NAME,
            column("Type", |s, _| s["spec"]["type"].clone()),
            column("Cluster-IP", |s, _| or_none(text(s["spec"].get("clusterIP")))),
            column("External-IP", |s, _| match s["spec"]["type"].as_str() {
                Some("ExternalName") => s["spec"]["externalName"].clone(),
                Some("LoadBalancer") => {
                    let address = text(s["status"]["loadBalancer"]["ingress"][0].get("ip"));
                    if address.is_empty() { "<pending>".into() } else { address.into() }
                }
                _ => or_none(words(&s["spec"]["externalIPs"]).join(",")),
            }),
            column("Port(s)", service_ports),
            AGE,
            wide("Selector", |s, _| selector(&s["spec"]["selector"])),
        ],
        ("", "namespaces") => vec![NAME, column("Status", |n, _| n["status"]["phase"].clone()), AGE],
        ("", "persistentvolumes") => vec![
            NAME,
            column("Capacity", |v, _| text(v["spec"]["capacity"].get("storage")).into()),
            column("Access Modes", |v, _| access_modes(&v["spec"]["accessModes"])),
            column("Reclaim Policy", |v, _| v["spec"]["persistentVolumeReclaimPolicy"].clone()),
            column("Status", phase),
            column("Claim", |v, _| {
                let claim = &v["spec"]["claimRef"];
                if claim.is_null() {
                    return "".into();
                }
                format!("{}/{}", text(claim.get("namespace")), text(claim.get("name"))).into()
            }),
            column("StorageClass", |v, _| text(v["spec"].get("storageClassName")).into()),
            column("VolumeAttributesClass", |v, _| or_unset(text(v["spec"].get("volumeAttributesClassName")))),
            column("Reason", |v, _| text(v["status"].get("reason")).into()),
            AGE,
            wide("VolumeMode", |v, _| or_unset(text(v["spec"].get("volumeMode")))),
        ],
        ("", "persistentvolumeclaims") => vec![
            NAME,
            column("Status", phase),
            column("Volume", |c, _| text(c["spec"].get("volumeName")).into()),
            column("Capacity", |c, _| text(c["status"]["capacity"].get("storage")).into()),
            column("Access Modes", |c, _| access_modes(&c["status"]["accessModes"])),
            column("StorageClass", |c, _| text(c["spec"].get("storageClassName")).into()),
            column("VolumeAttributesClass", |c, _| or_unset(text(c["spec"].get("volumeAttributesClassName")))),
            AGE,
            wide("VolumeMode", |c, _| or_unset(text(c["spec"].get("volumeMode")))),
        ],
        ("", "configmaps") => vec![NAME, number_column("Data", |c, _| (count(&c["data"]) + count(&c["binaryData"])).into()), AGE],
        ("", "secrets") => {
            vec![NAME, column("Type", |s, _| s["type"].clone()), number_column("Data", |s, _| count(&s["data"]).into()), AGE]
        }
        ("", "resourcequotas") => vec![
            NAME,
            column("Request", |quota, _| used(quota, |name| !name.starts_with("limits")).into()),
            column("Limit", |quota, _| used(quota, |name| name.starts_with("limits")).into()),
            AGE,
        ],
        ("" | "events.k8s.io", "events") => vec![
            column("Last Seen", |event, now| {
                age_of(&either(event, &["lastTimestamp", "deprecatedLastTimestamp", "eventTime"]), now)
            }),
            column("Type", |event, _| event["type"].clone()),
            column("Reason", |event, _| event["reason"].clone()),
            column("Object", |event, _| {
                let object = either(event, &["involvedObject", "regarding"]);
                let (kind, name) = (text(object.get("kind")).to_lowercase(), text(object.get("name")));
                if name.is_empty() { kind.into() } else { format!("{kind}/{name}").into() }
            }),
            wide("Subobject", |event, _| text(either(event, &["involvedObject", "regarding"]).get("fieldPath")).into()),
            wide("Source", |event, _| text(either(event, &["source", "deprecatedSource"]).get("component")).into()),
            column("Message", |event, _| text(Some(&either(event, &["message", "note"]))).trim().into()),
            wide("First Seen", |event, now| {
                age_of(&either(event, &["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"]), now)
            }),
            wide("Count", |event, _| either(event, &["count", "deprecatedCount"]).as_i64().unwrap_or(1).to_string().into()),
            wide("Name", |event, _| event["metadata"]["name"].clone()),
        ],
        ("networking.k8s.io", "ingresses") => vec![
            NAME,
            column("Class", |i, _| or_none(text(i["spec"].get("ingressClassName")))),
            column("Hosts", |i, _| {
                let rules = i["spec"]["rules"].as_array();
                let mut hosts: Vec<String> = rules.into_iter().flatten().map(|rule| text(rule.get("host"))).collect();
                hosts.retain(|host| !host.is_empty());
                if hosts.is_empty() { "*".into() } else { hosts.join(",").into() }
            }),
            column("Address", |i, _| {
                let balancers = i["status"]["loadBalancer"]["ingress"].as_array();
                let addresses: Vec<String> =
                    balancers.into_iter().flatten().map(|one| text(one.get("ip").or_else(|| one.get("hostname")))).collect();
                addresses.join(",").into()
            }),
            column("Ports", |i, _| (if i["spec"]["tls"].is_array() { "80, 443" } else { "80" }).into()),
            AGE,
        ],
        ("networking.k8s.io", "ingressclasses") => vec![
            NAME,
            column("Controller", |c, _| c["spec"]["controller"].clone()),
            column("Parameters", |c, _| {
                let parameters = &c["spec"]["parameters"];
                if parameters.is_null() {
                    return "<none>".into();
                }
                format!("{}/{}", text(parameters.get("kind")), text(parameters.get("name"))).into()
            }),
            AGE,
        ],
        ("networking.k8s.io", "networkpolicies") => {
            vec![NAME, column("Pod-Selector", |n, _| selector(&n["spec"]["podSelector"]["matchLabels"])), AGE]
        }
        ("storage.k8s.io", "storageclasses") => vec![
            column("Name", |s, _| {
                let name = text(s["metadata"].get("name"));
                let default = s["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
                if default { format!("{name} (default)").into() } else { name.into() }
            }),
            column("Provisioner", |s, _| s["provisioner"].clone()),
            column("ReclaimPolicy", |s, _| s["reclaimPolicy"].clone()),
            column("VolumeBindingMode", |s, _| s["volumeBindingMode"].clone()),
            column("AllowVolumeExpansion", |s, _| (s["allowVolumeExpansion"] == true).into()),
            AGE,
        ],
        ("scheduling.k8s.io", "priorityclasses") => vec![
            NAME,
            number_column("Value", |p, _| number(&p["value"]).into()),
            column("Global-Default", |p, _| (p["globalDefault"] == true).into()),
            AGE,
            wide("PreemptionPolicy", |p, _| p["preemptionPolicy"].clone()),
        ],
        ("policy", "poddisruptionbudgets") => vec![
            NAME,
            column("Min Available", |p, _| or_not_applicable(&p["spec"]["minAvailable"])),
            column("Max Unavailable", |p, _| or_not_applicable(&p["spec"]["maxUnavailable"])),
            number_column("Allowed Disruptions", |p, _| number(&p["status"]["disruptionsAllowed"]).into()),
            AGE,
        ],
        ("autoscaling", "horizontalpodautoscalers") => vec![
            NAME,
            column("Reference", |h, _| {
                let target = &h["spec"]["scaleTargetRef"];
                format!("{}/{}", text(target.get("kind")), text(target.get("name"))).into()
            }),
            column("Targets", targets),
            number_column("MinPods", |h, _| h["spec"]["minReplicas"].as_i64().map_or_else(|| "<unset>".into(), Value::from)),
            number_column("MaxPods", |h, _| number(&h["spec"]["maxReplicas"]).into()),
            number_column("Replicas", |h, _| number(&h["status"]["currentReplicas"]).into()),
            AGE,
        ],
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => vec![
            NAME,
            column("Role", |b, _| format!("{}/{}", text(b["roleRef"].get("kind")), text(b["roleRef"].get("name"))).into()),
            AGE,
            wide("Users", |b, _| subjects(b, "User")),
            wide("Groups", |b, _| subjects(b, "Group")),
            wide("ServiceAccounts", |b, _| subjects(b, "ServiceAccount")),
        ],
        ("coordination.k8s.io", "leases") => {
            vec![NAME, column("Holder", |l, _| text(l["spec"].get("holderIdentity")).into()), AGE]
        }
        ("apiextensions.k8s.io", "customresourcedefinitions")
        | ("rbac.authorization.k8s.io", "roles" | "clusterroles")
        | ("", "limitranges") => vec![NAME, CREATED_AT],
        _ => vec![NAME, AGE],
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(value: &Value) -> usize {
    value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len)).unwrap_or(0)
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn or_none(value: String) -> Value {
    if value.is_empty() { "<none>".into() } else { value.into() }
}

fn or_unset(value: String) -> Value {
    if value.is_empty() { "<unset>".into() } else { value.into() }
}

fn or_not_applicable(value: &Value) -> Value {
    match value {
        Value::Null => "N/A".into(),
        Value::String(text) => text.as_str().into(),
        other => other.to_string().into(),
    }
}

/// The first of several fields that an object has.
fn either(object: &Value, fields: &[&str]) -> Value {
    fields.iter().map(|field| &object[*field]).find(|value| !value.is_null()).cloned().unwrap_or(Value::Null)
}

fn pod_ready(pod: &Value, _: Timestamp) -> Value {
    let total = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ready = pod["status"]["containerStatuses"].as_array().into_iter().flatten().filter(|one| one["ready"] == true).count();
    format!("{ready}/{total}").into()
}

fn pod_status(pod: &Value, _: Timestamp) -> Value {
    if pod["metadata"].get("deletionTimestamp").is_some() {
        return "Terminating".into();
    }
    pod["status"]["phase"].clone()
}

fn pod_restarts(pod: &Value, _: Timestamp) -> Value {
    let total: i64 =
        pod["status"]["containerStatuses"].as_array().into_iter().flatten().map(|one| number(&one["restartCount"])).sum();
    total.to_string().into()
}

fn service_ports(service: &Value, _: Timestamp) -> Value {
    let ports: Vec<String> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| {
            let protocol = text(port.get("protocol"));
            match port["nodePort"].as_u64() {
                Some(node) => format!("{}:{node}/{protocol}", port["port"]),
                None => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    or_none(ports.join(","))
}

fn selector(labels: &Value) -> Value {
    let list: Vec<String> =
        labels.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(Some(value)))).collect();
    or_none(list.join(","))
}

fn containers(spec: &Value, field: &str) -> Value {
    let list: Vec<String> =
        spec["containers"].as_array().into_iter().flatten().map(|container| text(container.get(field))).collect();
    list.join(",").into()
}

fn phase(object: &Value, _: Timestamp) -> Value {
    if object["metadata"].get("deletionTimestamp").is_some() { "Terminating".into() } else { object["status"]["phase"].clone() }
}

fn access_modes(modes: &Value) -> Value {
    let short: Vec<&str> = words(modes)
        .into_iter()
        .map(|mode| match mode {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        })
        .collect();
    short.join(",").into()
}

fn job_status(job: &Value, _: Timestamp) -> Value {
    let holds = |of_type: &str| {
        job["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == of_type && condition["status"] == "True")
    };
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if job["metadata"].get("deletionTimestamp").is_some() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    status.into()
}

fn used(quota: &Value, wanted: fn(&str) -> bool) -> String {
    let hard = quota["status"]["hard"].as_object();
    let rows: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(name, _)| wanted(name))
        .map(|(name, limit)| format!("{name}: {}/{}", text(quota["status"]["used"].get(name)), text(Some(limit))))
        .collect();
    rows.join(", ")
}

fn targets(scaler: &Value, _: Timestamp) -> Value {
    let metrics = scaler["spec"]["metrics"].as_array().cloned().unwrap_or_default();
    if metrics.is_empty() {
        return "<none>".into();
    }
    let current = scaler["status"]["currentMetrics"].as_array().cloned().unwrap_or_default();
    let rows: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            let (target, now) =
                (&metric["resource"]["target"], &current.get(index).unwrap_or(&Value::Null)["resource"]["current"]);
            let name = text(metric["resource"].get("name"));
            let shown = |value: &Value| value.as_i64().map_or_else(|| "<unknown>".to_owned(), |percent| format!("{percent}%"));
            match target["averageUtilization"].as_i64() {
                Some(percent) => format!("{name}: {}/{percent}%", shown(&now["averageUtilization"])),
                None => format!("<unknown>/{}", text(target.get("averageValue").or_else(|| target.get("value")))),
            }
        })
        .collect();
    rows.join(", ").into()
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let list: Vec<String> = binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|subject| subject["kind"] == kind)
        .map(|subject| {
            let name = text(subject.get("name"));
            if kind == "ServiceAccount" { format!("{}/{name}", text(subject.get("namespace"))) } else { name }
        })
        .collect();
    list.join(", ").into()
}
