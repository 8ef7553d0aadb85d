//! What can be wrong with an instance, its bucket, or a server, through the program itself: one clear error each, which says what happened, to what and what to do,
//! and nothing left behind.

use std::fs;

use dxdr_database_emulator::Failing;
use serde_json::json;

use crate::{
    cloud_sql::Cloud,
    cloud_sql_routes::{dedicated_to, policy},
    databases::{World, next_second},
    place::Said,
    postgresql_server::PASSWORD,
};

const PROJECT: &str = "dx-nonprod";

/// Something that is wrong, how it comes to be and goes away, and what whoever meets it is told.
struct Wrong {
    what: &'static str,
    made: fn(&Cloud),
    mended: fn(&Cloud),
    says: &'static [&'static str],
}

impl Wrong {
    /// Met once, and gone by itself.
    fn once(what: &'static str, made: fn(&Cloud), says: &'static [&'static str]) -> Self {
        Self { what, made, mended: |_| {}, says }
    }
}

fn next(cloud: &Cloud, request: &str, failing: Failing) {
    cloud.emulator.faults().next(request, failing);
}

fn refused(cloud: &Cloud, request: &str, status: u16, reason: &str) {
    next(cloud, request, Failing::Refused(status, reason.to_owned()));
}

/// Whether an export failed before is looked at, and then what runs on the instance.
fn everywhere_refused(cloud: &Cloud, reason: &str) {
    refused(cloud, "operations", 403, reason);
    refused(cloud, "operations", 403, reason);
}

fn fails(cloud: &Cloud, request: &str, message: &str) {
    next(cloud, request, Failing::Fails("ERROR_RDBMS".to_owned(), message.to_owned()));
}

fn change(cloud: &Cloud, change: impl FnOnce(&mut dxdr_database_emulator::Instance)) {
    assert!(cloud.emulator.change_instance(PROJECT, "shared", change));
}

fn rewrite(cloud: &Cloud, from: &str, to: &str) {
    let text = fs::read_to_string(cloud.served.place.path().join("policies/cloud.yaml")).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    cloud.served.place.write("policies/cloud.yaml", &text.replace(from, to));
}

#[track_caller]
fn says(said: &Said, what: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.stderr.contains(part), "{what}: {part}\n{}", said.stderr);
    }
}

/// What a refusal must leave as it was: databases and instances, exports, what runs or waits on the instance, runs that go on.
#[track_caller]
fn nothing_is_left(cloud: &Cloud, what: &str) {
    assert_eq!(cloud.databases(), ["dev_orders", "postgres", "preview_orders"], "{what}");
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["shared"], "{what}");
    assert_eq!(cloud.emulator.faults().left(), 0, "{what}: it was not met");
    let operations = cloud.json(&["databases", "operations"], 0);
    assert_eq!(
        (&operations["instances"][0]["operations"], &operations["instances"][0]["waiting"]),
        (&json!([]), &json!([])),
        "{what}"
    );
    let runs = cloud.json(&["runs", "list"], 0);
    let unfinished = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == "unfinished");
    assert_eq!(unfinished, None, "{what}");
    cloud.neighbour_is_untouched();
}

const INSTANCE: &str = "projects/dx-nonprod/instances/shared";

#[test]
fn a_point_whose_instance_or_bucket_refuses_lacks_its_database_and_says_what_to_do() {
    let cloud = Cloud::exporting();
    let wrong = [
        Wrong {
            what: "a project that is another one",
            made: |cloud| {
                rewrite(
                    cloud,
                    "project: dx-nonprod, instance: shared, databases: [preview_orders]",
                    "project: other, instance: shared, databases: [preview_orders]",
                )
            },
            mended: |cloud| rewrite(cloud, "project: other", "project: dx-nonprod"),
            says: &[
                "projects/other/instances/shared",
                "The Cloud SQL instance does not exist;",
                "`gcloud sql instances list --project other`",
            ],
        },
        Wrong::once(
            "a project that nobody let us into",
            |cloud| everywhere_refused(cloud, "notAuthorized"),
            &[
                INSTANCE,
                "not authorized",
                "the account needs `cloudsql.instances.get` in project `dx-nonprod`, if that is the right project",
            ],
        ),
        Wrong::once(
            "an API that is not switched on",
            |cloud| everywhere_refused(cloud, "accessNotConfigured"),
            &[INSTANCE, "gcloud services enable sqladmin.googleapis.com --project dx-nonprod"],
        ),
        Wrong::once(
            "a permission that is missing",
            |cloud| refused(cloud, "export", 403, "notAuthorized"),
            &["export database `preview_orders`", "`cloudsql.instances.export`", "roles/cloudsql.editor"],
        ),
        Wrong {
            what: "an instance that is stopped",
            made: |cloud| change(cloud, |instance| instance.activation = "NEVER".to_owned()),
            mended: |cloud| change(cloud, |instance| instance.activation = "ALWAYS".to_owned()),
            says: &[
                "the instance is not running",
                "gcloud sql instances patch shared --project dx-nonprod --activation-policy ALWAYS",
            ],
        },
        Wrong {
            what: "a database that is not there",
            made: |cloud| rewrite(cloud, "[preview_orders]", "[preview_gone]"),
            mended: |cloud| rewrite(cloud, "[preview_gone]", "[preview_orders]"),
            says: &["preview_gone", "gcloud sql databases list --instance shared --project dx-nonprod"],
        },
        Wrong::once(
            "a bucket that the instance's account may not write, before anything is accepted",
            |cloud| refused(cloud, "export", 403, "forbidden"),
            &[
                "permissions missing are: [storage.objects.delete]",
                "the account of the *instance*",
                "add-iam-policy-binding gs://b --member serviceAccount:p123@gcp-sa-cloud-sql.iam.gserviceaccount.com",
            ],
        ),
        Wrong::once(
            "the same, once it was accepted",
            |cloud| {
                fails(cloud, "export", "p123 does not have storage.objects.create access to the Google Cloud Storage object.")
            },
            &[
                "storage.objects.create",
                "the account of the *instance*",
                "gcloud sql instances describe shared",
                "add-iam-policy-binding gs://b --member",
            ],
        ),
        Wrong::once(
            "an object that is there",
            |cloud| {
                fails(
                    cloud,
                    "export",
                    "The Google Cloud Storage object gs://b/velero/backups/x/databases/orders.sql.gz already exists.",
                )
            },
            &["already exists", "an export never replaces an object", "take another point"],
        ),
        Wrong::once(
            "a quota that is used up",
            |cloud| refused(cloud, "export", 403, "quotaExceeded"),
            &["Quota exceeded", "console.cloud.google.com/iam-admin/quotas?project=dx-nonprod"],
        ),
        Wrong::once(
            "a disk that is full",
            |cloud| fails(cloud, "export", "could not write to file: No space left on device"),
            &["No space left on device", "gcloud sql instances patch shared --project dx-nonprod --storage-size"],
        ),
        Wrong::once(
            "an operation that is done and failed",
            |cloud| fails(cloud, "export", "pg_dump: error: query failed"),
            &["operation ", "pg_dump: error: query failed", "gcloud logging read", "--project dx-nonprod"],
        ),
        Wrong::once(
            "a request that makes no sense to the service",
            |cloud| refused(cloud, "export", 400, "invalid"),
            &["it would be refused again", "gcloud sql instances describe shared --project dx-nonprod"],
        ),
    ];
    for Wrong { what, made, mended, says: parts } in wrong {
        made(&cloud);
        let said = cloud.run(&["backup", "now", "preview"]).refuses(3);
        says(&said, what, &["it lacks database orders"]);
        says(&said, what, parts);
        mended(&cloud);
        let points = cloud.json(&["points", "preview"], 0);
        assert_eq!(points["points"][0]["state"], "partial", "{what}");
        let components = points["points"][0]["components"].as_array().unwrap();
        assert!(components.iter().all(|component| component["kind"] != "database"), "{what}");
        let exported = |name: &String| name.contains("/databases/");
        assert!(!cloud.storage.object_names("b").iter().any(exported), "{what}: {:?}", cloud.storage.object_names("b"));
        nothing_is_left(&cloud, what);
        next_second();
    }
    // And who restores such a point is told what is not in it.
    let points = cloud.json(&["points", "preview"], 0);
    let point = points["points"][0]["name"].as_str().unwrap();
    let said = cloud.run(&["restore", "preview", "--point", point, "--in-place", "--dry-run"]).exits(0);
    let text = format!("{}{}", said.stdout, said.stderr);
    for part in [
        "(partial)",
        "it lacks database orders: cannot export database `preview_orders`",
        "database orders is not in the point, and stays as it is",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_export_that_never_ends_is_given_up_by_the_process_and_not_by_the_run() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: export, timeout: 8s"));
    next(&cloud, "export", Failing::Held);
    let said = cloud.run(&["backup", "now", "preview"]).refuses(1);
    let [operation] = &cloud.emulator.operations_of("EXPORT")[..] else { panic!("{}", said.stderr) };
    says(&said, "held", &["is not done in time", INSTANCE, operation, "nothing is asked for again", "dxdr runs resume"]);
    assert_eq!(cloud.json(&["points", "preview"], 0)["points"], json!([]), "it is not over");
    assert!(cloud.emulator.release(operation));
    let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(cloud.emulator.operations_of("EXPORT").len(), 1);
    assert_eq!(cloud.json(&["points", "preview"], 0)["points"][0]["state"], "complete");
    nothing_is_left(&cloud, "resumed");
}

#[test]
fn what_a_stranger_does_for_too_long_is_named() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: export, timeout: 3s"));
    let foreign = cloud.emulator.begin_operation(PROJECT, "shared", "MAINTENANCE", "somebody@example.org").unwrap();
    let said = cloud.run(&["backup", "now", "preview"]).refuses(3);
    says(&said, "busy", &["it lacks database orders", INSTANCE, "MAINTENANCE", &foreign, "somebody@example.org", "since 20"]);
    assert!(cloud.emulator.operations_of("EXPORT").is_empty());
    assert!(cloud.emulator.release(&foreign));
    nothing_is_left(&cloud, "busy");
}

#[test]
fn a_restore_that_is_refused_leaves_what_is_live_and_is_ended_without_a_trace() {
    let cloud = Cloud::exporting();
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    let live = cloud.statements("preview_orders");
    let restore = ["restore", "preview", "--point", &point, "--in-place", "--yes"];
    // What a plan sees.
    for (what, made, mended, code, parts) in [
        (
            "a project that is another one",
            (|cloud| {
                rewrite(cloud, "instance: shared, databases: [preview_orders]", "instance: gone, databases: [preview_orders]")
            }) as fn(&Cloud),
            (|cloud| rewrite(cloud, "instance: gone", "instance: shared")) as fn(&Cloud),
            4,
            &[
                "projects/dx-nonprod/instances/gone",
                "does not exist",
                "gcloud sql instances list --project dx-nonprod",
                "--without-databases",
            ][..],
        ),
        (
            "statements that are not permitted",
            |cloud| refused(cloud, "executeSql", 403, "notAuthorized"),
            |_| {},
            4,
            &["`cloudsql.instances.executeSql`", "roles/cloudsql.admin"],
        ),
        (
            "an instance that is stopped",
            |cloud| change(cloud, |instance| instance.activation = "NEVER".to_owned()),
            |cloud| change(cloud, |instance| instance.activation = "ALWAYS".to_owned()),
            4,
            &["is stopped", "--activation-policy ALWAYS"],
        ),
    ] {
        next_second();
        made(&cloud);
        let said = cloud.run(&restore).refuses(code);
        mended(&cloud);
        says(&said, what, parts);
        assert_eq!(cloud.statements("preview_orders"), live, "{what}");
        nothing_is_left(&cloud, what);
    }
    // What only the service says, when it is asked.
    for (what, made, code, parts) in [
        (
            "no right to make databases",
            (|cloud| refused(cloud, "databases", 403, "notAuthorized")) as fn(&Cloud),
            7,
            &["create database", "`cloudsql.databases.create`", "dxdr runs resume", "dxdr runs clean"][..],
        ),
        (
            "no right to import",
            |cloud| refused(cloud, "import", 403, "notAuthorized"),
            7,
            &["`cloudsql.instances.import`", "roles/cloudsql.admin", "dxdr runs resume"],
        ),
        (
            "a bucket that the instance's account may not read",
            |cloud| refused(cloud, "import", 403, "forbidden"),
            7,
            &[
                "the account of the *instance*",
                "add-iam-policy-binding gs://b --member serviceAccount:p123@gcp-sa",
                "dxdr runs resume",
            ],
        ),
        (
            "a disk that is full",
            |cloud| fails(cloud, "import", "could not extend file: No space left on device"),
            1,
            &["No space left on device", "--storage-size", "dxdr runs resume"],
        ),
        (
            "an import that is done and failed",
            |cloud| fails(cloud, "import", "ERROR: role \"app\" does not exist"),
            1,
            &["role \"app\" does not exist", "`CREATE ROLE \"app\"`", "dxdr runs resume"],
        ),
        (
            "an operation that the service broke off",
            |cloud| next(cloud, "import", Failing::Fails("INTERNAL_ERROR".to_owned(), "An unknown error occurred.".to_owned())),
            1,
            &["An unknown error occurred", "try again later", "dxdr runs resume"],
        ),
    ] {
        next_second();
        made(&cloud);
        let said = cloud.run(&restore).refuses(code);
        says(&said, what, parts);
        says(&said, what, &["0 of 1 databases have changed places"]);
        assert_eq!(cloud.statements("preview_orders"), live, "{what}");
        let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
        cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
        nothing_is_left(&cloud, what);
    }
}

#[test]
fn an_instant_that_no_log_goes_back_to_is_refused_with_the_nearest_that_it_does() {
    let cloud = dedicated_to("production", "orders", "pointInTime");
    let point = cloud.json(&["backup", "now", "production"], 0);
    let (name, instant) = (point["name"].as_str().unwrap().to_owned(), jiff::Timestamp::now().to_string());
    next_second();
    assert!(cloud.emulator.change_instance(PROJECT, "own", |instance| instance.log = Some(jiff::SignedDuration::from_millis(1))));
    for arguments in [&["--in-place"][..], &["--into", "copy"]] {
        let restore = [&["restore", "production", "--at", &instant, "--yes"], arguments].concat();
        let said = cloud.run(&restore).refuses(4);
        says(
            &said,
            "window",
            &[&name, "is before the log of the instance, which goes from", "the nearest instant is", "--without-databases"],
        );
    }
    let said = cloud.run(&["restore", "production", "--at", "2001-01-01T00:00:00Z", "--yes", "--in-place"]).refuses(5);
    says(&said, "before everything", &["2001-01-01T00:00:00Z", "dxdr points production"]);
    assert!(cloud.emulator.operations_of("CLONE").is_empty());
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
}

/// What is wrong, how it comes to be, with which environment the program runs then, and what is said of a backup and of a restore, where that is refused.
type WrongServer =
    (&'static str, fn(&World), &'static [(&'static str, &'static str)], &'static [&'static str], Option<&'static [&'static str]>);

#[test]
fn a_server_that_cannot_be_dumped_is_named_with_what_to_do_and_its_password_never() {
    let Some(world) = World::new() else { return };
    let point = world.served.point();
    let programs = tempfile::tempdir().unwrap();
    let old = "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n";
    let at = "{service: postgres, databases: [orders], credentialsSecret: orders-db, address: 'ADDRESS'}";
    let wrong: [WrongServer; 6] = [
        (
            "a server that does not answer",
            |world| {
                world.declare("{service: postgres, databases: [orders], credentialsSecret: orders-db, address: '127.0.0.1:1'}")
            },
            &[],
            &["Connection refused", "127.0.0.1:1", "look whether the server runs"],
            Some(&["Connection refused", "--without-databases"]),
        ),
        (
            "a password that is wrong",
            |world| world.credentials("a-wrong-password"),
            &[],
            &["password authentication failed", "put the right one into the Secret"],
            Some(&["password authentication failed", "--without-databases"]),
        ),
        (
            "a Secret that is not there",
            |world| world.declare("{service: postgres, databases: [orders], credentialsSecret: nowhere}"),
            &[],
            &["there is no Secret `nowhere` in namespace `staging`"],
            Some(&["there is no Secret `nowhere`"]),
        ),
        (
            "a database that is not there",
            |world| world.declare("{service: postgres, databases: [nothing], credentialsSecret: orders-db, address: 'ADDRESS'}"),
            &[],
            &["`nothing`", "does not exist", "name a database that is there in the manifest's `databases`"],
            None,
        ),
        (
            "programs that are older than the server",
            |_| {},
            &[("DXDR_POSTGRESQL_PROGRAMS", "PROGRAMS")],
            &[
                "the server is version 15",
                "pg_dump here is 9, which does not read newer servers",
                "install PostgreSQL's client programs of version 15",
            ],
            None,
        ),
        (
            "programs that are not there",
            |_| {},
            &[("DXDR_POSTGRESQL_PROGRAMS", "/nowhere")],
            &["is not installed here", "install PostgreSQL's client programs", "DXDR_POSTGRESQL_PROGRAMS"],
            Some(&["is not installed here", "--without-databases"]),
        ),
    ];
    for program in ["psql", "pg_restore"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{program}"), programs.path().join(program)).unwrap();
    }
    let dump = programs.path().join("pg_dump");
    fs::write(&dump, old).unwrap();
    fs::set_permissions(&dump, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (what, made, environment, parts, restored) in wrong {
        made(&world);
        let run = |arguments: &[&str]| {
            let mut command = world.served.place.command(arguments);
            for (name, value) in environment {
                command.env(name, value.replace("PROGRAMS", &programs.path().to_string_lossy()));
            }
            let said = Said::of(arguments, &command.output().unwrap());
            for secret in [PASSWORD, "a-wrong-password"] {
                assert!(!format!("{}{}", said.stdout, said.stderr).contains(secret), "{what}");
            }
            said
        };
        let said = run(&["backup", "now", "staging"]).refuses(3);
        says(&said, what, &["it lacks database orders"]);
        says(&said, what, parts);
        let checked = run(&["databases", "check", "staging"]).exits(3);
        for part in parts {
            assert!(checked.stdout.contains(part), "{what}: {part}\n{}", checked.stdout);
        }
        if let Some(restored) = restored {
            let before = world.databases();
            let said = run(&["restore", "staging", "--point", &point, "--in-place", "--yes"]).refuses(4);
            says(&said, what, restored);
            assert_eq!(world.databases(), before, "{what}");
        }
        world.declare(at);
        world.credentials(PASSWORD);
        let listed = world.json(&["points", "staging", "--output", "json"]);
        assert_eq!(listed["points"][0]["state"], "partial", "{what}");
        assert_eq!(world.served.stored().keys().filter(|key| key.to_string_lossy().contains(".dump")).count(), 1, "{what}");
        next_second();
    }
    assert_eq!((world.rows("orders").as_str(), world.rows("neighbour").as_str()), ("[1, 2]", "[7]"));
}
