//! A run's events, a line each, for people.

use dxdr_run::Event;

use crate::quantity::bytes;

/// A line for people; `None` for what only moves a progress display.
pub fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::RunStarted { run, .. } => format!("run {run}"),
        Event::StepStarted { title, .. } => format!("  … {title}"),
        Event::Phase { phase, .. } => format!("    {phase}"),
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
