//! The journey on a real API server with a real S3 server, where the environment names them: `cargo xtask end-to-end` does.

use std::{env, fs};

use bytes::Bytes;
use dxdr_environment::ObjectReference;
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster};
use dxdr_provider::{Cluster, cluster::WriteOptions};
use serde_json::{Value, json};

use crate::{objects::reference, place::Place};

/// What is there, or says which tests did not run.
fn servers() -> Option<(String, [String; 4])> {
    let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let found = named("DXDR_TEST_KUBECONFIG").zip(named("DXDR_TEST_S3_ENDPOINT")).and_then(|(kubeconfig, endpoint)| {
        let rest = (named("DXDR_TEST_S3_BUCKET")?, named("DXDR_TEST_S3_ACCESS_KEY")?, named("DXDR_TEST_S3_SECRET_KEY")?);
        Some((kubeconfig, [endpoint, rest.0, rest.1, rest.2]))
    });
    if found.is_none() {
        eprintln!("did not run: no real servers are named by DXDR_TEST_KUBECONFIG and DXDR_TEST_S3_*");
    }
    found
}

fn deployment(namespace: &str, replicas: u32) -> Value {
    let labels = json!({"app": "api"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "api", "image": "registry.example.org/api:1"}]}}}
    })
}

#[test]
fn an_environment_comes_back_on_real_servers_after_its_namespace_is_lost() {
    let Some((kubeconfig, [endpoint, bucket, access, secret])) = servers() else { return };
    let namespace = format!("dxdr-journey-{}", std::process::id());
    let place = Place::with_environment(vec![("AWS_ACCESS_KEY_ID", access), ("AWS_SECRET_ACCESS_KEY", secret)]);
    let manifests = format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: journey}}\nspec: {{namespace: {namespace}, tier: non-production}}\n---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{s3: {{bucket: {bucket}, prefix: {namespace}, region: us-east-1, endpoint: \"{endpoint}\", forcePathStyle: true}}}}\n"
    );
    fs::create_dir(place.path().join("policies")).unwrap();
    fs::write(place.path().join("policies/journey.yaml"), manifests).unwrap();

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let options = ConnectOptions { kubeconfig: Some(kubeconfig.clone().into()), ..ConnectOptions::default() };
    let cluster: KubernetesCluster = runtime.block_on(dxdr_kubernetes::connect(options)).unwrap();
    let writing = WriteOptions { manager: "test".to_owned(), dry_run: false, retry: true };
    let at = Some(namespace.as_str());
    let root = reference("", "v1", "Namespace", "namespaces", None, &namespace);
    let api = reference("apps", "v1", "Deployment", "deployments", at, "api");
    let settings = reference("", "v1", "ConfigMap", "configmaps", at, "settings");
    let create = |reference: &ObjectReference, object: Value| {
        runtime.block_on(cluster.create(reference, Bytes::from(object.to_string()), &writing)).unwrap();
    };
    let get = |reference: &ObjectReference| -> Option<Value> {
        runtime.block_on(cluster.get(reference)).unwrap().map(|bytes| serde_json::from_slice(&bytes).unwrap())
    };
    let run = |arguments: &[&str]| place.run(&[arguments, &["--kubeconfig", &kubeconfig]].concat());
    create(&root, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    create(&api, deployment(&namespace, 3));
    create(
        &settings,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": namespace}, "data": {"a": "as it was"}}),
    );

    let point = run(&["backup", "now", "journey"]).exits(0).stdout.trim().to_owned();
    let restore = ["restore", "journey", "--point", &point, "--in-place", "--prune", "--yes"];

    // Changed, and added to.
    let mut changed = get(&settings).unwrap();
    changed["data"] = json!({"a": "damaged", "b": "was not there"});
    runtime.block_on(cluster.replace(&settings, Bytes::from(changed.to_string()), &writing)).unwrap();
    let stray = reference("", "v1", "ConfigMap", "configmaps", at, "stray");
    create(&stray, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stray", "namespace": namespace}}));
    run(&restore).exits(0);
    assert_eq!(get(&settings).unwrap()["data"], json!({"a": "as it was"}));
    assert_eq!(get(&stray), None);

    // Lost altogether.
    runtime.block_on(cluster.delete(&root, None, &writing)).unwrap();
    for _ in 0..600 {
        if get(&root).is_none() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    run(&restore).exits(0);
    assert_eq!(get(&settings).unwrap()["data"], json!({"a": "as it was"}));
    assert_eq!(get(&api).unwrap()["spec"]["replicas"], 3);
    assert!(run(&restore).exits(0).stderr.contains("nothing to do"));
    run(&["points", "journey"]).exits(0);
    runtime.block_on(cluster.delete(&root, None, &writing)).unwrap();
}
