//! A store as a BackupStorageLocation of Velero.
//!
//! Two locations of one prefix would both delete what expires, and Velero would see every backup twice. So a location that is there
//! already is taken, whatever it is called, and only where none is, one is made.

use dxdr_environment::{ObjectReference, compile::DesiredObject};
use dxdr_policy::{BackupStore, StoreLocation};
use serde_json::{Map, Value, json};

use super::storage_locations;

/// Where a store is for Velero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Settled {
    /// A location of somebody else's, by name; and what about it is not as the store says: field, found, expected.
    Theirs { name: String, differences: Vec<(String, String, String)> },
    /// Ours, there or not.
    Ours(DesiredObject),
    /// The name is taken by a location of another bucket, which is named.
    Taken { name: String, by: String },
    /// The store names a location, and this other one is for the same bucket and prefix.
    Twice { name: String, there: String },
    /// Velero cannot write there.
    NotForVelero,
}

/// What Velero calls a place in a bucket.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    /// `aws`, `gcp`; `velero.io/aws` is the same one.
    provider: &'a str,
    bucket: &'a str,
    prefix: &'a str,
}

impl<'a> Place<'a> {
    fn of_store(store: &'a BackupStore) -> Option<Self> {
        match &store.location {
            StoreLocation::S3(location) => Some(Self { provider: "aws", bucket: &location.bucket, prefix: &location.prefix }),
            StoreLocation::Gcs(location) => Some(Self { provider: "gcp", bucket: &location.bucket, prefix: &location.prefix }),
            StoreLocation::Directory { .. } => None,
        }
    }

    fn of_live(live: &'a Value) -> Option<Self> {
        let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
        let provider = text("/spec/provider")?;
        Some(Self {
            provider: provider.strip_prefix("velero.io/").unwrap_or(provider),
            bucket: text("/spec/objectStorage/bucket")?,
            prefix: text("/spec/objectStorage/prefix").unwrap_or_default().trim_matches('/'),
        })
    }

    fn text(&self) -> String {
        format!("{} bucket {}, prefix `{}`", self.provider, self.bucket, self.prefix)
    }
}

/// The plugin that a server needs for a location of this provider.
pub(crate) fn plugin(store: &BackupStore) -> Option<String> {
    Place::of_store(store).map(|place| format!("velero.io/{}", place.provider))
}

/// Finds or makes the location of `store` among `live`, all locations of `namespace`.
pub(crate) fn settle(store: &BackupStore, live: &[Value], namespace: &str, read_only: bool) -> Settled {
    let Some(place) = Place::of_store(store) else { return Settled::NotForVelero };
    let name_of = |live: &Value| live.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours =
        |live: &Value| live.pointer("/metadata/labels/app.kubernetes.io~1managed-by").and_then(Value::as_str) == Some("dxdr");
    let same_place = live.iter().find(|live| Place::of_live(live).as_ref() == Some(&place));
    // One of ours keeps its name when the store's changes: backups refer to it.
    let name = match (&store.velero, same_place) {
        (Some(named), Some(there)) if named.name != name_of(there) => {
            return Settled::Twice { name: named.name.clone(), there: name_of(there) };
        }
        (_, Some(there)) if !ours(there) => {
            return Settled::Theirs { name: name_of(there), differences: differences(store, there) };
        }
        (_, Some(there)) => name_of(there),
        (named, None) => named.as_ref().map_or(&store.name, |named| &named.name).clone(),
    };
    if same_place.is_none()
        && let Some(taken) = live.iter().find(|live| name_of(live) == name)
    {
        let by = Place::of_live(taken).map_or_else(|| "another provider".to_owned(), |place| place.text());
        return Settled::Taken { name, by };
    }
    let mut spec = json!({
        "provider": place.provider,
        "objectStorage": object_storage(&place),
        "config": config(store),
        "accessMode": if read_only { "ReadOnly" } else { "ReadWrite" },
    });
    if let Some((name, key)) = store.velero.as_ref().and_then(|velero| velero.credential.as_ref()) {
        spec["credential"] = json!({"name": name, "key": key});
    }
    let value = json!({
        "apiVersion": storage_locations().api_version(),
        "kind": storage_locations().kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "dxdr"}},
        "spec": spec,
    });
    let reference = ObjectReference { kind: storage_locations(), namespace: Some(namespace.to_owned()), name };
    Settled::Ours(DesiredObject { reference, value })
}

fn object_storage(place: &Place<'_>) -> Value {
    let mut object = Map::from_iter([("bucket".to_owned(), place.bucket.into())]);
    if !place.prefix.is_empty() {
        object.insert("prefix".to_owned(), place.prefix.into());
    }
    Value::Object(object)
}

/// `spec.config`, as the plugins of S3 and of Google Cloud Storage read it: all values are texts.
fn config(store: &BackupStore) -> Map<String, Value> {
    let mut config = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            config.insert(key.to_owned(), value.into());
        }
    };
    match &store.location {
        StoreLocation::S3(location) => {
            put("region", location.region.as_deref());
            put("s3Url", location.endpoint.as_deref());
            put("s3ForcePathStyle", location.force_path_style.then_some("true"));
            put("kmsKeyId", location.kms_key.as_deref());
            put("profile", location.profile.as_deref());
            // The plugin's own checksums break servers other than Amazon's.
            put("checksumAlgorithm", location.endpoint.is_some().then_some(""));
        }
        StoreLocation::Gcs(location) => put("kmsKeyName", location.kms_key.as_deref()),
        StoreLocation::Directory { .. } => {}
    }
    config
}

/// Where somebody else's location is not as the store says. Which profile and which checksums it uses is its own business.
fn differences(store: &BackupStore, live: &Value) -> Vec<(String, String, String)> {
    let found = |key: &str| live.pointer("/spec/config").and_then(|config| config.get(key)).and_then(Value::as_str);
    let same = |key: &str, expected: &str, found: &str| match key {
        "s3Url" => expected.trim_end_matches('/') == found.trim_end_matches('/'),
        _ => expected == found,
    };
    config(store)
        .into_iter()
        .filter(|(key, _)| !matches!(key.as_str(), "profile" | "checksumAlgorithm"))
        .filter_map(|(key, expected)| {
            let expected = expected.as_str()?.to_owned();
            let found = found(&key).unwrap_or_default();
            (!same(&key, &expected, found)).then(|| (format!("spec.config.{key}"), found.to_owned(), expected))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use dxdr_policy::{GcsLocation, S3Location, VeleroLocation};

    use super::*;

    fn bucket() -> S3Location {
        S3Location {
            bucket: "dx-backups".to_owned(),
            prefix: "velero".to_owned(),
            region: Some("eu-central-1".to_owned()),
            ..S3Location::default()
        }
    }

    fn store(location: StoreLocation) -> BackupStore {
        BackupStore { name: "primary".to_owned(), location, velero: None }
    }

    fn live(name: &str, bucket: &str, prefix: &str, config: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"provider": "velero.io/aws", "objectStorage": {"bucket": bucket, "prefix": prefix}, "config": config}})
    }

    #[test]
    fn a_store_without_a_location_gets_one_of_its_own_name() {
        let store =
            store(StoreLocation::S3(S3Location { endpoint: Some("http://s3".to_owned()), force_path_style: true, ..bucket() }));
        let others = [live("default", "dx-backups", "other", json!({}))];
        let Settled::Ours(made) = settle(&store, &others, "velero", false) else { panic!("not ours") };
        assert_eq!(made.reference.name, "primary");
        assert_eq!(
            made.value["spec"],
            json!({
                "provider": "aws", "objectStorage": {"bucket": "dx-backups", "prefix": "velero"}, "accessMode": "ReadWrite",
                "config": {"region": "eu-central-1", "s3Url": "http://s3", "s3ForcePathStyle": "true", "checksumAlgorithm": ""}
            })
        );
    }

    #[test]
    fn a_location_of_the_same_place_is_taken_and_what_differs_is_told() {
        let store = store(StoreLocation::S3(bucket()));
        let there = [live("default", "dx-backups", "/velero/", json!({"region": "us-east-1"}))];
        let differences = vec![("spec.config.region".to_owned(), "us-east-1".to_owned(), "eu-central-1".to_owned())];
        assert_eq!(settle(&store, &there, "velero", false), Settled::Theirs { name: "default".to_owned(), differences });
    }

    #[test]
    fn a_location_of_ours_keeps_its_name_when_the_store_gets_another() {
        let mut store = store(StoreLocation::S3(bucket()));
        let Settled::Ours(made) = settle(&store, &[], "velero", false) else { panic!("not ours") };
        store.name = "main".to_owned();
        let Settled::Ours(again) = settle(&store, &[made.value], "velero", true) else { panic!("not ours") };
        assert_eq!(again.reference.name, "primary");
        assert_eq!(again.value["spec"]["accessMode"], "ReadOnly");
    }

    #[test]
    fn a_location_that_the_store_names_is_that_one_with_its_credentials_or_none() {
        let mut store = store(StoreLocation::S3(bucket()));
        let credential = Some(("cloud-credentials".to_owned(), "cloud".to_owned()));
        store.velero = Some(VeleroLocation { name: "default".to_owned(), credential });
        let Settled::Ours(made) = settle(&store, &[], "velero", false) else { panic!("not ours") };
        assert_eq!(made.reference.name, "default");
        assert_eq!(made.value["spec"]["credential"], json!({"name": "cloud-credentials", "key": "cloud"}));
        let other = [live("other", "dx-backups", "velero", json!({}))];
        let twice = Settled::Twice { name: "default".to_owned(), there: "other".to_owned() };
        assert_eq!(settle(&store, &other, "velero", false), twice);
    }

    #[test]
    fn a_name_that_is_taken_and_a_directory_are_told() {
        let taken = [live("primary", "elsewhere", "", json!({}))];
        let settled = settle(&store(StoreLocation::S3(bucket())), &taken, "velero", false);
        assert_eq!(settled, Settled::Taken { name: "primary".to_owned(), by: "aws bucket elsewhere, prefix ``".to_owned() });
        let directory = store(StoreLocation::Directory { path: "/backups".into() });
        assert_eq!(settle(&directory, &[], "velero", false), Settled::NotForVelero);
    }

    #[test]
    fn a_bucket_of_google_is_another_provider_s() {
        let store = store(StoreLocation::Gcs(GcsLocation {
            bucket: "dx-backups".to_owned(),
            prefix: String::new(),
            kms_key: Some("key".to_owned()),
        }));
        let Settled::Ours(made) = settle(&store, &[live("a", "dx-backups", "", json!({}))], "velero", false) else {
            panic!("not ours")
        };
        assert_eq!(made.value["spec"]["provider"], "gcp");
        assert_eq!(made.value["spec"]["objectStorage"], json!({"bucket": "dx-backups"}));
        assert_eq!(made.value["spec"]["config"], json!({"kmsKeyName": "key"}));
        assert_eq!(plugin(&store).as_deref(), Some("velero.io/gcp"));
    }
}
