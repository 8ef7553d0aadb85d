//! `dxdr runs`

use dxdr_provider::{Clock, clock::SystemClock};
use dxdr_report::{backup_plan, runs as page};
use dxdr_run::{
    backup,
    restore::databases,
    runs::{self, Resumption},
};

use super::{context, restore, seal};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  dxdr runs list\n  dxdr runs show 20240501t100000z-restore-staging-x7k2v\n  dxdr runs resume 20240501t100000z-restore-staging-x7k2v"
)]
pub(crate) enum Runs {
    /// List what ran, newest first, and what was left unfinished.
    #[command(after_help = "Examples:\n  dxdr runs list\n  dxdr runs list --output json")]
    List,
    /// Show the journal of a run.
    #[command(after_help = "Examples:\n  dxdr runs show 20240501t100000z-restore-staging-x7k2v")]
    Show(One),
    /// Go on with a run that was killed, stopped or gave up: plans again, and does what is left.
    #[command(
        after_help = "Examples:\n  dxdr runs resume 20240501t100000z-restore-staging-x7k2v --dry-run\n  dxdr runs resume 20240501t100000z-restore-staging-x7k2v"
    )]
    Resume(Decided),
    /// Remove what an unfinished run left in the store, and end it.
    ///
    /// Removes the objects of a recovery point that never came to be, and the snapshots of volumes that were taken for it, in the storage,
    /// too. Ends what Velero does for the run. Objects that a restore wrote into a cluster stay there, and so do databases that it put in
    /// place.
    #[command(
        after_help = "Examples:\n  dxdr runs clean 20240501t100000z-restore-staging-x7k2v --dry-run\n  dxdr runs clean 20240501t100000z-restore-staging-x7k2v"
    )]
    Clean(Decided),
}

#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The run's identifier.
    run: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Decided {
    /// The run's identifier.
    run: String,
    /// Show what would be done, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Runs, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let store = world.store(None).await?;
    match command {
        Runs::List => {
            let found = runs::list(&store).await?;
            terminal.value(&page::list_json(&found), || page::list_text(&found, SystemClock.now(), terminal.width()));
            match found.unreadable.as_slice() {
                [] => Ok(()),
                unreadable => Err(unreadable_failure("journal", unreadable)),
            }
        }
        Runs::Show(one) => {
            let history = runs::history(&store, &one.run).await?;
            terminal.value(&page::history_json(&history), || page::history_text(&history, SystemClock.now()));
            Ok(())
        }
        Runs::Clean(decided) => {
            let history = runs::unfinished(&store, &decided.run).await?;
            let mut leftovers = runs::leftovers(&store, &history).await?;
            if !databases::in_doubt(&history).is_empty() {
                let context = context::with_store(&world, store.clone(), global, terminal).await?;
                leftovers = leftovers.with_found(databases::found_in_place(&context, &history).await?);
            }
            let text = page::leftovers_text(&history, &leftovers);
            if decided.dry_run {
                terminal.value(&page::leftovers_json(&history, &leftovers, false), || text);
                return Ok(());
            }
            terminal.note(&text);
            terminal.consent("Remove them and end the run?", decided.yes)?;
            let context = context::with_store(&world, store, global, terminal).await?;
            let removed = runs::clean(&context, &history).await?;
            terminal.value(&page::leftovers_json(&history, &removed, true), || {
                format!(
                    "{} removed; run {} is ended",
                    dxdr_report::quantity::counted(
                        removed.keys.len() + removed.snapshots.len() + removed.databases.len(),
                        "object"
                    ),
                    decided.run
                )
            });
            Ok(())
        }
        Runs::Resume(decided) => resume(&decided, &world, store, global, terminal).await,
    }
}

/// What is listed and cannot be understood, beside what can.
pub(crate) fn unreadable_failure(what: &'static str, unreadable: &[(String, String)]) -> Failure {
    let message = match unreadable {
        [(name, reason)] => format!("the {what} of {name} cannot be read: {reason}"),
        several => format!(
            "the {what}s of {} cannot be read, see the list for the reasons",
            several.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        ),
    };
    Failure::new(Kind::Partial, message)
        .hint("what a newer dxdr wrote is read by that one; what is damaged cannot be used, and all the others can")
}

async fn resume(
    decided: &Decided,
    world: &World,
    store: dxdr_run::Store,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let history = runs::unfinished(&store, &decided.run).await?;
    let planned =
        history.planned().ok_or_else(|| Failure::new(Kind::Corrupt, format!("the journal of {} does not begin", decided.run)))?;
    let environment = world.environment(Some(&planned.environment))?.clone();
    let mut context = context::with_store(world, store, global, terminal).await?;
    let resumption = runs::prepare(&context, &environment, history).await?;
    let mut text = page::resumption_text(&resumption, &context.store.storage.describe());
    let mut json = page::resumption_json(&resumption);
    let (capturing, refusal) = match &resumption {
        Resumption::Backup { plan, .. } => (Some(plan.as_ref()), Ok(())),
        Resumption::VeleroBackup { .. } => (None, Ok(())),
        Resumption::Restore { order, prepared, .. } => (order.to_protect(), restore::refusal(&prepared.plan)),
    };
    let captures = capturing.is_some() || matches!(resumption, Resumption::VeleroBackup { .. });
    if let Some(plan) = capturing.filter(|plan| !plan.lists.is_empty()) {
        context.sealing = seal::keys(world, &environment, seal::Missing::Say, global, terminal).await;
        let secrets = backup::plain_secrets(&context, plan).await?;
        let kms_key = world.store_declaration(None)?.kms_key();
        text.push_str(&format!("\n{}\n", backup_plan::secrets_text(secrets.as_deref(), kms_key)));
        json["plainSecrets"] = backup_plan::secrets_json(secrets.as_deref(), kms_key);
    }
    if decided.dry_run {
        terminal.value(&json, || text);
        return refusal;
    }
    terminal.note(&text);
    refusal?;
    terminal.consent("Go on with it?", decided.yes)?;
    if captures {
        context.sealing = seal::keys(world, &environment, seal::Missing::Escrow, global, terminal).await;
    }
    match runs::resume(&context, resumption).await? {
        runs::Resumed::Backup(point) => super::backup::report(*point, world.max_skew(&environment.name), terminal),
        runs::Resumed::Restore(report) => restore::tell(&report, terminal),
    }
}
