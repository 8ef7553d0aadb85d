//! Clusters that do not take what is to be restored.

use dxdr_sandbox::{Failing, Fault};
use serde_json::{Value, json};

use crate::{
    objects::{self, core, reference},
    served::Served,
};

const IN_PLACE: [&str; 3] = ["staging", "--in-place", "--yes"];

/// `restore --point NAME` with options.
fn restore<'a>(point: &'a str, options: &[&'a str]) -> Vec<&'a str> {
    [&["restore", "--point", point], options].concat()
}

/// A namespace that is being deleted and does not go away.
fn terminating(served: &Served, name: &str) {
    if served.get(&core("Namespace", None, name)).is_none() {
        served.create(objects::namespace(name));
    }
    let (reference, mut object) = objects::config_map(name, "stays", "x");
    object["metadata"]["finalizers"] = json!(["example.org/stays"]);
    served.create((reference, object));
    served.delete(&core("Namespace", None, name));
}

/// A quota of the namespace.
fn quota(served: &Served, namespace: &str, hard: Value) {
    let reference = reference("", "v1", "ResourceQuota", "resourcequotas", Some(namespace), "tight");
    served.create((
        reference,
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight", "namespace": namespace}, "spec": {"hard": hard}}),
    ));
}

#[test]
fn a_namespace_that_is_going_away_is_neither_backed_up_nor_restored_into() {
    let served = Served::new();
    let point = served.point();
    terminating(&served, "other");
    let said = served.refuses_and_changes_nothing(&restore(&point, &["staging", "--into", "other", "--yes"]), 4);
    assert!(said.stderr.contains("namespace `other` is being deleted"), "{}", said.stderr);
    served.refuses_and_changes_nothing(&restore(&point, &["staging", "--into", "other", "--dry-run"]), 4);
    terminating(&served, "staging");
    let said = served.refuses_and_changes_nothing(&restore(&point, &IN_PLACE), 4);
    assert!(said.stderr.contains("namespace `staging` is being deleted"), "{}", said.stderr);
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging"], 4);
    assert!(said.stderr.contains("status.conditions"), "{}", said.stderr);
    // Beside, it can be had already.
    served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).exits(0);
}

#[test]
fn what_cannot_be_changed_is_created_again_where_nothing_is_lost_by_it_and_named_where_something_is() {
    let served = Served::new();
    let (frozen, mut object) = objects::config_map("staging", "frozen", "as it was");
    object["immutable"] = true.into();
    served.create((frozen.clone(), object.clone()));
    let claim = core("PersistentVolumeClaim", Some("staging"), "data");
    let asking = |mode: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "staging"},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}}
        })
    };
    served.create((claim.clone(), asking("ReadWriteOnce")));
    let point = served.point();
    served.delete(&frozen);
    object["data"]["value"] = "otherwise".into();
    served.create((frozen.clone(), object));
    served.run(&restore(&point, &IN_PLACE)).exits(0);
    assert_eq!(served.get(&frozen).unwrap()["data"]["value"], "as it was");
    // A claim that is created again has another volume.
    served.delete(&claim);
    served.create((claim, asking("ReadWriteMany")));
    for _ in 0..2 {
        let said = served.run(&restore(&point, &IN_PLACE)).refuses(3);
        assert!(said.stderr.contains("persistentvolumeclaims staging/data stays different"), "{}", said.stderr);
    }
}

#[test]
fn a_namespace_that_is_not_there_is_not_backed_up() {
    let served = Served::new();
    served.delete(&core("Namespace", None, "staging"));
    let said = served.refuses_and_changes_nothing(&["backup", "now", "staging"], 4);
    assert!(said.stderr.contains("namespace `staging` is not there"), "{}", said.stderr);
}

/// The definition of `Widget`, served in this version only.
fn definition(version: &str) -> (dxdr_environment::ObjectReference, Value) {
    let name = "widgets.example.org";
    let reference = reference("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", None, name);
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [{"name": version, "served": true, "storage": true, "schema": schema}]
        }
    });
    (reference, object)
}

#[test]
fn objects_of_a_version_that_is_not_served_are_named_and_everything_else_is_restored() {
    let served = Served::new();
    served.create(definition("v1alpha1"));
    let widget = reference("example.org", "v1alpha1", "Widget", "widgets", Some("staging"), "one");
    served.create((
        widget,
        json!({"apiVersion": "example.org/v1alpha1", "kind": "Widget", "metadata": {"name": "one", "namespace": "staging"}}),
    ));
    let point = served.point();
    served.delete(&definition("v1alpha1").0);
    served.create(definition("v2"));
    served.delete(&core("ConfigMap", Some("staging"), "one"));
    let said = served.run(&restore(&point, &IN_PLACE)).refuses(3);
    assert!(said.stderr.contains("Widget") && said.stderr.contains("serves its kind as"), "{}", said.stderr);
    assert!(said.stdout.contains("not restored: "), "{}", said.stdout);
    assert!(served.get(&core("ConfigMap", Some("staging"), "one")).is_some());
    // Nothing is left to do but that, which is said again.
    let again = served.refuses_and_changes_nothing(&restore(&point, &IN_PLACE), 3);
    assert!(!again.stderr.contains("everything is as it was"), "{}", again.stderr);
}

#[test]
fn a_quota_that_is_too_small_is_seen_before_anything_is_written() {
    let served = Served::new();
    let point = served.point();
    served.create(objects::namespace("small"));
    quota(&served, "small", json!({"count/configmaps": "1"}));
    let said = served.refuses_and_changes_nothing(&restore(&point, &["staging", "--into", "small", "--yes"]), 4);
    assert!(said.stderr.contains("quota `tight` allows 1 of `count/configmaps`"), "{}", said.stderr);
}

#[test]
fn a_quota_that_fills_up_on_the_way_is_named_with_what_did_not_fit() {
    let served = Served::new();
    let claim = reference("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", Some("staging"), "data");
    served.create((
        claim,
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "staging"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
        }),
    ));
    let point = served.point();
    served.create(objects::namespace("small"));
    quota(&served, "small", json!({"requests.storage": "1Gi"}));
    let said = served.run(&restore(&point, &["staging", "--into", "small", "--yes"])).refuses(3);
    assert!(said.stderr.contains("exceeded quota: tight"), "{}", said.stderr);
    assert!(said.stderr.contains("hint: raise the ResourceQuota"), "{}", said.stderr);
    assert!(served.get(&core("ConfigMap", Some("small"), "one")).is_some());
    assert!(served.get(&core("PersistentVolumeClaim", Some("small"), "data")).is_none());
}

#[test]
fn what_a_webhook_refuses_is_named_with_the_words_of_the_webhook() {
    let served = Served::new();
    let point = served.point();
    let denied = Failing::DeniedByWebhook { webhook: "policy.example.org".to_owned(), message: "no label `team`".to_owned() };
    served.sandbox.faults().add(Fault::new(denied).method("POST").path("/configmaps").times(1));
    let said = served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).refuses(3);
    let words = r#"admission webhook "policy.example.org" denied the request: no label `team`"#;
    assert!(said.stderr.contains(words) && said.stdout.contains(words), "{}\n{}", said.stdout, said.stderr);
    // With the webhook content, the same command brings what is missing.
    served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).exits(0);
    for name in ["one", "two"] {
        assert!(served.get(&core("ConfigMap", Some("beside"), name)).is_some());
    }
}

#[test]
fn kinds_that_may_not_be_listed_make_a_partial_point_that_says_so() {
    let served = Served::new();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/namespaces/staging/secrets"));
    let said = served.run(&["backup", "now", "staging"]).refuses(3);
    assert!(said.stderr.contains("secrets in staging"), "{}", said.stderr);
    let point = said.stdout.trim().to_owned();
    let listed = served.run(&["points", "staging"]).exits(0).stdout;
    assert!(listed.contains("partial") && listed.contains(&format!("{point} lacks secrets in staging")), "{listed}");
    served.sandbox.faults().clear();
    // Not gone back to unless that is said, and never by removing what it may have lacked.
    let said = served.refuses_and_changes_nothing(&["restore", "--at", "-0s", "staging", "--in-place", "--yes"], 5);
    assert!(said.stderr.contains("--allow-partial"), "{}", said.stderr);
    served.refuses_and_changes_nothing(&restore(&point, &["staging", "--in-place", "--prune", "--yes"]), 4);
    served.run(&["restore", "--at", "-0s", "--allow-partial", "staging", "--plan"]).exits(0);
}

#[test]
fn a_protective_point_that_is_partial_promises_no_more_than_it_holds() {
    let served = Served::new();
    let point = served.point();
    served.delete(&core("ConfigMap", Some("staging"), "one"));
    let said = served.run(&restore(&point, &IN_PLACE)).exits(0);
    assert!(said.stderr.contains("--in-place --prune"), "{}", said.stderr);
    served.delete(&core("ConfigMap", Some("staging"), "one"));
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/namespaces/staging/secrets"));
    let said = served.run(&restore(&point, &IN_PLACE)).refuses(3);
    let undo = said.stderr.lines().find(|line| line.contains("to undo this restore")).unwrap_or_default();
    assert!(undo.contains("does not bring back secrets in staging") && !undo.contains("--prune"), "{}", said.stderr);
}

#[test]
fn nothing_is_removed_that_nothing_would_bring_back() {
    let served = Served::new();
    let point = served.point();
    served.create(objects::config_map("staging", "stray", "x"));
    let stray = core("ConfigMap", Some("staging"), "stray");
    let prune = restore(&point, &["staging", "--in-place", "--prune", "--yes"]);
    // A protective point that lacks something.
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/namespaces/staging/services"));
    let said = served.run(&prune).refuses(3);
    assert!(said.stderr.contains("the protective point lacks services in staging"), "{}", said.stderr);
    assert!(served.get(&stray).is_some());
    served.sandbox.faults().clear();
    // An object that could not be written.
    served.delete(&core("ConfigMap", Some("staging"), "one"));
    let denied = Failing::DeniedByWebhook { webhook: "policy.example.org".to_owned(), message: "no".to_owned() };
    served.sandbox.faults().add(Fault::new(denied).method("POST").path("/configmaps").times(1));
    served.run(&prune).refuses(3);
    assert!(served.get(&stray).is_some());
    served.run(&prune).exits(0);
    assert!(served.get(&stray).is_none());
}

#[test]
fn what_the_whole_cluster_shares_is_left_alone_even_where_the_plan_could_not_see_it() {
    let served = Served::new();
    let role = reference("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", None, "operator");
    let with = |verbs: Value| {
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
        let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "operator"}, "rules": rules});
        (role.clone(), object)
    };
    served.create(with(json!(["get", "delete"])));
    let binding = reference("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", Some("staging"), "operator");
    let object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "operator", "namespace": "staging"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operator"}
    });
    served.create((binding, object));
    let point = served.point();
    served.delete(&role);
    served.create(with(json!(["get"])));
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/clusterroles?"));
    served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).exits(0);
    assert_eq!(served.get(&role).unwrap()["rules"][0]["verbs"], json!(["get"]));
}

#[test]
fn a_definition_that_may_not_be_created_is_named_and_everything_else_is_restored() {
    let served = Served::new();
    served.create(definition("v1"));
    let widget = reference("example.org", "v1", "Widget", "widgets", Some("staging"), "gear");
    let object = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "gear", "namespace": "staging"}});
    served.create((widget, object));
    let point = served.point();
    served.delete(&definition("v1").0);
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("POST").path("/customresourcedefinitions"));
    let said = served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).refuses(3);
    assert!(said.stderr.contains("lacks the verb `create` on `customresourcedefinitions"), "{}", said.stderr);
    assert!(served.get(&core("ConfigMap", Some("beside"), "one")).is_some());
}

#[test]
fn kinds_that_may_not_be_created_are_named_with_the_right_that_is_missing() {
    let served = Served::new();
    let point = served.point();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("POST").path("/secrets"));
    let said = served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).refuses(3);
    assert!(said.stderr.contains("lacks the verb `create` on `secrets` in namespace `beside`"), "{}", said.stderr);
    assert!(
        said.stderr.contains("kubectl create role dxdr-secrets --namespace beside --verb=create --resource=secrets"),
        "{}",
        said.stderr
    );
    assert!(served.get(&core("ConfigMap", Some("beside"), "one")).is_some());
    assert!(served.get(&core("Secret", Some("beside"), "password")).is_none());
}

#[test]
fn a_namespace_that_may_not_be_made_ends_the_restore_at_its_beginning() {
    let served = Served::new();
    let point = served.point();
    let before = served.objects();
    served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("POST").path("/api/v1/namespaces?"));
    let said = served.run(&restore(&point, &["staging", "--into", "beside", "--yes"])).refuses(7);
    assert!(said.stderr.contains("lacks the verb `create` on `namespaces`"), "{}", said.stderr);
    assert!(said.stderr.contains("`dxdr runs resume "), "{}", said.stderr);
    assert_eq!(served.objects(), before);
}

#[test]
fn an_account_that_sees_its_own_namespace_only_loses_nothing() {
    let served = Served::new();
    let own = || served.sandbox.faults().add(Fault::new(Failing::Forbidden).method("GET").path("/api/v1/namespaces?"));
    own();
    let point = served.point();
    served.delete(&core("Namespace", None, "staging"));
    served.run(&restore(&point, &IN_PLACE)).exits(0);
    assert!(served.get(&core("ConfigMap", Some("staging"), "one")).is_some());
    terminating(&served, "staging");
    let said = served.refuses_and_changes_nothing(&restore(&point, &IN_PLACE), 4);
    assert!(said.stderr.contains("is being deleted"), "{}", said.stderr);
}
