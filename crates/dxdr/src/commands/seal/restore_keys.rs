//! The keys of a lost cluster, into a new one: before the controller starts, or else it is restarted behind them.

use std::path::PathBuf;

use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Cluster as _, cluster::WriteOptions};
use dxdr_report::quantity::counted;
use serde_json::json;

use super::{
    certificate::day,
    keeping::{Keeping, PolicyChoice, identities},
};
use crate::{app::Global, failure::Failure, terminal::Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct RestoreKeys {
    #[command(flatten)]
    policy: PolicyChoice,
    /// Identity that opens the escrow: an identity file of age, or a private key of SSH.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Open everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(restore: &RestoreKeys, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let keeping = Keeping::load(&restore.policy, global).await?;
    let identities = identities(&restore.identity)?;
    // All of them open before the first is written.
    let keys = keeping.vault.open_all(&identities).await?;
    let present = keeping.in_cluster(terminal).await?;
    let missing: Vec<_> =
        keys.iter().filter(|key| present.iter().all(|there| there.fingerprint() != key.fingerprint())).collect();
    let newest_restored = keys.iter().map(|key| key.certificate().not_before()).max();
    let strangers: Vec<_> = present
        .iter()
        .filter(|there| there.is_loaded() && keys.iter().all(|key| key.fingerprint() != there.fingerprint()))
        .collect();
    terminal.note(&format!(
        "{} of {} go into namespace {} of {}:",
        missing.len(),
        counted(keys.len(), "key"),
        keeping.namespace(),
        keeping.cluster.describe()
    ));
    for key in &missing {
        terminal.note(&format!(
            "  {} (Secret {}, from {})",
            key.fingerprint(),
            key.name.as_deref().unwrap_or_default(),
            day(key.certificate().not_before())
        ));
    }
    for stranger in &strangers {
        let newer = newest_restored.is_some_and(|newest| stranger.certificate().not_before() > newest);
        let effect = if newer { ", and is newer: the controller goes on sealing with it" } else { "" };
        terminal.warn(&format!(
            "the cluster has made {} by itself, which is not in escrow{effect}; `dxdr seal escrow` puts it there",
            stranger.fingerprint()
        ));
    }
    if restore.dry_run {
        return Ok(());
    }
    if !missing.is_empty() {
        terminal.consent("Write them?", restore.yes)?;
        namespace(&keeping).await?;
        for key in &missing {
            keeping.create(key).await.map_err(|failure| {
                failure.hint("keys that were written before stay; the same command goes on with the others")
            })?;
        }
    }
    let newest = keys
        .iter()
        .chain(&present)
        .filter(|key| key.is_loaded())
        .max_by_key(|key| key.certificate().not_before())
        .map(dxdr_sealing::KeySecret::certificate);
    // Nothing was written, nothing has to be loaded; and where no controller runs yet, it will find them.
    let runs = keeping.serves().await.is_some();
    let loaded = match newest {
        Some(newest) if runs && !missing.is_empty() => Some(keeping.reload(newest, terminal).await?),
        _ => None,
    };
    let document = json!({
        "format": "dxdr.io/seal-restore-keys/v1",
        "namespace": keeping.namespace(),
        "restored": missing.iter().map(|key| key.fingerprint().as_str()).collect::<Vec<_>>(),
        "presentBefore": present.iter().map(|key| key.fingerprint().as_str()).collect::<Vec<_>>(),
        "notInEscrow": strangers.iter().map(|key| key.fingerprint().as_str()).collect::<Vec<_>>(),
        "controllerRuns": runs,
        "controllerLoaded": loaded,
    });
    terminal.value(&document, || {
        let done = if missing.is_empty() { "every key was there already".to_owned() } else { format!("{} written", counted(missing.len(), "key")) };
        let next = match (runs, loaded) {
            (false, _) => "; now start the controller (with --key-renew-period=0, or it makes a key of its own), then apply the SealedSecrets",
            (true, Some(true)) => "; the controller has loaded them",
            (true, _) => "",
        };
        format!("{done}{next}")
    });
    if runs && !missing.is_empty() {
        // It serves the certificate of the newest key it knows, which may have been there before: only a restart is certain.
        terminal.note(&format!("A controller that ran before knows new keys only after a restart; {}.", keeping.restart_hint()));
    }
    Ok(())
}

/// The controller's namespace, which a new cluster may not have yet.
async fn namespace(keeping: &Keeping) -> Result<(), Failure> {
    let kind = ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        plural: "namespaces".to_owned(),
        namespaced: false,
    };
    let reference = ObjectReference { kind, namespace: None, name: keeping.namespace().to_owned() };
    if keeping.cluster.get(&reference).await?.is_none() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": keeping.namespace()}});
        let options = WriteOptions { manager: "dxdr-sealing".to_owned(), dry_run: false, retry: true };
        keeping.cluster.create(&reference, namespace.to_string().into(), &options).await?;
    }
    Ok(())
}
