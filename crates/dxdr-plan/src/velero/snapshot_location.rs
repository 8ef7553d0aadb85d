//! Where plugins of Velero's own keep snapshots of volumes that no CSI driver made.
//!
//! A backup names its locations, so that others of the same provider stand in nobody's way: without a name and without a default among the
//! server's flags Velero refuses it.

use std::collections::BTreeMap;

use dxdr_environment::{ObjectReference, compile::DesiredObject};
use dxdr_policy::{BackupPolicy, BackupStore, SnapshotLocation, VolumeMethod};
use serde_json::{Value, json};

use super::snapshot_locations;

/// What becomes of a location that a store names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Settled {
    /// Ours, there or not.
    Ours(DesiredObject),
    /// Somebody else's; and what about it is not as the store says: field, found, expected.
    Theirs(Vec<(String, String, String)>),
    /// Somebody else's, of another provider, which is named.
    Taken(String),
}

/// Finds or makes a location among `live`, all of `namespace`.
pub(super) fn settle(location: &SnapshotLocation, live: &[Value], namespace: &str) -> Settled {
    let text = |live: &Value, pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let there = live.iter().find(|live| text(live, "/metadata/name") == location.name);
    if let Some(there) = there.filter(|there| text(there, "/metadata/labels/app.kubernetes.io~1managed-by") != "dxdr") {
        let provider = text(there, "/spec/provider");
        if short(&provider) != short(&location.provider) {
            return Settled::Taken(provider);
        }
        let found = |key: &str| there.pointer("/spec/config").and_then(|config| config.get(key)).and_then(Value::as_str);
        let differs = location.config.iter().filter(|(key, expected)| found(key) != Some(expected));
        let differs = differs
            .map(|(key, expected)| (format!("spec.config.{key}"), found(key).unwrap_or_default().to_owned(), expected.clone()));
        return Settled::Theirs(differs.collect());
    }
    let mut spec = json!({"provider": location.provider});
    if !location.config.is_empty() {
        spec["config"] = json!(location.config);
    }
    if let Some((name, key)) = &location.credential {
        spec["credential"] = json!({"name": name, "key": key});
    }
    let value = json!({
        "apiVersion": snapshot_locations().api_version(),
        "kind": snapshot_locations().kind,
        "metadata": {"name": location.name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "dxdr"}},
        "spec": spec,
    });
    let reference =
        ObjectReference { kind: snapshot_locations(), namespace: Some(namespace.to_owned()), name: location.name.clone() };
    Settled::Ours(DesiredObject { reference, value })
}

/// The names that a backup under `policy` into `store` gives; none where no volumes are captured.
pub(super) fn names<'a>(policy: &BackupPolicy, store: &'a BackupStore) -> Vec<&'a str> {
    if policy.volumes.method == VolumeMethod::None {
        return Vec::new();
    }
    store.snapshot_locations().iter().map(|location| location.name.as_str()).collect()
}

/// Providers with more than one location, and what to do: without a default among the server's flags, which nothing shows, each backup that
/// names none ends as FailedValidation. `unnamed`: whether there is a backup of ours that names none of a provider.
pub(crate) fn several(live: &[Value], unnamed: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let text = |live: &Value, pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut of_providers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for live in live {
        of_providers.entry(text(live, "/spec/provider")).or_default().push(text(live, "/metadata/name"));
    }
    let several = of_providers.into_iter().filter(|(provider, names)| names.len() > 1 && unnamed(provider));
    several
        .map(|(provider, names)| {
            let hint = format!(
                "Velero refuses every backup with volumes that names none of them: name one in `spec.velero.snapshotLocations` of the BackupStore, run the server with `--default-volume-snapshot-locations {provider}:NAME`, or leave one"
            );
            (format!("there are several VolumeSnapshotLocations of provider `{provider}`: {}", names.join(", ")), hint)
        })
        .collect()
}

/// Whether some of the policies back volumes up without naming a location of `provider`.
pub(crate) fn unnamed<'a>(mut policies: impl Iterator<Item = &'a BackupPolicy>, stores: &[BackupStore], provider: &str) -> bool {
    policies.any(|policy| {
        let store = stores.iter().find(|store| store.name == policy.store);
        let locations = store.map(BackupStore::snapshot_locations).unwrap_or_default();
        policy.volumes.method != VolumeMethod::None
            && locations.iter().all(|location| short(&location.provider) != short(provider))
    })
}

/// `velero.io/aws` is the same as `aws`.
fn short(provider: &str) -> &str {
    provider.strip_prefix("velero.io/").unwrap_or(provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(provider: &str) -> SnapshotLocation {
        let config = [("region".to_owned(), "eu-central-1".to_owned())].into();
        let credential = Some(("cloud".to_owned(), "key".to_owned()));
        SnapshotLocation { name: "default".to_owned(), provider: provider.to_owned(), config, credential }
    }

    #[test]
    fn a_location_that_is_not_there_is_made_as_the_store_says() {
        let Settled::Ours(made) = settle(&location("aws"), &[], "velero") else { panic!("not ours") };
        assert_eq!(made.reference.to_string(), "volumesnapshotlocations.velero.io velero/default");
        assert_eq!(
            made.value["spec"],
            json!({"provider": "aws", "config": {"region": "eu-central-1"}, "credential": {"name": "cloud", "key": "key"}})
        );
        // Ours follows the store.
        let there = [made.value.clone()];
        assert!(
            matches!(settle(&location("gcp"), &there, "velero"), Settled::Ours(again) if again.value["spec"]["provider"] == "gcp")
        );
    }

    #[test]
    fn one_of_somebody_else_is_used_and_told_of_or_in_the_way() {
        let there = |provider: &str, region: &str| {
            [
                json!({"metadata": {"name": "default"}, "spec": {"provider": provider, "config": {"region": region, "profile": "x"}}}),
            ]
        };
        let settled = |provider: &str, region: &str| settle(&location("aws"), &there(provider, region), "velero");
        assert_eq!(settled("velero.io/aws", "eu-central-1"), Settled::Theirs(Vec::new()));
        let difference = ("spec.config.region".to_owned(), "us-east-1".to_owned(), "eu-central-1".to_owned());
        assert_eq!(settled("aws", "us-east-1"), Settled::Theirs(vec![difference]));
        assert_eq!(settled("gcp", "eu-central-1"), Settled::Taken("gcp".to_owned()));
    }
}
