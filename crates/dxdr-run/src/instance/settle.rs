//! What an earlier process of a run asked for, and did not see the end of, before what the run made is removed.
//!
//! An instance and a database carry nothing of ours before they are there and somebody has labelled or marked them. Who removes what a run has left looks for labels
//! and marks alone, and would find nothing yet: what came to be afterwards would be nobody's.

use dxdr_plan::{
    instance::{CLOCK_SKEW, Entry, Operation, OperationStatus, Progress, Work, label::is_clone_of},
    restore::CloneRoute,
};
use dxdr_provider::{
    InstanceErrorKind,
    instance::{Instance, OperationState},
};
use jiff::Timestamp;

use super::{
    Beside,
    beside::attempts,
    clone::making,
    operation_of, operations_on,
    statement::{self, ADMINISTRATION},
};
use crate::error::RunError;

impl Beside {
    /// Waits for the new instance that is still being made, and labels it.
    pub(crate) async fn settle_clone(&self, clone: &CloneRoute) -> Result<(), RunError> {
        let (maker, beside, work) = (self.maker(clone), self.of_clone(clone), making(clone));
        maker.visible(|other| other.is_same(&work)).await?;
        let operations = operations_on(maker.turns.instances.as_ref(), &maker.turns.instance).await?;
        let ours = operations.into_iter().find(|operation| operation.work.is_same(&work));
        let unlabelled = |found: &Instance| !is_clone_of(&found.labels, &self.order.run);
        let wanted = match ours {
            Some(operation) if operation.is_running() => true,
            Some(Operation { status: OperationStatus::Succeeded, .. }) => {
                match beside.turns.instances.instance(&beside.turns.instance).await {
                    Ok(found) => unlabelled(&found),
                    Err(error) if error.kind == InstanceErrorKind::NotFound => false,
                    Err(error) => return Err(error.into()),
                }
            }
            _ => false,
        };
        // It is found by its operation, so nothing is asked for but its labels.
        if wanted { self.clone_instance(clone).await.map(|_| ()) } else { Ok(()) }
    }

    /// Waits for the databases that are still being made, and marks them. `beside` is the name under which the run makes one, `began` when the run
    /// began: who died behind the operation and before the mark has left no other trace.
    pub(crate) async fn settle_databases(&self, beside: &str, began: Timestamp) -> Result<(), RunError> {
        for entry in self.visible(|work| matches!(work, Work::CreateDatabase { .. })).await? {
            let (Work::CreateDatabase { database }, Progress::Accepted { operation }) = (&entry.job.work, &entry.progress) else {
                continue;
            };
            self.ended(&entry.job.work, operation).await?;
            if self.found().await?.iter().any(|found| found.name == *database && found.comment.is_none()) {
                // By the ledger this run made it, and nobody but this run knows the name.
                self.mark(database).await?;
            }
        }
        let mut unmarked = self.found().await?;
        let names: Vec<String> = attempts(beside).collect();
        unmarked.retain(|found| names.contains(&found.name) && found.comment.is_none() && found.connections == 0);
        if unmarked.is_empty() || !self.has_made_one_since(began).await? {
            return Ok(());
        }
        for found in unmarked {
            // The name is the run's alone, nothing is written about it, and nothing can be lost with it.
            if self.relations(&found.name).await? == 0 {
                self.mark(&found.name).await?;
            }
        }
        Ok(())
    }

    async fn mark(&self, database: &str) -> Result<(), RunError> {
        let marking = statement::marking(database, &self.order.run, None);
        self.turns.instances.execute(&self.turns.instance, ADMINISTRATION, &marking).await?;
        Ok(())
    }

    /// Whether a database was made on the instance since then. The service does not say which.
    async fn has_made_one_since(&self, began: Timestamp) -> Result<bool, RunError> {
        let since = began.saturating_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
        let operations = self.turns.instances.operations(&self.turns.instance).await?;
        Ok(operations.iter().any(|operation| {
            operation.kind == "CREATE_DATABASE"
                && operation.state == OperationState::Succeeded
                && operation.accepted.is_some_and(|accepted| accepted >= since)
        }))
    }

    /// Waits for the end of an operation, as long as the run waits for one.
    async fn ended(&self, work: &Work, operation: &str) -> Result<(), RunError> {
        let (instances, instance) = (&self.turns.instances, &self.turns.instance);
        let end = self.turns.clock.now().saturating_add(self.order.timeout).unwrap_or(jiff::Timestamp::MAX);
        loop {
            let seen = instances.operation(&instance.project, operation).await?.as_ref().map(operation_of);
            let Some(running) = seen.filter(Operation::is_running) else { return Ok(()) };
            if self.turns.clock.now() > end {
                let since = running.started.or(running.accepted);
                return Err(RunError::InstanceOverdue {
                    instance: instance.to_string(),
                    what: work.to_string(),
                    operation: operation.to_owned(),
                    since: since.map_or_else(|| "some time".to_owned(), |since| format!("{since:.0}")),
                });
            }
            self.pause().await?;
        }
    }

    /// What the ledger has of such work of this run, once everything that was sent for it would be visible.
    async fn visible(&self, which: impl Fn(&Work) -> bool) -> Result<Vec<Entry>, RunError> {
        loop {
            let ledger = self.turns.lease.current().await?;
            let now = self.turns.clock.now();
            let ours = ledger.entries.into_iter().filter(|entry| entry.job.run == self.order.run && which(&entry.job.work));
            let ours: Vec<Entry> = ours.collect();
            if ours.iter().all(|entry| !entry.is_in_flight(now)) {
                return Ok(ours);
            }
            self.pause().await?;
        }
    }

    async fn pause(&self) -> Result<(), RunError> {
        tokio::select! {
            () = tokio::time::sleep(self.turns.first_pause) => Ok(()),
            () = self.turns.stop.wait() => Err(RunError::Interrupted),
        }
    }
}
