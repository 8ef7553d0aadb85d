//! What is asked for is done.

use std::{collections::BTreeMap, time::Duration};

use dxdr_cloud_sql::CloudSql;
use dxdr_database_emulator::Failing;
use dxdr_environment::InstanceName;
use dxdr_provider::{
    InstanceErrorKind, Instances as _,
    instance::{BackupOrigin, InstanceOperation, InstanceRequest, OperationState},
};

use super::{emulator, service, shared, storage};

async fn done(service: &CloudSql, name: &str) -> InstanceOperation {
    for _ in 0..1_000 {
        let operation = service.operation("p", name).await.unwrap().unwrap();
        if !matches!(operation.state, OperationState::Pending | OperationState::Running) {
            return operation;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("operation {name} does not end");
}

fn export(object: &str) -> InstanceRequest {
    InstanceRequest::Export { database: "app".to_owned(), uri: format!("gs://b/{object}"), offload: true }
}

#[tokio::test]
async fn an_export_is_found_by_its_object_and_imported_beside() {
    let bucket = storage(None).await;
    let options = dxdr_database_emulator::Options {
        storage: Some(dxdr_database_emulator::Storage::Endpoint(bucket.endpoint())),
        ..Default::default()
    };
    let emulator = emulator(options).await;
    emulator.execute("p", "shared", "app", "create table orders (id int)");
    let service = service(&emulator).await;
    let name = service.submit(&shared(), &export("one.sql.gz")).await.unwrap();
    let operation = done(&service, &name).await;
    assert_eq!(operation.state, OperationState::Succeeded);
    assert!(operation.accepted <= operation.started && operation.started <= operation.ended && operation.ended.is_some());
    let listed = service.operations(&shared()).await.unwrap();
    let found = &listed[0];
    assert_eq!((found.kind.as_str(), found.uri.as_deref(), found.offloaded), ("EXPORT", Some("gs://b/one.sql.gz"), true));
    assert_eq!(found.databases, ["app"]);

    let beside = || "app-restored".to_owned();
    let name = service.submit(&shared(), &InstanceRequest::CreateDatabase { database: beside() }).await.unwrap();
    done(&service, &name).await;
    let import = InstanceRequest::Import { database: beside(), uri: "gs://b/one.sql.gz".to_owned() };
    let name = service.submit(&shared(), &import).await.unwrap();
    let operation = done(&service, &name).await;
    assert_eq!((operation.state, operation.databases), (OperationState::Succeeded, vec![beside()]));
    assert_eq!(emulator.statements("p", "shared", "app-restored").unwrap(), ["create table orders (id int)"]);
    assert!(service.databases(&shared()).await.unwrap().contains(&beside()));
    let name = service.submit(&shared(), &InstanceRequest::DeleteDatabase { database: beside() }).await.unwrap();
    done(&service, &name).await;
    assert!(!service.databases(&shared()).await.unwrap().contains(&beside()));
}

#[tokio::test]
async fn a_database_is_deleted_by_its_own_name_or_not_at_all() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let long = "ü".repeat(31);
    for name in ["a b", "A", "a.b", "a?b", "a#b", "a+b", "a&b=c", "a\"b", "a'b", "$x", "a:b", "日本", "..a", &long] {
        emulator.create_database("p", "shared", name);
        let request = InstanceRequest::DeleteDatabase { database: name.to_owned() };
        let operation = service.submit(&shared(), &request).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(done(&service, &operation).await.state, OperationState::Succeeded, "{name}");
        assert_eq!(emulator.database_names("p", "shared"), ["app", "postgres"], "{name}");
    }
    // Each of them would be another one, or part of a path.
    for name in ["%61pp", "app%2F", "x/../app", "x\\..\\app", "a\tpp", "ap\np", ".."] {
        emulator.create_database("p", "shared", name);
        let request = InstanceRequest::DeleteDatabase { database: name.to_owned() };
        let error = service.submit(&shared(), &request).await.unwrap_err();
        assert_eq!((error.kind, error.hint.is_some()), (InstanceErrorKind::Invalid, true), "{name}");
        assert!(emulator.database_names("p", "shared").contains(&"app".to_owned()), "{name}");
    }
    assert!(emulator.operations_of("DELETE_DATABASE").len() == 14, "what cannot be named is not sent");
}

#[tokio::test]
async fn a_clone_of_an_instant_is_labelled_and_removed_again() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    emulator.execute("p", "shared", "app", "first");
    let service = service(&emulator).await;
    let window = service.recovery_window(&shared()).await.unwrap().unwrap();
    assert!(window.earliest <= window.latest);
    emulator.execute("p", "shared", "app", "second");
    let clone = InstanceRequest::Clone { destination: "copy".to_owned(), at: Some(window.latest) };
    let name = service.submit(&shared(), &clone).await.unwrap();
    let operation = done(&service, &name).await;
    assert_eq!((operation.kind.as_str(), operation.target.as_str()), ("CLONE", "copy"));
    assert_eq!(emulator.statements("p", "copy", "app").unwrap(), ["first"]);

    let copy = dxdr_environment::InstanceName::new("p", "copy");
    let labels = BTreeMap::from([("dxdr-run".to_owned(), "r".to_owned())]);
    let label = InstanceRequest::Label { labels: labels.clone(), deletion_protection: Some(false) };
    let name = service.submit(&copy, &label).await.unwrap();
    done(&service, &name).await;
    let found = service.instance(&copy).await.unwrap();
    assert_eq!((found.labels, found.deletion_protection), (labels, false));
    let name = service.submit(&copy, &InstanceRequest::Delete).await.unwrap();
    done(&service, &name).await;
    let left = service.instances("p").await.unwrap();
    assert_eq!(left.iter().map(|instance| instance.name.to_string()).collect::<Vec<_>>(), ["projects/p/instances/shared"]);
}

#[tokio::test]
async fn a_backup_is_found_by_its_description() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let backup = InstanceRequest::Backup { description: "dxdr run r".to_owned() };
    let name = service.submit(&shared(), &backup).await.unwrap();
    done(&service, &name).await;
    let listed = service.operations(&shared()).await.unwrap();
    assert_eq!((listed[0].kind.as_str(), listed[0].description.as_deref()), ("BACKUP_VOLUME", Some("dxdr run r")));
}

#[tokio::test]
async fn a_backup_is_listed_with_what_is_in_it_and_becomes_another_instance() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    emulator.create_instance("p", "shared-too", dxdr_database_emulator::Instance::default());
    emulator.back_up("p", "shared-too").unwrap();
    emulator.execute("p", "shared", "app", "first");
    emulator.back_up("p", "shared").unwrap();
    let service = service(&emulator).await;
    let asked = InstanceRequest::Backup { description: "dxdr run r".to_owned() };
    done(&service, &service.submit(&shared(), &asked).await.unwrap()).await;
    emulator.faults().next("backupRuns", Failing::Fails("INTERNAL_ERROR".to_owned(), "failed".to_owned()));
    done(&service, &service.submit(&shared(), &asked).await.unwrap()).await;
    let backups = service.backups(&shared()).await.unwrap();
    let seen: Vec<_> = backups.iter().map(|backup| (backup.origin, backup.description.as_str(), backup.whole)).collect();
    let ours = |whole| (BackupOrigin::Requested, "dxdr run r", whole);
    assert_eq!(seen, [ours(false), ours(true), (BackupOrigin::Automatic, "", true)]);
    assert!(backups.iter().all(|backup| backup.started.is_some() && backup.started <= backup.ended));

    let new = InstanceName::new("p", "new");
    let labels = BTreeMap::from([("dxdr-run".to_owned(), "r".to_owned())]);
    let restore = InstanceRequest::Restore { backup: backups[1].name.clone(), labels: labels.clone() };
    let operation = done(&service, &service.submit(&new, &restore).await.unwrap()).await;
    assert_eq!((operation.kind.as_str(), operation.target.as_str()), ("RESTORE_VOLUME", "new"));
    assert_eq!(emulator.statements("p", "new", "app").unwrap(), ["first"]);
    let found = service.instance(&new).await.unwrap();
    assert_eq!((found.labels, found.deletion_protection), (labels, false));
    // What is there is not written over.
    let refused = service.submit(&new, &restore).await.unwrap_err();
    assert_eq!(refused.kind, InstanceErrorKind::NameTaken);

    let delete = InstanceRequest::DeleteBackup { backup: backups[1].name.clone() };
    done(&service, &service.submit(&shared(), &delete).await.unwrap()).await;
    assert_eq!(service.backups(&shared()).await.unwrap().len(), 2);
    assert_eq!(service.submit(&shared(), &delete).await.unwrap_err().kind, InstanceErrorKind::NotFound);
    assert_eq!(service.users(&shared()).await.unwrap(), ["postgres"]);
}

#[tokio::test]
async fn an_instance_is_described_as_it_is() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    let service = service(&emulator).await;
    let instance = service.instance(&shared()).await.unwrap();
    assert_eq!((instance.version.as_str(), instance.state.as_str(), instance.stopped), ("POSTGRES_15", "RUNNABLE", false));
    assert_eq!((instance.log_kept, instance.log_days, instance.automatic_backups), (true, Some(7), true));
    assert_eq!((instance.deletion_protection, instance.disk_gigabytes), (true, Some(10)));
    assert!(instance.service_account.ends_with("gserviceaccount.com") && instance.created.is_some());
    emulator.change_instance("p", "shared", |instance| {
        instance.activation = "NEVER".to_owned();
        instance.log = None;
    });
    assert!(service.instance(&shared()).await.unwrap().stopped);
    assert_eq!(service.recovery_window(&shared()).await.unwrap(), None);
}

#[tokio::test]
async fn a_query_answers_rows_as_text() {
    let emulator = emulator(dxdr_database_emulator::Options::default()).await;
    emulator.prepare_rows("select count(*) from orders", &["count"], &[&["3"]]);
    let service = service(&emulator).await;
    let rows = service.execute(&shared(), "app", "select count(*) from orders").await.unwrap();
    assert_eq!((rows.columns, rows.values, rows.truncated), (vec!["count".to_owned()], vec![vec![Some("3".to_owned())]], false));
}
