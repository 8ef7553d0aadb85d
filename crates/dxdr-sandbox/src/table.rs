//! Tables, as `kubectl get` asks for them.

mod columns;

use serde_json::{Value, json};

use crate::kind::Kind;

/// The table of some objects.
pub(crate) fn of(
    kind: &Kind,
    objects: &[Value],
    revision: &str,
    now: Option<jiff::Timestamp>,
    next: Option<(&str, usize)>,
) -> Value {
    let now = now.unwrap_or_else(jiff::Timestamp::now);
    let (definitions, rows) = match &kind.custom {
        Some(custom) => custom_columns(&custom.columns, objects, now),
        None => built_in_columns(kind, objects, now),
    };
    let rows: Vec<Value> = (rows.into_iter().zip(objects))
        .map(|(cells, object)| {
            json!({
                "cells": cells,
                "object": {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]},
            })
        })
        .collect();
    let mut metadata = json!({"resourceVersion": revision});
    if let Some((token, remaining)) = next {
        metadata["continue"] = token.into();
        metadata["remainingItemCount"] = remaining.into();
    }
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows,
    })
}

fn built_in_columns(kind: &Kind, objects: &[Value], now: jiff::Timestamp) -> (Vec<Value>, Vec<Vec<Value>>) {
    let columns = columns::of(kind);
    let definitions = columns
        .iter()
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            definition(column.name, column.of_type, format, i32::from(column.wide))
        })
        .collect();
    let rows = objects.iter().map(|object| columns.iter().map(|column| (column.cell)(object, now)).collect()).collect();
    (definitions, rows)
}

/// The name and what the definition asks for, or the age when it asks for nothing.
fn custom_columns(columns: &[Value], objects: &[Value], now: jiff::Timestamp) -> (Vec<Value>, Vec<Vec<Value>>) {
    let age_alone = [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
    let columns = if columns.is_empty() { &age_alone } else { columns };
    let mut definitions = vec![definition("Name", "string", "name", 0)];
    definitions.extend(columns.iter().map(|column| {
        json!({
            "name": column["name"], "type": column["type"], "format": column["format"].as_str().unwrap_or_default(),
            "description": column["description"].as_str().unwrap_or_default(),
            "priority": column["priority"].as_i64().unwrap_or(0),
        })
    }));
    let cells = |object: &Value| -> Vec<Value> {
        let mut cells = vec![object["metadata"]["name"].clone()];
        cells.extend(columns.iter().map(|column| {
            let found = json_path(object, column["jsonPath"].as_str().unwrap_or_default());
            if column["type"] == "date" { age(&found, now) } else { found }
        }));
        cells
    };
    (definitions, objects.iter().map(cells).collect())
}

fn definition(name: &str, of_type: &str, format: &str, priority: i32) -> Value {
    json!({"name": name, "type": of_type, "format": format, "description": "", "priority": priority})
}

fn age(time: &Value, now: jiff::Timestamp) -> Value {
    let Some(then) = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()) else { return "<unknown>".into() };
    let seconds = now.as_second() - then.as_second();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 if seconds % 60 != 0 => format!("{minutes}m{}s", seconds % 60),
        120..10_800 => format!("{minutes}m"),
        10_800..28_800 if minutes % 60 != 0 => format!("{hours}h{}m", minutes % 60),
        10_800..172_800 => format!("{hours}h"),
        172_800..691_200 if hours % 24 != 0 => format!("{days}d{}h", hours % 24),
        172_800..63_072_000 => format!("{days}d"),
        _ => format!("{}y{}d", days / 365, days % 365),
    }
    .into()
}

/// The simple JSON paths of printer columns: `.spec.a`, `.metadata.labels['x']`, `.status.conditions[?(@.type=="Ready")].status`.
fn json_path(object: &Value, path: &str) -> Value {
    let mut at = object;
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else { return Value::Null };
            let (inside, after) = (&inner[..end], &inner[end + 1..]);
            at = if let Some(filter) = inside.strip_prefix("?(@.") {
                let filter = filter.trim_end_matches(')');
                let Some((field, wanted)) = filter.split_once("==") else { return Value::Null };
                let wanted = wanted.trim().trim_matches(['"', '\'']);
                let found = at.as_array().and_then(|items| items.iter().find(|item| item[field.trim()] == wanted));
                let Some(found) = found else { return Value::Null };
                found
            } else if let Ok(index) = inside.parse::<usize>() {
                &at[index]
            } else {
                &at[inside.trim_matches(['"', '\''])]
            };
            rest = after.trim_start_matches('.');
        } else {
            let mut end = rest.len();
            let mut escaped = false;
            for (index, character) in rest.char_indices() {
                if !escaped && (character == '.' || character == '[') {
                    end = index;
                    break;
                }
                escaped = character == '\\';
            }
            at = &at[rest[..end].replace('\\', "")];
            rest = rest[end..].trim_start_matches('.');
        }
    }
    at.clone()
}
