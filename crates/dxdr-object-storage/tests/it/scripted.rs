//! The S3 store against a server that misbehaves as told.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Request, Response, StatusCode},
};
use dxdr_object_storage::{
    S3Options, S3Storage, hints,
    s3::{S3Credentials, S3Encryption, S3Patience},
    storage_error_of,
};
use dxdr_provider::{
    StorageError, StorageErrorKind,
    object_storage::{ListRequest, ObjectBody, ObjectStat, ObjectStorage, PutCondition},
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;

use crate::conformance::{pattern, streamed};

/// What a server does with one request.
type Answer = Box<dyn FnOnce(&Asked) -> Response<Body> + Send>;

type Usual = fn(&Asked) -> Response<Body>;

/// A request as the server saw it.
#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<Asked>>,
    /// Answers what the script has no answer for.
    otherwise: Mutex<Option<Usual>>,
}

struct Server {
    script: Arc<Script>,
    endpoint: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start() -> Self {
        let script = Arc::new(Script::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, endpoint, task }
    }

    fn then(self, answer: impl FnOnce(&Asked) -> Response<Body> + Send + 'static) -> Self {
        self.script.answers.lock().unwrap().push_back(Box::new(answer));
        self
    }

    fn otherwise(self, answer: Usual) -> Self {
        *self.script.otherwise.lock().unwrap() = Some(answer);
        self
    }

    fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    async fn storage(&self) -> S3Storage {
        self.storage_with(|_| {}).await
    }

    async fn storage_with(&self, change: impl FnOnce(&mut S3Options)) -> S3Storage {
        let mut options = S3Options {
            bucket: "dx".to_owned(),
            prefix: "velero".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: Some("us-east-1".to_owned()),
            force_path_style: true,
            credentials: Some(S3Credentials {
                access_key_id: "key".to_owned(),
                secret_access_key: "secret".to_owned(),
                session_token: None,
            }),
            patience: S3Patience {
                answer: Duration::from_millis(500),
                stall: Duration::from_millis(1500),
                pause: Duration::from_millis(10),
                ..S3Patience::default()
            },
            ..S3Options::default()
        };
        change(&mut options);
        S3Storage::connect(options).await.unwrap()
    }
}

async fn answer(State(script): State<Arc<Script>>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked { method: head.method, path: head.uri.to_string(), headers: head.headers, body };
    script.asked.lock().unwrap().push(asked.clone());
    let answer = script.answers.lock().unwrap().pop_front();
    let otherwise = *script.otherwise.lock().unwrap();
    match (answer, otherwise) {
        (Some(answer), _) => answer(&asked),
        (None, Some(answer)) => answer(&asked),
        (None, None) => refuse(StatusCode::IM_A_TEAPOT, "Unscripted"),
    }
}

fn refuse(status: StatusCode, code: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told.</Message></Error>");
    Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .header("x-amz-request-id", "R1")
        .body(Body::from(body))
        .unwrap()
}

fn slow_down(_: &Asked) -> Response<Body> {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")
}

fn internal_error(_: &Asked) -> Response<Body> {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
}

fn written(_: &Asked) -> Response<Body> {
    Response::builder().header("etag", "\"tag\"").body(Body::empty()).unwrap()
}

fn missing(_: &Asked) -> Response<Body> {
    refuse(StatusCode::NOT_FOUND, "NoSuchKey")
}

const LENGTH: usize = 1_000_000;

/// The object, or the range of it that is asked for; `sent` bytes of it, and then the connection breaks.
fn object(asked: &Asked, sent: usize) -> Response<Body> {
    let whole = pattern(LENGTH);
    let start: usize =
        asked.header("range").map_or(0, |range| range.trim_start_matches("bytes=").split('-').next().unwrap().parse().unwrap());
    let mut response = Response::builder().header("etag", "\"tag\"").header("content-length", LENGTH - start);
    if start > 0 {
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {start}-{}/{LENGTH}", LENGTH - 1));
    }
    let chunks: Vec<Result<Bytes, io::Error>> =
        whole[start..].chunks(10_000).take(sent / 10_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let is_broken = sent < LENGTH - start;
    response.body(if is_broken { broken(chunks) } else { Body::from_stream(stream::iter(chunks)) }).unwrap()
}

/// Sends what there is, and then breaks the connection.
fn broken(chunks: Vec<Result<Bytes, io::Error>>) -> Body {
    let end = stream::once(async {
        // What came before is on its way by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("the connection breaks"))
    });
    Body::from_stream(stream::iter(chunks).chain(end))
}

fn hangs(_: &Asked) -> Response<Body> {
    Response::builder()
        .header("etag", "\"tag\"")
        .header("content-length", LENGTH)
        .body(Body::from_stream(stream::pending::<Result<Bytes, io::Error>>()))
        .unwrap()
}

async fn read(storage: &S3Storage) -> Result<Vec<u8>, StorageError> {
    let reader = storage.get("object", None).await?;
    let outcome: Result<Vec<_>, _> = reader.stream.try_collect().await;
    outcome.map(|pieces| pieces.concat()).map_err(|error| {
        assert!(storage_error_of(&error).is_some(), "{error:?}");
        *error.into_inner().unwrap().downcast::<StorageError>().unwrap()
    })
}

async fn put(storage: &S3Storage, condition: PutCondition) -> Result<(), StorageError> {
    storage.put("object", ObjectBody::Bytes("bytes".into()), condition).await.map(|_| ())
}

fn names_the_store(error: &StorageError, server: &Server) {
    assert!(error.to_string().contains(&format!("s3://dx/velero at {}", server.endpoint)), "{error}");
}

#[tokio::test]
async fn internal_errors_are_tried_again() {
    let server = Server::start().await.then(internal_error).then(internal_error).then(written);
    put(&server.storage().await, PutCondition::Always).await.unwrap();
    assert_eq!(server.asked().len(), 3);
    assert!(server.asked().iter().all(|asked| asked.body == "bytes" && asked.path.starts_with("/dx/velero/object")));
}

#[tokio::test]
async fn a_server_that_stays_broken_is_unavailable_after_four_attempts() {
    let server = Server::start().await.otherwise(internal_error);
    let error = put(&server.storage().await, PutCondition::Always).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable);
    assert_eq!(server.asked().len(), 4);
    names_the_store(&error, &server);
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "InternalError: as told (HTTP 500, request R1)");
}

#[tokio::test]
async fn a_server_that_asks_to_slow_down_is_asked_again_and_then_throttled() {
    let server = Server::start()
        .await
        .then(slow_down)
        .then(|_| refuse(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"))
        .then(written)
        .otherwise(slow_down);
    let storage = server.storage().await;
    put(&storage, PutCondition::Always).await.unwrap();
    assert_eq!(server.asked().len(), 3);
    let error = storage.list(&ListRequest::default()).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Throttled);
    assert_eq!(server.asked().len(), 3 + 4);
    assert!(!hints(&error).is_empty());
    names_the_store(&error, &server);
}

#[tokio::test]
async fn what_is_replaced_is_what_was_read_also_when_it_changes_behind_the_look() {
    for refusal in [(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"), (StatusCode::NOT_FOUND, "NoSuchKey")] {
        // The second answer to HEAD is whose object it is that is in the way: somebody else's.
        let server = Server::start().await.then(written).then(move |_| refuse(refusal.0, refusal.1)).otherwise(written);
        let storage = server.storage().await;
        let read = ObjectStat { key: "object".to_owned(), size: 0, modified: None, tag: Some("\"tag\"".to_owned()) };
        assert_eq!(storage.replace(&read, "bytes".into()).await.unwrap(), None);
        let asked = server.asked();
        assert_eq!((asked[0].method.as_str(), asked[1].method.as_str()), ("HEAD", "PUT"));
        assert_eq!(asked[1].header("if-match"), Some("\"tag\""));
    }
}

#[tokio::test]
async fn a_broken_download_is_taken_up_where_it_broke() {
    let server = Server::start()
        .await
        .then(|asked| object(asked, 300_000))
        .then(|asked| object(asked, 300_000))
        .otherwise(|asked| object(asked, LENGTH));
    assert!(read(&server.storage().await).await.unwrap() == pattern(LENGTH));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].header("range"), None);
    for resumed in &asked[1..] {
        assert!(resumed.header("range").is_some());
        assert_eq!(resumed.header("if-match"), Some("\"tag\""), "pinned to what was begun");
    }
}

#[tokio::test]
async fn a_download_that_breaks_again_and_again_is_given_up() {
    let server = Server::start().await.otherwise(|asked| object(asked, 50_000));
    let error = read(&server.storage().await).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unavailable, "{error:?}");
    assert_eq!(server.asked().len(), 4);
    names_the_store(&error, &server);
}

#[tokio::test]
async fn a_connection_dropped_before_the_answer_is_tried_again() {
    // Dropped as soon as something is asked, three times; then it answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::start().await;
    server.endpoint = format!("http://{}", listener.local_addr().unwrap());
    let dropping = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut asked = [0; 4096];
        for _ in 0..3 {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut asked).await.unwrap();
        }
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut asked).await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"tag\"\r\n\r\n").await.unwrap();
    });
    assert_eq!(server.storage().await.stat("object").await.unwrap().size, 5);
    dropping.await.unwrap();
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_an_error() {
    let server = Server::start()
        .await
        .then(|asked| object(asked, 300_000))
        .then(|_| refuse(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"));
    assert_eq!(read(&server.storage().await).await.unwrap_err().kind, StorageErrorKind::Corrupt);
}

#[tokio::test]
async fn a_flipped_byte_is_found_by_the_checksum() {
    // The checksum of the digits 1 to 9.
    let answer = |body: &'static str| {
        move |_: &Asked| {
            Response::builder()
                .header("etag", "\"tag\"")
                .header("x-amz-checksum-crc32c", "4waSgw==")
                .body(Body::from(body))
                .unwrap()
        }
    };
    let server = Server::start().await.then(answer("123456789")).then(answer("123456780"));
    let storage = server.storage().await;
    assert_eq!(read(&storage).await.unwrap(), b"123456789");
    assert_eq!(read(&storage).await.unwrap_err().kind, StorageErrorKind::Corrupt);
}

#[tokio::test]
async fn the_checksum_of_a_download_in_two_pieces_is_checked_too() {
    let first = |_: &Asked| {
        let body = broken(vec![Ok(Bytes::from("12345"))]);
        Response::builder()
            .header("etag", "\"tag\"")
            .header("x-amz-checksum-crc32c", "4waSgw==")
            .header("content-length", 9)
            .body(body)
            .unwrap()
    };
    let rest = |body: &'static str| {
        move |asked: &Asked| {
            assert_eq!(asked.header("range"), Some("bytes=5-8"));
            Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header("etag", "\"tag\"")
                .header("content-range", "bytes 5-8/9")
                .body(Body::from(body))
                .unwrap()
        }
    };
    let server = Server::start().await.then(first).then(rest("6789")).then(first).then(rest("6780"));
    let storage = server.storage().await;
    assert_eq!(read(&storage).await.unwrap(), b"123456789");
    let error = read(&storage).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Corrupt, "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_timed_out() {
    // Accepts and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::start().await;
    server.endpoint = format!("http://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    let begin = Instant::now();
    let storage = server.storage().await;
    for error in [
        storage.stat("object").await.unwrap_err(),
        put(&storage, PutCondition::Always).await.unwrap_err(),
        read(&storage).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StorageErrorKind::TimedOut, "{error:?}");
        names_the_store(&error, &server);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    silent.abort();
}

#[tokio::test]
async fn a_download_that_stands_still_ends() {
    let server = Server::start().await.otherwise(hangs);
    let begin = Instant::now();
    let storage = server.storage_with(|options| options.patience.attempts = 1).await;
    let error = read(&storage).await.unwrap_err();
    assert!(matches!(error.kind, StorageErrorKind::TimedOut | StorageErrorKind::Unavailable), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_succeeds() {
    let server = Server::start().await;
    let id = Arc::new(Mutex::new(None));
    let (kept, given) = (Arc::clone(&id), id);
    let server = server
        .then(missing)
        .then(move |asked| {
            assert_eq!(asked.header("if-none-match"), Some("*"));
            *kept.lock().unwrap() = asked.header("x-amz-meta-dxdr-write").map(str::to_owned);
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
        })
        .then(|_| refuse(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"))
        .then(move |asked| {
            assert_eq!(asked.method, Method::HEAD);
            let id = given.lock().unwrap().clone().unwrap();
            Response::builder().header("etag", "\"tag\"").header("x-amz-meta-dxdr-write", id).body(Body::empty()).unwrap()
        });
    let storage = server.storage().await;
    storage
        .put("object", ObjectBody::Bytes("bytes".into()), PutCondition::IfAbsent)
        .await
        .unwrap_or_else(|error| panic!("{error:?} {:?}", server.asked()));
}

#[tokio::test]
async fn a_create_that_lost_to_another_writer_fails() {
    let server = Server::start().await.then(missing).otherwise(|asked| match asked.method {
        Method::PUT => refuse(StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        _ => Response::builder()
            .header("etag", "\"other\"")
            .header("x-amz-meta-dxdr-write", "somebody")
            .body(Body::empty())
            .unwrap(),
    });
    let storage = server.storage().await;
    assert_eq!(put(&storage, PutCondition::IfAbsent).await.unwrap_err().kind, StorageErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_still_refuses_what_is_there() {
    let server = Server::start().await.otherwise(|asked| match asked.method {
        Method::HEAD => Response::builder().header("etag", "\"there\"").body(Body::empty()).unwrap(),
        _ => written(asked),
    });
    let storage = server.storage().await;
    assert_eq!(put(&storage, PutCondition::IfAbsent).await.unwrap_err().kind, StorageErrorKind::AlreadyExists);
    assert!(server.asked().iter().all(|asked| asked.method == Method::HEAD));
}

#[tokio::test]
async fn a_part_that_fails_for_good_aborts_the_upload() {
    let server = Server::start().await.otherwise(|asked| match asked.method {
        Method::POST => {
            Response::new(Body::from("<InitiateMultipartUploadResult><UploadId>U1</UploadId></InitiateMultipartUploadResult>"))
        }
        Method::PUT => refuse(StatusCode::FORBIDDEN, "AccessDenied"),
        _ => Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap(),
    });
    let storage = server.storage().await;
    let error = storage.put("object", streamed(pattern(20 << 20)), PutCondition::Always).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Forbidden);
    // A part that was on its way then may come in behind it.
    let asked = server.asked();
    let aborted = asked.iter().find(|asked| asked.method == Method::DELETE).expect("it is aborted");
    assert!(aborted.path.contains("uploadId=U1"), "{}", aborted.path);
}

#[tokio::test]
async fn what_is_written_carries_its_checksum_and_how_to_encrypt_it() {
    let server = Server::start().await.otherwise(written);
    let storage = server.storage_with(|options| options.encryption = Some(S3Encryption::Kms(Some("alias/dx".to_owned())))).await;
    storage.put("object", ObjectBody::Bytes("123456789".into()), PutCondition::Always).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.header("x-amz-checksum-crc32c"), Some("4waSgw=="));
    assert_eq!(asked.header("x-amz-server-side-encryption"), Some("aws:kms"));
    assert_eq!(asked.header("x-amz-server-side-encryption-aws-kms-key-id"), Some("alias/dx"));
    assert_eq!(
        (asked.header("content-encoding"), asked.header("x-amz-trailer")),
        (None, None),
        "no trailers, which other servers do not know"
    );
    assert!(!asked.header("authorization").unwrap().contains("secret"));
}

#[tokio::test]
async fn refusals_are_told_apart_also_where_the_answer_has_no_body() {
    for (status, code, kind) in [
        (StatusCode::NOT_FOUND, "NoSuchBucket", StorageErrorKind::NoSuchStore),
        (StatusCode::FORBIDDEN, "InvalidAccessKeyId", StorageErrorKind::Unauthenticated),
        (StatusCode::FORBIDDEN, "AccessDenied", StorageErrorKind::Forbidden),
        (StatusCode::MOVED_PERMANENTLY, "PermanentRedirect", StorageErrorKind::Invalid),
    ] {
        let server = Server::start()
            .await
            .then(move |_| Response::builder().status(status).body(Body::empty()).unwrap())
            .then(move |_| refuse(status, code));
        let error = server.storage().await.stat("object").await.unwrap_err();
        assert_eq!(error.kind, kind, "{error:?}");
    }
}

#[tokio::test]
async fn missing_credentials_end_soon_in_a_clear_error() {
    let server = Server::start().await.otherwise(written);
    // A profile that exists nowhere: nothing else is asked.
    let storage = server
        .storage_with(|options| {
            options.credentials = None;
            options.profile = Some("dxdr-no-such-profile".to_owned());
        })
        .await;
    let begin = Instant::now();
    let error = storage.list(&ListRequest::default()).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert!(hints(&error)[0].contains("AWS_PROFILE"), "{:?}", hints(&error));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_server_that_is_none_is_an_error() {
    let server = Server::start().await.otherwise(|_| Response::new(Body::from("<html>Welcome!</html>")));
    let error = server.storage().await.list(&ListRequest::default()).await.unwrap_err();
    names_the_store(&error, &server);
    let boxed = stream::iter([Ok(Bytes::from("x"))]).boxed();
    assert!(
        server.storage().await.put("object", ObjectBody::Stream(boxed), PutCondition::Always).await.is_ok(),
        "200 is what S3 says"
    );
}
