//! Volumes that only Velero can read: having it bring them back, and finding out whether they are.
//!
//! ```text
//! Restore of the claims ─► over ─► per claim: its data is in the volume, says Velero ─► bound to it ─► what mounts it may come
//! ```
//!
//! That a claim is there says nothing. Velero makes it before its data is on the way, and leaves one alone that somebody else made. A controller would
//! make a claim that is missing anew, and empty. So a volume that is not back ends the run before anything that mounts one is made; who resumes it
//! asks for what is missing again.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use dxdr_environment::ObjectReference;
use dxdr_format::{journal::Evidence, velero::volume_info};
use dxdr_plan::{
    restore::{VeleroVolume, plan::VELERO, volume::NATIVE_SNAPSHOT},
    velero::{RESTORED_BY, data_downloads, restore_of_volumes},
};
use dxdr_provider::{ClusterError, ClusterErrorKind};
use serde_json::Value;

use super::{
    Prepared, RestoreReport,
    copies::{delete, provide},
};
use crate::{
    active::ActiveRun,
    context::RunContext,
    error::RunError,
    event::Event,
    journal::History,
    velero::{
        restore::{Adopted, VeleroOutcome, restore},
        server::labelled,
    },
};

/// The parameter of a restore's journal with the names of the claims that Velero is to bring back.
pub(super) const CLAIMS: &str = "velero-volumes";
/// How long a claim may take to be bound once its data is in the volume.
const BINDING: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Has Velero bring back the volumes that only it can read.
///
/// # Errors
/// When one did not come back: what mounts it must not be made.
pub(super) async fn bring_back(
    context: &RunContext,
    prepared: &Prepared,
    run: &mut ActiveRun,
    report: &mut RestoreReport,
) -> Result<(), RunError> {
    let plan = &prepared.plan;
    let Some(step) = plan.velero_step() else { return Ok(()) };
    run.start(&step).await?;
    let asked = restore_of_volumes(plan, run.id(), &context.velero_namespace);
    let mut adopted = Adopted::Carried;
    loop {
        if let Some(modifiers) = &asked.modifiers {
            provide(context, modifiers).await?;
        }
        let outcome = restore(context, &asked.restore, &plan.point, &step, adopted).await?;
        // A Restore that may go on needs them: whoever resumes the run, or cleans up, removes them.
        if let Some(modifiers) = &asked.modifiers {
            delete(context, &modifiers.reference, None).await?;
        }
        let missing = missing(context, &plan.through_velero, &outcome).await?;
        if missing.is_empty() {
            for text in &outcome.errors {
                context.reporter.report(&Event::Warning { text: format!("Velero: {text}") });
            }
            let count = plan.through_velero.len();
            report.created += count as u64;
            return run.finish(&step, &format!("{}: {count} volumes", outcome.phase), Evidence::new()).await;
        }
        // Velero leaves a claim alone that is there, however often it is asked.
        if !outcome.found_over || missing.values().any(|missing| missing.claim_is_there) {
            let told = missing.into_iter().map(|(claim, missing)| format!("{claim}: {}", missing.reason));
            return Err(RunError::Volumes(told.collect::<Vec<_>>().join("; ")));
        }
        adopted = Adopted::Running;
    }
}

/// The claims that an earlier process had Velero bring back, and did not see whole.
pub(crate) fn begun(history: &History) -> BTreeSet<String> {
    if !history.started(VELERO) || history.finished(VELERO).is_some() {
        return BTreeSet::new();
    }
    let recorded = history.planned().and_then(|planned| planned.parameters.get(CLAIMS)).and_then(Value::as_array);
    recorded.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A volume that is not back.
pub(super) struct Missing {
    pub(super) reason: String,
    claim_is_there: bool,
}

/// The claims that are not there with their data, and why. Waits a little for those to be bound whose data is there.
pub(super) async fn missing(
    context: &RunContext,
    volumes: &[VeleroVolume],
    outcome: &VeleroOutcome,
) -> Result<BTreeMap<ObjectReference, Missing>, RunError> {
    let brought = Brought::read(context, volumes, outcome).await?;
    let deadline = tokio::time::Instant::now() + BINDING;
    let mut missing = BTreeMap::new();
    for volume in volumes {
        if let Some(found) = brought.lack(context, volume, outcome, deadline).await? {
            missing.insert(volume.claim.clone(), found);
        }
    }
    Ok(missing)
}

/// What Velero says of the data that its Restores brought.
struct Brought {
    /// Of data movers: one for each claim.
    downloads: Vec<Value>,
    /// Volumes that its plugins made from snapshots.
    from_snapshots: HashSet<String>,
}

impl Brought {
    async fn read(context: &RunContext, volumes: &[VeleroVolume], outcome: &VeleroOutcome) -> Result<Self, RunError> {
        let (mut downloads, mut from_snapshots) = (Vec::new(), HashSet::new());
        let native = |volume: &VeleroVolume| volume.method == NATIVE_SNAPSHOT;
        for asked in &outcome.restores {
            if !volumes.iter().all(native) {
                let selector = format!("velero.io/restore-uid={}", asked.uid);
                let (cluster, namespace) = (context.cluster.as_ref(), &context.velero_namespace);
                downloads.extend(labelled(cluster, &data_downloads(), namespace, &selector).await?);
            }
            if volumes.iter().any(native) {
                let key = context.store.layout.restored_volumes_key(&asked.name);
                let Some(bytes) = context.store.read(&key).await? else { continue };
                let format = |source| RunError::Format { key: key.clone(), store: context.store.storage.describe(), source };
                let restored = volume_info::decode_restored(&bytes).map_err(format)?.into_iter();
                let restored = restored.filter(|volume| volume.restore_method == "NativeSnapshot");
                from_snapshots.extend(restored.map(|volume| volume.pv_name));
            }
        }
        Ok(Self { downloads, from_snapshots })
    }

    /// What a volume lacks; `None` when it is back.
    async fn lack(
        &self,
        context: &RunContext,
        volume: &VeleroVolume,
        outcome: &VeleroOutcome,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Missing>, RunError> {
        loop {
            let Some(live) = context.cluster.get(&volume.claim).await? else {
                return Ok(Some(Missing { reason: words(&volume.claim, outcome), claim_is_there: false }));
            };
            let live: Value = serde_json::from_slice(&live).unwrap_or_default();
            let reason = match self.emptiness(volume, &live, outcome) {
                Some(reason) => reason,
                None if text(&live, "/status/phase") == "Bound" => return Ok(None),
                None if tokio::time::Instant::now() < deadline => {
                    tokio::select! {
                        () = tokio::time::sleep(BETWEEN_LOOKS) => {}
                        () = context.stop.wait() => return Err(RunError::Interrupted),
                    }
                    continue;
                }
                None => format!("its data is there, and it is not bound to the volume after {} s", BINDING.as_secs()),
            };
            return Ok(Some(Missing { reason, claim_is_there: true }));
        }
    }

    /// Why there is no data for a claim that is there; `None` when there is.
    fn emptiness(&self, volume: &VeleroVolume, live: &Value, outcome: &VeleroOutcome) -> Option<String> {
        let unsaid = || {
            let said = about(&volume.claim, outcome).map(|text| format!("Velero says: {text}"));
            said.unwrap_or_else(|| format!("Velero's Restore is {}, and brought nothing into it", outcome.phase))
        };
        if volume.method == NATIVE_SNAPSHOT {
            return (!self.from_snapshots.contains(text(live, "/spec/volumeName"))).then(unsaid);
        }
        // A claim that was deleted since and made again has the same name, and no label or another one.
        let made_by = restored_by(live);
        let is_of_claim = |download: &&Value| {
            text(download, "/spec/targetVolume/pvc") == volume.claim.name
                && Some(text(download, "/spec/targetVolume/namespace")) == volume.claim.namespace.as_deref()
                && made_by.is_some()
                && restored_by(download) == made_by
        };
        let download = self.downloads.iter().find(is_of_claim);
        match download.map(|download| (text(download, "/status/phase"), text(download, "/status/message"))) {
            Some(("Completed", _)) => None,
            Some((phase, "")) => Some(format!("Velero's copying of it is {phase}")),
            Some((phase, message)) => Some(format!("Velero's copying of it is {phase}: {message}")),
            None => Some(unsaid()),
        }
    }
}

/// The Restore that Velero made an object for.
fn restored_by(object: &Value) -> Option<&str> {
    object.pointer("/metadata/labels")?.get(RESTORED_BY)?.as_str()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// An object that Velero did not bring back.
pub(super) fn not_back(context: &RunContext, object: &ObjectReference, reason: String) -> ClusterError {
    ClusterError {
        kind: ClusterErrorKind::Other,
        action: "restore",
        object: object.to_string(),
        cluster: context.cluster.describe(),
        message: reason,
        source: None,
    }
}

/// What Velero says about an object that is not there.
pub(super) fn words(object: &ObjectReference, outcome: &VeleroOutcome) -> String {
    match (about(object, outcome), outcome.errors.first()) {
        (Some(about), _) => format!("Velero says: {about}"),
        (None, Some(error)) => format!("Velero's Restore is {}: {error}", outcome.phase),
        (None, None) => format!("Velero's Restore is {}, and does not say why", outcome.phase),
    }
}

fn about<'a>(object: &ObjectReference, outcome: &'a VeleroOutcome) -> Option<&'a str> {
    outcome.errors.iter().chain(&outcome.warnings).map(String::as_str).find(|text| text.contains(&object.name))
}
