//! The `dxdr` command line: getting Kubernetes environments back.
//!
//! ```text
//! arguments ─► configuration (which adapters, which manifests) ─► load ─► plan ─► show ─► consent ─► run ─► report
//! ```
//!
//! Architecture invariant: the only crate that knows which adapters exist. Commands decide nothing that a plan could decide.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod app;
mod commands;
mod configuration;
mod demonstration;
mod failure;
mod interruption;
mod logging;
mod presentation;
mod progress;
mod secrecy;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::main()
}
