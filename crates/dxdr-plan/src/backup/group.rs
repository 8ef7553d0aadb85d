//! Volumes that belong together: claims of one namespace with one value of the label that Velero knows, too. Where their driver can, it
//! takes all of them at one instant; where it cannot, each is taken by itself, and the plan says why.
//!
//! The driver is told the label and not the claims. So a group is formed only where the label means exactly what is to be captured.

use std::collections::BTreeMap;

use dxdr_catalog::name;
use serde_json::{Value, json};

use super::{
    BackupPlan,
    class::Choice,
    volume::{LONGEST_NAME, ObservedVolumes, SnapshotPlan, VolumeFate, VolumePlan, text},
};

/// Group of the kinds of group snapshots.
pub const GROUP_SNAPSHOT_GROUP: &str = "groupsnapshot.storage.k8s.io";
/// Versions of these kinds that are spoken, the best one first.
pub const GROUP_SNAPSHOT_VERSIONS: [&str; 3] = ["v1", "v1beta2", "v1beta1"];
/// On a claim: the group that it belongs to.
pub const GROUP_LABEL: &str = "velero.io/volume-group";

const CLASSES: Choice = Choice {
    kind: "VolumeGroupSnapshotClass",
    annotation: "velero.io/csi-volume-group-snapshot-class",
    label: "velero.io/csi-volumegroupsnapshot-class",
    default: "groupsnapshot.storage.kubernetes.io/is-default-class",
};

/// How the volumes of a group are taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// Value of the label that its claims have.
    pub label: String,
    /// The VolumeGroupSnapshotClass.
    pub class: String,
    /// Version of the kinds.
    pub version: String,
}

impl GroupPlan {
    /// The VolumeGroupSnapshot's name in `point`.
    pub fn snapshot_name(&self, point: &str) -> String {
        // A label's value may have what no name may have: `Shop_DB`.
        let named = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
        let mut label: String = self.label.chars().map(named).collect();
        if label != self.label {
            label = format!("{label}-{}", name::fingerprint(&self.label));
        }
        name::shortened(&format!("{point}-{label}"), LONGEST_NAME)
    }
}

/// What the cluster says of group snapshots, where it serves them.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedGroups {
    /// The version to speak.
    pub version: String,
    /// The VolumeGroupSnapshotClasses, or why they cannot be read.
    pub classes: Result<Vec<Value>, String>,
}

/// A group with its volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedGroup<'a> {
    /// Namespace of its claims.
    pub namespace: &'a str,
    /// How they are taken.
    pub group: &'a GroupPlan,
    /// They themselves.
    pub members: Vec<(&'a VolumePlan, &'a SnapshotPlan)>,
}

impl BackupPlan {
    /// The groups of which one snapshot each is taken.
    pub fn groups(&self) -> Vec<PlannedGroup<'_>> {
        of(&self.volumes)
    }
}

/// The groups among `volumes`.
pub(super) fn of(volumes: &[VolumePlan]) -> Vec<PlannedGroup<'_>> {
    let mut groups: BTreeMap<(&str, &str), PlannedGroup<'_>> = BTreeMap::new();
    for volume in volumes {
        let Some(snapshot) = volume.snapshot() else { continue };
        let Some(group) = &snapshot.group else { continue };
        let key = (volume.namespace.as_str(), group.label.as_str());
        let none = || PlannedGroup { namespace: &volume.namespace, group, members: Vec::new() };
        groups.entry(key).or_insert_with(none).members.push((volume, snapshot));
    }
    groups.into_values().collect()
}

/// Puts volumes that belong together into groups, or says why not.
pub(super) fn form(volumes: &mut [VolumePlan], observed: &ObservedVolumes) {
    let mut claims: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for claim in &observed.claims {
        let label = claim.pointer("/metadata/labels").and_then(|labels| labels.get(GROUP_LABEL)).and_then(Value::as_str);
        if let (Some(namespace), Some(label)) = (text(claim, "/metadata/namespace"), label.filter(|label| !label.is_empty())) {
            claims.entry((namespace, label)).or_default().push(claim);
        }
    }
    for ((namespace, label), mut claims) in claims {
        // One volume alone is of one instant anyway.
        if claims.len() < 2 {
            continue;
        }
        claims.sort_by_key(|claim| text(claim, "/metadata/name"));
        let is_member = |volume: &VolumePlan| {
            volume.namespace == namespace && claims.iter().any(|claim| text(claim, "/metadata/name") == Some(&volume.claim))
        };
        let members: Vec<&VolumePlan> = volumes.iter().filter(|volume| is_member(volume)).collect();
        let formed = group(label, &claims, &members, observed);
        for volume in volumes.iter_mut().filter(|volume| is_member(volume)) {
            let VolumeFate::Snapshot(snapshot) = &mut volume.fate else { continue };
            match &formed {
                Ok(group) => snapshot.group = Some(group.clone()),
                Err(reason) => {
                    snapshot.why.push_str(&format!("; not at one instant with the others of group `{label}`: {reason}"));
                }
            }
        }
    }
}

fn group(label: &str, claims: &[&Value], members: &[&VolumePlan], observed: &ObservedVolumes) -> Result<GroupPlan, String> {
    let mut drivers = Vec::new();
    for member in members {
        match member.snapshot() {
            Some(snapshot) => drivers.push(snapshot.driver.as_str()),
            None => return Err(format!("no snapshot is taken of claim {}, which is in it, too", member.claim)),
        }
    }
    drivers.sort_unstable();
    drivers.dedup();
    let [driver] = drivers.as_slice() else {
        return Err(format!("its volumes are of several drivers: {}", drivers.join(", ")));
    };
    let Some(groups) = &observed.groups else {
        return Err(format!("the cluster does not serve {GROUP_SNAPSHOT_GROUP}"));
    };
    let classes = groups.classes.as_ref().map_err(|reason| format!("VolumeGroupSnapshotClasses cannot be read: {reason}"))?;
    let named: Vec<(&str, Option<&Value>)> = claims.iter().map(|claim| ("a claim of it", Some(*claim))).collect();
    let (class, _) = CLASSES.of(driver, &named, classes)?;
    Ok(GroupPlan { label: label.to_owned(), class, version: groups.version.clone() })
}

/// For the journal; [`recorded`] reads it.
pub(super) fn parameters(group: &GroupPlan) -> Value {
    json!({"label": group.label, "class": group.class, "version": group.version})
}

/// What a journal has; the outer `None` where something is missing. Journals of before there were groups have none.
pub(super) fn recorded(snapshot: &Value) -> Option<Option<GroupPlan>> {
    let Some(group) = snapshot.get("group") else { return Some(None) };
    let owned = |key: &str| group.get(key)?.as_str().map(str::to_owned);
    Some(Some(GroupPlan { label: owned("label")?, class: owned("class")?, version: owned("version")? }))
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{DiscoveredKind, EnvironmentName};

    use super::*;
    use crate::{
        backup::{BackupRequest, RecordedBackup, plan},
        restore::volume::claims,
    };

    const DRIVER: &str = "disks.example.org";

    fn kinds() -> Vec<DiscoveredKind> {
        let kind = claims();
        vec![DiscoveredKind {
            kind,
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: "persistentvolumeclaim".to_owned(),
            served_versions: vec!["v1".to_owned()],
        }]
    }

    fn claim(name: &str, label: &str) -> Value {
        json!({
            "metadata": {"namespace": "staging", "name": name, "labels": {GROUP_LABEL: label}},
            "spec": {"volumeName": format!("pv-{name}")}, "status": {"phase": "Bound"}
        })
    }

    fn class(name: &str, driver: &str) -> Value {
        json!({"metadata": {"name": name}, "driver": driver, "deletionPolicy": "Delete"})
    }

    fn volume(driver: &str) -> Result<Option<Value>, String> {
        Ok(Some(json!({"spec": {"csi": {"driver": driver}, "persistentVolumeReclaimPolicy": "Delete"}})))
    }

    /// `data` and `log` in group `shop`, `other` in none.
    fn observed() -> ObservedVolumes {
        let names = ["data", "log", "other"];
        ObservedVolumes {
            claims: vec![claim("log", "shop"), claim("data", "shop"), claim("other", "")],
            volumes: names.map(|name| (format!("pv-{name}"), volume(DRIVER))).into(),
            snapshot_classes: Some(Ok(vec![class("singles", DRIVER)])),
            groups: Some(ObservedGroups { version: "v1beta2".to_owned(), classes: Ok(vec![class("groups", DRIVER)]) }),
            ..ObservedVolumes::default()
        }
    }

    fn planned(observed: &ObservedVolumes) -> BackupPlan {
        let environment = EnvironmentName::parse("staging").unwrap();
        let request = BackupRequest::of_environment(environment, vec!["staging".to_owned()]);
        plan(&request, &kinds(), &[], "2024-05-01T10:00:00Z".parse().unwrap(), 7).unwrap().with_volumes(observed)
    }

    fn members(plan: &BackupPlan) -> Vec<(String, Vec<String>)> {
        let groups = plan.groups().into_iter();
        let name = |group: PlannedGroup<'_>| {
            let members = group.members.iter().map(|(volume, _)| volume.claim.clone());
            (group.group.label.clone(), members.collect())
        };
        groups.map(name).collect()
    }

    #[test]
    fn claims_with_one_label_are_taken_together() {
        let plan = planned(&observed());
        assert_eq!(members(&plan), [("shop".to_owned(), vec!["data".to_owned(), "log".to_owned()])]);
        let groups = plan.groups();
        assert_eq!((groups[0].group.class.as_str(), groups[0].group.version.as_str()), ("groups", "v1beta2"));
        assert_eq!(groups[0].group.snapshot_name(&plan.point), format!("{}-shop", plan.point));
        let awkward = GroupPlan { label: "Shop_DB".to_owned(), ..groups[0].group.clone() };
        assert!(awkward.snapshot_name("point").starts_with("point-shop-db-"), "{}", awkward.snapshot_name("point"));
        assert_eq!(plan.snapshots().count(), 3);
        assert!(plan.gaps.is_empty());
    }

    #[test]
    fn a_group_is_of_one_namespace() {
        let mut observed = observed();
        observed.claims[0]["metadata"]["namespace"] = "another".into();
        assert_eq!(members(&planned(&observed)), []);
    }

    #[test]
    fn one_alone_is_a_snapshot_as_any_other_and_nothing_is_said() {
        let mut observed = observed();
        observed.claims.remove(0);
        let plan = planned(&observed);
        assert_eq!(members(&plan), []);
        assert!(plan.snapshots().all(|(_, snapshot)| snapshot.why == "the driver's only one"));
    }

    #[test]
    fn what_cannot_be_taken_together_is_taken_singly_and_says_why() {
        let unserved = ObservedVolumes { groups: None, ..observed() };
        let none = ObservedGroups { version: "v1".to_owned(), classes: Ok(vec![class("other", "other.example.org")]) };
        let none = ObservedVolumes { groups: Some(none), ..observed() };
        let hidden = ObservedGroups { version: "v1".to_owned(), classes: Err("forbidden".to_owned()) };
        let hidden = ObservedVolumes { groups: Some(hidden), ..observed() };
        let mut mixed = observed();
        mixed.volumes.insert("pv-log".to_owned(), volume("other.example.org"));
        mixed.snapshot_classes = Some(Ok(vec![class("singles", DRIVER), class("others", "other.example.org")]));
        let mut without = observed();
        without.claims[0]["metadata"]["labels"]["velero.io/exclude-from-backup"] = "true".into();
        for (observed, expected) in [
            (unserved, "the cluster does not serve groupsnapshot.storage.k8s.io"),
            (none, "no VolumeGroupSnapshotClass is of driver disks.example.org"),
            (hidden, "VolumeGroupSnapshotClasses cannot be read: forbidden"),
            (mixed, "its volumes are of several drivers: disks.example.org, other.example.org"),
            (without, "no snapshot is taken of claim log, which is in it, too"),
        ] {
            let plan = planned(&observed);
            assert_eq!(members(&plan), [], "{expected}");
            let (_, data) = plan.snapshots().find(|(volume, _)| volume.claim == "data").unwrap();
            assert!(data.why.ends_with(&format!("of group `shop`: {expected}")), "{}", data.why);
        }
    }

    #[test]
    fn a_claim_of_the_group_or_a_label_may_choose_the_class() {
        let mut observed = observed();
        let mut labelled = class("labelled", DRIVER);
        labelled["metadata"]["labels"] = json!({CLASSES.label: "true"});
        let classes = Ok(vec![class("groups", DRIVER), labelled, class("named", DRIVER)]);
        observed.groups = Some(ObservedGroups { version: "v1".to_owned(), classes });
        assert_eq!(planned(&observed).groups()[0].group.class, "labelled");
        observed.claims[0]["metadata"]["annotations"] = json!({CLASSES.annotation: "named"});
        assert_eq!(planned(&observed).groups()[0].group.class, "named");
    }

    #[test]
    fn the_journal_has_groups() {
        let plan = planned(&observed());
        let parameters = plan.parameters();
        let parsed = RecordedBackup::parse(plan.environment.clone(), &plan.run, &parameters).unwrap();
        assert_eq!(parsed.captured().unwrap().groups(), plan.groups());
        let made = RecordedBackup::planned_snapshots(&parameters).unwrap();
        assert_eq!(made.single, [("staging".to_owned(), format!("{}-other", plan.point))]);
        let group = &made.groups[0];
        assert_eq!((group.namespace.as_str(), group.version.as_str()), ("staging", "v1beta2"));
        assert_eq!(group.name, format!("{}-shop", plan.point));
    }
}
