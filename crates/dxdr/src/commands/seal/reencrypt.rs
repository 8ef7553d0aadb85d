//! From older keys to the newest: nothing but ciphertexts changes, and only those that must.

use std::collections::HashMap;

use bytes::Bytes;
use dxdr_api::yaml::edit::{self, Edit};
use dxdr_environment::{FieldPath, KeyFingerprint, PathStep, sealed_secret};
use dxdr_kubernetes::KubernetesCluster;
use dxdr_provider::{Cluster as _, ClusterErrorKind};
use dxdr_report::{quantity::counted, table};
use dxdr_run::StopRequest;
use dxdr_sealing::{
    Ciphertext, KeyRing,
    reencrypt::{self, Destination, Mover, ReencryptError, Reencrypted},
};
use serde_json::{Value, json};

use super::{
    Manifests,
    certificate::{self, CertificateChoice, namespace_of_context},
    documents::{self, Input},
    files::Paths,
    items::{self, HEADINGS, ItemPlace, ItemRow, ItemState, Looked, Outcome},
    keeping::options,
    key_files::KeyFiles,
    refused,
    sources::{self, Source, StandingObject},
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    interruption,
    progress::Progress,
    terminal::Terminal,
};

/// Times that an object is applied while others write to it.
const APPLIES: usize = 4;

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
    /// Move the SealedSecrets of the cluster; with --namespace, of that one. Files that say otherwise win when they are applied again.
    #[arg(long, conflicts_with = "paths")]
    cluster: bool,
    /// With --cluster: do not ask.
    #[arg(long, short, requires = "cluster")]
    yes: bool,
}

/// The newest key, and everything that opens.
struct Target {
    destination: Destination,
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
        let keys = files.load(&choice.controller, global, terminal).await?;
        let certificate = choice.get(global, terminal).await?;
        let target = certificate.fingerprint();
        if let Some(newest) = keys.newer_than(&certificate) {
            return Err(Failure::new(
                Kind::Refused,
                format!("the certificate is of {target}, and among the keys {newest} is newer"),
            )
            .hint("`dxdr seal certificate --replace` fetches the newest certificate; `--cert FILE` names another"));
        }
        let ring = keys.ring;
        if ring.keys().iter().all(|key| key.fingerprint() != target) {
            if !unproved {
                return Err(Failure::new(Kind::Refused, format!("the private key of the certificate, {target}, is not among the keys"))
                    .hint("without it nothing proves that the new ciphertexts hold the same values; add it with `--recovery-private-key`")
                    .hint("or, for another cluster's certificate, say `--unproved`"));
            }
            terminal.warn(&format!("{target} is not among the keys: what is sealed with it is not opened again to compare"));
        }
        let ring = ring.preferring(target);
        let destination = tokio::task::block_in_place(|| Destination::new(certificate, &ring)).map_err(|error| {
            Failure::from_error(Kind::Refused, error)
                .context("the certificate's private key does not open what is sealed with it")
                .hint("nothing was written; `dxdr seal keys` says which keys the cluster has, and `--cert FILE` names another certificate")
        })?;
        let namespace = match namespace {
            Some(namespace) => Some(namespace.clone()),
            None => namespace_of_context(global)?,
        };
        Ok(Self { destination, ring, namespace })
    }

    /// The key that everything moves to.
    fn key(&self) -> &KeyFingerprint {
        self.destination.certificate().fingerprint()
    }
}

pub(super) async fn run(command: &Reencrypt, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let cluster = if command.cluster { Some(certificate::cluster(global).await?) } else { None };
    let sources = match &cluster {
        Some(cluster) => sources::live(cluster, command.namespace.as_deref()).await?,
        None => Source::files(command.paths.files()?),
    };
    let keys =
        Target::load(&command.certificate, &command.keys, command.namespace.as_ref(), command.unproved, global, terminal).await?;
    let stop = interruption::listen(terminal);
    stop.heed();
    let writes = !command.check && !command.dry_run;
    let progress = Progress::of_files(terminal, sources.len());
    let mut found = tokio::task::block_in_place(|| {
        items::each(&sources, &stop, &|| progress.one_more(), &|source| look(source, &keys, writes, &stop))
    });
    progress.end();
    if let Some(cluster) = cluster.filter(|_| writes) {
        let moving: usize = found.outcomes.iter().filter(|(_, outcome)| !outcome.edits.is_empty()).count();
        // Who was stopped is not asked: nothing is written then, and each item is told to stay.
        if moving > 0 && !stop.asked() {
            let what = counted(moving, "SealedSecret");
            terminal.consent(&format!("Move {what} of {} to {}?", cluster.describe(), keys.key()), command.yes)?;
        }
        write_live(&cluster, &sources, &mut found.outcomes, &stop).await;
    }
    let rows: Vec<&ItemRow> = found.outcomes.iter().flat_map(|(_, outcome)| &outcome.rows).collect();
    let problems: Vec<&String> = found.outcomes.iter().flat_map(|(_, outcome)| &outcome.problems).collect();
    let changed: Vec<String> = found
        .outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.edits.is_empty())
        .filter_map(|(index, _)| sources.get(*index).map(Source::describe))
        .collect();
    let noun = if command.cluster { "SealedSecret" } else { "file" };
    let count = |word: &str| rows.iter().filter(|row| row.state.word() == word).count();
    let (current, old, moved, unopened) = (count("current"), count("old"), count("reencrypted"), count("unopened"));
    let document = json!({
        "format": "dxdr.io/seal-reencrypt/v1",
        "key": keys.key().as_str(),
        "written": writes,
        "source": if command.cluster { "cluster" } else { "files" },
        "changed": changed,
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
        let newest = keys.key();
        let mut said = vec![format!("{} under {newest} already", counted(current, "item"))];
        if writes {
            said.push(format!("{moved} moved to it in {}", counted(changed.len(), noun)));
        } else {
            said.push(format!("{old} under older keys in {}", counted(changed.len(), noun)));
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
            format!("stopped after {} of {}", found.looked, counted(sources.len(), noun)),
        )
        .hint(format!("every {noun} is as it was, or done; the same command goes on")));
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

/// A source; a file is written where something in it moves and `writes` says so. One in which `stop` is heard stays as it is.
fn look(source: &Source, keys: &Target, writes: bool, stop: &StopRequest) -> Looked {
    let input = match source.input() {
        None => return Looked::Nothing,
        Some(Ok(input)) => input,
        Some(Err(problem)) => return Looked::Found(Outcome::unreadable(problem)),
    };
    let mut outcome = match moved(&input, keys, stop) {
        Ok(Some(moved)) => moved,
        Ok(None) => return Looked::Stopped,
        Err(problem) => return Looked::Found(Outcome::unreadable(problem)),
    };
    source.place(&mut outcome.rows);
    if let (Source::File(file), false) = (source, outcome.edits.is_empty()) {
        let written = edit::set(&input.source(), &outcome.edits).map_err(|problem| format!("{}: {problem}", input.name));
        let written = written.and_then(|text| {
            if writes { input.replace(file, &text).map_err(|failure| format!("{:#}", failure.error)) } else { Ok(()) }
        });
        if let Err(reason) = written {
            outcome.not_written(Some(format!("{reason}; the file was left as it is")));
        }
    }
    if !writes {
        outcome.stay_old();
    }
    Looked::Found(outcome)
}

/// Every item of a text, and the changes that move those under older keys; `None` when `stop` was heard on the way.
fn moved(input: &Input, keys: &Target, stop: &StopRequest) -> Result<Option<Outcome>, String> {
    let moved = reencrypt::together(&keys.ring, &keys.destination, |mover| moved_by(mover, input, keys, stop));
    moved.map_err(|error| format!("{}: {error}; it was left as it is: try again", input.name))?
}

/// The same, not yet proved.
fn moved_by(mover: &mut Mover<'_>, input: &Input, keys: &Target, stop: &StopRequest) -> Result<Option<Outcome>, String> {
    let mut edits = Vec::new();
    // What an alias repeats is one text, and stays one.
    let mut known: HashMap<(String, Vec<u8>), Result<Reencrypted, ReencryptError>> = HashMap::new();
    let mut state = |place: &ItemPlace<'_>, ciphertext: &Ciphertext| {
        let label = place.identity.label();
        if stop.asked() {
            return ItemState::Unopened("it was not looked at".to_owned());
        }
        let moved = known
            .entry((label.clone(), ciphertext.as_bytes().to_vec()))
            .or_insert_with(|| mover.reencrypt(&label, ciphertext))
            .clone();
        match moved {
            Ok(Reencrypted::Current) => ItemState::Current(keys.key().clone()),
            Ok(Reencrypted::Unopened) => ItemState::Unopened(items::why_not(place.identity, ciphertext, &keys.ring)),
            Ok(Reencrypted::Moved { from, to, .. }) => {
                edits.push(Edit { document: place.document, path: place.path.clone(), text: to.to_base64() });
                ItemState::Reencrypted(from)
            }
            Err(error) => ItemState::Unopened(error.to_string()),
        }
    };
    let rows = items::walk(input, keys.namespace.as_deref(), &mut state)?;
    Ok((!stop.asked()).then_some(Outcome { rows, problems: Vec::new(), edits }))
}

/// Writes what moved into the cluster: nothing but ciphertexts, and only where the object is still the one that was read.
async fn write_live(cluster: &KubernetesCluster, sources: &[Source], outcomes: &mut [(usize, Outcome)], stop: &StopRequest) {
    for (index, outcome) in outcomes.iter_mut().filter(|(_, outcome)| !outcome.edits.is_empty()) {
        let Some(Source::Object(object)) = sources.get(*index) else { continue };
        if stop.asked() {
            outcome.not_written(None);
            continue;
        }
        if let Err(problem) = apply(cluster, object, &outcome.edits).await {
            outcome.not_written(Some(problem));
        }
    }
}

/// Applies edits to an object. Where something else of it changed, such as the status that the controller writes, they are applied to what it is by then.
async fn apply(cluster: &KubernetesCluster, read: &StandingObject, edits: &[Edit]) -> Result<(), String> {
    let reference = read.reference();
    let mut newer: Option<StandingObject> = None;
    for _ in 0..APPLIES {
        let object = newer.as_ref().unwrap_or(read);
        match cluster.apply(&reference, Bytes::from(body(object, edits)), true, &options()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind == ClusterErrorKind::Conflict => {}
            Err(error) => return Err(error.to_string()),
        }
        match read.now(cluster).await.map_err(|error| error.to_string())? {
            Some(same) => newer = Some(same),
            None => break,
        }
    }
    Err(format!("{reference} changed meanwhile, and was left as it is: the same command goes on"))
}

/// What is applied: nothing but ciphertexts.
fn body(object: &StandingObject, edits: &[Edit]) -> String {
    let mut body = json!({
        "apiVersion": sealed_secret::API_VERSION, "kind": sealed_secret::KIND,
        "metadata": {"name": object.name, "namespace": object.namespace, "resourceVersion": object.resource_version},
    });
    let mut put = |path: &FieldPath, text: &str| {
        let fields = path.0.iter().filter_map(|step| if let PathStep::Field(name) = step { Some(name) } else { None });
        *fields.fold(&mut body, |value, field| &mut value[field]) = text.into();
    };
    // What was applied before and is left out of an apply goes from the object.
    object.applied_before().iter().for_each(|(path, text)| put(path, text));
    edits.iter().for_each(|edit| put(&edit.path, &edit.text));
    body.to_string()
}

/// `dxdr seal --re-encrypt`: one text, from and to where kubeseal takes it.
pub(super) async fn one(manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let asked = documents::Format::asked(manifests.format, terminal.output, None);
    if asked.is_some_and(|asked| asked != input.format()) {
        return Err(Failure::new(Kind::Usage, format!("{} is in another format than was asked for", input.name))
            .hint("what is re-encrypted is edited, and stays as it is written: leave `--format` and `-o` out"));
    }
    let namespace = manifests.identity.namespace.as_ref();
    let keys = Target::load(&manifests.certificate, &manifests.keys, namespace, false, global, terminal).await?;
    let outcome = moved(&input, &keys, &StopRequest::new()).map_err(|problem| refused(problem).hint("nothing was written"))?;
    // Nobody asks this one to stop.
    let Outcome { rows, edits, problems } = outcome.unwrap_or_else(|| Outcome::unreadable("it was stopped".to_owned()));
    let unopened = rows.iter().filter_map(|row| match &row.state {
        ItemState::Unopened(reason) => Some(format!("{}: {}: {reason}", row.place(), row.item)),
        _ => None,
    });
    let problems: Vec<String> = unopened.chain(problems).collect();
    if !problems.is_empty() {
        return Err(refused(problems.join("\n")).hint("nothing was written"));
    }
    if rows.is_empty() {
        return Err(refused(format!("there is no item of a SealedSecret in {}", input.name)).hint("name a file with `-f FILE`"));
    }
    let text = super::set::edited(&input, &edits)?;
    match (manifests.sealed_secret_file.as_deref(), manifests.secret_file.as_deref()) {
        (Some(file), _) => documents::write(file, &text),
        (None, Some(file)) => input.replace(file, &text),
        (None, None) => {
            terminal.data(&text);
            Ok(())
        }
    }
}
