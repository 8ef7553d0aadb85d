//! Databases of recovery points that a Velero server takes, whose part the test plays: dumps of a real PostgreSQL server where one is installed, exports and instants
//! in logs of the emulator.

use std::{thread, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_object_storage::{GcsOptions, GcsStorage, gcs::GcsCredentials};
use dxdr_provider::object_storage::{ObjectBody, ObjectStorage, PutCondition};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    adoption::archived,
    cloud_sql::Cloud,
    gated::Running,
    objects,
    place::Place,
    postgresql_server::{self, PASSWORD, Server},
    scripted_velero::{install, velero},
    served::Served,
};

/// A Velero server, played, whose location is the bucket `b`.
struct Velero {
    storage: GcsStorage,
    runtime: Runtime,
}

impl Velero {
    fn of(served: &Served, storage: &dxdr_storage_emulator::Emulator) -> Self {
        install(served, &["Backup", "BackupStorageLocation"]);
        served.create((
            velero("BackupStorageLocation", "primary"),
            json!({
                "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": "primary", "namespace": "velero"},
                "spec": {"provider": "gcp", "objectStorage": {"bucket": "b", "prefix": "velero"}}
            }),
        ));
        let runtime = Runtime::new().unwrap();
        let options = GcsOptions {
            bucket: "b".to_owned(),
            prefix: "velero".to_owned(),
            endpoint: Some(storage.endpoint()),
            credentials: GcsCredentials::Anonymous,
            ..GcsOptions::default()
        };
        let storage = runtime.block_on(GcsStorage::connect(options)).unwrap();
        Self { storage, runtime }
    }

    /// The Backup that dxdr asks for.
    fn asked(&self, served: &Served, program: &Running) -> Value {
        for _ in 0..2400 {
            if let Some(backup) = served.list(&velero("Backup", "").kind, "velero").pop() {
                return backup;
            }
            if let Some(said) = program.over() {
                panic!("it asked for no Backup:\n{said}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("no Backup was asked for within two minutes");
    }

    /// Writes what a Backup that is over leaves in the store.
    fn writes(&self, metadata: &Value) {
        let name = metadata["name"].as_str().unwrap();
        let namespace = metadata["labels"]["dxdr.io/environment"].as_str().unwrap();
        let now = Timestamp::now().to_string();
        let marker = json!({
            "kind": "Backup", "apiVersion": "velero.io/v1", "metadata": metadata,
            "spec": {"includedNamespaces": [namespace], "snapshotVolumes": true},
            "status": {"version": 1, "formatVersion": "1.1.0", "phase": "Completed", "startTimestamp": now, "completionTimestamp": now}
        });
        let archive = archived(&[("configmaps", objects::config_map(namespace, "one", "as it was").1)]);
        for (key, bytes) in
            [(format!("{name}.tar.gz"), archive), ("velero-backup.json".to_owned(), marker.to_string().into_bytes())]
        {
            let key = format!("backups/{name}/{key}");
            let body = ObjectBody::Bytes(bytes.into());
            self.runtime.block_on(self.storage.put(&key, body, PutCondition::Always)).unwrap();
        }
    }
}

fn phase(served: &Served, backup: &Value, phase: &str) {
    let name = backup["metadata"]["name"].as_str().unwrap();
    served.change(&velero("Backup", name), |object| object["status"] = json!({"phase": phase}));
}

/// Waits for an object of the bucket.
fn until(storage: &dxdr_storage_emulator::Emulator, program: &Running, object: &str) {
    while !storage.object_names("b").iter().any(|name| name == object) {
        assert_eq!(program.over(), None, "it ended without {object}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// An environment whose database `orders` is on a real server, with a claim, under a policy by which Velero takes its points.
struct World {
    served: Served,
    storage: dxdr_storage_emulator::Emulator,
    velero: Velero,
    server: Server,
    // Dropped last: the emulator runs on it.
    _runtime: Runtime,
}

const POLICY: &str = "---\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [staging], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: velero, store: primary, volumes: {method: csiSnapshot}, databases: {method: export, consistency: quiesced}, retention: {daily: 7}}\n";

impl World {
    fn new() -> Option<Self> {
        let server = postgresql_server::start(true)?;
        server.sql("postgres", "CREATE DATABASE orders;");
        server.sql("orders", "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2);");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let storage = runtime.block_on(dxdr_storage_emulator::Emulator::start(Default::default())).unwrap();
        storage.create_bucket("b", dxdr_storage_emulator::Bucket::default());
        let place = Place::with_environment(vec![("STORAGE_EMULATOR_HOST", storage.endpoint())]);
        let served = Served::with_store(place, "");
        let environment = format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {{name: staging}}\nspec:\n  namespace: staging\n  tier: non-production\n  databases:\n    - name: orders\n      postgresql: {{service: postgres, databases: [orders], credentialsSecret: orders-db, address: '127.0.0.1:{}'}}\n---\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {{gcs: {{bucket: b, prefix: velero}}}}\n{POLICY}",
            server.port
        );
        served.place.write("policies/staging.yaml", &environment);
        let encoded = |text: &str| STANDARD.encode(text);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-db", "namespace": "staging"},
            "data": {"username": encoded("postgres"), "password": encoded(PASSWORD)},
        });
        served.create((objects::core("Secret", Some("staging"), "orders-db"), secret));
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "staging"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        served.create((objects::core("PersistentVolumeClaim", Some("staging"), "data"), claim));
        let velero = Velero::of(&served, &storage);
        Some(Self { served, storage, velero, server, _runtime: runtime })
    }

    fn rows(&self) -> String {
        self.server.sql("orders", "SELECT json_agg(n ORDER BY n) FROM t;")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.served.run(&[arguments, &["--output", "json"]].concat()).exits(0);
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// The point of that name, as it is listed.
    fn point(&self, name: &str) -> Option<Value> {
        let page = self.json(&["points", "staging"]);
        let ours = |point: &&Value| point["name"] == name && point["engine"] == "velero";
        page["points"].as_array().unwrap().iter().find(ours).cloned()
    }

    fn dump_of(&self, backup: &Value) -> String {
        format!("velero/backups/{}/databases/orders.dump", backup["metadata"]["name"].as_str().unwrap())
    }

    fn has_manifest(&self, backup: &Value) -> bool {
        let manifest = format!("velero/backups/{}/dxdr-manifest.json", backup["metadata"]["name"].as_str().unwrap());
        self.storage.object_names("b").contains(&manifest)
    }

    /// Asks a run that goes on to stop, and answers its name.
    fn stopped(&self, program: Running) -> String {
        kill_process(Pid::from_raw(program.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
        let (code, said) = program.ends();
        assert_eq!(code, Some(130), "{said}");
        let runs = self.json(&["runs", "list"]);
        let run = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == "unfinished").unwrap();
        run["run"].as_str().unwrap().to_owned()
    }
}

fn database_of(point: &Value) -> &Value {
    let components = point["components"].as_array().unwrap();
    components.iter().find(|component| component["kind"] == "database").unwrap_or_else(|| panic!("{point:#}"))
}

#[test]
fn a_database_is_held_before_velero_is_asked_and_comes_back_with_its_point() {
    let Some(world) = World::new() else { return };
    let served = &world.served;
    let said = served.run(&["backup", "now", "staging", "--dry-run"]).exits(0).stderr;
    assert!(said.contains("dump into databases/orders.dump, as it is just before Velero is asked (aligned)"), "{said}");
    assert!(said.contains("so nothing makes database orders `quiesced`: it is `aligned`"), "{said}");

    let program = served.start(&["backup", "now", "staging"]);
    let backup = world.velero.asked(served, &program);
    // Behind the hold, and so not in the point.
    world.server.sql("orders", "INSERT INTO t VALUES (3);");
    phase(served, &backup, "InProgress");
    program.until_it_says("InProgress");
    assert!(!world.storage.object_names("b").contains(&world.dump_of(&backup)));
    phase(served, &backup, "Finalizing");
    until(&world.storage, &program, &world.dump_of(&backup));
    world.velero.writes(&backup["metadata"]);
    // The point is the run's to finish: whoever looks meanwhile leaves it alone.
    world.json(&["points", "staging"]);
    assert!(!world.has_manifest(&backup));
    phase(served, &backup, "Completed");
    let (code, said) = program.ends();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("parts were captured at most"), "{said}");

    let name = backup["metadata"]["name"].as_str().unwrap();
    let point = world.point(name).unwrap();
    assert_eq!((&point["state"], &point["engine"]), (&json!("complete"), &json!("velero")));
    let database = database_of(&point);
    assert_eq!((&database["method"], &database["consistency"]), (&json!("dump"), &json!("aligned")), "{point:#}");
    served.run(&["restore", "staging", "--point", name, "--in-place", "--yes"]).exits(0);
    assert_eq!(world.rows(), "[1, 2]");
}

#[test]
fn what_a_killed_run_held_is_held_again_too_late_and_the_point_says_so() {
    let Some(world) = World::new() else { return };
    let program = world.served.start(&["backup", "now", "staging"]);
    let backup = world.velero.asked(&world.served, &program);
    let name = backup["metadata"]["name"].as_str().unwrap();
    let run = world.stopped(program);
    world.velero.writes(&backup["metadata"]);
    phase(&world.served, &backup, "Completed");
    let said = world.served.run(&["points", "staging"]).exits(0).stderr;
    assert!(!world.has_manifest(&backup) && said.contains(&format!("{name} is left to run {run}")), "{said}");
    let said = world.served.run(&["runs", "resume", &run, "--yes"]).refuses(3).stderr;
    assert!(said.contains("it lacks the consistency of database orders") && said.contains("captured again later"), "{said}");
    let point = world.point(name).unwrap();
    assert_eq!((&point["state"], &database_of(&point)["consistency"]), (&json!("partial"), &Value::Null));
    assert!(point["skewSeconds"].as_u64().unwrap() >= 15, "two processes have two clocks: {point:#}");
}

#[test]
fn a_database_is_let_go_when_velero_is_away_for_long_and_the_point_says_that_it_was_captured_later() {
    let Some(world) = World::new() else { return };
    let manifests = world.served.place.path().join("policies/staging.yaml");
    let declared = std::fs::read_to_string(&manifests).unwrap();
    std::fs::write(&manifests, declared.replace("method: export,", "method: export, timeout: 10s,")).unwrap();
    let holders =
        || world.server.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%';");
    let program = world.served.start(&["backup", "now", "staging"]);
    let backup = world.velero.asked(&world.served, &program);
    assert_eq!(holders(), "1");
    program.until_it_says("database orders is let go, having been held for 10s");
    while holders() != "0" {
        thread::sleep(Duration::from_millis(20));
    }
    world.server.sql("orders", "INSERT INTO t VALUES (3);");
    world.velero.writes(&backup["metadata"]);
    phase(&world.served, &backup, "Completed");
    let (code, said) = program.ends();
    assert_eq!(code, Some(3), "{said}");
    let point = world.point(backup["metadata"]["name"].as_str().unwrap()).unwrap();
    assert_eq!(point["gaps"][0]["what"], "the consistency of database orders");
    assert!(point["gaps"][0]["reason"].as_str().unwrap().contains("had not cut its snapshots within 10s"), "{point:#}");
    let name = backup["metadata"]["name"].as_str().unwrap();
    world.served.run(&["restore", "staging", "--point", name, "--in-place", "--yes"]).exits(0);
    assert_eq!(world.rows(), "[1, 2, 3]");
}

#[test]
fn a_run_that_is_ended_takes_its_dumps_along_and_the_backup_is_adopted_without() {
    let Some(world) = World::new() else { return };
    let program = world.served.start(&["backup", "now", "staging"]);
    let backup = world.velero.asked(&world.served, &program);
    phase(&world.served, &backup, "Finalizing");
    until(&world.storage, &program, &world.dump_of(&backup));
    let run = world.stopped(program);
    world.velero.writes(&backup["metadata"]);
    world.served.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert!(!world.storage.object_names("b").contains(&world.dump_of(&backup)));
    let point = world.point(backup["metadata"]["name"].as_str().unwrap()).unwrap();
    assert_eq!(point["state"], "partial");
    let reason = point["gaps"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(&run) && reason.ends_with("`dxdr backup now staging` takes a point with them"), "{point:#}");
}

fn of_preview(databases: &str) -> String {
    format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: exports}}\nspec: {{environments: [preview], objectives: {{dataLoss: 2h, recoveryTime: 1h}}, engine: velero, store: primary, volumes: {{method: csiSnapshot}}, databases: {{{databases}}}, retention: {{daily: 7}}}}\n"
    )
}

/// What Velero makes of `preview` by the Schedule that is rendered now: it copies labels of the template and annotations of the Schedule.
fn scheduled(cloud: &Cloud, name: &str) -> Value {
    let rendered = cloud.json(&["schedule", "render"], 0);
    let objects = rendered["items"].as_array().unwrap();
    let schedule = objects.iter().find(|object| object["kind"] == "Schedule").unwrap();
    let mut labels = schedule["spec"]["template"]["metadata"]["labels"].clone();
    labels["velero.io/schedule-name"] = schedule["metadata"]["name"].clone();
    json!({"name": name, "namespace": "velero", "labels": labels, "annotations": schedule["metadata"]["annotations"]})
}

/// Lists points without a way to the database service.
fn points_without_cloud_sql(cloud: &Cloud) {
    let mut command = cloud.served.place.command(&["points", "preview"]);
    let said = command.env("DXDR_CLOUD_SQL_ENDPOINT", "http://127.0.0.1:1").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("partial"), "{said:?}");
}

/// Moves the database of `preview` to another instance.
fn moves(cloud: &Cloud) {
    cloud.emulator.create_instance("dx-nonprod", "other", dxdr_database_emulator::Instance::default());
    cloud.emulator.create_database("dx-nonprod", "other", "preview_orders");
    let manifest = "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {name: preview}\nspec:\n  namespace: preview\n  tier: non-production\n  databases: [{name: orders, cloudSql: {project: dx-nonprod, instance: other, databases: [preview_orders]}}]\n";
    cloud.served.place.write("policies/cloud.yaml", manifest);
}

const MADE: &str = "create table p (n int)";

#[test]
fn what_a_schedule_made_has_an_instant_in_the_log_of_its_database_and_comes_back_as_of_it() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &of_preview("method: pointInTime"));
    let velero = Velero::of(&cloud.served, &cloud.storage);
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501100000"));
    // Who cannot ask the service makes it a point without, and the next one that can mends it.
    points_without_cloud_sql(&cloud);
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501110000"));
    let listed = cloud.json(&["points", "preview"], 0);
    let states: Vec<&Value> = listed["points"].as_array().unwrap().iter().map(|point| &point["state"]).collect();
    assert_eq!(states, ["complete", "complete"], "{listed:#}");
    let point = &listed["points"][1];
    assert_eq!((&point["name"], &point["engine"]), (&json!("dxdr-preview-20240501100000"), &json!("velero")), "{point:#}");
    let database = database_of(point);
    assert_eq!((&database["method"], &database["consistency"]), (&json!("pointInTime"), &json!("aligned")), "{point:#}");

    assert!(cloud.emulator.execute("dx-nonprod", "shared", "preview_orders", "insert into p values (1)"));
    let name = point["name"].as_str().unwrap();
    cloud.run(&["restore", "preview", "--point", name, "--in-place", "--yes"]).exits(0);
    assert_eq!(cloud.statements("preview_orders"), [MADE]);
    assert_eq!(cloud.statements("dev_orders"), ["create table d (n int)"]);
}

#[test]
fn an_instant_is_named_in_the_log_of_the_instance_on_which_the_database_was_when_velero_made_the_backup() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &of_preview("method: pointInTime"));
    let velero = Velero::of(&cloud.served, &cloud.storage);
    let (mended, adopted, untold) = ("dxdr-preview-20240501100000", "dxdr-preview-20240501110000", "dxdr-preview-20240501120000");
    velero.writes(&scheduled(&cloud, mended));
    points_without_cloud_sql(&cloud);
    velero.writes(&scheduled(&cloud, adopted));
    let mut without = scheduled(&cloud, untold);
    without["annotations"].take();
    velero.writes(&without);
    moves(&cloud);
    let listed = cloud.json(&["points", "preview"], 0);
    let point = |name: &str| listed["points"].as_array().unwrap().iter().find(|point| point["name"] == name).unwrap();
    for name in [mended, adopted] {
        let database = database_of(point(name));
        assert_eq!(database["location"], "projects/dx-nonprod/instances/shared", "{listed:#}");
    }
    // Nobody can know it of the third: neither when it is adopted nor when others are mended.
    assert_eq!((&point(untold)["state"], &point(untold)["gaps"][0]["what"]), (&json!("partial"), &json!("database orders")));
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501130000"));
    let again = cloud.json(&["points", "preview"], 0);
    assert_eq!(database_of(&again["points"][0])["location"], "projects/dx-nonprod/instances/other", "{again:#}");
    assert!(again["points"].as_array().unwrap().contains(point(untold)), "{again:#}");
}

#[test]
fn what_was_promised_to_be_exported_is_never_made_up_for_by_an_instant_in_a_log() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &of_preview("method: both"));
    let velero = Velero::of(&cloud.served, &cloud.storage);
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501100000"));
    points_without_cloud_sql(&cloud);
    // By now the policy relies on the log alone.
    cloud.served.place.write("policies/policy.yaml", &of_preview("method: pointInTime"));
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501110000"));
    let listed = cloud.json(&["points", "preview"], 0);
    let point = &listed["points"][1];
    assert_eq!((&database_of(point)["method"], &point["state"]), (&json!("pointInTime"), &json!("partial")), "{point:#}");
    let lacks: Vec<&Value> = point["gaps"].as_array().unwrap().iter().map(|gap| &gap["what"]).collect();
    assert_eq!(lacks, ["database orders"]);
}

#[test]
fn what_a_schedule_made_without_the_export_that_was_promised_is_partial_and_says_what_to_do() {
    let cloud = Cloud::exporting();
    cloud.served.place.write("policies/policy.yaml", &of_preview("method: export"));
    let velero = Velero::of(&cloud.served, &cloud.storage);
    velero.writes(&scheduled(&cloud, "dxdr-preview-20240501100000"));
    let listed = cloud.json(&["points", "preview"], 0);
    let point = &listed["points"][0];
    assert_eq!(point["state"], "partial");
    let reason = "Velero made the backup by itself, and captures no databases; `dxdr backup now preview` takes a point with them";
    assert_eq!(point["gaps"], json!([{"what": "database orders", "reason": reason}]));
}

#[test]
fn what_the_service_captures_is_begun_behind_what_velero_does_and_is_part_of_its_point() {
    for (method, kind, expected) in [("both", "EXPORT", &["export", "pointInTime"][..]), ("backup", "BACKUP_VOLUME", &["backup"])]
    {
        let cloud = Cloud::exporting();
        let policy = of_preview(&format!("method: {method}, references: volumesToDatabase"));
        cloud.served.place.write("policies/policy.yaml", &policy);
        let velero = Velero::of(&cloud.served, &cloud.storage);
        let program = cloud.served.start(&["backup", "now", "preview"]);
        let backup = velero.asked(&cloud.served, &program);
        phase(&cloud.served, &backup, "InProgress");
        program.until_it_says("InProgress");
        assert!(cloud.emulator.operations_of(kind).is_empty());
        velero.writes(&backup["metadata"]);
        phase(&cloud.served, &backup, "Completed");
        let (code, said) = program.ends();
        assert_eq!(code, Some(0), "{said}");
        let listed = cloud.json(&["points", "preview"], 0);
        let point = &listed["points"][0];
        assert_eq!(point["state"], "complete", "{point:#}");
        let databases = point["components"].as_array().unwrap().iter().filter(|component| component["kind"] == "database");
        let mut methods: Vec<&str> = databases.map(|database| database["method"].as_str().unwrap()).collect();
        methods.sort_unstable();
        assert_eq!(methods, expected);
        assert_eq!(cloud.emulator.operations_of(kind).len(), 1);

        assert!(cloud.emulator.execute("dx-nonprod", "shared", "preview_orders", "insert into p values (1)"));
        let name = point["name"].as_str().unwrap();
        cloud.run(&["restore", "preview", "--point", name, "--in-place", "--yes"]).exits(0);
        assert_eq!(cloud.statements("preview_orders"), [MADE]);
    }
}
