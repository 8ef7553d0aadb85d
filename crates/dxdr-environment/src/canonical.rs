//! An environment as one tree, always the same for the same environment: what its digest is taken of.
//!
//! The tree's shape is part of recovery points that exist: a field added to the model may only appear in it when it is set, so that
//! the digests of environments that do not use it stay as they are.

use serde_json::{Map, Value, json};

use crate::{
    Environment,
    compile::quantities,
    database::DatabaseLocation,
    environment::{Bounds, RoleReference, Subject},
    isolation::{AllowedPeer, Peer},
    scheduling::text_map,
};

/// The tree. Two environments that compile to the same objects and name the same databases, hosts and controller have the same
/// tree, except that quantities count as they are written and lists in their order.
pub fn canonical(environment: &Environment) -> Value {
    let limits = &environment.limits;
    let tree = json!({
        "name": environment.name.as_str(),
        "namespace": environment.namespace.as_str(),
        "labels": text_map(&environment.labels),
        "annotations": text_map(&environment.annotations),
        "tier": environment.tier.as_str(),
        "timeZone": environment.time_zone.as_ref().and_then(|zone| zone.iana_name()),
        "nodePool": environment.node_pool.to_value(),
        "quota": quantities(&environment.quota),
        "limits": {
            "default": quantities(&limits.container.default),
            "defaultRequest": quantities(&limits.container.default_request),
            "maxLimitRequestRatio": quantities(&limits.container.max_limit_request_ratio),
            "container": bounds(&limits.container.bounds),
            "pod": bounds(&limits.pod),
            "volumeClaim": bounds(&limits.volume_claim),
        },
        "isolation": environment.isolation.as_ref().map(|isolation| json!({
            "allowWithin": isolation.allow_within,
            "allowIngressFrom": isolation.allow_ingress_from.iter().map(peer).collect::<Value>(),
            "allowEgressTo": isolation.allow_egress_to.iter().map(peer).collect::<Value>(),
        })),
        "roles": environment.roles.iter().map(|role| json!({
            "name": role.name,
            "rules": role.rules.iter().map(|rule| json!({
                "apiGroups": rule.api_groups,
                "resources": rule.resources,
                "resourceNames": rule.resource_names,
                "verbs": rule.verbs,
            })).collect::<Value>(),
        })).collect::<Value>(),
        "access": environment.access.iter().map(|grant| {
            let role = match &grant.role {
                RoleReference::ClusterRole(name) => json!({"clusterRole": name}),
                RoleReference::Role(name) => json!({"role": name}),
            };
            json!({"subject": subject(&grant.subject), "role": role})
        }).collect::<Value>(),
        "hosts": environment.hosts,
        "databases": environment.databases.iter().map(|database| {
            json!({"name": database.name, "location": location(&database.location)})
        }).collect::<Value>(),
        "sealing": environment.sealing.as_ref().map(|sealing| {
            json!({"namespace": sealing.controller_namespace.as_str(), "name": sealing.controller_name})
        }),
    });
    without_nothing(tree)
}

fn bounds(bounds: &Bounds) -> Value {
    json!({"max": quantities(&bounds.max), "min": quantities(&bounds.min)})
}

fn peer(allowed: &AllowedPeer) -> Value {
    let peer = match &allowed.peer {
        Peer::Pods { namespace, labels } => {
            json!({"namespace": namespace.as_ref().map(crate::NamespaceName::as_str), "podSelector": text_map(labels)})
        }
        Peer::Block { cidr, except } => {
            json!({"cidr": cidr.to_string(), "except": except.iter().map(|block| Value::from(block.to_string())).collect::<Value>()})
        }
    };
    let ports =
        allowed.ports.iter().map(|rule| json!({"port": rule.port, "endPort": rule.end_port, "protocol": rule.protocol.as_str()}));
    json!({"peer": peer, "ports": ports.collect::<Value>()})
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Group(name) => json!({"group": name}),
        Subject::User(name) => json!({"user": name}),
        Subject::ServiceAccount { namespace, name } => {
            json!({"serviceAccount": name, "namespace": namespace.as_ref().map(crate::NamespaceName::as_str)})
        }
    }
}

fn location(location: &DatabaseLocation) -> Value {
    match location {
        DatabaseLocation::CloudSql { project, instance, databases } => {
            json!({"cloudSql": {"project": project, "instance": instance, "databases": databases}})
        }
        DatabaseLocation::Postgresql(server) => {
            let keys = &server.secret_keys;
            json!({"postgresql": {
                "service": server.service, "port": server.port, "address": server.address, "databases": server.databases,
                "credentialsSecret": server.credentials_secret, "tls": server.tls.word(),
                "secretKeys": {
                    "username": keys.username, "password": keys.password, "host": keys.host, "port": keys.port,
                    "database": keys.database, "certificateAuthority": keys.certificate_authority,
                },
            }})
        }
    }
}

/// Takes out nulls, empty maps and empty lists.
fn without_nothing(value: Value) -> Value {
    let is_something = |value: &Value| match value {
        Value::Null => false,
        Value::Object(object) => !object.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(object) => {
            let fields = object.into_iter().map(|(name, value)| (name, without_nothing(value)));
            Value::Object(fields.filter(|(_, value)| is_something(value)).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EnvironmentName, Isolation, NamespaceName, environment::Tier};

    #[test]
    fn a_bare_environment_is_its_name_namespace_and_tier() {
        let name = EnvironmentName::parse("staging").unwrap();
        let environment = Environment::bare(name, NamespaceName::parse("staging").unwrap(), Tier::NonProduction);
        assert_eq!(canonical(&environment).to_string(), r#"{"name":"staging","namespace":"staging","tier":"non-production"}"#);
    }

    #[test]
    fn denying_everything_is_not_the_same_as_saying_nothing_of_isolation() {
        let name = EnvironmentName::parse("staging").unwrap();
        let silent = Environment::bare(name, NamespaceName::parse("staging").unwrap(), Tier::NonProduction);
        let isolation = Isolation { allow_within: false, allow_ingress_from: Vec::new(), allow_egress_to: Vec::new() };
        let denying = Environment { isolation: Some(isolation), ..silent.clone() };
        assert_ne!(canonical(&denying), canonical(&silent));
    }
}
