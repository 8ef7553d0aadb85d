//! A store as a BackupStorageLocation of Velero.
//!
//! Two locations of one prefix would both delete what expires, and Velero would see every backup twice. So a location that is there
//! already is taken, whatever it is called, and only where none is, one is made.
//!
//! One server has several URLs, inside of the cluster and outside; and two servers have buckets of one name. So a location with another URL
//! is the store's where nothing says otherwise: no location has the store's own URL, and no other store has the location's.

use base64::{Engine as _, engine::general_purpose::STANDARD};
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

/// Whether a live location has the URL that the store has.
fn same_endpoint(store: &BackupStore, live: &Value) -> bool {
    let found = live.pointer("/spec/config/s3Url").and_then(Value::as_str).unwrap_or_default();
    let expected = match &store.location {
        StoreLocation::S3(location) => location.endpoint.as_deref().unwrap_or_default(),
        StoreLocation::Gcs(_) | StoreLocation::Directory { .. } => return true,
    };
    expected.trim_end_matches('/') == found.trim_end_matches('/')
}

/// The plugin that a server needs for a location of this provider.
pub(crate) fn plugin(store: &BackupStore) -> Option<String> {
    Place::of_store(store).map(|place| format!("velero.io/{}", place.provider))
}

/// Finds or makes the location of `store`, one of `stores`, among `live`, all locations of `namespace`.
pub(crate) fn settle(store: &BackupStore, stores: &[BackupStore], live: &[Value], namespace: &str, read_only: bool) -> Settled {
    let Some(place) = Place::of_store(store) else { return Settled::NotForVelero };
    let same_place = of_the_place(store, stores, live).into_iter().next();
    // One of ours keeps its name when the store's changes: backups refer to it.
    let name = match (&store.velero, same_place) {
        (Some(named), Some(there)) if named.name != name_of(there) => {
            return Settled::Twice { name: named.name.clone(), there: name_of(there).to_owned() };
        }
        (_, Some(there)) if !is_ours(there) => {
            return Settled::Theirs { name: name_of(there).to_owned(), differences: differences(store, there) };
        }
        (_, Some(there)) => name_of(there).to_owned(),
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
        "objectStorage": object_storage(store, &place),
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

/// Where a live `location` leads, when that is not the place of `store`. A store that Velero cannot reach has no place to compare with.
pub fn leads_elsewhere(store: &BackupStore, location: &Value) -> Option<String> {
    let place = Place::of_store(store)?;
    match Place::of_live(location) {
        Some(there) if there == place => None,
        Some(there) => Some(there.text()),
        None => Some("nowhere that could be told".to_owned()),
    }
}

/// The names of other locations for the place of `store` than the one that is `used`.
pub(crate) fn doubles(store: &BackupStore, stores: &[BackupStore], live: &[Value], used: &str) -> Vec<String> {
    of_the_place(store, stores, live).into_iter().map(name_of).filter(|name| *name != used).map(str::to_owned).collect()
}

/// What is said of them, and what to do.
pub(crate) fn doubled(used: &str, doubles: &[String]) -> (String, &'static str) {
    let named: Vec<String> = doubles.iter().map(|name| format!("`{name}`")).collect();
    let text = format!("of the locations for the same bucket and prefix `{used}` is used; there is also {}", named.join(", "));
    (text, "each deletes what expires: `velero backup-location delete` removes the others and leaves the bucket as it is")
}

/// The locations for the place of `store`, the one to be used first: the one that the store names, then one of ours, then one that is as
/// the store says, then one that works, then the server's default.
fn of_the_place<'a>(store: &BackupStore, stores: &[BackupStore], live: &'a [Value]) -> Vec<&'a Value> {
    let Some(place) = Place::of_store(store) else { return Vec::new() };
    let is_named = |live: &Value| store.velero.as_ref().is_some_and(|named| named.name == name_of(live));
    let is_of_another = |live: &Value| {
        let mut others = stores.iter().filter(|other| other.name != store.name);
        others.any(|other| Place::of_store(other).as_ref() == Some(&place) && same_endpoint(other, live))
    };
    let mut there: Vec<&Value> = live.iter().filter(|live| Place::of_live(live).as_ref() == Some(&place)).collect();
    if there.iter().any(|live| same_endpoint(store, live)) {
        there.retain(|live| same_endpoint(store, live) || is_named(live));
    } else if store.velero.is_some() {
        there.retain(|live| is_named(live));
    } else {
        there.retain(|live| !is_of_another(live));
    }
    let text = |live: &Value, pointer: &str, wanted: &str| live.pointer(pointer).and_then(Value::as_str) == Some(wanted);
    there.sort_by_key(|live| {
        let writable = !text(live, "/spec/accessMode", "ReadOnly");
        let works = writable && !text(live, "/status/phase", "Unavailable");
        let default = live.pointer("/spec/default").and_then(Value::as_bool) == Some(true);
        (!is_named(live), !is_ours(live), !differences(store, live).is_empty(), !works, !default, name_of(live))
    });
    there
}

fn name_of(live: &Value) -> &str {
    live.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn is_ours(live: &Value) -> bool {
    live.pointer("/metadata/labels/app.kubernetes.io~1managed-by").and_then(Value::as_str) == Some("dxdr")
}

fn object_storage(store: &BackupStore, place: &Place<'_>) -> Value {
    let mut object = Map::from_iter([("bucket".to_owned(), place.bucket.into())]);
    if !place.prefix.is_empty() {
        object.insert("prefix".to_owned(), place.prefix.into());
    }
    if let Some(certificates) = certificates(store) {
        object.insert("caCert".to_owned(), certificates.into());
    }
    Value::Object(object)
}

/// `caCert`: bytes, which JSON has in Base64.
fn certificates(store: &BackupStore) -> Option<String> {
    match &store.location {
        StoreLocation::S3(location) => location.certificate_authority.as_ref().map(|pem| STANDARD.encode(pem)),
        StoreLocation::Gcs(_) | StoreLocation::Directory { .. } => None,
    }
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
    let authority = certificates(store).filter(|expected| {
        let found = live.pointer("/spec/objectStorage/caCert").and_then(Value::as_str);
        found != Some(expected)
    });
    // Nobody reads certificates in a table.
    let authority = authority.map(|_| {
        let found = if live.pointer("/spec/objectStorage/caCert").is_some() { "another one" } else { "" };
        ("spec.objectStorage.caCert".to_owned(), found.to_owned(), "its certificateAuthority".to_owned())
    });
    let configured = config(store)
        .into_iter()
        .filter(|(key, _)| !matches!(key.as_str(), "profile" | "checksumAlgorithm"))
        .filter_map(|(key, expected)| {
            let expected = expected.as_str()?.to_owned();
            let found = found(&key).unwrap_or_default();
            (!same(&key, &expected, found)).then(|| (format!("spec.config.{key}"), found.to_owned(), expected))
        });
    configured.chain(authority).collect()
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
        let Settled::Ours(made) = settle(&store, &[], &others, "velero", false) else { panic!("not ours") };
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
        assert_eq!(settle(&store, &[], &there, "velero", false), Settled::Theirs { name: "default".to_owned(), differences });
    }

    #[test]
    fn a_location_that_leads_elsewhere_is_told_with_where() {
        let leads = |location: &Value| leads_elsewhere(&store(StoreLocation::S3(bucket())), location);
        assert_eq!(leads(&live("other", "dx-backups", "/velero/", json!({"s3Url": "http://inside"}))), None);
        let prefix = live("default", "dx-backups", "", json!({}));
        assert_eq!(leads(&prefix).as_deref(), Some("aws bucket dx-backups, prefix ``"));
        assert_eq!(leads(&json!({"spec": {"provider": "velero.io/aws"}})).as_deref(), Some("nowhere that could be told"));
        let directory = StoreLocation::Directory { path: "/backups".into() };
        assert_eq!(leads_elsewhere(&store(directory), &prefix), None);
    }

    #[test]
    fn who_signs_the_server_s_certificate_is_told_to_velero_too() {
        let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let store = store(StoreLocation::S3(S3Location { certificate_authority: Some(pem.to_owned()), ..bucket() }));
        let Settled::Ours(made) = settle(&store, &[], &[], "velero", false) else { panic!("not ours") };
        let written = &made.value["spec"]["objectStorage"]["caCert"];
        assert_eq!(STANDARD.decode(written.as_str().unwrap()).unwrap(), pem.as_bytes());
        let mut there = live("default", "dx-backups", "velero", json!({"region": "eu-central-1"}));
        let differs = |there: &Value| match settle(&store, &[], std::slice::from_ref(there), "velero", false) {
            Settled::Theirs { differences, .. } => {
                differences.into_iter().map(|(field, found, _)| (field, found)).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        let field = "spec.objectStorage.caCert".to_owned();
        assert_eq!(differs(&there), [(field.clone(), String::new())]);
        there["spec"]["objectStorage"]["caCert"] = "AAAA".into();
        assert_eq!(differs(&there), [(field, "another one".to_owned())]);
        there["spec"]["objectStorage"]["caCert"] = written.clone();
        assert_eq!(differs(&there), []);
    }

    #[test]
    fn a_location_of_ours_keeps_its_name_when_the_store_gets_another() {
        let mut store = store(StoreLocation::S3(bucket()));
        let Settled::Ours(made) = settle(&store, &[], &[], "velero", false) else { panic!("not ours") };
        store.name = "main".to_owned();
        let Settled::Ours(again) = settle(&store, &[], &[made.value], "velero", true) else { panic!("not ours") };
        assert_eq!(again.reference.name, "primary");
        assert_eq!(again.value["spec"]["accessMode"], "ReadOnly");
    }

    #[test]
    fn a_location_that_the_store_names_is_that_one_with_its_credentials_or_none() {
        let mut store = store(StoreLocation::S3(bucket()));
        let credential = Some(("cloud-credentials".to_owned(), "cloud".to_owned()));
        store.velero = Some(VeleroLocation { name: "default".to_owned(), credential, ..VeleroLocation::default() });
        let Settled::Ours(made) = settle(&store, &[], &[], "velero", false) else { panic!("not ours") };
        assert_eq!(made.reference.name, "default");
        assert_eq!(made.value["spec"]["credential"], json!({"name": "cloud-credentials", "key": "cloud"}));
        let other = [live("other", "dx-backups", "velero", json!({}))];
        let twice = Settled::Twice { name: "default".to_owned(), there: "other".to_owned() };
        assert_eq!(settle(&store, &[], &other, "velero", false), twice);
    }

    #[test]
    fn of_several_locations_of_one_place_the_one_that_is_meant_is_taken_and_the_others_are_told() {
        let mut store = store(StoreLocation::S3(bucket()));
        let location = |name: &str, region: &str, more: Value| {
            let mut live = live(name, "dx-backups", "velero", json!({"region": region}));
            for (pointer, value) in more.as_object().unwrap() {
                live[pointer.as_str()].as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            }
            live
        };
        let plain = |name: &str| location(name, "eu-central-1", json!({}));
        let used = |store: &BackupStore, live: &[Value]| match settle(store, &[], live, "velero", false) {
            Settled::Theirs { name, .. } => name,
            Settled::Ours(object) => object.reference.name,
            other => panic!("{other:?}"),
        };
        let elsewhere = location("a", "us-east-1", json!({}));
        assert_eq!(used(&store, &[elsewhere.clone(), plain("b")]), "b");
        let read_only = location("a", "eu-central-1", json!({"spec": {"accessMode": "ReadOnly"}}));
        assert_eq!(used(&store, &[read_only, plain("b")]), "b");
        let default = location("b", "eu-central-1", json!({"spec": {"default": true}}));
        assert_eq!(used(&store, &[plain("a"), default.clone()]), "b");
        let ours = location("c", "us-east-1", json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "dxdr"}}}));
        assert_eq!(used(&store, &[plain("a"), default, ours.clone()]), "c");
        store.velero = Some(VeleroLocation { name: "b".to_owned(), ..VeleroLocation::default() });
        let all = [plain("a"), plain("b"), ours, live("other", "dx-backups", "other", json!({}))];
        assert_eq!(used(&store, &all), "b");
        assert_eq!(doubles(&store, &[], &all, "b"), ["c", "a"]);
        assert_eq!(doubles(&store, &[], &all[1..2], "b"), [""; 0]);
    }

    #[test]
    fn another_url_is_the_same_server_unless_something_says_that_it_is_not() {
        let at = |name: &str, endpoint: &str| BackupStore {
            name: name.to_owned(),
            ..store(StoreLocation::S3(S3Location { endpoint: Some(endpoint.to_owned()), ..bucket() }))
        };
        let (one, other) = (at("one", "https://a.example/"), at("other", "https://b.example"));
        let stores = [one.clone(), other.clone()];
        let there = |name: &str, url: &str| live(name, "dx-backups", "velero", json!({"region": "eu-central-1", "s3Url": url}));
        let settled = |store: &BackupStore, live: &[Value]| match settle(store, &stores, live, "velero", false) {
            Settled::Theirs { name, differences } => format!("{name}, {} different", differences.len()),
            Settled::Ours(object) => format!("{} is made", object.reference.name),
            refused => format!("{refused:?}"),
        };
        let (a, b) = (there("default", "https://a.example"), there("second", "https://b.example/"));
        // Inside of the cluster the server is called otherwise.
        let inside = there("default", "http://a.storage.svc");
        assert_eq!(settled(&one, std::slice::from_ref(&inside)), "default, 1 different");
        assert_eq!(settled(&one, std::slice::from_ref(&a)), "default, 0 different");
        assert_eq!(settled(&other, std::slice::from_ref(&a)), "other is made", "the location is the other store's");
        for (store, name) in [(&one, "default"), (&other, "second")] {
            let all = [a.clone(), b.clone()];
            assert_eq!(settled(store, &all), format!("{name}, 0 different"));
            assert_eq!(doubles(store, &stores, &all, name), [""; 0], "nobody is told to delete what is another server's");
        }
        let named = |store: &BackupStore, name: &str| BackupStore {
            velero: Some(VeleroLocation { name: name.to_owned(), ..VeleroLocation::default() }),
            ..store.clone()
        };
        assert_eq!(settled(&named(&other, "mine"), std::slice::from_ref(&inside)), "mine is made");
        assert_eq!(settled(&named(&other, "default"), std::slice::from_ref(&inside)), "default, 1 different");
    }

    #[test]
    fn a_name_that_is_taken_and_a_directory_are_told() {
        let taken = [live("primary", "elsewhere", "", json!({}))];
        let settled = settle(&store(StoreLocation::S3(bucket())), &[], &taken, "velero", false);
        assert_eq!(settled, Settled::Taken { name: "primary".to_owned(), by: "aws bucket elsewhere, prefix ``".to_owned() });
        let directory = store(StoreLocation::Directory { path: "/backups".into() });
        assert_eq!(settle(&directory, &[], &[], "velero", false), Settled::NotForVelero);
    }

    #[test]
    fn a_bucket_of_google_is_another_provider_s() {
        let store = store(StoreLocation::Gcs(GcsLocation {
            bucket: "dx-backups".to_owned(),
            prefix: String::new(),
            kms_key: Some("key".to_owned()),
        }));
        let Settled::Ours(made) = settle(&store, &[], &[live("a", "dx-backups", "", json!({}))], "velero", false) else {
            panic!("not ours")
        };
        assert_eq!(made.value["spec"]["provider"], "gcp");
        assert_eq!(made.value["spec"]["objectStorage"], json!({"bucket": "dx-backups"}));
        assert_eq!(made.value["spec"]["config"], json!({"kmsKeyName": "key"}));
        assert_eq!(plugin(&store).as_deref(), Some("velero.io/gcp"));
    }
}
