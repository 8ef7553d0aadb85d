//! Multipart uploads and resumable sessions.

use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Server};

const QUANTUM: usize = 256 * 1024;

async fn begin(server: &Server, query: &str) -> Answer {
    let path = format!("/upload/storage/v1/b/dx/o?uploadType=resumable&name=a{query}");
    Answer::of(server.request(Method::POST, &path).json(&json!({"metadata": {"k": "v"}}))).await
}

async fn session(server: &Server) -> String {
    let answer = begin(server, "").await;
    assert_eq!(answer.status, 200);
    answer.header("location").to_owned()
}

async fn piece(server: &Server, url: &str, range: &str, body: Vec<u8>) -> Answer {
    Answer::of(server.to(Method::PUT, url).header("content-range", range).body(body)).await
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position % 251) as u8).collect()
}

async fn content(server: &Server) -> Vec<u8> {
    server.get("/storage/v1/b/dx/o/a?alt=media").await.body
}

#[tokio::test]
async fn a_multipart_upload_has_metadata_and_checks_its_checksums() {
    let server = Server::start().await;
    let upload = async |crc32c: &str, trailer: &str| {
        let body = format!(
            "--x\r\ncontent-type: application/json\r\n\r\n{{\"metadata\": {{\"k\": \"v\"}}, \"crc32c\": \"{crc32c}\"}}\r\n--x\r\ncontent-type: text/plain\r\n\r\n123456789\r\n{trailer}--x--"
        );
        let request = server
            .request(Method::POST, "/upload/storage/v1/b/dx/o?uploadType=multipart&name=a&ifGenerationMatch=0")
            .header("content-type", "multipart/related; boundary=x")
            .body(body);
        Answer::of(request).await
    };
    assert_eq!(upload("AAAAAA==", "").await.outcome(), "400 invalid");
    assert_eq!(upload("", "--x\r\n\r\n{\"crc32c\": \"AAAAAA==\"}\r\n").await.outcome(), "400 invalid");
    assert_eq!(upload("4waSgw==", "").await.json()["metadata"], json!({"k": "v"}));
    assert_eq!(upload("4waSgw==", "").await.outcome(), "412 conditionNotMet");
    assert_eq!(content(&server).await, b"123456789");
}

#[tokio::test]
async fn a_session_takes_pieces_and_tells_how_far_it_is() {
    let server = Server::start().await;
    let url = session(&server).await;
    assert!(url.starts_with(&server.emulator.endpoint()), "{url}");
    let whole = bytes(2 * QUANTUM + 10);
    let status = |answer: &Answer| (answer.status, answer.header("range").to_owned());
    assert_eq!(status(&piece(&server, &url, "bytes */*", vec![]).await), (308, String::new()));
    let first = piece(&server, &url, &format!("bytes 0-{}/*", QUANTUM - 1), whole[..QUANTUM].to_vec()).await;
    assert_eq!(status(&first), (308, format!("bytes=0-{}", QUANTUM - 1)));
    assert_eq!(status(&piece(&server, &url, "bytes */*", vec![]).await), status(&first));
    // What is there already may come again.
    let range = format!("bytes 100-{}/{}", whole.len() - 1, whole.len());
    let last = piece(&server, &url, &range, whole[100..].to_vec()).await;
    assert_eq!((last.status, last.json()["size"].as_str().unwrap().to_owned()), (200, whole.len().to_string()));
    assert!(content(&server).await == whole);
    let asked_again = piece(&server, &url, "bytes */*", vec![]).await;
    assert_eq!((asked_again.status, asked_again.json()), (200, last.json()));
    assert_eq!(server.emulator.open_sessions(), 0);
}

#[tokio::test]
async fn a_session_may_end_empty_or_at_a_border() {
    let server = Server::start().await;
    let url = session(&server).await;
    assert_eq!(piece(&server, &url, "bytes */0", vec![]).await.json()["size"], "0");
    let url = session(&server).await;
    assert_eq!(piece(&server, &url, &format!("bytes 0-{}/*", QUANTUM - 1), bytes(QUANTUM)).await.status, 308);
    assert_eq!(piece(&server, &url, &format!("bytes */{QUANTUM}"), vec![]).await.json()["size"], QUANTUM.to_string());
    let url = session(&server).await;
    assert_eq!(piece(&server, &url, "bytes 0-*/*", bytes(12)).await.json()["size"], "12");
}

#[tokio::test]
async fn pieces_that_do_not_fit_are_refused() {
    let server = Server::start().await;
    let url = session(&server).await;
    for (range, length) in
        [("bytes 0-9/*", 10), ("bytes 262144-262153/262154", 10), ("bytes 0-9/10", 9), ("bytes 0-9/9", 10), ("items 0-9/10", 10)]
    {
        assert_eq!(piece(&server, &url, range, bytes(length)).await.outcome(), "400 invalid", "{range}");
    }
    let wrong = server.to(Method::PUT, &url).header("content-range", "bytes 0-8/9").header("x-goog-hash", "crc32c=AAAAAA==");
    assert_eq!(Answer::of(wrong.body("123456789")).await.outcome(), "400 invalid");
    assert_eq!(server.get("/storage/v1/b/dx/o/a").await.status, 404);
}

#[tokio::test]
async fn conditions_are_checked_when_a_session_begins_and_when_it_ends() {
    let server = Server::start().await;
    let url = begin(&server, "&ifGenerationMatch=0").await.header("location").to_owned();
    server.put("a", "", "meanwhile").await;
    assert_eq!(begin(&server, "&ifGenerationMatch=0").await.outcome(), "412 conditionNotMet");
    assert_eq!(piece(&server, &url, "bytes 0-9/10", bytes(10)).await.outcome(), "412 conditionNotMet");
    assert_eq!(content(&server).await, b"meanwhile");
}

#[tokio::test]
async fn sessions_are_cancelled_and_expire() {
    let server = Server::start().await;
    let cancelled = session(&server).await;
    assert_eq!(Answer::of(server.to(Method::DELETE, &cancelled)).await.status, 499);
    assert_eq!(piece(&server, &cancelled, "bytes */*", vec![]).await.status, 499);
    let expired = session(&server).await;
    server.emulator.expire_sessions();
    assert_eq!(piece(&server, &expired, "bytes 0-9/10", bytes(10)).await.outcome(), "410 gone");
    assert_eq!(piece(&server, &expired.replace("S0000", "S9"), "bytes */*", vec![]).await.status, 404);
}

#[tokio::test]
async fn session_urls_begin_with_the_configured_base() {
    let options = dxdr_storage_emulator::Options { base: Some("http://storage.test:8080/".to_owned()), ..Default::default() };
    let server = Server::start_with(options, Default::default()).await;
    assert!(session(&server).await.starts_with("http://storage.test:8080/upload/storage/v1/b/dx/o?"));
}
