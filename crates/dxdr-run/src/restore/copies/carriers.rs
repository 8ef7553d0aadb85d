//! The pods through which Velero brings files back, while they are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use dxdr_catalog::name;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_plan::{
    restore::{
        Carrying, CopiedClaim, carrying,
        copies::{CARRIER_LABEL, FILES, pods},
        mounts_claim, warnings,
    },
    velero::{RESTORED_BY, RUN_LABEL, came_with, restores},
};
use serde_json::Value;
use tokio::time::Instant;

use super::delete;
use crate::{
    context::RunContext,
    error::RunError,
    event::Event,
    journal::History,
    velero::{
        ending,
        follow::phase,
        restore::{disregard, over},
        server::{labelled, objects, reference, uid},
    },
};

/// Velero's helper looks once a second whether it is done, and then takes its traces out of the volumes.
const TIDYING: Duration = Duration::from_secs(20);
/// How long pods may take to go that have a second to end.
const GOING: Duration = Duration::from_secs(180);
/// A pod that does not begin by then waits for something that somebody should know of.
const BEGINNING: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// Between two looks at what else is said of a pod that does not begin.
const BETWEEN_LOOKS_AT_EVENTS: Duration = Duration::from_secs(30);
/// Between two looks at what became of the pods: one that runs what it should not is not left to it for long.
const BETWEEN_LOOKS_AT_PODS: Duration = Duration::from_secs(2);

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

    /// The pods that came out of `restore` as they are in the archive: Velero creates a pod that it could not change as it was asked to.
    pub(super) async fn unchanged(&self, restore: &ObjectReference) -> Result<Vec<Value>, RunError> {
        let selector = format!("{RESTORED_BY},!{CARRIER_LABEL}");
        let mut found = labelled(self.context.cluster.as_ref(), &pods(), self.namespace, &selector).await?;
        found.retain(|pod| came_with(pod, &restore.name));
        Ok(found)
    }

    /// Removes pods that are as in the archive: whatever they run, it would run on half of its files. Nothing counts of what came with them.
    /// Answers what to say of it.
    pub(super) async fn refuse(&self, purpose: Purpose<'_>, unchanged: &[Value]) -> RunError {
        let Purpose { restore, claims } = purpose;
        let removed = match disregard(self.context, restore, self.run).await {
            Ok(()) => self.remove_all(unchanged).await,
            failed => failed,
        };
        if let Err(error) = removed {
            return error;
        }
        let names: Vec<String> = unchanged.iter().map(|pod| reference(&pods(), pod).to_string()).collect();
        let claims = claims.iter().map(|copied| &copied.claim);
        let mounted = claims.filter(|claim| unchanged.iter().any(|pod| mounts_claim(pod, &claim.name)));
        let claims: Vec<String> = mounted.map(ToString::to_string).collect();
        RunError::Unchanged { restore: restore.name.clone(), pods: names.join(", "), claims: claims.join(", ") }
    }

    async fn remove_all(&self, found: &[Value]) -> Result<(), RunError> {
        for pod in found {
            delete(self.context, &reference(&pods(), pod), uid(pod)).await?;
        }
        Ok(())
    }

    /// The pods of others that mount claims which wait for their files, or did since the claims were made.
    pub(super) async fn strangers(&self, claims: impl Iterator<Item = &CopiedClaim>) -> Result<Vec<Stranger>, RunError> {
        let cluster = self.context.cluster.as_ref();
        let others = labelled(cluster, &pods(), self.namespace, &format!("!{CARRIER_LABEL}")).await?;
        let created = |object: &Value| {
            let text = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
            text.parse::<jiff::Timestamp>().ok()
        };
        let mut strangers = Vec::new();
        for CopiedClaim { claim, .. } in claims {
            let mounting: Vec<&Value> = others.iter().filter(|pod| mounts_claim(pod, &claim.name)).collect();
            if mounting.is_empty() {
                continue;
            }
            let live = cluster.get(claim).await?.and_then(|live| serde_json::from_slice::<Value>(&live).ok());
            let made = live.as_ref().and_then(created);
            for pod in mounting {
                let over = matches!(phase(pod), Some("Succeeded" | "Failed"));
                // One that ended before there was this claim has mounted another one of its name.
                if !over || created(pod) >= made {
                    strangers.push(Stranger { pod: reference(&pods(), pod), claim: claim.clone(), over });
                }
            }
        }
        Ok(strangers)
    }

    /// Removes the pods of a run that is given up, its Restores being over.
    pub(super) async fn discard(&self) -> Result<(), RunError> {
        for (restore, live) in ending::of_run(self.context, self.run).await? {
            if brings_files_into(&live, self.namespace) {
                self.remove_all(&self.unchanged(&restore).await?).await?;
            }
        }
        self.remove(false).await
    }

    /// Removes the pods. `tidy`: once Velero's helper has taken its traces out of the volumes.
    pub(super) async fn remove(&self, tidy: bool) -> Result<(), RunError> {
        let (began, mut told) = (Instant::now(), false);
        loop {
            let there = self.list().await?;
            if there.is_empty() {
                return Ok(());
            }
            let busy = tidy && began.elapsed() < TIDYING;
            let going = |pod: &Value| pod.pointer("/metadata/deletionTimestamp").is_some();
            let tidied = |pod: &Value| matches!(carrying(pod), Carrying::Nothing | Carrying::Done);
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

/// What is seen of the pods while Velero is at work on them. Velero waits for them without a word, for hours.
pub(super) struct Watch<'a> {
    carriers: Carriers<'a>,
    purpose: Purpose<'a>,
    /// Pods through which files are still to come, by their uid: the name, and when they were seen first.
    open: BTreeMap<String, (String, Instant)>,
    /// What was told already.
    told: BTreeSet<String>,
    events_seen: Option<Instant>,
    /// Pods through which nothing comes any more, by their uid.
    lost: BTreeMap<String, Lost>,
}

/// A pod that was over before the files had come.
struct Lost {
    pod: String,
    why: String,
}

impl<'a> Watch<'a> {
    pub(super) fn new(carriers: Carriers<'a>, purpose: Purpose<'a>) -> Self {
        let (open, told, lost) = Default::default();
        Self { carriers, purpose, open, told, events_seen: None, lost }
    }

    /// Why nothing came any more through `pod`.
    pub(super) fn lost(&self, pod: &str) -> Option<&str> {
        self.lost.values().find(|lost| lost.pod == pod).map(|lost| lost.why.as_str())
    }

    /// Looks at the pods, says what keeps them, and has Velero wait for none that is over. Ends when some came that are as in the archive, with
    /// these; they are as they were found, so that nothing is lost of what is known where somebody stops this before.
    pub(super) async fn over(&mut self) -> Vec<Value> {
        loop {
            tokio::time::sleep(BETWEEN_LOOKS_AT_PODS).await;
            match self.look().await {
                Ok(unchanged) if unchanged.is_empty() => {}
                Ok(unchanged) => return unchanged,
                // Whoever follows the Restore meets what is for good.
                Err(error) => tracing::debug!(%error, "the pods are looked at again"),
            }
        }
    }

    async fn look(&mut self) -> Result<Vec<Value>, RunError> {
        let unchanged = self.carriers.unchanged(self.purpose.restore).await?;
        if !unchanged.is_empty() {
            return Ok(unchanged);
        }
        let there = self.carriers.list().await?;
        let mut idle = Vec::new();
        for pod in &there {
            let Some(uid) = uid(pod) else { continue };
            let name = reference(&pods(), pod).name;
            let state = carrying(pod);
            if matches!(state, Carrying::Nothing | Carrying::Done) {
                self.open.remove(uid);
                continue;
            }
            let (_, since) = self.open.entry(uid.to_owned()).or_insert_with(|| (name.clone(), Instant::now()));
            let long = since.elapsed() > BEGINNING;
            match state {
                Carrying::Over(why) => self.lose(uid, &name, &why),
                Carrying::Hindered(why) => self.tell(&name, &format!("does not begin: {why}")),
                Carrying::Unplaced(why) if long => {
                    self.tell(&name, &format!("has found no node in {} s: {why}", BEGINNING.as_secs()));
                    idle.push(pod);
                }
                Carrying::Begins if long => idle.push(pod),
                _ => {}
            }
        }
        let is_there = |of: &str| there.iter().any(|pod| uid(pod) == Some(of));
        let gone: Vec<(String, String)> =
            self.open.iter().filter(|(uid, _)| !is_there(uid)).map(|(uid, (name, _))| (uid.clone(), name.clone())).collect();
        for (uid, name) in gone {
            self.lose(&uid, &name, "somebody deleted it");
        }
        for uid in self.lost.keys() {
            // A copy into it may be asked for only now.
            ending::cancel(self.carriers.context, &format!("velero.io/pod-uid={uid}")).await?;
        }
        if !idle.is_empty() && self.events_seen.is_none_or(|seen| seen.elapsed() > BETWEEN_LOOKS_AT_EVENTS) {
            self.events_seen = Some(Instant::now());
            // Whoever may not read them knows what the pods say.
            let events = objects(self.carriers.context.cluster.as_ref(), &events(), self.carriers.namespace).await;
            let events = events.unwrap_or_default();
            for pod in idle {
                for why in warnings(&events, pod).into_values() {
                    self.tell(&reference(&pods(), pod).name, &format!("does not begin: {why}"));
                }
            }
        }
        Ok(Vec::new())
    }

    /// Tells something of a pod once. A message may change with each try: what counts is what stands before it.
    fn tell(&mut self, pod: &str, what: &str) {
        let reason = what.split(": ").take(2).collect::<Vec<_>>().join(": ");
        if self.told.insert(format!("{pod} {reason}")) {
            let text = format!("pod {}/{pod}, into which files are to be copied, {what}", self.carriers.namespace);
            self.carriers.context.reporter.report(&Event::Warning { text });
        }
    }

    fn lose(&mut self, uid: &str, pod: &str, why: &str) {
        self.open.remove(uid);
        let lost = Lost { pod: pod.to_owned(), why: format!("pod {pod} was over before the files had come: {why}") };
        if self.lost.insert(uid.to_owned(), lost).is_none() {
            self.tell(pod, &format!("is over before they have come, and their copying is cancelled: {why}"));
        }
    }
}

fn events() -> ResourceKind {
    ResourceKind { kind: "Event".to_owned(), plural: "events".to_owned(), ..pods() }
}

/// A pod of somebody else's that mounts a claim which waits for its files.
#[derive(Debug)]
pub(super) struct Stranger {
    pod: ObjectReference,
    pub(super) claim: ObjectReference,
    /// Whether it has ended.
    pub(super) over: bool,
}

impl fmt::Display for Stranger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.pod, if self.over { "mounted" } else { "mounts" }, self.claim)
    }
}

/// Whether a Restore of ours is one that files come back through, in pods of `namespace`: no other changes anything.
fn brings_files_into(restore: &Value, namespace: &str) -> bool {
    let spec = restore.get("spec").unwrap_or(&Value::Null);
    let source = spec.pointer("/includedNamespaces/0").and_then(Value::as_str).unwrap_or_default();
    let target = spec.get("namespaceMapping").and_then(|mapping| mapping.get(source)?.as_str()).unwrap_or(source);
    target == namespace && spec.get("resourceModifier").is_some()
}
