//! What a process does next about a piece of work.

use std::fmt;

use jiff::Timestamp;

use super::{ALIVE, Entry, FRESH, IN_FLIGHT, Job, Ledger, Operation, OperationStatus, Progress, Work, ledger::later};

/// The process that asks, and what it alone knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Unique: two processes of one run, and one process started twice, have different ones.
    pub name: String,
    /// The token of a claim that this process wrote and under which it has not sent anything. Forgotten before anything is sent, so
    /// that whatever becomes of a request, it is not sent a second time.
    pub unsent: Option<u64>,
    /// When it began to look at the service last.
    pub looked: Option<Timestamp>,
    /// What became of its last request, where that was not accepted.
    pub refused: Option<String>,
}

impl Process {
    /// One that has done nothing yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), unsent: None, looked: None, refused: None }
    }
}

/// What was seen of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When looking began.
    pub at: Timestamp,
    /// The unsent claim of the process when looking began.
    pub under: Option<u64>,
    /// The operations of the instance, and the one that was asked for by its name, if the service knows it.
    pub operations: Vec<Operation>,
    /// The name of the operation that was asked for besides: the one that was accepted. Lists do not go back for ever.
    pub asked_for: Option<String>,
    /// Whether what the work makes is there: the object of an export, the instance of a clone.
    pub made: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Write this over the version that was read; then, or when it was not possible, read and ask again. Where it claims,
    /// [`Process::unsent`] becomes its `last_token` once it is certainly written.
    Record(Ledger),
    /// Look at the service, and ask again.
    Observe,
    /// Send it now, at the latest at `until` by the own clock, and only once.
    Submit {
        /// Of the claim.
        token: u64,
        /// Not later.
        until: Timestamp,
    },
    /// Wait a while, and ask again.
    Wait(Obstacle),
    /// It is being done: wait a while, look at it, and ask again.
    Follow(Operation),
    /// It is over. Tell the run, then take it out of the ledger.
    Finished(Conclusion),
    /// It waited until its deadline, nothing was sent, and nothing will be. Take it out of the ledger.
    GiveUp(Obstacle),
    /// It is being done, and its deadline is over. It stays in the ledger: whoever resumes the run finds it, and nobody does it again.
    Overdue(Operation),
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// The service says so.
    Succeeded(Operation),
    /// The service says so, and why.
    Failed(Operation),
    /// What it makes is there; the service does not list the operation any more.
    Made,
    /// It was accepted under this name, the service knows no such operation, and nothing is there.
    Vanished(String),
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Another process carries this work, and may be there.
    OtherProcess {
        /// Which.
        process: String,
        /// Until when it is believed to be there.
        alive_until: Timestamp,
    },
    /// Another piece of work goes first.
    Queue {
        /// Its run.
        run: String,
        /// Its environment.
        environment: String,
        /// Since when it waits.
        since: Timestamp,
    },
    /// Another run is about to send something.
    Claim {
        /// That run.
        run: String,
        /// Its environment.
        environment: String,
    },
    /// Something was or may have been sent, and would not be visible yet.
    InFlight {
        /// From then on it would be.
        until: Timestamp,
    },
    /// The service does something else.
    Operation {
        /// What.
        operation: Operation,
        /// For which run of ours, and which environment, where it is one.
        ours: Option<(String, String)>,
    },
    /// Nothing is seen in the way, and the service refuses all the same: what it said last.
    Refusal(String),
    /// Its time was over before it was its turn.
    TooLate,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherProcess { process, alive_until } => {
                write!(formatter, "process {process} carries it, and is believed to be there until {alive_until:.0}")
            }
            Self::Queue { run, environment, since } => {
                write!(formatter, "run {run} of environment `{environment}` is before it, since {since:.0}")
            }
            Self::Claim { run, environment } => {
                write!(formatter, "run {run} of environment `{environment}` is about to begin something")
            }
            Self::InFlight { until } => {
                write!(formatter, "a request may be on its way; whether it was accepted is known at {until:.0}")
            }
            Self::Operation { operation, ours } => {
                write!(formatter, "operation {} runs: {}", operation.name, operation.work)?;
                match ours {
                    Some((run, environment)) => write!(formatter, ", for run {run} of environment `{environment}`")?,
                    None if operation.user.is_empty() => {}
                    None => write!(formatter, ", for {}", operation.user)?,
                }
                match operation.started.or(operation.accepted) {
                    Some(since) => write!(formatter, ", since {since:.0}"),
                    None => Ok(()),
                }
            }
            Self::Refusal(said) => write!(formatter, "the service refuses it, and no operation is seen: {said}"),
            Self::TooLate => formatter.write_str("its time was over when it was its turn"),
        }
    }
}

/// What `process` does next about `job`, given the ledger as it was just read and what it saw of the service last.
pub fn next(job: &Job, process: &Process, ledger: &Ledger, observed: Option<&Observation>, now: Timestamp) -> Next {
    let Some(entry) = ledger.entry(&job.id) else {
        return Next::Record(ledger.enqueued(job, &process.name, now));
    };
    if entry.process != process.name {
        return inherit(job, entry, process, ledger, now);
    }
    if entry.alive_until.duration_since(now) < ALIVE / 2 {
        return Next::Record(ledger.carried(job, &process.name, now));
    }
    match &entry.progress {
        Progress::Waiting => wait_or_claim(job, entry, process, ledger, observed, now),
        Progress::Claimed { token, until } if process.unsent == Some(*token) => {
            submit(job, ledger, observed, *token, *until, now)
        }
        Progress::Claimed { until, .. } => resolve(job, ledger, observed, *until, now),
        Progress::Accepted { operation } => follow(job, operation, observed, now),
    }
}

/// Work that another process carries is taken from it when that process does not renew its entry any more. Until then there is nothing to give
/// up: it may have been accepted, and the other process gives up by itself.
fn inherit(job: &Job, entry: &Entry, process: &Process, ledger: &Ledger, now: Timestamp) -> Next {
    if entry.is_alive(now) {
        Next::Wait(Obstacle::OtherProcess { process: entry.process.clone(), alive_until: entry.alive_until })
    } else {
        Next::Record(ledger.carried(job, &process.name, now))
    }
}

fn wait_or_claim(
    job: &Job,
    entry: &Entry,
    process: &Process,
    ledger: &Ledger,
    observed: Option<&Observation>,
    now: Timestamp,
) -> Next {
    // A process that died may have had it done; what is there waits for no turn.
    match observed {
        Some(observation) => {
            if let Some(next) = found(job, ledger, observation) {
                return next;
            }
        }
        None if process.looked.is_none_or(|looked| looked < entry.since) => return Next::Observe,
        None => {}
    }
    let before = ledger.queue(now).into_iter().next().filter(|first| first.job.id != job.id);
    let claim = ledger.entries.iter().find(|other| other.job.id != job.id && other.is_in_flight(now));
    let obstacle = if let Some(first) = before {
        let (run, environment) = (first.job.run.clone(), first.job.environment.clone());
        Some(Obstacle::Queue { run, environment, since: first.since })
    } else if let Some(claim) = claim {
        Some(Obstacle::Claim { run: claim.job.run.clone(), environment: claim.job.environment.clone() })
    } else {
        match observed.filter(|observation| now.duration_since(observation.at) <= FRESH) {
            None => return Next::Observe,
            Some(observation) => occupied(job, ledger, observation),
        }
    };
    match obstacle {
        None if now > job.deadline => Next::GiveUp(process.refused.clone().map_or(Obstacle::TooLate, Obstacle::Refusal)),
        None => Next::Record(ledger.claimed(&job.id, now)),
        Some(obstacle) if now > job.deadline => Next::GiveUp(obstacle),
        Some(obstacle) => Next::Wait(obstacle),
    }
}

/// What was done of it already, by whichever process.
fn found(job: &Job, ledger: &Ledger, observation: &Observation) -> Option<Next> {
    if let Some(operation) = ours(job, observation) {
        return Some(Next::Record(ledger.accepted(&job.id, &operation.name)));
    }
    observation.made.then_some(Next::Finished(Conclusion::Made))
}

/// Under a claim of our own nobody else of ours sends anything: what is seen now holds, but for what others do, whom the service itself keeps apart.
fn submit(job: &Job, ledger: &Ledger, observed: Option<&Observation>, token: u64, until: Timestamp, now: Timestamp) -> Next {
    if now > until {
        return Next::Record(ledger.sent_back(&job.id));
    }
    let Some(observation) = observed.filter(|observation| observation.under == Some(token)) else { return Next::Observe };
    if let Some(next) = found(job, ledger, observation) {
        return next;
    }
    if occupied(job, ledger, observation).is_some() {
        return Next::Record(ledger.sent_back(&job.id));
    }
    Next::Submit { token, until }
}

/// A claim under which something may have been sent: by a process that died, or with an answer that never came.
fn resolve(job: &Job, ledger: &Ledger, observed: Option<&Observation>, until: Timestamp, now: Timestamp) -> Next {
    let visible = later(until, IN_FLIGHT);
    if let Some(operation) = observed.and_then(|observation| ours(job, observation)) {
        return Next::Record(ledger.accepted(&job.id, &operation.name));
    }
    match observed {
        Some(observation) if observation.at > visible && observation.made => Next::Finished(Conclusion::Made),
        Some(observation) if observation.at > visible => Next::Record(ledger.sent_back(&job.id)),
        Some(observation) if now <= visible && now.duration_since(observation.at) <= FRESH => {
            Next::Wait(Obstacle::InFlight { until: visible })
        }
        _ => Next::Observe,
    }
}

fn follow(job: &Job, name: &str, observed: Option<&Observation>, now: Timestamp) -> Next {
    let Some(observation) = observed else { return Next::Observe };
    let Some(operation) = observation.operations.iter().find(|operation| operation.name == name) else {
        return match (observation.asked_for.as_deref() == Some(name), observation.made) {
            (false, _) => Next::Observe,
            (true, true) => Next::Finished(Conclusion::Made),
            (true, false) => Next::Finished(Conclusion::Vanished(name.to_owned())),
        };
    };
    match operation.status {
        OperationStatus::Succeeded => Next::Finished(Conclusion::Succeeded(operation.clone())),
        OperationStatus::Failed(_) => Next::Finished(Conclusion::Failed(operation.clone())),
        _ if now > job.deadline => Next::Overdue(operation.clone()),
        _ => Next::Follow(operation.clone()),
    }
}

fn ours<'a>(job: &Job, observation: &'a Observation) -> Option<&'a Operation> {
    // An earlier attempt at a deletion that failed looks the same as this one, and says nothing of it.
    let earlier =
        |operation: &Operation| job.work == Work::DeleteInstance && matches!(operation.status, OperationStatus::Failed(_));
    observation.operations.iter().find(|operation| operation.work.is_same(&job.work) && !earlier(operation))
}

/// What keeps the service from beginning `job`.
fn occupied(job: &Job, ledger: &Ledger, observation: &Observation) -> Option<Obstacle> {
    let mut running = observation.operations.iter().filter(|operation| operation.is_running());
    let operation = running.find(|operation| job.work.waits_for(&operation.work) && !operation.work.is_same(&job.work))?;
    let ours = ledger.of_operation(operation).map(|entry| (entry.job.run.clone(), entry.job.environment.clone()));
    Some(Obstacle::Operation { operation: operation.clone(), ours })
}
