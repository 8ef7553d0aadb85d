//! `Environment` into the model.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::{
    Environment, EnvironmentName, FieldPath, Isolation, NamespaceName, Quantity, Scheduling, Tier,
    environment::{Bounds, ContainerLimits, Grant, Limits, Role, RoleReference, RoleRule, Sealing, Subject},
    isolation::{AllowedPeer, Cidr, Peer, PortRule, Protocol},
    scheduling::{TaintEffect, Toleration, TolerationOperator},
};

use super::{Reading, below, field_path, is_dns_name};
use crate::{
    shape::listed,
    specification::{
        Amount, Port,
        environment::{
            BoundsSpec, EffectName, EnvironmentSpec, GrantSpec, IsolationSpec, LimitsSpec, NodePoolSpec, OperatorName, PeerSpec,
            RoleSpec, TierName, TolerationSpec,
        },
    },
};

/// ClusterRoles that every cluster has and that are meant to be given within a namespace.
const CLUSTER_ROLES: [&str; 3] = ["view", "edit", "admin"];

/// Resources a quota may count without a domain in their name, and whether it counts them in fractions.
const QUOTA_RESOURCES: [(&str, bool); 20] = [
    ("cpu", true),
    ("memory", true),
    ("ephemeral-storage", true),
    ("requests.cpu", true),
    ("requests.memory", true),
    ("requests.storage", true),
    ("requests.ephemeral-storage", true),
    ("limits.cpu", true),
    ("limits.memory", true),
    ("limits.ephemeral-storage", true),
    ("pods", false),
    ("services", false),
    ("services.loadbalancers", false),
    ("services.nodeports", false),
    ("replicationcontrollers", false),
    ("resourcequotas", false),
    ("secrets", false),
    ("configmaps", false),
    ("persistentvolumeclaims", false),
    ("storage", true),
];

/// Resources that containers ask for, besides huge pages and those with a domain in their name.
const CONTAINER_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

impl Reading<'_> {
    /// The environment; only to be used when there are no problems.
    pub(crate) fn environment(&mut self, name: &str, spec: &EnvironmentSpec) -> Option<Environment> {
        let name = self.accept(&field_path!["metadata", "name"], EnvironmentName::parse(name));
        let namespace = self.namespace(&field_path!["spec", "namespace"], &spec.namespace);
        let tier = match spec.tier {
            TierName::Production => Tier::Production,
            TierName::NonProduction => Tier::NonProduction,
        };
        self.labels(&field_path!["spec", "labels"], &spec.labels);
        self.qualified_names(&field_path!["spec", "annotations"], spec.annotations.keys());
        let time_zone = spec.time_zone.as_ref().and_then(|name| self.time_zone(&field_path!["spec", "timeZone"], name));
        let node_pool = self.node_pool(&spec.node_pool);
        let quota = self.quota(&spec.quota);
        let limits = self.limits(&spec.limits);
        let isolation = spec.isolation.as_ref().map(|isolation| self.isolation(isolation));
        let roles = self.roles(&spec.roles);
        let access = self.access(&spec.access, &spec.roles);
        self.hosts(&spec.hosts);
        let databases = self.databases(&spec.databases);
        let sealing = spec.sealing.as_ref().and_then(|sealing| {
            let path = field_path!["spec", "sealing", "controller", "namespace"];
            let controller_namespace = self.namespace(&path, &sealing.controller.namespace)?;
            Some(Sealing { controller_namespace, controller_name: sealing.controller.name.clone() })
        });
        Some(Environment {
            name: name?,
            namespace: namespace?,
            labels: spec.labels.clone(),
            annotations: spec.annotations.clone(),
            tier,
            time_zone,
            node_pool,
            quota,
            limits,
            isolation,
            roles,
            access,
            hosts: spec.hosts.clone(),
            databases,
            sealing,
        })
    }

    fn namespace(&mut self, path: &FieldPath, name: &str) -> Option<NamespaceName> {
        self.accept(path, NamespaceName::parse(name))
    }

    fn node_pool(&mut self, spec: &NodePoolSpec) -> Scheduling {
        let at = field_path!["spec", "nodePool"];
        self.labels(&below(&at, "nodeSelector"), &spec.node_selector);
        let tolerations = spec.tolerations.iter().enumerate();
        let tolerations = tolerations
            .map(|(index, spec)| self.toleration(&field_path!["spec", "nodePool", "tolerations", index], spec))
            .collect();
        // The shape has been checked; the tree goes into pod specs as it is.
        let affinity = spec.affinity.as_ref().and_then(|_| {
            let pool = &self.node.field("spec")?.value.field("nodePool")?.value;
            Some(pool.field("affinity")?.value.to_value())
        });
        Scheduling { node_selector: spec.node_selector.clone(), tolerations, affinity }
    }

    fn toleration(&mut self, path: &FieldPath, spec: &TolerationSpec) -> Toleration {
        let operator = match spec.operator {
            OperatorName::Equal => TolerationOperator::Equal,
            OperatorName::Exists => TolerationOperator::Exists,
        };
        let effect = spec.effect.map(|effect| match effect {
            EffectName::NoSchedule => TaintEffect::NoSchedule,
            EffectName::PreferNoSchedule => TaintEffect::PreferNoSchedule,
            EffectName::NoExecute => TaintEffect::NoExecute,
        });
        if spec.key.is_none() && operator == TolerationOperator::Equal {
            let problem = self.wrong(path, format!("`{path}` has no `key`"));
            self.report(problem.hint("`operator: Exists` without a key stands every taint"));
        }
        if spec.value.is_some() && operator == TolerationOperator::Exists {
            let path = below(path, "value");
            self.report(self.misplaced(&path, format!("`{path}` means nothing with the operator `Exists`")));
        }
        if spec.toleration_seconds.is_some() && effect != Some(TaintEffect::NoExecute) {
            let path = below(path, "tolerationSeconds");
            self.report(self.misplaced(&path, format!("`{path}` needs the effect `NoExecute`")));
        }
        let (key, value) = (spec.key.clone(), spec.value.clone());
        Toleration { key, operator, value, effect, toleration_seconds: spec.toleration_seconds }
    }

    fn quota(&mut self, amounts: &BTreeMap<String, Amount>) -> BTreeMap<String, Quantity> {
        let at = field_path!["spec", "quota"];
        let quota = self.quantities(&at, amounts);
        for (resource, amount) in &quota {
            let path = below(&at, resource);
            match QUOTA_RESOURCES.iter().find(|(name, _)| name == resource) {
                Some((_, fractional)) if !fractional && !amount.is_whole() => {
                    self.report(self.wrong(&path, format!("`{path}` counts whole things")).found(format!("`{amount}`")));
                }
                Some(_) => {}
                None if resource.contains('/') || resource.contains("hugepages-") => {}
                None => {
                    let names = QUOTA_RESOURCES.map(|(name, _)| name);
                    let problem = self.misplaced(&path, format!("`{resource}` is not a resource that a quota can limit"));
                    let expected = format!(
                        "{}, `count/RESOURCE.GROUP` or `requests.DOMAIN/RESOURCE`",
                        listed(&names, "or").replace(" or ", ", ")
                    );
                    self.report(problem.expected(expected).suggest(resource, names));
                }
            }
        }
        quota
    }

    fn limits(&mut self, spec: &LimitsSpec) -> Limits {
        let at = field_path!["spec", "limits"];
        let containers: Vec<_> = [
            ("default", &spec.default),
            ("defaultRequest", &spec.default_request),
            ("max", &spec.max),
            ("min", &spec.min),
            ("maxLimitRequestRatio", &spec.max_limit_request_ratio),
        ]
        .into_iter()
        .map(|(name, amounts)| (name, self.limited(&below(&at, name), amounts, &CONTAINER_RESOURCES)))
        .collect();
        let of = |wanted: &str| {
            containers.iter().find(|(name, _)| *name == wanted).map(|(_, amounts)| amounts.clone()).unwrap_or_default()
        };
        let (default, default_request, max, min) = (of("default"), of("defaultRequest"), of("max"), of("min"));
        // In this order the API server wants them: each at most the one behind it.
        let ladder = [("min", &min), ("defaultRequest", &default_request), ("default", &default), ("max", &max)];
        for (index, (lower_name, lower)) in ladder.iter().enumerate() {
            for (upper_name, upper) in &ladder[index + 1..] {
                self.ladder(&at, (lower_name, lower), (upper_name, upper));
            }
        }
        let pod = self.bounds(&below(&at, "pod"), &spec.pod, &CONTAINER_RESOURCES);
        let volume_claim = self.bounds(&below(&at, "persistentVolumeClaim"), &spec.persistent_volume_claim, &["storage"]);
        let max_limit_request_ratio = of("maxLimitRequestRatio");
        Limits {
            container: ContainerLimits { default, default_request, bounds: Bounds { max, min }, max_limit_request_ratio },
            pod,
            volume_claim,
        }
    }

    fn bounds(&mut self, at: &FieldPath, spec: &BoundsSpec, resources: &[&str]) -> Bounds {
        let max = self.limited(&below(at, "max"), &spec.max, resources);
        let min = self.limited(&below(at, "min"), &spec.min, resources);
        self.ladder(at, ("min", &min), ("max", &max));
        Bounds { max, min }
    }

    fn limited(&mut self, at: &FieldPath, amounts: &BTreeMap<String, Amount>, resources: &[&str]) -> BTreeMap<String, Quantity> {
        for resource in amounts.keys() {
            let known = resources.contains(&resource.as_str()) || resource.contains('/') || resource.starts_with("hugepages-");
            if !known {
                let path = below(at, resource);
                let problem = self.misplaced(&path, format!("`{resource}` is not a resource that can be limited in `{at}`"));
                self.report(problem.expected(listed(resources, "or")).suggest(resource, resources.iter().copied()));
            }
        }
        self.quantities(at, amounts)
    }

    /// Reports where the lower amount is above the upper one.
    fn ladder(&mut self, at: &FieldPath, lower: (&str, &BTreeMap<String, Quantity>), upper: (&str, &BTreeMap<String, Quantity>)) {
        for (resource, amount) in lower.1 {
            let Some(limit) = upper.1.get(resource).filter(|limit| amount > limit) else { continue };
            let path = below(&below(at, lower.0), resource);
            let problem = self.wrong(&path, format!("`{path}` is above `{}`", below(&below(at, upper.0), resource)));
            self.report(problem.found(format!("`{amount}`")).expected(format!("at most `{limit}`")));
        }
    }

    fn isolation(&mut self, spec: &IsolationSpec) -> Isolation {
        let mut peers = |side: &str, peers: &[PeerSpec]| {
            let peers = peers.iter().enumerate();
            peers.filter_map(|(index, peer)| self.peer(&field_path!["spec", "isolation", side, index], peer)).collect()
        };
        let allow_ingress_from = peers("allowIngressFrom", &spec.allow_ingress_from);
        let allow_egress_to = peers("allowEgressTo", &spec.allow_egress_to);
        Isolation { allow_within: spec.allow_within, allow_ingress_from, allow_egress_to }
    }

    fn peer(&mut self, path: &FieldPath, spec: &PeerSpec) -> Option<AllowedPeer> {
        let ports = spec.ports.iter().enumerate();
        let ports: Vec<PortRule> =
            ports.filter_map(|(index, port)| self.ports(&below(&below(path, "ports"), index), port)).flatten().collect();
        let peer = match (&spec.cidr, &spec.namespace, &spec.pod_selector) {
            (None, None, None) => {
                let problem = self.wrong(path, format!("`{path}` names nobody")).expected("`namespace`, `podSelector` or `cidr`");
                self.report(problem.hint("all addresses are `cidr: 0.0.0.0/0`"));
                return None;
            }
            (Some(cidr), None, None) => self.block(path, cidr, &spec.except)?,
            (Some(_), ..) => {
                let path = below(path, "cidr");
                let problem = self.misplaced(&path, format!("`{path}` does not go with `namespace` or `podSelector`"));
                self.report(problem.hint("write two entries"));
                return None;
            }
            (None, namespace, labels) => {
                let at = below(path, "namespace");
                let namespace = match namespace {
                    Some(name) => Some(self.namespace(&at, name)?),
                    None => None,
                };
                let labels = labels.clone().unwrap_or_default();
                self.labels(&below(path, "podSelector"), &labels);
                Peer::Pods { namespace, labels }
            }
        };
        if !spec.except.is_empty() && spec.cidr.is_none() {
            let path = below(path, "except");
            self.report(self.misplaced(&path, format!("`{path}` needs a `cidr` to be left out of")));
        }
        Some(AllowedPeer { peer, ports })
    }

    fn block(&mut self, path: &FieldPath, cidr: &str, except: &[String]) -> Option<Peer> {
        let cidr = self.accept(&below(path, "cidr"), Cidr::parse(cidr))?;
        let mut left_out = Vec::new();
        for (index, block) in except.iter().enumerate() {
            let path = below(&below(path, "except"), index);
            let Some(block) = self.accept(&path, Cidr::parse(block)) else { continue };
            if cidr.contains(&block) && block != cidr {
                left_out.push(block);
            } else {
                self.report(self.wrong(&path, format!("`{path}` does not lie inside `{cidr}`")).found(format!("`{block}`")));
            }
        }
        Some(Peer::Block { cidr, except: left_out })
    }

    fn ports(&mut self, path: &FieldPath, port: &Port) -> Option<Vec<PortRule>> {
        let rules = port_rules(&port.0);
        if rules.is_none() {
            let problem = self.wrong(path, format!("`{path}` is not a port")).found(format!("`{}`", port.0));
            self.report(
                problem.expected("a number from 1 to 65535, a range as in `30000-32767`, each with a protocol as in `8125/UDP`"),
            );
        }
        rules
    }

    fn roles(&mut self, specs: &[RoleSpec]) -> Vec<Role> {
        let mut names = BTreeSet::new();
        for (index, spec) in specs.iter().enumerate() {
            let path = field_path!["spec", "roles", index, "name"];
            if !names.insert(&spec.name) {
                self.report(self.wrong(&path, format!("there is another role named `{}`", spec.name)));
            }
            if CLUSTER_ROLES.contains(&spec.name.as_str()) {
                let problem = self.wrong(&path, format!("`{}` is the name of a ClusterRole that every cluster has", spec.name));
                self.report(problem.hint("give the role another name, so that `access` says which one is meant"));
            }
        }
        let rule = |rule: &crate::specification::environment::RuleSpec| RoleRule {
            api_groups: rule.api_groups.clone(),
            resources: rule.resources.clone(),
            resource_names: rule.resource_names.clone(),
            verbs: rule.verbs.clone(),
        };
        specs.iter().map(|spec| Role { name: spec.name.clone(), rules: spec.rules.iter().map(rule).collect() }).collect()
    }

    fn access(&mut self, specs: &[GrantSpec], roles: &[RoleSpec]) -> Vec<Grant> {
        let own: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
        let grant = |(index, spec): (usize, &GrantSpec)| {
            let path = field_path!["spec", "access", index];
            let subject = self.subject(&path, spec);
            let role = self.role(&path, spec, &own);
            Some(Grant { subject: subject?, role: role? })
        };
        specs.iter().enumerate().filter_map(grant).collect()
    }

    fn subject(&mut self, path: &FieldPath, spec: &GrantSpec) -> Option<Subject> {
        match (&spec.group, &spec.user, &spec.service_account) {
            (Some(group), None, None) => Some(Subject::Group(group.clone())),
            (None, Some(user), None) => Some(Subject::User(user.clone())),
            (None, None, Some(account)) => {
                let at = below(&below(path, "serviceAccount"), "namespace");
                let namespace = match &account.namespace {
                    Some(name) => Some(self.namespace(&at, name)?),
                    None => None,
                };
                Some(Subject::ServiceAccount { namespace, name: account.name.clone() })
            }
            // The shape says that exactly one is there.
            _ => None,
        }
    }

    fn role(&mut self, path: &FieldPath, spec: &GrantSpec, own: &[&str]) -> Option<RoleReference> {
        match (&spec.role, &spec.cluster_role) {
            (Some(role), None) if own.contains(&role.as_str()) => Some(RoleReference::Role(role.clone())),
            (Some(role), None) if CLUSTER_ROLES.contains(&role.as_str()) => Some(RoleReference::ClusterRole(role.clone())),
            (Some(role), None) => {
                let own: BTreeSet<&str> = own.iter().copied().filter(|name| !CLUSTER_ROLES.contains(name)).collect();
                let names: Vec<&str> = CLUSTER_ROLES.into_iter().chain(own).collect();
                let path = below(path, "role");
                let problem = self.wrong(&path, format!("`{path}` is not a role")).found(format!("`{role}`"));
                let problem = problem.expected(listed(&names, "or")).suggest(role, names);
                self.report(problem.hint(
                    "a role of your own stands in `spec.roles`; another ClusterRole of the cluster is given as `clusterRole`",
                ));
                None
            }
            (None, Some(name)) => Some(RoleReference::ClusterRole(name.clone())),
            (Some(_), Some(_)) => {
                let path = below(path, "clusterRole");
                self.report(self.misplaced(&path, format!("`{path}` stands in place of `role`, not beside it")));
                None
            }
            (None, None) => {
                self.report(self.wrong(path, format!("`role` is missing in `{path}`")));
                None
            }
        }
    }

    fn hosts(&mut self, hosts: &[String]) {
        for (index, host) in hosts.iter().enumerate() {
            let path = field_path!["spec", "hosts", index];
            if !is_dns_name(host.strip_prefix("*.").unwrap_or(host)) {
                let problem = self.wrong(&path, format!("`{path}` is not a host name")).found(format!("`{host}`"));
                self.report(problem.expected("a name such as `staging.example.org` or `*.staging.example.org`"));
            } else if hosts[..index].contains(host) {
                self.report(self.wrong(&path, format!("`{host}` stands here twice")).warning());
            }
        }
    }
}

/// `53`, `8125/UDP`, `30000-32767`, `30000-32767/SCTP`.
fn port_rules(text: &str) -> Option<Vec<PortRule>> {
    let (numbers, protocol) = match text.split_once('/') {
        Some((numbers, "TCP")) => (numbers, Some(Protocol::Tcp)),
        Some((numbers, "UDP")) => (numbers, Some(Protocol::Udp)),
        Some((numbers, "SCTP")) => (numbers, Some(Protocol::Sctp)),
        Some(_) => return None,
        None => (text, None),
    };
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok().filter(|port| *port > 0)).flatten()
    };
    let (port, end_port) = match numbers.split_once('-') {
        Some((first, last)) => (number(first)?, Some(number(last)?)),
        None => (number(numbers)?, None),
    };
    if end_port.is_some_and(|end| end < port) {
        return None;
    }
    Some(match (end_port, protocol) {
        (None, None) => PortRule::bare(port),
        _ => vec![PortRule { port, end_port, protocol: protocol.unwrap_or(Protocol::Tcp) }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_be_a_number_a_range_and_name_its_protocol() {
        let rule = |port, end_port, protocol| PortRule { port, end_port, protocol };
        assert_eq!(port_rules("5432"), Some(vec![rule(5432, None, Protocol::Tcp)]));
        assert_eq!(port_rules("53"), Some(vec![rule(53, None, Protocol::Udp), rule(53, None, Protocol::Tcp)]));
        assert_eq!(port_rules("53/TCP"), Some(vec![rule(53, None, Protocol::Tcp)]));
        assert_eq!(port_rules("30000-32767/UDP"), Some(vec![rule(30000, Some(32767), Protocol::Udp)]));
        for text in ["0", "65536", "-1", "", "http", "5-4", "53/udp", "53/", "+53", "1-2-3"] {
            assert_eq!(port_rules(text), None, "{text}");
        }
    }
}
