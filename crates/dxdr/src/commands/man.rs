//! `dxdr man`

use std::{
    fs, io,
    path::{Path, PathBuf},
};

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
    let mut program = Cli::command();
    program.build();
    write(&program, &command.folder).map_err(context)?;
    terminal.note(&format!("man pages are in {}", command.folder.display()));
    Ok(())
}

/// The pages of a command and of those below it.
fn write(command: &clap::Command, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        write(inner, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    let mut roff = Vec::new();
    page.render(&mut roff)?;
    // What follows the options is examples here, and one a line.
    let roff = String::from_utf8_lossy(&roff).replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n");
    fs::write(folder.join(page.get_filename()), roff)
}
