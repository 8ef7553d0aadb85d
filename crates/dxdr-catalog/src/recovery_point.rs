//! A recovery point: a moment an environment can be returned to. It exists once its manifest is written, not before.

use std::fmt;

use dxdr_environment::{DatabaseFacts, EnvironmentName, InstanceName};
use jiff::Timestamp;

use crate::{coverage, interval::Interval};

/// What a manifest says of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPoint {
    /// Unique in its store, and the name of its Velero backup: `staging-20240501t100000z-x7k2m`. Names of one environment sort by time.
    pub name: String,
    /// The environment it returns.
    pub environment: EnvironmentName,
    /// The namespaces it covers.
    pub namespaces: Vec<String>,
    /// Who captured the resources.
    pub engine: Engine,
    /// The policy it was taken under, if one applied.
    pub policy: Option<String>,
    /// Why it was taken.
    pub trigger: Trigger,
    /// The run that took it.
    pub run: String,
    /// When capturing began.
    pub started: Timestamp,
    /// The instant the point stands for: everything in it was captured at or before then.
    pub instant: Timestamp,
    /// When retention may remove it; `None`: never.
    pub expires: Option<Timestamp>,
    /// Where it comes from.
    pub cluster: SourceCluster,
    /// SHA-256 of the environment model it was taken with.
    pub environment_digest: Option<Sha256>,
    /// What it covers.
    pub components: Vec<Component>,
    /// Every object it consists of, except the manifest itself. Keys are relative to the point's folder.
    pub objects: Vec<StoredObject>,
    /// What could not be captured, and why. Not empty: the point is partial.
    pub gaps: Vec<Gap>,
}

impl RecoveryPoint {
    /// Whether everything it should hold is in it.
    pub fn complete(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Bytes in the store.
    pub fn stored_size(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }

    /// The resources component, which every point of ours has.
    pub fn resources(&self) -> Option<&ResourcesComponent> {
        self.components.iter().find_map(|component| match component {
            Component::Resources(resources) => Some(resources),
            _ => None,
        })
    }

    /// How far apart what it brings back lies, at most. Never less than it really is: what is not known of an instant counts, and clocks of different machines are not compared
    /// where one of them watched.
    pub fn skew(&self) -> jiff::SignedDuration {
        coverage::furthest(self).map_or(jiff::SignedDuration::ZERO, |(_, _, apart)| apart)
    }
}

/// Who captured the resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// dxdr itself.
    Native,
    /// A Velero server.
    Velero,
}

/// Why a point was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody asked for it.
    Requested,
    /// Its schedule.
    Scheduled,
    /// Taken before a restore in place, by the run named.
    Protective {
        /// The restore's run.
        restore_run: String,
    },
}

/// The cluster a point was taken from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceCluster {
    /// `v1.36.3`
    pub version: String,
    /// UID of `kube-system`: the same cluster has the same one.
    pub identity: Option<String>,
}

/// One part of an environment, captured at an instant of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Component {
    /// The Kubernetes objects.
    Resources(ResourcesComponent),
    /// One volume.
    Volume(VolumeComponent),
    /// One database.
    Database(DatabaseComponent),
    /// The sealing keys in escrow.
    Keys(KeysComponent),
}

impl Component {
    /// When it was as it is stored.
    pub fn instant(&self) -> Timestamp {
        match self {
            Self::Resources(resources) => resources.instant,
            Self::Volume(volume) => volume.instant,
            Self::Database(database) => database.instant,
            Self::Keys(keys) => keys.instant,
        }
    }
}

/// The captured Kubernetes objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcesComponent {
    /// When the last kind was read.
    pub instant: Timestamp,
    /// Between the first look and the last, where that is known.
    pub between: Option<Interval>,
    /// Objects in the archive.
    pub items: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// Each kind and the list it was read from.
    pub kinds: Vec<CapturedKind>,
}

/// One kind, read in one consistent list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturedKind {
    /// `deployments.apps`
    pub group_resource: String,
    /// `v1`
    pub version: String,
    /// The namespace listed; `None` for a list over the whole cluster.
    pub namespace: Option<String>,
    /// Of the list: all objects are as they were at it.
    pub resource_version: String,
    /// Objects kept of it.
    pub items: u64,
}

/// One captured volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeComponent {
    /// Namespace of the claim.
    pub namespace: String,
    /// Name of the claim; empty of a pod's own volume.
    pub claim: String,
    /// Of a copy made file by file: in which pod it was read.
    pub pod: Option<PodVolume>,
    /// When the storage took the snapshot, by its clock.
    pub instant: Timestamp,
    /// When that was, by the clock of who had it taken, where that is known.
    pub between: Option<Interval>,
    /// `csi-snapshot`, `data-mover`, `file-system`, `native-snapshot`.
    pub method: String,
    /// CSI driver or provider.
    pub driver: String,
    /// The storage system's name for the snapshot.
    pub handle: String,
    /// Bytes a restored volume needs.
    pub size: Option<u64>,
    /// Whether the storage had not said, when the point was written, that it can be restored from. It is kept, and may be by now.
    pub late: bool,
}

/// A volume as a pod has it: the pod's own, `emptyDir` above all, or that of a claim which it mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// The pod.
    pub pod: String,
    /// What the pod calls it.
    pub volume: String,
}

impl fmt::Display for VolumeComponent {
    /// `volume staging/data`, `volume cache of pod staging/web-0`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(PodVolume { pod, volume }) if self.claim.is_empty() => {
                write!(formatter, "volume {volume} of pod {}/{pod}", self.namespace)
            }
            _ => write!(formatter, "volume {}/{}", self.namespace, self.claim),
        }
    }
}

/// One captured database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseComponent {
    /// Its name in the environment model.
    pub name: String,
    /// The instant it is consistent at, by its clock.
    pub instant: Timestamp,
    /// When that was, by the clock of who had it captured, where that is known. Of an export nobody says at which moment of its work it looked.
    pub between: Option<Interval>,
    /// `dump`, `export`, `pointInTime`: an instant in the log of its instance, or `backup`: one of its whole instance, which the service keeps.
    pub method: String,
    /// Where it is: the key of an object in the point's folder, an object's URL, or an identifier of the database service.
    pub location: String,
    /// Bytes, where known.
    pub size: Option<u64>,
    /// What is promised about it and the volumes beside it, where something was: `aligned`.
    pub consistency: Option<String>,
    /// What it was like, where that is known.
    pub facts: Option<Box<DatabaseFacts>>,
    /// Of an instant in a log: how far that went when the point was taken.
    pub log: Option<KeptLog>,
    /// Of a backup: what it is of.
    pub backup: Option<KeptBackup>,
    /// Who could log in to its instance then, as far as a database service said so.
    pub users: Vec<String>,
}

/// What a backup that a database service keeps is of. Its name is the component's location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBackup {
    /// The instance, all of which it has.
    pub instance: InstanceName,
    /// What the instance called the database then, where it is not all of the instance.
    pub database: Option<String>,
    /// Nothing that was written later is in it, by the service's clock; the component's instant is that up to which everything is.
    pub ended: Timestamp,
}

/// How far the log of an instance went when a point was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLog {
    /// The first instant that it could be recovered to.
    pub earliest: Timestamp,
    /// The last one.
    pub latest: Timestamp,
    /// Until when the component's instant stays in the log, by the days that it is kept.
    pub until: Timestamp,
    /// What the instance called the database then, where that is known and it is not all of the instance.
    pub database: Option<String>,
}

impl VolumeComponent {
    /// The method of what was copied file by file, and is of no one moment.
    pub const FILE_SYSTEM: &str = "file-system";
}

impl DatabaseComponent {
    /// The method of what PostgreSQL's own program wrote into the point's folder.
    pub const DUMP: &str = "dump";
    /// The method of what the database service wrote into an object.
    pub const EXPORT: &str = "export";
    /// The method of an instant in the log of a database service's instance.
    pub const POINT_IN_TIME: &str = "pointInTime";
    /// The method of a backup of a whole instance, which the database service keeps until somebody deletes it.
    pub const BACKUP: &str = "backup";
}

/// The sealing keys a point needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysComponent {
    /// When escrow held all of them.
    pub instant: Timestamp,
    /// Fingerprints of the certificates.
    pub fingerprints: Vec<String>,
}

/// One object in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Relative to the point's folder: `NAME.tar.gz`.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
}

/// Something a point should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// What: `secrets` in `staging`, an API group, a volume.
    pub what: String,
    /// Why: what the server said.
    pub reason: String,
}

impl Gap {
    /// What a point lacks without the volume of a claim.
    pub fn volume(namespace: &str, claim: &str) -> String {
        format!("volume {namespace}/{claim}")
    }

    /// What it lacks where nobody knows which claims the namespace has.
    pub fn volumes(namespace: &str) -> String {
        format!("volumes in {namespace}")
    }
}

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sha256({self})")
    }
}

/// A recovery point as found in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// With a manifest of ours.
    Ours(RecoveryPoint),
    /// A backup of Velero's without one.
    Foreign(ForeignBackup),
}

/// What Velero's own metadata says of a backup that has no manifest of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignBackup {
    /// Name of the backup and of its folder.
    pub name: String,
    /// `spec.includedNamespaces`; empty or `*` means all.
    pub included_namespaces: Vec<String>,
    /// `spec.excludedNamespaces`.
    pub excluded_namespaces: Vec<String>,
    /// `status.phase`: restorable when `Completed` or `PartiallyFailed`.
    pub phase: String,
    /// `status.startTimestamp`.
    pub started: Option<Timestamp>,
    /// `status.completionTimestamp`: the instant it stands for.
    pub completed: Option<Timestamp>,
    /// `status.expiration`.
    pub expires: Option<Timestamp>,
    /// `status.progress.itemsBackedUp`.
    pub items: Option<u64>,
    /// `status.errors`, a count of log lines.
    pub errors: u64,
    /// `status.warnings`, a count of log lines.
    pub warnings: u64,
    /// Label `velero.io/schedule-name`.
    pub schedule: Option<String>,
    /// Whether it was to have the data of volumes, too.
    pub volumes: bool,
}

impl ForeignBackup {
    /// Whether its archive may be restored.
    pub fn restorable(&self) -> bool {
        self.completed.is_some() && matches!(self.phase.as_str(), "Completed" | "PartiallyFailed")
    }

    /// Whether it holds `namespace`, by its filters.
    pub fn covers(&self, namespace: &str) -> bool {
        let all = self.included_namespaces.is_empty() || self.included_namespaces.iter().any(|name| name == "*");
        (all || self.included_namespaces.iter().any(|name| name == namespace))
            && !self.excluded_namespaces.iter().any(|name| name == namespace)
    }
}

impl Entry {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Ours(point) => &point.name,
            Self::Foreign(backup) => &backup.name,
        }
    }

    /// The instant it stands for; `None` for a foreign backup that never completed.
    pub fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Ours(point) => Some(point.instant),
            Self::Foreign(backup) => backup.completed,
        }
    }
}
