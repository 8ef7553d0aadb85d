//! `dxdr databases reap`

use dxdr_environment::InstanceName;
use dxdr_format::journal::RunId;
use dxdr_plan::instance::leftover::{Left, LeftBackup, LeftTransfer, Leftover, MadeBackup, Transfer};
use dxdr_provider::{Clock, InstanceError, clock::SystemClock};
use dxdr_report::leftovers as page;
use dxdr_run::{
    Store, active,
    instance::{self, FoundLeftovers},
};

use super::cloud::used;
use crate::{
    app::Global,
    commands::context,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Reap {
    /// Only on instances of this environment, and in their projects.
    environment: Option<String>,
    /// Show what would be removed, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(super) async fn run(command: &Reap, world: &World, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let environment = command.environment.as_deref().map(|name| world.environment(Some(name))).transpose()?;
    let uses = used(world, environment);
    let now = SystemClock.now();
    let stores = if uses.is_empty() { Vec::new() } else { stores(world).await? };
    let found = if uses.is_empty() {
        FoundLeftovers::default()
    } else {
        let instances = world.instances().await?;
        instance::leftovers(instances.as_ref(), &used(world, None), &stores, now).await?
    };
    let projects: Vec<&str> = uses.iter().map(|used| used.instance.project.as_str()).collect();
    let leftovers: Vec<Leftover> =
        found.leftovers.into_iter().filter(|leftover| projects.contains(&leftover.left.instance.project.as_str())).collect();
    // A folder that is named after no run is anybody's.
    let is_of = |run: &str| {
        environment.is_none_or(|environment| RunId::parse(run).is_none_or(|run| run.environment == environment.name.as_str()))
    };
    let transfers: Vec<LeftTransfer> = found.transfers.into_iter().filter(|left| is_of(&left.transfer.run)).collect();
    let going: Vec<&Left> = leftovers.iter().filter(|leftover| leftover.kept.is_none()).map(|leftover| &leftover.left).collect();
    let objects: Vec<&Transfer> = transfers.iter().filter(|left| left.kept.is_none()).map(|left| &left.transfer).collect();
    let used_here = |instance: &InstanceName| uses.iter().any(|used| used.instance == *instance);
    let backups: Vec<LeftBackup> =
        found.backups.into_iter().filter(|left| used_here(&left.backup.instance) && is_of(&left.backup.run)).collect();
    let old: Vec<&MadeBackup> = backups.iter().filter(|left| left.kept.is_none()).map(|left| &left.backup).collect();
    let text = page::text(&leftovers, &transfers, &backups, now, terminal.width());
    if command.dry_run || going.is_empty() && objects.is_empty() && old.is_empty() {
        terminal.value(&page::json(&leftovers, &transfers, &backups, false), || text);
        return unseen(found.unseen);
    }
    terminal.note(&text);
    terminal.consent("Remove what goes? Databases, instances and backups do not come back.", command.yes)?;
    for transfer in objects {
        if instance::remove_transfer(&stores, transfer).await? {
            terminal.note(&format!("{} is gone", page::object(transfer)));
        } else {
            terminal.warn(&format!("{} stays: its run goes on by now", page::object(transfer)));
        }
    }
    if !going.is_empty() || !old.is_empty() {
        let context = context::of(world, environment, global, terminal).await?;
        for backup in old {
            if instance::remove_backup(&context, &stores, backup, now).await? {
                terminal.note(&format!("{} is gone", page::backup(backup)));
            } else {
                terminal.warn(&format!("{} stays: it is gone already, or needed by now", page::backup(backup)));
            }
        }
        for left in going {
            instance::remove(&context, left).await?;
            terminal.note(&format!("{} is gone", page::what(left)));
        }
    }
    terminal.value(&page::json(&leftovers, &transfers, &backups, true), || "what goes is gone".to_owned());
    unseen(found.unseen)
}

/// Where runs of the environments have their journals, each once.
async fn stores(world: &World) -> Result<Vec<Store>, Failure> {
    let mut stores: Vec<Store> = Vec::new();
    for environment in world.model.environments.iter().filter(|environment| !environment.databases.is_empty()) {
        let store = world.store(Some(environment)).await?;
        if stores.iter().all(|known| known.name != store.name) {
            stores.push(store);
        }
    }
    Ok(stores)
}

/// Where nobody could look, as the command's failure.
fn unseen(unseen: Vec<(InstanceName, InstanceError)>) -> Result<(), Failure> {
    match unseen.into_iter().next() {
        None => Ok(()),
        Some((instance, error)) => {
            let failure = Failure::new(
                Kind::Partial,
                format!("the databases or backups of {instance} could not be looked at: {}", active::chain(&error)),
            );
            Err(failure.hints(error.hint).hint("what else was found is listed above"))
        }
    }
}
