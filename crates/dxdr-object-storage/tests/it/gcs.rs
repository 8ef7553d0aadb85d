//! The store in a bucket of Google Cloud Storage, against the emulator.

use std::time::{Duration, Instant};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dxdr_object_storage::{
    GcsOptions, GcsStorage,
    gcs::{BucketRole, GcsCredentials, GcsHold, GcsPatience},
    hints,
};
use dxdr_provider::{
    StorageError, StorageErrorKind,
    object_storage::{ListRequest, ObjectBody, ObjectStorage, PutCondition},
};
use dxdr_storage_emulator::{Access, Bucket, Emulator, Identity, Options, RetentionPolicy};
use futures::{StreamExt, stream};
use jiff::SignedDuration;

use crate::conformance::{self, put, read, streamed};

/// An emulator with the bucket `dx`.
pub(crate) async fn emulator() -> Emulator {
    emulator_with(Options::default(), Bucket::default()).await
}

async fn emulator_with(options: Options, bucket: Bucket) -> Emulator {
    // Its digests take most of the time of a test.
    let emulator = Emulator::start(Options { md5: false, ..options }).await.unwrap();
    emulator.create_bucket("dx", bucket);
    emulator
}

pub(crate) fn options(emulator: &Emulator) -> GcsOptions {
    GcsOptions {
        bucket: "dx".to_owned(),
        prefix: "velero".to_owned(),
        endpoint: Some(emulator.endpoint()),
        credentials: GcsCredentials::Anonymous,
        patience: GcsPatience { pause: Duration::from_millis(10), ..GcsPatience::default() },
        ..GcsOptions::default()
    }
}

pub(crate) async fn storage(emulator: &Emulator) -> GcsStorage {
    GcsStorage::connect(options(emulator)).await.unwrap()
}

async fn fresh() -> Option<(Emulator, GcsStorage)> {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    Some((emulator, storage))
}

conformance::suite!(fresh().await);

/// Every call fails; the errors.
async fn failures(storage: &GcsStorage) -> Vec<StorageError> {
    vec![
        storage.stat("a").await.unwrap_err(),
        storage.get("a", None).await.unwrap_err(),
        storage.get("a", Some(3..9)).await.unwrap_err(),
        storage.list(&ListRequest::default()).await.unwrap_err(),
        storage.put("a", ObjectBody::Bytes("x".into()), PutCondition::Always).await.unwrap_err(),
        storage.put("a", ObjectBody::Bytes("x".into()), PutCondition::IfAbsent).await.unwrap_err(),
        storage.put("a", streamed(vec![1; 9 << 20]), PutCondition::Always).await.unwrap_err(),
        storage.put("a", streamed(vec![1; 9 << 20]), PutCondition::IfAbsent).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_missing_bucket_is_no_such_store() {
    let emulator = emulator().await;
    for prefix in ["", "velero"] {
        let options = GcsOptions { bucket: "dxdr-no-such-bucket".to_owned(), prefix: prefix.to_owned(), ..options(&emulator) };
        let storage = GcsStorage::connect(options).await.unwrap();
        for error in failures(&storage).await {
            assert_eq!(error.kind, StorageErrorKind::NoSuchStore, "{error:?}");
            assert!(hints(&error)[0].contains("buckets create gs://dxdr-no-such-bucket"), "{:?}", hints(&error));
            assert!(
                error
                    .to_string()
                    .contains(&format!("gs://dxdr-no-such-bucket{}", if prefix.is_empty() { "" } else { "/velero" }))
            );
            assert!(error.to_string().contains(&emulator.endpoint()), "{error}");
        }
    }
}

#[tokio::test]
async fn what_is_no_bucket_and_no_endpoint_is_refused_before_anything_is_asked() {
    let emulator = emulator().await;
    for (bucket, endpoint) in
        [("", None), ("a/b", None), ("gs://dx", None), ("dx", Some("localhost:9000")), ("dx", Some("ftp://h"))]
    {
        let mut options = GcsOptions { bucket: bucket.to_owned(), ..options(&emulator) };
        if let Some(endpoint) = endpoint {
            options.endpoint = Some(endpoint.to_owned());
        }
        let error = GcsStorage::connect(options).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Invalid, "{bucket} {endpoint:?} {error:?}");
    }
    assert!(emulator.asked().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_nothing_listens_on_is_unreachable_within_seconds() {
    // Bound and closed again: nothing else takes it so soon.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let emulator = emulator().await;
    let options = GcsOptions { endpoint: Some(format!("http://127.0.0.1:{port}")), ..options(&emulator) };
    let storage = GcsStorage::connect(options).await.unwrap();
    let begin = Instant::now();
    for error in failures(&storage).await {
        assert_eq!(error.kind, StorageErrorKind::Unreachable, "{error:?}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(hints(&error)[0].contains("reachable"));
    }
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

/// The key file of a service account with a key that was just made.
fn key_file(name: &str) -> GcsCredentials {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode(der.as_ref()));
    let json = serde_json::json!({
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": name,
        "client_id": "1",
    });
    GcsCredentials::ServiceAccount(json.to_string())
}

async fn with_identities() -> Emulator {
    let identity = |name: &str, access| Identity { name: name.to_owned(), token: None, access };
    let identities =
        vec![identity("reader@p", Access::Read), identity("creator@p", Access::Create), identity("writer@p", Access::Everything)];
    emulator_with(Options { identities, ..Options::default() }, Bucket::default()).await
}

async fn as_whom(emulator: &Emulator, name: &str) -> GcsStorage {
    GcsStorage::connect(GcsOptions { credentials: key_file(name), ..options(emulator) }).await.unwrap()
}

#[tokio::test]
async fn identities_may_do_what_they_may() {
    let emulator = with_identities().await;
    let (writer, reader) = (as_whom(&emulator, "writer@p").await, as_whom(&emulator, "reader@p").await);
    put(&writer, "a", "x").await;
    assert_eq!(read(&reader, "a").await, b"x");
    for condition in [PutCondition::Always, PutCondition::IfAbsent] {
        for body in [ObjectBody::Bytes("y".into()), streamed(vec![1; 9 << 20])] {
            let error = reader.put("b", body, condition).await.unwrap_err();
            assert_eq!(error.kind, StorageErrorKind::Forbidden, "{error:?}");
            assert!(hints(&error)[0].contains("roles/storage.objectUser"), "{:?}", hints(&error));
            assert!(format!("{error:?}").contains("reader@p does not have storage.objects.create access"), "{error:?}");
        }
    }
    assert_eq!(reader.delete("a").await.unwrap_err().kind, StorageErrorKind::Forbidden);
    assert_eq!(emulator.open_sessions(), 0);
    // Creates, and neither replaces nor sees.
    let creator = as_whom(&emulator, "creator@p").await;
    put(&creator, "new", "x").await;
    assert_eq!(
        creator.put("a", ObjectBody::Bytes("y".into()), PutCondition::Always).await.unwrap_err().kind,
        StorageErrorKind::Forbidden
    );
    let error = creator.put("a", ObjectBody::Bytes("y".into()), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::AlreadyExists);
    assert_eq!(read(&writer, "a").await, b"x");
}

#[tokio::test]
async fn wrong_credentials_are_unauthenticated() {
    let emulator = with_identities().await;
    for credentials in [key_file("stranger@p"), GcsCredentials::Anonymous] {
        let storage = GcsStorage::connect(GcsOptions { credentials, ..options(&emulator) }).await.unwrap();
        for error in failures(&storage).await {
            assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error:?}");
            assert!(hints(&error)[0].contains("GOOGLE_APPLICATION_CREDENTIALS"));
        }
    }
    for json in ["no JSON", r#"{"private_key": "hunter2"}"#] {
        let credentials = GcsCredentials::ServiceAccount(json.to_owned());
        let error = GcsStorage::connect(GcsOptions { credentials, ..options(&emulator) }).await.unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::Unauthenticated);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_bucket_says_which_roles_its_policy_gives_to_whom() {
    let role = |role: &str, account: &str| (role.to_owned(), format!("serviceAccount:{account}"));
    let roles = vec![role("roles/storage.objectUser", "instance@p"), role("roles/storage.admin", "somebody@p")];
    let emulator = emulator_with(Options::default(), Bucket { roles, ..Bucket::default() }).await;
    let storage = storage(&emulator).await;
    let found = storage.roles_of("instance@p").await.unwrap();
    assert_eq!(found, [BucketRole { role: "roles/storage.objectUser".to_owned(), conditional: false }]);
    assert_eq!(storage.roles_of("nobody@p").await.unwrap(), []);
}

#[tokio::test]
async fn held_objects_stay_until_the_hold_is_released() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    put(&storage, "a", "before").await;
    let written = storage.stat("a").await.unwrap().modified;
    for (hold, option) in [(GcsHold::Temporary, "--no-temporary-hold"), (GcsHold::EventBased, "--no-event-based-hold")] {
        let protection = storage.set_hold("a", hold, true).await.unwrap();
        assert_eq!(
            (protection.temporary_hold, protection.event_based_hold),
            (hold == GcsHold::Temporary, hold == GcsHold::EventBased)
        );
        assert_eq!(storage.protection("a").await.unwrap(), protection);
        for error in [
            storage.delete("a").await.unwrap_err(),
            storage.put("a", ObjectBody::Bytes("after".into()), PutCondition::Always).await.unwrap_err(),
            storage.put("a", streamed(vec![1; 9 << 20]), PutCondition::Always).await.unwrap_err(),
        ] {
            assert_eq!(error.kind, StorageErrorKind::Forbidden, "{error:?}");
            assert!(hints(&error)[0].contains(option), "{:?}", hints(&error));
        }
        assert_eq!(read(&storage, "a").await, b"before");
        assert_eq!(storage.set_hold("a", hold, false).await.unwrap(), Default::default());
    }
    assert_eq!(storage.stat("a").await.unwrap().modified, written, "a hold changes nothing of when it was written");
    storage.delete("a").await.unwrap();
    assert_eq!(storage.set_hold("a", GcsHold::Temporary, true).await.unwrap_err().kind, StorageErrorKind::NotFound);
}

#[tokio::test]
async fn a_retention_policy_refuses_and_the_error_says_until_when() {
    let retention = Some(RetentionPolicy { period: SignedDuration::from_hours(24), locked: true });
    let emulator = emulator_with(Options::default(), Bucket { retention, ..Bucket::default() }).await;
    let storage = storage(&emulator).await;
    put(&storage, "a", "x").await;
    assert!(storage.protection("a").await.unwrap().retained_until.is_some());
    let error = storage.delete("a").await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Forbidden);
    assert!(format!("{error:?}").contains("cannot be deleted or overwritten until 2"), "{error:?}");
    assert!(hints(&error)[0].contains("wait until then"));
    let error = storage.put("a", ObjectBody::Bytes("y".into()), PutCondition::IfAbsent).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::AlreadyExists);
}

#[tokio::test]
async fn every_write_has_a_condition_and_the_key_that_encrypts_it() {
    let emulator = emulator().await;
    let options = GcsOptions { kms_key: Some("projects/p/keys/k".to_owned()), ..options(&emulator) };
    let storage = GcsStorage::connect(options).await.unwrap();
    assert_eq!(storage.url("a/b").as_deref(), Some("gs://dx/velero/a/b"));
    let first = put(&storage, "a", "x").await;
    storage.put("a", streamed(vec![1; 9 << 20]), PutCondition::Always).await.unwrap();
    storage.put("b", streamed(vec![1; 9 << 20]), PutCondition::IfAbsent).await.unwrap();
    storage.delete("a").await.unwrap();
    let asked = emulator.asked();
    let writes: Vec<_> = asked.iter().filter(|asked| asked.method == "POST").map(|asked| asked.target.clone()).collect();
    let generation = format!("ifGenerationMatch={}", first.tag.unwrap());
    assert_eq!(writes.len(), 3);
    for (write, condition) in writes.iter().zip(["ifGenerationMatch=0", &generation, "ifGenerationMatch=0"]) {
        assert!(write.contains(condition) && write.contains("kmsKeyName=projects%2Fp%2Fkeys%2Fk"), "{write}");
    }
    let deletes: Vec<_> = asked.iter().filter(|asked| asked.method == "DELETE").collect();
    assert!(deletes.len() == 1 && deletes[0].target.contains("ifGenerationMatch="), "{deletes:?}");
}

#[tokio::test]
async fn a_dropped_or_failed_upload_leaves_no_session() {
    let emulator = emulator().await;
    let storage = storage(&emulator).await;
    let endless = stream::iter((0..20).map(|_| Ok(vec![0; 1 << 20].into()))).chain(stream::pending()).boxed();
    let mut put = Box::pin(storage.put("large", ObjectBody::Stream(endless), PutCondition::Always));
    // Until the session is known here, too.
    while !emulator.asked().iter().any(|asked| asked.method == "PUT") {
        let _ = tokio::time::timeout(Duration::from_millis(10), &mut put).await;
    }
    drop(put);
    let broken = (0..20).map(|_| Ok(vec![0; 1 << 20].into())).chain([Err(std::io::Error::other("broke"))]).collect::<Vec<_>>();
    storage.put("large", ObjectBody::Stream(stream::iter(broken).boxed()), PutCondition::Always).await.unwrap_err();
    // The end of the first one runs by itself.
    let begin = Instant::now();
    while emulator.open_sessions() > 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "{} sessions are open", emulator.open_sessions());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(emulator.object_names("dx").is_empty());
}

/// This test binary, running one test in an environment of its own.
async fn in_a_process(test: &str, emulator: &Emulator, environment: &[(&str, &str)]) -> bool {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env("DXDR_TEST_GCS", emulator.endpoint());
    for name in ["GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "GCE_METADATA_HOST"] {
        command.env_remove(name);
    }
    let home = tempfile::tempdir().unwrap();
    command.env("HOME", home.path()).envs(environment.iter().copied());
    command.status().await.unwrap().success()
}

#[tokio::test]
async fn a_workload_gets_its_token_from_the_metadata_server() {
    let identities = vec![Identity { name: "workload@p".to_owned(), token: Some("t1".to_owned()), access: Access::Everything }];
    let options = Options { identities, metadata_token: Some("t1".to_owned()), ..Options::default() };
    let emulator = emulator_with(options, Bucket::default()).await;
    let host = emulator.address().to_string();
    assert!(in_a_process("gcs::writes_and_reads_by_default_credentials", &emulator, &[("GCE_METADATA_HOST", &host)]).await);
    assert_eq!(emulator.object_names("dx"), ["velero/a"]);
}

#[tokio::test]
#[ignore = "runs in a process of its own, with an environment of its own"]
async fn writes_and_reads_by_default_credentials() {
    let Ok(endpoint) = std::env::var("DXDR_TEST_GCS") else {
        return;
    };
    let options =
        GcsOptions { bucket: "dx".to_owned(), prefix: "velero".to_owned(), endpoint: Some(endpoint), ..GcsOptions::default() };
    let storage = GcsStorage::connect(options).await.unwrap();
    put(&storage, "a", "x").await;
    assert_eq!(read(&storage, "a").await, b"x");
}

#[tokio::test]
async fn the_emulator_of_the_environment_is_found_without_credentials() {
    let emulator = emulator().await;
    for host in [emulator.endpoint(), emulator.address().to_string()] {
        assert!(in_a_process("gcs::finds_the_emulator", &emulator, &[("STORAGE_EMULATOR_HOST", &host)]).await);
    }
}

#[tokio::test]
#[ignore = "runs in a process of its own, with an environment of its own"]
async fn finds_the_emulator() {
    if std::env::var_os("DXDR_TEST_GCS").is_none() {
        return;
    }
    let storage = GcsStorage::connect(GcsOptions { bucket: "dx".to_owned(), ..GcsOptions::default() }).await.unwrap();
    put(&storage, "a", "x").await;
    assert_eq!(read(&storage, "a").await, b"x");
}

#[tokio::test]
async fn a_key_file_that_is_not_there_is_said_to_be_missing() {
    let emulator = emulator().await;
    let environment = [("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")];
    assert!(in_a_process("gcs::finds_no_key_file", &emulator, &environment).await);
    assert!(emulator.asked().is_empty());
}

#[tokio::test]
#[ignore = "runs in a process of its own, with an environment of its own"]
async fn finds_no_key_file() {
    if std::env::var_os("DXDR_TEST_GCS").is_none() {
        return;
    }
    let error = GcsStorage::connect(GcsOptions { bucket: "dx".to_owned(), ..GcsOptions::default() }).await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Unauthenticated, "{error:?}");
    assert!(format!("{error:?}").contains("GOOGLE_APPLICATION_CREDENTIALS"), "{error:?}");
}
