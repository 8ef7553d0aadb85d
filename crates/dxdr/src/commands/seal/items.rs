//! Every item of every SealedSecret of many files, opened side by side.

use std::path::Path;

use dxdr_api::yaml::edit::Edit;
use dxdr_environment::{FieldPath, KeyFingerprint, Scope, SealedIdentity};
use dxdr_run::StopRequest;
use dxdr_sealing::{Ciphertext, KeyRing, SealedObject};
use serde_json::{Value, json};

use super::{documents::Input, parallel, sources::Source};

/// What is known of an item.
#[derive(Debug, Clone)]
pub(super) struct ItemRow {
    pub(super) file: String,
    /// Where it stands in a file; nowhere in particular elsewhere.
    pub(super) line: Option<usize>,
    pub(super) identity: SealedIdentity,
    pub(super) item: String,
    pub(super) state: ItemState,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ItemState {
    /// This key opens it.
    Opened(KeyFingerprint),
    /// It is under the newest key.
    Current(KeyFingerprint),
    /// It is under an older key, and stays there: nothing was to be written.
    Old(KeyFingerprint),
    /// It was under this key, and is under the newest.
    Reencrypted(KeyFingerprint),
    /// No key opens it, or it is no ciphertext.
    Unopened(String),
}

impl ItemState {
    /// The word for scripts.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Current(_) => "current",
            Self::Old(_) => "old",
            Self::Reencrypted(_) => "reencrypted",
            Self::Unopened(_) => "unopened",
        }
    }

    /// The key that opens it, or opened it.
    pub(super) fn key(&self) -> Option<&KeyFingerprint> {
        match self {
            Self::Opened(key) | Self::Current(key) | Self::Old(key) | Self::Reencrypted(key) => Some(key),
            Self::Unopened(_) => None,
        }
    }
}

impl ItemRow {
    pub(super) fn json(&self) -> Value {
        let reason = if let ItemState::Unopened(reason) = &self.state { Some(reason.as_str()) } else { None };
        json!({
            "file": self.line.is_some().then_some(&self.file),
            "line": self.line,
            "namespace": self.identity.namespace,
            "name": self.identity.name,
            "scope": self.identity.scope.as_str(),
            "item": self.item,
            "state": self.state.word(),
            "key": self.state.key().map(KeyFingerprint::as_str),
            "reason": reason,
        })
    }

    /// Where it stands, for people.
    pub(super) fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    /// In the order in which they stand.
    pub(super) fn sort(rows: &mut [Self]) {
        rows.sort_by_key(|row| row.line);
    }

    /// Cells for people: where, what, state, key.
    pub(super) fn cells(&self) -> Vec<String> {
        let detail = match &self.state {
            ItemState::Unopened(reason) => reason.clone(),
            state => state.key().map(ToString::to_string).unwrap_or_default(),
        };
        vec![
            self.place(),
            format!("{}/{}", self.identity.namespace, self.identity.name),
            self.item.clone(),
            self.state.word().to_owned(),
            detail,
        ]
    }
}

/// The headings of [`ItemRow::cells`].
pub(super) const HEADINGS: [&str; 5] = ["AT", "SEALEDSECRET", "ITEM", "STATE", "KEY"];

/// What happened to a file, or to an object of a cluster.
pub(super) struct Outcome {
    pub(super) rows: Vec<ItemRow>,
    /// Why it, or documents in it, could not be looked at or written.
    pub(super) problems: Vec<String>,
    /// What was, or would be, written into it.
    pub(super) edits: Vec<Edit>,
}

impl Outcome {
    pub(super) fn unreadable(problem: String) -> Self {
        Self { rows: Vec::new(), problems: vec![problem], edits: Vec::new() }
    }

    /// Nothing was written after all.
    pub(super) fn not_written(&mut self, problem: Option<String>) {
        self.problems.extend(problem);
        self.edits.clear();
        self.stay_old();
    }

    /// What would move stays under the key that it was under.
    pub(super) fn stay_old(&mut self) {
        for row in &mut self.rows {
            if let ItemState::Reencrypted(key) = &row.state {
                row.state = ItemState::Old(key.clone());
            }
        }
    }
}

/// Every item of a text, with the state that `state` gives it.
pub(super) fn walk(
    input: &Input,
    namespace: Option<&str>,
    state: &mut dyn FnMut(&ItemPlace<'_>, &Ciphertext) -> ItemState,
) -> Result<Vec<ItemRow>, String> {
    let documents = dxdr_api::yaml::read(&input.source()).map_err(|problems| problems.to_string())?;
    let mut rows = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        for object in SealedObject::all_in(document.value(), namespace) {
            for item in &object.items {
                let place = ItemPlace { document: index, path: object.path_of(item), identity: &object.identity };
                let state = match &item.content {
                    Ok(ciphertext) => state(&place, ciphertext),
                    Err(problem) => ItemState::Unopened(problem.to_string()),
                };
                rows.push(ItemRow {
                    file: input.name.clone(),
                    line: Some(document.place(&place.path).line),
                    identity: object.identity.clone(),
                    item: item.name.clone(),
                    state,
                });
            }
        }
    }
    ItemRow::sort(&mut rows);
    Ok(rows)
}

/// An item on a [`walk`].
pub(super) struct ItemPlace<'a> {
    pub(super) document: usize,
    pub(super) path: FieldPath,
    pub(super) identity: &'a SealedIdentity,
}

/// Looks at everything, on all cores. Ends early when `stop` says so; what is left is then not answered.
pub(super) fn each(
    sources: &[Source],
    stop: &StopRequest,
    done: &(dyn Fn() + Sync),
    look: &(dyn Fn(&Source) -> Looked + Sync),
) -> Seen {
    let answers = parallel::in_order(sources, &|source| {
        let looked = if stop.asked() { Looked::Stopped } else { look(source) };
        if !matches!(looked, Looked::Stopped) {
            done();
        }
        looked
    });
    let mut seen = Seen { outcomes: Vec::new(), looked: 0 };
    for (index, answer) in answers.into_iter().enumerate() {
        seen.looked += usize::from(!matches!(answer, Looked::Stopped));
        if let Looked::Found(outcome) = answer {
            seen.outcomes.push((index, outcome));
        }
    }
    seen
}

/// What looking at one source found.
pub(super) enum Looked {
    /// It holds SealedSecrets, or could not be looked at.
    Found(Outcome),
    /// It holds none.
    Nothing,
    /// It is as it was: somebody asked to stop before, or on the way.
    Stopped,
}

/// What looking at many found.
pub(super) struct Seen {
    /// Of the sources that hold SealedSecrets, by their numbers.
    pub(super) outcomes: Vec<(usize, Outcome)>,
    /// The sources that were looked at.
    pub(super) looked: usize,
}

/// The input of a file that may hold a SealedSecret; `None` for one that does not.
pub(super) fn candidate(file: &Path) -> Option<Result<Input, String>> {
    let bytes = match super::documents::read_file(file) {
        Ok(bytes) => bytes,
        Err(failure) => return Some(Err(format!("{:#}", failure.error))),
    };
    let word = b"SealedSecret";
    if !bytes.windows(word.len()).any(|window| window == word) {
        return None;
    }
    Some(Input::from_bytes(file.display().to_string(), bytes).map_err(|failure| format!("{:#}", failure.error)))
}

/// Why no key opens an item, as far as trying says: other labels that people often mean are tried, too.
pub(super) fn why_not(identity: &SealedIdentity, ciphertext: &Ciphertext, keys: &KeyRing) -> String {
    for scope in Scope::ALL.into_iter().filter(|scope| *scope != identity.scope) {
        let other = SealedIdentity { scope, ..identity.clone() };
        if let Some((key, _)) = keys.open(&other.label(), ciphertext) {
            return format!("it was sealed with scope {scope} ({}), and the object says {}", key.fingerprint(), identity.scope);
        }
    }
    let bits = ciphertext.modulus_length() * 8;
    let of_size = keys.keys().iter().any(|key| key.bits() == bits);
    if !of_size {
        return format!("it was sealed with an RSA key of {bits} bits, and none of the keys has as many");
    }
    format!("no key opens it as {identity}: it was sealed with another one, for another name or namespace, or changed since")
}
