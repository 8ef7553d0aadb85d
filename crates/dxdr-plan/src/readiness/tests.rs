use std::collections::BTreeMap;

use dxdr_environment::{DiscoveredKind, EnvironmentName, NamespaceName, ResourceKind, Tier};
use dxdr_policy::{Objectives, ResourceFilters, Retention, S3Location, SecretsPolicy, StoreLocation, VolumePolicy};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::velero::{CredentialObserved, Observed as VeleroObjects};

fn environment() -> Environment {
    let name = EnvironmentName::parse("staging").unwrap();
    Environment::bare(name, NamespaceName::parse("staging").unwrap(), Tier::NonProduction)
}

fn policy(engine: Engine, volumes: VolumeMethod) -> BackupPolicy {
    BackupPolicy {
        name: "all".to_owned(),
        environments: vec![EnvironmentName::parse("staging").unwrap()],
        objectives: Objectives { data_loss: SignedDuration::from_hours(1), recovery_time: SignedDuration::from_hours(1) },
        schedule: None,
        engine,
        store: "primary".to_owned(),
        volumes: VolumePolicy::by(volumes),
        databases: None,
        secrets: SecretsPolicy::default(),
        resources: ResourceFilters::default(),
        max_skew: None,
        retention: Retention::default(),
    }
}

fn store() -> BackupStore {
    let bucket = S3Location { bucket: "dx-backups".to_owned(), prefix: "velero".to_owned(), ..S3Location::default() };
    BackupStore { name: "primary".to_owned(), location: StoreLocation::S3(bucket), velero: None }
}

fn kind(group: &str, plural: &str) -> DiscoveredKind {
    DiscoveredKind {
        kind: ResourceKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: plural.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        },
        verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
        short_names: Vec::new(),
        singular: plural.to_owned(),
        served_versions: vec!["v1".to_owned()],
    }
}

/// Everything as it must be, for a policy with CSI snapshots by either engine.
fn ready() -> Observed {
    let location = json!({
        "metadata": {"name": "default"}, "status": {"phase": "Available"},
        "spec": {"provider": "aws", "objectStorage": {"bucket": "dx-backups", "prefix": "velero"}, "credential": {"name": "cloud", "key": "k"}}
    });
    let deployment = json!({"spec": {"template": {"spec": {"containers": [{"args": ["server", "--features=EnableCSI"]}]}}}});
    Observed {
        cluster: "context `dev`".to_owned(),
        version: Ok("v1.36.3".to_owned()),
        kinds: ["volumesnapshots", "volumesnapshotcontents", "volumesnapshotclasses"]
            .map(|plural| kind("snapshot.storage.k8s.io", plural))
            .into_iter()
            .chain([kind("", "secrets"), kind("", "configmaps")])
            .collect(),
        failed_groups: Vec::new(),
        user: Some("system:serviceaccount:ops:dxdr".to_owned()),
        velero: Ok(Some(VeleroObserved {
            objects: VeleroObjects {
                server_version: Some("v1.18.3".to_owned()),
                plugins: vec!["velero.io/aws".to_owned()],
                schedules: Vec::new(),
                locations: vec![location],
                credentials: BTreeMap::from([("cloud".to_owned(), CredentialObserved::Keys(vec!["k".to_owned()]))]),
                ..VeleroObjects::default()
            },
            asked: true,
            deployment: Some(deployment),
            ..VeleroObserved::default()
        })),
        stores: BTreeMap::from([("primary".to_owned(), seen(Writing::Works, &[]))]),
        snapshot_classes: Ok(vec![class("fast", true, false)]),
        claims: BTreeMap::from([(EnvironmentName::parse("staging").unwrap(), Ok(vec![claim("data", Some("csi.example.org"))]))]),
        rights: Vec::new(),
    }
}

fn seen(writing: Writing, folders: &[&str]) -> StoreObserved {
    let unknown_folders = Ok(folders.iter().map(|&folder| folder.to_owned()).collect());
    StoreObserved { place: "s3://dx-backups".to_owned(), unknown_folders, writing }
}

fn class(name: &str, labelled: bool, default: bool) -> Value {
    let labels = if labelled { json!({"velero.io/csi-volumesnapshot-class": "true"}) } else { json!({}) };
    let annotations = if default { json!({"snapshot.storage.kubernetes.io/is-default-class": "true"}) } else { json!({}) };
    json!({"metadata": {"name": name, "labels": labels, "annotations": annotations}, "driver": "csi.example.org", "deletionPolicy": "Retain"})
}

fn claim(name: &str, driver: Option<&str>) -> ClaimObserved {
    ClaimObserved { name: name.to_owned(), driver: driver.map(str::to_owned) }
}

fn judged(engine: Engine, volumes: VolumeMethod, observed: &Observed) -> Vec<Row> {
    let (environments, policies, stores) = ([environment()], [policy(engine, volumes)], [store()]);
    let model = Model {
        environments: &environments,
        policies: &policies,
        stores: &stores,
        velero_namespace: "velero",
        lease_namespace: "dxdr-system",
    };
    judge(&model, observed)
}

/// The row about something, with Velero and CSI snapshots.
#[track_caller]
fn row(observed: &Observed, what: &str) -> Row {
    let rows = judged(Engine::Velero, VolumeMethod::CsiSnapshot, observed);
    rows.iter().find(|row| row.what == what).unwrap_or_else(|| panic!("no `{what}`: {rows:#?}")).clone()
}

fn velero(observed: &mut Observed) -> &mut VeleroObserved {
    observed.velero.as_mut().unwrap().as_mut().unwrap()
}

#[test]
fn what_is_as_it_must_be_is_good_throughout() {
    for engine in [Engine::Velero, Engine::Native] {
        let rows = judged(engine, VolumeMethod::CsiSnapshot, &ready());
        assert!(rows.iter().all(|row| row.outcome <= Outcome::NotNeeded), "{rows:#?}");
        assert!(rows.len() > 6, "{rows:#?}");
    }
}

#[test]
fn a_folder_that_velero_does_not_know_is_found_before_velero_finds_it() {
    let mut observed = ready();
    observed.stores.insert("primary".to_owned(), seen(Writing::Works, &["reports"]));
    let found = row(&observed, "store primary: folders of Velero's prefix");
    assert_eq!(found.outcome, Outcome::Failed);
    assert!(
        found.remedies[0].contains("aws s3 mv --recursive s3://dx-backups/velero/reports/ s3://dx-backups/elsewhere/reports/")
    );
    // Nobody's backups fail for it where no policy has Velero write there.
    let rows = judged(Engine::Native, VolumeMethod::None, &observed);
    assert!(rows.iter().any(|row| row.what.contains("folders") && row.outcome == Outcome::Warning), "{rows:#?}");
}

#[test]
fn a_store_that_ignores_conditions_or_refuses_writes_is_told() {
    let mut observed = ready();
    observed.stores.insert("primary".to_owned(), seen(Writing::Unconditional, &[]));
    assert_eq!(row(&observed, "store primary: writable").outcome, Outcome::Failed);
    let denied = Trouble { message: "access denied".to_owned(), hints: vec!["grant it".to_owned()], unreachable: true };
    observed.stores.insert("primary".to_owned(), seen(Writing::Refused(denied.clone()), &[]));
    let refused = row(&observed, "store primary: writable");
    assert_eq!((refused.outcome, refused.remedies), (Outcome::Unreachable, vec!["grant it".to_owned()]));
    observed.stores.insert("primary".to_owned(), seen(Writing::NotRemoved("k".to_owned(), denied), &[]));
    assert_eq!(row(&observed, "store primary: writable").outcome, Outcome::Warning);
}

#[test]
fn without_velero_it_depends_on_the_policies_whether_it_is_missed() {
    let observed = Observed { velero: Ok(None), ..ready() };
    assert_eq!(row(&observed, "velero: installation").outcome, Outcome::Failed);
    let rows = judged(Engine::Native, VolumeMethod::CsiSnapshot, &observed);
    let installation = rows.iter().find(|row| row.what == "velero: installation").unwrap();
    assert_eq!(installation.outcome, Outcome::NotNeeded);
}

#[test]
fn a_server_that_is_silent_old_new_or_lacks_a_plugin_is_told() {
    let outcome = |version: Option<&str>| {
        let mut observed = ready();
        velero(&mut observed).objects.server_version = version.map(str::to_owned);
        row(&observed, "velero: server").outcome
    };
    assert_eq!(outcome(None), Outcome::Failed);
    assert_eq!(outcome(Some("v1.13.2")), Outcome::Failed);
    assert_eq!(outcome(Some("v1.19.0")), Outcome::Warning);
    assert_eq!(outcome(Some("main")), Outcome::Warning);
    let mut observed = ready();
    velero(&mut observed).asked = false;
    assert_eq!(row(&observed, "velero: server").outcome, Outcome::Unknown);
    velero(&mut observed).objects.plugins = Vec::new();
    assert_eq!(row(&observed, "velero: plugin velero.io/aws").outcome, Outcome::Failed);
    velero(&mut observed).deployment = Some(json!({}));
    assert_eq!(row(&observed, "velero: feature EnableCSI").outcome, Outcome::Failed);
}

#[test]
fn a_location_must_be_there_available_writable_and_have_its_credential() {
    let what = "velero: location of store primary";
    let with = |change: fn(&mut Value)| {
        let mut observed = ready();
        change(&mut velero(&mut observed).objects.locations[0]);
        observed
    };
    let missing = with(|location| location["spec"]["objectStorage"]["bucket"] = "other".into());
    assert_eq!(row(&missing, what).remedies, ["`dxdr schedule apply` makes it"]);
    let unavailable = with(|location| location["status"] = json!({"phase": "Unavailable", "message": "no such bucket"}));
    assert!(row(&unavailable, what).detail.contains("no such bucket"));
    let read_only = with(|location| location["spec"]["accessMode"] = "ReadOnly".into());
    assert_eq!(row(&read_only, what).outcome, Outcome::Failed);
    let what = "velero: location of store primary: credential";
    let other_key = with(|location| location["spec"]["credential"]["key"] = "other".into());
    assert_eq!(row(&other_key, what).outcome, Outcome::Failed);
    let mut hidden = ready();
    velero(&mut hidden).objects.credentials.insert("cloud".to_owned(), CredentialObserved::Hidden("forbidden".to_owned()));
    assert_eq!(row(&hidden, what).outcome, Outcome::Unknown);
    velero(&mut hidden).objects.credentials.insert("cloud".to_owned(), CredentialObserved::Missing);
    assert_eq!(row(&hidden, what).outcome, Outcome::Failed);
}

#[test]
fn every_driver_in_use_needs_a_class_and_velero_its_label() {
    let what = "snapshots: class for driver csi.example.org";
    let with = |classes: Vec<Value>| Observed { snapshot_classes: Ok(classes), ..ready() };
    assert_eq!(row(&with(Vec::new()), what).outcome, Outcome::Failed);
    let unlabelled = row(&with(vec![class("fast", false, true)]), what);
    assert_eq!(unlabelled.remedies, ["`kubectl label volumesnapshotclass fast velero.io/csi-volumesnapshot-class=true`"]);
    assert_eq!(row(&with(vec![class("fast", true, true), class("slow", true, false)]), what).outcome, Outcome::Warning);
    // Without Velero the label says nothing, and the default decides between two.
    let two = with(vec![class("fast", false, false), class("slow", false, false)]);
    let rows = judged(Engine::Native, VolumeMethod::CsiSnapshot, &two);
    assert_eq!(rows.iter().find(|row| row.what == what).unwrap().outcome, Outcome::Warning);
    let one = with(vec![class("fast", false, true), class("slow", false, false)]);
    let rows = judged(Engine::Native, VolumeMethod::CsiSnapshot, &one);
    assert_eq!(rows.iter().find(|row| row.what == what).unwrap().outcome, Outcome::Good);
    let mut unserved = ready();
    unserved.kinds.clear();
    assert_eq!(row(&unserved, "snapshots: kinds").outcome, Outcome::Failed);
}

#[test]
fn a_claim_without_a_csi_driver_is_never_passed_over() {
    let mut observed = ready();
    observed.claims.insert(EnvironmentName::parse("staging").unwrap(), Ok(vec![claim("old", None)]));
    let native = row(&observed, "velero: VolumeSnapshotLocations");
    assert_eq!(native.outcome, Outcome::Warning);
    assert!(native.detail.contains("staging/old"), "{native:?}");
    let disks = |name: &str| json!({"metadata": {"name": name}, "spec": {"provider": "velero.io/aws"}});
    velero(&mut observed).objects.snapshot_locations = vec![disks("disks"), disks("others")];
    assert!(
        row(&observed, "velero: VolumeSnapshotLocations")
            .detail
            .contains("several VolumeSnapshotLocations of provider `velero.io/aws`: disks, others")
    );
    velero(&mut observed).objects.snapshot_locations = vec![disks("disks")];
    assert_eq!(row(&observed, "velero: VolumeSnapshotLocations").outcome, Outcome::Good);
    let rows = judged(Engine::Native, VolumeMethod::CsiSnapshot, &observed);
    assert!(rows.iter().any(|row| row.outcome == Outcome::Warning && row.detail.contains("staging/old")), "{rows:#?}");
}

#[test]
fn rights_that_are_lacking_are_named_with_the_commands_that_grant_them() {
    let mut observed = ready();
    let (environments, policies, stores) = ([environment()], [policy(Engine::Native, VolumeMethod::None)], [store()]);
    let model = Model {
        environments: &environments,
        policies: &policies,
        stores: &stores,
        velero_namespace: "velero",
        lease_namespace: "dxdr-system",
    };
    let activity = activities(&model, &observed.kinds).into_iter().next().unwrap();
    let answers = activity.rights.iter().map(|right| (right.clone(), Ok(right.resource != "secrets"))).collect();
    observed.rights = vec![(activity.clone(), answers)];
    let lacking = judge(&model, &observed).pop().unwrap();
    assert_eq!(lacking.outcome, Outcome::Unreachable);
    assert_eq!(lacking.detail, "the account lacks list on secrets in namespace `staging`");
    assert_eq!(
        lacking.remedies,
        [
            "`kubectl create role dxdr-backup-list --namespace staging --verb=list --resource=secrets` and `kubectl create rolebinding dxdr-backup-list --namespace staging --role=dxdr-backup-list --serviceaccount=ops:dxdr`"
        ]
    );
    let trouble = Trouble { message: "not served".to_owned(), hints: Vec::new(), unreachable: false };
    observed.rights = vec![(activity.clone(), vec![(activity.rights[0].clone(), Err(trouble))])];
    assert_eq!(judge(&model, &observed).pop().unwrap().outcome, Outcome::Unknown);
}

#[test]
fn a_server_that_does_not_answer_leaves_the_stores_to_be_looked_at() {
    let trouble = Trouble { message: "connection refused".to_owned(), hints: Vec::new(), unreachable: true };
    let rows = judged(Engine::Velero, VolumeMethod::None, &Observed { version: Err(trouble), ..ready() });
    assert_eq!(rows[0].outcome, Outcome::Unreachable);
    assert!(rows[1..].iter().all(|row| row.what.starts_with("store primary")), "{rows:#?}");
}

#[test]
fn a_restore_of_what_velero_backed_up_needs_rights_where_velero_is() {
    let rights = |engine| {
        let (environments, policies) = ([environment()], [policy(engine, VolumeMethod::None)]);
        let (velero_namespace, lease_namespace) = ("velero", "dxdr-system");
        let model = Model { environments: &environments, policies: &policies, stores: &[], velero_namespace, lease_namespace };
        let restore = activities(&model, &ready().kinds).into_iter().find(|activity| activity.role == "restore").unwrap();
        let there = restore
            .rights
            .into_iter()
            .filter(|right| right.namespace.as_deref() == Some("velero") || matches!(right.resource.as_str(), "pods" | "events"));
        there.map(|right| format!("{} {}", right.verb, right.group_resource())).collect::<Vec<_>>()
    };
    assert_eq!(
        rights(Engine::Velero),
        [
            "create configmaps",
            "create restores.velero.io",
            "delete configmaps",
            "delete pods",
            "delete restores.velero.io",
            "get daemonsets.apps",
            "get backups.velero.io",
            "get backupstoragelocations.velero.io",
            "get datadownloads.velero.io",
            "get podvolumerestores.velero.io",
            "get restores.velero.io",
            "list events",
            "list pods",
            "list datadownloads.velero.io",
            "list podvolumerestores.velero.io",
            "list restores.velero.io",
            "patch configmaps",
            "update datadownloads.velero.io",
            "update podvolumerestores.velero.io",
            "update restores.velero.io",
            "watch restores.velero.io",
        ]
    );
    assert_eq!(rights(Engine::Native), [""; 0]);
}

#[test]
fn a_restore_of_volumes_needs_what_stands_for_their_snapshots() {
    let contents = |volumes| {
        let (environments, policies) = ([environment()], [policy(Engine::Velero, volumes)]);
        let (velero_namespace, lease_namespace) = ("velero", "dxdr-system");
        let model = Model { environments: &environments, policies: &policies, stores: &[], velero_namespace, lease_namespace };
        let restore = activities(&model, &ready().kinds).into_iter().find(|activity| activity.role == "restore").unwrap();
        let contents = restore.rights.into_iter().filter(|right| right.resource == "volumesnapshotcontents");
        contents.filter(|right| right.namespace.is_none()).map(|right| right.verb).collect::<Vec<_>>()
    };
    assert_eq!(contents(VolumeMethod::CsiSnapshot), ["create", "delete", "get", "list"]);
    assert_eq!(contents(VolumeMethod::None), [""; 0]);
}
