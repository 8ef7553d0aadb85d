//! The adapter against servers that misbehave on purpose, and against a real API server where there is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod answers;
mod connections;
mod discovery;
mod kubeconfigs;
mod real_server;
mod scripted;
