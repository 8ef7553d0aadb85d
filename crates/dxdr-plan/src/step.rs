//! A step of a run: what the journal records and people read.

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Unique in its run, stable between releases: `capture`.
    pub id: String,
    /// What is done: `Read 61 kinds of staging into the archive`.
    pub title: String,
    /// Why it is there, and there.
    pub reason: String,
    /// Whether it may simply be done again when nobody knows how far it came.
    pub repeatable: bool,
}

impl Step {
    pub(crate) fn new(id: &str, title: impl Into<String>, reason: impl Into<String>, repeatable: bool) -> Self {
        Self { id: id.to_owned(), title: title.into(), reason: reason.into(), repeatable }
    }
}
