//! Sealing keys as part of recovery points: what a backup does about them, and what a restore says of them.

use std::{collections::BTreeSet, sync::Arc};

use dxdr_environment::{Environment, KeyFingerprint};
use dxdr_plan::review::{Note, Severity};
use dxdr_provider::Cluster;
use dxdr_run::SealingKeys;
use dxdr_sealing::{KeyRing, KeySecret};

use super::{
    certificate::Controller,
    keeping::Keeping,
    key_files::{KeySecrets, key_secrets},
};
use crate::{app::Global, configuration::World, failure::Failure, secrecy, terminal::Terminal};

/// What becomes of keys that the cluster has and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// They are put into escrow.
    Escrow,
    /// It is said that they would be.
    Say,
}

/// The keys behind an environment's SealedSecrets, once those that were not in escrow are; `None` where no SealingPolicy is for the
/// environment. That they cannot be had is no failure of the backup: the point says so.
pub(crate) async fn keys(
    world: &World,
    environment: &Environment,
    missing: Missing,
    global: &Global,
    terminal: &Terminal,
) -> Option<SealingKeys> {
    let policy = world.model.sealing_policies.iter().find(|policy| policy.environments.contains(&environment.name))?;
    let controller = controller(environment)?;
    secrecy::keep();
    let looked = async {
        let keeping = Keeping::of(world, &policy.name, controller, global).await?;
        look(&keeping, missing, terminal).await
    };
    let (ring, in_escrow, problem) = match looked.await {
        Ok((ring, in_escrow)) => (ring, in_escrow, None),
        Err(failure) => (KeyRing::new([]), BTreeSet::new(), Some(format!("{:#}", failure.error))),
    };
    Some(SealingKeys { unsealer: Arc::new(ring), in_escrow, required: policy.escrow.required, problem })
}

async fn look(keeping: &Keeping, missing: Missing, terminal: &Terminal) -> Result<(KeyRing, BTreeSet<KeyFingerprint>), Failure> {
    let keys = keeping.in_cluster(terminal).await?;
    let kept = keeping.vault.in_escrow().await?;
    // An entry whose file is gone or damaged brings nothing back, and one that opens for others than the policy names now is no promise.
    let kept = kept.into_iter().filter(|kept| keeping.vault.is_kept(kept));
    let mut in_escrow: BTreeSet<KeyFingerprint> = kept.map(|kept| kept.fingerprint).collect();
    let new: Vec<&KeySecret> = keys.iter().filter(|key| !in_escrow.contains(key.fingerprint())).collect();
    let mut put = Vec::new();
    if !new.is_empty() {
        match escrow(keeping, &new, missing).await {
            Ok(()) => {
                let done = if missing == Missing::Escrow { "was put" } else { "would be put" };
                for key in &new {
                    terminal.note(&format!(
                        "sealing key {} {done} into escrow in {}",
                        key.fingerprint(),
                        keeping.vault.store.name
                    ));
                    put.push(key.fingerprint().clone());
                }
            }
            Err(failure) => terminal.warn(&format!("{:#}", failure.error)),
        }
    }
    in_escrow.extend(put);
    Ok((KeyRing::new(keys.into_iter().map(KeySecret::into_opening_key)), in_escrow))
}

async fn escrow(keeping: &Keeping, keys: &[&KeySecret], missing: Missing) -> Result<(), Failure> {
    let recipients = keeping.recipients()?;
    if missing == Missing::Escrow {
        for key in keys {
            keeping.keep(key, &recipients).await?;
        }
    }
    Ok(())
}

fn controller(environment: &Environment) -> Option<Controller> {
    let sealing = environment.sealing.as_ref()?;
    Some(Controller {
        controller_name: sealing.controller_name.clone(),
        controller_namespace: sealing.controller_namespace.to_string(),
    })
}

/// What to know of the keys that a point needs, before it is restored into `cluster`.
pub(crate) async fn note(cluster: &dyn Cluster, environment: &Environment, needed: &[String]) -> Option<Note> {
    let controller = controller(environment)?;
    if needed.is_empty() {
        return None;
    }
    let about = |text: String, hint: &str| {
        Some(Note {
            severity: Severity::Warning,
            object: None,
            count: u32::try_from(needed.len()).unwrap_or(u32::MAX),
            text,
            hint: Some(hint.to_owned()),
        })
    };
    secrecy::keep();
    match key_secrets(cluster, &controller).await {
        Ok(KeySecrets { keys, .. }) => {
            let is_there = |key: &&String| keys.iter().any(|there| there.fingerprint().as_str() == key.as_str());
            let gone: Vec<&str> = needed.iter().filter(|key| !is_there(key)).map(String::as_str).collect();
            if gone.is_empty() {
                return None;
            }
            about(
                format!(
                    "the target's namespace {} lacks sealing keys that open its SealedSecrets: {}",
                    controller.controller_namespace,
                    gone.join(", ")
                ),
                "bring them back first: `dxdr seal restore-keys --identity FILE`",
            )
        }
        Err(failure) => about(
            format!(
                "it is not known whether the target has the {} sealing keys that it needs: {:#}",
                needed.len(),
                failure.error
            ),
            "`dxdr seal keys`, by somebody who may read the controller's Secrets, says which it has",
        ),
    }
}
