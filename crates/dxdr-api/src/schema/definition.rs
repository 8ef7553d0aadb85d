//! CustomResourceDefinitions.
//!
//! All kinds are cluster-scoped: an environment *is* a namespace, and stores and policies speak about several.

use serde_json::{Map, Value, json};

use super::{GeneratedFile, specification};
use crate::{GROUP, Kind, VERSION, yaml};

/// One CustomResourceDefinition for each kind, as YAML.
pub fn custom_resource_definitions() -> Vec<GeneratedFile> {
    let file =
        |kind: Kind| GeneratedFile { name: format!("{}.{GROUP}.yaml", kind.plural()), text: yaml::write(&definition(kind)) };
    Kind::ALL.into_iter().map(file).collect()
}

fn definition(kind: Kind) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{GROUP}", kind.plural())},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind.as_str(),
                "listKind": format!("{}List", kind.as_str()),
                "plural": kind.plural(),
                "singular": kind.singular(),
                "categories": ["dxdr"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "description": specification(kind)["description"],
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"},
                        "kind": {"type": "string"},
                        "metadata": {"type": "object"},
                        "spec": structural(specification(kind)),
                        "status": {
                            "description": "What dxdr found. Never input.",
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": true,
                        },
                    },
                }},
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(kind),
            }],
        },
    })
}

/// A structural schema: unknown fields are pruned or refused by the server itself, so `additionalProperties: false` goes.
fn structural(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    let converted = fields.iter().filter_map(|(name, value)| {
        let value = match name.as_str() {
            "additionalProperties" if value.is_boolean() => return None,
            "additionalProperties" | "items" => structural(value),
            "properties" => {
                value.as_object()?.iter().map(|(name, value)| (name.clone(), structural(value))).collect::<Map<_, _>>().into()
            }
            _ => value.clone(),
        };
        Some((name.clone(), value))
    });
    Value::Object(converted.collect())
}

fn columns(kind: Kind) -> Value {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let age = json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"});
    match kind {
        Kind::Environment => json!([column("Namespace", ".spec.namespace"), column("Tier", ".spec.tier"), age]),
        Kind::BackupStore => {
            json!([column("Bucket", ".spec['s3','gcs'].bucket"), column("Directory", ".spec.directory.path"), age])
        }
        Kind::BackupPolicy => json!([
            column("Environments", ".spec.environments"),
            column("Data loss", ".spec.objectives.dataLoss"),
            column("Recovery time", ".spec.objectives.recoveryTime"),
            column("Store", ".spec.store"),
            age
        ]),
        Kind::SealingPolicy => json!([
            column("Environments", ".spec.environments"),
            column("Renewed every", ".spec.renewEvery"),
            column("Escrow", ".spec.escrow.store"),
            age
        ]),
    }
}
