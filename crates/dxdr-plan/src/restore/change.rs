//! What is different between an archived object and what is written of it.

use std::fmt;

/// One way in which what is written differs from what is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Change {
    /// `uid`, `resourceVersion` and other fields that every server sets itself.
    ServerFields,
    /// `status`.
    Status,
    /// `managedFields`.
    ManagedFields,
    /// `generateName` beside a name.
    GenerateName,
    /// `ownerReferences`.
    OwnerReferences,
    /// Finalizers.
    Finalizers,
    /// Annotations that controllers keep their books in.
    ControllerAnnotations,
    /// A Service's addresses.
    ServiceAddresses,
    /// Node ports of a Service that were assigned to it, or that the original holds.
    AssignedPorts,
    /// The node of a Pod.
    Node,
    /// What admission puts into a Pod.
    PodAdmission,
    /// The volume of a claim.
    ClaimBinding,
    /// What a claim's volume was filled from.
    DataSource,
    /// A storage class has another name in the target.
    StorageClass,
    /// The claim's identity in a volume.
    VolumeClaim,
    /// A Job's generated labels and selector.
    JobIdentity,
    /// Tokens listed in a ServiceAccount, or held by a Secret for one.
    AccountTokens,
    /// `metadata.namespace` or the Namespace's own name.
    Namespace,
    /// Fields that name the namespace.
    NamespaceReferences,
    /// A cluster-scoped object gets a name of its own.
    Renamed,
    /// Annotations by which GitOps and DNS controllers would take the copy for the original.
    Tracking,
}

impl Change {
    const ALL: [Self; 21] = [
        Self::ServerFields,
        Self::Status,
        Self::ManagedFields,
        Self::GenerateName,
        Self::OwnerReferences,
        Self::Finalizers,
        Self::ControllerAnnotations,
        Self::ServiceAddresses,
        Self::AssignedPorts,
        Self::Node,
        Self::PodAdmission,
        Self::ClaimBinding,
        Self::DataSource,
        Self::StorageClass,
        Self::VolumeClaim,
        Self::JobIdentity,
        Self::AccountTokens,
        Self::Namespace,
        Self::NamespaceReferences,
        Self::Renamed,
        Self::Tracking,
    ];

    /// What is done.
    pub fn what(self) -> &'static str {
        match self {
            Self::ServerFields => "uid, resourceVersion, generation and timestamps removed",
            Self::Status => "status removed",
            Self::ManagedFields => "managedFields removed",
            Self::GenerateName => "generateName removed",
            Self::OwnerReferences => "ownerReferences removed",
            Self::Finalizers => "finalizers removed",
            Self::ControllerAnnotations => "controllers' own annotations removed",
            Self::ServiceAddresses => "assigned cluster IPs removed",
            Self::AssignedPorts => "node ports removed",
            Self::Node => "the node removed",
            Self::PodAdmission => "what admission adds removed",
            Self::ClaimBinding => "the bound volume removed",
            Self::DataSource => "the data source removed",
            Self::StorageClass => "the storage class replaced",
            Self::VolumeClaim => "the claim's uid removed",
            Self::JobIdentity => "generated labels and selector removed",
            Self::AccountTokens => "account tokens removed",
            Self::Namespace => "the namespace replaced",
            Self::NamespaceReferences => "references to the namespace replaced",
            Self::Renamed => "the name extended by the namespace",
            Self::Tracking => "GitOps and DNS annotations removed",
        }
    }

    /// Why it is done.
    pub fn why(self) -> &'static str {
        match self {
            Self::ServerFields => "the server sets them itself and refuses others",
            Self::Status => "its controller observes it anew",
            Self::ManagedFields => "they say who wrote the archived object, not this one",
            Self::GenerateName => "the object keeps the name it had",
            Self::OwnerReferences => "the owners have other uids now; an object with a dead owner is deleted at once",
            Self::Finalizers => {
                "those of the cluster come back by themselves; a copy must not wait for, or release, what belongs to the original"
            }
            Self::ControllerAnnotations => "their controllers write them anew",
            Self::ServiceAddresses => "the address may belong to another Service now",
            Self::AssignedPorts => "nobody asked for these ports, or they are the original's, and they may be taken",
            Self::Node => "the scheduler finds a place for it",
            Self::PodAdmission => "admission puts it in again, and refuses what is stale",
            Self::ClaimBinding => "the volume may be gone, or belong to the original",
            Self::DataSource => "the old volume was filled from it once; the new one is filled from what was captured",
            Self::StorageClass => "the target has it under another name, as asked",
            Self::VolumeClaim => "the claim has another uid now",
            Self::JobIdentity => "they carry the old Job's uid",
            Self::AccountTokens => "the tokens of the old account are void",
            Self::Namespace => "it is restored into another namespace",
            Self::NamespaceReferences => "they mean what is restored, not the original",
            Self::Renamed => "the original's object of that name stays as it is",
            Self::Tracking => "those controllers would act on the copy as if it were the original",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what(), self.why())
    }
}

/// A set of changes, small enough to keep one for every object.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes(u32);

impl Changes {
    /// Adds one.
    pub fn insert(&mut self, change: Change) {
        self.0 |= 1 << change as u8;
    }

    /// Adds one that happened.
    pub(super) fn insert_if(&mut self, happened: bool, change: Change) {
        if happened {
            self.insert(change);
        }
    }

    /// Whether it is among them.
    pub fn contains(self, change: Change) -> bool {
        self.0 & (1 << change as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of them, in their order.
    pub fn iter(self) -> impl Iterator<Item = Change> {
        Change::ALL.into_iter().filter(move |change| self.contains(*change))
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}
