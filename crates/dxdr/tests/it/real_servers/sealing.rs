//! `dxdr seal` with the real kubeseal and a real controller: what one seals the other opens.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_environment::{ObjectReference, ResourceKind};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{Servers, World, missing};
use crate::{
    objects,
    place::Said,
    seal::{documents, piped},
};

/// The programs and the controller of the environment; without them, says which tests did not run.
struct SealedSecrets {
    kubeseal: String,
    kubectl: String,
    /// Of the controller's own HTTP service.
    certificate: String,
    process: i32,
    /// Whether the API server reaches it.
    proxied: bool,
}

impl SealedSecrets {
    fn named() -> Option<Self> {
        let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let found = (|| {
            Some(Self {
                kubeseal: named("DXDR_TEST_KUBESEAL")?,
                kubectl: named("DXDR_TEST_KUBECTL")?,
                certificate: format!("{}/v1/cert.pem", named("DXDR_TEST_SEALED_SECRETS_URL")?),
                process: named("DXDR_TEST_SEALED_SECRETS_PROCESS")?.parse().unwrap(),
                proxied: named("DXDR_TEST_SEALED_SECRETS_NAMESPACE").is_some(),
            })
        })();
        if found.is_none() {
            missing("sealing", "no Sealed Secrets controller is named by DXDR_TEST_SEALED_SECRETS_*");
        }
        found
    }

    /// kubeseal, with something on standard input; it must succeed.
    fn kubeseal(&self, world: &World, arguments: &[&str], input: &str) -> String {
        run(world, &self.kubeseal, &[&["--kubeconfig", &world.kubeconfig][..], arguments].concat(), input)
    }

    fn apply(&self, world: &World, manifests: &str) {
        run(world, &self.kubectl, &["--kubeconfig", &world.kubeconfig, "apply", "-f", "-"], manifests);
    }

    /// The Secrets with its keys, as its documentation says to save them.
    fn keys(&self, world: &World) -> String {
        let label = "sealedsecrets.bitnami.com/sealed-secrets-key=active";
        let get = ["get", "secrets", "-n", "kube-system", "-l", label, "-o", "json"];
        run(world, &self.kubectl, &[&["--kubeconfig", &world.kubeconfig][..], &get].concat(), "")
    }

    /// Makes the controller renew its key; the older ones still open.
    fn renew(&self) {
        kill_process(Pid::from_raw(self.process).unwrap(), Signal::USR1).unwrap();
    }
}

fn run(world: &World, program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(world.place.path()).env("KUBECACHEDIR", world.place.path().join("cache"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A world with a namespace, and both ways to its controller.
fn sealing(name: &str) -> Option<(World, SealedSecrets)> {
    let (servers, sealed_secrets) = (Servers::named()?, SealedSecrets::named()?);
    let world = World::new(&servers, name);
    world.create(objects::namespace(&world.namespace));
    Some((world, sealed_secrets))
}

fn reference(world: &World, group: &str, kind: &str, plural: &str, name: &str) -> ObjectReference {
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    let kind = ResourceKind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
    };
    ObjectReference { kind, namespace: Some(world.namespace.clone()), name: name.to_owned() }
}

fn secret(world: &World, name: &str) -> Option<Value> {
    world.get(&reference(world, "", "Secret", "secrets", name))
}

/// What the controller says of a SealedSecret: whether it is synced, as of its present generation.
fn synced(world: &World, name: &str) -> Option<bool> {
    let sealed = world.get(&reference(world, "bitnami.com", "SealedSecret", "sealedsecrets", name))?;
    let status = &sealed["status"];
    if status["observedGeneration"] != sealed["metadata"]["generation"] {
        return None;
    }
    Some(status["conditions"][0]["status"] == "True")
}

/// Secrets with every kind of value, one of each scope.
fn secrets(world: &World) -> Vec<Value> {
    let large = "x".repeat(70_000);
    let data = json!({"empty": "", "binary": STANDARD.encode([0, 255, 10, 13]), "large": STANDARD.encode(large), "text": "Z3LDvMOfZQ=="});
    [("strict", None), ("in-namespace", Some("namespace-wide")), ("anywhere", Some("cluster-wide"))]
        .into_iter()
        .map(|(name, scope)| {
            let mut annotations = json!({"example.com/kept": "yes"});
            if let Some(scope) = scope {
                annotations[format!("sealedsecrets.bitnami.com/{scope}")] = "true".into();
            }
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "example.com/any",
                "metadata": {"name": name, "namespace": world.namespace, "labels": {"app": name}, "annotations": annotations},
                "data": data
            })
        })
        .collect()
}

fn seal(world: &World, arguments: &[&str], input: &str) -> Said {
    piped(&world.place, &[&["seal"][..], arguments, &["--kubeconfig", &world.kubeconfig]].concat(), input)
}

/// The same with every ciphertext taken out.
fn frame(text: &str) -> String {
    regex::Regex::new(r"A[gQY][A-Za-z0-9+/]{60,}={0,2}").unwrap().replace_all(text, "…").into_owned()
}

#[test]
fn the_controller_opens_what_is_sealed_here() {
    let Some((world, controller)) = sealing("sealed") else { return };
    let secrets = secrets(&world);
    let input: String = secrets.iter().map(|secret| format!("{secret}\n")).collect();
    let sealed = seal(&world, &["--cert", &controller.certificate, "-o", "yaml"], &input).exits(0).stdout;
    controller.apply(&world, &sealed);
    for expected in &secrets {
        let name = expected["metadata"]["name"].as_str().unwrap();
        world.wait_until("the controller opens it", |world| synced(world, name) == Some(true));
        let made = secret(&world, name).unwrap();
        assert!(made["data"] == expected["data"], "{name}");
        assert_eq!(made["type"], "example.com/any");
        assert_eq!(made["metadata"]["labels"]["app"], name);
        assert_eq!(made["metadata"]["annotations"]["example.com/kept"], "yes");
    }
    let renamed = sealed.replace("name: strict", "name: other");
    controller.apply(&world, &renamed);
    world.wait_until("the controller looks at it", |world| synced(world, "other").is_some());
    assert_eq!(synced(&world, "other"), Some(false), "strict ciphertexts are bound to their name");
}

#[test]
fn kubeseal_and_dxdr_write_the_same_and_open_each_others() {
    let Some((world, controller)) = sealing("kubeseal") else { return };
    let input: String = secrets(&world).iter().map(|secret| format!("{secret}\n")).collect();
    for format in ["json", "yaml"] {
        let flags = ["--cert", &controller.certificate, "-o", format];
        let theirs = controller.kubeseal(&world, &flags, &input);
        let ours = seal(&world, &flags, &input).exits(0).stdout;
        assert_eq!(frame(&ours), frame(&theirs), "{format}");
        // Behind what was sealed: another test makes the controller renew its key.
        world.place.write("keys.json", &controller.keys(&world));
        let unseal = ["--recovery-unseal", "--recovery-private-key", "keys.json", "-o", "json"];
        let opened = documents(&seal(&world, &unseal, &theirs).exits(0).stdout);
        assert_eq!(opened.len(), 3);
        for (ours, theirs) in documents(&ours).iter().zip(opened) {
            // One at a time: of several it opens the first.
            let mut by_kubeseal = documents(&controller.kubeseal(&world, &unseal, &ours.to_string())).remove(0);
            // It writes an empty value as none, which means the same to a server.
            assert!(by_kubeseal["data"]["empty"].is_null());
            by_kubeseal["data"]["empty"] = "".into();
            // The values are too long to print.
            assert!(by_kubeseal["data"] == theirs["data"], "{format}: {}", ours["metadata"]);
            assert_eq!(by_kubeseal["type"], theirs["type"]);
            assert_eq!(by_kubeseal["metadata"]["labels"], theirs["metadata"]["labels"]);
        }
    }
    let raw = seal(&world, &["raw", "--cert", &controller.certificate, "--scope", "cluster-wide"], "value").exits(0).stdout;
    world.place.write("keys.json", &controller.keys(&world));
    let sealed = json!({"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "metadata": {"name": "a", "annotations": {"sealedsecrets.bitnami.com/cluster-wide": "true"}}, "spec": {"encryptedData": {"k": raw}}});
    let opened = controller.kubeseal(&world, &["--recovery-unseal", "--recovery-private-key", "keys.json"], &sealed.to_string());
    assert_eq!(documents(&opened)[0]["data"]["k"], STANDARD.encode("value"));
}

#[test]
fn a_repository_is_moved_to_a_renewed_key_and_stays_synced() {
    let Some((world, controller)) = sealing("renewed") else { return };
    let secrets = secrets(&world);
    let input: String = secrets.iter().map(|secret| format!("{secret}\n")).collect();
    seal(&world, &["--cert", &controller.certificate, "-w", "apps.yaml"], &input).exits(0);
    let before = fs::read_to_string(world.place.path().join("apps.yaml")).unwrap();
    controller.apply(&world, &before);
    let old = certificate(&world, &controller);
    controller.renew();
    world.wait_until("the controller serves another certificate", |world| certificate(world, &controller) != old);
    let reencrypt =
        |flags: &[&str]| seal(&world, &[&["reencrypt", "apps.yaml", "--cert", &controller.certificate][..], flags].concat(), "");
    reencrypt(&["--check"]).exits(3);
    reencrypt(&[]).exits(0);
    let after = fs::read_to_string(world.place.path().join("apps.yaml")).unwrap();
    assert_ne!(before, after);
    assert_eq!(frame(&before), frame(&after));
    reencrypt(&["--check"]).exits(0);
    let uids: Vec<Value> = secrets
        .iter()
        .map(|expected| {
            let name = expected["metadata"]["name"].as_str().unwrap();
            world.wait_until("the controller opens it", |world| synced(world, name) == Some(true));
            secret(&world, name).unwrap()["metadata"]["resourceVersion"].clone()
        })
        .collect();
    controller.apply(&world, &after);
    for (expected, version) in secrets.iter().zip(uids) {
        let name = expected["metadata"]["name"].as_str().unwrap();
        world.wait_until("the controller opens it again", |world| synced(world, name) == Some(true));
        let made = secret(&world, name).unwrap();
        assert!(made["data"] == expected["data"], "{name}");
        assert_eq!(made["metadata"]["resourceVersion"], version, "the Secret itself is not written again");
    }
    assert!(seal(&world, &["verify", "apps.yaml"], "").exits(0).stdout.ends_with("12 of 12 items open\n"));
}

#[test]
fn live_objects_are_moved_and_stay_synced_those_of_the_deprecated_form_too() {
    let Some((world, controller)) = sealing("live") else { return };
    let mut secrets = secrets(&world);
    let input: String = secrets.iter().map(|secret| format!("{secret}\n")).collect();
    let sealed = seal(&world, &["--cert", &controller.certificate, "-o", "yaml"], &input).exits(0).stdout;
    controller.apply(&world, &sealed);
    let whole = json!({
        "kind": "Secret", "apiVersion": "v1", "metadata": {"name": "whole", "namespace": world.namespace},
        "type": "example.com/any", "data": {"text": "Z3LDvMOfZQ=="},
    });
    let pem = dxdr_sealing::SealingCertificate::from_pem(&certificate(&world, &controller)).unwrap();
    let ciphertext = pem.seal(&format!("{}/whole", world.namespace), whole.to_string().as_bytes()).unwrap().to_base64();
    let deprecated = json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "metadata": {"name": "whole", "namespace": world.namespace},
        "spec": {"data": ciphertext, "encryptedData": {}, "template": {}},
    });
    controller.apply(&world, &deprecated.to_string());
    secrets.push(whole);
    let old = certificate(&world, &controller);
    let are_synced = |world: &World| {
        for expected in &secrets {
            let name = expected["metadata"]["name"].as_str().unwrap();
            world.wait_until("the controller opens it", |world| synced(world, name) == Some(true));
            assert!(secret(world, name).unwrap()["data"] == expected["data"], "{name}");
        }
    };
    are_synced(&world);
    controller.renew();
    world.wait_until("the controller serves another certificate", |world| certificate(world, &controller) != old);
    let live = ["--cluster", "--namespace", &world.namespace];
    let reencrypt =
        |flags: &[&str]| seal(&world, &[&["reencrypt", "--cert", &controller.certificate][..], &live, flags].concat(), "");
    let before = world.get(&reference(&world, "bitnami.com", "SealedSecret", "sealedsecrets", "strict")).unwrap();
    let said = reencrypt(&["--yes"]).exits(0);
    assert!(said.stdout.contains("13 moved to it in 4 SealedSecrets"), "{}", said.stdout);
    are_synced(&world);
    let after = world.get(&reference(&world, "bitnami.com", "SealedSecret", "sealedsecrets", "strict")).unwrap();
    assert_ne!(before["spec"]["encryptedData"], after["spec"]["encryptedData"]);
    assert_eq!(before["spec"]["template"], after["spec"]["template"]);
    assert!(reencrypt(&["--check"]).exits(0).stdout.contains("13 items under"));
    let verified = seal(&world, &[&["verify"][..], &live].concat(), "").exits(0);
    assert!(verified.stdout.ends_with("13 of 13 items open\n"), "{}", verified.stdout);
}

#[test]
fn the_controller_is_asked_through_the_api_server() {
    let Some((world, controller)) = sealing("asked") else { return };
    if !controller.proxied {
        missing("sealing-proxy", "the API server does not reach the controller");
        return;
    }
    let said = seal(&world, &["certificate"], "").exits(0);
    assert!(said.stdout.contains("pinned in"), "{}", said.stdout);
    let secret = secrets(&world).remove(0).to_string();
    let sealed = seal(&world, &[], &secret).exits(0);
    assert_eq!(sealed.stderr, "", "the pinned certificate is sealed with");
    // Twice the burst that a controller takes by default.
    seal(&world, &["--validate"], &sealed.stdout.repeat(4)).exits(0);
    let moved = sealed.stdout.replace(&world.namespace, "elsewhere");
    assert!(seal(&world, &["--validate"], &moved).refuses(4).stderr.contains("the controller cannot open it"));
    let fetched = seal(&world, &["--fetch-cert"], "").exits(0).stdout;
    assert_eq!(fetched.trim(), controller.kubeseal(&world, &["--fetch-cert"], "").trim());
    let nobody = seal(&world, &["certificate", "--controller-name", "nobody"], "").refuses(7);
    assert!(nobody.stderr.contains("there is no Service nobody in namespace kube-system"), "{}", nobody.stderr);
}

/// What the controller seals with now.
fn certificate(world: &World, controller: &SealedSecrets) -> String {
    seal(world, &["--fetch-cert", "--cert", &controller.certificate], "").exits(0).stdout
}
