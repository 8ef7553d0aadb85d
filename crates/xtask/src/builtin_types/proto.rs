//! What the server's OpenAPI leaves out: the numbers of fields in protocol buffers.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use crate::cluster::programs;

/// The Go modules that `tools/control-plane` pins with `.proto` files, and where those lie.
const MODULES: [(&str, &str); 4] = [
    ("k8s.io/api", ""),
    ("k8s.io/apimachinery", "pkg/apis"),
    ("k8s.io/apiextensions-apiserver", "pkg/apis"),
    ("k8s.io/kube-aggregator", "pkg/apis"),
];

pub(super) struct Field {
    pub(super) number: u32,
    /// `core.v1.PodSpec`, or a scalar.
    pub(super) of_type: String,
}

/// The fields of each message, by their names in JSON.
pub(super) type Messages = BTreeMap<String, BTreeMap<String, Field>>;

/// Reads every `generated.proto` of the pinned modules.
pub(super) fn read() -> Result<Messages> {
    let mut messages = Messages::new();
    for (module, below) in MODULES {
        let root = programs::download("control-plane", module)?.join(below);
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
                let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_some_and(|name| name == "generated.proto") {
                    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                    messages.extend(parse(&text));
                }
            }
        }
    }
    Ok(messages)
}

/// The messages of one file, as the generator of Kubernetes writes them: a field a line, no nesting.
pub(super) fn parse(text: &str) -> Messages {
    let mut messages = Messages::new();
    let (mut package, mut current) = (String::new(), None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = super::short(&format!("{}.X", name.trim_end_matches(';'))).trim_end_matches(".X").to_owned();
        } else if let Some(name) = line.strip_prefix("message ") {
            let name = format!("{package}.{}", name.trim_end_matches('{').trim());
            messages.insert(name.clone(), BTreeMap::new());
            current = Some(name);
        } else if line == "}" {
            current = None;
        } else if let Some(fields) = current.as_ref().and_then(|name| messages.get_mut(name))
            && let Some((name, field)) = parse_field(line, &package)
        {
            fields.insert(name, field);
        }
    }
    messages
}

fn parse_field(line: &str, package: &str) -> Option<(String, Field)> {
    if line.starts_with("//") {
        return None;
    }
    let (declaration, rest) = line.split_once(" = ")?;
    let number = rest.trim_end_matches(';').split(' ').next()?.trim_end_matches(';').parse().ok()?;
    let (of_type, name) = declaration.rsplit_once(' ')?;
    let of_type = of_type.trim_start_matches("optional ").trim_start_matches("repeated ").trim_start_matches('.');
    let of_type = if of_type.contains('.') { super::short(of_type) } else { format!("{package}.{of_type}") };
    Some((name.to_owned(), Field { number, of_type }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_numbers_and_types_of_their_package_or_another() {
        let messages = parse(
            "package k8s.io.api.apps.v1;\n\n// A comment = 1;\nmessage Deployment {\n  // metadata = 9;\n  optional .k8s.io.apimachinery.pkg.apis.meta.v1.ObjectMeta metadata = 1;\n\n  optional DeploymentSpec spec = 2;\n}\n",
        );
        let fields: Vec<(&str, u32, &str)> = messages["apps.v1.Deployment"]
            .iter()
            .map(|(name, field)| (name.as_str(), field.number, field.of_type.as_str()))
            .collect();
        assert_eq!(fields, [("metadata", 1, "meta.v1.ObjectMeta"), ("spec", 2, "apps.v1.DeploymentSpec")]);
    }
}
