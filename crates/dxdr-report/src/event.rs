//! A run's events: a line each for people, an object each for programs.

use dxdr_run::Event;
use serde_json::{Value, json};

use crate::quantity::{bytes, instant};

/// A line for people; `None` for what only moves a progress display.
pub fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { run, .. } => format!("run {run}"),
        Event::StepStarted { title, .. } => format!("  … {title}"),
        Event::StepFinished { summary, .. } => format!("  ✓ {summary}"),
        Event::StepSkipped { title, .. } => format!("  ✓ {title} (done by an earlier process)"),
        Event::ObjectFailed { object, error } => format!("  ✗ {object}: {error}"),
        Event::Warning { text } => format!("  ! {text}"),
        Event::Progress { .. } | Event::RunFinished { .. } => return None,
    })
}

/// What a progress display says.
pub fn progress(event: &Event) -> Option<String> {
    match event {
        Event::Progress { done, total: Some(total), bytes: count, at, .. } => {
            Some(format!("{done} of {total} objects, {} · {at}", bytes(*count)))
        }
        Event::Progress { done, total: None, bytes: count, at, .. } => Some(format!("{done} objects, {} · {at}", bytes(*count))),
        Event::StepStarted { title, .. } => Some(title.clone()),
        _ => None,
    }
}

/// The event as `dxdr.io/event/v1`.
pub fn json(event: &Event) -> Value {
    match event {
        Event::RunStarted { run, at } => json!({"event": "run-started", "run": run, "at": instant(*at)}),
        Event::StepStarted { step, title } => json!({"event": "step-started", "step": step, "title": title}),
        Event::Progress { step, done, total, bytes, at } => {
            json!({"event": "progress", "step": step, "done": done, "total": total, "bytes": bytes, "kind": at})
        }
        Event::StepFinished { step, summary } => json!({"event": "step-finished", "step": step, "summary": summary}),
        Event::StepSkipped { step, title } => json!({"event": "step-skipped", "step": step, "title": title}),
        Event::ObjectFailed { object, error } => json!({"event": "object-failed", "object": object.to_string(), "error": error}),
        Event::Warning { text } => json!({"event": "warning", "text": text}),
        Event::RunFinished { run, outcome, at } => {
            json!({"event": "run-finished", "run": run, "outcome": outcome, "at": instant(*at)})
        }
    }
}
