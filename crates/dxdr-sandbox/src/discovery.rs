//! What the server says about itself: versions, groups, resources, and which of its resources can do what.

use serde_json::{Value, json};

use crate::kind::{Kind, Kinds};

/// Virtual resources: they answer a POST and store nothing.
pub(crate) const REVIEWS: [(&str, &str, &str); 6] = [
    ("authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    ("authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    ("authentication.k8s.io", "tokenreviews", "TokenReview"),
];

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

fn verbs(kind: &Kind) -> Vec<&'static str> {
    VERBS.into_iter().filter(|verb| !(kind.is("", "namespaces") && *verb == "deletecollection")).collect()
}

/// The groups that are served, with their versions, the core group left out.
pub(crate) fn groups(kinds: &Kinds) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> =
        kinds.group_order.iter().filter(|group| !group.is_empty()).map(|group| (group.clone(), kinds.versions(group))).collect();
    for (group, _, _) in REVIEWS {
        if !groups.iter().any(|(known, _)| known == group) {
            groups.push((group.to_owned(), vec!["v1".to_owned()]));
        }
    }
    groups
}

pub(crate) fn group(name: &str, versions: &[String]) -> Value {
    let entry = |version: &String| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name,
        "versions": versions.iter().map(entry).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(entry),
    })
}

pub(crate) fn group_list(kinds: &Kinds) -> Value {
    let groups: Vec<Value> = groups(kinds)
        .iter()
        .map(|(name, versions)| {
            let mut group = group(name, versions);
            if let Some(map) = group.as_object_mut() {
                map.remove("kind");
                map.remove("apiVersion");
            }
            group
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

pub(crate) fn resource_list(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut resources: Vec<Value> = Vec::new();
    for kind in kinds.all().filter(|kind| kind.group == group && kind.version == version) {
        let mut resource = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": verbs(kind),
        });
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for (name, of_group, of_version, of_kind) in subresources(kind) {
            let mut resource = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": of_kind,
                "verbs": subresource_verbs(name),
            });
            if of_group != kind.group || of_version != kind.version {
                resource["group"] = of_group.into();
                resource["version"] = of_version.into();
            }
            resources.push(resource);
        }
    }
    for (of_group, plural, kind) in REVIEWS {
        if of_group == group && version == "v1" {
            resources.push(json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": kind.starts_with("Local"), "kind": kind,
                "verbs": ["create"],
            }));
        }
    }
    if resources.is_empty() {
        return None;
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}))
}

fn subresource_verbs(name: &str) -> &'static [&'static str] {
    match name {
        "eviction" | "token" => &["create"],
        "finalize" => &["update"],
        _ => &["get", "patch", "update"],
    }
}

fn subresources(kind: &Kind) -> Vec<(&'static str, String, String, String)> {
    let own = |name| (name, kind.group.clone(), kind.version.clone(), kind.kind.clone());
    let other = |name, group: &str, version: &str, kind: &str| (name, group.to_owned(), version.to_owned(), kind.to_owned());
    let mut list = Vec::new();
    if kind.is("", "pods") {
        list.push(other("eviction", "policy", "v1", "Eviction"));
    }
    if kind.is("", "namespaces") {
        list.push(own("finalize"));
    }
    if kind.is("", "serviceaccounts") {
        list.push(other("token", "authentication.k8s.io", "v1", "TokenRequest"));
    }
    if kind.scale.is_some() {
        list.push(other("scale", "autoscaling", "v1", "Scale"));
    }
    if kind.has_status {
        list.push(own("status"));
    }
    list
}

/// Aggregated discovery: everything in two answers.
pub(crate) fn aggregated(kinds: &Kinds, core: bool) -> Value {
    let groups: Vec<(String, Vec<String>)> = if core { vec![(String::new(), vec!["v1".to_owned()])] } else { groups(kinds) };
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| json!({"version": version, "resources": aggregated_resources(kinds, group, version), "freshness": "Current"}))
                .collect();
            let metadata = if core { json!({"creationTimestamp": null}) } else { json!({"name": group, "creationTimestamp": null}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
}

fn aggregated_resources(kinds: &Kinds, group: &str, version: &str) -> Vec<Value> {
    let kind_of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = |namespaced: bool| if namespaced { "Namespaced" } else { "Cluster" };
    let mut resources: Vec<Value> = kinds
        .all()
        .filter(|kind| kind.group == group && kind.version == version)
        .map(|kind| {
            let mut resource = json!({
                "resource": kind.plural, "responseKind": kind_of(group, version, &kind.kind),
                "scope": scope(kind.namespaced), "singularResource": kind.singular, "verbs": verbs(kind),
            });
            if !kind.short_names.is_empty() {
                resource["shortNames"] = json!(kind.short_names);
            }
            if !kind.categories.is_empty() {
                resource["categories"] = json!(kind.categories);
            }
            let below: Vec<Value> = subresources(kind)
                .into_iter()
                .map(|(name, group, version, kind)| {
                    json!({"subresource": name, "responseKind": kind_of(&group, &version, &kind), "verbs": subresource_verbs(name)})
                })
                .collect();
            if !below.is_empty() {
                resource["subresources"] = Value::Array(below);
            }
            resource
        })
        .collect();
    for (of_group, plural, kind) in REVIEWS {
        if of_group == group && version == "v1" {
            resources.push(json!({
                "resource": plural, "responseKind": kind_of(group, version, kind), "scope": scope(kind.starts_with("Local")),
                "singularResource": kind.to_lowercase(), "verbs": ["create"],
            }));
        }
    }
    resources
}
