//! What machines write, byte for byte: recovery point manifests, journals, Velero's backup format, and where all of it lies in a store.
//!
//! Stored formats have types of their own here, with a version from the first byte, and explicit conversions to the domain's. Three
//! questions are asked of every change to them:
//!
//! 1. *Can this code read what older code wrote?* Every version that was ever released is read; a missing field means what it meant
//!    when there was none.
//! 2. *Can older code read what this code writes?* Readers ignore fields they do not know within one major version. What an older
//!    reader must not overlook gets a new major version, and then it says [`FormatError::Future`] instead of guessing.
//! 3. *Will older code write back less than it read?* No: manifests and journal entries are created once and never changed, and the one thing
//!    that is read, changed and written again, the ledger of a database instance, is refused by who does not know all of its fields.
//!
//! Architecture invariant: no file, no socket, no clock; bytes come from a `Read` or a slice and go to a `Write` or a `Vec`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod compressed;
pub mod database;
mod error;
pub mod escrow;
pub mod hashing;
pub mod journal;
pub mod layout;
pub mod ledger;
pub mod manifest;
pub mod velero;
mod version;

pub use error::FormatError;
