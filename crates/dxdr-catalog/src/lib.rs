//! What there is: recovery points, what each one covers, and which one an instant means.
//!
//! ```text
//! "2024-05-01T10:00" ── target ──► instant ─┐
//!                                           ├─ query ──► the point to restore, or why there is none
//! entries of the store ─────────────────────┘              │
//!                              when each part was captured ── coverage ──► whether they are of one instant
//! ```
//!
//! Architecture invariant: knows nothing of how points are stored or read; values in, values out.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod coverage;
pub mod escrow;
pub mod interval;
pub mod name;
pub mod query;
pub mod recovery_point;
pub mod target;

pub use escrow::EscrowedKey;
pub use interval::Interval;
pub use query::{Choice, NoWayBack, Query};
pub use recovery_point::{
    CapturedKind, Component, DatabaseComponent, Engine, Entry, ForeignBackup, Gap, KeptBackup, KeptLog, KeysComponent, PodVolume,
    RecoveryPoint, ResourcesComponent, Sha256, SourceCluster, StoredObject, Trigger, VolumeComponent,
};
pub use target::RecoveryTarget;
