//! Which kind of object, and which object: the names by which everything else refers to things in a cluster.

use std::fmt;

/// A kind as a cluster serves it: enough to build its URL and to read its objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Version within the group: `v1`.
    pub version: String,
    /// CamelCase kind of one object: `Deployment`.
    pub kind: String,
    /// Lower-case plural, as in URLs and in archives: `deployments`.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
}

impl ResourceKind {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, or `pods` for the core group: the name Velero's archive and kubectl use.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

impl fmt::Display for ResourceKind {
    /// `deployments.apps`, as people write it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.group_resource())
    }
}

/// One kind as a server's discovery names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredKind {
    /// What it is.
    pub kind: ResourceKind,
    /// What may be done with it: `list`, `create`, …
    pub verbs: Vec<String>,
    /// Other names people use: `deploy`.
    pub short_names: Vec<String>,
    /// Singular name: `deployment`.
    pub singular: String,
    /// Every version of the group that serves this kind, preferred first.
    pub served_versions: Vec<String>,
}

/// One object of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectReference {
    /// Its kind, as served.
    pub kind: ResourceKind,
    /// Its namespace; `None` for a cluster-scoped object.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectReference {
    /// `deployments.apps staging/api`, or `namespaces staging`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {namespace}/{}", self.kind, self.name),
            None => write!(formatter, "{} {}", self.kind, self.name),
        }
    }
}
