//! What the server says, and what is made of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dxdr_kubernetes::hints;
use dxdr_provider::{Cluster as _, ClusterErrorKind, cluster::WriteOptions};

use crate::scripted::{Reply, ScriptedServer, config_map, config_maps, options, scope, status, status_text};

fn page(items: &str, continuation: &str) -> Reply {
    Reply::Json(
        200,
        format!(
            r#"{{"kind":"ConfigMapList","metadata":{{"resourceVersion":"9","continue":"{continuation}"}},"items":[{items}]}}"#
        ),
    )
}

#[tokio::test]
async fn pages_follow_each_other_until_the_last() {
    let server = ScriptedServer::playing(vec![page(r#"{"a":1},{"b":2}"#, "next=="), page(r#"{"c":3}"#, "")]).await;
    let cluster = server.cluster().await;
    let first = cluster.list(&config_maps(), &scope("a"), 2, None).await.unwrap();
    assert_eq!((first.items.len(), first.resource_version.as_str()), (2, "9"));
    let second = cluster.list(&config_maps(), &scope("a"), 2, first.continuation.as_deref()).await.unwrap();
    assert_eq!(second.items, [r#"{"c":3}"#]);
    assert_eq!(second.continuation, None);
    assert_eq!(
        server.lines(),
        ["GET /api/v1/namespaces/a/configmaps?limit=2", "GET /api/v1/namespaces/a/configmaps?limit=2&continue=next%3D%3D"]
    );
}

#[tokio::test]
async fn an_expired_continuation_is_told_apart_and_not_tried_again() {
    let server = ScriptedServer::playing(vec![status(410, "Expired", "The provided continue parameter is too old")]).await;
    let error = server.cluster().await.list(&config_maps(), &scope("a"), 2, Some("old")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Expired);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_read_is_tried_again_until_the_server_has_recovered() {
    let server = ScriptedServer::playing(vec![
        status(500, "InternalError", "etcdserver: leader changed"),
        Reply::Json(503, "no".into()),
        Reply::Close,
        Reply::Json(200, "{}".into()),
    ])
    .await;
    assert_eq!(server.cluster().await.get(&config_map("a", "b")).await.unwrap(), Some(Bytes::from("{}")));
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn a_server_that_stays_broken_is_reported_after_five_tries() {
    let script = (0..9).map(|_| Reply::Json(503, "<html>maintenance</html>".into())).collect();
    let server = ScriptedServer::playing(script).await;
    let error = server.cluster().await.get(&config_map("a", "b")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Unavailable);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot get configmaps a/b on context `lab` (http://127.0.0.1:{}): HTTP 503 Service Unavailable: \
             <html>maintenance</html> (tried 5 times)",
            server.port
        )
    );
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn a_busy_server_is_given_the_time_it_asks_for_also_for_writes() {
    let busy = Reply::With(429, "retry-after: 1", status_text(429, "TooManyRequests", "busy"));
    let server = ScriptedServer::playing(vec![busy, Reply::Json(201, "{}".into())]).await;
    let begun = Instant::now();
    server.cluster().await.create(&config_map("a", "b"), Bytes::from("{}"), &options()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_is_not_waited_for() {
    let busy = Reply::With(429, "retry-after: 3600", status_text(429, "TooManyRequests", "busy"));
    let server = ScriptedServer::playing(vec![busy]).await;
    let error = server.cluster().await.get(&config_map("a", "b")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::TooManyRequests(Some(Duration::from_secs(3600))));
    assert!(!hints(&error).is_empty());
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_left_to_the_caller() {
    for reply in
        [Reply::Close, status(500, "InternalError", "etcdserver: request timed out"), Reply::Late(Duration::from_secs(60))]
    {
        let server = ScriptedServer::playing(vec![reply, Reply::Json(201, "{}".into())]).await;
        let error =
            server.impatient_cluster().await.create(&config_map("a", "b"), Bytes::from("{}"), &options()).await.unwrap_err();
        assert!(error.kind.retryable(), "{error}");
        assert_eq!(server.lines().len(), 1);
    }
}

#[tokio::test]
async fn a_lost_race_for_the_quota_is_run_again() {
    let race = r#"{"kind":"Status","message":"Operation cannot be fulfilled on resourcequotas \"q\"","reason":"Conflict","details":{"name":"q","kind":"resourcequotas"},"code":409}"#;
    let server = ScriptedServer::playing(vec![Reply::Json(409, race.into()), Reply::Json(201, "{}".into())]).await;
    server.cluster().await.create(&config_map("a", "b"), Bytes::from("{}"), &options()).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_none_and_what_is_not_served_is_an_error() {
    let missing = r#"{"kind":"Status","message":"configmaps \"b\" not found","reason":"NotFound","details":{"name":"b","kind":"configmaps"},"code":404}"#;
    let script =
        vec![Reply::Json(404, missing.into()), Reply::Json(404, missing.into()), Reply::Json(404, "404 page not found\n".into())];
    let server = ScriptedServer::playing(script).await;
    let cluster = server.cluster().await;
    assert_eq!(cluster.get(&config_map("a", "b")).await.unwrap(), None);
    assert!(!cluster.delete(&config_map("a", "b"), None, &options()).await.unwrap());
    let error = cluster.get(&config_map("a", "b")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::NotFound);
}

#[tokio::test]
async fn writes_carry_manager_force_dry_run_and_preconditions() {
    let server = ScriptedServer::playing((0..4).map(|_| Reply::Json(200, "{}".into())).collect()).await;
    let cluster = server.cluster().await;
    let dry = WriteOptions { dry_run: true, ..options() };
    let object = config_map("a", "b");
    cluster.create(&object, Bytes::from("1"), &options()).await.unwrap();
    cluster.apply(&object, Bytes::from("2"), true, &dry).await.unwrap();
    cluster.replace(&object, Bytes::from("3"), &options()).await.unwrap();
    assert!(cluster.delete(&object, Some("u-1"), &dry).await.unwrap());
    let heard = server.heard();
    let seen: Vec<_> = heard.iter().map(|heard| (heard.line.as_str(), heard.body.as_str())).collect();
    assert_eq!(seen[0], ("POST /api/v1/namespaces/a/configmaps?fieldManager=dxdr-test&fieldValidation=Ignore", "1"));
    assert_eq!(seen[1], ("PATCH /api/v1/namespaces/a/configmaps/b?fieldManager=dxdr-test&force=true&dryRun=All", "2"));
    assert!(heard[1].head.contains("content-type: application/apply-patch+yaml"));
    assert_eq!(seen[2], ("PUT /api/v1/namespaces/a/configmaps/b?fieldManager=dxdr-test&fieldValidation=Ignore", "3"));
    assert_eq!(seen[3].0, "DELETE /api/v1/namespaces/a/configmaps/b");
    let delete: serde_json::Value = serde_json::from_str(seen[3].1).unwrap();
    assert_eq!(delete["preconditions"]["uid"], "u-1");
    assert_eq!(delete["propagationPolicy"], "Background");
    assert_eq!(delete["dryRun"][0], "All");
}

#[tokio::test]
async fn nonsense_and_half_a_document_are_malformed() {
    for body in ["<html>", r#"{"kind":"ConfigMapList","metadata":{},"items":[{"a":1},{"b""#, r#"{"kind":"Table","rows":[]}"#] {
        let server = ScriptedServer::playing(vec![Reply::Json(200, body.into())]).await;
        let error = server.cluster().await.list(&config_maps(), &scope("a"), 2, None).await.unwrap_err();
        assert_eq!(error.kind, ClusterErrorKind::Malformed, "{body}");
        assert!(error.to_string().starts_with("cannot list configmaps in a on "), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_refused() {
    let server = ScriptedServer::playing(vec![Reply::Json(200, format!("[{}]", "1,".repeat(10_000)))]).await;
    let cluster = server.cluster().await.with_longest_answer(10_000);
    let error = cluster.list(&config_maps(), &scope("a"), 2, None).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Other);
    assert!(error.message.contains("longer than 10000 bytes"), "{error}");
}

#[tokio::test]
async fn a_hostile_name_is_refused_before_anything_is_sent() {
    let server = ScriptedServer::playing(Vec::new()).await;
    let error = server.cluster().await.get(&config_map("..", "b")).await.unwrap_err();
    assert_eq!(error.kind, ClusterErrorKind::Invalid);
    assert!(server.lines().is_empty());
}
