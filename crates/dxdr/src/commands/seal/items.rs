//! Every item of every SealedSecret of many files, opened side by side.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use dxdr_environment::{KeyFingerprint, Scope, SealedIdentity};
use dxdr_run::StopRequest;
use dxdr_sealing::{Ciphertext, KeyRing, SealedItem};
use serde_json::{Value, json};

use super::documents::Input;

/// What is known of an item.
#[derive(Debug, Clone)]
pub(super) struct ItemRow {
    pub(super) file: String,
    pub(super) line: usize,
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
            "file": self.file,
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
            format!("{}:{}", self.file, self.line),
            format!("{}/{}", self.identity.namespace, self.identity.name),
            self.item.clone(),
            self.state.word().to_owned(),
            detail,
        ]
    }
}

/// The headings of [`ItemRow::cells`].
pub(super) const HEADINGS: [&str; 5] = ["AT", "SEALEDSECRET", "ITEM", "STATE", "KEY"];

/// What happened to a file.
pub(super) struct FileOutcome {
    pub(super) rows: Vec<ItemRow>,
    /// Why it, or its documents, could not be looked at or written.
    pub(super) problem: Option<String>,
    /// Whether it was, or would be, written.
    pub(super) changed: bool,
}

/// Looks at all files, as many at once as there are cores. Ends early when `stop` says so; the files that are left are then not answered.
pub(super) fn each_file(
    files: &[PathBuf],
    stop: &StopRequest,
    done: &(dyn Fn() + Sync),
    look: &(dyn Fn(&Path) -> Option<FileOutcome> + Sync),
) -> Vec<(PathBuf, FileOutcome)> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(files.len().max(1));
    let mut found: Vec<(usize, FileOutcome)> = thread::scope(|scope| {
        let work = || {
            let mut found = Vec::new();
            while !stop.asked() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = files.get(index) else { break };
                found.extend(look(file).map(|outcome| (index, outcome)));
                done();
            }
            found
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(index, outcome)| (files[index].clone(), outcome)).collect()
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

/// The ciphertext of an item, or the state of one that has none.
pub(super) fn ciphertext(item: &SealedItem) -> Result<&Ciphertext, ItemState> {
    item.content.as_ref().map_err(|problem| ItemState::Unopened(problem.to_string()))
}
