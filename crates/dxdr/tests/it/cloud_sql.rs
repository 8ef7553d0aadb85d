//! Databases on Cloud SQL, on the emulator.

use std::{process::Stdio, sync::Arc, time::Duration};

use dxdr_cloud_sql::CloudSql;
use dxdr_database_emulator::{Emulator, Failing, Installation, Instance, Options, Storage};
use dxdr_environment::InstanceName;
use dxdr_kubernetes::KubernetesCluster;
use dxdr_plan::instance::{Job, Priority, Work};
use dxdr_provider::{Clock, Cluster, Instances, clock::SystemClock, instance::InstanceRequest};
use dxdr_run::{
    RunError, StopRequest,
    event::Silent,
    instance::{InstanceTurns, LedgerLease, Made, carry_out},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    objects,
    place::{Place, Said},
    served::Served,
};

const ENVIRONMENTS: &str = "\
---
apiVersion: dxdr.io/v1alpha1
kind: Environment
metadata: {name: preview}
spec:
  namespace: preview
  tier: non-production
  databases: [{name: orders, cloudSql: {project: dx-nonprod, instance: shared, databases: [preview_orders]}}]
---
apiVersion: dxdr.io/v1alpha1
kind: Environment
metadata: {name: dev}
spec:
  namespace: dev
  tier: non-production
  databases: [{name: orders, cloudSql: {project: dx-nonprod, instance: shared, databases: [dev_orders]}}]
";

/// A small cluster, and an emulator with the instance that `preview` and `dev` share.
pub(crate) struct Cloud {
    pub(crate) served: Served,
    pub(crate) emulator: Emulator,
    pub(crate) storage: dxdr_storage_emulator::Emulator,
    runtime: Runtime,
}

const BUCKET: &str = "---\nkind: BackupStore\nmetadata: {name: primary}\nspec: {gcs: {bucket: b, prefix: velero}}\n";

impl Cloud {
    fn new() -> Self {
        Self::with(None, |_| Served::new())
    }

    /// With a store in the bucket, and a policy by which `preview` is exported.
    pub(crate) fn exporting() -> Self {
        let cloud = Self::with_bucket(None);
        for (database, statement) in [("preview_orders", "create table p (n int)"), ("dev_orders", "create table d (n int)")] {
            assert!(cloud.emulator.execute("dx-nonprod", "shared", database, statement));
        }
        cloud
    }

    /// The same on a real PostgreSQL server, where one is installed.
    pub(crate) fn on_postgresql() -> Option<Self> {
        let installation = Installation::find();
        if installation.is_none() {
            eprintln!("skipped: no PostgreSQL server is installed (Debian: apt-get install postgresql)");
        }
        installation.map(|installation| Self::with_bucket(Some(installation)))
    }

    fn with_bucket(installation: Option<Installation>) -> Self {
        let served = |storage: &dxdr_storage_emulator::Emulator| {
            Served::with_store(Place::with_environment(vec![("STORAGE_EMULATOR_HOST", storage.endpoint())]), BUCKET)
        };
        let cloud = Self::with(installation, served);
        let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: exports}\nspec: {environments: [preview], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: native, store: primary, databases: {method: export, offload: true}, retention: {daily: 7}}\n";
        cloud.served.place.write("policies/policy.yaml", policy);
        cloud.served.create(objects::namespace("preview"));
        cloud.served.create(objects::config_map("preview", "one", "as it was"));
        cloud
    }

    fn with(installation: Option<Installation>, served: impl FnOnce(&dxdr_storage_emulator::Emulator) -> Served) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let storage = runtime.block_on(dxdr_storage_emulator::Emulator::start(Default::default())).unwrap();
        storage.create_bucket("b", dxdr_storage_emulator::Bucket::default());
        let real = installation.is_some();
        let options =
            Options { storage: Some(Storage::Endpoint(storage.endpoint())), postgresql: installation, ..Options::default() };
        let emulator = runtime.block_on(Emulator::start(options)).unwrap();
        if real {
            emulator.create_server("dx-nonprod", "shared", Instance::default()).unwrap();
        } else {
            emulator.create_instance("dx-nonprod", "shared", Instance::default());
        }
        for database in ["preview_orders", "dev_orders"] {
            emulator.create_database("dx-nonprod", "shared", database);
        }
        let served = served(&storage);
        served.place.write("policies/cloud.yaml", ENVIRONMENTS);
        let configuration =
            format!("kubeconfig: kubeconfig\nmanifests: [policies]\ncloudSql: {{endpoint: \"{}\"}}\n", emulator.endpoint());
        served.place.write(".dxdr/config.yaml", &configuration);
        Self { served, emulator, storage, runtime }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.served.run(arguments)
    }

    pub(crate) fn statements(&self, database: &str) -> Vec<String> {
        self.emulator.statements("dx-nonprod", "shared", database).unwrap()
    }

    /// Executes a statement, as a person would.
    pub(crate) fn sql(&self, statement: &str) {
        let instance = InstanceName::new("dx-nonprod", "shared");
        self.runtime.block_on(async {
            let options = dxdr_cloud_sql::Options { endpoint: Some(self.emulator.endpoint()), credentials: None };
            let service = CloudSql::connect(options).await.unwrap();
            service.execute(&instance, "postgres", statement).await.unwrap();
        });
    }

    /// Reads an object into a new database, as a person would, and answers what is in it then.
    fn imported(&self, uri: &str) -> Vec<String> {
        self.emulator.create_database("dx-nonprod", "shared", "proof");
        self.has_done(&InstanceRequest::Import { database: "proof".to_owned(), uri: uri.to_owned() });
        self.statements("proof")
    }

    /// Asks the service for something, as a person would, and waits until it is over.
    pub(crate) fn has_done(&self, request: &InstanceRequest) {
        self.has_done_on("shared", request);
    }

    /// The same on another instance.
    pub(crate) fn has_done_on(&self, instance: &str, request: &InstanceRequest) {
        let instance = InstanceName::new("dx-nonprod", instance);
        self.runtime.block_on(async {
            let options = dxdr_cloud_sql::Options { endpoint: Some(self.emulator.endpoint()), credentials: None };
            let service = CloudSql::connect(options).await.unwrap();
            let operation = service.submit(&instance, request).await.unwrap();
            let ended = async || service.operation("dx-nonprod", &operation).await.unwrap().unwrap().ended;
            while ended().await.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    pub(crate) fn json(&self, arguments: &[&str], code: i32) -> Value {
        let said = self.run(&[arguments, &["--output", "json"]].concat()).exits(code);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
    }
}

#[test]
fn instances_are_listed_with_who_shares_them_and_their_window() {
    let cloud = Cloud::new();
    let page = cloud.json(&["databases", "instances", "preview"], 0);
    let instance = &page["instances"][0];
    assert_eq!((&page["format"], &instance["shared"]), (&"dxdr.io/instances/v1".into(), &true.into()));
    assert_eq!(instance["environments"].as_array().unwrap().len(), 2, "neighbours are shown, too");
    assert!(instance["recoveryWindow"]["earliest"].is_string());
    let said = cloud.run(&["databases", "instances"]).exits(0).stdout;
    assert!(said.contains("projects/dx-nonprod/instances/shared") && said.contains("runnable"), "{said}");
    let none = cloud.json(&["databases", "instances", "staging"], 0);
    assert_eq!(none["instances"], Value::Array(Vec::new()));
}

#[test]
fn what_runs_is_named_with_whose_it_is_and_since_when() {
    let cloud = Cloud::new();
    let name = cloud.emulator.begin_operation("dx-nonprod", "shared", "MAINTENANCE", "system").unwrap();
    let page = cloud.json(&["databases", "operations"], 0);
    let operation = &page["instances"][0]["operations"][0];
    assert_eq!((operation["name"].as_str(), operation["what"].as_str()), (Some(name.as_str()), Some("MAINTENANCE")));
    assert_eq!((operation["user"].as_str(), operation["state"].as_str()), (Some("system"), Some("running")));
    let said = cloud.run(&["databases", "operations"]).exits(0).stdout;
    assert!(said.contains("1 operation runs") && said.contains(&name), "{said}");
    assert_eq!(page["instances"][0]["waiting"], Value::Array(Vec::new()));
}

#[test]
fn without_a_cluster_what_runs_is_shown_all_the_same() {
    let mut cloud = Cloud::new();
    let name = cloud.emulator.begin_operation("dx-nonprod", "shared", "MAINTENANCE", "system").unwrap();
    cloud.served.stop();
    let said = cloud.run(&["databases", "operations"]).exits(0);
    assert!(said.stdout.contains(&name), "{}", said.stdout);
    assert!(said.stderr.contains("who waits is not known"), "{}", said.stderr);
}

#[test]
fn a_check_says_what_is_not_as_the_model_needs_it() {
    let cloud = Cloud::new();
    let page = cloud.json(&["check", "--cloud"], 0);
    assert_eq!((&page["format"], &page["ready"]), (&"dxdr.io/cloud-check/v1".into(), &true.into()));
    cloud.emulator.change_instance("dx-nonprod", "shared", |instance| instance.log = None);
    let policy = "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [preview], objectives: {dataLoss: 2h, recoveryTime: 1h}, engine: native, store: primary, databases: {method: pointInTime}, retention: {daily: 7}}\n";
    cloud.served.place.write("policies/policy.yaml", policy);
    let said = cloud.run(&["check", "--cloud"]).exits(3);
    assert!(said.stdout.contains("its log is not kept"), "{}", said.stdout);
    assert!(said.stdout.contains("--enable-point-in-time-recovery"), "{}", said.stdout);
    cloud.emulator.change_instance("dx-nonprod", "shared", |instance| instance.activation = "NEVER".to_owned());
    let said = cloud.run(&["check", "--cloud"]).exits(3);
    assert!(said.stdout.contains("stopped") && said.stdout.contains("--activation-policy ALWAYS"), "{}", said.stdout);
}

#[test]
fn a_database_is_ready_when_its_instance_is_and_everything_is_looked_at_in_one_place() {
    let cloud = Cloud::exporting();
    let checked = |code: i32| cloud.json(&["databases", "check", "preview"], code);
    let page = checked(0);
    let database = &page["databases"][0];
    assert_eq!((&database["state"], &database["database"]), (&"ready".into(), &"preview_orders".into()));
    assert_eq!((&database["version"], &database["error"]), (&"15".into(), &Value::Null));
    // The same rows, but for those of databases of others. A window ends when it is asked for.
    let rows = |page: &Value| -> Vec<Value> {
        let rows = page["rows"].as_array().unwrap().iter().filter(|row| !row["what"].as_str().unwrap().ends_with("dev_orders"));
        let is_window = |row: &Value| row["what"].as_str().unwrap().ends_with("recovery window");
        rows.map(|row| if is_window(row) { json!([row["what"], row["result"]]) } else { row.clone() }).collect()
    };
    assert_eq!(rows(&page), rows(&cloud.json(&["check", "--cloud"], 0)));
    let result = |page: &Value, what: &str| {
        let mut rows = page["rows"].as_array().unwrap().iter();
        let row = rows.find(|row| row["what"].as_str().unwrap().ends_with(what)).unwrap();
        row["result"].as_str().unwrap().to_owned()
    };
    assert_eq!(result(&page, ": bucket b"), "unknown", "nobody has exported yet");
    let account = format!("serviceAccount:{}", Instance::default().service_account);
    let roles = vec![("roles/storage.objectAdmin".to_owned(), account)];
    cloud.storage.create_bucket("b", dxdr_storage_emulator::Bucket { roles, ..Default::default() });
    assert_eq!(result(&checked(0), ": bucket b"), "ok", "its policy says so");
    cloud.storage.create_bucket("b", dxdr_storage_emulator::Bucket::default());
    cloud.run(&["backup", "now", "preview"]).exits(0);
    assert_eq!(result(&checked(0), ": bucket b"), "ok");

    let refusal = "p123 does not have storage.objects.create access to the Google Cloud Storage object.";
    cloud.emulator.faults().next("export", Failing::Fails("ERROR_RDBMS".to_owned(), refusal.to_owned()));
    cloud.run(&["backup", "now", "preview"]).exits(3);
    let said = cloud.run(&["databases", "check", "preview"]).exits(3);
    assert!(said.stdout.contains("roles/storage.objectAdmin"), "{}", said.stdout);
    assert!(said.stdout.lines().any(|line| line.starts_with("preview") && line.contains("failed")), "{}", said.stdout);
    assert!(cloud.emulator.change_instance("dx-nonprod", "shared", |instance| instance.data_api = false));
    assert_eq!(result(&checked(3), ": statements"), "failed");
    // What is missing of a neighbour's is no failure of this one.
    assert!(cloud.emulator.change_instance("dx-nonprod", "shared", |instance| instance.data_api = true));
    cloud.run(&["backup", "now", "preview"]).exits(0);
    cloud.sql("ALTER DATABASE \"dev_orders\" RENAME TO \"gone\"");
    assert_eq!(checked(0)["databases"][0]["state"], "ready");
    let said = cloud.run(&["databases", "check"]).exits(3);
    assert!(said.stdout.contains("database dev_orders: it is not there"), "{}", said.stdout);
}

#[test]
fn environments_that_share_an_instance_begin_apart_and_are_told_why() {
    let cloud = Cloud::new();
    let policy = |schedule: &str| {
        let policy = format!(
            "apiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {{name: all}}\nspec: {{environments: [preview, dev], objectives: {{dataLoss: 1h, recoveryTime: 1h}}, {schedule}engine: native, store: primary, databases: {{method: export}}, retention: {{daily: 7}}}}\n"
        );
        cloud.served.place.write("policies/policy.yaml", &policy);
    };
    policy("");
    let page = cloud.json(&["environment", "list"], 0);
    let mut environments = page["environments"].as_array().unwrap().iter().filter(|environment| environment["policy"] == "all");
    let (one, other) = (environments.next().unwrap(), environments.next().unwrap());
    assert_ne!(one["schedule"]["cron"], other["schedule"]["cron"]);
    let because = [&one["schedule"]["because"], &other["schedule"]["because"]];
    assert!(because.contains(&&"objective".into()) && because.contains(&&"shared-instance".into()), "{page}");
    let said = cloud.run(&["environment", "list"]).exits(0).stdout;
    assert!(said.contains("which shares shared)"), "{said}");
    let said = cloud.run(&["check", "--cloud"]).exits(0).stdout;
    assert!(said.contains("shared: schedules") && said.contains(", apart from "), "{said}");
    policy("schedule: {cron: \"*/30 * * * *\"}, ");
    let said = cloud.run(&["check", "--cloud"]).exits(0).stdout;
    assert!(said.contains("begin at the same minute, and one waits for the other"), "{said}");
}

#[test]
fn an_instance_that_is_not_there_and_a_service_that_is_not_are_told_apart() {
    let cloud = Cloud::new();
    let manifest = ENVIRONMENTS.replace("dx-nonprod", "other");
    cloud.served.place.write("policies/cloud.yaml", &manifest);
    let said = cloud.run(&["databases", "instances"]).exits(3);
    assert!(said.stderr.contains("cannot look at instance `projects/other/instances/shared`"), "{}", said.stderr);
    assert!(said.stderr.contains("gcloud sql instances list --project other"), "{}", said.stderr);
    let said = cloud.run(&["check", "--cloud"]).exits(3);
    assert!(said.stdout.contains("The Cloud SQL instance does not exist"), "{}", said.stdout);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let configuration = format!("kubeconfig: kubeconfig\nmanifests: [policies]\ncloudSql: {{endpoint: \"{endpoint}\"}}\n");
    cloud.served.place.write(".dxdr/config.yaml", &configuration);
    cloud.run(&["databases", "instances"]).exits(7);
}

/// The object of an export, as the store shows it.
struct InBucket<'a>(&'a dxdr_storage_emulator::Emulator, &'static str);

#[async_trait::async_trait]
impl Made for InBucket<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        Ok(self.0.object_names("b").iter().any(|name| name == self.1))
    }
}

#[test]
fn processes_of_one_run_and_of_another_export_once_each_behind_a_strangers_operation() {
    let cloud = Cloud::new();
    // As the Lease of an environment, which every run holds before it comes to an instance, has it made.
    cloud.served.create(crate::objects::namespace("dxdr-system"));
    let foreign = cloud.emulator.begin_operation("dx-nonprod", "shared", "MAINTENANCE", "system").unwrap();
    let seen = cloud.runtime.block_on(async {
        let cluster = KubernetesCluster::new(kube::Client::new(cloud.served.sandbox.router(), "default"), "sandbox");
        let (cluster, instance): (Arc<dyn Cluster>, _) = (Arc::new(cluster), InstanceName::new("dx-nonprod", "shared"));
        let options = dxdr_cloud_sql::Options { endpoint: Some(cloud.emulator.endpoint()), credentials: None };
        let service: Arc<dyn Instances> = Arc::new(CloudSql::connect(options).await.unwrap());
        let turns = |process: &str| InstanceTurns {
            instances: Arc::clone(&service),
            instance: instance.clone(),
            lease: LedgerLease::new(Arc::clone(&cluster), "dxdr-system", &instance),
            clock: Arc::new(SystemClock),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            process: process.to_owned(),
            first_pause: Duration::from_millis(20),
        };
        let job = |environment: &str, uri: &str| Job {
            id: format!("run-of-{environment}/orders"),
            run: format!("run-of-{environment}"),
            environment: environment.to_owned(),
            priority: Priority::Backup,
            work: Work::Export { uri: uri.to_owned(), offloaded: true },
            deadline: SystemClock.now() + jiff::SignedDuration::from_mins(10),
        };
        let request = |database: &str, uri: &str| InstanceRequest::Export {
            database: database.to_owned(),
            uri: uri.to_owned(),
            offload: true,
        };
        let (one, two, three) = (turns("one"), turns("two"), turns("three"));
        let (preview, dev) = (job("preview", "gs://b/preview.sql.gz"), job("dev", "gs://b/dev.sql.gz"));
        let preview_request = request("preview_orders", "gs://b/preview.sql.gz");
        let dev_request = request("dev_orders", "gs://b/dev.sql.gz");
        let (preview_object, dev_object) = (InBucket(&cloud.storage, "preview.sql.gz"), InBucket(&cloud.storage, "dev.sql.gz"));
        let released = async {
            // Until all of them wait.
            let waiting = async {
                while one.lease.current().await.unwrap().entries.len() < 2 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("both pieces of work wait");
            let before = cloud.emulator.operations_of("EXPORT").len();
            assert!(cloud.emulator.release(&foreign));
            before
        };
        let (first, second, third, before) = futures::join!(
            carry_out(&one, &preview, &preview_request, &preview_object),
            carry_out(&two, &preview, &preview_request, &preview_object),
            carry_out(&three, &dev, &dev_request, &dev_object),
            released,
        );
        (first.unwrap(), second.unwrap(), third.unwrap(), before)
    });
    assert_eq!(seen.3, 0, "nothing is sent while the stranger's operation runs");
    assert_eq!(cloud.emulator.operations_of("EXPORT").len(), 2, "{seen:?}");
    assert_eq!(cloud.storage.object_names("b"), ["dev.sql.gz", "preview.sql.gz"]);
}

#[test]
fn a_point_has_the_export_of_its_database_and_of_no_neighbours() {
    let cloud = Cloud::exporting();
    let plan = cloud.json(&["backup", "now", "preview", "--dry-run"], 0);
    let planned = &plan["databases"][0];
    assert_eq!((&planned["what"], &planned["key"]), (&"export".into(), &"databases/orders.sql.gz".into()));
    let said = cloud.run(&["backup", "now", "preview", "--dry-run"]).exits(0);
    assert!(said.stderr.contains("export of `preview_orders` by projects/dx-nonprod/instances/shared"), "{}", said.stderr);
    assert!(cloud.emulator.operations_of("EXPORT").is_empty() && cloud.storage.object_names("b").is_empty());

    // What a stranger does there is waited for, not refused.
    cloud.emulator.faults().next("export", Failing::Refused(409, "operationInProgress".to_owned()));
    let point = cloud.json(&["backup", "now", "preview"], 0);
    let name = point["name"].as_str().unwrap();
    let listed = cloud.json(&["points", "preview"], 0);
    assert_eq!(listed["points"][0]["state"], "complete");
    let components = listed["points"][0]["components"].as_array().unwrap();
    let export = components.iter().find(|component| component["kind"] == "database").unwrap();
    let object = format!("velero/backups/{name}/databases/orders.sql.gz");
    let url = format!("gs://b/{object}");
    assert_eq!((&export["method"], &export["location"]), (&"export".into(), &url.as_str().into()));
    assert!(export["size"].as_u64().unwrap() > 0 && cloud.storage.object_names("b").contains(&object));
    assert_eq!(cloud.emulator.operations_of("EXPORT").len(), 1);
    assert_eq!(cloud.statements("dev_orders"), ["create table d (n int)"]);
    assert_eq!(cloud.imported(&url), ["create table p (n int)"]);
}

#[test]
fn a_point_whose_database_cannot_be_exported_is_partial_and_says_what_to_do() {
    let cloud = Cloud::exporting();
    let account = "p123-abc@gcp-sa-cloud-sql.iam.gserviceaccount.com does not have storage.objects.create access to the Google Cloud Storage object.";
    cloud.emulator.faults().next("export", Failing::Fails("ERROR_RDBMS".to_owned(), account.to_owned()));
    let said = cloud.run(&["backup", "now", "preview"]).refuses(3);
    for part in [
        "it lacks database orders",
        "does not have storage.objects.create access",
        "gcloud storage buckets add-iam-policy-binding",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    cloud.emulator.faults().next("export", Failing::Refused(403, "notAuthorized".to_owned()));
    let said = cloud.run(&["backup", "now", "preview"]).refuses(3);
    assert!(said.stderr.contains("cloudsql.instances.export"), "{}", said.stderr);
    assert_eq!(cloud.json(&["points", "preview"], 0)["points"][0]["state"], "partial");

    // A store that the service cannot write is known beforehand.
    let store = serde_json::json!({"directory": {"path": cloud.served.store()}});
    std::fs::create_dir(cloud.served.store()).unwrap();
    let store = format!("apiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata: {{name: primary}}\nspec: {store}\n");
    cloud.served.place.write("policies/staging.yaml", &store);
    let said = cloud.run(&["backup", "now", "preview", "--dry-run"]).exits(0);
    assert!(said.stderr.contains("It will lack database orders: Cloud SQL exports into buckets"), "{}", said.stderr);
}

#[test]
fn what_failed_before_a_run_was_resumed_is_exported_again_into_an_object_of_its_own() {
    let cloud = Cloud::exporting();
    // A name that stands for two databases makes units with a slash in their names.
    let two = ENVIRONMENTS.replace("[preview_orders]", "[preview_orders, preview_carts]");
    cloud.served.place.write("policies/cloud.yaml", &two);
    cloud.emulator.create_database("dx-nonprod", "shared", "preview_carts");
    assert!(cloud.emulator.execute("dx-nonprod", "shared", "preview_carts", "create table c (n int)"));
    let full = "the disk is full";
    cloud.emulator.faults().next("export", Failing::Fails("ERROR_RDBMS".to_owned(), full.to_owned()));
    cloud.emulator.faults().next("export", Failing::Held);
    let mut backup = cloud.served.place.command(&["backup", "now", "preview"]);
    let mut backup = backup.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while cloud.emulator.operations_of("EXPORT").len() < 2 {
        assert_eq!(backup.try_wait().unwrap(), None, "it ended without two exports");
        std::thread::sleep(Duration::from_millis(50));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&backup), rustix::process::Signal::TERM).unwrap();
    let ended = backup.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains(full), "{said}");

    let held = cloud.emulator.operations_of("EXPORT").pop().unwrap();
    assert!(cloud.emulator.release(&held));
    let runs = cloud.json(&["runs", "list"], 0);
    cloud.run(&["runs", "resume", runs["runs"][0]["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(cloud.emulator.operations_of("EXPORT").len(), 3, "what failed is asked for again, what did not is not");
    let listed = cloud.json(&["points", "preview"], 0);
    let point = &listed["points"][0];
    assert_eq!(point["state"], "complete");
    let name = point["name"].as_str().unwrap();
    let of_kind = point["components"].as_array().unwrap().iter().filter(|component| component["kind"] == "database");
    let mut locations: Vec<&str> = of_kind.map(|component| component["location"].as_str().unwrap()).collect();
    locations.sort_unstable();
    let folder = format!("gs://b/velero/backups/{name}/databases/orders=2Fpreview_");
    let (again, once) = (format!("{folder}orders.sql.2.gz"), format!("{folder}carts.sql.gz"));
    assert_eq!(locations, [once.as_str(), again.as_str()]);
    assert_eq!(cloud.imported(&again), ["create table p (n int)"]);
}

#[test]
fn a_point_whose_export_took_longer_than_is_promised_is_not_of_one_instant_anywhere() {
    let cloud = Cloud::exporting();
    let policy = std::fs::read_to_string(cloud.served.place.path().join("policies/policy.yaml")).unwrap();
    cloud.served.place.write("policies/policy.yaml", &policy.replace("retention:", "maxSkew: 1s, retention:"));
    cloud.emulator.faults().next("export", Failing::Slow(Duration::from_secs(2)));
    // Nobody knows when the export looked at the database: the point is complete, and may be of two instants.
    let point = cloud.json(&["backup", "now", "preview"], 3);
    assert_eq!(point["state"], "complete");
    let name = point["name"].as_str().unwrap();
    let listed = cloud.json(&["points", "preview"], 0);
    assert_eq!((listed["apart"].as_array().unwrap().len(), &listed["apart"][0]["name"]), (1, &name.into()));
    let restore = ["restore", "preview", "--point", name, "--plan"];
    let said = cloud.run(&restore).refuses(5);
    assert!(said.stderr.contains("is not of one instant") && said.stderr.contains("1s is allowed"), "{}", said.stderr);
    cloud.run(&[&restore[..], &["--max-skew", "1h"]].concat()).exits(0);

    // Under a policy that promises less it is what was promised.
    cloud.served.place.write("policies/policy.yaml", &policy.replace("retention:", "maxSkew: 30s, retention:"));
    assert_eq!(cloud.json(&["points", "preview"], 0)["apart"], Value::Array(Vec::new()));
}

#[test]
fn an_export_outlives_its_process_and_is_taken_up_by_whoever_resumes_the_run() {
    let cloud = Cloud::exporting();
    cloud.emulator.faults().next("export", Failing::Held);
    let mut backup = cloud.served.place.command(&["backup", "now", "preview"]);
    let mut backup = backup.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while cloud.emulator.operations_of("EXPORT").is_empty() {
        assert_eq!(backup.try_wait().unwrap(), None, "it ended without an export");
        std::thread::sleep(Duration::from_millis(50));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&backup), rustix::process::Signal::TERM).unwrap();
    let ended = backup.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains("left to do: export, ") && said.contains("dxdr runs resume"), "{said}");
    assert_eq!(cloud.json(&["points", "preview"], 0)["points"], Value::Array(Vec::new()));

    let [operation] = &cloud.emulator.operations_of("EXPORT")[..] else { panic!("{said}") };
    assert!(cloud.emulator.release(operation));
    let runs = cloud.json(&["runs", "list"], 0);
    cloud.run(&["runs", "resume", runs["runs"][0]["run"].as_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(cloud.json(&["points", "preview"], 0)["points"][0]["state"], "complete");
    assert_eq!(cloud.emulator.operations_of("EXPORT").len(), 1, "it is not asked for again");
}
