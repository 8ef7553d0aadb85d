//! The pods through which Velero brings files back, while they are there.

use std::{collections::BTreeSet, time::Duration};

use dxdr_catalog::name;
use dxdr_environment::ObjectReference;
use dxdr_plan::{
    restore::{
        CopiedClaim,
        copies::{CARRIER_LABEL, FILES, pods},
        mounts_claim,
    },
    velero::{RESTORED_BY, RUN_LABEL, came_with, restores},
};
use serde_json::Value;

use super::delete;
use crate::{
    context::RunContext,
    error::RunError,
    event::Event,
    journal::History,
    velero::{
        ending,
        restore::{disregard, over},
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

/// The pods that Velero restores for a run.
#[derive(Clone, Copy)]
pub(super) struct Carriers<'a> {
    pub(super) context: &'a RunContext,
    pub(super) namespace: &'a str,
    /// The run, or the value of a label that names it.
    pub(super) run: &'a str,
}

/// What the pods are there for.
#[derive(Clone, Copy)]
pub(super) struct Purpose<'a> {
    /// As it is asked for the first time.
    pub(super) restore: &'a ObjectReference,
    pub(super) claims: &'a [CopiedClaim],
}

impl Carriers<'_> {
    async fn list(&self) -> Result<Vec<Value>, RunError> {
        let selector = format!("{CARRIER_LABEL}={}", name::in_label(self.run));
        labelled(self.context.cluster.as_ref(), &pods(), self.namespace, &selector).await
    }

    /// Pods of another run are of the same names, and Velero would leave them alone; a Restore of another run may still make them. What is
    /// left of runs that are over goes.
    ///
    /// # Errors
    /// When there is something of a run that is not over, or that nobody knows.
    pub(super) async fn clear_way(&self) -> Result<(), RunError> {
        let store = &self.context.store;
        for other in self.others().await? {
            let runs = store.folders(&store.layout.runs_prefix()).await?;
            let history = match runs.iter().find(|run| name::in_label(run) == other) {
                Some(run) => History::read(store, run).await?,
                None => None,
            };
            match history {
                Some(unfinished) if unfinished.outcome().is_none() => {
                    let run = &unfinished.run;
                    return Err(RunError::Files(format!(
                        "pods of run {run} are in the way, or will be: `dxdr runs resume {run}` finishes it, `dxdr runs clean {run}` ends it and removes them"
                    )));
                }
                Some(_) => {
                    ending::end(self.context, &other, FILES).await?;
                    super::discard(self.context, &other, self.namespace).await?;
                }
                None => {
                    return Err(RunError::Files(format!(
                        "pods of run {other}, of which this store has no journal, are in the way, or will be: `kubectl --namespace {} delete restores.velero.io --selector {RUN_LABEL}={other}`, then `kubectl --namespace {} delete pods --selector {CARRIER_LABEL}={other}`",
                        self.context.velero_namespace, self.namespace
                    )));
                }
            }
        }
        Ok(())
    }

    /// The other runs of which there are pods, or a Restore that goes on and makes some: what their labels say.
    async fn others(&self) -> Result<BTreeSet<String>, RunError> {
        let cluster = self.context.cluster.as_ref();
        let label = |object: &Value, label: &str| object.get("metadata")?.get("labels")?.get(label)?.as_str().map(str::to_owned);
        let there = labelled(cluster, &pods(), self.namespace, CARRIER_LABEL).await?;
        let mut others: BTreeSet<String> = there.iter().filter_map(|pod| label(pod, CARRIER_LABEL)).collect();
        let mut restores = labelled(cluster, &restores(), &self.context.velero_namespace, RUN_LABEL).await?;
        restores.retain(|restore| !over(restore) && brings_files_into(restore, self.namespace));
        others.extend(restores.iter().filter_map(|restore| label(restore, RUN_LABEL)));
        others.remove(&name::in_label(self.run));
        Ok(others)
    }

    /// Looks at the pods while Velero is at work on them. Ends with an error only: that of [`Self::all_changed`].
    ///
    /// Says of pods that find no node for long, since Velero waits for them without a word.
    pub(super) async fn watch_over(&self, purpose: Purpose<'_>) -> RunError {
        let (began, mut told) = (tokio::time::Instant::now(), false);
        loop {
            tokio::time::sleep(BETWEEN_LOOKS_AT_PODS).await;
            match self.all_changed(purpose).await {
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
    pub(super) async fn all_changed(&self, purpose: Purpose<'_>) -> Result<(), RunError> {
        let Purpose { restore, claims } = purpose;
        let unchanged = self.remove_unchanged(&restore.name).await?;
        if unchanged.is_empty() {
            return Ok(());
        }
        disregard(self.context, restore, self.run).await?;
        let names: Vec<String> = unchanged.iter().map(|pod| reference(&pods(), pod).to_string()).collect();
        let claims = claims.iter().map(|copied| &copied.claim);
        let mounted = claims.filter(|claim| unchanged.iter().any(|pod| mounts_claim(pod, &claim.name)));
        let claims: Vec<String> = mounted.map(ToString::to_string).collect();
        Err(RunError::Unchanged { restore: restore.name.clone(), pods: names.join(", "), claims: claims.join(", ") })
    }

    /// Removes the pods that came out of `restore` as they are in the archive, and answers them.
    async fn remove_unchanged(&self, restore: &str) -> Result<Vec<Value>, RunError> {
        let selector = format!("{RESTORED_BY},!{CARRIER_LABEL}");
        let mut unchanged = labelled(self.context.cluster.as_ref(), &pods(), self.namespace, &selector).await?;
        unchanged.retain(|pod| came_with(pod, restore));
        for pod in &unchanged {
            delete(self.context, &reference(&pods(), pod), uid(pod)).await?;
        }
        Ok(unchanged)
    }

    /// Removes the pods of a run that is given up, its Restores being over.
    pub(super) async fn discard(&self) -> Result<(), RunError> {
        for (restore, live) in ending::of_run(self.context, self.run).await? {
            if brings_files_into(&live, self.namespace) {
                self.remove_unchanged(&restore.name).await?;
            }
        }
        self.remove(false).await
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
                step: FILES.to_owned(),
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

/// Whether a Restore of ours is one that files come back through, in pods of `namespace`: no other changes anything.
fn brings_files_into(restore: &Value, namespace: &str) -> bool {
    let spec = restore.get("spec").unwrap_or(&Value::Null);
    let source = spec.pointer("/includedNamespaces/0").and_then(Value::as_str).unwrap_or_default();
    let target = spec.get("namespaceMapping").and_then(|mapping| mapping.get(source)?.as_str()).unwrap_or(source);
    target == namespace && spec.get("resourceModifier").is_some()
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
