//! Reporters of the command line: a moving line for whoever watches, plain lines for whoever reads later, log lines for collectors.

use std::{sync::Arc, time::Duration};

use dxdr_run::{Event, Reporter};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{logging::LogFormat, terminal::Terminal};

/// The reporter that fits the terminal and the log format.
pub(crate) fn reporter(terminal: &Terminal, log_format: LogFormat) -> Arc<dyn Reporter> {
    if log_format == LogFormat::Json {
        return Arc::new(Logged);
    }
    if !terminal.watched() {
        return Arc::new(Lines { terminal: terminal.clone() });
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    Arc::new(Moving { bar })
}

/// A line an event.
struct Lines {
    terminal: Terminal,
}

impl Reporter for Lines {
    fn report(&self, event: &Event) {
        if let Some(line) = dxdr_report::event::text(event) {
            self.terminal.note(&line);
        }
    }
}

/// One moving line, and the others above it.
struct Moving {
    bar: ProgressBar,
}

impl Reporter for Moving {
    fn report(&self, event: &Event) {
        if let Some(message) = dxdr_report::event::progress(event) {
            self.bar.set_message(message);
        }
        match event {
            Event::StepStarted { .. } => {}
            // Not before: a line that moves would run over the question whether to begin.
            Event::RunStarted { run, .. } => {
                self.bar.println(format!("run {run}"));
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
            Event::RunFinished { .. } => self.bar.finish_and_clear(),
            _ => {
                if let Some(line) = dxdr_report::event::text(event) {
                    self.bar.println(line);
                }
            }
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How many of a number of files are done, for whoever watches; nothing for anybody else.
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// None yet.
    pub(crate) fn of_files(terminal: &Terminal, total: usize) -> Self {
        if !terminal.watched() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} files, {eta} left") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Another one.
    pub(crate) fn one_more(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// Leaves the line to others.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Events as log lines.
struct Logged;

impl Reporter for Logged {
    fn report(&self, event: &Event) {
        match event {
            Event::RunStarted { run, .. } => tracing::info!(target: "dxdr::run", run, "run started"),
            Event::StepStarted { step, title } => tracing::info!(target: "dxdr::run", step, title, "step started"),
            Event::Progress { step, done, total, bytes, at } => {
                tracing::debug!(target: "dxdr::run", step, done, total, bytes, kind = at, "progress");
            }
            Event::Phase { step, phase } => tracing::info!(target: "dxdr::run", step, phase, "phase"),
            Event::StepFinished { step, summary } => tracing::info!(target: "dxdr::run", step, summary, "step finished"),
            Event::StepSkipped { step, title } => tracing::info!(target: "dxdr::run", step, title, "step done before"),
            Event::ObjectFailed { object, error } => tracing::warn!(target: "dxdr::run", %object, error, "object failed"),
            Event::Warning { text } => tracing::warn!(target: "dxdr::run", "{text}"),
            Event::RunFinished { run, outcome, .. } => tracing::info!(target: "dxdr::run", run, outcome, "run finished"),
        }
    }
}
