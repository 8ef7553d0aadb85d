//! Databases of Cloud SQL that come back out of backups of their instance, on the emulator.

use dxdr_database_emulator::Failing;
use dxdr_provider::instance::InstanceRequest;
use jiff::SignedDuration;
use serde_json::Value;

use crate::{
    cloud_sql::Cloud,
    cloud_sql_routes::{dedicated_to, policy},
    databases::next_second,
};

const PROJECT: &str = "dx-nonprod";
const MADE: &str = "create table o (n int)";
const LATER: &str = "insert into o values (2)";

/// `production` on an instance of its own that keeps no log, under a policy that has it backed up.
fn without_log(databases: &str) -> Cloud {
    let cloud = dedicated_to("production", databases, "backup");
    assert!(cloud.emulator.change_instance(PROJECT, "own", |instance| instance.log = None));
    cloud
}

/// A point, and a database that has changed since.
fn point(cloud: &Cloud) -> String {
    let point = cloud.json(&["backup", "now", "production"], 0)["name"].as_str().unwrap().to_owned();
    assert!(cloud.emulator.execute(PROJECT, "own", "orders", LATER));
    next_second();
    point
}

fn orders(cloud: &Cloud, instance: &str) -> Vec<String> {
    cloud.emulator.statements(PROJECT, instance, "orders").unwrap()
}

fn route(plan: &Value) -> &Value {
    &plan["databases"][0]["route"]
}

#[test]
fn an_instance_without_a_log_is_backed_up_with_the_point_and_comes_back_out_of_that() {
    let cloud = without_log("");
    let planned = cloud.json(&["backup", "now", "production", "--dry-run"], 0);
    assert_eq!(
        (&planned["databases"][0]["what"], &planned["databases"][0]["consistency"]),
        (&"backup".into(), &"aligned".into())
    );
    assert!(cloud.emulator.backup_descriptions(PROJECT).is_empty());
    let point = point(&cloud);
    let page = cloud.json(&["points", "production"], 0);
    let components = page["points"][0]["components"].as_array().unwrap();
    let component = components.iter().find(|component| component["kind"] == "database").unwrap();
    assert_eq!(
        (&component["method"], &component["backup"]["instance"]),
        (&"backup".into(), &"projects/dx-nonprod/instances/own".into())
    );
    let said = cloud.run(&["points", "production"]).exits(0).stdout;
    assert!(
        said.contains(&format!("as {} of projects/dx-nonprod/instances/own", component["location"].as_str().unwrap())),
        "{said}"
    );
    assert_eq!(cloud.emulator.backup_descriptions(PROJECT), [format!("dxdr run {}", page["points"][0]["run"].as_str().unwrap())]);

    // Without a look at anything but the store, and with one.
    let restore = ["restore", "production", "--point", &point];
    let plan = cloud.json(&[&restore[..], &["--plan"]].concat(), 0);
    assert_eq!((&route(&plan)["kind"], &route(&plan)["clone"]["backup"]), (&"backup".into(), &component["location"]));
    let done = cloud.json(&[&restore[..], &["--into", "copy", "--yes"]].concat(), 0);
    let instance = done["databases"][0]["instance"]["instance"].as_str().unwrap();
    assert_eq!((orders(&cloud, instance), orders(&cloud, "own").len()), (vec![MADE.to_owned()], 2));
    assert!(cloud.emulator.change_instance(PROJECT, instance, |instance| {
        assert_eq!(instance.labels["dxdr-run"], done["run"].as_str().unwrap());
        assert!(instance.labels.contains_key("dxdr-expires") && !instance.deletion_protection);
    }));
    cloud.run(&["databases", "discard", done["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
}

#[test]
fn in_place_one_database_of_the_backup_takes_the_place_of_the_original_whoever_goes_on() {
    let cloud = without_log("orders");
    let run = cloud.stopped_in("backupRuns", "BACKUP_VOLUME", &["backup", "now", "production"]);
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(cloud.emulator.backup_descriptions(PROJECT), [format!("dxdr run {run}")]);
    assert!(cloud.emulator.execute(PROJECT, "own", "orders", LATER));
    next_second();
    let point = cloud.json(&["points", "production"], 0)["points"][0]["name"].as_str().unwrap().to_owned();
    let restore = ["restore", "production", "--point", &point, "--in-place", "--yes"];
    let run = cloud.stopped_in("restoreBackup", "RESTORE_VOLUME", &restore);
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    for kind in ["RESTORE_VOLUME", "EXPORT", "IMPORT", "CREATE_DATABASE", "DELETE"] {
        assert_eq!(cloud.emulator.operations_of(kind).len(), 1, "{kind} is asked for once");
    }
    assert_eq!((orders(&cloud, "own"), cloud.emulator.instance_names(PROJECT).len()), (vec![MADE.to_owned()], 2));
    cloud.run(&["databases", "undo", &run, "--yes"]).exits(0);
    assert_eq!(orders(&cloud, "own"), [MADE, LATER]);
    cloud.run(&["databases", "discard", &run, "--yes"]).exits(0);
    // Those of the point and of the protective one are theirs, not the restore's.
    assert_eq!(cloud.emulator.backup_descriptions(PROJECT).len(), 2);
}

#[test]
fn what_is_still_being_made_out_of_a_backup_when_its_run_is_ended_is_waited_for_and_removed() {
    let cloud = without_log("orders");
    let point = point(&cloud);
    let run =
        cloud.stopped_in("restoreBackup", "RESTORE_VOLUME", &["restore", "production", "--point", &point, "--in-place", "--yes"]);
    cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!((cloud.emulator.operations_of("DELETE").len(), cloud.emulator.instance_names(PROJECT).len()), (1, 2));
    assert_eq!(orders(&cloud, "own"), [MADE, LATER]);
}

#[test]
fn behind_the_window_of_its_log_an_instance_comes_out_of_a_backup_of_before_also_when_it_is_gone() {
    let cloud = dedicated_to("production", "orders", "pointInTime");
    let unseen = "insert into o values (1)";
    cloud.emulator.back_up(PROJECT, "own").unwrap();
    next_second();
    assert!(cloud.emulator.execute(PROJECT, "own", "orders", unseen));
    let point = point(&cloud);
    // What happened behind the instant is in this one.
    cloud.emulator.back_up(PROJECT, "own").unwrap();
    let restore = ["restore", "production", "--point", &point, "--into", "copy"];
    assert_eq!(route(&cloud.json(&[&restore[..], &["--dry-run"]].concat(), 0))["kind"], "clone");
    assert!(cloud.emulator.change_instance(PROJECT, "own", |instance| {
        (instance.log, instance.retains_backups, instance.deletion_protection) =
            (Some(SignedDuration::from_millis(1)), true, false);
    }));
    let said = cloud.run(&[&restore[..], &["--dry-run"]].concat()).exits(0).stdout;
    for part in [
        "is before the log of the instance, which goes from",
        "it is the newest backup in which nothing is later than",
        "comes back as of",
        "references between it and the volumes may lead nowhere",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = cloud.run(&[&restore[..], &["--max-skew", "0s", "--dry-run"]].concat());
    assert!(said.stderr.contains("--max-skew"), "{}", said.stderr);
    let done = cloud.json(&[&restore[..], &["--yes"]].concat(), 0);
    assert_eq!(orders(&cloud, done["databases"][0]["instance"]["instance"].as_str().unwrap()), [MADE]);

    cloud.has_done_on("own", &InstanceRequest::Delete);
    next_second();
    let in_place = cloud.run(&["restore", "production", "--point", &point, "--in-place", "--dry-run"]).refuses(4);
    assert!(in_place.stderr.contains("there is none to import into"), "{}", in_place.stderr);
    let done = cloud.json(&[&restore[..], &["--yes"]].concat(), 0);
    assert_eq!(orders(&cloud, done["databases"][0]["instance"]["instance"].as_str().unwrap()), [MADE]);
    cloud.run(&["databases", "discard", done["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(cloud.emulator.instance_names(PROJECT).len(), 2, "what the first restore made, and `shared`");
}

#[test]
fn of_an_instance_that_others_use_one_database_comes_out_of_its_backup() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &policy("preview", "method: backup"));
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    assert!(cloud.emulator.execute(PROJECT, "shared", "preview_orders", LATER));
    for target in [&["--into", "copy"][..], &["--in-place"]] {
        next_second();
        let done = cloud.json(&[&["restore", "preview", "--point", &point, "--yes"], target].concat(), 0);
        let restored = &done["databases"][0];
        assert_eq!((cloud.statements(restored["database"].as_str().unwrap()).len(), &restored["instance"]), (1, &Value::Null));
        assert_eq!(cloud.emulator.instance_names(PROJECT), ["shared"]);
        cloud.neighbour_is_untouched();
    }
}

#[test]
fn a_backup_goes_when_no_point_relies_on_it_and_what_dxdr_did_not_make_is_not_even_listed() {
    let cloud = without_log("orders");
    cloud.emulator.back_up(PROJECT, "own").unwrap();
    let run = cloud.stopped_in("backupRuns", "BACKUP_VOLUME", &["backup", "now", "production"]);
    next_second();
    let point = point(&cloud);
    let verdicts = |page: &Value| -> Vec<(bool, String)> {
        let backups = page["backups"].as_array().unwrap().iter();
        backups.map(|left| (left["goes"] == true, left["reason"].as_str().unwrap_or_default().to_owned())).collect()
    };
    let dry_run = || verdicts(&cloud.json(&["databases", "reap", "--dry-run"], 0));
    let relied = (false, format!("recovery point {point} relies on it"));
    let kept = |verdicts: &[(bool, String)]| verdicts.iter().any(|(goes, reason)| !goes && reason.starts_with(&relied.1));
    let found = dry_run();
    assert!(found.len() == 2 && kept(&found) && found.contains(&(false, format!("run {run} is unfinished"))), "{found:?}");
    cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
    let found = dry_run();
    assert!(found.len() == 2 && kept(&found) && found.iter().any(|(goes, _)| *goes), "{found:?}");
    let elsewhere = cloud.json(&["databases", "reap", "preview", "--dry-run"], 0);
    assert_eq!(verdicts(&elsewhere), [], "they are of an instance that `preview` does not use");
    let said = cloud.run(&["databases", "reap", "--yes"]).exits(0);
    assert!(said.stderr.contains("of projects/dx-nonprod/instances/own is gone"), "{}", said.stderr);
    let left = cloud.emulator.backup_descriptions(PROJECT);
    assert!(left.len() == 2 && left.contains(&String::new()) && !left.contains(&format!("dxdr run {run}")), "{left:?}");
    let found = dry_run();
    assert!(found.len() == 1 && kept(&found), "{found:?}");
    assert_eq!(cloud.emulator.operations_of("DELETE_BACKUP").len(), 1);
}

#[test]
fn what_keeps_an_instance_from_being_backed_up_costs_the_point_its_database_and_says_what_to_do() {
    let cloud = without_log("orders");
    let fails = Failing::Fails("INTERNAL_ERROR".to_owned(), "An unknown error occurred.".to_owned());
    cloud.emulator.faults().next("backupRuns", fails);
    let said = cloud.run(&["backup", "now", "production"]).exits(3);
    assert!(said.stderr.contains("An unknown error occurred; Google's own failure"), "{}", said.stderr);
    next_second();
    cloud.emulator.faults().next("backupRuns", Failing::Refused(403, "notAuthorized".to_owned()));
    let said = cloud.run(&["backup", "now", "production"]).exits(3);
    assert!(said.stderr.contains("cloudsql.backupRuns.create"), "{}", said.stderr);
    // The point that lacks it cannot bring it back, and another one can.
    let lacking = cloud.json(&["points", "production"], 0)["points"][0]["name"].as_str().unwrap().to_owned();
    next_second();
    let point = point(&cloud);
    assert_ne!(point, lacking);
    let page = cloud.json(&["points", "production"], 0);
    let components = page["points"][0]["components"].as_array().unwrap();
    let component = components.iter().find(|component| component["kind"] == "database").unwrap();
    let name = component["location"].as_str().unwrap().to_owned();
    cloud.has_done_on("own", &InstanceRequest::DeleteBackup { backup: name });
    let said = cloud.run(&["restore", "production", "--point", &point, "--into", "copy", "--yes"]).refuses(4);
    assert!(said.stderr.contains("the backup of the point is not there any more"), "{}", said.stderr);
}
