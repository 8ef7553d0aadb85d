//! What S3 servers say when they refuse, and what it means.

use std::{error::Error, fmt, fmt::Write};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use dxdr_provider::object_storage::{StorageError, StorageErrorKind};

use crate::failure::Call;

/// What a server, or the way to it, said.
#[derive(Debug)]
pub struct S3Failure {
    /// HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// S3's error code, such as `SlowDown`; HEAD requests get none.
    pub code: Option<String>,
    text: String,
}

impl fmt::Display for S3Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Error for S3Failure {}

/// From an error of the SDK.
pub(super) fn failure<E>(call: &Call, error: SdkError<E, HttpResponse>) -> StorageError
where
    E: ProvideErrorMetadata + RequestId + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().filter(|code| !code.is_empty()).map(str::to_owned);
    let text = match &error {
        SdkError::ServiceError(service) => said(service.err(), status),
        _ => chain(&error),
    };
    let kind = match &error {
        SdkError::ServiceError(_) => kind_of_answer(status.unwrap_or_default(), code.as_deref(), call.action),
        SdkError::TimeoutError(_) => StorageErrorKind::TimedOut,
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            Some(connector) if connector.is_user() => StorageErrorKind::Invalid,
            _ if lacks_credentials(&text) => StorageErrorKind::Unauthenticated,
            _ if was_cut(&text) => StorageErrorKind::Unavailable,
            _ => StorageErrorKind::Unreachable,
        },
        SdkError::ResponseError(_) => StorageErrorKind::Unavailable,
        _ if lacks_credentials(&text) => StorageErrorKind::Unauthenticated,
        _ => StorageErrorKind::Invalid,
    };
    call.fails_by(kind, S3Failure { status, code, text })
}

/// The same failure as something else.
pub(super) fn reread(error: StorageError, kind: StorageErrorKind) -> StorageError {
    StorageError { kind, ..error }
}

/// S3's code, of an error made by [`failure`].
pub(super) fn code(error: &StorageError) -> Option<&str> {
    s3_failure(error).and_then(|failure| failure.code.as_deref())
}

pub(super) fn status(error: &StorageError) -> Option<u16> {
    s3_failure(error).and_then(|failure| failure.status)
}

pub(crate) fn s3_failure(error: &StorageError) -> Option<&S3Failure> {
    error.source.as_deref().and_then(|source| source.downcast_ref())
}

/// The SDK has no public type for "no credentials were found", which it treats as a failure to dispatch.
fn lacks_credentials(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["credential", "identity", "sso", "web identity"].iter().any(|word| text.contains(word))
}

/// Somebody was there, took the connection, and dropped it.
fn was_cut(text: &str) -> bool {
    ["connection closed", "connection reset", "Connection reset", "Broken pipe"].iter().any(|words| text.contains(words))
}

fn kind_of_answer(status: u16, code: Option<&str>, action: &'static str) -> StorageErrorKind {
    use StorageErrorKind as Kind;
    match code.unwrap_or_default() {
        "NoSuchBucket" => Kind::NoSuchStore,
        "NoSuchKey" | "NotFound" | "NoSuchUpload" | "NoSuchVersion" => Kind::NotFound,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "RequestTimeTooSkewed"
        | "MissingAuthenticationToken" => Kind::Unauthenticated,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "TooManyRequests"
        | "TooManyRequestsException"
        | "KMS.ThrottlingException" => Kind::Throttled,
        "RequestTimeout" | "RequestTimeoutException" => Kind::TimedOut,
        "PreconditionFailed" if action == "write" => Kind::AlreadyExists,
        "PreconditionFailed" => Kind::Corrupt,
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidDigest" => Kind::Corrupt,
        "InsufficientCapacity" | "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => Kind::Full,
        "InvalidObjectState" | "PermanentRedirect" | "AuthorizationHeaderMalformed" => Kind::Invalid,
        "OperationAborted" | "ConditionalRequestConflict" => Kind::Unavailable,
        _ => match status {
            401 => Kind::Unauthenticated,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            408 => Kind::TimedOut,
            412 if action == "write" => Kind::AlreadyExists,
            412 => Kind::Corrupt,
            429 => Kind::Throttled,
            507 => Kind::Full,
            301 | 307 | 400 | 405 | 411 | 413 | 416 | 501 => Kind::Invalid,
            500..=599 => Kind::Unavailable,
            _ => Kind::Other,
        },
    }
}

/// `SlowDown: Please reduce your request rate (HTTP 503, request 4442587FB7D0A2F9)`
fn said(error: &(impl ProvideErrorMetadata + RequestId), status: Option<u16>) -> String {
    let mut text = error.code().unwrap_or("the server refused without saying why").to_owned();
    if let Some(message) = error.message().filter(|message| !message.is_empty()) {
        let _ = write!(text, ": {}", message.trim_end_matches('.'));
    }
    match (status, error.request_id()) {
        (Some(status), Some(request)) => {
            let _ = write!(text, " (HTTP {status}, request {request})");
        }
        (Some(status), None) => {
            let _ = write!(text, " (HTTP {status})");
        }
        _ => {}
    }
    text
}

/// Every cause in one line, without those that repeat the one before.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_the_status() {
        use StorageErrorKind as Kind;
        for (status, code, kind) in [
            (404, Some("NoSuchBucket"), Kind::NoSuchStore),
            (404, Some("NoSuchKey"), Kind::NotFound),
            (404, None, Kind::NotFound),
            (403, Some("AccessDenied"), Kind::Forbidden),
            (403, Some("InvalidAccessKeyId"), Kind::Unauthenticated),
            (403, Some("SignatureDoesNotMatch"), Kind::Unauthenticated),
            (400, Some("ExpiredToken"), Kind::Unauthenticated),
            (503, Some("SlowDown"), Kind::Throttled),
            (503, Some("ServiceUnavailable"), Kind::Unavailable),
            (500, Some("InternalError"), Kind::Unavailable),
            (429, None, Kind::Throttled),
            (412, Some("PreconditionFailed"), Kind::AlreadyExists),
            (400, Some("BadDigest"), Kind::Corrupt),
            (507, Some("XMinioStorageFull"), Kind::Full),
            (400, Some("AuthorizationHeaderMalformed"), Kind::Invalid),
        ] {
            assert_eq!(kind_of_answer(status, code, "write"), kind, "{status} {code:?}");
        }
        assert_eq!(kind_of_answer(412, Some("PreconditionFailed"), "read"), Kind::Corrupt);
    }
}
