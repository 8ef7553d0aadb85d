//! Ending Restores that nobody waits for any more.
//!
//! ```text
//! not begun ─► deleted
//! begun ─► what copies for it is cancelled, and whatever else begins to ─► over
//! ```
//!
//! Velero knows no way to stop a Restore. It carries them out one after the other, and waits for hours for copies that nobody makes: the
//! Restores of everybody else would wait behind it. So what copies for it is cancelled.

use std::time::Duration;

use dxdr_catalog::name;
use dxdr_environment::ObjectReference;
use dxdr_plan::velero::{RUN_LABEL, data_downloads, pod_volume_restores, restores};
use dxdr_provider::ClusterErrorKind;
use serde_json::{Value, json};

use super::{
    follow::phase,
    restore::over,
    server::{self, amend, labelled, reference, uid},
};
use crate::{context::RunContext, error::RunError, event::Event};

/// Node agents heed it at once, but for a copy for which they are preparing: that they give up after five minutes, at their next look.
const PATIENCE: Duration = Duration::from_secs(420);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Phases that a copy does not leave.
const ENDED: [&str; 3] = ["Completed", "Failed", "Canceled"];

/// The Restores that a run has asked for, whatever became of them.
pub(crate) async fn of_run(context: &RunContext, run: &str) -> Result<Vec<(ObjectReference, Value)>, RunError> {
    let (kind, namespace) = (restores(), &context.velero_namespace);
    let selector = format!("{RUN_LABEL}={}", name::in_label(run));
    let found = match labelled(context.cluster.as_ref(), &kind, namespace, &selector).await {
        // Nobody does anything where there is no Velero any more.
        Err(RunError::Cluster(error)) if error.kind == ClusterErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    Ok(found.into_iter().map(|live| (reference(&kind, &live), live)).collect())
}

/// Those of them that are not over.
pub(crate) async fn going(context: &RunContext, run: &str) -> Result<Vec<(ObjectReference, Value)>, RunError> {
    let mut going = of_run(context, run).await?;
    going.retain(|(_, live)| !over(live));
    Ok(going)
}

/// Ends the Restores of `run`, and returns once none of them goes on. `step`: what this is told as.
///
/// # Errors
/// [`RunError::VeleroRestore`] of one that goes on all the same.
pub(crate) async fn end(context: &RunContext, run: &str, step: &str) -> Result<(), RunError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let going = going(context, run).await?;
        let Some((first, live)) = going.first() else { return Ok(()) };
        if tokio::time::Instant::now() > deadline {
            let reason = format!(
                "it goes on, although its copying was cancelled {} s ago: a node agent that runs heeds that, and Velero 1.16 and older do not where a copy was begun; it ends by itself, after `--fs-backup-timeout` of the server at the latest, and others wait behind it until then",
                PATIENCE.as_secs()
            );
            let phase = phase(live).unwrap_or("New").to_owned();
            return Err(RunError::VeleroRestore { restore: first.name.clone(), phase, reason });
        }
        for (restore, live) in &going {
            if phase(live).is_none_or(|phase| phase == "New") {
                // Velero looks at a Restore that is gone no more, whichever of the two comes first.
                context.cluster.delete(restore, uid(live), &server::options()).await?;
            } else {
                cancel(context, &format!("velero.io/restore-uid={}", uid(live).unwrap_or_default())).await?;
            }
        }
        context.reporter.report(&Event::Progress {
            step: step.to_owned(),
            done: 0,
            total: Some(going.len() as u64),
            bytes: 0,
            at: format!("{first}, which is being ended"),
        });
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = context.stop.wait() => return Err(RunError::Interrupted),
        }
    }
}

/// Cancels those of Velero's copies that a label selector finds.
pub(crate) async fn cancel(context: &RunContext, selector: &str) -> Result<(), RunError> {
    for kind in [pod_volume_restores(), data_downloads()] {
        let copies = match labelled(context.cluster.as_ref(), &kind, &context.velero_namespace, selector).await {
            // A server without that kind does not copy that way.
            Err(RunError::Cluster(error)) if error.kind == ClusterErrorKind::NotFound => continue,
            copies => copies?,
        };
        for copy in copies.iter().filter(|copy| !ended(copy)) {
            cancel_one(context, &reference(&kind, copy)).await?;
        }
    }
    Ok(())
}

async fn cancel_one(context: &RunContext, copy: &ObjectReference) -> Result<(), RunError> {
    let (cluster, options) = (context.cluster.as_ref(), server::options());
    let made = amend(cluster, copy, &options, |live| {
        let cancels = !ended(live) && live.pointer("/spec/cancel") != Some(&Value::Bool(true));
        if cancels {
            live["spec"]["cancel"] = true.into();
        }
        cancels
    })
    .await?;
    // Velero 1.16 and older cannot cancel a PodVolumeRestore, and the field is dropped. They take it for over by its phase; one that a node
    // agent has begun is left to that.
    if made.is_some_and(|made| made.pointer("/spec/cancel").is_none()) {
        amend(cluster, copy, &options, |live| {
            let unbegun = phase(live).is_none_or(|phase| phase == "New");
            if unbegun {
                live["status"] = json!({"phase": "Failed", "message": "given up by dxdr before it was begun"});
            }
            unbegun
        })
        .await?;
    }
    Ok(())
}

fn ended(copy: &Value) -> bool {
    phase(copy).is_some_and(|phase| ENDED.contains(&phase))
}
