//! `dxdr completions`

use clap::CommandFactory;

use crate::{app::Cli, failure::Failure, terminal::Terminal};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  dxdr completions bash > /etc/bash_completion.d/dxdr\n  dxdr completions zsh > ~/.zfunc/_dxdr"
)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Prints the script.
pub(crate) fn run(command: &Completions, terminal: &Terminal) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "dxdr", &mut script);
    terminal.data(&String::from_utf8_lossy(&script));
    Ok(())
}
