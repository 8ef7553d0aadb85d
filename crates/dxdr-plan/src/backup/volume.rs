//! What becomes of each volume: a snapshot by its CSI driver, left out as somebody said, or not protected and why. There is no fourth.
//!
//! ```text
//! claim ─► volume ─► driver ─► class of snapshots
//!   │         │         │        └─ none, or several and no default: not protected
//!   │         │         └─ none: not protected
//!   │         └─ not bound yet: nothing to capture; lost: not protected
//!   └─ the policy, a label or an annotation: left out
//! ```

use std::{borrow::Cow, collections::BTreeMap};

use dxdr_catalog::{Gap, name};
use dxdr_environment::ResourceKind;
use dxdr_policy::VolumeMethod;
use serde_json::{Map, Value, json};

use super::{
    BackupPlan,
    class::Choice,
    group::{self, GroupPlan, ObservedGroups},
};
use crate::selection::{Decision, EXCLUDE_LABEL, ObjectHead, SkipReason};

/// Group of snapshots' kinds.
pub const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";
/// On a claim or its StorageClass: the class of its snapshots. On a class of snapshots, as a label: Velero takes this one of the driver's.
const CLASS: &str = "velero.io/csi-volumesnapshot-class";
const CLASSES: Choice = Choice {
    kind: "VolumeSnapshotClass",
    annotation: CLASS,
    label: CLASS,
    default: "snapshot.storage.kubernetes.io/is-default-class",
};
/// A snapshot's name is the value of a label at Velero's, and should be readable as one.
pub(super) const LONGEST_NAME: usize = 63;

/// What becomes of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePlan {
    /// Namespace of the claim.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// Its PersistentVolume, once it is bound.
    pub volume: Option<String>,
    /// What is done.
    pub fate: VolumeFate,
}

/// What is done with a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFate {
    /// A snapshot of it is taken.
    Snapshot(SnapshotPlan),
    /// It is left out, as somebody said, or because there is nothing of it yet: the reason.
    LeftOut(String),
    /// It should be captured and cannot be: the reason. The point is partial.
    Unprotected(String),
}

/// How a snapshot is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// The CSI driver.
    pub driver: String,
    /// The VolumeSnapshotClass.
    pub class: String,
    /// Why that one.
    pub why: String,
    /// What the cluster does with the PersistentVolume when its claim goes: `Delete`, `Retain`.
    pub reclaim_policy: String,
    /// Labels of the PersistentVolume.
    pub volume_labels: BTreeMap<String, String>,
    /// With which it is taken at one instant, if it is.
    pub group: Option<GroupPlan>,
}

impl VolumePlan {
    /// How its snapshot is taken, if one is.
    pub fn snapshot(&self) -> Option<&SnapshotPlan> {
        match &self.fate {
            VolumeFate::Snapshot(snapshot) => Some(snapshot),
            VolumeFate::LeftOut(_) | VolumeFate::Unprotected(_) => None,
        }
    }

    /// The VolumeSnapshot's name in `point`, unless it is of a group: whoever carries the run out finds what an earlier process of it made.
    pub fn snapshot_name(&self, point: &str) -> String {
        name::shortened(&format!("{point}-{}", self.claim), LONGEST_NAME)
    }

    /// What a point lacks without it.
    pub fn what(&self) -> String {
        Gap::volume(&self.namespace, &self.claim)
    }
}

/// What the cluster says of volumes.
#[derive(Debug, Clone, Default)]
pub struct ObservedVolumes {
    /// The claims of the namespaces.
    pub claims: Vec<Value>,
    /// What could not be read at all.
    pub gaps: Vec<Gap>,
    /// PersistentVolumes by name: the object, none, or why it cannot be read.
    pub volumes: BTreeMap<String, Result<Option<Value>, String>>,
    /// StorageClasses by name, those that could be read.
    pub storage_classes: BTreeMap<String, Value>,
    /// VolumeSnapshotClasses, or why none can be chosen.
    pub snapshot_classes: Option<Result<Vec<Value>, String>>,
    /// What is known of group snapshots, where they are served.
    pub groups: Option<ObservedGroups>,
    /// The pods of the namespaces.
    pub pods: Vec<Value>,
}

impl ObservedVolumes {
    /// The PersistentVolumes that must be looked at.
    pub fn bound(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.claims.iter().filter_map(|claim| text(claim, "/spec/volumeName").map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The StorageClasses that may say something.
    pub fn classes(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.claims.iter().filter_map(|claim| text(claim, "/spec/storageClassName").map(str::to_owned)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl BackupPlan {
    /// The same plan with what becomes of the volumes.
    pub fn with_volumes(self, observed: &ObservedVolumes) -> Self {
        let mut volumes: Vec<VolumePlan> = observed.claims.iter().filter_map(|claim| self.volume(claim, observed)).collect();
        volumes.sort_by(|left, right| (&left.namespace, &left.claim).cmp(&(&right.namespace, &right.claim)));
        group::form(&mut volumes, observed);
        self.decided(volumes, observed.gaps.clone()).with_hooks(&observed.pods)
    }

    /// The same plan with what was decided about the volumes.
    pub(super) fn decided(mut self, volumes: Vec<VolumePlan>, unknown: Vec<Gap>) -> Self {
        (self.volumes, self.unknown_volumes) = (volumes, unknown);
        self.gaps.extend(self.unknown_volumes.iter().cloned());
        self.gaps.extend(self.volumes.iter().filter_map(|volume| match &volume.fate {
            VolumeFate::Unprotected(reason) => Some(Gap { what: volume.what(), reason: reason.clone() }),
            VolumeFate::Snapshot(_) | VolumeFate::LeftOut(_) => None,
        }));
        self.lay_out();
        self
    }

    /// Volumes of which snapshots are taken.
    pub fn snapshots(&self) -> impl Iterator<Item = (&VolumePlan, &SnapshotPlan)> {
        self.volumes.iter().filter_map(|volume| Some((volume, volume.snapshot()?)))
    }

    /// Decides about one claim; `None` for what is no claim of a namespace.
    fn volume(&self, claim: &Value, observed: &ObservedVolumes) -> Option<VolumePlan> {
        let (namespace, name) = (text(claim, "/metadata/namespace")?, text(claim, "/metadata/name")?);
        let volume = text(claim, "/spec/volumeName");
        let fate = self
            .left_out(claim, namespace, name)
            .map(VolumeFate::LeftOut)
            .unwrap_or_else(|| self.fate(claim, volume, observed).unwrap_or_else(VolumeFate::Unprotected));
        Some(VolumePlan { namespace: namespace.to_owned(), claim: name.to_owned(), volume: volume.map(str::to_owned), fate })
    }

    /// Why the volume is left out, by what somebody said.
    fn left_out(&self, claim: &Value, namespace: &str, name: &str) -> Option<String> {
        if self.volume_policy.method == VolumeMethod::None {
            return Some(match &self.policy {
                Some(policy) => format!("policy `{policy}` captures no volumes: `volumes.method` is `none`"),
                None => "no volumes are captured".to_owned(),
            });
        }
        let Some(kind) = self.lists.iter().map(|task| &task.kind).find(|kind| is_claims(kind)) else {
            return Some("the policy's filters leave claims out".to_owned());
        };
        let labels: BTreeMap<Cow<'_, str>, Cow<'_, str>> = strings(claim, "/metadata/labels");
        let head = ObjectHead {
            name,
            namespace: Some(namespace),
            labels: Some(&labels),
            deleting: claim.pointer("/metadata/deletionTimestamp").is_some(),
            owners: &[],
        };
        if let Decision::Skip(reason) = self.decide(kind, &head) {
            let claim = if reason == SkipReason::OtherNamespace { "the claim is" } else { "the claim:" };
            return Some(format!("{claim} {reason}"));
        }
        (annotation(claim, EXCLUDE_LABEL) == Some("true")).then(|| format!("the claim is annotated {EXCLUDE_LABEL}=true"))
    }

    /// What is done with the volume of a claim that is not left out; the error says why it cannot be protected.
    fn fate(&self, claim: &Value, volume: Option<&str>, observed: &ObservedVolumes) -> Result<VolumeFate, String> {
        let lost = text(claim, "/status/phase") == Some("Lost");
        let Some(volume) = volume else {
            return Ok(VolumeFate::LeftOut("the claim is not bound: there is no volume yet".to_owned()));
        };
        let live = match observed.volumes.get(volume) {
            Some(Ok(Some(live))) if !lost => live,
            Some(Ok(_)) | None => return Err(format!("the claim is lost: its PersistentVolume {volume} is gone")),
            Some(Err(reason)) => return Err(format!("its PersistentVolume {volume} cannot be read: {reason}")),
        };
        let Some(driver) = text(live, "/spec/csi/driver") else {
            return Err(format!(
                "PersistentVolume {volume} is of type {}, which has no CSI driver to take a snapshot",
                volume_type(live)
            ));
        };
        if self.volume_policy.method == VolumeMethod::DataMover {
            return Err("`volumes.method: dataMover` needs Velero (`engine: velero`)".to_owned());
        }
        let classes = match &observed.snapshot_classes {
            Some(Ok(classes)) => classes,
            Some(Err(reason)) => return Err(format!("VolumeSnapshotClasses cannot be read: {reason}")),
            None => return Err(format!("the cluster does not serve {SNAPSHOT_GROUP}/v1: it has no snapshots")),
        };
        let storage_class = text(claim, "/spec/storageClassName").and_then(|name| observed.storage_classes.get(name));
        let (class, why) = CLASSES.of(driver, &[("the claim", Some(claim)), ("its StorageClass", storage_class)], classes)?;
        Ok(VolumeFate::Snapshot(SnapshotPlan {
            driver: driver.to_owned(),
            class,
            why,
            reclaim_policy: text(live, "/spec/persistentVolumeReclaimPolicy").unwrap_or("Delete").to_owned(),
            volume_labels: strings(live, "/metadata/labels")
                .into_iter()
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
            group: None,
        }))
    }
}

/// `hostPath`, `nfs`: the field of a PersistentVolume that is neither its size nor how it is used.
fn volume_type(volume: &Value) -> String {
    const OTHERS: [&str; 9] = [
        "accessModes",
        "capacity",
        "claimRef",
        "mountOptions",
        "nodeAffinity",
        "persistentVolumeReclaimPolicy",
        "storageClassName",
        "volumeAttributesClassName",
        "volumeMode",
    ];
    let fields = volume.pointer("/spec").and_then(Value::as_object);
    fields
        .and_then(|fields| fields.keys().find(|key| !OTHERS.contains(&key.as_str())))
        .map_or_else(|| "unknown".to_owned(), Clone::clone)
}

/// For the journal; [`recorded`] reads it.
pub(super) fn parameters(volumes: &[VolumePlan]) -> Value {
    volumes
        .iter()
        .map(|volume| {
            let mut record = json!({"namespace": volume.namespace, "claim": volume.claim, "volume": volume.volume});
            match &volume.fate {
                VolumeFate::Snapshot(snapshot) => {
                    record["snapshot"] = json!({
                        "driver": snapshot.driver, "class": snapshot.class, "why": snapshot.why,
                        "reclaimPolicy": snapshot.reclaim_policy, "volumeLabels": snapshot.volume_labels,
                    });
                    if let Some(group) = &snapshot.group {
                        record["snapshot"]["group"] = group::parameters(group);
                    }
                }
                VolumeFate::LeftOut(reason) => record["leftOut"] = reason.as_str().into(),
                VolumeFate::Unprotected(reason) => record["unprotected"] = reason.as_str().into(),
            }
            record
        })
        .collect()
}

/// What a journal has; `None` where something is missing.
pub(super) fn recorded(value: &Value) -> Option<Vec<VolumePlan>> {
    let volume = |record: &Value| {
        let owned = |pointer: &str| text(record, pointer).map(str::to_owned);
        let fate = if let Some(reason) = owned("/leftOut") {
            VolumeFate::LeftOut(reason)
        } else if let Some(reason) = owned("/unprotected") {
            VolumeFate::Unprotected(reason)
        } else {
            let labels: &Map<String, Value> = record.pointer("/snapshot/volumeLabels")?.as_object()?;
            VolumeFate::Snapshot(SnapshotPlan {
                driver: owned("/snapshot/driver")?,
                class: owned("/snapshot/class")?,
                why: owned("/snapshot/why")?,
                reclaim_policy: owned("/snapshot/reclaimPolicy")?,
                volume_labels: labels
                    .iter()
                    .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect::<Option<_>>()?,
                group: group::recorded(record.get("snapshot")?)?,
            })
        };
        Some(VolumePlan { namespace: owned("/namespace")?, claim: owned("/claim")?, volume: owned("/volume"), fate })
    };
    value.as_array()?.iter().map(volume).collect()
}

/// Whether it is the kind of claims.
fn is_claims(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.plural == "persistentvolumeclaims"
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn strings<'a>(object: &'a Value, pointer: &str) -> BTreeMap<Cow<'a, str>, Cow<'a, str>> {
    let fields = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{DiscoveredKind, EnvironmentName};
    use dxdr_policy::VolumePolicy;

    use super::*;
    use crate::backup::{BackupRequest, RecordedBackup, plan};

    const DRIVER: &str = "disks.example.org";

    fn kinds() -> Vec<DiscoveredKind> {
        let kind = |plural: &str, kind: &str| DiscoveredKind {
            kind: ResourceKind {
                group: String::new(),
                version: "v1".to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced: true,
            },
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: kind.to_lowercase(),
            served_versions: vec!["v1".to_owned()],
        };
        vec![kind("persistentvolumeclaims", "PersistentVolumeClaim"), kind("configmaps", "ConfigMap")]
    }

    fn request() -> BackupRequest {
        BackupRequest::of_environment(EnvironmentName::parse("staging").unwrap(), vec!["staging".to_owned()])
    }

    fn bare(request: &BackupRequest) -> BackupPlan {
        plan(request, &kinds(), &[], "2024-05-01T10:00:00Z".parse().unwrap(), 7).unwrap()
    }

    fn claim() -> Value {
        json!({"metadata": {"namespace": "staging", "name": "data"}, "spec": {"volumeName": "pv-1", "storageClassName": "fast"},
            "status": {"phase": "Bound"}})
    }

    fn class(name: &str, driver: &str) -> Value {
        json!({"metadata": {"name": name}, "driver": driver, "deletionPolicy": "Delete"})
    }

    fn observed(claim: Value, classes: &[Value]) -> ObservedVolumes {
        let volume = json!({"metadata": {"name": "pv-1", "labels": {"zone": "a"}},
            "spec": {"csi": {"driver": DRIVER}, "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Retain"}});
        ObservedVolumes {
            claims: vec![claim],
            volumes: BTreeMap::from([("pv-1".to_owned(), Ok(Some(volume)))]),
            snapshot_classes: Some(Ok(classes.to_vec())),
            ..ObservedVolumes::default()
        }
    }

    fn chosen(claim: Value, classes: &[Value]) -> Result<String, String> {
        match &bare(&request()).with_volumes(&observed(claim, classes)).volumes[0].fate {
            VolumeFate::Snapshot(snapshot) => Ok(format!("{}: {}", snapshot.class, snapshot.why)),
            VolumeFate::Unprotected(reason) => Err(reason.clone()),
            VolumeFate::LeftOut(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn the_class_is_the_one_that_velero_would_take_then_the_drivers_default_then_its_only_one() {
        let other = class("another", "another.example.org");
        let (one, two) = (class("one", DRIVER), class("two", DRIVER));
        let mut labelled = class("z-labelled", DRIVER);
        labelled["metadata"]["labels"] = json!({CLASS: "true"});
        let mut default = class("default", DRIVER);
        default["metadata"]["annotations"] = json!({CLASSES.default: "true"});
        let all = [other.clone(), one.clone(), default.clone(), labelled, two.clone()];
        assert_eq!(chosen(claim(), &all).unwrap(), format!("z-labelled: labelled {CLASS}"));
        assert_eq!(chosen(claim(), &[one.clone(), default, two.clone()]).unwrap(), "default: the driver's default");
        assert_eq!(chosen(claim(), &[other.clone(), one.clone()]).unwrap(), "one: the driver's only one");
        let several = chosen(claim(), &[one, two]).unwrap_err();
        assert!(several.contains("one, two") && several.contains(CLASS), "{several}");
        assert_eq!(chosen(claim(), &[other]).unwrap_err(), format!("no VolumeSnapshotClass is of driver {DRIVER}"));
        let mut annotated = claim();
        annotated["metadata"]["annotations"] = json!({CLASS: "two"});
        assert_eq!(chosen(annotated.clone(), &all).unwrap(), "two: the claim is annotated with it");
        // Of a class that is another driver's, or not there, nothing can be had.
        annotated["metadata"]["annotations"] = json!({CLASS: "another"});
        assert!(chosen(annotated, &all).unwrap().starts_with("z-labelled"));
    }

    #[test]
    fn the_storage_class_may_name_the_class_of_its_snapshots() {
        let storage = json!({"metadata": {"name": "fast", "annotations": {CLASS: "two"}}});
        let mut observed = observed(claim(), &[class("one", DRIVER), class("two", DRIVER)]);
        observed.storage_classes.insert("fast".to_owned(), storage);
        let plan = bare(&request()).with_volumes(&observed);
        assert_eq!(plan.volumes[0].snapshot().unwrap().class, "two");
    }

    #[test]
    fn what_nothing_protects_is_a_gap_and_says_why() {
        let classes = [class("one", DRIVER)];
        let mut gone = observed(claim(), &classes);
        gone.volumes.insert("pv-1".to_owned(), Ok(None));
        let mut unreadable = observed(claim(), &classes);
        unreadable.volumes.insert("pv-1".to_owned(), Err("forbidden".to_owned()));
        let mut host = observed(claim(), &classes);
        host.volumes.insert("pv-1".to_owned(), Ok(Some(json!({"spec": {"capacity": {}, "hostPath": {"path": "/"}}}))));
        let mut lost = claim();
        lost["status"]["phase"] = "Lost".into();
        let unserved = ObservedVolumes { snapshot_classes: None, ..observed(claim(), &[]) };
        let hidden = ObservedVolumes { snapshot_classes: Some(Err("forbidden".to_owned())), ..observed(claim(), &[]) };
        for (observed, expected) in [
            (gone, "the claim is lost: its PersistentVolume pv-1 is gone"),
            (unreadable, "its PersistentVolume pv-1 cannot be read: forbidden"),
            (host, "PersistentVolume pv-1 is of type hostPath, which has no CSI driver to take a snapshot"),
            (self::observed(lost, &classes), "the claim is lost: its PersistentVolume pv-1 is gone"),
            (unserved, "the cluster does not serve snapshot.storage.k8s.io/v1: it has no snapshots"),
            (hidden, "VolumeSnapshotClasses cannot be read: forbidden"),
        ] {
            let plan = bare(&request()).with_volumes(&observed);
            assert_eq!(plan.gaps, [Gap { what: "volume staging/data".to_owned(), reason: expected.to_owned() }]);
            assert_eq!(plan.snapshots().count(), 0);
        }
        let mover = VolumePolicy::by(VolumeMethod::DataMover);
        let plan = bare(&BackupRequest { volumes: mover, ..request() }).with_volumes(&observed(claim(), &classes));
        assert!(plan.gaps[0].reason.contains("engine: velero"), "{:?}", plan.gaps);
    }

    #[test]
    fn what_is_left_out_as_somebody_said_is_stated_and_no_gap() {
        let classes = [class("one", DRIVER)];
        let with = |pointer: &str, value: Value| {
            let mut claim = claim();
            claim["metadata"][pointer] = value;
            claim
        };
        let mut unbound = claim();
        unbound["spec"]["volumeName"] = Value::Null;
        unbound["status"]["phase"] = "Pending".into();
        let none = BackupRequest { volumes: VolumePolicy::by(VolumeMethod::None), policy: Some("cheap".to_owned()), ..request() };
        let mut without = request();
        without.filters.excluded_resources = vec!["persistentvolumeclaims".to_owned()];
        for (request, claim, expected) in [
            (request(), with("labels", json!({EXCLUDE_LABEL: "true"})), "labelled velero.io/exclude-from-backup=true"),
            (request(), with("annotations", json!({EXCLUDE_LABEL: "true"})), "annotated velero.io/exclude-from-backup=true"),
            (request(), with("deletionTimestamp", json!("2024-05-01T09:59:00Z")), "being deleted"),
            (request(), unbound, "not bound"),
            (none, claim(), "policy `cheap` captures no volumes"),
            (without, claim(), "filters leave claims out"),
        ] {
            let plan = bare(&request).with_volumes(&observed(claim, &classes));
            let VolumeFate::LeftOut(reason) = &plan.volumes[0].fate else { panic!("{:?}", plan.volumes) };
            assert!(reason.contains(expected), "{reason}");
            assert!(plan.gaps.is_empty() && plan.steps.snapshot.is_none());
        }
    }

    #[test]
    fn snapshots_come_before_the_capture_and_their_objects_go_last() {
        let plan = bare(&request()).with_volumes(&observed(claim(), &[class("one", DRIVER)]));
        let steps: Vec<&str> = plan.steps.all().iter().map(|step| step.id.as_str()).collect();
        assert_eq!(steps, ["snapshot", "capture", "retain", "describe", "index", "manifest", "release"]);
        assert_eq!(plan.volumes[0].snapshot_name(&plan.point), format!("{}-data", plan.point));
    }

    #[test]
    fn what_the_journal_has_of_volumes_is_what_was_planned() {
        let mut observed = observed(claim(), &[class("one", DRIVER)]);
        let mut unbound = claim();
        unbound["metadata"]["name"] = "later".into();
        unbound["spec"]["volumeName"] = Value::Null;
        let mut lost = claim();
        lost["metadata"]["name"] = "lost".into();
        lost["status"]["phase"] = "Lost".into();
        observed.claims.extend([unbound, lost]);
        let plan = bare(&request()).with_volumes(&observed);
        let parsed = RecordedBackup::parse(plan.environment.clone(), &plan.run, &plan.parameters()).unwrap();
        assert_eq!(parsed.plan(&kinds(), &[]).unwrap(), plan);
        assert_eq!(parsed.captured().unwrap().volumes, plan.volumes);
    }
}
