//! Manifests as people write them: the shipped ones are good, and every file of `tests/bad` gets the answer that stands beside it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad;
mod generated;
mod shipped;
