//! Taking a key out of the cluster that nothing needs any more.

use std::{collections::BTreeSet, fs, path::PathBuf};

use dxdr_catalog::{Component, Entry};
use dxdr_environment::{KeyFingerprint, ObjectReference, Scope};
use dxdr_provider::Cluster as _;
use dxdr_report::quantity::counted;
use dxdr_run::{SEALING_KEYS, Store, catalog};
use dxdr_sealing::{KeyRing, KeySecret};
use serde_json::json;

use super::{
    certificate,
    files::Paths,
    items::{ItemRow, ItemState},
    keeping::{Keeping, PolicyChoice, options},
    key_files::kind,
    refused,
    sources::{self, Source},
    verify,
};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Retire {
    /// Fingerprint of the key, or the beginning of one.
    fingerprint: String,
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    policy: PolicyChoice,
    /// Say what needs the key, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(retire: &Retire, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let keeping = Keeping::load(&retire.policy, global).await?;
    let mut in_cluster = keeping.in_cluster(terminal).await?;
    let position = position(&retire.fingerprint, &in_cluster, &keeping)?;
    let sealing = keeping.serves().await.map(|certificate| certificate.fingerprint().clone());
    let newest = in_cluster.iter().find(|key| key.is_loaded()).map(|key| key.fingerprint().clone());
    let key = in_cluster.swap_remove(position);
    let fingerprint = key.fingerprint().clone();
    if [newest, sealing].into_iter().flatten().any(|used| used == fingerprint) {
        return Err(Failure::new(Kind::Refused, format!("{fingerprint} is what the controller seals with"))
            .hint("`dxdr seal rotate` makes another one, and `dxdr seal reencrypt` moves what this one sealed"));
    }
    let in_escrow = keeping.vault.in_escrow().await?;
    if !in_escrow.iter().any(|kept| kept.fingerprint == fingerprint && keeping.vault.is_kept(kept)) {
        return Err(Failure::new(Kind::Refused, format!("{fingerprint} is not in escrow as the policy says"))
            .hint("`dxdr seal escrow` puts it there: what somebody still finds sealed with it could not be opened otherwise"));
    }
    let (secret, loaded, uid) = (key.name.clone().unwrap_or_default(), key.is_loaded(), key.uid.clone());
    let ring = KeyRing::new([key.into_opening_key()]);
    let needed = needs(retire, &world, &keeping, &ring, &fingerprint, terminal).await?;
    let document = json!({
        "format": "dxdr.io/seal-retire/v1",
        "fingerprint": fingerprint.as_str(),
        "secret": {"namespace": keeping.namespace(), "name": secret},
        "neededBy": needed,
        "dryRun": retire.dry_run,
    });
    if !needed.is_empty() {
        terminal.value(&document, || needed.iter().map(|need| format!("needed by {need}\n")).collect());
        return Err(Failure::told(Kind::Refused, format!("{fingerprint} is still needed, and stays"))
            .hint("`dxdr seal reencrypt` moves files, and with `--cluster` live objects, to the newest key")
            .hint("a recovery point needs its keys for as long as it is kept"));
    }
    let place = format!("{}/{secret}", keeping.namespace());
    if retire.dry_run {
        terminal.value(&document, || format!("nothing needs it: Secret {place} would be removed; nothing was changed"));
        return Ok(());
    }
    terminal.note(&format!("Nothing that was looked at needs {fingerprint}; what is in escrow stays there."));
    if retire.paths.none() {
        terminal.warn("no files were looked at: name those of your repositories");
    }
    terminal.consent(&format!("Remove Secret {place} of {}?", keeping.cluster.describe()), retire.yes)?;
    let reference = ObjectReference {
        kind: kind("", "v1", "Secret", "secrets"),
        namespace: Some(keeping.namespace().to_owned()),
        name: secret.clone(),
    };
    // Only this very Secret: another one may have got its name meanwhile.
    keeping.cluster.delete(&reference, uid.as_deref(), &options()).await?;
    let restarted = keeping.restart(terminal).await.unwrap_or_else(|failure| {
        terminal.warn(&format!("{:#}", failure.error));
        false
    });
    terminal.value(&document, || format!("Secret {place} is gone"));
    if !restarted && loaded && keeping.runs().await? {
        terminal.warn(&format!("a controller that runs has the key until it is restarted; {}", keeping.restart_hint()));
    }
    Ok(())
}

/// The key that a person means.
fn position(asked: &str, keys: &[KeySecret], keeping: &Keeping) -> Result<usize, Failure> {
    let wanted = asked.strip_prefix("SHA256:").unwrap_or(asked);
    let is_meant = |key: &KeySecret| {
        let known = key.fingerprint().as_str();
        !wanted.is_empty() && known.strip_prefix("SHA256:").unwrap_or(known).starts_with(wanted)
    };
    let mut meant = keys.iter().enumerate().filter(|(_, key)| is_meant(key)).map(|(position, _)| position);
    match (meant.next(), meant.next()) {
        (Some(position), None) => Ok(position),
        (Some(_), Some(_)) => Err(Failure::new(Kind::Usage, format!("more than one key begins with {asked}"))
            .hint("name it whole; `dxdr seal keys` lists them")),
        (None, _) => Err(refused(format!("namespace {} has no sealing key {asked}", keeping.namespace()))
            .hint("`dxdr seal keys` lists those there are")),
    }
}

/// Everything that this key opens, and so no other one. What cannot be looked at is an error: it may need the key.
async fn needs(
    retire: &Retire,
    world: &World,
    keeping: &Keeping,
    ring: &KeyRing,
    fingerprint: &KeyFingerprint,
    terminal: &Terminal,
) -> Result<Vec<String>, Failure> {
    let mut needed = Vec::new();
    let opened = |what: &[Source]| -> Result<Vec<String>, Failure> {
        let (rows, problems) = verify::rows(what, ring, None, &|| {});
        if let Some(problem) = problems.first() {
            return Err(refused(format!("what cannot be looked at may need the key: {problem}")).hint("nothing was changed"));
        }
        // What is bound to a namespace opens only under its own, and a file may leave that to whoever applies it.
        let unbound = |row: &&ItemRow| {
            !matches!(row.state, ItemState::Opened(_))
                && row.identity.namespace.is_empty()
                && row.identity.scope != Scope::ClusterWide
        };
        if let Some(row) = rows.iter().find(unbound) {
            let what = format!("{}: {} names no namespace, and may need the key", row.place(), row.identity.name);
            return Err(refused(what).hint("write its `metadata.namespace` into the file; nothing was changed"));
        }
        let opened = rows.iter().filter(|row| matches!(row.state, ItemState::Opened(_)));
        Ok(opened
            .map(|row| format!("{}: {} of {}/{}", row.place(), row.item, row.identity.namespace, row.identity.name))
            .collect())
    };
    needed.extend(opened(&sources::live(&keeping.cluster, None).await?)?);
    if !retire.paths.none() {
        needed.extend(opened(&Source::files(retire.paths.files()?))?);
    }
    for file in pinned_in(&retire.paths) {
        if certificate::read(&file)?.fingerprint() == fingerprint {
            needed.push(format!("{}: people go on sealing with it while it is pinned", file.display()));
        }
    }
    // Every store: an environment may have had another one, and others than the policy's may use the controller.
    let mut looked = 0;
    for declared in &world.model.stores {
        let store = world.open(declared).await?;
        let found = catalog::all(&store, None).await?;
        if let Some((name, reason)) = found.unreadable.first() {
            return Err(refused(format!("what recovery point {name} needs is not known: {reason}")).hint("nothing was changed"));
        }
        for entry in &found.entries {
            looked += 1;
            if point_needs(&store, entry, &opened, fingerprint).await? {
                let of = match entry {
                    Entry::Ours(point) => point.environment.as_str(),
                    Entry::Foreign(_) => "Velero",
                };
                needed.push(format!("recovery point {} of {of}", entry.name()));
            }
        }
    }
    terminal.note(&format!("{} looked at.", counted(looked, "recovery point")));
    Ok(needed)
}

/// The pinned certificates that whoever seals in these paths, or here, is given.
fn pinned_in(paths: &Paths) -> BTreeSet<PathBuf> {
    let above = paths.named().iter().flat_map(|path| certificate::pinned_above(path));
    above.chain(certificate::pinned()).filter_map(|file| fs::canonicalize(file).ok()).collect()
}

/// Whether a point says that it needs the key, or, where it says nothing of keys, has something that the key opens.
async fn point_needs(
    store: &Store,
    entry: &Entry,
    opened: &impl Fn(&[Source]) -> Result<Vec<String>, Failure>,
    fingerprint: &KeyFingerprint,
) -> Result<bool, Failure> {
    if let Entry::Ours(point) = entry {
        let recorded = point.components.iter().find_map(|component| match component {
            Component::Keys(keys) => Some(&keys.fingerprints),
            _ => None,
        });
        // What could not be opened when the point was taken may need this one.
        let is_whole = point.gaps.iter().all(|gap| gap.what != SEALING_KEYS);
        match recorded {
            Some(keys) if keys.iter().any(|key| key == fingerprint.as_str()) => return Ok(true),
            Some(_) if is_whole => return Ok(false),
            _ => {}
        }
    }
    let archived = sources::archived(store, entry, entry.name()).await?;
    Ok(!opened(&archived)?.is_empty())
}
