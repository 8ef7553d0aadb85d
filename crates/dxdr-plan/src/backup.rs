//! The plan of a backup: everything fixed before anything is done.
//!
//! Lists stand in the order in which their kinds are restored, so that an archive of ours is restored in one or two passes.

mod class;
pub(crate) mod database;
pub(crate) mod export;
mod group;
mod hook;
mod instance;
mod log;
mod point_databases;
mod recorded;
mod volume;

use dxdr_catalog::{Gap, Sha256, Trigger, name};
use dxdr_environment::{DiscoveredKind, EnvironmentName, ResourceKind};
use dxdr_policy::{VolumeMethod, VolumePolicy};
use jiff::{SignedDuration, Timestamp};

pub use {
    database::{DATABASES_FOLDER, DatabaseFate, DatabasePlan, DumpPlan, Late, planned as planned_databases},
    export::ExportPlan,
    group::{GROUP_LABEL, GROUP_SNAPSHOT_GROUP, GROUP_SNAPSHOT_VERSIONS, GroupPlan, ObservedGroups, PlannedGroup},
    hook::{HookPlan, HookTime},
    instance::InstanceBackupPlan,
    log::LogPlan,
    point_databases::{PointDatabases, Stillness},
    recorded::{MadeGroup, MadeSnapshots, RecordedBackup},
    volume::{ObservedVolumes, SNAPSHOT_GROUP, SnapshotPlan, VolumeFate, VolumePlan},
};

use export::Asked;

use crate::{
    error::PlanError,
    label::{LabelSelector, Operator, Requirement},
    order::StageName,
    related,
    selection::{Decision, Filters, LeftOutKind, ObjectHead, ResolvedSelection, Selection, SkipReason},
    step::Step,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupRequest {
    /// Whose recovery point it will be.
    pub environment: EnvironmentName,
    /// The namespaces to read, each by its name; patterns are settled before.
    pub namespaces: Vec<String>,
    /// What to take of them.
    pub filters: Filters,
    /// Which Secrets to take.
    pub secrets: SecretsRule,
    /// How volumes are captured.
    pub volumes: VolumePolicy,
    /// How long the point is kept; `None`: until somebody deletes it.
    pub keep: Option<SignedDuration>,
    /// Why it is taken.
    pub trigger: Trigger,
    /// The policy it is taken under.
    pub policy: Option<String>,
    /// SHA-256 of the environment model.
    pub environment_digest: Option<Sha256>,
}

impl BackupRequest {
    /// Everything in the namespaces, Secrets and volumes included, kept for ever.
    pub fn of_environment(environment: EnvironmentName, namespaces: Vec<String>) -> Self {
        Self {
            environment,
            filters: Filters { included_namespaces: namespaces.clone(), ..Filters::default() },
            namespaces,
            secrets: SecretsRule::All,
            volumes: VolumePolicy::by(VolumeMethod::CsiSnapshot),
            keep: None,
            trigger: Trigger::Requested,
            policy: None,
            environment_digest: None,
        }
    }
}

/// Which Secrets go into the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsRule {
    /// All of them, as plain as the API has them.
    All,
    /// None that a SealedSecret makes again.
    LeaveOutSealed,
}

/// A backup, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupPlan {
    /// Name of the recovery point.
    pub point: String,
    /// Name of the run.
    pub run: String,
    /// Whose point it is.
    pub environment: EnvironmentName,
    /// The namespaces it covers.
    pub namespaces: Vec<String>,
    /// Why it is taken.
    pub trigger: Trigger,
    /// The policy it is taken under.
    pub policy: Option<String>,
    /// SHA-256 of the environment model.
    pub environment_digest: Option<Sha256>,
    /// When it was planned.
    pub started: Timestamp,
    /// When retention may remove it.
    pub expires: Option<Timestamp>,
    /// What is listed, in the order in which it goes into the archive.
    pub lists: Vec<ListTask>,
    /// Kinds of which single objects may be fetched besides, because others need them.
    pub related_kinds: Vec<ResourceKind>,
    /// Kinds that are not read, and why.
    pub left_out_kinds: Vec<LeftOutKind>,
    /// Names in the filters that mean nothing on this server.
    pub unresolved: Vec<String>,
    /// What is known to be missing before it begins: API groups that did not answer.
    pub gaps: Vec<Gap>,
    /// Which Secrets go into the archive.
    pub secrets: SecretsRule,
    /// How volumes are captured.
    pub volume_policy: VolumePolicy,
    /// What becomes of each volume, by namespace and claim.
    pub volumes: Vec<VolumePlan>,
    /// Namespaces of which nobody knows what volumes there are, and why.
    pub unknown_volumes: Vec<Gap>,
    /// What runs in pods around the snapshots.
    pub hooks: Vec<HookPlan>,
    /// What becomes of each database.
    pub databases: Vec<DatabasePlan>,
    /// Keys that will be written, relative to the point's folder, in order.
    pub keys: Vec<String>,
    /// What the run does.
    pub steps: BackupSteps,
    filters: Filters,
    selection: ResolvedSelection,
}

/// One list to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListTask {
    /// The kind.
    pub kind: ResourceKind,
    /// The namespace; `None`: a cluster-scoped kind, or all namespaces.
    pub namespace: Option<String>,
    /// What the server shall leave out, in kubectl's syntax. [`BackupPlan::decide`] decides in any case.
    pub label_selector: Option<String>,
}

/// The steps of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSteps {
    /// Having applications hold still.
    pub quiesce: Option<Step>,
    /// Having snapshots of volumes taken.
    pub snapshot: Option<Step>,
    /// Having applications go on.
    pub thaw: Option<Step>,
    /// Reading the cluster into the archive.
    pub capture: Step,
    /// Bringing the databases into the store.
    pub dump: Option<Step>,
    /// Having the database service write databases into the store.
    pub export: Option<Step>,
    /// Making sure of the snapshots.
    pub retain: Option<Step>,
    /// Writing what describes the archive.
    pub describe: Step,
    /// Making it possible to find the point.
    pub index: Step,
    /// Making it a recovery point.
    pub manifest: Step,
    /// Removing what was only needed to take snapshots.
    pub release: Option<Step>,
}

impl BackupSteps {
    /// All of them in order.
    pub fn all(&self) -> Vec<&Step> {
        let always = |step| Some(step);
        [
            self.quiesce.as_ref(),
            self.snapshot.as_ref(),
            self.thaw.as_ref(),
            always(&self.capture),
            self.dump.as_ref(),
            self.export.as_ref(),
            self.retain.as_ref(),
            always(&self.describe),
            always(&self.index),
            always(&self.manifest),
            self.release.as_ref(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// All of them in order, for the journal.
    pub fn records(&self) -> Vec<Step> {
        self.all().into_iter().cloned().collect()
    }
}

/// Plans a backup of what `kinds` names. `failed_groups` are API groups that discovery could not read, with the reason: gaps of the
/// point. The same arguments make the same plan.
pub fn plan(
    request: &BackupRequest,
    kinds: &[DiscoveredKind],
    failed_groups: &[(String, String)],
    now: Timestamp,
    seed: u64,
) -> Result<BackupPlan, PlanError> {
    let selection = Selection::parse(&request.filters)?.resolve(kinds);
    let lists = lists(request, &selection, kinds);
    if !lists.iter().any(|task| !is_namespaces(&task.kind)) {
        let reason = match selection.unresolved.as_slice() {
            [] => "the filters leave no kind over".to_owned(),
            names => format!("the server does not know {}", names.join(", ")),
        };
        return Err(PlanError::Nothing { reason });
    }
    let gaps =
        failed_groups.iter().map(|(group, reason)| Gap { what: format!("API group {group}"), reason: reason.clone() }).collect();
    let related_kinds = kinds.iter().map(|kind| kind.kind.clone()).filter(related::may_be_related).collect();
    Ok(assembled(request, selection, lists, now, seed).with(related_kinds, gaps))
}

/// The plan around its lists.
fn assembled(
    request: &BackupRequest,
    selection: ResolvedSelection,
    lists: Vec<ListTask>,
    now: Timestamp,
    seed: u64,
) -> BackupPlan {
    let expires = request.keep.and_then(|keep| now.checked_add(keep).ok());
    let point = name::point_name(&request.environment, now, seed);
    let steps = steps(&request.namespaces, lists.len(), Quantities::default(), &point);
    BackupPlan {
        run: name::run_name("backup", &request.environment, now, seed),
        environment: request.environment.clone(),
        namespaces: request.namespaces.clone(),
        trigger: request.trigger.clone(),
        policy: request.policy.clone(),
        environment_digest: request.environment_digest,
        started: now,
        expires,
        lists,
        related_kinds: Vec::new(),
        left_out_kinds: selection.left_out.clone(),
        unresolved: selection.unresolved.clone(),
        gaps: Vec::new(),
        secrets: request.secrets,
        volume_policy: request.volumes,
        volumes: Vec::new(),
        unknown_volumes: Vec::new(),
        hooks: Vec::new(),
        databases: Vec::new(),
        keys: keys(&point, false),
        steps,
        filters: request.filters.clone(),
        selection,
        point,
    }
}

impl BackupPlan {
    /// The same plan under the names that an earlier process of its run chose.
    pub fn named(mut self, point: &str, run: &str) -> Self {
        self.point = point.to_owned();
        self.run = run.to_owned();
        self.lay_out();
        self
    }

    /// Fixes keys and steps, by the names and the volumes that the plan has.
    fn lay_out(&mut self) {
        let of = self.point_databases();
        let dumps = of.dumps().map(|(_, dump)| dump.key.clone());
        let databases: Vec<String> = dumps.chain(of.exports().map(|(_, export)| export.key.clone())).collect();
        let (dumps, asked) = (of.dumps().count(), Asked::of(&self.databases));
        let snapshots = self.snapshots().count();
        self.keys = keys(&self.point, snapshots > 0);
        // Behind the archive, before what makes the backup visible to Velero.
        self.keys.splice(1..1, databases);
        let quantities = Quantities {
            snapshots,
            before: self.hooks(HookTime::Before).count(),
            after: self.hooks(HookTime::After).count(),
            dumps,
            asked,
        };
        self.steps = steps(&self.namespaces, self.lists.len(), quantities, &self.point);
    }

    fn with(self, related_kinds: Vec<ResourceKind>, gaps: Vec<Gap>) -> Self {
        Self { related_kinds, gaps, ..self }
    }

    /// What becomes of one listed object.
    pub fn decide(&self, kind: &ResourceKind, head: &ObjectHead<'_>) -> Decision {
        match self.selection.decide(kind, head) {
            Decision::Keep if self.secrets == SecretsRule::LeaveOutSealed && is_sealed(kind, head) => {
                Decision::Skip(SkipReason::Sealed)
            }
            decision => decision,
        }
    }
}

/// In the order of restoring; within a stage by name, so that two plans of one cluster are the same.
fn lists(request: &BackupRequest, selection: &ResolvedSelection, kinds: &[DiscoveredKind]) -> Vec<ListTask> {
    let pushed_down = selection.selection().pushed_down_selector().map(ToString::to_string);
    let everywhere = selection.selection().includes_all_namespaces() && request.namespaces.is_empty();
    let mut lists = Vec::new();
    for kind in selection.kinds.iter().filter(|kind| !is_namespaces(kind)) {
        let task = |namespace| ListTask { kind: kind.clone(), namespace, label_selector: pushed_down.clone() };
        if !kind.namespaced || everywhere {
            lists.push(task(None));
        } else {
            lists.extend(request.namespaces.iter().map(|namespace| task(Some(namespace.clone()))));
        }
    }
    // The Namespace objects belong to the backup whatever the filters say of cluster-scoped kinds.
    if let Some(namespaces) = kinds.iter().map(|kind| &kind.kind).find(|kind| is_namespaces(kind)) {
        let label_selector = if everywhere { pushed_down } else { Some(named(&request.namespaces)) };
        lists.push(ListTask { kind: namespaces.clone(), namespace: None, label_selector });
    }
    lists.sort_by_cached_key(|task| {
        (StageName::of(&task.kind.group, &task.kind.plural), task.kind.group_resource(), task.namespace.clone())
    });
    lists
}

/// Every API server puts a namespace's name into this label, and lets nobody change it.
fn named(namespaces: &[String]) -> String {
    let requirement =
        Requirement { key: "kubernetes.io/metadata.name".to_owned(), operator: Operator::In, values: namespaces.to_vec() };
    LabelSelector { requirements: vec![requirement] }.to_string()
}

/// Velero's objects in the order in which they are written; its metadata, which makes the backup visible to Velero, behind the rest.
fn keys(point: &str, snapshots: bool) -> Vec<String> {
    let contents = snapshots.then_some("csi-volumesnapshotcontents.json.gz");
    [
        "tar.gz",
        "logs.gz",
        "results.gz",
        "resource-list.json.gz",
        "volumesnapshots.json.gz",
        "podvolumebackups.json.gz",
        "itemoperations.json.gz",
        "volumeinfo.json.gz",
    ]
    .into_iter()
    .chain(contents)
    .map(|suffix| if suffix == "tar.gz" { format!("{point}.{suffix}") } else { format!("{point}-{suffix}") })
    .chain(["velero-backup.json".to_owned()])
    .collect()
}

/// How much there is to do around volumes.
#[derive(Default)]
struct Quantities {
    snapshots: usize,
    before: usize,
    after: usize,
    dumps: usize,
    asked: Asked,
}

fn steps(namespaces: &[String], lists: usize, quantities: Quantities, point: &str) -> BackupSteps {
    let Quantities { snapshots, before, after, dumps, asked } = quantities;
    let namespaces = if namespaces.is_empty() { "all namespaces".to_owned() } else { namespaces.join(", ") };
    let with_snapshots = |id: &str, title: String, reason: &str| (snapshots > 0).then(|| Step::new(id, title, reason, true));
    let volumes = if snapshots == 1 { "1 volume".to_owned() } else { format!("{snapshots} volumes") };
    let hooks = |count: usize| if count == 1 { "1 hook".to_owned() } else { format!("{count} hooks") };
    BackupSteps {
        quiesce: (before > 0).then(|| {
            Step::new(
                "quiesce",
                format!("Run {} before the snapshots", hooks(before)),
                "pods ask for it by Velero's annotations, so that what is on their volumes fits together",
                true,
            )
        }),
        thaw: (after > 0).then(|| {
            Step::new(
                "thaw",
                format!("Run {} after the snapshots", hooks(after)),
                "whatever became of the snapshots, and also when the run is stopped: applications must go on",
                true,
            )
        }),
        snapshot: with_snapshots(
            "snapshot",
            format!("Have snapshots taken of {volumes}"),
            "all at once, just before the objects are read, so that they are of one moment; named after the point, so that none is taken twice",
        ),
        capture: Step::new(
            "capture",
            format!("Read {lists} lists of {namespaces} into the archive"),
            "the objects as the API server has them, each kind as of one moment",
            true,
        ),
        dump: database::dump_step(dumps),
        export: export::step(asked),
        retain: with_snapshots(
            "retain",
            "Wait until the snapshots can be restored from".to_owned(),
            "some storage uploads them first; the point says which can be relied on",
        ),
        describe: Step::new(
            "describe",
            "Describe the archive",
            "Velero's own readers expect these objects; the metadata is written last and already final",
            true,
        ),
        index: Step::new(
            "index",
            "Enter it into the index",
            "the point for an instant is found in one request; an entry without a manifest is passed over",
            true,
        ),
        manifest: Step::new(
            "manifest",
            format!("Write the manifest of {point}"),
            "the recovery point exists from here on, and not before",
            true,
        ),
        release: with_snapshots(
            "release",
            "Take the snapshots' objects out of the cluster".to_owned(),
            "the storage keeps the snapshots, and the point names them; until there is a point, what was made can still be removed through its objects",
        ),
    }
}

fn is_namespaces(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

/// Whether a SealedSecret's controller made this Secret and makes it again.
fn is_sealed(kind: &ResourceKind, head: &ObjectHead<'_>) -> bool {
    kind.group.is_empty()
        && kind.plural == "secrets"
        && head
            .owners
            .iter()
            .any(|owner| owner.controller && owner.kind == "SealedSecret" && owner.api_version.starts_with("bitnami.com/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selection::{Filters, OwnerHead};

    fn discovered(name: &str, kind: &str, namespaced: bool) -> DiscoveredKind {
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        DiscoveredKind {
            kind: ResourceKind {
                group: group.to_owned(),
                version: "v1".to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced,
            },
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: kind.to_lowercase(),
            served_versions: vec!["v1".to_owned()],
        }
    }

    fn kinds() -> Vec<DiscoveredKind> {
        vec![
            discovered("deployments.apps", "Deployment", true),
            discovered("nodes", "Node", false),
            discovered("namespaces", "Namespace", false),
            discovered("secrets", "Secret", true),
            discovered("ingresses.networking.k8s.io", "Ingress", true),
            discovered("serviceaccounts", "ServiceAccount", true),
        ]
    }

    fn request() -> BackupRequest {
        BackupRequest::of_environment(
            EnvironmentName::parse("staging").unwrap(),
            vec!["staging".to_owned(), "staging-jobs".to_owned()],
        )
    }

    fn started() -> Timestamp {
        "2024-05-01T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn lists_stand_in_the_order_of_restoring() {
        let plan = plan(&request(), &kinds(), &[], started(), 7).unwrap();
        let lists: Vec<_> = plan
            .lists
            .iter()
            .map(|task| format!("{} {}", task.kind, task.namespace.as_deref().or(task.label_selector.as_deref()).unwrap_or("-")))
            .collect();
        assert_eq!(
            lists,
            [
                "namespaces kubernetes.io/metadata.name in (staging,staging-jobs)",
                "serviceaccounts staging",
                "serviceaccounts staging-jobs",
                "secrets staging",
                "secrets staging-jobs",
                "deployments.apps staging",
                "deployments.apps staging-jobs",
                "ingresses.networking.k8s.io staging",
                "ingresses.networking.k8s.io staging-jobs",
            ]
        );
    }

    #[test]
    fn the_order_of_discovery_changes_nothing() {
        let mut turned = kinds();
        turned.reverse();
        let (left, right) =
            (plan(&request(), &kinds(), &[], started(), 7).unwrap(), plan(&request(), &turned, &[], started(), 7).unwrap());
        assert_eq!((left.lists, left.point, left.keys), (right.lists, right.point, right.keys));
    }

    #[test]
    fn a_group_that_does_not_answer_is_a_gap_before_it_begins() {
        let failed = [("metrics.example.org/v1".to_owned(), "503".to_owned())];
        let plan = plan(&request(), &kinds(), &failed, started(), 7).unwrap();
        assert_eq!(plan.gaps, [Gap { what: "API group metrics.example.org/v1".to_owned(), reason: "503".to_owned() }]);
    }

    #[test]
    fn a_backup_of_nothing_is_refused() {
        let filters = Filters {
            included_namespaces: vec!["staging".to_owned()],
            included_resources: vec!["unicorns".to_owned()],
            ..Filters::default()
        };
        let request = BackupRequest { filters, ..request() };
        let refused = plan(&request, &kinds(), &[], started(), 7).unwrap_err();
        assert_eq!(refused.to_string(), "there is nothing to back up: the server does not know unicorns");
    }

    #[test]
    fn a_secret_that_a_sealed_secret_makes_is_left_out_when_the_policy_says_so() {
        let secrets = kinds()[3].kind.clone();
        let owner = |kind, controller| OwnerHead { api_version: "bitnami.com/v1alpha1", kind, name: "db", controller };
        let sealed_only = BackupRequest { secrets: SecretsRule::LeaveOutSealed, ..request() };
        for (case, request, owners, expected) in [
            ("made by a SealedSecret", &sealed_only, vec![owner("SealedSecret", true)], Decision::Skip(SkipReason::Sealed)),
            ("somebody's own", &sealed_only, vec![], Decision::Keep),
            ("not managed by it", &sealed_only, vec![owner("SealedSecret", false)], Decision::Keep),
            ("another owner", &sealed_only, vec![owner("Database", true)], Decision::Keep),
            ("the policy takes all", &request(), vec![owner("SealedSecret", true)], Decision::Keep),
        ] {
            let plan = plan(request, &kinds(), &[], started(), 7).unwrap();
            let head = ObjectHead { name: "db", namespace: Some("staging"), labels: None, deleting: false, owners: &owners };
            assert_eq!(plan.decide(&secrets, &head), expected, "{case}");
        }
    }

    #[test]
    fn the_metadata_that_velero_looks_for_is_written_last() {
        let plan = plan(&request(), &kinds(), &[], started(), 7).unwrap();
        assert_eq!(plan.keys.first(), Some(&format!("{}.tar.gz", plan.point)));
        assert_eq!(plan.keys.last().map(String::as_str), Some("velero-backup.json"));
        assert_eq!(plan.expires, None);
        let week = BackupRequest { keep: Some(SignedDuration::from_hours(7 * 24)), ..request() };
        let plan = super::plan(&week, &kinds(), &[], started(), 7).unwrap();
        assert_eq!(plan.expires.map(|expires| expires.to_string()).as_deref(), Some("2024-05-08T10:00:00Z"));
    }
}
