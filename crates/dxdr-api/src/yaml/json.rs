//! JSON documents, one behind the other. A field that stands twice is an error, as everywhere.

use std::{fmt, ops::Range, sync::Arc};

use dxdr_environment::FieldPath;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::AnyDocument;
use crate::problem::{Place, Problem, Problems, SourceText};

/// Reads them all.
pub(super) fn read(source: &SourceText<'_>) -> Result<Vec<AnyDocument>, Problems> {
    let mut documents = Vec::new();
    let mut rest = source.text;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(documents);
        }
        let begin = place(source.text, source.text.len() - rest.len());
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<Strict>();
        match stream.next() {
            Some(Ok(Strict(value))) => documents.push(AnyDocument { value, begin, nodes: None }),
            Some(Err(error)) => {
                let (line, column) = (error.line(), error.column());
                let place = match line {
                    0 | 1 => Place { line: begin.line, column: begin.column + column.saturating_sub(1) },
                    _ => Place { line: begin.line + line - 1, column },
                };
                // The place stands in front already.
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                let message = format!("this is not valid JSON: {text}");
                return Err(Problems(vec![Problem::error(&Arc::from(source.name), place, FieldPath::default(), message)]));
            }
            None => return Ok(documents),
        }
        rest = &rest[stream.byte_offset()..];
    }
}

/// Where the documents of a text stand, where it is JSON.
pub(super) fn ranges(text: &str) -> Option<Vec<Range<usize>>> {
    let (mut ranges, mut start) = (Vec::new(), 0);
    loop {
        start += text[start..].len() - text[start..].trim_start().len();
        if start == text.len() {
            return Some(ranges);
        }
        let mut stream = serde_json::Deserializer::from_str(&text[start..]).into_iter::<IgnoredAny>();
        stream.next()?.ok()?;
        let end = start + stream.byte_offset();
        ranges.push(start..end);
        start = end;
    }
}

/// Whether the first name of a field is in no quotes, which JSON does not know.
pub(super) fn begins_like_yaml(text: &str) -> bool {
    !text.trim_start().trim_start_matches('{').trim_start().starts_with(['"', '}'])
}

fn place(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line, column }
}

/// A tree in which no field stood twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictVisitor.deserialize(deserializer).map(Self)
    }
}

struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(StrictVisitor)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(StrictVisitor)?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("field `{name}` stands here twice")));
            }
            map.insert(name, value);
        }
        Ok(map.into())
    }
}
