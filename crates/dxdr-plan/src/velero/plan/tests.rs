use dxdr_environment::{EnvironmentName, NamespaceName, ObjectState, Tier};
use dxdr_policy::{
    Objectives, ResourceFilters, Retention, S3Location, Schedule, SecretsPolicy, SnapshotLocation, StoreLocation, VeleroLocation,
    VolumeMethod, VolumePolicy,
};
use jiff::SignedDuration;
use serde_json::json;

use super::*;

mod definitions;

struct Model {
    environments: Vec<Environment>,
    policies: Vec<BackupPolicy>,
    stores: Vec<BackupStore>,
}

impl Model {
    fn of(names: &[&str]) -> Self {
        let named = |name: &&str| EnvironmentName::parse(name).unwrap();
        let bare = |name: &&str| Environment::bare(named(name), NamespaceName::parse(name).unwrap(), Tier::NonProduction);
        let policy = BackupPolicy {
            name: "all".to_owned(),
            environments: names.iter().map(named).collect(),
            objectives: Objectives { data_loss: SignedDuration::from_hours(1), recovery_time: SignedDuration::from_hours(1) },
            schedule: Some(Schedule::parse("5 * * * *", None).unwrap()),
            engine: Engine::Velero,
            store: "primary".to_owned(),
            volumes: VolumePolicy::by(VolumeMethod::CsiSnapshot),
            databases: None,
            secrets: SecretsPolicy::default(),
            resources: ResourceFilters::default(),
            max_skew: None,
            retention: Retention { daily: 14, ..Retention::default() },
        };
        let bucket = S3Location { bucket: "dx-backups".to_owned(), prefix: "velero".to_owned(), ..S3Location::default() };
        Self {
            environments: names.iter().map(bare).collect(),
            policies: vec![policy],
            stores: vec![BackupStore { name: "primary".to_owned(), location: StoreLocation::S3(bucket), velero: None }],
        }
    }

    fn plan(&self, observed: &Observed) -> SchedulePlan {
        self.plan_for(false, observed)
    }

    fn plan_for(&self, standby: bool, observed: &Observed) -> SchedulePlan {
        let Self { environments, policies, stores } = self;
        plan(&SchedulesRequest { environments, policies, stores, namespace: "velero", standby }, observed)
    }
}

fn server() -> Observed {
    Observed {
        server_version: Some("v1.18.3".to_owned()),
        plugins: vec!["velero.io/aws".to_owned(), "velero.io/pod".to_owned()],
        ..Observed::default()
    }
}

/// What a server shows after everything was applied and Velero has had its way with it.
fn applied(plan: &SchedulePlan) -> Observed {
    let mut observed = server();
    for object in &plan.objects {
        let mut live = object.desired.value.clone();
        if object.desired.reference.kind == schedules() {
            live["status"] = json!({"phase": "Enabled"});
            live["spec"]["skipImmediately"] = false.into();
            live["spec"]["template"]["hooks"] = json!({});
            observed.schedules.push(live);
        } else {
            live["status"] = json!({"phase": "Available"});
            observed.locations.push(live);
        }
    }
    observed
}

fn texts(plan: &SchedulePlan) -> Vec<&str> {
    plan.notes.iter().map(|note| note.text.as_str()).collect()
}

#[test]
fn a_hundred_environments_are_applied_once_and_then_there_is_nothing_to_do() {
    let names: Vec<String> = (0..100).map(|number| format!("team-{number}")).collect();
    let model = Model::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let first = model.plan(&server());
    assert_eq!(first.objects.len(), 101);
    assert_eq!(first.objects[0].desired.reference.to_string(), "backupstoragelocations.velero.io velero/primary");
    assert!(first.objects.iter().all(|object| object.state == ObjectState::Missing) && !first.nothing_to_do());
    let second = model.plan(&applied(&first));
    assert!(second.nothing_to_do(), "{:?}", second.objects.iter().find(|object| object.state != ObjectState::Same));
    assert_eq!(texts(&second), Vec::<&str>::new());
}

#[test]
fn two_stores_whose_location_nobody_can_tell_apart_are_refused() {
    let mut model = Model::of(&["staging", "production"]);
    let at = |name: &str, endpoint: &str| {
        let bucket = S3Location {
            bucket: "dx-backups".to_owned(),
            prefix: "velero".to_owned(),
            endpoint: Some(endpoint.to_owned()),
            ..S3Location::default()
        };
        BackupStore { name: name.to_owned(), location: StoreLocation::S3(bucket), velero: None }
    };
    model.stores = vec![at("primary", "https://a.example"), at("secondary", "https://b.example")];
    let secondary = model.policies[0].environments.pop().unwrap();
    model.policies.push(BackupPolicy {
        environments: vec![secondary],
        store: "secondary".to_owned(),
        ..model.policies[0].clone()
    });
    let first = model.plan(&server());
    assert_eq!(first.refusals().count(), 0);
    assert!(model.plan(&applied(&first)).nothing_to_do());

    let spec = json!({"provider": "aws", "objectStorage": {"bucket": "dx-backups", "prefix": "velero"}, "config": {"s3Url": "http://inside"}});
    let theirs = Observed { locations: vec![json!({"metadata": {"name": "default"}, "spec": spec})], ..server() };
    let refused = |model: &Model| model.plan(&theirs).refusals().map(|note| note.text.clone()).collect::<Vec<_>>();
    assert_eq!(
        refused(&model),
        ["BackupStores primary, secondary have one bucket name and prefix, and location `default` may be any one's"]
    );
    for (store, name) in [(0, "default"), (1, "secondary")] {
        model.stores[store].velero = Some(VeleroLocation { name: name.to_owned(), ..VeleroLocation::default() });
    }
    assert_eq!(refused(&model), [""; 0]);
}

#[test]
fn what_somebody_changed_is_shown_field_by_field() {
    let model = Model::of(&["staging"]);
    let mut observed = applied(&model.plan(&server()));
    observed.schedules[0]["spec"]["template"]["ttl"] = "1h0m0s".into();
    let plan = model.plan(&observed);
    let ObjectState::Differs(differences) = &plan.objects[1].state else { panic!("{:?}", plan.objects[1].state) };
    assert_eq!(differences.iter().map(|difference| difference.path.to_string()).collect::<Vec<_>>(), ["spec.template.ttl"]);
}

#[test]
fn a_schedule_of_ours_that_nothing_asks_for_is_left_over_and_one_of_others_is_left_alone() {
    let mut observed = applied(&Model::of(&["staging", "gone"]).plan(&server()));
    let theirs = json!({"metadata": {"name": "nightly"}, "spec": {"schedule": "0 1 * * *", "template": {"includedNamespaces": ["other"]}}});
    observed.schedules.push(theirs);
    observed.schedules.push(json!({"metadata": {"name": "everything"}, "spec": {"template": {}}}));
    let plan = Model::of(&["staging"]).plan(&observed);
    assert_eq!(plan.orphaned.iter().map(ToString::to_string).collect::<Vec<_>>(), ["schedules.velero.io velero/dxdr-gone"]);
    assert_eq!(plan.foreign, [("nightly".to_owned(), vec!["other".to_owned()]), ("everything".to_owned(), vec![])]);
    assert_eq!(texts(&plan), ["Schedule `everything`, which is not dxdr's, backs up namespace staging, too"]);
}

#[test]
fn a_server_that_is_too_old_or_does_not_answer_or_lacks_the_plugin_is_told() {
    let model = Model::of(&["staging"]);
    let old = Observed { server_version: Some("v1.13.2".to_owned()), ..server() };
    assert_eq!(model.plan(&old).refusals().count(), 1);
    let silent = Observed::default();
    assert!(texts(&model.plan(&silent))[0].starts_with("no Velero server answers"));
    let without = Observed { plugins: vec!["velero.io/pod".to_owned()], ..server() };
    assert!(texts(&model.plan(&without))[0].contains("lacks the plugin velero.io/aws"));
}

#[test]
fn a_server_that_reads_schedules_otherwise_is_told_of_or_refused() {
    let mut model = Model::of(&["staging"]);
    let of = |version: &str| Observed { server_version: Some(version.to_owned()), ..server() };
    let expression = |plan: &SchedulePlan| plan.objects[1].desired.value["spec"]["schedule"].clone();
    let plan = model.plan(&of("v1.14.1"));
    assert_eq!((plan.refusals().count(), expression(&plan)), (0, json!("5 * * * *")));
    assert!(texts(&plan)[0].starts_with("Velero v1.14.1 reads schedules in its own time zone"));
    let plan = model.plan(&of("v1.15.0"));
    assert_eq!((texts(&plan).len(), expression(&plan)), (0, json!("CRON_TZ=UTC 5 * * * *")));

    model.policies[0].schedule = Some(Schedule::parse("30 2 * * *", Some("Europe/Berlin")).unwrap());
    let refused = model.plan(&of("v1.14.1"));
    let refusals: Vec<&str> = refused.refusals().map(|note| note.text.as_str()).collect();
    assert_eq!(refusals, ["policy `all`: Velero v1.14.1 refuses a schedule that names a time zone"]);
    let told = ["policy `all`: this version of Velero does not fire in the hour that spring takes away"];
    assert_eq!(texts(&model.plan(&of("v1.17.2"))), told);
    assert_eq!(texts(&model.plan(&of("v1.18.3"))), [""; 0]);
}

#[test]
fn what_snapshots_need_is_part_of_it_where_a_policy_takes_them() {
    let mut model = Model::of(&["staging"]);
    let class = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "fast"},
        "driver": "csi.example.org"
    });
    let location = |name: &str| json!({"metadata": {"name": name}, "spec": {"provider": "velero.io/aws"}});
    let observed = Observed {
        drivers: ["csi.example.org".to_owned()].into(),
        snapshot_classes: vec![class.clone()],
        snapshot_locations: vec![location("a"), location("b")],
        ..server()
    };
    let first = model.plan(&observed);
    assert_eq!(first.objects[1].desired.reference.to_string(), "volumesnapshotclasses.snapshot.storage.k8s.io fast");
    assert_eq!(texts(&first), ["there are several VolumeSnapshotLocations of provider `velero.io/aws`: a, b"]);
    let mut labelled = class.clone();
    labelled["metadata"]["labels"] = json!({"velero.io/csi-volumesnapshot-class": "true"});
    let second = model.plan(&Observed { snapshot_classes: vec![labelled], ..observed.clone() });
    assert!(second.objects[1].is_same());
    let none = model.plan(&Observed { snapshot_classes: Vec::new(), snapshot_locations: Vec::new(), ..observed.clone() });
    assert!(texts(&none)[0].starts_with("no VolumeSnapshotClass is of driver csi.example.org"));
    model.policies[0].volumes = VolumePolicy::by(VolumeMethod::None);
    let without = model.plan(&observed);
    assert_eq!((without.objects.len(), texts(&without).len()), (2, 0));
}

#[test]
fn snapshot_locations_that_a_store_names_are_made_and_backups_name_them() {
    let mut model = Model::of(&["staging"]);
    let location = SnapshotLocation {
        name: "default".to_owned(),
        provider: "aws".to_owned(),
        config: [("region".to_owned(), "eu-central-1".to_owned())].into(),
        credential: None,
    };
    let velero = |location: &SnapshotLocation| VeleroLocation {
        name: "primary".to_owned(),
        snapshot_locations: vec![location.clone()],
        ..VeleroLocation::default()
    };
    model.stores[0].velero = Some(velero(&location));
    let other = |name: &str| json!({"metadata": {"name": name}, "spec": {"provider": "velero.io/aws"}});
    let mut observed = Observed { snapshot_locations: vec![other("a"), other("b")], ..server() };
    let first = model.plan(&observed);
    let kinds: Vec<&str> = first.objects.iter().map(|object| object.desired.reference.kind.kind.as_str()).collect();
    assert_eq!(kinds, ["BackupStorageLocation", "VolumeSnapshotLocation", "Schedule"]);
    assert_eq!(first.objects[2].desired.value["spec"]["template"]["volumeSnapshotLocations"], json!(["default"]));
    // Others of the provider are in nobody's way.
    assert_eq!(texts(&first), [""; 0]);
    observed.snapshot_locations.push(first.objects[1].desired.value.clone());
    assert!(model.plan(&observed).objects[1].is_same());

    let mut second = model.stores[0].clone();
    "second".clone_into(&mut second.name);
    second.location = StoreLocation::S3(S3Location { bucket: "other".to_owned(), ..S3Location::default() });
    second.velero = Some(VeleroLocation {
        name: "second".to_owned(),
        ..velero(&SnapshotLocation { config: Default::default(), ..location })
    });
    model.stores.push(second);
    let mut policy = model.policies[0].clone();
    "second".clone_into(&mut policy.store);
    model.policies.push(policy);
    assert!(model.plan(&observed).refusals().any(|note| note.text.contains("is declared twice, and differently")));
}

#[test]
fn a_secret_that_is_missing_or_lacks_the_key_is_told_before_velero_stumbles_over_it() {
    let mut model = Model::of(&["staging"]);
    let credential = Some(("cloud".to_owned(), "key".to_owned()));
    model.stores[0].velero = Some(VeleroLocation { name: "default".to_owned(), credential, ..VeleroLocation::default() });
    let with = |found| Observed { credentials: [("cloud".to_owned(), found)].into(), ..server() };
    assert!(texts(&model.plan(&with(CredentialObserved::Missing)))[0].contains("is not there"));
    let other = CredentialObserved::Keys(vec!["other".to_owned()]);
    assert!(texts(&model.plan(&with(other)))[0].contains("lacks the key `key`"));
    let right = CredentialObserved::Keys(vec!["key".to_owned()]);
    assert_eq!(texts(&model.plan(&with(right))), [""; 0]);
}

#[test]
fn two_locations_of_the_same_place_are_told_of() {
    let model = Model::of(&["staging"]);
    let mut observed = applied(&model.plan(&server()));
    let mut other = observed.locations[0].clone();
    other["metadata"] = json!({"name": "another"});
    observed.locations.insert(0, other);
    let plan = model.plan(&observed);
    assert!(plan.nothing_to_do());
    assert!(texts(&plan)[0].contains("`primary` is used; there is also `another`"), "{:?}", texts(&plan));
}

#[test]
fn a_store_where_velero_cannot_write_is_refused() {
    let mut model = Model::of(&["staging"]);
    model.stores[0].location = StoreLocation::Directory { path: "/backups".into() };
    let plan = model.plan(&server());
    assert!(plan.objects.is_empty());
    assert_eq!(plan.refusals().count(), 1);
}

#[test]
fn policies_of_the_native_engine_are_not_velero_s_business() {
    let mut model = Model::of(&["staging"]);
    model.policies[0].engine = Engine::Native;
    let plan = model.plan(&server());
    assert!(plan.objects.is_empty() && plan.nothing_to_do());
    assert_eq!(texts(&plan), ["no policy has `engine: velero`"]);
}

#[test]
fn on_a_cluster_that_stands_by_nothing_fires_and_nothing_is_deleted() {
    let model = Model::of(&["staging"]);
    let decided = |plan: &SchedulePlan| -> Vec<Value> {
        let spec = |object: &PlannedObject| {
            let spec = &object.desired.value["spec"];
            spec.get("paused").or(spec.get("accessMode")).unwrap().clone()
        };
        plan.objects.iter().map(spec).collect()
    };
    let standby = model.plan_for(true, &server());
    assert_eq!(decided(&standby), [json!("ReadOnly"), json!(true)]);
    let active = model.plan(&server());
    assert_eq!(decided(&active), [json!("ReadWrite"), json!(false)]);
    assert_eq!(texts(&model.plan_for(true, &applied(&standby))), [""; 0]);

    // It becomes the one that backs up.
    let taken_over = model.plan(&applied(&standby));
    let paths = taken_over.objects.iter().map(|object| match &object.state {
        ObjectState::Differs(differences) => differences.iter().map(|difference| difference.path.to_string()).collect(),
        other => panic!("{other:?}"),
    });
    assert_eq!(paths.collect::<Vec<Vec<String>>>(), [["spec.accessMode"], ["spec.paused"]]);
    assert_eq!(texts(&taken_over), ["location `primary` is read-only, so that every backup to it fails"]);

    // Somebody else's location is not made read-only.
    let mut theirs = applied(&active);
    theirs.locations[0]["metadata"] = json!({"name": "default"});
    let standby = model.plan_for(true, &theirs);
    assert_eq!(texts(&standby), ["location `default` is not dxdr's, and stays as writable as it is"]);
    assert_eq!(standby.objects.len(), 1);
}

/// A server that does not answer, with what it has left.
fn silent(image: Option<&str>, schedules: Vec<Value>) -> Observed {
    let container = |image| json!({"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "proxy:v1.18.3"}, {"name": "velero", "image": image}]}}}});
    Observed { deployment: image.map(container), schedules, ..Observed::default() }
}

/// A Schedule of ours, as its server has left it.
fn left(name: &str, expression: &str, status: &Value) -> Value {
    let labels = json!({"app.kubernetes.io/managed-by": "dxdr", "dxdr.io/environment": name});
    json!({"metadata": {"name": format!("dxdr-{name}"), "labels": labels}, "spec": {"schedule": expression}, "status": status})
}

fn spelled(plan: &SchedulePlan) -> (&str, &str) {
    let schedule = plan.objects.iter().find(|object| object.desired.reference.kind == schedules()).unwrap();
    let because = plan.notes.iter().find(|note| note.text.starts_with("schedules ")).map_or("", |note| note.text.as_str());
    (schedule.desired.value["spec"]["schedule"].as_str().unwrap(), because)
}

#[test]
fn a_server_that_does_not_answer_gets_the_spelling_that_its_image_reads() {
    let model = Model::of(&["staging"]);
    let image = |image: &str| spelled(&model.plan(&silent(Some(image), Vec::new()))).0.to_owned();
    assert_eq!(image("velero/velero:v1.14.1"), "5 * * * *");
    assert_eq!(image("registry.example.org:5000/velero:v1.14.1@sha256:0f"), "5 * * * *");
    assert_eq!(image("velero/velero:v1.16.2"), "CRON_TZ=UTC 5 * * * *");
    let plan = model.plan(&silent(Some("velero/velero:v1.14.1"), Vec::new()));
    let told = "schedules are written without their time zone, as the Velero of image `velero/velero:v1.14.1` reads them, which its Deployment has";
    assert_eq!((spelled(&plan).1, plan.version), (told, None));
    let old = model.plan(&silent(Some("velero/velero:v1.13.2"), Vec::new()));
    assert_eq!(old.refusals().count(), 1, "{:?}", texts(&old));
    // Nothing of that kind says what the server is, so that the newest is hoped for, and that is said.
    for image in [None, Some("velero/velero:main"), Some("registry.example.org:5000/velero"), Some("velero@sha256:0f")] {
        let plan = model.plan(&silent(image, Vec::new()));
        let told = "schedules name their time zone, which Velero reads from v1.15 on: nobody knows what the server reads";
        assert_eq!(spelled(&plan), ("CRON_TZ=UTC 5 * * * *", told), "{image:?}");
    }
    // A server that answers is believed, whatever is written elsewhere.
    let answers = Observed { server_version: Some("v1.18.3".to_owned()), ..silent(Some("velero/velero:v1.14.1"), Vec::new()) };
    assert_eq!(spelled(&model.plan(&answers)), ("CRON_TZ=UTC 5 * * * *", ""));
}

#[test]
fn what_is_known_of_no_version_is_spelled_as_the_schedules_that_are_there() {
    let enabled = json!({"phase": "Enabled"});
    let refused = json!({"phase": "FailedValidation", "validationErrors": ["invalid schedule: Expected 5 fields"]});
    let elsewhere = json!({"phase": "FailedValidation", "validationErrors": ["a BSL with name x doesn't exist"]});
    let (plain, zoned) = ("5 * * * *", "CRON_TZ=UTC 5 * * * *");
    let mut model = Model::of(&["staging"]);
    let with = |model: &Model, live: &[(&str, &Value)]| {
        let live = live.iter().enumerate().map(|(number, (expression, status))| left(&format!("e{number}"), expression, status));
        model.plan(&silent(None, live.collect()))
    };
    let (fires, there) = ("is, which the server has accepted", "is: nobody knows what the server reads");
    for (live, expression, because) in [
        (vec![(plain, &enabled)], plain, fires),
        (vec![(plain, &enabled), (zoned, &enabled)], zoned, "as Schedule `dxdr-e1` is, which the server has accepted"),
        (vec![(zoned, &refused)], plain, "since the server has refused Schedule `dxdr-e0`, which names one"),
        (vec![(zoned, &enabled), (zoned, &refused)], plain, "since the server has refused Schedule `dxdr-e1`, which names one"),
        (vec![(zoned, &elsewhere)], zoned, there),
        (vec![(plain, &Value::Null)], plain, there),
    ] {
        let plan = with(&model, &live);
        assert!(spelled(&plan).0 == expression && spelled(&plan).1.ends_with(because), "{live:?}: {:?}", spelled(&plan));
    }
    // Others' say nothing of ours: they may be older than what reads them.
    let mut theirs = left("nightly", plain, &enabled);
    theirs["metadata"]["labels"] = json!({});
    assert_eq!(spelled(&model.plan(&silent(None, vec![theirs]))).0, zoned);
    // So does a build that has no number.
    let main = Observed { server_version: Some("main".to_owned()), ..silent(None, vec![left("e", plain, &enabled)]) };
    assert_eq!(spelled(&model.plan(&main)).0, plain);

    model.policies[0].schedule = Some(Schedule::parse("30 2 * * *", Some("Europe/Berlin")).unwrap());
    let refusing = with(&model, &[(plain, &enabled)]);
    let refusals: Vec<&str> = refusing.refusals().map(|note| note.text.as_str()).collect();
    assert_eq!(refusals, ["policy `all`: as far as is known, Velero refuses a schedule that names a time zone"]);
    assert_eq!(with(&model, &[(zoned, &enabled)]).refusals().count(), 0);
}
