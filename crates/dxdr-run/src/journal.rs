//! The journal of a run: a folder of small objects in the store, each created once.
//!
//! Entry N is created under the condition that nothing is there. Two processes that carry out the same run cannot both write it;
//! the one that comes second stops with [`RunError::JournalTaken`] before it does anything else.

use dxdr_format::journal::{self, Entry};
use dxdr_provider::{StorageErrorKind, object_storage::PutCondition};

use crate::{error::RunError, store::Store};

/// A run's journal, open for writing.
#[derive(Debug)]
pub struct Journal {
    store: Store,
    run: String,
    next: u32,
}

impl Journal {
    /// Begins the journal of a new run.
    pub async fn begin(store: &Store, run: &str, planned: Entry) -> Result<Self, RunError> {
        let mut journal = Self { store: store.clone(), run: run.to_owned(), next: 0 };
        journal.record(&planned).await?;
        Ok(journal)
    }

    /// Opens the journal of a run that an earlier process left, behind what it wrote.
    pub fn behind(store: &Store, history: &History) -> Self {
        Self { store: store.clone(), run: history.run.clone(), next: history.next }
    }

    /// The run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Writes the next entry. When this returns, the entry is in the store.
    pub async fn record(&mut self, entry: &Entry) -> Result<(), RunError> {
        let key = self.store.layout.journal_key(&self.run, self.next);
        match self.store.write(&key, journal::encode(entry), PutCondition::IfAbsent).await {
            Ok(()) => {
                self.next += 1;
                Ok(())
            }
            Err(error) if error.kind == StorageErrorKind::AlreadyExists => {
                Err(RunError::JournalTaken { run: self.run.clone(), sequence: self.next })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What a journal says.
#[derive(Debug, Clone)]
pub struct History {
    /// The run.
    pub run: String,
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The number of the next entry.
    pub next: u32,
    /// A finished step whose evidence does not hold any more: it counts as not done.
    disregarded: Option<String>,
}

impl History {
    /// Reads a journal whole; `None` when there is none of that name.
    pub async fn read(store: &Store, run: &str) -> Result<Option<Self>, RunError> {
        let keys = store.keys(&store.layout.journal_prefix(run)).await?;
        let mut entries = Vec::with_capacity(keys.len());
        for key in &keys {
            let Some(bytes) = store.read(key).await? else { continue };
            let entry = journal::decode(&bytes).map_err(|source| RunError::Format {
                key: key.clone(),
                store: store.storage.describe(),
                source,
            })?;
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let next = u32::try_from(keys.len()).map_err(|error| RunError::Unexpected(error.to_string()))?;
        Ok(Some(Self { run: run.to_owned(), entries, next, disregarded: None }))
    }

    /// What was planned.
    pub fn planned(&self) -> Option<&journal::Planned> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Planned(planned) => Some(planned),
            _ => None,
        })
    }

    /// Whether a step was begun.
    pub fn started(&self, step: &str) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::StepStarted(started) if started.step == step))
    }

    /// The evidence of a step that was finished.
    pub fn finished(&self, step: &str) -> Option<&journal::Evidence> {
        if self.disregarded.as_deref() == Some(step) { None } else { self.evidence(step).pop() }
    }

    /// The evidence of each time that a step was finished, the oldest first.
    pub fn evidence(&self, step: &str) -> Vec<&journal::Evidence> {
        let finished = self.entries.iter().filter_map(|entry| match entry {
            Entry::StepFinished(finished) if finished.step == step => Some(&finished.evidence),
            _ => None,
        });
        finished.collect()
    }

    /// Takes a step for not done: what it left is not there any more.
    pub fn disregard(&mut self, step: &str) {
        self.disregarded = Some(step.to_owned());
    }

    /// The planned steps that are not done yet, in order.
    pub fn left(&self) -> Vec<&journal::PlannedStep> {
        let steps = self.planned().into_iter().flat_map(|planned| &planned.steps);
        steps.filter(|step| self.finished(&step.id).is_none()).collect()
    }

    /// How the run ended, if it did.
    pub fn outcome(&self) -> Option<&journal::Finished> {
        self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Finished(finished) => Some(finished),
            _ => None,
        })
    }
}
