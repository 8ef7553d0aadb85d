//! Claims that Velero would bind to the storage of the original.
//!
//! Velero takes the volume out of a claim only where it has a copy of the data, or where the volume's reclaim policy is `Delete`. Any other
//! volume it creates just as it is in the archive, and where the archive has none it lets the claim ask for it all the same. In a
//! cluster in which nobody has that volume, the claim is then bound to the very storage that the original still writes to. Velero comes
//! to a volume through its claim, and to claims by kind and label: there is no selecting by name.
//!
//! Told to restore no volumes from snapshots, it creates a volume of which a plugin of its took one just the same, whatever its reclaim policy: under
//! another name where the original's is taken, and with the original's disk.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::{ObjectReference, ResourceKind};
use serde_json::Value;

use super::{
    carrier::labels,
    finding::Finding,
    planner::RestorePlanner,
    request::{Executor, Volumes},
    volume::{NATIVE_SNAPSHOT, VeleroVolume, VolumeSource},
};

const CLASS: &str = "/spec/storageClassName";

/// Claims and volumes of the archive.
#[derive(Debug, Default)]
pub(super) struct ArchivedStorage {
    /// Of the source namespace.
    claims: BTreeMap<String, ArchivedClaim>,
    /// Volumes that go with their claim, and are made anew for another.
    provisioned: BTreeSet<String>,
}

#[derive(Debug)]
struct ArchivedClaim {
    labels: BTreeMap<String, String>,
    volume: String,
    class: String,
}

impl ArchivedStorage {
    /// Takes a claim or a volume; leaves everything else.
    pub(super) fn observe(&mut self, item: &ObjectReference, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match (item.kind.group.as_str(), item.kind.plural.as_str()) {
            ("", "persistentvolumeclaims") => {
                let (volume, class) = (text("/spec/volumeName").to_owned(), text(CLASS).to_owned());
                let claim = ArchivedClaim { labels: labels(object), volume, class };
                self.claims.insert(item.name.clone(), claim);
            }
            ("", "persistentvolumes") if text("/spec/persistentVolumeReclaimPolicy") == "Delete" => {
                self.provisioned.insert(item.name.clone());
            }
            _ => {}
        }
    }

    /// Whether a claim had a volume.
    pub(super) fn was_bound(&self, claim: &str) -> bool {
        self.claims.get(claim).is_some_and(|claim| !claim.volume.is_empty())
    }

    /// The labels of a claim, by which Velero finds it.
    pub(super) fn labels_of(&self, claim: &str) -> BTreeMap<String, String> {
        self.claims.get(claim).map(|claim| claim.labels.clone()).unwrap_or_default()
    }

    /// The storage class of a claim, and that of what is written of it, where it is another one.
    pub(super) fn renamed_class(&self, claim: &str, written: &Value) -> Option<(String, String)> {
        let archived = &self.claims.get(claim)?.class;
        let class = written.pointer(CLASS).and_then(Value::as_str)?;
        (archived != class).then(|| (archived.clone(), class.to_owned()))
    }
}

/// Label selectors that find `volumes`, and as little else as there can be; empty: something of them has no label, and nothing but
/// all claims finds it.
pub(crate) fn selectors(volumes: &[VeleroVolume]) -> BTreeSet<&BTreeMap<String, String>> {
    let selectors: BTreeSet<_> = volumes.iter().map(|volume| &volume.labels).collect();
    if selectors.iter().any(|labels| labels.is_empty()) { BTreeSet::new() } else { selectors }
}

impl RestorePlanner {
    /// Refuses to have Velero bind claims to storage that belongs to the original.
    pub(super) fn look_at_shared_storage(&mut self) {
        let by_velero = self.request.executor == Executor::Velero;
        if !by_velero && self.through_velero.is_empty() {
            return;
        }
        let selectors = selectors(&self.through_velero);
        let finds = |claim: &ArchivedClaim| {
            let fits =
                |labels: &&BTreeMap<String, String>| labels.iter().all(|(key, value)| claim.labels.get(key) == Some(value));
            by_velero || selectors.is_empty() || selectors.iter().any(fits)
        };
        let is_there = |volume: &str| !self.request.beside() && self.lives(volume);
        let storage = &self.storage;
        let unused = |source: &VolumeSource| {
            let native = matches!(source, VolumeSource::Velero { method } if method == NATIVE_SNAPSHOT);
            native && self.request.volumes == Volumes::Empty
        };
        // Whether Velero makes the volume as it is in the archive, and whether it does so although there is a copy.
        let made_as_it_was = |name: &str, claim: &ArchivedClaim| match self.captured_volumes.get(name) {
            Some(captured) => unused(&captured.source).then_some(true),
            None => (!storage.provisioned.contains(&claim.volume)).then_some(false),
        };
        let found = storage.claims.iter().filter_map(|(name, claim)| {
            let copied = made_as_it_was(name, claim)?;
            let bound = !claim.volume.is_empty() && !is_there(&claim.volume) && finds(claim);
            bound.then(|| (claim.volume.clone(), copied))
        });
        let found: Vec<(String, bool)> = found.collect();
        for (name, copied) in found {
            let volume = ObjectReference { kind: volumes(), namespace: None, name };
            self.findings.of(Finding::SharedThroughVelero { everything: by_velero, copied }, &volume);
        }
    }

    fn lives(&self, volume: &str) -> bool {
        self.live.as_ref().is_some_and(|live| live.get("persistentvolumes", None, volume).is_some())
    }
}

fn volumes() -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "PersistentVolume".to_owned(),
        plural: "persistentvolumes".to_owned(),
        namespaced: false,
    }
}
