//! Bytes to and from Google Cloud Storage, by dxdr and by Google's crate alone, on the emulator in a process of its own.

use std::ffi::OsString;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::served::Served;
use super::{Bench, Measured, Table, median};

/// A small object, to compare the memory of a large one with, in bytes.
const SMALL: u64 = 64 << 20;

pub(super) fn run(bench: &Bench, rounds: usize, large: u64) -> Result<ExitCode> {
    let server = Server::start(bench)?;
    let mut table = Table::default();
    for direction in ["upload", "download"] {
        let mut peaks = Vec::new();
        for bytes in [SMALL, large] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                // Both read what the one before has written; the numbers of bytes are the same.
                if direction == "download" {
                    server.measure(bench, "dxdr", "upload", bytes)?;
                }
                theirs.push(server.measure(bench, "bare", direction, bytes)?);
                ours.push(server.measure(bench, "dxdr", direction, bytes)?);
            }
            let (ours, theirs) = (median(ours)?, median(theirs)?);
            peaks.push(ours.mebibytes());
            table.row(
                format!("{direction} of {} MiB", bytes >> 20),
                format!("{:.0} MiB/s, peak {:.0} MiB", rate(&ours), ours.mebibytes()),
                format!(
                    "Google's crate {:.0} MiB/s, peak {:.0} MiB: **{:.2}**",
                    rate(&theirs),
                    theirs.mebibytes(),
                    rate(&ours) / rate(&theirs)
                ),
                "at least 0.8, and 100 MB at most",
            );
        }
        eprintln!("{direction}: peaks of {peaks:.0?} MiB");
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}

fn rate(measured: &Measured) -> f64 {
    measured.0["bytes"].as_f64().unwrap_or(f64::NAN) / f64::from(1 << 20) / measured.seconds()
}

/// The emulator.
struct Server {
    _process: Served,
    endpoint: String,
}

impl Server {
    fn start(bench: &Bench) -> Result<Self> {
        let process = Served::start(bench, "serve-google-storage")?;
        let file = process.file();
        let endpoint = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { _process: process, endpoint })
    }

    fn measure(&self, bench: &Bench, client: &str, direction: &str, bytes: u64) -> Result<Measured> {
        let bytes = bytes.to_string();
        let line =
            ["google-storage", "--endpoint", &self.endpoint, "--client", client, "--direction", direction, "--bytes", &bytes];
        bench.measure(&line.map(OsString::from))
    }
}
