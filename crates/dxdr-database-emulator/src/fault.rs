//! What is to go wrong, in the order in which it was asked for.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// The request is refused with this status and reason, and nothing happens.
    Refused(u16, String),
    /// The request is carried out, and answered as if it had been refused.
    RefusedAfter(u16, String),
    /// The request is carried out and never answered.
    Silent,
    /// The operation takes that long, beside its work.
    Slow(Duration),
    /// The operation runs until it is released.
    Held,
    /// The operation ends as `DONE` with this code and message, and has achieved nothing.
    Fails(String, String),
}

/// One thing that goes wrong once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// With which request: `export`, `import`, `clone`, `operations`, … the last segment of its path that is no name. Databases are listed by `databaseList`.
    pub request: String,
    /// How.
    pub failing: Failing,
}

/// What goes wrong on a server.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// The next request of that kind goes wrong so. Several of one kind are met one after the other.
    pub fn next(&self, request: &str, failing: Failing) {
        self.locked().push(Fault { request: request.to_owned(), failing });
    }

    /// Nothing goes wrong any more that was not met yet.
    pub fn end(&self) {
        self.locked().clear();
    }

    /// How many were not met yet.
    pub fn left(&self) -> usize {
        self.locked().len()
    }

    /// The first of that kind that `fits`, which is met by that.
    pub(crate) fn take(&self, request: &str, fits: impl Fn(&Failing) -> bool) -> Option<Failing> {
        let mut faults = self.locked();
        let place = faults.iter().position(|fault| fault.request == request && fits(&fault.failing))?;
        Some(faults.remove(place).failing)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failing {
    /// Whether it is about the request, not about the operation.
    pub(crate) fn of_request(&self) -> bool {
        matches!(self, Self::Refused(..) | Self::RefusedAfter(..) | Self::Silent)
    }
}
