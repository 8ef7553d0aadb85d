//! What a restore will do, as data.

use std::{fmt, time::Duration};

use dxdr_environment::{EnvironmentName, ObjectReference};
use jiff::Timestamp;

use super::{
    change::Changes,
    copies::{FILES, FileCopies},
    database::{DatabaseRestore, DatabaseRestores, STEPS},
    live::FieldChange,
    request::Executor,
    volume::{CapturedVolume, VeleroVolume, VolumeSource},
};
use crate::{
    order::StageName,
    review::{Note, Severity},
    step::Step,
};

/// Step in which Velero brings back volumes.
pub const VELERO: &str = "velero-volumes";
const EVERYTHING: &str = "velero-restore";
/// Steps in which Velero is asked for Restores.
pub const THROUGH_VELERO: [&str; 3] = [VELERO, FILES, EVERYTHING];
/// Step that removes what stands for snapshots.
const RELEASE: &str = "release-snapshots";

/// A restore, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct RestorePlan {
    /// The environment that comes back.
    pub environment: EnvironmentName,
    /// The recovery point.
    pub point: String,
    /// The instant it stands for.
    pub instant: Timestamp,
    /// The namespace in the archive.
    pub source_namespace: String,
    /// The namespace that is written to.
    pub target_namespace: String,
    /// Who carries it out.
    pub executor: Executor,
    /// Made without a cluster: what lives in the target is not known, and every object is shown as missing there.
    pub offline: bool,
    /// What is written or compared, stage by stage; within a stage in the archive's order, and free to run together.
    pub stages: Vec<Stage>,
    /// What is not restored, in the archive's order.
    pub left_out: Vec<LeftOut>,
    /// Claims that a Restore of Velero's brings back, limited to them.
    pub through_velero: Vec<VeleroVolume>,
    /// Claims that are created although the point lacks the data of their volumes, and nobody asked for empty ones; each with the reason.
    pub without_data: Vec<(ObjectReference, String)>,
    /// Claims that are made empty, and filled by Velero with copies made file by file.
    pub copies: Option<FileCopies>,
    /// Databases that are brought back, before any object.
    pub databases: Vec<DatabaseRestore>,
    /// What is removed afterwards, in the reverse of the stages' order.
    pub prune: Vec<PrunedObject>,
    /// What a person should know, worst first.
    pub notes: Vec<Note>,
    /// How much there is to do.
    pub counts: Counts,
    /// How long it should take.
    pub estimate: Estimate,
}

impl RestorePlan {
    /// The steps of the run that carries it out.
    pub fn steps(&self) -> Vec<Step> {
        let databases: Vec<[Option<Step>; STEPS]> = self.databases.iter().map(DatabaseRestore::steps).collect();
        let databases =
            (0..STEPS).flat_map(|kind| databases.iter().filter_map(move |steps| steps[kind].clone()).collect::<Vec<_>>());
        if self.executor == Executor::Velero {
            return databases.chain([Self::velero_restore()]).collect();
        }
        let stages = self.stages.iter().filter(|stage| stage.objects.iter().any(PlannedObject::writes));
        let (early, late): (Vec<_>, Vec<_>) = stages.partition(|stage| !stage.behind_claims());
        let early = early.into_iter().map(Stage::step).chain(self.velero_step()).chain(self.copies_step());
        databases
            .chain(early)
            .chain(late.into_iter().map(Stage::step))
            .chain(self.release_step())
            .chain(self.prune_step())
            .collect()
    }

    /// Adds what becomes of the databases.
    pub fn bring_back(&mut self, planned: DatabaseRestores) {
        self.databases.extend(planned.restores);
        self.notes.extend(planned.notes);
    }

    /// The step that has Velero bring back what only it can read, when there is something of that.
    pub fn velero_step(&self) -> Option<Step> {
        let title = format!("Have Velero bring back {} volumes", self.through_velero.len());
        (!self.through_velero.is_empty()).then(|| {
            Step::new(
                VELERO,
                title,
                "nobody else can read what it kept of them; the other claims are there, and it leaves them alone",
                true,
            )
        })
    }

    /// The step in which Velero writes copies made file by file into the claims that are there for them, when there are any.
    pub fn copies_step(&self) -> Option<Step> {
        let count = self.copies.as_ref()?.claims.len();
        let volumes = if count == 1 { "1 volume".to_owned() } else { format!("{count} volumes") };
        Some(Step::new(
            FILES,
            format!("Have Velero copy the files of {volumes} back"),
            "it does so in the pods alone that they were read in: these run nothing of their own, and are removed before anything that mounts the volumes is made",
            true,
        ))
    }

    /// The step that lets go of the snapshots which new volumes were made from, when there are any.
    pub fn release_step(&self) -> Option<Step> {
        let filled = self.stages.iter().flat_map(|stage| &stage.objects).any(|object| {
            object.action == Action::Create
                && object.volume.as_ref().is_some_and(|volume| matches!(volume.source, VolumeSource::Snapshot { .. }))
        });
        filled.then(Self::release)
    }

    /// The step that has Velero carry out everything.
    pub fn velero_restore() -> Step {
        Step::new(
            EVERYTHING,
            "Have Velero carry it out",
            "it was asked for by name; what comes of it is compared with this plan",
            true,
        )
    }

    /// The step itself: of every plan.
    pub fn release() -> Step {
        Step::new(
            RELEASE,
            "Let go of the snapshots that volumes were made from",
            "a volume that is there needs its snapshot no longer; the storage keeps it",
            true,
        )
    }

    /// The last step, when there is something to remove.
    pub fn prune_step(&self) -> Option<Step> {
        let title = format!("Remove {} objects that were not there at {}", self.prune.len(), self.instant);
        (!self.prune.is_empty())
            .then(|| Step::new("prune", title, "removed last, so that nothing is missing that something else still used", true))
    }

    /// Whether everything is as it was.
    pub fn nothing_to_do(&self) -> bool {
        let nothing_written = self.counts.create == 0 && self.counts.update == 0;
        nothing_written
            && self.databases.is_empty()
            && self.through_velero.is_empty()
            && self.copies.is_none()
            && self.prune.is_empty()
    }

    /// Objects that stay different because nobody can change them.
    pub fn immutable(&self) -> impl Iterator<Item = &PlannedObject> {
        let objects = self.stages.iter().flat_map(|stage| &stage.objects);
        objects.filter(|object| matches!(object.action, Action::Leave { reason: LeaveReason::Immutable, .. }))
    }

    /// Objects that are there and are being deleted.
    pub fn being_deleted(&self) -> impl Iterator<Item = &PlannedObject> {
        let objects = self.stages.iter().flat_map(|stage| &stage.objects);
        objects.filter(|object| matches!(object.action, Action::Leave { reason: LeaveReason::BeingDeleted, .. }))
    }

    /// Whether a note forbids carrying it out.
    pub fn refused(&self) -> bool {
        self.refusals().next().is_some()
    }

    /// The notes that forbid carrying it out.
    pub fn refusals(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| note.severity == Severity::Fatal)
    }

    /// Objects that should be restored and cannot, since the target does not serve their kind.
    pub fn not_served(&self) -> impl Iterator<Item = &LeftOut> {
        self.left_out.iter().filter(|left_out| matches!(left_out.reason, LeftOutReason::NotServed { .. }))
    }
}

/// Objects that may be written together.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Stable between releases; also the step's.
    pub id: &'static str,
    /// What people read.
    pub title: &'static str,
    /// Why it stands where it stands.
    pub reason: &'static str,
    /// In the archive's order.
    pub objects: Vec<PlannedObject>,
}

impl Stage {
    pub(super) fn new(name: StageName, objects: Vec<PlannedObject>) -> Self {
        Self { id: name.id(), title: name.title(), reason: name.reason(), objects }
    }

    /// Whether what it writes finds the volume claims there.
    pub fn behind_claims(&self) -> bool {
        let place = |id| StageName::ALL.iter().position(|stage| stage.id() == id);
        place(self.id) > place(StageName::Claims.id())
    }

    /// The step that carries it out.
    pub fn step(&self) -> Step {
        Step::new(self.id, self.title, self.reason, true)
    }
}

/// One object of the archive that is in the target afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedObject {
    /// Number of the item in the archive.
    pub index: u32,
    /// What it is called in the target.
    pub target: ObjectReference,
    /// What is done.
    pub action: Action,
    /// How what is written differs from what is archived.
    pub changes: Changes,
    /// Of a claim: what was captured of its volume.
    pub volume: Option<Box<CapturedVolume>>,
}

impl PlannedObject {
    /// Whether something is written for it.
    pub fn writes(&self) -> bool {
        matches!(self.action, Action::Create | Action::Update { .. })
    }
}

/// What is done for one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is not there. The cluster may make it itself in the meantime (a namespace's `default` ServiceAccount): then it is applied.
    Create,
    /// It is there and differs.
    Update {
        /// Field by field.
        differences: Vec<FieldChange>,
        /// Some fields are only in the live object. Server-side apply leaves such fields to whoever wrote them, so the object must be
        /// replaced by [`replacement`](super::transform::replacement).
        removes: bool,
        /// A field differs that nobody can change, and nothing is lost by deleting the object and creating it as it was.
        recreates: bool,
    },
    /// It is there as it was.
    Same,
    /// It is there, differs, and stays.
    Leave {
        /// Why.
        reason: LeaveReason,
        /// Field by field.
        differences: Vec<FieldChange>,
    },
}

/// Why an object that differs stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaveReason {
    /// The request says so.
    Asked,
    /// Others in the cluster use it, too.
    SharedByCluster,
    /// A field differs that no server lets anybody change.
    Immutable,
    /// A volume claim that has grown: what it held fits into it.
    Larger,
    /// It is being deleted, and somebody's finalizers hold it: nothing brings it back before it is gone.
    BeingDeleted,
}

impl fmt::Display for LeaveReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Asked => "existing objects are left as they are, as asked",
            Self::SharedByCluster => "it belongs to the whole cluster",
            Self::BeingDeleted => "it is being deleted, and goes once its finalizers are taken away",
            Self::Larger => "the volume has grown since, and none ever shrinks",
            Self::Immutable => "a field differs that cannot be changed; only deleting and creating the object would",
        })
    }
}

/// One item of the archive that is not restored.
#[derive(Debug, Clone, PartialEq)]
pub struct LeftOut {
    /// Number of the item in the archive.
    pub index: u32,
    /// What it is called in the archive.
    pub object: ObjectReference,
    /// Why.
    pub reason: LeftOutReason,
}

/// Why an item is not restored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOutReason {
    /// It lives in another namespace.
    OtherNamespace,
    /// The request's kinds do not include it.
    Filtered,
    /// Its owner, which is restored, makes it again.
    Owned {
        /// `Deployment api`
        by: String,
    },
    /// A Pod or Job that has finished.
    Finished,
    /// Every cluster makes it itself.
    MadeByCluster,
    /// It says something about the cluster it comes from, or what happened there.
    BelongsToSource(&'static str),
    /// No restored object needs it.
    NotNeeded,
    /// A volume that its class provides anew.
    Provisioned,
    /// A volume whose storage the original still uses.
    SharedStorage,
    /// A claim whose volume a Restore of Velero's brings back.
    ThroughVelero {
        /// `data-mover`, `native-snapshot`.
        method: String,
    },
    /// A cluster-wide right of the original.
    ClusterRight,
    /// Only the original namespace can open it.
    SealedForNamespace,
    /// A copy would act on the same thing outside of the cluster.
    ControlsOutside,
    /// The target does not serve its kind.
    NotServed {
        /// What the target serves of it; empty: nothing.
        served: String,
    },
    /// The archive holds it again further behind.
    Duplicate,
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNamespace => formatter.write_str("it lives in another namespace"),
            Self::Filtered => formatter.write_str("its kind is not asked for"),
            Self::Owned { by } => write!(formatter, "{by} makes it again"),
            Self::Finished => formatter.write_str("it has finished"),
            Self::MadeByCluster => formatter.write_str("every cluster makes it itself"),
            Self::BelongsToSource(reason) => formatter.write_str(reason),
            Self::NotNeeded => formatter.write_str("no restored object needs it"),
            Self::Provisioned => formatter.write_str("its storage class provides a new volume"),
            Self::SharedStorage => formatter.write_str("its storage still belongs to the original"),
            Self::ThroughVelero { method } => write!(formatter, "Velero brings it back with its volume ({method})"),
            Self::ClusterRight => formatter.write_str("it gives rights in the whole cluster to the original"),
            Self::SealedForNamespace => formatter.write_str("it can be opened in its own namespace only"),
            Self::ControlsOutside => {
                formatter.write_str("a copy would control, and on its deletion destroy, what the original controls")
            }
            Self::NotServed { served } if served.is_empty() => formatter.write_str("the target does not serve its kind"),
            Self::NotServed { served } => write!(formatter, "the target serves its kind as {served} only"),
            Self::Duplicate => formatter.write_str("the archive holds it again further behind"),
        }
    }
}

/// One live object that was not there at the instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedObject {
    /// Which.
    pub reference: ObjectReference,
    /// Of the object that was seen: another one of the same name is not meant.
    pub uid: Option<String>,
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Items in the archive.
    pub items: u64,
    /// Objects to create.
    pub create: u64,
    /// Objects to change.
    pub update: u64,
    /// Objects that are as they were.
    pub same: u64,
    /// Objects that differ and stay.
    pub leave: u64,
    /// Items not restored.
    pub left_out: u64,
    /// Objects to remove.
    pub prune: u64,
}

/// How long it should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Requests that change something.
    pub writes: u64,
    /// For the writes alone, at the rate that the planner was told.
    pub duration: Duration,
}
