//! From the manifest of a Secret to the manifest of a SealedSecret.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_environment::{
    FieldPath, Scope, SealedIdentity,
    sealed_secret::{API_VERSION, CLUSTER_WIDE, KIND, NAMESPACE_WIDE},
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value, json};
use zeroize::Zeroize as _;

use crate::{
    certificate::{SealError, SealingCertificate},
    plaintext::Plaintext,
    sealed::{below, kind_of},
};

/// Metadata that a server gives, which means nothing on an object to come.
const GIVEN_BY_SERVERS: [&str; 9] = [
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "managedFields",
];

/// Annotations that hold the whole Secret in clear.
pub(crate) const LAST_APPLIED: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "kubecfg.ksonnet.io/last-applied-configuration"];

/// Annotations by which a deployment tool knows its own objects: on the Secret that the controller makes, it would take that for one.
const TRACKING: [&str; 3] = ["argocd.argoproj.io/tracking-id", "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"];

/// A Secret as somebody wrote it, with its values decoded.
pub struct SecretManifest {
    name: Option<String>,
    namespace: Option<String>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    more_metadata: Map<String, Value>,
    secret_type: Option<String>,
    immutable: Option<bool>,
    items: BTreeMap<String, Plaintext>,
    warnings: Vec<String>,
}

/// What of a Secret is to be sealed otherwise than it says.
#[derive(Debug, Clone, Default)]
pub struct SealRequest {
    /// A name instead of the manifest's.
    pub name: Option<String>,
    /// The namespace; one that contradicts the manifest's is refused.
    pub namespace: Option<String>,
    /// The namespace where neither says one.
    pub default_namespace: Option<String>,
    /// The scope instead of that of the manifest's annotations.
    pub scope: Option<Scope>,
    /// Take a Secret without items.
    pub allow_empty: bool,
}

/// Why a manifest cannot be sealed. No value of the Secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Something else than a Secret.
    #[error("it is a {0}, and only Secrets (apiVersion v1) are sealed")]
    NotASecret(String),
    /// A field holds something else than it should.
    #[error("{path} is {found}; expected {expected}")]
    Field {
        /// Where.
        path: FieldPath,
        /// What kind of value stands there, not the value.
        found: &'static str,
        /// What should.
        expected: &'static str,
    },
    /// A value under `data` that is no base64.
    #[error("data.{0} is not base64; a value in clear belongs under stringData")]
    NotBase64(String),
    /// A name that no item of a Secret may have.
    #[error("`{0}` is no name of an item: expected letters, digits, `-`, `_` and `.`, at most 253 of them")]
    ItemName(String),
    /// Nothing to seal.
    #[error("it has no items: neither data nor stringData hold anything")]
    Empty,
    /// An object without a name.
    #[error("it has no metadata.name")]
    NoName,
    /// Nobody says where it belongs.
    #[error("it has no metadata.namespace, and with scope {0} the ciphertext is bound to it")]
    NoNamespace(Scope),
    /// Two namespaces.
    #[error("its metadata.namespace is {manifest}, and {requested} was asked for")]
    OtherNamespace {
        /// The manifest's.
        manifest: String,
        /// The request's.
        requested: String,
    },
    /// The ciphers failed.
    #[error("item {item} cannot be sealed: {cause}")]
    Sealing {
        /// Which one.
        item: String,
        /// Why.
        cause: SealError,
    },
}

impl ManifestError {
    /// The field it is about, as far as one can be told.
    pub fn path(&self) -> FieldPath {
        match self {
            Self::Field { path, .. } => path.clone(),
            Self::NotBase64(name) => path(&["data", name]),
            Self::OtherNamespace { .. } => path(&["metadata", "namespace"]),
            Self::NoName | Self::NoNamespace(_) => path(&["metadata"]),
            Self::NotASecret(_) => path(&["kind"]),
            Self::ItemName(_) | Self::Empty | Self::Sealing { .. } => FieldPath::default(),
        }
    }
}

fn path(names: &[&str]) -> FieldPath {
    below(&FieldPath::default(), names)
}

impl SecretManifest {
    /// Reads a Secret. Its values are copied: whoever holds the tree overwrites it.
    pub fn read(value: &Value) -> Result<Self, ManifestError> {
        let kind = value["kind"].as_str().unwrap_or("document without a kind");
        let version = value["apiVersion"].as_str().unwrap_or_default();
        if kind != "Secret" || version != "v1" {
            let version = if version.is_empty() { String::new() } else { format!(" of {version}") };
            return Err(ManifestError::NotASecret(format!("{kind}{version}")));
        }
        let metadata = &value["metadata"];
        let mut warnings = Vec::new();
        let labels = texts(metadata, "labels")?;
        let mut annotations = texts(metadata, "annotations")?;
        for name in LAST_APPLIED {
            if let Some(Value::String(mut applied)) = annotations.remove(name) {
                applied.zeroize();
            }
        }
        for name in TRACKING {
            if annotations.remove(name).is_some() {
                warnings.push(format!("annotation {name} is left out: the tool would take the unsealed Secret for its own"));
            }
        }
        let mut more_metadata = Map::new();
        for (name, value) in map_of(value, "metadata")? {
            match name.as_str() {
                "name" | "namespace" | "labels" | "annotations" => {}
                "finalizers" => warnings.push("metadata.finalizers are left out: they would hold the unsealed Secret".to_owned()),
                "generateName" => warnings.push("metadata.generateName is left out: ciphertexts are bound to a name".to_owned()),
                name if GIVEN_BY_SERVERS.contains(&name) => {}
                _ => {
                    more_metadata.insert(name.clone(), value.clone());
                }
            }
        }
        let immutable = match &value["immutable"] {
            Value::Null => None,
            Value::Bool(immutable) => Some(*immutable),
            other => return Err(field(&["immutable"], other, "true or false")),
        };
        Ok(Self {
            name: optional_text(metadata, "name", &["metadata", "name"])?,
            namespace: optional_text(metadata, "namespace", &["metadata", "namespace"])?,
            labels,
            annotations,
            more_metadata,
            secret_type: optional_text(value, "type", &["type"])?,
            immutable,
            items: items(value)?,
            warnings,
        })
    }

    /// Its name, where it says one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it says more of the Secret to come than items and names.
    pub fn has_more_than_items(&self) -> bool {
        let scopes = [NAMESPACE_WIDE, CLUSTER_WIDE];
        !self.labels.is_empty()
            || self.annotations.keys().any(|name| !scopes.contains(&name.as_str()))
            || self.secret_type.as_deref().is_some_and(|name| name != "Opaque")
            || self.immutable.is_some()
    }

    /// What was left out, in sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Seals every item. The scope stands as an annotation on both, the SealedSecret and what it makes, as kubeseal has it.
    pub fn seal(&self, request: &SealRequest, certificate: &SealingCertificate) -> Result<SealedSecret, ManifestError> {
        let mut annotations = self.annotations.clone();
        let scope = request.scope.unwrap_or_else(|| Scope::of_annotations(|name| annotations.get(name).and_then(Value::as_str)));
        let identity = self.identity(request, scope)?;
        if self.items.is_empty() && !request.allow_empty {
            return Err(ManifestError::Empty);
        }
        for name in [NAMESPACE_WIDE, CLUSTER_WIDE] {
            annotations.remove(name);
        }
        if let Some(name) = scope.annotation() {
            annotations.insert(name.to_owned(), "true".into());
        }
        let label = identity.label();
        let items = self.items.iter().map(|(name, value)| {
            let sealed = certificate.seal(&label, value.expose());
            sealed
                .map(|sealed| (name.clone(), sealed.to_base64()))
                .map_err(|cause| ManifestError::Sealing { item: name.clone(), cause })
        });
        Ok(SealedSecret {
            items: items.collect::<Result<_, _>>()?,
            identity,
            labels: self.labels.clone(),
            annotations,
            more_metadata: self.more_metadata.clone(),
            secret_type: self.secret_type.clone(),
            immutable: self.immutable,
        })
    }

    fn identity(&self, request: &SealRequest, scope: Scope) -> Result<SealedIdentity, ManifestError> {
        let name = request.name.clone().or_else(|| self.name.clone()).ok_or(ManifestError::NoName)?;
        let namespace = match (&self.namespace, &request.namespace) {
            (Some(manifest), Some(requested)) if manifest != requested => {
                return Err(ManifestError::OtherNamespace { manifest: manifest.clone(), requested: requested.clone() });
            }
            (Some(namespace), _) | (None, Some(namespace)) => namespace.clone(),
            (None, None) if scope == Scope::ClusterWide => String::new(),
            (None, None) => request.default_namespace.clone().ok_or(ManifestError::NoNamespace(scope))?,
        };
        Ok(SealedIdentity { namespace, name, scope })
    }
}

impl fmt::Debug for SecretManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SecretManifest").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A sealed manifest; nothing in it is secret.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    /// What its items are bound to.
    pub identity: SealedIdentity,
    /// Name and ciphertext, in base64.
    pub items: BTreeMap<String, String>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    more_metadata: Map<String, Value>,
    secret_type: Option<String>,
    immutable: Option<bool>,
}

impl SealedSecret {
    /// The object, its fields in the order of their names, as kubeseal writes YAML.
    pub fn to_value(&self) -> Value {
        // Structures that serialise texts and maps of texts do not fail.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The object, its fields in the order in which kubeseal writes JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    fn own_metadata(&self) -> Ordered {
        let mut fields = self.names();
        if let Some(annotation) = self.identity.scope.annotation() {
            fields.0.push(("annotations".to_owned(), Part::Leaf(json!({annotation: "true"}))));
        }
        fields
    }

    fn template(&self) -> Ordered {
        let mut metadata = self.names();
        for (name, map) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !map.is_empty() {
                metadata.0.push((name.to_owned(), Part::Leaf(map.clone().into())));
            }
        }
        metadata.0.extend(self.more_metadata.iter().map(|(name, value)| (name.clone(), Part::Leaf(value.clone()))));
        let mut fields = vec![("metadata".to_owned(), Part::Fields(metadata))];
        if let Some(secret_type) = &self.secret_type {
            fields.push(("type".to_owned(), Part::Leaf(secret_type.as_str().into())));
        }
        if let Some(immutable) = self.immutable {
            fields.push(("immutable".to_owned(), Part::Leaf(immutable.into())));
        }
        Ordered(fields)
    }

    fn names(&self) -> Ordered {
        let mut fields = vec![("name".to_owned(), Part::Leaf(self.identity.name.as_str().into()))];
        if !self.identity.namespace.is_empty() {
            fields.push(("namespace".to_owned(), Part::Leaf(self.identity.namespace.as_str().into())));
        }
        Ordered(fields)
    }
}

impl Serialize for SealedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let specification = vec![
            ("template".to_owned(), Part::Fields(self.template())),
            ("encryptedData".to_owned(), Part::Leaf(json!(self.items))),
        ];
        Ordered(vec![
            ("kind".to_owned(), Part::Leaf(KIND.into())),
            ("apiVersion".to_owned(), Part::Leaf(API_VERSION.into())),
            ("metadata".to_owned(), Part::Fields(self.own_metadata())),
            ("spec".to_owned(), Part::Fields(Ordered(specification))),
        ])
        .serialize(serializer)
    }
}

/// Fields in an order of their own, which a map of `serde_json` does not keep.
struct Ordered(Vec<(String, Part)>);

enum Part {
    Leaf(Value),
    Fields(Ordered),
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, part) in &self.0 {
            match part {
                Part::Leaf(value) => map.serialize_entry(name, value)?,
                Part::Fields(fields) => map.serialize_entry(name, fields)?,
            }
        }
        map.end()
    }
}

/// The items of a Secret: stringData wins over data, as the API server has it.
fn items(secret: &Value) -> Result<BTreeMap<String, Plaintext>, ManifestError> {
    let mut items = BTreeMap::new();
    for (name, value) in map_of(secret, "data")? {
        let Value::String(text) = value else { return Err(field(&["data", name], value, "base64 text")) };
        let decoded = STANDARD.decode(text.replace(['\n', '\r'], "")).map_err(|_| ManifestError::NotBase64(name.clone()))?;
        items.insert(name.clone(), Plaintext::new(decoded));
    }
    for (name, value) in map_of(secret, "stringData")? {
        let Value::String(text) = value else { return Err(field(&["stringData", name], value, "text")) };
        items.insert(name.clone(), Plaintext::new(text.clone().into_bytes()));
    }
    match items.keys().find(|name| !is_item_name(name)) {
        Some(name) => Err(ManifestError::ItemName(name.clone())),
        None => Ok(items),
    }
}

/// Whether an item of a Secret may have this name.
pub fn is_item_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 253 && name != "." && name != ".." && name.bytes().all(is_allowed)
}

fn map_of<'value>(
    value: &'value Value,
    name: &str,
) -> Result<impl Iterator<Item = (&'value String, &'value Value)> + use<'value>, ManifestError> {
    match &value[name] {
        Value::Null => Ok(None.into_iter().flatten()),
        Value::Object(fields) => Ok(Some(fields.iter()).into_iter().flatten()),
        other => Err(field(&[name], other, "a map")),
    }
}

fn texts(metadata: &Value, name: &str) -> Result<Map<String, Value>, ManifestError> {
    let mut texts = Map::new();
    for (key, value) in map_of(metadata, name)? {
        if !value.is_string() {
            return Err(field(&["metadata", name, key], value, "text (in quotes)"));
        }
        texts.insert(key.clone(), value.clone());
    }
    Ok(texts)
}

fn optional_text(value: &Value, name: &str, path: &[&str]) -> Result<Option<String>, ManifestError> {
    match &value[name] {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => Err(field(path, other, "text")),
    }
}

fn field(at: &[&str], found: &Value, expected: &'static str) -> ManifestError {
    ManifestError::Field { path: path(at), found: kind_of(found), expected }
}
