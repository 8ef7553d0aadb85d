//! Whether the keys of every SealingPolicy are in escrow, renewed and tried: what `dxdr check --cluster` says of them.

use std::collections::BTreeSet;

use dxdr_plan::readiness::{Row, SealingObserved, Trouble, sealing};
use jiff::Timestamp;

use super::{certificate::Controller, keeping::Keeping};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
};

/// A row for each controller of each policy.
pub(crate) async fn rows(world: &World, now: Timestamp, global: &Global) -> Vec<Row> {
    let mut rows = Vec::new();
    for policy in &world.model.sealing_policies {
        let named = policy.environments.iter().filter_map(|name| world.model.environment(name.as_str())?.sealing.as_ref());
        let controllers: BTreeSet<(&str, &str)> =
            named.map(|sealing| (sealing.controller_namespace.as_str(), sealing.controller_name.as_str())).collect();
        for (namespace, name) in controllers {
            let controller = Controller { controller_name: name.to_owned(), controller_namespace: namespace.to_owned() };
            let seen = match Keeping::of(world, &policy.name, controller, global).await {
                Ok(keeping) => look(&keeping, namespace, name).await,
                Err(failure) => {
                    let trouble = trouble(&failure);
                    SealingObserved {
                        controller: format!("{namespace}/{name}"),
                        sealing: Err(trouble.clone()),
                        escrow: Err(trouble),
                    }
                }
            };
            rows.push(sealing(policy, &seen, now));
        }
    }
    rows
}

async fn look(keeping: &Keeping, namespace: &str, name: &str) -> SealingObserved {
    let served = keeping.serves().await;
    let sealing = served.map(|certificate| (certificate.fingerprint().clone(), certificate.not_before()));
    let escrow = keeping.vault.in_escrow().await.map_err(|failure| trouble(&failure));
    SealingObserved {
        controller: format!("{namespace}/{name}"),
        sealing: Ok(sealing),
        escrow: escrow.map(|kept| kept.into_iter().filter(|kept| keeping.vault.is_kept(kept)).collect()),
    }
}

fn trouble(failure: &Failure) -> Trouble {
    let causes: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
    Trouble { message: causes.join(": "), hints: failure.hints.clone(), unreachable: failure.kind == Kind::Unreachable }
}
