//! The kinds of dxdr.io/v1alpha1.

/// API group of the kinds.
pub const GROUP: &str = "dxdr.io";
/// Version of the kinds.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as `apiVersion` has them.
pub const API_VERSION: &str = "dxdr.io/v1alpha1";

/// Kinds of this group that later versions will read. Named apart from unknown ones, so that nobody looks for a misspelling.
pub(crate) const PLANNED: [&str; 1] = ["RestoreDrill"];

/// A kind of manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An environment of the model.
    Environment,
    /// Where recovery points are kept.
    BackupStore,
    /// What is promised for environments.
    BackupPolicy,
    /// What is promised for sealing keys.
    SealingPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Environment, Self::BackupStore, Self::BackupPolicy, Self::SealingPolicy];

    /// As `kind` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Environment => "Environment",
            Self::BackupStore => "BackupStore",
            Self::BackupPolicy => "BackupPolicy",
            Self::SealingPolicy => "SealingPolicy",
        }
    }

    /// Plural, as in URLs of the API server.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Environment => "environments",
            Self::BackupStore => "backupstores",
            Self::BackupPolicy => "backuppolicies",
            Self::SealingPolicy => "sealingpolicies",
        }
    }

    /// Singular, as kubectl takes it.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::BackupStore => "backupstore",
            Self::BackupPolicy => "backuppolicy",
            Self::SealingPolicy => "sealingpolicy",
        }
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
