//! What happens during a run, as values. Reporters make a terminal, JSON lines or logs of them; nothing here prints.

use dxdr_environment::ObjectReference;
use jiff::Timestamp;

/// Receives events, in order, from the run's tasks. Must not block.
pub trait Reporter: Send + Sync {
    /// Something happened.
    fn report(&self, event: &Event);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: &Event) {}
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The run has its journal; from here on it can be resumed.
    RunStarted {
        /// The run.
        run: String,
        /// When.
        at: Timestamp,
    },
    /// A step begins.
    StepStarted {
        /// Its identifier in the plan.
        step: String,
        /// For people.
        title: String,
    },
    /// Work on the step goes on.
    Progress {
        /// The step.
        step: String,
        /// Objects handled so far.
        done: u64,
        /// Objects to handle, where known.
        total: Option<u64>,
        /// Bytes handled so far.
        bytes: u64,
        /// What is being handled: a kind.
        at: String,
    },
    /// Somebody else who does the step has come to another phase of it.
    Phase {
        /// The step.
        step: String,
        /// In that one's words: `Queued, position 2`.
        phase: String,
    },
    /// A step is done.
    StepFinished {
        /// The step.
        step: String,
        /// In a few words.
        summary: String,
    },
    /// A step was done by an earlier process of this run.
    StepSkipped {
        /// The step.
        step: String,
        /// For people.
        title: String,
    },
    /// One object could not be written.
    ObjectFailed {
        /// Which.
        object: ObjectReference,
        /// Why.
        error: String,
    },
    /// Something a person should know, and the run goes on.
    Warning {
        /// What.
        text: String,
    },
    /// The run is over.
    RunFinished {
        /// The run.
        run: String,
        /// `succeeded`, `partial`, `failed`, `interrupted`.
        outcome: String,
        /// When.
        at: Timestamp,
    },
}
