//! A real Sealed Secrets controller in a Deployment, which dxdr restarts so that it loads its keys.

use std::{
    env,
    net::{TcpListener, TcpStream},
};

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use super::{
    Servers, World,
    keys::{comes_back, declare, json_of, seal, sealed, sealed_secret},
    missing,
    node::Node,
};
use crate::objects::{self, core, reference};

/// As the environment's `sealing` names it.
const NAME: &str = "sealed-secrets";

fn deployment(world: &World) -> ObjectReference {
    reference("apps", "v1", "Deployment", "deployments", Some(&world.namespace), NAME)
}

/// The controller in a pod on the machine's own network, where the API server and this test are, too; and where it serves its certificate. It makes
/// a key each `period`.
fn deploy(world: &World, node: &Node, program: &str, period: &str) -> String {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, metrics) = (free(), free());
    let server = std::fs::read_to_string(&world.kubeconfig).unwrap();
    let server = server.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap().to_owned();
    let (host, port) = server.rsplit_once(':').unwrap();
    let binding = format!("{}-{NAME}", world.namespace);
    let subject = json!({"kind": "ServiceAccount", "name": NAME, "namespace": world.namespace});
    let rbac = "rbac.authorization.k8s.io";
    world.create((
        core("ServiceAccount", Some(&world.namespace), NAME),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": world.namespace}}),
    ));
    world.create((
        reference(rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", None, &binding),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": binding},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [subject]
        }),
    ));
    let variables = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port), ("POD_NAMESPACE", &world.namespace)];
    let container = json!({
        "name": "controller",
        "command": [
            "/controller", format!("--listen-addr={address}"), format!("--listen-metrics-addr={metrics}"),
            format!("--key-renew-period={period}"), "--all-namespaces=false", "--kubeclient-qps=-1"
        ],
        "env": variables.map(|(name, value)| json!({"name": name, "value": value})),
        "volumeMounts": [{"name": "program", "mountPath": "/controller", "readOnly": true}],
        // It listens when it has its keys.
        "readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": address.port()}, "periodSeconds": 1, "failureThreshold": 60}
    });
    let more = json!({
        "hostNetwork": true, "serviceAccountName": NAME,
        "volumes": [{"name": "program", "hostPath": {"path": program, "type": "File"}}]
    });
    let labels = json!({"app": NAME});
    world.create((
        deployment(world),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME, "namespace": world.namespace},
            "spec": {
                // There is one port.
                "replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": node.specification(&[container], &more)}
            }
        }),
    ));
    world.wait_until("the controller runs in its pod", |world| {
        world.get(&deployment(world)).unwrap()["status"]["availableReplicas"] == 1 && TcpStream::connect(address).is_ok()
    });
    format!("http://{address}/v1/cert.pem")
}

/// Which process it is, whatever its name.
fn pods(world: &World) -> Vec<String> {
    world.names(&core("Pod", Some(""), "").kind, Some(&world.namespace))
}

fn served(world: &World, certificate: &str) -> Value {
    json_of(&seal(world, &["certificate", "--cert", certificate, "-o", "json", "--dry-run"], "").exits(0))["fingerprint"].take()
}

#[test]
fn the_controller_is_restarted_and_loads_new_keys_and_restored_ones() {
    let (Some(servers), Some(node)) = (Servers::named(), Node::named()) else { return };
    let Some(program) = env::var("DXDR_TEST_SEALED_SECRETS_PROGRAM").ok().filter(|program| !program.is_empty()) else {
        missing("sealing", "no program is named by DXDR_TEST_SEALED_SECRETS_PROGRAM");
        return;
    };
    let world = World::new(&servers, "restarts");
    world.create(objects::namespace(&world.namespace));
    declare(&world);
    let identity = ["--identity", "identity.txt"];
    let certificate = deploy(&world, &node, &program, "0");
    let one = sealed(&world, &certificate, "one");
    comes_back(&world, &one);
    let before = pods(&world);

    let rotated = seal(&world, &[&["rotate", "--yes", "-o", "json"][..], &identity].concat(), "").exits(0);
    assert!(!rotated.stderr.contains("makes keys by itself"), "{}", rotated.stderr);
    let rotated = json_of(&rotated);
    assert_eq!(rotated["sealing"], true, "{rotated}");
    let after = pods(&world);
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after, "another pod");
    assert_eq!(served(&world, &certificate), rotated["fingerprint"]);

    // Its keys are lost, and it makes one of its own when it starts.
    seal(&world, &["escrow"], "").exits(0);
    let keys = json_of(&seal(&world, &["keys", "-o", "json"], "").exits(0));
    for key in keys["keys"].as_array().unwrap() {
        world.delete(&core("Secret", Some(&world.namespace), key["secret"].as_str().unwrap()));
    }
    world.delete(&sealed_secret(&world, "one"));
    world.delete(&core("Secret", Some(&world.namespace), "one"));
    let restored = json_of(&seal(&world, &[&["restore-keys", "--yes", "-o", "json"][..], &identity].concat(), "").exits(0));
    assert_eq!((&restored["controllerRuns"], &restored["controllerLoaded"]), (&true.into(), &true.into()), "{restored}");
    assert_ne!(pods(&world), after, "another pod");
    assert_eq!(served(&world, &certificate), rotated["fingerprint"], "it seals with the newest of them");
    comes_back(&world, &one);
}

#[test]
fn keys_that_the_controller_makes_by_itself_are_found_and_kept() {
    let (Some(servers), Some(node)) = (Servers::named(), Node::named()) else { return };
    let Some(program) = env::var("DXDR_TEST_SEALED_SECRETS_PROGRAM").ok().filter(|program| !program.is_empty()) else {
        eprintln!("did not run: no program is named by DXDR_TEST_SEALED_SECRETS_PROGRAM");
        return;
    };
    let world = World::new(&servers, "renews");
    world.create(objects::namespace(&world.namespace));
    declare(&world);
    deploy(&world, &node, &program, "20s");
    seal(&world, &["escrow"], "").exits(0);
    let keys = || json_of(&seal(&world, &["keys", "-o", "json"], "").exits(0));
    let unkept = || keys()["keys"].as_array().unwrap().iter().filter(|key| key["escrow"].is_null()).count();
    assert_eq!(keys()["controller"]["renewsItself"], true);
    // Whatever finds it first keeps it: whoever looks after the keys, or the next recovery point.
    world.wait_until("the controller makes a key", |_| unkept() > 0);
    assert!(seal(&world, &["escrow"], "").exits(0).stdout.contains("was put into escrow, read back and opened"));
    world.wait_until("it makes another one", |_| unkept() > 0);
    let taken = world.run(&["backup", "now", "journey"]).exits(0);
    assert!(taken.stderr.contains("was put into escrow in kept"), "{}", taken.stderr);
    let rotated = seal(&world, &["rotate", "--yes"], "").exits(0);
    assert!(rotated.stderr.contains("the controller makes keys by itself, too"), "{}", rotated.stderr);
}
