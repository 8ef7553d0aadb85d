//! The table of built-in types of the sandbox, made from what a real server says about its types.
//!
//! ```text
//!   OpenAPI v3 of the server        fields, merge rules, atomic lists and maps   ─┐
//!   .proto files of the Go modules  field numbers, inlined structs               ─┴─► builtin/types.txt
//! ```
//!
//! The format is described where it is read, in `shape.rs` of the sandbox. The same server version gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{checkout, cluster};

mod proto;

const TABLE: &str = "crates/dxdr-sandbox/src/builtin/types.txt";
const KINDS: &str = "crates/dxdr-sandbox/src/builtin/kinds.txt";

/// Groups of which the sandbox answers reviews and stores nothing, so that `kinds.txt` does not have them.
const REVIEWS: [&str; 2] = ["authentication.k8s.io/v1", "authorization.k8s.io/v1"];

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The server to ask, of the version in `tools/control-plane` [default: a control plane started for this]
    #[arg(long, value_name = "FILE")]
    from_kubeconfig: Option<PathBuf>,
    /// Change nothing; fail when the table is not as it would be made
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let table = match &arguments.from_kubeconfig {
        Some(kubeconfig) => make(&cluster::programs::build_kubectl()?, kubeconfig)?,
        None => cluster::temporary::in_cluster(cluster::Parts::default(), false, |cluster| {
            make(cluster.kubectl(), Path::new(&cluster.kubeconfig()))
        })?,
    };
    let path = checkout::root().join(TABLE);
    let present = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if present == table {
        println!("{TABLE} is up to date");
        return Ok(ExitCode::SUCCESS);
    }
    let same = present.lines().zip(table.lines()).take_while(|(one, other)| one == other).count();
    if arguments.check {
        eprintln!("error: {TABLE} differs from line {} on\nhint: run `cargo xtask builtin-types`", same + 1);
        return Ok(ExitCode::FAILURE);
    }
    fs::write(&path, table).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{TABLE} differed from line {} on, and is written", same + 1);
    Ok(ExitCode::SUCCESS)
}

/// The whole table.
fn make(kubectl: &Path, kubeconfig: &Path) -> Result<String> {
    let groups = groups()?;
    let mut schemas = BTreeMap::new();
    for group in &groups {
        let path = match group.strip_prefix("core/") {
            Some(version) => format!("/openapi/v3/api/{version}"),
            None => format!("/openapi/v3/apis/{group}"),
        };
        let mut document = get(kubectl, kubeconfig, &path)?;
        let Some(found) = document["components"]["schemas"].as_object_mut() else {
            bail!("{path} has no schemas");
        };
        for (name, schema) in std::mem::take(found) {
            // Of a type in several documents, each names only the kinds of its own group.
            let known = schemas.entry(short(&name)).or_insert_with(|| schema.clone());
            merge_kinds(known, &schema);
        }
    }
    let messages = proto::read()?;
    Ok(table(&groups, &schemas, &messages))
}

/// The group versions of the table, in order.
fn groups() -> Result<BTreeSet<String>> {
    let path = checkout::root().join(KINDS);
    let kinds = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = kinds.lines().filter(|line| !line.starts_with('#'));
    let mut groups: BTreeSet<String> = lines.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    groups.extend(REVIEWS.map(str::to_owned));
    Ok(groups)
}

fn get(kubectl: &Path, kubeconfig: &Path, path: &str) -> Result<Value> {
    let output = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["get", "--raw", path])
        .output()
        .context("cannot run kubectl")?;
    if !output.status.success() {
        bail!("cannot read {path}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("{path} is not JSON"))
}

/// `apps.v1.Deployment` of `io.k8s.api.apps.v1.Deployment`.
fn short(name: &str) -> String {
    let parts: Vec<&str> = name.rsplitn(4, '.').take(3).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(".")
}

fn merge_kinds(into: &mut Value, from: &Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    let more = from[KINDS].as_array().cloned().unwrap_or_default();
    if let Some(kinds) = into.get_mut(KINDS).and_then(Value::as_array_mut) {
        for kind in more {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
    }
}

fn table(groups: &BTreeSet<String>, schemas: &BTreeMap<String, Value>, messages: &proto::Messages) -> String {
    let mut kinds = BTreeSet::new();
    for (name, schema) in schemas {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let text = |field: &str| kind[field].as_str().unwrap_or_default();
            let group = if text("group").is_empty() { "core" } else { text("group") };
            let group_version = format!("{group}/{}", text("version"));
            // Lists are made from their items. What every group has is the same everywhere.
            let everywhere = matches!(text("kind"), "DeleteOptions" | "Status" | "WatchEvent");
            let wanted =
                if everywhere { group == "core" && text("kind") != "WatchEvent" } else { groups.contains(&group_version) };
            if wanted && !text("kind").ends_with("List") {
                // The core group comes first.
                kinds.insert((group != "core", group_version, text("kind").to_owned(), name.clone()));
            }
        }
    }
    let mut types = BTreeMap::new();
    let mut open: Vec<String> = kinds.iter().map(|(_, _, _, name)| name.clone()).collect();
    open.push("meta.v1.ObjectMeta".to_owned());
    while let Some(name) = open.pop() {
        if types.contains_key(&name) {
            continue;
        }
        let Some(schema) = schemas.get(&name) else { continue };
        let described = describe(&name, schema, schemas, messages, &mut types);
        open.extend(described.refers);
        types.insert(name, described.line);
    }
    let mut text = String::new();
    for (_, group_version, kind, name) in kinds {
        text.push_str(&format!("> {group_version} {kind} {name}\n"));
    }
    for line in types.values() {
        text.push_str(line);
        text.push('\n');
    }
    text
}

struct Described {
    line: String,
    refers: Vec<String>,
}

/// The line of one type; the lines of structs inlined into it, which the server does not name, go into `types`.
fn describe(
    name: &str,
    schema: &Value,
    schemas: &BTreeMap<String, Value>,
    messages: &proto::Messages,
    types: &mut BTreeMap<String, String>,
) -> Described {
    let nothing = BTreeMap::new();
    let numbers = messages.get(name).unwrap_or(&nothing);
    let empty = serde_json::Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let mut refers = Vec::new();
    let mut words = BTreeMap::new();
    for (field, property) in properties {
        // Abbreviations are in other cases there: `uID`, `aPIGroup`.
        let same = |(name, found): (&String, _)| name.eq_ignore_ascii_case(field).then_some(found);
        let numbered = numbers.get(field).or_else(|| numbers.iter().find_map(same));
        let number = numbered.map(|field| format!(":{}", field.number)).unwrap_or_default();
        words.insert(field.clone(), format!("{field}{number}={}", form(property, &mut refers)));
    }
    for (field, inlined) in numbers.iter().filter(|(field, _)| !properties.contains_key(*field)) {
        let Some(inner) = messages.get(&inlined.of_type) else { continue };
        if !inner.keys().any(|name| properties.contains_key(name)) {
            continue;
        }
        words.insert(format!("+{field}"), format!("+:{}=@{}", inlined.number, inlined.of_type));
        if schemas.contains_key(&inlined.of_type) {
            refers.push(inlined.of_type.clone());
            continue;
        }
        let part: serde_json::Map<String, Value> = properties
            .iter()
            .filter(|(name, _)| inner.contains_key(*name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let part = serde_json::json!({"properties": part});
        let described = describe(&inlined.of_type, &part, schemas, messages, types);
        types.insert(inlined.of_type.clone(), described.line);
    }
    let atomic = if schema["x-kubernetes-map-type"] == "atomic" { "!" } else { "" };
    let mut line = format!("{name}{atomic}");
    for word in words.values() {
        line.push(' ');
        line.push_str(word);
    }
    Described { line, refers }
}

/// A field's type and its merge rules.
fn form(property: &Value, refers: &mut Vec<String>) -> String {
    let mut text = plain_form(property, refers);
    if property["x-kubernetes-map-type"] == "atomic" {
        text.push('!');
    }
    match property["x-kubernetes-list-type"].as_str() {
        Some("set") => text.push_str("~*"),
        Some("map") => {
            let keys: Vec<&str> =
                property["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            text.push('~');
            text.push_str(&keys.join(","));
        }
        _ => {}
    }
    let strategy = property["x-kubernetes-patch-strategy"].as_str().unwrap_or_default();
    if text.starts_with('[') && strategy.split(',').any(|word| word == "merge") {
        text.push('^');
        text.push_str(property["x-kubernetes-patch-merge-key"].as_str().unwrap_or("*"));
    }
    if strategy.split(',').any(|word| word == "retainKeys") {
        text.push('%');
    }
    text
}

fn plain_form(property: &Value, refers: &mut Vec<String>) -> String {
    let reference = property.get("$ref").or_else(|| property["allOf"][0].get("$ref")).and_then(Value::as_str);
    if let Some(reference) = reference {
        let name = short(reference.rsplit('/').next().unwrap_or_default());
        return match name.as_str() {
            "api.resource.Quantity" => "q".to_owned(),
            "util.intstr.IntOrString" => "x".to_owned(),
            "meta.v1.Time" | "meta.v1.MicroTime" => "t".to_owned(),
            "meta.v1.FieldsV1" | "pkg.runtime.RawExtension" => "a".to_owned(),
            _ if name.starts_with("apiextensions.v1.JSON") && name != "apiextensions.v1.JSONSchemaProps" => "a".to_owned(),
            // A struct without fields.
            "apiextensions.v1.CustomResourceSubresourceStatus" => "a".to_owned(),
            _ => {
                refers.push(name.clone());
                format!("@{name}")
            }
        };
    }
    let format = property["format"].as_str().unwrap_or_default();
    match property["type"].as_str() {
        Some("string") if format == "byte" => "y".to_owned(),
        Some("string") => "s".to_owned(),
        Some("integer") => "i".to_owned(),
        Some("number") => "n".to_owned(),
        Some("boolean") => "b".to_owned(),
        Some("array") => format!("[{}", plain_form(&property["items"], refers)),
        Some("object") if property["additionalProperties"].is_object() => {
            format!("{{{}", plain_form(&property["additionalProperties"], refers))
        }
        _ => "a".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_says_how_its_lists_merge_and_which_structs_are_inlined() {
        let schemas: BTreeMap<String, Value> = [(
            "core.v1.Volume".to_owned(),
            serde_json::json!({
                "properties": {
                    "name": {"type": "string"},
                    "items": {
                        "type": "array", "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.KeyToPath"},
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key", "path"],
                        "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "key",
                    },
                    "emptyDir": {"type": "object", "additionalProperties": {"type": "string"}},
                },
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Volume"}],
            }),
        )]
        .into();
        let messages = proto::parse(
            "package k8s.io.api.core.v1;\nmessage Volume {\n  optional string name = 1;\n  repeated KeyToPath items = 3;\n  optional VolumeSource volumeSource = 2;\n}\nmessage VolumeSource {\n  map<string, string> emptyDir = 7;\n}\n",
        );
        let groups = ["core/v1".to_owned()].into();
        assert_eq!(
            table(&groups, &schemas, &messages),
            "> core/v1 Volume core.v1.Volume\n\
             core.v1.Volume +:2=@core.v1.VolumeSource emptyDir={s items:3=[@core.v1.KeyToPath~key,path^key name:1=s\n\
             core.v1.VolumeSource emptyDir:7={s\n"
        );
    }
}
