//! Who may do what.

use dxdr_storage_emulator::{Access, Bucket, Identity, Options};
use reqwest::Method;

use crate::client::{Answer, Server};

async fn server() -> Server {
    let identity = |name: &str, access| Identity { name: format!("{name}@p"), token: Some(format!("{name}-token")), access };
    let identities = vec![
        identity("reader", Access::Read),
        identity("creator", Access::Create),
        identity("writer", Access::Everything),
        identity("nobody", Access::Nothing),
    ];
    let options = Options { identities, metadata_token: Some("writer-token".to_owned()), ..Options::default() };
    Server::start_with(options, Bucket::default()).await
}

async fn as_whom(server: &Server, name: &str, method: Method, path: &str) -> u16 {
    Answer::of(server.request(method, path).bearer_auth(format!("{name}-token")).body("x")).await.status
}

#[tokio::test]
async fn identities_may_do_what_they_may() {
    let server = server().await;
    let write = "/upload/storage/v1/b/dx/o?uploadType=media&name=a";
    let (stat, list) = ("/storage/v1/b/dx/o/a", "/storage/v1/b/dx/o");
    for (name, create, replace, read, listed, delete) in [
        ("reader", 403, 403, 200, 200, 403),
        ("creator", 412, 403, 403, 403, 403),
        ("nobody", 403, 403, 403, 403, 403),
        ("stranger", 401, 401, 401, 401, 401),
        ("writer", 412, 200, 200, 200, 204),
    ] {
        if name == "reader" {
            assert_eq!(as_whom(&server, "creator", Method::POST, &format!("{write}&ifGenerationMatch=0")).await, 200);
        }
        assert_eq!(as_whom(&server, name, Method::POST, &format!("{write}&ifGenerationMatch=0")).await, create, "{name}");
        assert_eq!(as_whom(&server, name, Method::POST, write).await, replace, "{name}");
        assert_eq!(as_whom(&server, name, Method::GET, stat).await, read, "{name}");
        assert_eq!(as_whom(&server, name, Method::GET, list).await, listed, "{name}");
        assert_eq!(as_whom(&server, name, Method::DELETE, stat).await, delete, "{name}");
    }
    assert_eq!(server.get(stat).await.outcome(), "401 required");
    assert!(server.emulator.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[tokio::test]
async fn a_session_goes_on_without_credentials() {
    let server = server().await;
    let begin = server.request(Method::POST, "/upload/storage/v1/b/dx/o?uploadType=resumable&name=a");
    let url = Answer::of(begin.bearer_auth("writer-token")).await.header("location").to_owned();
    assert_eq!(Answer::of(server.to(Method::PUT, &url).body("bytes")).await.status, 200);
}

#[tokio::test]
async fn permissions_are_told() {
    let server = server().await;
    let path = "/storage/v1/b/dx/iam/testPermissions?permissions=storage.objects.get&permissions=storage.objects.create";
    let answer = Answer::of(server.request(Method::GET, path).bearer_auth("reader-token")).await;
    assert_eq!(answer.json()["permissions"], serde_json::json!(["storage.objects.get"]));
}

#[tokio::test]
async fn the_metadata_server_hands_its_token_out() {
    let answer = server().await.get("/computeMetadata/v1/instance/service-accounts/default/token").await;
    assert_eq!((answer.json()["access_token"].as_str(), answer.header("metadata-flavor")), (Some("writer-token"), "Google"));
}
