//! `dxdr schedule`

use dxdr_environment::DesiredObject;
use dxdr_plan::velero::{Observed, SchedulePlan, SchedulesRequest, VeleroVersion, plan};
use dxdr_provider::{Clock, Cluster, clock::SystemClock};
use dxdr_report::schedule_plan;
use dxdr_run::velero::{schedules, server::FIELD_MANAGER};
use serde_json::{Value, json};

use super::application::Application;
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::{Output, Terminal},
};

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  dxdr schedule render\n  dxdr schedule diff\n  dxdr schedule apply --dry-run\n  dxdr schedule apply --prune --yes\n  dxdr schedule apply --standby --context standby-cluster"
)]
pub(crate) enum ScheduleCommand {
    /// Print the objects that the policies with `engine: velero` compile to, as YAML; asks no cluster.
    #[command(
        after_help = "Examples:\n  dxdr schedule render\n  dxdr schedule render --standby\n  dxdr schedule render --velero-version 1.14"
    )]
    Render(Render),
    /// Compare the policies with what Velero has, field by field. Exit code 3 when they differ.
    ///
    /// Asks the server for its version by a ServerStatusRequest, which is removed again.
    #[command(after_help = "Examples:\n  dxdr schedule diff\n  dxdr schedule diff --output json")]
    Diff(Which),
    /// Make Velero's Schedules and locations what the policies say, by server-side apply; others' are left alone.
    #[command(after_help = "Examples:\n  dxdr schedule apply --dry-run\n  dxdr schedule apply --prune --yes")]
    Apply(Apply),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// For a cluster that only stands by: Schedules paused, locations read-only.
    #[arg(long)]
    standby: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Render {
    #[command(flatten)]
    which: Which,
    /// The server's version, such as `1.14`, where that is not the newest: before 1.15, a schedule must not name its time zone.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    velero_version: Option<VeleroVersion>,
}

fn version(text: &str) -> Result<VeleroVersion, &'static str> {
    VeleroVersion::parse(text).ok_or("a version is written as `1.14` or `v1.14.1`")
}

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    which: Which,
    /// Let the server check everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Remove Schedules of dxdr's that no policy asks for any more; their backups stay.
    #[arg(long)]
    prune: bool,
    /// Take over fields that another manager owns.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub(crate) async fn run(command: ScheduleCommand, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    match command {
        ScheduleCommand::Render(arguments) => render(&world, &arguments, terminal),
        ScheduleCommand::Diff(which) => {
            let cluster = world.cluster().await?;
            let plan = planned(&world, &which, cluster.as_ref()).await?;
            terminal.value(&schedule_plan::json(&plan), || schedule_plan::text(&plan));
            if plan.nothing_to_do() {
                return refusal(&plan);
            }
            Err(Failure::told(Kind::Partial, "Velero does not have what the policies say")
                .hint("to make it as the policies say: dxdr schedule apply"))
        }
        ScheduleCommand::Apply(apply) => carry_out(&world, &apply, terminal).await,
    }
}

fn request<'a>(world: &'a World, which: &Which) -> SchedulesRequest<'a> {
    SchedulesRequest {
        environments: &world.model.environments,
        policies: &world.model.policies,
        stores: &world.model.stores,
        namespace: world.velero_namespace(),
        standby: which.standby,
    }
}

fn render(world: &World, arguments: &Render, terminal: &Terminal) -> Result<(), Failure> {
    let server_version = arguments.velero_version.map(|version| version.to_string());
    let plan = plan(&request(world, &arguments.which), &Observed { server_version, ..Observed::default() });
    let desired = plan.objects.iter().map(|object| &object.desired);
    let objects: Vec<Value> = desired.map(|DesiredObject { value, .. }| value.clone()).collect();
    if objects.is_empty() {
        terminal.note("No policy with `engine: velero` means anything to a Velero server: there is nothing to render.");
    }
    match terminal.output {
        // No document at all is what empty YAML is.
        Output::Text | Output::Yaml if objects.is_empty() => {}
        Output::Json => terminal.value(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), String::new),
        Output::Text | Output::Yaml => {
            let documents: Vec<String> = objects.iter().map(dxdr_api::yaml::write).collect();
            terminal.data(&documents.join("---\n"));
        }
    }
    refusal(&plan)
}

async fn planned(world: &World, which: &Which, cluster: &dyn Cluster) -> Result<SchedulePlan, Failure> {
    let request = request(world, which);
    let seed = SystemClock.now().as_nanosecond() as u64 ^ u64::from(std::process::id());
    let observed = schedules::observe(cluster, &request, seed).await?;
    Ok(plan(&request, &observed))
}

/// Fails with the reasons, where the plan must not be carried out.
fn refusal(plan: &SchedulePlan) -> Result<(), Failure> {
    let reasons: Vec<&str> = plan.refusals().map(|note| note.text.as_str()).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let hints = plan.refusals().filter_map(|note| note.hint.clone());
    Err(Failure::new(Kind::Refused, reasons.join("; ")).hints(hints))
}

async fn carry_out(world: &World, apply: &Apply, terminal: &Terminal) -> Result<(), Failure> {
    let cluster = world.cluster().await?;
    let plan = planned(world, &apply.which, cluster.as_ref()).await?;
    Application {
        text: schedule_plan::text(&plan),
        document: schedule_plan::json(&plan),
        refusal: refusal(&plan),
        objects: &plan.objects,
        orphaned: &plan.orphaned,
        orphaned_noun: "Schedule",
        manager: FIELD_MANAGER,
        prune: apply.prune,
        force: apply.force,
        dry_run: apply.dry_run,
        yes: apply.yes,
    }
    .carry_out(cluster.as_ref(), terminal)
    .await
}
