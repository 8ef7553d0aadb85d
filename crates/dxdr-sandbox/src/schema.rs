//! Decoding and validation: built-in objects against the table of types, custom ones against the schema of their
//! definition.

use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::quantity::Quantity;
use crate::shape::{Form, Shape};
use crate::status::{Cause, Failure};

/// Drops the fields a kind does not know, collecting their paths; refuses values of a wrong type.
pub(crate) fn decode(object: &mut Value, kind: &Kind, unknown: &mut Vec<String>) -> Result<(), Failure> {
    if let Some(custom) = &kind.custom {
        prune(object, &custom.schema, "", true, unknown);
        return Ok(());
    }
    check(object, &kind.shape, "", unknown).map_err(|wrong| {
        if wrong.expected == QUANTITY {
            return Failure::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: {QUANTITY}",
                kind.kind, kind.version, kind.kind
            ));
        }
        Failure::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {} into Go struct field {}{} of type {}",
            kind.kind,
            kind.version,
            kind.kind,
            wrong.found,
            kind.kind,
            fields_only(&wrong.path),
            wrong.expected
        ))
    })
}

/// What keeps a patched object from becoming one of its type, in the words of the conversion.
pub(crate) fn unconvertible(value: &Value, shape: &Shape) -> Option<String> {
    match (&shape.form, value) {
        (Form::Text | Form::Bytes | Form::Time, Value::Number(number)) => {
            Some(format!("cannot convert {} to string", if number.is_f64() { "float64" } else { "int64" }))
        }
        (Form::Text | Form::Bytes | Form::Time, Value::Bool(_)) => Some("cannot convert bool to string".to_owned()),
        (Form::Quantity, Value::String(_)) if Quantity::parse(value).is_none() => Some(QUANTITY.to_owned()),
        (Form::Struct(_) | Form::Map(_), Value::Object(map)) => {
            map.iter().find_map(|(name, child)| unconvertible(child, shape.field(name)))
        }
        (Form::List(item), Value::Array(items)) => items.iter().find_map(|one| unconvertible(one, item)),
        _ => None,
    }
}

const QUANTITY: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// A path without the indexes of lists and the keys of maps, as Go's decoder reports it.
fn fields_only(path: &str) -> String {
    let mut fields = String::new();
    let mut depth = 0;
    for character in path.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth == 0 => fields.push(character),
            _ => {}
        }
    }
    fields
}

struct WrongType {
    path: String,
    found: &'static str,
    expected: &'static str,
}

fn check(value: &mut Value, shape: &Shape, path: &str, unknown: &mut Vec<String>) -> Result<(), WrongType> {
    let wrong = |found: &'static str, expected: &'static str| WrongType { path: path.to_owned(), found, expected };
    let found = match value {
        Value::Null => return Ok(()),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match (&shape.form, &mut *value) {
        (Form::Any, _) => {}
        (Form::Text | Form::Bytes | Form::Time, Value::String(_))
        | (Form::Boolean, Value::Bool(_))
        | (Form::Number, Value::Number(_))
        | (Form::IntOrText, Value::String(_) | Value::Number(_)) => {}
        (Form::Quantity, one) if Quantity::parse(one).is_some() => {}
        (Form::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {}
        (Form::Text | Form::Bytes | Form::Time, _) => return Err(wrong(found, "string")),
        (Form::Boolean, _) => return Err(wrong(found, "bool")),
        (Form::Integer, _) => return Err(wrong(found, "int32")),
        (Form::Number, _) => return Err(wrong(found, "float64")),
        (Form::Quantity, _) => return Err(wrong(found, QUANTITY)),
        (Form::IntOrText, _) => return Err(wrong(found, "intstr.IntOrString")),
        (Form::List(item), Value::Array(items)) => {
            for (index, one) in items.iter_mut().enumerate() {
                check(one, item, &format!("{path}[{index}]"), unknown)?;
            }
        }
        (Form::List(_), _) => return Err(wrong(found, "[]object")),
        (Form::Map(item), Value::Object(map)) => {
            for (name, one) in map.iter_mut() {
                check(one, item, &format!("{path}[{name}]"), unknown)?;
            }
        }
        (Form::Map(_), _) => return Err(wrong(found, "map[string]object")),
        (Form::Struct(of), Value::Object(map)) => {
            let strays: Vec<String> = map.keys().filter(|name| !of.fields.contains_key(*name)).cloned().collect();
            for name in strays {
                map.remove(&name);
                unknown.push(format!("{path}.{name}").trim_start_matches('.').to_owned());
            }
            let nulls: Vec<String> = map.iter().filter(|(_, v)| v.is_null()).map(|(name, _)| name.clone()).collect();
            for name in nulls {
                map.remove(&name);
            }
            for (name, one) in map.iter_mut() {
                if let Some(field) = of.fields.get(name) {
                    check(one, field, &format!("{path}.{name}"), unknown)?;
                }
            }
        }
        (Form::Struct(_), _) => return Err(wrong(found, "object")),
    }
    Ok(())
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn prune(value: &mut Value, schema: &Value, path: &str, root: bool, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let preserve = flag(schema, "x-kubernetes-preserve-unknown-fields");
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            let object = root || flag(schema, "x-kubernetes-embedded-resource");
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                let at = format!("{path}.{name}").trim_start_matches('.').to_owned();
                if object && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                let Some(child) = map.get_mut(&name) else { continue };
                let described =
                    properties.and_then(|properties| properties.get(&name)).or(additional).filter(|one| one.is_object());
                if child.is_null() && described.is_some_and(|schema| !flag(schema, "nullable")) {
                    map.remove(&name);
                    continue;
                }
                if let Some(schema) = properties.and_then(|properties| properties.get(&name)) {
                    prune(child, schema, &at, false, unknown);
                } else if let Some(schema) = additional.filter(|additional| additional.is_object()) {
                    prune(child, schema, &at, false, unknown);
                } else if !preserve && additional.is_none_or(|additional| additional != &Value::Bool(true)) {
                    map.remove(&name);
                    unknown.push(at);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(item, schema, &format!("{path}[{index}]"), false, unknown);
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of a structural schema.
pub(crate) fn default_values(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = property.get("default") {
                    let absent = match map.get(name) {
                        None => true,
                        Some(Value::Null) => !flag(property, "nullable"),
                        Some(_) => false,
                    };
                    if absent {
                        map.insert(name.clone(), default.clone());
                    }
                }
                if let Some(child) = map.get_mut(name) {
                    default_values(child, property);
                }
            }
            if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
                for child in map.values_mut() {
                    default_values(child, values);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    default_values(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// Checks a custom resource against its schema; of a write to its status, only that.
pub(crate) fn validate(object: &Value, schema: &Value, subresource: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if subresource == "status" {
        validate_value(&object["status"], &schema["properties"]["status"], "", &mut causes);
        for cause in &mut causes {
            cause.field = if cause.field == "<nil>" { "status".to_owned() } else { format!("status.{}", cause.field) };
        }
        return causes;
    }
    if let Some(map) = object.as_object() {
        let mut map: Map<String, Value> = map.clone();
        map.remove("metadata");
        let mut schema = schema.clone();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove("metadata");
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != "metadata");
        }
        validate_value(&Value::Object(map), &schema, "", &mut causes);
    }
    causes
}

/// Whether a schema has rules in CEL, which are not evaluated here.
pub(crate) fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn validate_value(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let in_body = if path.is_empty() { "<nil>" } else { path };
    let invalid = |detail: String| Cause::invalid(in_body, &shown(value), detail);
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    let expected = schema.get("type").and_then(Value::as_str);
    let matches_type = if flag(schema, "x-kubernetes-int-or-string") {
        value.is_string() || value.is_i64() || value.is_u64()
    } else {
        match expected {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
            Some("number") => value.is_number(),
            _ => true,
        }
    };
    if !matches_type {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let expected = expected.unwrap_or("integer,string");
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            field: in_body.to_owned(),
            message: format!("Invalid value: \"{found}\": {} must be of type {expected}: \"{found}\"", body_path(path)),
        });
        if expected == "integer" && value.is_number() {
            causes.push(Cause {
                reason: "FieldValueInvalid",
                field: "<nil>".to_owned(),
                message: format!("Invalid value: \"\": Checked value must be of type integer (default format) in {path}"),
            });
        }
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let list: Vec<String> = allowed.iter().map(Value::to_string).collect();
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: in_body.to_owned(),
            message: format!("Unsupported value: {}: supported values: {}", value, list.join(", ")),
        });
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let length = |name: &str| schema.get(name).and_then(Value::as_u64);
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if let Some(minimum) = bound("minimum") {
                let exclusive = flag(schema, "exclusiveMinimum");
                if number < minimum || (exclusive && number <= minimum) {
                    let relation = if exclusive { "greater than" } else { "greater than or equal to" };
                    causes.push(invalid(format!("{} should be {relation} {minimum}", body_path(path))));
                }
            }
            if let Some(maximum) = bound("maximum") {
                let exclusive = flag(schema, "exclusiveMaximum");
                if number > maximum || (exclusive && number >= maximum) {
                    let relation = if exclusive { "less than" } else { "less than or equal to" };
                    causes.push(invalid(format!("{} should be {relation} {maximum}", body_path(path))));
                }
            }
        }
        Value::String(text) => {
            let count = text.chars().count() as u64;
            // The first of these is the only one reported.
            if let Some(most) = length("maxLength").filter(|most| count > *most) {
                causes.push(Cause {
                    reason: "FieldValueTooLong",
                    field: in_body.to_owned(),
                    message: format!("Too long: may not be more than {most} bytes"),
                });
            } else if let Some(least) = length("minLength").filter(|least| count < *least) {
                causes.push(invalid(format!("{} should be at least {least} chars long", body_path(path))));
            } else if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
            {
                causes.push(invalid(format!("{} should match '{pattern}'", body_path(path))));
            }
            let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
            if !fits_format(text, format) {
                causes.push(invalid(format!("{} must be of type {format}: {value}", body_path(path))));
            }
        }
        Value::Array(items) => {
            let count = items.len() as u64;
            if let Some(least) = length("minItems")
                && count < least
            {
                causes.push(invalid(format!("{} should have at least {least} items", body_path(path))));
            }
            if let Some(most) = length("maxItems")
                && count > most
            {
                causes.push(Cause {
                    reason: "FieldValueTooMany",
                    field: in_body.to_owned(),
                    message: format!("Too many: {count}: must have at most {most} items"),
                });
            }
            duplicates(items, schema, path, causes);
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    validate_value(item, schema, &format!("{path}[{index}]"), causes);
                }
            }
        }
        Value::Object(map) => {
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                let Some(name) = name.as_str() else { continue };
                if !map.contains_key(name) {
                    causes.push(Cause::required(join(path, name), ""));
                }
            }
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, child) in map {
                if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                    validate_value(child, property, &join(path, name), causes);
                } else if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
                    validate_value(child, values, &join(path, name), causes);
                }
            }
        }
        _ => {}
    }
    for branch in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        validate_value(value, branch, path, causes);
    }
    let passes = |branch: &Value| {
        let mut inner = Vec::new();
        validate_value(value, branch, path, &mut inner);
        inner.is_empty()
    };
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array)
        && !branches.iter().any(passes)
    {
        causes.push(invalid(format!("{} must validate at least one schema (anyOf)", body_path(path))));
    }
    if let Some(branches) = schema.get("oneOf").and_then(Value::as_array)
        && branches.iter().filter(|branch| passes(branch)).count() != 1
    {
        causes.push(invalid(format!("{} must validate one and only one schema (oneOf)", body_path(path))));
    }
    if let Some(branch) = schema.get("not")
        && passes(branch)
    {
        causes.push(invalid(format!("{} must not validate the schema (not)", body_path(path))));
    }
}

fn fits_format(text: &str, format: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    }
}

/// Items of a set or of a map in the form of a list must differ.
fn duplicates(items: &[Value], schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let identity = |item: &Value| match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => Some(item.clone()),
        Some("map") => Some(Value::Object(
            keys.into_iter()
                .flatten()
                .filter_map(|key| Some((key.as_str()?.to_owned(), item.get(key.as_str()?)?.clone())))
                .collect(),
        )),
        _ => None,
    };
    let mut seen = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else { return };
        if seen.contains(&identity) {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field: format!("{path}[{index}]"),
                message: format!("Duplicate value: {identity}"),
            });
        } else {
            seen.push(identity);
        }
    }
}

/// How the real server shows an offending value: containers by their Go type.
fn shown(value: &Value) -> Value {
    match value {
        Value::Object(_) => "object".into(),
        Value::Array(items) => (items.len() as u64).into(),
        other => other.clone(),
    }
}

fn body_path(path: &str) -> String {
    if path.is_empty() { "in body".to_owned() } else { format!("{path} in body") }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Checks the metadata of a custom resource, which its schema does not describe.
pub(crate) fn decode_metadata(metadata: &mut Value, unknown: &mut Vec<String>) -> Result<(), Failure> {
    check(metadata, &Shape::object_metadata(), "metadata", unknown).map_err(|wrong| {
        Failure::bad_request(format!(
            "json: cannot unmarshal {} into Go struct field ObjectMeta.{} of type {}",
            wrong.found, wrong.path, wrong.expected
        ))
    })
}
