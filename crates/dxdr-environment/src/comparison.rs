//! What a model compiles to, held against what lives: what is missing, what differs, and what nothing asks for any more.

use serde_json::Value;

use crate::{Difference, ObjectReference, ResourceKind, compile::DesiredObject, difference};

/// One object that must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedObject {
    /// As it should be.
    pub desired: DesiredObject,
    /// As it is.
    pub state: ObjectState,
}

/// How an object is, held against how it should be.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectState {
    /// Not there.
    Missing,
    /// As it should be.
    Same,
    /// Not as it should be.
    Differs(Vec<Difference>),
}

impl PlannedObject {
    /// Holds `desired` against the object of its name, where there is one.
    pub fn new(desired: DesiredObject, live: Option<&Value>) -> Self {
        let state = match live.map(|live| difference(&desired.value, live)) {
            None => ObjectState::Missing,
            Some(differences) if differences.is_empty() => ObjectState::Same,
            Some(differences) => ObjectState::Differs(differences),
        };
        Self { desired, state }
    }

    /// Whether nothing is to be done about it.
    pub fn is_same(&self) -> bool {
        self.state == ObjectState::Same
    }
}

/// Those of `live`, objects of `kind`, that are ours and that nobody desires any more. Which are ours is for the caller to say: what
/// only looks like it must not be removed.
pub fn orphaned<'a>(
    kind: &ResourceKind,
    live: impl IntoIterator<Item = &'a Value>,
    desired: &[DesiredObject],
    is_ours: impl Fn(&Value) -> bool,
) -> Vec<ObjectReference> {
    let text = |live: &Value, pointer: &str| live.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    live.into_iter()
        .filter(|live| is_ours(live))
        .filter_map(|live| {
            let namespace = text(live, "/metadata/namespace").filter(|_| kind.namespaced);
            Some(ObjectReference { kind: kind.clone(), namespace, name: text(live, "/metadata/name")? })
        })
        .filter(|reference| desired.iter().all(|desired| desired.reference != *reference))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind() -> ResourceKind {
        let (group, version) = (String::new(), "v1".to_owned());
        ResourceKind { group, version, kind: "ConfigMap".to_owned(), plural: "configmaps".to_owned(), namespaced: true }
    }

    fn desired(name: &str) -> DesiredObject {
        DesiredObject {
            reference: ObjectReference { kind: kind(), namespace: Some("staging".to_owned()), name: name.to_owned() },
            value: json!({"metadata": {"name": name}, "data": {"a": "1"}}),
        }
    }

    fn live(name: &str, ours: bool, value: &str) -> Value {
        json!({"metadata": {"namespace": "staging", "name": name, "labels": {"ours": ours}}, "data": {"a": value, "b": "other"}})
    }

    #[test]
    fn an_object_is_missing_same_or_differs() {
        let state = |live: Option<Value>| PlannedObject::new(desired("one"), live.as_ref()).state;
        assert_eq!(state(None), ObjectState::Missing);
        assert_eq!(state(Some(live("one", true, "1"))), ObjectState::Same);
        assert!(matches!(state(Some(live("one", true, "2"))), ObjectState::Differs(differences) if differences.len() == 1));
    }

    #[test]
    fn only_what_is_ours_and_not_desired_is_orphaned() {
        let there = [live("one", true, "1"), live("gone", true, "1"), live("theirs", false, "1")];
        let found = orphaned(&kind(), &there, &[desired("one")], |live| live["metadata"]["labels"]["ours"] == true);
        assert_eq!(found, [desired("gone").reference]);
    }
}
