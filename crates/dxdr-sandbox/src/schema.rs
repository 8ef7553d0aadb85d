//! Decoding and validation: built-in objects against the table of types, custom ones against the schema of their
//! definition.

use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::shape::{Form, Shape};
use crate::status::{Cause, Failure};

/// Drops the fields a kind does not know, collecting their paths; refuses values of a wrong type.
pub(crate) fn decode(object: &mut Value, kind: &Kind, unknown: &mut Vec<String>) -> Result<(), Failure> {
    if let Some(custom) = &kind.custom {
        prune(object, &custom.schema, "", true, unknown);
        return Ok(());
    }
    check(object, &kind.shape, "", unknown).map_err(|wrong| {
        Failure::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: json: cannot unmarshal {} into Go struct field {}{} of type {}",
            kind.kind, kind.version, kind.kind, wrong.found, kind.kind, wrong.path, wrong.expected
        ))
    })
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
        | (Form::Quantity | Form::IntOrText, Value::String(_) | Value::Number(_)) => {}
        (Form::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {}
        (Form::Text | Form::Bytes | Form::Time, _) => return Err(wrong(found, "string")),
        (Form::Boolean, _) => return Err(wrong(found, "bool")),
        (Form::Integer, _) => return Err(wrong(found, "int32")),
        (Form::Number, _) => return Err(wrong(found, "float64")),
        (Form::Quantity, _) => return Err(wrong(found, "resource.Quantity")),
        (Form::IntOrText, _) => return Err(wrong(found, "intstr.IntOrString")),
        (Form::List(item), Value::Array(items)) => {
            for (index, one) in items.iter_mut().enumerate() {
                check(one, item, &format!("{path}[{index}]"), unknown)?;
            }
        }
        (Form::List(_), _) => return Err(wrong(found, "[]object")),
        (Form::Map(item), Value::Object(map)) => {
            for (name, one) in map.iter_mut() {
                check(one, item, &format!("{path}.{name}"), unknown)?;
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

/// Checks a custom resource against its schema.
pub(crate) fn validate(object: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
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
            if let Some(least) = length("minLength")
                && count < least
            {
                causes.push(invalid(format!("{} should be at least {least} chars long", body_path(path))));
            }
            if let Some(most) = length("maxLength")
                && count > most
            {
                causes.push(Cause {
                    reason: "FieldValueTooLong",
                    field: in_body.to_owned(),
                    message: format!("Too long: may not be more than {most} bytes"),
                });
            }
            if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
                && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
            {
                causes.push(invalid(format!("{} should match '{pattern}'", body_path(path))));
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
