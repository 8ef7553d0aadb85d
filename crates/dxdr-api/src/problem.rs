//! What is wrong with a manifest: where, what was found, what was expected, and what might have been meant.

use std::{fmt, sync::Arc};

use dxdr_environment::FieldPath;

/// A text to read: a file's content and the name people know it by.
#[derive(Debug, Clone, Copy)]
pub struct SourceText<'a> {
    /// Path of the file, as it should stand in front of problems.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
}

/// A place in a source: both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The manifest cannot be used.
    Error,
    /// It can be used, and probably not as meant.
    Warning,
}

/// One problem. [`fmt::Display`] is one line without the hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Name of the source.
    pub file: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// The field it is about; empty when it is about the text or the document.
    pub path: FieldPath,
    /// What is wrong, naming the field.
    pub message: String,
    /// What was found there.
    pub found: Option<String>,
    /// What may stand there.
    pub expected: Option<String>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Problem {
    /// An error about the field at `path`.
    pub(crate) fn error(file: &Arc<str>, place: Place, path: FieldPath, message: impl Into<String>) -> Self {
        let (message, found, expected) = (message.into(), None, None);
        Self { severity: Severity::Error, file: Arc::clone(file), place, path, message, found, expected, hints: Vec::new() }
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Suggests the one of `names` that `given` was probably meant to be, if there is one.
    pub(crate) fn suggest<'a>(self, given: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match crate::nearest::nearest(given, names) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: ", self.file, self.place.line, self.place.column)?;
        if self.severity == Severity::Warning {
            formatter.write_str("warning: ")?;
        }
        formatter.write_str(&self.message)?;
        if let Some(found) = &self.found {
            write!(formatter, ": found {found}")?;
        }
        if let Some(expected) = &self.expected {
            write!(formatter, "{} expected {expected}", if self.found.is_some() { "," } else { ":" })?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of files and lines. Holds at least one error when it is returned as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether any of them forbids using the manifests.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// By file and place, each once: an aliased node is read as often as it is used. Where the text itself is wrong, what it would
    /// mean is not worth a second problem.
    pub(crate) fn sorted(mut self) -> Self {
        self.0.sort_by(|left, right| {
            (&left.file, left.place, left.severity, left.path.0.len()).cmp(&(
                &right.file,
                right.place,
                right.severity,
                right.path.0.len(),
            ))
        });
        let mut kept: Vec<Problem> = Vec::with_capacity(self.0.len());
        for problem in self.0 {
            let mut same_place = kept.iter().rev().take_while(|other| other.file == problem.file && other.place == problem.place);
            let known = same_place.any(|other| *other == problem || (other.path.0.is_empty() && !problem.path.0.is_empty()));
            if !known {
                kept.push(problem);
            }
        }
        Self(kept)
    }
}

impl fmt::Display for Problems {
    /// A line for each problem, and one for each hint below it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{problem}")?;
            for hint in &problem.hints {
                write!(formatter, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
