//! HTTP: which operation or look a request asks for.

mod ask;
mod look;
mod statement;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{Identity, Shared, failure::Failure, fault::Failing};

/// Larger requests are refused.
const LIMIT: usize = 1024 * 1024;
/// Behind the name of a project: which permissions the caller has there.
const GRANTED: &str = ":testIamPermissions";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(respond).with_state(shared)
}

/// Who asks.
#[derive(Debug, Clone)]
struct Caller {
    email: String,
    identity: Option<Identity>,
}

impl Caller {
    fn of(headers: &HeaderMap, identities: &[Identity]) -> Result<Self, Failure> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        let identity = identities.iter().find(|identity| Some(identity.token.as_str()) == token);
        match identity {
            Some(identity) => Ok(Self { email: identity.email.clone(), identity: Some(identity.clone()) }),
            None if identities.is_empty() => Ok(Self { email: "anonymous".to_owned(), identity: None }),
            None => Err(Failure::new(401, "authError", "Request had invalid authentication credentials.")),
        }
    }

    fn may(&self, project: &str, permission: &str) -> Result<(), Failure> {
        match &self.identity {
            Some(identity) if !identity.projects.iter().any(|own| own == project) => Err(Failure::not_authorized()),
            Some(identity) if identity.lacks.iter().any(|lacking| lacking == permission) => Err(Failure::new(
                403,
                "notAuthorized",
                format!("The client is not authorized to make this request. Required permission: {permission}."),
            )),
            _ => Ok(()),
        }
    }
}

/// One request.
struct Call {
    shared: Arc<Shared>,
    method: Method,
    query: Vec<(String, String)>,
    body: Value,
    caller: Caller,
}

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An operation that was accepted, as the answer to what asked for it.
    fn operation(&self, name: &str) -> Result<Value, Failure> {
        let state = self.shared.state();
        let operation = state.operation(name).ok_or_else(|| Failure::new(404, "operationDoesNotExist", "No such operation."))?;
        Ok(operation.json("http://sqladmin"))
    }
}

async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let failing = shared.faults.take(request_name(&parts.method, &segments(&parts)), Failing::of_request);
    if let Some(Failing::Refused(status, reason)) = &failing {
        return Failure::new(*status, reason, message_of(reason)).into_response();
    }
    let answer = match axum::body::to_bytes(body, LIMIT).await {
        Ok(bytes) => {
            // A server that is real is waited for.
            let answering = tokio::task::spawn_blocking(move || answer(&shared, &parts, &bytes));
            answering.await.unwrap_or_else(|error| Err(Failure::new(500, "internalError", error.to_string())))
        }
        Err(_) => Err(Failure::invalid("The request is too large.")),
    };
    match failing {
        Some(Failing::RefusedAfter(status, reason)) => Failure::new(status, &reason, message_of(&reason)).into_response(),
        Some(Failing::Silent) => std::future::pending().await,
        _ => answer.map_or_else(IntoResponse::into_response, |value| Json(value).into_response()),
    }
}

fn segments(parts: &Parts) -> Vec<&str> {
    parts.uri.path().split('/').filter(|part| !part.is_empty()).collect()
}

/// What is said with a reason.
fn message_of(reason: &str) -> String {
    match reason {
        "operationInProgress" => Failure::in_progress(409).message,
        "notAuthorized" => Failure::not_authorized().message,
        "accessNotConfigured" => "Cloud SQL Admin API has not been used in project 123 before or it is disabled.".to_owned(),
        "rateLimitExceeded" => "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.".to_owned(),
        "quotaExceeded" => "Quota exceeded: the project has reached its limit of instances.".to_owned(),
        reason => format!("Refused on purpose: {reason}."),
    }
}

/// What faults call a request.
fn request_name<'a>(method: &Method, path: &[&'a str]) -> &'a str {
    match path {
        ["v1", "projects", _, "instances", _] if method == Method::DELETE => "delete",
        ["v1", "projects", _, "instances", _] if method == Method::PATCH => "patch",
        ["v1", "projects", _, "instances", _] => "instance",
        ["v1", "projects", _, "instances", _, verb, ..] => verb,
        ["v1", "projects", project] if project.ends_with(GRANTED) => "permissions",
        ["v1", "projects", _, collection, ..] => collection,
        _ => "unknown",
    }
}

fn answer(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Result<Value, Failure> {
    let (method, path) = (&parts.method, segments(parts));
    let name = request_name(method, &path);
    let caller = Caller::of(&parts.headers, &shared.options.identities)?;
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        serde_json::from_slice(body).map_err(|error| Failure::new(400, "parseError", error.to_string()))?
    };
    let query = parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(key, value)| (key.to_owned(), decoded(value))).collect();
    let call = Call { shared: Arc::clone(shared), method: method.clone(), query, body, caller };
    match path.as_slice() {
        // Of Resource Manager, which has another address at Google.
        ["v1", "projects", project] if *method == Method::POST && project.ends_with(GRANTED) => {
            look::granted(&call, project.strip_suffix(GRANTED).unwrap_or_default())
        }
        ["v1", "projects", project, "operations", rest @ ..] => look::operations(&call, project, rest),
        ["v1", "projects", project, "instances"] if *method == Method::GET => look::instances(&call, project),
        ["v1", "projects", project, "instances"] => ask::create(&call, project),
        ["v1", "projects", project, "instances", instance, rest @ ..] if *method == Method::GET => {
            look::instance(&call, project, instance, rest)
        }
        ["v1", "projects", project, "instances", instance, rest @ ..] => ask::change(&call, project, instance, rest, name),
        _ => Err(Failure::new(404, "notFound", "Not Found")),
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = text.get(index + 1..index + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[index], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                index += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
