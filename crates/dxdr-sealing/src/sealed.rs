//! SealedSecrets as they stand in files and clusters.

use dxdr_environment::{
    FieldPath, PathStep, Scope, SealedIdentity,
    sealed_secret::{API_VERSION, KIND},
};
use serde_json::Value;

use crate::ciphertext::{Ciphertext, InvalidCiphertext};

/// One SealedSecret and what it holds. Nothing in it is secret.
#[derive(Debug, Clone)]
pub struct SealedObject {
    /// Where in its document it stands; empty, but for lists.
    pub path: FieldPath,
    /// What its ciphertexts are bound to, as it says itself. Tools that render manifests may have another namespace or name in mind: opening
    /// is the proof.
    pub identity: SealedIdentity,
    /// Its items, in the order of their names; or the one blob of the deprecated form.
    pub items: Vec<SealedItem>,
}

/// The name of the one item of the deprecated form: a whole Secret, as JSON, in one ciphertext.
pub const WHOLE: &str = "spec.data";

/// An item of a SealedSecret.
#[derive(Debug, Clone)]
pub struct SealedItem {
    /// Its name; [`WHOLE`] for a Secret in one ciphertext.
    pub name: String,
    /// Whether it is a Secret in one ciphertext, and not the value of an item.
    pub whole: bool,
    /// What stands there.
    pub content: Result<Ciphertext, UnusableItem>,
}

/// Why an item cannot be opened by anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableItem {
    /// A number, a list, nothing.
    #[error("it is {0}; expected text (the controller would take it for an empty one)")]
    NotText(&'static str),
    /// No ciphertext.
    #[error(transparent)]
    Invalid(#[from] InvalidCiphertext),
}

impl SealedObject {
    /// Every SealedSecret in a document: the document itself, or those in a list. A namespace that is nowhere is `default_namespace`.
    pub fn all_in(document: &Value, default_namespace: Option<&str>) -> Vec<Self> {
        let objects = objects(document).into_iter().filter(|(_, object)| is_sealed_secret(object));
        objects.map(|(path, object)| Self::read(path, object, default_namespace)).collect()
    }

    /// A SealedSecret that is known to be one, as a cluster lists it.
    pub fn of(object: &Value) -> Self {
        Self::read(FieldPath::default(), object, None)
    }

    fn read(path: FieldPath, object: &Value, default_namespace: Option<&str>) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let namespace = text("/metadata/namespace").or_else(|| text("/spec/template/metadata/namespace")).or(default_namespace);
        let annotations = &object["metadata"]["annotations"];
        let items = object["spec"]["encryptedData"].as_object().into_iter().flatten();
        // Beside items the controller refuses it, and the object with it.
        let whole = items.clone().next().is_none().then(|| &object["spec"]["data"]).filter(|data| !data.is_null());
        let whole = whole.map(|data| SealedItem { name: WHOLE.to_owned(), content: content(data), whole: true });
        Self {
            path,
            identity: SealedIdentity {
                namespace: namespace.unwrap_or_default().to_owned(),
                name: text("/metadata/name").unwrap_or_default().to_owned(),
                scope: Scope::of_annotations(|name| annotations[name].as_str()),
            },
            items: items
                .map(|(name, value)| SealedItem { name: name.clone(), content: content(value), whole: false })
                .chain(whole)
                .collect(),
        }
    }

    /// Whether it is of the deprecated form: its one item is a whole Secret.
    pub fn is_whole(&self) -> bool {
        self.items.iter().any(|item| item.whole)
    }

    /// Where in the document an item of that name stands, or would.
    pub fn item_path(&self, name: &str) -> FieldPath {
        below(&self.path, &["spec", "encryptedData", name])
    }

    /// Where in the document one of its items stands.
    pub fn path_of(&self, item: &SealedItem) -> FieldPath {
        if item.whole { below(&self.path, &["spec", "data"]) } else { self.item_path(&item.name) }
    }
}

fn content(value: &Value) -> Result<Ciphertext, UnusableItem> {
    match value {
        Value::String(text) => Ciphertext::from_base64(text).map_err(UnusableItem::Invalid),
        other => Err(UnusableItem::NotText(kind_of(other))),
    }
}

/// Whether an object is a SealedSecret that the controller knows.
pub fn is_sealed_secret(object: &Value) -> bool {
    object["apiVersion"] == API_VERSION && object["kind"] == KIND
}

/// The objects of a document: itself, or what is in it where it is a list; and where each stands.
pub fn objects(document: &Value) -> Vec<(FieldPath, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(FieldPath::default(), document)];
    while let Some((path, value)) = open.pop() {
        let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match value["items"].as_array().filter(|_| is_list) {
            Some(items) => open.extend(items.iter().enumerate().rev().map(|(index, item)| {
                let mut steps = below(&path, &["items"]).0;
                steps.push(PathStep::Index(index));
                (FieldPath(steps), item)
            })),
            None => found.push((path, value)),
        }
    }
    found
}

/// The path of a field in an object.
pub(crate) fn below(path: &FieldPath, names: &[&str]) -> FieldPath {
    let names = names.iter().map(|name| PathStep::Field((*name).to_owned()));
    FieldPath(path.0.iter().cloned().chain(names).collect())
}

/// What a value is, without the value.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
