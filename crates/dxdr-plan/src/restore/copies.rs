//! Copies made file by file, which come back in pods only.
//!
//! ```text
//! claim of ours, empty and marked ─► a pod that Velero restores, made inert: the carrier ─► its files ─► carrier removed ─► mark removed
//! ```
//!
//! Velero has a PodVolumeRestore for a pod that it restores itself, by the name that the pod had, and carries it out while the first init
//! container of that pod runs, which it puts there. Everything else of the pod is in the way: its containers would run before what they need
//! is there. So a modifier of Velero's leaves nothing of it but the claims to be filled. Velero cannot be limited to names: pods that have
//! the labels of a carrier come along, and no node gets them.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_catalog::{PodVolume, VolumeComponent};
use dxdr_environment::{ObjectReference, ResourceKind};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    carrier::{self, InertPod},
    finding::Finding,
    plan::LeftOutReason,
    planner::{RestorePlanner, Verdict},
};

/// Annotation of a claim that was made for a copy and has not got it: the recovery point that has the copy. Who finds it goes on.
pub const AWAITS_COPY: &str = "dxdr.io/awaits-copy";
/// Label of the pods that Velero restores for copies: the run that removes them.
pub const CARRIER_LABEL: &str = "dxdr.io/carrier";
/// Step in which Velero copies files back.
pub const FILES: &str = "velero-files";
/// What an object may hold; a third is left for what wraps it.
const MOST_BYTES: usize = 700 * 1024;

/// Claims that Velero copies files back into, and the pods through which it does.
#[derive(Debug, Clone, PartialEq)]
pub struct FileCopies {
    /// The claims.
    pub claims: Vec<CopiedClaim>,
    /// Every pod that comes, in the archive's order of names: carriers, and those that nothing tells apart from them.
    pub pods: Vec<InertPod>,
    /// The labels by which Velero finds the pods; empty: a carrier has none, and all pods come.
    pub selectors: BTreeSet<BTreeMap<String, String>>,
}

impl FileCopies {
    /// The pods that come along and carry nothing.
    pub fn alongside(&self) -> impl Iterator<Item = &InertPod> {
        self.pods.iter().filter(|pod| !pod.carries)
    }
}

/// A claim whose files Velero copies back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedClaim {
    /// The claim, in the target.
    pub claim: ObjectReference,
    /// The pod that carries the copy, and what it calls the volume.
    pub carrier: PodVolume,
    /// The instant it is of.
    pub instant: Timestamp,
}

/// A claim that waits for its copy, before its pod was looked for.
pub(super) struct Awaited {
    pub(super) claim: ObjectReference,
    pub(super) pod: PodVolume,
    pub(super) instant: Timestamp,
}

/// The pods of an archive that has copies made file by file.
#[derive(Default)]
pub(super) struct ArchivedPods {
    /// Those that had not ended: Velero restores no others.
    pods: BTreeMap<String, Value>,
    /// Their volumes of which there is a copy, whoever has the claim.
    copied: BTreeMap<String, BTreeSet<String>>,
}

impl ArchivedPods {
    pub(super) fn copied(&mut self, component: &VolumeComponent) {
        if let Some(PodVolume { pod, volume }) = &component.pod {
            self.copied.entry(pod.clone()).or_default().insert(volume.clone());
        }
    }

    pub(super) fn observe(&mut self, name: &str, pod: &Value) {
        if !matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed")) {
            self.pods.insert(name.to_owned(), pod.clone());
        }
    }
}

impl RestorePlanner {
    /// Settles through which pods the copies come back that claims wait for.
    pub(super) fn copies(&mut self) -> Option<FileCopies> {
        let awaited = std::mem::take(&mut self.awaited);
        let archived = self.pods.take()?;
        let mut carried: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut claims = Vec::new();
        for Awaited { claim, pod, instant } in awaited {
            // Two copies of one claim would be written to it at the same time, by two pods.
            if claims.iter().any(|known: &CopiedClaim| known.claim == claim) {
                continue;
            }
            if !archived.pods.get(&pod.pod).is_some_and(|archived| carrier::mounts(archived, &pod.volume, &claim.name)) {
                self.findings.of(Finding::CopyWithoutPod, &claim);
                continue;
            }
            carried.entry(pod.pod.clone()).or_default().insert(pod.volume.clone());
            claims.push(CopiedClaim { claim, carrier: pod, instant });
        }
        if claims.is_empty() {
            return None;
        }
        let selectors = selectors(carried.keys().filter_map(|name| archived.pods.get(name)));
        let found = |pod: &Value| {
            let labels = carrier::labels(pod);
            let fits = |selector: &BTreeMap<_, _>| selector.iter().all(|(key, value)| labels.get(key) == Some(value));
            selectors.is_empty() || selectors.iter().any(fits)
        };
        let nothing = BTreeSet::new();
        let mut pods = Vec::new();
        for (name, pod) in archived.pods.iter().filter(|(_, pod)| found(pod)) {
            let carried = carried.get(name).unwrap_or(&nothing);
            let copied = archived.copied.get(name).unwrap_or(&nothing);
            pods.push(carrier::inert(name, pod, carried, copied, self.has_account(carrier::account(pod))));
        }
        let target = self.request.target_namespace().to_owned();
        if pods.iter().map(InertPod::bytes).sum::<usize>() > MOST_BYTES {
            pods.iter().for_each(|pod| self.findings.of(Finding::TooManyPods, &pod_reference(&target, &pod.name)));
        }
        self.look_at_pods_in_the_way(&claims);
        Some(FileCopies { claims, pods, selectors })
    }

    /// Velero leaves a pod alone that is there, and with it the files that the pod would get; and a pod that mounts a volume runs on what
    /// is not whole.
    fn look_at_pods_in_the_way(&mut self, claims: &[CopiedClaim]) {
        let in_the_way = |name: &str, pod: &Value| {
            let over = matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
            claims.iter().any(|copied| copied.carrier.pod == name || !over && carrier::mounts_claim(pod, &copied.claim.name))
        };
        let pods = self.live.iter().flat_map(|live| live.pods());
        let mut found: Vec<String> = pods.filter(|(name, pod)| in_the_way(name, pod)).map(|(name, _)| name.to_owned()).collect();
        found.sort_unstable();
        let target = self.request.target_namespace().to_owned();
        found.iter().for_each(|name| self.findings.of(Finding::PodsInTheWay, &pod_reference(&target, name)));
    }

    /// Whether the account will be in the target when pods come.
    fn has_account(&self, account: &str) -> bool {
        let comes = self.items.iter().any(|item| {
            let kind = &item.target.kind;
            let made = matches!(item.verdict, Verdict::Restore { .. } | Verdict::LeftOut(LeftOutReason::MadeByCluster));
            made && kind.group.is_empty() && kind.plural == "serviceaccounts" && item.target.name == account
        });
        let namespace = Some(self.request.target_namespace());
        comes || self.live.as_ref().is_some_and(|live| live.get("serviceaccounts", namespace, account).is_some())
    }
}

/// Selectors that find these pods, and as little else as there can be.
fn selectors<'a>(pods: impl Iterator<Item = &'a Value>) -> BTreeSet<BTreeMap<String, String>> {
    let selectors: BTreeSet<_> = pods.map(carrier::labels).collect();
    if selectors.iter().any(BTreeMap::is_empty) { BTreeSet::new() } else { selectors }
}

/// A pod of that name.
pub(super) fn pod_reference(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference { kind: pods(), namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

/// `pods`
pub fn pods() -> ResourceKind {
    ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        plural: "pods".to_owned(),
        namespaced: true,
    }
}
