//! Every store passes one suite; what only one of them has is tested beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod authority;
mod conformance;
mod directory;
mod gcs;
mod gcs_faults;
mod memory;
mod s3;
mod scripted;
