//! Holds and retention.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use dxdr_storage_emulator::{Bucket, Options, RetentionPolicy};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Server};

#[tokio::test]
async fn held_objects_are_neither_deleted_nor_replaced() {
    let server = Server::start().await;
    for hold in ["temporaryHold", "eventBasedHold"] {
        server.put("a", "", "before").await;
        assert_eq!(server.patch("a", json!({hold: true})).await.json()[hold], true);
        assert_eq!(server.delete("a", "").await.outcome(), "403 objectUnderActiveHold");
        assert_eq!(server.put("a", "", "after").await.outcome(), "403 objectUnderActiveHold");
        assert_eq!(server.patch("a", json!({"metadata": {"k": "v"}})).await.status, 200);
        let compose = json!({"sourceObjects": [{"name": "a"}]});
        let composed = Answer::of(server.request(Method::POST, "/storage/v1/b/dx/o/a/compose").json(&compose)).await;
        assert_eq!(composed.outcome(), "403 objectUnderActiveHold");
        assert_eq!(server.get("/storage/v1/b/dx/o/a?alt=media").await.text(), "before");
        server.patch("a", json!({hold: false})).await;
        assert_eq!(server.delete("a", "").await.status, 204);
    }
}

#[tokio::test]
async fn a_retention_policy_keeps_objects_for_its_period() {
    let now = Arc::new(AtomicI64::new(1_000));
    let clock = Arc::clone(&now);
    let options =
        Options { clock: Arc::new(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap()), ..Options::default() };
    let retention = Some(RetentionPolicy { period: SignedDuration::from_secs(60), locked: false });
    let server = Server::start_with(options, Bucket { retention, ..Bucket::default() }).await;
    let written = server.put("a", "", "x").await.json();
    assert_eq!(written["retentionExpirationTime"], "1970-01-01T00:17:40.000Z");
    let refusal = server.delete("a", "").await;
    assert_eq!(refusal.outcome(), "403 retentionPolicyNotMet");
    let message = refusal.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("until 1970-01-01T00:17:40.000Z"), "{message}");
    assert_eq!(server.put("a", "", "y").await.outcome(), "403 retentionPolicyNotMet");
    assert_eq!(server.put("a", "&ifGenerationMatch=0", "y").await.outcome(), "412 conditionNotMet");
    now.store(1_060, Ordering::Relaxed);
    assert_eq!(server.put("a", "", "y").await.status, 200);
    now.store(1_120, Ordering::Relaxed);
    assert_eq!(server.delete("a", "").await.status, 204);
}

#[tokio::test]
async fn a_locked_policy_stays() {
    let server = Server::start().await;
    let change = |period: &str| {
        server.request(Method::PATCH, "/storage/v1/b/dx").json(&json!({"retentionPolicy": {"retentionPeriod": period}}))
    };
    let bucket = Answer::of(change("100")).await.json();
    let metageneration = bucket["metageneration"].as_str().unwrap();
    let lock = |metageneration: &str| format!("/storage/v1/b/dx/lockRetentionPolicy?ifMetagenerationMatch={metageneration}");
    assert_eq!(server.send(Method::POST, &lock("99")).await.status, 412);
    let locked = server.send(Method::POST, &lock(metageneration)).await.json();
    assert_eq!(locked["retentionPolicy"]["isLocked"], true);
    assert_eq!(Answer::of(change("99")).await.outcome(), "403 forbidden");
    assert_eq!(Answer::of(change("101")).await.status, 200);
}

#[tokio::test]
async fn new_objects_are_held_where_the_bucket_says_so() {
    let server = Server::start_with(Options::default(), Bucket { default_event_based_hold: true, ..Bucket::default() }).await;
    assert_eq!(server.put("a", "", "x").await.json()["eventBasedHold"], true);
    assert_eq!(server.delete("a", "").await.outcome(), "403 objectUnderActiveHold");
}

#[tokio::test]
async fn buckets_are_created_and_deleted_when_they_are_empty() {
    let server = Server::start().await;
    let create = |name: &str| server.request(Method::POST, "/storage/v1/b?project=p").json(&json!({"name": name}));
    assert_eq!(Answer::of(create("other")).await.json()["name"], "other");
    assert_eq!(Answer::of(create("other")).await.outcome(), "409 conflict");
    assert_eq!(Answer::of(create("No Name")).await.outcome(), "400 invalid");
    server.put("a", "", "x").await;
    assert_eq!(server.send(Method::DELETE, "/storage/v1/b/dx").await.outcome(), "409 conflict");
    assert_eq!(server.send(Method::DELETE, "/storage/v1/b/other").await.status, 204);
    assert_eq!(server.get("/storage/v1/b/other").await.status, 404);
    assert_eq!(server.get("/storage/v1/b?project=p").await.json()["items"].as_array().unwrap().len(), 1);
}
