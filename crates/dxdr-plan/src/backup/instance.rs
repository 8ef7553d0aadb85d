//! How a database of Cloud SQL comes into a recovery point with all of its instance: the service makes a backup and keeps it, and the point names it.

use dxdr_environment::InstanceName;
use dxdr_policy::{Consistency, DatabasePolicy, References};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{database::text, export::behind_volumes};

/// How an instance is backed up. It touches nobody there, also where others use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceBackupPlan {
    /// The instance.
    pub instance: InstanceName,
    /// What is wanted of it and the volumes.
    pub consistency: Consistency,
    /// Which of the two points to the other.
    pub references: References,
    /// How long it may wait for its turn, and take.
    pub timeout: SignedDuration,
}

impl InstanceBackupPlan {
    /// By the policy.
    pub(super) fn new(instance: InstanceName, policy: DatabasePolicy) -> Self {
        let DatabasePolicy { consistency, references, timeout, .. } = policy;
        Self { instance, consistency, references, timeout }
    }

    /// What can be promised: as of an export, which the service begins in the same way.
    pub fn promise(&self, volumes: bool) -> Consistency {
        behind_volumes(self.consistency, self.references, volumes)
    }
}

/// For a journal.
pub(super) fn parameters(backup: &InstanceBackupPlan) -> Value {
    json!({
        "project": backup.instance.project, "instance": backup.instance.instance, "consistency": backup.consistency.word(),
        "references": backup.references.word(), "timeout": backup.timeout.as_secs(),
    })
}

/// What a journal has; `None` where something is missing.
pub(super) fn recorded(value: &Value) -> Option<InstanceBackupPlan> {
    Some(InstanceBackupPlan {
        instance: InstanceName::new(text(value, "/project")?, text(value, "/instance")?),
        consistency: Consistency::of_word(&text(value, "/consistency")?)?,
        references: References::of_word(&text(value, "/references")?)?,
        timeout: SignedDuration::from_secs(value.get("timeout")?.as_i64()?),
    })
}
