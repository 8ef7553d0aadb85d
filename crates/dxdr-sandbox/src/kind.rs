//! The kinds the server knows: the built-in ones of a real cluster, and those that definitions add.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::shape::Shape;

/// Names a resource's objects in the store, whatever version they are read in.
pub(crate) type ResourceId = u32;

/// One resource in one version.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) resource: ResourceId,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) has_status: bool,
    pub(crate) has_generation: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) shape: Shape,
    pub(crate) custom: Option<Custom>,
    /// Fields that are stored under another name: as stored, as served.
    pub(crate) renamed: &'static [(&'static str, &'static str)],
    /// A version that clients are told to leave.
    pub(crate) deprecated: Option<String>,
    /// `{"kind":"Pod","apiVersion":"v1"`, ready to stand before a stored body.
    pub(crate) prefix: String,
}

/// What only a custom resource has.
#[derive(Debug)]
pub(crate) struct Custom {
    pub(crate) schema: Value,
    pub(crate) columns: Vec<Value>,
    /// Preserves every unknown field from the root down.
    pub(crate) definition: String,
}

/// JSON paths of the scale subresource, as dotted field names.
#[derive(Debug, Clone)]
pub(crate) struct ScalePaths {
    pub(crate) spec_replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: String,
}

impl Kind {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, or `pods` in the core group.
    pub(crate) fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    fn finish(mut self) -> Arc<Self> {
        self.prefix =
            format!("{{\"kind\":{},\"apiVersion\":{}", Value::from(self.kind.as_str()), Value::from(self.api_version()));
        Arc::new(self)
    }
}

/// What an Event of the core group calls what an Event of `events.k8s.io` calls otherwise.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// Every kind served at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    by_path: BTreeMap<(String, String, String), Arc<Kind>>,
    resources: HashMap<(String, String), ResourceId>,
    /// Group order and, within a group, version order of discovery.
    pub(crate) group_order: Vec<String>,
}

impl Kinds {
    pub(crate) fn built_in() -> Self {
        let mut kinds = Self { by_path: BTreeMap::new(), resources: HashMap::new(), group_order: Vec::new() };
        for line in include_str!("builtin/kinds.txt").lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [group_version, plural, singular, kind, scope, short, categories, flags] = words[..] else {
                continue;
            };
            let (group, version) = group_version.split_once('/').unwrap_or(("core", "v1"));
            let group = if group == "core" { "" } else { group };
            let list = |text: &str| -> Vec<String> { text.split(',').filter(|word| *word != "-").map(str::to_owned).collect() };
            // Both kinds of Event are one store.
            let renamed: &'static [_] = if group == "events.k8s.io" { &EVENT_FIELDS } else { &[] };
            let resource = kinds.resource_id(if renamed.is_empty() { group } else { "" }, plural);
            kinds.insert(
                Kind {
                    resource,
                    group: group.to_owned(),
                    version: version.to_owned(),
                    plural: plural.to_owned(),
                    singular: singular.to_owned(),
                    kind: kind.to_owned(),
                    list_kind: format!("{kind}List"),
                    namespaced: scope == "N",
                    short_names: list(short),
                    categories: list(categories),
                    has_status: flags.contains('s'),
                    has_generation: flags.contains('g'),
                    scale: flags.contains('c').then(|| ScalePaths {
                        spec_replicas: "spec.replicas".to_owned(),
                        status_replicas: "status.replicas".to_owned(),
                        selector: String::new(),
                    }),
                    shape: Shape::built_in(group, version, kind).unwrap_or_else(|| crate::shape::ANY.clone()),
                    custom: None,
                    renamed,
                    deprecated: None,
                    prefix: String::new(),
                }
                .finish(),
            );
        }
        kinds
    }

    pub(crate) fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned())).cloned()
    }

    /// Any version of a resource.
    pub(crate) fn of_resource(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        self.by_path.values().find(|kind| kind.is(group, plural)).cloned()
    }

    pub(crate) fn by_id(&self, resource: ResourceId) -> Option<Arc<Kind>> {
        self.by_path.values().find(|kind| kind.resource == resource).cloned()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_path.values()
    }

    pub(crate) fn has_group_version(&self, group: &str, version: &str) -> bool {
        self.by_path.keys().any(|(g, v, _)| g == group && v == version)
    }

    /// The versions of a group, the preferred one first.
    pub(crate) fn versions(&self, group: &str) -> Vec<String> {
        let mut versions: Vec<String> = Vec::new();
        for (g, v, _) in self.by_path.keys() {
            if g == group && !versions.contains(v) {
                versions.push(v.clone());
            }
        }
        versions.sort_by_key(|version| std::cmp::Reverse(version_priority(version)));
        versions
    }

    fn insert(&mut self, kind: Arc<Kind>) {
        if !self.group_order.contains(&kind.group) {
            self.group_order.push(kind.group.clone());
        }
        self.by_path.insert((kind.group.clone(), kind.version.clone(), kind.plural.clone()), kind);
    }

    fn resource_id(&mut self, group: &str, plural: &str) -> ResourceId {
        let next = ResourceId::try_from(self.resources.len()).unwrap_or(ResourceId::MAX);
        *self.resources.entry((group.to_owned(), plural.to_owned())).or_insert(next)
    }

    /// Serves every served version of a definition; versions it no longer serves go away.
    pub(crate) fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
        let (group, names) = (text(&spec["group"]), &spec["names"]);
        let plural = text(&names["plural"]);
        self.undefine(&group, &plural);
        let resource = self.resource_id(&group, &plural);
        let kind_name = text(&names["kind"]);
        let or = |value: String, other: String| if value.is_empty() { other } else { value };
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"] != Value::Bool(true) {
                continue;
            }
            let schema = version["schema"]["openAPIV3Schema"].clone();
            let scale = &version["subresources"]["scale"];
            let path = |name: &str| text(&scale[name]).trim_start_matches('.').to_owned();
            self.insert(
                Kind {
                    resource,
                    group: group.clone(),
                    version: text(&version["name"]),
                    plural: plural.clone(),
                    singular: or(text(&names["singular"]), kind_name.to_lowercase()),
                    kind: kind_name.clone(),
                    list_kind: or(text(&names["listKind"]), format!("{kind_name}List")),
                    namespaced: spec["scope"] == "Namespaced",
                    short_names: list(&names["shortNames"]),
                    categories: list(&names["categories"]),
                    has_status: version["subresources"].get("status").is_some(),
                    has_generation: true,
                    scale: scale.is_object().then(|| ScalePaths {
                        spec_replicas: path("specReplicasPath"),
                        status_replicas: path("statusReplicasPath"),
                        selector: path("labelSelectorPath"),
                    }),
                    shape: Shape::of_schema(&schema, true),
                    custom: Some(Custom {
                        schema,
                        columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                        definition: text(&definition["metadata"]["name"]),
                    }),
                    renamed: &[],
                    deprecated: (version["deprecated"] == true).then(|| {
                        let warning = text(&version["deprecationWarning"]);
                        if warning.is_empty() { deprecation(&group, &kind_name, &version["name"], spec) } else { warning }
                    }),
                    prefix: String::new(),
                }
                .finish(),
            );
        }
    }

    pub(crate) fn undefine(&mut self, group: &str, plural: &str) {
        self.by_path.retain(|(g, _, p), _| !(g == group && p == plural));
        if !self.by_path.keys().any(|(g, _, _)| g == group) {
            self.group_order.retain(|known| known != group);
        }
    }
}

/// The warning for a deprecated version that has no words of its own.
fn deprecation(group: &str, kind: &str, version: &Value, spec: &Value) -> String {
    let version = version.as_str().unwrap_or_default();
    let mut better: Vec<&str> = spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .filter_map(|other| other["name"].as_str())
        .filter(|other| version_priority(other) > version_priority(version))
        .collect();
    better.sort_by_key(|other| version_priority(other));
    match better.last() {
        Some(other) => format!("{group}/{version} {kind} is deprecated; use {group}/{other} {kind}"),
        None => format!("{group}/{version} {kind} is deprecated"),
    }
}

/// Orders versions as the real server does: GA before beta before alpha, then the higher number.
fn version_priority(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..digits].parse().ok()?;
        let rest = &rest[digits..];
        if rest.is_empty() {
            return Some((3, major, 0));
        }
        let (stage, number) =
            if let Some(number) = rest.strip_prefix("beta") { (2, number) } else { (1, rest.strip_prefix("alpha")?) };
        Some((stage, major, number.parse().unwrap_or(0)))
    };
    let (stage, major, minor) = parse().unwrap_or((0, 0, 0));
    (stage, major, minor, std::cmp::Reverse(version.to_owned()))
}
