//! `dxdr check --cluster`

use std::{collections::BTreeMap, sync::Arc};

use dxdr_plan::readiness::{Model, Outcome, Row, Trouble, judge};
use dxdr_provider::{Clock, clock::SystemClock};
use dxdr_report::readiness;
use dxdr_run::readiness::{Look, Remedies, observe};

use crate::{
    app::Global,
    commands::seal,
    configuration::{World, hints},
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Looks at the cluster and the stores, and prints a row each.
pub(super) async fn run(dry_run: bool, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let lease_namespace = world.lease_namespace();
    let mut stores = BTreeMap::new();
    for store in &world.model.stores {
        stores.insert(store.name.clone(), world.open(store).await.map_err(|failure| Trouble::from(&failure)));
    }
    let connected = world.cluster().await;
    let model = Model {
        environments: &world.model.environments,
        policies: &world.model.policies,
        stores: &world.model.stores,
        velero_namespace: world.velero_namespace(),
        lease_namespace: &lease_namespace,
    };
    let look = Look {
        model,
        cluster: connected.as_ref().map(Arc::clone).map_err(Trouble::from),
        stores,
        remedies: Remedies { cluster: hints::cluster, storage: hints::storage },
        dry_run,
        seed: SystemClock.now().as_nanosecond() as u64 ^ u64::from(std::process::id()),
    };
    let mut rows = judge(&model, &observe(&look).await);
    if connected.is_ok() {
        rows.extend(seal::duties(&world, SystemClock.now(), global).await);
    }
    terminal.value(&readiness::json(&rows), || readiness::text(&rows));
    // A kubeconfig that leads nowhere is another matter than a cluster that is not ready.
    match connected {
        Err(failure) if failure.kind == Kind::BadInput => Err(Failure { silent: true, ..failure }),
        _ => verdict(&rows),
    }
}

/// What the rows said already, as an exit code.
pub(super) fn verdict(rows: &[Row]) -> Result<(), Failure> {
    let worst = rows.iter().map(|row| row.outcome).max();
    let kind = match worst {
        Some(Outcome::Unreachable) => Kind::Unreachable,
        Some(Outcome::Failed) => Kind::Partial,
        _ => return Ok(()),
    };
    let failed: Vec<&str> = rows.iter().filter(|row| row.outcome >= Outcome::Failed).map(|row| row.what.as_str()).collect();
    Err(Failure::told(kind, format!("not ready: {}", failed.join("; "))).hint("each of them says above what to do"))
}
