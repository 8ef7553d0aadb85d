//! A new sealing key that cannot be lost: made, kept apart, proved, and only then given to the controller.

use dxdr_provider::{Clock as _, clock::SystemClock};
use dxdr_run::escrow;
use dxdr_sealing::{KeySecret, key_secret::begin_behind};
use serde_json::json;

use super::{
    certificate::day,
    keeping::{Keeping, PolicyChoice},
    opening::Opening,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    opening: Opening,
    /// Say what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(rotate: &Rotate, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let keeping = Keeping::load(&rotate.policy, global).await?;
    let recipients = keeping.recipients()?;
    let identities = rotate.opening.identities(terminal)?;
    let in_cluster = keeping.in_cluster(terminal).await?;
    let in_escrow = keeping.vault.in_escrow().await?;
    let unkept: Vec<&KeySecret> = in_cluster
        .iter()
        .filter(|key| !in_escrow.iter().any(|kept| kept.fingerprint == *key.fingerprint() && keeping.vault.is_kept(kept)))
        .collect();
    let newest = in_cluster.iter().find(|key| key.is_loaded());
    terminal.note(&format!("A new sealing key for {}:", keeping.controller));
    match newest {
        Some(key) => {
            terminal.note(&format!("  the newest is {}, from {}", key.fingerprint(), day(key.certificate().not_before())))
        }
        None => terminal.note("  there is none yet"),
    }
    if !unkept.is_empty() {
        terminal
            .note(&format!("  {} of the cluster's go into escrow first", dxdr_report::quantity::counted(unkept.len(), "key")));
    }
    terminal.note(&format!(
        "  it goes into escrow in {} for {}, and is opened there",
        keeping.vault.store.name,
        dxdr_report::quantity::counted(keeping.vault.policy.escrow.recipients.len(), "recipient")
    ));
    terminal.note("  then the controller gets it; what older keys sealed still opens");
    if rotate.dry_run {
        let document = json!({
            "format": "dxdr.io/seal-rotate/v1",
            "fingerprint": null,
            "secret": null,
            "store": keeping.vault.store.name,
            "before": newest.map(|key| key.fingerprint().as_str()),
            "provedWithIdentity": identities.is_some(),
            "sealing": false,
            "dryRun": true,
        });
        terminal.value(&document, || "a key would be made; nothing was changed".to_owned());
        return Ok(());
    }
    terminal.consent("Make it?", rotate.yes)?;
    for key in unkept {
        keeping.keep(key, &recipients).await?;
    }
    let others = in_cluster.iter().map(|key| key.certificate().not_before());
    let begin = begin_behind(SystemClock.now(), others.chain(in_escrow.iter().map(|kept| kept.not_before)));
    let key =
        tokio::task::block_in_place(|| KeySecret::generate(begin)).map_err(|error| Failure::from_error(Kind::Failed, error))?;
    let kept = keeping.keep(&key, &recipients).await?;
    if let Some(identities) = &identities {
        let opened = keeping.vault.open(&kept, identities).await;
        opened.map_err(|failure| failure.hint("the controller was not given the new key; nothing is sealed with it"))?;
        escrow::note_proof(&keeping.vault.store, &keeping.vault.policy.name, &kept, SystemClock.now()).await?;
    }
    terminal.note(&format!("{} is in escrow, was read back and opened.", key.fingerprint()));
    keeping.let_a_second_pass(&key, in_cluster.iter().filter_map(|key| key.created)).await;
    keeping.create(&key).await.map_err(|failure| {
        failure.hint(
            "the new key is in escrow; `dxdr seal keys` says whether the cluster has it, too, and nothing is lost either way",
        )
    })?;
    // The key is there: whatever fails from here on, the answer is that the controller does not have it yet.
    let restarted = keeping.restart(terminal).await.unwrap_or_else(|failure| {
        terminal.warn(&format!("{:#}", failure.error));
        false
    });
    let loaded = restarted || keeping.comes_to_serve(key.certificate()).await;
    let document = json!({
        "format": "dxdr.io/seal-rotate/v1",
        "fingerprint": key.fingerprint().as_str(),
        "secret": {"namespace": keeping.namespace(), "name": key.name},
        "store": keeping.vault.store.name,
        "before": newest.map(|key| key.fingerprint().as_str()),
        "provedWithIdentity": identities.is_some(),
        "sealing": loaded,
        "dryRun": false,
    });
    terminal.value(&document, || {
        let state = if loaded { "the controller seals with it" } else { "the controller has not loaded it yet" };
        format!("{} is Secret {}/{}; {state}", key.fingerprint(), keeping.namespace(), key.name.as_deref().unwrap_or_default())
    });
    if matches!(keeping.renews_itself().await, Ok(Some(true))) {
        terminal.warn("the controller makes keys by itself, too, which nobody keeps until `dxdr seal escrow` runs; `--key-renew-period=0` turns that off");
    }
    if loaded {
        terminal.note(
            "Next: `dxdr seal certificate --replace` where it is pinned, and `dxdr seal reencrypt` for what older keys sealed.",
        );
        return Ok(());
    }
    Err(Failure::told(Kind::Partial, "the controller has not loaded the new key")
        .hint(keeping.restart_hint())
        .hint("older keys go on sealing and opening until then; nothing is lost"))
}
