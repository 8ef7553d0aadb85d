//! The reference page of the kinds.

use std::fmt::Write;

use serde_json::Value;

use super::specification;
use crate::{API_VERSION, Kind};

/// `kinds.md`: every field of every kind.
pub fn reference_page() -> String {
    let mut page = format!(
        "# Kinds\n\nWhat a manifest of `{API_VERSION}` may hold. Generated from the types; do not edit.\n\n\
         A file holds one or more documents, separated by `---`; `apiVersion` may be left out behind the first one. \
         `metadata` takes `name`, `labels` and `annotations`. Unknown fields are errors. All kinds are cluster-scoped as custom resources. \
         Quantities are those of Kubernetes (`500m`, `32Gi`); durations are written as in `90s`, `30m`, `1h30m`, `7d`.\n"
    );
    for kind in Kind::ALL {
        let schema = specification(kind);
        let _ = write!(page, "\n## {}\n\n{}\n\n", kind.as_str(), description(schema));
        page.push_str("| Field | Type | Meaning |\n|---|---|---|\n");
        rows(&mut page, "", schema);
    }
    page
}

fn rows(page: &mut String, prefix: &str, schema: &Value) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        let path = format!("{prefix}{name}");
        let required = if required.contains(&name.as_str()) { ", required" } else { "" };
        // Writing to a String cannot fail.
        let _ =
            writeln!(page, "| `{path}` | {}{required} | {} |", type_name(property), description(property).replace('|', "\\|"));
        match type_of(property) {
            "array" => rows(page, &format!("{path}[]."), &property["items"]),
            _ => rows(page, &format!("{path}."), property),
        }
    }
}

fn description(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split('\n').collect::<Vec<_>>().join(" ")
}

fn type_of(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or_default()
}

fn type_name(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"].is_boolean() {
        return "number or text".to_owned();
    }
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    }
    match type_of(schema) {
        "array" => format!("list of {}", type_name(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_name(&schema["additionalProperties"]))
        }
        "object" => "map".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}
