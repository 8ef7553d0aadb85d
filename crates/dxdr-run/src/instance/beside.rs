//! Databases that a restore brings back on an instance which others may share: made under a new name, filled by an import, put in the place of
//! the original by renaming.
//!
//! ```text
//! turn ─► create (empty) ─► mark ─► turn ─► import        swap: cut, rename, rename        discard: mark? ─► turn ─► delete
//!                                              │ failed before the run was resumed
//!                                              └► discard ─► the same under another name ─► rename
//! ```
//!
//! Names and what is imported are in the run's journal before anything is asked for, and pieces of work are called by them: whoever resumes the
//! run asks for nothing twice. What does not carry the run's mark is neither filled nor renamed away for good nor deleted; nothing else on the
//! instance is named in any statement.

use async_trait::async_trait;
use dxdr_plan::{
    instance::{Job, Operation, OperationStatus, Priority, Work},
    restore::database::attempted,
};
use dxdr_provider::{
    InstanceError, InstanceErrorKind,
    database::{DatabaseProblem, Examined, Swap},
    instance::InstanceRequest,
    mark::unmarked,
    quoting::identifier,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    InstanceTurns, Made, carry_out, handover,
    look::not_understood,
    operation_of,
    statement::{self, ADMINISTRATION, Found, plainly},
};
use crate::error::RunError;

/// How often databases are asked to change names while somebody is in the way.
const ATTEMPTS: u32 = 6;

/// How often an import is tried in one run. Each attempt behind the first takes somebody who resumes it.
const IMPORTS: u32 = 9;

/// For whom databases are brought back on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BesideOrder {
    /// The run whose mark they carry.
    pub(crate) run: String,
    /// Whose environment.
    pub(crate) environment: String,
    /// How long each piece of work may wait for its turn, and take.
    pub(crate) timeout: SignedDuration,
}

/// An import that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// What the point calls the database. Unique in the run.
    pub(crate) unit: String,
    /// The name of the new database.
    pub(crate) database: String,
    /// `gs://…`
    pub(crate) uri: String,
}

impl Import {
    /// The same for an attempt, whose database has a name of its own.
    fn attempted(import: &Self, attempt: u32) -> Self {
        Self { database: attempted(&import.database, attempt), ..import.clone() }
    }

    fn work(&self) -> Work {
        Work::Import { uri: self.uri.clone(), database: self.database.clone() }
    }
}

/// What a piece of work is called, in an attempt behind the first.
fn numbered(what: &str, attempt: u32) -> String {
    if attempt > 1 { format!("{what}#{attempt}") } else { what.to_owned() }
}

/// What was given to a database that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandedOver {
    /// The role that it belongs to.
    pub(crate) owner: String,
    /// How many settings it got.
    pub(crate) settings: usize,
    /// How many rights to it were given.
    pub(crate) grants: usize,
    /// How many owners and rights of what is in it differed.
    pub(crate) objects: usize,
}

/// How long work on the same object took before, as far as the service still knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Took {
    /// Its export.
    pub(crate) export: Option<SignedDuration>,
    /// The last import of it.
    pub(crate) import: Option<SignedDuration>,
}

/// Databases on one instance.
pub(crate) struct Beside {
    pub(crate) turns: InstanceTurns,
    pub(crate) order: BesideOrder,
}

impl Beside {
    /// What an import would meet. `original` is the database that it is to take the place of, `kept` what that one is to be called then. Changes nothing.
    pub(crate) async fn examine(
        &self,
        import: &Import,
        original: &str,
        kept: Option<&str>,
    ) -> Result<(Examined, Took), RunError> {
        let (instances, instance) = (&self.turns.instances, &self.turns.instance);
        let seen = instances.instance(instance).await?;
        let mut examined = Examined::default();
        let mut problem = |message: String, remedy: String| examined.problems.push(DatabaseProblem { message, remedy });
        if seen.stopped {
            let start = format!(
                "`gcloud sql instances patch {} --project {} --activation-policy ALWAYS` starts it",
                instance.instance, instance.project
            );
            problem(format!("{instance} is stopped"), start);
            return Ok((examined, Took::default()));
        }
        if !seen.version.starts_with("POSTGRES") {
            problem(
                format!("{instance} is {}, and only databases of PostgreSQL can be renamed into place", seen.version),
                format!("import {} by hand, into an empty database", import.uri),
            );
            return Ok((examined, Took::default()));
        }
        let found = self.found().await?;
        for name in [Some(import.database.as_str()), kept].into_iter().flatten() {
            if found.iter().any(|found| found.name == name) {
                problem(
                    format!("there is a database `{name}` already"),
                    "drop it if nobody needs it, and try again: another run takes another name".to_owned(),
                );
            }
        }
        let original = found.iter().find(|found| found.name == original);
        examined.original = original.is_some();
        examined.connections = original.map_or(0, |found| found.connections);
        let held = match original {
            Some(original) if kept.is_some() => self.held(&original.name).await?,
            _ => None,
        };
        if let Some(held) = held.filter(|held| !held.member) {
            let owner = &held.properties.owner;
            examined.problems.push(DatabaseProblem {
                message: format!("it belongs to `{owner}`, and the account cannot give what it brings to that role"),
                remedy: format!("`GRANT {} TO \"ACCOUNT\"`, executed as `postgres`, makes it a member", identifier(owner)),
            });
        }
        let operations: Vec<Operation> = instances.operations(instance).await?.iter().map(operation_of).collect();
        Ok((examined, took(&operations, &import.uri)))
    }

    /// Makes the database, marks it, and has the object read into it. Asked again by any process of the run, it takes up what was begun. What failed before it was asked is
    /// dropped, and tried again under another name: under the same one nobody could tell whose failure the service remembers. The database has its own name
    /// again in the end.
    pub(crate) async fn import(&self, import: &Import) -> Result<(), RunError> {
        let operations: Vec<Operation> =
            self.turns.instances.operations(&self.turns.instance).await?.iter().map(operation_of).collect();
        let mut attempts = (1..=IMPORTS).rev().map(|attempt| (attempt, Import::attempted(import, attempt)));
        // Operations that the service has forgotten are older than all that it remembers, so the last attempt is among these.
        let last = attempts
            .find_map(|(attempt, import)| Some((attempt, operations.iter().find(|operation| operation.work == import.work())?)));
        let attempt = match last {
            None => 1,
            Some((attempt, operation)) => match operation.status {
                OperationStatus::Succeeded if attempt > 1 => return self.named_as_planned(import, attempt).await,
                OperationStatus::Failed(_) if attempt < IMPORTS => {
                    let failed = Import::attempted(import, attempt);
                    tracing::info!(operation = operation.name, attempt, "failed in an earlier process, and is tried again");
                    self.discard_one(&failed.database).await?;
                    attempt + 1
                }
                _ => attempt,
            },
        };
        self.import_once(&Import::attempted(import, attempt), attempt).await?;
        if attempt > 1 { self.named_as_planned(import, attempt).await } else { Ok(()) }
    }

    async fn import_once(&self, import: &Import, attempt: u32) -> Result<(), RunError> {
        self.made(import, attempt).await?;
        let job = self.job(&numbered(&format!("{}/import", import.unit), attempt), import.work());
        let request = InstanceRequest::Import { database: import.database.clone(), uri: import.uri.clone() };
        match carry_out(&self.turns, &job, &request, &Unseen).await {
            Ok(_) => Ok(()),
            Err(RunError::InstanceOperation { instance, what, operation, message, hint }) => {
                let again = match attempt {
                    ..IMPORTS => {
                        "once the reason is mended, whoever resumes the run drops what is half there, and imports again under another name"
                    }
                    _ => "it failed too often: end this run, which drops what it made, and restore again",
                };
                let hint = Some(hint.map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}")));
                Err(RunError::InstanceOperation { instance, what, operation, message, hint })
            }
            Err(error) => Err(error),
        }
    }

    /// Gives what an attempt brought the name that the journal has. Asked again, it finds that it was done.
    async fn named_as_planned(&self, import: &Import, attempt: u32) -> Result<(), RunError> {
        let from = Import::attempted(import, attempt).database;
        self.insist(|found| {
            let is_ours =
                |name: &str| found.iter().any(|found| found.name == name && found.mark() == Some(self.order.run.as_str()));
            if is_ours(&from) {
                return Ok(Some(statement::renaming(&from, &import.database)));
            }
            if is_ours(&import.database) { Ok(None) } else { Err(self.strange(&import.database, "name a database of").into()) }
        })
        .await
    }

    /// The empty database, with the mark of the run.
    async fn made(&self, import: &Import, attempt: u32) -> Result<(), RunError> {
        let name = import.database.as_str();
        let found = self.found().await?;
        match found.iter().find(|found| found.name == name) {
            Some(found) if found.mark() == Some(self.order.run.as_str()) => return Ok(()),
            Some(Found { comment: Some(_), .. }) => return Err(self.strange(name, "import into").into()),
            // A process of this run that died between making and marking it has left it so.
            Some(_) => {}
            None => {
                let what = numbered(&format!("{}/create", import.unit), attempt);
                let job = self.job(&what, Work::CreateDatabase { database: name.to_owned() });
                let request = InstanceRequest::CreateDatabase { database: name.to_owned() };
                carry_out(&self.turns, &job, &request, &There { beside: self, name }).await?;
            }
        }
        // Nothing is lost by filling what is empty, whoever made it.
        if self.relations(name).await? != 0 {
            return Err(self.strange(name, "import into").into());
        }
        let marking = statement::marking(name, &self.order.run, None);
        self.turns.instances.execute(&self.turns.instance, ADMINISTRATION, &marking).await?;
        Ok(())
    }

    /// Puts one database in the place of another. Asked again, it finds that it was done.
    pub(crate) async fn swap(&self, swap: &Swap) -> Result<(), RunError> {
        self.insist(|found| {
            let changes = statement::changes(found, swap)
                .map_err(|refusal| self.error(refusal.kind, "put a database in place on", refusal.message, None))?;
            Ok((!changes.is_empty()).then(|| statement::swapping(swap, &changes)))
        })
        .await
    }

    /// Executes what is left to do by the databases that there are, until nothing is. Whether an answer that was lost was a yes, the next look tells; somebody who
    /// connects anew is cut again.
    async fn insist(&self, left: impl Fn(&[Found]) -> Result<Option<String>, RunError>) -> Result<(), RunError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Some(statements) = left(&self.found().await?)? else { return Ok(()) };
            let error = match self.turns.instances.execute(&self.turns.instance, ADMINISTRATION, &statements).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if !error.kind.retryable() || attempt == ATTEMPTS {
                return Err(error.into());
            }
            tracing::debug!(%error, attempt, "the databases have not changed names yet");
            tokio::select! {
                () = tokio::time::sleep(self.turns.first_pause * attempt) => {}
                () = self.turns.stop.wait() => return Err(RunError::Interrupted),
            }
        }
    }

    /// Gives what was imported as `brought` what `original` has and no export: see [`handover`](super::handover). `None` when there is no original. Asked again, it does what
    /// is left.
    pub(crate) async fn hand_over(&self, original: &str, brought: &str) -> Result<Option<HandedOver>, RunError> {
        let found = self.found().await?;
        let Some(held) = self.held(original).await? else { return Ok(None) };
        if found.iter().all(|found| found.name != brought || found.mark() != Some(self.order.run.as_str())) {
            return Err(self.strange(brought, "hand over to").into());
        }
        let comment = found.iter().find(|found| found.name == original).and_then(|found| found.comment.as_deref());
        let comment = comment.and_then(unmarked);
        let instances = &self.turns.instances;
        let (name, properties) = (&self.turns.instance, &held.properties);
        instances.execute(name, ADMINISTRATION, &statement::marking(brought, &self.order.run, comment.as_deref())).await?;
        // The owner first: who is to own something has to have a right to its schema, and `public` is the owner's of the database.
        let statements = properties.statements(brought);
        instances.execute(name, ADMINISTRATION, &statements).await.map_err(|error| self.unpermitted(error))?;
        let changes = handover::handover(&self.objects(original).await?, &self.objects(brought).await?);
        for transaction in handover::transactions(&changes) {
            if self.turns.stop.asked() {
                return Err(RunError::Interrupted);
            }
            instances.execute(name, brought, &plainly(&transaction)).await.map_err(|error| self.unpermitted(error))?;
        }
        let grants = properties.grants.as_ref().map_or(0, Vec::len);
        Ok(Some(HandedOver {
            owner: properties.owner.clone(),
            settings: properties.settings.len(),
            grants,
            objects: changes.len(),
        }))
    }

    async fn held(&self, database: &str) -> Result<Option<handover::Held>, RunError> {
        let rows = self
            .turns
            .instances
            .execute(&self.turns.instance, ADMINISTRATION, &plainly(&handover::properties_of(database)))
            .await?;
        handover::held(&rows).map_err(|()| self.misunderstood())
    }

    async fn objects(&self, database: &str) -> Result<handover::Objects, RunError> {
        let mut all = handover::Objects::new();
        loop {
            let question = plainly(&handover::objects_from(all.len()));
            let rows = self.turns.instances.execute(&self.turns.instance, database, &question).await?;
            let page = handover::objects(&rows).ok_or_else(|| self.misunderstood())?;
            let last = page.len() < handover::PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    /// Nothing was put in place yet, so that whoever mends the reason can go on.
    fn unpermitted(&self, error: InstanceError) -> InstanceError {
        let again = "what is live was not touched; when that is mended, `dxdr runs resume` goes on".to_owned();
        let hint = Some(error.hint.map_or_else(|| again.clone(), |hint| format!("{hint}; {again}")));
        InstanceError { action: "hand over the rights of", hint, ..error }
    }

    /// Whether the swap was done, by what is there. Changes nothing.
    pub(crate) async fn swapped(&self, swap: &Swap) -> Result<bool, RunError> {
        Ok(statement::swapped(&self.found().await?, swap))
    }

    /// Deletes the database of that name, and those of attempts to make it, if they carry the mark of the run; `Ok(false)` when there is none.
    pub(crate) async fn discard(&self, name: &str) -> Result<bool, RunError> {
        let found = self.found().await?;
        let is_ours = |name: &str| found.iter().any(|found| found.name == name && found.mark() == Some(self.order.run.as_str()));
        let mut dropped = false;
        for attempt in attempts(name).skip(1).filter(|name| is_ours(name)) {
            dropped |= self.discard_one(&attempt).await?;
        }
        Ok(self.discard_one(name).await? || dropped)
    }

    async fn discard_one(&self, name: &str) -> Result<bool, RunError> {
        let gone = Gone { beside: self, name };
        if gone.made().await? {
            return Ok(false);
        }
        self.turns.instances.execute(&self.turns.instance, ADMINISTRATION, &statement::cutting(&[name])).await?;
        let job = self.job(&format!("{name}/delete"), Work::DeleteDatabase { database: name.to_owned() });
        carry_out(&self.turns, &job, &InstanceRequest::DeleteDatabase { database: name.to_owned() }, &gone).await?;
        Ok(true)
    }

    pub(super) fn job(&self, what: &str, work: Work) -> Job {
        let now = self.turns.clock.now();
        Job {
            id: format!("{}/{what}", self.order.run),
            run: self.order.run.clone(),
            environment: self.order.environment.clone(),
            priority: Priority::Restore,
            work,
            deadline: now.saturating_add(self.order.timeout).unwrap_or(Timestamp::MAX),
        }
    }

    pub(super) async fn found(&self) -> Result<Vec<Found>, RunError> {
        let rows = self.turns.instances.execute(&self.turns.instance, ADMINISTRATION, &plainly(statement::CATALOGUE)).await?;
        statement::catalogue(&rows).ok_or_else(|| self.misunderstood())
    }

    pub(super) async fn relations(&self, database: &str) -> Result<u64, RunError> {
        let rows = self.turns.instances.execute(&self.turns.instance, database, &plainly(statement::RELATIONS)).await?;
        statement::relations(&rows).ok_or_else(|| self.misunderstood())
    }

    fn misunderstood(&self) -> RunError {
        let message = "what it says of its databases is not whole, or not understood".to_owned();
        self.error(InstanceErrorKind::Malformed, "look at", message, Some(not_understood(&self.turns.instance))).into()
    }

    fn strange(&self, name: &str, action: &'static str) -> InstanceError {
        let hint = format!(
            "it is left alone; if nobody needs it, `DROP DATABASE {}`, executed in `postgres`, drops it",
            identifier(name)
        );
        let message = format!("`{name}` does not carry the mark of run {}", self.order.run);
        self.error(InstanceErrorKind::NameTaken, action, message, Some(hint))
    }

    pub(super) fn error(
        &self,
        kind: InstanceErrorKind,
        action: &'static str,
        message: String,
        hint: Option<String>,
    ) -> InstanceError {
        InstanceError { kind, action, what: format!("instance `{}`", self.turns.instance), message, hint, source: None }
    }
}

/// The names under which a run makes the database of that name, one an attempt.
pub(super) fn attempts(name: &str) -> impl Iterator<Item = String> {
    (1..=IMPORTS).map(move |attempt| attempted(name, attempt))
}

/// How long work on the object took.
fn took(operations: &[Operation], uri: &str) -> Took {
    let mut took = Took::default();
    // The newest first.
    for operation in operations {
        let worked = operation.worked_for().filter(|_| operation.status == OperationStatus::Succeeded);
        match &operation.work {
            Work::Export { uri: theirs, .. } if theirs == uri => took.export = took.export.or(worked),
            Work::Import { uri: theirs, .. } if theirs == uri => took.import = took.import.or(worked),
            _ => {}
        }
    }
    took
}

/// An import is found by its operation alone: a database that is not empty may be half of one.
struct Unseen;

#[async_trait]
impl Made for Unseen {
    async fn made(&self) -> Result<bool, RunError> {
        Ok(false)
    }
}

/// A database that is made when it is listed.
struct There<'a> {
    beside: &'a Beside,
    name: &'a str,
}

#[async_trait]
impl Made for There<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        let listed = self.beside.turns.instances.databases(&self.beside.turns.instance).await?;
        Ok(listed.iter().any(|name| name == self.name))
    }
}

/// A database that is to go. It is looked at once more when it is its turn: what lost the mark by then stays.
struct Gone<'a> {
    beside: &'a Beside,
    name: &'a str,
}

#[async_trait]
impl Made for Gone<'_> {
    async fn made(&self) -> Result<bool, RunError> {
        let found = self.beside.found().await?;
        match found.iter().find(|found| found.name == self.name) {
            None => Ok(true),
            Some(found) if found.mark() == Some(self.beside.order.run.as_str()) => Ok(false),
            Some(_) => Err(self.beside.strange(self.name, "delete a database of").into()),
        }
    }
}
