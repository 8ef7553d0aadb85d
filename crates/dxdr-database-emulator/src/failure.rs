//! Refusals, as the API says them.

use serde_json::{Value, json};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    pub(crate) fn no_instance() -> Self {
        Self::new(404, "instanceDoesNotExist", "The Cloud SQL instance does not exist.")
    }

    pub(crate) fn no_database(name: &str) -> Self {
        Self::new(404, "notFound", format!("Not Found: database {name} does not exist."))
    }

    pub(crate) fn not_authorized() -> Self {
        Self::new(403, "notAuthorized", "The client is not authorized to make this request.")
    }

    pub(crate) fn in_progress(status: u16) -> Self {
        Self::new(
            status,
            "operationInProgress",
            "Operation failed because another operation was already in progress. Try your request after the current operation is complete.",
        )
    }

    /// As status and body.
    pub(crate) fn said(&self) -> (u16, Value) {
        let detail = json!({"message": self.message, "domain": "global", "reason": self.reason});
        (self.status, json!({"error": {"code": self.status, "message": self.message, "errors": [detail]}}))
    }
}
