//! Request bodies in protocol buffers, which kubectl uses for the kinds it was compiled with. Answers are always JSON.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::shape::{Form, Shape};

/// Decodes what follows the magic number: an envelope with the type and the message.
pub(crate) fn decode(envelope: &[u8]) -> Option<Value> {
    let (mut api_version, mut kind, mut message) = (String::new(), String::new(), &[][..]);
    for field in Fields(envelope) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Fields(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = std::str::from_utf8(text).ok()?.to_owned(),
                        (2, Wire::Bytes(text)) => kind = std::str::from_utf8(text).ok()?.to_owned(),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => message = bytes,
            _ => {}
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    // Options are the same in every group.
    let shape = if kind == "DeleteOptions" { Shape::built_in("", "v1", &kind)? } else { Shape::built_in(group, version, &kind)? };
    let mut object = Map::new();
    structure(message, &shape, &mut object)?;
    object.insert("apiVersion".to_owned(), api_version.as_str().into());
    object.insert("kind".to_owned(), kind.into());
    Some(Value::Object(object))
}

/// Go writes fields that are empty and not pointers; JSON leaves them out. These are pointers, whose emptiness says something.
const MEANT: [&str; 9] = [
    "replicas",
    "storageClassName",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "allocateLoadBalancerNodePorts",
    "minReplicas",
    "backoffLimit",
    "terminationGracePeriodSeconds",
    "gracePeriodSeconds",
];

fn structure(message: &[u8], shape: &Shape, into: &mut Map<String, Value>) -> Option<()> {
    let Form::Struct(of) = &shape.form else { return None };
    for field in Fields(message) {
        let (number, wire) = field?;
        let Some((name, shape)) = of.numbers.get(&number) else { continue };
        if name.is_empty() {
            if let Wire::Bytes(bytes) = wire {
                structure(bytes, shape, into)?;
            }
            continue;
        }
        match (&shape.form, wire) {
            (Form::List(item), wire) => {
                let value = scalar(&wire, item)?;
                if let Value::Array(items) = into.entry(name.clone()).or_insert_with(|| json!([])) {
                    items.push(value);
                }
            }
            (Form::Map(item), Wire::Bytes(entry)) => {
                let (mut key, mut value) = (String::new(), Value::Null);
                for field in Fields(entry) {
                    match field? {
                        (1, Wire::Bytes(text)) => key = std::str::from_utf8(text).ok()?.to_owned(),
                        (2, wire) => value = scalar(&wire, item)?,
                        _ => {}
                    }
                }
                if let Value::Object(map) = into.entry(name.clone()).or_insert_with(|| json!({})) {
                    map.insert(key, value);
                }
            }
            (_, wire) => {
                let value = scalar(&wire, shape)?;
                let empty = match &value {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    Value::Bool(flag) => !flag,
                    Value::Number(number) => number.as_f64() == Some(0.0),
                    Value::Object(map) => map.is_empty() && matches!(name.as_str(), "status" | "metadata"),
                    Value::Array(_) => false,
                };
                if !empty || MEANT.contains(&name.as_str()) {
                    into.insert(name.clone(), value);
                }
            }
        }
    }
    Some(())
}

fn scalar(wire: &Wire<'_>, shape: &Shape) -> Option<Value> {
    Some(match (&shape.form, wire) {
        (Form::Text, Wire::Bytes(bytes)) => std::str::from_utf8(bytes).ok()?.into(),
        (Form::Bytes, Wire::Bytes(bytes)) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
        (Form::Boolean, Wire::Varint(number)) => (*number != 0).into(),
        // Negative numbers are written as the two's complement of 64 bits.
        (Form::Integer | Form::Number, Wire::Varint(number)) => number.cast_signed().into(),
        (Form::Number, Wire::Fixed64(bits)) => f64::from_bits(*bits).into(),
        (Form::Quantity, Wire::Bytes(bytes)) => text_in(bytes, 1)?.into(),
        (Form::IntOrText, Wire::Bytes(bytes)) => {
            let mut value = Value::from(0);
            let mut is_text = false;
            for field in Fields(bytes) {
                match field? {
                    (1, Wire::Varint(kind)) => is_text = kind == 1,
                    (2, Wire::Varint(number)) if !is_text => value = number.cast_signed().into(),
                    (3, Wire::Bytes(text)) if is_text => value = std::str::from_utf8(text).ok()?.into(),
                    _ => {}
                }
            }
            value
        }
        (Form::Time, Wire::Bytes(bytes)) => {
            let (mut seconds, mut nanoseconds) = (None, 0);
            for field in Fields(bytes) {
                match field? {
                    (1, Wire::Varint(number)) => seconds = Some(number.cast_signed()),
                    (2, Wire::Varint(number)) => nanoseconds = i32::try_from(number).ok()?,
                    _ => {}
                }
            }
            match seconds {
                Some(seconds) => {
                    let time = jiff::Timestamp::new(seconds, nanoseconds).ok()?;
                    let format = if nanoseconds == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
                    time.strftime(format).to_string().into()
                }
                None => Value::Null,
            }
        }
        (Form::Any, Wire::Bytes(bytes)) => {
            let raw = Fields(bytes).next().flatten();
            match raw {
                Some((1, Wire::Bytes(raw))) => serde_json::from_slice(raw).ok()?,
                _ => Value::Null,
            }
        }
        (Form::Struct(_), Wire::Bytes(bytes)) => {
            let mut object = Map::new();
            structure(bytes, shape, &mut object)?;
            Value::Object(object)
        }
        (Form::List(item), Wire::Bytes(bytes)) | (Form::Map(item), Wire::Bytes(bytes)) => {
            // A list within a map: a message with one repeated field.
            let mut items = Vec::new();
            for field in Fields(bytes) {
                items.push(scalar(&field?.1, item)?);
            }
            Value::Array(items)
        }
        _ => return None,
    })
}

fn text_in(bytes: &[u8], wanted: u64) -> Option<String> {
    for field in Fields(bytes) {
        if let (number, Wire::Bytes(text)) = field?
            && number == wanted
        {
            return std::str::from_utf8(text).ok().map(str::to_owned);
        }
    }
    Some(String::new())
}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message; an item is `None` where the bytes make no sense.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Varint(0)
            }
            _ => return None,
        };
        Some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(first & 0x7f).checked_shl(shift).unwrap_or(0);
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
