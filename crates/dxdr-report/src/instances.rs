//! Instances of Cloud SQL that environments have databases on, and what goes on there.

use dxdr_plan::instance::{InstanceSeen, InstanceUse, Ledger, Operation, OperationStatus, Progress};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{quantity, table};

/// An instance, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Listed<'a> {
    /// Who has what there.
    pub used: &'a InstanceUse,
    /// What was seen, or why nothing could be.
    pub seen: Result<&'a InstanceSeen, String>,
    /// Who waits for it, where that can be read.
    pub ledger: Option<&'a Ledger>,
}

/// A line an instance.
pub fn text(listed: &[Listed<'_>], width: Option<usize>) -> String {
    if listed.is_empty() {
        return "no environment has a database on Cloud SQL\n".to_owned();
    }
    let rows = listed.iter().map(|listed| {
        let (state, version, window) = match &listed.seen {
            Ok(seen) => {
                let state = if seen.stopped { "stopped".to_owned() } else { seen.state.to_lowercase() };
                let window = seen.window.map(|(earliest, latest)| format!("{earliest:.0} to {latest:.0}"));
                (state, seen.version.clone(), window.unwrap_or_else(|| "none".to_owned()))
            }
            Err(reason) => (format!("unknown: {reason}"), String::new(), String::new()),
        };
        let databases: Vec<String> = listed
            .used
            .parts
            .iter()
            .map(|part| match part.databases.as_slice() {
                [] => format!("{}: all of it", part.environment),
                names => format!("{}: {}", part.environment, names.join(", ")),
            })
            .collect();
        vec![listed.used.instance.to_string(), state, version, databases.join("; "), window]
    });
    table::fitting(
        &["INSTANCE", "STATE", "VERSION", "DATABASES", "RECOVERY WINDOW"],
        rows.collect(),
        width,
        &["VERSION", "DATABASES"],
    )
}

/// `dxdr.io/instances/v1`
pub fn json(listed: &[Listed<'_>]) -> Value {
    let instances: Vec<Value> = listed
        .iter()
        .map(|listed| {
            let parts: Vec<Value> = listed
                .used
                .parts
                .iter()
                .map(|part| json!({"environment": part.environment.as_str(), "name": part.name, "databases": part.databases}))
                .collect();
            let mut page = json!({
                "project": listed.used.instance.project,
                "instance": listed.used.instance.instance,
                "shared": listed.used.is_shared(),
                "environments": parts,
            });
            match &listed.seen {
                Ok(seen) => {
                    page["version"] = json!(seen.version);
                    page["state"] = json!(seen.state);
                    page["stopped"] = json!(seen.stopped);
                    page["region"] = json!(seen.region);
                    page["serviceAccount"] = json!(seen.service_account);
                    page["deletionProtection"] = json!(seen.deletion_protection);
                    page["automaticBackups"] = json!(seen.automatic_backups);
                    page["databases"] = json!(seen.databases);
                    page["recoveryWindow"] = match seen.window {
                        Some((earliest, latest)) => json!({"earliest": earliest, "latest": latest}),
                        None => Value::Null,
                    };
                }
                Err(reason) => page["problem"] = json!(reason),
            }
            page
        })
        .collect();
    json!({"format": "dxdr.io/instances/v1", "instances": instances})
}

/// What goes on at instances: operations, then who waits.
pub fn operations_text(listed: &[Listed<'_>], now: Timestamp, all: bool) -> String {
    let mut text = String::new();
    for listed in listed {
        let name = &listed.used.instance;
        let seen = match &listed.seen {
            Ok(seen) => seen,
            Err(reason) => {
                text.push_str(&format!("{name}: {reason}\n"));
                continue;
            }
        };
        let shown: Vec<&Operation> = seen.operations.iter().filter(|operation| all || operation.is_running()).collect();
        let running = seen.operations.iter().filter(|operation| operation.is_running()).count();
        text.push_str(&match running {
            0 => format!("{name}: nothing runs\n"),
            running => {
                format!("{name}: {} run{}\n", quantity::counted(running, "operation"), if running == 1 { "s" } else { "" })
            }
        });
        let rows =
            shown.into_iter().map(|operation| {
                let since = operation.ended.or(operation.started).or(operation.accepted);
                vec![
                    operation.name.clone(),
                    status(operation).to_owned(),
                    operation.work.to_string(),
                    whose(operation, listed.ledger),
                    since.map(|since| format!("{since:.0}")).unwrap_or_default(),
                    duration(operation.queued_for()),
                    duration(operation.worked_for().or_else(|| {
                        operation.started.filter(|_| operation.is_running()).map(|started| now.duration_since(started))
                    })),
                ]
            });
        text.push_str(&table::table(&["OPERATION", "STATE", "WHAT", "FOR", "SINCE", "WAITED", "WORKED"], rows.collect()));
        if let Some(ledger) = listed.ledger {
            for (place, entry) in ledger.queue(now).into_iter().enumerate() {
                text.push_str(&format!(
                    "waiting ({}): {} for run {} of environment `{}`, since {:.0}\n",
                    place + 1,
                    entry.job.work,
                    entry.job.run,
                    entry.job.environment,
                    entry.since
                ));
            }
        }
    }
    text
}

/// `dxdr.io/instance-operations/v1`
pub fn operations_json(listed: &[Listed<'_>], now: Timestamp, all: bool) -> Value {
    let instances: Vec<Value> = listed
        .iter()
        .map(|listed| {
            let mut page = json!({"project": listed.used.instance.project, "instance": listed.used.instance.instance});
            match &listed.seen {
                Ok(seen) => {
                    let shown = seen.operations.iter().filter(|operation| all || operation.is_running());
                    page["operations"] = shown.map(|operation| operation_json(operation, listed.ledger)).collect();
                }
                Err(reason) => page["problem"] = json!(reason),
            }
            if let Some(ledger) = listed.ledger {
                page["waiting"] = ledger
                    .queue(now)
                    .into_iter()
                    .map(|entry| {
                        json!({
                            "what": entry.job.work.to_string(), "run": entry.job.run, "environment": entry.job.environment,
                            "priority": entry.job.priority.as_str(), "since": entry.since,
                        })
                    })
                    .collect();
            }
            page
        })
        .collect();
    json!({"format": "dxdr.io/instance-operations/v1", "instances": instances})
}

fn operation_json(operation: &Operation, ledger: Option<&Ledger>) -> Value {
    let reason = match &operation.status {
        OperationStatus::Failed(fault) => Some(&fault.message),
        _ => None,
    };
    let entry = ledger.and_then(|ledger| ledger.of_operation(operation));
    json!({
        "name": operation.name,
        "state": status(operation),
        "what": operation.work.to_string(),
        "user": operation.user,
        "run": entry.map(|entry| entry.job.run.as_str()),
        "environment": entry.map(|entry| entry.job.environment.as_str()),
        "accepted": operation.accepted,
        "started": operation.started,
        "ended": operation.ended,
        "waitedSeconds": operation.queued_for().map(|waited| waited.as_secs()),
        "workedSeconds": operation.worked_for().map(|worked| worked.as_secs()),
        "reason": reason,
    })
}

fn status(operation: &Operation) -> &'static str {
    match operation.status {
        OperationStatus::Pending => "pending",
        OperationStatus::Running => "running",
        OperationStatus::Succeeded => "succeeded",
        OperationStatus::Failed(_) => "failed",
    }
}

fn whose(operation: &Operation, ledger: Option<&Ledger>) -> String {
    match ledger.and_then(|ledger| ledger.of_operation(operation)) {
        Some(entry) if matches!(entry.progress, Progress::Accepted { .. }) => {
            format!("run {} of {}", entry.job.run, entry.job.environment)
        }
        _ => operation.user.clone(),
    }
}

fn duration(duration: Option<jiff::SignedDuration>) -> String {
    duration.map(|duration| format!("{:#}", jiff::SignedDuration::from_secs(duration.as_secs()))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{EnvironmentName, InstanceName};
    use dxdr_plan::instance::{Job, Part, Priority, Work};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn world() -> (InstanceUse, InstanceSeen, Ledger) {
        let part = |environment: &str, database: &str| Part {
            environment: EnvironmentName::parse(environment).unwrap(),
            name: "orders".to_owned(),
            databases: vec![database.to_owned()],
        };
        let parts = vec![part("staging", "staging_orders"), part("dev", "dev_orders")];
        let used = InstanceUse { instance: InstanceName::new("dx-nonprod", "shared"), parts };
        let export = Work::Export { uri: "gs://b/one.sql.gz".to_owned(), offloaded: true };
        let operation = |name: &str, work: Work, status: OperationStatus| Operation {
            name: name.to_owned(),
            work,
            status,
            user: "somebody@example.org".to_owned(),
            accepted: Some(at("2024-05-01T10:00:00Z")),
            started: Some(at("2024-05-01T10:00:05Z")),
            ended: None,
        };
        let mut done = operation("b", Work::Other("MAINTENANCE".to_owned()), OperationStatus::Succeeded);
        done.ended = Some(at("2024-05-01T10:02:05Z"));
        let seen = InstanceSeen {
            version: "POSTGRES_15".to_owned(),
            state: "RUNNABLE".to_owned(),
            stopped: false,
            region: "europe-west1".to_owned(),
            service_account: "a@b".to_owned(),
            deletion_protection: true,
            automatic_backups: true,
            statements_allowed: true,
            account_login: true,
            window: Some((at("2024-04-24T10:00:00Z"), at("2024-05-01T10:00:00Z"))),
            databases: vec!["staging_orders".to_owned()],
            operations: vec![operation("a", export.clone(), OperationStatus::Running), done],
        };
        let job = |id: &str, environment: &str, work: Work| Job {
            id: id.to_owned(),
            run: format!("run-{id}"),
            environment: environment.to_owned(),
            priority: Priority::Backup,
            work,
            deadline: at("2024-05-01T11:00:00Z"),
        };
        let now = at("2024-05-01T10:00:00Z");
        let waiting = Work::Export { uri: "gs://b/two.sql.gz".to_owned(), offloaded: true };
        let ledger = Ledger::default().enqueued(&job("1", "staging", export), "p", now).accepted("1", "a");
        (used, seen, ledger.enqueued(&job("2", "dev", waiting), "p", now))
    }

    #[test]
    fn instances_are_listed_with_who_has_what_there() {
        let (used, seen, ledger) = world();
        let listed = [Listed { used: &used, seen: Ok(&seen), ledger: Some(&ledger) }];
        let said = text(&listed, None);
        let rows: Vec<Vec<&str>> =
            said.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect();
        assert_eq!(rows[0], ["INSTANCE", "STATE", "VERSION", "DATABASES", "RECOVERY WINDOW"]);
        assert_eq!(
            rows[1],
            [
                "projects/dx-nonprod/instances/shared",
                "runnable",
                "POSTGRES_15",
                "staging: staging_orders; dev: dev_orders",
                "2024-04-24T10:00:00Z to 2024-05-01T10:00:00Z"
            ]
        );
        let page = json(&listed);
        assert_eq!(page["instances"][0]["shared"], true);
        assert_eq!(page["instances"][0]["recoveryWindow"]["latest"], "2024-05-01T10:00:00Z");
        assert_eq!(text(&[], None), "no environment has a database on Cloud SQL\n");
    }

    #[test]
    fn operations_are_shown_with_whose_they_are_and_who_waits() {
        let (used, seen, ledger) = world();
        let listed = [Listed { used: &used, seen: Ok(&seen), ledger: Some(&ledger) }];
        let now = at("2024-05-01T10:01:05Z");
        let said = operations_text(&listed, now, false);
        assert!(said.starts_with("projects/dx-nonprod/instances/shared: 1 operation runs\n"), "{said}");
        assert!(said.contains("run run-1 of staging") && !said.contains("MAINTENANCE"), "{said}");
        assert!(said.contains("5s") && said.contains("1m"), "{said}");
        assert!(
            said.ends_with(
                "waiting (1): export to gs://b/two.sql.gz for run run-2 of environment `dev`, since 2024-05-01T10:00:00Z\n"
            ),
            "{said}"
        );
        assert!(operations_text(&listed, now, true).contains("MAINTENANCE"));
        let page = operations_json(&listed, now, true);
        assert_eq!(page["instances"][0]["operations"][0]["run"], "run-1");
        assert_eq!(page["instances"][0]["operations"][1]["workedSeconds"], 120);
        assert_eq!(page["instances"][0]["waiting"][0]["environment"], "dev");
        let unknown = [Listed { used: &used, seen: Err("no".to_owned()), ledger: None }];
        assert_eq!(operations_json(&unknown, now, true)["instances"][0]["problem"], "no");
    }
}
