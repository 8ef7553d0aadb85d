//! What a backup takes: Velero's filters as a value, resolved against what a server serves.
//!
//! ```text
//! Filters ──parse──► Selection ──resolve(discovery)──► ResolvedSelection ──decide(object)──► keep, or skip and why
//! ```
//!
//! Resolving follows Velero, traps included: a namespace filter that is not "everything" takes cluster-scoped kinds away unless they
//! are asked for. Two things differ, both reported: `events` and Velero's own records are left out unless they are named, since no
//! restore brings them back; and a kind that several groups serve is taken once, from the group that replaced the other.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use dxdr_environment::{DiscoveredKind, ResourceKind};
use dxdr_policy::ResourceFilters;

use crate::{error::PlanError, glob::Glob, kind_name::KindName, label::LabelSelector};

/// Label of objects that are never backed up.
pub const EXCLUDE_LABEL: &str = "velero.io/exclude-from-backup";

/// Filters as a Velero Backup's spec has them; empty lists and `None` mean what they mean there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    /// Namespaces, with patterns; empty or `*`: all.
    pub included_namespaces: Vec<String>,
    /// Namespaces left out of those.
    pub excluded_namespaces: Vec<String>,
    /// Old style: kinds; empty or `*`: all.
    pub included_resources: Vec<String>,
    /// Old style: kinds left out.
    pub excluded_resources: Vec<String>,
    /// Old style: all cluster-scoped kinds, none, or as the namespaces say.
    pub include_cluster_resources: Option<bool>,
    /// Scoped style: cluster-scoped kinds.
    pub included_cluster_scoped: Vec<String>,
    /// Scoped style: cluster-scoped kinds left out.
    pub excluded_cluster_scoped: Vec<String>,
    /// Scoped style: namespaced kinds; empty or `*`: all.
    pub included_namespace_scoped: Vec<String>,
    /// Scoped style: namespaced kinds left out.
    pub excluded_namespace_scoped: Vec<String>,
    /// Labels that objects must have.
    pub label_selector: Option<LabelSelector>,
    /// Labels of which objects must have one set.
    pub or_label_selectors: Vec<LabelSelector>,
}

impl Filters {
    /// What a policy takes of a namespace.
    pub fn of_policy(namespace: &str, filters: &ResourceFilters) -> Self {
        Self {
            included_namespaces: vec![namespace.to_owned()],
            included_resources: filters.included.clone(),
            excluded_resources: filters.excluded.clone(),
            include_cluster_resources: filters.include_cluster_resources,
            included_cluster_scoped: filters.included_cluster_scoped.clone(),
            excluded_cluster_scoped: filters.excluded_cluster_scoped.clone(),
            included_namespace_scoped: filters.included_namespace_scoped.clone(),
            excluded_namespace_scoped: filters.excluded_namespace_scoped.clone(),
            ..Self::default()
        }
    }
}

/// Filters that make sense together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    included_namespaces: Vec<Glob>,
    excluded_namespaces: Vec<Glob>,
    resources: Resources,
    labels: Labels,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Resources {
    Old { kinds: NameFilter, cluster_scoped: Option<bool> },
    Scoped { cluster: NameFilter, namespaced: NameFilter },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct NameFilter {
    included: Vec<KindName>,
    excluded: Vec<KindName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Labels {
    Any,
    All(LabelSelector),
    OneOf(Vec<LabelSelector>),
}

impl Selection {
    /// Checks the filters, and that only one style is used.
    pub fn parse(filters: &Filters) -> Result<Self, PlanError> {
        let names = |given: &[String]| given.iter().map(|name| KindName::parse(name)).collect::<Result<Vec<_>, _>>();
        let globs = |given: &[String]| given.iter().map(|name| Glob::parse(name)).collect::<Result<Vec<_>, _>>();
        let labels = match (&filters.label_selector, filters.or_label_selectors.as_slice()) {
            (None, []) => Labels::Any,
            (Some(selector), []) => Labels::All(selector.clone()),
            (None, alternatives) => Labels::OneOf(alternatives.to_vec()),
            (Some(_), _) => return Err(PlanError::MixedSelectors),
        };
        let resources = match (filters.old_style(), filters.scoped_style()) {
            (Some(old), Some(scoped)) => return Err(PlanError::MixedFilters { old, scoped }),
            (Some(_), None) => Resources::Old {
                kinds: NameFilter {
                    included: names(&filters.included_resources)?,
                    excluded: names(&filters.excluded_resources)?,
                },
                cluster_scoped: filters.include_cluster_resources,
            },
            // No filter at all is the scoped style in Velero, too.
            (None, _) => Resources::Scoped {
                cluster: NameFilter {
                    included: names(&filters.included_cluster_scoped)?,
                    excluded: names(&filters.excluded_cluster_scoped)?,
                },
                namespaced: NameFilter {
                    included: names(&filters.included_namespace_scoped)?,
                    excluded: names(&filters.excluded_namespace_scoped)?,
                },
            },
        };
        Ok(Self {
            included_namespaces: globs(&filters.included_namespaces)?,
            excluded_namespaces: globs(&filters.excluded_namespaces)?,
            resources,
            labels,
        })
    }

    /// Everything that lives in the namespaces, and what belongs to it.
    pub fn of_namespaces<'a>(namespaces: impl IntoIterator<Item = &'a str>) -> Result<Self, PlanError> {
        Self::parse(&Filters { included_namespaces: namespaces.into_iter().map(str::to_owned).collect(), ..Filters::default() })
    }

    /// Whether objects of `namespace` may be taken.
    pub fn includes_namespace(&self, namespace: &str) -> bool {
        let matches = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(namespace));
        (self.included_namespaces.is_empty() || matches(&self.included_namespaces)) && !matches(&self.excluded_namespaces)
    }

    /// Whether every namespace is taken, those made tomorrow included.
    pub fn includes_all_namespaces(&self) -> bool {
        (self.included_namespaces.is_empty() || self.included_namespaces.iter().any(Glob::is_everything))
            && self.excluded_namespaces.is_empty()
    }

    /// The namespaces that are asked for by their full names: one that does not exist is an error, not an empty match.
    pub fn named_namespaces(&self) -> impl Iterator<Item = &str> {
        self.included_namespaces.iter().filter(|glob| glob.is_literal()).map(Glob::as_str)
    }

    /// The selector that a server can apply itself; alternatives have none.
    pub fn pushed_down_selector(&self) -> Option<&LabelSelector> {
        match &self.labels {
            Labels::All(selector) if !selector.is_everything() => Some(selector),
            _ => None,
        }
    }

    /// Which of `kinds` are taken, which not and why, and which names mean nothing there.
    pub fn resolve(&self, kinds: &[DiscoveredKind]) -> ResolvedSelection {
        let (kinds, mut left_out) = without_cohabitants(kinds);
        let mut resolver = Resolver { kinds: &kinds, unresolved: Vec::new() };
        let wanted = self.wanted(&mut resolver);
        let mut unresolved = resolver.unresolved;
        unresolved.sort_unstable();
        unresolved.dedup();

        let mut selected = Vec::new();
        for (kind, wanted) in kinds.iter().zip(wanted) {
            let reason = match wanted {
                _ if !DiscoveredKind::can_be_restored(kind) => Some(KindReason::NotRestorable),
                Wanted::No(reason) => Some(reason),
                Wanted::Implicitly => never_restored(&kind.kind),
                Wanted::ByName => None,
            };
            match reason {
                None => selected.push(kind.kind.clone()),
                Some(reason) => left_out.push(LeftOutKind { kind: kind.kind.clone(), reason }),
            }
        }
        ResolvedSelection { selection: self.clone(), kinds: selected, left_out, unresolved }
    }

    /// For each kind whether it is wanted, in the order of the resolver's kinds.
    fn wanted(&self, resolver: &mut Resolver<'_>) -> Vec<Wanted> {
        let all_namespaces = self.includes_all_namespaces();
        match &self.resources {
            Resources::Old { kinds, cluster_scoped } => {
                let resolved = resolver.filter(kinds);
                let cluster_scoped = cluster_scoped.unwrap_or(all_namespaces);
                let decide = |(position, kind): (usize, &&DiscoveredKind)| match resolved.wants(position, true) {
                    _ if !kind.kind.namespaced && !cluster_scoped => Wanted::No(KindReason::ClusterScoped),
                    wanted => wanted,
                };
                resolver.kinds.iter().enumerate().map(decide).collect()
            }
            Resources::Scoped { cluster, namespaced } => {
                let unfiltered_cluster = cluster.included.is_empty() && cluster.excluded.is_empty();
                let all_namespaced = (namespaced.included.is_empty() || namespaced.included.iter().any(KindName::is_everything))
                    && namespaced.excluded.is_empty();
                let all_cluster = unfiltered_cluster && all_namespaces && all_namespaced;
                let (cluster, namespaced) = (resolver.filter(cluster), resolver.filter(namespaced));
                let decide = |(position, kind): (usize, &&DiscoveredKind)| {
                    if kind.kind.namespaced {
                        return namespaced.wants(position, true);
                    }
                    match cluster.wants(position, all_cluster) {
                        Wanted::No(KindReason::NotIncluded) => Wanted::No(KindReason::ClusterScoped),
                        wanted => wanted,
                    }
                };
                resolver.kinds.iter().enumerate().map(decide).collect()
            }
        }
    }
}

impl Filters {
    fn old_style(&self) -> Option<&'static str> {
        match self {
            Self { included_resources, .. } if !included_resources.is_empty() => Some("includedResources"),
            Self { excluded_resources, .. } if !excluded_resources.is_empty() => Some("excludedResources"),
            Self { include_cluster_resources: Some(_), .. } => Some("includeClusterResources"),
            _ => None,
        }
    }

    fn scoped_style(&self) -> Option<&'static str> {
        [
            (&self.included_cluster_scoped, "includedClusterScopedResources"),
            (&self.excluded_cluster_scoped, "excludedClusterScopedResources"),
            (&self.included_namespace_scoped, "includedNamespaceScopedResources"),
            (&self.excluded_namespace_scoped, "excludedNamespaceScopedResources"),
        ]
        .into_iter()
        .find_map(|(list, name)| (!list.is_empty()).then_some(name))
    }
}

/// A selection whose names are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedSelection {
    selection: Selection,
    /// What is listed, in discovery's order.
    pub kinds: Vec<ResourceKind>,
    /// What is not, and why.
    pub left_out: Vec<LeftOutKind>,
    /// Names in the filters that mean nothing on this server. They match nothing, rather than everything.
    pub unresolved: Vec<String>,
}

/// A kind that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOutKind {
    /// Which.
    pub kind: ResourceKind,
    /// Why.
    pub reason: KindReason,
}

/// Why a kind is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindReason {
    /// It cannot be listed, read, created and deleted.
    NotRestorable,
    /// The same objects are served under another name, which is taken.
    Cohabits {
        /// `networkpolicies.networking.k8s.io`
        taken: String,
    },
    /// The filter does not include it.
    NotIncluded,
    /// The filter excludes it.
    Excluded,
    /// Cluster-scoped kinds are not asked for; single objects come along with what needs them.
    ClusterScoped,
    /// No restore brings it back.
    NeverRestored(&'static str),
}

impl fmt::Display for KindReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRestorable => formatter.write_str("it cannot be listed, read, created and deleted"),
            Self::Cohabits { taken } => write!(formatter, "its objects are those of {taken}"),
            Self::NotIncluded => formatter.write_str("the filter does not include it"),
            Self::Excluded => formatter.write_str("the filter excludes it"),
            Self::ClusterScoped => formatter.write_str("it is cluster-scoped; only objects that others need come along"),
            Self::NeverRestored(reason) => formatter.write_str(reason),
        }
    }
}

/// What must be known of an object to decide about it.
#[derive(Debug, Clone, Copy)]
pub struct ObjectHead<'a> {
    /// `metadata.name`
    pub name: &'a str,
    /// `metadata.namespace`
    pub namespace: Option<&'a str>,
    /// `metadata.labels`
    pub labels: Option<&'a BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    /// Whether there is a `metadata.deletionTimestamp`.
    pub deleting: bool,
    /// `metadata.ownerReferences`
    pub owners: &'a [OwnerHead<'a>],
}

impl<'a> ObjectHead<'a> {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.labels?.get(key).map(Cow::as_ref)
    }
}

/// One owner of an object.
#[derive(Debug, Clone, Copy)]
pub struct OwnerHead<'a> {
    /// `bitnami.com/v1alpha1`
    pub api_version: &'a str,
    /// `SealedSecret`
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Whether it is the one that manages the object.
    pub controller: bool,
}

/// What becomes of a listed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It goes into the archive.
    Keep,
    /// It does not.
    Skip(SkipReason),
}

/// Why an object does not go into the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// It carries [`EXCLUDE_LABEL`].
    ExcludeLabel,
    /// It is on its way out.
    BeingDeleted,
    /// It lives in a namespace that is not taken.
    OtherNamespace,
    /// Its labels do not match.
    Labels,
    /// A SealedSecret makes it again.
    Sealed,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ExcludeLabel => "labelled velero.io/exclude-from-backup=true",
            Self::BeingDeleted => "being deleted",
            Self::OtherNamespace => "in a namespace that is not selected",
            Self::Labels => "its labels do not match the selector",
            Self::Sealed => "a SealedSecret makes it again",
        })
    }
}

impl ResolvedSelection {
    /// What becomes of one object of a listed kind. A Namespace that is selected by its name is kept whatever its labels: asking for
    /// an environment by name must not end in an empty point.
    pub fn decide(&self, kind: &ResourceKind, head: &ObjectHead<'_>) -> Decision {
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        let namespace = if is_namespace { Some(head.name) } else { head.namespace };
        let named = is_namespace && self.selection.named_namespaces().any(|name| name == head.name);
        if head.deleting {
            return Decision::Skip(SkipReason::BeingDeleted);
        }
        if namespace.is_some_and(|namespace| !self.selection.includes_namespace(namespace)) {
            return Decision::Skip(SkipReason::OtherNamespace);
        }
        if named {
            return Decision::Keep;
        }
        if head.label(EXCLUDE_LABEL) == Some("true") {
            return Decision::Skip(SkipReason::ExcludeLabel);
        }
        let matches = match &self.selection.labels {
            Labels::Any => true,
            Labels::All(selector) => selector.matches(|key| head.label(key)),
            Labels::OneOf(selectors) => selectors.iter().any(|selector| selector.matches(|key| head.label(key))),
        };
        if matches { Decision::Keep } else { Decision::Skip(SkipReason::Labels) }
    }

    /// The selection it came from.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }
}

enum Wanted {
    /// A filter names it, or a pattern of one.
    ByName,
    /// Everything is wanted.
    Implicitly,
    No(KindReason),
}

struct Resolver<'a> {
    kinds: &'a [&'a DiscoveredKind],
    unresolved: Vec<String>,
}

struct ResolvedFilter {
    everything_included: bool,
    everything_excluded: bool,
    filtered: bool,
    included: Vec<usize>,
    excluded: Vec<usize>,
}

impl Resolver<'_> {
    fn filter(&mut self, filter: &NameFilter) -> ResolvedFilter {
        let everything = |names: &[KindName]| names.iter().any(KindName::is_everything);
        ResolvedFilter {
            everything_included: everything(&filter.included),
            everything_excluded: everything(&filter.excluded),
            filtered: !filter.included.is_empty(),
            included: self.positions(&filter.included),
            excluded: self.positions(&filter.excluded),
        }
    }

    fn positions(&mut self, names: &[KindName]) -> Vec<usize> {
        let mut positions = Vec::new();
        for name in names.iter().filter(|name| !name.is_everything()) {
            let found = name.resolve(self.kinds);
            if found.is_empty() {
                self.unresolved.push(name.as_str().to_owned());
            }
            positions.extend(found);
        }
        positions
    }
}

impl ResolvedFilter {
    /// `by_default`: whether an empty list of included kinds means all.
    fn wants(&self, position: usize, by_default: bool) -> Wanted {
        if self.everything_excluded || self.excluded.contains(&position) {
            Wanted::No(KindReason::Excluded)
        } else if self.included.contains(&position) {
            Wanted::ByName
        } else if self.everything_included || !self.filtered && by_default {
            Wanted::Implicitly
        } else {
            Wanted::No(KindReason::NotIncluded)
        }
    }
}

/// What a discovered kind can do.
trait Restorable {
    fn can_be_restored(&self) -> bool;
}

impl Restorable for DiscoveredKind {
    /// As Velero has it.
    fn can_be_restored(&self) -> bool {
        ["list", "create", "get", "delete"].iter().all(|verb| self.verbs.iter().any(|offered| offered == verb))
    }
}

/// Kinds that two groups serve: the plural, the group that is passed over, and the one that is taken.
const COHABITANTS: [(&str, &str, &str); 6] = [
    ("deployments", "extensions", "apps"),
    ("daemonsets", "extensions", "apps"),
    ("replicasets", "extensions", "apps"),
    ("networkpolicies", "extensions", "networking.k8s.io"),
    ("ingresses", "extensions", "networking.k8s.io"),
    ("events", "events.k8s.io", ""),
];

fn without_cohabitants(kinds: &[DiscoveredKind]) -> (Vec<&DiscoveredKind>, Vec<LeftOutKind>) {
    let mut left_out = Vec::new();
    let kept = kinds.iter().filter(|discovered| {
        let kind = &discovered.kind;
        let other = COHABITANTS.iter().find(|(plural, group, _)| *plural == kind.plural && *group == kind.group);
        let taken = other
            .and_then(|(plural, _, group)| kinds.iter().find(|other| other.kind.plural == *plural && other.kind.group == *group));
        if let Some(taken) = taken {
            left_out
                .push(LeftOutKind { kind: kind.clone(), reason: KindReason::Cohabits { taken: taken.kind.group_resource() } });
        }
        taken.is_none()
    });
    (kept.collect(), left_out)
}

/// What no restore brings back, ours or Velero's; worth its space only to somebody who names it.
fn never_restored(kind: &ResourceKind) -> Option<KindReason> {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("" | "events.k8s.io", "events") => {
            Some(KindReason::NeverRestored("events tell what happened, and no restore repeats them"))
        }
        ("velero.io", _) => Some(KindReason::NeverRestored("Velero keeps its records in the store")),
        ("", "nodes") | ("storage.k8s.io", "csinodes" | "volumeattachments" | "csistoragecapacities") => {
            Some(KindReason::NeverRestored("it describes the machines of this cluster"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
