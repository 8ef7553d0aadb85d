//! `dxdr check --cluster` on the embedded cluster.

use std::fs;

use serde_json::Value;

use crate::served::Served;

fn rows(stdout: &str) -> Vec<(String, String)> {
    let page: Value = serde_json::from_str(stdout).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    page["rows"].as_array().unwrap().iter().map(|row| (text(row, "what"), text(row, "result"))).collect()
}

#[test]
fn a_cluster_without_velero_is_ready_where_no_policy_needs_it_and_nothing_is_left_behind() {
    let served = Served::new();
    let before = served.stored();
    let revision = served.sandbox.revision();
    let said = served.run(&["check", "--cluster", "--output", "json"]).exits(0).stdout;
    let rows = rows(&said);
    assert!(rows.contains(&("velero: installation".to_owned(), "not-needed".to_owned())), "{said}");
    assert!(rows.contains(&("store primary: writable".to_owned(), "ok".to_owned())), "{said}");
    assert!(rows.contains(&("rights: restore staging".to_owned(), "ok".to_owned())), "{said}");
    assert_eq!((served.stored(), served.sandbox.revision()), (before, revision));
}

#[test]
fn a_policy_that_needs_velero_makes_it_fail_with_what_to_do() {
    let served = Served::new();
    let file = served.place.path().join("policies/staging.yaml");
    let policy = "---\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [staging], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, store: primary, retention: {daily: 7}}\n";
    fs::write(&file, fs::read_to_string(&file).unwrap() + policy).unwrap();
    let said = served.run(&["check", "--cluster"]).exits(3);
    assert!(said.stdout.contains("these policies need it: all"), "{}", said.stdout);
    assert!(said.stdout.contains("`velero install`"), "{}", said.stdout);
}

#[test]
fn what_does_not_answer_and_what_is_not_tried_are_rows_too() {
    let mut served = Served::new();
    let said = served.run(&["check", "--cluster", "--dry-run", "--output", "json"]).exits(0).stdout;
    assert!(rows(&said).contains(&("store primary: writable".to_owned(), "unknown".to_owned())), "{said}");
    served.stop();
    let said = served.run(&["check", "--cluster", "--output", "json"]).exits(7).stdout;
    assert_eq!(rows(&said)[0], ("kubernetes: API server".to_owned(), "unreachable".to_owned()));
    assert!(rows(&said).contains(&("store primary: readable".to_owned(), "ok".to_owned())), "{said}");
}
