//! Tables, as `kubectl get` asks for them.

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::world::text;

/// A column: its name, type, whether it only shows in wide output, and its cell.
type Column = (&'static str, &'static str, bool, fn(&Value) -> Value);

/// The table of some objects; ages come out as the time itself, which the caller turns into an age.
pub(crate) fn of(
    kind: &Kind,
    objects: &[Value],
    revision: &str,
    now: Option<jiff::Timestamp>,
    next: Option<(&str, usize)>,
) -> Value {
    let now = now.unwrap_or_else(jiff::Timestamp::now);
    let mut columns: Vec<Value> = vec![definition("Name", "string", "name", 0)];
    let built_in = columns_of(kind);
    let custom = kind.custom.as_ref().map(|custom| custom.columns.as_slice()).unwrap_or_default();
    for (name, of_type, wide, _) in built_in {
        columns.push(definition(name, of_type, "", i32::from(*wide)));
    }
    for column in custom {
        columns.push(json!({
            "name": column["name"], "type": column["type"], "format": column["format"].as_str().unwrap_or_default(),
            "description": column["description"].as_str().unwrap_or_default(),
            "priority": column["priority"].as_i64().unwrap_or(0),
        }));
    }
    let with_age = !custom.iter().any(|column| column["name"] == "Age")
        && (!built_in.iter().any(|column| column.0 == "Age"))
        && (custom.is_empty());
    // Wide columns come last, as the real server orders them.
    if with_age {
        let place = 1 + built_in.iter().filter(|column| !column.2).count();
        columns.insert(place.min(columns.len()), definition("Age", "string", "", 0));
    }
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![object["metadata"]["name"].clone()];
            let mut aged = false;
            for (_, _, wide, cell) in built_in {
                if *wide && with_age && !aged {
                    cells.push(age(&object["metadata"]["creationTimestamp"], now));
                    aged = true;
                }
                cells.push(cell(object));
            }
            for column in custom {
                let found = json_path(object, column["jsonPath"].as_str().unwrap_or_default());
                cells.push(if column["type"] == "date" { age(&found, now) } else { found });
            }
            if with_age && !aged {
                cells.push(age(&object["metadata"]["creationTimestamp"], now));
            }
            json!({
                "cells": cells,
                "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]},
            })
        })
        .collect();
    let mut metadata = json!({"resourceVersion": revision});
    if let Some((token, remaining)) = next {
        metadata["continue"] = token.into();
        metadata["remainingItemCount"] = remaining.into();
    }
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}

fn definition(name: &str, of_type: &str, format: &str, priority: i32) -> Value {
    json!({"name": name, "type": of_type, "format": format, "description": "", "priority": priority})
}

fn age(time: &Value, now: jiff::Timestamp) -> Value {
    let Some(then) = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else { return "<unknown>".into() };
    let seconds = now.as_second() - then.as_second();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
    .into()
}

/// The simple JSON paths of printer columns: `.spec.a`, `.metadata.labels['x']`, `.status.conditions[?(@.type=="Ready")].status`.
fn json_path(object: &Value, path: &str) -> Value {
    let mut at = object;
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else { return Value::Null };
            let (inside, after) = (&inner[..end], &inner[end + 1..]);
            at = if let Some(filter) = inside.strip_prefix("?(@.") {
                let filter = filter.trim_end_matches(')');
                let Some((field, wanted)) = filter.split_once("==") else { return Value::Null };
                let wanted = wanted.trim().trim_matches(['"', '\'']);
                let found = at.as_array().and_then(|items| items.iter().find(|item| item[field.trim()] == wanted));
                let Some(found) = found else { return Value::Null };
                found
            } else if let Ok(index) = inside.parse::<usize>() {
                &at[index]
            } else {
                &at[inside.trim_matches(['"', '\''])]
            };
            rest = after.trim_start_matches('.');
        } else {
            let mut end = rest.len();
            let mut escaped = false;
            for (index, character) in rest.char_indices() {
                if !escaped && (character == '.' || character == '[') {
                    end = index;
                    break;
                }
                escaped = character == '\\';
            }
            at = &at[rest[..end].replace('\\', "")];
            rest = rest[end..].trim_start_matches('.');
        }
    }
    at.clone()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn count(value: &Value) -> Value {
    let length = value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len)).unwrap_or(0);
    length.into()
}

fn or_none(value: String) -> Value {
    if value.is_empty() { "<none>".into() } else { value.into() }
}

fn pod_ready(pod: &Value) -> Value {
    let total = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ready = pod["status"]["containerStatuses"].as_array().into_iter().flatten().filter(|one| one["ready"] == true).count();
    format!("{ready}/{total}").into()
}

fn pod_status(pod: &Value) -> Value {
    if pod["metadata"].get("deletionTimestamp").is_some() {
        return "Terminating".into();
    }
    pod["status"]["phase"].clone()
}

fn pod_restarts(pod: &Value) -> Value {
    let total: i64 =
        pod["status"]["containerStatuses"].as_array().into_iter().flatten().map(|one| number(&one["restartCount"])).sum();
    total.to_string().into()
}

fn service_ports(service: &Value) -> Value {
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

fn images(spec: &Value, field: &str) -> Value {
    let list: Vec<String> =
        spec["containers"].as_array().into_iter().flatten().map(|container| text(container.get(field))).collect();
    list.join(",").into()
}

fn phase_or_terminating(object: &Value) -> Value {
    if object["metadata"].get("deletionTimestamp").is_some() { "Terminating".into() } else { object["status"]["phase"].clone() }
}

fn columns_of(kind: &Kind) -> &'static [Column] {
    if kind.custom.is_some() {
        return &[];
    }
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            ("Ready", "string", false, pod_ready),
            ("Status", "string", false, pod_status),
            ("Restarts", "string", false, pod_restarts),
            ("IP", "string", true, |pod| or_none(text(pod["status"].get("podIP")))),
            ("Node", "string", true, |pod| or_none(text(pod["spec"].get("nodeName")))),
            ("Nominated Node", "string", true, |pod| or_none(text(pod["status"].get("nominatedNodeName")))),
            ("Readiness Gates", "string", true, |_| "<none>".into()),
        ],
        ("apps", "deployments") => &[
            ("Ready", "string", false, |d| {
                format!("{}/{}", number(&d["status"]["readyReplicas"]), number(&d["spec"]["replicas"])).into()
            }),
            ("Up-to-date", "string", false, |d| number(&d["status"]["updatedReplicas"]).into()),
            ("Available", "string", false, |d| number(&d["status"]["availableReplicas"]).into()),
            ("Containers", "string", true, |d| images(&d["spec"]["template"]["spec"], "name")),
            ("Images", "string", true, |d| images(&d["spec"]["template"]["spec"], "image")),
            ("Selector", "string", true, |d| selector(&d["spec"]["selector"]["matchLabels"])),
        ],
        ("apps", "replicasets") | ("", "replicationcontrollers") => &[
            ("Desired", "integer", false, |d| number(&d["spec"]["replicas"]).into()),
            ("Current", "integer", false, |d| number(&d["status"]["replicas"]).into()),
            ("Ready", "integer", false, |d| number(&d["status"]["readyReplicas"]).into()),
        ],
        ("apps", "statefulsets") => &[("Ready", "string", false, |d| {
            format!("{}/{}", number(&d["status"]["readyReplicas"]), number(&d["spec"]["replicas"])).into()
        })],
        ("apps", "daemonsets") => &[
            ("Desired", "integer", false, |d| number(&d["status"]["desiredNumberScheduled"]).into()),
            ("Ready", "integer", false, |d| number(&d["status"]["numberReady"]).into()),
        ],
        ("batch", "jobs") => &[("Completions", "string", false, |j| {
            format!("{}/{}", number(&j["status"]["succeeded"]), j["spec"]["completions"].as_i64().unwrap_or(1)).into()
        })],
        ("batch", "cronjobs") => &[
            ("Schedule", "string", false, |c| c["spec"]["schedule"].clone()),
            ("Suspend", "boolean", false, |c| (if c["spec"]["suspend"] == true { "True" } else { "False" }).into()),
            ("Active", "integer", false, |c| count(&c["status"]["active"])),
        ],
        ("", "services") => &[
            ("Type", "string", false, |s| s["spec"]["type"].clone()),
            ("Cluster-IP", "string", false, |s| or_none(text(s["spec"].get("clusterIP")))),
            ("External-IP", "string", false, |s| {
                if s["spec"]["type"] == "ExternalName" {
                    s["spec"]["externalName"].clone()
                } else if s["spec"]["type"] == "LoadBalancer" {
                    "<pending>".into()
                } else {
                    "<none>".into()
                }
            }),
            ("Port(s)", "string", false, service_ports),
            ("Selector", "string", true, |s| selector(&s["spec"]["selector"])),
        ],
        ("", "namespaces" | "persistentvolumes") => &[("Status", "string", false, phase_or_terminating)],
        ("", "persistentvolumeclaims") => &[
            ("Status", "string", false, phase_or_terminating),
            ("Volume", "string", false, |c| text(c["spec"].get("volumeName")).into()),
            ("Capacity", "string", false, |c| text(c["status"]["capacity"].get("storage")).into()),
            ("Access Modes", "string", false, |c| {
                let modes: Vec<&str> =
                    c["status"]["accessModes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                modes.join(",").into()
            }),
            ("StorageClass", "string", false, |c| text(c["spec"].get("storageClassName")).into()),
        ],
        ("", "configmaps") => &[("Data", "string", false, |c| {
            (count(&c["data"]).as_u64().unwrap_or(0) + count(&c["binaryData"]).as_u64().unwrap_or(0)).into()
        })],
        ("", "secrets") => &[("Type", "string", false, |s| s["type"].clone()), ("Data", "string", false, |s| count(&s["data"]))],
        ("networking.k8s.io", "ingresses") => &[
            ("Class", "string", false, |i| or_none(text(i["spec"].get("ingressClassName")))),
            ("Hosts", "string", false, |i| {
                let hosts: Vec<String> =
                    i["spec"]["rules"].as_array().into_iter().flatten().map(|rule| text(rule.get("host"))).collect();
                if hosts.is_empty() { "*".into() } else { hosts.join(",").into() }
            }),
        ],
        ("networking.k8s.io", "networkpolicies") => {
            &[("Pod-Selector", "string", false, |n| selector(&n["spec"]["podSelector"]["matchLabels"]))]
        }
        ("storage.k8s.io", "storageclasses") => &[
            ("Provisioner", "string", false, |s| s["provisioner"].clone()),
            ("ReclaimPolicy", "string", false, |s| s["reclaimPolicy"].clone()),
            ("VolumeBindingMode", "string", false, |s| s["volumeBindingMode"].clone()),
        ],
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => &[("Role", "string", false, |b| {
            format!("{}/{}", text(b["roleRef"].get("kind")), text(b["roleRef"].get("name"))).into()
        })],
        ("coordination.k8s.io", "leases") => &[("Holder", "string", false, |l| text(l["spec"].get("holderIdentity")).into())],
        _ => &[],
    }
}
