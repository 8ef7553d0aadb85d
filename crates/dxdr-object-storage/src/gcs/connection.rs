//! The way to the server: endpoint, credentials, clients, and how often a request is tried.

use std::time::{Duration, Instant};

use dxdr_provider::object_storage::{StorageError, StorageErrorKind};
use google_cloud_auth::credentials::{self, CacheableResource, Credentials};
use google_cloud_storage::client::Storage;
use http::{Extensions, HeaderMap};
use reqwest::{Client, RequestBuilder, Response, Url, redirect::Policy};

use super::{
    failure::{GcsFailure, chain},
    options::{GcsCredentials, GcsOptions, GcsPatience},
};
use crate::failure::Call;

/// Where Google answers.
pub(super) const GOOGLE: &str = "https://storage.googleapis.com";

/// The variable that names an emulator. Google's crate does not know it.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Slowest upload that is waited for, in bytes a second; one that stands still ends sooner.
const SLOWEST_UPLOAD: u64 = 32 * 1024;

/// Clients and credentials of one store.
#[derive(Debug)]
pub(super) struct Connection {
    /// For bytes in one request, in either direction.
    pub(super) objects: Storage,
    /// For everything else.
    pub(super) client: Client,
    pub(super) endpoint: Url,
    credentials: Credentials,
    pub(super) patience: GcsPatience,
}

impl Connection {
    /// Finds endpoint and credentials. Sends nothing to the store.
    pub(super) async fn open(options: &GcsOptions, call: &Call) -> Result<Self, StorageError> {
        let emulator = std::env::var(EMULATOR).ok().filter(|value| !value.is_empty());
        let (text, is_emulator) = match (&options.endpoint, emulator) {
            (Some(endpoint), _) => (endpoint.clone(), false),
            (None, Some(emulator)) => (with_scheme(emulator), true),
            (None, None) => (GOOGLE.to_owned(), false),
        };
        let endpoint = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let endpoint = endpoint.ok_or_else(|| {
            let problem = format!("the endpoint `{text}` is not a URL that begins with http:// or https://");
            call.fails_by(StorageErrorKind::Invalid, problem)
        })?;
        let credentials = match &options.credentials {
            GcsCredentials::ApplicationDefault if !is_emulator => default_credentials(call)?,
            GcsCredentials::ApplicationDefault | GcsCredentials::Anonymous => credentials::anonymous::Builder::new().build(),
            GcsCredentials::ServiceAccount(json) => service_account(json, call)?,
        };
        let client = Client::builder()
            .connect_timeout(options.patience.connect)
            // 308 tells how far an upload is.
            .redirect(Policy::none())
            .user_agent(concat!("dxdr/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| call.fails_by(StorageErrorKind::Other, error))?;
        let objects = Storage::builder()
            .with_endpoint(endpoint.as_str())
            .with_credentials(credentials.clone())
            .build()
            .await
            .map_err(|error| call.fails_by(StorageErrorKind::Other, chain(&error)))?;
        Ok(Self { objects, client, endpoint, credentials, patience: options.patience.clone() })
    }

    /// A URL below the endpoint. Segments are encoded, so that an object's name is one.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        // Never an error for a URL with a host, which the endpoint has.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The headers that say who asks. Tokens are kept until they expire.
    pub(super) async fn authorization(&self) -> Result<HeaderMap, GcsFailure> {
        let unauthenticated = |text: String| GcsFailure::new(StorageErrorKind::Unauthenticated, text);
        match tokio::time::timeout(self.patience.credentials, self.credentials.headers(Extensions::new())).await {
            Ok(Ok(CacheableResource::New { data, .. })) => Ok(data),
            Ok(Ok(CacheableResource::NotModified)) => Ok(HeaderMap::new()),
            Ok(Err(error)) => Err(unauthenticated(chain(&error))),
            Err(_) => Err(unauthenticated(format!("no credentials came within {} s", self.patience.credentials.as_secs()))),
        }
    }

    /// One attempt of one request, whose answer is given back when it is one of success.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, GcsFailure> {
        let headers = self.authorization().await?;
        accepted(request.headers(headers).send().await).await
    }

    /// Tries until it succeeds, fails for good, or has failed often or long enough. `length` bytes are sent with each attempt.
    pub(super) async fn persist<T, F>(&self, length: usize, attempt: impl Fn() -> F) -> Result<T, GcsFailure>
    where
        F: Future<Output = Result<T, GcsFailure>>,
    {
        let begin = Instant::now();
        let mut attempts = 1;
        loop {
            let failure = match self.within(length, attempt()).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if !failure.kind.retryable() || !self.pause(attempts, begin, &failure).await {
                return Err(failure);
            }
            attempts += 1;
        }
    }

    /// An attempt that sends this many bytes, or its end in time.
    pub(super) async fn within<T>(
        &self,
        length: usize,
        attempt: impl Future<Output = Result<T, GcsFailure>>,
    ) -> Result<T, GcsFailure> {
        let limit = self.patience.answer + Duration::from_secs(length as u64 / SLOWEST_UPLOAD);
        match tokio::time::timeout(limit, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(GcsFailure::new(StorageErrorKind::TimedOut, format!("no answer within {:.1} s", limit.as_secs_f64()))),
        }
    }

    /// Waits before the next attempt. False when there is to be none.
    pub(super) async fn pause(&self, attempts: u32, begin: Instant, failure: &GcsFailure) -> bool {
        let patience = &self.patience;
        if attempts >= patience.attempts {
            return false;
        }
        let pause = patience.pause.saturating_mul(2u32.saturating_pow(attempts - 1)).min(LONGEST_PAUSE);
        let pause = pause.mul_f64(jitter()).max(failure.retry_after.unwrap_or_default());
        if begin.elapsed() + pause > patience.limit {
            return false;
        }
        tracing::debug!(%failure, attempts, "trying again");
        tokio::time::sleep(pause).await;
        true
    }
}

/// The answer, if it is one of success, or tells how far an upload is.
pub(super) async fn accepted(outcome: Result<Response, reqwest::Error>) -> Result<Response, GcsFailure> {
    let response = outcome.map_err(GcsFailure::of_client)?;
    let status = response.status();
    if status.is_success() || status.as_u16() == 308 {
        return Ok(response);
    }
    let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = response.bytes().await.unwrap_or_default();
    let mut failure = GcsFailure::of_answer(status.as_u16(), &body);
    failure.retry_after = wait.map(|seconds: u64| Duration::from_secs(seconds).min(LONGEST_PAUSE));
    Err(failure)
}

fn default_credentials(call: &Call) -> Result<Credentials, StorageError> {
    // Of the file that is named or found; without one, the metadata server is asked with the first request.
    let outcome = credentials::Builder::default().build();
    outcome.map_err(|error| {
        call.fails_by(StorageErrorKind::Unauthenticated, GcsFailure::new(StorageErrorKind::Unauthenticated, chain(&error)))
    })
}

fn service_account(json: &str, call: &Call) -> Result<Credentials, StorageError> {
    // What serde says of a value that it does not expect may quote it.
    let refused = |text: &str| {
        let failure = GcsFailure::new(StorageErrorKind::Unauthenticated, text);
        call.fails_by(StorageErrorKind::Unauthenticated, failure)
    };
    let json = serde_json::from_str(json).map_err(|_| refused("the key of the service account is not JSON"))?;
    let built = credentials::service_account::Builder::new(json).build();
    built.map_err(|_| refused("the key of the service account lacks what belongs into one"))
}

/// `STORAGE_EMULATOR_HOST` may be `HOST:PORT`.
fn with_scheme(host: String) -> String {
    if host.contains("://") { host } else { format!("http://{host}") }
}

/// Between a half and one: clients that failed together should not come back together.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    0.5 + (random >> 11) as f64 / (1u64 << 54) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_may_be_named_without_a_scheme() {
        assert_eq!(with_scheme("localhost:9000".to_owned()), "http://localhost:9000");
        assert_eq!(with_scheme("https://localhost:9000".to_owned()), "https://localhost:9000");
    }

    #[test]
    fn pauses_are_shortened_by_half_at_most() {
        assert!((0..1000).all(|_| (0.5..=1.0).contains(&jitter())));
    }
}
