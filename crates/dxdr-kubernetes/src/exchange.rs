//! Sending a call and collecting its answer, within limits of time, size and number of tries.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dxdr_provider::{ClusterError, ClusterErrorKind};
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::Body;

use crate::{
    call::Call,
    failure::{self, Failure},
    retry::Retries,
};

/// A failed answer is read this far only.
const LONGEST_FAILURE: usize = 1 << 20;

/// The way to one API server.
pub(crate) struct Exchange {
    pub(crate) client: kube::Client,
    pub(crate) description: String,
    pub(crate) connect_limit: Duration,
    /// Bytes; a longer answer is refused.
    pub(crate) longest_answer: usize,
    pub(crate) retries: Retries,
}

impl Exchange {
    /// Sends the call until it succeeds, fails for good, or has been tried often enough; answers the body.
    pub(crate) async fn body(&self, call: &Call) -> Result<Bytes, ClusterError> {
        self.attempt(call).await.map_err(|failure| self.error(call, failure))
    }

    /// The same, with the failure as it was found.
    pub(crate) async fn attempt(&self, call: &Call) -> Result<Bytes, Failure> {
        let mut tries = 1;
        loop {
            let failure = match tokio::time::timeout(call.time_limit, self.once(call)).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(ClusterErrorKind::TimedOut, format!("no answer within {:?}", call.time_limit)).too_long(),
            };
            let Some(wait) = self.wait(call, &failure, tries) else {
                return Err(if tries > 1 {
                    Failure { message: format!("{} (tried {tries} times)", failure.message), ..failure }
                } else {
                    failure
                });
            };
            tracing::debug!(action = call.action, object = call.object, tries, ?wait, failure = failure.message, "trying again");
            tokio::time::sleep(wait).await;
            tries += 1;
        }
    }

    /// How long to wait before the next try, or `None` for no further one.
    fn wait(&self, call: &Call, failure: &Failure, tries: u32) -> Option<Duration> {
        let worth_it = call.retry
            && !failure.permanent
            && (failure.nothing_happened || (call.reads_only() && failure.kind.retryable()))
            // Whoever did not answer for a whole time limit gets one more chance, not four.
            && (!failure.took_too_long || tries < 2);
        let asked = match failure.kind {
            ClusterErrorKind::TooManyRequests(asked) => asked,
            _ => None,
        };
        if worth_it { self.retries.wait_after(tries, asked) } else { None }
    }

    /// Sends the call once, and answers its body as it comes.
    pub(crate) async fn open(&self, call: &Call) -> Result<Body, Failure> {
        let response = self.send(call).await?;
        let code = response.status();
        if code.is_success() {
            return Ok(response.into_body());
        }
        Err(self.refused(response).await)
    }

    async fn once(&self, call: &Call) -> Result<Bytes, Failure> {
        let response = self.send(call).await?;
        if response.status().is_success() {
            note_warnings(call, response.headers());
            return self.collect(response, self.longest_answer).await;
        }
        Err(self.refused(response).await)
    }

    async fn refused(&self, response: Response<Body>) -> Failure {
        let (code, retry_after) = (response.status(), retry_after(response.headers()));
        // A failed answer that cannot be read to its end is still a failed answer.
        let body = self.collect(response, LONGEST_FAILURE).await.unwrap_or_default();
        failure::of_answer(code, retry_after, &body)
    }

    async fn send(&self, call: &Call) -> Result<Response<Body>, Failure> {
        let request = Request::builder()
            .method(call.method.clone())
            .uri(&call.target)
            .header(header::ACCEPT, call.accept)
            .header(header::CONTENT_TYPE, call.content_type)
            .header(header::USER_AGENT, concat!("dxdr/", env!("CARGO_PKG_VERSION")))
            .body(Body::from(call.body.clone()))
            .map_err(|error| Failure::new(ClusterErrorKind::Invalid, "no request can be made of it").with_source(error))?;
        self.client.send(request).await.map_err(|error| failure::of_transport(&error, self.connect_limit))
    }

    async fn collect(&self, response: Response<Body>, longest: usize) -> Result<Bytes, Failure> {
        let too_long = || Failure::new(ClusterErrorKind::Other, format!("the answer is longer than {longest} bytes"));
        let announced = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let announced: usize = announced.unwrap_or_default();
        if announced > longest {
            return Err(too_long());
        }
        let mut body = response.into_body();
        let mut first: Option<Bytes> = None;
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failure::of_transport(&error, self.connect_limit))?;
            let Ok(data) = frame.into_data() else { continue };
            if joined.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > longest {
                return Err(too_long());
            }
            match first.take() {
                None if joined.is_empty() => first = Some(data),
                held => {
                    if let Some(held) = held {
                        joined.reserve(announced.max(held.len() + data.len()));
                        joined.extend_from_slice(&held);
                    }
                    joined.extend_from_slice(&data);
                }
            }
        }
        Ok(first.unwrap_or_else(|| joined.freeze()))
    }

    /// Makes errors of the call when this is not at hand any more.
    pub(crate) fn failing(&self, call: &Call) -> impl Fn(Failure) -> ClusterError + Send + 'static {
        let (action, object, cluster) = (call.action, call.object.clone(), self.description.clone());
        move |failure| ClusterError {
            kind: failure.kind,
            action,
            object: object.clone(),
            cluster: cluster.clone(),
            message: failure.message,
            source: failure.source,
        }
    }

    pub(crate) fn error(&self, call: &Call, failure: Failure) -> ClusterError {
        self.failing(call)(failure)
    }
}

/// `Retry-After` in seconds; API servers send no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Servers warn of unknown fields and of versions on their way out; the write itself has succeeded.
fn note_warnings(call: &Call, headers: &HeaderMap) {
    for warning in headers.get_all(header::WARNING) {
        if let Ok(text) = warning.to_str() {
            tracing::debug!(action = call.action, object = call.object, warning = text, "the server warns");
        }
    }
}
