//! A real API server, where `DXDR_TEST_KUBECONFIG` names the kubeconfig of one that may be written to. Each test makes a namespace
//! of its own and deletes it.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster, Surroundings, connect_from};
use dxdr_provider::{Cluster as _, ClusterErrorKind, cluster::WriteOptions};

use crate::scripted::{config_map, config_maps, options, scope};

struct Ground {
    cluster: KubernetesCluster,
    namespace: String,
}

impl Ground {
    /// `None` when there is no server to test against.
    async fn new(purpose: &str) -> Option<Self> {
        let Some(file) = std::env::var_os("DXDR_TEST_KUBECONFIG") else {
            assert!(
                std::env::var_os("DXDR_TEST_REQUIRED").is_none(),
                "a server is promised, and DXDR_TEST_KUBECONFIG names none"
            );
            eprintln!("skipped: DXDR_TEST_KUBECONFIG names no API server");
            return None;
        };
        let options_of_file = ConnectOptions { kubeconfig: Some(PathBuf::from(file)), ..ConnectOptions::default() };
        let cluster = connect_from(options_of_file, &Surroundings::default()).await.unwrap();
        let namespace = format!("dxdr-test-{purpose}-{}", std::process::id());
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        cluster.create(&namespace_of(&namespace), json(&body), &options()).await.unwrap();
        Some(Self { cluster, namespace })
    }

    async fn delete(self) {
        assert!(self.cluster.delete(&namespace_of(&self.namespace), None, &options()).await.unwrap());
    }
}

fn namespace_of(name: &str) -> ObjectReference {
    let kind = ResourceKind {
        group: String::new(),
        version: "v1".into(),
        kind: "Namespace".into(),
        plural: "namespaces".into(),
        namespaced: false,
    };
    ObjectReference { kind, namespace: None, name: name.into() }
}

fn json(value: &serde_json::Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn config_map_body(name: &str, value: &str) -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let Some(ground) = Ground::new("life").await else { return };
    let (cluster, namespace) = (&ground.cluster, ground.namespace.as_str());
    let object = config_map(namespace, "one");
    assert_eq!(cluster.get(&object).await.unwrap(), None);
    let dry = WriteOptions { dry_run: true, ..options() };
    cluster.create(&object, json(&config_map_body("one", "a")), &dry).await.unwrap();
    assert_eq!(cluster.get(&object).await.unwrap(), None);
    let made = cluster.create(&object, json(&config_map_body("one", "a")), &options()).await.unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let error = cluster.create(&object, json(&config_map_body("one", "a")), &options()).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::AlreadyExists);

    let mut stale = made.clone();
    stale["data"]["key"] = "b".into();
    cluster.replace(&object, json(&stale), &options()).await.unwrap();
    let error = cluster.replace(&object, json(&stale), &options()).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Conflict);

    let other = WriteOptions { manager: "another".into(), dry_run: false, retry: true };
    let error = cluster.apply(&object, json(&config_map_body("one", "c")), false, &other).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Conflict);
    let applied = cluster.apply(&object, json(&config_map_body("one", "c")), true, &other).await.unwrap();
    assert!(String::from_utf8_lossy(&applied).contains(r#""key":"c""#));

    let error = cluster.delete(&object, Some("another-uid"), &options()).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Conflict);
    let uid = made["metadata"]["uid"].as_str();
    assert!(cluster.delete(&object, uid, &options()).await.unwrap());
    assert!(!cluster.delete(&object, uid, &options()).await.unwrap());
    ground.delete().await;
}

#[tokio::test]
async fn lists_come_in_pages_and_items_without_their_kind() {
    let Some(ground) = Ground::new("pages").await else { return };
    let (cluster, namespace) = (&ground.cluster, ground.namespace.as_str());
    for number in 0..7 {
        let name = format!("map-{number}");
        cluster.create(&config_map(namespace, &name), json(&config_map_body(&name, "x")), &options()).await.unwrap();
    }
    let mut names = Vec::new();
    let mut continuation = None;
    let mut versions = Vec::new();
    loop {
        let page = cluster.list(&config_maps(), &scope(namespace), 3, continuation.as_deref()).await.unwrap();
        versions.push(page.resource_version);
        for item in &page.items {
            let item: serde_json::Value = serde_json::from_slice(item).unwrap();
            assert!(item.get("kind").is_none());
            names.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        continuation = page.continuation;
        if continuation.is_none() {
            break;
        }
    }
    // The controller manager may have put its certificate authority there by now.
    names.retain(|name| name.starts_with("map-"));
    assert_eq!(names.len(), 7);
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]));
    let error = cluster.list(&config_maps(), &scope(namespace), 3, Some("nonsense")).await.unwrap_err();
    assert!(matches!(error.kind, ClusterErrorKind::Invalid | ClusterErrorKind::Expired), "{error}");
    ground.delete().await;
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let Some(ground) = Ground::new("refusals").await else { return };
    let (cluster, namespace) = (&ground.cluster, ground.namespace.as_str());
    let kind = |plural: &str, kind: &str| ResourceKind { plural: plural.into(), kind: kind.into(), ..config_maps() };

    let quota = ObjectReference {
        kind: kind("resourcequotas", "ResourceQuota"),
        namespace: Some(namespace.into()),
        name: "tight".into(),
    };
    let body = serde_json::json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {"secrets": "0"}}
    });
    cluster.create(&quota, json(&body), &options()).await.unwrap();
    let secret = ObjectReference { kind: kind("secrets", "Secret"), namespace: Some(namespace.into()), name: "one".into() };
    let body = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}});
    // A new quota is not enforced at once, and then refuses with "status unknown" until the controller has counted.
    let dry = WriteOptions { dry_run: true, ..options() };
    let error = eventually(|| async {
        let error = cluster.create(&secret, json(&body), &dry).await.err()?;
        error.message.contains("exceeded quota").then_some(error)
    })
    .await;
    assert_eq!(error.kind, ClusterErrorKind::QuotaExceeded, "{error}");

    let error = cluster.create(&config_map(namespace, "Not A Name"), json(&config_map_body("Not A Name", "x")), &options()).await;
    assert_eq!(error.unwrap_err().kind, ClusterErrorKind::Invalid);
    let error = cluster.create(&config_map("not-there", "a"), json(&config_map_body("a", "x")), &options()).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NotFound);
    let unserved = ResourceKind { group: "example.invalid".into(), ..kind("widgets", "Widget") };
    let error = cluster.list(&unserved, &scope(namespace), 1, None).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NotFound);
    let unserved = ObjectReference { kind: unserved, namespace: Some(namespace.into()), name: "w".into() };
    assert_eq!(cluster.get(&unserved).await.unwrap_err().kind, ClusterErrorKind::NotFound);

    // A finalizer of the namespace's own content keeps it terminating.
    let mut held = config_map_body("held", "x");
    held["metadata"]["finalizers"] = serde_json::json!(["example.com/held"]);
    cluster.create(&config_map(namespace, "held"), json(&held), &options()).await.unwrap();
    assert!(cluster.delete(&namespace_of(namespace), None, &options()).await.unwrap());
    let error =
        cluster.create(&config_map(namespace, "late"), json(&config_map_body("late", "x")), &options()).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NamespaceTerminating);
    let freed = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}, "data": {"key": "x"}});
    cluster.replace(&config_map(namespace, "held"), json(&freed), &options()).await.unwrap();
}

#[tokio::test]
async fn discovery_finds_the_kinds_that_everybody_has() {
    let Some(ground) = Ground::new("discovery").await else { return };
    let discovery = ground.cluster.discover().await.unwrap();
    let found = |name: &str| discovery.kinds.iter().find(|found| found.kind.group_resource() == name);
    let deployments = found("deployments.apps").unwrap();
    assert!(deployments.kind.namespaced && deployments.verbs.iter().any(|verb| verb == "list"));
    assert_eq!(deployments.short_names, ["deploy"]);
    assert!(found("pods").is_some() && found("pods/log").is_none());
    assert!(!found("namespaces").unwrap().kind.namespaced);
    assert_eq!(discovery.failed_groups, []);
    assert_eq!(ground.cluster.version().await.unwrap().major, "1");
    ground.delete().await;
}

async fn eventually<T, F: Future<Output = Option<T>>>(mut attempt: impl FnMut() -> F) -> T {
    for _ in 0..100 {
        if let Some(value) = attempt().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not happen within ten seconds");
}
