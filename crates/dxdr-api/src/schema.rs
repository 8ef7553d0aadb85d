//! The schemas of the kinds, all made from the same types: JSON Schema for editors and for [`crate::parse`], CustomResourceDefinitions
//! for clusters, and the reference page.

mod definition;
mod reference;

use std::sync::LazyLock;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

pub use definition::custom_resource_definitions;
pub use reference::reference_page;

use crate::{
    API_VERSION, Kind,
    specification::{
        backup_policy::BackupPolicySpec, backup_store::BackupStoreSpec, environment::EnvironmentSpec,
        sealing_policy::SealingPolicySpec,
    },
};

/// A file that is made from the types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A JSON Schema (draft 2020-12) for each kind, and `manifest.json` for files that hold several.
pub fn json_schemas() -> Vec<GeneratedFile> {
    let pretty = |schema: &Value| format!("{schema:#}\n");
    let of_kind =
        |kind: Kind| GeneratedFile { name: format!("{}.json", kind.singular()), text: pretty(&with_dialect(document(kind))) };
    let any: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| json!({"if": {"properties": {"kind": {"const": kind.as_str()}}}, "then": document(*kind)}))
        .collect();
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let manifest = with_dialect(json!({
        "title": "A manifest of dxdr",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": names}},
        "allOf": any,
    }));
    let manifest = GeneratedFile { name: "manifest.json".to_owned(), text: pretty(&manifest) };
    Kind::ALL.into_iter().map(of_kind).chain([manifest]).collect()
}

/// The schema of a `spec`: no references, no nulls, enumerations as `enum`.
pub(crate) fn specification(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<[Value; 4]> = LazyLock::new(|| {
        [
            generate::<EnvironmentSpec>(),
            generate::<BackupStoreSpec>(),
            generate::<BackupPolicySpec>(),
            generate::<SealingPolicySpec>(),
        ]
    });
    match kind {
        Kind::Environment => &SCHEMAS[0],
        Kind::BackupStore => &SCHEMAS[1],
        Kind::BackupPolicy => &SCHEMAS[2],
        Kind::SealingPolicy => &SCHEMAS[3],
    }
}

/// The schema of a whole document of a file.
pub(crate) fn document(kind: Kind) -> Value {
    let text_map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    json!({
        "title": kind.as_str(),
        "description": specification(kind)["description"],
        "type": "object",
        "additionalProperties": false,
        "required": ["kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {
                "description": "The version of this format. May be left out of documents behind the first one of a file.",
                "type": "string",
                "enum": [API_VERSION],
            },
            "kind": {"description": "What the document describes.", "type": "string", "enum": [kind.as_str()]},
            "metadata": {
                "description": "How the object is called.",
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": {
                    "name": {
                        "description": "Its name: at most 63 lower-case letters, digits and `-`.",
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 63,
                        "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                    },
                    "labels": text_map,
                    "annotations": text_map,
                },
            },
            "spec": specification(kind),
        },
    })
}

fn with_dialect(schema: Value) -> Value {
    let mut with = Map::new();
    with.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    if let Value::Object(fields) = schema {
        with.extend(fields);
    }
    Value::Object(with)
}

fn generate<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// Makes a generated schema say no more than it means: a field that may be left out is not a field that may be null, and an
/// enumeration is a list of names.
fn tidy(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    fields.remove("title");
    fields.remove("default");
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        fields.remove("format");
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    unwrap_optional(fields);
    names_of_variants(fields);
    if let Some(Value::Array(names)) = fields.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
    for name in ["items", "additionalProperties"] {
        fields.get_mut(name).into_iter().for_each(tidy);
    }
    for property in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        tidy(property);
    }
}

/// `anyOf: [X, null]` is X.
fn unwrap_optional(fields: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = fields.get("anyOf") else { return };
    let is_null = |choice: &Value| choice.get("type").is_some_and(|name| name == "null");
    let [only] = choices.iter().filter(|choice| !is_null(choice)).collect::<Vec<_>>()[..] else { return };
    let Value::Object(only) = only.clone() else { return };
    fields.remove("anyOf");
    for (name, value) in only {
        // The field's own description says more than its type's.
        fields.entry(name).or_insert(value);
    }
}

/// `oneOf: [{const: a, description: …}, …]` is `enum: [a, …]`, with the descriptions behind the field's own.
fn names_of_variants(fields: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = fields.get("oneOf") else { return };
    let names: Vec<Value> = choices.iter().filter_map(|choice| choice.get("const").cloned()).collect();
    if names.len() != choices.len() {
        return;
    }
    let explained: Vec<String> = choices
        .iter()
        .filter_map(|choice| Some(format!("`{}`: {}", choice.get("const")?.as_str()?, choice.get("description")?.as_str()?)))
        .collect();
    let description = fields.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{description} {}.", explained.join("; ")).trim().to_owned();
    fields.insert("description".to_owned(), description.into());
    fields.insert("type".to_owned(), "string".into());
    fields.insert("enum".to_owned(), names.into());
    fields.remove("oneOf");
}

#[cfg(test)]
mod tests;
