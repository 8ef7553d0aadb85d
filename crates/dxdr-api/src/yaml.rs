//! YAML of any kind: written in block style, for files that people read; read with the places of everything in it.

pub mod edit;
mod json;

use std::fmt;

use dxdr_environment::FieldPath;
use serde_json::Value;
use zeroize::Zeroize as _;

use crate::{
    problem::{Place, Problems, SourceText},
    tree::{self, Node, Quoting},
};

/// A document of whatever kind, which remembers where everything stands. Its texts are overwritten when it is dropped: they may
/// be secrets.
pub struct AnyDocument {
    value: Value,
    /// Where a document begins that has no places of its own.
    begin: Place,
    nodes: Option<Node>,
}

impl AnyDocument {
    /// The plain tree.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The plain tree, out of the document: whoever takes it overwrites it.
    pub fn take(mut self) -> Value {
        std::mem::take(&mut self.value)
    }

    /// Where a field is named, or a value stands; as far as the path exists. In JSON, where the document begins.
    pub fn place(&self, path: &FieldPath) -> Place {
        self.nodes.as_ref().map_or(self.begin, |nodes| nodes.key_place(path))
    }
}

impl fmt::Debug for AnyDocument {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AnyDocument").field("begin", &self.begin).finish_non_exhaustive()
    }
}

impl Drop for AnyDocument {
    fn drop(&mut self) {
        wipe(&mut self.value);
        if let Some(nodes) = &mut self.nodes {
            nodes.texts_mut(&mut |text| text.zeroize());
        }
    }
}

/// Overwrites every text in a tree, names of fields aside.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Reads every document of a text; empty ones are left out. A text that begins with a brace is JSON, one document behind the other, or else
/// YAML in flow style; any other is YAML. Problems repeat nothing of the text but names of fields.
pub fn read(source: &SourceText<'_>) -> Result<Vec<AnyDocument>, Problems> {
    let text = source.text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') && !text.trim_start().starts_with("{{") {
        match json::read(&SourceText { name: source.name, text }) {
            Err(problems) if json::begins_like_yaml(text) => drop(problems),
            read => return read,
        }
    }
    let (documents, problems) = tree::read(&SourceText { name: source.name, text }, Quoting::Nothing);
    if problems.is_empty() {
        let documents = documents.into_iter();
        return Ok(documents.map(|node| AnyDocument { value: node.to_value(), begin: node.place, nodes: Some(node) }).collect());
    }
    Err(Problems(problems).sorted())
}

/// The YAML of `value`, fields in the tree's order. Texts that any YAML reader could take for something else are quoted.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    block(&mut text, value, 0);
    text
}

fn block(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (index, (name, value)) in fields.iter().enumerate() {
                // The first field of a map in a list stands behind the dash.
                if index > 0 || text.is_empty() || text.ends_with('\n') {
                    text.push_str(&" ".repeat(indent));
                }
                text.push_str(&scalar_text(name));
                text.push(':');
                below(text, value, indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&" ".repeat(indent));
                text.push('-');
                match item {
                    Value::Object(fields) if !fields.is_empty() => {
                        text.push(' ');
                        block(text, item, indent + 2);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        text.push('\n');
                        block(text, item, indent + 2);
                    }
                    _ => inline(text, item),
                }
            }
        }
        _ => {
            inline(text, value);
        }
    }
}

fn below(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            block(text, value, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(text, value, indent);
        }
        _ => inline(text, value),
    }
}

fn inline(text: &mut String, value: &Value) {
    text.push(' ');
    match value {
        Value::String(value) => text.push_str(&scalar_text(value)),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        other => text.push_str(&other.to_string()),
    }
    text.push('\n');
}

/// Unquoted only where it is certain to be read as text by every version of YAML.
fn scalar_text(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && !text.ends_with([' ', ':'])
        && text.chars().all(|character| character.is_ascii_alphanumeric() || " -_./(),;:'`=<>+*&!?$@|{}[]".contains(character))
        && !text.contains(": ")
        && !text.contains(" #")
        && !matches!(text.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    // A JSON string is a double-quoted YAML string.
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::write;
    use crate::{
        problem::SourceText,
        tree::{self, Quoting},
    };

    #[test]
    fn what_is_written_reads_back_the_same() {
        let value = json!({
            "name": "api", "empty": {}, "none": [], "number": 5, "float": 0.5, "text": "5", "no": "no", "null": null,
            "list": [{"a": 1, "b": {"c": "d"}}, "x", ["y", ["z"]], {}, []],
            "odd": ["a: b", "a #b", " a", "a ", "", "*/5 * * * *", "line\nbreak", "\"quoted\"", "ü", "-", "# x", "a:", "{", "0x1f", "1e3", "=", "<<"],
        });
        let text = write(&value);
        let (documents, problems) = tree::read(&SourceText { name: "x", text: &text }, Quoting::Words);
        assert_eq!(problems, [], "{text}");
        assert_eq!(documents[0].to_value(), value, "{text}");
    }
}
