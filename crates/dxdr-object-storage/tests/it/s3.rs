//! The store in a bucket of a real server, when `DXDR_TEST_S3_*` name one.

use std::{
    env,
    time::{Duration, Instant},
};

use dxdr_object_storage::{
    S3Options, S3Storage, hints,
    s3::{S3Checksums, S3Credentials, S3Patience},
};
use dxdr_provider::object_storage::{ListRequest, ObjectBody, ObjectStorage, PutCondition, StorageErrorKind};
use futures::{StreamExt, TryStreamExt, stream};

use crate::conformance::{self, pattern, put, read};

/// The server to test against; `None`, and said so by the caller, when there is none.
pub(crate) fn options() -> Option<S3Options> {
    let variable = |name: &str| env::var(format!("DXDR_TEST_S3_{name}")).ok().filter(|value| !value.is_empty());
    let promised = env::var_os("DXDR_TEST_REQUIRED").is_some();
    assert!(!promised || variable("ENDPOINT").is_some(), "a server is promised, and DXDR_TEST_S3_* name none");
    Some(S3Options {
        endpoint: Some(variable("ENDPOINT")?),
        bucket: variable("BUCKET")?,
        region: Some("us-east-1".to_owned()),
        force_path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: variable("ACCESS_KEY")?,
            secret_access_key: variable("SECRET_KEY")?,
            session_token: None,
        }),
        ..S3Options::default()
    })
}

/// An empty store: a prefix that nobody used, emptied at the end.
async fn fresh() -> Option<(Emptied, S3Storage)> {
    let mut options = options()?;
    let name = tempfile::Builder::new().prefix("").tempdir().unwrap();
    options.prefix = format!("conformance/{}", name.path().file_name().unwrap().to_str().unwrap());
    let storage = S3Storage::connect(options).await.unwrap();
    Some((Emptied(storage.clone()), storage))
}

struct Emptied(S3Storage);

impl Drop for Emptied {
    fn drop(&mut self) {
        let storage = self.0.clone();
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for key in conformance::all_keys(&storage).await {
                    storage.delete(&key).await.unwrap();
                }
            });
        });
    }
}

conformance::suite!(fresh().await);

macro_rules! options_or_return {
    ($name:literal) => {
        match options() {
            Some(options) => options,
            None => return eprintln!("did not run: {} (no S3 server)", $name),
        }
    };
}

#[tokio::test]
async fn wrong_credentials_are_unauthenticated() {
    let mut options = options_or_return!("wrong_credentials_are_unauthenticated");
    let right = options.credentials.clone().unwrap();
    for wrong in [
        S3Credentials { secret_access_key: "not-the-secret".to_owned(), ..right.clone() },
        S3Credentials { access_key_id: "nobody".to_owned(), ..right },
    ] {
        options.credentials = Some(wrong);
        let storage = S3Storage::connect(options.clone()).await.unwrap();
        for error in failures(&storage).await {
            assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error:?}");
            assert!(!hints(&error).is_empty());
            assert!(!format!("{error:?}").contains("not-the-secret"));
        }
    }
}

#[tokio::test]
async fn a_missing_bucket_is_no_such_store() {
    let mut options = options_or_return!("a_missing_bucket_is_no_such_store");
    options.bucket = "dxdr-no-such-bucket".to_owned();
    let storage = S3Storage::connect(options.clone()).await.unwrap();
    // SeaweedFS creates the bucket of a put when the identity may; so only what reads is tried.
    for error in [
        storage.stat("a").await.unwrap_err(),
        storage.get("a", None).await.unwrap_err(),
        storage.list(&ListRequest::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StorageErrorKind::NoSuchStore, "{error:?}");
        assert!(hints(&error)[0].contains("s3 mb s3://dxdr-no-such-bucket"), "{:?}", hints(&error));
        assert!(error.to_string().contains(options.endpoint.as_ref().unwrap()));
    }
}

#[tokio::test]
async fn an_identity_that_may_only_read_is_forbidden_to_write() {
    let mut options = options_or_return!("an_identity_that_may_only_read_is_forbidden_to_write");
    let (Ok(access_key_id), Ok(secret_access_key)) =
        (env::var("DXDR_TEST_S3_READONLY_ACCESS_KEY"), env::var("DXDR_TEST_S3_READONLY_SECRET_KEY"))
    else {
        return eprintln!("did not run: an_identity_that_may_only_read_is_forbidden_to_write (no such identity)");
    };
    options.prefix = "readonly".to_owned();
    let writer = S3Storage::connect(options.clone()).await.unwrap();
    put(&writer, "a", "x").await;
    options.credentials = Some(S3Credentials { access_key_id, secret_access_key, session_token: None });
    let reader = S3Storage::connect(options).await.unwrap();
    assert_eq!(read(&reader, "a").await, b"x");
    for condition in [PutCondition::Always, PutCondition::IfAbsent] {
        for body in [ObjectBody::Bytes("y".into()), conformance::streamed(pattern(9 << 20))] {
            let error = reader.put("b", body, condition).await.unwrap_err();
            assert_eq!(error.kind, StorageErrorKind::Forbidden, "{error:?}");
            assert!(hints(&error)[0].contains("s3:PutObject"));
        }
    }
    assert_eq!(reader.delete("a").await.unwrap_err().kind, StorageErrorKind::Forbidden);
    assert_eq!(read(&writer, "a").await, b"x");
    writer.delete("a").await.unwrap();
}

#[tokio::test]
async fn a_dropped_upload_leaves_no_parts() {
    let mut options = options_or_return!("a_dropped_upload_leaves_no_parts");
    options.prefix = "dropped".to_owned();
    let storage = S3Storage::connect(options.clone()).await.unwrap();
    let endless = stream::iter((0..20).map(|_| Ok(vec![0; 1 << 20].into()))).chain(stream::pending()).boxed();
    let put = storage.put("large", ObjectBody::Stream(endless), PutCondition::Always);
    assert!(tokio::time::timeout(Duration::from_secs(3), put).await.is_err(), "the stream never ends");
    // The abort runs by itself.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(uploads(&options).await, 0);
    assert_eq!(storage.stat("large").await.unwrap_err().kind, StorageErrorKind::NotFound);
    let broken = stream::iter(
        (0..20).map(|_| Ok(vec![0; 1 << 20].into())).chain([Err(std::io::Error::other("broke"))]).collect::<Vec<_>>(),
    );
    storage.put("large", ObjectBody::Stream(broken.boxed()), PutCondition::Always).await.unwrap_err();
    assert_eq!(uploads(&options).await, 0);
}

/// Uploads that are neither completed nor aborted.
async fn uploads(options: &S3Options) -> usize {
    let credentials = options.credentials.as_ref().unwrap();
    let configuration = aws_sdk_s3::config::Builder::new()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url(options.endpoint.as_ref().unwrap())
        .force_path_style(true)
        .credentials_provider(aws_sdk_s3::config::Credentials::new(
            &credentials.access_key_id,
            &credentials.secret_access_key,
            None,
            None,
            "test",
        ))
        .build();
    let client = aws_sdk_s3::Client::from_conf(configuration);
    let answer = client.list_multipart_uploads().bucket(&options.bucket).prefix(&options.prefix).send().await.unwrap();
    answer.uploads().len()
}

#[tokio::test]
async fn objects_go_without_checksums_when_told_so() {
    let mut options = options_or_return!("objects_go_without_checksums_when_told_so");
    options.prefix = "plain".to_owned();
    options.checksums = S3Checksums::WhenRequired;
    let storage = S3Storage::connect(options).await.unwrap();
    for length in [10, 20 << 20] {
        storage.put("a", conformance::streamed(pattern(length)), PutCondition::Always).await.unwrap();
        assert!(read(&storage, "a").await == pattern(length));
    }
    storage.delete("a").await.unwrap();
}

async fn failures(storage: &S3Storage) -> Vec<dxdr_provider::StorageError> {
    vec![
        storage.stat("a").await.unwrap_err(),
        storage.get("a", None).await.unwrap_err(),
        storage.list(&ListRequest::default()).await.unwrap_err(),
        storage.put("a", ObjectBody::Bytes("x".into()), PutCondition::Always).await.unwrap_err(),
        storage.put("a", ObjectBody::Bytes("x".into()), PutCondition::IfAbsent).await.unwrap_err(),
        storage.put("a", conformance::streamed(pattern(9 << 20)), PutCondition::Always).await.unwrap_err(),
        storage.delete("a").await.unwrap_err(),
    ]
}

#[tokio::test]
async fn an_endpoint_that_nothing_listens_on_is_unreachable_within_seconds() {
    // Bound and closed again: nothing else takes it so soon.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let options = S3Options {
        bucket: "dx".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("us-east-1".to_owned()),
        force_path_style: true,
        credentials: Some(S3Credentials {
            access_key_id: "key".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        }),
        patience: S3Patience { pause: Duration::from_millis(20), ..S3Patience::default() },
        ..S3Options::default()
    };
    let storage = S3Storage::connect(options).await.unwrap();
    let begin = Instant::now();
    for error in failures(&storage).await {
        assert_eq!(error.kind, StorageErrorKind::Unreachable, "{error:?}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(hints(&error)[0].contains("reachable"));
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_range_of_a_large_object_is_streamed() {
    let mut options = options_or_return!("a_range_of_a_large_object_is_streamed");
    options.prefix = "ranges".to_owned();
    let storage = S3Storage::connect(options).await.unwrap();
    storage.put("a", conformance::streamed(pattern(20 << 20)), PutCondition::Always).await.unwrap();
    let reader = storage.get("a", Some((3 << 20)..u64::MAX)).await.unwrap();
    let bytes = reader.stream.try_collect::<Vec<_>>().await.unwrap().concat();
    assert!(bytes == pattern(20 << 20)[3 << 20..]);
    storage.delete("a").await.unwrap();
}
