//! A service account that may do little on a real API server.

use std::fs;

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use super::{Servers, World};
use crate::objects::{self, core, reference};

const RBAC: &str = "rbac.authorization.k8s.io";

fn role(namespace: &str, rules: &Value) -> (ObjectReference, Value) {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "dxdr", "namespace": namespace}, "rules": rules
    });
    (reference(RBAC, "v1", "Role", "roles", Some(namespace), "dxdr"), object)
}

fn binding(world: &World, namespace: &str, kind: &str, role: &str) -> (ObjectReference, Value) {
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "restricted", "namespace": world.namespace}]
    });
    (reference(RBAC, "v1", "RoleBinding", "rolebindings", Some(namespace), role), object)
}

/// Makes the account, and a kubeconfig with its token.
fn account(world: &World) -> String {
    let namespace = world.namespace.as_str();
    world.create((
        core("ServiceAccount", Some(namespace), "restricted"),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "restricted", "namespace": namespace}}),
    ));
    let token = core("Secret", Some(namespace), "restricted-token");
    let annotations = json!({"kubernetes.io/service-account.name": "restricted"});
    world.create((
        token.clone(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "restricted-token", "namespace": namespace, "annotations": annotations}
        }),
    ));
    world.wait_until("the token is made", |world| world.get(&token).unwrap()["data"]["token"].is_string());
    let encoded = world.get(&token).unwrap()["data"]["token"].as_str().unwrap().to_owned();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&fs::read_to_string(&world.kubeconfig).unwrap()).unwrap();
    let current = kubeconfig.current_context.unwrap();
    let context = kubeconfig.contexts.iter().find(|context| context.name == current).and_then(|context| context.context.as_ref());
    let name = &context.unwrap().cluster;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == *name).and_then(|cluster| cluster.cluster.as_ref());
    let restricted = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "restricted",
        "clusters": [{"name": "test", "cluster": serde_json::to_value(cluster.unwrap()).unwrap()}],
        "contexts": [{"name": "restricted", "context": {"cluster": "test", "user": "restricted"}}],
        "users": [{"name": "restricted", "user": {"token": decoded(&encoded)}}]
    });
    world.place.write("restricted", &restricted.to_string());
    world.place.path().join("restricted").to_string_lossy().into_owned()
}

/// Base64 of text.
fn decoded(encoded: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in encoded.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::try_from(ALPHABET.iter().position(|letter| *letter == byte).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_account_of_a_real_server_that_may_do_little_learns_what_it_lacks() {
    let Some(servers) = Servers::named() else { return };
    let world = World::with_objects(&servers, "restricted");
    world.create(objects::secret(&world.namespace, "password"));
    let kubeconfig = account(&world);
    let leases = world.lease_namespace();

    // Nothing at all.
    let said = world.run_as(&kubeconfig, &["backup", "now", "journey"]).refuses(7);
    assert!(said.stderr.contains("lacks the verb `get` on `namespaces`"), "{}", said.stderr);

    // What `view` gives: neither Secrets nor Leases elsewhere.
    world.create(binding(&world, &world.namespace, "ClusterRole", "view"));
    world.create(objects::namespace(&leases));
    world.wait_until("the account may read", |world| {
        !world
            .run_as(&kubeconfig, &["backup", "now", "journey", "--dry-run"])
            .stderr
            .contains("lacks the verb `get` on `namespaces`")
    });
    let said = world.run_as(&kubeconfig, &["backup", "now", "journey"]).refuses(7);
    let command = format!(
        "`kubectl create role dxdr-leases --namespace {leases} --verb=get,create,update --resource=leases.coordination.k8s.io`"
    );
    assert!(said.stderr.contains(&command), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("--serviceaccount={}:restricted", world.namespace)), "{}", said.stderr);

    // With what the hint says.
    let verbs = json!(["get", "create", "update"]);
    world.create(role(&leases, &json!([{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs}])));
    world.create(binding(&world, &leases, "Role", "dxdr"));
    let mut said = None;
    world.wait_until("the account may hold Leases", |world| {
        let again = world.run_as(&kubeconfig, &["backup", "now", "journey"]);
        let held = !again.stderr.contains("cannot hold environment");
        said = Some(again);
        held
    });
    let said = said.unwrap().refuses(3);
    assert!(said.stderr.contains(&format!("secrets in {}", world.namespace)), "{}", said.stderr);
    // Its own namespace it may see, and so that is in the point.
    assert!(!said.stderr.contains("resource \"namespaces\""), "{}", said.stderr);

    // It may not make namespaces, and nothing is made.
    let point = world.point();
    let beside = world.beside("beside");
    let restore = ["restore", "journey", "--point", &point, "--into", &beside, "--yes"];
    let said = world.run_as(&kubeconfig, &restore).refuses(7);
    assert!(said.stderr.contains("lacks the verb `create` on `namespaces`"), "{}", said.stderr);
    assert!(world.get(&core("Namespace", None, &beside)).is_none());

    // In one that is there, it may make ConfigMaps, and nothing else.
    world.create(objects::namespace(&beside));
    world.create(role(
        &beside,
        &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "create", "patch"]}]),
    ));
    world.create(binding(&world, &beside, "Role", "dxdr"));
    world.create(binding(&world, &beside, "ClusterRole", "view"));
    let mut said = None;
    world.wait_until("the account may write", |world| {
        let again = world.run_as(&kubeconfig, &restore);
        let written = world.get(&core("ConfigMap", Some(&beside), "two")).is_some();
        said = Some(again);
        written
    });
    let said = said.unwrap().refuses(3);
    assert!(said.stderr.contains("lacks the verb `create` on `secrets`"), "{}", said.stderr);
    assert!(world.get(&core("ConfigMap", Some(&beside), "one")).is_some());
}
