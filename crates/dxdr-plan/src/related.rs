//! Cluster-scoped objects that kept ones lean on: a claim's volume, a custom resource's definition, an account's cluster roles, a
//! pod's priority class.
//!
//! Fed with every object that goes into an archive, the collector names what else must be fetched. Storage and ingress classes are
//! not among it: they belong to the cluster, and a restore does not bring them back.

use std::collections::{BTreeSet, HashMap, HashSet};

use dxdr_environment::{ObjectReference, ResourceKind};
use serde_json::Value;

use crate::backup::BackupPlan;

/// Collects what is related to kept objects.
#[derive(Debug)]
pub struct RelatedCollector {
    /// Kinds of the server by their group and plural, as far as something may need them.
    kinds: HashMap<(String, String), ResourceKind>,
    /// Kinds listed anyway, by group and plural: their objects are in the archive already.
    listed: HashSet<(String, String)>,
    /// Groups that the server serves without definitions.
    observed_kinds: HashSet<ResourceKind>,
    accounts: BTreeSet<(String, String)>,
    wanted: BTreeSet<ObjectReference>,
}

const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");
const VOLUMES: (&str, &str) = ("", "persistentvolumes");
const PRIORITIES: (&str, &str) = ("scheduling.k8s.io", "priorityclasses");
const CLUSTER_ROLES: (&str, &str) = ("rbac.authorization.k8s.io", "clusterroles");
const CLUSTER_ROLE_BINDINGS: (&str, &str) = ("rbac.authorization.k8s.io", "clusterrolebindings");

impl RelatedCollector {
    /// For one backup.
    pub fn new(plan: &BackupPlan) -> Self {
        let key = |kind: &ResourceKind| (kind.group.clone(), kind.plural.clone());
        Self {
            kinds: plan.related_kinds.iter().map(|kind| (key(kind), kind.clone())).collect(),
            // A namespace's own list names single objects only; such a kind has no related objects.
            listed: plan.lists.iter().filter(|task| task.namespace.is_none()).map(|task| key(&task.kind)).collect(),
            observed_kinds: HashSet::new(),
            accounts: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }

    /// Looks at one kept object. Bytes that are no JSON object are passed over: the archive holds them as they are.
    pub fn observe(&mut self, kind: &ResourceKind, json: &[u8]) {
        if !self.observed_kinds.contains(kind) {
            self.observed_kinds.insert(kind.clone());
            if may_be_custom(&kind.group) {
                let name = kind.group_resource();
                self.want(DEFINITIONS, name);
            }
        }
        let Some(look) = Look::of(kind) else { return };
        let Ok(object) = serde_json::from_slice::<Value>(json) else { return };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        match look {
            Look::Claim => {
                if let Some(volume) = text("/spec/volumeName") {
                    self.want(VOLUMES, volume.to_owned());
                }
            }
            Look::Priority(pointer) => {
                // The classes named system-* are the server's own.
                if let Some(class) = text(pointer).filter(|class| !class.starts_with("system-")) {
                    self.want(PRIORITIES, class.to_owned());
                }
            }
            Look::Account => {
                if let (Some(namespace), Some(name)) = (text("/metadata/namespace"), text("/metadata/name")) {
                    self.accounts.insert((namespace.to_owned(), name.to_owned()));
                }
            }
            Look::Binding => {
                if text("/roleRef/kind") == Some("ClusterRole")
                    && let Some(role) = text("/roleRef/name")
                {
                    self.want(CLUSTER_ROLES, role.to_owned());
                }
            }
        }
    }

    /// What must be fetched besides what was listed. Grows as more is observed, fetched objects included; each object once.
    pub fn wanted(&self) -> BTreeSet<ObjectReference> {
        self.wanted.clone()
    }

    /// A kind whose whole list must be offered to [`belongs`](Self::belongs), since nothing else tells which of its objects are
    /// related: ClusterRoleBindings, once a ServiceAccount was kept.
    pub fn wanted_list(&self) -> Option<&ResourceKind> {
        let (group, plural) = CLUSTER_ROLE_BINDINGS;
        let key = (group.to_owned(), plural.to_owned());
        if self.accounts.is_empty() || self.listed.contains(&key) { None } else { self.kinds.get(&key) }
    }

    /// Whether a ClusterRoleBinding gives rights to a kept ServiceAccount by its name. Bindings to groups of accounts stay with the
    /// cluster: they hold for namespaces that are not in the archive, too.
    pub fn belongs(&self, json: &[u8]) -> bool {
        let Ok(object) = serde_json::from_slice::<Value>(json) else { return false };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        object.get("subjects").and_then(Value::as_array).into_iter().flatten().any(|subject| {
            text(subject, "kind") == "ServiceAccount"
                && self.accounts.contains(&(text(subject, "namespace"), text(subject, "name")))
        })
    }

    fn want(&mut self, (group, plural): (&str, &str), name: String) {
        let key = (group.to_owned(), plural.to_owned());
        if self.listed.contains(&key) {
            return;
        }
        if let Some(kind) = self.kinds.get(&key) {
            self.wanted.insert(ObjectReference { kind: kind.clone(), namespace: None, name });
        }
    }
}

/// Kinds that the collector may want objects of.
pub(crate) fn may_be_related(kind: &ResourceKind) -> bool {
    [DEFINITIONS, VOLUMES, PRIORITIES, CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS].contains(&(&kind.group, &kind.plural))
}

/// Whether a group's kinds may be custom. Groups without a dot and those of Kubernetes itself are built in, with the exceptions that
/// are developed outside of it.
fn may_be_custom(group: &str) -> bool {
    const OUTSIDE: [&str; 5] = [
        "gateway.networking.k8s.io",
        "snapshot.storage.k8s.io",
        "groupsnapshot.storage.k8s.io",
        "metrics.k8s.io",
        "autoscaling.k8s.io",
    ];
    group.contains('.') && (!group.ends_with(".k8s.io") || OUTSIDE.contains(&group) || group.contains(".x-k8s.io"))
}

/// What to look at in objects of a kind.
enum Look {
    Claim,
    Priority(&'static str),
    Account,
    Binding,
}

impl Look {
    fn of(kind: &ResourceKind) -> Option<Self> {
        match (kind.group.as_str(), kind.plural.as_str()) {
            ("", "persistentvolumeclaims") => Some(Self::Claim),
            ("", "pods") => Some(Self::Priority("/spec/priorityClassName")),
            ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets")
            | ("", "replicationcontrollers")
            | ("batch", "jobs") => Some(Self::Priority("/spec/template/spec/priorityClassName")),
            ("batch", "cronjobs") => Some(Self::Priority("/spec/jobTemplate/spec/template/spec/priorityClassName")),
            ("", "serviceaccounts") => Some(Self::Account),
            ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => Some(Self::Binding),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{DiscoveredKind, EnvironmentName};
    use serde_json::json;

    use super::*;
    use crate::backup::{BackupRequest, plan};

    fn discovered(name: &str, kind: &str, namespaced: bool) -> DiscoveredKind {
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        DiscoveredKind {
            kind: ResourceKind {
                group: group.to_owned(),
                version: "v1".to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced,
            },
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: kind.to_lowercase(),
            served_versions: vec!["v1".to_owned()],
        }
    }

    fn kinds() -> Vec<DiscoveredKind> {
        vec![
            discovered("persistentvolumeclaims", "PersistentVolumeClaim", true),
            discovered("persistentvolumes", "PersistentVolume", false),
            discovered("serviceaccounts", "ServiceAccount", true),
            discovered("deployments.apps", "Deployment", true),
            discovered("rolebindings.rbac.authorization.k8s.io", "RoleBinding", true),
            discovered("clusterroles.rbac.authorization.k8s.io", "ClusterRole", false),
            discovered("clusterrolebindings.rbac.authorization.k8s.io", "ClusterRoleBinding", false),
            discovered("priorityclasses.scheduling.k8s.io", "PriorityClass", false),
            discovered("customresourcedefinitions.apiextensions.k8s.io", "CustomResourceDefinition", false),
            discovered("widgets.example.org", "Widget", true),
            discovered("ingresses.networking.k8s.io", "Ingress", true),
            discovered("httproutes.gateway.networking.k8s.io", "HTTPRoute", true),
        ]
    }

    fn collector() -> RelatedCollector {
        let request = BackupRequest::of_environment(EnvironmentName::parse("staging").unwrap(), vec!["staging".to_owned()]);
        RelatedCollector::new(&plan(&request, &kinds(), &[], jiff::Timestamp::UNIX_EPOCH, 1).unwrap())
    }

    fn observe(collector: &mut RelatedCollector, name: &str, object: &Value) {
        let kind = kinds().into_iter().map(|kind| kind.kind).find(|kind| kind.group_resource() == name).unwrap();
        collector.observe(&kind, object.to_string().as_bytes());
    }

    #[test]
    fn what_kept_objects_lean_on_is_wanted_once() {
        let mut collector = collector();
        observe(&mut collector, "persistentvolumeclaims", &json!({"spec": {"volumeName": "pv-1"}}));
        observe(&mut collector, "persistentvolumeclaims", &json!({"spec": {}}));
        observe(&mut collector, "deployments.apps", &json!({"spec": {"template": {"spec": {"priorityClassName": "high"}}}}));
        observe(
            &mut collector,
            "deployments.apps",
            &json!({"spec": {"template": {"spec": {"priorityClassName": "system-node-critical"}}}}),
        );
        observe(
            &mut collector,
            "rolebindings.rbac.authorization.k8s.io",
            &json!({"roleRef": {"kind": "ClusterRole", "name": "edit"}}),
        );
        observe(&mut collector, "rolebindings.rbac.authorization.k8s.io", &json!({"roleRef": {"kind": "Role", "name": "local"}}));
        observe(&mut collector, "widgets.example.org", &json!({}));
        observe(&mut collector, "widgets.example.org", &json!({}));
        observe(&mut collector, "ingresses.networking.k8s.io", &json!({}));
        observe(&mut collector, "httproutes.gateway.networking.k8s.io", &json!({}));
        let wanted: Vec<_> = collector.wanted().iter().map(ToString::to_string).collect();
        assert_eq!(
            wanted,
            [
                "persistentvolumes pv-1",
                "customresourcedefinitions.apiextensions.k8s.io httproutes.gateway.networking.k8s.io",
                "customresourcedefinitions.apiextensions.k8s.io widgets.example.org",
                "clusterroles.rbac.authorization.k8s.io edit",
                "priorityclasses.scheduling.k8s.io high",
            ]
        );
    }

    #[test]
    fn cluster_role_bindings_are_looked_through_once_there_is_an_account() {
        let mut collector = collector();
        assert_eq!(collector.wanted_list(), None);
        observe(&mut collector, "serviceaccounts", &json!({"metadata": {"namespace": "staging", "name": "api"}}));
        assert_eq!(collector.wanted_list().unwrap().plural, "clusterrolebindings");
        let binding = |namespace: &str| json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "api"}]});
        assert!(!collector.belongs(binding("production").to_string().as_bytes()));
        assert!(collector.belongs(binding("staging").to_string().as_bytes()));
        observe(&mut collector, "clusterrolebindings.rbac.authorization.k8s.io", &binding("staging"));
        assert_eq!(collector.wanted().iter().next().unwrap().name, "reader");
    }
}
