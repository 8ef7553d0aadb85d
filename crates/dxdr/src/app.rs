//! The arguments of the command line, and the way from them to an exit code.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    commands,
    failure::{Failure, Kind},
    logging::{self, LogFormat},
    presentation::Presentation,
    terminal::{Colour, Output, Terminal},
};

/// Get Kubernetes environments back.
///
/// dxdr takes recovery points of environments (namespaces) into a bucket or a directory, and brings an environment back as it was
/// at an instant that you name. Every command that changes something shows its plan first.
#[derive(Debug, Parser)]
#[command(name = "dxdr", version, arg_required_else_help = true, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dxdr quickstart                                    see it work, with nothing installed
  dxdr backup now staging                            a recovery point, now
  dxdr points staging                                which recovery points there are
  dxdr restore --at 2024-05-01T10:00 staging --plan  what would be restored, and how
  dxdr restore --at 2024-05-01T10:00 staging         restore into a new namespace beside
  dxdr runs list                                     what ran, and what was left unfinished
  dxdr seal set apps/db.yaml password                a new value for an item of a SealedSecret

Exit codes: 0 done, 1 failed, 2 usage, 3 partial, 4 refused, 5 no way back, 6 locked, 7 unreachable, 8 bad input,
9 corrupt, 130 interrupted.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration file [default: .dxdr/config.yaml here or in a folder above, then ~/.config/dxdr/config.yaml].
    #[arg(long, global = true, env = "DXDR_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder or file of manifests; may be given more than once [default: the configuration's, then ./policies].
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) manifests: Vec<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Kubeconfig file [default: the configuration's, then KUBECONFIG, then ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Store to use instead of the policy's: the name of a BackupStore.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) store: Option<String>,
    /// Namespace in which Velero is installed [default: the configuration's, then velero].
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) velero_namespace: Option<String>,
    /// What to print on stdout.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Form of log lines on stderr; with json, the events of a run are log lines too.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Say more; twice for everything.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Only results, warnings and errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take recovery points.
    #[command(subcommand)]
    Backup(commands::backup::Backup),
    Restore(commands::restore::Restore),
    Points(commands::points::Points),
    /// See, resume or clean up what ran.
    #[command(subcommand)]
    Runs(commands::runs::Runs),
    /// See or apply what an environment of the model means in a cluster.
    #[command(subcommand)]
    Environment(commands::environment::EnvironmentCommand),
    /// See or apply what backup policies mean to a Velero server: its Schedules and locations.
    #[command(subcommand)]
    Schedule(commands::schedule::ScheduleCommand),
    /// See the databases of environments and what goes on there, check them, and undo or finish what a restore did with them.
    #[command(subcommand)]
    Databases(commands::databases::Databases),
    Check(commands::check::Check),
    Seal(Box<commands::seal::Seal>),
    /// Run the embedded Kubernetes API, with a store beside it.
    #[command(subcommand)]
    Sandbox(commands::sandbox::SandboxCommand),
    Quickstart(commands::quickstart::Quickstart),
    Completions(commands::completions::Completions),
    Man(commands::man::Man),
    #[command(hide = true)]
    Generate(commands::generate::Generate),
}

/// Parses, runs, and turns the result into an exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let terminal = Terminal::new(&Presentation {
        output: cli.global.output,
        colour: cli.global.color,
        quiet: cli.global.quiet,
        log_format: cli.global.log_format,
    });
    logging::start(cli.global.log_format, cli.global.verbose, cli.global.quiet, terminal.coloured());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::from_error(Kind::Failed, error).context("cannot start the runtime");
            terminal.failure(&failure);
            return failure.exit_code();
        }
    };
    let result = runtime.block_on(run(cli, &terminal));
    // Reads of a stalled server may still be under way on blocking threads: they have nothing left to tell.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match result.and_then(|()| terminal.lost()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.failure(&failure);
            failure.exit_code()
        }
    }
}

/// The arguments; or, where help was asked for or they make no sense, the exit code after that was said.
fn parse() -> Result<Cli, ExitCode> {
    let presentation = Presentation::of(std::env::args_os().skip(1));
    let colour = match presentation.colour {
        Colour::Auto => ColorChoice::Auto,
        Colour::Always => ColorChoice::Always,
        Colour::Never => ColorChoice::Never,
    };
    let parsed = Cli::command().color(colour).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if !error.use_stderr() {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let terminal = Terminal::new(&presentation);
        if terminal.for_people() {
            let _ = error.print();
        } else {
            logging::start(presentation.log_format, 0, presentation.quiet, terminal.coloured());
            terminal.failure(&Failure::from(error));
        }
        ExitCode::from(Kind::Usage.code())
    })
}

async fn run(cli: Cli, terminal: &Terminal) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Backup(command) => commands::backup::run(command, global, terminal).await,
        Command::Restore(command) => commands::restore::run(command, global, terminal).await,
        Command::Points(command) => commands::points::run(command, global, terminal).await,
        Command::Runs(command) => commands::runs::run(command, global, terminal).await,
        Command::Environment(command) => commands::environment::run(command, global, terminal).await,
        Command::Schedule(command) => commands::schedule::run(command, global, terminal).await,
        Command::Databases(command) => commands::databases::run(command, global, terminal).await,
        Command::Check(command) => commands::check::run(&command, global, terminal).await,
        Command::Seal(command) => commands::seal::run(*command, global, terminal).await,
        Command::Sandbox(command) => commands::sandbox::run(command, global, terminal).await,
        Command::Quickstart(command) => commands::quickstart::run(command, terminal).await,
        Command::Completions(command) => commands::completions::run(&command, terminal),
        Command::Man(command) => commands::man::run(&command, terminal),
        Command::Generate(command) => commands::generate::run(&command),
    }
}
