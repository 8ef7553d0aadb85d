//! The name of a Cloud SQL instance: what several environments may share.

use std::fmt;

/// A Cloud SQL instance, in a project of Google Cloud.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName {
    /// The project.
    pub project: String,
    /// The instance in it.
    pub instance: String,
}

impl InstanceName {
    /// `instance` of `project`.
    pub fn new(project: impl Into<String>, instance: impl Into<String>) -> Self {
        Self { project: project.into(), instance: instance.into() }
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "projects/{}/instances/{}", self.project, self.instance)
    }
}
