//! Carrying out plans: backups and restores as runs with a journal, and reading what a store holds.
//!
//! ```text
//! plan ─► ActiveRun: started ─► step ─► evidence ─► step ─► … ─► finished        each arrow is an entry in the journal
//!                       │                                        └─ killed anywhere: `runs` finds it, resumes it or cleans up
//!                       └─► events ─► reporters
//! ```
//!
//! Architecture invariant: does not know why a step is in a plan, which adapters exist, or what anything looks like on a screen.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod active;
pub mod adaptive_limit;
pub mod backup;
pub mod capture;
pub mod catalog;
pub mod comparison;
pub mod context;
mod database;
pub mod error;
pub mod escrow;
pub mod event;
mod hook;
pub mod instance;
pub mod journal;
pub mod lease;
pub mod readiness;
pub mod restore;
pub mod runs;
pub mod sealing;
pub mod snapshot;
pub mod stop;
pub mod store;
pub mod stream;
pub mod velero;
mod witness;

pub use context::{LEASE_NAMESPACE, RunContext};
pub use database::InstanceLogs;
pub use error::RunError;
pub use event::{Event, Reporter};
pub use sealing::{SEALING_KEYS, SealingKeys};
pub use stop::StopRequest;
pub use store::Store;
