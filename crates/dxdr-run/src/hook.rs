//! Running the commands that pods ask for around snapshots.
//!
//! Those before run at the same time, so that everything holds still for as short as possible. Those after run whatever became of the
//! rest: an application that was told to hold still must be told to go on.

use std::time::Duration;

use dxdr_catalog::Gap;
use dxdr_plan::backup::{BackupPlan, HookPlan, HookTime};
use dxdr_provider::cluster::{Executed, PodCommand};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{context::RunContext, event::Event};

/// Commands that run at the same time.
const IN_FLIGHT: usize = 16;

/// Hooks that failed and whose failure counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failures {
    failed: Vec<HookFailure>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HookFailure {
    what: String,
    namespace: String,
    claims: Vec<String>,
    reason: String,
}

impl Failures {
    /// What the point lacks because of them: certainty that the application was told.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = Gap> {
        self.failed.iter().map(|failed| Gap { what: failed.what.clone(), reason: failed.reason.clone() })
    }

    /// Why the volume of a claim is not captured: its pod did not hold still.
    pub(crate) fn of_claim(&self, namespace: &str, claim: &str) -> Option<String> {
        let failed =
            self.failed.iter().find(|failed| failed.namespace == namespace && failed.claims.iter().any(|of| of == claim))?;
        Some(format!("the {} failed: {}", failed.what, failed.reason))
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.failed.len()
    }
}

/// Runs the plan's hooks of one time.
pub(crate) async fn run(context: &RunContext, plan: &BackupPlan, when: HookTime) -> Failures {
    run_all(context, plan.hooks(when)).await
}

/// Runs hooks; those whose failure counts and that failed.
pub(crate) async fn run_all(context: &RunContext, hooks: impl Iterator<Item = &HookPlan>) -> Failures {
    let running = stream::iter(hooks).map(|hook| async move { (hook, execute(context, hook).await) });
    let ended: Vec<_> = running.buffer_unordered(IN_FLIGHT).collect().await;
    let mut failures = Failures::default();
    for (hook, ended) in ended {
        let Err(reason) = ended else { continue };
        let goes_on = if hook.fatal { "" } else { "; it goes on, as the pod's annotation says" };
        context.reporter.report(&Event::Warning { text: format!("the {} failed: {reason}{goes_on}", hook.what()) });
        if hook.fatal {
            let (namespace, claims) = (hook.namespace.clone(), hook.claims.clone());
            failures.failed.push(HookFailure { what: hook.what(), namespace, claims, reason });
        }
    }
    failures.failed.sort_by(|left, right| left.what.cmp(&right.what));
    failures
}

async fn execute(context: &RunContext, hook: &HookPlan) -> Result<(), String> {
    let command = PodCommand {
        namespace: hook.namespace.clone(),
        pod: hook.pod.clone(),
        container: hook.container.clone(),
        command: hook.command.clone(),
        timeout: Duration::try_from(hook.timeout).unwrap_or_default(),
    };
    match context.cluster.execute(&command).await {
        Ok(Executed::Succeeded) => Ok(()),
        Ok(Executed::Failed(reason)) => Err(reason),
        Err(error) => Err(error.message),
    }
}
