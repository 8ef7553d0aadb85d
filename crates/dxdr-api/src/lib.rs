//! What people write: the manifests of dxdr.io/v1alpha1, in files and as custom resources.
//!
//! ```text
//!          text ──tree──► nodes with places ──shape──► right shape ──reading──► values of the model
//!                                               ▲
//! types ──schema──► JSON Schema ────────────────┴──► editors, CustomResourceDefinitions, the reference page
//! ```
//!
//! [`parse`] reads one text, [`manifests`] holds documents against one another, [`load`] does both for many texts. Every step goes
//! on as far as it can, so that all problems are named at once, each with its place.
//!
//! Architecture invariant: the only crate that knows the YAML that people write; no I/O, no clock, and no Kubernetes client.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod document;
mod duration;
mod kind;
mod model;
mod nearest;
mod problem;
mod reading;
pub mod schema;
mod shape;
mod specification;
mod tree;
pub mod yaml;

pub use document::{Document, Resource, custom_resource, parse};
pub use kind::{API_VERSION, GROUP, Kind, VERSION};
pub use model::{Model, load, manifests};
pub use nearest::nearest;
pub use problem::{Place, Problem, Problems, Severity, SourceText};
