//! A Restore by a Velero server: asked for, followed, and what it says came of it.

use std::time::Duration;

use bytes::Bytes;
use dxdr_environment::{DesiredObject, ObjectReference};
use dxdr_format::velero::{
    backup,
    resource_list::{self, Restored},
    results,
};
use dxdr_plan::{
    Note, Severity,
    restore::{Executor, RestorePlan},
    step::Step,
    velero,
};
use dxdr_policy::StoreLocation;
use dxdr_provider::ClusterErrorKind;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    backup::RESTORABLE,
    ending,
    follow::{follow, phase},
    server,
};
use crate::{context::RunContext, error::RunError, event::Event};

/// Velero looks into its locations once a minute, whatever their period says.
const SYNCHRONIZING: Duration = Duration::from_secs(150);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Phases that a Restore does not leave.
const OVER: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
/// Those of them in which it was not carried out, or not to its end.
const FAILED: [&str; 2] = ["Failed", "FailedValidation"];

/// Which Restores of an earlier process, or an earlier attempt, still stand for what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// Those that did not fail, as a whole.
    Carried,
    /// Those that are not over.
    Running,
}

impl Adopted {
    fn stands(self, restore: &Value) -> bool {
        let over: &[&str] = if self == Self::Carried { &FAILED } else { &OVER };
        let void = restore.pointer("/metadata/annotations").and_then(|annotations| annotations.get(velero::VOID)).is_some();
        !void && !phase(restore).is_some_and(|phase| over.contains(&phase))
    }
}

/// What Velero says came of a Restore.
#[derive(Debug, Default)]
pub struct VeleroOutcome {
    /// Those of the same that were asked for, the oldest first; the last is the one that counts. Each after the first was asked for because
    /// those before it had not brought everything.
    pub restores: Vec<Asked>,
    /// Whether it was over before it was asked for here.
    pub found_over: bool,
    /// `Completed`, `PartiallyFailed`.
    pub phase: String,
    /// What it says went wrong.
    pub errors: Vec<String>,
    /// What it says went otherwise than one would think.
    pub warnings: Vec<String>,
    /// What became of each object.
    pub restored: Vec<Restored>,
}

/// A Restore that Velero was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// By which what Velero made for it is found.
    pub uid: String,
}

impl Asked {
    fn of(restore: &Value) -> Self {
        let text = |pointer: &str| restore.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { name: text("/metadata/name"), uid: text("/metadata/uid") }
    }
}

impl VeleroOutcome {
    /// By which what Velero made for the last Restore is found.
    pub fn uid(&self) -> &str {
        self.restores.last().map(|asked| asked.uid.as_str()).unwrap_or_default()
    }
}

/// Whether Velero is done with a Restore.
pub(crate) fn over(restore: &Value) -> bool {
    phase(restore).is_some_and(|phase| OVER.contains(&phase))
}

/// Asks for `restore` of backup `point` and follows it to its end. Repeatable: its name is the run's own, and one that is not `adopted` is
/// asked for again, under the next name.
///
/// # Errors
/// When Velero does not know the backup, or refuses, or fails.
pub async fn restore(
    context: &RunContext,
    restore: &DesiredObject,
    point: &str,
    step: &Step,
    adopted: Adopted,
) -> Result<VeleroOutcome, RunError> {
    synchronized(context, point, step).await?;
    let (restore, found_over, mut restores) = ask(context, restore, adopted).await?;
    let (cluster, reporter) = (context.cluster.as_ref(), context.reporter.as_ref());
    let object = follow(cluster, reporter, &context.stop, &restore, &step.id, over).await?;
    let phase = phase(&object).unwrap_or_default().to_owned();
    let (errors, warnings) = said(context, &restore.name).await;
    if matches!(phase.as_str(), "Completed" | "PartiallyFailed") {
        let restored = restored(context, &restore.name).await;
        restores.push(Asked::of(&object));
        return Ok(VeleroOutcome { restores, found_over, phase, errors, warnings, restored });
    }
    let refusals = object.pointer("/status/validationErrors").and_then(Value::as_array).into_iter().flatten();
    let mut reasons: Vec<String> = refusals.filter_map(Value::as_str).map(str::to_owned).collect();
    reasons.extend(object.pointer("/status/failureReason").and_then(Value::as_str).map(str::to_owned));
    reasons.extend(errors);
    let reason = if reasons.is_empty() { "it does not say why".to_owned() } else { reasons.join("; ") };
    Err(RunError::VeleroRestore { restore: restore.name, phase, reason })
}

/// Asks for `restore` unless an earlier process of the run has, and answers which object stands for it, whether that was over already, and
/// which were asked for before it.
async fn ask(
    context: &RunContext,
    restore: &DesiredObject,
    adopted: Adopted,
) -> Result<(ObjectReference, bool, Vec<Asked>), RunError> {
    let no_velero = |error| server::no_velero(error, &context.velero_namespace);
    let mut asked = restore.clone();
    let mut attempt = 1_u32;
    let (mut before, mut newest) = (Vec::new(), None);
    while let Some(live) = context.cluster.get(&asked.reference).await.map_err(no_velero)? {
        let live: Value = serde_json::from_slice(&live).unwrap_or_default();
        before.push(Asked::of(&live));
        newest = Some((asked.reference.clone(), live));
        attempt += 1;
        asked.reference.name = velero::attempt(&restore.reference.name, attempt);
        asked.value["metadata"]["name"] = asked.reference.name.as_str().into();
    }
    if let Some((reference, live)) = newest.filter(|(_, live)| adopted.stands(live)) {
        before.pop();
        return Ok((reference, over(&live), before));
    }
    match context.cluster.create(&asked.reference, Bytes::from(asked.value.to_string()), &server::options()).await {
        Ok(_) => Ok((asked.reference, false, before)),
        // The first try of this process did.
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => Ok((asked.reference, false, before)),
        Err(error) => Err(no_velero(error)),
    }
}

/// Lets nothing count of what came of `restore`, which `run` has asked for, however often it did.
pub(crate) async fn disregard(context: &RunContext, restore: &ObjectReference, run: &str) -> Result<(), RunError> {
    for (live, _) in ending::of_run(context, run).await?.iter().filter(|(live, _)| velero::is_attempt(&live.name, &restore.name))
    {
        server::amend(context.cluster.as_ref(), live, &server::options(), |live| {
            live["metadata"]["annotations"][velero::VOID] = "true".into();
            true
        })
        .await?;
    }
    Ok(())
}

/// What forbids a plan that Velero has a part in although it could be carried out: by the name of the backup it knows something else. Whoever cannot
/// look, or is not known to Velero yet, learns it when Velero is asked.
pub async fn examine(context: &RunContext, plan: &RestorePlan) -> Vec<Note> {
    let by_velero = plan.executor == Executor::Velero || !plan.through_velero.is_empty() || plan.copies.is_some();
    let backup = backup_of(context, &plan.point);
    let live = if by_velero { context.cluster.get(&backup).await } else { Ok(None) };
    let Ok(Some(live)) = live else { return Vec::new() };
    let Ok(Some(reason)) = mistaken(context, &live).await else { return Vec::new() };
    vec![Note {
        severity: Severity::Fatal,
        text: format!(
            "Velero has a part in it, and its backup `{}` is not the one that this plan is made from: {reason}",
            plan.point
        ),
        hint: Some(OTHER_BACKUP.replace("NAME", &plan.point)),
        object: Some(backup),
        count: 1,
    }]
}

/// What to do about a backup that is not the one in the store.
pub const OTHER_BACKUP: &str = "`velero backup describe NAME` says what it is; Velero has one backup of a name, so restore where it has that of this store, or without it (`--empty-volumes`)";

fn backup_of(context: &RunContext, point: &str) -> ObjectReference {
    let namespace = Some(context.velero_namespace.clone());
    ObjectReference { kind: velero::backups(), namespace, name: point.to_owned() }
}

/// Why what Velero has under the name of a backup is not the one in the store, or nothing to restore from; `None` when it is. A Backup that Velero
/// found in the store has another uid than the one that was made, and the same times.
async fn mistaken(context: &RunContext, live: &[u8]) -> Result<Option<String>, RunError> {
    let live: Value = serde_json::from_slice(live).unwrap_or_default();
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let phase = text("/status/phase");
    if !RESTORABLE.contains(&phase) {
        return Ok(Some(if phase.is_empty() { "it has not begun".to_owned() } else { format!("it is {phase}") }));
    }
    let (store, place) = (&context.store, context.store.storage.describe());
    if let Some(declared) = &context.declared
        && !matches!(declared.location, StoreLocation::Directory { .. })
    {
        let (kind, namespace) = (velero::storage_locations(), Some(context.velero_namespace.clone()));
        let location = ObjectReference { kind, namespace, name: text("/spec/storageLocation").to_owned() };
        let elsewhere = match context.cluster.get(&location).await? {
            Some(live) => velero::leads_elsewhere(declared, &serde_json::from_slice(&live).unwrap_or_default()),
            None => Some("nowhere, since there is none of that name".to_owned()),
        };
        if let Some(elsewhere) = elsewhere {
            return Ok(Some(format!("it is in location `{}`, which leads to {elsewhere}, and not to {place}", location.name)));
        }
    }
    let key = store.layout.backup_key(text("/metadata/name"));
    let Some(stored) = store.read(&key).await? else { return Ok(Some(format!("it is not in {place}"))) };
    let format = |source| RunError::Format { key: key.clone(), store: place.clone(), source };
    let stored = backup::decode(&stored).map_err(format)?.status.start_timestamp;
    let began: Option<Timestamp> = text("/status/startTimestamp").parse().ok();
    let told = |began: Option<Timestamp>| began.map_or_else(|| "nobody knows when".to_owned(), |began| began.to_string());
    // In whole seconds, as both are written.
    let same = began.map(Timestamp::as_second) == stored.map(Timestamp::as_second);
    Ok((!same).then(|| format!("it began at {}, and that in {place} at {}", told(began), told(stored))))
}

/// Waits until Velero knows the backup, which it finds in the store by itself.
///
/// # Errors
/// When it has another one of that name.
async fn synchronized(context: &RunContext, point: &str, step: &Step) -> Result<(), RunError> {
    let namespace = &context.velero_namespace;
    let backup = backup_of(context, point);
    let deadline = tokio::time::Instant::now() + SYNCHRONIZING;
    loop {
        if let Some(live) = context.cluster.get(&backup).await.map_err(|error| server::no_velero(error, namespace))? {
            return match mistaken(context, &live).await? {
                None => Ok(()),
                Some(reason) => Err(RunError::OtherBackup { backup: point.to_owned(), reason }),
            };
        }
        if tokio::time::Instant::now() > deadline {
            return Err(RunError::VeleroRestore {
                restore: point.to_owned(),
                phase: "New".to_owned(),
                reason: format!(
                    "Velero has not found the backup in {} s: does one of its locations lead to {}, and is it Available?",
                    SYNCHRONIZING.as_secs(),
                    context.store.storage.describe()
                ),
            });
        }
        context.reporter.report(&Event::Progress {
            step: step.id.clone(),
            done: 0,
            total: None,
            bytes: 0,
            at: "waiting until Velero finds the backup".to_owned(),
        });
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = context.stop.wait() => return Err(RunError::Interrupted),
        }
    }
}

/// Errors and warnings, in Velero's words. They are for reading only: a store that does not have them keeps nothing from going on.
async fn said(context: &RunContext, restore: &str) -> (Vec<String>, Vec<String>) {
    let key = context.store.layout.restore_results_key(restore);
    let Ok(Some(bytes)) = context.store.read(&key).await else { return Default::default() };
    let results = results::decode(&bytes).unwrap_or_default();
    (results.errors.all(), results.warnings.all())
}

/// What became of each object, for reading only, too.
async fn restored(context: &RunContext, restore: &str) -> Vec<Restored> {
    let key = context.store.layout.restored_list_key(restore);
    let Ok(Some(bytes)) = context.store.read(&key).await else { return Vec::new() };
    resource_list::restored(&resource_list::decode(&bytes).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dxdr_policy::{BackupStore, GcsLocation};
    use dxdr_provider::object_storage::PutCondition;
    use serde_json::json;

    use super::*;
    use crate::{capture, lease::tests::Shelf, restore::databases::tests::Drawer};

    fn live(location: &str, phase: &str, began: &str) -> Value {
        json!({"metadata": {"name": "nightly"}, "spec": {"storageLocation": location}, "status": {"phase": phase, "startTimestamp": began}})
    }

    #[tokio::test]
    async fn a_backup_is_the_one_in_the_store_by_its_location_and_when_it_began() {
        let cluster = Shelf::default();
        let location = |name: &str, bucket: &str| {
            let (kind, namespace) = (velero::storage_locations(), Some("velero".to_owned()));
            let spec = json!({"spec": {"provider": "velero.io/gcp", "objectStorage": {"bucket": bucket}}});
            cluster.put(&ObjectReference { kind, namespace, name: name.to_owned() }, spec);
        };
        location("ours", "backups");
        location("theirs", "other");
        let mut context = capture::tests::context(Arc::new(cluster));
        context.store.storage = Arc::new(Drawer::default());
        let bucket = GcsLocation { bucket: "backups".to_owned(), prefix: String::new(), kms_key: None };
        context.declared = Some(BackupStore { name: "primary".to_owned(), location: StoreLocation::Gcs(bucket), velero: None });
        let mistaken = async |context: &RunContext, live: Value| mistaken(context, live.to_string().as_bytes()).await.unwrap();
        let began = "2024-05-01T10:00:00Z";
        assert_eq!(mistaken(&context, live("ours", "Completed", began)).await.as_deref(), Some("it is not in drawer"));
        let mut stored = live("elsewhere-called-so", "Completed", began);
        stored["apiVersion"] = "velero.io/v1".into();
        stored["kind"] = "Backup".into();
        let key = context.store.layout.backup_key("nightly");
        context.store.write(&key, stored.to_string().into_bytes(), PutCondition::Always).await.unwrap();
        for phase in ["Completed", "PartiallyFailed"] {
            assert_eq!(mistaken(&context, live("ours", phase, began)).await, None);
        }
        for (other, reason) in [
            (live("ours", "Deleting", began), "it is Deleting"),
            (live("ours", "", began), "it has not begun"),
            (
                live("theirs", "Completed", began),
                "it is in location `theirs`, which leads to gcp bucket other, prefix ``, and not to drawer",
            ),
            (
                live("gone", "Completed", began),
                "it is in location `gone`, which leads to nowhere, since there is none of that name, and not to drawer",
            ),
            (
                live("ours", "Completed", "2024-05-01T10:00:01Z"),
                "it began at 2024-05-01T10:00:01Z, and that in drawer at 2024-05-01T10:00:00Z",
            ),
        ] {
            assert_eq!(mistaken(&context, other).await.as_deref(), Some(reason));
        }
    }
}
