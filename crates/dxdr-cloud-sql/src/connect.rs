//! The way to the service: where it is, and who we are there.

use std::{fmt, path::PathBuf, time::Duration};

use google_cloud_auth::{
    credentials::{self, CacheableResource, Credentials as GoogleCredentials, CredentialsProvider, EntityTag},
    errors::CredentialsError,
};
use google_cloud_gax::retry_policy::{Aip194Strict, RetryPolicy, RetryPolicyExt as _};
use http::{Extensions, HeaderMap, HeaderValue, header::AUTHORIZATION};

/// How often a look is repeated where the service says that it is not available.
const ATTEMPTS: u32 = 4;
/// For how long altogether.
const PATIENCE: Duration = Duration::from_secs(20);
/// What may be done with the credentials.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where the service is, and who we are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Another server than Google's, for emulation: `http://127.0.0.1:9002`. No credentials are sent to it unless they are named, and none in clear.
    pub endpoint: Option<String>,
    /// Who we are; `None`: whoever the environment says (see [`Credentials::Default`]), or nobody where an endpoint is named.
    pub credentials: Option<Credentials>,
}

/// Who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Application default credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one of `gcloud auth application-default login`, or
    /// those of the machine or the pod (workload identity).
    Default,
    /// The key of a service account, as JSON in a file.
    ServiceAccount(PathBuf),
    /// A bearer token, for emulation.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("Credentials::Default"),
            Self::ServiceAccount(path) => formatter.debug_tuple("Credentials::ServiceAccount").field(path).finish(),
            Self::Token(_) => formatter.write_str("Credentials::Token"),
        }
    }
}

/// Why there is no way to the service.
#[derive(Debug, thiserror::Error)]
#[error("cannot use Cloud SQL: {message}")]
pub struct ConnectError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The cause below.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Options {
    /// What and where it is, for people.
    pub(crate) fn describe(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("Cloud SQL at {endpoint}"),
            None => "Cloud SQL".to_owned(),
        }
    }

    pub(crate) fn credentials(&self) -> Result<GoogleCredentials, ConnectError> {
        self.may_be_heard()?;
        match (&self.credentials, &self.endpoint) {
            (None, Some(_)) => Ok(credentials::anonymous::Builder::new().build()),
            (None | Some(Credentials::Default), _) => {
                credentials::Builder::default().with_scopes([SCOPE]).build().map_err(|error| ConnectError {
                    message: "no credentials of Google Cloud were found".to_owned(),
                    hint: "`gcloud auth application-default login` makes some, or `GOOGLE_APPLICATION_CREDENTIALS` names the key of a service account"
                        .to_owned(),
                    source: Some(Box::new(error)),
                })
            }
            (Some(Credentials::ServiceAccount(path)), _) => service_account(path),
            (Some(Credentials::Token(token)), _) => Ok(GoogleCredentials::from(Token(token.clone()))),
        }
    }
}

impl Options {
    /// Refuses to send credentials where others can read them. A token that was made for an emulator may go to one on this machine.
    fn may_be_heard(&self) -> Result<(), ConnectError> {
        let (Some(endpoint), Some(credentials)) = (&self.endpoint, &self.credentials) else { return Ok(()) };
        let uri = endpoint.parse::<http::Uri>().ok();
        if uri.as_ref().and_then(http::Uri::scheme_str) == Some("https") {
            return Ok(());
        }
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if here && matches!(credentials, Credentials::Token(_)) {
            return Ok(());
        }
        Err(ConnectError {
            message: format!("credentials are not sent to `{endpoint}`: what goes there is not encrypted"),
            hint: "an emulator needs none: leave `serviceAccountKey` out; another server needs an endpoint with `https://`"
                .to_owned(),
            source: None,
        })
    }
}

fn service_account(path: &std::path::Path) -> Result<GoogleCredentials, ConnectError> {
    let wrong = |message: String, source: Box<dyn std::error::Error + Send + Sync>| ConnectError {
        message,
        hint: "`gcloud iam service-accounts keys create` writes such a file".to_owned(),
        source: Some(source),
    };
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| wrong(format!("the key `{shown}` cannot be read"), Box::new(error)))?;
    // What stands in it is a secret: an error of the parser must not quote it.
    let key: serde_json::Value = serde_json::from_slice(&text).map_err(|error| {
        wrong(format!("`{shown}` is no JSON (line {})", error.line()), Box::new(std::io::Error::other("malformed")))
    })?;
    credentials::service_account::Builder::new(key)
        .with_access_specifier(credentials::service_account::AccessSpecifier::from_scopes([SCOPE]))
        .build()
        .map_err(|error| wrong(format!("`{shown}` is no key of a service account"), Box::new(error)))
}

/// A token that somebody gave us, sent as it is.
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token")
    }
}

impl CredentialsProvider for Token {
    async fn headers(&self, _: Extensions) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).map_err(|error| CredentialsError::from_source(false, error))?;
        value.set_sensitive(true);
        let data = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        Ok(CacheableResource::New { entity_tag: EntityTag::new(), data })
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

/// How looks are repeated.
pub(crate) fn patience() -> impl RetryPolicy {
    Aip194Strict.with_attempt_limit(ATTEMPTS).with_time_limit(PATIENCE)
}
