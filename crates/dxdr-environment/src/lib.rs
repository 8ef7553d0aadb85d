//! What exists: Kubernetes objects, environments, and what an environment means in a cluster.
//!
//! ```text
//! Environment ──compile──► desired objects ──difference──► field by field against what lives
//! ```
//!
//! A Kubernetes object is a [`serde_json::Value`] here: a tree that may hold fields nobody has heard of yet. Typed structs
//! would drop those, and a backup that drops a field is not a backup.
//!
//! Architecture invariant: values in, values out. No I/O, no async, no clock, no derived serialisation.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod canonical;
pub mod comparison;
pub mod compile;
pub mod database;
pub mod difference;
pub mod environment;
pub mod instance;
pub mod isolation;
pub mod name;
pub mod object;
pub mod permission;
pub mod quantity;
pub mod scheduling;
pub mod sealed_secret;

pub use canonical::canonical;
pub use comparison::{ObjectState, PlannedObject};
pub use compile::{CompiledEnvironment, DesiredObject, Placement, compile};
pub use database::{Database, DatabaseFacts, DatabaseLocation, DatabaseUnit, PostgresqlServer};
pub use difference::{Difference, FieldPath, PathStep, difference, full_difference};
pub use environment::{Environment, Tier};
pub use instance::InstanceName;
pub use isolation::Isolation;
pub use name::{EnvironmentName, InvalidName, NamespaceName};
pub use object::{DiscoveredKind, ObjectReference, ResourceKind};
pub use quantity::{Quantity, QuotaScale};
pub use scheduling::Scheduling;
pub use sealed_secret::{KeyFingerprint, Scope, SealedIdentity};
