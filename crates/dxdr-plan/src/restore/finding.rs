//! What planning finds that a person should know, said once for all objects it holds for.

use std::collections::BTreeMap;

use dxdr_environment::ObjectReference;

use super::volume::SNAPSHOTS;
use crate::review::{Note, Severity};

/// Why nothing is in a new volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Emptiness {
    /// The point was to have it, and has not.
    Lacking,
    /// Somebody said that it be left out.
    LeftOut,
    /// It is asked for.
    Asked,
    /// There was none.
    NeverBound,
}

/// One sort of finding. The order is that of the notes of one severity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finding {
    NothingThere { namespace: String },
    Terminating { namespace: String },
    NamespaceMissing { namespace: String },
    Quota { quota: String, resource: String, allowed: u64, needed: u64, stands: bool },
    NotServed { kind: String, served: String },
    Immutable,
    BeingDeleted,
    Unknown { kind: String, reason: String },
    SnapshotsNotServed,
    CopyWithoutPod,
    HalfFilled { point: String, starts: bool },
    NoRoom { class: String },
    PodsInTheWay,
    TooManyPods,
    EmptyVolumes { why: Emptiness },
    ByHand,
    Late,
    PodVolumes,
    VolumesStay,
    NoDriver { driver: String },
    NoStorageClass { class: String },
    WaitsForPod,
    NoClusterRole { role: String },
    SharedStorage,
    SharedThroughVelero { everything: bool, copied: bool },
    ClaimsRemoved,
    Sealed,
    SealedWithoutSecret,
    ControlsOutside,
    Hosts,
    LoadBalancers,
    CronJobs,
    RunningJobs,
    ClusterRights,
    NamesSource { namespace: String },
    Recreated,
    Orphans,
    SharedByCluster,
    TargetExists { namespace: String },
    UnresolvedKind { name: String },
}

impl Finding {
    fn severity(&self) -> Severity {
        match self {
            Self::NothingThere { .. }
            | Self::Terminating { .. }
            | Self::NamespaceMissing { .. }
            | Self::SnapshotsNotServed
            | Self::CopyWithoutPod
            | Self::HalfFilled { starts: true, .. }
            | Self::NoRoom { .. }
            | Self::PodsInTheWay
            | Self::TooManyPods
            | Self::SharedThroughVelero { .. }
            | Self::Quota { stands: true, .. } => Severity::Fatal,
            Self::EmptyVolumes { why: Emptiness::NeverBound }
            | Self::Recreated
            | Self::Orphans
            | Self::SharedByCluster
            | Self::TargetExists { .. } => Severity::Information,
            _ => Severity::Warning,
        }
    }

    fn text(&self, count: u32) -> String {
        let (noun, are, was, have, stay, they, them) = if count == 1 {
            ("object", "is", "was", "has", "stays", "it", "it")
        } else {
            ("objects", "are", "were", "have", "stay", "they", "them")
        };
        let these = format!("{count} {noun}");
        match self {
            Self::NothingThere { namespace } => {
                format!("the archive holds nothing of namespace `{namespace}` that could be restored")
            }
            Self::Terminating { namespace } => format!("namespace `{namespace}` is being deleted, and takes nothing new"),
            Self::NamespaceMissing { namespace } => {
                format!("namespace `{namespace}` does not exist, and the archive has no Namespace object to create it from")
            }
            Self::Quota { quota, resource, allowed, needed, .. } => {
                format!("quota `{quota}` allows {allowed} of `{resource}`, and {needed} are needed")
            }
            Self::NotServed { kind, served } if served.is_empty() => {
                format!("{these} of kind {kind} {are} left out: the target does not serve it")
            }
            Self::NotServed { kind, served } => {
                format!("{these} of kind {kind} {are} left out: the target serves it as {served} only")
            }
            Self::Immutable => format!("{these} {have} a field that differs and cannot be changed, and {stay} as {they} {are}"),
            Self::BeingDeleted => format!("{these} {are} being deleted, and {have} finalizers that hold {them} until then"),
            Self::Recreated => format!(
                "{these} {have} a field that differs and cannot be changed, and {are} deleted and created as {they} {was}"
            ),
            Self::Unknown { kind, reason } => format!("it is not known which {kind} live in the target: {reason}"),
            Self::SnapshotsNotServed => {
                format!(
                    "{} cannot be restored from {}: the target does not serve {SNAPSHOTS}",
                    volumes(count),
                    if count == 1 { "its snapshot" } else { "their snapshots" }
                )
            }
            Self::CopyWithoutPod => format!(
                "of {} there is a copy made file by file, which comes back in the pod alone that it was read in, and the archive has no such pod that ran",
                volumes(count)
            ),
            Self::HalfFilled { point, starts } => format!(
                "{} there and half filled with the copy that recovery point {point} has{}",
                claims(count, "is", "are"),
                if *starts { "" } else { "; nothing that is written now starts anything" }
            ),
            Self::NoRoom { class } if class.is_empty() => format!(
                "{} for a volume that somebody makes by hand, and there is none to write the copy of the files to",
                claims(count, "asks", "ask")
            ),
            Self::NoRoom { class } => format!(
                "{} for a volume of class `{class}` to write the copy of the files to, and the target has no such class",
                claims(count, "asks", "ask")
            ),
            Self::PodsInTheWay => format!(
                "{} there that {} a volume whose files are to come back, or {} a pod's place that Velero needs for that",
                if count == 1 { "1 pod is".to_owned() } else { format!("{count} pods are") },
                if count == 1 { "mounts" } else { "mount" },
                if count == 1 { "takes" } else { "take" },
            ),
            Self::TooManyPods => format!(
                "{count} pods carry the labels by which Velero finds those that files come back through: too many to be told what not to run"
            ),
            Self::EmptyVolumes { why } => {
                let why = match why {
                    Emptiness::Asked => "as asked",
                    Emptiness::Lacking => "nothing of their data was captured",
                    Emptiness::LeftOut => "their data was left out of the point on purpose",
                    Emptiness::NeverBound => "there was no volume yet",
                };
                format!("{} created with new, empty volumes: {why}", claims(count, "is", "are"))
            }
            Self::ByHand => format!(
                "{} for a volume that somebody makes by hand, and {} pending until there is one",
                claims(count, "asks", "ask"),
                if count == 1 { "stays" } else { "stay" }
            ),
            Self::Late => format!(
                "{} restored from a snapshot of which the storage had not said yet, when the point was written, that it can be used",
                if count == 1 { "1 volume is".to_owned() } else { format!("{count} volumes are each") }
            ),
            Self::PodVolumes => format!(
                "{} of pods without a claim will be empty: the copies of their files, made one by one, come back with the pods themselves, which Velero alone does",
                volumes(count)
            ),
            Self::VolumesStay => {
                format!("{} there, and the data of their volumes stays as it is now", claims(count, "is", "are"))
            }
            Self::NoDriver { driver } => format!(
                "{} made from snapshots of {driver}, and no CSI driver of that name is in the target",
                claims(count, "is", "are")
            ),
            Self::NoStorageClass { class } => {
                format!("{} for storage class `{class}`, which is not in the target", claims(count, "asks", "ask"))
            }
            Self::WaitsForPod => format!(
                "{} of a storage class that makes a volume for a pod only, and so Velero's data mover waits for a pod, which comes behind it: it gives up after half an hour",
                claims(count, "is", "are")
            ),
            Self::NoClusterRole { role } => {
                let refer = if count == 1 { "refers" } else { "refer" };
                format!(
                    "{these} {refer} to ClusterRole `{role}`, which is neither restored nor in the target: {they} allow nothing without it"
                )
            }
            Self::SharedStorage => {
                format!("{count} volumes are left out: their storage still holds, and belongs to, the original")
            }
            Self::SharedThroughVelero { everything, copied } => {
                let why = if *copied { "the copy of the data is not to be used" } else { "there is no copy of the data" };
                let along = if *everything { "" } else { ", along with the volumes that only it can bring back" };
                let (claims, each) =
                    if count == 1 { ("a claim".to_owned(), "it asks") } else { (format!("{count} claims"), "each asks") };
                format!(
                    "Velero would bind {claims} to the storage of the original{along}: {why}, and {each} for the very volume that it had"
                )
            }
            Self::ClaimsRemoved => format!("{count} volume claims are removed, and the data of their volumes with them"),
            Self::Sealed => {
                format!(
                    "{count} SealedSecrets are left out: only the namespace they were sealed for can open them; their Secrets are restored instead"
                )
            }
            Self::SealedWithoutSecret => {
                format!(
                    "the Secrets of {count} SealedSecrets are not in the archive, and cannot be unsealed in another namespace"
                )
            }
            Self::ControlsOutside => format!(
                "{these} {are} left out: a copy would control, and on its deletion destroy, what the original controls outside of the cluster"
            ),
            Self::Hosts => format!("{these} would answer for the same hosts as the original"),
            Self::LoadBalancers => {
                format!("{count} Services of type LoadBalancer get addresses of their own, reachable from outside")
            }
            Self::CronJobs => match count {
                1 => "1 CronJob is not suspended, and will run here, too".to_owned(),
                _ => format!("{count} CronJobs are not suspended, and will run here, too"),
            },
            Self::RunningJobs => format!("{count} Jobs had not finished at the instant, and run again from their beginning"),
            Self::ClusterRights => format!(
                "{count} ClusterRoleBindings are left out: they give rights in the whole cluster to the original's accounts"
            ),
            Self::NamesSource { namespace } => format!(
                "{these} {have} addresses in `{namespace}` written into text, which are not changed: what runs here would talk to the original"
            ),
            Self::Orphans => {
                format!("{these} belonged to an owner that does not make them again; they are restored without an owner")
            }
            Self::SharedByCluster => {
                format!("{these} outside of the namespace {are} not as in the archive, and {stay} as {they} {are}")
            }
            Self::TargetExists { namespace } => {
                format!("namespace `{namespace}` exists already; what is in it and not in the archive stays")
            }
            Self::UnresolvedKind { name } => format!("`{name}` names no kind in the archive"),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NothingThere { .. } => "list the recovery points of the environment and choose one that covers the namespace",
            Self::Terminating { .. } => {
                "wait until it is gone (see its finalizers if it stays), or restore into another namespace"
            }
            Self::NamespaceMissing { .. } => "create the namespace first; `dxdr environment apply` makes it as the model says",
            Self::Quota { stands: true, .. } => "raise the quota, remove what is not needed, or leave kinds out with `--exclude`",
            Self::Quota { .. } => "the quota is restored last, so nothing is refused now; later objects will be",
            Self::NotServed { .. } => "install what serves the kind, or restore its definition, then restore again",
            Self::BeingDeleted => {
                "see who holds it: `kubectl get … -o jsonpath='{.metadata.finalizers}'`; once it is gone, restore again, and it is created"
            }
            Self::Immutable => "delete the object and restore again to have it as it was",
            Self::Unknown { .. } => {
                "give the account the right to list the kind; objects that exist are applied over when they are met"
            }
            Self::SnapshotsNotServed => {
                "install the snapshot controller and its definitions, restore where the storage is, or take `--empty-volumes`"
            }
            Self::CopyWithoutPod | Self::TooManyPods => {
                "let Velero restore everything with `--executor velero`, or take `--empty-volumes`"
            }
            Self::HalfFilled { .. } => {
                "restore that point with its volumes, or delete the claim if nobody has used it since: it is then made anew"
            }
            Self::NoRoom { .. } => {
                "name a class that is there with `--storage-class OLD=NEW`; `--empty-volumes` leaves the volumes empty"
            }
            Self::PodsInTheWay => {
                "scale down what runs them (`kubectl scale --replicas=0 …`), and restore again; or restore beside"
            }
            Self::Late => {
                "the restore waits for it, and where it cannot be used ends before anything that mounts the volume is made"
            }
            Self::ByHand => "make a PersistentVolume for it, or name a class that makes one with `--storage-class =NEW`",
            Self::EmptyVolumes { why: Emptiness::Lacking | Emptiness::LeftOut | Emptiness::Asked } => {
                "bring their data back from where else it is: exports of databases, replicas"
            }
            Self::PodVolumes => "let Velero restore everything with `--executor velero`, where they hold more than a cache",
            Self::VolumesStay => {
                "for the data of the instant restore beside, or scale down, delete the claim and restore again: it is then made from its snapshot"
            }
            Self::NoDriver { .. } => "install the driver of the storage that holds the snapshots, or take `--empty-volumes`",
            Self::NoStorageClass { .. } => {
                "name one that is there with `--storage-class OLD=NEW`; until then the claims stay pending"
            }
            Self::WaitsForPod => {
                "tell the node agents not to wait: `restorePVC: {ignoreDelayBinding: true}` in the ConfigMap of their `--node-agent-configmap` (Velero 1.16 and newer); or name a class that binds at once with `--storage-class OLD=NEW`"
            }
            Self::NoClusterRole { .. } => {
                "create the role before the workloads start; backups of Velero's lack those that only RoleBindings name"
            }
            Self::SharedStorage => "to use the old storage again, create the volume by hand, with the original gone",
            Self::SharedThroughVelero { everything: true, .. } => {
                "leave it to dxdr itself (without `--executor velero`), which gives these claims new, empty volumes"
            }
            Self::SharedThroughVelero { everything: false, .. } => {
                "take `--empty-volumes`; for later backups give the claims that only Velero can bring back a label of their own"
            }
            Self::ClaimsRemoved => "leave them with `--exclude persistentvolumeclaims`",
            Self::Sealed => "seal them anew for the namespace if it is to stay",
            Self::SealedWithoutSecret => {
                "seal them anew for the namespace, from the escrowed keys or the sources; workloads that mount them will not start"
            }
            Self::ControlsOutside | Self::ClusterRights => "create what the copy needs of its own",
            Self::Hosts => "leave them out with `--exclude ingresses`, or change the hosts before traffic is sent",
            Self::LoadBalancers => "leave them out with `--exclude services`, or change their type",
            Self::CronJobs => "leave them out with `--exclude cronjobs`, or suspend them",
            Self::RunningJobs => "leave them out with `--exclude jobs`",
            Self::NamesSource { .. } => {
                "look through the objects before the workloads start; network policies can keep them apart"
            }
            Self::EmptyVolumes { why: Emptiness::NeverBound }
            | Self::Recreated
            | Self::Orphans
            | Self::SharedByCluster
            | Self::TargetExists { .. }
            | Self::UnresolvedKind { .. } => {
                return None;
            }
        })
    }
}

fn volumes(count: u32) -> String {
    if count == 1 { "1 volume".to_owned() } else { format!("{count} volumes") }
}

fn claims(count: u32, one: &str, many: &str) -> String {
    if count == 1 { format!("1 volume claim {one}") } else { format!("{count} volume claims {many}") }
}

/// Findings with the objects they hold for.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<Finding, (Option<ObjectReference>, u32)>);

impl Findings {
    /// Adds one about an object.
    pub(super) fn of(&mut self, finding: Finding, object: &ObjectReference) {
        let (first, count) = self.0.entry(finding).or_default();
        first.get_or_insert_with(|| object.clone());
        *count += 1;
    }

    /// Adds one that is about no object.
    pub(super) fn add(&mut self, finding: Finding) {
        self.0.entry(finding).or_default();
    }

    /// Worst first.
    pub(super) fn into_notes(self) -> Vec<Note> {
        let mut notes: Vec<Note> = self
            .0
            .into_iter()
            .map(|(finding, (object, count))| Note {
                severity: finding.severity(),
                text: finding.text(count),
                hint: finding.hint().map(str::to_owned),
                object,
                count,
            })
            .collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.severity));
        notes
    }
}
