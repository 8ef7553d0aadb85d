//! One text into documents: every document that can be read, and every problem of those that cannot.

use std::sync::Arc;

use dxdr_environment::{Environment, FieldPath};
use dxdr_policy::{BackupPolicy, BackupStore, SealingPolicy};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    Kind,
    kind::{API_VERSION, GROUP, PLANNED},
    problem::{Problem, Problems, Severity, SourceText},
    reading::{Reading, field_path},
    schema, shape,
    shape::listed,
    tree::{self, Content, Node, Quoting},
};

/// One document, read into the model.
#[derive(Debug, Clone)]
pub struct Document {
    /// Name of the source it stands in.
    pub file: Arc<str>,
    /// What it describes.
    pub resource: Resource,
    /// What is suspicious about it.
    pub warnings: Vec<Problem>,
    pub(crate) node: Node,
}

/// What a document describes.
#[derive(Debug, Clone)]
pub enum Resource {
    /// An environment.
    Environment(Box<Environment>),
    /// A store.
    BackupStore(BackupStore),
    /// A policy.
    BackupPolicy(BackupPolicy),
    /// A policy for sealing keys.
    SealingPolicy(SealingPolicy),
}

impl Document {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.resource {
            Resource::Environment(_) => Kind::Environment,
            Resource::BackupStore(_) => Kind::BackupStore,
            Resource::BackupPolicy(_) => Kind::BackupPolicy,
            Resource::SealingPolicy(_) => Kind::SealingPolicy,
        }
    }

    /// `metadata.name`
    pub fn name(&self) -> &str {
        self.node.field("metadata").and_then(|metadata| metadata.value.text("name")).unwrap_or_default()
    }

    /// A problem with the value at `path`.
    pub(crate) fn wrong(&self, path: FieldPath, message: impl Into<String>) -> Problem {
        Problem::error(&self.file, self.node.place(&path), path, message)
    }
}

/// Reads all documents of a text, YAML or JSON. All problems of all documents are returned at once; if one of them is an error,
/// nothing else is. Whether the documents fit together is what [`crate::manifests`] checks.
///
/// Each document needs `apiVersion`, except behind one that has it: there it may be left out, and is the same.
pub fn parse(source: &SourceText<'_>) -> Result<Vec<Document>, Problems> {
    let parsed = read(source);
    let problems = Problems(parsed.problems).sorted();
    if problems.has_errors() { Err(problems) } else { Ok(parsed.documents) }
}

/// The custom resource that an API server returned, as a document: only what people write counts of its `metadata`, and `status` is
/// no input. Places in problems are those of `name`'s pretty-printed JSON.
pub fn custom_resource(name: &str, object: &Value) -> Result<Document, Problems> {
    let mut metadata = serde_json::Map::new();
    for field in ["name", "labels"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let written = serde_json::json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": metadata, "spec": object["spec"],
    });
    let text = format!("{written:#}");
    let documents = parse(&SourceText { name, text: &text })?;
    // One JSON object is one document.
    documents.into_iter().next().ok_or_else(Problems::default)
}

/// What could be read of a text.
pub(crate) struct Parsed {
    pub(crate) documents: Vec<Document>,
    pub(crate) problems: Vec<Problem>,
    /// Kind and name of documents that have errors: they exist, whatever else is wrong with them.
    pub(crate) broken: Vec<(Kind, String)>,
}

pub(crate) fn read(source: &SourceText<'_>) -> Parsed {
    let file: Arc<str> = Arc::from(source.name);
    let (nodes, problems) = tree::read(source, Quoting::Words);
    let mut parsed = Parsed { documents: Vec::new(), problems, broken: Vec::new() };
    let mut version_known = false;
    for node in nodes {
        let has_version = node.field("apiVersion").is_some();
        let mut problems = Vec::new();
        let kind = kind_of(&file, &node, version_known || has_version, &mut problems);
        version_known |= has_version;
        let resource = kind.filter(|_| problems.is_empty()).and_then(|kind| resource(&file, &node, kind, &mut problems));
        let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| problem.severity == Severity::Error);
        match resource {
            Some(resource) if errors.is_empty() => {
                parsed.documents.push(Document { file: Arc::clone(&file), resource, warnings: warnings.clone(), node });
            }
            _ => {
                let name = node.field("metadata").and_then(|metadata| metadata.value.text("name"));
                parsed.broken.extend(kind.zip(name.map(ToOwned::to_owned)));
            }
        }
        parsed.problems.extend(errors.into_iter().chain(warnings));
    }
    parsed
}

/// The kind of a document, as far as it and its version can be read.
fn kind_of(file: &Arc<str>, node: &Node, version_known: bool, problems: &mut Vec<Problem>) -> Option<Kind> {
    let mut report = |problem| problems.push(problem);
    if !matches!(node.content, Content::Map(_)) {
        let problem = Problem::error(file, node.place, FieldPath::default(), "this is not a manifest");
        report(problem.found(node.describe()).expected("a map with `apiVersion`, `kind`, `metadata` and `spec`"));
        return None;
    }
    if !version_known {
        let problem = Problem::error(file, node.place, FieldPath::default(), "`apiVersion` is missing");
        report(problem.expected(format!("`apiVersion: {API_VERSION}`")));
    } else if let Some(version) = node.text("apiVersion").filter(|version| *version != API_VERSION) {
        let path = field_path!["apiVersion"];
        let problem = Problem::error(file, node.place(&path), path, "`apiVersion` is not one that dxdr reads");
        let problem = problem.found(format!("`{version}`")).expected(format!("`{API_VERSION}`"));
        let other_group = version.split('/').next() != Some(GROUP);
        report(if other_group { problem.hint("other Kubernetes objects do not belong among dxdr's manifests") } else { problem });
        return None;
    }
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    let path = field_path!["kind"];
    let Some(name) = node.text("kind") else {
        report(Problem::error(file, node.place, path, "`kind` is missing").expected(listed(&names, "or")));
        return None;
    };
    let kind = Kind::named(name);
    if kind.is_none() {
        let place = node.place(&path);
        report(if PLANNED.contains(&name) {
            Problem::error(file, place, path, format!("kind `{name}` is not supported by this version of dxdr"))
        } else {
            let problem = Problem::error(file, place, path, format!("unknown kind `{name}`"));
            problem.expected(listed(&names, "or")).suggest(name, names)
        });
    }
    kind
}

fn resource(file: &Arc<str>, node: &Node, kind: Kind, problems: &mut Vec<Problem>) -> Option<Resource> {
    if let Some(status) = node.field("status") {
        let problem = Problem::error(file, status.place, field_path!["status"], "`status` is never input");
        problems.push(problem.hint("take it out; dxdr writes it"));
        return None;
    }
    *problems = shape::check(file, node, &schema::document(kind), Vec::new());
    if !problems.is_empty() {
        return None;
    }
    let name = node.field("metadata").and_then(|metadata| metadata.value.text("name")).unwrap_or_default();
    let mut reading = Reading { file, node, problems: Vec::new() };
    let resource = match kind {
        Kind::Environment => spec(&mut reading)
            .and_then(|spec| reading.environment(name, &spec))
            .map(|environment| Resource::Environment(Box::new(environment))),
        Kind::BackupStore => spec(&mut reading).and_then(|spec| reading.backup_store(name, &spec)).map(Resource::BackupStore),
        Kind::BackupPolicy => spec(&mut reading).and_then(|spec| reading.backup_policy(name, &spec)).map(Resource::BackupPolicy),
        Kind::SealingPolicy => {
            spec(&mut reading).and_then(|spec| reading.sealing_policy(name, &spec)).map(Resource::SealingPolicy)
        }
    };
    *problems = reading.problems;
    resource
}

/// The `spec` as its type. What has the right shape fits; what the schema does not say is reported in serde's words.
fn spec<T: DeserializeOwned>(reading: &mut Reading<'_>) -> Option<T> {
    let path = field_path!["spec"];
    let value = reading.node.field("spec")?.value.to_value();
    reading.accept(&path, serde_json::from_value(value))
}
