//! The context of a run, built from the world of a command.

use std::sync::Arc;

use dxdr_cloud_sql::CloudSql;
use dxdr_environment::Environment;
use dxdr_postgresql::PostgresqlDatabases;
use dxdr_provider::{Clock, Cluster, Instances, clock::SystemClock};
use dxdr_run::{RunContext, Store, active, instance::InstanceAccess};

use crate::{app::Global, configuration::World, failure::Failure, interruption, progress, terminal::Terminal};

/// Connects to the cluster and the store of `environment`.
pub(crate) async fn of(
    world: &World,
    environment: Option<&Environment>,
    global: &Global,
    terminal: &Terminal,
) -> Result<RunContext, Failure> {
    with_store(world, world.store(environment).await?, global, terminal).await
}

/// A context around a store and a cluster that are there already.
pub(crate) fn with(
    store: Store,
    cluster: Arc<dyn Cluster>,
    terminal: &Terminal,
    log_format: crate::logging::LogFormat,
) -> RunContext {
    RunContext {
        store,
        declared: None,
        databases: Some(Arc::new(PostgresqlDatabases::new(cluster.clone()))),
        instances: None,
        cluster,
        clock: Arc::new(SystemClock),
        reporter: progress::reporter(terminal, log_format),
        stop: interruption::listen(terminal),
        holder: holder(),
        lease_namespace: dxdr_run::LEASE_NAMESPACE.to_owned(),
        velero_namespace: dxdr_plan::velero::NAMESPACE.to_owned(),
        sealing: None,
        program: concat!("dxdr ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Cloud SQL as the configuration has it. Credentials are looked for by those who need them only.
struct Configured(dxdr_cloud_sql::Options);

#[async_trait::async_trait]
impl InstanceAccess for Configured {
    async fn connect(&self) -> Result<Arc<dyn Instances>, String> {
        match CloudSql::connect(self.0.clone()).await {
            Ok(service) => Ok(Arc::new(service)),
            Err(error) => Err(format!("{}; {}", active::chain(&error), error.hint)),
        }
    }
}

/// The way to the service behind database instances.
pub(crate) fn instances(world: &World) -> Arc<dyn InstanceAccess> {
    Arc::new(Configured(world.cloud_sql()))
}

/// Who we are: user, host and process, with the time so that a process number used again is told apart.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "unknown-host".to_owned());
    format!("{host}/{}/{}", std::process::id(), SystemClock.now().as_millisecond())
}

/// What makes the names of a run that begins now differ from those of another process's.
pub(crate) fn seed(now: jiff::Timestamp) -> u64 {
    dxdr_run::backup::seed_of(&holder(), now)
}

/// A context around a store that is open already, and the cluster of the world.
pub(crate) async fn with_store(world: &World, store: Store, global: &Global, terminal: &Terminal) -> Result<RunContext, Failure> {
    let mut context = with(store, world.cluster().await?, terminal, global.log_format);
    context.declared = world.model.stores.iter().find(|declared| declared.name == context.store.name).cloned();
    context.lease_namespace = world.lease_namespace();
    context.instances = Some(instances(world));
    context.velero_namespace = world.velero_namespace().to_owned();
    Ok(context)
}
