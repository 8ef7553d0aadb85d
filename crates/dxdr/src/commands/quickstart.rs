//! `dxdr quickstart`: an environment lost and brought back, on the embedded cluster, in front of your eyes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use dxdr_catalog::{Component, Entry, RecoveryPoint, Trigger, coverage, name};
use dxdr_environment::Environment;
use dxdr_kubernetes::KubernetesCluster;
use dxdr_plan::{
    instance::uses,
    restore::{DatabaseOrder, Executor, Existing, RestoreRequest, Target, Volumes, database},
};
use dxdr_policy::{BackupPolicy, DATABASE_TIMEOUT};
use dxdr_provider::Cluster;
use dxdr_report::{backup_plan, quantity, restore_plan, runs as page};
use dxdr_run::{
    RunContext, backup, catalog,
    restore::{self, ProtectivePoint, RestoreOrder},
};
use dxdr_sandbox::Sandbox;

use super::context;
use crate::{
    configuration::manifests,
    demonstration::{
        cloud::{BUCKET, Cloud},
        damage, manifests as shipped, seed,
    },
    failure::{Failure, Kind},
    logging::LogFormat,
    terminal::Terminal,
};

/// Watch an environment being lost and brought back, on an embedded cluster.
///
/// Starts a Kubernetes API in this process with dev, staging and production in it, and emulated Cloud SQL instances with their databases, takes recovery points
/// while things change, breaks staging, shows the plan of a restore to an instant before the damage, restores, and proves that every object and every
/// row is as it was. Nothing of yours is touched, and nothing is left behind.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dxdr quickstart\n  dxdr sandbox up    the same cluster, to play with")]
pub(crate) struct Quickstart {}

/// A cluster around a sandbox in this process.
pub(crate) fn in_process(sandbox: &Sandbox) -> Result<Arc<dyn Cluster>, Failure> {
    let client = kube::Client::new(sandbox.router(), "default");
    Ok(Arc::new(KubernetesCluster::new(client, "the embedded cluster")))
}

/// A folder that is gone when this is dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("dxdr-quickstart-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The world of the quickstart.
struct Stage<'a> {
    context: RunContext,
    cloud: Cloud,
    environments: Vec<Environment>,
    policies: Vec<BackupPolicy>,
    terminal: &'a Terminal,
}

/// Plays it.
pub(crate) async fn run(_command: Quickstart, terminal: &Terminal) -> Result<(), Failure> {
    let folder = TemporaryFolder::new()?;
    let stage = Stage::set(&folder.0, terminal).await?;
    let interrupted = stage.context.stop.clone();
    // The folder is to be removed in any case.
    interrupted.heed();
    let result = tokio::select! {
        result = stage.play() => result,
        () = interrupted.wait() => Err(Failure::new(Kind::Interrupted, "stopped on request").hint("nothing was left behind")),
    };
    drop(folder);
    result
}

impl<'a> Stage<'a> {
    async fn set(folder: &Path, terminal: &'a Terminal) -> Result<Self, Failure> {
        let sandbox = Sandbox::new(dxdr_sandbox::Options::default());
        let cluster = in_process(&sandbox)?;
        let declarations = folder.join("manifests");
        fs::create_dir_all(&declarations)?;
        for (name, text) in shipped::in_bucket(BUCKET) {
            fs::write(declarations.join(name), text)?;
        }
        let model = manifests::load(&[declarations])?;
        let cloud = Cloud::start(&model.environments).await?;
        let mut quiet = terminal.clone();
        quiet.quiet = true;
        let mut context = context::with(cloud.store().await?, cluster, &quiet, LogFormat::Text);
        context.instances = Some(cloud.instances());
        Ok(Self { context, cloud, environments: model.environments, policies: model.policies, terminal })
    }

    async fn play(&self) -> Result<(), Failure> {
        let cluster = self.context.cluster.as_ref();
        self.chapter("A cluster with dev, staging and production", "");
        let all: Vec<&Environment> = self.environments.iter().collect();
        let created = seed::environments(cluster, &all).await?;
        self.say(&format!("{created} objects in {} environments", all.len()));
        self.say("their databases on two instances of Cloud SQL, emulated: dev and staging share one");

        self.chapter("A recovery point of each", "dxdr backup now ENVIRONMENT");
        for environment in &self.environments {
            self.take(environment).await?;
        }
        let staging = self.environment("staging")?;
        let namespace = staging.namespace.as_str();

        self.chapter("A working day: a new image, other settings, orders; and another recovery point", "dxdr backup now staging");
        damage::ordinary_day(cluster, namespace).await?;
        self.cloud.execute(staging, "INSERT INTO orders VALUES (4714, 'paid')");
        let before = self.take(staging).await?;
        let rows = self.rows();
        let at = self.context.clock.now();
        self.say(&format!("it is {} now; remember this instant", quantity::instant(at)));
        // The damage comes later than the instant, by a clock of whole seconds, too.
        tokio::time::sleep(Duration::from_millis(1_100)).await;

        self.chapter("A bad night", "");
        for sentence in damage::bad_night(cluster, namespace).await? {
            self.say(&sentence);
        }
        self.cloud.execute(staging, "DELETE FROM orders");
        self.say("ran DELETE FROM orders, without WHERE, in the database of staging");
        self.take(staging).await?;

        self.chapter("Which way back?", "dxdr points staging");
        let found = catalog::all(&self.context.store, Some((staging.name.as_str(), namespace))).await?;
        let described = self.context.store.storage.describe();
        let points = dxdr_report::points::Points {
            entries: &found.entries,
            unreadable: &found.unreadable,
            damaged: &found.damaged,
            apart: &[],
            recoveries: &[],
            leftovers: &found.leftovers,
            store: &described,
            parts: true,
        };
        self.terminal.data(&dxdr_report::points::text(&points, self.context.clock.now(), self.terminal.width()));

        let command = format!("dxdr restore --at {} staging --in-place --prune", quantity::instant(at));
        self.chapter("The plan of a restore to the instant before", &format!("{command} --dry-run"));
        let (entry, request) = self.request(staging, at).await?;
        if entry.name() != before.name {
            return Err(Failure::new(Kind::Failed, format!("{} was chosen instead of {}", entry.name(), before.name)));
        }
        let mut prepared = restore::prepare(&self.context.store, Some(&self.context.cluster), &entry, request.clone()).await?;
        let run = name::run_name("restore", &staging.name, at, backup::seed(&self.context));
        let (uses, recoveries) = (uses(&self.environments), BTreeMap::new());
        let now = self.context.clock.now();
        let order = DatabaseOrder {
            in_place: true,
            timeout: DATABASE_TIMEOUT,
            now,
            run: &run,
            uses: &uses,
            recoveries: &recoveries,
            max_skew: coverage::USUAL_SKEW,
            no_exports: None,
        };
        prepared.plan.bring_back(database::plan(&before, staging, order));
        let notes = restore::databases::examine(&self.context, &request, &mut prepared.plan.databases).await;
        prepared.plan.notes.extend(notes);
        self.terminal.data(&restore_plan::text(&prepared.plan, &entry, &described));

        self.chapter("Restore", &format!("{command} --yes"));
        let trigger = Trigger::Protective { restore_run: run.clone() };
        let mut protective = backup::plan(&self.context, staging, self.policy(staging), trigger).await?;
        protective.run.clone_from(&run);
        let secrets = backup::plain_secrets(&self.context, &protective).await?;
        self.say(&format!("First, recovery point {} of the state as it is now", protective.point));
        self.terminal.data(&backup_plan::secrets_text(secrets.as_deref(), None));
        let order = RestoreOrder {
            run,
            entry: entry.clone(),
            request: request.clone(),
            protective: Some(ProtectivePoint::ToTake(Box::new(protective))),
        };
        let report = restore::restore(&self.context, &order, prepared).await?;
        self.terminal.data(&page::restore_text(&report));

        self.chapter("Proof: every object of the point, compared with the cluster, and every database with what it was", "");
        let again = restore::prepare(&self.context.store, Some(&self.context.cluster), &entry, request).await?;
        if !again.plan.nothing_to_do() {
            self.terminal.data(&restore_plan::text(&again.plan, &entry, &described));
            return Err(Failure::new(Kind::Failed, "staging is not as it was"));
        }
        self.say(&format!(
            "{}: all as they were, and nothing that was not there",
            quantity::counted(usize::try_from(again.plan.counts.same).unwrap_or(usize::MAX), "object")
        ));
        if self.rows() != rows {
            return Err(Failure::new(Kind::Failed, "a database is not as it was"));
        }
        self.say("the database of staging as it was at the instant; that of dev on the same instance as before");

        self.terminal.data(
            "\nNext:\n  dxdr sandbox up                  the same cluster to play with, kubectl included\n  dxdr --help                      every command, with examples\n  policies/                        the manifests that you have just seen at work\n",
        );
        Ok(())
    }

    async fn take(&self, environment: &Environment) -> Result<RecoveryPoint, Failure> {
        let plan = backup::plan(&self.context, environment, self.policy(environment), Trigger::Requested).await?;
        let point = backup::backup(&self.context, &plan).await?;
        if let Some(gap) = point.gaps.first() {
            return Err(Failure::new(Kind::Failed, format!("{} lacks {}: {}", point.name, gap.what, gap.reason)));
        }
        let items = point.resources().map_or(0, |resources| resources.items);
        // One may be in it twice: as an export, and as an instant of its instance's log.
        let databases: BTreeSet<&str> = point
            .components
            .iter()
            .filter_map(|component| match component {
                Component::Database(database) => Some(database.name.as_str()),
                _ => None,
            })
            .collect();
        self.say(&format!(
            "{}: {items} objects, {}, {}, at most {} apart",
            point.name,
            quantity::counted(databases.len(), "database"),
            quantity::bytes(point.stored_size()),
            quantity::at_most(point.skew())
        ));
        Ok(point)
    }

    async fn request(&self, environment: &Environment, at: jiff::Timestamp) -> Result<(Entry, RestoreRequest), Failure> {
        let namespace = environment.namespace.as_str();
        let found = catalog::around(&self.context.store, environment.name.as_str(), namespace, at).await?;
        let query = dxdr_catalog::query::Query { at, namespace, allow_partial: false };
        let choice = dxdr_catalog::query::choose(&found.entries, &query)
            .map_err(|refusal| Failure::from_error(Kind::NoWayBack, refusal))?;
        let entry = choice.entry.clone();
        let request = RestoreRequest {
            environment: environment.name.clone(),
            point: entry.name().to_owned(),
            instant: entry.instant().unwrap_or(at),
            source_namespace: namespace.to_owned(),
            target: Target::InPlace,
            existing: Existing::Update,
            prune: true,
            include: Vec::new(),
            exclude: Vec::new(),
            executor: Executor::Dxdr,
            volumes: Volumes::Captured,
            storage_classes: BTreeMap::new(),
        };
        Ok((entry, request))
    }

    /// What the databases of all environments consist of.
    fn rows(&self) -> Vec<(String, Vec<String>)> {
        self.environments.iter().flat_map(|environment| self.cloud.contents(environment)).collect()
    }

    fn environment(&self, name: &str) -> Result<&Environment, Failure> {
        self.environments
            .iter()
            .find(|environment| environment.name.as_str() == name)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("the shipped manifests have no `{name}`")))
    }

    fn policy(&self, environment: &Environment) -> Option<&BackupPolicy> {
        self.policies.iter().find(|policy| policy.environments.contains(&environment.name))
    }

    fn chapter(&self, title: &str, command: &str) {
        let mut text = format!("\n{}\n", self.terminal.paint_data("1", title));
        if !command.is_empty() {
            text.push_str(&format!("{}\n", self.terminal.paint_data("2", &format!("$ {command}"))));
        }
        self.terminal.data(&text);
    }

    fn say(&self, text: &str) {
        self.terminal.data(&format!("  {text}"));
    }
}
