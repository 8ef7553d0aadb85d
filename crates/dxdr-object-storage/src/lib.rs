//! Directories, and buckets of S3 and of Google Cloud Storage, as object stores.
//!
//! ```text
//!                     dxdr_provider::ObjectStorage
//!        ┌───────────────┬──────────┴────┬──────────────┬──────────────────┐
//!  DirectoryStorage   S3Storage     GcsStorage    MemoryStorage    Faulty, Counting
//!  files below a      a bucket      a bucket      tests,           around any of them
//!  root               or prefix     or prefix     benchmarks
//! ```
//!
//! One suite (`tests/it/conformance.rs`) says what every store does: an object is there whole or not at all, keys are listed in the
//! order of their bytes, of several writers of one new key one wins, what is read is what was written or ends in an error. A store for
//! another service is a module beside [`s3`], and one more line in that suite.
//!
//! Errors carry their kind; [`hints`] says what to do about them.
//!
//! Architecture invariant: no store knows what its objects mean, and none holds an object whole, except the one in memory.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod counting;
pub mod directory;
pub mod fault;
pub mod gcs;
pub mod key;
pub mod memory;
pub mod s3;

mod checksum;
mod failure;
mod hints;
mod listing;
mod parts;
mod range;
mod write_id;

pub use counting::{Counting, Counts};
pub use directory::DirectoryStorage;
pub use failure::{BodyFailure, storage_error_of};
pub use fault::{Action, Fault, Faulty};
pub use gcs::{GcsOptions, GcsStorage};
pub use hints::hints;
pub use memory::MemoryStorage;
pub use s3::{S3Encryption, S3Options, S3Storage};
