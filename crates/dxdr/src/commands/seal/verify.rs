//! Which key opens what, and what nobody can open.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use dxdr_environment::FieldPath;
use dxdr_report::{quantity::counted, table};
use dxdr_run::StopRequest;
use dxdr_sealing::{KeyRing, KeySecret, SealedObject};
use serde_json::{Value, json};

use super::{
    certificate::{Controller, namespace_of_context},
    files::Paths,
    items::{self, FileOutcome, HEADINGS, ItemRow, ItemState},
    keeping::{Vault, identities},
    key_files::KeyFiles,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    progress::Progress,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    keys: KeyFiles,
    #[command(flatten)]
    controller: Controller,
    /// Identity that opens the escrow of the SealingPolicy: its keys open then, and no cluster is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_private_key")]
    identity: Option<PathBuf>,
    /// With --identity: the SealingPolicy, where the manifests have more than one.
    #[arg(long, value_name = "NAME", requires = "identity")]
    policy: Option<String>,
    /// Namespace of SealedSecrets that do not say theirs [default: the context's].
    #[arg(long, short = 'n', value_name = "NAME")]
    namespace: Option<String>,
}

pub(super) async fn run(verify: &Verify, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let files = verify.paths.files()?;
    let keys = match &verify.identity {
        Some(file) => {
            let identities = identities(file)?;
            let vault = Vault::load(verify.policy.as_deref(), global).await?;
            let (keys, _) = vault.open_all(&identities, terminal).await?;
            KeyRing::new(keys.into_iter().map(KeySecret::into_opening_key))
        }
        None => verify.keys.load(&verify.controller, global, terminal).await?.ring,
    };
    let namespace = match &verify.namespace {
        Some(namespace) => Some(namespace.clone()),
        None => namespace_of_context(global)?,
    };
    let progress = Progress::of_files(terminal, files.len());
    let look = |file: &Path| look(file, &keys, namespace.as_deref());
    let found = items::each_file(&files, &StopRequest::new(), &|| progress.one_more(), &look);
    progress.end();
    let rows: Vec<&ItemRow> = found.iter().flat_map(|(_, outcome)| &outcome.rows).collect();
    let problems: Vec<&String> = found.iter().filter_map(|(_, outcome)| outcome.problem.as_ref()).collect();
    let mut by_key: BTreeMap<&str, usize> = keys.keys().iter().map(|key| (key.fingerprint().as_str(), 0)).collect();
    for key in rows.iter().filter_map(|row| row.state.key()) {
        *by_key.entry(key.as_str()).or_default() += 1;
    }
    let unopened: Vec<&&ItemRow> = rows.iter().filter(|row| matches!(row.state, ItemState::Unopened(_))).collect();
    let document = json!({
        "format": "dxdr.io/seal-verify/v1",
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
    if unopened.is_empty() && problems.is_empty() {
        return Ok(());
    }
    Err(Failure::told(Kind::Partial, format!("{} cannot be opened", counted(unopened.len() + problems.len(), "item or file")))
        .hint("what nobody can open must be sealed anew from its value; where a key is missing, find it in a backup of the controller's namespace"))
}

/// A file and everything in it.
fn look(file: &Path, keys: &KeyRing, namespace: Option<&str>) -> Option<FileOutcome> {
    let nothing = |problem: String| FileOutcome { rows: Vec::new(), problem: Some(problem), changed: false };
    let input = match items::candidate(file)? {
        Ok(input) => input,
        Err(problem) => return Some(nothing(problem)),
    };
    let documents = match dxdr_api::yaml::read(&input.source()) {
        Ok(documents) => documents,
        Err(problems) => return Some(nothing(problems.to_string())),
    };
    let mut rows = Vec::new();
    let mut problem = None;
    for document in &documents {
        for object in SealedObject::all_in(document.value(), namespace) {
            if object.legacy {
                let place = input.place(document, &object.path);
                problem = Some(format!("{place}: it has the deprecated spec.data, which only the controller opens"));
            }
            let label = object.identity.label();
            for item in &object.items {
                let state = items::ciphertext(item).map_or_else(
                    |state| state,
                    |ciphertext| match keys.open(&label, ciphertext) {
                        Some((key, _)) => ItemState::Opened(key.fingerprint().clone()),
                        None => ItemState::Unopened(items::why_not(&object.identity, ciphertext, keys)),
                    },
                );
                let path: FieldPath = object.item_path(&item.name);
                rows.push(ItemRow {
                    file: input.name.clone(),
                    line: document.place(&path).line,
                    identity: object.identity.clone(),
                    item: item.name.clone(),
                    state,
                });
            }
        }
    }
    ItemRow::sort(&mut rows);
    Some(FileOutcome { rows, problem, changed: false })
}
