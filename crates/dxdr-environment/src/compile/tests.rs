use serde_json::json;

use super::*;
use crate::{
    EnvironmentName, Isolation,
    environment::{Grant, Role, RoleReference, RoleRule, Subject, Tier},
    isolation::{AllowedPeer, Cidr, Peer, PortRule},
};

fn namespace(name: &str) -> NamespaceName {
    NamespaceName::parse(name).unwrap()
}

fn amounts(list: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    list.iter().map(|(resource, amount)| ((*resource).to_owned(), Quantity::parse(amount).unwrap())).collect()
}

fn pods_in(name: &str, ports: Vec<PortRule>) -> AllowedPeer {
    AllowedPeer { peer: Peer::Pods { namespace: Some(namespace(name)), labels: BTreeMap::new() }, ports }
}

fn staging() -> Environment {
    let mut environment =
        Environment::bare(EnvironmentName::parse("staging").unwrap(), namespace("staging"), Tier::NonProduction);
    environment.quota = amounts(&[("requests.cpu", "5"), ("requests.memory", "32Gi"), ("persistentvolumeclaims", "5")]);
    environment.limits.container.default = amounts(&[("cpu", "500m"), ("memory", "512Mi")]);
    environment.limits.volume_claim.max = amounts(&[("storage", "100Gi")]);
    environment.isolation = Some(Isolation {
        allow_within: true,
        allow_ingress_from: vec![pods_in("ingress", Vec::new()), pods_in("staging", PortRule::bare(8080))],
        allow_egress_to: vec![
            pods_in("kube-system", PortRule::bare(53)),
            AllowedPeer {
                peer: Peer::Block {
                    cidr: Cidr::parse("10.20.0.0/16").unwrap(),
                    except: vec![Cidr::parse("10.20.9.0/24").unwrap()],
                },
                ports: PortRule::bare(5432),
            },
        ],
    });
    let group = |name: &str| Subject::Group(name.to_owned());
    let edit = || RoleReference::ClusterRole("edit".to_owned());
    environment.roles = vec![Role {
        name: "deployer".to_owned(),
        rules: vec![RoleRule {
            api_groups: vec!["apps".to_owned()],
            resources: vec!["deployments".to_owned()],
            resource_names: Vec::new(),
            verbs: vec!["get".to_owned(), "patch".to_owned()],
        }],
    }];
    let own_account = Subject::ServiceAccount { namespace: None, name: "deployer".to_owned() };
    environment.access = vec![
        Grant { subject: group("staging-developers"), role: edit() },
        Grant { subject: group("platform"), role: edit() },
        Grant { subject: own_account, role: RoleReference::Role("deployer".to_owned()) },
    ];
    environment
}

fn object<'a>(compiled: &'a CompiledEnvironment, reference: &str) -> &'a Value {
    &compiled.objects.iter().find(|object| object.reference.to_string() == reference).unwrap().value
}

#[test]
fn an_environment_compiles_to_its_objects_in_the_order_in_which_they_can_be_applied() {
    let compiled = compile(&staging(), &Placement::home(&staging()));
    let references: Vec<_> = compiled.objects.iter().map(|object| object.reference.to_string()).collect();
    assert_eq!(
        references,
        [
            "namespaces staging",
            "resourcequotas staging/dxdr",
            "limitranges staging/dxdr",
            "networkpolicies.networking.k8s.io staging/dxdr-default-deny",
            "networkpolicies.networking.k8s.io staging/dxdr-allow-ingress",
            "networkpolicies.networking.k8s.io staging/dxdr-allow-egress",
            "roles.rbac.authorization.k8s.io staging/deployer",
            "rolebindings.rbac.authorization.k8s.io staging/dxdr-cluster-role-edit",
            "rolebindings.rbac.authorization.k8s.io staging/dxdr-role-deployer",
        ]
    );
    for desired in &compiled.objects {
        assert_eq!(desired.value["metadata"]["labels"]["dxdr.io/environment"], "staging", "{}", desired.reference);
        assert_eq!(desired.value["kind"], desired.reference.kind.kind.as_str());
        assert_eq!(desired.value["metadata"]["name"], desired.reference.name.as_str());
    }
}

#[test]
fn an_environment_of_which_nothing_is_agreed_is_a_namespace() {
    let environment = Environment::bare(EnvironmentName::parse("dev").unwrap(), namespace("dev"), Tier::NonProduction);
    assert_eq!(compile(&environment, &Placement::home(&environment)).objects.len(), 1);
}

#[test]
fn limits_become_one_item_for_each_type_that_is_limited() {
    let compiled = compile(&staging(), &Placement::home(&staging()));
    assert_eq!(
        object(&compiled, "limitranges staging/dxdr")["spec"],
        json!({"limits": [
            {"type": "Container", "default": {"cpu": "500m", "memory": "512Mi"}},
            {"type": "PersistentVolumeClaim", "max": {"storage": "100Gi"}},
        ]})
    );
}

#[test]
fn only_what_the_model_allows_gets_out() {
    let compiled = compile(&staging(), &Placement::home(&staging()));
    assert_eq!(
        object(&compiled, "networkpolicies.networking.k8s.io staging/dxdr-default-deny")["spec"],
        json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
    );
    assert_eq!(
        object(&compiled, "networkpolicies.networking.k8s.io staging/dxdr-allow-egress")["spec"],
        json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"podSelector": {}}]},
            {
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
            },
            {"to": [{"ipBlock": {"cidr": "10.20.0.0/16", "except": ["10.20.9.0/24"]}}], "ports": [{"port": 5432, "protocol": "TCP"}]},
        ]})
    );
}

#[test]
fn isolation_that_allows_nothing_within_has_no_rule_for_it() {
    let mut environment = staging();
    environment.isolation = Some(Isolation { allow_within: false, allow_ingress_from: Vec::new(), allow_egress_to: Vec::new() });
    let compiled = compile(&environment, &Placement::home(&environment));
    assert_eq!(object(&compiled, "networkpolicies.networking.k8s.io staging/dxdr-allow-ingress")["spec"]["ingress"], json!([]));
}

#[test]
fn subjects_of_one_role_share_a_binding() {
    let compiled = compile(&staging(), &Placement::home(&staging()));
    let binding = object(&compiled, "rolebindings.rbac.authorization.k8s.io staging/dxdr-cluster-role-edit");
    let names: Vec<_> = binding["subjects"].as_array().unwrap().iter().map(|subject| subject["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["platform", "staging-developers"]);
    assert_eq!(binding["roleRef"], json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}));
}

#[test]
fn in_another_place_everything_of_its_own_points_there() {
    let placement = Placement {
        namespace: namespace("dxdr-staging-x7k2"),
        quota_scale: QuotaScale::new(0.5).unwrap(),
        labels: [("dxdr.io/drill".to_owned(), "weekly".to_owned())].into(),
    };
    let compiled = compile(&staging(), &placement);
    for desired in &compiled.objects {
        assert!(!desired.value.to_string().contains("\"namespace\":\"staging\""), "{}", desired.value);
        assert!(!desired.value.to_string().contains("metadata.name\":\"staging\""), "{}", desired.value);
    }
    assert_eq!(object(&compiled, "namespaces dxdr-staging-x7k2")["metadata"]["labels"]["dxdr.io/drill"], "weekly");
    assert_eq!(
        object(&compiled, "resourcequotas dxdr-staging-x7k2/dxdr")["spec"]["hard"],
        json!({"requests.cpu": "2500m", "requests.memory": "16Gi", "persistentvolumeclaims": "3"})
    );
    let ingress = object(&compiled, "networkpolicies.networking.k8s.io dxdr-staging-x7k2/dxdr-allow-ingress");
    assert_eq!(
        ingress["spec"]["ingress"][2],
        json!({"from": [{"podSelector": {}}], "ports": [{"port": 8080, "protocol": "TCP"}]})
    );
}

#[test]
fn labels_of_the_model_cannot_hide_whose_the_namespace_is() {
    let mut environment = staging();
    environment.labels =
        [(ENVIRONMENT_LABEL.to_owned(), "production".to_owned()), ("team".to_owned(), "orders".to_owned())].into();
    let compiled = compile(&environment, &Placement::home(&environment));
    let labels = &object(&compiled, "namespaces staging")["metadata"]["labels"];
    assert_eq!((&labels[ENVIRONMENT_LABEL], &labels["team"]), (&json!("staging"), &json!("orders")));
}
