//! `dxdr backup`

use dxdr_catalog::{RecoveryPoint, Trigger};
use dxdr_environment::Environment;
use dxdr_plan::{backup::BackupPlan, velero::remedy};
use dxdr_policy::{BackupPolicy, Engine};
use dxdr_report::{backup_plan, points};
use dxdr_run::{RunContext, backup, velero};
use jiff::SignedDuration;

use super::{context, seal};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:\n  dxdr backup now staging\n  dxdr backup now staging --dry-run")]
pub(crate) enum Backup {
    /// Take a recovery point of an environment, now.
    ///
    /// Reads every kind of the environment's namespace and what belongs to it, and writes Velero's format into the policy's store.
    /// Volumes are captured by snapshots of their CSI drivers, taken together, between the commands that pods ask for by Velero's hook
    /// annotations; the plan says what becomes of each volume, and one that nothing protects makes the point partial.
    /// Under a policy with `engine: velero` a Velero server does that: it is asked, followed, and what it wrote becomes the point, with the
    /// databases that are captured beside it.
    /// The recovery point exists once its manifest is written, last. A backup adds to the store and changes nothing else, so it
    /// does not ask; `--dry-run` shows the plan and stops there. What could not be read is named, and the exit code is 3.
    #[command(
        after_help = "Examples:\n  dxdr backup now staging\n  dxdr backup now staging --dry-run\n  dxdr backup now staging --context production-cluster --output json"
    )]
    Now(Now),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Now {
    /// The environment; the configuration's when left out.
    environment: Option<String>,
    /// Show the plan, and stop.
    #[arg(long)]
    dry_run: bool,
}

/// Takes a recovery point.
pub(crate) async fn run(command: Backup, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let Backup::Now(now) = command;
    let world = World::load(global)?;
    let environment = world.environment(now.environment.as_deref())?;
    let mut context = context::of(&world, Some(environment), global, terminal).await?;
    let policy = world.policy(environment);
    if let Some(policy) = policy.filter(|policy| policy.engine == Engine::Velero) {
        return by_velero(&world, environment, policy, context, now.dry_run, global, terminal).await;
    }
    let plan = plan(&context, environment, policy).await?;
    context.sealing = seal::keys(&world, environment, missing(now.dry_run), global, terminal).await;
    terminal.note(&backup_plan::text(&plan, &context.store.storage.describe()));
    let secrets = backup::plain_secrets(&context, &plan).await?;
    let kms_key = world.store_declaration(Some(environment))?.kms_key();
    terminal.note(&backup_plan::secrets_text(secrets.as_deref(), kms_key));
    if now.dry_run {
        let mut json = backup_plan::json(&plan);
        json["plainSecrets"] = backup_plan::secrets_json(secrets.as_deref(), kms_key);
        terminal.value(&json, || format!("{} would be taken; nothing was changed", plan.point));
        return Ok(());
    }
    let point = backup::backup(&context, &plan).await?;
    report(point, world.max_skew(&environment.name), terminal)
}

/// What becomes of keys that are not in escrow.
fn missing(dry_run: bool) -> seal::Missing {
    if dry_run { seal::Missing::Say } else { seal::Missing::Escrow }
}

/// Has a Velero server take the point.
async fn by_velero(
    world: &World,
    environment: &Environment,
    policy: &BackupPolicy,
    mut context: RunContext,
    dry_run: bool,
    global: &Global,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let store = world.store_declaration(Some(environment))?;
    let plan =
        velero::backup::plan(&context, environment, policy, (store, &world.model.stores), world.velero_namespace()).await?;
    context.sealing = seal::keys(world, environment, missing(dry_run), global, terminal).await;
    terminal.note(&backup_plan::velero_text(&plan, &context.store.storage.describe()));
    if dry_run {
        terminal.value(&backup_plan::velero_json(&plan), || format!("{} would be asked for; nothing was changed", plan.point));
        return Ok(());
    }
    report(velero::backup::backup(&context, &plan).await?, policy.max_skew, terminal)
}

/// Plans a recovery point asked for by a person.
pub(crate) async fn plan(
    context: &RunContext,
    environment: &Environment,
    policy: Option<&BackupPolicy>,
) -> Result<BackupPlan, Failure> {
    Ok(backup::plan(context, environment, policy, Trigger::Requested).await?)
}

/// The point's name on stdout, the rest beside it. One whose parts lie further apart than they may is not what was promised, as one that lacks something.
pub(crate) fn report(point: RecoveryPoint, max_skew: Option<SignedDuration>, terminal: &Terminal) -> Result<(), Failure> {
    let (complete, by_velero) = (point.complete(), point.engine == dxdr_catalog::Engine::Velero);
    let gaps = point.gaps.clone();
    let (name, at) = (point.name.clone(), dxdr_report::quantity::instant(point.instant));
    let environment = point.environment.to_string();
    let parts = dxdr_catalog::coverage::components(&point).len();
    let apart = dxdr_report::quantity::at_most(point.skew());
    let too_far = dxdr_catalog::coverage::of_one_instant(&point, max_skew).err();
    let mut json = points::entry_json(&dxdr_catalog::Entry::Ours(point));
    json["format"] = "dxdr.io/point/v1".into();
    terminal.value(&json, || name.clone());
    if parts > 1 {
        terminal.note(&format!("its {parts} parts were captured at most {apart} apart"));
    }
    if let (true, Some(too_far)) = (complete, &too_far) {
        let raise = format!("`maxSkew` of the policy says what is allowed: at least {:#} for points like this one", too_far.skew);
        return Err(Failure::new(Kind::Partial, format!("recovery point {name} is not of one instant: {too_far}"))
            .hint(raise)
            .hint(format!(
                "until then, `dxdr restore --at {at} {environment} --max-skew '{:#}'` goes back to it",
                too_far.skew
            )));
    }
    if complete {
        terminal.note(&format!("to return to it: dxdr restore --at {at} {environment}"));
        return Ok(());
    }
    let lacks: Vec<String> = gaps.iter().map(|gap| format!("{} ({})", gap.what, gap.reason)).collect();
    let mut remedies: Vec<String> =
        if by_velero { gaps.iter().filter_map(|gap| remedy(&gap.reason)).map(str::to_owned).collect() } else { Vec::new() };
    remedies.dedup();
    if let Some(too_far) = too_far {
        terminal.warn(&format!("it is not of one instant, either: {too_far}"));
    }
    Err(Failure::new(Kind::Partial, format!("recovery point {name} is partial: it lacks {}", lacks.join("; ")))
        .hints(remedies)
        .hint(format!("mend the reasons and take another one: `dxdr backup now {environment}`"))
        .hint(format!("until then, `dxdr restore --at {at} {environment} --allow-partial` goes back to this one")))
}
