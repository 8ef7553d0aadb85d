//! Having work done on a database instance, once, when it is its turn.
//!
//! [`next`](dxdr_plan::instance::next) decides; here its decisions are carried out, whatever becomes of this process: the ledger lies in a Lease,
//! and what the service accepted is found by its name, by the object it writes, or by what it makes.

mod backup;
#[cfg(test)]
mod backup_test;
mod beside;
#[cfg(test)]
mod beside_test;
mod clone;
#[cfg(test)]
mod clone_test;
#[cfg(test)]
mod emulated;
mod export;
mod handover;
mod ledger;
mod look;
#[cfg(test)]
mod mortal;
mod reap;
#[cfg(test)]
mod schedules;
mod settle;
mod statement;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_plan::instance::{
    Conclusion, Fault, Job, Ledger, Next, Observation, Obstacle, Operation, OperationStatus, Process, Progress, Work, next,
};
use dxdr_provider::{
    Clock, InstanceError, InstanceErrorKind, Instances,
    instance::{InstanceOperation, InstanceRequest, OperationFailure, OperationState},
};
use jiff::Timestamp;

pub use backup::{BackedUp, InstanceBackupOrder, back_up};
pub(crate) use beside::{Beside, BesideOrder, HandedOver, Import};
pub(crate) use clone::not_again;
pub use export::{ExportOrder, Exported, attempted, export};
pub use ledger::LedgerLease;
pub use look::{examine, look};
pub use reap::{FoundLeftovers, leftovers, remove, remove_backup, remove_transfer};

use crate::{
    context::RunContext,
    error::RunError,
    event::{Event, Reporter},
    stop::StopRequest,
};
use ledger::Version;

/// How long a request may take. The claim and the time that a request may be in flight are measured by it.
const REQUEST: Duration = Duration::from_secs(30);
/// The first pause between two looks at an instance.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between two looks at an operation that takes long.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Finds the way to the service when it is needed, not before: credentials are looked for then.
#[async_trait]
pub trait InstanceAccess: Send + Sync {
    /// The service; an error is why there is no way to it, with what to do.
    async fn connect(&self) -> Result<Arc<dyn Instances>, String>;

    /// The first pause between two looks at an instance: work there takes minutes, unless it is emulated.
    fn first_pause(&self) -> Duration {
        FIRST_PAUSE
    }
}

/// Says whether what the work makes is there, by other means than operations: the object of an export, the instance of a clone.
#[async_trait]
pub trait Made: Send + Sync {
    /// Whether it is there, whole.
    async fn made(&self) -> Result<bool, RunError>;
}

/// An instance and what it takes to have work done on it.
pub struct InstanceTurns {
    /// The service.
    pub instances: Arc<dyn Instances>,
    /// The instance.
    pub instance: InstanceName,
    /// Its ledger.
    pub lease: LedgerLease,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Told what is waited for.
    pub reporter: Arc<dyn Reporter>,
    /// Asked between two looks. What was accepted goes on; the ledger says that it is ours.
    pub stop: StopRequest,
    /// This process: no two have the same, also when one is started again.
    pub process: String,
    /// The first pause between two looks; each is longer than the one before, and none is longer than half a minute.
    pub first_pause: Duration,
}

impl InstanceTurns {
    /// Those of a run on an instance; an error is why there is no way to it, with what to do.
    pub(crate) async fn of(context: &RunContext, instance: &InstanceName) -> Result<Self, String> {
        let Some(access) = &context.instances else {
            return Err("this program has no way to Cloud SQL".to_owned());
        };
        Ok(Self {
            instances: access.connect().await?,
            instance: instance.clone(),
            lease: LedgerLease::new(Arc::clone(&context.cluster), &context.lease_namespace, instance),
            clock: Arc::clone(&context.clock),
            reporter: Arc::clone(&context.reporter),
            stop: context.stop.clone(),
            process: context.holder.clone(),
            first_pause: access.first_pause(),
        })
    }

    /// Whether something may be going on at the service for this job, or another attempt of it.
    pub(crate) async fn under_way(&self, job: &str) -> Result<bool, RunError> {
        let ledger = self.lease.current().await?;
        let is_of = |id: &str| id.strip_prefix(job).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'));
        let mut entries = ledger.entries.iter().filter(|entry| is_of(&entry.job.id));
        Ok(entries.any(|entry| matches!(entry.progress, Progress::Claimed { .. } | Progress::Accepted { .. })))
    }
}

/// Work that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// By this operation, and when this process asked for it, by its own clock; `None`: somebody else did, or nobody knows when.
    Operation(Box<Operation>, Option<Timestamp>),
    /// What it makes is there, and the service does not list the operation any more.
    Made,
}

/// Has `request` done for `job`, and answers when it is done.
///
/// It may be called again by another process after this one died, with the same job: nothing is asked for twice. [`RunError::InstanceOverdue`]: it is still
/// being done, and its place in the ledger stays for whoever asks again. Every other error means that nothing is under way, but for
/// [`RunError::Interrupted`] and failures of the cluster, after which asking again finds out.
pub async fn carry_out(turns: &InstanceTurns, job: &Job, request: &InstanceRequest, made: &dyn Made) -> Result<Done, RunError> {
    let mut worker = Worker {
        turns,
        job,
        process: Process::new(turns.process.clone()),
        observed: None,
        pauses: Pauses::beginning_with(turns.first_pause, &job.id),
        told: None,
        asked: None,
    };
    let done = worker.work(request, made).await;
    if let Err(error) = &done {
        worker.let_go(error).await;
    }
    done
}

struct Worker<'a> {
    turns: &'a InstanceTurns,
    job: &'a Job,
    process: Process,
    observed: Option<Observation>,
    pauses: Pauses,
    /// The obstacle that was reported last.
    told: Option<String>,
    /// The operation that this process asked for, and when.
    asked: Option<(String, Timestamp)>,
}

impl Worker<'_> {
    async fn work(&mut self, request: &InstanceRequest, made: &dyn Made) -> Result<Done, RunError> {
        loop {
            let version = match self.turns.lease.read().await {
                Ok(version) => version,
                Err(error) => {
                    self.bear(error).await?;
                    continue;
                }
            };
            match next(self.job, &self.process, &version.ledger, self.observed.as_ref(), self.turns.clock.now()) {
                Next::Record(ledger) => {
                    if let Err(error) = self.record(&version, &ledger).await {
                        self.bear(error).await?;
                    }
                }
                Next::Observe => match self.observe(&version.ledger, made).await {
                    Ok(observation) => {
                        self.process.looked = Some(observation.at);
                        self.observed = Some(observation);
                    }
                    Err(error) => self.bear(error).await?,
                },
                Next::Submit { until, token } => self.submit(request, token, until).await?,
                Next::Wait(obstacle) => {
                    self.tell(format!("waiting for {}: {obstacle}", self.turns.instance));
                    self.pause().await?;
                }
                Next::Follow(operation) => {
                    self.tell(format!("operation {} of {} is under way", operation.name, self.turns.instance));
                    self.pause().await?;
                }
                Next::Finished(conclusion) => {
                    self.leave().await;
                    return self.conclude(conclusion);
                }
                Next::GiveUp(obstacle) => {
                    self.leave().await;
                    return Err(self.gave_up(&obstacle));
                }
                Next::Overdue(operation) => return Err(self.overdue(&operation)),
            }
        }
    }

    /// What may be over by itself is waited for until the deadline: an export of an hour is not given up because one look at it failed.
    async fn bear(&mut self, error: RunError) -> Result<(), RunError> {
        let passing = match &error {
            RunError::Instance(error) => error.kind.retryable(),
            RunError::Storage(error) => error.kind.retryable(),
            RunError::Hold { source, .. } => source.kind.retryable(),
            _ => false,
        };
        if !passing || self.turns.clock.now() > self.job.deadline {
            return Err(error);
        }
        self.tell(format!("waiting for {}: {}", self.turns.instance, crate::active::chain(&error)));
        self.pause().await
    }

    async fn record(&mut self, version: &Version, ledger: &Ledger) -> Result<(), RunError> {
        let claim = (ledger.last_token > version.ledger.last_token).then_some(ledger.last_token);
        if self.turns.lease.write(version, ledger).await? && claim.is_some() {
            self.process.unsent = claim;
        }
        Ok(())
    }

    async fn observe(&self, ledger: &Ledger, made: &dyn Made) -> Result<Observation, RunError> {
        let (at, under) = (self.turns.clock.now(), self.process.unsent);
        let instances = &self.turns.instances;
        let mut operations = operations_on(instances.as_ref(), &self.turns.instance).await?;
        let asked_for = match ledger.entry(&self.job.id).map(|entry| &entry.progress) {
            Some(Progress::Accepted { operation }) => Some(operation.clone()),
            _ => None,
        };
        if let Some(name) = asked_for.as_ref().filter(|name| operations.iter().all(|operation| operation.name != **name)) {
            operations.extend(instances.operation(&self.turns.instance.project, name).await?.as_ref().map(operation_of));
        }
        // Looked for behind the operations: one that ended between the two looks has made it by then.
        let made = made.made().await?;
        Ok(Observation { at, under, operations, asked_for, made })
    }

    /// Sends it once. Whatever the answer, the claim is not used again: see [`Process::unsent`].
    async fn submit(&mut self, request: &InstanceRequest, token: u64, until: Timestamp) -> Result<(), RunError> {
        self.process.unsent = None;
        self.observed = None;
        if self.turns.stop.asked() {
            self.send_back(token).await?;
            return Err(RunError::Interrupted);
        }
        if self.turns.clock.now() > until {
            return self.send_back(token).await;
        }
        let asked = self.turns.clock.now();
        let answer = tokio::time::timeout(REQUEST, self.turns.instances.submit(&self.turns.instance, request)).await;
        match answer {
            Ok(Ok(operation)) => {
                tracing::debug!(job = self.job.id, operation, "accepted");
                self.asked = Some((operation.clone(), asked));
                self.accept(token, &operation).await
            }
            Ok(Err(error)) if error.kind.definite() => {
                self.send_back(token).await?;
                if error.kind.retryable() {
                    tracing::debug!(job = self.job.id, %error, "not accepted yet");
                    self.process.refused = Some(error.message);
                    return self.pause().await;
                }
                Err(error.into())
            }
            Ok(Err(error)) => {
                tracing::warn!(job = self.job.id, %error, "nobody knows whether it was accepted");
                self.process.refused = Some(error.message);
                Ok(())
            }
            Err(_) => {
                tracing::warn!(job = self.job.id, "no answer for {REQUEST:?}: nobody knows whether it was accepted");
                self.process.refused = Some(format!("no answer for {} seconds", REQUEST.as_secs()));
                Ok(())
            }
        }
    }

    async fn accept(&mut self, token: u64, operation: &str) -> Result<(), RunError> {
        let job = self.job;
        self.settle(token, |ledger| ledger.accepted(&job.id, operation)).await
    }

    async fn send_back(&mut self, token: u64) -> Result<(), RunError> {
        let job = self.job;
        self.settle(token, |ledger| ledger.sent_back(&job.id)).await
    }

    /// Records what became of a claim: what is known of it should not be lost because of one write that failed.
    async fn settle(&mut self, token: u64, change: impl Fn(&Ledger) -> Ledger) -> Result<(), RunError> {
        loop {
            let changed = self.change(|ledger| self.claimed_by(ledger, token).then(|| change(ledger))).await;
            match changed {
                Ok(()) => return Ok(()),
                Err(error) => self.bear(error).await?,
            }
        }
    }

    /// Takes the work out of the ledger, if this process carries it. That it cannot be done is no failure of the work: it is forgotten by itself.
    async fn leave(&self) {
        let left = self.change(|ledger| {
            let entry = ledger.entry(&self.job.id)?;
            (entry.process == self.process.name).then(|| ledger.without(&self.job.id))
        });
        if let Err(error) = left.await {
            tracing::warn!(job = self.job.id, %error, "it stays in the ledger, and keeps nobody waiting there for long");
        }
    }

    /// Lets whoever asks next go on at once. What failed before anything was sent has no place to keep. That it cannot be said is no failure: the entry
    /// lapses by itself.
    async fn let_go(&self, error: &RunError) {
        let now = self.turns.clock.now();
        let comes_back = matches!(error, RunError::Interrupted);
        let said = self.change(|ledger| {
            let entry = ledger.entry(&self.job.id)?;
            let over = entry.progress == Progress::Waiting && !comes_back;
            (entry.process == self.process.name)
                .then(|| if over { ledger.without(&self.job.id) } else { ledger.let_go(&self.job.id, now) })
        });
        if let Err(error) = said.await {
            tracing::debug!(job = self.job.id, %error, "its entry was not given up");
        }
    }

    fn claimed_by(&self, ledger: &Ledger, token: u64) -> bool {
        ledger.entry(&self.job.id).is_some_and(|entry| {
            entry.process == self.process.name
                && matches!(entry.progress, Progress::Claimed { token: claimed, .. } if claimed == token)
        })
    }

    /// Changes the ledger as it is by then; `None` leaves it.
    async fn change(&self, change: impl Fn(&Ledger) -> Option<Ledger>) -> Result<(), RunError> {
        loop {
            let version = self.turns.lease.read().await?;
            let Some(ledger) = change(&version.ledger) else { return Ok(()) };
            if self.turns.lease.write(&version, &ledger).await? {
                return Ok(());
            }
        }
    }

    fn tell(&mut self, text: String) {
        if self.told.as_ref() != Some(&text) {
            self.turns.reporter.report(&Event::Progress {
                step: self.job.id.clone(),
                done: 0,
                total: None,
                bytes: 0,
                at: text.clone(),
            });
            tracing::info!(job = self.job.id, "{text}");
            self.told = Some(text);
            self.pauses.begin_again();
        }
    }

    /// Waits, and forgets what was seen before.
    async fn pause(&mut self) -> Result<(), RunError> {
        self.observed = None;
        tokio::select! {
            () = tokio::time::sleep(self.pauses.next()) => Ok(()),
            () = self.turns.stop.wait() => Err(RunError::Interrupted),
        }
    }

    fn conclude(&self, conclusion: Conclusion) -> Result<Done, RunError> {
        let failed = |operation: &str, message: String, hint: Option<String>| RunError::InstanceOperation {
            instance: self.turns.instance.to_string(),
            what: self.job.work.to_string(),
            operation: operation.to_owned(),
            message,
            hint,
        };
        match conclusion {
            Conclusion::Succeeded(operation) => {
                let asked = self.asked.as_ref().filter(|(name, _)| *name == operation.name).map(|(_, asked)| *asked);
                Ok(Done::Operation(Box::new(operation), asked))
            }
            Conclusion::Made => Ok(Done::Made),
            Conclusion::Failed(Operation { name, status: OperationStatus::Failed(fault), .. }) => {
                Err(failed(&name, fault.message, fault.hint))
            }
            Conclusion::Failed(operation) => Err(failed(&operation.name, String::new(), None)),
            Conclusion::Vanished(name) => {
                Err(failed(&name, "the service does not know it any more, and what it makes is not there".to_owned(), None))
            }
        }
    }

    fn gave_up(&self, obstacle: &Obstacle) -> RunError {
        RunError::InstanceBusy {
            instance: self.turns.instance.to_string(),
            what: self.job.work.to_string(),
            obstacle: obstacle.to_string(),
        }
    }

    fn overdue(&self, operation: &Operation) -> RunError {
        let since = operation.started.or(operation.accepted);
        RunError::InstanceOverdue {
            instance: self.turns.instance.to_string(),
            what: self.job.work.to_string(),
            operation: operation.name.clone(),
            since: since.map_or_else(|| "some time".to_owned(), |since| format!("{since:.0}")),
        }
    }
}

/// There is no way to the service.
pub(crate) fn unreachable(instance: &InstanceName, message: String) -> RunError {
    let (kind, what) = (InstanceErrorKind::Unauthenticated, format!("instance `{instance}`"));
    InstanceError { kind, action: "reach", what, message, hint: None, source: None }.into()
}

impl From<InstanceError> for RunError {
    fn from(error: InstanceError) -> Self {
        Self::Instance(error)
    }
}

/// Pauses that grow, with a jitter that differs from job to job, so that those who wait for one instance do not look all at once.
struct Pauses {
    first: Duration,
    pause: Duration,
    seed: u64,
}

impl Pauses {
    fn beginning_with(first: Duration, job: &str) -> Self {
        let seed =
            job.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self { first, pause: first, seed }
    }

    fn begin_again(&mut self) {
        self.pause = self.first;
    }

    fn next(&mut self) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let thousandths = u32::try_from((self.seed >> 33) % 400).unwrap_or_default();
        let pause = self.pause.mul_f64(0.8 + f64::from(thousandths) / 1_000.0);
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        pause.min(LONGEST_PAUSE)
    }
}

/// The last operations on an instance. One that is not there, or not yet, has none.
async fn operations_on(instances: &dyn Instances, instance: &InstanceName) -> Result<Vec<Operation>, InstanceError> {
    match instances.operations(instance).await {
        Ok(operations) => Ok(operations.iter().map(operation_of).collect()),
        Err(error) if error.kind == InstanceErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// An operation as the planner sees it.
pub fn operation_of(operation: &InstanceOperation) -> Operation {
    let InstanceOperation { name, kind, uri, databases, offloaded, target, description, user, accepted, started, ended, state } =
        operation.clone();
    let work = match (kind.as_str(), uri, databases.into_iter().next(), description) {
        ("EXPORT", Some(uri), ..) => Work::Export { uri, offloaded },
        ("IMPORT", Some(uri), Some(database), _) => Work::Import { uri, database },
        ("BACKUP_VOLUME" | "BACKUP", _, _, Some(description)) => Work::Backup { description },
        ("CLONE", ..) => Work::Clone { destination: target },
        ("RESTORE_VOLUME", ..) => Work::Restore { destination: target },
        ("DELETE", ..) => Work::DeleteInstance,
        // Of databases that are made and deleted the service does not say which: what is there tells.
        _ => Work::Other(kind),
    };
    let status = match state {
        OperationState::Pending => OperationStatus::Pending,
        OperationState::Running => OperationStatus::Running,
        OperationState::Succeeded => OperationStatus::Succeeded,
        OperationState::Failed(OperationFailure { kind, message, hint }) => {
            let refused_by_bucket = kind == InstanceErrorKind::BucketForbidden;
            OperationStatus::Failed(Box::new(Fault { message, hint, refused_by_bucket }))
        }
    };
    Operation { name, work, status, user, accepted, started, ended }
}
