//! Network policies: deny everything both ways, then allow what the model allows.

use serde_json::{Map, Value, json};

use super::{Objects, kind};
use crate::{
    ResourceKind,
    isolation::{AllowedPeer, Peer, PortRule},
};

/// Three policies of fixed names, so that a rule taken out of the model disappears from the cluster with the next apply.
pub(super) fn network_policies(objects: &mut Objects<'_>) {
    let Some(isolation) = &objects.environment.isolation else { return };
    let kind = network_policies_kind();
    let rules = |peers: &[AllowedPeer], side: &str| {
        let within = isolation.allow_within.then(|| json!({side: [{"podSelector": {}}]}));
        Value::from_iter(within.into_iter().chain(peers.iter().map(|allowed| rule(objects, allowed, side))))
    };
    let ingress = rules(&isolation.allow_ingress_from, "from");
    let egress = rules(&isolation.allow_egress_to, "to");
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    let ingress = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress});
    let egress = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": egress});
    objects.push(kind.clone(), "dxdr-default-deny", [("spec", deny)]);
    objects.push(kind.clone(), "dxdr-allow-ingress", [("spec", ingress)]);
    objects.push(kind, "dxdr-allow-egress", [("spec", egress)]);
}

fn rule(objects: &Objects<'_>, allowed: &AllowedPeer, side: &str) -> Value {
    let mut rule = Map::new();
    rule.insert(side.to_owned(), Value::Array(vec![peer(objects, &allowed.peer)]));
    if !allowed.ports.is_empty() {
        rule.insert("ports".to_owned(), allowed.ports.iter().map(port).collect());
    }
    Value::Object(rule)
}

fn peer(objects: &Objects<'_>, peer: &Peer) -> Value {
    match peer {
        Peer::Block { cidr, except } if except.is_empty() => json!({"ipBlock": {"cidr": cidr.to_string()}}),
        Peer::Block { cidr, except } => {
            let except: Vec<_> = except.iter().map(ToString::to_string).collect();
            json!({"ipBlock": {"cidr": cidr.to_string(), "except": except}})
        }
        Peer::Pods { namespace, labels } => {
            let pods = if labels.is_empty() { json!({}) } else { json!({"matchLabels": super::text_map(labels)}) };
            // The environment's own namespace means wherever the environment is placed.
            let other = namespace.as_ref().filter(|name| **name != objects.environment.namespace);
            let Some(other) = other else { return json!({"podSelector": pods}) };
            let mut selector = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": other.as_str()}}});
            if !labels.is_empty() {
                selector["podSelector"] = pods;
            }
            selector
        }
    }
}

fn port(rule: &PortRule) -> Value {
    let mut value = json!({"port": rule.port, "protocol": rule.protocol.as_str()});
    if let Some(end) = rule.end_port {
        value["endPort"] = end.into();
    }
    value
}

/// `networkpolicies.networking.k8s.io`
pub(super) fn network_policies_kind() -> ResourceKind {
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true)
}
