//! What is promised: objectives, schedules, retention, and where recovery points are kept.
//!
//! ```text
//! BackupPolicy ─ objectives ──► Standing    promise against fact, now
//!              ├ schedule ────► firings     when points are taken; follows from the objective where it is left out,
//!              │                            spread over the instances that environments share
//!              ├ retention ───► Decision    which points stay, and why
//!              └ store ───────► BackupStore
//! SealingPolicy ─► when keys are renewed, and who opens them in an emergency
//! ```
//!
//! Architecture invariant: no I/O, no async, no clock; the instant is an argument.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backup;
pub mod consistency;
mod cron_field;
pub mod objective;
pub mod retention;
pub mod schedule;
pub mod sealing;
pub mod spread;
pub mod store;

pub use backup::{
    BackupPolicy, DATABASE_TIMEOUT, DatabaseMethod, DatabasePolicy, Engine, Objectives, ResourceFilters, SNAPSHOT_TIMEOUT,
    SecretsPolicy, VolumeMethod, VolumePolicy,
};
pub use consistency::{Consistency, HoldTime, References};
pub use cron_field::{Fault, FieldError};
pub use objective::{Newest, Standing, data_loss_standing};
pub use retention::Retention;
pub use schedule::{Schedule, ScheduleError};
pub use sealing::{Due, EscrowPolicy, Escrowed, SealingPolicy};
pub use spread::{Because, Timing, Together, exported_from, timings, together};
pub use store::{BackupStore, GcsLocation, S3Location, SnapshotLocation, StoreLocation, VeleroLocation};
