//! Sealing keys in points of Velero's: what its schedules backed up names the keys it needs, too.

use serde_json::{Value, json};

use super::*;
use crate::{adoption::backup_with, objects, served::Served};

const MANIFESTS: &str = "\
apiVersion: dxdr.io/v1alpha1
kind: Environment
metadata: {name: sealed}
spec: {namespace: sealed, tier: non-production, sealing: {controller: {namespace: seals, name: sealed-secrets}}}
---
apiVersion: dxdr.io/v1alpha1
kind: SealingPolicy
metadata: {name: default}
spec: {environments: [sealed], escrow: {recipients: [RECIPIENT], store: primary}}
---
apiVersion: dxdr.io/v1alpha1
kind: BackupPolicy
metadata: {name: sealed}
spec: {environments: [sealed], objectives: {dataLoss: 26h, recoveryTime: 1h}, engine: velero, store: primary}
";

/// A served sandbox with the environment `sealed`, which Velero backs up, and a controller that has one key.
fn served() -> Served {
    let served = Served::new();
    served.create(objects::namespace("seals"));
    let recipient = super::apart::identity(&served, "identity.txt");
    served.place.write("policies/sealing.yaml", &MANIFESTS.replace("RECIPIENT", &recipient));
    write_keys(&served.place);
    give(&served, Key::first());
    served
}

fn give(served: &Served, key: &Key) {
    let secret = documents(&key.secret("sealed-secrets-keyabcde")).remove(0);
    let mut secret = secret.clone();
    secret["metadata"]["namespace"] = "seals".into();
    secret["metadata"]["labels"] = json!({"sealedsecrets.bitnami.com/sealed-secrets-key": "active"});
    served.create((objects::core("Secret", Some("seals"), "sealed-secrets-keyabcde"), secret));
}

/// A backup of Velero's that holds a SealedSecret.
fn backup(served: &Served, name: &str, certificate: &str) {
    let sealed = documents(&piped(&served.place, &["seal", "--cert", certificate], SECRET).exits(0).stdout).remove(0);
    let labels = json!({"dxdr.io/environment": "sealed", "dxdr.io/policy": "sealed", "velero.io/schedule-name": "dxdr-sealed"});
    backup_with(&served.place, name, "Completed", &labels, &[("sealedsecrets.bitnami.com", sealed)]);
}

fn point(served: &Served, name: &str) -> Value {
    let page: Value = serde_json::from_str(&served.run(&["points", "sealed", "-o", "json"]).exits(0).stdout).unwrap();
    page["points"].as_array().unwrap().iter().find(|point| point["name"] == name).unwrap().clone()
}

fn keys_of(point: &Value) -> Option<&Value> {
    let components = point["components"].as_array().unwrap();
    components.iter().find(|component| component["kind"] == "keys").map(|keys| &keys["fingerprints"])
}

fn fingerprint(key: &Key) -> String {
    dxdr_sealing::OpeningKey::from_pem(&key.private).unwrap().fingerprint().to_string()
}

const FIRST: &str = "dxdr-sealed-20240501100000";
const SECOND: &str = "dxdr-sealed-20240502100000";
const THIRD: &str = "dxdr-sealed-20240503100000";

#[test]
fn a_backup_of_velero_s_becomes_a_point_that_names_its_keys_which_are_in_escrow_by_then() {
    let served = served();
    backup(&served, FIRST, "first.pem");
    let said = served.run(&["points", "sealed"]).exits(0);
    assert!(said.stderr.contains("was put into escrow in primary"), "{}", said.stderr);
    let adopted = point(&served, FIRST);
    assert_eq!((adopted["state"].as_str(), keys_of(&adopted)), (Some("complete"), Some(&json!([fingerprint(Key::first())]))));
    served.run(&["seal", "escrow", "test", "--identity", "identity.txt"]).exits(0);
    // Nothing is to be adopted any more, and nobody looks at keys again.
    assert_eq!(served.run(&["points", "sealed"]).exits(0).stderr, "");

    // One that no key opens is named, and makes the point partial.
    backup(&served, SECOND, "second.pem");
    let said = served.run(&["points", "sealed"]).exits(0);
    assert!(said.stderr.contains("no key of the cluster opens SealedSecret staging/db (password, user)"), "{}", said.stderr);
    assert_eq!(point(&served, SECOND)["state"], "partial");
}

#[test]
fn a_point_that_was_adopted_without_the_keys_is_mended_by_who_has_them() {
    let served = served();
    backup(&served, FIRST, "first.pem");
    let kubeconfig = read(&served.place, "kubeconfig");
    served.place.write("kubeconfig", "apiVersion: v1\nkind: Config\n");
    let said = served.run(&["points", "sealed"]).exits(0);
    assert!(said.stderr.contains("which keys open its 1 SealedSecrets is not known"), "{}", said.stderr);
    let adopted = point(&served, FIRST);
    assert_eq!((adopted["state"].as_str(), keys_of(&adopted)), (Some("partial"), None));
    served.place.write("kubeconfig", &kubeconfig);
    assert_eq!(point(&served, FIRST)["state"], "partial", "looking at the list alone asks nobody for keys");
    backup(&served, SECOND, "first.pem");
    let said = served.run(&["points", "sealed"]).exits(0);
    assert!(said.stderr.contains(&format!("{FIRST} says now which sealing keys it needs")), "{}", said.stderr);
    let keys = json!([fingerprint(Key::first())]);
    for name in [FIRST, SECOND] {
        let point = point(&served, name);
        assert_eq!((point["state"].as_str(), keys_of(&point)), (Some("complete"), Some(&keys)), "{name}");
    }
    // Where a mend changes nothing, nothing is written again.
    backup(&served, THIRD, "first.pem");
    assert!(!served.run(&["points", "sealed"]).exits(0).stderr.contains("says now"));
}

#[test]
fn without_a_sealing_policy_nobody_asks_for_keys() {
    let served = served();
    let manifests = read(&served.place, "policies/sealing.yaml");
    let (before, after) = manifests.split_once("kind: SealingPolicy").unwrap();
    let after = after.split_once("---\n").unwrap().1;
    served
        .place
        .write("policies/sealing.yaml", &format!("{}{after}", before.strip_suffix("apiVersion: dxdr.io/v1alpha1\n").unwrap()));
    backup(&served, FIRST, "first.pem");
    let adopted = point(&served, FIRST);
    assert_eq!((adopted["state"].as_str(), keys_of(&adopted)), (Some("complete"), None));
}
