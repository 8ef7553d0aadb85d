//! What is written is read again, what real servers wrote is read, and what is damaged or hostile is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive;
mod journal;
mod manifest;
mod velero;
