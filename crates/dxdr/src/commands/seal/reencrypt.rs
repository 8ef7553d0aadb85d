//! From older keys to the newest: nothing but ciphertexts changes, and only those that must.

use std::{collections::HashMap, path::Path};

use dxdr_api::yaml::edit::{self, Edit};
use dxdr_report::{quantity::counted, table};
use dxdr_sealing::{
    KeyRing, SealedObject, SealingCertificate,
    reencrypt::{ReencryptError, Reencrypted, reencrypt},
};
use serde_json::{Value, json};

use super::{
    Manifests,
    certificate::{CertificateChoice, namespace_of_context},
    documents::{self, Input},
    files::Paths,
    items::{self, FileOutcome, HEADINGS, ItemRow, ItemState},
    key_files::{self, KeyFiles},
    refused,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    interruption,
    progress::Progress,
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Reencrypt {
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    keys: KeyFiles,
    #[command(flatten)]
    certificate: CertificateChoice,
    /// Namespace of SealedSecrets that do not say theirs [default: the context's].
    #[arg(long, short = 'n', value_name = "NAME")]
    namespace: Option<String>,
    /// Write nothing; exit code 3 when something is not under the newest key.
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    /// Write nothing, and say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Seal with a certificate whose private key is not at hand: the new ciphertexts cannot be opened again to compare.
    #[arg(long)]
    unproved: bool,
}

/// The newest key, and everything that opens.
struct Target {
    certificate: SealingCertificate,
    ring: KeyRing,
    namespace: Option<String>,
}

impl Target {
    async fn load(
        choice: &CertificateChoice,
        files: &KeyFiles,
        namespace: Option<&String>,
        unproved: bool,
        global: &Global,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let key_files::Keys { ring, newest } = files.load(&choice.controller, global, terminal).await?;
        let certificate = choice.get(global, terminal).await?;
        let target = certificate.fingerprint();
        if let Some((newest, since)) = newest
            && newest != *target
            && since > certificate.not_before()
            && ring.keys().iter().any(|key| key.fingerprint() == target)
        {
            return Err(Failure::new(
                Kind::Refused,
                format!("the certificate is of {target}, and among the keys {newest} is newer"),
            )
            .hint("`dxdr seal certificate --replace` fetches the newest certificate; `--cert FILE` names another"));
        }
        if ring.keys().iter().all(|key| key.fingerprint() != target) {
            if !unproved {
                return Err(Failure::new(Kind::Refused, format!("the private key of the certificate, {target}, is not among the keys"))
                    .hint("without it nothing proves that the new ciphertexts hold the same values; add it with `--recovery-private-key`")
                    .hint("or, for another cluster's certificate, say `--unproved`"));
            }
            terminal.warn(&format!("{target} is not among the keys: what is sealed with it is not opened again to compare"));
        }
        let ring = ring.preferring(target);
        let namespace = match namespace {
            Some(namespace) => Some(namespace.clone()),
            None => namespace_of_context(global)?,
        };
        Ok(Self { certificate, ring, namespace })
    }
}

pub(super) async fn run(command: &Reencrypt, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let files = command.paths.files()?;
    let keys =
        Target::load(&command.certificate, &command.keys, command.namespace.as_ref(), command.unproved, global, terminal).await?;
    let stop = interruption::listen(terminal);
    stop.heed();
    let writes = !command.check && !command.dry_run;
    let progress = Progress::of_files(terminal, files.len());
    let found = tokio::task::block_in_place(|| {
        items::each_file(&files, &stop, &|| progress.one_more(), &|file| look(file, &keys, writes))
    });
    progress.end();
    let rows: Vec<&ItemRow> = found.iter().flat_map(|(_, outcome)| &outcome.rows).collect();
    let problems: Vec<&String> = found.iter().filter_map(|(_, outcome)| outcome.problem.as_ref()).collect();
    let changed: Vec<String> =
        found.iter().filter(|(_, outcome)| outcome.changed).map(|(file, _)| file.display().to_string()).collect();
    let count = |word: &str| rows.iter().filter(|row| row.state.word() == word).count();
    let (current, old, moved, unopened) = (count("current"), count("old"), count("reencrypted"), count("unopened"));
    let document = json!({
        "format": "dxdr.io/seal-reencrypt/v1",
        "key": keys.certificate.fingerprint().as_str(),
        "written": writes,
        "files": changed,
        "items": rows.iter().map(|row| row.json()).collect::<Vec<Value>>(),
        "problems": problems,
        "counts": {"current": current, "old": old, "reencrypted": moved, "unopened": unopened},
    });
    terminal.value(&document, || {
        let shown: Vec<Vec<String>> =
            rows.iter().filter(|row| !matches!(row.state, ItemState::Current(_))).map(|row| row.cells()).collect();
        let mut text = if shown.is_empty() { String::new() } else { table::table(&HEADINGS, shown) + "\n" };
        for problem in &problems {
            text.push_str(&format!("{problem}\n"));
        }
        let newest = keys.certificate.fingerprint();
        let mut said = vec![format!("{} under {newest} already", counted(current, "item"))];
        if writes {
            said.push(format!("{moved} moved to it in {}", counted(changed.len(), "file")));
        } else {
            said.push(format!("{old} under older keys in {}", counted(changed.len(), "file")));
        }
        if unopened > 0 {
            said.push(format!("{unopened} cannot be opened"));
        }
        text.push_str(&said.join(", "));
        text.push('\n');
        text
    });
    if stop.asked() {
        return Err(Failure::new(
            Kind::Interrupted,
            format!("stopped after {} of {}", found.len(), counted(files.len(), "file")),
        )
        .hint("every file is as it was, or done; the same command goes on"));
    }
    if !problems.is_empty() || unopened > 0 {
        return Err(Failure::told(Kind::Partial, "not everything could be looked at or opened")
            .hint("`dxdr seal verify` says which key opens what; what nobody can open must be sealed anew from its value"));
    }
    if command.check && old > 0 {
        return Err(Failure::told(Kind::Partial, format!("{} not under the newest key", counted(old, "item")))
            .hint("`dxdr seal reencrypt` without `--check` moves them"));
    }
    Ok(())
}

/// A file; written where something in it moves and `writes` says so.
fn look(file: &Path, keys: &Target, writes: bool) -> Option<FileOutcome> {
    let nothing = |problem: String| FileOutcome { rows: Vec::new(), problem: Some(problem), changed: false };
    let input = match items::candidate(file)? {
        Ok(input) => input,
        Err(problem) => return Some(nothing(problem)),
    };
    let Moved { mut rows, edits, mut problem } = match moved(&input, keys) {
        Ok(moved) => moved,
        Err(problem) => return Some(nothing(problem)),
    };
    let mut changed = !edits.is_empty();
    let mut keep = !writes;
    if changed {
        let written = edit::set(&input.source(), &edits).map_err(|problem| format!("{}: {problem}", input.name));
        let written = written.and_then(|text| {
            if writes { documents::write(file, &text).map_err(|failure| format!("{:#}", failure.error)) } else { Ok(()) }
        });
        if let Err(reason) = written {
            problem = Some(format!("{reason}; the file was left as it is"));
            changed = false;
            keep = true;
        }
    }
    if keep {
        for row in &mut rows {
            if let ItemState::Reencrypted(key) = &row.state {
                row.state = ItemState::Old(key.clone());
            }
        }
    }
    Some(FileOutcome { rows, problem, changed })
}

/// What is to become of a text.
struct Moved {
    rows: Vec<ItemRow>,
    edits: Vec<Edit>,
    /// What cannot be moved at all.
    problem: Option<String>,
}

/// Every item of a text, and the changes that move those under older keys.
fn moved(input: &Input, keys: &Target) -> Result<Moved, String> {
    let documents = dxdr_api::yaml::read(&input.source()).map_err(|problems| problems.to_string())?;
    let (mut rows, mut edits, mut problem) = (Vec::new(), Vec::new(), None);
    // What an alias repeats is one text, and stays one.
    let mut known: HashMap<(String, Vec<u8>), Result<Reencrypted, ReencryptError>> = HashMap::new();
    for (index, document) in documents.iter().enumerate() {
        for object in SealedObject::all_in(document.value(), keys.namespace.as_deref()) {
            if object.legacy {
                let place = input.place(document, &object.path);
                problem = Some(format!("{place}: it has the deprecated spec.data, which cannot be moved; seal it anew"));
            }
            let label = object.identity.label();
            for item in &object.items {
                let path = object.item_path(&item.name);
                let state = match items::ciphertext(item) {
                    Err(state) => state,
                    Ok(ciphertext) => match known
                        .entry((label.clone(), ciphertext.as_bytes().to_vec()))
                        .or_insert_with(|| reencrypt(&label, ciphertext, &keys.ring, &keys.certificate))
                        .clone()
                    {
                        Ok(Reencrypted::Current) => ItemState::Current(keys.certificate.fingerprint().clone()),
                        Ok(Reencrypted::Unopened) => {
                            ItemState::Unopened(items::why_not(&object.identity, ciphertext, &keys.ring))
                        }
                        Ok(Reencrypted::Moved { from, to, .. }) => {
                            edits.push(Edit { document: index, path: path.clone(), text: to.to_base64() });
                            ItemState::Reencrypted(from)
                        }
                        Err(error) => ItemState::Unopened(error.to_string()),
                    },
                };
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
    Ok(Moved { rows, edits, problem })
}

/// `dxdr seal --re-encrypt`: one text, from and to where kubeseal takes it.
pub(super) async fn one(manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let namespace = manifests.identity.namespace.as_ref();
    let keys = Target::load(&manifests.certificate, &manifests.keys, namespace, false, global, terminal).await?;
    let Moved { rows, edits, problem } = moved(&input, &keys).map_err(|problem| refused(problem).hint("nothing was written"))?;
    let unopened = rows.iter().filter_map(|row| match &row.state {
        ItemState::Unopened(reason) => Some(format!("{}:{}: {}: {reason}", row.file, row.line, row.item)),
        _ => None,
    });
    let problems: Vec<String> = unopened.chain(problem).collect();
    if !problems.is_empty() {
        return Err(refused(problems.join("\n")).hint("nothing was written"));
    }
    if rows.is_empty() {
        return Err(refused(format!("there is no item of a SealedSecret in {}", input.name)).hint("name a file with `-f FILE`"));
    }
    let text = super::set::edited(&input, &edits)?;
    match manifests.sealed_secret_file.as_deref().or(manifests.secret_file.as_deref()) {
        Some(file) => documents::write(file, &text),
        None => {
            terminal.data(&text);
            Ok(())
        }
    }
}
