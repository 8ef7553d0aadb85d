//! `SealingPolicy`

use schemars::JsonSchema;
use serde::Deserialize;

/// What is promised for sealing keys of some environments: how often the Sealed Secrets controller gets a new one, and who can open them when the
/// cluster is gone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SealingPolicySpec {
    /// Names of the environments, each with `sealing.controller`. An environment has at most one sealing policy.
    #[schemars(length(min = 1))]
    pub(crate) environments: Vec<String>,
    /// How old the newest key may grow, as in `30d`. Left out: 30d.
    pub(crate) renew_every: Option<String>,
    /// Where keys are kept apart from the cluster.
    pub(crate) escrow: EscrowSpec,
}

/// Where private keys are kept, as files of the age format.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EscrowSpec {
    /// Public keys of those who may open them: `age1…` (from `age-keygen`), or SSH's `ssh-ed25519 …` and `ssh-rsa …`. Each of them alone opens every key; where several people are to be needed, name the public key that `dxdr seal escrow shares` makes.
    #[schemars(length(min = 1))]
    pub(crate) recipients: Vec<String>,
    /// Name of the BackupStore that holds the files.
    #[schemars(length(min = 1))]
    pub(crate) store: String,
    /// Whether a recovery point is incomplete when a key that it needs is not in escrow. True when left out; false makes it a warning.
    pub(crate) required: Option<bool>,
    /// How long ago `dxdr seal escrow test` may have opened a key, as in `90d`; later it is overdue. Left out: 90d.
    pub(crate) prove_every: Option<String>,
}
