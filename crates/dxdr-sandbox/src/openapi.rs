//! OpenAPI v3, as far as kubectl reads it: which patches take which parameters, and which fields the types have.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::discovery;
use crate::kind::{Kind, Kinds};
use crate::shape::{Form, Listing, Shape, StructRef};

/// The documents there are.
pub(crate) fn index(kinds: &Kinds) -> Value {
    let mut paths = Map::new();
    paths.insert("api/v1".to_owned(), json!({"serverRelativeURL": "/openapi/v3/api/v1?hash=0"}));
    for (group, versions) in discovery::groups(kinds) {
        for version in versions {
            let path = format!("apis/{group}/{version}");
            let url = format!("/openapi/v3/{path}?hash=0");
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The document of one group version.
pub(crate) fn document(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    if !kinds.has_group_version(group, version) {
        return None;
    }
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    let mut schemas = Map::new();
    for kind in kinds.all().filter(|kind| kind.group == group && kind.version == version) {
        let kind_of = json!({"group": group, "version": version, "kind": kind.kind});
        paths.insert(path_of(kind), json!({"patch": patch(kind, &kind_of)}));
        match &kind.custom {
            Some(custom) => {
                let mut schema = custom.schema.clone();
                schema["properties"]["apiVersion"] = json!({"type": "string"});
                schema["properties"]["kind"] = json!({"type": "string"});
                schema["properties"]["metadata"] = of_shape(&Shape::object_metadata(), &mut schemas);
                schema["x-kubernetes-group-version-kind"] = json!([kind_of]);
                schemas.insert(format!("{group}.{version}.{}", kind.kind), schema);
            }
            None => {
                of_shape(&kind.shape, &mut schemas);
                if let Form::Struct(StructRef::BuiltIn(_)) = &kind.shape.form
                    && let Some(schema) = schemas.get_mut(&schema_name(&kind.shape))
                {
                    schema["x-kubernetes-group-version-kind"] = json!([kind_of]);
                }
            }
        }
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.3"}, "paths": paths,
        "components": {"schemas": schemas},
    }))
}

/// An empty OpenAPI v2 document, for clients that ask before they look at v3.
pub(crate) fn version_two() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.3"}, "paths": {}, "definitions": {}})
}

fn path_of(kind: &Kind) -> String {
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    if kind.group.is_empty() {
        format!("/api/{}{scope}/{}/{{name}}", kind.version, kind.plural)
    } else {
        format!("/apis/{}/{}{scope}/{}/{{name}}", kind.group, kind.version, kind.plural)
    }
}

fn patch(kind: &Kind, kind_of: &Value) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    json!({
        "operationId": format!("patch{}", kind.kind),
        "parameters": [parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation"), parameter("force")],
        "requestBody": {"content": {"application/merge-patch+json": {"schema": {"type": "object"}}}, "required": true},
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": kind_of,
    })
}

fn schema_name(shape: &Shape) -> String {
    match &shape.form {
        Form::Struct(of) => format!("io.k8s.api.{}", of.name),
        _ => String::new(),
    }
}

/// The schema of a shape; structs are put among the others and referred to.
fn of_shape(shape: &Shape, schemas: &mut Map<String, Value>) -> Value {
    const COMPONENTS: &str = "#/components/schemas/";
    let scalar = |name: &str, schema: Value, schemas: &mut Map<String, Value>| {
        let name = format!("io.k8s.api.{name}");
        let reference = format!("{COMPONENTS}{name}");
        schemas.insert(name, schema);
        json!({"allOf": [{"$ref": reference}]})
    };
    let mut schema = match &shape.form {
        Form::Any => json!({"type": "object"}),
        Form::Text => json!({"type": "string"}),
        Form::Bytes => json!({"type": "string", "format": "byte"}),
        Form::Time => json!({"type": "string", "format": "date-time"}),
        Form::Integer => json!({"type": "integer"}),
        Form::Number => json!({"type": "number"}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Quantity => scalar("resource.Quantity", json!({"oneOf": [{"type": "string"}, {"type": "number"}]}), schemas),
        Form::IntOrText => scalar(
            "intstr.IntOrString",
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            schemas,
        ),
        Form::List(item) => json!({"type": "array", "items": of_shape(item, schemas)}),
        Form::Map(item) => json!({"type": "object", "additionalProperties": of_shape(item, schemas)}),
        Form::Struct(of) => {
            let name = schema_name(shape);
            if !schemas.contains_key(&name) {
                // Here before its fields, which may refer back to it.
                schemas.insert(name.clone(), Value::Null);
                let mut properties = Map::new();
                for (field, shape) in &of.fields {
                    properties.insert(field.clone(), of_shape(shape, schemas));
                }
                schemas.insert(name.clone(), json!({"type": "object", "properties": properties}));
            }
            json!({"allOf": [{"$ref": format!("{COMPONENTS}{name}")}]})
        }
    };
    match &shape.listing {
        Listing::Map(keys) => {
            schema["x-kubernetes-list-type"] = "map".into();
            schema["x-kubernetes-list-map-keys"] = json!(keys);
        }
        Listing::Set => schema["x-kubernetes-list-type"] = "set".into(),
        Listing::Atomic => {}
    }
    let mut strategy = Vec::new();
    if let Some(key) = &shape.merge_key {
        strategy.push("merge");
        if key != "*" {
            schema["x-kubernetes-patch-merge-key"] = key.as_str().into();
        }
    }
    if shape.retain_keys {
        strategy.push("retainKeys");
    }
    if !strategy.is_empty() {
        schema["x-kubernetes-patch-strategy"] = strategy.join(",").into();
    }
    schema
}
