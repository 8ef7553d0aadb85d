//! Directories and S3 buckets as object stores
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod directory;
pub mod key;
pub mod memory;

mod failure;
mod listing;
mod range;

pub use directory::DirectoryStorage;
pub use failure::{BodyFailure, storage_error_of};
pub use memory::MemoryStorage;
