//! The emulator, as clients see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod client;
mod fake_gcs_server;
mod faults;
mod identities;
mod objects;
mod protection;
mod uploads;
