use std::time::Duration;

use dxdr_database_emulator::{Emulator, Failing, Identity, Instance, Options, Storage};
use serde_json::{Value, json};

use super::storage;

pub(crate) struct Api {
    pub(crate) emulator: Emulator,
    pub(crate) client: reqwest::Client,
}

impl Api {
    pub(crate) async fn start(options: Options) -> Self {
        let emulator = Emulator::start(options).await.unwrap();
        emulator.create_instance("p", "shared", Instance::default());
        emulator.create_database("p", "shared", "app");
        Self { emulator, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/v1/projects/p/{path}", self.emulator.endpoint());
        let request = self.client.request(method.parse().unwrap(), url).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn export(&self, object: &str, offload: bool) -> (u16, Value) {
        let context = json!({"fileType": "SQL", "uri": format!("gs://b/{object}"), "databases": ["app"], "offload": offload});
        self.ask("POST", "instances/shared/export", json!({"exportContext": context})).await
    }

    /// The operation once it is done.
    pub(crate) async fn done(&self, operation: &Value) -> Value {
        let name = operation["name"].as_str().unwrap();
        for _ in 0..30_000 {
            let (_, operation) = self.ask("GET", &format!("operations/{name}"), Value::Null).await;
            if operation["status"] == "DONE" {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("operation {name} does not end");
    }
}

pub(crate) fn reason(answer: &Value) -> &str {
    answer["error"]["errors"][0]["reason"].as_str().unwrap()
}

#[tokio::test]
async fn an_instance_does_one_operation_at_a_time_and_names_the_other() {
    let api = Api::start(Options::default()).await;
    let running = api.emulator.begin_operation("p", "shared", "MAINTENANCE", "system").unwrap();
    let (status, answer) = api.ask("POST", "instances/shared/databases", json!({"name": "new"})).await;
    assert_eq!((status, reason(&answer)), (409, "operationInProgress"));
    let (_, list) = api.ask("GET", "operations?instance=shared", Value::Null).await;
    assert_eq!(list["items"][0]["name"], running.as_str());
    assert_eq!(list["items"][0]["operationType"], "MAINTENANCE");
    assert!(api.emulator.release(&running));
    api.done(&list["items"][0]).await;
    let (status, operation) = api.ask("POST", "instances/shared/databases", json!({"name": "new"})).await;
    assert_eq!(status, 200);
    api.done(&operation).await;
    let (_, list) = api.ask("GET", "instances/shared/databases", Value::Null).await;
    assert!(list["items"].as_array().unwrap().iter().any(|database| database["name"] == "new"));
}

#[tokio::test]
async fn an_offloaded_export_lets_everything_go_on_but_exports_and_imports() {
    let bucket = storage(None).await;
    let api = Api::start(Options { storage: Some(Storage::Endpoint(bucket.endpoint())), ..Options::default() }).await;
    api.emulator.faults().next("export", Failing::Held);
    let (_, export) = api.export("one.sql", true).await;
    assert_eq!(api.export("two.sql", true).await.0, 409);
    let (status, create) = api.ask("POST", "instances/shared/databases", json!({"name": "new"})).await;
    assert_eq!(status, 200);
    api.done(&create).await;
    api.emulator.release(export["name"].as_str().unwrap());
    let export = api.done(&export).await;
    assert_eq!(export["exportContext"]["uri"], "gs://b/one.sql");
    assert!(export.get("error").is_none() && export["endTime"].is_string());
    assert_eq!(bucket.object_names("b"), ["one.sql"]);
}

#[tokio::test]
async fn an_export_whose_object_exists_is_accepted_and_fails() {
    let bucket = storage(None).await;
    let api = Api::start(Options { storage: Some(Storage::Endpoint(bucket.endpoint())), ..Options::default() }).await;
    for failed in [false, true] {
        let (status, operation) = api.export("one.sql.gz", true).await;
        assert_eq!(status, 200);
        let error = &api.done(&operation).await["error"]["errors"][0];
        assert_eq!(error.is_object(), failed);
        assert_eq!(error["message"].as_str().is_some_and(|message| message.contains("already exists")), failed);
    }
}

#[tokio::test]
async fn a_bucket_is_written_by_the_account_of_the_instance() {
    let bucket = storage(Some("right")).await;
    let api = Api::start(Options { storage: Some(Storage::Endpoint(bucket.endpoint())), ..Options::default() }).await;
    let (_, operation) = api.export("one.sql", true).await;
    let message = api.done(&operation).await["error"]["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("gserviceaccount.com does not have storage.objects.create access"), "{message}");
    api.emulator.change_instance("p", "shared", |instance| instance.storage_token = Some("right".to_owned()));
    let (_, operation) = api.export("one.sql", true).await;
    assert!(api.done(&operation).await.get("error").is_none());
}

#[tokio::test]
async fn what_was_exported_is_imported_into_an_empty_database_only() {
    let bucket = storage(None).await;
    let api = Api::start(Options { storage: Some(Storage::Endpoint(bucket.endpoint())), ..Options::default() }).await;
    api.emulator.execute("p", "shared", "app", "create table a (b int)");
    api.emulator.execute("p", "shared", "app", "insert into a values (1)");
    let (_, operation) = api.export("one.sql.gz", false).await;
    api.done(&operation).await;
    api.emulator.create_database("p", "shared", "beside");
    let body = |database: &str| json!({"importContext": {"fileType": "SQL", "uri": "gs://b/one.sql.gz", "database": database}});
    let (_, operation) = api.ask("POST", "instances/shared/import", body("beside")).await;
    assert!(api.done(&operation).await.get("error").is_none());
    assert_eq!(api.emulator.statements("p", "shared", "beside"), api.emulator.statements("p", "shared", "app"));
    let (_, operation) = api.ask("POST", "instances/shared/import", body("app")).await;
    assert!(api.done(&operation).await["error"]["errors"][0]["message"].as_str().unwrap().contains("already exists"));
}

#[tokio::test]
async fn a_clone_is_the_instance_as_it_was_and_names_stay_taken() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1_714_557_600));
    let hands = std::sync::Arc::clone(&clock);
    let now = move || jiff::Timestamp::from_second(hands.load(std::sync::atomic::Ordering::SeqCst)).unwrap();
    let api = Api::start(Options { clock: std::sync::Arc::new(now), ..Options::default() }).await;
    let pass = |seconds| clock.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    pass(60);
    api.emulator.execute("p", "shared", "app", "first");
    pass(60);
    api.emulator.execute("p", "shared", "app", "second");
    pass(60);
    let body = |name: &str, at: &str| json!({"cloneContext": {"destinationInstanceName": name, "pointInTime": at}});
    let (_, window) = api.ask("GET", "instances/shared/getLatestRecoveryTime", Value::Null).await;
    assert_eq!(window["earliestRecoveryTime"], "2024-05-01T10:00:00Z");
    assert_eq!(window["latestRecoveryTime"], "2024-05-01T10:03:00Z");
    let (status, answer) = api.ask("POST", "instances/shared/clone", body("c", "2024-05-01T09:59:00Z")).await;
    assert_eq!((status, reason(&answer)), (400, "invalidPointInTime"));
    let (_, operation) = api.ask("POST", "instances/shared/clone", body("c", "2024-05-01T10:01:30Z")).await;
    assert_eq!(api.done(&operation).await["targetId"], "c");
    assert_eq!(api.emulator.statements("p", "c", "app").unwrap(), ["first"]);

    let (status, answer) = api.ask("DELETE", "instances/c", Value::Null).await;
    assert_eq!((status, reason(&answer)), (400, "deletionProtected"));
    let settings = json!({"settings": {"deletionProtectionEnabled": false, "userLabels": {"dxdr-run": "r"}}});
    let (_, operation) = api.ask("PATCH", "instances/c", settings).await;
    api.done(&operation).await;
    let (_, operation) = api.ask("DELETE", "instances/c", Value::Null).await;
    api.done(&operation).await;
    assert_eq!(api.emulator.instance_names("p"), ["shared"]);
    let (status, answer) = api.ask("POST", "instances/shared/clone", body("c", "2024-05-01T10:01:30Z")).await;
    assert_eq!((status, reason(&answer)), (409, "instanceAlreadyExists"));
    pass(8 * 24 * 3_600);
    let (status, _) = api.ask("POST", "instances/shared/clone", body("c", "2024-05-09T09:00:00Z")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_clone_has_the_databases_that_there_were_and_by_the_names_that_they_had() {
    let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1_714_557_600));
    let hands = std::sync::Arc::clone(&clock);
    let now = move || jiff::Timestamp::from_second(hands.load(std::sync::atomic::Ordering::SeqCst)).unwrap();
    let api = Api::start(Options { clock: std::sync::Arc::new(now), ..Options::default() }).await;
    let pass = |seconds| clock.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    api.emulator.execute("p", "shared", "app", "first");
    pass(60);
    let (_, operation) = api.ask("POST", "instances/shared/databases", json!({"name": "beside"})).await;
    api.done(&operation).await;
    pass(60);
    let swap = "ALTER DATABASE \"app\" RENAME TO \"before\"; ALTER DATABASE \"beside\" RENAME TO \"app\"";
    let (status, _) = api.ask("POST", "instances/shared/executeSql", json!({"database": "postgres", "sqlStatement": swap})).await;
    assert_eq!(status, 200);
    pass(60);
    for (name, at, databases, in_app) in [
        ("a", "2024-05-01T10:00:30Z", vec!["app", "postgres"], vec!["first"]),
        ("b", "2024-05-01T10:01:30Z", vec!["app", "beside", "postgres"], vec!["first"]),
        ("c", "2024-05-01T10:02:30Z", vec!["app", "before", "postgres"], vec![]),
    ] {
        let body = json!({"cloneContext": {"destinationInstanceName": name, "pointInTime": at}});
        let (_, operation) = api.ask("POST", "instances/shared/clone", body).await;
        api.done(&operation).await;
        let (_, listed) = api.ask("GET", &format!("instances/{name}/databases"), Value::Null).await;
        let names: Vec<&str> = listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, databases, "{at}");
        assert_eq!(api.emulator.statements("p", name, "app").unwrap(), in_app, "{at}");
    }
}

#[tokio::test]
async fn a_backup_brings_the_instance_back_as_it_was() {
    let api = Api::start(Options::default()).await;
    api.emulator.execute("p", "shared", "app", "first");
    let (_, operation) = api.ask("POST", "instances/shared/backupRuns", json!({"description": "ours"})).await;
    let id = api.done(&operation).await["backupContext"]["backupId"].as_str().unwrap().to_owned();
    let (_, run) = api.ask("GET", &format!("instances/shared/backupRuns/{id}"), Value::Null).await;
    assert_eq!((run["description"].as_str(), run["status"].as_str()), (Some("ours"), Some("SUCCESSFUL")));
    api.emulator.execute("p", "shared", "app", "second");
    let body = json!({"restoreBackupContext": {"backupRunId": id, "instanceId": "shared"}});
    let (_, operation) = api.ask("POST", "instances/shared/restoreBackup", body).await;
    api.done(&operation).await;
    assert_eq!(api.emulator.statements("p", "shared", "app").unwrap(), ["first"]);
}

#[tokio::test]
async fn faults_are_met_once_and_in_both_planes() {
    let api = Api::start(Options::default()).await;
    api.emulator.faults().next("databases", Failing::Refused(403, "operationInProgress".to_owned()));
    api.emulator.faults().next("databases", Failing::RefusedAfter(503, "backendError".to_owned()));
    api.emulator.faults().next("databases", Failing::Fails("ERROR_RDBMS".to_owned(), "no".to_owned()));
    let create = |name: &'static str| api.ask("POST", "instances/shared/databases", json!({"name": name}));
    assert_eq!(create("one").await.0, 403);
    assert_eq!(create("two").await.0, 503);
    let accepted = api.emulator.operations_of("CREATE_DATABASE");
    assert_eq!(accepted.len(), 1, "what was answered 503 was carried out");
    let done = api.done(&json!({"name": accepted[0]})).await;
    assert_eq!(done["error"]["errors"][0]["code"], "ERROR_RDBMS");
    assert_eq!(api.emulator.faults().left(), 0);
}

#[tokio::test]
async fn who_asks_must_be_known_and_allowed() {
    let identity = Identity {
        token: "t".to_owned(),
        email: "me@example.org".to_owned(),
        projects: vec!["p".to_owned()],
        lacks: vec!["cloudsql.instances.export".to_owned()],
    };
    let api = Api::start(Options { identities: vec![identity], ..Options::default() }).await;
    let url = |project: &str| format!("{}/v1/projects/{project}/instances/shared", api.emulator.endpoint());
    let get = |url: String| api.client.get(url).bearer_auth("t").send();
    assert_eq!(api.ask("GET", "instances/shared", Value::Null).await.0, 401);
    assert_eq!(get(url("p")).await.unwrap().status(), 200);
    assert_eq!(get(url("other")).await.unwrap().status(), 403);
    let export = api.client.post(format!("{}/export", url("p"))).bearer_auth("t").json(&json!({}));
    assert_eq!(export.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_stopped_instance_does_nothing() {
    let api = Api::start(Options::default()).await;
    api.emulator.change_instance("p", "shared", |instance| instance.activation = "NEVER".to_owned());
    let (status, answer) = api.export("one.sql", true).await;
    assert_eq!((status, reason(&answer)), (400, "instanceNotRunning"));
}

#[tokio::test]
async fn queries_answer_what_was_prepared_and_say_when_it_is_not_all() {
    let api = Api::start(Options::default()).await;
    api.emulator.prepare_rows("select n from t", &["n"], &[&["1"], &["2"]]);
    let ask = |limit: u64| {
        api.ask(
            "POST",
            "instances/shared/executeSql",
            json!({"sqlStatement": "select n from t", "database": "app", "rowLimit": limit}),
        )
    };
    let (_, all) = ask(10).await;
    assert_eq!(all["results"][0]["rows"][1]["values"][0]["value"], "2");
    assert_eq!(all["results"][0]["partialResult"], false);
    let (_, some) = ask(1).await;
    assert_eq!(some["results"][0]["partialResult"], true);
}

#[tokio::test]
async fn a_backup_becomes_another_instance_also_when_its_own_is_gone() {
    let api = Api::start(Options::default()).await;
    let emulator = &api.emulator;
    emulator.change_instance("p", "shared", |instance| {
        instance.retains_backups = true;
        instance.deletion_protection = false;
    });
    emulator.execute("p", "shared", "app", "first");
    let (_, operation) = api.ask("POST", "instances/shared/backupRuns", json!({"description": "ours"})).await;
    api.done(&operation).await;
    emulator.execute("p", "shared", "app", "second");
    emulator.back_up("p", "shared").unwrap();
    let (_, operation) = api.ask("DELETE", "instances/shared", Value::Null).await;
    api.done(&operation).await;
    let (_, list) = api.ask("GET", "backups?filter=instance:shared&pageSize=1", Value::Null).await;
    assert_eq!((list["backups"][0]["type"].as_str(), list["nextPageToken"].as_str()), (Some("AUTOMATED"), Some("1")));
    let (_, list) = api.ask("GET", "backups?filter=instance:shared&pageSize=1&pageToken=1", Value::Null).await;
    let backup = &list["backups"][0];
    assert_eq!((backup["description"].as_str(), backup["state"].as_str()), (Some("ours"), Some("SUCCESSFUL")));
    assert!(backup["instanceDeletionTime"].is_string() && list.get("nextPageToken").is_none());

    let name = backup["name"].as_str().unwrap();
    let body = json!({"backup": name, "restoreInstanceSettings": {"name": "new", "settings": {"userLabels": {"a": "b"}}}});
    let (_, operation) = api.ask("POST", "instances/new/restoreBackup", body.clone()).await;
    assert_eq!(operation["targetId"], "new");
    api.done(&operation).await;
    assert_eq!(emulator.statements("p", "new", "app").unwrap(), ["first"]);
    assert!(emulator.change_instance("p", "new", |instance| assert_eq!(instance.labels["a"], "b")));
    // Nothing that is there is written over by what is meant to be new, and no name is used again at once.
    for taken in ["new", "shared"] {
        let (status, refused) = api.ask("POST", &format!("instances/{taken}/restoreBackup"), body.clone()).await;
        assert_eq!((status, reason(&refused)), (409, "instanceAlreadyExists"), "{taken}");
    }
    let id = name.rsplit('/').next().unwrap();
    let (_, operation) = api.ask("DELETE", &format!("backups/{id}"), Value::Null).await;
    api.done(&operation).await;
    assert_eq!(emulator.backup_descriptions("p"), [""]);
    let (status, _) = api.ask("POST", "instances/newer/restoreBackup", body).await;
    assert_eq!(status, 404);
}
