//! What is promised for sealing keys: how often they are renewed, and who can open them when the cluster is gone.

use dxdr_environment::EnvironmentName;
use jiff::{SignedDuration, Timestamp};

/// A policy for the keys of the controllers that some environments name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingPolicy {
    /// Name of the manifest.
    pub name: String,
    /// The environments whose controllers it is for.
    pub environments: Vec<EnvironmentName>,
    /// How old the newest key may grow.
    pub renew_every: SignedDuration,
    /// Where keys are kept apart.
    pub escrow: EscrowPolicy,
}

impl SealingPolicy {
    /// When a key whose certificate begins then is to be followed by another one.
    pub fn renewal_due(&self, not_before: Timestamp) -> Timestamp {
        not_before.saturating_add(self.renew_every).unwrap_or(Timestamp::MAX)
    }
}

/// Where private keys are kept, encrypted for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowPolicy {
    /// Public keys: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. Any one of them opens everything.
    pub recipients: Vec<String>,
    /// Name of the BackupStore.
    pub store: String,
    /// Whether a recovery point whose keys are not all in escrow is incomplete, and not only warned about.
    pub required: bool,
}
