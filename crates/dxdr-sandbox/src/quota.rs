//! ResourceQuota: what a namespace may hold, and the words with which more is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::quantity::Quantity;
use crate::status::Failure;
use crate::store::Stored;
use crate::world::{World, text, value};

type Amounts = BTreeMap<String, Quantity>;

/// Refuses a new object that would take more than a quota leaves.
pub(crate) fn admit(world: &World, kind: &Kind, namespace: &str, name: &str, object: &Value) -> Result<(), Failure> {
    if kind.is("", "resourcequotas") || !kind.namespaced {
        return Ok(());
    }
    let requested = charge(kind, object);
    admit_amounts(world, kind, namespace, name, object, &requested)
}

/// Refuses an update that asks for more than before and than a quota leaves.
pub(crate) fn admit_update(
    world: &World,
    kind: &Kind,
    namespace: &str,
    name: &str,
    before: &Value,
    after: &Value,
) -> Result<(), Failure> {
    if !(kind.is("", "persistentvolumeclaims") || kind.is("", "services") || kind.is("", "pods")) {
        return Ok(());
    }
    let old = charge(kind, before);
    let mut grown = Amounts::new();
    for (resource, amount) in charge(kind, after) {
        let had = old.get(&resource).copied().unwrap_or_default();
        if amount > had {
            grown.insert(resource, Quantity { thousandths: amount.thousandths - had.thousandths, ..amount });
        }
    }
    if grown.is_empty() { Ok(()) } else { admit_amounts(world, kind, namespace, name, after, &grown) }
}

fn admit_amounts(
    world: &World,
    kind: &Kind,
    namespace: &str,
    name: &str,
    object: &Value,
    requested: &Amounts,
) -> Result<(), Failure> {
    for (quota_kind, quota) in quotas(world, namespace) {
        let hard = hard_of(&value(&quota_kind, &quota));
        if kind.is("", "pods") {
            let missing = unspecified(object, &hard);
            if !missing.is_empty() {
                return Err(Failure::forbidden(
                    kind,
                    name,
                    &format!("failed quota: {}: must specify {}", quota.name, missing.join("; ")),
                ));
            }
        }
        let touched: Vec<(&String, Quantity)> =
            requested.iter().filter(|(resource, _)| hard.contains_key(*resource)).map(|(r, a)| (r, *a)).collect();
        if touched.is_empty() {
            continue;
        }
        let used = usage(world, namespace, &hard);
        let mut exceeded: Vec<(&str, Quantity, Quantity, Quantity)> = Vec::new();
        for (resource, amount) in touched {
            let (limit, have) = (hard[resource], used.get(resource).copied().unwrap_or_default());
            if have.plus(amount) > limit_of(limit) {
                exceeded.push((resource, amount, have, limit));
            }
        }
        if !exceeded.is_empty() {
            let list = |pick: fn(&(&str, Quantity, Quantity, Quantity)) -> Quantity| -> String {
                exceeded.iter().map(|row| format!("{}={}", row.0, pick(row))).collect::<Vec<_>>().join(",")
            };
            return Err(Failure::forbidden(
                kind,
                name,
                &format!(
                    "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                    quota.name,
                    list(|row| row.1),
                    list(|row| row.2),
                    list(|row| row.3)
                ),
            ));
        }
    }
    Ok(())
}

/// Amounts compare by size; the notation follows along.
fn limit_of(limit: Quantity) -> Quantity {
    Quantity { binary: true, ..limit }
}

/// Brings the status of a namespace's quotas up to date.
pub(crate) fn refresh(world: &mut World, namespace: &str) {
    for (kind, quota) in quotas(world, namespace) {
        let mut object = value(&kind, &quota);
        let hard = hard_of(&object);
        let used = usage(world, namespace, &hard);
        let show = |amounts: &Amounts| -> Value {
            amounts
                .iter()
                .map(|(resource, amount)| (resource.clone(), Value::from(amount.to_string())))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let status = json!({"hard": object["spec"]["hard"], "used": show(&used)});
        if object["status"] != status {
            object["status"] = status;
            world.put(&kind, object);
        }
    }
}

fn quotas(world: &World, namespace: &str) -> Vec<(Arc<Kind>, Arc<Stored>)> {
    let Some(kind) = world.built_in("", "resourcequotas") else { return Vec::new() };
    if namespace.is_empty() || world.store.count(kind.resource, namespace) == 0 {
        return Vec::new();
    }
    let page = world.store.list(kind.resource, &format!("{namespace}/"), "", u64::MAX, 0, |_| true);
    page.items.into_iter().map(|stored| (Arc::clone(&kind), stored)).collect()
}

fn hard_of(quota: &Value) -> Amounts {
    quota["spec"]["hard"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(resource, amount)| Some((resource.clone(), Quantity::parse(amount)?)))
        .collect()
}

/// What a namespace uses of each resource a quota limits.
fn usage(world: &World, namespace: &str, hard: &Amounts) -> Amounts {
    let mut used: Amounts = hard.keys().map(|resource| (resource.clone(), Quantity::default())).collect();
    for (group, plural) in [("", "pods"), ("", "persistentvolumeclaims"), ("", "services")] {
        let wanted = hard.keys().any(|resource| {
            resource.contains("cpu")
                || resource.contains("memory")
                || resource.contains("storage")
                || resource.starts_with("services.")
        });
        let Some(kind) = world.built_in(group, plural).filter(|_| wanted) else { continue };
        let page = world.store.list(kind.resource, &format!("{namespace}/"), "", u64::MAX, 0, |_| true);
        for stored in page.items {
            for (resource, amount) in charge(&kind, &value(&kind, &stored)) {
                if let Some(total) = used.get_mut(&resource)
                    && counted(&resource).is_none()
                {
                    *total = total.plus(amount);
                }
            }
        }
    }
    for (resource, total) in &mut used {
        let Some((group, plural)) = counted(resource) else { continue };
        if let Some(kind) = world.kinds.of_resource(&group, &plural) {
            *total = Quantity::count(world.store.count(kind.resource, namespace));
        }
    }
    used
}

/// The group and resource that a quota entry counts, if it counts objects.
fn counted(resource: &str) -> Option<(String, String)> {
    if let Some(rest) = resource.strip_prefix("count/") {
        let (plural, group) = rest.split_once('.').unwrap_or((rest, ""));
        return Some((group.to_owned(), plural.to_owned()));
    }
    matches!(
        resource,
        "pods" | "services" | "configmaps" | "secrets" | "persistentvolumeclaims" | "replicationcontrollers" | "resourcequotas"
    )
    .then(|| (String::new(), resource.to_owned()))
}

/// What one object takes of each resource.
fn charge(kind: &Kind, object: &Value) -> Amounts {
    let mut amounts = Amounts::new();
    let mut add = |resource: String, amount: Quantity| {
        let total = amounts.entry(resource).or_default();
        *total = total.plus(amount);
    };
    add(format!("count/{}", kind.qualified_plural()), Quantity::count(1));
    if kind.group.is_empty() {
        add(kind.plural.clone(), Quantity::count(1));
    }
    let spec = &object["spec"];
    if kind.is("", "persistentvolumeclaims")
        && let Some(size) = Quantity::parse(&spec["resources"]["requests"]["storage"])
    {
        add("requests.storage".to_owned(), size);
        let class = text(spec.get("storageClassName"));
        if !class.is_empty() {
            add(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
            add(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), Quantity::count(1));
        }
    }
    if kind.is("", "services") {
        let ports = spec["ports"].as_array().map_or(0, Vec::len);
        match spec["type"].as_str() {
            Some("LoadBalancer") => {
                add("services.loadbalancers".to_owned(), Quantity::count(1));
                add("services.nodeports".to_owned(), Quantity::count(ports));
            }
            Some("NodePort") => add("services.nodeports".to_owned(), Quantity::count(ports)),
            _ => {}
        }
    }
    if kind.is("", "pods") {
        for container in spec["containers"].as_array().into_iter().flatten() {
            for resource in ["cpu", "memory", "ephemeral-storage"] {
                let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
                let request = if requests[resource].is_null() { &limits[resource] } else { &requests[resource] };
                if let Some(amount) = Quantity::parse(request) {
                    add(format!("requests.{resource}"), amount);
                    add(resource.to_owned(), amount);
                }
                if let Some(amount) = Quantity::parse(&limits[resource]) {
                    add(format!("limits.{resource}"), amount);
                }
            }
        }
    }
    amounts
}

/// The compute resources a quota limits and a container of the Pod does not specify.
fn unspecified(pod: &Value, hard: &Amounts) -> Vec<String> {
    let mut missing = Vec::new();
    for resource in hard.keys() {
        let (section, name) = match resource.split_once('.') {
            Some((section @ ("requests" | "limits"), name @ ("cpu" | "memory"))) => (section, name),
            None if resource == "cpu" || resource == "memory" => ("requests", resource.as_str()),
            _ => continue,
        };
        let without: Vec<String> = pod["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|container| {
                let resources = &container["resources"];
                resources[section][name].is_null() && (section == "limits" || resources["limits"][name].is_null())
            })
            .map(|container| text(container.get("name")))
            .collect();
        if !without.is_empty() {
            missing.push(format!("{resource} for: {}", without.join(",")));
        }
    }
    missing
}
