//! Sealing keys that outlive their cluster: escrow, renewal, and the way back, with a real controller that the test starts and stops.

use std::{
    env,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use age::secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Servers, World, missing, velero::Velero};
use crate::{
    objects,
    place::Said,
    seal::{documents, piped},
};

/// A controller of the test's own, which looks at the test's namespace only. Ended when it is dropped.
struct Controller {
    process: Child,
    address: String,
}

impl Controller {
    /// Starts it and waits until it has its keys. It makes one where it finds none.
    fn start(program: &str, world: &World) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (address, metrics) = (free(), free());
        let flags = [
            format!("--listen-addr={address}"),
            format!("--listen-metrics-addr={metrics}"),
            "--key-renew-period=0".to_owned(),
            "--all-namespaces=false".to_owned(),
            "--kubeclient-qps=-1".to_owned(),
        ];
        let mut command = Command::new(program);
        command
            .args(flags)
            .env("POD_NAMESPACE", &world.namespace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let controller = Self { process: command.spawn().unwrap(), address };
        world.wait_until("the controller listens", |_| TcpStream::connect(&controller.address).is_ok());
        controller
    }

    fn certificate(&self) -> String {
        format!("http://{}/v1/cert.pem", self.address)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Policies for the test's namespace, and an identity that opens their escrow.
pub(super) fn declare(world: &World) {
    let identity = age::x25519::Identity::generate();
    world.place.write("identity.txt", identity.to_string().expose_secret());
    declare_for(world, &identity.to_public().to_string());
}

/// Policies for the test's namespace, whose escrow is for a recipient.
fn declare_for(world: &World, recipient: &str) {
    std::fs::create_dir(world.place.path().join("kept")).unwrap();
    let namespace = &world.namespace;
    world.place.write(
        "policies/journey.yaml",
        &format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: journey}}\nspec:\n  namespace: {namespace}\n  tier: non-production\n  sealing: {{controller: {{namespace: {namespace}, name: sealed-secrets}}}}\n---\nkind: BackupStore\nmetadata: {{name: kept}}\nspec: {{directory: {{path: kept}}}}\n---\nkind: SealingPolicy\nmetadata: {{name: default}}\nspec: {{environments: [journey], escrow: {{recipients: [{recipient}], store: kept}}}}\n---\nkind: BackupPolicy\nmetadata: {{name: journey}}\nspec: {{environments: [journey], objectives: {{dataLoss: 26h, recoveryTime: 1h}}, schedule: {{cron: '17 3 * * *', timeZone: UTC}}, engine: native, store: kept, secrets: {{sealedOnly: true}}}}\n",
        ),
    );
}

pub(super) fn seal(world: &World, arguments: &[&str], input: &str) -> Said {
    piped(&world.place, &[&["seal"][..], arguments, &["--kubeconfig", &world.kubeconfig]].concat(), input)
}

pub(super) fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap()
}

/// The SealedSecret of a Secret with this name, made with the certificate that is served there.
pub(super) fn sealed(world: &World, certificate: &str, name: &str) -> Value {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": world.namespace}, "stringData": {"value": name}});
    documents(&seal(world, &["--cert", certificate], &secret.to_string()).exits(0).stdout).remove(0)
}

/// What the controller says of a SealedSecret, once it has looked at it as it is now.
fn is_synced(world: &World, name: &str) -> Option<bool> {
    let sealed = world.get(&sealed_secret(world, name))?;
    let status = &sealed["status"];
    (status["observedGeneration"] == sealed["metadata"]["generation"]).then(|| status["conditions"][0]["status"] == "True")
}

pub(super) fn sealed_secret(world: &World, name: &str) -> dxdr_environment::ObjectReference {
    objects::reference("bitnami.com", "v1alpha1", "SealedSecret", "sealedsecrets", Some(&world.namespace), name)
}

/// Applies it, and waits until the controller has made the Secret of it.
pub(super) fn comes_back(world: &World, object: &Value) {
    let name = object["metadata"]["name"].as_str().unwrap();
    world.try_create(&sealed_secret(world, name), object, false).unwrap();
    world.wait_until("the controller opens it", |world| {
        let secret = world.get(&objects::core("Secret", Some(&world.namespace), name));
        secret.is_some_and(|secret| {
            secret["data"]["value"] == base64::Engine::encode(&base64::engine::general_purpose::STANDARD, name)
        })
    });
}

#[test]
fn keys_are_kept_renewed_and_brought_back_after_the_cluster_is_lost() {
    let Some(servers) = Servers::named() else { return };
    let Some(program) = env::var("DXDR_TEST_SEALED_SECRETS_CONTROLLER").ok().filter(|program| !program.is_empty()) else {
        missing("sealing", "no program is named by DXDR_TEST_SEALED_SECRETS_CONTROLLER");
        return;
    };
    let world = World::new(&servers, "keys");
    world.create(objects::namespace(&world.namespace));
    declare(&world);
    let identity = ["--identity", "identity.txt"];

    let controller = Controller::start(&program, &world);
    let one = sealed(&world, &controller.certificate(), "one");
    comes_back(&world, &one);
    assert!(seal(&world, &["keys"], "").exits(0).stderr.contains("1 key not in escrow"));
    let dry = json_of(&seal(&world, &["escrow", "--dry-run", "-o", "json"], "").exits(0));
    assert_eq!(dry["keys"][0]["state"], "missing");
    assert!(seal(&world, &["escrow"], "").exits(0).stdout.contains("was put into escrow, read back and opened"));
    assert!(seal(&world, &["escrow"], "").exits(0).stdout.contains("is in escrow"));
    // What the real controller made of a SealedSecret is what dxdr makes of it, and need not be in a point.
    world.create(objects::secret(&world.namespace, "plain"));
    let planned = json_of(&world.run(&["backup", "now", "journey", "--dry-run", "-o", "json"]).exits(0));
    let kept = planned["plainSecrets"]["names"].as_array().unwrap();
    assert!(kept.contains(&json!("plain")) && !kept.contains(&json!("one")), "{kept:?}");

    // The new key is there, and this controller knows it after a restart only, which nobody but the test can give it.
    let rotated = json_of(&seal(&world, &[&["rotate", "--yes", "-o", "json"][..], &identity].concat(), "").exits(3));
    assert_eq!((&rotated["sealing"], &rotated["provedWithIdentity"]), (&false.into(), &true.into()));
    drop(controller);
    let controller = Controller::start(&program, &world);
    let served = seal(&world, &["certificate", "--cert", &controller.certificate(), "-o", "json", "--dry-run"], "").exits(0);
    assert_eq!(json_of(&served)["fingerprint"], rotated["fingerprint"]);
    let two = sealed(&world, &controller.certificate(), "two");
    comes_back(&world, &two);
    let keys = json_of(&seal(&world, &["keys", "-o", "json"], "").exits(0));
    let states: Vec<(&str, &Value)> =
        keys["keys"].as_array().unwrap().iter().map(|key| (key["state"].as_str().unwrap(), &key["items"])).collect();
    assert_eq!(states, [("sealing", &json!(1)), ("active", &json!(1))]);
    assert!(keys["keys"].as_array().unwrap().iter().all(|key| key["escrow"]["asThePolicySays"] == true), "{keys}");
    assert!(
        seal(&world, &[&["escrow", "test"][..], &identity].concat(), "").exits(0).stdout.contains("2 of 2 keys open and work")
    );

    // Everything that was in the cluster is gone.
    drop(controller);
    for name in ["one", "two"] {
        world.delete(&sealed_secret(&world, name));
        world.delete(&objects::core("Secret", Some(&world.namespace), name));
    }
    for key in keys["keys"].as_array().unwrap() {
        world.delete(&objects::core("Secret", Some(&world.namespace), key["secret"].as_str().unwrap()));
    }
    world.place.write("stranger.txt", age::x25519::Identity::generate().to_string().expose_secret());
    let stranger = seal(&world, &["restore-keys", "--identity", "stranger.txt", "--yes"], "").refuses(4);
    assert!(stranger.stderr.contains("cannot be taken out of escrow"), "{}", stranger.stderr);
    seal(&world, &[&["restore-keys", "--dry-run"][..], &identity].concat(), "").exits(0);
    let restored = json_of(&seal(&world, &[&["restore-keys", "--yes", "-o", "json"][..], &identity].concat(), "").exits(0));
    assert_eq!(restored["restored"].as_array().unwrap().len(), 2);
    assert_eq!(restored["controllerRuns"], false);
    let controller = Controller::start(&program, &world);
    comes_back(&world, &one);
    comes_back(&world, &two);
    let served = seal(&world, &["certificate", "--cert", &controller.certificate(), "-o", "json", "--dry-run"], "").exits(0);
    assert_eq!(json_of(&served)["fingerprint"], rotated["fingerprint"], "the newest of the restored keys is sealed with");
    let after = json_of(&seal(&world, &["keys", "-o", "json"], "").exits(0));
    assert_eq!(after["keys"].as_array().unwrap().len(), 2, "the controller made none of its own");
    assert!(
        seal(&world, &[&["restore-keys", "--yes"][..], &identity].concat(), "")
            .exits(0)
            .stdout
            .contains("every key was there already")
    );
}

#[test]
fn a_point_that_velero_took_names_the_keys_that_its_sealed_secrets_need() {
    let Some(velero) = Velero::named() else { return };
    let Some(program) = env::var("DXDR_TEST_SEALED_SECRETS_CONTROLLER").ok().filter(|program| !program.is_empty()) else {
        missing("sealing", "no program is named by DXDR_TEST_SEALED_SECRETS_CONTROLLER");
        return;
    };
    let world = World::new(&velero.servers, "velero-keys");
    world.create(objects::namespace(&world.namespace));
    let declared = std::fs::read_to_string(world.place.path().join("policies/journey.yaml")).unwrap();
    let (_, primary) = declared.split_once("---\n").unwrap();
    let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: all}\nspec:\n  environments: [journey]\n  objectives: {dataLoss: 25h, recoveryTime: 1h}\n  engine: velero\n  volumes: {method: none}\n  store: primary\n  retention: {daily: 7}\n";
    world.place.write("policies/velero.yaml", &format!("apiVersion: dxdr.io/v1alpha1\n{primary}---\n{policy}"));
    declare(&world);
    let declared = std::fs::read_to_string(world.place.path().join("policies/journey.yaml")).unwrap();
    let (without_policy, _) = declared.split_once("---\nkind: BackupPolicy").unwrap();
    world.place.write("policies/journey.yaml", without_policy);
    let controller = Controller::start(&program, &world);
    let one = sealed(&world, &controller.certificate(), "one");
    comes_back(&world, &one);

    let point = world.point();
    let keys = json_of(&seal(&world, &["keys", "-o", "json"], "").exits(0));
    let key = &keys["keys"][0];
    assert_eq!(key["escrow"]["asThePolicySays"], true, "{keys}");
    let page = json_of(&world.run(&["points", "journey", "--output", "json"]).exits(0));
    let points = page["points"].as_array().unwrap();
    let taken = points.iter().find(|taken| taken["name"] == point.as_str()).unwrap();
    assert_eq!(taken["state"], "complete", "{taken:#}");
    let named = taken["components"].as_array().unwrap().iter().find(|component| component["kind"] == "keys");
    assert_eq!(named.unwrap()["fingerprints"], json!([key["fingerprint"]]), "{taken:#}");

    // With the cluster gone, what Velero kept of it opens with what the escrow has.
    drop(controller);
    world.delete(&objects::core("Secret", Some(&world.namespace), key["secret"].as_str().unwrap()));
    let verify = ["verify", "--point", &point, "--identity", "identity.txt"];
    assert!(seal(&world, &verify, "").exits(0).stdout.ends_with("1 of 1 item open\n"));
    velero.delete(&world, &point);
}

/// A second control plane, on which nothing was ever installed but the definition of SealedSecrets; and the program that starts a controller there.
fn second(servers: &Servers, name: &str) -> Option<(World, String)> {
    let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let found = named("DXDR_TEST_SECOND_KUBECONFIG").zip(named("DXDR_TEST_SECOND_SEALED_SECRETS_CONTROLLER"));
    let Some((kubeconfig, program)) = found else {
        missing("second", "no second control plane is named by DXDR_TEST_SECOND_*");
        return None;
    };
    Some((World::new(&Servers { kubeconfig, ..servers.clone() }, name), program))
}

#[test]
fn after_a_disaster_a_new_cluster_that_made_a_key_of_its_own_opens_everything() {
    const NAMES: [&str; 3] = ["one", "two", "three"];
    let Some(servers) = Servers::named() else { return };
    let Some(program) = env::var("DXDR_TEST_SEALED_SECRETS_CONTROLLER").ok().filter(|program| !program.is_empty()) else {
        missing("sealing", "no program is named by DXDR_TEST_SEALED_SECRETS_CONTROLLER");
        return;
    };
    let Some((new, new_program)) = second(&servers, "lost") else { return };
    let lost = World::new(&servers, "lost");
    assert_eq!(lost.namespace, new.namespace);
    lost.create(objects::namespace(&lost.namespace));
    let made =
        seal(&lost, &["escrow", "shares", "--threshold", "2", "--of", "3", "--out", "shares", "--plain", "-o", "json"], "");
    declare_for(&lost, json_of(&made.exits(0))["recipient"].as_str().unwrap());

    // Two keys, each with SealedSecrets, all in a repository.
    let controller = Controller::start(&program, &lost);
    let mut repository = vec![sealed(&lost, &controller.certificate(), NAMES[0])];
    seal(&lost, &["rotate", "--yes"], "").exits(3);
    drop(controller);
    let controller = Controller::start(&program, &lost);
    repository.extend(NAMES[1..].iter().map(|name| sealed(&lost, &controller.certificate(), name)));
    repository.iter().for_each(|object| comes_back(&lost, object));
    drop(controller);

    // Nothing of that cluster is left. In the new one everything was applied in the wrong order: the controller came first, and made a key.
    new.create(objects::namespace(&new.namespace));
    let controller = Controller::start(&new_program, &new);
    for (name, object) in NAMES.iter().zip(&repository) {
        new.try_create(&sealed_secret(&new, name), object, false).unwrap();
        new.wait_until("the controller looks at it", |new| is_synced(new, name).is_some());
        assert_eq!(is_synced(&new, name), Some(false), "{name}");
    }
    let in_new = |arguments: &[&str]| lost.run_as(&new.kubeconfig, &[&["seal"][..], arguments].concat());
    let shares = ["--share", "shares/share-3.txt", "--share", "shares/share-1.txt"];
    let restored = in_new(&[&["restore-keys", "--yes", "-o", "json"][..], &shares].concat()).exits(0);
    assert!(restored.stderr.contains("the cluster has made ") && restored.stderr.contains("and is newer"), "{}", restored.stderr);
    let restored = json_of(&restored);
    assert_eq!(restored["restored"].as_array().unwrap().len(), 2);
    assert_eq!(restored["notInEscrow"].as_array().unwrap().len(), 1);
    drop(controller);
    let controller = Controller::start(&new_program, &new);
    for name in NAMES {
        new.wait_until("it is synced", |new| is_synced(new, name) == Some(true));
        let secret = new.get(&objects::core("Secret", Some(&new.namespace), name)).unwrap();
        assert_eq!(secret["data"]["value"], base64::Engine::encode(&base64::engine::general_purpose::STANDARD, name));
    }
    // The stranger is sealed with until the next renewal, and would be lost with this cluster: it goes into escrow, too.
    let served = in_new(&["certificate", "--cert", &controller.certificate(), "--dry-run", "-o", "json"]).exits(0);
    assert_eq!(json_of(&served)["fingerprint"], restored["notInEscrow"][0]);
    in_new(&["escrow"]).exits(0);
    let tested = in_new(&[&["escrow", "test"][..], &shares].concat()).exits(0);
    assert!(tested.stdout.contains("3 of 3 keys open and work"), "{}", tested.stdout);
    let verified = in_new(&["verify", "--cluster", "--namespace", &new.namespace, "--controller-namespace", &new.namespace]);
    assert!(verified.exits(0).stdout.ends_with("3 of 3 items open\n"));
}
