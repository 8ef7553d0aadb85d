//! `dxdr environment diff|apply`: what left the model is seen, and removed only when that is asked for.

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use crate::{
    objects::{self, reference},
    served::{ENVIRONMENT, Served},
};

const WITH_ACCESS: &str = "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec:\n  namespace: staging\n  tier: non-production\n  isolation:\n    allowIngressFrom: []\n    allowEgressTo: [{cidr: 10.20.0.0/16, ports: [5432]}, {cidr: 10.30.0.0/16}]\n  access: [{group: staging-developers, role: edit}]\n";

fn write(served: &Served, environment: &str) {
    served.place.write(
        "policies/staging.yaml",
        &format!("{environment}---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{directory: {{path: store}}}}\n"),
    );
}

fn policy(name: &str) -> ObjectReference {
    reference("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", Some("staging"), name)
}

/// A policy that somebody else made, labelled as `labels` say.
fn foreign(served: &Served, name: &str, labels: Value) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "staging", "labels": labels}, "spec": {"podSelector": {}},
    });
    served.create((policy(name), object));
}

#[test]
fn what_left_the_model_is_shown_and_stays_until_it_is_pruned() {
    let served = Served::new();
    write(&served, WITH_ACCESS);
    served.run(&["environment", "apply", "staging", "--yes"]).exits(0);
    served.run(&["environment", "diff", "staging"]).exits(0);
    foreign(&served, "theirs", json!({"app.kubernetes.io/managed-by": "Helm", "dxdr.io/environment": "staging"}));
    foreign(&served, "of-a-drill", json!({"app.kubernetes.io/managed-by": "dxdr", "dxdr.io/environment": "other"}));

    write(&served, ENVIRONMENT);
    let said = served.run(&["environment", "diff", "staging"]).exits(3);
    assert!(
        said.stdout.contains("- networkpolicies.networking.k8s.io staging/dxdr-allow-egress: to be removed"),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("dxdr environment apply staging --prune"), "{}", said.stderr);
    let json = served.run(&["environment", "diff", "staging", "--output", "json"]).exits(3).stdout;
    let orphaned = serde_json::from_str::<Value>(&json).unwrap()["orphaned"].clone();
    let orphaned: Vec<&str> = orphaned.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(orphaned.len(), 4, "{orphaned:?}");
    assert!(orphaned[3].starts_with("rolebindings.rbac.authorization.k8s.io staging/"), "{orphaned:?}");

    let said = served.run(&["environment", "apply", "staging", "--yes"]).exits(0);
    assert!(said.stderr.contains("4 objects of dxdr's that nothing asks for stay: `--prune` removes"), "{}", said.stderr);
    let said = served.run(&["environment", "apply", "staging", "--prune", "--dry-run"]).exits(0);
    assert!(said.stderr.contains("would remove networkpolicies"), "{}", said.stderr);
    assert!(served.get(&policy("dxdr-allow-egress")).is_some());

    served.run(&["environment", "apply", "staging", "--prune", "--yes"]).exits(0);
    assert!(served.get(&policy("dxdr-allow-egress")).is_none());
    assert!(served.get(&policy("theirs")).is_some() && served.get(&policy("of-a-drill")).is_some());
    assert!(served.get(&objects::core("ConfigMap", Some("staging"), "one")).is_some());
    served.run(&["environment", "diff", "staging"]).exits(0);
}

#[test]
fn a_rule_that_left_the_model_is_closed_by_the_next_apply() {
    let served = Served::new();
    write(&served, WITH_ACCESS);
    served.run(&["environment", "apply", "staging", "--yes"]).exits(0);
    write(&served, &WITH_ACCESS.replace(", {cidr: 10.30.0.0/16}", ""));
    let said = served.run(&["environment", "diff", "staging"]).exits(3);
    assert!(said.stdout.contains("~ networkpolicies.networking.k8s.io staging/dxdr-allow-egress"), "{}", said.stdout);
    served.run(&["environment", "apply", "staging", "--yes"]).exits(0);
    assert!(!served.get(&policy("dxdr-allow-egress")).unwrap()["spec"].to_string().contains("10.30."));
}

#[test]
fn nothing_is_removed_before_everything_is_applied() {
    let served = Served::new();
    write(&served, WITH_ACCESS);
    served.run(&["environment", "apply", "staging", "--yes"]).exits(0);
    // A quota that somebody else decides cannot be applied without `--force`.
    let quota = reference("", "v1", "ResourceQuota", "resourcequotas", Some("staging"), "dxdr");
    served.create((
        quota,
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "dxdr", "namespace": "staging"}, "spec": {"hard": {"pods": "10"}}}),
    ));
    write(&served, &ENVIRONMENT.replace("}\n", ", quota: {pods: \"20\"}}\n").replacen(", quota: {pods: \"20\"}}", "}", 1));
    let said = served.run(&["environment", "apply", "staging", "--prune", "--yes"]).refuses(3);
    assert!(said.stderr.contains("--force"), "{}", said.stderr);
    assert!(served.get(&policy("dxdr-allow-egress")).is_some());
}

#[test]
fn a_program_learns_what_became_of_each_object() {
    let served = Served::new();
    write(&served, WITH_ACCESS);
    let json = |arguments: &[&str], code: i32| {
        let said = served.run(&[&["environment", "apply", "staging", "--output", "json"], arguments].concat()).exits(code);
        let mut document = serde_json::from_str::<Value>(&said.stdout).unwrap();
        document["results"].take()
    };
    let outcomes = |results: &Value| -> Vec<String> {
        results.as_array().unwrap().iter().map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(json(&[], 4), json!([]));
    let results = json(&["--dry-run"], 0);
    assert!(outcomes(&results).iter().all(|outcome| outcome == "would apply"), "{results}");
    let results = json(&["--yes"], 0);
    assert!(outcomes(&results).len() > 3 && outcomes(&results).iter().all(|outcome| outcome == "applied"), "{results}");
    assert_eq!(json(&["--yes"], 0), json!([]));
    write(&served, ENVIRONMENT);
    let results = json(&["--yes", "--prune"], 0);
    assert!(outcomes(&results).contains(&"removed".to_owned()), "{results}");
}
