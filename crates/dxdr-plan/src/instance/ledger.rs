//! Who waits for an instance, who is about to send something to it, and what was accepted.

use jiff::Timestamp;

use super::{ALIVE, CLAIM, CLOCK_SKEW, IN_FLIGHT, Job, KEPT, Operation, WAITING_KEPT};

/// What is recorded of an instance. Each change makes a new one, which is written only over the version that this one was read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// The token of the last claim; each claim has a larger one.
    pub last_token: u64,
    /// In no order.
    pub entries: Vec<Entry>,
}

/// One piece of work in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The work.
    pub job: Job,
    /// When it first asked for a turn. What is sent back to waiting keeps its place.
    pub since: Timestamp,
    /// The process that carries it.
    pub process: String,
    /// Until then the process is believed to be there.
    pub alive_until: Timestamp,
    /// How far it is.
    pub progress: Progress,
}

/// How far a piece of work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It waits for its turn.
    Waiting,
    /// Its process may send it, until then. Whether it did is not known.
    Claimed {
        /// Of this claim.
        token: u64,
        /// Nothing is sent later.
        until: Timestamp,
    },
    /// The service accepted it.
    Accepted {
        /// The service's name of the operation.
        operation: String,
    },
}

impl Entry {
    /// Whether its process may still be there.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now <= later(self.alive_until, CLOCK_SKEW)
    }

    /// Whether a request may be on its way under its claim.
    pub fn is_in_flight(&self, now: Timestamp) -> bool {
        matches!(self.progress, Progress::Claimed { until, .. } if now <= later(until, IN_FLIGHT))
    }
}

impl Ledger {
    /// The entry of a piece of work.
    pub fn entry(&self, job: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.job.id == job)
    }

    /// The entry whose operation that is.
    pub fn of_operation(&self, operation: &Operation) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            matches!(&entry.progress, Progress::Accepted { operation: name } if *name == operation.name)
                || entry.job.work.is_same(&operation.work)
        })
    }

    /// Those that wait and whose processes are there, the next one first.
    pub fn queue(&self, now: Timestamp) -> Vec<&Entry> {
        let waiting = self.entries.iter().filter(|entry| entry.progress == Progress::Waiting && entry.is_alive(now));
        let mut queue: Vec<&Entry> = waiting.collect();
        queue.sort_by_key(|entry| (entry.job.priority, entry.since, &entry.job.id));
        queue
    }

    /// With `job` at the end of the queue. What nobody came back for in all of [`KEPT`] is left out, and who only waited already after [`WAITING_KEPT`].
    #[must_use]
    pub fn enqueued(&self, job: &Job, process: &str, now: Timestamp) -> Self {
        let mut ledger = self.clone();
        let kept = |entry: &Entry| if entry.progress == Progress::Waiting { WAITING_KEPT } else { KEPT };
        ledger.entries.retain(|entry| entry.job.id != job.id && now <= later(entry.alive_until, kept(entry)));
        ledger.entries.push(Entry {
            job: job.clone(),
            since: now,
            process: process.to_owned(),
            alive_until: later(now, ALIVE),
            progress: Progress::Waiting,
        });
        ledger
    }

    /// With `process` carrying `job`, and being there. It waits until when that process says.
    #[must_use]
    pub fn carried(&self, job: &Job, process: &str, now: Timestamp) -> Self {
        self.changed(&job.id, |entry| {
            process.clone_into(&mut entry.process);
            entry.job.deadline = job.deadline;
            entry.alive_until = later(now, ALIVE);
        })
    }

    /// With `job` claimed under a token of its own, which is [`last_token`](Self::last_token) of the result.
    #[must_use]
    pub fn claimed(&self, job: &str, now: Timestamp) -> Self {
        let token = self.last_token + 1;
        let mut ledger = self.changed(job, |entry| {
            entry.alive_until = later(now, ALIVE);
            entry.progress = Progress::Claimed { token, until: later(now, CLAIM) };
        });
        ledger.last_token = token;
        ledger
    }

    /// With `job` accepted as `operation`.
    #[must_use]
    pub fn accepted(&self, job: &str, operation: &str) -> Self {
        self.changed(job, |entry| entry.progress = Progress::Accepted { operation: operation.to_owned() })
    }

    /// With `job` waiting again, at its old place: it was certainly not accepted.
    #[must_use]
    pub fn sent_back(&self, job: &str) -> Self {
        self.changed(job, |entry| entry.progress = Progress::Waiting)
    }

    /// With nobody carrying `job`: its process has said that it goes, so nobody waits until it is believed to be gone. What may have been sent stays.
    #[must_use]
    pub fn let_go(&self, job: &str, now: Timestamp) -> Self {
        let gone = CLOCK_SKEW.saturating_add(jiff::SignedDuration::from_secs(1));
        self.changed(job, |entry| entry.alive_until = now.saturating_sub(gone).unwrap_or(Timestamp::MIN))
    }

    /// Without `job`: it is over, and its run knows.
    #[must_use]
    pub fn without(&self, job: &str) -> Self {
        let mut ledger = self.clone();
        ledger.entries.retain(|entry| entry.job.id != job);
        ledger
    }

    fn changed(&self, job: &str, change: impl FnOnce(&mut Entry)) -> Self {
        let mut ledger = self.clone();
        if let Some(entry) = ledger.entries.iter_mut().find(|entry| entry.job.id == job) {
            change(entry);
        }
        ledger
    }
}

/// Later by `duration`; at the end of time, that.
pub(super) fn later(instant: Timestamp, duration: jiff::SignedDuration) -> Timestamp {
    instant.saturating_add(duration).unwrap_or(Timestamp::MAX)
}
