//! Server-side apply and the bookkeeping of who wrote which field.
//!
//! Every write goes through here: an update gives its author the fields it changed and takes them from everybody else;
//! an apply also sees conflicts, and removes what its manager applied before and no longer does.

use serde_json::{Map, Value, json};

use crate::field_set::{Comparison, FieldSet, element_of, readable};
use crate::kind::Kind;
use crate::shape::{Listing, Shape};
use crate::status::Failure;

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) operation: &'static str,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
    pub(crate) time: String,
    pub(crate) fields: FieldSet,
}

/// Who writes, and where.
#[derive(Debug, Clone)]
pub(crate) struct Author<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) time: &'a str,
}

pub(crate) fn managers_of(object: &Value) -> Vec<Manager> {
    object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("fieldsV1").is_some())
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            Manager {
                name: text("manager"),
                operation: if entry["operation"] == "Apply" { "Apply" } else { "Update" },
                api_version: text("apiVersion"),
                subresource: text("subresource"),
                time: text("time"),
                fields: FieldSet::from_value(&entry["fieldsV1"]),
            }
        })
        .collect()
}

pub(crate) fn set_managers(object: &mut Value, mut managers: Vec<Manager>) {
    managers.retain(|manager| !manager.fields.is_empty());
    managers
        .sort_by(|a, b| (a.operation, &a.time, &a.name, &a.subresource).cmp(&(b.operation, &b.time, &b.name, &b.subresource)));
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if managers.is_empty() {
        metadata.remove("managedFields");
        return;
    }
    let entries = managers
        .into_iter()
        .map(|manager| {
            let mut entry = json!({
                "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version,
                "time": manager.time, "fieldsType": "FieldsV1", "fieldsV1": manager.fields.to_value(),
            });
            if !manager.subresource.is_empty() {
                entry["subresource"] = manager.subresource.into();
            }
            entry
        })
        .collect();
    metadata.insert("managedFields".to_owned(), Value::Array(entries));
}

/// Records an update of `before` (or a create, when there is none) by `author`, and returns the managers of `after`.
pub(crate) fn record_update(
    before: Option<&Value>,
    after: &Value,
    mut managers: Vec<Manager>,
    kind: &Kind,
    author: &Author<'_>,
) -> Vec<Manager> {
    let empty = json!({"metadata": {}});
    let before = before.map_or_else(|| tracked(&empty), tracked);
    let after = tracked(after);
    let comparison = Comparison::of(&before, &after, &kind.shape);
    let mut written = stripped(comparison.written(), kind, author.subresource);
    // The root is never owned.
    written.member = false;
    let removed = comparison.removed;
    if written.is_empty() && removed.is_empty() {
        return managers;
    }
    let api_version = kind.api_version();
    let own = |manager: &Manager| {
        manager.operation == "Update"
            && manager.name == author.manager
            && manager.subresource == author.subresource
            && manager.api_version == api_version
    };
    for manager in &mut managers {
        manager.fields = manager.fields.without(&removed);
        if !own(manager) {
            manager.fields = manager.fields.without(&written);
        }
    }
    if let Some(manager) = managers.iter_mut().find(|manager| own(manager)) {
        let fields = manager.fields.union(&written);
        if fields != manager.fields || !removed.is_empty() {
            manager.time = author.time.to_owned();
        }
        manager.fields = fields;
    } else if !written.is_empty() {
        managers.push(Manager {
            name: author.manager.to_owned(),
            operation: "Update",
            api_version,
            subresource: author.subresource.to_owned(),
            time: author.time.to_owned(),
            fields: written,
        });
    }
    managers
}

/// What an apply leads to.
pub(crate) struct Applied {
    pub(crate) object: Value,
    pub(crate) managers: Vec<Manager>,
}

/// Merges an applied configuration into the live object.
///
/// Fails with the real server's 409 when another manager owns a field the configuration would change, unless `force`.
pub(crate) fn apply(
    live: Option<&Value>,
    configuration: &Value,
    kind: &Kind,
    author: &Author<'_>,
    force: bool,
) -> Result<Applied, Failure> {
    let empty = json!({"apiVersion": configuration["apiVersion"], "kind": configuration["kind"], "metadata": {}});
    let live_object = live.unwrap_or(&empty);
    let mut managers = live.map(managers_of).unwrap_or_default();
    let api_version = kind.api_version();
    if live.is_some() && managers.is_empty() {
        let mut fields = stripped(FieldSet::of(&tracked(live_object), &kind.shape), kind, author.subresource);
        fields.member = false;
        managers.push(Manager {
            name: "before-first-apply".to_owned(),
            operation: "Update",
            api_version: api_version.clone(),
            subresource: String::new(),
            time: author.time.to_owned(),
            fields,
        });
    }
    let mut applied = stripped(FieldSet::of(&tracked(configuration), &kind.shape), kind, author.subresource);
    applied.member = false;
    let own = |manager: &Manager| {
        manager.operation == "Apply" && manager.name == author.manager && manager.subresource == author.subresource
    };
    let mut object = merge(live_object, configuration, &kind.shape);
    let comparison = Comparison::of(&tracked(live_object), &tracked(&object), &kind.shape);
    let changed = comparison.written();
    let mut conflicts: Vec<(&Manager, FieldSet)> = Vec::new();
    for manager in managers.iter().filter(|manager| !own(manager)) {
        let common = manager.fields.common(&changed);
        if !common.is_empty() {
            conflicts.push((manager, common));
        }
    }
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    let last = managers.iter().find(|manager| own(manager)).map(|manager| manager.fields.clone());
    for manager in managers.iter_mut().filter(|manager| !own(manager)) {
        manager.fields = manager.fields.without(&changed).without(&comparison.removed);
    }
    let mut others = FieldSet::default();
    for manager in managers.iter().filter(|manager| !own(manager)) {
        others.add(&manager.fields);
    }
    if let Some(last) = &last {
        let kept = applied.union(&others);
        let dropped = last.without(&kept);
        remove(&mut object, &dropped, &kept, &kind.shape);
    }
    match managers.iter_mut().find(|manager| own(manager)) {
        Some(manager) => {
            if manager.fields != applied {
                manager.time = author.time.to_owned();
            }
            manager.fields = applied;
            manager.api_version = api_version;
        }
        None => managers.push(Manager {
            name: author.manager.to_owned(),
            operation: "Apply",
            api_version,
            subresource: author.subresource.to_owned(),
            time: author.time.to_owned(),
            fields: applied,
        }),
    }
    Ok(Applied { object, managers })
}

fn conflict(conflicts: &[(&Manager, FieldSet)]) -> Failure {
    let mut causes = Vec::new();
    let mut text = String::new();
    let mut count = 0;
    let single = conflicts.len() == 1 && conflicts[0].1.paths().len() == 1;
    for (manager, fields) in conflicts {
        let mut who = format!("conflict{} with \"{}\"", if single { "" } else { "s" }, manager.name);
        let mut cause_who = format!("conflict with \"{}\"", manager.name);
        if !manager.subresource.is_empty() {
            let suffix = format!(" with subresource \"{}\"", manager.subresource);
            who.push_str(&suffix);
            cause_who.push_str(&suffix);
        }
        let mut using = format!(" using {}", manager.api_version);
        if manager.operation != "Update" {
            using = String::new();
        }
        who.push_str(&using);
        cause_who.push_str(&using);
        let paths = fields.paths();
        count += paths.len();
        if single {
            text = format!("{who}: {}", paths[0]);
        } else {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("{who}:\n{}", paths.iter().map(|path| format!("- {path}")).collect::<Vec<_>>().join("\n")));
        }
        causes.extend(paths.iter().map(|path| json!({"reason": "FieldManagerConflict", "message": cause_who, "field": path})));
    }
    let plural = if count == 1 { "conflict" } else { "conflicts" };
    Failure::new(409, "Conflict", format!("Apply failed with {count} {plural}: {text}")).with_causes(causes)
}

/// What makes a configuration unfit to be applied: fields its type does not have, and items of a list that cannot be
/// told apart.
pub(crate) fn untyped(configuration: &Value, shape: &Shape) -> Vec<String> {
    let mut problems = Vec::new();
    find_untyped(configuration, shape, "", true, &mut problems);
    problems
}

fn find_untyped(value: &Value, shape: &Shape, path: &str, root: bool, problems: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if root && matches!(name.as_str(), "apiVersion" | "kind") {
                    continue;
                }
                let at = format!("{path}.{name}");
                if shape.is_closed() && !shape.knows(name) {
                    problems.push(format!("{at}: field not declared in schema"));
                } else {
                    find_untyped(child, shape.field(name), &at, false, problems);
                }
            }
        }
        Value::Array(items) if shape.listing != Listing::Atomic => {
            let mut seen = std::collections::BTreeSet::new();
            for item in items {
                let element = element_of(item, &shape.listing);
                let shown = readable(&element);
                if !seen.insert(element) {
                    let key = shown.trim_start_matches("[=").trim_start_matches('[').trim_end_matches(']');
                    problems.push(format!("{path}: duplicate entries for key [{key}]"));
                }
                find_untyped(item, shape.item(), &format!("{path}{shown}"), false, problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_untyped(item, shape.item(), &format!("{path}[{index}]"), false, problems);
            }
        }
        _ => {}
    }
}

/// The object without what nobody owns.
fn tracked(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("apiVersion");
        map.remove("kind");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in UNTRACKED {
                metadata.remove(name);
            }
        }
    }
    object
}

const UNTRACKED: [&str; 11] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Takes out what the endpoint does not write: the status of an object written as a whole, the rest of one written
/// through `/status`.
fn stripped(mut fields: FieldSet, kind: &Kind, subresource: &str) -> FieldSet {
    if kind.has_status {
        if subresource == "status" {
            fields.cut(&["f:spec"]);
            if kind.custom.is_some() {
                fields.cut(&["f:metadata"]);
            }
        } else {
            fields.cut(&["f:status"]);
        }
    }
    if fields.children.get("f:metadata").is_some_and(|metadata| metadata.children.is_empty()) {
        fields.children.remove("f:metadata");
    }
    fields
}

fn merge(live: &Value, configuration: &Value, shape: &Shape) -> Value {
    match (live, configuration) {
        (Value::Object(old), Value::Object(new)) if !shape.is_atomic_map() => {
            let mut merged: Map<String, Value> = old.clone();
            for (name, value) in new {
                let value = match old.get(name) {
                    Some(before) => merge(before, value, shape.field(name)),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) if shape.listing != Listing::Atomic => {
            let elements =
                |items: &[Value]| -> Vec<String> { items.iter().map(|item| element_of(item, &shape.listing)).collect() };
            let (old_elements, new_elements) = (elements(old), elements(new));
            // The next item of both in the configuration's order: items of both follow it, others keep their place.
            let shared: Vec<&String> = new_elements.iter().filter(|element| old_elements.contains(element)).collect();
            let (mut left, mut right, mut next) = (0, 0, 0);
            let mut merged = Vec::new();
            while left < old.len() || right < new.len() {
                if left < old.len() && new_elements.get(right) != Some(&old_elements[left]) {
                    if !new_elements.contains(&old_elements[left]) {
                        merged.push(old[left].clone());
                        left += 1;
                        continue;
                    }
                    if shared.get(next) != Some(&&old_elements[left]) {
                        left += 1;
                        continue;
                    }
                }
                let element = &new_elements[right];
                match old_elements.iter().position(|other| other == element) {
                    Some(place) => {
                        merged.push(merge(&old[place], &new[right], shape.item()));
                        next += 1;
                        left += usize::from(old_elements.get(left) == Some(element));
                    }
                    None => merged.push(new[right].clone()),
                }
                right += 1;
            }
            Value::Array(merged)
        }
        _ => configuration.clone(),
    }
}

/// Removes `dropped` from the value, but nothing that holds something of `kept`.
fn remove(value: &mut Value, dropped: &FieldSet, kept: &FieldSet, shape: &Shape) {
    let nothing = FieldSet::default();
    for (element, below) in &dropped.children {
        let keep = kept.children.get(element).unwrap_or(&nothing);
        match value {
            Value::Object(map) => {
                let Some(name) = element.strip_prefix("f:") else { continue };
                let Some(child) = map.get_mut(name) else { continue };
                if keep.is_empty() && (below.member || goes_entirely(child, below, shape.field(name))) {
                    map.remove(name);
                } else {
                    remove(child, below, keep, shape.field(name));
                }
            }
            Value::Array(items) => {
                let Some(index) = items.iter().position(|item| element_of(item, &shape.listing) == *element) else {
                    continue;
                };
                if keep.is_empty() {
                    items.remove(index);
                } else {
                    remove(&mut items[index], below, keep, shape.item());
                }
            }
            _ => {}
        }
    }
}

/// Whether nothing would be left of a container once `dropped` is out of it.
fn goes_entirely(value: &Value, dropped: &FieldSet, shape: &Shape) -> bool {
    FieldSet::of(value, shape).without(dropped).is_empty() || {
        let mut rest = value.clone();
        remove(&mut rest, dropped, &FieldSet::default(), shape);
        matches!(&rest, Value::Object(map) if map.is_empty()) || matches!(&rest, Value::Array(items) if items.is_empty())
    }
}
