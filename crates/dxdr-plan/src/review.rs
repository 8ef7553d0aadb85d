//! What a person should know before a plan is carried out.

use std::fmt;

use dxdr_environment::ObjectReference;

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Information,
    /// Will surprise somebody.
    Warning,
    /// The plan must not be carried out.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Information => "note",
            Self::Warning => "warning",
            Self::Fatal => "fatal",
        })
    }
}

/// One thing to know, said once for all the objects it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// The first of the objects, where it is about objects.
    pub object: Option<ObjectReference>,
    /// How many objects it holds for; 0 when it is about none.
    pub count: u32,
    /// What there is to know.
    pub text: String,
    /// What can be done about it.
    pub hint: Option<String>,
}
