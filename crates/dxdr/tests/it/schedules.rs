//! What `dxdr schedule` writes for a server, and for one that says nothing.

use serde_json::{Value, json};

use crate::{
    objects::reference,
    place::Place,
    scripted_velero::{install, velero},
    served::Served,
};

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

const POLICY: &str = "---
kind: BackupStore
metadata: {name: primary}
spec: {s3: {bucket: dx, prefix: velero, region: eu-central-1}}
---
kind: BackupPolicy
metadata: {name: all}
spec: {environments: [staging], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, store: primary, volumes: {method: none}, retention: {daily: 7}}
";

#[test]
fn a_server_that_is_down_is_written_to_as_its_image_reads_and_keeps_what_it_has() {
    let served = Served::with_store(Place::empty(), POLICY);
    install(&served, &["Schedule", "BackupStorageLocation", "VolumeSnapshotLocation", "ServerStatusRequest"]);
    let deployment = reference("apps", "v1", "Deployment", "deployments", Some("velero"), "velero");
    let labels = json!({"component": "velero"});
    served.create((
        deployment.clone(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "velero", "namespace": "velero"},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
                "spec": {"containers": [{"name": "velero", "image": "velero/velero:v1.14.1"}]}}}
        }),
    ));
    let said = served.run(&["schedule", "apply", "--yes"]).exits(0);
    assert!(said.stdout.contains("as the Velero of image `velero/velero:v1.14.1` reads them"), "{}", said.stdout);
    let schedule = served.get(&velero("Schedule", "dxdr-staging")).unwrap();
    let expression = schedule["spec"]["schedule"].as_str().unwrap();
    assert!(!expression.contains("CRON_TZ"), "{expression}");
    // Without the Deployment, too, what works is not written over.
    served.delete(&deployment);
    let said = served.run(&["schedule", "diff"]).exits(0);
    assert!(
        said.stdout.contains("schedules are written without their time zone, as Schedule `dxdr-staging` is"),
        "{}",
        said.stdout
    );
}
