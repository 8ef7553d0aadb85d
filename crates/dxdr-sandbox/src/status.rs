//! What the server answers when it refuses: the `Status` object, with the words of the real server.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::kind::Kind;

/// A refusal, on its way to becoming a `Status` object.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    pub(crate) retry_after_seconds: Option<u32>,
    pub(crate) continue_token: Option<String>,
}

/// One field that is wrong, as listed under `details.causes`.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Cause {
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: impl AsRef<str>) -> Self {
        Self { reason: "FieldValueInvalid", field: field.into(), message: format!("Invalid value: {value}: {}", detail.as_ref()) }
    }

    pub(crate) fn unsupported(field: impl Into<String>, value: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: \"{value}\": supported values: {supported}");
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {detail}") }
    }
}

impl Failure {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, retry_after_seconds: None, continue_token: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let mut failure = Self::new(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified_plural()));
        failure.details = Some(details(kind, name));
        failure
    }

    /// There is no such resource or subresource.
    pub(crate) fn no_resource() -> Self {
        let mut failure = Self::new(404, "NotFound", "the server could not find the requested resource");
        failure.details = Some(json!({}));
        failure
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let mut failure = Self::new(409, "AlreadyExists", format!("{} \"{name}\" already exists", kind.qualified_plural()));
        failure.details = Some(details(kind, name));
        failure
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let mut failure =
            Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified_plural()));
        failure.details = Some(details(kind, name));
        failure
    }

    /// A precondition of a deletion that does not hold; the real server names the kind here, not the resource.
    pub(crate) fn unmet(kind: &Kind, name: &str, why: &str) -> Self {
        let group = if kind.group.is_empty() { String::new() } else { format!(".{}", kind.group) };
        let mut failure = Self::conflict(kind, name, why);
        failure.message = format!("Operation cannot be fulfilled on {}{group} \"{name}\": {why}", kind.kind);
        failure.details = Some(json!({"name": name, "kind": kind.kind}));
        failure
    }

    /// A patch after which the object would not be one of its type.
    pub(crate) fn invalid_patch(cause: &Cause) -> Self {
        Self::new(422, "Invalid", format!(" \"\" is invalid: {}: {}", cause.field, cause.message))
            .with_causes(vec![json!({"reason": cause.reason, "message": cause.message, "field": cause.field})])
    }

    /// Options of a request that contradict each other.
    pub(crate) fn invalid_options(options: &'static str, cause: &Cause) -> Self {
        let mut failure =
            Self::new(422, "Invalid", format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message));
        failure.details = Some(json!({"group": "meta.k8s.io", "kind": options}));
        failure.with_causes(vec![json!({"reason": cause.reason, "message": cause.message, "field": cause.field})])
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        Self::conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let mut failure = Self::new(
            403,
            "Forbidden",
            if name.is_empty() {
                format!("{} is forbidden: {why}", kind.qualified_plural())
            } else {
                format!("{} \"{name}\" is forbidden: {why}", kind.qualified_plural())
            },
        );
        failure.details = Some(details(kind, name));
        failure
    }

    pub(crate) fn with_causes(mut self, causes: Vec<Value>) -> Self {
        let details = self.details.get_or_insert_with(|| json!({}));
        if let Some(map) = details.as_object_mut() {
            map.insert("causes".to_owned(), Value::Array(causes));
        }
        self
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(
                |cause| {
                    if cause.field == "<nil>" { cause.message.clone() } else { format!("{}: {}", cause.field, cause.message) }
                },
            )
            .collect();
        let list = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let qualified = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
        let mut failure = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {list}"));
        let mut details = json!({"kind": kind.kind});
        if !name.is_empty() {
            details["name"] = name.into();
        }
        if !kind.group.is_empty() {
            details["group"] = kind.group.as_str().into();
        }
        failure.details = Some(details);
        failure.with_causes(
            causes.iter().map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field})).collect(),
        )
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut metadata = json!({});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = token.as_str().into();
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(seconds) = self.retry_after_seconds {
            if status.get("details").is_none() {
                status["details"] = json!({});
            }
            status["details"]["retryAfterSeconds"] = seconds.into();
        }
        status
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = json_response(self.code, self.to_value().to_string());
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn json_response(code: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({"kind": kind.plural});
    if !name.is_empty() {
        details["name"] = name.into();
    }
    if !kind.group.is_empty() {
        details["group"] = kind.group.as_str().into();
    }
    details
}
