//! Label and field selectors.

use serde_json::Value;

use crate::kind::Kind;
use crate::status::Failure;
use crate::store::Stored;

/// Which objects a LIST, a WATCH or a collection delete is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
    Greater(String, i64),
    Less(String, i64),
}

impl Selector {
    pub(crate) fn parse(labels: &str, fields: &str, kind: &Kind) -> Result<Self, Failure> {
        let mut selector = Self::default();
        for part in split_requirements(labels) {
            let requirement = parse_requirement(part.trim()).ok_or_else(|| {
                let found = part.split_whitespace().nth(1).unwrap_or(part);
                Failure::bad_request(format!(
                    "unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt"
                ))
            })?;
            selector.labels.push(requirement);
        }
        for part in fields.split(',').filter(|part| !part.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(Failure::bad_request(format!("invalid selector: '{part}'; can't understand '{part}'")));
            };
            let known = matches!(path, "metadata.name")
                || (path == "metadata.namespace" && kind.namespaced)
                || supported_fields(kind).contains(&path);
            if !known {
                return Err(Failure::bad_request(if kind.custom.is_some() {
                    format!("field label not supported: {path}")
                } else {
                    format!("\"{path}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
                }));
            }
            selector.fields.push((path.to_owned(), equal, value.to_owned()));
        }
        Ok(selector)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name asked for, when the selector is about a single object.
    pub(crate) fn single_name(&self) -> Option<&str> {
        self.fields.iter().find(|(path, equal, _)| path == "metadata.name" && *equal).map(|(_, _, name)| name.as_str())
    }

    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        let label = |key: &str| stored.labels.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::NotIn(key, values) => !label(key).is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::Greater(key, bound) => {
                label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value > *bound)
            }
            Requirement::Less(key, bound) => {
                label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value < *bound)
            }
        });
        labels
            && self.fields.iter().all(|(path, equal, expected)| {
                let found = match path.as_str() {
                    "metadata.name" => stored.name == *expected,
                    "metadata.namespace" => stored.namespace == *expected,
                    _ => field_text(&stored.body, path) == *expected,
                };
                found == *equal
            })
    }
}

fn field_text(body: &[u8], path: &str) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let mut at = &value;
    for part in path.split('.') {
        at = &at[part];
    }
    match at {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn supported_fields(kind: &Kind) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "secrets") => &["type"],
        ("", "namespaces") => &["status.phase"],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("apps", "replicasets") => &["status.replicas"],
        ("batch", "jobs") => &["status.successful"],
        ("certificates.k8s.io", "certificatesigningrequests") => &["spec.signerName"],
        _ => &[],
    }
}

fn split_requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn parse_requirement(text: &str) -> Option<Requirement> {
    let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let owned = |text: &str| text.trim().to_owned();
    if let Some(key) = text.strip_prefix('!') {
        return is_key(key.trim()).then(|| Requirement::Missing(owned(key)));
    }
    let requirement = if let Some((key, value)) = text.split_once("!=") {
        Requirement::NotIn(owned(key), vec![owned(value)])
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        Requirement::In(owned(key), vec![owned(value)])
    } else if let Some((head, values)) = text.split_once('(') {
        let values = values.strip_suffix(')')?.split(',').map(owned).collect();
        let mut words = head.split_whitespace();
        let (key, operator) = (words.next()?, words.next()?);
        match operator {
            "in" => Requirement::In(owned(key), values),
            "notin" => Requirement::NotIn(owned(key), values),
            _ => return None,
        }
    } else if let Some((key, bound)) = text.split_once('>') {
        Requirement::Greater(owned(key), bound.trim().parse().ok()?)
    } else if let Some((key, bound)) = text.split_once('<') {
        Requirement::Less(owned(key), bound.trim().parse().ok()?)
    } else {
        Requirement::Exists(owned(text))
    };
    let (Requirement::In(key, _)
    | Requirement::NotIn(key, _)
    | Requirement::Exists(key)
    | Requirement::Missing(key)
    | Requirement::Greater(key, _)
    | Requirement::Less(key, _)) = &requirement;
    is_key(key).then_some(requirement)
}
