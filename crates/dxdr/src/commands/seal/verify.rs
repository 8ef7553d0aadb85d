//! Which key opens what, and what nobody can open.

use std::collections::BTreeMap;

use dxdr_report::{quantity::counted, table};
use dxdr_run::StopRequest;
use dxdr_sealing::{Ciphertext, KeyRing, KeySecret};
use serde_json::{Value, json};

use super::{
    certificate::{self, Controller, namespace_of_context},
    files::Paths,
    items::{self, HEADINGS, ItemPlace, ItemRow, ItemState, Looked, Outcome},
    keeping::Vault,
    key_files::KeyFiles,
    opening::Opening,
    refused,
    sources::{self, Source},
};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    progress::Progress,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
#[command(mut_group("opening", |group| group.conflicts_with("recovery_private_key")))]
pub(super) struct Verify {
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    keys: KeyFiles,
    #[command(flatten)]
    controller: Controller,
    /// Look at every SealedSecret of the cluster; with --namespace, of that one.
    #[arg(long, conflicts_with_all = ["paths", "point"])]
    cluster: bool,
    /// Look at every SealedSecret of a recovery point.
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    point: Option<String>,
    #[command(flatten)]
    opening: Opening,
    /// With --identity or --share: the SealingPolicy, where the manifests have more than one.
    #[arg(long, value_name = "NAME", requires = "opening")]
    policy: Option<String>,
    /// Namespace of SealedSecrets that do not say theirs [default: the context's].
    #[arg(long, short = 'n', value_name = "NAME")]
    namespace: Option<String>,
}

pub(super) async fn run(verify: &Verify, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let (sources, what) = match &verify.point {
        Some(name) => {
            let (store, entry) = sources::point(&World::load(global)?, name).await?;
            (sources::archived(&store, &entry, name).await?, format!("point {name}"))
        }
        None if verify.cluster => {
            let cluster = certificate::cluster(global).await?;
            (sources::live(&cluster, verify.namespace.as_deref()).await?, "cluster".to_owned())
        }
        None => (Source::files(verify.paths.files()?), "files".to_owned()),
    };
    let keys = match verify.opening.identities(terminal)? {
        Some(identities) => {
            let vault = Vault::load(verify.policy.as_deref(), global).await?;
            let (keys, _) = vault.open_all(&identities, terminal).await?;
            KeyRing::new(keys.into_iter().map(KeySecret::into_opening_key))
        }
        None => verify.keys.load(&verify.controller, global, terminal).await?.ring,
    };
    let namespace = match &verify.namespace {
        Some(namespace) => Some(namespace.clone()),
        None if what == "files" => namespace_of_context(global)?,
        None => None,
    };
    let progress = Progress::of_files(terminal, sources.len());
    let (rows, problems) = rows(&sources, &keys, namespace.as_deref(), &|| progress.one_more());
    progress.end();
    let mut by_key: BTreeMap<&str, usize> = keys.keys().iter().map(|key| (key.fingerprint().as_str(), 0)).collect();
    for key in rows.iter().filter_map(|row| row.state.key()) {
        *by_key.entry(key.as_str()).or_default() += 1;
    }
    let unopened: Vec<&ItemRow> = rows.iter().filter(|row| matches!(row.state, ItemState::Unopened(_))).collect();
    let document = json!({
        "format": "dxdr.io/seal-verify/v1",
        "source": what,
        "items": rows.iter().map(|row| row.json()).collect::<Vec<Value>>(),
        "keys": by_key.iter().map(|(key, items)| json!({"fingerprint": key, "items": items})).collect::<Vec<Value>>(),
        "problems": problems,
        "unopened": unopened.len(),
    });
    terminal.value(&document, || {
        let mut text = String::new();
        if !unopened.is_empty() {
            let cells = unopened.iter().map(|row| row.cells()).collect();
            text.push_str(&table::table(&HEADINGS, cells));
            text.push('\n');
        }
        for problem in &problems {
            text.push_str(&format!("{problem}\n"));
        }
        for (key, items) in &by_key {
            text.push_str(&format!("{key} opens {}\n", counted(*items, "item")));
        }
        let opened = rows.len() - unopened.len();
        text.push_str(&format!("{opened} of {} open\n", counted(rows.len(), "item")));
        text
    });
    if rows.is_empty() && problems.is_empty() && what == "files" {
        return Err(
            refused("there is no SealedSecret in what was named").hint("check the path; what .gitignore names is passed over")
        );
    }
    if unopened.is_empty() && problems.is_empty() {
        return Ok(());
    }
    Err(Failure::told(Kind::Partial, format!("{} cannot be opened", counted(unopened.len() + problems.len(), "item or file")))
        .hint("what nobody can open must be sealed anew from its value; where a key is missing, find it in a backup of the controller's namespace"))
}

/// A source and everything in it.
fn look(source: &Source, keys: &KeyRing, namespace: Option<&str>) -> Looked {
    let input = match source.input() {
        None => return Looked::Nothing,
        Some(Ok(input)) => input,
        Some(Err(problem)) => return Looked::Found(Outcome::unreadable(problem)),
    };
    let mut state = |place: &ItemPlace<'_>, ciphertext: &Ciphertext| match keys.open(&place.identity.label(), ciphertext) {
        Some((key, _)) => ItemState::Opened(key.fingerprint().clone()),
        None => ItemState::Unopened(items::why_not(place.identity, ciphertext, keys)),
    };
    Looked::Found(match items::walk(&input, namespace, &mut state) {
        Ok(mut rows) => {
            source.place(&mut rows);
            Outcome { rows, problems: Vec::new(), edits: Vec::new() }
        }
        Err(problem) => Outcome::unreadable(problem),
    })
}

/// The rows of sources, and what could not be looked at.
pub(super) fn rows(
    sources: &[Source],
    keys: &KeyRing,
    namespace: Option<&str>,
    done: &(dyn Fn() + Sync),
) -> (Vec<ItemRow>, Vec<String>) {
    let look = |source: &Source| look(source, keys, namespace);
    let found = tokio::task::block_in_place(|| items::each(sources, &StopRequest::new(), done, &look));
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for (_, outcome) in found.outcomes {
        rows.extend(outcome.rows);
        problems.extend(outcome.problems);
    }
    (rows, problems)
}
