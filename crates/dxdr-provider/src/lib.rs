//! What dxdr needs of the world outside: a store for objects, a Kubernetes API, databases and their instances, a clock, somebody who opens SealedSecrets. Small traits, their values and their
//! errors; adapters implement them, the shell uses them, tests wrap them to inject faults.
//!
//! Architecture invariant: borrows names from `dxdr-environment` and knows nothing else of the domain; holds no implementation
//! that talks to anything.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clock;
pub mod cluster;
pub mod database;
pub mod instance;
pub mod mark;
pub mod object_storage;
pub mod properties;
pub mod quoting;
pub mod sealing;
mod setting;

pub use clock::Clock;
pub use cluster::{Cluster, ClusterError, ClusterErrorKind};
pub use database::{Database, DatabaseError, DatabaseErrorKind, Databases};
pub use instance::{InstanceError, InstanceErrorKind, Instances};
pub use object_storage::{ObjectStorage, StorageError, StorageErrorKind};
pub use sealing::Unsealer;
