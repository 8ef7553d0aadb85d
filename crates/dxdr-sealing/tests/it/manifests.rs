//! Manifests of Secrets.

use dxdr_environment::Scope;
use dxdr_sealing::{
    Ciphertext, SealedSecret, SecretManifest,
    manifest::{ManifestError, SealRequest},
};
use serde_json::{Value, json};

use crate::{certificate, key};

fn seal(secret: Value, request: &SealRequest) -> Result<SealedSecret, ManifestError> {
    SecretManifest::read(&secret)?.seal(request, &certificate())
}

/// The value with `…` for every ciphertext.
fn masked(mut value: Value) -> Value {
    value["spec"]["encryptedData"].as_object_mut().unwrap().values_mut().for_each(|item| *item = "…".into());
    value
}

fn opened(sealed: &SealedSecret, item: &str) -> Vec<u8> {
    let ciphertext = Ciphertext::from_base64(&sealed.items[item]).unwrap();
    key().open(&sealed.identity.label(), &ciphertext).unwrap().expose().to_vec()
}

#[test]
fn a_secret_becomes_a_sealed_secret_with_a_template() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
        "metadata": {
            "name": "database", "namespace": "shop", "uid": "1", "resourceVersion": "2", "creationTimestamp": null, "managedFields": [],
            "ownerReferences": [{"name": "x"}], "labels": {"app": "shop"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":1}", "note": "kept"},
        },
        "data": {"password": "czNjcjN0", "user": "YWRtaW4="}, "stringData": {"user": "root"},
    });
    let sealed = seal(secret, &SealRequest::default()).unwrap();
    assert_eq!(
        masked(sealed.to_value()),
        json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "metadata": {"name": "database", "namespace": "shop"},
            "spec": {
                "encryptedData": {"password": "…", "user": "…"},
                "template": {
                    "metadata": {"name": "database", "namespace": "shop", "labels": {"app": "shop"}, "annotations": {"note": "kept"}},
                    "type": "Opaque", "immutable": true,
                },
            },
        })
    );
    assert_eq!(opened(&sealed, "password"), b"s3cr3t");
    assert_eq!(opened(&sealed, "user"), b"root", "stringData wins");
    let order = ["\"kind\"", "\"apiVersion\"", "\"metadata\"", "\"spec\"", "\"template\"", "\"encryptedData\""];
    let json = sealed.to_json();
    let places: Vec<usize> = order.iter().map(|name| json.find(name).unwrap()).collect();
    assert!(places.is_sorted(), "{json}");
}

#[test]
fn the_scope_asked_for_wins_and_stands_on_both() {
    let secret = |annotation: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b", "annotations": {annotation: "true"}}, "stringData": {"k": "v"}});
    let wide = "sealedsecrets.bitnami.com/cluster-wide";
    let as_written = seal(secret(wide), &SealRequest::default()).unwrap();
    assert_eq!(as_written.identity.scope, Scope::ClusterWide);
    let value = as_written.to_value();
    assert_eq!(value["metadata"]["annotations"], json!({wide: "true"}));
    assert_eq!(value["spec"]["template"]["metadata"]["annotations"], json!({wide: "true"}));
    let narrowed = seal(secret(wide), &SealRequest { scope: Some(Scope::Strict), ..SealRequest::default() }).unwrap();
    assert_eq!(narrowed.identity.label(), "b/a");
    assert_eq!(narrowed.to_value()["metadata"], json!({"name": "a", "namespace": "b"}));
    assert_eq!(opened(&narrowed, "k"), b"v");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let secret = |more: Value| {
        let mut secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}, "stringData": {"k": "v"}});
        secret.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        secret
    };
    let refused = |more: Value| seal(secret(more), &SealRequest::default()).unwrap_err().to_string();
    assert_eq!(refused(json!({"kind": "ConfigMap"})), "it is a ConfigMap of v1, and only Secrets (apiVersion v1) are sealed");
    assert_eq!(
        refused(json!({"kind": null})),
        "it is a document without a kind of v1, and only Secrets (apiVersion v1) are sealed"
    );
    assert_eq!(refused(json!({"stringData": {"port": 5432}})), "stringData.port is a number; expected text");
    assert_eq!(refused(json!({"data": {"k": "clear text"}})), "data.k is not base64; a value in clear belongs under stringData");
    assert_eq!(refused(json!({"data": []})), "data is a list; expected a map");
    assert_eq!(refused(json!({"stringData": null})), "it has no items: neither data nor stringData hold anything");
    assert_eq!(refused(json!({"metadata": {"namespace": "b"}})), "it has no metadata.name");
    assert_eq!(
        refused(json!({"metadata": {"name": "a"}})),
        "it has no metadata.namespace, and with scope strict the ciphertext is bound to it"
    );
    assert!(refused(json!({"stringData": {"a b": "v"}})).starts_with("`a b` is no name of an item"));
    assert!(
        refused(json!({"metadata": {"name": "a", "namespace": "b", "labels": {"on": true}}}))
            .contains("metadata.labels.on is a boolean")
    );
    let elsewhere = SealRequest { namespace: Some("c".to_owned()), ..SealRequest::default() };
    assert_eq!(seal(secret(json!({})), &elsewhere).unwrap_err().to_string(), "its metadata.namespace is b, and c was asked for");
}

#[test]
fn names_and_namespaces_come_from_where_they_are_said() {
    let bare = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "v"}});
    let request = SealRequest { default_namespace: Some("usual".to_owned()), ..SealRequest::default() };
    assert_eq!(seal(bare.clone(), &request).unwrap().identity.label(), "usual/a");
    let request = SealRequest { namespace: Some("said".to_owned()), name: Some("other".to_owned()), ..request };
    assert_eq!(seal(bare.clone(), &request).unwrap().identity.label(), "said/other");
    let anywhere = SealRequest { scope: Some(Scope::ClusterWide), ..SealRequest::default() };
    assert_eq!(seal(bare, &anywhere).unwrap().to_value()["metadata"]["namespace"], Value::Null);
    let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}});
    let allowed = SealRequest { allow_empty: true, ..SealRequest::default() };
    assert_eq!(seal(empty, &allowed).unwrap().to_value()["spec"]["encryptedData"], json!({}));
}

#[test]
fn what_must_not_reach_the_unsealed_secret_is_left_out_and_said() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"k": "v"},
        "metadata": {"name": "a", "namespace": "b", "finalizers": ["x"], "generateName": "a-", "annotations": {"argocd.argoproj.io/tracking-id": "x"}},
    });
    let manifest = SecretManifest::read(&secret).unwrap();
    assert_eq!(manifest.warnings().len(), 3, "{:?}", manifest.warnings());
    let sealed = manifest.seal(&SealRequest::default(), &certificate()).unwrap();
    assert_eq!(sealed.to_value()["spec"]["template"]["metadata"], json!({"name": "a", "namespace": "b"}));
}
