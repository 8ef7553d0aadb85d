//! Schedules and locations on a real Velero server: applied once, clean for GitOps, and what they back up.

use std::{
    env, fs,
    io::Write as _,
    process::{Command, Stdio},
};

use dxdr_environment::ObjectReference;
use dxdr_plan::velero::{CronParser, VeleroVersion};
use serde_json::{Value, json};

use super::{
    World,
    velero::{CONTENT, Velero, completed},
};
use crate::objects::{self, reference};

/// Kinds and names, and nothing that the server keeps of its own.
fn object(kind: &str, name: &str) -> ObjectReference {
    let namespace = env::var("DXDR_TEST_VELERO_NAMESPACE").unwrap();
    reference("velero.io", "v1", kind, &format!("{}s", kind.to_lowercase()), Some(&namespace), name)
}

/// An object without what changes by itself.
fn settled(mut object: Value) -> Value {
    object.as_object_mut().unwrap().remove("status");
    for field in ["managedFields", "resourceVersion", "generation"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    object
}

/// When dxdr wrote an object last.
fn written(object: &Value) -> Option<&Value> {
    let managers = object["metadata"]["managedFields"].as_array()?;
    managers.iter().find(|fields| fields["manager"] == "dxdr-velero").map(|fields| &fields["time"])
}

/// Environments with one Schedule each that fires next January in `zone`, and a store with a location of its own.
fn fleet(world: &World, count: usize, secret: &str, zone: &str) -> (Vec<String>, String) {
    let prefix = &world.namespace;
    let names: Vec<String> = (0..count).map(|number| format!("{prefix}-{number}")).collect();
    let mut text = String::new();
    for name in &names {
        text.push_str(&format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: {name}}}\nspec: {{namespace: {name}, tier: non-production}}\n---\n"
        ));
    }
    let endpoint = env::var("DXDR_TEST_S3_ENDPOINT").unwrap();
    let bucket = env::var("DXDR_TEST_S3_BUCKET").unwrap();
    text.push_str(&format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata: {{name: primary}}\nspec:\n  s3: {{bucket: {bucket}, prefix: {prefix}, region: us-east-1, endpoint: \"{endpoint}\", forcePathStyle: true}}\n  velero: {{location: {prefix}, credential: {{name: {secret}, key: cloud}}}}\n---\n"
    ));
    text.push_str(&format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: all}}\nspec:\n  environments: [{}]\n  objectives: {{dataLoss: 8808h, recoveryTime: 1h}}\n  schedule: {{cron: \"0 3 1 1 *\", timeZone: {zone}}}\n  engine: velero\n  volumes: {{method: csiSnapshot}}\n  store: primary\n  retention: {{yearly: 2}}\n",
        names.join(", ")
    ));
    world.place.write("policies/journey.yaml", &text);
    world.made.borrow_mut().push(object("BackupStorageLocation", prefix));
    for name in &names {
        world.made.borrow_mut().push(object("Schedule", &format!("dxdr-{name}")));
    }
    (names, prefix.clone())
}

/// What the server would make of `manifests` if Argo CD applied them: its view of what is different.
fn seen_by_argo_cd(world: &World, manifests: &str) -> Vec<Value> {
    let mut child = Command::new(env::var("DXDR_TEST_KUBECTL").unwrap())
        .args(["--kubeconfig", &world.kubeconfig, "apply", "--server-side", "--dry-run=server", "--output=json"])
        .args(["--field-manager=argocd-controller", "--filename=-"])
        .env("HOME", world.place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["items"].as_array().unwrap().clone()
}

#[test]
fn a_hundred_environments_are_applied_once_and_are_clean_for_argo_cd() {
    let Some(velero) = Velero::named() else { return };
    let world = World::new(&velero.servers, "fleet");
    let (names, location) = fleet(&world, 100, "cloud-credentials", "UTC");
    let apply = ["schedule", "apply", "--yes"];
    let first = world.run(&apply).exits(0);
    assert_eq!(first.stderr.matches("applied ").count(), 101, "{}", first.stderr);

    // Velero has had its way with all of them.
    let schedules: Vec<ObjectReference> = names.iter().map(|name| object("Schedule", &format!("dxdr-{name}"))).collect();
    let location = object("BackupStorageLocation", &location);
    world.wait_until("Velero uses what was applied", |world| {
        schedules.iter().all(|one| world.get(one).is_some_and(|live| live["status"]["phase"] == "Enabled"))
            && world.get(&location).is_some_and(|live| live["status"]["phase"] == "Available")
    });
    let versions =
        || -> Vec<Value> { schedules.iter().map(|one| world.get(one).unwrap()["metadata"]["resourceVersion"].take()).collect() };
    let before = (versions(), written(&world.get(&location).unwrap()).cloned());
    let second = world.run(&apply).exits(0);
    assert!(second.stderr.contains("nothing to do"), "{}", second.stderr);
    assert_eq!((versions(), written(&world.get(&location).unwrap()).cloned()), before);
    assert!(before.1.is_some());

    let rendered = world.run(&["schedule", "render", "--velero-version", &velero.version.to_string()]).exits(0).stdout;
    let seen = seen_by_argo_cd(&world, &rendered);
    assert_eq!(seen.len(), 101);
    for object in seen {
        let name = object["metadata"]["name"].as_str().unwrap();
        let reference = self::object(object["kind"].as_str().unwrap(), name);
        assert_eq!(settled(object), settled(world.get(&reference).unwrap()));
    }
}

#[test]
fn a_schedule_in_a_zone_is_in_force_or_refused_before_it_is_written() {
    let Some(velero) = Velero::named() else { return };
    let world = World::new(&velero.servers, "zone");
    let (names, _) = fleet(&world, 1, "cloud-credentials", "Europe/Berlin");
    let settles = |schedule: &ObjectReference| {
        let mut phase = Value::Null;
        world.wait_until("Velero has read the schedule", |world| {
            phase = world.get(schedule).map(|mut live| live["status"]["phase"].take()).unwrap_or_default();
            phase.is_string()
        });
        phase
    };
    // What a server makes of it that nobody has asked before.
    let specification = json!({
        "schedule": "CRON_TZ=Europe/Berlin 0 3 1 1 *",
        "template": {"includedNamespaces": [names[0]], "storageLocation": velero.location}
    });
    let unasked = velero.create(&world, "Schedule", &format!("{}-unasked", names[0]), &specification);
    let (phase, applied) = (settles(&unasked), world.run(&["schedule", "apply", "--yes"]));
    let ours = object("Schedule", &format!("dxdr-{}", names[0]));
    if velero.version.cron_parser() == CronParser::RobfigWithoutZones {
        assert_eq!(phase, "FailedValidation");
        let said = applied.refuses(4);
        assert!(said.stderr.contains("refuses a schedule that names a time zone"), "{}", said.stderr);
        assert_eq!(world.get(&ours), None);
    } else {
        assert_eq!(phase, "Enabled");
        applied.exits(0);
        assert_eq!(settles(&ours), "Enabled");
    }
}

#[test]
fn a_secret_that_is_not_there_is_told_before_and_after() {
    let Some(velero) = Velero::named() else { return };
    let world = World::new(&velero.servers, "no-secret");
    let (names, location) = fleet(&world, 1, "not-there", "UTC");
    let applied = world.run(&["schedule", "apply", "--yes"]).exits(0);
    assert!(applied.stdout.contains("Secret `not-there` in namespace"), "{}", applied.stdout);
    let location = object("BackupStorageLocation", &location);
    world.wait_until("Velero has tried the location", |world| {
        world.get(&location).is_some_and(|live| live["status"]["phase"] == "Unavailable")
    });
    // Velero makes no backup there, and says why; older servers try.
    world.create(objects::namespace(&names[0]));
    let refused = world.run(&["backup", "now", &names[0]]).refuses(1);
    let validated = velero.version >= VeleroVersion { major: 1, minor: 16, patch: 0 };
    let words = if validated { ["as FailedValidation: ", "Unavailable"] } else { ["as Failed: ", "\"not-there\" not found"] };
    assert!(words.iter().all(|words| refused.stderr.contains(words)), "{}", refused.stderr);
    assert!(refused.stderr.contains("no recovery point comes of backup"), "{}", refused.stderr);
    let runs: Value = serde_json::from_str(&world.run(&["runs", "list", "--output", "json"]).exits(0).stdout).unwrap();
    world.run(&["runs", "clean", runs["runs"][0]["run"].as_str().unwrap(), "--yes"]).exits(0);
    let said = world.run(&["schedule", "diff"]);
    assert!(said.stdout.contains("is unavailable"), "{}\n{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("the Secret with the credentials is missing"), "{}", said.stdout);
    let page: Value = serde_json::from_str(&world.run(&["check", "--cluster", "--output", "json"]).stdout).unwrap();
    let rows = page["rows"].as_array().unwrap();
    for what in ["velero: location of store primary", "velero: location of store primary: credential"] {
        let row = rows.iter().find(|row| row["what"] == what).unwrap();
        assert_eq!(row["result"], "failed", "{row:#}");
    }
}

#[test]
fn what_velero_backs_up_by_request_and_by_its_schedule_comes_back_and_goes_with_velero_s_backups() {
    let Some(velero) = Velero::named() else { return };
    let world = velero.world("scheduled");
    let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: all}\nspec:\n  environments: [journey]\n  objectives: {dataLoss: 10m, recoveryTime: 1h}\n  schedule: {cron: \"* * * * *\", timeZone: UTC}\n  engine: velero\n  volumes: {method: csiSnapshot}\n  store: primary\n  retention: {daily: 7}\n";
    world.place.write("policies/policy.yaml", policy);
    let original = velero.volume_of(&world, &world.namespace);
    let said = world.run(&["backup", "now", "journey"]).exits(0);
    for phase in ["    InProgress", "    Completed"] {
        assert!(said.stderr.contains(phase), "{}", said.stderr);
    }
    let asked = said.stdout.trim().to_owned();

    fs::write(original.join("content"), "later rows").unwrap();
    let schedule = object("Schedule", "dxdr-journey");
    world.made.borrow_mut().push(schedule.clone());
    world.run(&["schedule", "apply", "--yes"]).exits(0);
    let kind = object("Backup", "").kind;
    let namespace = schedule.namespace.clone().unwrap();
    let mut scheduled = None;
    world.wait_until("the schedule has fired", |world| {
        let names = world.names(&kind, Some(&namespace));
        scheduled = names.into_iter().find(|name| name.starts_with("dxdr-journey-"));
        scheduled.is_some()
    });
    // It would fire every minute.
    world.delete(&schedule);
    let scheduled = scheduled.unwrap();
    completed(&world, &object("Backup", &scheduled));

    fs::write(original.join("content"), "damaged").unwrap();
    let page: Value = serde_json::from_str(&world.run(&["points", "journey", "--output", "json"]).exits(0).stdout).unwrap();
    let points = page["points"].as_array().unwrap();
    for (name, content) in [(&asked, CONTENT), (&scheduled, "later rows")] {
        let point = points.iter().find(|point| point["name"] == name.as_str()).unwrap();
        assert_eq!(point["state"], "complete", "{point:#}");
        let beside = world.beside(if *name == asked { "asked" } else { "scheduled" });
        // By its instant: nothing newer was there then.
        let said =
            world.run(&["restore", "journey", "--at", point["instant"].as_str().unwrap(), "--into", &beside, "--yes"]).exits(0);
        assert!(said.stderr.contains(&format!("recovery point {name}")), "{}", said.stderr);
        assert_eq!(fs::read_to_string(velero.volume_of(&world, &beside).join("content")).unwrap(), content);
    }

    for name in [&asked, &scheduled] {
        velero.delete(&world, name);
    }
    let said = world.run(&["points", "journey", "--output", "json"]).exits(0);
    for name in [&asked, &scheduled] {
        assert!(!said.stdout.contains(name.as_str()), "{}", said.stdout);
        world.run(&["restore", "journey", "--point", name, "--plan"]).refuses(5);
    }
    // Whoever came first took them out of the index.
    let again = world.run(&["points", "journey"]).exits(0);
    assert!(![&asked, &scheduled].into_iter().any(|name| again.stderr.contains(name.as_str())), "{}", again.stderr);
}
