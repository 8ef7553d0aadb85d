//! Which kind a person means by `deploy`, `deployments`, `Deployment`, `deployments.apps`, or `*.cert-manager.io`.

use dxdr_environment::{DiscoveredKind, ResourceKind};

use crate::glob::{Glob, InvalidGlob};

/// One or several kinds, by the name that a person gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindName {
    given: String,
    /// In lower case.
    glob: Glob,
}

/// What a kind is called besides its plural.
#[derive(Debug, Clone, Copy, Default)]
pub struct OtherNames<'a> {
    /// `deployment`; empty when not known.
    pub singular: &'a str,
    /// `deploy`
    pub short: &'a [String],
}

impl KindName {
    /// Checks the name or pattern.
    pub fn parse(given: &str) -> Result<Self, InvalidGlob> {
        Ok(Self { given: given.to_owned(), glob: Glob::parse(&given.to_lowercase())? })
    }

    /// As given.
    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// Whether it means every kind.
    pub fn is_everything(&self) -> bool {
        self.glob.is_everything()
    }

    /// Whether it can mean `kind`. Several kinds may share a short name or a plural; discovery's order decides between them, see
    /// [`resolve`](Self::resolve).
    pub fn fits(&self, kind: &ResourceKind, other: OtherNames<'_>) -> bool {
        self.precision(kind, other).is_some()
    }

    /// Positions in `kinds` of what is meant. A name that is no pattern means one kind: the first with that plural, else the first
    /// called so in another way. A pattern means all that match.
    pub fn resolve(&self, kinds: &[&DiscoveredKind]) -> Vec<usize> {
        let precision =
            |kind: &DiscoveredKind| self.precision(&kind.kind, OtherNames { singular: &kind.singular, short: &kind.short_names });
        let fitting = kinds.iter().enumerate().filter_map(|(position, kind)| Some((precision(kind)?, position)));
        if self.glob.is_literal() {
            fitting.min().map(|(_, position)| position).into_iter().collect()
        } else {
            fitting.map(|(_, position)| position).collect()
        }
    }

    /// 0 for the plural, 1 for the singular or the kind, 2 for a short name.
    fn precision(&self, kind: &ResourceKind, other: OtherNames<'_>) -> Option<u8> {
        let called = |name: &str| {
            let name = name.to_lowercase();
            !name.is_empty()
                && (self.glob.matches(&name) || !kind.group.is_empty() && self.glob.matches(&format!("{name}.{}", kind.group)))
        };
        if called(&kind.plural) {
            return Some(0);
        }
        // A pattern is meant for plurals: `*s` should not find a kind by its short name.
        if !self.glob.is_literal() {
            return None;
        }
        if called(&kind.kind) || called(other.singular) {
            return Some(1);
        }
        let built_in = BUILT_IN_SHORT_NAMES.iter().any(|(short, plural)| *plural == kind.plural && called(short));
        (other.short.iter().any(|short| called(short)) || built_in).then_some(2)
    }
}

/// Short names of what every server serves, for plans that are made without one.
const BUILT_IN_SHORT_NAMES: [(&str, &str); 22] = [
    ("cm", "configmaps"),
    ("crd", "customresourcedefinitions"),
    ("crds", "customresourcedefinitions"),
    ("cj", "cronjobs"),
    ("deploy", "deployments"),
    ("ds", "daemonsets"),
    ("ep", "endpoints"),
    ("ev", "events"),
    ("hpa", "horizontalpodautoscalers"),
    ("ing", "ingresses"),
    ("limits", "limitranges"),
    ("netpol", "networkpolicies"),
    ("ns", "namespaces"),
    ("pc", "priorityclasses"),
    ("pdb", "poddisruptionbudgets"),
    ("po", "pods"),
    ("pv", "persistentvolumes"),
    ("pvc", "persistentvolumeclaims"),
    ("quota", "resourcequotas"),
    ("rs", "replicasets"),
    ("sa", "serviceaccounts"),
    ("svc", "services"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn discovered(group: &str, plural: &str, kind: &str, short: &[&str]) -> DiscoveredKind {
        DiscoveredKind {
            kind: ResourceKind {
                group: group.to_owned(),
                version: "v1".to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced: true,
            },
            verbs: Vec::new(),
            short_names: short.iter().map(|&name| name.to_owned()).collect(),
            singular: kind.to_lowercase(),
            served_versions: vec!["v1".to_owned()],
        }
    }

    #[test]
    fn a_kind_is_found_by_every_name_it_has() {
        let kinds = [
            discovered("", "services", "Service", &["svc"]),
            discovered("serving.knative.dev", "services", "Service", &["kservice", "ksvc"]),
            discovered("apps", "deployments", "Deployment", &["deploy"]),
            discovered("cert-manager.io", "certificates", "Certificate", &["cert"]),
            discovered("cert-manager.io", "issuers", "Issuer", &[]),
        ];
        let kinds: Vec<_> = kinds.iter().collect();
        for (name, expected) in [
            ("deployments", vec![2]),
            ("Deployment", vec![2]),
            ("deploy", vec![2]),
            ("deployments.apps", vec![2]),
            ("deployment.apps", vec![2]),
            ("services", vec![0]),
            ("services.serving.knative.dev", vec![1]),
            ("ksvc", vec![1]),
            ("*.cert-manager.io", vec![3, 4]),
            ("*", vec![0, 1, 2, 3, 4]),
            ("serv*", vec![0, 1]),
            ("unicorns", vec![]),
        ] {
            assert_eq!(KindName::parse(name).unwrap().resolve(&kinds), expected, "{name}");
        }
    }
}
