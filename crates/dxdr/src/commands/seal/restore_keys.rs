//! The keys of a lost cluster, into a new one: before the controller starts, or else it is restarted behind them.

use std::collections::BTreeMap;

use dxdr_environment::{KeyFingerprint, ObjectReference, ResourceKind};
use dxdr_provider::Cluster as _;
use dxdr_report::quantity::counted;
use dxdr_sealing::{KeySecret, key_secret::KEY_LABEL};
use jiff::Timestamp;
use serde_json::json;

use super::{
    certificate::day,
    keeping::{Keeping, PolicyChoice, options},
    opening::Opening,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
#[command(mut_group("opening", |group| group.required(true)))]
pub(super) struct RestoreKeys {
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    opening: Opening,
    /// Open everything, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(restore: &RestoreKeys, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let keeping = Keeping::load(&restore.policy, global).await?;
    let identities = restore.opening.required(terminal)?;
    // What opens is opened before the first is written.
    let (keys, mut left) = keeping.vault.open_all(&identities, terminal).await?;
    let present = keeping.in_cluster(terminal).await?;
    let newest_restored = keys.iter().map(|key| key.certificate().not_before()).max();
    let strangers: Vec<_> = present
        .iter()
        .filter(|there| there.is_loaded() && keys.iter().all(|key| key.fingerprint() != there.fingerprint()))
        .collect();
    // What the controller does not load opens nothing: somebody took its label away, as `seal retire` does.
    let idle: Vec<(&KeySecret, &KeySecret)> = present
        .iter()
        .filter_map(|there| Some((there, keys.iter().find(|key| key.fingerprint() == there.fingerprint())?)))
        .filter(|(there, kept)| !there.is_loaded() && kept.is_loaded())
        .collect();
    for (there, _) in &idle {
        terminal.warn(&format!(
            "{} is there, and the controller does not load it: {}",
            there.fingerprint(),
            label_hint(&keeping, there)
        ));
    }
    let idle: Vec<KeyFingerprint> = idle.into_iter().map(|(there, _)| there.fingerprint().clone()).collect();
    let clusters = clusters(&keeping).await?;
    if clusters.len() > 1 {
        let listed: Vec<String> = clusters.iter().map(|(cluster, count)| format!("{count} of {cluster}")).collect();
        terminal.note(&format!("The escrow holds keys of {} clusters: {}.", clusters.len(), listed.join(", ")));
    }
    let loadable: Vec<&KeySecret> = present
        .iter()
        .filter(|there| there.is_loaded() && keys.iter().any(|key| key.fingerprint() == there.fingerprint()))
        .collect();
    let all = keys.len();
    let is_there = |key: &KeySecret| present.iter().any(|there| there.fingerprint() == key.fingerprint());
    let mut missing: Vec<KeySecret> = keys.into_iter().filter(|key| !is_there(key)).collect();
    terminal.note(&format!(
        "{} of {} go into namespace {} of {}:",
        missing.len(),
        counted(all, "key"),
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
    let fingerprints =
        |keys: &mut dyn Iterator<Item = &KeySecret>| keys.map(|key| key.fingerprint().as_str().to_owned()).collect::<Vec<_>>();
    let document = |written: &[String], controller: [Option<bool>; 2]| {
        json!({
            "format": "dxdr.io/seal-restore-keys/v1",
            "namespace": keeping.namespace(),
            "restored": written,
            "presentBefore": fingerprints(&mut present.iter()),
            "notInEscrow": fingerprints(&mut strangers.iter().copied()),
            "notLoaded": idle.iter().map(KeyFingerprint::as_str).collect::<Vec<_>>(),
            "clusters": clusters,
            "controllerRuns": controller[0],
            "controllerLoaded": controller[1],
            "dryRun": restore.dry_run,
        })
    };
    if restore.dry_run {
        terminal.value(&document(&fingerprints(&mut missing.iter()), [None, None]), || {
            format!("{} would be written; nothing was changed", counted(missing.len(), "key"))
        });
        return Ok(());
    }
    let mut written = Vec::new();
    let count = missing.len();
    if count > 0 {
        terminal.consent("Write them?", restore.yes)?;
        namespace(&keeping).await?;
        // The oldest first, and the newest in a second of its own: whichever way the controller orders them, it seals with the newest.
        missing.sort_by_key(|key| key.certificate().not_before());
        let mut created: Vec<Timestamp> = present.iter().filter_map(|there| there.created).collect();
        for (position, key) in missing.iter_mut().enumerate() {
            let earlier = if position + 1 == count { created.as_slice() } else { &[] };
            match write(&keeping, key, earlier, terminal).await {
                Ok(at) => {
                    created.extend(at);
                    written.push(key.fingerprint().as_str().to_owned());
                }
                Err(failure) if failure.kind == Kind::Unreachable => {
                    return Err(failure.hint("keys that were written before stay; the same command goes on with the others"));
                }
                Err(failure) => {
                    terminal.warn(&format!("{:#}", failure.error));
                    left += 1;
                }
            }
        }
    }
    // Where no controller runs yet, it will find the keys. An earlier process may have written them, and died before it restarted it.
    let runs = keeping.runs().await?;
    let (known, restarted) = match runs {
        false => (None, None),
        true if written.is_empty() => {
            let known = known_to_be_loaded(&keeping, &loadable).await?;
            if known == Some(true) {
                (known, None)
            } else {
                let unknown = if known.is_none() { "may not have" } else { "has not" };
                terminal.consent(&format!("The controller {unknown} loaded them. Restart it?"), restore.yes)?;
                (known, Some(keeping.restart(terminal).await?))
            }
        }
        true => (Some(false), Some(keeping.restart(terminal).await?)),
    };
    let loaded = if restarted == Some(true) { Some(true) } else { known };
    terminal.value(&document(&written, [Some(runs), loaded]), || {
        let done = if count == 0 { "every key was there already".to_owned() } else { format!("{} written", counted(written.len(), "key")) };
        let next = match (runs, restarted, loaded) {
            (false, ..) => "; now start the controller (with --key-renew-period=0, or it makes a key of its own), then apply the SealedSecrets",
            (true, Some(true), _) => "; the controller was restarted, and has loaded them",
            (true, _, Some(true)) => "; the controller has loaded them",
            (true, _, Some(false)) => "; the controller runs, and knows them after a restart only",
            (true, _, None) => "; the controller runs, and nobody can tell whether it has loaded them",
        };
        format!("{done}{next}")
    });
    if runs && loaded != Some(true) {
        let message = match loaded {
            Some(_) => "the controller knows the keys after a restart only",
            None => "nobody can tell whether the controller has loaded the keys",
        };
        return Err(Failure::told(Kind::Partial, message).hint(keeping.restart_hint()));
    }
    if left > 0 {
        return Err(Failure::told(Kind::Partial, format!("{} could not be brought back", counted(left, "key")))
            .hint("each is named above; the others are there"));
    }
    Ok(())
}

/// Whether the controller has loaded keys that were there before, the newest first: it was started behind them, or seals with the newest of them, which is
/// written last. `None` where nobody can tell.
async fn known_to_be_loaded(keeping: &Keeping, keys: &[&KeySecret]) -> Result<Option<bool>, Failure> {
    let created: Option<Vec<Timestamp>> = keys.iter().map(|key| key.created).collect();
    let started_behind = match created.and_then(|created| created.into_iter().max()) {
        Some(latest) => keeping.has_loaded(latest).await?,
        None => None,
    };
    match (started_behind, keys.first()) {
        (Some(known), _) => Ok(Some(known)),
        // There is nothing to load.
        (None, None) => Ok(Some(true)),
        // One that serves another may have loaded these all the same, and made that one by itself.
        (None, Some(newest)) => {
            Ok(keeping.serves().await.is_some_and(|served| served.fingerprint() == newest.fingerprint()).then_some(true))
        }
    }
}

/// How many keys the escrow has of each cluster, by what its index says.
async fn clusters(keeping: &Keeping) -> Result<BTreeMap<String, usize>, Failure> {
    let mut clusters = BTreeMap::new();
    for kept in keeping.vault.in_escrow().await? {
        *clusters.entry(kept.cluster).or_default() += 1;
    }
    Ok(clusters)
}

/// How a key that is there gets to be loaded.
fn label_hint(keeping: &Keeping, key: &KeySecret) -> String {
    format!(
        "`kubectl label secret {} --namespace {} --overwrite {KEY_LABEL}=active`, and restart it, if what it sealed is still needed",
        key.name.as_deref().unwrap_or_default(),
        keeping.namespace()
    )
}

/// Writes a key in a later second than `earlier`; under another name where something else has its own. Answers when it was made.
async fn write(
    keeping: &Keeping,
    key: &mut KeySecret,
    earlier: &[Timestamp],
    terminal: &Terminal,
) -> Result<Option<Timestamp>, Failure> {
    if keeping.is_name_taken(key).await? {
        let taken = key.name.clone().unwrap_or_default();
        key.rename().map_err(|error| Failure::from_error(Kind::Failed, error))?;
        terminal.note(&format!(
            "Secret {taken} is something else there: {} becomes {}",
            key.fingerprint(),
            key.name.as_deref().unwrap_or_default()
        ));
    }
    keeping.let_a_second_pass(key, earlier.iter().copied()).await;
    keeping.create(key).await
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
        keeping.cluster.create(&reference, namespace.to_string().into(), &options()).await?;
    }
    Ok(())
}
