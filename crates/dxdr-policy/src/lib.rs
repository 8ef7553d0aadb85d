//! What is promised: objectives, schedules, retention, and where recovery points are kept.
//!
//! Architecture invariant: no I/O, no async, no clock; the instant is an argument.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backup;
pub mod cron_field;
pub mod retention;
pub mod schedule;
pub mod store;

pub use backup::{BackupPolicy, DatabaseMethod, DatabasePolicy, Engine, Objectives, SecretsPolicy, VolumeMethod};
pub use retention::Retention;
pub use schedule::{Schedule, ScheduleError};
pub use store::{BackupStore, GcsLocation, S3Location, StoreLocation};
