//! Runs: the list of them, one journal, and what a restore did.

use dxdr_environment::InstanceName;
use dxdr_format::journal::{Entry, Outcome, RunKind};
use dxdr_plan::restore::plan::THROUGH_VELERO;
use dxdr_run::{
    journal::History,
    restore::{RestoreReport, databases::NewInstance},
    runs::{self, Found, Leftovers, Resumption, RunState},
    snapshot::SnapshotLeft,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    backup_plan,
    quantity::{counted, duration, instant},
    restore_plan,
    table::fitting,
};

/// A table, newest first, in lines of so many characters where that is known, and what to do about those that are unfinished.
pub fn list_text(found: &Found, now: Timestamp, width: Option<usize>) -> String {
    let runs = &found.runs;
    let rows = runs
        .iter()
        .map(|run| {
            let (state, detail) = state(&run.state);
            vec![
                run.run.clone(),
                run.kind.word().to_owned(),
                run.environment.clone(),
                duration(now.duration_since(run.started)),
                state.to_owned(),
                format!("{}/{}", run.steps.0, run.steps.1),
                detail.to_owned(),
            ]
        })
        .collect();
    let mut text = if runs.is_empty() {
        "No runs in this store.\n".to_owned()
    } else {
        let header = ["RUN", "KIND", "ENVIRONMENT", "AGE", "STATE", "STEPS", "DETAIL"];
        // What resumes or shows a run is its name, which also says what kind of run of which environment it is.
        fitting(&header, rows, width, &["DETAIL", "ENVIRONMENT", "KIND", "STEPS", "AGE"])
    };
    if runs.iter().any(|run| matches!(run.state, RunState::Unfinished { .. })) {
        text.push_str("\nUnfinished: at work if heard of seconds ago; else killed, stopped or given up.\n");
    }
    for run in runs.iter().filter(|run| matches!(run.state, RunState::Unfinished { .. })) {
        let heard = duration(now.duration_since(run.last_heard_of));
        let (_, last) = state(&run.state);
        text.push_str(&format!(
            "  {0}\n    {last}; last heard of {heard} ago\n    go on:  dxdr runs resume {0}\n    end it: dxdr runs clean {0}\n",
            run.run
        ));
    }
    for (run, reason) in &found.unreadable {
        text.push_str(&format!("\n{run} cannot be read: {reason}\n"));
    }
    text
}

/// The same as `dxdr.io/runs/v1`.
pub fn list_json(found: &Found) -> Value {
    let unreadable: Vec<Value> = found.unreadable.iter().map(|(run, reason)| json!({"run": run, "reason": reason})).collect();
    json!({"format": "dxdr.io/runs/v1", "unreadable": unreadable, "runs": found.runs.iter().map(|run| {
        let (state, detail) = state(&run.state);
        json!({
            "run": run.run, "kind": run.kind.word(), "environment": run.environment, "started": run.started.to_string(),
            "state": state, "detail": detail, "lastHeardOf": run.last_heard_of.to_string(), "stepsFinished": run.steps.0, "stepsPlanned": run.steps.1,
        })
    }).collect::<Vec<_>>()})
}

fn state(state: &RunState) -> (&str, &str) {
    match state {
        RunState::Ended { outcome, summary } => (outcome, summary),
        RunState::Unfinished { last } => ("unfinished", last),
    }
}

/// A line an entry, and what to do next.
pub fn history_text(history: &History, now: Timestamp) -> String {
    let mut text = format!("Run {}\n", history.run);
    for entry in &history.entries {
        let said = match entry {
            Entry::Planned(planned) => {
                let steps: String = planned.steps.iter().map(|step| format!("\n      {}: {}", step.id, step.title)).collect();
                format!("planned by {} ({}){steps}", planned.holder, planned.program)
            }
            Entry::StepStarted(entry) => format!("step {} began", entry.step),
            Entry::StepFinished(entry) => format!("step {} is done", entry.step),
            Entry::StepFailed(entry) => format!("gave up: {}", entry.error),
            Entry::Interrupted(entry) => format!("stopped: {}; left: {}", entry.reason, entry.remaining.join("; ")),
            Entry::Resumed(entry) => format!("{} went on", entry.holder),
            Entry::Finished(entry) => format!("{}: {}", entry.outcome.word(), entry.summary),
        };
        text.push_str(&format!("  {}  {said}\n", instant(entry.at())));
    }
    text.push_str(&next(history, now));
    text
}

/// What to do about a run.
fn next(history: &History, now: Timestamp) -> String {
    let Some(planned) = history.planned() else { return String::new() };
    let (run, environment) = (&history.run, &planned.environment);
    let last = history.entries.last().map_or(planned.started, Entry::at);
    match history.outcome() {
        None => format!(
            "Unfinished, last heard of {} ago. To go on with it: dxdr runs resume {run}\nTo end it and remove what it left: dxdr runs clean {run}\n",
            duration(now.duration_since(last))
        ),
        Some(finished) if matches!(finished.outcome, Outcome::Cleaned | Outcome::Failed) => String::new(),
        Some(_) if planned.kind == RunKind::Backup => {
            planned.points.iter().map(|point| format!("To return to it: dxdr restore {environment} --point {point}\n")).collect()
        }
        Some(_) => runs::protective_point(planned).map_or_else(String::new, |point| {
            format!("To undo it: dxdr restore {environment} --point {point} --in-place --prune\n")
        }),
    }
}

/// What a resumed run will do, for people.
pub fn resumption_text(resumption: &Resumption, store: &str) -> String {
    let (history, left) = left(resumption);
    let mut text = format!("Run {}\n", history.run);
    let done = history.planned().into_iter().flat_map(|planned| &planned.steps);
    for step in done.filter(|step| history.finished(&step.id).is_some()) {
        text.push_str(&format!("  ✓ {}\n", step.title));
    }
    for (_, title) in &left {
        text.push_str(&format!("  … {title}\n"));
    }
    match resumption {
        Resumption::Backup { plan, .. } if !plan.lists.is_empty() => {
            text.push_str(&format!("\n{}", backup_plan::text(plan, store)));
        }
        Resumption::Backup { .. } => {}
        Resumption::VeleroBackup { plan, .. } => text.push_str(&format!("\n{}", backup_plan::velero_text(plan, store))),
        Resumption::Restore { order, prepared, .. } => {
            text.push_str(&format!("\n{}", restore_plan::text(&prepared.plan, &order.entry, store)));
        }
    }
    text
}

/// The same as `dxdr.io/resume-plan/v1`.
pub fn resumption_json(resumption: &Resumption) -> Value {
    let (history, left) = left(resumption);
    let (backup, restore) = match resumption {
        Resumption::Backup { plan, .. } => (backup_plan::json(plan), Value::Null),
        Resumption::VeleroBackup { plan, .. } => (backup_plan::velero_json(plan), Value::Null),
        Resumption::Restore { order, prepared, .. } => {
            (order.to_protect().map_or(Value::Null, backup_plan::json), restore_plan::json(&prepared.plan, &order.entry))
        }
    };
    json!({
        "format": "dxdr.io/resume-plan/v1",
        "run": history.run,
        "left": left.iter().map(|(id, title)| json!({"id": id, "title": title})).collect::<Vec<_>>(),
        "backupPlan": backup,
        "restorePlan": restore,
    })
}

/// The steps that a resumed run has left: of its own point those not done, of the stages those that were planned again.
fn left(resumption: &Resumption) -> (&History, Vec<(String, String)>) {
    match resumption {
        Resumption::Backup { history, .. } | Resumption::VeleroBackup { history, .. } => {
            (history, history.left().into_iter().map(|step| (step.id.clone(), step.title.clone())).collect())
        }
        Resumption::Restore { order, prepared, history } => {
            let protective = order.to_protect().into_iter().flat_map(|plan| plan.steps.records());
            let left = protective.filter(|step| history.finished(&step.id).is_none()).chain(prepared.plan.steps());
            (history, left.map(|step| (step.id, step.title)).collect())
        }
    }
}

/// The same as `dxdr.io/run/v1`.
pub fn history_json(history: &History) -> Value {
    let entries: Vec<Value> = history.entries.iter().map(entry_json).collect();
    json!({"format": "dxdr.io/run/v1", "run": history.run, "entries": entries})
}

fn entry_json(entry: &Entry) -> Value {
    let mut value = match entry {
        Entry::Planned(planned) => json!({
            "kind": planned.kind.word(), "environment": planned.environment, "parameters": planned.parameters, "points": planned.points,
            "program": planned.program, "holder": planned.holder,
            "steps": planned.steps.iter().map(|step| json!({"id": step.id, "title": step.title, "reason": step.reason})).collect::<Vec<_>>(),
        }),
        Entry::StepStarted(entry) => json!({"step": entry.step}),
        Entry::StepFinished(entry) => json!({"step": entry.step}),
        Entry::StepFailed(entry) => json!({"error": entry.error}),
        Entry::Interrupted(entry) => json!({"reason": entry.reason, "remaining": entry.remaining}),
        Entry::Resumed(entry) => json!({"holder": entry.holder}),
        Entry::Finished(entry) => json!({"outcome": entry.outcome.word(), "summary": entry.summary}),
    };
    value["entry"] = entry.word().into();
    value["at"] = entry.at().to_string().into();
    value
}

/// What cleaning up would remove, and what stays.
pub fn leftovers_text(history: &History, left: &Leftovers) -> String {
    let mut text = match left.keys.as_slice() {
        [] => "It left nothing in the store that is no recovery point.".to_owned(),
        keys => format!("It left {} in the store:\n  {}", counted(keys.len(), "object"), keys.join("\n  ")),
    };
    for snapshot in &left.snapshots {
        let what = if snapshot.kept {
            "its objects; a recovery point has the storage's snapshot"
        } else {
            "with the storage's snapshot"
        };
        text.push_str(&format!("\n{} {}/{}, if it is there, {what}", kind(snapshot), snapshot.namespace, snapshot.name));
    }
    for database in &left.databases {
        let of = &database.unit;
        for name in database.databases().into_iter().filter(|name| *name == database.beside) {
            text.push_str(&format!("\nDatabase `{name}`, if it is there: a copy of {of} that it loaded beside"));
        }
        if let Some(clone) = database.clone_route() {
            text.push_str(&format!("\nInstance `{}`, if it is there: a clone that it made for {of}", clone.destination));
        }
    }
    for database in &left.in_place {
        text.push_str(&format!(
            "\nDatabase `{}` is what it put in place, and stays; `dxdr databases undo {}` puts back what was there before.",
            database.database, history.run
        ));
    }
    if THROUGH_VELERO.into_iter().any(|step| history.started(step)) {
        text.push_str("\nWhat Velero does for it is ended, with the pods that it made for that.");
    }
    if history.planned().is_some_and(|planned| planned.kind == RunKind::Restore) {
        text.push_str(&format!(
            "\nWhat it wrote into the cluster stays there; `dxdr runs resume {}` would write the rest.",
            history.run
        ));
    }
    text
}

/// The same as `dxdr.io/clean/v1`; `removed` says whether it was done.
pub fn leftovers_json(history: &History, left: &Leftovers, removed: bool) -> Value {
    let snapshot =
        |left: &SnapshotLeft| json!({"kind": kind(left), "namespace": left.namespace, "name": left.name, "kept": left.kept});
    let snapshots: Vec<Value> = left.snapshots.iter().map(snapshot).collect();
    json!({
        "format": "dxdr.io/clean/v1", "run": history.run, "removed": removed, "objects": left.keys, "snapshots": snapshots,
        "databases": left.databases.iter().map(|left| json!({
            "name": left.unit.name, "database": left.databases().first(), "instance": left.clone_route().map(|clone| &clone.destination),
        })).collect::<Vec<_>>(),
        "databasesInPlace": left.in_place.iter().map(|left| json!({"name": left.unit.name, "database": left.database})).collect::<Vec<_>>(),
    })
}

fn kind(left: &SnapshotLeft) -> &'static str {
    if left.group.is_some() { "VolumeGroupSnapshot" } else { "VolumeSnapshot" }
}

/// So many objects beyond the plan are named in text; JSON has all of them.
const BEYOND_SHOWN: usize = 10;

/// What a restore did, for people.
pub fn restore_text(report: &RestoreReport) -> String {
    let mut text = format!(
        "{} created, {} changed, {} as they were already, {} removed",
        report.created, report.updated, report.unchanged, report.pruned
    );
    if report.left > 0 {
        text.push_str(&format!(", {} left different", report.left));
    }
    text.push('\n');
    for (object, paths) in &report.differing {
        text.push_str(&format!("  the server made something else of {object}: {}\n", paths.join(", ")));
    }
    for object in report.beyond.iter().take(BEYOND_SHOWN) {
        text.push_str(&format!("  beyond the plan: {object}: Velero made it, dxdr would not have\n"));
    }
    if let Some(hidden) = report.beyond.len().checked_sub(BEYOND_SHOWN).filter(|hidden| *hidden > 0) {
        text.push_str(&format!("  beyond the plan: {hidden} more\n"));
    }
    for object in &report.immutable {
        text.push_str(&format!("  left different: {object}: a field of it cannot be changed\n"));
    }
    for object in &report.being_deleted {
        text.push_str(&format!("  being deleted: {object}: it goes once its finalizers are taken away\n"));
    }
    for error in &report.failed {
        text.push_str(&format!("  failed: {}: {}\n", error.object, error.message));
    }
    for (object, reason) in &report.not_served {
        text.push_str(&format!("  not restored: {object}: {reason}\n"));
    }
    for (claim, reason) in &report.without_data {
        text.push_str(&format!("  without its data: {claim}: {reason}\n"));
    }
    if let Some(reason) = &report.kept {
        text.push_str(&format!("  nothing was removed: {reason}\n"));
    }
    for database in &report.databases {
        text.push_str(&match (&database.kept, &database.instance) {
            (Some(kept), _) => {
                format!("database {}: `{}` is as it was; the one that was there is `{kept}`\n", database.name, database.database)
            }
            (None, None) => format!("database {}: it is `{}`, beside the one that is used\n", database.name, database.database),
            (None, Some(new)) => new_instance_text(&database.name, new),
        });
    }
    if !report.databases.is_empty() {
        let run = &report.run;
        if report.databases.iter().any(|database| database.kept.is_some()) {
            text.push_str(&format!("To put the old databases back: dxdr databases undo {run}\n"));
        }
        text.push_str(&format!("To drop what is not used of them: dxdr databases discard {run}\n"));
    }
    if let Some(point) = &report.protective_point {
        text.push_str(&format!(
            "The state before is recovery point {point}. To undo this restore: dxdr restore {} --point {point} --in-place --prune\n",
            report.environment
        ));
    }
    if let Some(namespace) = &report.beside {
        text.push_str(&format!(
            "It is in namespace {namespace}. To look at it: kubectl get all -n {namespace}; to remove it: kubectl delete namespace {namespace}\n"
        ));
    }
    text
}

/// Where it is, and how to get at it: the address is the service's to give, a little later.
fn new_instance_text(name: &str, new: &NewInstance) -> String {
    let InstanceName { project, instance } = &new.name;
    format!(
        "database {name}: it is on the new instance `{instance}` of project {project}, as of {}; nothing uses it yet, and its labels let it go from {} on\n\
         Its address: gcloud sql instances describe {instance} --project {project} --format 'value(ipAddresses)'\n",
        instant(new.at),
        instant(new.expires)
    )
}

/// The same as `dxdr.io/restore/v1`.
pub fn restore_json(report: &RestoreReport) -> Value {
    json!({
        "format": "dxdr.io/restore/v1",
        "run": report.run,
        "environment": report.environment,
        "beside": report.beside,
        "protectivePoint": report.protective_point,
        "created": report.created, "updated": report.updated, "unchanged": report.unchanged, "left": report.left, "pruned": report.pruned,
        "differing": report.differing.iter().map(|(object, paths)| json!({"object": object, "paths": paths})).collect::<Vec<_>>(),
        "beyondPlan": report.beyond,
        "immutable": report.immutable,
        "beingDeleted": report.being_deleted,
        "failed": report.failed.iter().map(|error| json!({"object": error.object, "reason": error.message})).collect::<Vec<_>>(),
        "withoutData": report.without_data.iter().map(|(claim, reason)| json!({"object": claim, "reason": reason})).collect::<Vec<_>>(),
        "kept": report.kept,
        "databases": report.databases.iter().map(|database| json!({
            "name": database.name, "database": database.database, "kept": database.kept,
            "instance": database.instance.as_ref().map(|new| json!({
                "project": new.name.project, "instance": new.name.instance, "instant": new.at.to_string(), "expires": new.expires.to_string(),
            })),
        })).collect::<Vec<_>>(),
        "notServed": report.not_served.iter().map(|(object, reason)| json!({"object": object, "reason": reason})).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use dxdr_run::runs::RunSummary;

    use super::*;

    #[test]
    fn a_list_of_runs_fits_into_a_terminal_and_says_what_unfinished_ones_wait_for() {
        let now: Timestamp = "2024-05-01T10:00:00Z".parse().unwrap();
        let run = |run: &str, state| RunSummary {
            run: run.to_owned(),
            kind: RunKind::Backup,
            environment: "production".to_owned(),
            started: now,
            last_heard_of: now,
            steps: (2, 4),
            state,
        };
        let found = Found {
            runs: vec![
                run("20240501t095900z-backup-production-aaaaa", RunState::Unfinished { last: "capture began".to_owned() }),
                run(
                    "20240501t095800z-backup-production-bbbbb",
                    RunState::Ended {
                        outcome: "succeeded".to_owned(),
                        summary: "recovery point production-20240501t095800z-bbbbb".to_owned(),
                    },
                ),
            ],
            unreadable: Vec::new(),
        };
        let narrow = list_text(&found, now, Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        assert!(
            narrow.contains("-aaaaa\n    capture began; last heard of 0.0s ago\n    go on:  dxdr runs resume 2024"),
            "{narrow}"
        );
        assert!(narrow.contains("without detail"), "{narrow}");
        assert!(list_text(&found, now, None).contains("succeeded   2/4    recovery point production-2024"));
    }
}
