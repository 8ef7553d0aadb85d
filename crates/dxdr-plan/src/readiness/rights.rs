//! What the account must be allowed for what the model promises.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::{DiscoveredKind, Environment, permission::Lacking};
use dxdr_policy::{Engine, ResourceFilters, VolumeMethod};

use super::{Model, Observed, Outcome, Row};
use crate::{
    backup::GROUP_SNAPSHOT_GROUP,
    selection::{Filters, Selection},
};

/// One thing to be allowed: a verb on a resource at a place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `list`
    pub verb: String,
    /// API group; empty for the core group, `*` for all.
    pub group: String,
    /// `secrets`; `*` for all.
    pub resource: String,
    /// `None`: at the cluster scope.
    pub namespace: Option<String>,
}

impl Right {
    fn new(verb: &str, group_resource: &str, namespace: Option<&str>) -> Self {
        let (resource, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    /// `leases.coordination.k8s.io`
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) }
    }
}

/// What somebody wants to do, and the rights that takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// `back up staging`
    pub title: String,
    /// For the name of the Role that grants them: `backup`.
    pub role: &'static str,
    /// The rights, each once.
    pub rights: Vec<Right>,
}

/// Restores never write these, whoever may.
const NEVER_RESTORED: [&str; 4] =
    ["events", "events.events.k8s.io", "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io"];

/// What the model asks of the account on a server that serves `kinds`.
pub fn activities(model: &Model<'_>, kinds: &[DiscoveredKind]) -> Vec<Activity> {
    let mut activities = Vec::new();
    for environment in model.environments {
        let taken = taken(model, environment, kinds);
        let groups = kinds.iter().any(|kind| kind.kind.group == GROUP_SNAPSHOT_GROUP);
        activities.push(backup(model, environment, &taken, groups));
        activities.push(restore(model, environment, &taken, groups));
    }
    if model.needs_velero() {
        activities.push(schedules(model));
    }
    activities
}

/// The kinds in the environment's namespace that its backups take. A policy's filters that make no sense are told elsewhere.
fn taken(model: &Model<'_>, environment: &Environment, kinds: &[DiscoveredKind]) -> Vec<String> {
    let none = ResourceFilters::default();
    let filters = model.policy_of(environment).map_or(&none, |policy| &policy.resources);
    let selection = Selection::parse(&Filters::of_policy(environment.namespace.as_str(), filters));
    let taken = selection.map(|selection| selection.resolve(kinds).kinds).unwrap_or_default();
    taken.iter().filter(|kind| kind.namespaced).map(|kind| kind.group_resource()).collect()
}

fn activity(title: String, role: &'static str, rights: impl IntoIterator<Item = Right>) -> Activity {
    let rights: BTreeSet<Right> = rights.into_iter().collect();
    Activity { title, role, rights: rights.into_iter().collect() }
}

fn each(verbs: &[&str], resource: &str, namespace: Option<&str>) -> Vec<Right> {
    verbs.iter().map(|verb| Right::new(verb, resource, namespace)).collect()
}

fn leases(model: &Model<'_>) -> Vec<Right> {
    each(&["get", "create", "update"], "leases.coordination.k8s.io", Some(model.lease_namespace))
}

/// `groups`: whether volumes may be taken together.
fn backup(model: &Model<'_>, environment: &Environment, taken: &[String], groups: bool) -> Activity {
    let namespace = Some(environment.namespace.as_str());
    let policy = model.policy_of(environment);
    let mut rights = leases(model);
    if policy.is_some_and(|policy| policy.engine == Engine::Velero) {
        let velero = Some(model.velero_namespace);
        rights.extend(each(&["get", "create", "list", "watch"], "backups.velero.io", velero));
        rights.extend(each(&["list"], "backupstoragelocations.velero.io", velero));
        rights.extend(each(&["get", "create", "delete"], "serverstatusrequests.velero.io", velero));
        return activity(format!("back up {}", environment.name), "backup", rights);
    }
    rights.extend(each(&["get"], "namespaces", namespace));
    rights.extend(taken.iter().map(|resource| Right::new("list", resource, namespace)));
    if policy.is_none_or(|policy| policy.volumes.method == VolumeMethod::CsiSnapshot) {
        rights.extend(each(&["get", "list", "watch", "create", "delete"], "volumesnapshots.snapshot.storage.k8s.io", namespace));
        rights.extend(each(&["get", "patch", "delete"], "volumesnapshotcontents.snapshot.storage.k8s.io", None));
        rights.extend(each(&["list"], "volumesnapshotclasses.snapshot.storage.k8s.io", None));
        rights.extend(each(&["get"], "persistentvolumes", None));
        rights.extend(each(&["get"], "storageclasses.storage.k8s.io", None));
        if groups {
            // A group's snapshots are made by the controller, and labelled.
            rights.extend(each(&["patch"], "volumesnapshots.snapshot.storage.k8s.io", namespace));
            rights.extend(each(&["get", "create", "delete"], "volumegroupsnapshots.groupsnapshot.storage.k8s.io", namespace));
            rights.extend(each(&["get", "patch", "delete"], "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io", None));
            rights.extend(each(&["list"], "volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io", None));
        }
    }
    activity(format!("back up {}", environment.name), "backup", rights)
}

/// In place; beside, the same is needed there, and to create the namespace.
fn restore(model: &Model<'_>, environment: &Environment, taken: &[String], groups: bool) -> Activity {
    let namespace = Some(environment.namespace.as_str());
    let mut rights = leases(model);
    rights.extend(each(&["create"], "namespaces", None));
    for resource in taken.iter().filter(|resource| !NEVER_RESTORED.contains(&resource.as_str())) {
        rights.extend(each(&["get", "list", "create", "patch", "update"], resource, namespace));
    }
    if model.policy_of(environment).is_none_or(|policy| policy.volumes.method == VolumeMethod::CsiSnapshot) {
        // What stands for a snapshot while a claim is filled from it.
        let verbs = ["get", "list", "create", "delete"];
        rights.extend(each(&verbs, "volumesnapshots.snapshot.storage.k8s.io", namespace));
        rights.extend(each(&verbs, "volumesnapshotcontents.snapshot.storage.k8s.io", None));
        rights.extend(each(&["list"], "volumesnapshotclasses.snapshot.storage.k8s.io", None));
        // Whether a claim that is not bound has failed, or waits for a pod.
        rights.extend(each(&["get"], "storageclasses.storage.k8s.io", None));
        rights.extend(each(&["list"], "pods", namespace));
        if groups {
            rights.extend(each(&["create", "delete"], "volumegroupsnapshotcontents.groupsnapshot.storage.k8s.io", None));
        }
    }
    if model.policy_of(environment).is_some_and(|policy| policy.engine == Engine::Velero) {
        // What only Velero can read comes back through Restores of its own; copies made file by file through pods that are removed again.
        let velero = Some(model.velero_namespace);
        rights.extend(each(&["get"], "backups.velero.io", velero));
        rights.extend(each(&["get"], "backupstoragelocations.velero.io", velero));
        rights.extend(each(&["get", "list", "create", "update", "delete", "watch"], "restores.velero.io", velero));
        // What Velero copies for a Restore is cancelled where the run is given up.
        for copies in ["podvolumerestores.velero.io", "datadownloads.velero.io"] {
            rights.extend(each(&["get", "list", "update"], copies, velero));
        }
        rights.extend(each(&["create", "patch", "delete"], "configmaps", velero));
        rights.extend(each(&["get"], "daemonsets.apps", velero));
        rights.extend(each(&["list", "delete"], "pods", namespace));
        rights.extend(each(&["list"], "events", namespace));
        rights.extend(each(&["get", "update"], "persistentvolumeclaims", namespace));
    }
    activity(format!("restore {}", environment.name), "restore", rights)
}

fn schedules(model: &Model<'_>) -> Activity {
    let namespace = model.velero_namespace;
    let mut rights = each(&["get", "create", "delete"], "serverstatusrequests.velero.io", Some(namespace));
    rights.extend(each(&["list", "create", "patch", "delete"], "schedules.velero.io", Some(namespace)));
    rights.extend(each(&["list", "create", "patch"], "backupstoragelocations.velero.io", Some(namespace)));
    let makes_snapshot_locations = model.stores.iter().any(|store| !store.snapshot_locations().is_empty());
    let verbs: &[&str] = if makes_snapshot_locations { &["list", "create", "patch"] } else { &["list"] };
    rights.extend(each(verbs, "volumesnapshotlocations.velero.io", Some(namespace)));
    activity("apply schedules".to_owned(), "schedules", rights)
}

/// A row an activity.
pub(super) fn rows(observed: &Observed) -> Vec<Row> {
    observed.rights.iter().map(|(activity, answers)| row(observed, activity, answers)).collect()
}

fn row(observed: &Observed, activity: &Activity, answers: &[(Right, super::Answer<bool>)]) -> Row {
    let what = format!("rights: {}", activity.title);
    if let Some(trouble) = answers.iter().find_map(|(_, answer)| answer.as_ref().err()) {
        return Row {
            remedies: trouble.hints.clone(),
            ..Row::new(what, Outcome::Unknown, format!("the server does not say: {}", trouble.message))
        };
    }
    let lacking: Vec<&Right> = answers.iter().filter(|(_, answer)| answer == &Ok(false)).map(|(right, _)| right).collect();
    if lacking.is_empty() {
        let who = observed.user.as_deref().map_or_else(String::new, |user| format!(" to `{user}`"));
        return Row::good(what, format!("all {} are granted{who}", activity.rights.len()));
    }
    let mut row = Row::new(what, Outcome::Unreachable, told(&lacking));
    let user = observed.user.as_deref().unwrap_or("ACCOUNT");
    for ((namespace, verbs), resources) in grouped(&lacking) {
        let name = format!("dxdr-{}", activity.role);
        let lacking = Lacking {
            user,
            name: &format!("{name}-{}", verbs.join("-")),
            verbs: &verbs.join(","),
            resources: &resources.join(","),
            namespace,
        };
        let [role, binding] = lacking.grant();
        row = row.remedy(format!("`{role}` and `{binding}`"));
    }
    row
}

/// Resources that lack the same verbs at the same place, under one command.
fn grouped<'a>(lacking: &[&'a Right]) -> BTreeMap<(Option<&'a str>, Vec<&'a str>), Vec<String>> {
    let mut verbs: BTreeMap<(Option<&str>, String), Vec<&str>> = BTreeMap::new();
    for right in lacking {
        verbs.entry((right.namespace.as_deref(), right.group_resource())).or_default().push(right.verb.as_str());
    }
    let mut grouped: BTreeMap<(Option<&str>, Vec<&str>), Vec<String>> = BTreeMap::new();
    for ((namespace, resource), verbs) in verbs {
        grouped.entry((namespace, verbs)).or_default().push(resource);
    }
    grouped
}

fn told(lacking: &[&Right]) -> String {
    let parts = grouped(lacking).into_iter().map(|((namespace, verbs), resources)| {
        let (first, rest) = resources.split_at(resources.len().min(4));
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        let place =
            namespace.map_or_else(|| "at the cluster scope".to_owned(), |namespace| format!("in namespace `{namespace}`"));
        format!("{} on {}{more} {place}", verbs.join(", "), first.join(", "))
    });
    format!("the account lacks {}", parts.collect::<Vec<_>>().join("; "))
}
