//! Instances of Cloud SQL: `dxdr databases instances`, `dxdr databases operations`, `dxdr check --cloud`.

use std::sync::Arc;

use dxdr_environment::Environment;
use dxdr_plan::{
    instance::{InstanceSeen, InstanceUse, Ledger, cloud_rows, uses},
    readiness::{Row, Trouble},
};
use dxdr_policy::DatabaseMethod;
use dxdr_provider::{Clock, Cluster, Instances, clock::SystemClock};
use dxdr_report::{
    instances::{self, Listed},
    readiness,
};
use dxdr_run::instance::{LedgerLease, look};

use crate::{
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// An instance, with what was seen of it.
struct Looked {
    used: InstanceUse,
    seen: Result<InstanceSeen, Failure>,
    ledger: Option<Ledger>,
}

impl Looked {
    fn listed(&self) -> Listed<'_> {
        let seen = self.seen.as_ref().map_err(|failure| format!("{:#}", failure.error));
        Listed { used: &self.used, seen, ledger: self.ledger.as_ref() }
    }
}

/// Lists the instances.
pub(super) async fn instances(world: &World, named: Option<&str>, terminal: &Terminal) -> Result<(), Failure> {
    let environment = named.map(|name| world.environment(Some(name))).transpose()?;
    let looked = look_at(world, used(world, environment), None, terminal).await?;
    let listed: Vec<Listed<'_>> = looked.iter().map(Looked::listed).collect();
    terminal.value(&instances::json(&listed), || instances::text(&listed, terminal.width()));
    verdict(looked)
}

/// Shows what goes on there.
pub(super) async fn operations(world: &World, named: Option<&str>, all: bool, terminal: &Terminal) -> Result<(), Failure> {
    let environment = named.map(|name| world.environment(Some(name))).transpose()?;
    let used = used(world, environment);
    let cluster = if used.is_empty() { None } else { reachable(world, terminal).await };
    let looked = look_at(world, used, cluster, terminal).await?;
    let listed: Vec<Listed<'_>> = looked.iter().map(Looked::listed).collect();
    let now = SystemClock.now();
    terminal.value(&instances::operations_json(&listed, now, all), || instances::operations_text(&listed, now, all));
    verdict(looked)
}

/// What could not be looked at, as the command's failure.
fn verdict(looked: Vec<Looked>) -> Result<(), Failure> {
    match looked.into_iter().find_map(|looked| looked.seen.err()) {
        Some(failure) if failure.kind == Kind::Unreachable => Err(failure),
        Some(failure) => Err(Failure { kind: Kind::Partial, ..failure }),
        None => Ok(()),
    }
}

/// The instances that are used, with all who use them, also when only one environment is asked about.
pub(super) fn used(world: &World, environment: Option<&Environment>) -> Vec<InstanceUse> {
    let all = uses(&world.model.environments).into_iter();
    all.filter(|used| environment.is_none_or(|environment| used.environments().contains(&environment.name))).collect()
}

/// Who waits is in the cluster; what runs is not, so without it there is less to show, and a warning.
async fn reachable(world: &World, terminal: &Terminal) -> Option<Arc<dyn Cluster>> {
    match world.cluster().await {
        Ok(cluster) => Some(cluster),
        Err(failure) => {
            warn(terminal, &failure);
            None
        }
    }
}

fn warn(terminal: &Terminal, failure: &Failure) {
    terminal.warn(&format!("who waits is not known: {:#}", failure.error));
}

async fn look_at(
    world: &World,
    used: Vec<InstanceUse>,
    mut cluster: Option<Arc<dyn Cluster>>,
    terminal: &Terminal,
) -> Result<Vec<Looked>, Failure> {
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let instances = world.instances().await?;
    let mut looked = Vec::new();
    for used in used {
        let seen = look(instances.as_ref(), &used).await.map_err(Failure::from);
        let mut ledger = None;
        if let Some(asked) = &cluster {
            let lease = LedgerLease::new(Arc::clone(asked), &world.lease_namespace(), &used.instance);
            match lease.current().await {
                Ok(current) => ledger = Some(current),
                Err(error) => {
                    warn(terminal, &Failure::from(error));
                    // It would be waited for again, for each instance.
                    cluster = None;
                }
            }
        }
        looked.push(Looked { used, seen, ledger });
    }
    Ok(looked)
}

/// Rows of `dxdr check --cloud`.
pub(crate) async fn checked(world: &World) -> Result<Vec<Row>, Failure> {
    rows(world, &used(world, None)).await
}

/// `dxdr.io/cloud-check/v1`
pub(crate) fn json(rows: &[Row]) -> serde_json::Value {
    let mut page = readiness::json(rows);
    page["format"] = "dxdr.io/cloud-check/v1".into();
    page
}

async fn rows(world: &World, used: &[InstanceUse]) -> Result<Vec<Row>, Failure> {
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let instances: Arc<dyn Instances> = world.instances().await?;
    let mut rows = Vec::new();
    for used in used {
        let seen = look(instances.as_ref(), used).await.map_err(|error| Trouble::from(&Failure::from(error)));
        let promised = used.environments().into_iter().any(|name| {
            let policy = world.model.policies.iter().find(|policy| policy.environments.contains(name));
            let method = policy.and_then(|policy| policy.databases).map(|databases| databases.method);
            matches!(method, Some(DatabaseMethod::PointInTime | DatabaseMethod::Both))
        });
        rows.extend(cloud_rows(used, &seen, promised));
    }
    Ok(rows)
}
