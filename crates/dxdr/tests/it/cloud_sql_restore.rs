//! Databases of Cloud SQL on their way back, on the emulator.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
    time::Duration,
};

use dxdr_database_emulator::Failing;
use serde_json::Value;

use crate::cloud_sql::Cloud;

const MADE: &str = "create table p (n int)";
const LATER: &str = "insert into p values (2)";

impl Cloud {
    /// A point, and a database that has changed since.
    fn changed_since_a_point(&self) -> String {
        let point = self.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
        assert!(self.emulator.execute("dx-nonprod", "shared", "preview_orders", LATER));
        point
    }

    pub(crate) fn databases(&self) -> Vec<String> {
        self.emulator.database_names("dx-nonprod", "shared")
    }

    fn comment(&self, database: &str) -> Option<String> {
        self.emulator.comment("dx-nonprod", "shared", database)
    }

    pub(crate) fn named(&self, prefix: &str) -> String {
        let names = self.databases();
        names.iter().find(|name| name.starts_with(prefix)).unwrap_or_else(|| panic!("no {prefix} in {names:?}")).clone()
    }

    /// What is of the neighbour's is as it was.
    pub(crate) fn neighbour_is_untouched(&self) {
        assert_eq!(self.statements("dev_orders"), ["create table d (n int)"]);
        assert_eq!(self.comment("dev_orders"), None);
    }

    /// Removes an object of the bucket, as a stranger would.
    fn remove(&self, object: &str) {
        let mut stream = std::net::TcpStream::connect(self.storage.address()).unwrap();
        let path = format!("/storage/v1/b/b/o/{}", object.replace('/', "%2F"));
        write!(stream, "DELETE {path} HTTP/1.1\r\nhost: storage\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }

    /// Stops a command at the first operation of that kind, which is held, and lets that end. Its run.
    pub(crate) fn stopped_in(&self, request: &str, kind: &str, arguments: &[&str]) -> String {
        self.emulator.faults().next(request, Failing::Held);
        let run = self.stopped_after(kind, arguments);
        let [operation] = &self.emulator.operations_of(kind)[..] else { panic!("{kind} was asked for more than once") };
        assert!(self.emulator.release(operation));
        run
    }

    /// Stops a command once an operation of that kind was accepted. Its run.
    pub(crate) fn stopped_after(&self, kind: &str, arguments: &[&str]) -> String {
        let mut command = self.served.place.command(arguments);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while self.emulator.operations_of(kind).is_empty() {
            assert_eq!(process.try_wait().unwrap(), None, "it ended without {kind}");
            std::thread::sleep(Duration::from_millis(50));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&process), rustix::process::Signal::TERM).unwrap();
        let ended = process.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
        let runs = self.json(&["runs", "list"], 0);
        runs["runs"][0]["run"].as_str().unwrap().to_owned()
    }
}

#[test]
fn an_export_comes_back_beside_or_in_place_and_that_can_be_undone() {
    let cloud = Cloud::exporting();
    let point = cloud.changed_since_a_point();
    let plan = cloud.json(&["restore", "preview", "--point", &point, "--plan"], 0);
    let route = &plan["databases"][0]["route"];
    assert_eq!((&route["kind"], &route["importSeconds"]), (&"import".into(), &Value::Null));
    assert_eq!((&route["considered"][2]["kind"], &route["considered"][2]["verdict"]), (&"import".into(), &"taken".into()));
    assert!(route["bytes"].as_u64().unwrap() > 0, "{plan}");
    let said = cloud.run(&["restore", "preview", "--point", &point, "--into", "copy", "--dry-run"]).exits(0);
    for part in [
        "route import: ",
        "are read, time unknown, their export took",
        "is taken: the point has its export, of this database alone",
        "clone is impossible: the point names no instant of the instance's log",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert!(cloud.emulator.operations_of("IMPORT").is_empty() && cloud.databases().len() == 3);

    // Beside: what is used stays as it is.
    let said = cloud.run(&["restore", "preview", "--point", &point, "--into", "copy", "--yes"]).exits(0);
    let beside = cloud.named("preview_orders_restored_");
    assert!(said.stdout.contains(&format!("it is `{beside}`, beside the one that is used")), "{}", said.stdout);
    assert_eq!(
        (cloud.statements(&beside), cloud.statements("preview_orders")),
        (vec![MADE.to_owned()], vec![MADE.to_owned(), LATER.to_owned()])
    );
    assert!(cloud.comment(&beside).unwrap().starts_with("dxdr run "));

    // In place: they change names, and back. The last import of the same bytes tells what this one will take.
    let planned = cloud.json(&["restore", "preview", "--point", &point, "--in-place", "--dry-run"], 0);
    assert!(planned["databases"][0]["route"]["importSeconds"].is_i64(), "{planned}");
    let done = cloud.json(&["restore", "preview", "--point", &point, "--in-place", "--yes"], 0);
    let (run, kept) = (done["run"].as_str().unwrap(), done["databases"][0]["kept"].as_str().unwrap());
    assert_eq!(
        (cloud.statements("preview_orders"), cloud.statements(kept)),
        (vec![MADE.to_owned()], vec![MADE.to_owned(), LATER.to_owned()])
    );
    assert_eq!((cloud.comment("preview_orders"), cloud.comment(kept)), (None, Some(format!("dxdr run {run}"))));
    cloud.run(&["databases", "undo", run, "--dry-run"]).exits(0);
    assert_eq!(cloud.statements("preview_orders"), [MADE]);
    cloud.run(&["databases", "undo", run, "--yes"]).exits(0);
    assert_eq!(cloud.statements("preview_orders"), [MADE, LATER]);
    cloud.run(&["databases", "undo", run, "--yes"]).refuses(4);
    cloud.run(&["databases", "discard", run, "--dry-run"]).exits(0);
    assert_eq!(cloud.databases().len(), 5);
    cloud.run(&["databases", "discard", run, "--yes"]).exits(0);
    assert_eq!(cloud.databases(), ["dev_orders", "postgres", "preview_orders", beside.as_str()]);
    cloud.neighbour_is_untouched();
}

#[test]
fn a_restore_that_is_stopped_while_the_service_works_is_taken_up_where_it_is() {
    for (request, kind) in [("databases", "CREATE_DATABASE"), ("import", "IMPORT")] {
        let cloud = Cloud::exporting();
        let point = cloud.changed_since_a_point();
        let run = cloud.stopped_in(request, kind, &["restore", "preview", "--point", &point, "--in-place", "--yes"]);
        assert_eq!(cloud.statements("preview_orders"), [MADE, LATER], "nothing is in place before everything is beside");
        cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
        assert_eq!(cloud.emulator.operations_of("CREATE_DATABASE").len(), 1, "{kind}");
        assert_eq!(cloud.emulator.operations_of("IMPORT").len(), 1, "{kind}");
        assert_eq!((cloud.statements("preview_orders"), cloud.databases().len()), (vec![MADE.to_owned()], 4));
        cloud.run(&["databases", "undo", &run, "--yes"]).exits(0);
        cloud.run(&["databases", "discard", &run, "--yes"]).exits(0);
        assert_eq!((cloud.statements("preview_orders"), cloud.databases().len()), (vec![MADE.to_owned(), LATER.to_owned()], 3));
        cloud.neighbour_is_untouched();
    }
}

#[test]
fn what_keeps_an_export_from_coming_back_is_one_refusal_with_what_to_do() {
    let cloud = Cloud::exporting();
    let point = cloud.changed_since_a_point();
    let restore = ["restore", "preview", "--point", &point, "--in-place", "--yes"];
    let change = |change: &dyn Fn(&mut dxdr_database_emulator::Instance)| {
        assert!(cloud.emulator.change_instance("dx-nonprod", "shared", |instance| change(instance)));
    };
    let refused = |remedy: &str| {
        let said = cloud.run(&restore).refuses(4);
        assert!(said.stderr.contains(remedy), "{remedy}: {}", said.stderr);
    };
    change(&|instance| instance.activation = "NEVER".to_owned());
    refused("--activation-policy ALWAYS");
    change(&|instance| instance.activation = "ALWAYS".to_owned());
    change(&|instance| instance.data_api = false);
    refused("--data-api-access=ALLOW_DATA_API");
    change(&|instance| instance.data_api = true);
    change(&|instance| instance.version = "MYSQL_8_0".to_owned());
    refused("only databases of PostgreSQL can be renamed into place");
    change(&|instance| instance.version = "POSTGRES_15".to_owned());
    assert!(cloud.emulator.operations_of("IMPORT").is_empty() && cloud.databases().len() == 3, "nothing was asked for");

    // What only the operation says: the database is dropped with the run.
    let account = "p123 does not have storage.objects.get access to the Google Cloud Storage object.";
    cloud.emulator.faults().next("import", Failing::Fails("ERROR_RDBMS".to_owned(), account.to_owned()));
    let said = cloud.run(&restore).refuses(1);
    for part in ["storage.objects.get", "gcloud storage buckets add-iam-policy-binding", "imports again", "dxdr runs resume"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert_eq!(cloud.statements("preview_orders"), [MADE, LATER]);
    let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
    cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!(cloud.databases(), ["dev_orders", "postgres", "preview_orders"]);

    // Resumed when the reason is mended, it is imported again, and nothing is left of what failed.
    cloud.emulator.faults().next("import", Failing::Fails("ERROR_RDBMS".to_owned(), account.to_owned()));
    cloud.run(&restore).refuses(1);
    let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!((cloud.statements("preview_orders"), cloud.databases().len()), (vec![MADE.to_owned()], 4));
    cloud.run(&["databases", "undo", &run, "--yes"]).exits(0);
    cloud.run(&["databases", "discard", &run, "--yes"]).exits(0);
    assert_eq!((cloud.statements("preview_orders"), cloud.databases().len()), (vec![MADE.to_owned(), LATER.to_owned()], 3));

    // An export that is not there any more.
    let object = format!("velero/backups/{point}/databases/orders.sql.gz");
    cloud.remove(&object);
    refused("restore another recovery point");
    cloud.neighbour_is_untouched();
}
