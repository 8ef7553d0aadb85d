//! What lives in the target, and how it differs from what was.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use dxdr_environment::{Difference, ObjectReference, ResourceKind, full_difference};
use serde_json::Value;

use super::copies::{AWAITS_COPY, CARRIER_LABEL};
use crate::order::StageName;

/// Live objects of the target, as the server's bytes. Parsed one by one, when they are compared.
#[derive(Default)]
pub struct LiveObjects {
    pub(super) kinds: BTreeMap<String, LiveKind>,
    /// Kinds that could not be read, and why.
    pub(super) unknown: BTreeMap<String, String>,
}

pub(super) struct LiveKind {
    pub(super) kind: ResourceKind,
    /// By namespace and name.
    pub(super) objects: HashMap<(Option<String>, String), LiveObject>,
}

pub(super) struct LiveObject {
    pub(super) json: Vec<u8>,
    /// The archive holds an object of this name.
    pub(super) archived: bool,
}

impl LiveObject {
    /// As a value; one that a server sent and nobody can read has nothing in it.
    pub(super) fn parsed(&self) -> Value {
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    fn awaits_copy(&self) -> Option<String> {
        let live = self.parsed();
        let metadata = live.get("metadata").filter(|metadata| metadata.get("deletionTimestamp").is_none())?;
        Some(metadata.get("annotations")?.get(AWAITS_COPY)?.as_str()?.to_owned())
    }
}

impl LiveObjects {
    /// Whether a cluster-scoped kind must be known for a plan: a restore may meet it.
    pub fn wants(kind: &ResourceKind) -> bool {
        !kind.namespaced
            && matches!(
                StageName::of(&kind.group, &kind.plural),
                StageName::Definitions
                    | StageName::Namespaces
                    | StageName::Classes
                    | StageName::Volumes
                    | StageName::Roles
                    | StageName::Bindings
                    | StageName::Gates
            )
    }

    /// Takes away the pods that an earlier run had Velero make to bring files back through: they go before anything else comes.
    pub(super) fn without_carriers(mut self) -> Self {
        if let Some(pods) = self.kinds.get_mut("pods") {
            let label = format!("/metadata/labels/{}", CARRIER_LABEL.replace('/', "~1"));
            pods.objects.retain(|_, pod| pod.parsed().pointer(&label).is_none());
        }
        self
    }

    /// The point whose copy the claim was made for and has not got. One that is being deleted waits for nothing.
    pub(super) fn awaits_copy(&self, claim: &ObjectReference) -> Option<String> {
        self.get(&claim.kind.group_resource(), claim.namespace.as_deref(), &claim.name)?.awaits_copy()
    }

    /// All claims of a namespace that wait for a copy, by name, each with the point that has it.
    pub(super) fn awaiting_copies(&self, namespace: &str) -> Vec<(ObjectReference, String)> {
        let Some(claims) = self.kinds.get("persistentvolumeclaims") else { return Vec::new() };
        let in_namespace = claims.objects.iter().filter(|((of, _), _)| of.as_deref() == Some(namespace));
        let mut awaiting: Vec<_> = in_namespace
            .filter_map(|((namespace, name), claim)| {
                let reference = ObjectReference { kind: claims.kind.clone(), namespace: namespace.clone(), name: name.clone() };
                Some((reference, claim.awaits_copy()?))
            })
            .collect();
        awaiting.sort_unstable();
        awaiting
    }

    /// The pods, by name.
    pub(super) fn pods(&self) -> impl Iterator<Item = (&str, Value)> {
        let pods = self.kinds.get("pods").into_iter().flat_map(|kind| &kind.objects);
        pods.map(|((_, name), pod)| (name.as_str(), pod.parsed()))
    }

    /// Adds one object. List items come without `apiVersion` and `kind`; neither is needed here.
    pub fn insert(&mut self, kind: &ResourceKind, namespace: Option<&str>, name: &str, json: Vec<u8>) {
        let live =
            self.kinds.entry(kind.group_resource()).or_insert_with(|| LiveKind { kind: kind.clone(), objects: HashMap::new() });
        live.objects.insert((namespace.map(str::to_owned), name.to_owned()), LiveObject { json, archived: false });
    }

    /// Remembers that a kind could not be read: its objects are neither missing nor there.
    pub fn unknown(&mut self, kind: &ResourceKind, reason: String) {
        self.unknown.insert(kind.group_resource(), reason);
    }

    pub(super) fn get_mut(&mut self, group_resource: &str, namespace: Option<&str>, name: &str) -> Option<&mut LiveObject> {
        let kind = self.kinds.get_mut(group_resource)?;
        kind.objects.get_mut(&(namespace.map(str::to_owned), name.to_owned()))
    }

    pub(super) fn get(&self, group_resource: &str, namespace: Option<&str>, name: &str) -> Option<&LiveObject> {
        self.kinds.get(group_resource)?.objects.get(&(namespace.map(str::to_owned), name.to_owned()))
    }
}

impl fmt::Debug for LiveObjects {
    /// Counts only: Secrets are among the objects.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.kinds.iter().map(|(name, kind)| (name, kind.objects.len()));
        formatter.debug_map().entries(counts).finish()
    }
}

/// One field that differs, ready to be shown. Values of Secrets are never in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// `spec.replicas`
    pub path: String,
    /// What it is now, as shortened JSON; `None`: it is not there.
    pub from: Option<String>,
    /// What it was at the instant, as shortened JSON; `None`: it was not there.
    pub to: Option<String>,
}

/// Longer values say nothing more to a reader, and plans are kept in memory.
const SHOWN: usize = 160;

/// How `live` must change to be `archived`; both transformed. `secret`: no values.
pub(super) fn differences(archived: &Value, live: &Value, secret: bool) -> Vec<FieldChange> {
    let show =
        |value: &Option<Value>| value.as_ref().map(|value| if secret { "(not shown)".to_owned() } else { shortened(value) });
    full_difference(archived, live)
        .iter()
        .map(|Difference { path, desired, live }| FieldChange { path: path.to_string(), from: show(live), to: show(desired) })
        .collect()
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
