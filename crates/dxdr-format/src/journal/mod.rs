//! The journal of a run: a folder of small objects, one for each thing that happened, each created once and never changed.
//!
//! ```text
//! runs/20240501t100000z-restore-staging-x7k2m/000000.json   planned
//!                                             000001.json   step-started
//!                                             000002.json   step-finished
//! ```
//!
//! A process that finds one knows what was planned, what is done, and what may be half done.

mod run_id;
mod v1;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use run_id::RunId;

use crate::{FormatError, version};

pub(crate) const WHAT: &str = "journal entry";
pub(crate) const KIND: &str = "JournalEntry";
/// Bytes. The evidence of a large capture names each object: some MiB.
const LIMIT: u64 = 64 << 20;

/// What a finished step leaves to those behind it, in words of its own. No secret may be in it.
pub type Evidence = Map<String, Value>;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The first one.
    Planned(Planned),
    /// A step began.
    StepStarted(StepStarted),
    /// A step is done.
    StepFinished(StepFinished),
    /// A step could not be done. The run can be resumed.
    StepFailed(StepFailed),
    /// Somebody asked to stop. The run can be resumed.
    Interrupted(Interrupted),
    /// Another process goes on.
    Resumed(Resumed),
    /// The last one.
    Finished(Finished),
}

/// What will be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The run.
    pub run: String,
    /// Which kind of run.
    pub kind: RunKind,
    /// The environment.
    pub environment: String,
    /// What was asked for, so that another process can plan the same again. No secret may be in it.
    pub parameters: Map<String, Value>,
    /// Names of recovery points that this run writes: what is left of them may be removed when the run is cleaned up. Never a point
    /// that it only reads.
    pub points: Vec<String>,
    /// Its steps, in order.
    pub steps: Vec<PlannedStep>,
    /// The program that planned it, and its version: `dxdr 0.1.0`.
    pub program: String,
    /// The process that carries it out: host and process number.
    pub holder: String,
    /// When it began.
    pub started: Timestamp,
}

/// Which kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunKind {
    /// Takes a recovery point.
    Backup,
    /// Goes back to one.
    Restore,
}

/// One step, as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// Unique in its run.
    pub id: String,
    /// What is done.
    pub title: String,
    /// Why it is there, and there.
    pub reason: String,
    /// Whether it may simply be done again when nobody knows how far it came.
    pub repeatable: bool,
}

/// A step began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepStarted {
    /// Which.
    pub step: String,
    /// When.
    pub at: Timestamp,
}

/// A step is done.
#[derive(Debug, Clone, PartialEq)]
pub struct StepFinished {
    /// Which.
    pub step: String,
    /// When.
    pub at: Timestamp,
    /// What the next ones need of it.
    pub evidence: Evidence,
}

/// A step could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailed {
    /// Which; `None`: the one that was started last, or none.
    pub step: Option<String>,
    /// Why, with its causes, in a line.
    pub error: String,
    /// When.
    pub at: Timestamp,
}

/// Somebody asked to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// Who or what.
    pub reason: String,
    /// What lies around.
    pub remaining: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// Another process goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Which.
    pub holder: String,
    /// When.
    pub at: Timestamp,
}

/// It is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// In a few words.
    pub summary: String,
    /// When.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// As planned.
    Succeeded,
    /// Something is missing, and named.
    Partial,
    /// It came to nothing.
    Failed,
    /// What it left was removed.
    Cleaned,
}

impl Entry {
    /// `step-finished`
    pub fn word(&self) -> &'static str {
        match self {
            Self::Planned(_) => "planned",
            Self::StepStarted(_) => "step-started",
            Self::StepFinished(_) => "step-finished",
            Self::StepFailed(_) => "step-failed",
            Self::Interrupted(_) => "interrupted",
            Self::Resumed(_) => "resumed",
            Self::Finished(_) => "finished",
        }
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Planned(planned) => planned.started,
            Self::StepStarted(entry) => entry.at,
            Self::StepFinished(entry) => entry.at,
            Self::StepFailed(entry) => entry.at,
            Self::Interrupted(entry) => entry.at,
            Self::Resumed(entry) => entry.at,
            Self::Finished(entry) => entry.at,
        }
    }

    /// That `holder` goes on.
    pub fn resumed(holder: &str, at: Timestamp) -> Self {
        Self::Resumed(Resumed { holder: holder.to_owned(), at })
    }
}

impl Planned {
    /// Names of recovery points that this run writes.
    pub fn points(&self) -> Vec<String> {
        self.points.clone()
    }
}

impl Finished {
    /// What was left is removed.
    pub fn cleaned(summary: impl Into<String>, at: Timestamp) -> Self {
        Self { outcome: Outcome::Cleaned, summary: summary.into(), at }
    }
}

impl RunKind {
    /// `backup`, as in identifiers.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }
}

impl Outcome {
    /// `succeeded`
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cleaned => "cleaned",
        }
    }
}

/// Indented JSON; the same entry makes the same bytes.
pub fn encode(entry: &Entry) -> Vec<u8> {
    v1::Document::from(entry).encode()
}

/// Reads an entry of any version up to ours; a later one is [`FormatError::Future`].
pub fn decode(bytes: &[u8]) -> Result<Entry, FormatError> {
    if bytes.len() as u64 > LIMIT {
        return Err(FormatError::TooLarge { what: WHAT, limit: LIMIT });
    }
    version::check(WHAT, KIND, bytes)?;
    let document: v1::Document = serde_json::from_slice(bytes).map_err(|source| FormatError::Json { what: WHAT, source })?;
    Ok(document.into())
}
