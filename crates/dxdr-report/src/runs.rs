//! Runs: the list of them, one journal, and what a restore did.

use dxdr_format::journal::Entry;
use dxdr_run::{
    journal::History,
    restore::RestoreReport,
    runs::{Found, RunState},
};
use serde_json::{Value, json};

use crate::{
    quantity::{counted, instant},
    table::table,
};

/// A table, newest first.
pub fn list_text(found: &Found) -> String {
    let runs = &found.runs;
    let rows = runs
        .iter()
        .map(|run| {
            let (state, detail) = state(&run.state);
            vec![
                run.run.clone(),
                run.kind.word().to_owned(),
                run.environment.clone(),
                instant(run.started),
                state.to_owned(),
                format!("{}/{}", run.steps.0, run.steps.1),
                detail.to_owned(),
            ]
        })
        .collect();
    let mut text = if runs.is_empty() {
        "No runs in this store.\n".to_owned()
    } else {
        table(&["RUN", "KIND", "ENVIRONMENT", "STARTED", "STATE", "STEPS", "DETAIL"], rows)
    };
    if let Some(run) = runs.iter().find(|run| matches!(run.state, RunState::Unfinished { .. })) {
        text.push_str(&format!(
            "\nUnfinished runs: `dxdr runs resume {}` goes on, `dxdr runs clean {}` removes what it left.\n",
            run.run, run.run
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
            "state": state, "detail": detail, "stepsFinished": run.steps.0, "stepsPlanned": run.steps.1,
        })
    }).collect::<Vec<_>>()})
}

fn state(state: &RunState) -> (&str, &str) {
    match state {
        RunState::Ended { outcome, summary } => (outcome, summary),
        RunState::Unfinished { last } => ("unfinished", last),
    }
}

/// A line an entry.
pub fn history_text(history: &History) -> String {
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
    text
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

/// What cleaning up would remove.
pub fn leftovers_text(keys: &[String]) -> String {
    if keys.is_empty() {
        return "It left nothing in the store.".to_owned();
    }
    format!("It left {} in the store:\n  {}", counted(keys.len(), "object"), keys.join("\n  "))
}

/// What a restore did, for people.
pub fn restore_text(report: &RestoreReport) -> String {
    let mut text = format!(
        "{} created, {} changed, {} as they were already, {} removed",
        report.created, report.updated, report.unchanged, report.pruned
    );
    if report.left > 0 {
        text.push_str(&format!(", {} left different as asked", report.left));
    }
    text.push('\n');
    for (object, paths) in &report.differing {
        text.push_str(&format!("  the server made something else of {object}: {}\n", paths.join(", ")));
    }
    for error in &report.failed {
        text.push_str(&format!("  failed: {}: {}\n", error.object, error.message));
    }
    for (object, reason) in &report.not_served {
        text.push_str(&format!("  not restored: {object}: {reason}\n"));
    }
    if let Some(point) = &report.protective_point {
        text.push_str(&format!("The state before is recovery point {point}.\n"));
    }
    text
}

/// The same as `dxdr.io/restore/v1`.
pub fn restore_json(report: &RestoreReport) -> Value {
    json!({
        "format": "dxdr.io/restore/v1",
        "run": report.run,
        "protectivePoint": report.protective_point,
        "created": report.created, "updated": report.updated, "unchanged": report.unchanged, "left": report.left, "pruned": report.pruned,
        "differing": report.differing.iter().map(|(object, paths)| json!({"object": object, "paths": paths})).collect::<Vec<_>>(),
        "failed": report.failed.iter().map(|error| json!({"object": error.object, "reason": error.message})).collect::<Vec<_>>(),
        "notServed": report.not_served.iter().map(|(object, reason)| json!({"object": object, "reason": reason})).collect::<Vec<_>>(),
    })
}
