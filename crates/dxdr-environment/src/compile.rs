//! What an environment means in a cluster: the objects that must exist, in the order in which they can be applied.
//!
//! ```text
//! Environment + Placement ──compile──► Namespace, ResourceQuota, LimitRange,
//!                                      NetworkPolicies, Roles, RoleBindings  +  Scheduling
//! ```
//!
//! Every object carries [`ENVIRONMENT_LABEL`], [`TIER_LABEL`] and `app.kubernetes.io/managed-by: dxdr`. Objects name only the fields
//! the model decides, so that server-side apply leaves everybody else's fields alone. A restore beside and a drill's scratch
//! namespace are the same environment under another [`Placement`].

mod access;
mod network;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Environment, NamespaceName, ObjectReference, Quantity, QuotaScale, ResourceKind, Scheduling,
    environment::{Bounds, Limits},
    scheduling::text_map,
};

/// Label with the environment's name on everything that is compiled from it.
pub const ENVIRONMENT_LABEL: &str = "dxdr.io/environment";
/// Label with the environment's tier.
pub const TIER_LABEL: &str = "dxdr.io/tier";
/// Label that says who made an object, and what dxdr writes there.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
const MANAGED_BY: &str = "dxdr";
/// Name of the compiled ResourceQuota and LimitRange.
pub const OBJECT_NAME: &str = "dxdr";

/// Where an environment is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The namespace it becomes.
    pub namespace: NamespaceName,
    /// Factor on its quota.
    pub quota_scale: QuotaScale,
    /// Labels of the namespace on top of the model's, for whoever must recognise it: a drill, a restore beside.
    pub labels: BTreeMap<String, String>,
}

impl Placement {
    /// The environment's own place.
    pub fn home(environment: &Environment) -> Self {
        Self::beside(environment.namespace.clone())
    }

    /// Another namespace, with all of the quota.
    pub fn beside(namespace: NamespaceName) -> Self {
        Self { namespace, quota_scale: QuotaScale::ONE, labels: BTreeMap::new() }
    }
}

/// An environment as objects.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledEnvironment {
    /// In the order in which they can be applied.
    pub objects: Vec<DesiredObject>,
    /// How its pods must be scheduled; for whoever writes pods.
    pub scheduling: Scheduling,
}

/// One object as it should be: complete as a server-side apply, not as the server will show it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredObject {
    /// Which object.
    pub reference: ObjectReference,
    /// The fields the model decides.
    pub value: Value,
}

/// Compiles `environment` for `placement`.
pub fn compile(environment: &Environment, placement: &Placement) -> CompiledEnvironment {
    let mut objects = Objects { environment, placement, objects: Vec::new() };
    objects.namespace();
    objects.resource_quota();
    objects.limit_range();
    network::network_policies(&mut objects);
    access::roles_and_bindings(&mut objects);
    CompiledEnvironment { objects: objects.objects, scheduling: environment.node_pool.clone() }
}

/// The environment that `live` was made for by dxdr; `None` for what anybody else made.
pub fn environment_of(live: &Value) -> Option<&str> {
    let label = |name: &str| live.pointer("/metadata/labels").and_then(|labels| labels.get(name)).and_then(Value::as_str);
    label(ENVIRONMENT_LABEL).filter(|_| label(MANAGED_BY_LABEL) == Some(MANAGED_BY))
}

/// The label selector of everything that was made by dxdr for `environment`.
pub fn selector(environment: &str) -> String {
    format!("{MANAGED_BY_LABEL}={MANAGED_BY},{ENVIRONMENT_LABEL}={environment}")
}

/// Every kind that [`compile`] makes objects of inside the environment's namespace.
pub fn kinds_in_namespace() -> Vec<ResourceKind> {
    vec![resource_quotas(), limit_ranges(), network::network_policies_kind(), access::roles_kind(), access::role_bindings_kind()]
}

fn resource_quotas() -> ResourceKind {
    kind("", "v1", "ResourceQuota", "resourcequotas", true)
}

fn limit_ranges() -> ResourceKind {
    kind("", "v1", "LimitRange", "limitranges", true)
}

struct Objects<'a> {
    environment: &'a Environment,
    placement: &'a Placement,
    objects: Vec<DesiredObject>,
}

impl Objects<'_> {
    fn namespace(&mut self) {
        let environment = self.environment;
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), self.placement.namespace.as_str().into());
        let mut labels = environment.labels.clone();
        labels.extend(self.placement.labels.clone());
        labels.extend(self.own_labels());
        metadata.insert("labels".to_owned(), text_map(&labels));
        if !environment.annotations.is_empty() {
            metadata.insert("annotations".to_owned(), text_map(&environment.annotations));
        }
        let kind = kind("", "v1", "Namespace", "namespaces", false);
        self.objects.push(DesiredObject {
            value: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
            reference: ObjectReference { kind, namespace: None, name: self.placement.namespace.to_string() },
        });
    }

    fn resource_quota(&mut self) {
        if self.environment.quota.is_empty() {
            return;
        }
        let scale = self.placement.quota_scale;
        let scaled = |(resource, amount): (&String, &Quantity)| {
            let amount = if scale == QuotaScale::ONE { amount.clone() } else { amount.scaled(scale, is_fractional(resource)) };
            (resource.clone(), amount)
        };
        let hard: BTreeMap<_, _> = self.environment.quota.iter().map(scaled).collect();
        self.push(resource_quotas(), OBJECT_NAME, [("spec", json!({"hard": quantities(&hard)}))]);
    }

    fn limit_range(&mut self) {
        let limits = &self.environment.limits;
        if limits.is_empty() {
            return;
        }
        self.push(limit_ranges(), OBJECT_NAME, [("spec", json!({"limits": limit_items(limits)}))]);
    }

    fn push<const N: usize>(&mut self, kind: ResourceKind, name: &str, fields: [(&str, Value); N]) {
        let mut value = Map::new();
        value.insert("apiVersion".to_owned(), kind.api_version().into());
        value.insert("kind".to_owned(), kind.kind.as_str().into());
        let namespace = self.placement.namespace.as_str();
        value
            .insert("metadata".to_owned(), json!({"name": name, "namespace": namespace, "labels": text_map(&self.own_labels())}));
        value.extend(fields.map(|(field, content)| (field.to_owned(), content)));
        self.objects.push(DesiredObject {
            reference: ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() },
            value: Value::Object(value),
        });
    }

    fn own_labels(&self) -> BTreeMap<String, String> {
        [
            (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
            (ENVIRONMENT_LABEL.to_owned(), self.environment.name.to_string()),
            (TIER_LABEL.to_owned(), self.environment.tier.as_str().to_owned()),
        ]
        .into()
    }
}

/// Only processor time may be asked for in fractions.
fn is_fractional(resource: &str) -> bool {
    matches!(resource, "cpu" | "requests.cpu" | "limits.cpu")
}

fn limit_items(limits: &Limits) -> Vec<Value> {
    let container = &limits.container;
    let item = |name: &str, bounds: &Bounds, more: [(&str, &BTreeMap<String, Quantity>); 3]| {
        let mut item = Map::new();
        for (field, amounts) in more.into_iter().chain([("max", &bounds.max), ("min", &bounds.min)]) {
            if !amounts.is_empty() {
                item.insert(field.to_owned(), quantities(amounts));
            }
        }
        if !item.is_empty() {
            item.insert("type".to_owned(), name.into());
        }
        item
    };
    let none = BTreeMap::new();
    let nothing = [("default", &none), ("default", &none), ("default", &none)];
    let of_containers = [
        ("default", &container.default),
        ("defaultRequest", &container.default_request),
        ("maxLimitRequestRatio", &container.max_limit_request_ratio),
    ];
    [
        item("Container", &container.bounds, of_containers),
        item("Pod", &limits.pod, nothing),
        item("PersistentVolumeClaim", &limits.volume_claim, nothing),
    ]
    .into_iter()
    .filter(|item| !item.is_empty())
    .map(Value::Object)
    .collect()
}

pub(crate) fn quantities(amounts: &BTreeMap<String, Quantity>) -> Value {
    Value::Object(amounts.iter().map(|(resource, amount)| (resource.clone(), amount.as_str().into())).collect())
}

fn kind(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> ResourceKind {
    ResourceKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced,
    }
}

#[cfg(test)]
mod tests;
