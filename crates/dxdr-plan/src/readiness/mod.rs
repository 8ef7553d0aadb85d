//! Whether a cluster and the stores are ready for what the model promises: a row for each thing that must be so.
//!
//! ```text
//! model + rights that are needed ─► (somebody looks) ─► Observed ─► judge ─► rows: what, result, detail, remedies
//! ```
//!
//! What could not be looked at is a row, too: it is unknown, and never passed over.

mod observed;
mod rights;
mod sealing;
mod snapshots;
mod stores;
mod velero;

use dxdr_environment::Environment;
use dxdr_policy::{BackupPolicy, BackupStore, Engine, VolumeMethod};

pub use observed::{Answer, ClaimObserved, Observed, RightsAnswered, StoreObserved, Trouble, VeleroObserved, Writing};
pub use rights::{Activity, Right, activities};
pub use sealing::{SealingObserved, sealing};

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    /// All environments.
    pub environments: &'a [Environment],
    /// All policies.
    pub policies: &'a [BackupPolicy],
    /// All stores.
    pub stores: &'a [BackupStore],
    /// Where Velero is installed, or would be.
    pub velero_namespace: &'a str,
    /// Where runs hold their Leases.
    pub lease_namespace: &'a str,
}

impl<'a> Model<'a> {
    fn policy_of(&self, environment: &Environment) -> Option<&'a BackupPolicy> {
        self.policies.iter().find(|policy| policy.environments.contains(&environment.name))
    }

    fn environments_of(&self, policy: &'a BackupPolicy) -> impl Iterator<Item = &'a Environment> {
        self.environments.iter().filter(move |environment| policy.environments.contains(&environment.name))
    }

    fn by_velero(&self) -> impl Iterator<Item = &'a BackupPolicy> {
        self.policies.iter().filter(|policy| policy.engine == Engine::Velero)
    }

    /// Whether any policy needs a Velero server.
    pub fn needs_velero(&self) -> bool {
        self.by_velero().next().is_some()
    }

    /// Environments whose volumes a policy promises, with the method.
    pub fn with_volumes(&self) -> impl Iterator<Item = (&'a Environment, &'a BackupPolicy)> {
        self.policies
            .iter()
            .filter(|policy| policy.volumes.method != VolumeMethod::None)
            .flat_map(|policy| self.environments_of(policy).map(move |environment| (environment, policy)))
    }
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it must be.
    Good,
    /// Nothing in the model asks for it.
    NotNeeded,
    /// It could not be looked at.
    Unknown,
    /// Things work, but not as somebody may think.
    Warning,
    /// What the model promises cannot be kept.
    Failed,
    /// It does not answer, or does not let us in.
    Unreachable,
}

impl Outcome {
    /// One word: `ok`, `not-needed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::NotNeeded => "not-needed",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What: `store primary: writable`.
    pub what: String,
    /// How it stands.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do, most likely remedy first.
    pub remedies: Vec<String>,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { what: what.into(), outcome, detail: detail.into(), remedies: Vec::new() }
    }

    pub(crate) fn good(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Good, detail)
    }

    pub(crate) fn failed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Failed, detail)
    }

    pub(crate) fn warning(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Warning, detail)
    }

    fn not_needed(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::NotNeeded, detail)
    }

    /// What was asked was answered with an error.
    pub(crate) fn trouble(what: impl Into<String>, trouble: &Trouble) -> Self {
        let outcome = if trouble.unreachable { Outcome::Unreachable } else { Outcome::Failed };
        Self { remedies: trouble.hints.clone(), ..Self::new(what, outcome, &trouble.message) }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }
}

/// Judges what was seen, in the order in which things need each other.
pub fn judge(model: &Model<'_>, observed: &Observed) -> Vec<Row> {
    let mut rows = vec![server(observed)];
    if observed.version.is_ok() {
        rows.extend(discovery(observed));
        rows.extend(velero::rows(model, observed));
    }
    rows.extend(stores::rows(model, observed));
    if observed.version.is_ok() {
        rows.extend(velero::locations(model, observed));
        rows.extend(snapshots::rows(model, observed));
        rows.extend(rights::rows(observed));
    }
    rows
}

fn server(observed: &Observed) -> Row {
    const WHAT: &str = "kubernetes: API server";
    match &observed.version {
        Ok(version) => Row::good(WHAT, format!("{version}, {}", observed.cluster)),
        Err(trouble) => Row::trouble(WHAT, trouble),
    }
}

/// Groups that do not answer leave a gap in every backup.
fn discovery(observed: &Observed) -> Option<Row> {
    let groups = observed.failed_groups.iter().map(|(group, reason)| format!("{group} ({reason})")).collect::<Vec<_>>();
    (!groups.is_empty()).then(|| {
        Row::warning(
            "kubernetes: API groups",
            format!("these do not answer, so that backups lack their objects: {}", groups.join(", ")),
        )
        .remedy("`kubectl get apiservices` names the Service behind each: see that it runs, or delete the APIService")
    })
}

#[cfg(test)]
mod tests;
