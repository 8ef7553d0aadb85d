//! What goes wrong when it is told to.

use std::time::Duration;

use dxdr_storage_emulator::{Failing, Fault};
use reqwest::Method;

use crate::client::{Answer, Server};

const LENGTH: usize = 1_000_000;

async fn with_object() -> Server {
    let server = Server::start().await;
    let path = "/upload/storage/v1/b/dx/o?uploadType=media&name=a";
    assert_eq!(Answer::of(server.request(Method::POST, path).body(vec![7; LENGTH])).await.status, 200);
    server
}

const READ: &str = "/storage/v1/b/dx/o/a?alt=media";

#[tokio::test]
async fn requests_are_refused_before_or_after_they_are_carried_out() {
    let server = Server::start().await;
    server.emulator.faults().add(Fault::new(Failing::Refused(429, "rateLimitExceeded")).times(1));
    server.emulator.faults().add(Fault::new(Failing::RefusedAfter(503, "backendError")).times(1));
    assert_eq!(server.put("a", "", "x").await.outcome(), "429 rateLimitExceeded");
    assert_eq!(server.emulator.object_names("dx").len(), 0);
    assert_eq!(server.put("a", "", "x").await.outcome(), "503 backendError");
    assert_eq!(server.emulator.object_names("dx"), ["a"]);
    assert_eq!(server.put("a", "", "x").await.status, 200);
}

#[tokio::test]
async fn connections_are_dropped_before_or_after_a_request_is_carried_out() {
    let server = Server::start().await;
    for (failing, carried_out) in [(Failing::Dropped, 0), (Failing::DroppedAfter, 1)] {
        server.emulator.faults().add(Fault::new(failing).times(1));
        let request = server.request(Method::POST, "/upload/storage/v1/b/dx/o?uploadType=media&name=a").body("x");
        assert!(request.send().await.is_err());
        assert_eq!(server.emulator.object_names("dx").len(), carried_out);
    }
}

#[tokio::test]
async fn a_broken_upload_keeps_whole_quanta_in_its_session() {
    let server = Server::start().await;
    let begin = server.request(Method::POST, "/upload/storage/v1/b/dx/o?uploadType=resumable&name=a");
    let url = Answer::of(begin).await.header("location").to_owned();
    server.emulator.faults().add(Fault::new(Failing::BrokenUpload(600_000)).target("upload_id=").times(1));
    assert!(server.to(Method::PUT, &url).body(vec![7; LENGTH]).send().await.is_err());
    let status = Answer::of(server.to(Method::PUT, &url).header("content-range", "bytes */*").body("")).await;
    assert_eq!((status.status, status.header("range")), (308, "bytes=0-524287"));
}

#[tokio::test]
async fn downloads_break_end_early_and_are_changed() {
    let server = with_object().await;
    let faults = server.emulator.faults();
    faults.add(Fault::new(Failing::BrokenDownload(300_000)).times(1));
    let mut broken = server.request(Method::GET, READ).send().await.unwrap();
    let mut received = 0;
    while let Ok(Some(bytes)) = broken.chunk().await {
        received += bytes.len();
    }
    assert_eq!(received, 300_000);
    faults.add(Fault::new(Failing::Truncated(300_000)).times(1));
    let truncated = server.get(READ).await;
    assert_eq!((truncated.body.len(), truncated.header("x-goog-stored-content-length")), (300_000, "1000000"));
    faults.add(Fault::new(Failing::FlippedDownload(500_000)).times(1));
    let flipped = server.get(READ).await.body;
    assert_eq!(flipped.iter().enumerate().filter(|(_, byte)| **byte != 7).map(|(at, _)| at).collect::<Vec<_>>(), [500_000]);
    assert!(server.emulator.damage("dx", "a", 10) && !server.emulator.damage("dx", "a", 1_000_000));
    let damaged = server.get(READ).await.body;
    assert_eq!((damaged.len(), damaged[9], damaged[10], damaged[11]), (LENGTH, 7, !7, 7));
}

#[tokio::test]
async fn checksums_are_wrong_and_uploads_are_changed() {
    let server = with_object().await;
    let faults = server.emulator.faults();
    faults.add(Fault::new(Failing::WrongChecksum).times(2));
    assert_eq!(server.get(READ).await.header("x-goog-hash"), "crc32c=AAAAAA==");
    assert_eq!(server.put("b", "", "x").await.json()["crc32c"], "AAAAAA==");
    faults.add(Fault::new(Failing::FlippedUpload(8)).times(1));
    assert_ne!(server.put("b", "", "123456789").await.json()["crc32c"], "4waSgw==");
}

#[tokio::test]
async fn answers_are_slow_or_never_come() {
    let server = with_object().await;
    server.emulator.faults().add(Fault::new(Failing::Slow(Duration::from_millis(50))).times(1));
    server.emulator.faults().add(Fault::new(Failing::Silent).times(1));
    assert_eq!(server.get(READ).await.status, 200);
    let silent = server.request(Method::GET, READ).timeout(Duration::from_millis(200)).send().await;
    assert!(silent.unwrap_err().is_timeout());
}
