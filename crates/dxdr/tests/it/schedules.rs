//! What `dxdr schedule render` gives to whoever applies it.

use serde_json::{Value, json};

use crate::place::Place;

const MANIFESTS: &str = "apiVersion: dxdr.io/v1alpha1
kind: Environment
metadata: {name: staging}
spec: {namespace: staging, tier: non-production}
---
kind: BackupStore
metadata: {name: primary}
spec: {s3: {bucket: dx, prefix: velero, region: eu-central-1}}
---
kind: BackupPolicy
metadata: {name: all}
spec: {environments: [staging], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, store: primary, retention: {daily: 7}}
";

fn place() -> Place {
    let place = Place::empty();
    place.write("policies/all.yaml", MANIFESTS);
    place.write(".dxdr/config.yaml", "manifests: [policies]\n");
    place
}

#[test]
fn a_cluster_that_stands_by_gets_paused_schedules_and_read_only_locations() {
    let place = place();
    let decided = |more: &[&str]| -> Vec<Value> {
        let said = place.run(&[&["schedule", "render", "--output", "json"], more].concat()).exits(0);
        let list: Value = serde_json::from_str(&said.stdout).unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| json!([item["kind"], item["spec"]["accessMode"], item["spec"]["paused"]])).collect()
    };
    assert_eq!(decided(&[]), [json!(["BackupStorageLocation", "ReadWrite", null]), json!(["Schedule", null, false])]);
    assert_eq!(decided(&["--standby"]), [json!(["BackupStorageLocation", "ReadOnly", null]), json!(["Schedule", null, true])]);
    let yaml = place.run(&["schedule", "render", "--standby"]).exits(0).stdout;
    assert!(yaml.contains("accessMode: ReadOnly") && yaml.contains("paused: true"), "{yaml}");
}

#[test]
fn a_server_that_reads_no_time_zone_gets_none() {
    let place = place();
    let schedule = |version: &str| {
        let said = place.run(&["schedule", "render", "--velero-version", version, "--output", "json"]).exits(0);
        let list: Value = serde_json::from_str(&said.stdout).unwrap();
        list["items"][1]["spec"]["schedule"].as_str().unwrap().to_owned()
    };
    assert_eq!(schedule("1.15"), format!("CRON_TZ=UTC {}", schedule("v1.14.1")));
    place.run(&["schedule", "render", "--velero-version", "old"]).exits(2);
}
