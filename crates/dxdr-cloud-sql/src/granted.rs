//! What we may do in a project, as Resource Manager says it: Cloud SQL itself has no such question.

use std::time::Duration;

use dxdr_environment::InstanceName;
use dxdr_provider::{InstanceError, InstanceErrorKind};
use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::{Extensions, HeaderMap};
use reqwest::{Client, redirect::Policy};
use serde_json::{Value, json};

use crate::failure::{self, Attempt};

/// Where Google answers. An emulator answers at its own endpoint.
const GOOGLE: &str = "https://cloudresourcemanager.googleapis.com";
/// How long the credentials, or the answer, may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// Asks which of `permissions` we have in `project`.
pub(crate) async fn granted(
    endpoint: Option<&str>,
    credentials: &Credentials,
    project: &str,
    permissions: &[&str],
) -> Result<Vec<String>, InstanceError> {
    let base = endpoint.unwrap_or(GOOGLE).trim_end_matches('/');
    let url = format!("{base}/v1/projects/{project}:testIamPermissions");
    let failed = |kind: InstanceErrorKind, message: String, source: Option<reqwest::Error>| InstanceError {
        kind,
        action: "look at",
        what: format!("our permissions in project `{project}`"),
        message,
        hint: None,
        source: source.map(|error| error.without_url().into()),
    };
    let broken = |error: reqwest::Error| {
        let (kind, message) = if error.is_timeout() {
            (InstanceErrorKind::TimedOut, "no answer in time")
        } else if error.is_decode() {
            (InstanceErrorKind::Malformed, "the answer cannot be understood")
        } else {
            (InstanceErrorKind::Unreachable, "nothing answers there")
        };
        failed(kind, message.to_owned(), Some(error))
    };
    let headers = match tokio::time::timeout(PATIENCE, credentials.headers(Extensions::new())).await {
        Ok(Ok(CacheableResource::New { data, .. })) => data,
        Ok(Ok(CacheableResource::NotModified)) => HeaderMap::new(),
        Ok(Err(error)) => return Err(failed(InstanceErrorKind::Unauthenticated, error.to_string(), None)),
        Err(_) => return Err(failed(InstanceErrorKind::TimedOut, "no credentials came in time".to_owned(), None)),
    };
    let client = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build().map_err(broken)?;
    let request = client.post(url).headers(headers).json(&json!({"permissions": permissions}));
    let response = request.send().await.map_err(broken)?;
    let status = response.status().as_u16();
    if status != 200 {
        // A proxy refuses in HTML: then the status has to do.
        let answer: Value = response.json().await.unwrap_or_else(|_| json!({"error": {"message": format!("HTTP {status}")}}));
        let said = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let attempt = Attempt {
            action: "look at",
            what: format!("our permissions in project `{project}`"),
            permission: "resourcemanager.projects.get",
            instance: &InstanceName::new(project, "-"),
        };
        let error = failure::of_status(attempt, status, said("/error/errors/0/reason"), said("/error/message"));
        let api = "`gcloud services enable cloudresourcemanager.googleapis.com` switches the API on that answers it";
        // The words for what is switched off name Cloud SQL.
        let hint =
            if error.kind == InstanceErrorKind::Disabled { Some(format!("{api} in project `{project}`")) } else { error.hint };
        return Err(InstanceError { hint, ..error });
    }
    let answer: Value = response.json().await.map_err(broken)?;
    let granted = answer["permissions"].as_array().into_iter().flatten();
    Ok(granted.filter_map(|permission| permission.as_str().map(str::to_owned)).collect())
}
