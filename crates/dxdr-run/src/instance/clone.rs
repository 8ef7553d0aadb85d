//! Instances that a restore makes: what another one was, labelled with the run that made them and when they may go.
//!
//! ```text
//! log:    turn on the source ──► clone ─────────────┐
//! backup: turn on the new one ─► make it out of it ─┴► turn on the new one ─► label, protection off    discard: label? protected? ─► turn ─► delete
//! ```

use std::collections::BTreeMap;

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_plan::{
    instance::{
        OperationStatus, Work,
        label::{clone_labels, is_clone_of},
    },
    restore::{CloneRoute, Cost},
};
use dxdr_provider::{
    InstanceError, InstanceErrorKind,
    database::{DatabaseProblem, Examined},
    instance::{Instance, InstanceRequest},
};

use super::{Beside, Done, InstanceTurns, Made, carry_out, operation_of};
use crate::error::RunError;

impl Beside {
    /// Has the new instance made, and labels it. Asked again by any process of the run, it takes up what was begun.
    pub(crate) async fn clone_instance(&self, clone: &CloneRoute) -> Result<Beside, RunError> {
        let beside = self.of_clone(clone);
        let labels = clone_labels(&self.order.run, &self.order.environment, clone.expires);
        let (maker, work) = (self.maker(clone), making(clone));
        let job = maker.job(&format!("{}/clone", clone.destination), work);
        let request = match &clone.backup {
            None => InstanceRequest::Clone { destination: clone.destination.clone(), at: Some(clone.at) },
            Some(backup) => InstanceRequest::Restore { backup: backup.clone(), labels: labels.clone() },
        };
        let there = Exists { beside: &beside };
        if carry_out(&maker.turns, &job, &request, &there).await.map_err(not_again)? == Done::Made {
            // No operation tells whose it is, so its labels have to.
            let found = beside.instance().await?;
            if !found.is_some_and(|found| is_clone_of(&found.labels, &self.order.run)) {
                return Err(beside.not_ours("clone to").into());
            }
        }
        let job = beside.job(&format!("{}/label", clone.destination), Work::Label);
        let request = InstanceRequest::Label { labels: labels.clone(), deletion_protection: Some(false) };
        carry_out(&beside.turns, &job, &request, &Labelled { beside: &beside, labels: &labels }).await?;
        Ok(beside)
    }

    /// The same on the instance whose turn it takes: a clone occupies the one that it is of, and a backup nobody but what is made out of it.
    pub(super) fn maker(&self, clone: &CloneRoute) -> Self {
        if clone.backup.is_some() { self.of_clone(clone) } else { self.on(&clone.source) }
    }

    /// The same on the new instance.
    pub(crate) fn of_clone(&self, clone: &CloneRoute) -> Self {
        self.on(&InstanceName::new(&clone.source.project, &clone.destination))
    }

    /// What making a new instance would meet, added to what is known, and what it takes. Changes nothing.
    pub(crate) async fn examine_clone(&self, clone: &CloneRoute, examined: &mut Examined, cost: Cost) -> Result<Cost, RunError> {
        let source = self.on(&clone.source);
        let (instances, name) = (&source.turns.instances, &clone.source);
        if let Some(backup) = &clone.backup {
            // The instance may be gone; nothing is asked of it.
            let backups = instances.backups(name).await?;
            let found = backups.iter().find(|found| found.name == *backup);
            let message = match found {
                Some(found) if found.whole => return Ok(Cost { bytes: found.size, ..cost }),
                Some(_) => format!("{backup}, the backup of {name}, is not whole"),
                None => format!("{backup}, the backup of {name}, is not there any more"),
            };
            let remedy = "restore another recovery point; `dxdr points` says which there are".to_owned();
            examined.problems.push(DatabaseProblem { message, remedy });
            return Ok(cost);
        }
        let seen = instances.instance(name).await?;
        if seen.stopped {
            let InstanceName { project, instance } = name;
            let remedy =
                format!("`gcloud sql instances patch {instance} --project {project} --activation-policy ALWAYS` starts it");
            let message = format!("{name} is stopped");
            if examined.problems.iter().all(|problem| problem.message != message) {
                examined.problems.push(DatabaseProblem { message, remedy });
            }
            return Ok(cost);
        }
        let operations = instances.operations(name).await?;
        let clones = operations
            .iter()
            .map(operation_of)
            .filter(|operation| matches!(operation.work, Work::Clone { .. }) && operation.status == OperationStatus::Succeeded);
        // The newest first.
        let took = clones.filter_map(|operation| operation.worked_for()).next();
        Ok(Cost { clone: took, disk_gigabytes: seen.disk_gigabytes, ..cost })
    }

    /// Who could log in to the instance then and cannot now, added to what is known: what belongs to one of them cannot be imported. Changes nothing.
    pub(crate) async fn examine_users(&self, then: &[String], examined: &mut Examined) {
        if then.is_empty() {
            return;
        }
        let (instances, name) = (&self.turns.instances, &self.turns.instance);
        let now = match instances.users(name).await {
            Ok(now) => now,
            Err(error) => {
                tracing::info!(instance = %name, %error, "who may log in is not known");
                return;
            }
        };
        let InstanceName { project, instance } = name;
        for user in then.iter().filter(|user| !now.contains(user)) {
            examined.doubts.push(DatabaseProblem {
                message: format!(
                    "`{user}` could log in to {name} then, and cannot now: where something belongs to it, the import fails"
                ),
                remedy: format!("`gcloud sql users create {user} --instance {instance} --project {project}` makes it again"),
            });
        }
    }

    /// Deletes a clone if it carries the labels of the run; `Ok(false)` when there is none.
    pub(crate) async fn discard_instance(&self, name: &InstanceName) -> Result<bool, RunError> {
        let beside = self.on(name);
        let gone = GoneInstance { beside: &beside };
        if gone.made().await? {
            return Ok(false);
        }
        let job = beside.job(&format!("{}/delete", name.instance), Work::DeleteInstance);
        carry_out(&beside.turns, &job, &InstanceRequest::Delete, &gone).await?;
        Ok(true)
    }

    /// The same on another instance.
    pub(crate) fn on(&self, instance: &InstanceName) -> Self {
        Self { turns: self.turns.on(instance), order: self.order.clone() }
    }

    async fn instance(&self) -> Result<Option<Instance>, RunError> {
        match self.turns.instances.instance(&self.turns.instance).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == InstanceErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn not_ours(&self, action: &'static str) -> InstanceError {
        let message = format!("it does not carry the labels of run {}", self.order.run);
        let hint =
            "it is left alone; delete it yourself if nobody needs it, or restore again, which takes another name".to_owned();
        self.error(InstanceErrorKind::NameTaken, action, message, Some(hint))
    }
}

/// What makes it.
pub(super) fn making(clone: &CloneRoute) -> Work {
    let destination = clone.destination.clone();
    if clone.backup.is_some() { Work::Restore { destination } } else { Work::Clone { destination } }
}

/// Says of an operation that failed what becomes of it in this run: the service remembers it, and would answer the same. See [`Work::is_same`].
pub(crate) fn not_again(error: RunError) -> RunError {
    let RunError::InstanceOperation { instance, what, operation, message, hint } = error else { return error };
    let again = "what failed is not asked for again under its name: end this run, which removes what it made, and restore again";
    let hint = Some(hint.map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}")));
    RunError::InstanceOperation { instance, what, operation, message, hint }
}

impl InstanceTurns {
    /// Those on another instance, of the same process.
    pub(crate) fn on(&self, instance: &InstanceName) -> Self {
        Self {
            instances: self.instances.clone(),
            instance: instance.clone(),
            lease: self.lease.of(instance),
            clock: self.clock.clone(),
            reporter: self.reporter.clone(),
            stop: self.stop.clone(),
            process: self.process.clone(),
            first_pause: self.first_pause,
        }
    }
}

/// A clone is made when it is there.
struct Exists<'a> {
    beside: &'a Beside,
}

#[async_trait]
impl Made for Exists<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        Ok(self.beside.instance().await?.is_some())
    }
}

/// Labels are there when the instance shows them, and that it may be deleted.
struct Labelled<'a> {
    beside: &'a Beside,
    labels: &'a BTreeMap<String, String>,
}

#[async_trait]
impl Made for Labelled<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        let found = self.beside.instance().await?;
        Ok(found.is_some_and(|found| {
            !found.deletion_protection && self.labels.iter().all(|(key, value)| found.labels.get(key) == Some(value))
        }))
    }
}

/// An instance that is to go. It is looked at once more when it is its turn: what lost the label by then, or is protected, stays.
struct GoneInstance<'a> {
    beside: &'a Beside,
}

#[async_trait]
impl Made for GoneInstance<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        let Some(found) = self.beside.instance().await? else { return Ok(true) };
        if !is_clone_of(&found.labels, &self.beside.order.run) {
            return Err(self.beside.not_ours("delete").into());
        }
        if found.deletion_protection {
            let InstanceName { project, instance } = &self.beside.turns.instance;
            let message = "somebody has protected it from being deleted".to_owned();
            let hint = format!("`gcloud sql instances patch {instance} --project {project} --no-deletion-protection` ends that");
            return Err(self.beside.error(InstanceErrorKind::Protected, "delete", message, Some(hint)).into());
        }
        Ok(false)
    }
}
