//! A recovery point that a Velero server takes: asked for, followed, adopted.

use std::time::Duration;

use bytes::Bytes;
use dxdr_catalog::{Entry, RecoveryPoint};
use dxdr_environment::Environment;
use dxdr_format::journal::{Evidence, Outcome, Planned, RunKind};
use dxdr_plan::velero::{VeleroBackupPlan, backup_plan, location_of, storage_locations};
use dxdr_policy::{BackupPolicy, BackupStore};
use dxdr_provider::{ClusterErrorKind, cluster::WriteOptions};
use serde_json::Value;

use super::{
    adoption,
    follow::{follow, phase},
    server::{self, FIELD_MANAGER},
};
use crate::{
    active::ActiveRun,
    backup::{living_namespace, reachable_store, recorded, seed},
    catalog,
    context::RunContext,
    error::RunError,
    journal::History,
    lease,
};

/// Velero writes the metadata into the store before it says that the backup is over; a store may be a little behind.
const LOOKS_FOR_METADATA: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Looks at Velero and plans a backup of `environment`. Changes nothing.
///
/// # Errors
/// When Velero is not installed or has no location for the store; when the namespace is not there or is being deleted.
pub async fn plan(
    context: &RunContext,
    environment: &Environment,
    policy: &BackupPolicy,
    store: &BackupStore,
    namespace: &str,
) -> Result<VeleroBackupPlan, RunError> {
    reachable_store(context).await?;
    living_namespace(context, environment.namespace.as_str()).await?;
    let locations = server::objects(context.cluster.as_ref(), &storage_locations(), namespace).await?;
    let location = location_of(store, &locations, namespace)?;
    Ok(backup_plan(environment, policy, (store, &location), namespace, context.clock.now(), seed(context)))
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
    if run.earlier(&plan.steps.ask).is_none() {
        run.start(&plan.steps.ask).await?;
        let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true };
        let body = Bytes::from(plan.object.value.to_string());
        match context.cluster.create(&plan.object.reference, body, &options).await {
            Ok(_) => {}
            // Its name is this run's own: an earlier process asked, or the first try of this one did.
            Err(error) if error.kind == ClusterErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        run.finish(&plan.steps.ask, &format!("backup {} is asked for", plan.point), Evidence::new()).await?;
    }
    if run.earlier(&plan.steps.follow).is_none() {
        run.start(&plan.steps.follow).await?;
        let over = |object: &Value| phase(object).is_some_and(|phase| OVER.contains(&phase));
        let (cluster, reporter) = (context.cluster.as_ref(), context.reporter.as_ref());
        let object = follow(cluster, reporter, &context.stop, &plan.object.reference, &plan.steps.follow.id, over).await?;
        let summary = came_to(&plan.point, &object)?;
        run.finish(&plan.steps.follow, &summary, Evidence::new()).await?;
    }
    run.start(&plan.steps.adopt).await?;
    let point = adopted(context, plan).await?;
    run.finish(&plan.steps.adopt, "written", Evidence::new()).await?;
    Ok(point)
}

/// Phases that a Backup does not leave.
const OVER: [&str; 5] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"];
/// Those of them after which something can be restored.
const RESTORABLE: [&str; 2] = ["Completed", "PartiallyFailed"];

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

async fn adopted(context: &RunContext, plan: &VeleroBackupPlan) -> Result<RecoveryPoint, RunError> {
    for _ in 0..LOOKS_FOR_METADATA {
        if let Some(point) = adoption::adopt(&context.store, &plan.point, context.sealing.clone()).await? {
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
