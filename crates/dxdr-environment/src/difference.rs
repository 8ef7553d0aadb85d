//! How two objects differ, field by field.
//!
//! [`difference`] holds what is desired against what lives, as server-side apply does: fields that are not named are nobody's
//! business here. [`full_difference`] compares two complete trees.

use std::fmt;

use serde_json::{Map, Value};

use crate::Quantity;

/// One field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Which field.
    pub path: FieldPath,
    /// What it should be; `None`: it should not be there. Only [`full_difference`] knows that.
    pub desired: Option<Value>,
    /// What it is; `None`: it is not there.
    pub live: Option<Value>,
}

/// The way to a field: `spec.hard["requests.cpu"]`, `spec.containers[name="api"].image`, `spec.ingress[0].from`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FieldPath(pub Vec<PathStep>);

/// One step of the way to a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathStep {
    /// A field of an object.
    Field(String),
    /// An element of a list, by position.
    Index(usize),
    /// An element of a list, by the fields that tell its elements apart and their values as JSON.
    Keys(Vec<(String, String)>),
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Field(name) if is_plain(name) && position > 0 => write!(formatter, ".{name}")?,
                PathStep::Field(name) if is_plain(name) => formatter.write_str(name)?,
                PathStep::Field(name) => write!(formatter, "[{}]", Value::from(name.as_str()))?,
                PathStep::Index(index) => write!(formatter, "[{index}]")?,
                PathStep::Keys(keys) => {
                    let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    write!(formatter, "[{}]", keys.join(","))?;
                }
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Where `live` is not as `desired` says. Fields and list elements that `desired` does not name are no differences; neither is an
/// empty map or list that the server dropped, nor another text of the same quantity (`500m` and `0.5`). Lists whose elements have
/// names (containers, ports, environment variables …) are compared by name; all others are compared whole, in order, and so belong
/// to whoever desires them.
pub fn difference(desired: &Value, live: &Value) -> Vec<Difference> {
    let mut comparison = Comparison { whole: false, steps: Vec::new(), found: Vec::new() };
    comparison.values(desired, live, false);
    comparison.found
}

/// Where two complete trees differ, every field counted on both sides: `desired` is the left one. Lists whose elements have names
/// are compared by name, so that one container more does not make all the others differ; order alone is then no difference.
/// Nothing is cloned but what differs.
pub fn full_difference(left: &Value, right: &Value) -> Vec<Difference> {
    let mut comparison = Comparison { whole: true, steps: Vec::new(), found: Vec::new() };
    comparison.values(left, right, false);
    comparison.found
}

/// Lists whose elements the API tells apart by fields, with the fields. By the list's name alone: the kinds agree wherever they
/// share one. An element without the first of the fields makes the list an ordinary one. A missing `protocol` is TCP.
const MERGE_KEYS: [(&str, &[&str]); 16] = [
    ("conditions", &["type"]),
    ("containers", &["name"]),
    ("env", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("managedFields", &["manager", "operation", "apiVersion", "subresource"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "protocol"]),
    ("ports", &["port", "protocol"]),
    ("resourceClaims", &["name"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("volumeDevices", &["devicePath"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Longer lists are compared in order: finding elements by name takes the square of their number, and no real list of containers,
/// variables or ports comes near.
const LONGEST_NAMED_LIST: usize = 1_000;

/// Maps from resource to quantity.
const QUANTITY_MAPS: [&str; 9] =
    ["hard", "default", "defaultRequest", "max", "min", "maxLimitRequestRatio", "requests", "limits", "capacity"];

enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Keys(&'static [&'static str], &'a Map<String, Value>),
}

struct Comparison<'a> {
    /// Both sides are complete.
    whole: bool,
    steps: Vec<Step<'a>>,
    found: Vec<Difference>,
}

impl<'a> Comparison<'a> {
    /// `exact`: inside a list that is compared whole, where what is not named must not be there.
    fn values(&mut self, desired: &'a Value, live: &'a Value, exact: bool) {
        match (desired, live) {
            (Value::Object(desired), Value::Object(live)) => self.objects(desired, live, exact),
            (Value::Array(desired), Value::Array(live)) => self.lists(desired, live, exact),
            _ if desired == live || self.same_quantity(desired, live) => {}
            _ => self.differs(Some(desired), Some(live)),
        }
    }

    fn objects(&mut self, desired: &'a Map<String, Value>, live: &'a Map<String, Value>, exact: bool) {
        for (name, desired) in desired {
            self.steps.push(Step::Field(name));
            match live.get(name) {
                Some(live) => self.values(desired, live, exact),
                None if !self.whole && is_nothing(desired) => {}
                None => self.differs(Some(desired), None),
            }
            self.steps.pop();
        }
        if self.whole || exact {
            for (name, live) in live.iter().filter(|(name, _)| !desired.contains_key(*name)) {
                self.steps.push(Step::Field(name));
                self.differs(None, Some(live));
                self.steps.pop();
            }
        }
    }

    fn lists(&mut self, desired: &'a [Value], live: &'a [Value], exact: bool) {
        if let Some(keys) = self.merge_keys(desired, live) {
            return self.keyed_lists(keys, desired, live, exact);
        }
        if desired.len() != live.len() {
            // The list as a whole; the path to it is where we stand.
            return self.differs_list(desired, live);
        }
        for (index, (desired, live)) in desired.iter().zip(live).enumerate() {
            self.steps.push(Step::Index(index));
            self.values(desired, live, true);
            self.steps.pop();
        }
    }

    fn keyed_lists(&mut self, keys: &'static [&'static str], desired: &'a [Value], live: &'a [Value], exact: bool) {
        let objects = |list: &'a [Value]| list.iter().filter_map(Value::as_object);
        let same = |left, right| same_element(keys, left, right);
        for desired in objects(desired) {
            self.steps.push(Step::Keys(keys, desired));
            match objects(live).find(|live| same(desired, live)) {
                Some(live) => self.objects(desired, live, exact),
                None => self.differs(Some(&Value::Object(desired.clone())), None),
            }
            self.steps.pop();
        }
        if self.whole || exact {
            for live in objects(live).filter(|live| !objects(desired).any(|desired| same(desired, live))) {
                self.steps.push(Step::Keys(keys, live));
                self.differs(None, Some(&Value::Object(live.clone())));
                self.steps.pop();
            }
        }
    }

    fn merge_keys(&self, desired: &[Value], live: &[Value]) -> Option<&'static [&'static str]> {
        let Some(Step::Field(name)) = self.steps.last() else { return None };
        if desired.len().max(live.len()) > LONGEST_NAMED_LIST {
            return None;
        }
        let has = |value: &Value, key: &str| value.as_object().is_some_and(|object| object.contains_key(key));
        let fits = |keys: &[&str]| keys.first().is_some_and(|key| desired.iter().chain(live).all(|value| has(value, key)));
        let keys = MERGE_KEYS.iter().find(|(list, keys)| list == name && fits(keys)).map(|(_, keys)| *keys)?;
        (unique(keys, desired) && unique(keys, live)).then_some(keys)
    }

    fn same_quantity(&self, desired: &Value, live: &Value) -> bool {
        if self.whole {
            return false;
        }
        let [.., Step::Field(map), Step::Field(_)] = self.steps.as_slice() else { return false };
        QUANTITY_MAPS.contains(map) && quantity(desired).is_some_and(|desired| quantity(live) == Some(desired))
    }

    fn differs(&mut self, desired: Option<&Value>, live: Option<&Value>) {
        let path = FieldPath(self.steps.iter().map(Step::to_path).collect());
        self.found.push(Difference { path, desired: desired.cloned(), live: live.cloned() });
    }

    fn differs_list(&mut self, desired: &[Value], live: &[Value]) {
        let path = FieldPath(self.steps.iter().map(Step::to_path).collect());
        self.found.push(Difference { path, desired: Some(desired.to_vec().into()), live: Some(live.to_vec().into()) });
    }
}

/// Whether no two elements have the same name. Compares pairs: quicker than hashing for the few dozen elements that such lists have.
fn unique(keys: &[&str], list: &[Value]) -> bool {
    let objects: Vec<_> = list.iter().filter_map(Value::as_object).collect();
    objects.iter().enumerate().all(|(index, left)| objects.iter().skip(index + 1).all(|right| !same_element(keys, left, right)))
}

fn same_element(keys: &[&str], left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    keys.iter().all(|key| match (left.get(*key), right.get(*key)) {
        (Some(left), Some(right)) => left == right,
        (None, None) => true,
        (Some(only), None) | (None, Some(only)) => *key == "protocol" && only == "TCP",
    })
}

/// What the server drops when it is sent.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(object) => object.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

impl Step<'_> {
    fn to_path(&self) -> PathStep {
        match self {
            Self::Field(name) => PathStep::Field((*name).to_owned()),
            Self::Index(index) => PathStep::Index(*index),
            Self::Keys(keys, object) => {
                let named = keys.iter().filter_map(|key| Some(((*key).to_owned(), object.get(*key)?.to_string())));
                PathStep::Keys(named.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0_i64..3).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let name = prop_oneof!["[a-c]", Just("name".to_owned()), Just("env".to_owned()), Just("hard".to_owned())];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_differs_from_itself(tree in tree()) {
            prop_assert_eq!(difference(&tree, &tree), []);
            prop_assert_eq!(full_difference(&tree, &tree), []);
        }

        #[test]
        fn two_trees_without_named_lists_differ_when_they_are_not_equal(left in tree(), right in tree()) {
            let named = |tree: &Value| tree.to_string().contains("\"env\"");
            prop_assume!(!named(&left) && !named(&right));
            prop_assert_eq!(full_difference(&left, &right).is_empty(), left == right);
        }
    }

    fn paths(differences: &[Difference]) -> Vec<String> {
        differences.iter().map(|difference| difference.path.to_string()).collect()
    }

    #[test]
    fn what_others_added_to_a_live_object_is_no_difference() {
        let desired = json!({"metadata": {"name": "staging", "labels": {"a": "1"}}});
        let live = json!({"metadata": {"name": "staging", "uid": "x", "labels": {"a": "1", "b": "2"}}, "status": {}});
        assert_eq!(difference(&desired, &live), []);
    }

    #[test]
    fn a_field_with_a_dot_in_its_name_is_shown_in_brackets() {
        let desired = json!({"spec": {"hard": {"requests.cpu": "8", "pods": "20"}}});
        let live = json!({"spec": {"hard": {"requests.cpu": "4"}}});
        let found = difference(&desired, &live);
        assert_eq!(paths(&found), ["spec.hard.pods", "spec.hard[\"requests.cpu\"]"]);
        assert_eq!((&found[1].desired, &found[1].live), (&Some(json!("8")), &Some(json!("4"))));
        assert_eq!(found[0].live, None);
    }

    #[test]
    fn one_quantity_in_two_texts_is_no_difference() {
        let desired = json!({"spec": {"hard": {"requests.cpu": "0.5", "requests.memory": "1Gi", "pods": "20"}}});
        let live = json!({"spec": {"hard": {"requests.cpu": "500m", "requests.memory": "1024Mi", "pods": 20}}});
        assert_eq!(difference(&desired, &live), []);
        assert_eq!(difference(&json!({"data": {"cpu": "0.5"}}), &json!({"data": {"cpu": "500m"}})).len(), 1);
    }

    #[test]
    fn an_empty_list_that_the_server_dropped_is_no_difference() {
        assert_eq!(difference(&json!({"spec": {"egress": [], "podSelector": {}}}), &json!({"spec": {"podSelector": {}}})), []);
    }

    #[test]
    fn a_list_without_names_is_compared_whole() {
        let desired = json!({"spec": {"ingress": [{"from": [{"podSelector": {}}]}]}});
        let live = json!({"spec": {"ingress": [{"from": [{"podSelector": {}}]}, {}]}});
        assert_eq!(paths(&difference(&desired, &live)), ["spec.ingress"]);
        let wider = json!({"spec": {"ingress": [{"from": [{"podSelector": {}, "namespaceSelector": {}}]}]}});
        assert_eq!(paths(&difference(&desired, &wider)), ["spec.ingress[0].from[0].namespaceSelector"]);
    }

    #[test]
    fn a_container_is_found_by_its_name() {
        let desired = json!({"containers": [{"name": "api", "image": "api:2"}]});
        let live = json!({"containers": [{"name": "proxy", "image": "proxy:1"}, {"name": "api", "image": "api:1"}]});
        assert_eq!(paths(&difference(&desired, &live)), ["containers[name=\"api\"].image"]);
        assert_eq!(paths(&full_difference(&desired, &live)), ["containers[name=\"api\"].image", "containers[name=\"proxy\"]"]);
    }

    #[test]
    fn a_port_without_protocol_is_the_tcp_port() {
        let desired = json!({"ports": [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]});
        let live = json!({"ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]});
        assert_eq!(difference(&desired, &live), []);
    }

    #[test]
    fn two_complete_trees_differ_in_what_either_side_lacks() {
        let left = json!({"data": {"a": "1", "b": "2"}});
        let right = json!({"data": {"b": "2", "c": "3"}});
        let found = full_difference(&left, &right);
        assert_eq!(paths(&found), ["data.a", "data.c"]);
        assert_eq!((&found[1].desired, &found[1].live), (&None, &Some(json!("3"))));
        assert_eq!(full_difference(&left, &left), []);
    }
}
