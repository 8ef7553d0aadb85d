//! Databases of Cloud SQL that come back from the log of their instance, on the emulator.

use std::time::Duration;

use dxdr_database_emulator::{Failing, Instance};
use jiff::SignedDuration;
use serde_json::Value;

use crate::{cloud_sql::Cloud, databases::next_second, objects};

const MADE: &str = "create table o (n int)";
const LATER: &str = "insert into o values (2)";
const PROJECT: &str = "dx-nonprod";

/// `production` has the instance `own` for itself, and a policy that relies on its log.
fn dedicated(databases: &str, method: &str) -> Cloud {
    dedicated_to("production", databases, method)
}

/// The same of another name, in the same namespace.
pub(crate) fn dedicated_to(environment: &str, databases: &str, method: &str) -> Cloud {
    let cloud = Cloud::exporting();
    let manifests = format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: {environment}}}\nspec:\n  namespace: production\n  tier: non-production\n  databases: [{{name: orders, cloudSql: {{project: {PROJECT}, instance: own, databases: [{databases}]}}}}]\n---\n{}",
        policy(environment, &format!("method: {method}"))
    );
    cloud.served.place.write("policies/production.yaml", &manifests);
    cloud.emulator.create_instance(PROJECT, "own", Instance::default());
    cloud.emulator.create_database(PROJECT, "own", "orders");
    assert!(cloud.emulator.execute(PROJECT, "own", "orders", MADE));
    cloud.served.create(objects::namespace("production"));
    cloud.served.create(objects::config_map("production", "one", "as it was"));
    cloud
}

pub(crate) fn policy(environment: &str, databases: &str) -> String {
    format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: of-{environment}}}\nspec: {{environments: [{environment}], objectives: {{dataLoss: 2h, recoveryTime: 1h}}, engine: native, store: primary, databases: {{{databases}}}, retention: {{daily: 7}}}}\n"
    )
}

/// A point, and a database that has changed since.
fn point_of_production(cloud: &Cloud) -> String {
    let point = cloud.json(&["backup", "now", "production"], 0)["name"].as_str().unwrap().to_owned();
    assert!(cloud.emulator.execute(PROJECT, "own", "orders", LATER));
    point
}

fn of_instance(cloud: &Cloud, instance: &str, database: &str) -> Vec<String> {
    cloud.emulator.statements(PROJECT, instance, database).unwrap()
}

fn database_component(page: &Value) -> &Value {
    let components = page["points"][0]["components"].as_array().unwrap();
    components.iter().find(|component| component["kind"] == "database").unwrap()
}

#[test]
fn an_instance_of_its_own_is_cloned_as_of_the_points_instant_and_the_clone_is_labelled() {
    let cloud = dedicated("", "pointInTime");
    let planned = cloud.json(&["backup", "now", "production", "--dry-run"], 0);
    assert_eq!(planned["databases"][0]["what"], "point-in-time");
    let point = point_of_production(&cloud);
    let page = cloud.json(&["points", "production"], 0);
    let component = database_component(&page);
    assert_eq!(
        (&component["method"], &component["location"]),
        (&"pointInTime".into(), &"projects/dx-nonprod/instances/own".into())
    );
    assert!(component["log"]["earliest"].is_string() && component["reliedUntil"] == component["log"]["until"], "{component}");
    let said = cloud.run(&["points", "production"]).exits(0).stdout;
    assert!(said.contains("RELIED ON") && said.contains(", in the log of own"), "{said}");
    assert!(said.contains("projects/dx-nonprod/instances/own can be recovered to any instant from 20"), "{said}");
    assert_eq!(page["windows"][0]["instance"], "projects/dx-nonprod/instances/own");
    assert!(page["windows"][0]["latest"].is_string() && page["windows"][0]["error"].is_null(), "{page}");
    // What the instance says now counts more than what it said then.
    let log = |log| assert!(cloud.emulator.change_instance(PROJECT, "own", |instance| instance.log = log));
    log(None);
    let said = cloud.run(&["points", "production"]).exits(0).stdout;
    assert!(said.contains("no longer: own keeps no log"), "{said}");
    log(Some(SignedDuration::from_millis(1)));
    let said = cloud.run(&["points", "production"]).exits(0).stdout;
    assert!(said.contains("no longer: the log of own begins at 20"), "{said}");
    log(Some(SignedDuration::from_hours(24)));
    cloud.emulator.faults().next("instance", Failing::Refused(403, "notAuthorized".to_owned()));
    let said = cloud.run(&["points", "production"]).exits(0).stdout;
    assert!(said.contains("can be recovered is not known: ") && said.contains("RELIED ON"), "{said}");

    // Without a look at anything but the store, and with one.
    let plan = cloud.json(&["restore", "production", "--point", &point, "--plan"], 0);
    assert_eq!(
        (&plan["databases"][0]["route"]["kind"], &plan["databases"][0]["instant"]),
        (&"clone".into(), &component["instant"])
    );
    let said = cloud.run(&["restore", "production", "--point", &point, "--into", "copy", "--dry-run"]).exits(0);
    for part in [
        "is cloned as it was, to the new instance `dxdr-production-",
        "an instance with a disk of 10 GB",
        "nobody else is on the instance",
    ] {
        assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
    }
    assert!(cloud.emulator.operations_of("CLONE").is_empty());

    let done = cloud.json(&["restore", "production", "--point", &point, "--into", "copy", "--yes"], 0);
    let (run, clone) = (done["run"].as_str().unwrap(), done["databases"][0]["instance"]["instance"].as_str().unwrap());
    assert_eq!((of_instance(&cloud, clone, "orders"), of_instance(&cloud, "own", "orders").len()), (vec![MADE.to_owned()], 2));
    assert!(cloud.emulator.change_instance(PROJECT, clone, |instance| {
        assert_eq!((instance.labels["dxdr-run"].as_str(), instance.labels["dxdr-environment"].as_str()), (run, "production"));
        assert!(instance.labels.contains_key("dxdr-expires") && !instance.deletion_protection);
        instance.deletion_protection = true;
    }));
    // It goes by its label alone, and not while it is protected.
    let said = cloud.run(&["databases", "discard", run, "--yes"]).refuses(4);
    assert!(said.stderr.contains("--no-deletion-protection"), "{}", said.stderr);
    assert!(cloud.emulator.change_instance(PROJECT, clone, |instance| instance.deletion_protection = false));
    let said = cloud.run(&["databases", "discard", run, "--yes"]).exits(0);
    assert!(said.stdout.contains("1 instance deleted"), "{}", said.stdout);
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
}

#[test]
fn in_place_one_database_of_a_clone_takes_the_place_of_the_original_and_the_clone_goes() {
    let cloud = dedicated("orders", "pointInTime");
    let point = point_of_production(&cloud);
    next_second();
    let run = cloud.stopped_in("clone", "CLONE", &["restore", "production", "--point", &point, "--in-place", "--yes"]);
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    for kind in ["CLONE", "EXPORT", "IMPORT", "CREATE_DATABASE"] {
        assert_eq!(cloud.emulator.operations_of(kind).len(), 1, "{kind} is asked for once");
    }
    assert_eq!(of_instance(&cloud, "own", "orders"), [MADE]);
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
    assert!(cloud.storage.object_names("b").iter().all(|name| !name.contains("/transfers/")));
    cloud.run(&["databases", "undo", &run, "--yes"]).exits(0);
    assert_eq!(of_instance(&cloud, "own", "orders"), [MADE, LATER]);
    cloud.run(&["databases", "discard", &run, "--yes"]).exits(0);
    assert_eq!(cloud.emulator.database_names(PROJECT, "own"), ["orders", "postgres"]);
}

#[test]
fn what_is_still_being_made_when_its_run_is_ended_is_waited_for_and_removed() {
    let cloud = dedicated("orders", "pointInTime");
    let point = point_of_production(&cloud);
    next_second();
    for (request, kind, removal) in [("clone", "CLONE", "DELETE"), ("databases", "CREATE_DATABASE", "DELETE_DATABASE")] {
        let before = cloud.emulator.operations_of(removal).len();
        cloud.emulator.faults().next(request, Failing::Slow(Duration::from_secs(5)));
        let run = cloud.stopped_after(kind, &["restore", "production", "--point", &point, "--in-place", "--yes"]);
        cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
        assert!(cloud.emulator.operations_of(removal).len() > before, "{kind}: it was there, and is removed");
        assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"], "{kind}");
        assert_eq!(cloud.emulator.database_names(PROJECT, "own"), ["orders", "postgres"], "{kind}");
        next_second();
    }
    assert_eq!(of_instance(&cloud, "own", "orders"), [MADE, LATER]);
}

#[test]
fn of_an_instance_that_others_use_one_database_is_taken_and_never_the_whole() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: pointInTime"));
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    assert!(cloud.emulator.execute(PROJECT, "shared", "preview_orders", LATER));
    let restore = ["restore", "preview", "--point", &point, "--in-place", "--yes"];
    let done = cloud.json(&restore, 0);
    assert_eq!((cloud.statements("preview_orders").len(), cloud.emulator.instance_names(PROJECT).len()), (1, 1));
    cloud.run(&["databases", "undo", done["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(cloud.statements("preview_orders").len(), 2);
    cloud.neighbour_is_untouched();

    // Nobody even says that all of it is theirs.
    let cloud_manifest = cloud.served.place.path().join("policies/cloud.yaml");
    let manifests = std::fs::read_to_string(cloud_manifest).unwrap().replace("databases: [preview_orders]", "databases: []");
    cloud.served.place.write("policies/cloud.yaml", &manifests);
    let clones = cloud.emulator.operations_of("CLONE").len();
    let said = cloud.run(&restore).refuses(8);
    assert!(said.stderr.contains("one of them claims all of it"), "{}", said.stderr);
    assert_eq!(cloud.emulator.operations_of("CLONE").len(), clones);
    cloud.neighbour_is_untouched();
}

#[test]
fn what_keeps_an_instance_from_being_cloned_is_one_refusal_with_what_to_do() {
    let cloud = dedicated("orders", "pointInTime");
    let point = point_of_production(&cloud);
    let restore = ["restore", "production", "--point", &point, "--into", "copy", "--yes"];
    let refused = |code: i32, parts: &[&str]| {
        next_second();
        let said = cloud.run(&restore).refuses(code);
        for part in parts {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
    };
    let log = |log: Option<SignedDuration>| {
        assert!(cloud.emulator.change_instance(PROJECT, "own", |instance| instance.log = log));
    };
    log(Some(SignedDuration::from_millis(1)));
    refused(4, &["is before the log of the instance, which goes from", "the nearest instant is", "restore another point"]);
    log(None);
    refused(4, &["the log of the instance is not kept"]);
    log(Some(SignedDuration::from_hours(24)));

    for (status, reason, code, remedy) in [
        (409, "instanceAlreadyExists", 4, "another attempt takes another name"),
        (403, "quotaExceeded", 1, "shows which quota, and raises it"),
        (403, "notAuthorized", 7, "cloudsql.instances.clone"),
    ] {
        cloud.emulator.faults().next("clone", Failing::Refused(status, reason.to_owned()));
        refused(code, &[remedy]);
        let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
        cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
    }
    // The operation ends, and has achieved nothing.
    cloud.emulator.faults().next("clone", Failing::Fails("INTERNAL_ERROR".to_owned(), "An unknown error occurred.".to_owned()));
    refused(
        1,
        &["An unknown error occurred", "try again later; what failed is not asked for again", "end this run", "dxdr runs clean"],
    );
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
}

#[test]
fn an_operation_that_does_not_end_in_time_is_left_to_whoever_resumes() {
    let cloud = Cloud::exporting();
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    // Long enough for its turn to come on a busy machine.
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: export, timeout: 8s"));
    cloud.emulator.faults().next("import", Failing::Held);
    let said = cloud.run(&["restore", "preview", "--point", &point, "--into", "copy", "--yes"]).refuses(1);
    for part in ["is not done in time", "nothing is asked for again", "dxdr runs resume"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    let [operation] = &cloud.emulator.operations_of("IMPORT")[..] else { panic!("{}", said.stderr) };
    assert!(cloud.emulator.release(operation));
    let run = cloud.json(&["runs", "list"], 0)["runs"][0]["run"].as_str().unwrap().to_owned();
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!((cloud.emulator.operations_of("IMPORT").len(), cloud.databases().len()), (1, 4));
    cloud.neighbour_is_untouched();
}
