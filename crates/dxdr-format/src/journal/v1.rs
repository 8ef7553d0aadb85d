//! Version 1 of journal entries. What is said of the manifest's version 1 goes for this one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Entry, Finished, Interrupted, KIND, Outcome, Planned, PlannedStep, Resumed, RunKind, StepFailed, StepFinished, StepStarted,
};
use crate::version::API_VERSION;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    api_version: String,
    kind: String,
    #[serde(flatten)]
    entry: WrittenEntry,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", rename_all_fields = "camelCase")]
enum WrittenEntry {
    Planned {
        run: String,
        #[serde(rename = "of")]
        kind: Kind,
        environment: String,
        #[serde(default)]
        parameters: Map<String, Value>,
        #[serde(default)]
        points: Vec<String>,
        steps: Vec<Step>,
        program: String,
        holder: String,
        started: Timestamp,
    },
    StepStarted {
        step: String,
        at: Timestamp,
    },
    StepFinished {
        step: String,
        at: Timestamp,
        #[serde(default)]
        evidence: Map<String, Value>,
    },
    StepFailed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        error: String,
        at: Timestamp,
    },
    Interrupted {
        reason: String,
        #[serde(default)]
        remaining: Vec<String>,
        at: Timestamp,
    },
    Resumed {
        holder: String,
        at: Timestamp,
    },
    Finished {
        outcome: WrittenOutcome,
        summary: String,
        at: Timestamp,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Backup,
    Restore,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    title: String,
    reason: String,
    repeatable: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenOutcome {
    Succeeded,
    Partial,
    Failed,
    Cleaned,
}

impl Document {
    #[expect(clippy::expect_used, reason = "only maps whose keys are no text, and values that refuse, fail; there are none here")]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("all of it is JSON");
        bytes.push(b'\n');
        bytes
    }
}

impl From<&Entry> for Document {
    fn from(entry: &Entry) -> Self {
        let entry = match entry.clone() {
            Entry::Planned(Planned { run, kind, environment, parameters, points, steps, program, holder, started }) => {
                let kind = match kind {
                    RunKind::Backup => Kind::Backup,
                    RunKind::Restore => Kind::Restore,
                };
                let steps = steps
                    .into_iter()
                    .map(|PlannedStep { id, title, reason, repeatable }| Step { id, title, reason, repeatable })
                    .collect();
                WrittenEntry::Planned { run, kind, environment, parameters, points, steps, program, holder, started }
            }
            Entry::StepStarted(StepStarted { step, at }) => WrittenEntry::StepStarted { step, at },
            Entry::StepFinished(StepFinished { step, at, evidence }) => WrittenEntry::StepFinished { step, at, evidence },
            Entry::StepFailed(StepFailed { step, error, at }) => WrittenEntry::StepFailed { step, error, at },
            Entry::Interrupted(Interrupted { reason, remaining, at }) => WrittenEntry::Interrupted { reason, remaining, at },
            Entry::Resumed(Resumed { holder, at }) => WrittenEntry::Resumed { holder, at },
            Entry::Finished(Finished { outcome, summary, at }) => {
                let outcome = match outcome {
                    Outcome::Succeeded => WrittenOutcome::Succeeded,
                    Outcome::Partial => WrittenOutcome::Partial,
                    Outcome::Failed => WrittenOutcome::Failed,
                    Outcome::Cleaned => WrittenOutcome::Cleaned,
                };
                WrittenEntry::Finished { outcome, summary, at }
            }
        };
        Self { api_version: API_VERSION.to_owned(), kind: KIND.to_owned(), entry }
    }
}

impl From<Document> for Entry {
    fn from(document: Document) -> Self {
        match document.entry {
            WrittenEntry::Planned { run, kind, environment, parameters, points, steps, program, holder, started } => {
                let kind = match kind {
                    Kind::Backup => RunKind::Backup,
                    Kind::Restore => RunKind::Restore,
                };
                let steps = steps
                    .into_iter()
                    .map(|Step { id, title, reason, repeatable }| PlannedStep { id, title, reason, repeatable })
                    .collect();
                Self::Planned(Planned { run, kind, environment, parameters, points, steps, program, holder, started })
            }
            WrittenEntry::StepStarted { step, at } => Self::StepStarted(StepStarted { step, at }),
            WrittenEntry::StepFinished { step, at, evidence } => Self::StepFinished(StepFinished { step, at, evidence }),
            WrittenEntry::StepFailed { step, error, at } => Self::StepFailed(StepFailed { step, error, at }),
            WrittenEntry::Interrupted { reason, remaining, at } => Self::Interrupted(Interrupted { reason, remaining, at }),
            WrittenEntry::Resumed { holder, at } => Self::Resumed(Resumed { holder, at }),
            WrittenEntry::Finished { outcome, summary, at } => {
                let outcome = match outcome {
                    WrittenOutcome::Succeeded => Outcome::Succeeded,
                    WrittenOutcome::Partial => Outcome::Partial,
                    WrittenOutcome::Failed => Outcome::Failed,
                    WrittenOutcome::Cleaned => Outcome::Cleaned,
                };
                Self::Finished(Finished { outcome, summary, at })
            }
        }
    }
}
