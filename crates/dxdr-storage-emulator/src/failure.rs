//! Refusals, as the JSON API says them.

use axum::body::Body;
use http::{Response, StatusCode, header};
use serde_json::json;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    pub(crate) fn no_bucket() -> Self {
        Self::new(404, "notFound", "The specified bucket does not exist.")
    }

    pub(crate) fn no_object(bucket: &str, object: &str) -> Self {
        Self::new(404, "notFound", format!("No such object: {bucket}/{object}"))
    }

    pub(crate) fn condition() -> Self {
        Self::new(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
    }

    pub(crate) fn not_implemented(what: &str) -> Self {
        Self::new(501, "notImplemented", format!("This emulator does not do {what}."))
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let detail = json!({"message": self.message, "domain": "global", "reason": self.reason});
        let body = json!({"error": {"code": self.status, "message": self.message, "errors": [detail]}});
        with_status(self.status, "application/json; charset=UTF-8", format!("{body:#}\n").into())
    }

    /// Reads of an object's bytes are refused in plain text.
    pub(crate) fn into_plain_response(self) -> Response<Body> {
        if self.status == 304 {
            return with_status(304, "text/plain", Body::empty());
        }
        with_status(self.status, "text/html; charset=UTF-8", self.message.into())
    }
}

pub(crate) fn with_status(status: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
