//! What a write has to satisfy beyond its shape: names, immutable fields, and what the server allocates.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::quantity::Quantity;
use crate::status::{Cause, Failure};
use crate::store::Stored;
use crate::world::{World, text, value};
use crate::{limits, schema};

/// Checks and completes a new object against the rest of the cluster.
pub(crate) fn admit_new(
    world: &mut World,
    kind: &Kind,
    namespace: &str,
    name: &str,
    uid: &str,
    object: &mut Value,
) -> Result<(), Failure> {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => {
            let account = text(object["spec"].get("serviceAccountName"));
            let account = if account.is_empty() { "default".to_owned() } else { account };
            let exists = world
                .built_in("", "serviceaccounts")
                .is_some_and(|accounts| world.read(&accounts, namespace, &account).is_some());
            if !exists {
                return Err(Failure::forbidden(
                    kind,
                    name,
                    &format!("error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"),
                ));
            }
            if object["spec"].is_object() {
                object["spec"]["serviceAccountName"] = account.as_str().into();
                object["spec"]["serviceAccount"] = account.into();
                tolerate_failing_nodes(&mut object["spec"]);
            }
            limits::complete(world, namespace, object);
        }
        ("", "persistentvolumeclaims") => protect(object, "kubernetes.io/pvc-protection"),
        ("", "persistentvolumes") => protect(object, "kubernetes.io/pv-protection"),
        ("batch", "jobs") if object["spec"]["manualSelector"] != true => select_own_pods(object, name, uid),
        _ => {}
    }
    Ok(())
}

fn protect(object: &mut Value, finalizer: &str) {
    let finalizers = &mut object["metadata"]["finalizers"];
    match finalizers.as_array_mut() {
        Some(list) if list.iter().any(|one| one == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => *finalizers = json!([finalizer]),
    }
}

/// A Pod stays on a node that fails for five minutes, unless it says otherwise.
fn tolerate_failing_nodes(spec: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = spec["tolerations"].as_array().into_iter().flatten().any(|toleration| {
            (toleration["key"] == key || toleration["key"].is_null())
                && (toleration["effect"] == "NoExecute" || toleration["effect"].is_null())
        });
        if tolerated {
            continue;
        }
        let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        match spec["tolerations"].as_array_mut() {
            Some(list) => list.push(toleration),
            None => spec["tolerations"] = json!([toleration]),
        }
    }
}

/// A Job's Pods carry its uid, and its selector asks for that.
fn select_own_pods(job: &mut Value, name: &str, uid: &str) {
    let spec = &mut job["spec"];
    if !spec["template"].is_object() {
        return;
    }
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", uid),
        ("controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
        ("job-name", name),
    ] {
        let labels = &mut spec["template"]["metadata"]["labels"];
        if labels.get(label).is_none() {
            labels[label] = value.into();
        }
    }
    let selected = &mut spec["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"];
    if selected.is_null() {
        *selected = uid.into();
    }
    spec["manualSelector"] = false.into();
}

/// The problems of a new object.
pub(crate) fn validate_new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = text(object["metadata"].get("name"));
    if let Some(problem) = name_problem(kind, &name) {
        causes.push(Cause::invalid("metadata.name", &name.as_str().into(), problem));
    }
    metadata(object, &mut causes);
    content(kind, object, "", &mut causes);
    causes
}

/// The problems of a changed object.
pub(crate) fn validate_update(kind: &Kind, before: &Value, after: &Value, subresource: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(after, &mut causes);
    if subresource != "status" || kind.custom.is_some() {
        content(kind, after, subresource, &mut causes);
    }
    immutable(kind, before, after, subresource, &mut causes);
    causes
}

fn metadata(object: &Value, causes: &mut Vec<Cause>) {
    for (key, value) in object["metadata"]["labels"].as_object().into_iter().flatten() {
        let name = key.rsplit('/').next().unwrap_or_default();
        if !is_label_text(name) || name.is_empty() {
            causes.push(Cause::invalid("metadata.labels", &key.as_str().into(), LABEL_KEY));
        }
        if let Some(text) = value.as_str()
            && (!is_label_text(text) || text.len() > 63)
        {
            let detail = if text.len() > 63 { "must be no more than 63 bytes" } else { LABEL_VALUE };
            causes.push(Cause::invalid("metadata.labels", value, detail));
        }
    }
    for (index, owner) in object["metadata"]["ownerReferences"].as_array().into_iter().flatten().enumerate() {
        for name in ["apiVersion", "kind", "name", "uid"] {
            if text(owner.get(name)).is_empty() {
                causes.push(Cause::invalid(
                    format!("metadata.ownerReferences[{index}].{name}"),
                    &"".into(),
                    if name == "apiVersion" {
                        "version must not be empty".to_owned()
                    } else {
                        format!("{name} must not be empty")
                    },
                ));
            }
        }
    }
    for finalizer in object["metadata"]["finalizers"].as_array().into_iter().flatten() {
        let finalizer = text(Some(finalizer));
        let plain = matches!(finalizer.as_str(), "kubernetes" | "orphan" | "foregroundDeletion");
        if !plain && !finalizer.contains('/') && !is_subdomain(&finalizer) {
            causes.push(Cause::invalid(
                "metadata.finalizers",
                &finalizer.into(),
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL_KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

fn is_subdomain(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

fn name_problem(kind: &Kind, name: &str) -> Option<String> {
    if kind.group == "rbac.authorization.k8s.io" {
        let bad = name == "." || name == ".." || name.contains('/') || name.contains('%');
        return bad.then(|| "may not contain '/' or '%'".to_owned());
    }
    let (fits, limit, rule) = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "namespaces") => (is_label(name), 63, LABEL),
        ("", "services") => (is_label(name), 63, LABEL),
        _ => (is_subdomain(name), 253, SUBDOMAIN),
    };
    if name.len() > limit {
        return Some(format!("must be no more than {limit} bytes"));
    }
    (!fits).then(|| rule.to_owned())
}

/// What a kind demands of its content.
fn content(kind: &Kind, object: &Value, subresource: &str, causes: &mut Vec<Cause>) {
    if let Some(custom) = &kind.custom {
        causes.extend(schema::validate(object, &custom.schema, subresource));
        return;
    }
    let spec = &object["spec"];
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            let selector = &spec["selector"];
            if selector.is_null() {
                causes.push(Cause::required("spec.selector", ""));
            }
            let labels = &spec["template"]["metadata"]["labels"];
            let matches = selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| &labels[key] == value);
            if !matches {
                causes.push(Cause::invalid(
                    "spec.template.metadata.labels",
                    labels,
                    "`selector` does not match template `labels`",
                ));
            }
            if spec["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
                causes.push(Cause::invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0"));
            }
            containers(&spec["template"]["spec"], "spec.template.spec", causes);
        }
        ("batch", "jobs") => {
            if spec["manualSelector"] != true {
                own_pods(object, causes);
            }
            containers(&spec["template"]["spec"], "spec.template.spec", causes);
        }
        ("", "limitranges") => limits::validate(spec, causes),
        ("", "resourcequotas") => {
            for (name, amount) in spec["hard"].as_object().into_iter().flatten() {
                if Quantity::parse(amount).is_some_and(|amount| amount.thousandths < 0) {
                    causes.push(Cause::invalid(format!("spec.hard[{name}]"), amount, "must be greater than or equal to 0"));
                }
            }
        }
        ("batch", "cronjobs") => {
            if text(spec.get("schedule")).is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            }
            containers(&spec["jobTemplate"]["spec"]["template"]["spec"], "spec.jobTemplate.spec.template.spec", causes);
        }
        ("", "pods") => containers(spec, "spec", causes),
        ("", "services") => {
            let needs_ports = spec["clusterIP"] != "None" && spec["type"] != "ExternalName";
            if needs_ports && spec["ports"].as_array().is_none_or(Vec::is_empty) {
                causes.push(Cause::required("spec.ports", ""));
            }
        }
        ("", "persistentvolumeclaims") => {
            if spec["accessModes"].as_array().is_none_or(Vec::is_empty) {
                causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
            }
            if spec["resources"]["requests"]["storage"].is_null() {
                causes.push(Cause::required("spec.resources[storage]", ""));
            }
        }
        ("", "configmaps" | "secrets") => {
            for (key, _) in object["data"].as_object().into_iter().flatten() {
                let fits = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
                if !fits {
                    causes.push(Cause::invalid(format!("data[{key}]"), &key.as_str().into(), "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"));
                }
            }
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
            if text(object["roleRef"].get("name")).is_empty() =>
        {
            causes.push(Cause::required("roleRef.name", ""));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => definition(object, causes),
        _ => {}
    }
}

fn containers(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let list = spec["containers"].as_array();
    if list.is_none_or(Vec::is_empty) {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    for (index, container) in list.into_iter().flatten().enumerate() {
        if text(container.get("name")).is_empty() {
            causes.push(Cause::required(format!("{path}.containers[{index}].name"), ""));
        }
        if text(container.get("image")).is_empty() {
            causes.push(Cause::required(format!("{path}.containers[{index}].image"), ""));
        }
        let resources = &container["resources"];
        for (name, request) in resources["requests"].as_object().into_iter().flatten() {
            if let (Some(amount), Some(limit)) = (Quantity::parse(request), Quantity::parse(&resources["limits"][name]))
                && amount.thousandths > limit.thousandths
            {
                causes.push(Cause::invalid(
                    format!("{path}.containers[{index}].resources.requests"),
                    request,
                    format!("must be less than or equal to {name} limit of {limit}"),
                ));
            }
        }
    }
}

/// A Job that was made elsewhere carries the uid it had there.
fn own_pods(job: &Value, causes: &mut Vec<Cause>) {
    let (spec, uid, name) = (&job["spec"], &job["metadata"]["uid"], &job["metadata"]["name"]);
    let labels = &spec["template"]["metadata"]["labels"];
    for (label, expected) in [
        ("controller-uid", uid),
        ("batch.kubernetes.io/controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/job-name", name),
    ] {
        if labels[label] != *expected {
            causes.push(Cause::invalid(
                format!("spec.template.metadata.labels[{label}]"),
                labels,
                format!("must be '{}'", text(Some(expected))),
            ));
        }
    }
    if spec["selector"] != json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}) {
        causes.push(Cause::invalid("spec.selector", &spec["selector"], "`selector` not auto-generated"));
    }
}

fn definition(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let expected = format!("{}.{}", text(spec["names"].get("plural")), text(spec.get("group")));
    let name = text(object["metadata"].get("name"));
    if !matches!(spec["scope"].as_str(), Some("Cluster" | "Namespaced")) {
        causes.push(Cause::unsupported("spec.scope", &text(spec.get("scope")), "\"Cluster\", \"Namespaced\""));
    }
    if name != expected {
        causes.push(Cause::invalid("metadata.name", &name.into(), "must be spec.names.plural+\".\"+spec.group"));
    }
    let versions = spec["versions"].as_array();
    let stored = versions.into_iter().flatten().filter(|version| version["storage"] == true).count();
    if stored != 1 {
        causes.push(Cause::invalid("spec.versions", &json!(null), "must have exactly one version marked as storage version"));
    }
    for (index, version) in versions.into_iter().flatten().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            causes.push(Cause::required(format!("spec.versions[{index}].schema.openAPIV3Schema"), "schemas are required"));
        }
    }
}

fn immutable(kind: &Kind, before: &Value, after: &Value, subresource: &str, causes: &mut Vec<Cause>) {
    const FIELD: &str = "field is immutable";
    let mut same = |path: &str| {
        let pointer = format!("/{}", path.replace('.', "/"));
        let (old, new) = (before.pointer(&pointer), after.pointer(&pointer));
        if old != new {
            causes.push(Cause::invalid(path, new.unwrap_or(&Value::Null), FIELD));
        }
    };
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("apps", "deployments" | "replicasets" | "daemonsets") => same("spec.selector"),
        ("batch", "jobs") => {
            same("spec.selector");
            same("spec.completions");
            same("spec.template");
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") if before["roleRef"] != after["roleRef"] => {
            let role = &after["roleRef"];
            let shown = json!({"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]});
            causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
        }
        ("apps", "statefulsets") => {
            let fixed = |object: &Value| {
                let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
                for name in [
                    "replicas",
                    "ordinals",
                    "template",
                    "updateStrategy",
                    "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy",
                    "minReadySeconds",
                ] {
                    spec.remove(name);
                }
                spec
            };
            if fixed(before) != fixed(after) {
                causes.push(Cause::forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
            }
        }
        ("", "secrets") => {
            if before["type"] != after["type"] {
                causes.push(Cause::invalid("type", &after["type"], FIELD));
            }
            frozen(before, after, causes);
        }
        ("", "configmaps") => frozen(before, after, causes),
        ("", "services") => {
            let (old, new) = (&before["spec"], &after["spec"]);
            let given = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
            if given(&old["clusterIP"]) && new["type"] != "ExternalName" && old["clusterIP"] != new["clusterIP"] {
                causes.push(Cause::invalid("spec.clusterIPs[0]", &json!([new["clusterIP"]]), "may not change once set"));
            }
        }
        ("", "persistentvolumeclaims") => {
            let fixed = |object: &Value| {
                let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
                if before["status"]["phase"] == "Bound" {
                    spec.remove("resources");
                    spec.remove("volumeAttributesClassName");
                }
                if before["spec"]["volumeName"].is_null() {
                    spec.remove("volumeName");
                }
                spec
            };
            if fixed(before) != fixed(after) {
                causes.push(Cause::forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
                ));
            }
        }
        ("", "pods") if subresource.is_empty() => {
            let fixed = |object: &Value| {
                let mut spec = object["spec"].as_object().cloned().unwrap_or_default();
                for name in
                    ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates", "nodeName"]
                {
                    spec.remove(name);
                }
                for list in ["containers", "initContainers"] {
                    for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                        container["image"] = Value::Null;
                    }
                }
                spec
            };
            if fixed(before) != fixed(after) {
                causes.push(Cause::forbidden("spec", "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
            }
        }
        ("storage.k8s.io", "storageclasses") => {
            for name in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
                if before.get(name) != after.get(name) {
                    causes.push(Cause::forbidden(name, &format!("updates to {name} are forbidden.")));
                }
            }
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            for path in ["spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"] {
                same(path);
            }
            if causes.iter().any(|cause| cause.message.ends_with(FIELD)) {
                // A name that no longer fits follows from that.
                causes.retain(|cause| cause.field != "metadata.name");
            }
        }
        _ => {}
    }
}

fn frozen(before: &Value, after: &Value, causes: &mut Vec<Cause>) {
    if before["immutable"] != true {
        return;
    }
    if after["immutable"] != true {
        causes.push(Cause::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    for name in ["data", "binaryData"] {
        if before.get(name) != after.get(name) {
            causes.push(Cause::forbidden(name, "field is immutable when `immutable` is set"));
        }
    }
}

/// Gives a Service its cluster address and node ports.
pub(crate) fn allocate(
    world: &mut World,
    kind: &Kind,
    name: &str,
    before: Option<&Value>,
    object: &mut Value,
    dry_run: bool,
) -> Result<(), Failure> {
    if !kind.is("", "services") {
        return Ok(());
    }
    let spec = &mut object["spec"];
    let of_type = text(spec.get("type"));
    let old = before.map(|before| text(before["spec"].get("clusterIP"))).unwrap_or_default();
    if of_type != "ExternalName" {
        let given = text(spec.get("clusterIP"));
        let address = if given.is_empty() {
            let mut address = next_address(world);
            while world.addresses.contains(&address) {
                address = next_address(world);
            }
            address
        } else {
            given.clone()
        };
        if address != "None" && address != old {
            let refuse = |why: &str| {
                Failure::invalid(
                    kind,
                    name,
                    &[Cause::invalid("spec.clusterIPs", &json!([given]), format!("failed to allocate IP {given}: {why}"))],
                )
            };
            if !address.starts_with("10.96.") {
                return Err(refuse("the provided network does not match the current range"));
            }
            if world.addresses.contains(&address) {
                return Err(refuse("provided IP is already allocated"));
            }
            if !dry_run {
                world.addresses.insert(address.clone());
            }
        }
        spec["clusterIP"] = address.as_str().into();
        if spec["clusterIPs"].as_array().is_none_or(|list| list.len() < 2) {
            spec["clusterIPs"] = json!([address]);
        }
        if spec.get("ipFamilies").is_none() {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if spec.get("ipFamilyPolicy").is_none() {
            spec["ipFamilyPolicy"] = "SingleStack".into();
        }
    }
    if of_type == "NodePort" || of_type == "LoadBalancer" {
        let held: Vec<u64> = before.map(node_ports).unwrap_or_default();
        let kept: Vec<Value> = before.and_then(|before| before["spec"]["ports"].as_array().cloned()).unwrap_or_default();
        for (index, port) in spec["ports"].as_array_mut().into_iter().flatten().enumerate() {
            if port.get("nodePort").is_none() {
                let same = kept.iter().find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"]);
                if let Some(number) = same.and_then(|old| old.get("nodePort")) {
                    port["nodePort"] = number.clone();
                }
            }
            match port.get("nodePort").and_then(Value::as_u64) {
                Some(number) if held.contains(&number) => {}
                Some(number) => {
                    let problem = if !(30000..=32767).contains(&number) {
                        Some("provided port is not in the valid range. The range of valid ports is 30000-32767")
                    } else if world.node_ports.contains(&number) {
                        Some("provided port is already allocated")
                    } else {
                        None
                    };
                    if let Some(problem) = problem {
                        return Err(Failure::invalid(
                            kind,
                            name,
                            &[Cause::invalid(format!("spec.ports[{index}].nodePort"), &number.into(), problem)],
                        ));
                    }
                    if !dry_run {
                        world.node_ports.insert(number);
                    }
                }
                None => {
                    let mut number = 30000 + world.random() % 2768;
                    while world.node_ports.contains(&number) {
                        number = 30000 + world.random() % 2768;
                    }
                    if !dry_run {
                        world.node_ports.insert(number);
                    }
                    port["nodePort"] = number.into();
                }
            }
        }
    }
    Ok(())
}

/// Gives back what a removed Service held.
pub(crate) fn release(world: &mut World, kind: &Arc<Kind>, stored: &Stored) {
    if !kind.is("", "services") {
        return;
    }
    let object = value(kind, stored);
    world.addresses.remove(&text(object["spec"].get("clusterIP")));
    for port in node_ports(&object) {
        world.node_ports.remove(&port);
    }
}

fn node_ports(service: &Value) -> Vec<u64> {
    service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|port| port["nodePort"].as_u64()).collect()
}

fn next_address(world: &mut World) -> String {
    let random = world.random();
    // .0.1 to .0.15 are left to those who ask for an address by name, as the real allocator does.
    format!("10.96.{}.{}", 1 + random % 254, 1 + (random >> 8) % 254)
}
