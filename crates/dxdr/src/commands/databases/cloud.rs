//! Instances of Cloud SQL: `dxdr databases instances`, `dxdr databases operations`, `dxdr check --cloud`, and what `dxdr databases check`
//! says of databases there.

use std::{collections::BTreeMap, sync::Arc};

use dxdr_environment::{Environment, InstanceName};
use dxdr_object_storage::GcsStorage;
use dxdr_plan::{
    instance::{DatabaseSeen, InstanceRows, InstanceSeen, InstanceUse, Ledger, Needs, cloud_rows, uses},
    readiness::{Row, Trouble},
};
use dxdr_provider::{Clock, Cluster, Instances, clock::SystemClock};
use dxdr_report::{
    databases::Found,
    instances::{self, Listed},
    readiness,
};
use dxdr_run::instance::{LedgerLease, examine, look};

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
    let checked = examined(world, used(world, None)).await?.into_iter();
    let rows = checked
        .flat_map(|checked| checked.rows.instance.into_iter().chain(checked.rows.databases.into_iter().map(|(_, row)| row)));
    Ok(rows.collect())
}

/// An instance that was looked into.
pub(super) struct Examined {
    used: InstanceUse,
    databases: BTreeMap<String, DatabaseSeen>,
    rows: InstanceRows,
}

impl Examined {
    pub(super) fn instance(&self) -> &InstanceName {
        &self.used.instance
    }

    /// What concerns a database of the model, or all of the instance: what it says of itself, and rows.
    pub(super) fn found(&self, database: Option<&str>) -> Found {
        let own = self.rows.databases.iter().filter(|(name, _)| Some(name.as_str()) == database).map(|(_, row)| row);
        Found::Instance {
            seen: database.and_then(|database| self.databases.get(database)).cloned(),
            rows: self.rows.instance.iter().chain(own).cloned().collect(),
        }
    }
}

/// `dxdr.io/cloud-check/v1`
pub(crate) fn json(rows: &[Row]) -> serde_json::Value {
    let mut page = readiness::json(rows);
    page["format"] = "dxdr.io/cloud-check/v1".into();
    page
}

/// Looks into instances, and judges what is seen.
pub(super) async fn examined(world: &World, used: Vec<InstanceUse>) -> Result<Vec<Examined>, Failure> {
    if used.is_empty() {
        return Ok(Vec::new());
    }
    let instances: Arc<dyn Instances> = world.instances().await?;
    let told = |error| Trouble::from(&Failure::from(error));
    let mut all = Vec::new();
    for used in used {
        let mut seen = examine(instances.as_ref(), &used, told).await.map_err(told);
        let needs = Needs::of(&used, &world.model.environments, &world.model.policies, &world.model.stores);
        if let Ok(examined) = &mut seen {
            for bucket in &needs.buckets {
                let roles = roles(world, bucket, &examined.seen.service_account).await;
                examined.buckets.insert(bucket.clone(), roles.map_err(|failure| Trouble::from(&failure)));
            }
        }
        let rows = cloud_rows(&used, &seen, &needs);
        let databases = seen.map(|seen| seen.databases).unwrap_or_default().into_iter();
        let databases = databases.filter_map(|(name, seen)| Some((name, seen.ok()?))).collect();
        all.push(Examined { used, databases, rows });
    }
    Ok(all)
}

/// What a bucket's policy gives to an account: each role, with whether a condition goes with it.
async fn roles(world: &World, bucket: &str, account: &str) -> Result<Vec<(String, bool)>, Failure> {
    let storage = GcsStorage::connect(world.google_bucket(bucket)).await?;
    Ok(storage.roles_of(account).await?.into_iter().map(|role| (role.role, role.conditional)).collect())
}
