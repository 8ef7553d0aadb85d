//! Databases as part of recovery points and of restores, on a real PostgreSQL server where one is installed.

use std::{path::PathBuf, process::Stdio, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    objects,
    place::Said,
    postgresql_server::{self, PASSWORD, Server},
    served::Served,
};

/// An environment whose database `orders` is on the server, with a neighbour beside it.
pub(crate) struct World {
    pub(crate) served: Served,
    server: Server,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        let server = postgresql_server::start(true)?;
        server.sql("postgres", "CREATE DATABASE orders;");
        server.sql("postgres", "CREATE DATABASE neighbour;");
        server.sql("orders", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);");
        server.sql("neighbour", "CREATE TABLE t (n int); INSERT INTO t VALUES (7);");
        let served = Served::new();
        let world = Self { served, server };
        world.declare("{service: postgres, databases: [orders], credentialsSecret: orders-db, address: 'ADDRESS'}");
        world.credentials(PASSWORD);
        Some(world)
    }

    /// Declares the database anew.
    pub(crate) fn declare(&self, postgresql: &str) {
        let postgresql = postgresql.replace("ADDRESS", &format!("127.0.0.1:{}", self.server.port));
        let store = Value::from(self.served.store().to_string_lossy().into_owned());
        self.served.place.write(
            "policies/staging.yaml",
            &format!(
                "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: staging}}\nspec:\n  namespace: staging\n  tier: non-production\n  databases:\n    - name: orders\n      postgresql: {postgresql}\n---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{directory: {{path: {store}}}}}\n"
            ),
        );
    }

    pub(crate) fn credentials(&self, password: &str) {
        let encoded = |text: &str| STANDARD.encode(text);
        let reference = objects::core("Secret", Some("staging"), "orders-db");
        if self.served.get(&reference).is_some() {
            self.served.delete(&reference);
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-db", "namespace": "staging"},
            // As `echo` makes it, with a line break behind.
            "data": {"username": encoded("postgres"), "password": encoded(&format!("{password}\n"))},
        });
        self.served.create((reference, object));
    }

    pub(crate) fn rows(&self, database: &str) -> String {
        self.server.sql(database, "SELECT json_agg(n ORDER BY n) FROM t;")
    }

    pub(crate) fn databases(&self) -> Vec<String> {
        let names = self.server.sql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1;");
        names.lines().map(str::to_owned).collect()
    }

    /// Restores in place, and leaves the journal as a process does that dies behind the swap's commit: the run.
    fn restored_and_killed(&self, point: &str) -> String {
        let arguments = ["restore", "staging", "--point", point, "--in-place", "--yes", "--output", "json"];
        // Without its database, the protective point is partial.
        let said = Said::of(&arguments, &self.served.place.command(&arguments).output().unwrap());
        let report: Value = serde_json::from_str(&said.stdout).unwrap();
        let run = report["run"].as_str().unwrap().to_owned();
        let mut journal: Vec<PathBuf> =
            self.served.stored().into_keys().filter(|key| key.iter().any(|part| part == run.as_str())).collect();
        journal.sort();
        let is_swapped = |path: &PathBuf| {
            let entry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let entry = entry.to_string();
            entry.contains("\"swap-orders\"") && entry.contains("step-finished")
        };
        let swapped = journal.iter().rposition(is_swapped).unwrap();
        for path in &journal[swapped..] {
            std::fs::remove_file(path).unwrap();
        }
        run
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.served.run(arguments).exits(0).stdout).unwrap()
    }
}

#[test]
fn a_database_is_part_of_the_point_and_comes_back_beside_or_in_place_and_that_can_be_undone() {
    let Some(world) = World::new() else { return };
    let plan = world.json(&["backup", "now", "staging", "--dry-run", "--output", "json"]);
    assert_eq!(plan["databases"][0]["key"], "databases/orders.dump");
    let listed = world.json(&["databases", "list", "--output", "json"]);
    assert_eq!(listed["databases"][0]["kind"], "postgresql");
    let checked = world.json(&["databases", "check", "--output", "json"]);
    assert_eq!((&checked["databases"][0]["state"], &checked["databases"][0]["database"]), (&json!("ready"), &json!("orders")));

    let point = world.served.point();
    let points = world.json(&["points", "staging", "--output", "json"]);
    let component = |kind: &str| {
        let components = points["points"][0]["components"].as_array().unwrap();
        components.iter().find(|component| component["kind"] == kind).unwrap().clone()
    };
    assert_eq!((&component("database")["method"], &component("database")["consistency"]), (&json!("dump"), &json!("aligned")));
    let dump = world.served.store().join("backups").join(&point).join("databases/orders.dump");
    assert_eq!(component("database")["size"], std::fs::metadata(&dump).unwrap().len());

    world.server.sql("orders", "INSERT INTO t VALUES (3); DELETE FROM t WHERE n = 1;");
    let offline = world.json(&["restore", "staging", "--point", &point, "--plan", "--output", "json"]);
    assert_eq!(offline["databases"][0]["database"], "orders");

    // Beside: what is used stays as it is.
    world.served.run(&["restore", "staging", "--point", &point, "--into", "staging-copy", "--yes"]).exits(0);
    let beside = world.databases().into_iter().find(|name| name.starts_with("orders_restored_")).unwrap();
    assert_eq!((world.rows(&beside).as_str(), world.rows("orders").as_str()), ("[1, 2]", "[2, 3]"));

    // In place: they change names, and back.
    let said = world.json(&["restore", "staging", "--point", &point, "--in-place", "--yes", "--output", "json"]);
    let (run, kept) = (said["run"].as_str().unwrap(), said["databases"][0]["kept"].as_str().unwrap());
    assert_eq!((world.rows("orders").as_str(), world.rows(kept).as_str()), ("[1, 2]", "[2, 3]"));
    world.served.run(&["databases", "undo", run, "--dry-run"]).exits(0);
    assert_eq!(world.rows("orders"), "[1, 2]");
    // What a later run put in place is not taken for this one's.
    let later = world.json(&["restore", "staging", "--point", &point, "--in-place", "--yes", "--output", "json"]);
    let later = later["run"].as_str().unwrap();
    let said = world.served.run(&["databases", "undo", run, "--yes"]).refuses(4);
    assert!(said.stderr.contains(later), "{}", said.stderr);
    world.served.run(&["databases", "undo", later, "--yes"]).exits(0);
    world.served.run(&["databases", "discard", later, "--yes"]).exits(0);
    world.served.run(&["databases", "undo", run, "--yes"]).exits(0);
    assert_eq!(world.rows("orders"), "[2, 3]");
    world.served.run(&["databases", "undo", run, "--yes"]).refuses(4);
    world.served.run(&["databases", "discard", run, "--yes"]).exits(0);
    assert_eq!(world.databases(), ["neighbour", "orders", beside.as_str(), "postgres"]);

    // Destroyed, and brought back.
    world.server.sql("postgres", "DROP DATABASE orders;");
    let said = world.served.run(&["backup", "now", "staging"]).refuses(3);
    assert!(said.stderr.contains("does not exist"), "{}", said.stderr);
    world.served.run(&["restore", "staging", "--point", &point, "--in-place", "--yes"]).exits(0);
    assert_eq!((world.rows("orders").as_str(), world.rows("neighbour").as_str()), ("[1, 2]", "[7]"));
}

#[test]
fn a_point_without_its_database_is_partial_and_says_what_to_do() {
    let Some(world) = World::new() else { return };
    world.credentials("wrong");
    let said = world.served.run(&["backup", "now", "staging"]).refuses(3);
    for part in ["it lacks database orders", "password authentication failed", "put the right one into the Secret"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    let said = world.served.run(&["databases", "check", "staging"]).exits(3);
    assert!(said.stdout.contains("password authentication failed"), "{}", said.stdout);
    // The objects are in it all the same.
    let points = world.json(&["points", "staging", "--output", "json"]);
    assert_eq!(points["points"][0]["state"], "partial");

    world.credentials(PASSWORD);
    let point = world.served.point();
    world.declare("{service: postgres, databases: [orders], credentialsSecret: orders-db, address: '127.0.0.1:1'}");
    let restore = ["restore", "staging", "--point", &point, "--in-place", "--yes"];
    let said = world.served.refuses_and_changes_nothing(&restore, 4);
    assert!(said.stderr.contains("--without-databases"), "{}", said.stderr);
    world.declare("{service: postgres, databases: [orders], credentialsSecret: nowhere}");
    let said = world.served.run(&["backup", "now", "staging"]).refuses(3);
    assert!(said.stderr.contains("there is no Secret `nowhere` in namespace `staging`"), "{}", said.stderr);
}

#[test]
fn a_backup_that_is_killed_while_it_dumps_takes_the_dump_again() {
    let Some(world) = World::new() else { return };
    let mut locking = world.server.psql("orders").arg("--file=-").stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = locking.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"BEGIN; LOCK TABLE t; INSERT INTO t VALUES (3);\n").unwrap();
    let sessions = |what: &str| world.server.sql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE {what};"));
    let until = |what: &str, count: &str| {
        while sessions(what) != count {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("state = 'idle in transaction' AND datname = 'orders'", "1");
    let mut backup = world.served.place.command(&["backup", "now", "staging"]);
    let mut backup = backup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("application_name = 'dxdr' AND wait_event_type = 'Lock'", "1");
    backup.kill().unwrap();
    backup.wait().unwrap();
    std::io::Write::write_all(&mut stdin, b"COMMIT;\n").unwrap();
    drop(stdin);
    assert!(locking.wait().unwrap().success());
    // Whatever the process had started ends by itself.
    until("application_name = 'dxdr'", "0");

    let runs = world.json(&["runs", "list", "--output", "json"]);
    let run = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == "unfinished").unwrap();
    let run = run["run"].as_str().unwrap();
    let point = world.served.run(&["runs", "resume", run, "--yes"]).exits(0).stdout.trim().to_owned();
    world.server.sql("postgres", "DROP DATABASE orders;");
    let said = world.served.run(&["restore", "staging", "--point", &point, "--in-place", "--yes"]).exits(0);
    assert_eq!(world.rows("orders"), "[1, 2, 3]", "{}", said.stderr);
}

#[test]
fn a_swap_that_no_journal_has_is_found_on_the_server_by_whoever_ends_the_run() {
    let Some(world) = World::new() else { return };
    let point = world.served.point();
    world.server.sql("orders", "INSERT INTO t VALUES (3);");
    let run = world.restored_and_killed(&point);
    for command in ["undo", "discard"] {
        let said = world.served.run(&["databases", command, &run, "--yes"]).refuses(4);
        for next in ["runs resume", "runs clean"] {
            assert!(said.stderr.contains(&format!("dxdr {next} {run}")), "{}", said.stderr);
        }
    }
    let left = world.json(&["runs", "clean", &run, "--dry-run", "--output", "json"]);
    assert_eq!(left["databases"], json!([]));
    assert_eq!(left["databasesInPlace"], json!([{"name": "orders", "database": "orders"}]));
    let said = world.served.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert!(said.stderr.contains(&format!("dxdr databases undo {run}")), "{}", said.stderr);
    assert_eq!(world.rows("orders"), "[1, 2]");

    world.served.run(&["databases", "undo", &run, "--yes"]).exits(0);
    assert_eq!(world.rows("orders"), "[1, 2, 3]");
    world.served.run(&["databases", "discard", &run, "--yes"]).exits(0);
    assert_eq!(world.databases(), ["neighbour", "orders", "postgres"]);
    let discarded = world.json(&["runs", "show", &run, "--output", "json"]);
    assert!(discarded.to_string().contains("discard-orders"), "{discarded}");
}

#[test]
fn a_swap_that_never_was_is_not_made_up_and_what_was_loaded_for_it_goes() {
    let Some(world) = World::new() else { return };
    let point = world.served.point();
    world.server.sql("orders", "INSERT INTO t VALUES (3);");
    let run = world.restored_and_killed(&point);
    // As it was before the swap.
    let names = world.databases();
    let [before] = names.iter().filter(|name| name.contains("_before_")).collect::<Vec<_>>()[..] else { panic!("{names:?}") };
    let beside = before.replace("_before_", "_restored_");
    world.server.sql(
        "postgres",
        &format!(
            "ALTER DATABASE orders RENAME TO \"{beside}\"; COMMENT ON DATABASE \"{beside}\" IS 'dxdr run {run}';
             ALTER DATABASE \"{before}\" RENAME TO orders; COMMENT ON DATABASE orders IS NULL;"
        ),
    );
    let left = world.json(&["runs", "clean", &run, "--dry-run", "--output", "json"]);
    assert_eq!(left["databases"], json!([{"name": "orders", "database": beside, "instance": null}]));
    world.served.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!(world.databases(), ["neighbour", "orders", "postgres"]);
    assert_eq!(world.rows("orders"), "[1, 2, 3]");
    let said = world.served.run(&["databases", "undo", &run, "--yes"]).refuses(4);
    assert!(said.stderr.contains("has no database in place"), "{}", said.stderr);
}

#[test]
fn what_was_discarded_is_not_promised_to_come_back() {
    let Some(world) = World::new() else { return };
    let point = world.served.point();
    let said = world.json(&["restore", "staging", "--point", &point, "--in-place", "--yes", "--output", "json"]);
    let run = said["run"].as_str().unwrap();
    world.served.run(&["databases", "discard", run, "--yes"]).exits(0);
    let said = world.served.run(&["databases", "undo", run, "--yes"]).refuses(4);
    assert!(said.stderr.contains("was discarded"), "{}", said.stderr);
    assert_eq!(world.databases(), ["neighbour", "orders", "postgres"]);
}

#[test]
fn a_restore_that_died_behind_a_swap_with_nobody_is_resumed() {
    let Some(world) = World::new() else { return };
    let point = world.served.point();
    world.server.sql("postgres", "DROP DATABASE orders;");
    let run = world.restored_and_killed(&point);
    world.served.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(world.rows("orders"), "[1, 2]");
}

/// The second is in the names of clones, and so the next one takes another.
pub(crate) fn next_second() {
    let second = jiff::Timestamp::now().as_second();
    while jiff::Timestamp::now().as_second() == second {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
