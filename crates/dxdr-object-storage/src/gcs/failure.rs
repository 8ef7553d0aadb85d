//! What Google Cloud Storage says when it refuses, and what it means.

use std::{error::Error, fmt, time::Duration};

use dxdr_provider::object_storage::{StorageError, StorageErrorKind};
use google_cloud_gax::error::rpc::{Status, StatusDetails};
use serde_json::Value;

use crate::failure::Call;

/// What the server, or the way to it, said.
#[derive(Debug)]
pub struct GcsFailure {
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Google's reason, such as `retentionPolicyNotMet`; answers to reads have none.
    pub reason: Option<String>,
    pub(super) kind: StorageErrorKind,
    /// How long the server asks to wait.
    pub(super) retry_after: Option<Duration>,
    text: String,
}

impl fmt::Display for GcsFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Error for GcsFailure {}

impl GcsFailure {
    pub(super) fn new(kind: StorageErrorKind, text: impl Into<String>) -> Self {
        Self { status: None, reason: None, kind, retry_after: None, text: text.into() }
    }

    /// From an answer that is a refusal.
    pub(super) fn of_answer(status: u16, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let reason = json["error"]["errors"][0]["reason"].as_str().map(str::to_owned);
        match json["error"]["message"].as_str() {
            Some(message) => Self::refused(status, reason, message),
            None => Self::refused(status, reason, &plain(body)),
        }
    }

    fn refused(status: u16, reason: Option<String>, message: &str) -> Self {
        let said = message.trim().trim_end_matches('.');
        let text = match (said, &reason) {
            ("", None) => format!("the server refused without saying why (HTTP {status})"),
            ("", Some(reason)) => format!("{reason} (HTTP {status})"),
            (said, Some(reason)) => format!("{said} (HTTP {status}, {reason})"),
            (said, None) => format!("{said} (HTTP {status})"),
        };
        let kind = kind_of_answer(status, reason.as_deref().unwrap_or_default(), said);
        Self { status: Some(status), reason, kind, retry_after: None, text }
    }

    /// From an error of the HTTP client. URLs are left out: that of a session is as good as credentials.
    pub(super) fn of_client(error: reqwest::Error) -> Self {
        let kind = kind_of_client(&error);
        Self::new(kind, chain(&error.without_url()))
    }

    /// From an error of Google's crate.
    pub(super) fn of_crate(error: &google_cloud_storage::Error) -> Self {
        if let Some(status) = error.http_status_code() {
            return match (error.status(), error.http_payload()) {
                (Some(said), _) => Self::refused(status, reason(said), &said.message),
                (None, body) => Self::of_answer(status, body.map(|body| body.as_ref()).unwrap_or_default()),
            };
        }
        let kind = if error.is_authentication() {
            StorageErrorKind::Unauthenticated
        } else if error.is_timeout() {
            StorageErrorKind::TimedOut
        } else if is_mismatch(error) {
            StorageErrorKind::Corrupt
        } else if let Some(client) = cause::<reqwest::Error>(error) {
            kind_of_client(client)
        } else if error.is_connect() {
            StorageErrorKind::Unreachable
        } else if error.is_io() || error.is_transport() {
            StorageErrorKind::Unavailable
        } else {
            StorageErrorKind::Other
        };
        Self::new(kind, chain(error))
    }

    /// The same as something else.
    pub(super) fn with_kind(self, kind: StorageErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Whether the condition on the object's generation did not hold.
    pub(super) fn is_condition(&self) -> bool {
        self.status == Some(412)
    }
}

/// Google's reason, which its crate keeps among the details.
fn reason(status: &Status) -> Option<String> {
    status.details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.clone()),
        _ => None,
    })
}

/// The bytes that were stored or read are others than were sent or written.
fn is_mismatch(error: &google_cloud_storage::Error) -> bool {
    use google_cloud_storage::error::{ReadError, WriteError};
    matches!(cause(error), Some(WriteError::ChecksumMismatch { .. }))
        || matches!(cause(error), Some(ReadError::ChecksumMismatch(_) | ReadError::LongRead { .. }))
}

/// The first cause of this type.
fn cause<'error, E: Error + 'static>(error: &'error (dyn Error + 'static)) -> Option<&'error E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn kind_of_client(error: &reqwest::Error) -> StorageErrorKind {
    if error.is_timeout() {
        StorageErrorKind::TimedOut
    } else if error.is_connect() {
        StorageErrorKind::Unreachable
    } else if error.is_builder() {
        StorageErrorKind::Invalid
    } else {
        // Somebody was there, took the connection, and dropped it.
        StorageErrorKind::Unavailable
    }
}

/// What Google means, whatever was tried. Conditions are decided where they were set.
fn kind_of_answer(status: u16, reason: &str, said: &str) -> StorageErrorKind {
    use StorageErrorKind as Kind;
    match status {
        401 => Kind::Unauthenticated,
        404 if said.contains("bucket does not exist") => Kind::NoSuchStore,
        404 => Kind::NotFound,
        403 if matches!(reason, "rateLimitExceeded" | "userRateLimitExceeded" | "quotaExceeded") => Kind::Throttled,
        403 => Kind::Forbidden,
        400 if said.contains("doesn't match calculated") => Kind::Corrupt,
        408 => Kind::TimedOut,
        // The session of an upload is over; another one may do.
        410 => Kind::Unavailable,
        412 => Kind::AlreadyExists,
        429 => Kind::Throttled,
        507 => Kind::Full,
        400 | 405 | 411 | 413 | 416 | 501 => Kind::Invalid,
        500..=599 => Kind::Unavailable,
        _ => Kind::Other,
    }
}

/// A body that is no JSON, if it is a line and not a page.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.starts_with('<') || text.len() > 1000 { String::new() } else { text.lines().next().unwrap_or_default().to_owned() }
}

impl Call {
    /// Fails because of what the server said.
    pub(super) fn fails_by_gcs(&self, failure: GcsFailure) -> StorageError {
        self.fails_by(failure.kind, failure)
    }
}

pub(crate) fn gcs_failure(error: &StorageError) -> Option<&GcsFailure> {
    error.source.as_deref().and_then(|source| source.downcast_ref())
}

/// Every cause in one line, without those that repeat the one before.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        use StorageErrorKind as Kind;
        let json = |reason: &str, message: &str| {
            format!(r#"{{"error": {{"message": "{message}", "errors": [{{"reason": "{reason}"}}]}}}}"#)
        };
        for (status, body, kind, text) in [
            (
                404,
                json("notFound", "The specified bucket does not exist."),
                Kind::NoSuchStore,
                "The specified bucket does not exist (HTTP 404, notFound)",
            ),
            (404, json("notFound", "No such object: dx/a"), Kind::NotFound, "No such object: dx/a (HTTP 404, notFound)"),
            (404, "No such object: dx/a".to_owned(), Kind::NotFound, "No such object: dx/a (HTTP 404)"),
            (401, json("authError", "Invalid Credentials"), Kind::Unauthenticated, "Invalid Credentials (HTTP 401, authError)"),
            (403, json("forbidden", "x does not have y"), Kind::Forbidden, "x does not have y (HTTP 403, forbidden)"),
            (403, json("rateLimitExceeded", "slow"), Kind::Throttled, "slow (HTTP 403, rateLimitExceeded)"),
            (429, String::new(), Kind::Throttled, "the server refused without saying why (HTTP 429)"),
            (503, "<html>Welcome</html>".to_owned(), Kind::Unavailable, "the server refused without saying why (HTTP 503)"),
            (
                400,
                json("invalid", "Provided CRC32C x doesn't match calculated CRC32C y."),
                Kind::Corrupt,
                "Provided CRC32C x doesn't match calculated CRC32C y (HTTP 400, invalid)",
            ),
            (400, json("invalid", "other"), Kind::Invalid, "other (HTTP 400, invalid)"),
        ] {
            let failure = GcsFailure::of_answer(status, body.as_bytes());
            assert_eq!((failure.kind, failure.to_string().as_str()), (kind, text));
        }
        assert!(GcsFailure::of_answer(412, b"").is_condition());
    }
}
