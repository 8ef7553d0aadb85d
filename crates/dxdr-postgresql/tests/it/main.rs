//! Against a real PostgreSQL server, where one is installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub, missing_docs)]

mod instant;
mod refusals;
mod returned;
mod secrecy;
mod server;
mod world;
