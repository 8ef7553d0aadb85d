//! `dxdr environment`

use dxdr_environment::{
    Environment, ObjectReference, PlannedObject,
    compile::{CompiledEnvironment, Placement, compile},
};
use dxdr_policy::{Because, Timing, timings};
use dxdr_report::comparison;
use serde_json::{Value, json};

use super::application::Application;
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::{Output, Terminal},
};

/// The field manager of what the model says: fields that Argo CD or people own are left alone.
const FIELD_MANAGER: &str = "dxdr-environment";

#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Examples:\n  dxdr environment list\n  dxdr environment render staging\n  dxdr environment diff staging\n  dxdr environment apply staging --dry-run"
)]
pub(crate) enum EnvironmentCommand {
    /// List the environments of the model.
    #[command(after_help = "Examples:\n  dxdr environment list\n  dxdr environment list --output json")]
    List,
    /// Print the objects that an environment compiles to, as YAML.
    #[command(after_help = "Examples:\n  dxdr environment render staging\n  dxdr environment render staging | kubectl diff -f -")]
    Render(Which),
    /// Compare the model with the cluster, field by field. Exit code 3 when they differ.
    #[command(
        after_help = "Examples:\n  dxdr environment diff staging\n  dxdr environment diff production --context production-cluster"
    )]
    Diff(Which),
    /// Make the cluster as the model says, by server-side apply; other managers' fields are left alone.
    #[command(
        after_help = "Examples:\n  dxdr environment apply staging --dry-run\n  dxdr environment apply staging\n  dxdr environment apply staging --force --yes"
    )]
    Apply(Apply),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The environment; the configuration's when left out.
    environment: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// The environment; the configuration's when left out.
    environment: Option<String>,
    /// Let the server check everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
    /// Remove objects of dxdr's in the namespace that the model does not ask for any more.
    #[arg(long)]
    prune: bool,
    /// Take over fields that another manager owns.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub(crate) async fn run(command: EnvironmentCommand, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    match command {
        EnvironmentCommand::List => {
            list(&world, terminal);
            Ok(())
        }
        EnvironmentCommand::Render(which) => {
            render(world.environment(which.environment.as_deref())?, terminal);
            Ok(())
        }
        EnvironmentCommand::Diff(which) => diff(&world, world.environment(which.environment.as_deref())?, terminal).await,
        EnvironmentCommand::Apply(apply) => {
            let environment = world.environment(apply.environment.as_deref())?;
            carry_out(&world, environment, &apply, terminal).await
        }
    }
}

fn list(world: &World, terminal: &Terminal) {
    let environments = &world.model.environments;
    let policy = |environment: &Environment| world.policy(environment).map(|policy| policy.name.clone());
    let timings = timings(environments, &world.model.policies);
    terminal.value(
        &json!({"format": "dxdr.io/environments/v1", "environments": environments.iter().map(|environment| json!({
            "name": environment.name.as_str(), "namespace": environment.namespace.as_str(), "tier": environment.tier.as_str(),
            "policy": policy(environment), "hosts": environment.hosts, "schedule": timings.get(&environment.name).map(timing_json),
        })).collect::<Vec<_>>()}),
        || {
            if environments.is_empty() {
                return "The manifests have no Environment.".to_owned();
            }
            let rows = environments
                .iter()
                .map(|environment| {
                    vec![
                        environment.name.to_string(),
                        environment.namespace.to_string(),
                        environment.tier.as_str().to_owned(),
                        policy(environment).map_or_else(|| "none: not protected".to_owned(), |policy| policy.to_string()),
                        timings.get(&environment.name).map(timing_text).unwrap_or_default(),
                    ]
                })
                .collect();
            dxdr_report::table::table(&["NAME", "NAMESPACE", "TIER", "POLICY", "POINTS AT"], rows)
        },
    );
}

/// When points are taken, and why then.
fn timing_text(timing: &Timing) -> String {
    let expression = timing.schedule.expression();
    match &timing.because {
        Because::Written => expression.to_owned(),
        Because::Objective => format!("{expression} (follows from dataLoss)"),
        Because::Moved { instance, other } => {
            format!("{expression} (follows from dataLoss, apart from {other}, which shares {})", instance.instance)
        }
    }
}

fn timing_json(timing: &Timing) -> Value {
    let zone = timing.schedule.zone().iana_name().unwrap_or("UTC");
    let (because, apart_from) = match &timing.because {
        Because::Written => ("written", None),
        Because::Objective => ("objective", None),
        Because::Moved { instance, other } => ("shared-instance", Some((instance, other))),
    };
    json!({
        "cron": timing.schedule.expression(), "timeZone": zone, "because": because,
        "apartFrom": apart_from.map(|(instance, other)| json!({
            "environment": other.as_str(), "project": instance.project, "instance": instance.instance,
        })),
    })
}

fn render(environment: &Environment, terminal: &Terminal) {
    let objects: Vec<Value> = compiled(environment).objects.into_iter().map(|object| object.value).collect();
    match terminal.output {
        Output::Json => terminal.value(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), String::new),
        Output::Text | Output::Yaml => {
            let documents: Vec<String> = objects.iter().map(dxdr_api::yaml::write).collect();
            terminal.data(&documents.join("---\n"));
        }
    }
}

fn compiled(environment: &Environment) -> CompiledEnvironment {
    compile(environment, &Placement::home(environment))
}

fn text(objects: &[PlannedObject], orphaned: &[ObjectReference], environment: &Environment, terminal: &Terminal) -> String {
    let unasked = "to be removed, the model does not ask for it";
    let mut text = comparison::text(objects, orphaned, unasked, |colour, sign| terminal.paint_data(colour, sign));
    let same = objects.iter().filter(|object| object.is_same()).count();
    let total = dxdr_report::quantity::counted(objects.len(), "object");
    text.push_str(&format!("{same} of {total} as the model of {} says\n", environment.name));
    text
}

fn document(objects: &[PlannedObject], orphaned: &[ObjectReference], environment: &Environment) -> Value {
    json!({
        "format": "dxdr.io/environment-diff/v1",
        "environment": environment.name.as_str(),
        "objects": comparison::objects_json(objects),
        "orphaned": comparison::orphaned_json(orphaned),
    })
}

async fn diff(world: &World, environment: &Environment, terminal: &Terminal) -> Result<(), Failure> {
    let (objects, orphaned) = dxdr_run::comparison::environment(world.cluster().await?.as_ref(), environment).await?;
    terminal.value(&document(&objects, &orphaned, environment), || text(&objects, &orphaned, environment, terminal));
    if objects.iter().all(PlannedObject::is_same) && orphaned.is_empty() {
        return Ok(());
    }
    let prune = if orphaned.is_empty() { "" } else { " --prune" };
    Err(Failure::told(Kind::Partial, format!("the cluster is not as the model of {} says", environment.name))
        .hint(format!("to make the cluster as the model says: dxdr environment apply {}{prune}", environment.name)))
}

async fn carry_out(world: &World, environment: &Environment, apply: &Apply, terminal: &Terminal) -> Result<(), Failure> {
    let cluster = world.cluster().await?;
    let (objects, orphaned) = dxdr_run::comparison::environment(cluster.as_ref(), environment).await?;
    Application {
        text: text(&objects, &orphaned, environment, terminal),
        document: document(&objects, &orphaned, environment),
        refusal: Ok(()),
        objects: &objects,
        orphaned: &orphaned,
        orphaned_noun: "object",
        manager: FIELD_MANAGER,
        prune: apply.prune,
        force: apply.force,
        dry_run: apply.dry_run,
        yes: apply.yes,
    }
    .carry_out(cluster.as_ref(), terminal)
    .await
}
