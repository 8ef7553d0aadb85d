//! By which route a database comes back.

use std::fmt;

use jiff::SignedDuration;
use serde_json::{Value, json};

/// A way from what a point has of a database to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Its dump is loaded by PostgreSQL's own program.
    Load {
        /// The dump, relative to the point's folder.
        key: String,
    },
    /// Its export is imported by the service into a new database of the instance.
    Import {
        /// `gs://…`
        uri: String,
        /// The export, relative to the point's folder, where it is one of the point's objects.
        key: Option<String>,
    },
}

impl Route {
    /// In a word, as journals and JSON have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Import { .. } => "import",
        }
    }

    /// What it reads, relative to the point's folder, where that lies there.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Load { key } => Some(key),
            Self::Import { key, .. } => key.as_deref(),
        }
    }

    /// For a journal.
    pub(super) fn parameters(&self) -> Value {
        match self {
            Self::Load { key } => json!({"load": {"key": key}}),
            Self::Import { uri, key } => json!({"import": {"uri": uri, "key": key}}),
        }
    }

    /// What a journal has; `None` where something is missing.
    pub(super) fn recorded(value: &Value) -> Option<Self> {
        let text = |pointer: &str| value.pointer(pointer)?.as_str().map(str::to_owned);
        match value.as_object()?.keys().next()?.as_str() {
            "load" => Some(Self::Load { key: text("/load/key")? }),
            "import" => Some(Self::Import { uri: text("/import/uri")?, key: text("/import/key") }),
            _ => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// What a route takes, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Bytes that are read.
    pub bytes: Option<u64>,
    /// How long the service took to write them.
    pub export: Option<SignedDuration>,
    /// How long the service took when it read the same bytes the last time.
    pub import: Option<SignedDuration>,
}
