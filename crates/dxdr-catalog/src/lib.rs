//! What there is: recovery points, what each one covers, and which one an instant means.
//!
//! Architecture invariant: knows nothing of how points are stored or read; values in, values out.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod recovery_point;

pub use recovery_point::{
    CapturedKind, Component, DatabaseComponent, Engine, Entry, ForeignBackup, Gap, KeysComponent, RecoveryPoint,
    ResourcesComponent, Sha256, SourceCluster, StoredObject, Trigger, VolumeComponent,
};
