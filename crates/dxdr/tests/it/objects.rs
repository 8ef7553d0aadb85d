//! Objects of tests, and what refers to them.

use dxdr_environment::{ObjectReference, ResourceKind};
use serde_json::{Value, json};

pub(crate) fn reference(
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
    namespace: Option<&str>,
    name: &str,
) -> ObjectReference {
    let kind = ResourceKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: namespace.is_some(),
    };
    ObjectReference { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

/// A reference to an object of the core group.
pub(crate) fn core(kind: &str, namespace: Option<&str>, name: &str) -> ObjectReference {
    reference("", "v1", kind, &format!("{}s", kind.to_lowercase()), namespace, name)
}

pub(crate) fn namespace(name: &str) -> (ObjectReference, Value) {
    (core("Namespace", None, name), json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
}

pub(crate) fn config_map(namespace: &str, name: &str, value: &str) -> (ObjectReference, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"value": value}
    });
    (core("ConfigMap", Some(namespace), name), object)
}

pub(crate) fn secret(namespace: &str, name: &str) -> (ObjectReference, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"password": "x"}
    });
    (core("Secret", Some(namespace), name), object)
}
