//! `dxdr restore`

use std::collections::BTreeMap;

use dxdr_catalog::{
    Component, Entry, RecoveryPoint, Trigger, coverage, name,
    query::{self, Choice, Query},
    target::{self, RecoveryTarget},
};
use dxdr_environment::{Environment, InstanceName, NamespaceName};
use dxdr_plan::{
    instance::uses,
    restore::{DatabaseOrder, DatabaseRestores, Executor, Existing, Recovery, RestorePlan, RestoreRequest, Target, Volumes},
};
use dxdr_policy::{BackupPolicy, DATABASE_TIMEOUT, ResourceFilters};
use dxdr_provider::{Clock, clock::SystemClock};
use dxdr_report::{backup_plan, restore_plan};
use dxdr_run::{
    RunContext, Store, backup as backups, catalog,
    restore::{self as restores, ProtectivePoint, RestoreOrder, RestoreReport},
};
use jiff::tz::TimeZone;
use serde_json::json;

use super::{context, seal};
use crate::{
    app::Global,
    configuration::{World, hints},
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// What to do about failed objects is said of so many of them: who mends those finds the others in the report.
const HINTS: usize = 6;

/// Bring an environment back as it was at an instant.
///
/// Finds the newest recovery point at or before the instant, compares it with what lives in the target, shows the plan, asks, and
/// restores. By default into a new namespace beside, where nothing that runs is touched; with `--in-place` over what is there, after
/// a protective recovery point. Objects that belong to a controller (Pods, ReplicaSets, Secrets of SealedSecrets) are left to it.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  dxdr restore --at 2024-05-01T10:00 staging --plan\n  dxdr restore --at 2024-05-01T10:00 --time-zone Europe/Berlin staging\n  dxdr restore --at -2h staging --into staging-before-lunch\n  dxdr restore --at 2024-05-01T10:00Z staging --in-place --prune\n  dxdr restore --point staging-20240501t100000z-x7k2v staging"
)]
pub(crate) struct Restore {
    /// The environment; the configuration's when left out.
    pub(crate) environment: Option<String>,
    /// The instant to go back to: `2024-05-01T10:00` (with a time zone), `2024-05-01T10:00:00Z`, `-2h`.
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true, required_unless_present = "point", conflicts_with = "point")]
    pub(crate) at: Option<String>,
    /// The recovery point, or Velero's backup, to go back to, by its name.
    #[arg(long, value_name = "NAME")]
    pub(crate) point: Option<String>,
    /// Time zone of `--at` [default: the environment's, then the configuration's].
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// Restore beside, into this namespace [default: ENVIRONMENT-restored-TIME].
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "in_place")]
    pub(crate) into: Option<String>,
    /// Restore over what is there, after a protective recovery point.
    #[arg(long)]
    pub(crate) in_place: bool,
    /// With --in-place: also remove what was not there at the instant.
    #[arg(long, requires = "in_place")]
    pub(crate) prune: bool,
    /// Leave objects that are there as they are, and only create what is missing.
    #[arg(long)]
    pub(crate) keep_existing: bool,
    /// Only these kinds: `deployments`, `configmaps`, `*.example.org`; may be given more than once.
    #[arg(long, value_name = "KIND")]
    pub(crate) include: Vec<String>,
    /// Not these kinds; may be given more than once.
    #[arg(long, value_name = "KIND")]
    pub(crate) exclude: Vec<String>,
    /// Who carries it out: dxdr, or a Restore of Velero's, whose result is compared with the plan.
    #[arg(long, value_name = "EXECUTOR", value_enum, default_value_t = ExecutorName::Dxdr, conflicts_with_all = ["prune", "storage_class", "plan"])]
    pub(crate) executor: ExecutorName,
    /// Create volume claims with new, empty volumes, whatever was captured of the old ones.
    #[arg(long)]
    pub(crate) empty_volumes: bool,
    /// Leave databases as they are, whatever the point has of them. With --include they are left out as well.
    #[arg(long)]
    pub(crate) without_databases: bool,
    /// A storage class that has another name in the target; without OLD, of claims that ask for volumes made by hand. May be given more than once.
    #[arg(long, value_name = "OLD=NEW", value_parser = storage_class)]
    pub(crate) storage_class: Vec<(String, String)>,
    /// Go back to a partial point too, instead of the newest complete one.
    #[arg(long)]
    pub(crate) allow_partial: bool,
    /// How far apart the instants of resources, volumes and databases may lie: `10m`, `1h` [default: the policy's maxSkew, or, without one, 10m between what is of a moment].
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_skew: Option<jiff::SignedDuration>,
    /// Show the plan from the store alone, without a cluster, and stop.
    #[arg(long)]
    pub(crate) plan: bool,
    /// Show the plan, compared with the cluster, and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Who carries a restore out, as a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExecutorName {
    /// dxdr itself.
    Dxdr,
    /// A Velero server.
    Velero,
}

impl From<ExecutorName> for Executor {
    fn from(name: ExecutorName) -> Self {
        match name {
            ExecutorName::Dxdr => Self::Dxdr,
            ExecutorName::Velero => Self::Velero,
        }
    }
}

fn storage_class(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        // Claims with a class of no name ask for volumes that somebody made by hand.
        Some((from, to)) if !to.is_empty() && !given.contains(',') => Ok((from.to_owned(), to.to_owned())),
        _ => Err("give the name in the archive and the one in the target: `gp2=gp3`".to_owned()),
    }
}

/// Restores.
pub(crate) async fn run(command: Restore, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let environment = world.environment(command.environment.as_deref())?;
    let store = world.store(Some(environment)).await?;
    let now = SystemClock.now();
    let run = name::run_name("restore", &environment.name, now, context::seed(now));
    let entry = choose(&command, &world, environment, &store, terminal).await?;
    close_together(&entry, command.max_skew.or_else(|| world.max_skew(&environment.name)))?;
    let request = request(&command, environment, &entry, now)?;
    if command.plan {
        let mut prepared = restores::prepare(&store, None, &entry, request).await?;
        let planning = Planning { command: &command, world: &world, environment, store: &store, now, run: &run };
        prepared.plan.bring_back(planning.databases(&entry, &BTreeMap::new()));
        terminal.value(&restore_plan::json(&prepared.plan, &entry), || {
            restore_plan::text(&prepared.plan, &entry, &store.storage.describe())
        });
        return refusal(&prepared.plan);
    }
    let mut context = context::with_store(&world, store, global, terminal).await?;
    let mut prepared = restores::prepare(&context.store, Some(&context.cluster), &entry, request.clone()).await?;
    prepared.plan.notes.extend(restores::examine(&context, &prepared.plan).await);
    prepared.plan.notes.extend(seal::note(context.cluster.as_ref(), environment, &keys_of(&entry)).await);
    let planning = Planning { command: &command, world: &world, environment, store: &context.store, now, run: &run };
    let recoveries = planning.recoveries(&context, &entry, terminal).await;
    prepared.plan.bring_back(planning.databases(&entry, &recoveries));
    let notes = restores::databases::examine(&context, &request, &mut prepared.plan.databases).await;
    prepared.plan.notes.extend(notes);
    let mut text = restore_plan::text(&prepared.plan, &entry, &context.store.storage.describe());
    let mut json = restore_plan::json(&prepared.plan, &entry);
    let order = if prepared.plan.refused() || prepared.plan.nothing_to_do() {
        None
    } else {
        let order = order(&context, &world, environment, entry, request.clone(), run).await?;
        if let Some(plan) = order.to_protect() {
            context.sealing = seal::keys(&world, environment, seal::Missing::Say, global, terminal).await;
            let secrets = backups::plain_secrets(&context, plan).await?;
            let kms_key = world.store_declaration(Some(environment))?.kms_key();
            text.push_str(&format!(
                "\nBefore that, recovery point {} of the state as it is now\n{}\n",
                plan.point,
                backup_plan::secrets_text(secrets.as_deref(), kms_key)
            ));
            json["protectivePoint"] =
                json!({"point": plan.point, "plainSecrets": backup_plan::secrets_json(secrets.as_deref(), kms_key)});
        }
        Some(order)
    };
    if command.dry_run {
        terminal.value(&json, || text);
        return refusal(&prepared.plan);
    }
    // What is printed on stdout is the result; the plan is for whoever is asked.
    terminal.note(&text);
    refusal(&prepared.plan)?;
    let Some(order) = order else {
        let report = RestoreReport { unchanged: prepared.plan.counts.same, ..RestoreReport::of_plan(&prepared.plan) };
        if report.complete() {
            let stays = if report.left == 0 { "everything is as it was" } else { "what differs stays as it is" };
            terminal.note(&format!("nothing to do: {stays}"));
        }
        return tell(&report, terminal);
    };
    let question = format!("Restore into namespace {} of {}?", request.target_namespace(), context.cluster.describe());
    terminal.consent(&question, command.yes)?;
    if order.to_protect().is_some() {
        context.sealing = seal::keys(&world, environment, seal::Missing::Escrow, global, terminal).await;
    }
    let report = restores::restore(&context, &order, prepared).await?;
    tell(&report, terminal)
}

/// What the plan for databases is made from, besides the point.
struct Planning<'a> {
    command: &'a Restore,
    world: &'a World,
    environment: &'a Environment,
    store: &'a Store,
    now: jiff::Timestamp,
    run: &'a str,
}

impl Planning<'_> {
    /// The point, where its databases are to come back.
    fn point<'a>(&self, entry: &'a Entry) -> Option<&'a RecoveryPoint> {
        match entry {
            Entry::Ours(point) if !self.command.without_databases && self.command.include.is_empty() => Some(point),
            Entry::Ours(_) | Entry::Foreign(_) => None,
        }
    }

    /// What the instances that the point relies on can be brought back to now. Where one does not say, what the point says counts.
    async fn recoveries(&self, context: &RunContext, entry: &Entry, terminal: &Terminal) -> BTreeMap<InstanceName, Recovery> {
        let Some(point) = self.point(entry) else { return BTreeMap::new() };
        let (recoveries, unknown) = restores::databases::recoveries(context.instances.as_deref(), [point]).await;
        for (instance, reason) in unknown {
            terminal.warn(&format!(
                "how far the log of {instance} goes now is not known, nor which backups of it there are: {reason}"
            ));
        }
        recoveries
    }

    /// What becomes of the point's databases.
    fn databases(&self, entry: &Entry, recoveries: &BTreeMap<InstanceName, Recovery>) -> DatabaseRestores {
        let Some(point) = self.point(entry) else { return DatabaseRestores::default() };
        let policy = self.world.policy(self.environment).and_then(|policy| policy.databases);
        let uses = uses(&self.world.model.environments);
        let no_exports = restores::databases::no_exports(self.store);
        let order = DatabaseOrder {
            in_place: self.command.in_place,
            timeout: policy.map_or(DATABASE_TIMEOUT, |policy| policy.timeout),
            now: self.now,
            run: self.run,
            uses: &uses,
            recoveries,
            max_skew: self
                .command
                .max_skew
                .or_else(|| self.world.max_skew(&self.environment.name))
                .unwrap_or(coverage::USUAL_SKEW),
            no_exports: no_exports.as_deref(),
        };
        dxdr_plan::restore::database::plan(point, self.environment, order)
    }
}

/// The sealing keys that a point needs.
fn keys_of(entry: &Entry) -> Vec<String> {
    let Entry::Ours(point) = entry else { return Vec::new() };
    let keys = point.components.iter().filter_map(|component| match component {
        Component::Keys(keys) => Some(keys.fingerprints.iter().cloned()),
        _ => None,
    });
    keys.flatten().collect()
}

/// The recovery point that the command means.
async fn choose(
    command: &Restore,
    world: &World,
    environment: &Environment,
    store: &Store,
    terminal: &Terminal,
) -> Result<Entry, Failure> {
    if let Some(name) = &command.point {
        return catalog::named(store, name).await?.ok_or_else(|| {
            Failure::new(Kind::NoWayBack, format!("there is no recovery point `{name}` in {}", store.storage.describe()))
                .hint(format!("`dxdr points {}` lists those there are", environment.name))
        });
    }
    let at = resolve(command, world, environment)?;
    terminal.note(&at.to_string());
    let found = catalog::around(store, environment.name.as_str(), environment.namespace.as_str(), at.instant).await?;
    if !found.whole {
        terminal.warn("the store holds more backups than one listing shows: Velero's own are considered only as far as it goes; name one with --point");
    }
    for (name, reason) in &found.unreadable {
        terminal.warn(&format!("{name} is passed over: {reason}"));
    }
    let query = Query { at: at.instant, namespace: environment.namespace.as_str(), allow_partial: command.allow_partial };
    let Choice { entry, passed_over, data_loss } = query::choose(&found.entries, &query).map_err(|refusal| {
        let hints = refusal.hints(environment.name.as_str());
        Failure::from_error(Kind::NoWayBack, refusal)
            .context(format!("cannot restore `{}` to {}", environment.name, at.instant))
            .hints(hints)
    })?;
    for (name, reason) in passed_over {
        terminal.note(&format!("passed over {name}: {reason}"));
    }
    terminal.note(&format!("recovery point {}, {} before it", entry.name(), dxdr_report::quantity::duration(data_loss)));
    Ok(entry.clone())
}

/// Fails unless what the point brings back is close enough to one instant.
fn close_together(entry: &Entry, max_skew: Option<jiff::SignedDuration>) -> Result<(), Failure> {
    let Entry::Ours(point) = entry else { return Ok(()) };
    coverage::of_one_instant(point, max_skew).map_err(|refusal| {
        let hint = refusal.hint();
        Failure::from_error(Kind::NoWayBack, refusal)
            .context(format!("recovery point {} is not of one instant", point.name))
            .hint(hint)
            .hint(format!("`dxdr points {}` shows the others; `--point NAME` takes one of them", point.environment))
    })
}

fn resolve(command: &Restore, world: &World, environment: &Environment) -> Result<RecoveryTarget, Failure> {
    let zone = match (&command.time_zone, &environment.time_zone, &world.configuration.time_zone) {
        (Some(name), _, _) | (None, None, Some(name)) => Some(TimeZone::get(name).map_err(|error| {
            Failure::from_error(Kind::Usage, error)
                .context(format!("there is no time zone `{name}`"))
                .hint("zones are named like Europe/Berlin or UTC")
        })?),
        (None, zone, _) => zone.clone(),
    };
    let text = command.at.as_deref().unwrap_or_default();
    target::resolve(text, zone.as_ref(), in_milliseconds(SystemClock.now())).map_err(|error| {
        let hints = error.hints();
        Failure::from_error(Kind::Usage, error).hints(hints)
    })
}

/// Points have instants in milliseconds; what `now` and `-2h` mean is printed, and copied.
fn in_milliseconds(instant: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(instant.as_millisecond()).unwrap_or(instant)
}

/// What is asked of the planner.
fn request(command: &Restore, environment: &Environment, entry: &Entry, now: jiff::Timestamp) -> Result<RestoreRequest, Failure> {
    let target = if command.in_place {
        Target::InPlace
    } else {
        let default = || format!("{}-restored-{}", environment.namespace, now.strftime("%Y%m%d%H%M%S"));
        let name = command.into.clone().unwrap_or_else(default);
        let namespace = NamespaceName::parse(&name)
            .map_err(|error| Failure::from_error(Kind::Usage, error).hint("choose one with `--into NAMESPACE`"))?;
        if namespace == environment.namespace {
            return Err(Failure::new(Kind::Usage, format!("`{namespace}` is the environment's own namespace"))
                .hint("to restore over what is there, say so with `--in-place`"));
        }
        Target::Beside { namespace: namespace.to_string() }
    };
    Ok(RestoreRequest {
        environment: environment.name.clone(),
        point: entry.name().to_owned(),
        instant: entry.instant().unwrap_or(now),
        source_namespace: environment.namespace.to_string(),
        target,
        existing: if command.keep_existing { Existing::Leave } else { Existing::Update },
        prune: command.prune,
        include: command.include.clone(),
        exclude: command.exclude.clone(),
        executor: command.executor.into(),
        volumes: if command.empty_volumes { Volumes::Empty } else { Volumes::Captured },
        storage_classes: command.storage_class.iter().cloned().collect(),
    })
}

/// The run, with the protective point when it goes in place.
async fn order(
    context: &RunContext,
    world: &World,
    environment: &Environment,
    entry: Entry,
    request: RestoreRequest,
    run: String,
) -> Result<RestoreOrder, Failure> {
    let protective = match request.target {
        Target::InPlace if namespace_exists(context, environment).await? => {
            let trigger = Trigger::Protective { restore_run: run.clone() };
            // What the policy leaves out may be in an older point, and is written over and removed all the same.
            let policy =
                world.policy(environment).map(|policy| BackupPolicy { resources: ResourceFilters::default(), ..policy.clone() });
            let mut plan = backups::plan(context, environment, policy.as_ref(), trigger).await?;
            plan.run.clone_from(&run);
            Some(ProtectivePoint::ToTake(Box::new(plan)))
        }
        _ => None,
    };
    Ok(RestoreOrder { run, entry, request, protective })
}

/// A namespace that is gone has nothing to protect.
async fn namespace_exists(context: &RunContext, environment: &Environment) -> Result<bool, Failure> {
    Ok(context.cluster.get(&backups::namespace_reference(environment.namespace.as_str())).await?.is_some())
}

/// Fails with the reasons, where the plan must not be carried out.
pub(crate) fn refusal(plan: &RestorePlan) -> Result<(), Failure> {
    let reasons: Vec<&str> = plan.refusals().map(|note| note.text.as_str()).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let mut hints: Vec<String> = plan.refusals().filter_map(|note| note.hint.clone()).collect();
    hints.dedup();
    hints.push("nothing was changed".to_owned());
    Err(Failure::new(Kind::Refused, format!("the plan must not be carried out: {}", reasons.join("; "))).hints(hints))
}

/// What was done, and what to do next.
pub(crate) fn tell(report: &RestoreReport, terminal: &Terminal) -> Result<(), Failure> {
    terminal.value(&dxdr_report::runs::restore_json(report), || dxdr_report::runs::restore_text(report));
    if report.complete() {
        return Ok(());
    }
    let again = "then restore again: what is there as planned is left alone";
    if let (Some(reason), []) = (&report.kept, report.failed.as_slice()) {
        return Err(Failure::new(Kind::Partial, format!("what was not there at the instant was not removed: {reason}"))
            .hint("restore again, with a protective point that is whole, or remove it yourself: `--dry-run` names it"));
    }
    if let (Some(first), [], []) = (report.being_deleted.first(), report.failed.as_slice(), report.not_served.as_slice()) {
        let message = match report.being_deleted.len() {
            1 => format!("{first} is being deleted, and is not restored"),
            count => format!("{count} objects are being deleted, and are not restored; the first of them is {first}"),
        };
        return Err(Failure::new(Kind::Partial, message)
            .hint("finalizers hold it: see that whoever set them takes them away, and restore again once it is gone"));
    }
    if let (Some(first), [], []) = (report.immutable.first(), report.failed.as_slice(), report.not_served.as_slice()) {
        let message = match report.immutable.len() {
            1 => format!("{first} stays different: a field of it cannot be changed"),
            count => format!("{count} objects stay different, the first of them {first}: a field of each cannot be changed"),
        };
        return Err(Failure::new(Kind::Partial, message)
            .hint("`--dry-run` says which field; delete the object and restore again to have it as it was"));
    }
    if let (Some((first, reason)), [], []) = (report.without_data.first(), report.failed.as_slice(), report.not_served.as_slice())
    {
        let message = match report.without_data.len() {
            1 => format!("{first} is there without its data: {reason}"),
            count => format!("{count} volume claims are there without their data, the first of them {first}: {reason}"),
        };
        return Err(Failure::new(Kind::Partial, message)
            .hint("`dxdr points` lists other points; to have the data of one, delete the claim and restore from it")
            .hint("where its data comes from elsewhere, `--empty-volumes` says that all new volumes are to be empty"));
    }
    let Some(first) = report.failed.first() else {
        let (object, reason) =
            report.not_served.first().map(|(object, reason)| (object.as_str(), reason.as_str())).unwrap_or_default();
        let message = match report.not_served.len() {
            1 => format!("{object} was not restored: {reason}"),
            count => format!("{count} objects were not restored, the first of them {object}: {reason}"),
        };
        return Err(Failure::new(Kind::Partial, message)
            .hint("install what serves the kind in the version of the archive, or convert the objects")
            .hint(again));
    };
    let others = report.failed.len() + report.not_served.len() - 1;
    let message = match others {
        0 => "one object could not be restored".to_owned(),
        _ => format!("{} objects could not be restored, the first of them", others + 1),
    };
    let mut hints: Vec<String> = Vec::new();
    for hint in report.failed.iter().flat_map(hints::cluster) {
        if !hints.contains(&hint) && hints.len() < HINTS {
            hints.push(hint);
        }
    }
    Err(Failure::new(Kind::Partial, format!("{message}: {first}")).hints(hints).hint(again))
}
