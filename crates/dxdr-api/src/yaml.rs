//! Writes a tree as YAML, in block style, for files that people read.

use serde_json::Value;

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
    use crate::{problem::SourceText, tree};

    #[test]
    fn what_is_written_reads_back_the_same() {
        let value = json!({
            "name": "api", "empty": {}, "none": [], "number": 5, "float": 0.5, "text": "5", "no": "no", "null": null,
            "list": [{"a": 1, "b": {"c": "d"}}, "x", ["y", ["z"]], {}, []],
            "odd": ["a: b", "a #b", " a", "a ", "", "*/5 * * * *", "line\nbreak", "\"quoted\"", "ü", "-", "# x", "a:", "{", "0x1f", "1e3", "=", "<<"],
        });
        let text = write(&value);
        let (documents, problems) = tree::read(&SourceText { name: "x", text: &text });
        assert_eq!(problems, [], "{text}");
        assert_eq!(documents[0].to_value(), value, "{text}");
    }
}
