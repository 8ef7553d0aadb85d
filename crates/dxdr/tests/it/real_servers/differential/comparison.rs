//! What two sides made of the same thing, without what must differ.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::difference::full_difference;
use regex::Regex;
use serde_json::Value;

/// Objects by kind and by a name that is the same on both sides.
pub(super) type Objects = BTreeMap<(String, String), Value>;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// `archive` or `restore`.
    pub(super) stage: &'static str,
    /// `services`
    pub(super) kind: String,
    /// `only dxdr`, `only Velero`, or the path of a field.
    pub(super) what: String,
    /// `staging/web`
    pub(super) object: String,
    /// What each side has.
    pub(super) detail: String,
}

/// Everything that differs between two sides.
pub(super) fn compare(stage: &'static str, dxdr: &Objects, velero: &Objects) -> Vec<Found> {
    let mut found = Vec::new();
    let mut tell = |key: &(String, String), what: String, detail: String| {
        found.push(Found { stage, kind: key.0.clone(), object: key.1.clone(), what, detail });
    };
    let keys: BTreeSet<&(String, String)> = dxdr.keys().chain(velero.keys()).collect();
    for key in keys {
        match (dxdr.get(key), velero.get(key)) {
            (Some(ours), Some(theirs)) => {
                for difference in full_difference(ours, theirs) {
                    let text = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
                    let detail = format!("dxdr {}, Velero {}", text(&difference.desired), text(&difference.live));
                    tell(key, difference.path.to_string(), detail);
                }
            }
            (Some(ours), None) => tell(key, "only dxdr".to_owned(), ours.to_string()),
            (None, theirs) => tell(key, "only Velero".to_owned(), theirs.map(ToString::to_string).unwrap_or_default()),
        }
    }
    found
}

/// An object that lives, as the server lists it.
#[derive(Debug, Clone)]
pub(super) struct Live {
    /// `deployments.apps`
    pub(super) kind: String,
    /// CamelCase: `Deployment`.
    pub(super) singular: String,
    pub(super) object: Value,
}

impl Live {
    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(super) fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    fn controller(&self) -> Option<String> {
        let owners = self.object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        Some(format!("{}/{}", owner["kind"].as_str()?, owner["name"].as_str()?))
    }
}

/// What lives in a namespace, with everything taken out that is another in every namespace: its name, uids, addresses, tokens, and
/// the names of what controllers make. Status is theirs, too.
pub(super) fn normalised(namespace: &str, live: &[Live]) -> Objects {
    let uids: Vec<(&str, String)> = live
        .iter()
        .map(|object| (object.text("/metadata/uid"), format!("uid of {} {}", object.singular, object.name())))
        .collect();
    let moment = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap();
    let mut objects = Objects::new();
    let mut ordinals: BTreeMap<(String, String), u32> = BTreeMap::new();
    for one in live {
        let mut object = one.object.clone();
        let named = match one.controller() {
            // Of these the controller chooses the names.
            Some(owner) if ["pods", "endpointslices.discovery.k8s.io"].contains(&one.kind.as_str()) => {
                let ordinal = ordinals.entry((one.kind.clone(), owner.clone())).or_default();
                *ordinal += 1;
                object["metadata"]["name"] = "chosen by the controller".into();
                format!("of {owner} #{ordinal}")
            }
            _ => one.name().replace(namespace, "NAMESPACE"),
        };
        strip(&one.kind, &mut object);
        let mut text = object.to_string().replace(namespace, "NAMESPACE");
        for (uid, stands_for) in &uids {
            text = text.replace(uid, stands_for);
        }
        let text = moment.replace_all(&text, "INSTANT");
        objects.insert((one.kind.clone(), named), serde_json::from_str(&text).unwrap());
    }
    objects
}

fn strip(kind: &str, object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"] {
            metadata.remove(field);
        }
    }
    let allocated = Value::from("allocated");
    match kind {
        "services" => {
            for field in ["clusterIP", "healthCheckNodePort"] {
                let value = &object["spec"][field];
                if !value.is_null() && *value != "None" {
                    object["spec"][field] = allocated.clone();
                }
            }
            let addresses = object.pointer_mut("/spec/clusterIPs").and_then(Value::as_array_mut).into_iter().flatten();
            addresses.filter(|address| **address != "None").for_each(|address| *address = allocated.clone());
            for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
                if !port["nodePort"].is_null() {
                    port["nodePort"] = allocated.clone();
                }
            }
        }
        "secrets" if object["type"] == "kubernetes.io/service-account-token" => {
            if !object["data"]["token"].is_null() {
                object["data"]["token"] = "a token".into();
            }
            if !object["data"]["namespace"].is_null() {
                object["data"]["namespace"] = "the namespace".into();
            }
        }
        "namespaces" => object["metadata"]["name"] = "NAMESPACE".into(),
        // Every container gets a mount of the account's token, whose name is made up.
        "pods" => token_mounts(object),
        _ => {}
    }
}

fn token_mounts(pod: &mut Value) {
    let names: Vec<String> = pod
        .pointer("/spec/volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["name"].as_str())
        .filter(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned)
        .collect();
    let mut text = pod.to_string();
    for name in names {
        text = text.replace(&name, "kube-api-access");
    }
    *pod = serde_json::from_str(&text).unwrap();
}
