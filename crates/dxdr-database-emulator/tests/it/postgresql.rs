//! Instances that are real servers, where PostgreSQL is installed.

use dxdr_database_emulator::{Installation, Instance, Options};
use dxdr_storage_emulator::Emulator as Storage;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    operations::{Api, reason},
    storage,
};

/// An instance `real` with the databases `orders` and `neighbour`, and a bucket.
struct World {
    bucket: Storage,
    api: Api,
}

impl World {
    async fn new() -> Option<Self> {
        let Some(installation) = Installation::find() else {
            eprintln!("skipped: no PostgreSQL server is installed (Debian: apt-get install postgresql)");
            return None;
        };
        let bucket = storage(None).await;
        let options = Options {
            storage: Some(dxdr_database_emulator::Storage::Endpoint(bucket.endpoint())),
            postgresql: Some(installation),
            ..Options::default()
        };
        let world = Self { bucket, api: Api::start(options).await };
        world.api.emulator.create_server("p", "real", Instance::default()).unwrap();
        for (database, number) in [("orders", 1), ("neighbour", 7)] {
            world.api.emulator.create_database("p", "real", database);
            world.run(
                database,
                &format!("CREATE TABLE a (n int); CREATE TABLE t (n int PRIMARY KEY, text text); INSERT INTO t VALUES ({number}, 'it''s'), (99, NULL)"),
            );
        }
        Some(world)
    }

    fn run(&self, database: &str, statements: &str) {
        self.api.emulator.query("p", "real", database, statements).unwrap();
    }

    /// The numbers in a database of an instance.
    fn numbers(&self, instance: &str, database: &str) -> Vec<String> {
        let rows = self.api.emulator.query("p", instance, database, "SELECT n FROM t ORDER BY n").unwrap();
        rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
    }

    /// Asks for an operation and waits for its end; its error's message, if it has one.
    async fn operate(&self, path: &str, body: Value) -> Option<String> {
        let (status, operation) = self.api.ask("POST", path, body).await;
        assert_eq!(status, 200, "{operation}");
        let done = self.api.done(&operation).await;
        done["error"]["errors"][0]["message"].as_str().map(str::to_owned)
    }

    async fn export(&self, database: &str, object: &str) -> Option<String> {
        let context = json!({"fileType": "SQL", "uri": format!("gs://b/{object}"), "databases": [database]});
        self.operate("instances/real/export", json!({"exportContext": context})).await
    }

    async fn import(&self, object: &str, database: &str) -> Option<String> {
        let context = json!({"fileType": "SQL", "uri": format!("gs://b/{object}"), "database": database});
        self.operate("instances/real/import", json!({"importContext": context})).await
    }

    async fn clone(&self, from: &str, to: &str, at: Option<Timestamp>) -> Option<String> {
        let context = json!({"destinationInstanceName": to, "pointInTime": at.map(|at| at.to_string())});
        self.operate(&format!("instances/{from}/clone"), json!({"cloneContext": context})).await
    }

    async fn execute(&self, database: &str, statement: &str, limit: u64) -> Value {
        let body = json!({"sqlStatement": statement, "database": database, "rowLimit": limit.to_string()});
        let (status, answer) = self.api.ask("POST", "instances/real/executeSql", body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

#[tokio::test]
async fn a_dump_brings_back_what_was_destroyed_and_leaves_the_neighbour_alone() {
    let Some(world) = World::new().await else { return };
    let everything = "SELECT n, text FROM t ORDER BY n";
    let before = world.api.emulator.query("p", "real", "orders", everything).unwrap();
    for object in ["orders.sql", "orders.sql.gz"] {
        assert_eq!(world.export("orders", object).await, None);
    }
    assert_eq!(world.bucket.object_names("b"), ["orders.sql", "orders.sql.gz"]);
    world.run("orders", "DROP TABLE t");

    // Into one that is empty, and back by renaming, as `postgres` may, who is no superuser.
    world.operate("instances/real/databases", json!({"name": "beside"})).await;
    assert_eq!(world.import("orders.sql.gz", "beside").await, None);
    let swap = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND datname IN ('orders', 'beside');\
         ALTER DATABASE orders RENAME TO gone; ALTER DATABASE beside RENAME TO orders; COMMENT ON DATABASE gone IS 'by a test'";
    let answer = world.execute("postgres", swap, 0).await;
    assert!(answer.get("status").is_none(), "{answer}");
    assert_eq!(world.api.emulator.query("p", "real", "orders", everything).unwrap(), before);
    assert_eq!(world.numbers("real", "neighbour"), ["7", "99"]);
    let (_, list) = world.api.ask("GET", "instances/real/databases", Value::Null).await;
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["gone", "neighbour", "orders", "postgres"]);

    // What does not fit fails whole, in the operation.
    world.operate("instances/real/databases", json!({"name": "again"})).await;
    world.api.emulator.query("p", "real", "again", "CREATE TABLE t (other int)").unwrap();
    let message = world.import("orders.sql", "again").await.unwrap();
    assert!(message.contains("relation \"t\" already exists"), "{message}");
    let tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    assert_eq!(world.api.emulator.query("p", "real", "again", tables).unwrap(), [[Some("t".to_owned())]]);

    // What the bucket refuses, and what is not there.
    assert!(world.export("orders", "orders.sql").await.unwrap().contains("already exists"));
    assert!(world.export("no", "no.sql").await.unwrap().contains("database \"no\" does not exist"));
    assert!(world.import("no.sql", "again").await.unwrap().contains("does not exist"));
    assert_eq!(world.bucket.object_names("b"), ["orders.sql", "orders.sql.gz"]);
}

#[tokio::test]
async fn a_clone_has_what_was_committed_by_an_instant_and_nothing_else() {
    let Some(world) = World::new().await else { return };
    world.run("orders", "INSERT INTO t VALUES (2, 'before')");
    let at = Timestamp::now();
    world.run("orders", "INSERT INTO t VALUES (3, 'after')");
    world.run("postgres", "CREATE DATABASE later");
    world.run("neighbour", "DELETE FROM t");
    assert_eq!(world.clone("real", "then", Some(at)).await, None);
    assert_eq!(world.numbers("then", "orders"), ["1", "2", "99"]);
    assert_eq!(world.numbers("then", "neighbour"), ["7", "99"]);
    assert!(world.api.emulator.query("p", "then", "later", "SELECT 1").is_err());
    assert_eq!(world.numbers("real", "orders"), ["1", "2", "3", "99"]);

    // The copy goes its own way, has a log of its own, and its window begins with it.
    world.api.emulator.query("p", "then", "orders", "INSERT INTO t VALUES (4, 'there')").unwrap();
    let (status, answer) = {
        let context = json!({"destinationInstanceName": "too-early", "pointInTime": at.to_string()});
        world.api.ask("POST", "instances/then/clone", json!({"cloneContext": context})).await
    };
    assert_eq!((status, reason(&answer)), (400, "invalidPointInTime"));
    assert_eq!(world.clone("then", "now", None).await, None);
    assert_eq!(world.numbers("now", "orders"), ["1", "2", "4", "99"]);
    assert_eq!(world.numbers("real", "orders"), ["1", "2", "3", "99"]);
}

#[tokio::test]
async fn a_backup_is_what_the_server_was() {
    let Some(world) = World::new().await else { return };
    assert_eq!(world.operate("instances/real/backupRuns", json!({"description": "ours"})).await, None);
    let (_, runs) = world.api.ask("GET", "instances/real/backupRuns", Value::Null).await;
    world.run("orders", "INSERT INTO t VALUES (2, 'lost')");
    let context = json!({"restoreBackupContext": {"backupRunId": runs["items"][0]["id"], "instanceId": "real"}});
    assert_eq!(world.operate("instances/real/restoreBackup", context).await, None);
    assert_eq!(world.numbers("real", "orders"), ["1", "99"]);
    world.run("orders", "INSERT INTO t VALUES (5, 'since')");
    assert_eq!(world.clone("real", "copy", Some(Timestamp::now())).await, None);
    assert_eq!(world.numbers("copy", "orders"), ["1", "5", "99"]);
}

#[tokio::test]
async fn a_server_comes_out_of_a_backup_whose_own_is_gone() {
    let Some(world) = World::new().await else { return };
    let emulator = &world.api.emulator;
    assert_eq!(world.operate("instances/real/backupRuns", json!({"description": "ours"})).await, None);
    world.run("orders", "INSERT INTO t VALUES (2, 'later')");
    emulator.change_instance("p", "real", |instance| {
        (instance.retains_backups, instance.deletion_protection) = (true, false);
    });
    let (_, operation) = world.api.ask("DELETE", "instances/real", Value::Null).await;
    world.api.done(&operation).await;
    let (_, list) = world.api.ask("GET", "backups?filter=instance:real", Value::Null).await;
    let between = &list["backups"][0]["backupInterval"];
    let ends = ["startTime", "endTime"].map(|end| between[end].as_str().unwrap().parse::<Timestamp>().unwrap());
    assert!(ends[0] < ends[1], "{between}");
    let body = json!({"backup": list["backups"][0]["name"], "restoreInstanceSettings": {"name": "new"}});
    assert_eq!(world.operate("instances/new/restoreBackup", body).await, None);
    assert_eq!(world.numbers("new", "orders"), ["1", "99"]);
    // It has a log of its own.
    assert_eq!(world.clone("new", "copy", None).await, None);
    assert_eq!(world.numbers("copy", "orders"), ["1", "99"]);
}

#[tokio::test]
async fn statements_answer_what_the_server_answers() {
    let Some(world) = World::new().await else { return };
    let answer = world.execute("orders", "SELECT n, text FROM t ORDER BY n; UPDATE t SET n = n + 1", 1).await;
    let result = &answer["results"][0];
    assert_eq!(result["columns"], json!([{"name": "n", "type": "INT4"}, {"name": "text", "type": "TEXT"}]));
    assert_eq!(result["rows"], json!([{"values": [{"value": "1"}, {"value": "it's"}]}]));
    assert_eq!((&result["partialResult"], &answer["results"][1]["message"]), (&json!(true), &json!("UPDATE 2")));
    let answer = world.execute("orders", "SELECT text FROM t WHERE n = 100", 0).await;
    assert_eq!(answer["results"][0]["rows"], json!([{"values": [{"nullValue": true}]}]));
    assert_eq!(answer["results"][0]["partialResult"], false);
    // Together they are one transaction.
    let answer = world.execute("orders", "DELETE FROM t; SELECT nothing FROM t", 0).await;
    assert_eq!(answer["status"]["message"], "ERROR: column \"nothing\" does not exist");
    assert_eq!(world.numbers("real", "orders"), ["2", "100"]);
    let (status, _) =
        world.api.ask("POST", "instances/real/executeSql", json!({"sqlStatement": "SELECT 1", "database": "no"})).await;
    assert_eq!(status, 404);
    // Users are the server's; `postgres` is no superuser.
    assert_eq!(world.operate("instances/real/users", json!({"name": "app"})).await, None);
    let (_, users) = world.api.ask("GET", "instances/real/users", Value::Null).await;
    let names: Vec<&str> = users["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app", "postgres"]);
    let answer = world.execute("postgres", "ALTER SYSTEM SET work_mem = '1MB'", 0).await;
    assert!(answer["status"]["message"].as_str().unwrap().contains("permission denied"), "{answer}");
}

#[tokio::test]
async fn servers_and_their_files_end_with_the_emulator() {
    let Some(world) = World::new().await else { return };
    // One that the API creates is a server as well.
    assert_eq!(world.operate("instances", json!({"name": "second"})).await, None);
    let folder = |instance: &str| {
        let rows = world.api.emulator.query("p", instance, "postgres", "SHOW data_directory").unwrap();
        std::path::PathBuf::from(rows[0][0].clone().unwrap())
    };
    let folders = [folder("real"), folder("second")];
    let process = |folder: &std::path::PathBuf| {
        let file = std::fs::read_to_string(folder.join("postmaster.pid")).unwrap();
        std::path::Path::new("/proc").join(file.lines().next().unwrap())
    };
    let processes = [process(&folders[0]), process(&folders[1])];
    assert!(processes.iter().all(|process| process.exists()));
    world.api.emulator.change_instance("p", "second", |instance| instance.deletion_protection = false);
    let (status, operation) = world.api.ask("DELETE", "instances/second", Value::Null).await;
    assert_eq!(status, 200, "{operation}");
    world.api.done(&operation).await;
    assert!(!processes[1].exists() && !folders[1].exists());
    drop(world);
    assert!(!processes[0].exists() && !folders[0].exists());
}
