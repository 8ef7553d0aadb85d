//! Sets of fields, in the FieldsV1 form that `managedFields` carries.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::shape::{Listing, Shape};

/// A tree of path elements in their wire form: `f:name`, `k:{"name":"a"}`, `v:"x"`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FieldSet {
    /// Whether the path up to here is itself in the set.
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    pub(crate) fn from_value(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        let mut set = Self { member: map.is_empty() || map.contains_key("."), children: BTreeMap::new() };
        for (element, child) in map.iter().filter(|(element, _)| *element != ".") {
            set.children.insert(canonical(element), Self::from_value(child));
        }
        set
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            if !child.is_empty() {
                map.insert(element.clone(), child.to_value());
            }
        }
        Value::Object(map)
    }

    /// Every field of a value, as an applier owns them.
    pub(crate) fn of(value: &Value, shape: &Shape) -> Self {
        let Some(items) = children(value, shape) else { return Self::leaf() };
        let mut set = Self::default();
        let list = value.is_array();
        for (element, child, child_shape) in items {
            let mut below = Self::of(child, child_shape);
            let entry = element.strip_prefix("f:").is_some_and(|name| !shape.knows(name));
            below.member |= list || entry || child.as_object().is_some_and(Map::is_empty);
            if !below.is_empty() {
                set.children.insert(element, below);
            }
        }
        set
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut result = self.clone();
        result.add(other);
        result
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, child) in &other.children {
            self.children.entry(element.clone()).or_default().add(child);
        }
    }

    /// Members of `self` that are not members of `other`.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            let rest = other.children.get(element).map_or_else(|| child.clone(), |theirs| child.without(theirs));
            if !rest.is_empty() {
                result.children.insert(element.clone(), rest);
            }
        }
        result
    }

    /// Members of both.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let mut result = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, child) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = child.common(theirs);
                if !both.is_empty() {
                    result.children.insert(element.clone(), both);
                }
            }
        }
        result
    }

    /// Takes a path and everything below it out.
    pub(crate) fn cut(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.cut(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// The members as text: `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, at: String, into: &mut Vec<String>) {
        if self.member {
            into.push(at.clone());
        }
        for (element, child) in &self.children {
            child.collect(format!("{at}{}", readable(element)), into);
        }
    }
}

/// What a change did, as sets of fields.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub(crate) added: FieldSet,
    pub(crate) modified: FieldSet,
    pub(crate) removed: FieldSet,
}

impl Comparison {
    pub(crate) fn of(before: &Value, after: &Value, shape: &Shape) -> Self {
        let mut comparison = Self::default();
        compare(before, after, shape, &mut comparison);
        comparison
    }

    /// What the writer now owns: everything it added or modified.
    pub(crate) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }
}

fn compare(before: &Value, after: &Value, shape: &Shape, into: &mut Comparison) {
    let new = children(after, shape);
    let old = children(before, shape);
    // Nothing was in an empty map: what is added to it is added one by one.
    let old =
        if old.is_none() && new.is_some() && before.as_object().is_some_and(Map::is_empty) { Some(Vec::new()) } else { old };
    match (old, new) {
        (Some(old), Some(new)) => {
            let list = after.is_array();
            // Most changes are small: look values up only when order differs.
            let index: std::collections::HashMap<&str, &Value> =
                old.iter().map(|(element, value, _)| (element.as_str(), *value)).collect();
            for (element, value, child_shape) in &new {
                match index.get(element.as_str()) {
                    Some(previous) if *previous == *value => {}
                    Some(previous) => {
                        let mut below = Comparison::default();
                        compare(previous, value, child_shape, &mut below);
                        below.lift(element, into);
                    }
                    None => {
                        let below = whole(value, child_shape, element, list);
                        into.added.children.entry(element.clone()).or_default().add(&below);
                    }
                }
            }
            let now: std::collections::HashSet<&str> = new.iter().map(|(element, _, _)| element.as_str()).collect();
            for (element, value, child_shape) in &old {
                if !now.contains(element.as_str()) {
                    let mut below = FieldSet::of(value, child_shape);
                    below.member = true;
                    into.removed.children.entry(element.clone()).or_default().add(&below);
                }
            }
        }
        (None, None) => into.modified.member |= before != after,
        (Some(_), None) => {
            into.removed.add(&FieldSet::of(before, shape));
            into.modified.member = true;
        }
        (None, Some(_)) => into.added.add(&FieldSet::of(after, shape)),
    }
}

impl Comparison {
    fn lift(self, element: &str, into: &mut Comparison) {
        for (below, target) in
            [(self.added, &mut into.added), (self.modified, &mut into.modified), (self.removed, &mut into.removed)]
        {
            if !below.is_empty() {
                target.children.entry(element.to_owned()).or_default().add(&below);
            }
        }
    }
}

/// Structs that Go always writes, even empty: adding to them does not add them.
const ALWAYS_PRESENT: [&str; 7] =
    ["f:metadata", "f:spec", "f:status", "f:template", "f:strategy", "f:updateStrategy", "f:jobTemplate"];

fn whole(value: &Value, shape: &Shape, element: &str, in_list: bool) -> FieldSet {
    let Some(items) = children(value, shape) else { return FieldSet::leaf() };
    let mut set =
        FieldSet { member: in_list || (value.is_object() && !ALWAYS_PRESENT.contains(&element)), children: BTreeMap::new() };
    for (element, child, child_shape) in items {
        let below = whole(child, child_shape, &element, value.is_array());
        if !below.is_empty() {
            set.children.insert(element, below);
        }
    }
    set
}

/// The parts of a value that can be owned one by one; `None` for what is owned as a whole.
pub(crate) fn children<'a>(value: &'a Value, shape: &'a Shape) -> Option<Vec<(String, &'a Value, &'a Shape)>> {
    match value {
        Value::Object(map) if !shape.is_atomic_map() => {
            if map.is_empty() {
                return None;
            }
            Some(map.iter().map(|(name, child)| (format!("f:{name}"), child, shape.field(name))).collect())
        }
        Value::Array(items) => {
            if shape.listing == Listing::Atomic {
                return None;
            }
            Some(items.iter().map(|item| (element_of(item, &shape.listing), item, shape.item())).collect())
        }
        _ => None,
    }
}

/// The path element of a list's item.
pub(crate) fn element_of(item: &Value, listing: &Listing) -> String {
    match listing {
        Listing::Map(keys) => {
            let mut sorted: Vec<&String> = keys.iter().collect();
            sorted.sort();
            let mut text = String::from("k:{");
            for key in sorted {
                let value = match item.get(key) {
                    Some(value) => value.clone(),
                    // The only default among the keys of built-in lists.
                    None if key == "protocol" => "TCP".into(),
                    None => continue,
                };
                if text.len() > 3 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                text.push_str(&value.to_string());
            }
            text.push('}');
            text
        }
        _ => format!("v:{item}"),
    }
}

fn canonical(element: &str) -> String {
    let Some(keys) = element.strip_prefix("k:") else { return element.to_owned() };
    let Ok(Value::Object(map)) = serde_json::from_str(keys) else { return element.to_owned() };
    let names = map.keys().cloned().collect();
    element_of(&Value::Object(map), &Listing::Map(names))
}

/// A path element as messages show it.
pub(crate) fn readable(element: &str) -> String {
    if let Some(name) = element.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(value) = element.strip_prefix("v:") {
        return format!("[={value}]");
    }
    let keys = element.strip_prefix("k:").and_then(|keys| serde_json::from_str::<Map<String, Value>>(keys).ok());
    let parts: Vec<String> = keys.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    format!("[{}]", parts.join(","))
}
