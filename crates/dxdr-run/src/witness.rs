//! When something was captured, by one clock.
//!
//! The storage, the database and the service each tell an instant by a clock of their own, some of them in whole seconds, and an export says at no moment of its work that it
//! looked now. What is certain is what this process sees: when it asked, and when it saw that it was done. Two processes of a run have two clocks, so what
//! one that goes on with a run sees is told with what clocks may differ by.

use std::sync::Arc;

use dxdr_catalog::Interval;
use dxdr_plan::instance::CLOCK_SKEW;
use dxdr_provider::Clock;
use jiff::Timestamp;

/// A process of a run, as the one that sees.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    clock: Arc<dyn Clock>,
    /// When the run began, by the clock of its first process.
    began: Timestamp,
    /// Whether this is another process than that.
    later_process: bool,
}

/// First and last instant, for the journal.
pub(crate) type Between = (Timestamp, Timestamp);

impl Witness {
    pub(crate) fn new(clock: &Arc<dyn Clock>, began: Timestamp, later_process: bool) -> Self {
        Self { clock: Arc::clone(clock), began, later_process }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What this process began itself at `first` and saw done at `last`, as the run's first process might have told it.
    pub(crate) fn saw(&self, first: Timestamp, last: Timestamp) -> Between {
        let seen = Interval { first, last };
        let seen = if self.later_process { seen.on_another_clock(CLOCK_SKEW) } else { seen };
        (seen.first, seen.last)
    }

    /// What this process asked for at `first`, unless an earlier one of the run had asked already, and saw done at `last`.
    pub(crate) fn saw_for_the_run(&self, first: Timestamp, last: Timestamp) -> Between {
        let (first, last) = self.saw(first, last);
        (if self.later_process { first.min(self.began) } else { first }, last)
    }
}

/// For a point.
pub(crate) fn interval(between: Option<Between>) -> Option<Interval> {
    between.map(|(first, last)| Interval { first, last })
}

#[cfg(test)]
#[path = "skew_test.rs"]
mod tests;
