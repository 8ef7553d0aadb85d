//! The pods through which Velero brings files back, while they are there.

use std::time::Duration;

use dxdr_catalog::name;
use dxdr_environment::ObjectReference;
use dxdr_plan::{
    restore::{
        CopiedClaim,
        copies::{CARRIER_LABEL, pods},
        mounts_claim,
    },
    step::Step,
    velero::{RESTORED_BY, came_with},
};
use serde_json::Value;

use super::delete;
use crate::{
    context::RunContext,
    error::RunError,
    event::Event,
    velero::{
        restore::disregard,
        server::{labelled, reference, uid},
    },
};

/// Velero's helper looks once a second whether it is done, and then takes its traces out of the volumes.
const TIDYING: Duration = Duration::from_secs(20);
/// How long pods may take to go that have a second to end.
const GOING: Duration = Duration::from_secs(180);
/// A pod that no node has by then waits for something that somebody should know of.
const PLACING: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Between two looks at what became of the pods: one that runs what it should not is not left to it for long.
const BETWEEN_LOOKS_AT_PODS: Duration = Duration::from_secs(2);
/// The init container that Velero puts first.
const WAITING: &str = "restore-wait";

/// The pods that Velero restores for this run.
pub(super) struct Carriers<'a> {
    pub(super) context: &'a RunContext,
    pub(super) namespace: &'a str,
    pub(super) run: &'a str,
    /// As it is asked for the first time.
    pub(super) restore: &'a ObjectReference,
    pub(super) claims: &'a [CopiedClaim],
    pub(super) step: &'a Step,
}

impl Carriers<'_> {
    async fn list(&self) -> Result<Vec<Value>, RunError> {
        let selector = format!("{CARRIER_LABEL}={}", name::in_label(self.run));
        labelled(self.context.cluster.as_ref(), &pods(), self.namespace, &selector).await
    }

    /// Pods of another run are of the same names, and Velero would leave them alone.
    pub(super) async fn clear_way(&self) -> Result<(), RunError> {
        let there = labelled(self.context.cluster.as_ref(), &pods(), self.namespace, CARRIER_LABEL).await?;
        let run = |pod: &Value| pod.get("metadata")?.get("labels")?.get(CARRIER_LABEL)?.as_str().map(str::to_owned);
        match there.iter().filter_map(run).find(|run| *run != name::in_label(self.run)) {
            Some(other) => {
                Err(RunError::Files(format!("pods of run {other} are in the way: `dxdr runs clean {other}` removes them")))
            }
            None => Ok(()),
        }
    }

    /// Looks at the pods while Velero is at work on them. Ends with an error only: that of [`Self::all_changed`].
    ///
    /// Says of pods that find no node for long, since Velero waits for them without a word.
    pub(super) async fn watch_over(&self) -> RunError {
        let (began, mut told) = (tokio::time::Instant::now(), false);
        loop {
            tokio::time::sleep(BETWEEN_LOOKS_AT_PODS).await;
            match self.all_changed().await {
                Ok(()) => {}
                Err(error @ RunError::Unchanged { .. }) => return error,
                // Whoever follows the Restore meets what is for good.
                Err(error) => tracing::debug!(%error, "the pods are looked at again"),
            }
            if told || began.elapsed() < PLACING {
                continue;
            }
            if let Some(text) = self.list().await.unwrap_or_default().iter().find_map(unplaced) {
                self.context.reporter.report(&Event::Warning { text });
                told = true;
            }
        }
    }

    /// Looks for pods that are as in the archive, and removes them: Velero creates a pod that it could not change as it was asked to, and
    /// whatever that runs it would run on half of its files.
    ///
    /// # Errors
    /// [`RunError::Unchanged`] where there were some. Nothing counts then of what the Restore has brought.
    pub(super) async fn all_changed(&self) -> Result<(), RunError> {
        let selector = format!("{RESTORED_BY},!{CARRIER_LABEL}");
        let mut unchanged = labelled(self.context.cluster.as_ref(), &pods(), self.namespace, &selector).await?;
        unchanged.retain(|pod| came_with(pod, &self.restore.name));
        if unchanged.is_empty() {
            return Ok(());
        }
        for pod in &unchanged {
            delete(self.context, &reference(&pods(), pod), uid(pod)).await?;
        }
        disregard(self.context, self.restore, self.run).await?;
        let names: Vec<String> = unchanged.iter().map(|pod| reference(&pods(), pod).to_string()).collect();
        let claims = self.claims.iter().map(|copied| &copied.claim);
        let mounted = claims.filter(|claim| unchanged.iter().any(|pod| mounts_claim(pod, &claim.name)));
        let claims: Vec<String> = mounted.map(ToString::to_string).collect();
        Err(RunError::Unchanged { restore: self.restore.name.clone(), pods: names.join(", "), claims: claims.join(", ") })
    }

    /// Removes the pods. `tidy`: once Velero's helper has taken its traces out of the volumes.
    pub(super) async fn remove(&self, tidy: bool) -> Result<(), RunError> {
        let (began, mut told) = (tokio::time::Instant::now(), false);
        loop {
            let there = self.list().await?;
            if there.is_empty() {
                return Ok(());
            }
            let busy = tidy && began.elapsed() < TIDYING;
            let going = |pod: &Value| pod.pointer("/metadata/deletionTimestamp").is_some();
            for pod in there.iter().filter(|pod| !going(pod) && (!busy || tidied(pod))) {
                if tidy && !tidied(pod) && !std::mem::replace(&mut told, true) {
                    let text =
                        "Velero's helper did not end in time: a folder `.velero`, of no use to anybody, stays in the volumes";
                    self.context.reporter.report(&Event::Warning { text: text.to_owned() });
                }
                delete(self.context, &reference(&pods(), pod), uid(pod)).await?;
            }
            if began.elapsed() > GOING {
                let names = there.iter().map(|pod| reference(&pods(), pod).to_string()).collect::<Vec<_>>().join(", ");
                return Err(RunError::Files(format!("{names} does not go, and what mounts the same volumes cannot come")));
            }
            self.context.reporter.report(&Event::Progress {
                step: self.step.id.clone(),
                done: 0,
                total: Some(there.len() as u64),
                bytes: 0,
                at: "pods that are removed again".to_owned(),
            });
            tokio::select! {
                () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                () = self.context.stop.wait() => return Err(RunError::Interrupted),
            }
        }
    }
}

/// Whether Velero's helper in the pod has ended, or has none to run in.
fn tidied(pod: &Value) -> bool {
    let statuses = pod.pointer("/status/initContainerStatuses").and_then(Value::as_array).into_iter().flatten();
    let ended = |status: &Value| status.pointer("/state/terminated").is_some();
    let gated = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    gated || statuses.filter(|status| status.get("name").and_then(Value::as_str) == Some(WAITING)).any(ended)
}

/// Why a carrier is on no node; nothing of one that is, or that is meant for none.
fn unplaced(pod: &Value) -> Option<String> {
    let gated = pod.pointer("/spec/schedulingGates").and_then(Value::as_array).is_some_and(|gates| !gates.is_empty());
    if gated || pod.pointer("/spec/nodeName").is_some() {
        return None;
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let scheduled = conditions.filter(|condition| condition.get("type").and_then(Value::as_str) == Some("PodScheduled"));
    let message = scheduled.filter_map(|condition| condition.get("message")?.as_str()).next().unwrap_or("nobody says why");
    let pod = reference(&pods(), pod);
    Some(format!("{pod}, into which files are to be copied, has found no node in {} s: {message}", PLACING.as_secs()))
}
