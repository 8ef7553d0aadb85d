//! Who asks, and what they may.

/// Somebody with a bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What stands behind `Bearer ` in the header.
    pub token: String,
    /// Who it is, as operations show it.
    pub email: String,
    /// The projects they may use.
    pub projects: Vec<String>,
    /// Permissions that they lack: `cloudsql.instances.export`.
    pub lacks: Vec<String>,
}
