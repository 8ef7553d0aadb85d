//! Which operation or look a request asks for, and what it is answered.

mod ask;
mod look;
mod statement;

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};

use crate::{Identity, Shared, failure::Failure, fault::Failing};

/// Behind the name of a project: which permissions the caller has there.
const GRANTED: &str = ":testIamPermissions";

/// A request of HTTP, as far as it is looked at.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, …
    pub method: Method,
    /// With the query: `/v1/projects/p/operations?instance=i`.
    pub path: String,
    /// What stands behind `Bearer `.
    pub token: Option<String>,
    /// An empty object where there is none.
    pub body: Value,
}

/// Who asks.
#[derive(Debug, Clone)]
struct Caller {
    email: String,
    identity: Option<Identity>,
}

impl Caller {
    fn of(token: Option<&str>, identities: &[Identity]) -> Result<Self, Failure> {
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

    /// The part of a list that was asked for, of which `limit` says how much.
    fn page(&self, kind: &str, key: &str, limit: &str, all: Vec<Value>) -> Value {
        let limit = self.query(limit).and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0).unwrap_or(100);
        let first = self.query("pageToken").and_then(|token| token.parse::<usize>().ok()).unwrap_or(0);
        let more = first + limit < all.len();
        let mut answer = json!({"kind": kind, key: all.into_iter().skip(first).take(limit).collect::<Vec<_>>()});
        if more {
            answer["nextPageToken"] = json!((first + limit).to_string());
        }
        answer
    }

    /// An operation that was accepted, as the answer to what asked for it.
    fn operation(&self, name: &str) -> Result<Value, Failure> {
        let state = self.shared.state();
        let operation = state.operation(name).ok_or_else(|| Failure::new(404, "operationDoesNotExist", "No such operation."))?;
        Ok(operation.json("http://sqladmin"))
    }
}

/// Answers, if that is not what goes wrong.
pub(crate) async fn answer(shared: &Arc<Shared>, request: Request) -> (u16, Value) {
    let path = segments(&request.path);
    let name = request_name(&request.method, &path.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
    let failing = shared.faults.take(&name, Failing::of_request);
    if let Some(Failing::Refused(status, reason)) = &failing {
        return Failure::new(*status, reason, message_of(reason)).said();
    }
    let answer = match &shared.servers {
        None => done(shared, request),
        // A server that is real is waited for.
        Some(_) => {
            let shared = Arc::clone(shared);
            let answering = tokio::task::spawn_blocking(move || done(&shared, request));
            answering.await.unwrap_or_else(|error| Err(Failure::new(500, "internalError", error.to_string())))
        }
    };
    match failing {
        Some(Failing::RefusedAfter(status, reason)) => Failure::new(status, &reason, message_of(&reason)).said(),
        Some(Failing::Silent) => std::future::pending().await,
        _ => answer.map_or_else(|failure| failure.said(), |value| (200, value)),
    }
}

fn segments(path: &str) -> Vec<String> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    // Only in a query a plus sign is a space.
    path.split('/').filter(|part| !part.is_empty()).map(|part| decoded(&part.replace('+', "%2B"))).collect()
}

/// What is said with a reason.
fn message_of(reason: &str) -> String {
    match reason {
        "operationInProgress" => Failure::in_progress(409).message,
        "notAuthorized" => Failure::not_authorized().message,
        "accessNotConfigured" => "Cloud SQL Admin API has not been used in project 123 before or it is disabled.".to_owned(),
        "rateLimitExceeded" => "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'.".to_owned(),
        // Of the bucket, before an export or import is accepted.
        "forbidden" => "gs://b/: Access denied for service account p123@gcp-sa-cloud-sql.iam.gserviceaccount.com, permissions missing are: [storage.objects.delete]".to_owned(),
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
        // Looks at them are no requests for one.
        ["v1", "projects", _, "instances", _, "backupRuns", ..] if method == Method::GET => "backupRun",
        ["v1", "projects", _, "instances", _, "databases"] if method == Method::GET => "databaseList",
        ["v1", "projects", _, "instances", _, verb, ..] => verb,
        ["v1", "projects", project] if project.ends_with(GRANTED) => "permissions",
        ["v1", "projects", _, "backups", ..] if method == Method::DELETE => "deleteBackup",
        ["v1", "projects", _, collection, ..] => collection,
        _ => "unknown",
    }
}

fn done(shared: &Arc<Shared>, request: Request) -> Result<Value, Failure> {
    let Request { method, path, token, body } = request;
    let (method, query, path) = (&method, path.split_once('?').map_or("", |(_, query)| query), segments(&path));
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = request_name(method, &path);
    let caller = Caller::of(token.as_deref(), &shared.options.identities)?;
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(key, value)| (key.to_owned(), decoded(value))).collect();
    let call = Call { shared: Arc::clone(shared), method: method.clone(), query, body, caller };
    match path.as_slice() {
        // Of Resource Manager, which has another address at Google.
        ["v1", "projects", project] if *method == Method::POST && project.ends_with(GRANTED) => {
            look::granted(&call, project.strip_suffix(GRANTED).unwrap_or_default())
        }
        ["v1", "projects", project, "operations", rest @ ..] => look::operations(&call, project, rest),
        ["v1", "projects", project, "backups", rest @ ..] if *method == Method::GET => look::backups(&call, project, rest),
        ["v1", "projects", project, "backups", id] if *method == Method::DELETE => ask::delete_backup(&call, project, id, name),
        ["v1", "projects", project, "instances", instance, "restoreBackup"]
            if *method == Method::POST && call.body.get("backup").is_some() =>
        {
            ask::restore_backup(&call, project, instance, name)
        }
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
