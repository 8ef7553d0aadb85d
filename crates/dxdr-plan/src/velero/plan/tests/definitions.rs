//! What is written for Velero, held against the definitions of the oldest version that is supported: whatever these do not know, a server
//! drops without a word.

use dxdr_environment::DesiredObject;
use dxdr_policy::GcsLocation;

use super::*;
use crate::{
    restore::{Executor, Existing, FileCopies, RestorePlanner, RestoreRequest, Target, VeleroVolume, Volumes},
    velero::{backup_plan, restore_of_everything, restore_of_files, restore_of_volumes},
};

/// Fields and types of each kind's `spec`.
fn definitions() -> Value {
    serde_json::from_str(include_str!("velero-1.14.json")).unwrap()
}

/// Where `value` is not what `schema` allows.
fn problems(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let fits = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        _ => true,
    };
    if !fits {
        return vec![format!("{path}: {value} is no {}", schema["type"])];
    }
    let mut found = Vec::new();
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        found.push(format!("{path}: {value} is none of {allowed:?}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}.{name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match schema["properties"].get(name).or(schema.get("additionalProperties")) {
            Some(schema) => found.extend(problems(schema, value, &path)),
            None if schema["free"] == true => {}
            None => found.push(format!("{path} is not known")),
        }
    }
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(problems(&schema["items"], value, &format!("{path}[{number}]")));
    }
    found
}

fn assert_known(object: &DesiredObject) {
    let kind = object.value["kind"].as_str().unwrap();
    assert_eq!(object.value["apiVersion"], "velero.io/v1");
    assert_eq!(problems(&definitions()[kind], &object.value["spec"], kind), [""; 0], "{:#}", object.value);
}

/// A model that uses every field that can be.
fn everything() -> Model {
    let mut model = Model::of(&["staging"]);
    let some = || vec!["some".to_owned()];
    model.policies[0].resources = ResourceFilters {
        included: some(),
        excluded: some(),
        included_cluster_scoped: some(),
        excluded_cluster_scoped: some(),
        included_namespace_scoped: some(),
        excluded_namespace_scoped: some(),
        include_cluster_resources: Some(true),
    };
    model.policies[0].volumes.method = VolumeMethod::DataMover;
    if let StoreLocation::S3(bucket) = &mut model.stores[0].location {
        bucket.endpoint = Some("https://s3.example.org".to_owned());
        bucket.region = Some("eu-central-1".to_owned());
        bucket.kms_key = Some("key".to_owned());
        bucket.profile = Some("backups".to_owned());
        bucket.force_path_style = true;
        bucket.certificate_authority = Some("-----BEGIN CERTIFICATE-----".to_owned());
    }
    let credential = Some(("cloud-credentials".to_owned(), "cloud".to_owned()));
    let snapshots = SnapshotLocation {
        name: "default".to_owned(),
        provider: "aws".to_owned(),
        config: [("region".to_owned(), "eu-central-1".to_owned())].into(),
        credential: credential.clone(),
    };
    model.stores[0].velero = Some(VeleroLocation { name: "primary".to_owned(), credential, snapshot_locations: vec![snapshots] });
    model
}

#[test]
fn every_field_of_schedules_locations_and_backups_is_in_the_definitions_of_1_14() {
    let model = everything();
    for standby in [false, true] {
        let plan = model.plan_for(standby, &Observed::default());
        assert_eq!(plan.objects.len(), 3);
        plan.objects.iter().for_each(|object| assert_known(&object.desired));
    }
    let (environment, policy) = (&model.environments[0], &model.policies[0]);
    let asked = backup_plan(
        environment,
        policy,
        (&model.stores[0], "primary"),
        (Vec::new(), true),
        "velero",
        "2024-05-01T10:00:00Z".parse().unwrap(),
        7,
    );
    assert_known(&asked.object);

    let mut google = Model::of(&["staging"]);
    google.stores[0].location = StoreLocation::Gcs(GcsLocation {
        bucket: "dx-backups".to_owned(),
        prefix: "velero".to_owned(),
        kms_key: Some("key".to_owned()),
    });
    assert_known(&google.plan(&Observed::default()).objects[0].desired);
}

#[test]
fn every_field_of_restores_is_in_the_definitions_of_1_14() {
    let request = RestoreRequest {
        environment: EnvironmentName::parse("staging").unwrap(),
        point: "staging-20240501t100000z-x7k2v".to_owned(),
        instant: "2024-05-01T10:00:00Z".parse().unwrap(),
        source_namespace: "staging".to_owned(),
        target: Target::Beside { namespace: "copy".to_owned() },
        existing: Existing::Update,
        prune: false,
        include: vec!["configmaps".to_owned()],
        exclude: vec!["secrets".to_owned()],
        executor: Executor::Velero,
        volumes: Volumes::Captured,
        storage_classes: std::collections::BTreeMap::default(),
    };
    assert_known(&restore_of_everything(&request, "a-run", "velero"));
    let mut plan = RestorePlanner::new(request, None, None).unwrap().finish();
    let claim = ObjectReference { kind: crate::velero::backups(), namespace: None, name: "data".to_owned() };
    let labels = [("app".to_owned(), "db".to_owned())].into_iter().collect();
    let class = Some(("gp2".to_owned(), "gp3".to_owned()));
    plan.through_velero.push(VeleroVolume { claim, method: "data-mover".to_owned(), instant: plan.instant, labels, class });
    let limited = restore_of_volumes(&plan, "a-run", "velero").restore;
    assert!(limited.value["spec"].get("resourceModifier").is_some());
    assert!(limited.value["spec"].get("orLabelSelectors").is_some());
    assert_known(&limited);
    let copies = FileCopies { claims: Vec::new(), pods: Vec::new(), selectors: [plan.through_velero[0].labels.clone()].into() };
    let of_files = restore_of_files(&plan, &copies, "a-run", "velero").restore;
    assert!(of_files.value["spec"].get("orLabelSelectors").is_some());
    assert_known(&of_files);
}

#[test]
fn a_field_that_is_not_known_or_of_another_type_is_found() {
    let schema = &definitions()["BackupStorageLocation"];
    let location =
        json!({"provider": "aws", "objectStorage": {"bucket": 1, "x": ""}, "accessMode": "Sometimes", "config": {"a": "b"}});
    assert_eq!(
        problems(schema, &location, "location"),
        [
            "location.accessMode: \"Sometimes\" is none of [String(\"ReadOnly\"), String(\"ReadWrite\")]",
            "location.objectStorage.bucket: 1 is no \"string\"",
            "location.objectStorage.x is not known"
        ]
    );
    assert_eq!(problems(schema, &json!({"provider": "aws"}), "location"), ["location.objectStorage is missing"]);
}
