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

pub mod name;
pub mod object;

pub use name::{EnvironmentName, InvalidName, NamespaceName};
pub use object::{DiscoveredKind, ObjectReference, ResourceKind};
