//! An archive and a target as values.

use std::collections::BTreeMap;

use dxdr_environment::{DiscoveredKind, EnvironmentName, ResourceKind};
use serde_json::{Value, json};

use crate::restore::{
    Action, Executor, Existing, LiveObjects, PlannedObject, RestorePlan, RestorePlanner, RestoreRequest, Target, Volumes,
    transform::{replacement, transform},
};

/// Group and plural, version, kind, namespaced.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("customresourcedefinitions.apiextensions.k8s.io", "v1", "CustomResourceDefinition", false),
    ("namespaces", "v1", "Namespace", false),
    ("persistentvolumes", "v1", "PersistentVolume", false),
    ("priorityclasses.scheduling.k8s.io", "v1", "PriorityClass", false),
    ("storageclasses.storage.k8s.io", "v1", "StorageClass", false),
    ("clusterroles.rbac.authorization.k8s.io", "v1", "ClusterRole", false),
    ("clusterrolebindings.rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", false),
    ("serviceaccounts", "v1", "ServiceAccount", true),
    ("roles.rbac.authorization.k8s.io", "v1", "Role", true),
    ("rolebindings.rbac.authorization.k8s.io", "v1", "RoleBinding", true),
    ("limitranges", "v1", "LimitRange", true),
    ("resourcequotas", "v1", "ResourceQuota", true),
    ("configmaps", "v1", "ConfigMap", true),
    ("secrets", "v1", "Secret", true),
    ("sealedsecrets.bitnami.com", "v1alpha1", "SealedSecret", true),
    ("persistentvolumeclaims", "v1", "PersistentVolumeClaim", true),
    ("services", "v1", "Service", true),
    ("endpoints", "v1", "Endpoints", true),
    ("endpointslices.discovery.k8s.io", "v1", "EndpointSlice", true),
    ("networkpolicies.networking.k8s.io", "v1", "NetworkPolicy", true),
    ("deployments.apps", "v1", "Deployment", true),
    ("replicasets.apps", "v1", "ReplicaSet", true),
    ("statefulsets.apps", "v1", "StatefulSet", true),
    ("controllerrevisions.apps", "v1", "ControllerRevision", true),
    ("pods", "v1", "Pod", true),
    ("ingresses.networking.k8s.io", "v1", "Ingress", true),
    ("ingressroutes.traefik.io", "v1alpha1", "IngressRoute", true),
    ("jobs.batch", "v1", "Job", true),
    ("cronjobs.batch", "v1", "CronJob", true),
    ("events", "v1", "Event", true),
    ("leases.coordination.k8s.io", "v1", "Lease", true),
    ("buckets.storage.cnrm.cloud.google.com", "v1beta1", "StorageBucket", true),
    ("widgets.example.org", "v1", "Widget", true),
];

pub(super) fn kind(group_resource: &str) -> ResourceKind {
    let (_, version, kind, namespaced) = KINDS.iter().find(|(name, ..)| *name == group_resource).unwrap();
    let (plural, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
    ResourceKind {
        group: group.to_owned(),
        version: (*version).to_owned(),
        kind: (*kind).to_owned(),
        plural: plural.to_owned(),
        namespaced: *namespaced,
    }
}

/// What the target serves; widgets only after their definition.
pub(super) fn served() -> Vec<DiscoveredKind> {
    let built_in = KINDS.iter().filter(|(name, ..)| *name != "widgets.example.org");
    built_in
        .map(|(name, version, kind_name, _)| DiscoveredKind {
            kind: kind(name),
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: kind_name.to_lowercase(),
            served_versions: vec![(*version).to_owned()],
        })
        .collect()
}

pub(super) fn in_place() -> RestoreRequest {
    RestoreRequest {
        environment: EnvironmentName::parse("staging").unwrap(),
        point: "staging-20240501t100000z-x7k2v".to_owned(),
        instant: "2024-05-01T10:00:00Z".parse().unwrap(),
        source_namespace: "staging".to_owned(),
        target: Target::InPlace,
        existing: Existing::Update,
        prune: false,
        include: Vec::new(),
        exclude: Vec::new(),
        executor: Executor::Dxdr,
        volumes: Volumes::Captured,
        storage_classes: BTreeMap::new(),
    }
}

pub(super) fn beside() -> RestoreRequest {
    RestoreRequest { target: Target::Beside { namespace: "copy".to_owned() }, ..in_place() }
}

/// An object as a server has it. The uid follows from the name.
pub(super) fn object(group_resource: &str, name: &str, more: Value) -> Value {
    let kind = kind(group_resource);
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "uid": uid(group_resource, name),
            "resourceVersion": "17",
            "creationTimestamp": "2024-04-01T00:00:00Z",
            "managedFields": [{"manager": "kubectl"}],
        },
    });
    if kind.namespaced {
        object["metadata"]["namespace"] = "staging".into();
    }
    merge(&mut object, more);
    object
}

fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

pub(super) fn uid(group_resource: &str, name: &str) -> String {
    let number =
        group_resource.bytes().chain(name.bytes()).fold(7_u128, |hash, byte| hash.wrapping_mul(131).wrapping_add(byte.into()));
    let digits = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// An owner that manages the object.
pub(super) fn owned_by(group_resource: &str, name: &str) -> Value {
    let kind = kind(group_resource);
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": kind.api_version(), "kind": kind.kind, "name": name, "uid": uid(group_resource, name), "controller": true}
    ]}})
}

/// A recovery point's objects, in the archive's order.
#[derive(Debug, Clone, Default)]
pub(super) struct Archive(pub(super) Vec<(String, Value)>);

impl Archive {
    /// With the Namespace in it.
    pub(super) fn staging() -> Self {
        let namespace = json!({"metadata": {"labels": {"kubernetes.io/metadata.name": "staging"}}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        Self::default().with("namespaces", "staging", namespace)
    }

    pub(super) fn with(mut self, group_resource: &str, name: &str, more: Value) -> Self {
        self.0.push((group_resource.to_owned(), object(group_resource, name, more)));
        self
    }

    pub(super) fn plan(&self, request: &RestoreRequest, live: Option<&World>) -> RestorePlan {
        let served = live.map(|world| world.served());
        self.feed(RestorePlanner::new(request.clone(), served.as_deref(), live.map(World::live)).unwrap())
    }

    pub(super) fn feed(&self, mut planner: RestorePlanner) -> RestorePlan {
        for (index, (group_resource, object)) in (0..).zip(&self.0) {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name").unwrap());
            planner.observe(index, group_resource, namespace, name, object.to_string().as_bytes()).unwrap();
        }
        planner.finish()
    }
}

/// A cluster: objects by kind, namespace and name.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) objects: BTreeMap<(String, Option<String>, String), Value>,
    written: u64,
}

impl World {
    /// As it was when the archive was made.
    pub(super) fn of(archive: &Archive) -> Self {
        let mut world = Self::default();
        archive.0.iter().for_each(|(_, object)| world.put(object.clone()));
        world
    }

    pub(super) fn put(&mut self, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let (group, _) =
            text("/apiVersion").unwrap().split_once('/').map_or((String::new(), ()), |(group, _)| (group.to_owned(), ()));
        let of = |(name, _, kind_name, _): &&(&str, &str, &str, bool)| {
            *kind_name == text("/kind").unwrap() && kind(name).group == group
        };
        let (group_resource, ..) = KINDS.iter().find(of).unwrap();
        let key = ((*group_resource).to_owned(), text("/metadata/namespace"), text("/metadata/name").unwrap());
        self.objects.insert(key, object);
    }

    pub(super) fn object(&mut self, group_resource: &str, namespace: Option<&str>, name: &str) -> &mut Value {
        self.objects.get_mut(&(group_resource.to_owned(), namespace.map(str::to_owned), name.to_owned())).unwrap()
    }

    fn served(&self) -> Vec<DiscoveredKind> {
        let mut kinds = served();
        for (_, _, name) in self.objects.keys().filter(|(kind, ..)| kind.starts_with("customresourcedefinitions")) {
            let template = kinds[0].clone();
            kinds.push(DiscoveredKind { kind: kind(name), served_versions: vec!["v1".to_owned()], ..template });
        }
        kinds
    }

    pub(super) fn live(&self) -> LiveObjects {
        let mut live = LiveObjects::default();
        for ((group_resource, namespace, name), object) in &self.objects {
            let mut object = object.clone();
            // As lists have them.
            let tree = object.as_object_mut().unwrap();
            tree.remove("apiVersion");
            tree.remove("kind");
            live.insert(&kind(group_resource), namespace.as_deref(), name, object.to_string().into_bytes());
        }
        live
    }

    /// Carries the plan out, and does to objects what a server does.
    pub(super) fn carry_out(&mut self, archive: &Archive, request: &RestoreRequest, plan: &RestorePlan) {
        for planned in plan.stages.iter().flat_map(|stage| &stage.objects) {
            self.write(archive, request, planned);
        }
        for object in &plan.prune {
            let reference = &object.reference;
            let key = (reference.kind.group_resource(), reference.namespace.clone(), reference.name.clone());
            assert!(self.objects.remove(&key).is_some(), "{reference} is not there");
        }
    }

    fn write(&mut self, archive: &Archive, request: &RestoreRequest, planned: &PlannedObject) {
        let (_, archived) = &archive.0[planned.index as usize];
        let desired = transform(request, archived.clone()).object;
        let target = &planned.target;
        let key = (target.kind.group_resource(), target.namespace.clone(), target.name.clone());
        let object = match &planned.action {
            Action::Create => {
                assert!(!self.objects.contains_key(&key), "{target} exists");
                let mut object = desired;
                self.written += 1;
                object["metadata"]["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.written).into();
                object["metadata"]["creationTimestamp"] = "2024-05-02T00:00:00Z".into();
                object["status"] = json!({"observed": true});
                if target.kind.kind == "Service" && object["spec"].is_object() && object["spec"].get("clusterIP").is_none() {
                    object["spec"]["clusterIP"] = "10.0.0.99".into();
                }
                object
            }
            Action::Update { .. } => replacement(request, &desired, &self.objects[&key]),
            Action::Same | Action::Leave { .. } => return,
        };
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        assert_eq!((text("/metadata/namespace"), text("/metadata/name")), (target.namespace.clone(), Some(target.name.clone())));
        self.objects.insert(key, object);
    }
}

/// `create configmaps staging/settings`, by stage.
pub(super) fn shown(plan: &RestorePlan) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Create => "create",
        Action::Update { .. } => "update",
        Action::Same => "same",
        Action::Leave { .. } => "leave",
    };
    let objects = plan.stages.iter().flat_map(|stage| stage.objects.iter().map(move |object| (stage.id, object)));
    objects.map(|(stage, object)| format!("{stage}: {} {}", word(&object.action), object.target)).collect()
}

/// `pods staging/api-1: ReplicaSet api makes it again`
pub(super) fn left_out(plan: &RestorePlan) -> Vec<String> {
    plan.left_out.iter().map(|left| format!("{}: {}", left.object, left.reason)).collect()
}

pub(super) fn notes(plan: &RestorePlan) -> Vec<String> {
    plan.notes.iter().map(|note| format!("{}: {}", note.severity, note.text)).collect()
}
