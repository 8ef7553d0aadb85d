//! Holding an environment: of the runs that would write it or read it as a whole, one at a time.
//!
//! ```text
//! hold ─► free, or its holder is gone: ours ─► renewed every few seconds ─► release
//!           │                                        └─ not renewed in time, or taken: lost, the run is asked to stop
//!           └─ somebody else's: Locked, with who and since when
//! ```
//!
//! The lock is a `coordination.k8s.io/v1` Lease in the cluster that holds the environment, written with its `resourceVersion`, so
//! that of two who want it one gets it. A holder that dies stops renewing, and the Lease is free once its time is over.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{Clock, Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use crate::{context::RunContext, error::RunError, stop::StopRequest};

/// How long a Lease lives without being renewed: what a killed run keeps others waiting.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed: two renewals may fail before it is over.
pub const RENEWAL: Duration = Duration::from_secs(5);

/// Names the run in the Lease, beside its holder, which is a process.
const RUN_ANNOTATION: &str = "dxdr.io/run";
const FIELD_MANAGER: &str = "dxdr-lease";

/// An environment that is ours until [`Hold::release`]. Dropped without it, the Lease stays until its time is over.
#[derive(Debug)]
pub struct Hold {
    environment: String,
    lock: Arc<Lock>,
    lost: watch::Receiver<Option<String>>,
    renewal: JoinHandle<()>,
}

/// Does `work` while `environment` is held for `run`. Nothing of it begins before.
pub async fn held<T>(
    context: &RunContext,
    environment: &str,
    run: &str,
    work: impl Future<Output = Result<T, RunError>>,
) -> Result<T, RunError> {
    let hold = hold(context, environment, run).await?;
    let result = work.await;
    hold.conclude(result).await
}

/// Holds `environment` for `run`, and keeps holding it. When the hold is lost, the context's stop request is asked.
///
/// A Lease that an earlier process of the same run left is waited for, at most [`DURATION`], and taken at once if that process ran
/// on this machine and is gone.
pub async fn hold(context: &RunContext, environment: &str, run: &str) -> Result<Hold, RunError> {
    let lock = Lock {
        cluster: context.cluster.clone(),
        clock: context.clock.clone(),
        namespace: context.lease_namespace.clone(),
        environment: environment.to_owned(),
        holder: context.holder.clone(),
        run: run.to_owned(),
        duration: DURATION,
    };
    Hold::begin(lock, RENEWAL, context.stop.clone()).await
}

impl Hold {
    async fn begin(lock: Lock, interval: Duration, stop: StopRequest) -> Result<Self, RunError> {
        lock.acquire().await.map_err(|error| match error {
            RunError::Cluster(source) => {
                RunError::Hold { environment: lock.environment.clone(), namespace: lock.namespace.clone(), source }
            }
            error => error,
        })?;
        stop.heed();
        let environment = lock.environment.clone();
        let lock = Arc::new(lock);
        let (tell, lost) = watch::channel(None);
        let renewed = Arc::clone(&lock);
        let renewal = tokio::spawn(async move {
            let reason = renewed.renew_until_lost(interval).await;
            tracing::warn!(environment = renewed.environment, reason, "the hold on the environment is lost");
            let _ = tell.send(Some(reason));
            stop.ask();
        });
        Ok(Self { environment, lock, lost, renewal })
    }

    /// Fails once the hold is lost: what is written from then on may meet what somebody else writes.
    pub fn check(&self) -> Result<(), RunError> {
        match self.lost.borrow().as_ref() {
            None => Ok(()),
            Some(reason) => Err(RunError::HoldLost { environment: self.environment.clone(), reason: reason.clone() }),
        }
    }

    /// Lets go. A Lease that cannot be given back is over by itself after [`DURATION`].
    pub async fn release(self) {
        self.renewal.abort();
        // Only when the renewal has certainly ended does nothing else write the Lease.
        let _ = self.renewal.await;
        if self.lost.borrow().is_none()
            && let Err(error) = self.lock.release().await
        {
            tracing::warn!(environment = self.environment, %error, "the hold on the environment could not be given back");
        }
    }

    /// Lets go, and says of a run that was stopped because the hold was lost that this was why.
    pub async fn conclude<T>(self, result: Result<T, RunError>) -> Result<T, RunError> {
        let result = match (result, self.check()) {
            (Err(RunError::Unfinished { run, remaining, source }), Err(lost)) if matches!(*source, RunError::Interrupted) => {
                Err(RunError::Unfinished { run, remaining, source: Box::new(lost) })
            }
            (Err(RunError::Interrupted), Err(lost)) => Err(lost),
            (result, _) => result,
        };
        self.release().await;
        result
    }
}

/// One Lease and who wants it.
#[derive(Debug)]
struct Lock {
    cluster: Arc<dyn Cluster>,
    clock: Arc<dyn Clock>,
    namespace: String,
    environment: String,
    holder: String,
    run: String,
    duration: Duration,
}

impl Lock {
    /// Takes the Lease if it is free; [`RunError::Locked`] if it is somebody's.
    async fn acquire(&self) -> Result<(), RunError> {
        // The Lease as first seen and when that was, by our own clock: one that is not renewed for its whole time is over, whatever
        // the clocks of two machines say.
        let mut seen: Option<(Option<String>, Instant)> = None;
        loop {
            let Some(lease) = self.read().await? else {
                if self.create().await? {
                    return Ok(());
                }
                continue;
            };
            let held = Held::of(&lease);
            let free = held.holder.is_empty() || held.over(self.clock.now());
            if !free {
                let same_run = held.run == self.run;
                let renewed = lease["spec"]["renewTime"].as_str().map(str::to_owned);
                let (first, since) = seen.get_or_insert_with(|| (renewed.clone(), Instant::now()));
                let alive = *first != renewed;
                let over = since.elapsed() >= held.duration;
                if !same_run || alive {
                    return Err(self.locked(&held));
                }
                if !over && !gone_from_here(&held.holder, &self.holder) {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            }
            if self.write(self.taken(lease, &held)).await? {
                return Ok(());
            }
        }
    }

    /// Renews until that has failed for so long that the Lease may be somebody else's; answers why.
    async fn renew_until_lost(&self, interval: Duration) -> String {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(interval).await;
            let started = Instant::now();
            // A renewal without an answer must not outlast the Lease: somebody else may have it by then. One try it is worth, also
            // after this process has slept through the whole time.
            let left = self.duration.saturating_sub(last.elapsed()).max(interval);
            match tokio::time::timeout(left, self.renew()).await {
                Err(_) => return format!("it could not be renewed for {:?}: no answer in time", self.duration),
                Ok(Ok(Renewal::Renewed)) => last = started,
                Ok(Ok(Renewal::Lost(reason))) => return reason,
                Ok(Err(error)) if last.elapsed() >= self.duration => {
                    return format!("it could not be renewed for {:?}: {error}", self.duration);
                }
                Ok(Err(error)) => tracing::debug!(environment = self.environment, %error, "the hold could not be renewed yet"),
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, ClusterError> {
        loop {
            let Some(mut lease) = self.read().await? else { return Ok(Renewal::Lost("its Lease was deleted".into())) };
            let held = Held::of(&lease);
            if held.holder != self.holder || held.run != self.run {
                return Ok(Renewal::Lost(match held.holder.as_str() {
                    "" => "its Lease was given back by somebody else".into(),
                    holder => format!("{holder} took it"),
                }));
            }
            lease["spec"]["renewTime"] = time_text(self.clock.now());
            // Somebody else wrote it in between: another look tells what.
            if self.write(lease).await? {
                return Ok(Renewal::Renewed);
            }
        }
    }

    async fn release(&self) -> Result<(), ClusterError> {
        let Some(mut lease) = self.read().await? else { return Ok(()) };
        let held = Held::of(&lease);
        if held.holder == self.holder && held.run == self.run {
            lease["spec"]["holderIdentity"] = json!("");
            lease["spec"]["renewTime"] = time_text(self.clock.now());
            self.write(lease).await?;
        }
        Ok(())
    }

    /// The Lease as ours.
    fn taken(&self, mut lease: Value, held: &Held) -> Value {
        let now = time_text(self.clock.now());
        let transitions = lease["spec"]["leaseTransitions"].as_i64().unwrap_or_default();
        let resumed = held.holder == self.holder && held.run == self.run;
        lease["metadata"]["annotations"][RUN_ANNOTATION] = json!(self.run);
        lease["spec"]["holderIdentity"] = json!(self.holder);
        lease["spec"]["leaseDurationSeconds"] = json!(self.duration.as_secs().max(1));
        lease["spec"]["acquireTime"] = now.clone();
        lease["spec"]["renewTime"] = now;
        lease["spec"]["leaseTransitions"] = json!(if resumed { transitions } else { transitions + 1 });
        lease
    }

    async fn read(&self) -> Result<Option<Value>, ClusterError> {
        let reference = self.reference();
        let Some(bytes) = self.cluster.get(&reference).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| ClusterError {
            kind: ClusterErrorKind::Malformed,
            action: "get",
            object: reference.to_string(),
            cluster: self.cluster.describe(),
            message: "the answer is no Lease".into(),
            source: Some(Box::new(error)),
        })
    }

    /// `Ok(false)` when somebody was faster. Makes the namespace of the Leases when it is not there.
    async fn create(&self) -> Result<bool, ClusterError> {
        let reference = self.reference();
        let bare = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": reference.name, "namespace": self.namespace, "annotations": {} },
            "spec": {},
        });
        let nobody = Held { holder: self.holder.clone(), run: self.run.clone(), ..Held::of(&bare) };
        let body = Bytes::from(self.taken(bare, &nobody).to_string());
        let mut result = self.cluster.create(&reference, body.clone(), &options()).await;
        if matches!(&result, Err(error) if error.kind == ClusterErrorKind::NotFound) {
            self.create_namespace().await?;
            result = self.cluster.create(&reference, body, &options()).await;
        }
        match result {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ClusterErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_namespace(&self) -> Result<(), ClusterError> {
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".into(),
            kind: "Namespace".into(),
            plural: "namespaces".into(),
            namespaced: false,
        };
        let reference = ObjectReference { kind, namespace: None, name: self.namespace.clone() };
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.namespace } });
        match self.cluster.create(&reference, Bytes::from(body.to_string()), &options()).await {
            Err(error) if error.kind != ClusterErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// `Ok(false)` when somebody was faster.
    async fn write(&self, lease: Value) -> Result<bool, ClusterError> {
        match self.cluster.replace(&self.reference(), Bytes::from(lease.to_string()), &options()).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind, ClusterErrorKind::Conflict | ClusterErrorKind::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn reference(&self) -> ObjectReference {
        ObjectReference { kind: kind(), namespace: Some(self.namespace.clone()), name: format!("dxdr-{}", self.environment) }
    }

    fn locked(&self, held: &Held) -> RunError {
        let run = if held.run.is_empty() { String::new() } else { format!(", run {}", held.run) };
        let since = held.acquired.map_or_else(String::new, |acquired| format!(" since {acquired:.0}"));
        RunError::Locked {
            environment: self.environment.clone(),
            holder: held.holder.clone(),
            since: format!("{since}{run}"),
            run: (!held.run.is_empty()).then(|| held.run.clone()),
        }
    }
}

/// What Leases are.
pub(crate) fn kind() -> ResourceKind {
    ResourceKind {
        group: "coordination.k8s.io".into(),
        version: "v1".into(),
        kind: "Lease".into(),
        plural: "leases".into(),
        namespaced: true,
    }
}

enum Renewal {
    Renewed,
    Lost(String),
}

/// What a Lease says of its holder.
struct Held {
    holder: String,
    run: String,
    acquired: Option<Timestamp>,
    renewed: Option<Timestamp>,
    duration: Duration,
}

impl Held {
    fn of(lease: &Value) -> Self {
        let spec = &lease["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let instant = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        Self {
            holder: text(&spec["holderIdentity"]),
            run: text(&lease["metadata"]["annotations"][RUN_ANNOTATION]),
            acquired: instant(&spec["acquireTime"]),
            renewed: instant(&spec["renewTime"]),
            duration: Duration::from_secs(spec["leaseDurationSeconds"].as_u64().unwrap_or(DURATION.as_secs())),
        }
    }

    /// Whether it has not been renewed for its whole time. Assumes clocks that agree within a few seconds.
    fn over(&self, now: Timestamp) -> bool {
        match (self.renewed, SignedDuration::try_from(self.duration)) {
            (Some(renewed), Ok(duration)) => now.duration_since(renewed) > duration,
            _ => true,
        }
    }
}

fn options() -> WriteOptions {
    WriteOptions { manager: FIELD_MANAGER.into(), dry_run: false, retry: true }
}

/// `MicroTime` wants exactly six digits.
fn time_text(instant: Timestamp) -> Value {
    json!(format!("{instant:.6}"))
}

/// Whether `holder` is a process of our own machine that does not run any more. Holders are `machine/process/…`; `false` where it
/// cannot be known.
fn gone_from_here(holder: &str, own: &str) -> bool {
    let split = |name: &str| {
        let mut parts = name.split('/').map(str::to_owned);
        let (machine, process) = (parts.next()?, parts.next()?);
        (!process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit())).then_some((machine, process))
    };
    let (Some((machine, process)), Some((own_machine, own_process))) = (split(holder), split(own)) else { return false };
    machine == own_machine
        && (process == own_process || (Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists()))
}

#[cfg(test)]
#[path = "lease_test.rs"]
pub(crate) mod tests;
