//! Backups of instances: what they were. They are the project's, and may outlive the instance.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{instance::Machine, postgresql::Copy};

/// A backup of an instance, or what is left of the attempt.
#[derive(Debug, Clone)]
pub(crate) struct Backup {
    pub(crate) id: u64,
    pub(crate) project: String,
    pub(crate) instance: String,
    /// Whether somebody asked for it.
    pub(crate) requested: bool,
    pub(crate) description: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    /// What the instance was; `None`: it failed.
    pub(crate) kept: Option<Kept>,
    /// When the instance was deleted.
    pub(crate) gone: Option<Timestamp>,
}

/// What a backup keeps.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Not running; its databases, unless they are files.
    pub(crate) machine: Box<Machine>,
    /// The files of a server.
    pub(crate) copy: Option<Arc<Copy>>,
}

impl Kept {
    /// A list of statements as it is.
    pub(crate) fn of(machine: &Machine) -> Self {
        Self { machine: Box::new(Machine { server: None, ..machine.clone() }), copy: None }
    }
}

impl Backup {
    pub(crate) fn name(&self) -> String {
        format!("projects/{}/backups/{}", self.project, self.id)
    }

    fn kind(&self) -> &'static str {
        if self.requested { "ON_DEMAND" } else { "AUTOMATED" }
    }

    fn state(&self) -> &'static str {
        if self.kept.is_some() { "SUCCESSFUL" } else { "FAILED" }
    }

    /// As one of its instance.
    pub(crate) fn run_json(&self) -> Value {
        json!({
            "kind": "sql#backupRun",
            "id": self.id.to_string(),
            "instance": self.instance,
            "description": self.description,
            "status": self.state(),
            "type": self.kind(),
            "enqueuedTime": self.started.to_string(),
            "startTime": self.started.to_string(),
            "endTime": self.ended.to_string(),
        })
    }

    /// As one of its project.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "kind": "sql#backup",
            "name": self.name(),
            "type": self.kind(),
            "description": self.description,
            "instance": self.instance,
            "backupInterval": {"startTime": self.started.to_string(), "endTime": self.ended.to_string()},
            "state": self.state(),
            "backupRun": format!("projects/{}/instances/{}/backupRuns/{}", self.project, self.instance, self.id),
        });
        if let Some(gone) = self.gone {
            json["instanceDeletionTime"] = json!(gone.to_string());
        }
        json
    }
}
