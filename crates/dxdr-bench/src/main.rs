//! One measurement a process, so that the peak of memory is that measurement's: `cargo xtask bench` starts them and compares.
//!
//! ```text
//!   serve ─► kubeconfig        seed, seed-mixed ─► namespace of ConfigMaps, of applications
//!   list, archive ─► backup    the parts alone, and the whole          same client, same objects
//!   create        ─► restore   the bare writes, and the whole
//!   plan                       from the store alone
//!   instant                    one point among a million
//!   sealing                    the bare operations of re-encryption
//!   google-storage             bytes to and from a bucket, by our store and by Google's crate
//! ```
//!
//! Each prints one line of JSON on stdout: seconds, objects, bytes, the peak of memory, and what else it counts.
//!
//! Architecture invariant: measures through the crates' public interfaces, as the command line uses them; nothing is faster here than there.

#![expect(clippy::print_stdout, reason = "a program for another program: its result is on stdout")]

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::world::StorePlace;

mod application;
mod backup;
mod catalog;
mod cluster;
mod google_storage;
mod measurement;
mod restore;
mod sealing;
mod serving;
mod world;

/// One measurement of dxdr
#[derive(Parser)]
#[command(name = "dxdr-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the sandbox on loopback until stdin ends; write its kubeconfig
    Serve { kubeconfig: PathBuf },
    /// Create a namespace with so many ConfigMaps of about a kibibyte
    Seed {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        count: u64,
    },
    /// Create a namespace with so many applications of eleven objects of different kinds each
    SeedMixed {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        count: u64,
    },
    /// Delete a namespace, without waiting for it
    Unseed {
        #[command(flatten)]
        place: Place,
    },
    /// Read every page of the namespace's ConfigMaps, and drop them
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Write the namespace's ConfigMaps, read beforehand, into an archive that goes nowhere
    Archive {
        #[command(flatten)]
        place: Place,
    },
    /// Take a recovery point of the namespace into a directory, or into `s3://BUCKET/PREFIX`
    Backup {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        store: StorePlace,
    },
    /// Create the namespace's ConfigMaps, read beforehand, in another one, with 32 workers
    Create {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        into: String,
    },
    /// Restore the newest recovery point of the namespace into another one
    Restore {
        #[command(flatten)]
        place: Place,
        #[arg(long)]
        into: String,
        #[arg(long)]
        store: StorePlace,
    },
    /// Plan a restore of the newest recovery point from the store alone
    Plan {
        #[arg(long)]
        namespace: String,
        #[arg(long)]
        store: StorePlace,
    },
    /// Find the points for a few instants among so many, in memory
    Instant {
        #[arg(long)]
        points: u32,
        /// In this directory instead
        #[arg(long)]
        directory: Option<PathBuf>,
    },
    /// Open, seal and open again on all cores, with the oldest and the newest of a list of key Secrets
    Sealing {
        #[arg(long)]
        keys: PathBuf,
    },
    /// Serve the emulator of Google Cloud Storage on loopback until stdin ends; write its URL
    ServeGoogleStorage { file: PathBuf },
    /// Move the bytes of one object to or from a bucket of Google Cloud Storage
    GoogleStorage(google_storage::Transfer),
}

#[derive(Args)]
struct Place {
    #[arg(long)]
    kubeconfig: PathBuf,
    #[arg(long)]
    context: Option<String>,
    #[arg(long)]
    namespace: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(arguments.command))
}

async fn run(command: Command) -> Result<()> {
    let measurement = match command {
        Command::Serve { kubeconfig } => return cluster::serve(&kubeconfig).await,
        Command::Seed { place, count } => cluster::seed(&place, count).await?,
        Command::SeedMixed { place, count } => application::seed(&place, count).await?,
        Command::Unseed { place } => cluster::unseed(&place).await?,
        Command::List { place } => backup::list(&place).await?,
        Command::Archive { place } => backup::archive(&place).await?,
        Command::Backup { place, store } => backup::backup(&place, &store).await?,
        Command::Create { place, into } => restore::create(&place, &into).await?,
        Command::Restore { place, into, store } => restore::restore(&place, &into, &store).await?,
        Command::Plan { namespace, store } => restore::plan(&namespace, &store).await?,
        Command::Instant { points, directory } => catalog::instant(points, directory.as_deref()).await?,
        Command::ServeGoogleStorage { file } => return google_storage::serve(&file).await,
        Command::GoogleStorage(transfer) => google_storage::transfer(&transfer).await?,
        Command::Sealing { keys } => tokio::task::block_in_place(|| sealing::bare(&keys))?,
    };
    println!("{}", measurement.json()?);
    Ok(())
}
