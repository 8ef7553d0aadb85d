//! Operations: accepted, waited for, done. What they achieve happens at their end, and all at once.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::{
    Shared,
    backup::{Backup, Kept},
    failure::Failure,
    fault::Failing,
    instance::{Machine, Statement, dump, read_dump},
    object_store::{self, Refused},
    postgresql,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Pending,
    Running,
    Done,
}

/// What an operation achieves.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Nothing,
    Export {
        uri: String,
        databases: Vec<String>,
        clean: bool,
    },
    Import {
        uri: String,
        database: String,
        user: Option<String>,
    },
    Clone {
        destination: String,
        at: Option<Timestamp>,
    },
    Create {
        machine: Box<Machine>,
    },
    Delete,
    Patch {
        settings: Value,
    },
    Backup {
        id: u64,
        description: String,
    },
    DeleteBackup {
        id: u64,
    },
    /// What the backup keeps takes the place of what is on the instance.
    RestoreBackup {
        kept: Kept,
    },
    /// The instance is made, as it was, but for these settings.
    CreateOfBackup {
        kept: Kept,
        settings: Value,
    },
    CreateDatabase {
        database: String,
    },
    DeleteDatabase {
        database: String,
    },
    CreateUser {
        user: String,
    },
    DeleteUser {
        user: String,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) project: String,
    /// The instance it occupies.
    pub(crate) instance: String,
    /// The instance it is about.
    pub(crate) target: String,
    pub(crate) kind: String,
    pub(crate) user: String,
    pub(crate) status: Status,
    pub(crate) inserted: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) error: Option<Refused>,
    /// `exportContext` and the like, as it was asked for.
    pub(crate) context: Map<String, Value>,
    pub(crate) offloaded: bool,
    pub(crate) held: bool,
    pub(crate) released: Arc<Notify>,
}

impl Operation {
    pub(crate) fn new(project: &str, instance: &str, kind: &str, user: &str, now: Timestamp) -> Self {
        Self {
            name: String::new(),
            project: project.to_owned(),
            instance: instance.to_owned(),
            target: instance.to_owned(),
            kind: kind.to_owned(),
            user: user.to_owned(),
            status: Status::Pending,
            inserted: now,
            started: None,
            ended: None,
            error: None,
            context: Map::new(),
            offloaded: false,
            held: false,
            released: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn is_on(&self, project: &str, instance: &str) -> bool {
        self.project == project && (self.instance == instance || self.target == instance)
    }

    /// A serverless export lets everything but exports and imports go on.
    pub(crate) fn blocks(&self, kind: &str) -> bool {
        !(self.kind == "EXPORT" && self.offloaded) || matches!(kind, "EXPORT" | "IMPORT")
    }

    pub(crate) fn json(&self, base: &str) -> Value {
        let Self { name, project, target, kind, user, .. } = self;
        let status = match self.status {
            Status::Pending => "PENDING",
            Status::Running => "RUNNING",
            Status::Done => "DONE",
        };
        let mut json = json!({
            "kind": "sql#operation",
            "name": name,
            "status": status,
            "operationType": kind,
            "user": user,
            "insertTime": self.inserted.to_string(),
            "targetId": target,
            "targetProject": project,
            "targetLink": format!("{base}/v1/projects/{project}/instances/{target}"),
            "selfLink": format!("{base}/v1/projects/{project}/operations/{name}"),
        });
        let times = [("startTime", self.started), ("endTime", self.ended)];
        for (key, time) in times.into_iter().filter_map(|(key, time)| Some((key, time?))) {
            json[key] = json!(time.to_string());
        }
        for (key, value) in &self.context {
            json[key] = value.clone();
        }
        if let Some((code, message)) = &self.error {
            let error = json!({"kind": "sql#operationError", "code": code, "message": message});
            json["error"] = json!({"kind": "sql#operationErrors", "errors": [error]});
        }
        json
    }
}

/// Accepts an operation, if nothing is in its way, and lets it go on by itself. Answers its name.
pub(crate) fn begin(shared: &Arc<Shared>, request: &str, mut operation: Operation, effect: Effect) -> Result<String, Failure> {
    let mut state = shared.state();
    let busy = state.in_the_way(&operation.project, &operation.instance, &operation.kind).is_some();
    // The other instance is made, or gone, before anything else can be done with it.
    let target_busy = operation.target != operation.instance
        && state.in_the_way(&operation.project, &operation.target, &operation.kind).is_some();
    if busy || target_busy {
        return Err(Failure::in_progress(409));
    }
    // What is sent back meets no fault of what is accepted.
    let failing = shared.faults.take(request, |failing| !failing.of_request());
    operation.held = failing == Some(Failing::Held);
    let (name, released) = state.accept(operation);
    let task = shared.runtime.spawn(run(Arc::clone(shared), name.clone(), effect, failing, released));
    state.keep(task);
    Ok(name)
}

/// An operation of others, which runs until it is released.
pub(crate) fn begin_foreign(shared: &Arc<Shared>, project: &str, instance: &str, kind: &str, user: &str) -> Option<String> {
    let mut operation = Operation::new(project, instance, kind, user, shared.now());
    operation.held = true;
    let mut state = shared.state();
    if state.in_the_way(project, instance, kind).is_some() {
        return None;
    }
    let (name, released) = state.accept(operation);
    let task = shared.runtime.spawn(run(Arc::clone(shared), name.clone(), Effect::Nothing, Some(Failing::Held), released));
    state.keep(task);
    Some(name)
}

async fn run(shared: Arc<Shared>, name: String, effect: Effect, failing: Option<Failing>, released: Arc<Notify>) {
    let now = shared.now();
    let Some((project, instance)) = shared.state().operation_mut(&name).map(|operation| {
        operation.status = Status::Running;
        operation.started = Some(now);
        (operation.project.clone(), operation.instance.clone())
    }) else {
        return;
    };
    let backup = match &effect {
        Effect::Backup { id, description } => Some((*id, description.clone())),
        _ => None,
    };
    let result = match failing {
        Some(Failing::Fails(code, message)) => Err((code, message)),
        failing => {
            match failing {
                Some(Failing::Slow(delay)) => tokio::time::sleep(delay).await,
                Some(Failing::Held) => released.notified().await,
                _ => {}
            }
            match postgresql::work::achieve(&shared, &project, &instance, &effect).await {
                Some(achieved) => achieved,
                None => achieve(&shared, &project, &instance, effect).await,
            }
        }
    };
    let started = now;
    let now = shared.now();
    let mut state = shared.state();
    if let (Some((id, description)), Err(_)) = (backup, &result) {
        // What was tried is listed.
        let kept = None;
        state.backups.push(Backup { id, project, instance, requested: true, description, started, ended: now, kept, gone: None });
    }
    if let Some(operation) = state.operation_mut(&name) {
        operation.status = Status::Done;
        operation.ended = Some(now);
        operation.error = result.err();
    }
}

async fn achieve(shared: &Shared, project: &str, instance: &str, effect: Effect) -> Result<(), Refused> {
    let gone = || ("ERROR_RDBMS".to_owned(), "The Cloud SQL instance does not exist.".to_owned());
    match effect {
        Effect::Export { uri, databases, .. } => {
            let (text, account, token) = {
                let state = shared.state();
                let machine = state.machine(project, instance).map_err(|_| gone())?;
                let mut text = String::new();
                for database in &databases {
                    let statements = machine.databases.get(database).ok_or_else(|| missing(database))?;
                    text.push_str(&dump(statements));
                }
                (text, machine.instance.service_account.clone(), machine.instance.storage_token.clone())
            };
            object_store::write(shared, token.as_deref(), &account, &uri, &text).await
        }
        Effect::Import { uri, database, .. } => {
            let (account, token) = {
                let state = shared.state();
                let machine = state.machine(project, instance).map_err(|_| gone())?;
                let statements = machine.databases.get(&database).ok_or_else(|| missing(&database))?;
                if !statements.is_empty() {
                    let message = format!("ERROR: relation already exists in database \"{database}\"");
                    return Err(("ERROR_RDBMS".to_owned(), message));
                }
                (machine.instance.service_account.clone(), machine.instance.storage_token.clone())
            };
            let text = object_store::read(shared, token.as_deref(), &account, &uri).await?;
            let texts = read_dump(&text)
                .ok_or_else(|| ("ERROR_RDBMS".to_owned(), "ERROR: syntax error at or near the first line".to_owned()))?;
            let at = shared.now();
            let statements = texts.into_iter().map(|text| Statement { at, text }).collect();
            let mut state = shared.state();
            let machine = state.machine_mut(project, instance).ok_or_else(gone)?;
            machine.keep(at);
            machine.databases.insert(database, statements);
            Ok(())
        }
        effect => at_once(shared, project, instance, effect).ok_or_else(gone),
    }
}

/// What needs nothing but the state; `None` when the instance is not there any more.
fn at_once(shared: &Shared, project: &str, instance: &str, effect: Effect) -> Option<()> {
    let now = shared.now();
    let mut state = shared.state();
    match effect {
        Effect::Nothing | Effect::Export { .. } | Effect::Import { .. } => {}
        Effect::Clone { destination, at } => {
            let source = state.machine(project, instance).ok()?.clone();
            let mut machine = Machine::new(source.instance.clone(), now);
            machine.become_as_of(&source, at.unwrap_or(now));
            machine.users = source.users;
            state.insert_machine(project, &destination, machine);
        }
        Effect::Create { machine } => state.insert_machine(project, instance, *machine),
        Effect::Delete => state.remove_instance(project, instance, now),
        Effect::Patch { settings } => {
            state.machine_mut(project, instance)?.instance.patch(&settings);
        }
        Effect::Backup { id, description } => {
            let kept = Some(Kept::of(state.machine(project, instance).ok()?));
            let (project, instance) = (project.to_owned(), instance.to_owned());
            state.backups.push(Backup {
                id,
                project,
                instance,
                requested: true,
                description,
                started: now,
                ended: now,
                kept,
                gone: None,
            });
        }
        Effect::DeleteBackup { id } => state.backups.retain(|backup| backup.id != id),
        Effect::RestoreBackup { kept } => {
            let machine = state.machine_mut(project, instance)?;
            machine.keep(now);
            machine.databases = kept.machine.databases;
            machine.comments = kept.machine.comments;
        }
        Effect::CreateOfBackup { kept, settings } => {
            let mut machine = Machine { created: now, ..*kept.machine };
            machine.instance.patch(&settings);
            state.insert_machine(project, instance, machine);
        }
        Effect::CreateDatabase { database } => {
            let machine = state.machine_mut(project, instance)?;
            machine.keep(now);
            machine.databases.entry(database).or_default();
        }
        Effect::DeleteDatabase { database } => {
            let machine = state.machine_mut(project, instance)?;
            machine.keep(now);
            machine.databases.remove(&database);
            machine.comments.remove(&database);
        }
        Effect::CreateUser { user } => state.machine_mut(project, instance)?.users.push(user),
        Effect::DeleteUser { user } => state.machine_mut(project, instance)?.users.retain(|other| *other != user),
    }
    Some(())
}

fn missing(database: &str) -> Refused {
    ("ERROR_RDBMS".to_owned(), format!("FATAL: database \"{database}\" does not exist"))
}
