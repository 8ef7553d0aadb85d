//! Cloud SQL instances, through Google's Admin API.
//!
//! ```text
//! InstanceRequest ─► request ─► one HTTP request, never repeated ─► an operation's name, or an error whose kind says whether it was accepted
//! looks           ─► repeated a few times where nothing can have happened ─► translation: the API's words into ours
//! ```
//!
//! Architecture invariant: waits for no operation, keeps nothing in mind but the engines of instances, and decides nothing: whose turn it is and
//! what is adopted is decided elsewhere.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connect;
mod failure;
mod granted;
mod request;
mod service;
mod translation;

pub use connect::{ConnectError, Credentials, Options};
pub use service::CloudSql;
