//! `dxdr man`

use std::{fs, path::PathBuf};

use clap::CommandFactory;

use crate::{
    app::Cli,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Write the man pages, one for each command, into a folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dxdr man ~/.local/share/man/man1\n  man dxdr-restore")]
pub(crate) struct Man {
    /// The folder; made when it is not there.
    folder: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(command: &Man, terminal: &Terminal) -> Result<(), Failure> {
    let context =
        |error| Failure::from_error(Kind::Failed, error).context(format!("cannot write into {}", command.folder.display()));
    fs::create_dir_all(&command.folder).map_err(context)?;
    clap_mangen::generate_to(Cli::command(), &command.folder).map_err(context)?;
    terminal.note(&format!("man pages are in {}", command.folder.display()));
    Ok(())
}
