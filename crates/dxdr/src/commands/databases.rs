//! `dxdr databases`

pub(crate) mod cloud;
mod reap;

use dxdr_environment::{Database, DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment, InstanceName};
use dxdr_policy::BackupPolicy;
use dxdr_provider::{DatabaseError, DatabaseErrorKind};
use dxdr_report::databases::{self as page, Checked, Found, Listed, NotReady};
use dxdr_run::{
    restore::databases::{self as restored, RestoredDatabase},
    runs,
};

use super::context;
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  dxdr databases list\n  dxdr databases check staging\n  dxdr databases undo 20240501t100000z-restore-staging-x7k2v"
)]
pub(crate) enum Databases {
    /// List the databases of the environments, where they are, and how they are captured.
    ///
    /// Reads the manifests alone.
    #[command(after_help = "Examples:\n  dxdr databases list\n  dxdr databases list staging --output json")]
    List(Which),
    /// Look whether each database can be captured and brought back.
    ///
    /// In the cluster, logs in as a backup would, and looks at versions and rights. On Cloud SQL, looks at the instance, at what we may do in its
    /// project, at the database itself, and whether the instance has been able to write the bucket: the rows of `dxdr check --cloud`. Changes
    /// nothing. What is not ready is named with what to do, and the exit code is 3.
    #[command(after_help = "Examples:\n  dxdr databases check staging\n  dxdr databases check --output json")]
    Check(Which),
    /// Put the databases back that were there before a restore in place.
    ///
    /// Both change names again, in one transaction, after their connections are cut. What the restore brought is kept beside.
    #[command(
        after_help = "Examples:\n  dxdr databases undo 20240501t100000z-restore-staging-x7k2v --dry-run\n  dxdr databases undo 20240501t100000z-restore-staging-x7k2v"
    )]
    Undo(OfRun),
    /// Drop the databases that a restore left and nobody uses: what it put others in the place of, and what is beside.
    ///
    /// Nothing is dropped that does not carry the mark of that run, and never what applications know by its name.
    #[command(
        after_help = "Examples:\n  dxdr databases discard 20240501t100000z-restore-staging-x7k2v --dry-run\n  dxdr databases discard 20240501t100000z-restore-staging-x7k2v"
    )]
    Discard(OfRun),
    /// Remove what restores and backups left on Cloud SQL instances, or on the way between them, and nobody needs any more.
    ///
    /// Finds instances that carry dxdr's labels, databases that carry its mark, what was exported from clones into the stores, and backups of
    /// instances whose description names a run, and lists them with what becomes of each. Nothing goes before its time (seven days, or what
    /// its label says), and nothing that an environment uses, a recovery point relies on, an unfinished run goes on with, somebody is connected
    /// to, or is protected.
    #[command(after_help = "Examples:\n  dxdr databases reap --dry-run\n  dxdr databases reap staging --yes")]
    Reap(reap::Reap),
    /// List the Cloud SQL instances that environments use, who shares them, and from when to when they can be recovered.
    #[command(after_help = "Examples:\n  dxdr databases instances\n  dxdr databases instances staging --output json")]
    Instances(Which),
    /// Show what runs on the Cloud SQL instances now, for whom and since when, and who waits.
    ///
    /// An instance does one operation at a time. Who waits is known of runs of this cluster.
    #[command(after_help = "Examples:\n  dxdr databases operations\n  dxdr databases operations staging --all --output json")]
    Operations {
        #[command(flatten)]
        which: Which,
        /// Also those that ended.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only those of this environment.
    environment: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct OfRun {
    /// The restore's run.
    run: String,
    /// Show what would be done, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(crate) async fn run(command: Databases, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    match command {
        Databases::Instances(which) => cloud::instances(&world, which.environment.as_deref(), terminal).await,
        Databases::Operations { which, all } => cloud::operations(&world, which.environment.as_deref(), all, terminal).await,
        Databases::List(which) => {
            let listed = listed(&world, which.environment.as_deref())?;
            terminal.value(&page::list_json(&listed), || page::list_text(&listed, terminal.width()));
            Ok(())
        }
        Databases::Check(which) => check(&world, which.environment.as_deref(), terminal).await,
        Databases::Reap(command) => reap::run(&command, &world, global, terminal).await,
        Databases::Undo(of_run) => undo(&of_run, &world, global, terminal).await,
        Databases::Discard(of_run) => discard(&of_run, &world, global, terminal).await,
    }
}

/// The environments that are meant.
fn environments<'a>(world: &'a World, named: Option<&str>) -> Result<Vec<&'a Environment>, Failure> {
    match named {
        Some(name) => Ok(vec![world.environment(Some(name))?]),
        None => Ok(world.model.environments.iter().collect()),
    }
}

fn listed(world: &World, named: Option<&str>) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    for environment in environments(world, named)? {
        let policy = world.policy(environment);
        for unit in environment.databases.iter().flat_map(Database::units) {
            listed.push(Listed { environment: environment.name.to_string(), captured: captured(policy), unit });
        }
    }
    Ok(listed)
}

/// What the policy says of databases.
fn captured(policy: Option<&BackupPolicy>) -> Option<(String, String)> {
    let policy = policy?;
    let databases = policy.databases?;
    Some((policy.name.clone(), databases.consistency.word().to_owned()))
}

async fn check(world: &World, named: Option<&str>, terminal: &Terminal) -> Result<(), Failure> {
    let environments = environments(world, named)?;
    let environment = named.map(|name| world.environment(Some(name))).transpose()?;
    let instances = cloud::examined(world, cloud::used(world, environment)).await?;
    let in_cluster = |database: &Database| matches!(database.location, DatabaseLocation::Postgresql(_));
    let databases = if environments.iter().flat_map(|environment| &environment.databases).any(in_cluster) {
        Some(dxdr_postgresql::PostgresqlDatabases::new(world.cluster().await?))
    } else {
        None
    };
    let mut checked = Vec::new();
    for environment in environments {
        for unit in environment.databases.iter().flat_map(Database::units) {
            let found = match (&unit.location, &databases) {
                (DatabaseLocation::Postgresql(_), Some(databases)) => {
                    Found::Server(inspect(databases, environment.namespace.as_str(), &unit).await.map(Box::new))
                }
                (DatabaseLocation::CloudSql { project, instance, .. }, _) => {
                    let name = InstanceName::new(project, instance);
                    let examined = instances.iter().find(|examined| *examined.instance() == name);
                    // Every instance that an environment uses was looked at.
                    let Some(examined) = examined else { continue };
                    examined.found(unit.database.as_deref())
                }
                (DatabaseLocation::Postgresql(_), None) => continue,
            };
            checked.push(Checked { environment: environment.name.to_string(), unit, found });
        }
    }
    terminal.value(&page::check_json(&checked), || page::check_text(&checked));
    let failed: Vec<&Checked> = checked.iter().filter(|checked| checked.problem().is_some()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = failed.iter().map(|checked| format!("{} of {}", checked.unit, checked.environment)).collect();
    Err(Failure::told(Kind::Partial, format!("not ready: {}", names.join("; "))).hint("each of them says above what to do"))
}

async fn inspect(
    databases: &impl dxdr_provider::Databases,
    namespace: &str,
    unit: &DatabaseUnit,
) -> Result<DatabaseFacts, NotReady> {
    let told = |error: DatabaseError| NotReady { message: dxdr_run::active::chain(&error), hint: error.hint };
    databases.open(namespace, unit).await.map_err(told)?.inspect().await.map_err(told)
}

async fn undo(of_run: &OfRun, world: &World, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let store = world.store(None).await?;
    let history = runs::history(&store, &of_run.run).await?;
    restored::over(&history)?;
    let mut in_place = restored::in_place(&history);
    if !restored::in_doubt(&history).is_empty() {
        let context = context::with_store(world, store.clone(), global, terminal).await?;
        in_place.extend(restored::found_in_place(&context, &history).await?);
    }
    if in_place.is_empty() {
        return Err(Failure::new(Kind::Refused, format!("run {} has no database in place", of_run.run))
            .hint("`dxdr runs show RUN` says what a run did; nothing was changed"));
    }
    in_place.retain(|recorded| !restored::discarded(&history, recorded));
    if in_place.is_empty() {
        return Err(Failure::new(Kind::Refused, format!("what was there before run {} was discarded", of_run.run)).hint(
            "`dxdr points` lists the recovery points, of which the one before the restore has the databases as they were",
        ));
    }
    restored::still_live(&store, &history).await?;
    let planned: Vec<RestoredDatabase> = in_place
        .iter()
        .map(|recorded| RestoredDatabase {
            name: recorded.unit.name.clone(),
            database: recorded.database.clone(),
            kept: Some(recorded.beside.clone()),
            instance: None,
        })
        .collect();
    if of_run.dry_run {
        terminal.value(&page::undo_json(&of_run.run, &planned, false), || page::undo_text(&planned, false));
        return Ok(());
    }
    terminal.note(&page::undo_text(&planned, false));
    terminal.consent("Put them back, and cut the connections to them?", of_run.yes)?;
    let context = context::with_store(world, store, global, terminal).await?;
    let undone = restored::undo(&context, &history).await?;
    terminal.value(&page::undo_json(&of_run.run, &undone, true), || page::undo_text(&undone, true));
    Ok(())
}

async fn discard(of_run: &OfRun, world: &World, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let store = world.store(None).await?;
    let history = runs::history(&store, &of_run.run).await?;
    let of_this_run = restored::of_run(&history);
    if !of_this_run.is_empty() {
        restored::over(&history)?;
    }
    if of_this_run.is_empty() {
        return Err(Failure::new(Kind::Refused, format!("run {} has brought no database back", of_run.run))
            .hint("`dxdr runs list` lists the runs; nothing was changed"));
    }
    let names: Vec<String> = of_this_run.iter().flat_map(|recorded| recorded.databases()).map(str::to_owned).collect();
    let instances: Vec<String> =
        of_this_run.iter().filter_map(|recorded| Some(format!("instance {}", recorded.clone_route()?.destination))).collect();
    let names = [names, instances].concat();
    if of_run.dry_run {
        terminal.value(&page::discard_json(&of_run.run, &names, false), || page::discard_text(&names, false));
        return Ok(());
    }
    terminal.note(&page::discard_text(&names, false));
    terminal.consent("Drop those of them that are there and carry the run's mark?", of_run.yes)?;
    let context = context::with_store(world, store, global, terminal).await?;
    let dropped = restored::discard(&context, &history).await?;
    terminal.value(&page::discard_json(&of_run.run, &dropped, true), || page::discard_text(&dropped, true));
    Ok(())
}

/// As an exit code, and with what to do.
impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        let (kind, hints) = of_database(&error);
        Self::from_error(kind, error).hints(hints)
    }
}

/// The exit code of a database's failure, and what to do.
pub(crate) fn of_database(error: &DatabaseError) -> (Kind, Vec<String>) {
    let kind = match error.kind {
        DatabaseErrorKind::Unreachable
        | DatabaseErrorKind::TimedOut
        | DatabaseErrorKind::Unauthenticated
        | DatabaseErrorKind::Insecure
        | DatabaseErrorKind::Forbidden
        | DatabaseErrorKind::Store => Kind::Unreachable,
        DatabaseErrorKind::Corrupt => Kind::Corrupt,
        DatabaseErrorKind::Protected | DatabaseErrorKind::NameTaken => Kind::Refused,
        _ => Kind::Failed,
    };
    (kind, error.hint.clone().into_iter().collect())
}
