//! What becomes of the volume of a claim.

use std::collections::HashSet;

use dxdr_catalog::{Gap, PodVolume, VolumeComponent};
use dxdr_environment::ObjectReference;
use serde_json::Value;

use super::{
    copies::{Awaited, FileCopies, pod_reference},
    finding::{Emptiness, Finding},
    live::LiveObject,
    plan::{Action, LeftOutReason, PrunedObject},
    planner::RestorePlanner,
    request::{Executor, Volumes},
    volume::{CapturedVolume, DATA_MOVER, VeleroVolume, VolumeSource, contents},
};

/// A claim that is created with nothing in its volume.
pub(super) struct EmptyClaim {
    claim: ObjectReference,
    why: Emptiness,
    /// Of what the point lacks: why.
    reason: Option<String>,
    /// Whether it had a volume that no class makes.
    by_hand: bool,
}

impl RestorePlanner {
    /// What a claim that is created is filled from, and what a person should know of it. `claim` is its name in the archive.
    ///
    /// # Errors
    /// With the reason why somebody else restores the claim.
    pub(super) fn volume(
        &mut self,
        claim: &str,
        target: &ObjectReference,
        action: &Action,
        object: &Value,
    ) -> Result<Option<Box<CapturedVolume>>, LeftOutReason> {
        if !(target.kind.group.is_empty() && target.kind.plural == "persistentvolumeclaims") {
            return Ok(None);
        }
        let captured = self.captured_volumes.get(claim).cloned();
        let of_velero = captured.as_ref().is_some_and(|captured| matches!(captured.source, VolumeSource::Velero { .. }));
        if *action != Action::Create && !(of_velero && self.begun.contains(&target.name)) {
            if !self.half_filled(target, captured.as_ref()) && captured.is_some() {
                self.findings.of(Finding::VolumesStay, target);
            }
            return Ok(captured.map(Box::new));
        }
        self.look_at_class(target, object);
        let by_hand = self.request.executor == Executor::Dxdr
            && self.storage.was_bound(claim)
            && object.pointer("/spec/storageClassName").and_then(Value::as_str) == Some("");
        let Some(captured) = captured.filter(|_| self.request.volumes == Volumes::Captured) else {
            let (why, reason) = self.emptiness(claim);
            self.empty.push(EmptyClaim { claim: target.clone(), why, reason, by_hand });
            return Ok(None);
        };
        if self.request.executor == Executor::Velero {
            return Ok(Some(Box::new(captured)));
        }
        match &captured.source {
            VolumeSource::Snapshot { driver, .. } => {
                self.look_at_storage(target, driver);
                if captured.late {
                    self.findings.of(Finding::Late, target);
                }
                if by_hand {
                    self.findings.of(Finding::ByHand, target);
                }
                Ok(Some(Box::new(captured)))
            }
            VolumeSource::Files { pod } => {
                self.look_at_room(target, object);
                self.await_copy(target, pod.as_ref(), captured.instant);
                Ok(Some(Box::new(captured)))
            }
            VolumeSource::Velero { method } => {
                if method == DATA_MOVER {
                    self.look_at_binding(target, object);
                }
                let reason = LeftOutReason::ThroughVelero { method: method.clone() };
                self.through_velero.push(VeleroVolume {
                    claim: target.clone(),
                    method: method.clone(),
                    instant: captured.instant,
                    labels: self.storage.labels_of(claim),
                    class: self.storage.renamed_class(claim, object),
                });
                Err(reason)
            }
        }
    }

    /// Why there will be nothing in the volume of a claim, and of what the point lacks, what it says of that.
    fn emptiness(&self, claim: &str) -> (Emptiness, Option<String>) {
        if self.request.volumes == Volumes::Empty {
            return (Emptiness::Asked, None);
        }
        if !self.storage.was_bound(claim) {
            return (Emptiness::NeverBound, None);
        }
        let namespace = &self.request.source_namespace;
        let of = |what: String| self.gaps.iter().find(|gap| gap.what == what);
        match of(Gap::volume(namespace, claim)).or_else(|| of(Gap::volumes(namespace))) {
            Some(gap) => (Emptiness::Lacking, Some(gap.reason.clone())),
            None => (Emptiness::LeftOut, None),
        }
    }

    /// Tells of the claims among `created` in whose volumes nothing will be; answers those of which nobody wanted that.
    pub(super) fn look_at_empty(&mut self, created: &HashSet<&ObjectReference>) -> Vec<(ObjectReference, String)> {
        let mut lacking = Vec::new();
        for EmptyClaim { claim, why, reason, by_hand } in std::mem::take(&mut self.empty) {
            if !created.contains(&claim) {
                continue;
            }
            let finding = if by_hand { Finding::ByHand } else { Finding::EmptyVolumes { why } };
            self.findings.of(finding, &claim);
            lacking.extend(reason.map(|reason| (claim, reason)));
        }
        lacking
    }

    /// Whether a claim that is there still waits for a copy: an earlier run made it, and nobody has filled it. A restore of that copy goes on with it.
    fn half_filled(&mut self, target: &ObjectReference, captured: Option<&CapturedVolume>) -> bool {
        let Some(point) = self.live.as_ref().and_then(|live| live.awaits_copy(target)) else { return false };
        let ours =
            point == self.request.point && self.request.executor != Executor::Velero && self.request.volumes == Volumes::Captured;
        if ours && let Some(CapturedVolume { source: VolumeSource::Files { pod }, instant, .. }) = captured {
            self.await_copy(target, pod.as_ref(), *instant);
        }
        true
    }

    /// Names every claim of the target that waits for a copy and is not filled by this restore, whether its filters come to it or not: whatever mounts
    /// the claim would start on half of its files. Those that are removed are in nobody's way.
    pub(super) fn look_at_half_filled(&mut self, copies: Option<&FileCopies>, pruned: &[PrunedObject], starts: bool) {
        let Some(live) = &self.live else { return };
        let filled = |claim: &ObjectReference| {
            copies.is_some_and(|copies| copies.claims.iter().any(|copied| copied.claim == *claim))
                || pruned.iter().any(|pruned| pruned.reference == *claim)
        };
        for (claim, point) in live.awaiting_copies(self.request.target_namespace()) {
            if !filled(&claim) {
                self.findings.of(Finding::HalfFilled { point, starts }, &claim);
            }
        }
    }

    fn await_copy(&mut self, target: &ObjectReference, pod: Option<&PodVolume>, instant: jiff::Timestamp) {
        match pod {
            Some(pod) => self.awaited.push(Awaited { claim: target.clone(), pod: pod.clone(), instant }),
            None => self.findings.of(Finding::CopyWithoutPod, target),
        }
    }

    /// What of a pod's own volume nobody but Velero brings back, and only into the pod itself.
    pub(super) fn look_at_pod_volume(&mut self, component: &VolumeComponent, volume: &PodVolume) {
        if self.request.executor == Executor::Velero || self.request.volumes == Volumes::Empty {
            return;
        }
        self.findings.of(Finding::PodVolumes, &pod_reference(&component.namespace, &volume.pod));
    }

    /// Whether the target makes a volume for the claim that a copy is written to: a pod that waits for one waits for ever.
    fn look_at_room(&mut self, target: &ObjectReference, object: &Value) {
        let class = object.pointer("/spec/storageClassName").and_then(Value::as_str);
        if class == Some("") || class.is_some_and(|class| self.cluster_has(CLASSES, class) == Some(false)) {
            self.findings.of(Finding::NoRoom { class: class.unwrap_or_default().to_owned() }, target);
        }
    }

    /// Whether a data mover waits for a pod that comes behind it: into which zone a volume belongs is not known before a pod has a node.
    fn look_at_binding(&mut self, target: &ObjectReference, object: &Value) {
        let class = object.pointer("/spec/storageClassName").and_then(Value::as_str);
        let class = class.and_then(|class| self.live.as_ref()?.get(CLASSES, None, class)).map(LiveObject::parsed);
        let mode = class.as_ref().and_then(|class| class.get("volumeBindingMode")).and_then(Value::as_str);
        if mode == Some("WaitForFirstConsumer") {
            self.findings.of(Finding::WaitsForPod, target);
        }
    }

    /// Whether the target can use a snapshot of `driver`.
    fn look_at_storage(&mut self, target: &ObjectReference, driver: &str) {
        let serves = |kind: &str| self.served.as_ref().is_none_or(|served| served.contains_key(kind));
        let knows = serves(&contents().group_resource());
        let drivers = self.cluster_has("csidrivers.storage.k8s.io", driver);
        if !knows {
            self.findings.of(Finding::SnapshotsNotServed, target);
        } else if drivers == Some(false) {
            self.findings.of(Finding::NoDriver { driver: driver.to_owned() }, target);
        }
    }

    /// Whether the target has the class that the claim asks for.
    fn look_at_class(&mut self, target: &ObjectReference, object: &Value) {
        let class = object.pointer("/spec/storageClassName").and_then(Value::as_str).filter(|class| !class.is_empty());
        if let Some(class) = class
            && self.cluster_has(CLASSES, class) == Some(false)
        {
            self.findings.of(Finding::NoStorageClass { class: class.to_owned() }, target);
        }
    }

    /// `None`: nobody knows.
    fn cluster_has(&self, kind: &str, name: &str) -> Option<bool> {
        let live = self.live.as_ref()?;
        let is_known = self.served.as_ref().is_some_and(|served| served.contains_key(kind)) && !live.unknown.contains_key(kind);
        is_known.then(|| live.get(kind, None, name).is_some())
    }
}

const CLASSES: &str = "storageclasses.storage.k8s.io";
