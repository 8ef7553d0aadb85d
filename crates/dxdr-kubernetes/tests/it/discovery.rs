//! Servers that know aggregated discovery, and those that do not.

use dxdr_provider::{Cluster as _, ClusterErrorKind};

use crate::scripted::{Reply, ScriptedServer, status};

fn json(value: serde_json::Value) -> Reply {
    Reply::Json(200, value.to_string())
}

/// The two lists are asked for side by side, so a script cannot know which comes first: both are given the same answer.
#[tokio::test]
async fn aggregated_groups_come_in_their_preferred_versions_and_stale_ones_are_named() {
    let resource = |plural: &str, kind: &str| {
        serde_json::json!({
            "resource": plural, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": "Namespaced",
            "singularResource": kind.to_lowercase(), "verbs": ["get", "list"], "shortNames": ["x"],
            "subresources": [{"subresource": "status", "verbs": ["get"]}]
        })
    };
    let answer = serde_json::json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
        "items": [
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v2", "freshness": "Current", "resources": [resource("gadgets", "Gadget")]},
                {"version": "v1", "freshness": "Current", "resources": [resource("gadgets", "Gadget"), resource("deployments", "Deployment")]}
            ]},
            {"metadata": {"name": "metrics.k8s.io"}, "versions": [{"version": "v1beta1", "freshness": "Stale"}]}
        ]
    });
    let server = ScriptedServer::playing(vec![json(answer.clone()), json(answer)]).await;
    let discovery = server.cluster().await.discover().await.unwrap();
    let kinds: Vec<_> = discovery.kinds.iter().map(|found| format!("{} {}", found.kind, found.kind.version)).collect();
    assert_eq!(kinds[..2], ["gadgets.apps v2", "deployments.apps v1"]);
    assert_eq!(discovery.kinds[0].served_versions, ["v2", "v1"]);
    assert_eq!(discovery.kinds[0].singular, "gadget");
    assert!(discovery.kinds[0].kind.namespaced);
    assert_eq!(discovery.failed_groups[0].0, "metrics.k8s.io/v1beta1");
    let heard = server.heard();
    assert!(heard[0].head.contains("accept: application/json;g=apidiscovery.k8s.io;v=v2;as=apigroupdiscoverylist,"));
    assert_eq!(heard.len(), 2);
}

#[tokio::test]
async fn groups_of_an_older_server_are_asked_one_by_one_and_one_that_fails_is_named() {
    let resources = |plural: &str, kind: &str| {
        axum::Json(serde_json::json!({"kind": "APIResourceList", "resources": [
            {"name": plural, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["list"]},
            {"name": format!("{plural}/status"), "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]}
        ]}))
    };
    use axum::routing::get;
    let router = axum::Router::new()
        .route("/api", get(|| async { axum::Json(serde_json::json!({"kind": "APIVersions", "versions": ["v1"]})) }))
        .route(
            "/apis",
            get(|| async {
                axum::Json(serde_json::json!({"kind": "APIGroupList", "groups": [
                    {"name": "apps", "versions": [{"version": "v1beta1"}, {"version": "v1"}], "preferredVersion": {"version": "v1"}},
                    {"name": "metrics.k8s.io", "versions": [{"version": "v1beta1"}], "preferredVersion": {"version": "v1beta1"}}
                ]}))
            }),
        )
        .route("/api/v1", get(move || async move { resources("pods", "Pod") }))
        .route("/apis/apps/v1", get(move || async move { resources("deployments", "Deployment") }))
        .route("/apis/apps/v1beta1", get(move || async move { resources("deployments", "Deployment") }))
        .route("/apis/metrics.k8s.io/v1beta1", get(|| async { (http::StatusCode::FORBIDDEN, "no") }));
    let cluster = dxdr_kubernetes::KubernetesCluster::new(kube::Client::new(router, "default"), "old");
    let discovery = cluster.discover().await.unwrap();
    let kinds: Vec<_> = discovery.kinds.iter().map(|found| format!("{} {:?}", found.kind, found.served_versions)).collect();
    assert_eq!(kinds, ["pods [\"v1\"]", "deployments.apps [\"v1\", \"v1beta1\"]"]);
    assert_eq!(discovery.kinds[1].singular, "deployment");
    assert_eq!(discovery.failed_groups.len(), 1);
    assert_eq!(discovery.failed_groups[0].0, "metrics.k8s.io/v1beta1");
}

#[tokio::test]
async fn without_the_core_group_there_is_no_discovery() {
    let server =
        ScriptedServer::playing(vec![status(401, "Unauthorized", "Unauthorized"), status(401, "Unauthorized", "Unauthorized")])
            .await;
    let error = server.cluster().await.discover().await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Unauthenticated);
}
