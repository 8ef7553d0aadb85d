//! Metadata, reads, listings, composing.

use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, Server};

#[tokio::test]
async fn what_is_written_is_described_and_read_back() {
    let server = Server::start().await;
    let written = server.put("a%2Fb%20c", "", "123456789").await.json();
    let stat = server.get("/storage/v1/b/dx/o/a%2Fb%20c").await.json();
    assert_eq!(written, stat);
    assert_eq!((&stat["name"], &stat["size"], &stat["metageneration"]), (&json!("a/b c"), &json!("9"), &json!("1")));
    assert_eq!((&stat["crc32c"], &stat["md5Hash"]), (&json!("4waSgw=="), &json!("JfnnlDI7RTiF9RgfG2JNCw==")));
    for path in ["/storage/v1/b/dx/o/a%2Fb%20c?alt=media", "/download/storage/v1/b/dx/o/a%2Fb%20c?alt=media"] {
        let read = server.get(path).await;
        assert_eq!((read.status, read.text().as_str()), (200, "123456789"));
        assert_eq!(read.header("x-goog-generation"), stat["generation"].as_str().unwrap());
        assert_eq!(read.header("x-goog-hash"), "crc32c=4waSgw==,md5=JfnnlDI7RTiF9RgfG2JNCw==");
        assert_eq!((read.header("x-goog-stored-content-length"), read.header("content-length")), ("9", "9"));
    }
}

#[tokio::test]
async fn ranges_are_partial_content() {
    let server = Server::start().await;
    server.put("a", "", "0123456789").await;
    for (range, status, text, content_range) in [
        ("bytes=0-3", 206, "0123", "bytes 0-3/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=8-100", 206, "89", "bytes 8-9/10"),
        ("bytes=10-12", 416, "Request range not satisfiable", ""),
    ] {
        let read = Answer::of(server.request(Method::GET, "/storage/v1/b/dx/o/a?alt=media").header("range", range)).await;
        assert_eq!((read.status, read.text().as_str(), read.header("content-range")), (status, text, content_range), "{range}");
    }
}

#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let server = Server::start().await;
    assert_eq!(server.get("/storage/v1/b/dx/o/a").await.json()["error"]["message"], "No such object: dx/a");
    assert_eq!(server.get("/storage/v1/b/none/o/a").await.json()["error"]["message"], "The specified bucket does not exist.");
    // Bytes are refused in plain text.
    assert_eq!(server.get("/storage/v1/b/dx/o/a?alt=media").await.text(), "No such object: dx/a");
    assert_eq!(server.delete("a", "").await.outcome(), "404 notFound");
    assert_eq!(server.get("/elsewhere").await.outcome(), "404 notFound");
    assert_eq!(server.get("/storage/v1/b/dx/o?versions=true").await.outcome(), "501 notImplemented");
}

#[tokio::test]
async fn conditions_hold_for_every_operation() {
    let server = Server::start().await;
    let first = server.put("a", "&ifGenerationMatch=0", "one").await.json();
    let generation = first["generation"].as_str().unwrap();
    assert_eq!(server.put("a", "&ifGenerationMatch=0", "two").await.outcome(), "412 conditionNotMet");
    let second = server.put("a", &format!("&ifGenerationMatch={generation}"), "two").await.json();
    let newer = second["generation"].as_str().unwrap();
    assert!(newer.parse::<i64>().unwrap() > generation.parse::<i64>().unwrap());
    for path in ["/storage/v1/b/dx/o/a?", "/storage/v1/b/dx/o/a?alt=media&"] {
        assert_eq!(server.get(&format!("{path}ifGenerationMatch={generation}")).await.status, 412, "{path}");
        assert_eq!(server.get(&format!("{path}ifGenerationNotMatch={newer}")).await.status, 304, "{path}");
        assert_eq!(server.get(&format!("{path}ifMetagenerationMatch=1")).await.status, 200, "{path}");
        assert_eq!(server.get(&format!("{path}ifMetagenerationNotMatch=1")).await.status, 304, "{path}");
        assert_eq!(server.get(&format!("{path}generation={generation}")).await.status, 404, "{path}");
    }
    let path = "/storage/v1/b/dx/o/a?ifMetagenerationMatch=2";
    assert_eq!(Answer::of(server.request(Method::PATCH, path).json(&json!({"metadata": {}}))).await.status, 412);
    assert_eq!(server.delete("a", &format!("?ifGenerationMatch={generation}")).await.status, 412);
    assert_eq!(server.delete("a", &format!("?ifGenerationMatch={newer}")).await.status, 204);
    assert_eq!(server.put("a", &format!("&ifGenerationMatch={newer}"), "three").await.status, 412);
}

#[tokio::test]
async fn metadata_is_patched_and_counted() {
    let server = Server::start().await;
    server.put("a", "", "x").await;
    let patched = server.patch("a", json!({"metadata": {"k": "v", "l": "w"}, "contentType": "text/plain"})).await.json();
    assert_eq!((&patched["metageneration"], &patched["contentType"]), (&json!("2"), &json!("text/plain")));
    let patched = server.patch("a", json!({"metadata": {"k": null}})).await.json();
    assert_eq!((&patched["metadata"], &patched["metageneration"]), (&json!({"l": "w"}), &json!("3")));
    assert_eq!(server.get("/storage/v1/b/dx/o/a?alt=media").await.header("x-goog-meta-l"), "w");
}

#[tokio::test]
async fn listings_have_pages_and_prefixes() {
    let server = Server::start().await;
    for name in ["a%2F1", "a%2F2", "b", "c%2F1"] {
        server.put(name, "", "x").await;
    }
    let page = server.get("/storage/v1/b/dx/o?delimiter=/&maxResults=2").await.json();
    assert_eq!((&page["prefixes"], &page["items"][0]["name"]), (&json!(["a/"]), &json!("b")));
    let token = page["nextPageToken"].as_str().unwrap();
    let page = server.get(&format!("/storage/v1/b/dx/o?delimiter=/&maxResults=2&pageToken={token}")).await.json();
    assert_eq!((&page["prefixes"], page.get("items"), page.get("nextPageToken")), (&json!(["c/"]), None, None));
    assert_eq!(server.get("/storage/v1/b/none/o").await.outcome(), "404 notFound");
    assert_eq!(server.get("/storage/v1/b/dx/o?pageToken=!").await.outcome(), "400 invalid");
}

#[tokio::test]
async fn objects_are_composed() {
    let server = Server::start().await;
    server.put("a", "", "12345").await;
    server.put("b", "", "6789").await;
    let compose = |generation: i64, query: &str| {
        let body = json!({
            "sourceObjects": [{"name": "a"}, {"name": "b", "objectPreconditions": {"ifGenerationMatch": generation}}],
            "destination": {"contentType": "text/plain"},
        });
        server.request(Method::POST, &format!("/storage/v1/b/dx/o/whole/compose{query}")).json(&body)
    };
    let stat = server.get("/storage/v1/b/dx/o/b").await.json();
    let generation = stat["generation"].as_str().unwrap().parse::<i64>().unwrap();
    assert_eq!(Answer::of(compose(generation + 1, "")).await.status, 412);
    let composed = Answer::of(compose(generation, "?ifGenerationMatch=0")).await.json();
    assert_eq!((&composed["crc32c"], &composed["componentCount"]), (&json!("4waSgw=="), &json!(2)));
    assert!(composed.get("md5Hash").is_none());
    assert_eq!(server.get("/storage/v1/b/dx/o/whole?alt=media").await.text(), "123456789");
    assert_eq!(Answer::of(compose(generation, "?ifGenerationMatch=0")).await.status, 412);
}
