//! dxdr and a real Velero side by side, over as many generated namespaces as one likes.
//!
//! The suite is a test of the program's (`real_servers/differential`), which `end-to-end` runs with a few namespaces.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{
    checkout,
    cluster::{Parts, VeleroVersion, temporary::in_cluster},
    end_to_end,
};

const SUITE: &str = "real_servers::differential";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many namespaces: one for each of the numbers from `--first` on
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    seeds: u32,
    /// The first number: another one makes other namespaces
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    first: u32,
    #[command(flatten)]
    version: VeleroVersion,
    /// Leave the servers running afterwards, and say how to stop them
    #[arg(long)]
    keep: bool,
}

/// The exit code is that of `cargo test`; 3 when a program that is needed is not installed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let parts = Parts { s3: true, csi: true, velero: true, version: arguments.version, ..Parts::default() };
    end_to_end::check_filters(&[SUITE])?;
    in_cluster(parts, arguments.keep, |cluster| {
        let mut variables = cluster.test_variables();
        variables.push(("DXDR_TEST_SEEDS", arguments.seeds.to_string()));
        variables.push(("DXDR_TEST_REQUIRED", "servers,velero".to_owned()));
        variables.push(("DXDR_TEST_FIRST_SEED", arguments.first.to_string()));
        let mut command = Command::new(checkout::cargo());
        command.args(["test", "--package", "dxdr", "--test", "it", SUITE, "--", "--nocapture"]);
        end_to_end::test(&mut command, &variables)
    })
}
