//! Whose turn it is at a database instance, and what to do next about one piece of work on it.
//!
//! Cloud SQL does one operation per instance at a time and refuses the others. Many processes want one: environments that share the
//! instance, two processes of one run of which the first is believed dead, maintenance, people. The [`Ledger`] of an instance says who waits for
//! it and who is about to send something; it is written whole, and only over the version that was read.
//!
//! ```text
//!             ┌────────────────────── busy, or something else runs ──────────┐
//!             ▼                                                              │
//! absent ─► waiting ─► claimed, with a token and an instant until which ─► sent ─► accepted, with the operation's name ─► finished
//!                         │ nobody knows whether it was sent                          ▲
//!                         └─► wait until it would be visible ─► it is there: adopt ───┘
//!                                                            └─► it is not: waiting again
//! ```
//!
//! What must never happen is that one piece of work is done twice, or never. [`next`] decides from the ledger, from what was observed of the
//! service and from the time alone, so a random schedule of dying and stalling processes can be played through in a test.
//!
//! Two things are assumed of the world: that clocks agree within [`CLOCK_SKEW`], and that a request is accepted within [`IN_FLIGHT`] of
//! its being sent, or never. Should the second fail, the name still protects: an export whose object exists fails, a clone whose
//! instance exists is refused.

mod job;
pub mod label;
mod ledger;
pub mod leftover;
mod next;
mod rows;
mod seen;
#[cfg(test)]
mod simulation;
mod uses;

pub use job::{Fault, Job, Operation, OperationStatus, Priority, Work};
pub use ledger::{Entry, Ledger, Progress};
pub use next::{Conclusion, Next, Observation, Obstacle, Process, next};

pub use leftover::TIME_TO_LIVE;
pub use rows::{InstanceRows, Needs, PERMISSIONS, cloud_rows};
pub use seen::{DatabaseSeen, InstanceExamined, InstanceSeen};
pub use uses::{InstanceUse, Part, uses};

use jiff::SignedDuration;

/// How long an entry speaks for a process that does not renew it: what a killed process keeps others waiting.
pub const ALIVE: SignedDuration = SignedDuration::from_secs(90);
/// How long a claim allows for looking at the service once more and sending one request.
pub const CLAIM: SignedDuration = SignedDuration::from_secs(30);
/// How long after the end of a claim a request that was sent under it may still arrive: a request is given up after 30 seconds, and the
/// other half is for the service and for [`CLOCK_SKEW`].
pub const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(75);
/// How far clocks of two machines may differ.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(15);
/// How old an observation may be to decide whether it is worth claiming the instance. Under the claim it is looked at again.
pub const FRESH: SignedDuration = SignedDuration::from_secs(20);
/// How long the place of a process that is gone and only waited is kept for whoever resumes its run.
pub const WAITING_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// How long an entry under which something was or may have been sent is kept for whoever resumes its run.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
