//! Roles and role bindings. What a binding refers to can never be changed, so the role is part of the binding's name: another role
//! is another binding.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Objects, kind};
use crate::{
    ResourceKind,
    environment::{RoleReference, RoleRule, Subject},
};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn roles_and_bindings(objects: &mut Objects<'_>) {
    for role in &objects.environment.roles {
        let rules: Vec<Value> = role.rules.iter().map(rule).collect();
        objects.push(roles_kind(), &role.name, [("rules", rules.into())]);
    }
    let mut bindings: BTreeMap<&RoleReference, BTreeSet<&Subject>> = BTreeMap::new();
    for grant in &objects.environment.access {
        bindings.entry(&grant.role).or_default().insert(&grant.subject);
    }
    for (role, subjects) in bindings {
        let (name, role_kind, role_name) = match role {
            RoleReference::ClusterRole(name) => (format!("dxdr-cluster-role-{name}"), "ClusterRole", name),
            RoleReference::Role(name) => (format!("dxdr-role-{name}"), "Role", name),
        };
        let subjects: Vec<Value> = subjects.into_iter().map(|subject| reference(objects, subject)).collect();
        let role = json!({"apiGroup": GROUP, "kind": role_kind, "name": role_name});
        objects.push(role_bindings_kind(), &name, [("roleRef", role), ("subjects", subjects.into())]);
    }
}

fn rule(rule: &RoleRule) -> Value {
    let mut value = Map::new();
    let fields = [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("verbs", &rule.verbs),
    ];
    for (field, texts) in fields {
        if !texts.is_empty() {
            value.insert(field.to_owned(), texts.iter().map(String::as_str).collect());
        }
    }
    Value::Object(value)
}

fn reference(objects: &Objects<'_>, subject: &Subject) -> Value {
    match subject {
        Subject::Group(name) => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        Subject::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        Subject::ServiceAccount { namespace, name } => {
            let home = &objects.environment.namespace;
            let namespace = namespace.as_ref().filter(|namespace| *namespace != home).unwrap_or(&objects.placement.namespace);
            json!({"kind": "ServiceAccount", "name": name, "namespace": namespace.as_str()})
        }
    }
}

/// `roles.rbac.authorization.k8s.io`
pub(super) fn roles_kind() -> ResourceKind {
    kind(GROUP, "v1", "Role", "roles", true)
}

/// `rolebindings.rbac.authorization.k8s.io`
pub(super) fn role_bindings_kind() -> ResourceKind {
    kind(GROUP, "v1", "RoleBinding", "rolebindings", true)
}
