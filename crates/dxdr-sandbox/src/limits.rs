//! LimitRange: what the containers of a Pod get when they say nothing, and what is refused as too little or too much.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::quantity::Quantity;
use crate::status::{Cause, Failure};
use crate::world::{World, text, value};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// The `spec.limits` of a namespace's LimitRanges.
fn limits(world: &World, namespace: &str) -> Vec<Value> {
    let Some(kind) = world.built_in("", "limitranges") else { return Vec::new() };
    if namespace.is_empty() || world.store.count(kind.resource, namespace) == 0 {
        return Vec::new();
    }
    let page = world.store.list(kind.resource, &format!("{namespace}/"), "", u64::MAX, 0, |_| true);
    page.items.iter().map(|stored| value(&kind, stored)["spec"]["limits"].clone()).collect()
}

/// Gives the containers of a new Pod the requests and limits they leave open, and notes that in an annotation.
pub(crate) fn complete(world: &World, namespace: &str, pod: &mut Value) {
    let mut notes = Vec::new();
    for range in limits(world, namespace) {
        for limit in range.as_array().into_iter().flatten().filter(|limit| limit["type"] == "Container") {
            for (list, what) in [("containers", "container"), ("initContainers", "init container")] {
                for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    let name = text(container.get("name"));
                    for (section, from) in [("requests", "defaultRequest"), ("limits", "default")] {
                        let set = fill(&mut container["resources"], section, &limit[from]);
                        if !set.is_empty() {
                            let one = section.trim_end_matches('s');
                            notes.push(format!("{} {one} for {what} {name}", set.join(", ")));
                        }
                    }
                }
            }
        }
    }
    if !notes.is_empty() {
        pod["metadata"]["annotations"][ANNOTATION] = format!("LimitRanger plugin set: {}", notes.join("; ")).into();
    }
}

/// Sets what is missing in a section of `resources`, and returns its names.
fn fill(resources: &mut Value, section: &str, defaults: &Value) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults.as_object().into_iter().flatten() {
        if resources[section].get(name).is_none() {
            resources[section][name] = amount.clone();
            set.push(name.clone());
        }
    }
    set
}

/// Refuses a Pod or a claim that is outside the limits of its namespace.
pub(crate) fn admit(world: &World, kind: &Kind, namespace: &str, name: &str, object: &Value) -> Result<(), Failure> {
    let claim = kind.is("", "persistentvolumeclaims");
    if !claim && !kind.is("", "pods") {
        return Ok(());
    }
    for range in limits(world, namespace) {
        let mut problems = Vec::new();
        for limit in range.as_array().into_iter().flatten() {
            match limit["type"].as_str() {
                Some("PersistentVolumeClaim") if claim => {
                    let requests = amounts(&object["spec"]["resources"]["requests"]);
                    let rule = Rule { limit, of: "PersistentVolumeClaim", requests: &requests, limits: None };
                    rule.check(&mut problems);
                }
                Some("Container") if !claim => {
                    for list in ["containers", "initContainers"] {
                        for container in object["spec"][list].as_array().into_iter().flatten() {
                            let requests = amounts(&container["resources"]["requests"]);
                            let limits = amounts(&container["resources"]["limits"]);
                            let rule = Rule { limit, of: "Container", requests: &requests, limits: Some(&limits) };
                            rule.check(&mut problems);
                        }
                    }
                }
                Some("Pod") if !claim => {
                    let (requests, limits) = (total(object, "requests"), total(object, "limits"));
                    Rule { limit, of: "Pod", requests: &requests, limits: Some(&limits) }.check(&mut problems);
                }
                _ => {}
            }
        }
        match problems.as_slice() {
            [] => {}
            [one] => return Err(Failure::forbidden(kind, name, one)),
            several => return Err(Failure::forbidden(kind, name, &format!("[{}]", several.join(", ")))),
        }
    }
    Ok(())
}

type Amounts = BTreeMap<String, Quantity>;

fn amounts(section: &Value) -> Amounts {
    section
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, amount)| Some((name.clone(), Quantity::parse(amount)?)))
        .collect()
}

/// What the containers of a Pod take together, or the largest of its init containers, which run before them.
fn total(pod: &Value, section: &str) -> Amounts {
    let mut sum = Amounts::new();
    for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
        for (name, amount) in amounts(&container["resources"][section]) {
            let total = sum.entry(name).or_default();
            *total = total.plus(amount);
        }
    }
    for container in pod["spec"]["initContainers"].as_array().into_iter().flatten() {
        for (name, amount) in amounts(&container["resources"][section]) {
            let total = sum.entry(name).or_default();
            *total = amount.max(*total);
        }
    }
    sum
}

/// One entry of `spec.limits` against what something asks for; a claim has no limits, only requests.
struct Rule<'a> {
    limit: &'a Value,
    of: &'static str,
    requests: &'a Amounts,
    limits: Option<&'a Amounts>,
}

impl Rule<'_> {
    fn check(&self, problems: &mut Vec<String>) {
        let of = self.of;
        for (name, least) in amounts(&self.limit["min"]) {
            let rule = format!("minimum {name} usage per {of} is {least}");
            match self.requests.get(&name) {
                None => problems.push(format!("{rule}.  No request is specified")),
                Some(request) if request.thousandths < least.thousandths => {
                    problems.push(format!("{rule}, but request is {request}"));
                }
                Some(_) => match self.limits.and_then(|limits| limits.get(&name)) {
                    Some(limit) if limit.thousandths < least.thousandths => {
                        problems.push(format!("{rule}, but limit is {limit}"));
                    }
                    _ => {}
                },
            }
        }
        for (name, most) in amounts(&self.limit["max"]) {
            let rule = format!("maximum {name} usage per {of} is {most}");
            let request = self.requests.get(&name);
            if let Some(limits) = self.limits {
                match limits.get(&name) {
                    None => problems.push(format!("{rule}.  No limit is specified")),
                    Some(limit) if limit.thousandths > most.thousandths => {
                        problems.push(format!("{rule}, but limit is {limit}"));
                    }
                    Some(_) => {}
                }
            } else if request.is_none() {
                problems.push(format!("{rule}.  No request is specified"));
            }
            if let Some(request) = request.filter(|request| request.thousandths > most.thousandths)
                && self.limits.is_none_or(|limits| limits.get(&name).is_some_and(|limit| limit.thousandths <= most.thousandths))
            {
                problems.push(format!("{rule}, but request is {request}"));
            }
        }
        for (name, most) in amounts(&self.limit["maxLimitRequestRatio"]) {
            let rule = format!("{name} max limit to request ratio per {of} is {most}");
            let amount =
                |amounts: Option<&Amounts>| amounts.and_then(|amounts| amounts.get(&name)).map_or(0, |one| one.thousandths);
            let (request, limit) = (amount(Some(self.requests)), amount(self.limits));
            if request == 0 {
                problems.push(format!("{rule}, but no request is specified or request is 0"));
            } else if limit == 0 {
                problems.push(format!("{rule}, but no limit is specified or limit is 0"));
            } else if limit * 1000 > most.thousandths * request {
                problems.push(format!("{rule}, but provided ratio is {:.6}", limit as f64 / request as f64));
            }
        }
    }
}

/// The contradictions within a LimitRange.
pub(crate) fn validate(spec: &Value, causes: &mut Vec<Cause>) {
    for (index, limit) in spec["limits"].as_array().into_iter().flatten().enumerate() {
        let section = |name: &str| amounts(&limit[name]);
        let (least, most) = (section("min"), section("max"));
        let (usual, request) = (section("default"), section("defaultRequest"));
        let names: std::collections::BTreeSet<&String> =
            [&least, &most, &usual, &request].into_iter().flat_map(|amounts| amounts.keys()).collect();
        for name in names {
            let mut ordered = |field: &str, low: (&str, &Amounts), high: (&str, &Amounts), shown: &Amounts| {
                if let (Some(one), Some(other)) = (low.1.get(name), high.1.get(name))
                    && one.thousandths > other.thousandths
                {
                    let value = shown.get(name).map(Quantity::to_string).unwrap_or_default();
                    causes.push(Cause::invalid(
                        format!("spec.limits[{index}].{field}[{name}]"),
                        &json!(value),
                        format!("{} value {one} is greater than {} value {other}", low.0, high.0),
                    ));
                }
            };
            ordered("min", ("min", &least), ("max", &most), &least);
            ordered("defaultRequest", ("min", &least), ("default request", &request), &request);
            ordered("defaultRequest", ("default request", &request), ("max", &most), &request);
            ordered("defaultRequest", ("default request", &request), ("default limit", &usual), &request);
            ordered("default", ("min", &least), ("default", &usual), &least);
            ordered("default", ("default", &usual), ("max", &most), &most);
        }
    }
}
