//! The one printer: data on stdout, everything else on stderr, colour only where a person sees it.

use std::{
    io::{self, BufRead, ErrorKind, IsTerminal, Write},
    sync::{Arc, OnceLock},
};

use serde_json::{Value, json};

use crate::{
    failure::{Failure, Kind},
    logging::LogFormat,
    presentation::Presentation,
};

/// What is printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Tables and sentences, for people. Not a contract.
    Text,
    /// JSON, a documented and versioned contract.
    Json,
    /// The same as YAML.
    Yaml,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where everything is printed.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    pub(crate) output: Output,
    pub(crate) quiet: bool,
    /// Whether stderr shows colour.
    colour: bool,
    /// Whether stdout does.
    colour_data: bool,
    interactive: bool,
    /// Everything that is not data is a log line: stderr belongs to a collector.
    logged: bool,
    /// Why stdout did not take what it was given.
    lost: Arc<OnceLock<io::Error>>,
}

impl Terminal {
    /// Looks once at what stdout, stderr and stdin are.
    pub(crate) fn new(presentation: &Presentation) -> Self {
        let &Presentation { output, colour, quiet, log_format } = presentation;
        let logged = log_format == LogFormat::Json;
        let shown = |terminal: bool| match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let interactive = io::stdin().is_terminal() && io::stderr().is_terminal() && !logged;
        let colour = !logged && shown(io::stderr().is_terminal());
        Self { output, quiet, colour, colour_data: shown(io::stdout().is_terminal()), interactive, logged, lost: Arc::default() }
    }

    /// Whether stderr is read by people: neither a collector nor the program that reads stdout.
    pub(crate) fn for_people(&self) -> bool {
        !self.logged && self.output == Output::Text
    }

    /// Whether stderr shows colour.
    pub(crate) fn coloured(&self) -> bool {
        self.colour
    }

    /// Whether progress has somebody to watch it.
    pub(crate) fn watched(&self) -> bool {
        io::stderr().is_terminal() && !self.quiet && !self.logged && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
    }

    /// Characters in a line of stdout, where they are limited: as `COLUMNS` says, else as the terminal does.
    pub(crate) fn width(&self) -> Option<usize> {
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        said.or_else(|| terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)))
    }

    /// Text on stdout: what was asked for. A reader that went away (`| head`) is not an error; any other is [`Terminal::lost`].
    pub(crate) fn data(&self, text: &str) {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.exactly(&[text, end]);
    }

    /// Texts on stdout, with nothing behind them.
    pub(crate) fn exactly(&self, texts: &[&str]) {
        let mut stdout = io::stdout().lock();
        let written = texts.iter().try_for_each(|text| stdout.write_all(text.as_bytes())).and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            // The first one says why.
            let _ = self.lost.set(error);
        }
    }

    /// Fails where stdout did not take what it was given. The command has done by then what it does.
    pub(crate) fn lost(&self) -> Result<(), Failure> {
        match self.lost.get() {
            None => Ok(()),
            Some(error) => Err(Failure::new(Kind::Failed, format!("cannot write the result to standard output: {error}"))
                .hint("what the command does is done; only what it prints is missing, or cut short")),
        }
    }

    /// A value on stdout, in the form that was asked for: `text` makes it readable.
    pub(crate) fn value(&self, value: &Value, text: impl FnOnce() -> String) {
        match self.output {
            Output::Text => self.data(&text()),
            Output::Json => self.data(&serde_json::to_string_pretty(value).unwrap_or_default()),
            Output::Yaml => self.data(&dxdr_api::yaml::write(value)),
        }
    }

    /// A line for people, on stderr.
    pub(crate) fn note(&self, text: &str) {
        if self.logged {
            text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| tracing::info!("{line}"));
        } else if !self.quiet {
            self.error_line(text);
        }
    }

    /// Something a person must see even when quiet.
    pub(crate) fn warn(&self, text: &str) {
        if self.logged {
            tracing::warn!("{text}");
            return;
        }
        let label = self.paint("33", "warning:");
        self.error_line(&format!("{label} {text}"));
    }

    /// An error, its causes and what to do next; where a program reads stdout, as one line of JSON, the last one on stderr.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.logged {
            let causes: Vec<String> = failure.error.chain().skip(1).map(ToString::to_string).collect();
            tracing::error!(
                kind = failure.kind.word(),
                code = failure.kind.code(),
                causes = causes.join("; "),
                hints = failure.hints.join("; "),
                "{}",
                failure.error
            );
            return;
        }
        if !self.for_people() {
            self.error_line(&failure_json(failure).to_string());
            return;
        }
        if failure.silent {
            for hint in &failure.hints {
                self.error_line(&format!("{} {hint}", self.paint("36", "hint:")));
            }
            return;
        }
        self.error_line(&format!("{} {}", self.paint("1;31", "error:"), failure.error));
        for cause in failure.error.chain().skip(1) {
            self.error_line(&format!("  {} {cause}", self.paint("31", "caused by:")));
        }
        for hint in &failure.hints {
            self.error_line(&format!("{} {hint}", self.paint("36", "hint:")));
        }
    }

    /// Asks for consent. `--yes` answers for a person; where nobody can be asked, the answer is no.
    pub(crate) fn consent(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::new(Kind::Refused, "nobody is there to consent: stdin is not a terminal")
                .hint("read the plan above; to carry it out without being asked, add `--yes`"));
        }
        {
            // Not held while waiting: a signal has something to say.
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "{question} [y/N] ");
            let _ = stderr.flush();
        }
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            // Ctrl-D leaves the cursor behind the question.
            self.error_line("");
        }
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(Failure::new(Kind::Refused, "not carried out: nobody consented").hint("nothing was changed"))
        }
    }

    /// `text` in a colour, where stderr shows colour.
    fn paint(&self, code: &str, text: &str) -> String {
        painted(self.colour, code, text)
    }

    /// `text` for stdout in a colour, where stdout shows colour.
    pub(crate) fn paint_data(&self, code: &str, text: &str) -> String {
        painted(self.colour_data, code, text)
    }

    fn error_line(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn painted(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A failure as `dxdr.io/error/v1`.
fn failure_json(failure: &Failure) -> Value {
    json!({
        "format": "dxdr.io/error/v1",
        "kind": failure.kind.word(),
        "code": failure.kind.code(),
        "message": failure.error.to_string(),
        "causes": failure.error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>(),
        "hints": failure.hints,
    })
}
