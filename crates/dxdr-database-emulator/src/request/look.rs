//! What changes nothing.

use axum::http::Method;
use serde_json::{Value, json};

use super::Call;
use crate::{backup::Backup, failure::Failure};

pub(super) fn instances(call: &Call, project: &str) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.instances.list")?;
    let state = call.shared.state();
    let items: Vec<Value> = state
        .instance_names(project)
        .iter()
        .filter_map(|name| state.machine(project, name).ok().map(|machine| machine.instance.json(project, name, machine.created)))
        .collect();
    Ok(json!({"kind": "sql#instancesList", "items": items}))
}

/// Those of the named permissions that the caller has.
pub(super) fn granted(call: &Call, project: &str) -> Result<Value, Failure> {
    let asked = call.body["permissions"].as_array().ok_or_else(|| Failure::invalid("Missing parameter: permissions."))?;
    let may = |permission: &&Value| permission.as_str().is_some_and(|permission| call.caller.may(project, permission).is_ok());
    Ok(json!({"permissions": asked.iter().filter(may).collect::<Vec<_>>()}))
}

pub(super) fn instance(call: &Call, project: &str, instance: &str, rest: &[&str]) -> Result<Value, Failure> {
    // A copy: a server is asked while nobody holds the state.
    let machine = || call.shared.state().machine(project, instance).cloned();
    match rest {
        [] => {
            call.caller.may(project, "cloudsql.instances.get")?;
            let machine = machine()?;
            Ok(machine.instance.json(project, instance, machine.created))
        }
        ["getLatestRecoveryTime"] => {
            call.caller.may(project, "cloudsql.instances.get")?;
            let Some((earliest, latest)) = machine()?.window(call.shared.now()) else {
                return Err(Failure::new(400, "invalidRequest", "Point-in-time recovery is not enabled on the instance."));
            };
            Ok(json!({
                "kind": "sql#getLatestRecoveryTime",
                "earliestRecoveryTime": earliest.to_string(),
                "latestRecoveryTime": latest.to_string(),
            }))
        }
        ["databases"] => {
            call.caller.may(project, "cloudsql.databases.list")?;
            let databases = machine()?.database_names()?;
            let items: Vec<Value> = databases.iter().map(|name| database(project, instance, name)).collect();
            Ok(json!({"kind": "sql#databasesList", "items": items}))
        }
        ["databases", name] => {
            call.caller.may(project, "cloudsql.databases.get")?;
            if !machine()?.has_database(name)? {
                return Err(Failure::no_database(name));
            }
            Ok(database(project, instance, name))
        }
        ["users"] => {
            call.caller.may(project, "cloudsql.users.list")?;
            let users = machine()?.user_names()?;
            let items: Vec<Value> = users
                .iter()
                .map(|name| json!({"kind": "sql#user", "name": name, "project": project, "instance": instance}))
                .collect();
            Ok(json!({"kind": "sql#usersList", "items": items}))
        }
        ["backupRuns", rest @ ..] => {
            call.caller.may(project, "cloudsql.backupRuns.list")?;
            machine()?;
            let state = call.shared.state();
            let own = state.backups.iter().rev();
            let own = own.filter(|backup| backup.gone.is_none() && backup.project == project && backup.instance == instance);
            let runs = own.map(Backup::run_json);
            let runs: Vec<Value> = runs.collect();
            match rest {
                [] => Ok(json!({"kind": "sql#backupRunsList", "items": runs})),
                [id] => runs
                    .into_iter()
                    .find(|run| run["id"] == **id)
                    .ok_or_else(|| Failure::new(404, "backupRunDoesNotExist", "The backup run does not exist.")),
                _ => Err(Failure::new(404, "notFound", "Not Found")),
            }
        }
        _ => Err(Failure::new(404, "notFound", "Not Found")),
    }
}

fn database(project: &str, instance: &str, name: &str) -> Value {
    json!({"kind": "sql#database", "name": name, "project": project, "instance": instance, "charset": "UTF8"})
}

/// Those of a project, also of instances that are gone.
pub(super) fn backups(call: &Call, project: &str, rest: &[&str]) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.backupRuns.list")?;
    let state = call.shared.state();
    match rest {
        [] => {
            let wanted = call.query("filter").unwrap_or_default().split_whitespace();
            let wanted = wanted.filter_map(|part| part.strip_prefix("instance:")).next();
            let fitting = state.backups.iter().rev().filter(|backup| backup.project == project);
            let fitting = fitting.filter(|backup| wanted.is_none_or(|wanted| backup.instance == wanted));
            Ok(call.page("sql#backupsList", "backups", "pageSize", fitting.map(Backup::json).collect()))
        }
        [id] => Ok(state.backup(&format!("projects/{project}/backups/{id}"))?.json()),
        _ => Err(Failure::new(404, "notFound", "Not Found")),
    }
}

pub(super) fn operations(call: &Call, project: &str, rest: &[&str]) -> Result<Value, Failure> {
    call.caller.may(project, "cloudsql.instances.get")?;
    match rest {
        [] => {
            let wanted = call.query("instance").filter(|instance| !instance.is_empty());
            let state = call.shared.state();
            if let Some(instance) = wanted
                && state.operations().all(|operation| !operation.is_on(project, instance))
            {
                state.machine(project, instance)?;
            }
            let fitting: Vec<Value> = state
                .operations()
                .filter(|operation| wanted.map_or(operation.project == project, |instance| operation.is_on(project, instance)))
                .map(|operation| operation.json("http://sqladmin"))
                .collect();
            Ok(call.page("sql#operationsList", "items", "maxResults", fitting))
        }
        [name] => call.operation(name),
        [name, "cancel"] if call.method == Method::POST => {
            call.operation(name)?;
            Err(Failure::new(400, "invalidRequest", "The operation cannot be cancelled."))
        }
        _ => Err(Failure::new(404, "notFound", "Not Found")),
    }
}
