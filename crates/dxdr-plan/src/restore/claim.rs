//! What becomes of the volume of a claim.

use dxdr_catalog::{PodVolume, VolumeComponent};
use dxdr_environment::{ObjectReference, ResourceKind};
use serde_json::Value;

use super::{
    finding::Finding,
    plan::{Action, LeftOutReason},
    planner::RestorePlanner,
    request::{Executor, Volumes},
    volume::{CapturedVolume, VeleroVolume, VolumeSource, contents},
};

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
        if *action != Action::Create {
            if captured.is_some() {
                self.findings.of(Finding::VolumesStay, target);
            }
            return Ok(captured.map(Box::new));
        }
        self.look_at_class(target, object);
        let Some(captured) = captured.filter(|_| self.request.volumes == Volumes::Captured) else {
            let asked = self.request.volumes == Volumes::Empty;
            self.findings.of(Finding::EmptyVolumes { asked }, target);
            return Ok(None);
        };
        if self.request.executor == Executor::Velero {
            return Ok(Some(Box::new(captured)));
        }
        match &captured.source {
            VolumeSource::Snapshot { driver, .. } => {
                self.look_at_storage(target, driver);
                Ok(Some(Box::new(captured)))
            }
            VolumeSource::Velero { method } => {
                if method == FILE_SYSTEM {
                    self.findings.of(Finding::FileSystemCopies, target);
                }
                let reason = LeftOutReason::ThroughVelero { method: method.clone() };
                self.through_velero.push(VeleroVolume {
                    claim: target.clone(),
                    method: method.clone(),
                    instant: captured.instant,
                    labels: self.storage.labels_of(claim),
                });
                Err(reason)
            }
        }
    }

    /// What of a pod's own volume nobody but Velero brings back, and only into the pod itself.
    pub(super) fn look_at_pod_volume(&mut self, component: &VolumeComponent, volume: &PodVolume) {
        if self.request.executor == Executor::Velero || self.request.volumes == Volumes::Empty {
            return;
        }
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
            namespaced: true,
        };
        let pod = ObjectReference { kind, namespace: Some(component.namespace.clone()), name: volume.pod.clone() };
        self.findings.of(Finding::PodVolumes, &pod);
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
            && self.cluster_has("storageclasses.storage.k8s.io", class) == Some(false)
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

/// The method whose copies come back with the pods that mount them.
const FILE_SYSTEM: &str = "file-system";
