//! `dxdr environment`

use bytes::Bytes;
use dxdr_environment::{
    Environment,
    compile::{CompiledEnvironment, DesiredObject, Placement, compile},
    difference::{Difference, difference},
};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use serde_json::{Value, json};

use crate::{
    app::Global,
    configuration::{World, hints},
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
    /// Take over fields that another manager owns.
    #[arg(long)]
    force: bool,
}

/// What one object of the model is in the cluster.
struct Compared {
    desired: DesiredObject,
    missing: bool,
    differences: Vec<Difference>,
}

impl Compared {
    fn same(&self) -> bool {
        !self.missing && self.differences.is_empty()
    }
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
    terminal.value(
        &json!({"format": "dxdr.io/environments/v1", "environments": environments.iter().map(|environment| json!({
            "name": environment.name.as_str(), "namespace": environment.namespace.as_str(), "tier": environment.tier.as_str(),
            "policy": policy(environment), "hosts": environment.hosts,
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
                    ]
                })
                .collect();
            dxdr_report::table::table(&["NAME", "NAMESPACE", "TIER", "POLICY"], rows)
        },
    );
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

async fn compare(cluster: &dyn Cluster, environment: &Environment) -> Result<Vec<Compared>, Failure> {
    let mut compared = Vec::new();
    for desired in compiled(environment).objects {
        let live = cluster.get(&desired.reference).await?;
        let live: Option<Value> = live.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        let differences = live.as_ref().map(|live| difference(&desired.value, live)).unwrap_or_default();
        compared.push(Compared { desired, missing: live.is_none(), differences });
    }
    Ok(compared)
}

fn show(compared: &[Compared], environment: &Environment, terminal: &Terminal) {
    let rows: Vec<Value> = compared
        .iter()
        .map(|object| {
            let state = if object.missing { "missing" } else if object.same() { "same" } else { "differs" };
            json!({"object": object.desired.reference.to_string(), "state": state, "differences": dxdr_report::difference::json(&object.differences)})
        })
        .collect();
    terminal.value(
        &json!({"format": "dxdr.io/environment-diff/v1", "environment": environment.name.as_str(), "objects": rows}),
        || {
            let mut text = String::new();
            for object in compared {
                if object.missing {
                    text.push_str(&format!("{} {}: missing\n", terminal.paint_data("32", "+"), object.desired.reference));
                } else if !object.same() {
                    text.push_str(&format!("{} {}\n", terminal.paint_data("33", "~"), object.desired.reference));
                    text.push_str(&dxdr_report::difference::text(&object.differences, "    "));
                }
            }
            let same = compared.iter().filter(|object| object.same()).count();
            text.push_str(&format!(
                "{} of {} as the model of {} says\n",
                same,
                dxdr_report::quantity::counted(compared.len(), "object"),
                environment.name
            ));
            text
        },
    );
}

async fn diff(world: &World, environment: &Environment, terminal: &Terminal) -> Result<(), Failure> {
    let compared = compare(world.cluster().await?.as_ref(), environment).await?;
    show(&compared, environment, terminal);
    if compared.iter().all(Compared::same) {
        Ok(())
    } else {
        Err(Failure::told(Kind::Partial, format!("the cluster is not as the model of {} says", environment.name))
            .hint(format!("to make the cluster as the model says: dxdr environment apply {}", environment.name)))
    }
}

async fn carry_out(world: &World, environment: &Environment, apply: &Apply, terminal: &Terminal) -> Result<(), Failure> {
    let cluster = world.cluster().await?;
    let compared = compare(cluster.as_ref(), environment).await?;
    show(&compared, environment, terminal);
    let todo: Vec<&Compared> = compared.iter().filter(|object| !object.same()).collect();
    if todo.is_empty() {
        terminal.note("nothing to do");
        return Ok(());
    }
    if !apply.dry_run {
        let question = format!("Apply {} to {}?", dxdr_report::quantity::counted(todo.len(), "object"), cluster.describe());
        terminal.consent(&question, apply.yes)?;
    }
    let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: apply.dry_run, retry: true };
    let mut refused: Vec<ClusterError> = Vec::new();
    for object in todo {
        let reference = &object.desired.reference;
        let body = Bytes::from(object.desired.value.to_string());
        match cluster.apply(reference, body, apply.force, &options).await {
            Ok(_) => terminal.note(&format!("{} {reference}", if apply.dry_run { "would apply" } else { "applied" })),
            // Nothing can be checked inside a namespace that a dry run did not make.
            Err(error) if apply.dry_run && object.missing && error.kind == ClusterErrorKind::NotFound => {
                terminal.note(&format!("would apply {reference} (not checked: its namespace is not there)"));
            }
            Err(error) => {
                terminal.note(&format!("refused {reference}: {}", error.message));
                refused.push(error);
            }
        }
    }
    let Some(first) = refused.first() else { return Ok(()) };
    let mut failure = Failure::new(
        Kind::Partial,
        format!("{} could not be applied, the first: {first}", dxdr_report::quantity::counted(refused.len(), "object")),
    )
    .hints(hints::cluster(first));
    if refused.iter().any(|error| error.kind == ClusterErrorKind::Conflict) {
        failure = failure.hint("`--force` takes the fields over that another manager owns");
    }
    Err(failure.hint("what was applied stays; apply again once that is mended"))
}
