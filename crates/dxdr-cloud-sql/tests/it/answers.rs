//! What is refused says why, and what to do.

use std::time::Duration;

use dxdr_cloud_sql::{CloudSql, Credentials, Options};
use dxdr_database_emulator::{Failing, Identity};
use dxdr_environment::InstanceName;
use dxdr_provider::{
    Instances as _,
    instance::{InstanceError, InstanceErrorKind, InstanceRequest, OperationFailure, OperationState},
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{emulator, service, shared, storage};

fn export() -> InstanceRequest {
    InstanceRequest::Export { database: "app".to_owned(), uri: "gs://b/one.sql.gz".to_owned(), offload: true }
}

fn told(error: &InstanceError, kind: InstanceErrorKind, hint: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.hint.as_deref().is_some_and(|text| text.contains(hint)), "{error}: {:?}", error.hint);
}

#[tokio::test]
async fn an_instance_that_is_not_there_is_named_with_how_to_list_those_that_are() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let error = service(&emulator).await.instance(&InstanceName::new("p", "other")).await.unwrap_err();
    told(&error, InstanceErrorKind::NotFound, "gcloud sql instances list --project p");
    assert_eq!(error.to_string(), "cannot look at instance `projects/p/instances/other`: The Cloud SQL instance does not exist");
}

fn who_may_not_export() -> Identity {
    Identity {
        token: "secret-token".to_owned(),
        email: "dxdr@example.org".to_owned(),
        projects: vec!["p".to_owned()],
        lacks: vec!["cloudsql.instances.export".to_owned()],
    }
}

#[tokio::test]
async fn a_wrong_project_and_a_missing_permission_name_what_is_needed() {
    let emulator =
        emulator(dxdr_database_emulator::Options { identities: vec![who_may_not_export()], ..Default::default() }).await;
    let options =
        |token: &str| Options { endpoint: Some(emulator.endpoint()), credentials: Some(Credentials::Token(token.to_owned())) };
    let service = CloudSql::connect(options("secret-token")).await.unwrap();
    let error = service.instance(&InstanceName::new("other", "shared")).await.unwrap_err();
    told(&error, InstanceErrorKind::Forbidden, "in project `other`, if that is the right project");
    let error = service.submit(&shared(), &export()).await.unwrap_err();
    told(&error, InstanceErrorKind::Forbidden, "`cloudsql.instances.export`");
    assert!(emulator.operations_of("EXPORT").is_empty());
    assert!(!format!("{service:?} {:?}", options("secret-token")).contains("secret-token"));

    let error = CloudSql::connect(options("wrong")).await.unwrap().instance(&shared()).await.unwrap_err();
    told(&error, InstanceErrorKind::Unauthenticated, "gcloud auth application-default login");
}

#[tokio::test]
async fn what_we_may_do_in_a_project_is_said_by_its_permissions() {
    let emulator =
        emulator(dxdr_database_emulator::Options { identities: vec![who_may_not_export()], ..Default::default() }).await;
    let service = |token: &str| {
        let credentials = Some(Credentials::Token(token.to_owned()));
        CloudSql::connect(Options { endpoint: Some(emulator.endpoint()), credentials })
    };
    let asked = ["cloudsql.instances.export", "cloudsql.instances.get"];
    assert_eq!(service("secret-token").await.unwrap().granted("p", &asked).await.unwrap(), ["cloudsql.instances.get"]);
    assert_eq!(service("secret-token").await.unwrap().granted("other", &asked).await.unwrap(), [""; 0]);
    let error = service("wrong").await.unwrap().granted("p", &asked).await.unwrap_err();
    told(&error, InstanceErrorKind::Unauthenticated, "gcloud auth application-default login");
    emulator.faults().next("permissions", Failing::Refused(403, "accessNotConfigured".to_owned()));
    let error = service("secret-token").await.unwrap().granted("p", &asked).await.unwrap_err();
    told(&error, InstanceErrorKind::Disabled, "gcloud services enable cloudresourcemanager.googleapis.com");
}

#[tokio::test]
async fn what_is_in_progress_is_busy_whatever_the_code() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let running = emulator.begin_operation("p", "shared", "MAINTENANCE", "system").unwrap();
    let error = service.submit(&shared(), &export()).await.unwrap_err();
    told(&error, InstanceErrorKind::Busy, "dxdr databases operations");
    emulator.release(&running);
    emulator.faults().next("export", Failing::Refused(403, "operationInProgress".to_owned()));
    let error = service.submit(&shared(), &export()).await.unwrap_err();
    told(&error, InstanceErrorKind::Busy, "dxdr databases operations");
    assert!(error.kind.definite());
}

#[tokio::test]
async fn an_answer_that_may_hide_an_acceptance_is_not_definite_and_nothing_is_sent_twice() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    emulator.faults().next("export", Failing::RefusedAfter(503, "backendError".to_owned()));
    let error = service.submit(&shared(), &export()).await.unwrap_err();
    assert!(!error.kind.definite(), "{error}");
    assert_eq!(emulator.operations_of("EXPORT").len(), 1);
    let listed = service.operations(&shared()).await.unwrap();
    assert_eq!(listed[0].uri.as_deref(), Some("gs://b/one.sql.gz"), "it is found by its object");
}

#[tokio::test]
async fn a_look_that_fails_before_anything_is_sent_hides_no_acceptance() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    emulator.faults().next("instance", Failing::Refused(500, "internalError".to_owned()));
    let error = service.submit(&shared(), &export()).await.unwrap_err();
    told(&error, InstanceErrorKind::NotSent, "try again in a minute");
    assert!(error.kind.definite() && error.kind.retryable());
    assert!(emulator.operations_of("EXPORT").is_empty());
    service.submit(&shared(), &export()).await.unwrap();
}

#[tokio::test]
async fn a_look_fails_that_cannot_read_what_backups_are_called() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    service.submit(&shared(), &InstanceRequest::Backup { description: "ours".to_owned() }).await.unwrap();
    emulator.faults().next("backupRun", Failing::Refused(500, "internalError".to_owned()));
    service.operations(&shared()).await.unwrap_err();
    let listed = service.operations(&shared()).await.unwrap();
    assert_eq!(listed[0].description.as_deref(), Some("ours"));
}

#[tokio::test]
async fn a_backup_of_ours_is_found_behind_any_number_of_others() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let names: Vec<String> = (0..6).map(|number| format!("backup {number}")).collect();
    for name in &names {
        service.submit(&shared(), &InstanceRequest::Backup { description: name.clone() }).await.unwrap();
    }
    let listed = service.operations(&shared()).await.unwrap();
    let mut found: Vec<String> = listed.into_iter().filter_map(|operation| operation.description).collect();
    found.sort();
    assert_eq!(found, names);
}

#[tokio::test]
async fn a_proxy_that_refuses_in_its_own_words_is_unavailable_and_not_misunderstood() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/html\r\ncontent-length: 7\r\nconnection: close\r\n\r\n<html/>";
        stream.write_all(answer).await.unwrap();
    });
    let credentials = Some(Credentials::Token("secret-token".to_owned()));
    let service = CloudSql::connect(Options { endpoint: Some(endpoint), credentials }).await.unwrap();
    let error = service.granted("p", &["cloudsql.instances.get"]).await.unwrap_err();
    proxy.await.unwrap();
    told(&error, InstanceErrorKind::Unavailable, "try again in a minute");
    assert!(error.to_string().ends_with("HTTP 503"), "{error}");
}

#[tokio::test]
async fn a_database_that_is_there_has_its_name_taken() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let request = InstanceRequest::CreateDatabase { database: "app".to_owned() };
    told(&service.submit(&shared(), &request).await.unwrap_err(), InstanceErrorKind::NameTaken, "gcloud sql databases list");
}

#[tokio::test]
async fn every_refusal_has_its_kind_and_its_remedy() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    for (status, reason, kind, hint) in [
        (403, "accessNotConfigured", InstanceErrorKind::Disabled, "gcloud services enable sqladmin.googleapis.com"),
        (403, "quotaExceeded", InstanceErrorKind::Quota, "quotas?project=p"),
        (403, "rateLimitExceeded", InstanceErrorKind::Throttled, "try again"),
        (400, "instanceNotRunning", InstanceErrorKind::Stopped, "--activation-policy ALWAYS"),
    ] {
        emulator.faults().next("export", Failing::Refused(status, reason.to_owned()));
        told(&service.submit(&shared(), &export()).await.unwrap_err(), kind, hint);
    }
    emulator.create_instance("p", "copy", dxdr_database_emulator::Instance::default());
    let clone = |destination: &str, at: &str| InstanceRequest::Clone {
        destination: destination.to_owned(),
        at: Some(at.parse().unwrap()),
    };
    let error = service.submit(&shared(), &clone("copy", "2024-05-01T10:00:00Z")).await.unwrap_err();
    told(&error, InstanceErrorKind::NameTaken, "stays taken for a week");
    let error = service.submit(&shared(), &clone("new", "2024-05-01T10:00:00Z")).await.unwrap_err();
    told(&error, InstanceErrorKind::OutsideWindow, "dxdr databases instances");
    let error = service.submit(&shared(), &InstanceRequest::Delete).await.unwrap_err();
    told(&error, InstanceErrorKind::Protected, "--no-deletion-protection");
    assert!(emulator.operations_of("EXPORT").is_empty());
}

#[tokio::test]
async fn done_with_an_error_is_a_failure_with_a_remedy() {
    let bucket = storage(Some("another")).await;
    let options = dxdr_database_emulator::Options {
        storage: Some(dxdr_database_emulator::Storage::Endpoint(bucket.endpoint())),
        ..Default::default()
    };
    let emulator = emulator(options).await;
    let service = service(&emulator).await;
    let failure = async || -> OperationFailure {
        let name = service.submit(&shared(), &export()).await.unwrap();
        for _ in 0..1_000 {
            if let OperationState::Failed(failure) = service.operation("p", &name).await.unwrap().unwrap().state {
                return failure;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not fail");
    };
    let forbidden = failure().await;
    assert_eq!(forbidden.kind, InstanceErrorKind::BucketForbidden);
    assert!(forbidden.hint.unwrap().contains("the account of the *instance* writes"));
    emulator.faults().next("export", Failing::Fails("ERROR_RDBMS".to_owned(), "gs://b/one.sql.gz already exists".to_owned()));
    assert_eq!(failure().await.kind, InstanceErrorKind::ObjectExists);
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_an_endpoint_that_is_none_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let service = CloudSql::connect(Options { endpoint: Some(endpoint), credentials: None }).await.unwrap();
    let error = service.submit(&shared(), &InstanceRequest::Delete).await.unwrap_err();
    told(&error, InstanceErrorKind::Unreachable, "sqladmin.googleapis.com");
    let error = CloudSql::connect(Options { endpoint: Some("no url".to_owned()), credentials: None }).await.unwrap_err();
    assert!(error.hint.contains("http://127.0.0.1:9002"));
}

#[tokio::test]
async fn credentials_go_nowhere_in_clear() {
    let key = || Some(Credentials::ServiceAccount("/nowhere/key.json".into()));
    let token = || Some(Credentials::Token("very secret".to_owned()));
    for (endpoint, credentials) in [
        ("http://127.0.0.1:9002", key()),
        ("http://127.0.0.1:9002", Some(Credentials::Default)),
        ("http://sql.example.org", key()),
        ("HTTP://sql.example.org", token()),
        ("http://127.0.0.1.example.org", token()),
        ("sql.example.org", token()),
    ] {
        let error = CloudSql::connect(Options { endpoint: Some(endpoint.to_owned()), credentials }).await.unwrap_err();
        assert!(error.to_string().contains("is not encrypted"), "{endpoint}: {error}");
        assert!(error.hint.contains("serviceAccountKey"));
    }
    for endpoint in ["http://localhost:9002", "http://[::1]:9002", "https://sql.example.org"] {
        CloudSql::connect(Options { endpoint: Some(endpoint.to_owned()), credentials: token() }).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_without_quoting_it() {
    let folder = std::env::temp_dir().join(format!("dxdr-cloud-sql-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("key.json");
    for text in ["{\"private_key\": \"very secret", "{\"private_key\": \"very secret\"}"] {
        std::fs::write(&path, text).unwrap();
        let credentials = Some(Credentials::ServiceAccount(path.clone()));
        let error = CloudSql::connect(Options { endpoint: None, credentials }).await.unwrap_err();
        assert!(error.to_string().contains("key.json"), "{error}");
        assert!(!format!("{error:?}").contains("very secret"), "{error:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
