//! By which route a database comes back.

use std::fmt;

use dxdr_environment::InstanceName;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::choice::RouteKind;

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
    /// Its instance comes back as it was, as a new one, which is what is asked for.
    Clone(CloneRoute),
    /// Its instance comes back as it was, as a new one; the database is exported from there and imported, and the new instance deleted.
    CloneAndImport {
        /// The new instance.
        clone: CloneRoute,
        /// What the database is called there: as it was called at that instant.
        database: String,
    },
}

/// A new instance that is what another one was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneRoute {
    /// Which.
    pub source: InstanceName,
    /// Its name, in the same project.
    pub destination: String,
    /// As of when.
    pub at: Timestamp,
    /// The backup that it is made out of; `None`: it is cloned, out of the other one's log.
    pub backup: Option<String>,
    /// From when on it may be deleted by whoever cleans up.
    pub expires: Timestamp,
}

impl Route {
    /// In a word, as journals and JSON have it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Import { .. } => RouteKind::Import.word(),
            Self::Clone(CloneRoute { backup: None, .. }) => RouteKind::Clone.word(),
            Self::Clone(_) => RouteKind::Backup.word(),
            Self::CloneAndImport { clone: CloneRoute { backup: None, .. }, .. } => RouteKind::CloneAndImport.word(),
            Self::CloneAndImport { .. } => RouteKind::BackupAndImport.word(),
        }
    }

    /// What it reads, relative to the point's folder, where that lies there.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Load { key } => Some(key),
            Self::Import { key, .. } => key.as_deref(),
            Self::Clone(_) | Self::CloneAndImport { .. } => None,
        }
    }

    /// The new instance that is made on the way.
    pub fn clone_route(&self) -> Option<&CloneRoute> {
        match self {
            Self::Clone(clone) | Self::CloneAndImport { clone, .. } => Some(clone),
            Self::Load { .. } | Self::Import { .. } => None,
        }
    }

    /// Whether it leads to a database under a new name, on the server of the original.
    pub fn is_beside(&self) -> bool {
        !matches!(self, Self::Clone(_))
    }

    /// For a journal.
    pub(super) fn parameters(&self) -> Value {
        match self {
            Self::Load { key } => json!({self.word(): {"key": key}}),
            Self::Import { uri, key } => json!({self.word(): {"uri": uri, "key": key}}),
            Self::Clone(clone) => json!({self.word(): clone.parameters()}),
            Self::CloneAndImport { clone, database } => {
                json!({self.word(): {"clone": clone.parameters(), "database": database}})
            }
        }
    }

    /// What a journal has; `None` where something is missing.
    pub(super) fn recorded(value: &Value) -> Option<Self> {
        let (word, value) = value.as_object()?.iter().next()?;
        match word.as_str() {
            "load" => Some(Self::Load { key: text(value, "key")? }),
            "import" => Some(Self::Import { uri: text(value, "uri")?, key: text(value, "key") }),
            "clone" | "backup" => Some(Self::Clone(CloneRoute::recorded(value)?)),
            "clone-export-import" | "backup-export-import" => Some(Self::CloneAndImport {
                clone: CloneRoute::recorded(value.get("clone")?)?,
                database: text(value, "database")?,
            }),
            _ => None,
        }
    }
}

impl CloneRoute {
    fn parameters(&self) -> Value {
        json!({
            "project": self.source.project, "source": self.source.instance, "destination": self.destination,
            "at": self.at.to_string(), "expires": self.expires.to_string(), "backup": self.backup,
        })
    }

    fn recorded(value: &Value) -> Option<Self> {
        Some(Self {
            source: InstanceName::new(text(value, "project")?, text(value, "source")?),
            destination: text(value, "destination")?,
            at: text(value, "at")?.parse().ok()?,
            expires: text(value, "expires")?.parse().ok()?,
            backup: text(value, "backup"),
        })
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
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
    /// Gigabytes of the disk that is cloned.
    pub disk_gigabytes: Option<u64>,
    /// How long the service took to write the bytes.
    pub export: Option<SignedDuration>,
    /// How long the service took when it read the same bytes the last time.
    pub import: Option<SignedDuration>,
    /// How long the last clone of the instance took.
    pub clone: Option<SignedDuration>,
}
