//! What restores have left on instances of Cloud SQL, on the emulator.

use std::collections::BTreeMap;

use dxdr_database_emulator::Instance;
use dxdr_provider::instance::InstanceRequest;
use serde_json::Value;

use crate::cloud_sql::Cloud;

const PROJECT: &str = "dx-nonprod";
const OLD: &str = "20240101t100000z-restore-preview-x7k2v";

fn labelled(expires: &str, protected: bool) -> Instance {
    let labels = [("dxdr-run", OLD), ("dxdr-environment", "preview"), ("dxdr-expires", expires)];
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Instance { labels, deletion_protection: protected, ..Instance::default() }
}

/// By instance and database: whether it goes, or why not.
fn verdicts(page: &Value) -> BTreeMap<String, String> {
    let one = |left: &Value| {
        let text = |key: &str| left[key].as_str().unwrap_or_default().to_owned();
        let reason = if left["goes"] == true { "goes".to_owned() } else { text("reason") };
        (format!("{} {}", text("instance"), text("database")).trim().to_owned(), reason)
    };
    page["leftovers"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn what_is_labelled_and_over_goes_and_nothing_else_is_even_listed() {
    let cloud = Cloud::exporting();
    cloud.emulator.create_instance(PROJECT, "old", labelled("20240108t100000z", false));
    cloud.emulator.create_instance(PROJECT, "protected", labelled("20240108t100000z", true));
    cloud.emulator.create_instance(PROJECT, "young", labelled("29990108t100000z", false));
    cloud.emulator.create_instance(PROJECT, "strange", Instance::default());
    for database in ["old_restored", "strange_restored"] {
        cloud.emulator.create_database(PROJECT, "shared", database);
    }
    cloud.sql(&format!("COMMENT ON DATABASE \"old_restored\" IS 'dxdr run {OLD}'"));
    // Whatever is written about it, an environment uses it.
    cloud.sql(&format!("COMMENT ON DATABASE \"dev_orders\" IS 'dxdr run {OLD}'"));
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    cloud.run(&["restore", "preview", "--point", &point, "--into", "copy", "--yes"]).exits(0);
    let beside = cloud.named("preview_orders_restored_");

    let page = cloud.json(&["databases", "reap", "--dry-run"], 0);
    let found = verdicts(&page);
    assert_eq!((&page["format"], &page["done"], found.len()), (&"dxdr.io/databases-reap/v1".into(), &false.into(), 6));
    let goes: Vec<&str> = found.iter().filter(|(_, reason)| *reason == "goes").map(|(name, _)| name.as_str()).collect();
    assert_eq!(goes, ["old", "shared old_restored"]);
    for (name, reason) in [
        ("protected", "somebody has protected it"),
        ("young", "it is kept until 2999-01-08T10:00:00Z"),
        ("shared dev_orders", "environment `dev` uses it"),
        (&format!("shared {beside}"), "it is kept until"),
    ] {
        assert!(found[name].starts_with(reason), "{name}: {}", found[name]);
    }
    assert_eq!(cloud.emulator.instance_names(PROJECT).len(), 5);

    let said = cloud.run(&["databases", "reap", "preview", "--yes"]).exits(0);
    for part in [
        "--no-deletion-protection",
        "dxdr databases discard",
        "database `old_restored` of projects/dx-nonprod/instances/shared is gone",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["protected", "shared", "strange", "young"]);
    assert_eq!(cloud.databases(), ["dev_orders", "postgres", "preview_orders", beside.as_str(), "strange_restored"]);
    assert_eq!(cloud.statements("dev_orders"), ["create table d (n int)"]);
    let again = verdicts(&cloud.json(&["databases", "reap", "--yes"], 0));
    assert!(again.len() == 4 && again.values().all(|reason| reason != "goes"), "{again:?}");
}

#[test]
fn what_lies_between_instances_goes_with_its_run_and_never_while_that_may_go_on() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &crate::cloud_sql_routes::policy("preview", "method: pointInTime"));
    let point = cloud.json(&["backup", "now", "preview"], 0)["name"].as_str().unwrap().to_owned();
    // Its process ends while the export of the clone is being imported.
    let run = cloud.stopped_in("import", "IMPORT", &["restore", "preview", "--point", &point, "--in-place", "--yes"]);
    let needed = format!("velero-dxdr/transfers/{run}/orders.sql.gz");
    let objects = || cloud.storage.object_names("b").into_iter().filter(|name| name.contains("/transfers/")).collect::<Vec<_>>();
    assert_eq!(objects(), [needed.as_str()]);
    let (orphan, strange) = (format!("velero-dxdr/transfers/{OLD}/orders.sql.gz"), "velero-dxdr/transfers/theirs/x".to_owned());
    for name in [&orphan, &strange] {
        let (database, uri) = ("dev_orders".to_owned(), format!("gs://b/{name}"));
        cloud.has_done(&InstanceRequest::Export { database, uri, offload: false });
    }
    let page = cloud.json(&["databases", "reap", "--dry-run"], 0);
    let found: Vec<(&str, bool)> = page["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| (object["key"].as_str().unwrap(), object["goes"].as_bool().unwrap()))
        .collect();
    assert_eq!(found, [(orphan.as_str(), true), (needed.as_str(), false), (strange.as_str(), false)]);
    assert_eq!(objects().len(), 3);
    let said = cloud.run(&["databases", "reap", "--yes"]).exits(0);
    assert!(said.stderr.contains(&format!("`{orphan}` of store primary is gone")), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("dxdr runs resume {run}")), "{}", said.stderr);
    assert_eq!(objects(), [needed, strange]);
    cloud.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(cloud.statements("preview_orders"), ["create table p (n int)"]);
}

#[test]
fn a_run_whose_name_is_too_long_for_a_label_is_found_by_it_all_the_same() {
    let environment = "previews-of-the-branches-of-the-eastern-team";
    let cloud = crate::cloud_sql_routes::dedicated_to(environment, "orders", "pointInTime");
    let point = cloud.json(&["backup", "now", environment], 0)["name"].as_str().unwrap().to_owned();
    crate::databases::next_second();
    let run = cloud.stopped_in("export", "EXPORT", &["restore", environment, "--point", &point, "--in-place", "--yes"]);
    let names = cloud.emulator.instance_names(PROJECT);
    let clone = names.iter().find(|name| name.starts_with("dxdr-")).unwrap();
    // It is over by its label, and its run may go on.
    assert!(cloud.emulator.change_instance(PROJECT, clone, |instance| {
        assert!(run.len() > 63 && instance.labels["dxdr-run"].len() == 63);
        instance.labels.insert("dxdr-expires".to_owned(), "20240108t100000z".to_owned());
    }));
    let found = verdicts(&cloud.json(&["databases", "reap", "--dry-run"], 0));
    assert_eq!(found[clone], format!("run {run} is unfinished"));
    cloud.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!(cloud.emulator.instance_names(PROJECT), ["own", "shared"]);
}

#[test]
fn where_nobody_may_look_is_said_and_the_rest_is_listed() {
    let cloud = Cloud::exporting();
    cloud.emulator.create_instance(PROJECT, "young", labelled("29990108t100000z", false));
    assert!(cloud.emulator.change_instance(PROJECT, "shared", |instance| instance.data_api = false));
    let said = cloud.run(&["databases", "reap", "--dry-run"]).refuses(3);
    assert!(said.stderr.contains("--data-api-access=ALLOW_DATA_API"), "{}", said.stderr);
    assert!(said.stdout.contains("young"), "{}", said.stdout);
    let none = cloud.json(&["databases", "reap", "staging"], 0);
    assert_eq!(none["leftovers"], Value::Array(Vec::new()));
}
