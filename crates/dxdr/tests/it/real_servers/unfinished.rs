//! What a real Velero server does not bring to a good end, or what nobody waits for.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{
    World,
    refusals::{REFUSAL, nothing_is_called_one},
    velero::{Velero, ended},
};
use crate::{
    gated::Running,
    objects::{self, core},
};

const POLICY: &str = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [journey], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, volumes: {method: csiSnapshot}, store: primary, retention: {daily: 7}}\n";

fn point_of(world: &World, name: &str) -> Value {
    let page: Value = serde_json::from_str(&world.run(&["points", "journey", "--output", "json"]).exits(0).stdout).unwrap();
    page["points"].as_array().unwrap().iter().find(|point| point["name"] == name).unwrap().clone()
}

#[test]
fn a_backup_that_velero_ends_in_part_says_of_what_and_what_to_do() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("in-part");
    world.place.write("policies/policy.yaml", POLICY);
    velero.volume_of(&world, &world.namespace);
    // Nothing is bound before a pod uses it, and Velero takes that for an error.
    world.create((
        core("PersistentVolumeClaim", Some(&world.namespace), "unused"),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "unused", "namespace": world.namespace},
            "spec": {
                "storageClassName": velero.waiting_storage_class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Mi"}}
            }
        }),
    ));
    let taken = world.run(&["backup", "now", "journey", "--output", "json"]).exits(3);
    let point: Value = serde_json::from_str(&taken.stdout).unwrap();
    let name = point["name"].as_str().unwrap();
    assert_eq!(ended(&world, &velero.object("Backup", name))["phase"], "PartiallyFailed");
    assert!(taken.stderr.contains("    PartiallyFailed"), "{}", taken.stderr);
    assert!(taken.stderr.contains("is partial: it lacks") && taken.stderr.contains("unused"), "{}", taken.stderr);
    assert!(taken.stderr.contains("the claim is bound to no volume: delete it"), "{}", taken.stderr);
    assert_eq!(point_of(&world, name)["state"], "partial");
    let runs = world.run(&["runs", "list"]).exits(0).stdout;
    assert!(runs.contains("partial"), "{runs}");
    velero.delete(&world, name);
}

#[test]
fn a_backup_that_nobody_follows_any_more_goes_on_and_is_finished_by_another_process() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("unfollowed");
    world.place.write("policies/policy.yaml", POLICY);
    // Snapshots take Velero seconds.
    velero.volume_of(&world, &world.namespace);
    let mut command = world.place.command(&["backup", "now", "journey", "--kubeconfig", &world.kubeconfig]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let backup = Running::start(command);
    backup.until_it_says("… Follow it to its end");
    let run = backup.line("run ");
    let run = run.trim_start_matches("run ");
    backup.kill();

    let runs: Value = serde_json::from_str(&world.run(&["runs", "list", "--output", "json"]).exits(0).stdout).unwrap();
    // Other tests have runs of their own in this store.
    let ours = runs["runs"].as_array().unwrap().iter().find(|one| one["run"] == run).unwrap();
    assert_eq!(ours["state"], "unfinished", "{ours:#}");
    let left = world.run(&["runs", "resume", run, "--dry-run"]).exits(0);
    assert!(left.stdout.contains("Follow it to its end"), "{}\n{}", left.stdout, left.stderr);
    let resumed = world.run(&["runs", "resume", run, "--yes"]).exits(0);
    assert!(resumed.stderr.contains("(done by an earlier process)"), "{}", resumed.stderr);
    let name = resumed.stdout.trim();
    let point = point_of(&world, name);
    assert_eq!((&point["state"], &point["engine"]), (&json!("complete"), &json!("velero")), "{point:#}");
    assert_eq!(point["run"], run);
    world.run(&["runs", "resume", run, "--yes"]).refuses(2);
    velero.delete(&world, name);
}

#[test]
fn what_is_refused_to_velero_is_missing_afterwards_and_told_in_its_words() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("refused-to-velero");
    let backup = velero.back_up(&world);
    let beside = world.beside("beside");
    world.create(objects::namespace(&beside));
    nothing_is_called_one(&world, &beside);
    let restore = ["restore", "journey", "--point", &backup, "--into", &beside, "--executor", "velero", "--yes"];
    let said = world.run(&[&restore[..], &["--output", "json"]].concat()).exits(3);
    assert!(said.stderr.contains("PartiallyFailed") && said.stderr.contains(REFUSAL), "{}", said.stderr);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{report:#}");
    assert_eq!(failed[0]["object"], format!("configmaps {beside}/one"));
    assert!(failed[0]["reason"].as_str().unwrap().contains(REFUSAL), "{report:#}");
    assert!(world.get(&core("ConfigMap", Some(&beside), "two")).is_some());
    // dxdr leaves them to their Service.
    let beyond = report["beyondPlan"].as_array().unwrap();
    assert!(beyond.iter().any(|one| one.as_str().unwrap().starts_with("EndpointSlice ")), "{report:#}");
    velero.delete(&world, &backup);
}
