//! How to connect: configuration, manifests, and the adapters they lead to.
//!
//! Configuration says how to reach things (contexts, defaults; a person's or a deployment's own); manifests say what exists and
//! what is promised, and are reviewed like code.

pub(crate) mod file;
pub(crate) mod hints;
pub(crate) mod manifests;
pub(crate) mod world;

pub(crate) use world::World;
