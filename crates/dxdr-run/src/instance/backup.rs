//! Having an instance backed up, once a run, when it is its turn. Nobody on it is touched.
//!
//! ```text
//! turn ─► backup, described by the run ─► found in the list by that: name, first and last instant
//! ```

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_plan::instance::{Job, OperationStatus, Priority, Work, label};
use dxdr_provider::{
    InstanceError, InstanceErrorKind,
    instance::{InstanceBackup, InstanceRequest},
};
use jiff::{SignedDuration, Timestamp};

use super::{Done, InstanceTurns, Made, carry_out, operations_on};
use crate::error::RunError;

/// How often what failed in earlier processes is tried again in one run.
const ATTEMPTS: u32 = 9;
/// How often a backup that was made is looked for in the list of them.
const LOOKS: u32 = 5;

/// A backup that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceBackupOrder {
    /// The run that wants it; it has at most one of an instance.
    pub run: String,
    /// Whose environment.
    pub environment: String,
    /// How long it may wait and take.
    pub timeout: SignedDuration,
}

impl InstanceBackupOrder {
    /// What the ledger of the instance calls it: the same for every process of the run.
    pub fn job(&self) -> String {
        format!("{}/backup", self.run)
    }
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The service's name for it.
    pub name: String,
    /// Everything that was written up to then is in it, by the service's clock.
    pub started: Timestamp,
    /// Nothing that was written later is in it, by the same.
    pub ended: Timestamp,
    /// When this process asked for it, if it did.
    pub asked: Option<Timestamp>,
    /// When it was seen done, by the clock of this process.
    pub seen: Timestamp,
    /// Bytes that are paid for, at most.
    pub size: Option<u64>,
}

/// Has the instance backed up. Asked again for the same order, by whatever process, it takes up what was begun, and tries again what failed before it was asked.
pub async fn back_up(turns: &InstanceTurns, order: &InstanceBackupOrder) -> Result<BackedUp, RunError> {
    let mut attempt = 1;
    loop {
        let description = label::backup_description(&order.run, attempt);
        let failed_before = attempt < ATTEMPTS && has_failed(turns, &description).await;
        match once(turns, order, attempt, &description).await {
            Err(RunError::InstanceOperation { operation, .. }) if failed_before => {
                tracing::info!(operation, attempt, "failed in an earlier process, and is tried again");
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// Whether the service knows of an attempt that failed. Where it cannot be asked now, it is not tried again.
async fn has_failed(turns: &InstanceTurns, description: &str) -> bool {
    let operations = operations_on(turns.instances.as_ref(), &turns.instance).await.unwrap_or_default();
    operations.iter().any(|operation| {
        matches!(&operation.work, Work::Backup { description: theirs } if theirs == description)
            && matches!(operation.status, OperationStatus::Failed(_))
    })
}

async fn once(turns: &InstanceTurns, order: &InstanceBackupOrder, attempt: u32, description: &str) -> Result<BackedUp, RunError> {
    let id = match attempt {
        ..=1 => order.job(),
        _ => format!("{}#{attempt}", order.job()),
    };
    let job = Job {
        id,
        run: order.run.clone(),
        environment: order.environment.clone(),
        priority: Priority::Backup,
        work: Work::Backup { description: description.to_owned() },
        deadline: turns.clock.now().saturating_add(order.timeout).unwrap_or(Timestamp::MAX),
    };
    let request = InstanceRequest::Backup { description: description.to_owned() };
    let listed = Listed { turns, description };
    let asked = match carry_out(turns, &job, &request, &listed).await? {
        Done::Operation(_, asked) => asked,
        Done::Made => None,
    };
    let seen = turns.clock.now();
    for look in 1..=LOOKS {
        if let Some(InstanceBackup { name, started: Some(started), ended: Some(ended), size, .. }) = listed.find().await? {
            return Ok(BackedUp { name, started, ended, asked, seen, size });
        }
        // The list may be behind the operation.
        if look < LOOKS {
            tokio::time::sleep(turns.first_pause * look).await;
        }
    }
    let InstanceName { project, instance } = &turns.instance;
    let hint = format!("`gcloud sql backups list --instance {instance} --project {project}` says what became of it");
    Err(InstanceError {
        kind: InstanceErrorKind::Malformed,
        action: "back up",
        what: format!("instance `{}`", turns.instance),
        message: format!("it was done, and no backup `{description}` with its instants is listed"),
        hint: Some(hint),
        source: None,
    }
    .into())
}

/// A backup is made when it is listed, whole.
struct Listed<'a> {
    turns: &'a InstanceTurns,
    description: &'a str,
}

impl Listed<'_> {
    async fn find(&self) -> Result<Option<InstanceBackup>, RunError> {
        let backups = self.turns.instances.backups(&self.turns.instance).await?;
        Ok(backups.into_iter().find(|backup| backup.whole && backup.description == self.description))
    }
}

#[async_trait]
impl Made for Listed<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        Ok(self.find().await?.is_some())
    }
}

/// Removes a backup that a run made, when it is its turn; `Ok(false)` when it was gone. One whose description does not say that by then stays.
pub(super) async fn remove_backup(turns: &InstanceTurns, run: &str, name: &str) -> Result<bool, RunError> {
    let gone = Gone { turns, run, name };
    if gone.made().await? {
        return Ok(false);
    }
    let job = Job {
        id: format!("{name}/delete"),
        run: run.to_owned(),
        environment: "-".to_owned(),
        priority: Priority::Backup,
        work: Work::DeleteBackup { backup: name.to_owned() },
        deadline: turns.clock.now().saturating_add(super::reap::PATIENCE).unwrap_or(Timestamp::MAX),
    };
    carry_out(turns, &job, &InstanceRequest::DeleteBackup { backup: name.to_owned() }, &gone).await?;
    Ok(true)
}

/// A backup that is to go.
struct Gone<'a> {
    turns: &'a InstanceTurns,
    run: &'a str,
    name: &'a str,
}

#[async_trait]
impl Made for Gone<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        let backups = self.turns.instances.backups(&self.turns.instance).await?;
        let Some(found) = backups.into_iter().find(|backup| backup.name == self.name) else { return Ok(true) };
        if label::run_of_backup(&found.description) == Some(self.run) {
            return Ok(false);
        }
        Err(InstanceError {
            kind: InstanceErrorKind::NameTaken,
            action: "delete",
            what: format!("backup `{}` of `{}`", self.name, self.turns.instance),
            message: format!("its description does not say that run {} made it", self.run),
            hint: Some("it is left alone; delete it yourself if nobody needs it".to_owned()),
            source: None,
        }
        .into())
    }
}
