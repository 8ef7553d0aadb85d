//! Following one of Velero's objects to the end of its phases.
//!
//! ```text
//! look ─► over? ─► yes: done
//!          no ─► watch from there ─► event ─► over? …
//!                   └─ cut off, too old, ended: look again
//! ```
//!
//! Phases only move forward, and every look starts from what is there: a watch that breaks loses nothing. What nobody takes up, and what
//! stands still, is not followed for ever: whoever resumes the run goes on where it is then.

use std::time::Duration;

use dxdr_environment::ObjectReference;
use dxdr_provider::{Cluster, cluster::WatchEvent};
use futures::StreamExt;
use serde_json::Value;

use super::server;
use crate::{
    error::RunError,
    event::{Event, Reporter},
    stop::StopRequest,
};

/// Between two looks where the watch ends at once, so that nobody is asked in a tight loop.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// A watch that says nothing for so long is taken for dead; servers end theirs earlier.
const SILENCE: Duration = Duration::from_secs(90);
/// A server that runs takes up a new object within a second or two.
const UNNOTICED: Duration = Duration::from_secs(30);
/// What is new for so long, while the server is at work on no other, is taken up by nobody: a server that starts anew needs a minute.
const UNTAKEN: Duration = Duration::from_secs(600);
/// What has not changed for so long stands still: uploads of a data mover end, or are given up, within four hours.
const STILL: Duration = Duration::from_secs(5 * 3600);

/// Follows `object` until `over` says so of it, and answers it as it is then. Every change is reported as progress of `step`, every other
/// phase as such.
///
/// # Errors
/// [`RunError::Interrupted`] when somebody asked to stop, [`RunError::Vanished`] when the object was deleted, [`RunError::Standstill`] when nobody
/// takes it up, or it does not change any more.
pub async fn follow(
    cluster: &dyn Cluster,
    reporter: &dyn Reporter,
    stop: &StopRequest,
    object: &ObjectReference,
    step: &str,
    over: impl Fn(&Value) -> bool,
) -> Result<Value, RunError> {
    let began = tokio::time::Instant::now();
    let (mut warned, mut told) = (false, String::new());
    let (mut changed, mut last, mut idle) = (began, Value::Null, began);
    loop {
        let vanished = || RunError::Vanished { object: object.to_string() };
        let live = cluster.get(object).await?.ok_or_else(vanished)?;
        let mut live: Value = parsed(&live)?;
        tell(reporter, step, &live, &mut told);
        if over(&live) {
            return Ok(live);
        }
        if live["status"] != last {
            (changed, last) = (tokio::time::Instant::now(), live["status"].clone());
        }
        // A look between the end of another one and its own turn says nothing.
        if !is_new(&live) || began.elapsed() > UNNOTICED && another_is_at_work(cluster, object).await? {
            idle = tokio::time::Instant::now();
        }
        if idle.elapsed() > UNTAKEN || changed.elapsed() > STILL {
            let (phase, waited) = (phase(&live).unwrap_or("New").to_owned(), changed.elapsed());
            return Err(RunError::Standstill { object: object.clone(), phase, minutes: waited.as_secs() / 60 });
        }
        if !warned && is_new(&live) && began.elapsed() > UNNOTICED {
            warned = true;
            let text = format!(
                "nobody has taken up {object} for {} s: Velero is at work on another one (`kubectl --namespace {} get {}`), or no server runs",
                UNNOTICED.as_secs(),
                object.namespace.as_deref().unwrap_or_default(),
                object.kind.plural,
            );
            reporter.report(&Event::Warning { text });
        }
        let version = live.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
        // Whatever keeps a watch from being opened, the next look tells whether it is for good.
        if let Ok(mut events) = cluster.watch(object, &version).await {
            loop {
                let limit = if warned || !is_new(&live) { SILENCE } else { UNNOTICED };
                let next = tokio::select! {
                    next = tokio::time::timeout(limit, events.next()) => next,
                    () = stop.wait() => return Err(RunError::Interrupted),
                };
                match next {
                    Ok(Some(Ok(WatchEvent::Applied(json)))) => {
                        live = parsed(&json)?;
                        tell(reporter, step, &live, &mut told);
                        if over(&live) {
                            return Ok(live);
                        }
                    }
                    Ok(Some(Ok(WatchEvent::Deleted))) => return Err(vanished()),
                    Ok(Some(Err(_)) | None) | Err(_) => break,
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = stop.wait() => return Err(RunError::Interrupted),
        }
    }
}

/// `status.phase`
pub fn phase(object: &Value) -> Option<&str> {
    object.pointer("/status/phase").and_then(Value::as_str).filter(|phase| !phase.is_empty())
}

/// Whether no server has taken it up.
fn is_new(object: &Value) -> bool {
    phase(object).is_none_or(|phase| phase == "New")
}

/// Whether another object of the kind is at work: of some kinds a server carries out one at a time, and says nothing of those that wait.
async fn another_is_at_work(cluster: &dyn Cluster, object: &ObjectReference) -> Result<bool, RunError> {
    let all = server::objects(cluster, &object.kind, object.namespace.as_deref().unwrap_or_default()).await?;
    Ok(all.iter().any(|other| phase(other) == Some("InProgress")))
}

fn parsed(json: &[u8]) -> Result<Value, RunError> {
    serde_json::from_slice(json).map_err(|error| RunError::Unexpected(format!("an object of Velero's is no JSON: {error}")))
}

/// `told`: the phase that was told last.
fn tell(reporter: &dyn Reporter, step: &str, object: &Value, told: &mut String) {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let mut at = phase(object).unwrap_or("New").to_owned();
    if let Some(position) = number("/status/queuePosition").filter(|_| at == "Queued") {
        at.push_str(&format!(", position {position}"));
    }
    if at != *told {
        told.clone_from(&at);
        reporter.report(&Event::Phase { step: step.to_owned(), phase: at.clone() });
    }
    reporter.report(&Event::Progress {
        step: step.to_owned(),
        done: number("/status/progress/itemsBackedUp").or(number("/status/progress/itemsRestored")).unwrap_or_default(),
        total: number("/status/progress/totalItems"),
        bytes: 0,
        at,
    });
}

#[cfg(test)]
mod tests;
