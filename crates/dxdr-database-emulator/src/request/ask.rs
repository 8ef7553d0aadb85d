//! What begins an operation, and `executeSql`, which is none.

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, statement};
use crate::{
    Instance,
    failure::Failure,
    instance::Machine,
    operation::{Effect, Operation, begin},
    postgresql,
};

/// Creates an instance.
pub(super) fn create(call: &Call, project: &str) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.instances.create")?;
    let name = text(&call.body, "name").ok_or_else(|| Failure::invalid("Missing parameter: name."))?;
    let now = call.shared.now();
    call.shared.state().free_name(project, &name, now)?;
    let mut instance = Instance { deletion_protection: false, ..Instance::default() };
    if let Some(version) = text(&call.body, "databaseVersion") {
        instance.version = version;
    }
    if let Some(labels) = call.body["settings"]["userLabels"].as_object() {
        let labels = labels.iter().map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
        instance.labels = labels.collect();
    }
    let operation = Operation::new(project, &name, "CREATE", &call.caller.email, now);
    let effect = Effect::Create { machine: Box::new(Machine::new(instance, now)) };
    call.operation(&begin(&call.shared, "instances", operation, effect)?)
}

/// By a backup's name: over an instance that is there, or, with settings, into a new one.
pub(super) fn restore_backup(call: &Call, project: &str, instance: &str, request: &str) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.instances.restoreBackup")?;
    let now = call.shared.now();
    let name = text(&call.body, "backup").unwrap_or_default();
    let new = call.body.get("restoreInstanceSettings");
    let effect = {
        let state = call.shared.state();
        let kept = state.backup(&name)?.kept.clone();
        let kept = kept.ok_or_else(|| Failure::invalid("The backup was not successful."))?;
        match (state.machine(project, instance), new) {
            (Ok(machine), None) if machine.instance.runs() => Effect::RestoreBackup { kept },
            (Ok(_), None) => {
                return Err(Failure::new(400, "instanceNotRunning", "Invalid request: the instance is not running."));
            }
            (there, settings) => {
                if there.is_err() {
                    call.caller.may(project, "cloudsql.instances.create")?;
                }
                state.free_name(project, instance, now)?;
                Effect::CreateOfBackup { kept, settings: settings.map(|new| new["settings"].clone()).unwrap_or_default() }
            }
        }
    };
    let operation = Operation::new(project, instance, "RESTORE_VOLUME", &call.caller.email, now);
    call.operation(&begin(&call.shared, request, operation, effect)?)
}

/// Removes a backup, whether or not its instance is there.
pub(super) fn delete_backup(call: &Call, project: &str, id: &str, request: &str) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.backupRuns.delete")?;
    let (instance, id) = {
        let state = call.shared.state();
        let backup = state.backup(&format!("projects/{project}/backups/{id}"))?;
        (backup.instance.clone(), backup.id)
    };
    let operation = Operation::new(project, &instance, "DELETE_BACKUP", &call.caller.email, call.shared.now());
    call.operation(&begin(&call.shared, request, operation, Effect::DeleteBackup { id })?)
}

/// Everything that is asked of an instance that is there.
pub(super) fn change(call: &Call, project: &str, instance: &str, rest: &[&str], request: &str) -> Result<Value, Failure> {
    let (permission, kind, needs_running) = match (&call.method, rest) {
        (&Method::DELETE, []) => ("cloudsql.instances.delete", "DELETE", false),
        (&Method::PATCH, []) => ("cloudsql.instances.update", "UPDATE", false),
        (&Method::POST, ["export"]) => ("cloudsql.instances.export", "EXPORT", true),
        (&Method::POST, ["import"]) => ("cloudsql.instances.import", "IMPORT", true),
        (&Method::POST, ["clone"]) => ("cloudsql.instances.clone", "CLONE", true),
        (&Method::POST, ["restoreBackup"]) => ("cloudsql.instances.restoreBackup", "RESTORE_VOLUME", true),
        (&Method::POST, ["backupRuns"]) => ("cloudsql.backupRuns.create", "BACKUP_VOLUME", true),
        (&Method::POST, ["databases"]) => ("cloudsql.databases.create", "CREATE_DATABASE", true),
        (&Method::DELETE, ["databases", _]) => ("cloudsql.databases.delete", "DELETE_DATABASE", true),
        (&Method::POST, ["users"]) => ("cloudsql.users.create", "CREATE_USER", true),
        (&Method::DELETE, ["users"]) => ("cloudsql.users.delete", "DELETE_USER", true),
        (&Method::POST, ["executeSql"]) => ("cloudsql.instances.executeSql", "", true),
        _ => return Err(Failure::new(404, "notFound", "Not Found")),
    };
    call.caller.may(project, permission)?;
    let machine = call.shared.state().machine(project, instance)?.clone();
    if needs_running && !machine.instance.runs() {
        return Err(Failure::new(400, "instanceNotRunning", "Invalid request: the instance is not running."));
    }
    if kind.is_empty() {
        return execute(call, project, instance, &machine);
    }
    let mut operation = Operation::new(project, instance, kind, &call.caller.email, call.shared.now());
    let effect = effect(call, project, &machine, &mut operation, rest)?;
    call.operation(&begin(&call.shared, request, operation, effect)?)
}

fn effect(call: &Call, project: &str, machine: &Machine, operation: &mut Operation, rest: &[&str]) -> Result<Effect, Failure> {
    let body = &call.body;
    let now = call.shared.now();
    let required =
        |value: &Value, key: &str| text(value, key).ok_or_else(|| Failure::invalid(format!("Missing parameter: {key}.")));
    Ok(match (operation.kind.as_str(), rest) {
        ("DELETE", _) if machine.instance.deletion_protection => {
            return Err(Failure::new(400, "deletionProtected", "The instance is protected. Please disable deletion protection."));
        }
        ("DELETE", _) => Effect::Delete,
        ("UPDATE", _) => Effect::Patch { settings: body["settings"].clone() },
        ("EXPORT", _) => {
            let context = &body["exportContext"];
            let uri = required(context, "uri")?;
            let databases = texts(&context["databases"]);
            if databases.len() != 1 {
                return Err(Failure::invalid("Exactly one database must be exported from a PostgreSQL instance."));
            }
            operation.offloaded = context["offload"].as_bool().unwrap_or(false);
            operation.context.insert("exportContext".to_owned(), context.clone());
            let clean = context["sqlExportOptions"]["postgresExportOptions"]["clean"].as_bool().unwrap_or(false);
            Effect::Export { uri, databases, clean }
        }
        ("IMPORT", _) => {
            let context = &body["importContext"];
            operation.context.insert("importContext".to_owned(), context.clone());
            let (uri, database) = (required(context, "uri")?, required(context, "database")?);
            Effect::Import { uri, database, user: text(context, "importUser") }
        }
        ("CLONE", _) => {
            let context = &body["cloneContext"];
            let destination = required(context, "destinationInstanceName")?;
            call.shared.state().free_name(project, &destination, now)?;
            let at = text(context, "pointInTime")
                .map(|text| text.parse::<Timestamp>().map_err(|error| Failure::invalid(error.to_string())))
                .transpose()?;
            let covered = at.is_none_or(|at| machine.window(now).is_some_and(|(first, last)| first <= at && at <= last));
            if !covered {
                return Err(Failure::new(
                    400,
                    "invalidPointInTime",
                    "The requested point in time is outside of the recovery window.",
                ));
            }
            operation.target.clone_from(&destination);
            Effect::Clone { destination, at }
        }
        ("RESTORE_VOLUME", _) => {
            let id = &body["restoreBackupContext"]["backupRunId"];
            let id = id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|id| id.to_string())).unwrap_or_default();
            let source = text(&body["restoreBackupContext"], "instanceId").unwrap_or_else(|| operation.instance.clone());
            let state = call.shared.state();
            state.machine(project, &source)?;
            let found = state.backups.iter().find(|backup| backup.instance == source && backup.id.to_string() == id);
            let kept = found.filter(|backup| backup.project == project).and_then(|backup| backup.kept.clone());
            let kept = kept.ok_or_else(|| Failure::new(404, "backupRunDoesNotExist", "The backup run does not exist."))?;
            Effect::RestoreBackup { kept }
        }
        ("BACKUP_VOLUME", _) => {
            let id = call.shared.state().next_backup();
            operation
                .context
                .insert("backupContext".to_owned(), json!({"kind": "sql#backupContext", "backupId": id.to_string()}));
            Effect::Backup { id, description: text(body, "description").unwrap_or_default() }
        }
        ("CREATE_DATABASE", _) => {
            let database = required(body, "name")?;
            if machine.has_database(&database)? {
                return Err(Failure::new(400, "invalid", format!("database \"{database}\" already exists")));
            }
            Effect::CreateDatabase { database }
        }
        ("DELETE_DATABASE", ["databases", name]) => {
            if !machine.has_database(name)? {
                return Err(Failure::no_database(name));
            }
            Effect::DeleteDatabase { database: (*name).to_owned() }
        }
        ("CREATE_USER", _) => Effect::CreateUser { user: required(body, "name")? },
        ("DELETE_USER", _) => Effect::DeleteUser { user: call.query("name").unwrap_or_default().to_owned() },
        _ => return Err(Failure::new(404, "notFound", "Not Found")),
    })
}

/// What is about databases themselves is done; a query that was prepared answers its rows; everything else is executed, and answers none.
fn execute(call: &Call, project: &str, instance: &str, machine: &Machine) -> Result<Value, Failure> {
    if !machine.instance.data_api {
        return Err(Failure::new(400, "invalidRequest", "The Data API is not enabled on the instance."));
    }
    let sql = text(&call.body, "sqlStatement").ok_or_else(|| Failure::invalid("Missing parameter: sqlStatement."))?;
    let database = text(&call.body, "database").unwrap_or_else(|| "postgres".to_owned());
    if !machine.has_database(&database)? {
        return Err(Failure::no_database(&database));
    }
    let limit = row_limit(&call.body);
    if let Some(server) = &machine.server {
        return Ok(postgresql::execute(server, &database, text(&call.body, "user").as_deref(), &sql, limit));
    }
    let now = call.shared.now();
    let mut state = call.shared.state();
    let administered = match state.machine_mut(project, instance) {
        Some(machine) => statement::administer(machine, &database, &sql, now),
        None => None,
    };
    let (columns, rows) = match administered {
        Some(Ok(rows)) => rows,
        Some(Err(message)) => return Ok(json!({"results": [], "status": {"code": 3, "message": message}})),
        None => match state.rows(&sql) {
            Some(rows) => rows,
            None => {
                state.execute(project, instance, &database, &sql, now);
                return Ok(json!({"results": [{"message": "OK"}]}));
            }
        },
    };
    let partial = rows.len() > limit;
    let columns: Vec<Value> = columns.iter().map(|name| json!({"name": name, "type": "TEXT"})).collect();
    let rows: Vec<Value> = rows
        .iter()
        .take(limit)
        .map(|row| json!({"values": row.iter().map(|value| json!({"value": value})).collect::<Vec<_>>()}))
        .collect();
    Ok(json!({"results": [{"columns": columns, "rows": rows, "partialResult": partial}]}))
}

/// How many rows are wanted, of each statement.
fn row_limit(body: &Value) -> usize {
    let limit = body["rowLimit"].as_str().and_then(|limit| limit.parse().ok()).or_else(|| body["rowLimit"].as_u64());
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}
