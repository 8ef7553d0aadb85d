//! A store in a bucket of Google Cloud Storage, which the emulator holds.

use dxdr_storage_emulator::{Bucket, Emulator, Failing, Fault, Options};
use tokio::runtime::Runtime;

use crate::{objects, place::Place, served::Served};

const STORE: &str =
    "---\nkind: BackupStore\nmetadata: {name: primary}\nspec: {gcs: {bucket: dx, prefix: velero, kmsKey: projects/p/keys/k}}\n";

/// A cluster whose store is the bucket `dx` of an emulator.
struct World {
    served: Served,
    emulator: Emulator,
    // Dropped last: the emulator runs on it.
    _runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let emulator = runtime.block_on(Emulator::start(Options::default())).unwrap();
        emulator.create_bucket("dx", Bucket::default());
        let place = Place::with_environment(vec![("STORAGE_EMULATOR_HOST", emulator.endpoint())]);
        Self { served: Served::with_store(place, STORE), emulator, _runtime: runtime }
    }
}

#[test]
fn an_environment_is_backed_up_restored_and_cleaned_up_after() {
    let world = World::new();
    let served = &world.served;
    let point = served.point();
    assert!(served.run(&["points", "staging"]).exits(0).stdout.contains(&point));
    served.run(&["restore", "--at", "-0s", "staging", "--plan"]).exits(0);
    served.run(&["restore", "--point", &point, "staging", "--into", "staging-again", "--yes"]).exits(0);
    let (restored, _) = objects::config_map("staging-again", "one", "");
    assert_eq!(served.get(&restored).unwrap()["data"], served.get(&objects::config_map("staging", "one", "").0).unwrap()["data"]);
    let (lost, _) = objects::config_map("staging", "two", "");
    served.delete(&lost);
    served.run(&["restore", "--point", &point, "staging", "--in-place", "--yes"]).exits(0);
    assert!(served.get(&lost).is_some());

    // A run that breaks off leaves its objects, and they can be cleaned away.
    let before = world.emulator.object_names("dx");
    world.emulator.faults().add(Fault::new(Failing::Refused(403, "forbidden")).method("POST").target("velero-backup.json"));
    served.run(&["backup", "now", "staging"]).refuses(7);
    world.emulator.faults().clear();
    let left = world.emulator.object_names("dx");
    assert!(left.len() > before.len(), "the run left nothing");
    let runs = served.run(&["runs", "list", "--output", "json"]).exits(0).stdout;
    let runs: serde_json::Value = serde_json::from_str(&runs).unwrap();
    let run = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == "unfinished").unwrap();
    let run = run["run"].as_str().unwrap();
    served.run(&["runs", "clean", run, "--yes"]).exits(0);
    let archive = |name: &&String| name.starts_with("velero/backups/");
    let kept: Vec<_> = before.iter().filter(archive).cloned().collect();
    let now = world.emulator.object_names("dx");
    assert_eq!(now.iter().filter(archive).cloned().collect::<Vec<_>>(), kept);
    served.run(&["points", "staging"]).exits(0);
    let asked = world.emulator.asked();
    let writes: Vec<_> = asked.iter().filter(|asked| asked.method == "POST").collect();
    assert!(!writes.is_empty() && writes.iter().all(|asked| asked.target.contains("kmsKeyName=")), "{writes:?}");
}

#[test]
fn the_store_is_checked() {
    let world = World::new();
    let said = world.served.run(&["check", "--cluster"]).exits(0).stdout;
    assert!(said.contains("store primary: readable") && said.contains("store primary: writable"), "{said}");
    assert!(said.contains(&format!("gs://dx at {}", world.emulator.endpoint())), "{said}");
    assert!(world.emulator.object_names("dx").is_empty());
    let served = Served::with_store(
        Place::with_environment(vec![("STORAGE_EMULATOR_HOST", world.emulator.endpoint())]),
        "---\nkind: BackupStore\nmetadata: {name: primary}\nspec: {gcs: {bucket: none}}\n",
    );
    let said = served.run(&["check", "--cluster"]).exits(7).stdout;
    assert!(said.contains("gcloud storage buckets create gs://none"), "{said}");
}

#[test]
fn what_the_bucket_refuses_is_said_with_what_to_do() {
    for (failing, hint) in [
        (Failing::Refused(401, "authError"), "gcloud auth application-default login"),
        (Failing::Refused(403, "forbidden"), "roles/storage.objectUser"),
        (Failing::Refused(403, "objectUnderActiveHold"), "releases the hold"),
        (Failing::Refused(403, "retentionPolicyNotMet"), "wait until then"),
    ] {
        let world = World::new();
        world.emulator.faults().add(Fault::new(failing.clone()).method("POST"));
        let said = world.served.run(&["backup", "now", "staging"]).refuses(7);
        assert!(said.stderr.contains(hint), "{failing:?}\n{}", said.stderr);
        assert!(world.emulator.object_names("dx").is_empty());
    }
}

#[test]
fn a_bucket_that_nobody_answers_for_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place::with_environment(vec![("STORAGE_EMULATOR_HOST", format!("127.0.0.1:{port}"))]);
    let served = Served::with_store(place, STORE);
    let said = served.run(&["points", "staging"]).refuses(7);
    assert!(said.stderr.contains("STORAGE_EMULATOR_HOST may name another one"), "{}", said.stderr);
}

#[test]
fn a_key_file_that_is_not_there_is_named() {
    let place = Place::with_environment(vec![("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json".to_owned())]);
    let served = Served::with_store(place, STORE);
    let said = served.run(&["points", "staging"]).refuses(7);
    assert!(said.stderr.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{}", said.stderr);
}
