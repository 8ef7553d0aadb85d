//! Sealing keys as part of recovery points: which ones a point needs, and what is only left out because they are in escrow.

use serde_json::{Value, json};

use super::*;
use crate::{objects, served::Served};

/// A served sandbox with the environment `sealed`, its SealingPolicy, and one key whose Secret the controller made.
fn served(required: bool) -> Served {
    let served = Served::new();
    for namespace in ["seals", "sealed"] {
        served.create(objects::namespace(namespace));
    }
    let recipient = super::apart::identity(&served, "identity.txt");
    served.place.write(
        "policies/sealing.yaml",
        &format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: sealed}}\nspec: {{namespace: sealed, tier: non-production, sealing: {{controller: {{namespace: seals, name: sealed-secrets}}}}}}\n---\napiVersion: dxdr.io/v1alpha1\nkind: SealingPolicy\nmetadata: {{name: default}}\nspec: {{environments: [sealed], escrow: {{recipients: [{recipient}], store: primary, required: {required}}}}}\n---\napiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: sealed}}\nspec: {{environments: [sealed], objectives: {{dataLoss: 26h, recoveryTime: 1h}}, schedule: {{cron: '17 3 * * *', timeZone: UTC}}, engine: native, store: primary, secrets: {{sealedOnly: true}}}}\n"
        ),
    );
    served.create(definition());
    write_keys(&served.place);
    give(&served, "sealed-secrets-keyabcde", Key::first());
    served
}

/// Gives the controller a key.
fn give(served: &Served, name: &str, key: &Key) {
    let (private, certificate) = (STANDARD.encode(&key.private), STANDARD.encode(&key.certificate));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "seals", "labels": {"sealedsecrets.bitnami.com/sealed-secrets-key": "active"}},
        "data": {"tls.key": private, "tls.crt": certificate},
    });
    served.create((objects::core("Secret", Some("seals"), name), secret));
}

/// SealedSecrets, as far as a sandbox needs to know of them.
pub(super) fn definition() -> (dxdr_environment::ObjectReference, Value) {
    let name = "sealedsecrets.bitnami.com";
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {
            "group": "bitnami.com", "scope": "Namespaced",
            "names": {"kind": "SealedSecret", "listKind": "SealedSecretList", "plural": "sealedsecrets", "singular": "sealedsecret"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    });
    (
        objects::reference("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", None, name),
        object,
    )
}

/// A SealedSecret under a key, and the Secret that its controller made of it, with other values where `stale` says so.
fn sealed(served: &Served, name: &str, certificate: &str, stale: bool) {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: sealed}}\nstringData: {{password: {MARKER}, user: shop}}\n"
    );
    let printed = piped(&served.place, &["seal", "--cert", certificate], &text).exits(0).stdout;
    served.create((sealed_reference(name), documents(&printed)[0].clone()));
    let uid = served.get(&sealed_reference(name)).unwrap()["metadata"]["uid"].clone();
    let password = if stale { "changed by hand" } else { MARKER };
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "namespace": "sealed", "ownerReferences": [
            {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "name": name, "uid": uid, "controller": true},
        ]},
        "data": {"password": STANDARD.encode(password), "user": STANDARD.encode("shop")},
    });
    served.create((objects::core("Secret", Some("sealed"), name), secret));
}

fn sealed_reference(name: &str) -> dxdr_environment::ObjectReference {
    let mut reference = objects::core("SealedSecret", Some("sealed"), name);
    reference.kind.group = "bitnami.com".to_owned();
    reference.kind.version = "v1alpha1".to_owned();
    reference
}

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap()
}

fn keys_of(point: &Value) -> Value {
    let components = point["components"].as_array().unwrap();
    components.iter().find(|component| component["kind"] == "keys").map(|keys| keys["fingerprints"].clone()).unwrap()
}

#[test]
fn a_point_names_the_keys_it_needs_and_leaves_out_only_what_they_make_again() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    sealed(&served, "stale", "first.pem", true);
    let planned = served.run(&["backup", "now", "sealed", "--dry-run", "-o", "json"]).exits(0);
    assert_eq!(json_of(&planned)["plainSecrets"]["names"], json!(["stale"]));
    assert!(planned.stderr.contains("would be put into escrow in primary"), "{}", planned.stderr);
    assert_eq!(json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0))["keys"][0]["escrow"], Value::Null);

    let taken = served.run(&["backup", "now", "sealed", "-o", "json"]).exits(0);
    assert!(taken.stderr.contains("was put into escrow in primary"), "{}", taken.stderr);
    let keys = json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0));
    assert_eq!(keys_of(&json_of(&taken)), json!([keys["keys"][0]["fingerprint"]]));
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0);
    let again = served.run(&["backup", "now", "sealed", "-o", "json"]).exits(0);
    assert!(!again.stderr.contains("put into escrow"), "{}", again.stderr);

    // The way back: into a cluster that lost its keys, and into one that has them.
    let at = json_of(&again)["instant"].as_str().unwrap().to_owned();
    let restore = |flags: &[&str]| served.run(&[&["restore", "sealed", "--at", &at, "--in-place"][..], flags].concat());
    assert!(!restore(&["--dry-run"]).exits(0).stdout.contains("lacks sealing keys"));
    served.delete(&objects::core("Secret", Some("seals"), "sealed-secrets-keyabcde"));
    let said = restore(&["--dry-run"]).exits(0);
    assert!(said.stdout.contains("lacks sealing keys that open its SealedSecrets: SHA256:"), "{}", said.stdout);
    assert!(said.stdout.contains("dxdr seal restore-keys --identity FILE"), "{}", said.stdout);

    // With no cluster left that knows the keys, the escrow opens what the point has.
    let point = json_of(&again)["name"].as_str().unwrap().to_owned();
    let verified = served.run(&["seal", "verify", "--point", &point, "--identity", "identity.txt", "-o", "json"]).exits(0);
    assert_eq!((&json_of(&verified)["items"].as_array().unwrap().len(), &json_of(&verified)["unopened"]), (&4, &json!(0)));
    super::apart::identity(&served, "stranger.txt");
    served.run(&["seal", "verify", "--point", &point, "--identity", "stranger.txt"]).refuses(4);
}

#[test]
fn a_key_that_is_kept_for_others_than_the_policy_names_is_put_into_escrow_again() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    served.run(&["backup", "now", "sealed"]).exits(0);
    let before = read(&served.place, "identity.txt");
    let recipient = super::apart::identity(&served, "second.txt");
    let policy = read(&served.place, "policies/sealing.yaml");
    let (front, behind) = policy.split_once("recipients: [").unwrap();
    let behind = behind.split_once(']').unwrap().1;
    served.place.write("policies/sealing.yaml", &format!("{front}recipients: [{recipient}]{behind}"));
    assert_ne!(before, read(&served.place, "second.txt"));
    let taken = served.run(&["backup", "now", "sealed"]).exits(0);
    assert!(taken.stderr.contains("was put into escrow in primary"), "{}", taken.stderr);
    served.run(&["seal", "escrow", "test", "--identity", "second.txt"]).exits(0);
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(9);
}

#[test]
fn keys_are_found_as_the_controller_finds_them() {
    let served = served(true);
    let deployment = |flags: &[&str]| {
        let reference = objects::reference("apps", "v1", "Deployment", "deployments", Some("seals"), "sealed-secrets");
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "sealed-secrets", "namespace": "seals"},
            "spec": {
                "replicas": 0, "selector": {"matchLabels": {"app": "seals"}},
                "template": {
                    "metadata": {"labels": {"app": "seals"}},
                    "spec": {"containers": [{"name": "controller", "image": "controller", "args": flags}]},
                },
            },
        });
        if served.get(&reference).is_some() {
            served.delete(&reference);
        }
        served.create((reference, object));
    };
    // Made later, with an earlier certificate, by a name alone; and one that the controller must not load any more.
    let early = Key::made((2025, 6), (2046, 1));
    give(&served, "seals-key", &early);
    served.change(&objects::core("Secret", Some("seals"), "seals-key"), |secret| secret["metadata"]["labels"] = json!({}));
    give(&served, "sealed-secrets-keyfghij", Key::second());
    served.change(&objects::core("Secret", Some("seals"), "sealed-secrets-keyfghij"), |secret| {
        secret["metadata"]["labels"] = json!({"sealedsecrets.bitnami.com/sealed-secrets-key": "compromised"});
    });
    let states = || {
        let keys = json_of(&served.run(&["seal", "keys", "-o", "json"]).exits(0));
        let keys = keys["keys"].as_array().unwrap().clone();
        let text = |key: &Value, field: &str| key[field].as_str().unwrap_or_default().to_owned();
        keys.iter().map(|key| (text(key, "secret"), text(key, "state"))).collect::<std::collections::BTreeMap<_, _>>()
    };
    let of = |secret: &str, state: &str| (secret.to_owned(), state.to_owned());
    let compromised = of("sealed-secrets-keyfghij", "compromised");
    deployment(&["--key-renew-period=0"]);
    assert_eq!(states(), [of("sealed-secrets-keyabcde", "sealing"), compromised.clone()].into());
    deployment(&["--key-renew-period=0", "--key-prefix", "seals-key"]);
    let both = [of("sealed-secrets-keyabcde", "sealing"), of("seals-key", "active"), compromised.clone()];
    assert_eq!(states(), both.into());

    // Ordered by its Secrets, the controller seals with the one that was made last, and everything moves there.
    deployment(&["--key-prefix=seals-key", "--key-order-priority=SecretCreationTimestamp"]);
    served.delete(&objects::core("Secret", Some("seals"), "seals-key"));
    // Servers write down seconds.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    give(&served, "seals-key", &early);
    let both = [of("sealed-secrets-keyabcde", "active"), of("seals-key", "sealing"), compromised];
    assert_eq!(states(), both.into());
    served.place.write("early.pem", &early.certificate);
    sealed(&served, "db", "first.pem", false);
    let flags = ["seal", "reencrypt", "--cluster", "--controller-namespace", "seals", "--yes", "-o", "json"];
    let reencrypt =
        |certificate: &str| served.run(&[&flags[..], &["--controller-name", "sealed-secrets", "--cert", certificate]].concat());
    assert!(reencrypt("first.pem").exits(4).stderr.contains("is newer"));
    assert_eq!(json_of(&reencrypt("early.pem").exits(0))["counts"]["reencrypted"], 2);

    // Whoever renews by hand is told of a controller that does so, too.
    let said = served.run(&["seal", "rotate", "--yes"]).exits(0);
    assert!(said.stderr.contains("the controller makes keys by itself, too"), "{}", said.stderr);
    deployment(&["--key-renew-period=0"]);
    let said = served.run(&["seal", "rotate", "--yes"]).exits(0);
    assert!(!said.stderr.contains("makes keys by itself"), "{}", said.stderr);
}

/// What nobody may find: the values of SealedSecrets, and the private keys that open them.
#[test]
fn what_goes_through_the_cluster_and_the_store_leaves_no_value_and_no_key_behind() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    sealed(&served, "same", "first.pem", false);
    let private: Vec<String> = [Key::first(), Key::second()]
        .iter()
        .flat_map(|key| {
            let lines: Vec<&str> = key.private.lines().collect();
            // A line of each, as it is and as Secrets have it, whatever its place in the text.
            let encoded = STANDARD.encode(&key.private);
            [lines[3].to_owned(), encoded[100..160].to_owned()]
        })
        .collect();
    let mut said = String::new();
    let mut run = |code: i32, arguments: &[&str]| {
        let output = served.run(&[arguments, &["-vv"]].concat()).exits(code);
        said.push_str(&output.stdout);
        said.push_str(&output.stderr);
        output.stdout
    };
    let point = run(0, &["backup", "now", "sealed"]).trim().to_owned();
    run(0, &["backup", "now", "sealed", "--dry-run", "-o", "json"]);
    run(0, &["points", "sealed", "-o", "json"]);
    run(0, &["seal", "keys"]);
    run(0, &["seal", "escrow"]);
    give(&served, "sealed-secrets-keyfghij", Key::second());
    let at = ["--controller-namespace", "seals"];
    run(0, &[&["seal", "verify", "--cluster", "-o", "json"][..], &at].concat());
    run(0, &["seal", "verify", "--point", &point, "--identity", "identity.txt"]);
    run(0, &[&["seal", "reencrypt", "--cluster", "--cert", "second.pem", "--yes"][..], &at].concat());
    run(0, &["backup", "now", "sealed"]);
    let first = dxdr_sealing::OpeningKey::from_pem(&Key::first().private).unwrap().fingerprint().to_string();
    run(4, &["seal", "retire", &first, "--yes"]);
    run(0, &["restore", "sealed", "--point", &point, "--in-place", "--dry-run", "-o", "json"]);
    run(0, &["restore", "sealed", "--point", &point, "--in-place", "--yes"]);

    let secrets: Vec<String> = [MARKER.to_owned(), STANDARD.encode(MARKER)].into_iter().chain(private).collect();
    for secret in &secrets {
        assert!(!said.contains(secret.as_str()), "{said}");
    }
    let keys = ["first.key", "second.key", "keys.yaml"];
    let mut archives = 0;
    each_file(served.place.path(), &mut |path, bytes| {
        if keys.iter().any(|key| path.ends_with(key)) {
            return;
        }
        let mut content = bytes.to_vec();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            archives += 1;
            content.clear();
            std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes), &mut content).unwrap();
        }
        for secret in &secrets {
            let holds = content.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds, "{} holds {}", path.display(), &secret[..8]);
        }
    });
    assert!(archives > 0, "nothing was looked into");
}

#[test]
fn a_point_whose_keys_nobody_keeps_is_partial() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    sealed(&served, "lost", "second.pem", false);
    let taken = served.run(&["backup", "now", "sealed"]).exits(3);
    assert!(taken.stderr.contains("no key of the cluster opens SealedSecret sealed/lost (password, user)"), "{}", taken.stderr);

    // No key that could be had: what it made is kept, and the point says so.
    served.delete(&objects::core("Secret", Some("seals"), "sealed-secrets-keyabcde"));
    let planned = served.run(&["backup", "now", "sealed", "--dry-run", "-o", "json"]).exits(0);
    assert_eq!(json_of(&planned)["plainSecrets"]["names"], json!(["db", "lost"]));
    served.run(&["backup", "now", "sealed"]).exits(3);
}

#[test]
fn without_recipients_who_can_open_it_a_key_stays_where_it_is() {
    let served = served(false);
    sealed(&served, "db", "first.pem", false);
    let policy = read(&served.place, "policies/sealing.yaml");
    let (before, after) = policy.split_once("age1").unwrap();
    let nobody = "ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudwmqfnsh2vunu";
    served.place.write("policies/sealing.yaml", &format!("{before}age1{nobody}{}", &after[58..]));
    let taken = served.run(&["backup", "now", "sealed", "-o", "json"]).exits(0);
    assert!(taken.stderr.contains("is not in escrow"), "{}", taken.stderr);
    assert_eq!(keys_of(&json_of(&taken)).as_array().unwrap().len(), 1);
    let planned = served.run(&["backup", "now", "sealed", "--dry-run", "-o", "json"]).exits(0);
    assert_eq!(
        json_of(&planned)["plainSecrets"]["names"],
        json!(["db"]),
        "nothing is left out that only this cluster makes again"
    );
}

#[test]
fn live_objects_move_to_the_newest_key_and_the_old_one_goes_when_nothing_needs_it() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    served.place.write("stranger.pem", &Key::made((2026, 3), (2046, 1)).certificate);
    sealed(&served, "lost", "stranger.pem", false);
    let point = served.run(&["backup", "now", "sealed"]).exits(3).stdout.trim().to_owned();
    give(&served, "sealed-secrets-keyfghij", Key::second());
    let seal = |flags: &[&str]| served.run(&[&["seal"][..], flags].concat());
    let at = ["--controller-namespace", "seals"];
    let verified = |flags: &[&str]| json_of(&seal(&[&["verify", "-o", "json"], flags, &at].concat()).exits(3));
    let by_key = |document: &Value| {
        document["keys"].as_array().unwrap().iter().map(|key| key["items"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let live = verified(&["--cluster"]);
    assert_eq!((live["source"].as_str(), live["unopened"].as_u64()), (Some("cluster"), Some(2)));
    let archived = verified(&["--point", &point]);
    assert_eq!((archived["items"].clone(), by_key(&archived)), (live["items"].clone(), by_key(&live)));
    seal(&[&["verify", "--point", "nobody"][..], &at].concat()).refuses(5);
    assert!(seal(&["verify"]).refuses(2).stderr.contains("no file and no folder is named"));
    seal(&["verify", ".", "--cluster"]).exits(2);

    // A new key opens nothing yet; what opens moves, what does not stays, and both is said.
    let before = served.get(&sealed_reference("db")).unwrap();
    let reencrypt =
        |flags: &[&str]| seal(&[&["reencrypt", "--cluster", "--cert", "second.pem", "-o", "json"], flags, &at].concat());
    assert_eq!(json_of(&reencrypt(&["--dry-run"]).exits(3))["counts"]["old"], 2);
    reencrypt(&[]).exits(4);
    assert_eq!(served.get(&sealed_reference("db")).unwrap(), before, "nothing was written before somebody consents");
    let moved = json_of(&reencrypt(&["--yes"]).exits(3));
    assert_eq!((&moved["changed"], &moved["counts"]["reencrypted"]), (&json!(["sealed/db"]), &json!(2)));
    let after = served.get(&sealed_reference("db")).unwrap();
    let item = after["spec"]["encryptedData"]["password"].as_str().unwrap();
    assert_eq!(Key::second().opens("sealed/db", item).unwrap(), MARKER.as_bytes());
    assert_eq!(after["spec"]["template"], before["spec"]["template"]);
    assert_eq!(json_of(&reencrypt(&["--yes"]).exits(3))["counts"]["current"], 2);

    // The old key is in no live object any more; the point still needs it.
    let [first, second] = [Key::first(), Key::second()]
        .map(|key| dxdr_sealing::OpeningKey::from_pem(&key.private).unwrap().fingerprint().to_string());
    let retire = |key: &str, flags: &[&str]| seal(&[&["retire", key, "-o", "json"], flags].concat());
    assert!(retire(&second, &["--yes"]).exits(4).stderr.contains("is what the controller seals with"));
    assert!(retire("SHA256:nobody", &["--yes"]).exits(8).stderr.contains("has no sealing key"));
    let needed = retire(&first, &["--yes"]).exits(4);
    assert_eq!(json_of(&needed)["neededBy"], json!([format!("recovery point {point} of sealed")]));
    fs::remove_dir_all(served.place.path().join("store/backups")).unwrap();
    // Whoever seals in this repository is given the old certificate still.
    served.place.write(".dxdr/sealing-certificate.pem", &Key::first().certificate);
    let needed = json_of(&retire(&first, &["--yes"]).exits(4));
    assert!(needed["neededBy"][0].as_str().unwrap().ends_with("people go on sealing with it while it is pinned"), "{needed}");
    served.place.write(".dxdr/sealing-certificate.pem", &Key::second().certificate);
    piped(&served.place, &["seal", "--cert", "first.pem", "-w", "db.yaml"], SECRET).exits(0);
    let needed = json_of(&retire(&first, &["db.yaml", "--yes"]).exits(4));
    assert_eq!(needed["neededBy"][0], json!("db.yaml:9: password of staging/db"), "{needed}");
    // Sealed for a namespace that only whoever applies the file names.
    let sealed = fs::read_to_string(served.place.path().join("db.yaml")).unwrap();
    let unbound: String = sealed.split_inclusive('\n').filter(|line| !line.contains("namespace: staging")).collect();
    assert_ne!(unbound, sealed);
    served.place.write("unbound.yaml", &unbound);
    let said = retire(&first, &["unbound.yaml", "--yes"]).exits(8);
    assert!(said.stderr.contains("names no namespace, and may need the key"), "{}", said.stderr);
    retire(&first, &["--dry-run"]).exits(0);
    let name = objects::core("Secret", Some("seals"), "sealed-secrets-keyabcde");
    assert!(served.get(&name).is_some());
    let beginning = &first[..20];
    let gone = retire(beginning, &["--yes"]).exits(0);
    assert!(gone.stderr.contains("no files were looked at"), "{}", gone.stderr);
    assert!(served.get(&name).is_none());
    assert!(seal(&["escrow", "test", "--identity", "identity.txt"]).exits(0).stdout.contains("1 of 1 key open"));
}

#[test]
fn what_was_moved_before_stays_when_something_else_moves() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    give(&served, "sealed-secrets-keyfghij", Key::second());
    let at = ["--controller-namespace", "seals"];
    let moved = || {
        let flags = ["seal", "reencrypt", "--cluster", "--cert", "second.pem", "--yes", "-o", "json"];
        json_of(&served.run(&[&flags[..], &at].concat()).exits(0))["counts"]["reencrypted"].clone()
    };
    assert_eq!(moved(), 2);
    // Somebody seals one of the two anew, with a certificate that is not the newest.
    let first = dxdr_sealing::SealingCertificate::from_pem(&Key::first().certificate).unwrap();
    let sealed = first.seal("sealed/db", b"another").unwrap().to_base64();
    served.change(&sealed_reference("db"), |object| object["spec"]["encryptedData"]["user"] = sealed.into());
    assert_eq!(moved(), 1);
    let items = served.get(&sealed_reference("db")).unwrap()["spec"]["encryptedData"].clone();
    let opens = |item: &str| Key::second().opens("sealed/db", items[item].as_str().unwrap()).unwrap();
    assert_eq!((opens("password"), opens("user")), (MARKER.as_bytes().to_vec(), b"another".to_vec()));
}

#[test]
fn a_secret_that_is_more_than_its_sealed_secret_makes_is_kept() {
    let served = served(true);
    for name in ["same", "labelled", "noted", "typed", "fixed", "both"] {
        sealed(&served, name, "first.pem", false);
    }
    let change = |name: &str, pointer: &[&str], value: Value| {
        served.change(&objects::core("Secret", Some("sealed"), name), |secret| {
            *pointer.iter().fold(secret, |at, field| &mut at[*field]) = value;
        });
    };
    change("labelled", &["metadata", "labels"], json!({"mirror": "true"}));
    change("noted", &["metadata", "annotations"], json!({"owner": "team"}));
    change("same", &["metadata", "annotations"], json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"}));
    change("fixed", &["immutable"], json!(true));
    // With the deprecated field beside its items, the controller makes no Secret of it any more.
    served.change(&sealed_reference("both"), |object| object["spec"]["data"] = "AgAA".into());
    served.delete(&objects::core("Secret", Some("sealed"), "typed"));
    let mut typed = served.get(&objects::core("Secret", Some("sealed"), "same")).unwrap();
    typed["metadata"] = json!({"name": "typed", "namespace": "sealed", "ownerReferences": typed["metadata"]["ownerReferences"]});
    typed["metadata"]["ownerReferences"][0]["name"] = "typed".into();
    typed["type"] = "example.com/typed".into();
    served.create((objects::core("Secret", Some("sealed"), "typed"), typed));
    let planned = json_of(&served.run(&["backup", "now", "sealed", "--dry-run", "-o", "json"]).exits(0));
    assert_eq!(planned["plainSecrets"]["names"], json!(["both", "fixed", "labelled", "noted", "typed"]));
}

#[test]
fn what_changes_beside_the_ciphertexts_does_not_keep_them_from_moving() {
    let served = served(true);
    sealed(&served, "db", "first.pem", false);
    give(&served, "sealed-secrets-keyfghij", Key::second());
    let move_while = |change: &dyn Fn(&mut Value), code: i32| {
        let flags = ["seal", "reencrypt", "--cluster", "--cert", "second.pem", "--controller-namespace", "seals"];
        let (mut child, mut controller, _terminal) = super::secrecy::running_on_a_terminal(&served.place, &flags);
        let mut seen = String::new();
        super::secrecy::shown(&mut controller, &mut seen, "Move 1 SealedSecret");
        served.change(&sealed_reference("db"), |object| change(object));
        controller.write_all(b"yes\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        served.get(&sealed_reference("db")).unwrap()
    };
    // Somebody seals an item anew: what was opened is not what stands there.
    let first = dxdr_sealing::SealingCertificate::from_pem(&Key::first().certificate).unwrap();
    let another = first.seal("sealed/db", b"another").unwrap().to_base64();
    let left = move_while(&|object| object["spec"]["encryptedData"]["user"] = another.clone().into(), 3);
    assert_eq!(left["spec"]["encryptedData"]["user"], another);
    // The controller writes its status all the time, and people label.
    let moved = move_while(&|object| object["metadata"]["labels"] = json!({"app": "db"}), 0);
    let item = |name: &str| Key::second().opens("sealed/db", moved["spec"]["encryptedData"][name].as_str().unwrap()).unwrap();
    assert_eq!((item("password"), item("user")), (MARKER.as_bytes().to_vec(), b"another".to_vec()));
    assert_eq!(moved["metadata"]["labels"]["app"], "db");
}
