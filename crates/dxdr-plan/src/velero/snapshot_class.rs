//! VolumeSnapshotClasses for Velero, which takes the one of a driver that carries its label, and none without.

use std::collections::BTreeSet;

use dxdr_environment::{ObjectReference, ResourceKind, compile::DesiredObject};
use serde_json::{Value, json};

/// Velero takes the class that carries it, with the value `true`.
pub(crate) const LABEL: &str = "velero.io/csi-volumesnapshot-class";
/// The class that Kubernetes itself would take.
pub(crate) const DEFAULT: &str = "snapshot.storage.kubernetes.io/is-default-class";

/// `volumesnapshotclasses.snapshot.storage.k8s.io`
pub fn snapshot_classes() -> ResourceKind {
    ResourceKind {
        group: "snapshot.storage.k8s.io".to_owned(),
        version: "v1".to_owned(),
        kind: "VolumeSnapshotClass".to_owned(),
        plural: "volumesnapshotclasses".to_owned(),
        namespaced: false,
    }
}

/// Which class of a driver Velero is to take.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chosen {
    /// This one, with Velero's label: all that is said of it.
    Labelled(DesiredObject),
    /// There is none, and nobody knows what a class of this driver must say.
    None,
    /// One of these, and nothing says which.
    Unclear(Vec<String>),
}

/// Chooses among `live`, all classes: the one that has the label, else the default one, else the only one.
pub(super) fn choose(driver: &str, live: &[Value]) -> Chosen {
    let of_driver: Vec<&Value> = live.iter().filter(|class| class["driver"] == driver).collect();
    let marked = |map: &str, key: &str| {
        let found = of_driver.iter().filter(|class| class["metadata"][map][key] == "true").copied();
        found.collect::<Vec<&Value>>()
    };
    let (labelled, default) = (marked("labels", LABEL), marked("annotations", DEFAULT));
    match (labelled.as_slice(), default.as_slice(), of_driver.as_slice()) {
        // Velero takes the first of several; all of them have what it needs.
        ([class, ..], _, _) | ([], [class], _) | ([], [], [class]) => Chosen::Labelled(labelled_class(name(class))),
        (_, _, []) => Chosen::None,
        (_, _, several) => Chosen::Unclear(several.iter().map(|class| name(class).to_owned()).collect()),
    }
}

/// The classes of all `drivers`; and what a person must decide.
pub(super) fn settle(drivers: &BTreeSet<String>, live: &[Value]) -> (Vec<DesiredObject>, Vec<(String, String)>) {
    let (mut desired, mut undecided) = (Vec::new(), Vec::new());
    for driver in drivers {
        match choose(driver, live) {
            Chosen::Labelled(object) => desired.push(object),
            Chosen::None => undecided.push((
                format!("no VolumeSnapshotClass is of driver {driver}, so that Velero takes no snapshots of its volumes"),
                format!("create one with `driver: {driver}` and the label `{LABEL}: \"true\"`"),
            )),
            Chosen::Unclear(names) => undecided.push((
                format!("of the VolumeSnapshotClasses of driver {driver} none has Velero's label: {}", names.join(", ")),
                format!("choose one: `kubectl label volumesnapshotclass NAME {LABEL}=true`"),
            )),
        }
    }
    (desired, undecided)
}

fn labelled_class(name: &str) -> DesiredObject {
    let kind = snapshot_classes();
    let value = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name, "labels": {LABEL: "true"}},
    });
    DesiredObject { reference: ObjectReference { kind, namespace: None, name: name.to_owned() }, value }
}

fn name(class: &Value) -> &str {
    class.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, metadata: Value) -> Value {
        let mut class = json!({"driver": "csi.example.org", "deletionPolicy": "Delete", "metadata": {"name": name}});
        class["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        class
    }

    #[test]
    fn the_class_that_velero_takes_is_the_labelled_one_or_the_default_one_or_the_only_one() {
        let chosen = |live: &[Value]| match choose("csi.example.org", live) {
            Chosen::Labelled(object) => object.reference.name,
            other => format!("{other:?}"),
        };
        let (plain, other) = (class("plain", json!({})), class("other", json!({})));
        let default = class("default", json!({"annotations": {DEFAULT: "true"}}));
        let labelled = class("labelled", json!({"labels": {LABEL: "true"}}));
        assert_eq!(chosen(std::slice::from_ref(&plain)), "plain");
        assert_eq!(chosen(&[plain.clone(), default.clone()]), "default");
        assert_eq!(chosen(&[plain.clone(), default, labelled]), "labelled");
        assert_eq!(choose("csi.example.org", &[plain, other]), Chosen::Unclear(vec!["plain".to_owned(), "other".to_owned()]));
        assert_eq!(choose("csi.elsewhere.org", &[class("plain", json!({}))]), Chosen::None);
    }

    #[test]
    fn nothing_but_the_label_is_said_of_a_class() {
        let (desired, undecided) = settle(&BTreeSet::from(["csi.example.org".to_owned()]), &[class("plain", json!({}))]);
        assert_eq!(desired[0].value["metadata"], json!({"name": "plain", "labels": {LABEL: "true"}}));
        assert_eq!((desired[0].value.as_object().unwrap().len(), undecided.len()), (3, 0));
    }
}
