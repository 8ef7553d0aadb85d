//! By what a writer recognises its own object, when the answer to its write was lost.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// The metadata of objects that holds it.
pub(crate) const WRITE_ID: &str = "dxdr-write";

/// Seeded by the system: no two writers have the same.
pub(crate) fn write_id() -> String {
    format!("{:016x}{:016x}", RandomState::new().build_hasher().finish(), RandomState::new().build_hasher().finish())
}
