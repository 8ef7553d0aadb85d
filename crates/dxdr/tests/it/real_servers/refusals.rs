//! What a real API server does not take.

use dxdr_environment::ObjectReference;
use serde_json::{Value, json};

use super::{Servers, World};
use crate::objects::{self, core, reference};

fn quota(world: &World, namespace: &str, hard: &Value) {
    let quota = reference("", "v1", "ResourceQuota", "resourcequotas", Some(namespace), "tight");
    let object = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight", "namespace": namespace}, "spec": {"hard": hard}
    });
    world.create((quota.clone(), object));
    // Until its controller has counted, the quota refuses everything in other words.
    world.wait_until("the quota is counted", |world| world.get(&quota).unwrap()["status"]["used"].is_object());
}

#[test]
fn a_namespace_that_a_real_server_is_deleting_is_neither_backed_up_nor_restored_into() {
    let Some(servers) = Servers::named() else { return };
    let world = World::with_objects(&servers, "terminating");
    let point = world.point();
    let (stays, mut object) = objects::config_map(&world.namespace, "stays", "x");
    object["metadata"]["finalizers"] = json!(["dxdr.io/test"]);
    world.create((stays.clone(), object));
    world.delete(&core("Namespace", None, &world.namespace));
    let said = world.run(&["restore", "journey", "--point", &point, "--in-place", "--yes"]).refuses(4);
    assert!(said.stderr.contains("is being deleted"), "{}", said.stderr);
    let said = world.run(&["backup", "now", "journey"]).refuses(4);
    assert!(said.stderr.contains("status.conditions"), "{}", said.stderr);
    // Beside, it can be had already.
    let beside = world.beside("beside");
    world.run(&["restore", "journey", "--point", &point, "--into", &beside, "--yes"]).exits(0);
    assert!(world.get(&core("ConfigMap", Some(&beside), "one")).is_some());
    let mut object = world.get(&stays).unwrap();
    object["metadata"]["finalizers"] = json!([]);
    world.replace(&stays, &object);
}

#[test]
fn a_quota_of_a_real_server_that_is_too_small_is_seen_before_or_named_afterwards() {
    let Some(servers) = Servers::named() else { return };
    let world = World::with_objects(&servers, "quota");
    let claim = |namespace: &str| reference("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", Some(namespace), "data");
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": world.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "none"}
    });
    world.create((claim(&world.namespace), object));
    let point = world.point();

    let few = world.beside("few");
    world.create(objects::namespace(&few));
    quota(&world, &few, &json!({"count/configmaps": "1"}));
    let said = world.run(&["restore", "journey", "--point", &point, "--into", &few, "--yes"]).refuses(4);
    assert!(said.stderr.contains("quota `tight` allows 1 of `count/configmaps`"), "{}", said.stderr);
    assert!(world.get(&core("ConfigMap", Some(&few), "one")).is_none());

    let small = world.beside("small");
    world.create(objects::namespace(&small));
    quota(&world, &small, &json!({"requests.storage": "1Gi"}));
    let said = world.run(&["restore", "journey", "--point", &point, "--into", &small, "--yes"]).refuses(3);
    assert!(said.stderr.contains("exceeded quota: tight"), "{}", said.stderr);
    assert!(said.stderr.contains("hint: raise the ResourceQuota"), "{}", said.stderr);
    assert!(world.get(&core("ConfigMap", Some(&small), "one")).is_some());
    assert!(world.get(&claim(&small)).is_none());
}

/// Only requests about ConfigMaps in this namespace.
fn config_maps_of(namespace: &str) -> (Value, Value) {
    (
        json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}}),
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}),
    )
}

/// What the policy of [`nothing_is_called_one`] says.
pub(super) const REFUSAL: &str = "nothing is called one here";

/// Makes an admission policy that refuses the ConfigMap `one` in a namespace; answers what binds it.
pub(super) fn nothing_is_called_one(world: &World, namespace: &str) -> ObjectReference {
    let (selector, rule) = config_maps_of(namespace);
    let name = world.namespace.clone();
    let of = |kind: &str, plural: &str| reference("admissionregistration.k8s.io", "v1", kind, plural, None, &name);
    world.create((
        of("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "object.metadata.name != 'one'", "message": REFUSAL}]
            }
        }),
    ));
    let binding = of("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings");
    world.create((
        binding.clone(),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}
        }),
    ));
    let (one, object) = objects::config_map(namespace, "one", "x");
    world.wait_until("the policy is in force", |world| world.try_create(&one, &object, true).is_err());
    binding
}

#[test]
fn what_an_admission_policy_of_a_real_server_refuses_is_named_with_its_words() {
    let Some(servers) = Servers::named() else { return };
    let world = World::with_objects(&servers, "policy");
    let point = world.point();
    let beside = world.beside("beside");
    world.create(objects::namespace(&beside));
    let binding = nothing_is_called_one(&world, &beside);
    let (one, object) = objects::config_map(&beside, "one", "x");

    let restore = ["restore", "journey", "--point", &point, "--into", &beside, "--yes"];
    let said = world.run(&restore).refuses(3);
    assert!(said.stderr.contains(REFUSAL), "{}", said.stderr);
    assert!(said.stderr.contains("hint: change the object so that the policy accepts it"), "{}", said.stderr);
    assert!(world.get(&core("ConfigMap", Some(&beside), "two")).is_some());

    world.delete(&binding);
    world.wait_until("the policy is out of force", |world| world.try_create(&one, &object, true).is_ok());
    world.run(&restore).exits(0);
    assert!(world.get(&one).is_some());
}

#[test]
fn a_webhook_of_a_real_server_that_nobody_answers_for_is_named() {
    let Some(servers) = Servers::named() else { return };
    let world = World::with_objects(&servers, "webhook");
    let point = world.point();
    let beside = world.beside("beside");
    world.create(objects::namespace(&beside));
    let (selector, rule) = config_maps_of(&beside);
    let name = world.namespace.clone();
    let webhook = reference(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        None,
        &name,
    );
    world.create((
        webhook.clone(),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{
                "name": "check.example.org", "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1, "namespaceSelector": selector, "rules": [rule],
                "clientConfig": {"service": {"namespace": beside, "name": "nobody", "path": "/"}}
            }]
        }),
    ));
    let (one, object) = objects::config_map(&beside, "one", "x");
    world.wait_until("the webhook is in force", |world| world.try_create(&one, &object, true).is_err());

    let restore = ["restore", "journey", "--point", &point, "--into", &beside, "--yes"];
    let said = world.run(&restore).refuses(7);
    assert!(said.stderr.contains("hint: the webhook `check.example.org` does not answer"), "{}", said.stderr);
    assert!(said.stderr.contains("`dxdr runs resume "), "{}", said.stderr);

    world.delete(&webhook);
    world.wait_until("the webhook is out of force", |world| world.try_create(&one, &object, true).is_ok());
    world.run(&restore).exits(0);
    assert!(world.get(&one).is_some());
}
