//! What to do, as data: which lists a backup reads, what a restore creates and changes and leaves alone, and why.
//!
//! ```text
//! Selection + discovery ──► BackupPlan   which kinds, which namespaces, which keys, in which order
//! RestoreRequest + archive items + live objects ──► RestorePlan   per object: create, update, same, or left out
//! ```
//!
//! A plan leaves no choice to whoever carries it out, and every decision in it carries its reason.
//!
//! Architecture invariant: no I/O, no async, no clock and no randomness: the instant, the seed and the observed world are arguments.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backup;
pub mod error;
pub mod glob;
pub mod instance;
pub mod kind_name;
pub mod label;
pub mod order;
pub mod readiness;
pub mod related;
pub mod restore;
pub mod review;
pub mod selection;
pub mod step;
pub mod velero;

pub use error::PlanError;
pub use review::{Note, Severity};
pub use step::Step;
