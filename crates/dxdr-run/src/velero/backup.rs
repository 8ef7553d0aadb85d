//! A recovery point that a Velero server takes: asked for, followed, adopted, with databases captured beside it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dxdr_catalog::{Entry, RecoveryPoint};
use dxdr_environment::Environment;
use dxdr_format::journal::{Evidence, Outcome, Planned, RunKind};
use dxdr_plan::{
    Step,
    velero::{VeleroBackupPlan, backup_plan, location_of, storage_locations},
};
use dxdr_policy::{BackupPolicy, BackupStore, HoldTime};
use dxdr_provider::{ClusterErrorKind, cluster::WriteOptions};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    adoption::{self, Adopter, Beside},
    follow::{follow, phase},
    server::{self, FIELD_MANAGER},
};
use crate::{
    active::ActiveRun,
    backup::{living_namespace, reachable_store, recorded, seed},
    catalog,
    context::RunContext,
    database::{self, InstanceLogs, steps::DatabaseSteps},
    error::RunError,
    journal::History,
    lease,
    readiness::claims,
    snapshot,
    witness::{Between, Witness},
};

/// Velero writes the metadata into the store before it says that the backup is over; a store may be a little behind.
const LOOKS_FOR_METADATA: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Looks at Velero and plans a backup of `environment` into `store`, one of `stores`. Changes nothing.
///
/// # Errors
/// When Velero is not installed or has no location for the store; when the namespace is not there or is being deleted.
pub async fn plan(
    context: &RunContext,
    environment: &Environment,
    policy: &BackupPolicy,
    (store, stores): (&BackupStore, &[BackupStore]),
    namespace: &str,
) -> Result<VeleroBackupPlan, RunError> {
    reachable_store(context).await?;
    living_namespace(context, environment.namespace.as_str()).await?;
    let locations = server::objects(context.cluster.as_ref(), &storage_locations(), namespace).await?;
    let location = location_of(store, stores, &locations, namespace)?;
    let databases = database::planned(&context.store, environment, Some(policy));
    let volumes = !databases.is_empty() && has_volumes(context, environment).await?;
    Ok(backup_plan(environment, policy, (store, &location), (databases, volumes), namespace, context.clock.now(), seed(context)))
}

/// Whether there are volumes that Velero may capture: where nobody tells us, there may be some.
async fn has_volumes(context: &RunContext, environment: &Environment) -> Result<bool, RunError> {
    match claims(context.cluster.as_ref(), environment).await {
        Ok(claims) => Ok(!claims.is_empty()),
        Err(RunError::Cluster(error)) if error.kind == ClusterErrorKind::Forbidden => Ok(true),
        Err(error) => Err(error),
    }
}

/// Takes the recovery point that `plan` describes.
pub async fn backup(context: &RunContext, plan: &VeleroBackupPlan) -> Result<RecoveryPoint, RunError> {
    lease::held(context, plan.environment.as_str(), &plan.run, async {
        let run = ActiveRun::begin(context, &plan.run, planned(context, plan)).await?;
        carry_out(context, plan, run).await
    })
    .await
}

/// Goes on with a backup that an earlier process left: Velero went on meanwhile.
pub async fn resume(context: &RunContext, plan: &VeleroBackupPlan, history: History) -> Result<RecoveryPoint, RunError> {
    lease::held(context, plan.environment.as_str(), &plan.run, async {
        let run = ActiveRun::resume(context, history).await?;
        carry_out(context, plan, run).await
    })
    .await
}

fn planned(context: &RunContext, plan: &VeleroBackupPlan) -> Planned {
    Planned {
        run: plan.run.clone(),
        kind: RunKind::Backup,
        environment: plan.environment.to_string(),
        parameters: plan.parameters(),
        points: vec![plan.point.clone()],
        steps: plan.steps.all().into_iter().map(recorded).collect(),
        program: context.program.clone(),
        holder: context.holder.clone(),
        started: plan.started,
    }
}

#[tracing::instrument(name = "backup", skip_all, fields(run = plan.run, environment = %plan.environment, point = plan.point))]
async fn carry_out(context: &RunContext, plan: &VeleroBackupPlan, mut run: ActiveRun) -> Result<RecoveryPoint, RunError> {
    let result = steps(context, plan, &mut run).await.map(|point| {
        let outcome = if point.complete() { Outcome::Succeeded } else { Outcome::Partial };
        let summary = format!("recovery point {}", point.name);
        (point, outcome, summary)
    });
    let remaining = match (&result, run.left()) {
        (Err(RunError::VeleroBackup { phase, .. }), _) if !RESTORABLE.contains(&phase.as_str()) => {
            format!("no recovery point comes of backup {}, which is over: end this run, and take another one", plan.point)
        }
        (_, left) if left.is_empty() => format!("recovery point {} is there", plan.point),
        (_, left) => format!("Velero goes on with backup {} by itself; left to do: {}", plan.point, left.join(", ")),
    };
    run.end(result, vec![remaining]).await
}

async fn steps(context: &RunContext, plan: &VeleroBackupPlan, run: &mut ActiveRun) -> Result<RecoveryPoint, RunError> {
    let of = plan.point_databases();
    let witness = Witness::new(&context.clock, plan.started, run.resumed());
    let steps = (plan.steps.dump.as_ref(), plan.steps.export.as_ref());
    let mut databases = DatabaseSteps::open(context, of, steps, run).await?;
    let mut since = witness.now();
    if run.earlier(&plan.steps.ask).is_none() {
        run.start(&plan.steps.ask).await?;
        // What an earlier process asked for has perhaps begun: it is too late to hold anything before.
        if context.cluster.get(&plan.object.reference).await?.is_none() {
            databases.databases().hold(context, of, HoldTime::BeforeSnapshots, &witness).await?;
            since = witness.now();
        }
        ask(context, plan).await?;
        run.finish(&plan.steps.ask, &format!("backup {} is asked for", plan.point), Evidence::new()).await?;
    }
    let past = match &plan.steps.cut {
        Some(step) => {
            let cutting = seen(context, plan, run, (step, is_past), (&witness, since));
            databases.databases().hold_during(context, cutting).await?
        }
        None => None,
    };
    databases.databases().hold(context, of, HoldTime::Whenever, &witness).await?;
    let dumped = databases.dump(context, run).await?;
    let exported = databases.export(context, run, &witness, None).await?;
    let over = seen(context, plan, run, (&plan.steps.follow, is_over), (&witness, since)).await?;
    run.start(&plan.steps.adopt).await?;
    let point = adopted(context, plan, &Beside { dumped: dumped.joined(exported), past, over }).await?;
    run.finish(&plan.steps.adopt, "written", Evidence::new()).await?;
    Ok(point)
}

async fn ask(context: &RunContext, plan: &VeleroBackupPlan) -> Result<(), RunError> {
    let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true };
    let body = Bytes::from(plan.object.value.to_string());
    match context.cluster.create(&plan.object.reference, body, &options).await {
        Ok(_) => Ok(()),
        // Its name is this run's own: an earlier process asked, or the first try of this one did.
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a process saw of a Backup, for the journal.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    /// When what was followed was done. Runs that were begun before anybody asked have none.
    #[serde(default)]
    between: Option<Between>,
}

/// Follows the Backup, which was asked for at `since` or later, to a phase; answers between which instants what it did until then was done.
async fn seen(
    context: &RunContext,
    plan: &VeleroBackupPlan,
    run: &mut ActiveRun,
    (step, reached): (&Step, fn(&str) -> bool),
    (witness, since): (&Witness, Timestamp),
) -> Result<Option<Between>, RunError> {
    if let Some(evidence) = run.earlier(step) {
        return Ok(snapshot::from_evidence::<Seen>(&evidence)?.between);
    }
    run.start(step).await?;
    let reached = |object: &Value| phase(object).is_some_and(reached);
    let (cluster, reporter) = (context.cluster.as_ref(), context.reporter.as_ref());
    let object = follow(cluster, reporter, &context.stop, &plan.object.reference, &step.id, reached).await?;
    let seen = Seen { between: Some(witness.saw_for_the_run(since, witness.now())) };
    let summary = match phase(&object) {
        Some(phase) if !is_over(phase) => phase.to_owned(),
        _ => came_to(&plan.point, &object)?,
    };
    run.finish(step, &summary, snapshot::to_evidence(&seen)?).await?;
    Ok(seen.between)
}

/// Phases that wait for what data movers copy out of the snapshots, or write down the rest: everything has been read and cut by then. Of a phase
/// that nobody knows, that cannot be said.
const BEHIND_THE_CUT: [&str; 4] =
    ["WaitingForPluginOperations", "WaitingForPluginOperationsPartiallyFailed", "Finalizing", "FinalizingPartiallyFailed"];

fn is_past(phase: &str) -> bool {
    BEHIND_THE_CUT.contains(&phase) || is_over(phase)
}

fn is_over(phase: &str) -> bool {
    OVER.contains(&phase)
}

/// Phases that a Backup does not leave.
const OVER: [&str; 5] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"];
/// Those of them after which something can be restored.
pub(super) const RESTORABLE: [&str; 2] = ["Completed", "PartiallyFailed"];

/// What a Backup that is over came to.
///
/// # Errors
/// When there is nothing to restore from.
fn came_to(backup: &str, object: &Value) -> Result<String, RunError> {
    let phase = phase(object).unwrap_or_default();
    if RESTORABLE.contains(&phase) {
        let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let (items, errors) = (number("/status/progress/itemsBackedUp"), number("/status/errors"));
        return Ok(format!("{phase}: {items} objects, {errors} errors"));
    }
    let refusals = object.pointer("/status/validationErrors").and_then(Value::as_array).into_iter().flatten();
    let mut reasons: Vec<&str> = refusals.filter_map(Value::as_str).collect();
    reasons.extend(object.pointer("/status/failureReason").and_then(Value::as_str));
    let reason = if reasons.is_empty() { "it does not say why".to_owned() } else { reasons.join("; ") };
    Err(RunError::VeleroBackup { backup: backup.to_owned(), phase: phase.to_owned(), reason })
}

async fn adopted(context: &RunContext, plan: &VeleroBackupPlan, beside: &Beside) -> Result<RecoveryPoint, RunError> {
    let adopter = Adopter {
        keys: context.sealing.clone(),
        databases: plan.databases.clone(),
        logs: Arc::new(InstanceLogs::of(context.instances.clone())),
    };
    for _ in 0..LOOKS_FOR_METADATA {
        if let Some(point) = adoption::adopt(&context.store, &plan.point, &adopter, beside).await? {
            return Ok(point);
        }
        // Somebody else adopted it.
        if let Some(Entry::Ours(point)) = catalog::named(&context.store, &plan.point).await? {
            return Ok(point);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Err(RunError::VeleroBackup {
        backup: plan.point.clone(),
        phase: "Completed".to_owned(),
        reason: format!(
            "it is not in {}: Velero's location `{}` leads elsewhere",
            context.store.storage.describe(),
            plan.location
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_backup_came_to_is_told_in_velero_s_words() {
        let came_to = |status: Value| came_to("staging-x", &json!({"status": status})).map_err(|error| error.to_string());
        let counts = json!({"phase": "Completed", "progress": {"itemsBackedUp": 12, "totalItems": 12}});
        assert_eq!(came_to(counts), Ok("Completed: 12 objects, 0 errors".to_owned()));
        let partial = json!({"phase": "PartiallyFailed", "errors": 2, "progress": {"itemsBackedUp": 12}});
        assert_eq!(came_to(partial), Ok("PartiallyFailed: 12 objects, 2 errors".to_owned()));
        for (status, said) in [
            (
                json!({"phase": "Failed", "failureReason": "found a backup with status \"InProgress\" during the server starting"}),
                "Velero ended backup `staging-x` as Failed: found a backup with status \"InProgress\" during the server starting",
            ),
            (
                json!({"phase": "FailedValidation", "validationErrors": ["an existing backup storage location was not specified", "no"]}),
                "Velero ended backup `staging-x` as FailedValidation: an existing backup storage location was not specified; no",
            ),
            (json!({"phase": "Deleting"}), "Velero ended backup `staging-x` as Deleting: it does not say why"),
        ] {
            assert_eq!(came_to(status), Err(said.to_owned()));
        }
        let every = OVER.map(|phase| came_to(json!({"phase": phase})).is_ok());
        assert_eq!(every, [true, true, false, false, false]);
    }
}
