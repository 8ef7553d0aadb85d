//! Keys that are kept apart from the cluster: escrow, renewal and the way back, against the sandbox.

use age::{secrecy::ExposeSecret as _, x25519::Identity};
use serde_json::{Value, json};

use super::{each_file, *};
use crate::{objects, served::Served};

/// Writes an identity to a file, and answers its public key.
pub(super) fn identity(served: &Served, file: &str) -> String {
    let identity = Identity::generate();
    served.place.write(file, identity.to_string().expose_secret());
    identity.to_public().to_string()
}

fn declare(served: &Served, recipients: &[&str]) {
    let recipients = recipients.join(", ");
    served.place.write(
        "policies/sealing.yaml",
        &format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: sealed}}\nspec: {{namespace: sealed, tier: non-production, sealing: {{controller: {{namespace: seals, name: sealed-secrets}}}}}}\n---\nkind: SealingPolicy\nmetadata: {{name: default}}\nspec: {{environments: [sealed], escrow: {{recipients: [{recipients}], store: primary}}}}\n"
        ),
    );
}

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap()
}

/// A served sandbox with the namespace of a controller that is not there, and an identity.
fn served() -> Served {
    let served = Served::new();
    served.create(objects::namespace("seals"));
    let recipient = identity(&served, "identity.txt");
    declare(&served, &[&recipient]);
    served
}

/// Renews the key, and answers its Secret's name.
fn renewed(served: &Served) -> String {
    let said = served.run(&["seal", "rotate", "--yes", "-o", "json"]).exits(3);
    assert!(said.stderr.contains("kubectl rollout restart deployment sealed-secrets --namespace seals"), "{}", said.stderr);
    json_of(&said)["secret"]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_key_is_in_escrow_before_the_cluster_has_it() {
    let served = served();
    assert_eq!(json_of(&served.run(&["seal", "rotate", "--dry-run", "-o", "json"]).exits(0))["dryRun"], true);
    assert_eq!(json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0))["keys"], json!([]));
    assert!(served.run(&["seal", "rotate"]).refuses(4).stderr.contains("nobody is there to consent"));
    let name = renewed(&served);
    let keys = json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0));
    assert_eq!((&keys["keys"][0]["secret"], &keys["keys"][0]["state"]), (&json!(name), &json!("sealing")));
    assert_eq!(keys["keys"][0]["escrow"]["asThePolicySays"], true);
    assert_eq!(keys["keys"][0]["escrow"]["proved"], Value::Null);
    assert!(served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0).stdout.contains("1 of 1 key open"));
    assert!(json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0))["keys"][0]["escrow"]["proved"].is_string());
    // What is in the store opens with the identity, and is in clear nowhere.
    let secret = served.get(&objects::core("Secret", Some("seals"), &name)).unwrap();
    let private = STANDARD.decode(secret["data"]["tls.key"].as_str().unwrap()).unwrap();
    let line = String::from_utf8(private).unwrap().lines().nth(5).unwrap().to_owned();
    let mut files = 0;
    each_file(&served.place.path().join("store"), &mut |path, bytes| {
        files += 1;
        assert!(!bytes.windows(line.len()).any(|window| window == line.as_bytes()), "{}", path.display());
    });
    assert_eq!(files, 3, "the file, its entry, and the proof");
}

#[test]
fn a_new_key_is_the_newest_whatever_the_clocks_say() {
    let served = served();
    // Somebody's clock is ahead, or was: what that key's certificate says is later than now, as it is in the second in which it is made.
    let ahead = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(1)).unwrap();
    let first = dxdr_sealing::KeySecret::generate(ahead).unwrap();
    let (name, secret) = (first.name.clone().unwrap(), serde_json::from_str::<Value>(&first.to_secret("seals")).unwrap());
    served.create((objects::core("Secret", Some("seals"), &name), secret));
    let names = [name, renewed(&served), renewed(&served)];
    let keys = names.each_ref().map(|name| {
        let secret = served.get(&objects::core("Secret", Some("seals"), name)).unwrap();
        dxdr_sealing::KeySecret::read(&secret).unwrap()
    });
    // A controller orders its keys by the one or the other, both of whole seconds.
    assert!(keys.is_sorted_by(|one, next| one.certificate().not_before() < next.certificate().not_before()));
    assert!(keys.is_sorted_by(|one, next| one.created.unwrap() < next.created.unwrap()));
    let listed = json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0));
    assert_eq!((&listed["keys"][0]["secret"], &listed["keys"][0]["state"]), (&json!(names[2]), &json!("sealing")));
}

#[test]
fn the_store_and_an_identity_alone_open_what_was_sealed() {
    let served = served();
    let name = renewed(&served);
    let secret = served.get(&objects::core("Secret", Some("seals"), &name)).unwrap();
    let certificate = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap()).unwrap();
    served.place.write("newest.pem", &String::from_utf8(certificate).unwrap());
    piped(&served.place, &["seal", "--cert", "newest.pem", "-w", "db.yaml"], SECRET).exits(0);
    // No cluster is left.
    served.place.write("kubeconfig", "apiVersion: v1\nkind: Config\n");
    let verify = |flags: &[&str]| served.run(&[&["seal", "verify", "db.yaml"][..], flags].concat());
    assert!(verify(&["--identity", "identity.txt"]).exits(0).stdout.ends_with("2 of 2 items open\n"));
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0);
    identity(&served, "stranger.txt");
    assert!(verify(&["--identity", "stranger.txt"]).refuses(4).stderr.contains("cannot be taken out of escrow"));
}

#[test]
fn a_key_that_is_no_key_is_named_and_nothing_else_is_kept_back() {
    let served = served();
    let name = renewed(&served);
    let mut broken = served.get(&objects::core("Secret", Some("seals"), &name)).unwrap();
    broken["metadata"] = json!({"name": "broken", "namespace": "seals", "labels": broken["metadata"]["labels"]});
    broken["data"]["tls.crt"] = STANDARD.encode(&Key::first().certificate).into();
    served.create((objects::core("Secret", Some("seals"), "broken"), broken));
    let said = served.run(&["seal", "escrow"]).exits(0);
    assert!(said.stderr.contains("Secret seals/broken: its certificate is of another key"), "{}", said.stderr);
    assert!(said.stdout.contains("is in escrow"));
}

#[test]
fn other_recipients_take_the_key_or_an_identity() {
    let served = served();
    let name = renewed(&served);
    let second = identity(&served, "second.txt");
    declare(&served, &[&second]);
    assert!(served.run(&["seal", "keys"]).exits(0).stderr.contains("1 key not in escrow as the policy says"));
    let escrow = |flags: &[&str]| served.run(&[&["seal", "escrow"][..], flags].concat());
    assert_eq!(json_of(&escrow(&["--dry-run", "-o", "json"]).exits(0))["keys"][0]["state"], "missing");
    served.delete(&objects::core("Secret", Some("seals"), &name));
    let said = escrow(&[]).exits(3);
    assert!(said.stderr.contains("`--identity FILE`"), "{}", said.stderr);
    assert!(escrow(&["--identity", "second.txt"]).refuses(4).stderr.contains("cannot be taken out of escrow"));
    assert!(escrow(&["--identity", "identity.txt"]).exits(0).stdout.contains("encrypted anew"));
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(9);
    served.run(&["seal", "escrow", "test", "--identity", "second.txt"]).exits(0);
    let planned = json_of(&served.run(&["seal", "restore-keys", "--identity", "second.txt", "--dry-run", "-o", "json"]).exits(0));
    assert_eq!((planned["restored"].as_array().unwrap().len(), &planned["dryRun"]), (1, &json!(true)));
    assert!(
        served
            .run(&["seal", "restore-keys", "--identity", "second.txt", "--yes"])
            .exits(0)
            .stdout
            .contains("1 key written; now start the controller")
    );
    assert_eq!(served.get(&objects::core("Secret", Some("seals"), &name)).unwrap()["type"], "kubernetes.io/tls");
}

#[test]
fn what_cannot_be_brought_back_is_said() {
    let served = served();
    assert!(
        served
            .run(&["seal", "restore-keys", "--identity", "identity.txt", "--yes"])
            .refuses(5)
            .stderr
            .contains("no key in escrow")
    );
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).refuses(4);
    renewed(&served);
    served.place.write("no.txt", "nothing\n");
    assert!(served.run(&["seal", "restore-keys", "--identity", "no.txt"]).refuses(8).stderr.contains("no identity of age"));
    let damage = |of: Option<&Path>| {
        let mut files = Vec::new();
        each_file(&served.place.path().join("store"), &mut |path, _| {
            if path.extension().is_some_and(|extension| extension == "age") && of.is_none_or(|of| path.starts_with(of)) {
                files.push(path.to_owned());
            }
        });
        for file in &files {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }
        files[0].parent().unwrap().to_owned()
    };
    let first = damage(None);
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(9);
    let said = served.run(&["seal", "restore-keys", "--identity", "identity.txt", "--yes"]).refuses(9);
    assert!(said.stderr.contains("is not what was written"), "{}", said.stderr);
    // Renewal puts there again what the cluster still has. Of what is damaged for good, the others come back all the same.
    let name = renewed(&served);
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0);
    damage(Some(&first));
    served.delete(&objects::core("Secret", Some("seals"), &name));
    let said = served.run(&["seal", "restore-keys", "--identity", "identity.txt", "--yes"]).exits(3);
    assert!(
        said.stderr.contains("1 key could not be brought back") || said.stderr.contains("each is named above"),
        "{}",
        said.stderr
    );
    assert!(served.get(&objects::core("Secret", Some("seals"), &name)).is_some());
}

#[test]
fn a_policy_that_leads_nowhere_is_said() {
    let served = Served::new();
    assert!(served.run(&["seal", "keys"]).refuses(8).stderr.contains("the manifests have no SealingPolicy"));
    // The example's recipient is nobody's.
    declare(&served, &["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudwmqfnsh2vunu"]);
    assert!(served.run(&["seal", "escrow"]).refuses(8).stderr.contains("recipient 1 of the escrow is no public key"));
    assert!(served.run(&["seal", "keys", "--policy", "other"]).refuses(8).stderr.contains("there is no SealingPolicy `other`"));
}

/// Removes the files of the escrow, and leaves the entries that describe them.
fn lose_files(served: &Served) {
    let mut files = Vec::new();
    each_file(&served.place.path().join("store"), &mut |path, _| {
        if path.extension().is_some_and(|extension| extension == "age") {
            files.push(path.to_owned());
        }
    });
    assert!(!files.is_empty());
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[test]
fn a_key_whose_file_is_gone_is_in_escrow_no_more() {
    let served = served();
    let name = renewed(&served);
    lose_files(&served);
    assert!(served.run(&["seal", "keys"]).exits(0).stderr.contains("1 key not in escrow as the policy says"));
    assert!(served.run(&["seal", "escrow"]).exits(0).stdout.contains("was put into escrow"));
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0);
    lose_files(&served);
    served.delete(&objects::core("Secret", Some("seals"), &name));
    let said = served.run(&["seal", "escrow"]).exits(3);
    assert!(said.stdout.contains("is gone: its file in escrow is missing or damaged"), "{}", said.stdout);
}

#[test]
fn a_key_comes_back_where_something_else_has_its_name() {
    let served = served();
    let names = [renewed(&served), renewed(&served)];
    let reference = |name: &str| objects::core("Secret", Some("seals"), name);
    names.iter().for_each(|name| served.delete(&reference(name)));
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": names[0], "namespace": "seals"}, "data": {"a": "YQ=="}});
    served.create((reference(&names[0]), other));
    let said = served.run(&["seal", "restore-keys", "--identity", "identity.txt", "--yes"]).exits(0);
    assert!(said.stderr.contains(&format!("Secret {} is something else there", names[0])), "{}", said.stderr);
    assert_eq!(served.get(&reference(&names[0])).unwrap()["data"], json!({"a": "YQ=="}));
    let keys = json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0))["keys"].clone();
    let states: Vec<&str> = keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!((states, &keys[0]["secret"]), (vec!["sealing", "active"], &json!(names[1])));
    let created =
        |key: &Value| dxdr_sealing::key_secret::created(&served.get(&reference(key["secret"].as_str().unwrap())).unwrap());
    assert!(created(&keys[1]) < created(&keys[0]), "the newest was made last");
}

/// A Deployment of the controller with one pod, which was started then.
fn controller(served: &Served, started: &str) {
    let labels = json!({"name": "sealed-secrets"});
    let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "controller", "image": "controller"}]}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sealed-secrets", "namespace": "seals"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    });
    served.create((deployment_reference(), deployment));
    served.set_status(&deployment_reference(), &json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}));
    let mut running = pod;
    running["apiVersion"] = "v1".into();
    running["kind"] = "Pod".into();
    running["metadata"]["name"] = "sealed-secrets-1".into();
    running["metadata"]["namespace"] = "seals".into();
    served.create((objects::core("Pod", Some("seals"), "sealed-secrets-1"), running));
    is_started(served, started);
}

fn is_started(served: &Served, at: &str) {
    let container = json!({"name": "controller", "state": {"running": {"startedAt": at}}});
    served.set_status(&objects::core("Pod", Some("seals"), "sealed-secrets-1"), &json!({"containerStatuses": [container]}));
}

fn deployment_reference() -> dxdr_environment::ObjectReference {
    objects::reference("apps", "v1", "Deployment", "deployments", Some("seals"), "sealed-secrets")
}

#[test]
fn keys_that_are_there_are_loaded_only_by_a_controller_that_started_behind_them() {
    let served = served();
    let name = renewed(&served);
    // As a run leaves it that died between writing the keys and restarting the controller.
    controller(&served, "2024-05-01T10:00:00Z");
    let restore = ["seal", "restore-keys", "--identity", "identity.txt"];
    assert!(served.run(&restore).refuses(4).stderr.contains("nobody is there to consent"));
    let restarted = || served.get(&deployment_reference()).unwrap()["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(restarted(), Value::Null);
    let restore = [&restore[..], &["--yes", "-o", "json"]].concat();
    let said = json_of(&served.run(&restore).exits(0));
    assert_eq!((&said["restored"], &said["controllerLoaded"]), (&json!([]), &json!(true)));
    assert!(restarted()["dxdr.io/restarted-at"].is_string(), "it was restarted");
    let before = restarted();

    is_started(&served, "2099-01-01T00:00:00Z");
    let said = served.run(&["seal", "restore-keys", "--identity", "identity.txt", "--yes"]).exits(0);
    assert!(said.stdout.contains("the controller has loaded them"), "{}", said.stdout);
    assert_eq!(restarted(), before, "it was left alone");

    // A key without its label is there, and opens nothing.
    served.change(&objects::core("Secret", Some("seals"), &name), |secret| {
        secret["metadata"]["labels"]["sealedsecrets.bitnami.com/sealed-secrets-key"] = "compromised".into();
    });
    let said = served.run(&restore).exits(0);
    assert!(said.stderr.contains(&format!("kubectl label secret {name} --namespace seals --overwrite")), "{}", said.stderr);
    assert_eq!(json_of(&said)["notLoaded"], json_of(&said)["presentBefore"]);
}

#[test]
fn an_escrow_of_several_clusters_says_so() {
    let served = served();
    renewed(&served);
    let kubeconfig = read(&served.place, "kubeconfig");
    served.place.write("kubeconfig", &kubeconfig.replace("sandbox", "another"));
    renewed(&served);
    let said = served.run(&["seal", "restore-keys", "--identity", "identity.txt", "--dry-run", "-o", "json"]).exits(0);
    assert!(said.stderr.contains("The escrow holds keys of 2 clusters: "), "{}", said.stderr);
    assert_eq!(json_of(&said)["clusters"].as_object().unwrap().len(), 2);
}
