//! Chores of this repository that are not tests; run as `cargo xtask CHORE`.
//!
//! - `cluster` starts a real Kubernetes control plane (and an S3 server) as plain processes on loopback,
//!   from programs built here out of the Go module proxy at pinned versions.
//! - `end-to-end` runs the tests that need such servers against them.
//! - `differential` holds dxdr against a real Velero.
//! - `layers` holds the crates to the arrows of the architecture.
//! - `bench` measures the product against the physical parts of what it does.
//! - `builtin-types` makes the sandbox's table of types from a real server.
//! - `generate` writes, or with `--check` compares, the files that are made from the types.
//!
//! Architecture invariant: nothing of dxdr is linked in here. The chores see the product as a user does, as a
//! program and as sources, so that they can judge a tree that does not compile.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a terminal program of the repository itself: results on stdout, progress on stderr"
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod builtin_types;
mod checkout;
mod cluster;
mod differential;
mod end_to_end;
mod failure;
mod generate;
mod interruption;
mod layers;

/// Chores of the dxdr repository that are not tests
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// A real Kubernetes control plane on loopback, for tests and for trying things
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Run the tests that need a real control plane and a real S3 server
    EndToEnd(end_to_end::Arguments),
    /// Hold dxdr against a real Velero: backups and restores of generated namespaces, compared object by object
    Differential(differential::Arguments),
    /// Measure backups, restores, plans and the catalog against their physical parts; prints a table, asserts nothing
    Bench(bench::Arguments),
    /// Check that the crates depend on each other as the architecture says
    Layers,
    /// Make the sandbox's table of built-in types from a real server
    BuiltinTypes(builtin_types::Arguments),
    /// Write the files that are made from the types: schemas, CRDs, the command reference
    Generate(generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Cluster(command) => cluster::run(command),
        Chore::EndToEnd(arguments) => end_to_end::run(&arguments),
        Chore::Differential(arguments) => differential::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Layers => layers::run(),
        Chore::BuiltinTypes(arguments) => builtin_types::run(&arguments),
        Chore::Generate(arguments) => generate::run(&arguments),
    };
    outcome.unwrap_or_else(|error| failure::report(&error))
}
