//! `dxdr points`

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dxdr_catalog::{Entry, RecoveryPoint, coverage};
use dxdr_environment::{EnvironmentName, InstanceName};
use dxdr_plan::restore::database::relied_instances;
use dxdr_policy::Engine;
use dxdr_provider::{Clock, StorageErrorKind, clock::SystemClock};
use dxdr_report::points::{self, InstanceRecovery, Points as Page};
use dxdr_run::{
    InstanceLogs, RunError, SEALING_KEYS, Store, catalog,
    restore::databases,
    velero::adoption::{self, Adopter, Adoption},
};

use super::{context, seal};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// How long a list waits for what instances say.
const PATIENCE: Duration = Duration::from_secs(5);

/// List recovery points, newest first.
///
/// What dxdr's Schedules had a Velero server back up becomes a recovery point here: its objects are hashed, its volumes looked up, and
/// a manifest is written beside them; without the manifests of its environment and policy a backup waits for somebody who has them. Velero's other backups are listed, too: they can be restored, and have no manifest of dxdr's.
/// Points that were deleted, by Velero's time to live or by hand, are taken out of the index.
/// A point is damaged when one of its objects is missing, or does not have the size that was written.
/// A point is complete when everything it should hold is in it, and partial when something could not be captured; that is named.
/// For one environment, each part of the newest points is shown, and from when to when the instances of databases can be recovered that points rely on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dxdr points\n  dxdr points staging --output json\n  dxdr points staging --reindex")]
pub(crate) struct Points {
    /// Only those of this environment.
    environment: Option<String>,
    /// Write the index of points anew from their manifests, after the store was copied from elsewhere.
    #[arg(long)]
    reindex: bool,
    /// Write nothing: neither make recovery points of what Velero's schedules made meanwhile, nor take deleted ones out of the index.
    #[arg(long)]
    no_adopt: bool,
}

/// Makes recovery points of what Velero's schedules made while dxdr was away. Who may not write still gets the list.
async fn adopt(
    world: &World,
    store: &Store,
    only: Option<(&str, &str)>,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let (orphans, others) = adoption::orphans(store, only.map(|(name, _)| name)).await?;
    // Keys are looked at, and put into escrow, only where something is to be adopted that may need them.
    let (mut adopters, logs) = (BTreeMap::new(), Arc::new(InstanceLogs::of(Some(context::instances(world)))));
    for environment in orphans.iter().map(|orphan| &orphan.environment).collect::<BTreeSet<_>>() {
        // Without them nobody can say which databases a point lacks.
        let declared = world.model.environment(environment.as_str());
        if let Some((declared, policy)) = declared.and_then(|declared| Some((declared, world.policy(declared)?))) {
            let keys = seal::keys(world, declared, seal::Missing::Escrow, global, terminal).await;
            adopters.insert(environment.clone(), Adopter::of(store, declared, policy, keys, Arc::clone(&logs)));
        }
    }
    let mut adoptions = match adoption::adopt_all(store, orphans, &adopters).await {
        Ok(adoptions) => adoptions,
        Err(RunError::Storage(error)) if error.kind == StorageErrorKind::Forbidden => {
            terminal.warn("Velero's backups are not made recovery points: this account may not write into the store");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    adoptions.extend(others);
    let mut unknown: BTreeMap<EnvironmentName, Vec<String>> = BTreeMap::new();
    for adoption in adoptions {
        match adoption {
            Adoption::Adopted(point) => {
                terminal.note(&format!("adopted {}, a backup of Velero's", point.name));
                for gap in point.gaps.iter().filter(|gap| gap.what == SEALING_KEYS) {
                    terminal.warn(&format!("{} is partial: {}", point.name, gap.reason));
                }
            }
            Adoption::Left(name, run) => terminal.note(&format!(
                "{name} is left to run {run}, which captures its databases; if nobody is at work on it, `dxdr runs resume {run}` goes on"
            )),
            Adoption::Unknown(name, environment) => unknown.entry(environment).or_default().push(name),
            Adoption::Failed(name, error) => {
                terminal.warn(&format!("{name} cannot be adopted: {}", dxdr_run::active::chain(&error)))
            }
        }
    }
    for (environment, names) in unknown {
        terminal.warn(&format!(
            "not adopted yet: {} of Velero's of environment `{environment}` (the last is {}): the manifests here have no such environment with a \
             BackupPolicy, and without them nobody knows which databases and keys belong to its points; `dxdr points {environment}` makes them \
             recovery points where they are",
            dxdr_report::quantity::counted(names.len(), "backup"),
            names.iter().max().map(String::as_str).unwrap_or_default(),
        ));
    }
    // Others were adopted by somebody who could not have the keys that are at hand now, or could not ask the instances.
    if !adopters.is_empty() {
        for (name, says) in adoption::mend(store, &catalog::all(store, only).await?.entries, &adopters).await? {
            match says {
                Ok(says) => terminal.note(&format!("{name} says now {says}")),
                Err(error) => terminal.warn(&format!("{name} stays partial: {}", dxdr_run::active::chain(&error))),
            }
        }
    }
    Ok(())
}

/// Takes what Velero or somebody else deleted out of the index. Who may not delete still gets the list.
async fn forget(store: &Store, environment: Option<&str>, found: &catalog::Found, terminal: &Terminal) -> Result<(), Failure> {
    match catalog::forget_deleted(store, environment, found).await {
        Ok(forgotten) => {
            if !forgotten.is_empty() {
                terminal.note(&format!("taken out of the index, since they were deleted: {}", forgotten.join(", ")));
            }
            Ok(())
        }
        Err(RunError::Storage(error)) if error.kind == StorageErrorKind::Forbidden => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What the instances can be brought back to in whose logs or backups points are. A list does not wait for long for one that does not answer.
async fn recoveries(world: &World, entries: &[Entry]) -> Vec<InstanceRecovery> {
    let points: Vec<&RecoveryPoint> = entries
        .iter()
        .filter_map(|entry| -> Option<&RecoveryPoint> {
            match entry {
                Entry::Ours(point) => Some(point),
                Entry::Foreign(_) => None,
            }
        })
        .collect();
    let access = context::instances(world);
    let asked = databases::recoveries(Some(access.as_ref()), points.iter().copied());
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok((recoveries, unknown)) => {
            let known = recoveries.into_iter().map(|(instance, recovery)| (instance, Ok(recovery)));
            known.chain(unknown.into_iter().map(|(instance, reason)| (instance, Err(reason)))).collect()
        }
        Err(_) => {
            let instances: BTreeSet<InstanceName> = points.into_iter().flat_map(relied_instances).collect();
            let reason = format!("no answer for {} seconds", PATIENCE.as_secs());
            instances.into_iter().map(|instance| (instance, Err(reason.clone()))).collect()
        }
    }
}

/// Lists the points.
pub(crate) async fn run(command: Points, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let environment = command.environment.as_deref().map(|name| world.environment(Some(name))).transpose()?;
    let store = world.store(environment).await?;
    let only = environment.map(|environment| (environment.name.as_str(), environment.namespace.as_str()));
    if !command.no_adopt && world.model.policies.iter().any(|policy| policy.engine == Engine::Velero) {
        adopt(&world, &store, only, global, terminal).await?;
    }
    let found = catalog::all(&store, only).await?;
    if !command.no_adopt {
        forget(&store, only.map(|(name, _)| name), &found, terminal).await?;
    }
    if command.reindex {
        let mut written = 0;
        for entry in &found.entries {
            if let Entry::Ours(point) = entry {
                catalog::index(&store, point).await?;
                written += 1;
            }
        }
        terminal.note(&format!("index written: {}", dxdr_report::quantity::counted(written, "point")));
    }
    let described = store.storage.describe();
    let apart: Vec<_> = found
        .entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Ours(point) => {
                let too_far = coverage::of_one_instant(point, world.max_skew(&point.environment)).err()?;
                Some((point.name.clone(), too_far))
            }
            Entry::Foreign(_) => None,
        })
        .collect();
    let recoveries = if environment.is_some() { recoveries(&world, &found.entries).await } else { Vec::new() };
    let page = Page {
        entries: &found.entries,
        unreadable: &found.unreadable,
        damaged: &found.damaged,
        apart: &apart,
        recoveries: &recoveries,
        leftovers: &found.leftovers,
        store: &described,
        parts: environment.is_some(),
    };
    terminal.value(&points::json(&page), || points::text(&page, SystemClock.now(), terminal.width()));
    if let [(name, reason), others @ ..] = found.damaged.as_slice() {
        let others = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
        return Err(Failure::new(Kind::Partial, format!("recovery point {name} is damaged: {reason}{others}"))
            .hint("bring the objects back if the store keeps versions; without its archive a point cannot be restored")
            .hint("find out who removes or changes objects there: dxdr writes each of them once"));
    }
    if found.unreadable.is_empty() { Ok(()) } else { Err(super::runs::unreadable_failure("manifest", &found.unreadable)) }
}
