//! The `spec` of each kind, as people write it. Their doc comments are the reference page, the editors' hover texts and the CRDs'
//! descriptions; they are written for the people who write manifests.
//!
//! Everything may be absent that can be; what a value must be beyond its type is checked where it becomes part of the model.

pub(crate) mod backup_policy;
pub(crate) mod backup_store;
pub(crate) mod database;
pub(crate) mod environment;
pub(crate) mod sealing_policy;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A Kubernetes quantity: a whole number, or a text such as `500m` or `32Gi`.
#[derive(Debug, Clone)]
pub(crate) struct Amount(pub(crate) String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer).map(Self)
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        int_or_string()
    }
}

/// A port number, or a text with a range or a protocol: `8125/UDP`, `30000-32767`.
#[derive(Debug, Clone)]
pub(crate) struct Port(pub(crate) String);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number_or_text(deserializer).map(Self)
    }
}

impl JsonSchema for Port {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        int_or_string()
    }
}

/// The one union that a structural schema of the Kubernetes API allows.
fn int_or_string() -> Schema {
    json_schema!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true})
}

fn number_or_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("expected a number or text, not {other}"))),
    }
}
