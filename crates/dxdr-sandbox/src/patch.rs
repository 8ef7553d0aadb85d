//! JSON, merge and strategic-merge patches.

use serde_json::{Map, Value};

use crate::shape::Shape;
use crate::status::Failure;

/// Applies a JSON patch (RFC 6902).
pub(crate) fn json_patch(object: &mut Value, patch: &Value) -> Result<(), Failure> {
    let patch: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?;
    json_patch::patch(object, &patch).map_err(|error| {
        // The real server keeps the cause to itself; here it helps.
        tracing::debug!(%error, "a JSON patch does not fit its object");
        Failure::new(422, "Invalid", "the server rejected our request due to an error in our request")
    })
}

/// Applies a merge patch (RFC 7386).
pub(crate) fn merge_patch(object: &mut Value, patch: &Value) {
    json_patch::merge(object, patch);
}

/// Applies a strategic merge patch: like a merge patch, but lists with a merge key merge by it, and `$patch`,
/// `$setElementOrder`, `$deleteFromPrimitiveList` and `$retainKeys` direct the rest.
pub(crate) fn strategic_patch(object: &mut Value, patch: &Value, shape: &Shape) -> Result<(), Failure> {
    let (Value::Object(target), Value::Object(patch)) = (&mut *object, patch) else {
        *object = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => {
            return Err(Failure::bad_request(format!("Invalid $patch type in the patch: {other}")));
        }
    }
    if let Some(Value::Array(keys)) = patch.get("$retainKeys") {
        target.retain(|name, _| keys.iter().any(|key| key == name));
    }
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (target.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if name.starts_with('$') {
            continue;
        }
        let field = shape.field(name);
        match (target.get_mut(name), value) {
            (_, Value::Null) => {
                target.remove(name);
            }
            (Some(current @ Value::Object(_)), Value::Object(_)) => strategic_patch(current, value, field)?,
            (Some(Value::Array(items)), Value::Array(changes)) if field.merge_key.is_some() => {
                let order = patch.get(&format!("$setElementOrder/{name}")).and_then(Value::as_array);
                merge_list(items, changes, field, order.map(Vec::as_slice))?;
            }
            (_, Value::Object(map)) => {
                if map.get("$patch").and_then(Value::as_str) == Some("delete") {
                    target.remove(name);
                    continue;
                }
                let mut fresh = Value::Object(Map::new());
                strategic_patch(&mut fresh, value, field)?;
                target.insert(name.clone(), fresh);
            }
            (_, Value::Array(changes)) => {
                let kept = changes
                    .iter()
                    .filter(|change| change.get("$patch").is_none())
                    .map(|change| match change {
                        Value::Object(map) => Value::Object(without_directives(map)),
                        other => other.clone(),
                    })
                    .collect();
                target.insert(name.clone(), Value::Array(kept));
            }
            (_, value) => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
    // An order without changes only sorts.
    for (name, order) in patch {
        let Some(list) = name.strip_prefix("$setElementOrder/") else { continue };
        if patch.contains_key(list) {
            continue;
        }
        let field = shape.field(list);
        if let (Some(Value::Array(items)), Some(order)) = (target.get_mut(list), order.as_array()) {
            let before = items.clone();
            sort_by(items, &before, order, field.merge_key.as_deref().unwrap_or("*"));
        }
    }
    Ok(())
}

/// A patch as messages of the real server show it.
pub(crate) fn as_go_map(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", as_go_map(value))).collect();
            format!("map[{}]", parts.join(" "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(as_go_map).collect::<Vec<_>>().join(" ")),
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

fn merge_list(items: &mut Vec<Value>, changes: &[Value], shape: &Shape, order: Option<&[Value]>) -> Result<(), Failure> {
    let key = shape.merge_key.as_deref().unwrap_or("*");
    if changes.iter().any(|change| change.get("$patch").and_then(Value::as_str) == Some("replace")) {
        *items = changes.iter().filter(|change| change.get("$patch").is_none()).cloned().collect();
        return Ok(());
    }
    let before = items.clone();
    for change in changes {
        if key == "*" {
            if !items.contains(change) {
                items.push(change.clone());
            }
            continue;
        }
        let Some(identity) = change.get(key) else {
            return Err(Failure::bad_request(format!("map: {change} does not contain declared merge key: {key}")));
        };
        let place = items.iter().position(|item| item.get(key) == Some(identity));
        if change.get("$patch").and_then(Value::as_str) == Some("delete") {
            items.retain(|item| item.get(key) != Some(identity));
            continue;
        }
        match place {
            Some(place) => strategic_patch(&mut items[place], change, shape.item())?,
            None => {
                let mut fresh = Value::Object(Map::new());
                strategic_patch(&mut fresh, change, shape.item())?;
                items.push(fresh);
            }
        }
    }
    sort_by(items, &before, order.unwrap_or(changes), key);
    Ok(())
}

/// Puts the items named in `order` into that order; the others keep theirs, each as early as it stood before among them.
fn sort_by(items: &mut Vec<Value>, before: &[Value], order: &[Value], key: &str) {
    let same = |a: &Value, b: &Value| if key == "*" { a == b } else { a.get(key) == b.get(key) };
    let place = |item: &Value| before.iter().position(|other| same(other, item));
    let mut named: Vec<Value> = order.iter().filter_map(|wanted| items.iter().find(|item| same(item, wanted)).cloned()).collect();
    let others: Vec<Value> = items.iter().filter(|item| !order.iter().any(|wanted| same(item, wanted))).cloned().collect();
    items.clear();
    let mut named = named.drain(..).peekable();
    for other in others {
        while let Some(next) = named.peek() {
            // What is new goes first.
            if place(next).is_some_and(|at| Some(at) > place(&other)) {
                break;
            }
            items.extend(named.next());
        }
        items.push(other);
    }
    items.extend(named);
}

fn without_directives(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().filter(|(name, _)| !name.starts_with('$')).map(|(name, value)| (name.clone(), value.clone())).collect()
}
