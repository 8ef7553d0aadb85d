//! HTTP: connections, and which operation a request asks for.

mod bucket;
mod download;
mod fault;
mod object;
mod upload;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    Asked, Shared,
    failure::{Failure, with_status},
    fault::Failing,
    identity::Caller,
    query::{Query, decoded},
    store::Place,
};

/// Larger documents of metadata are refused.
const METADATA_LIMIT: usize = 1024 * 1024;

/// Answers connections until its task is ended, which ends them as well.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        // Small answers are not to wait for the next packet.
                        let _ = stream.set_nodelay(true);
                        let service = service_fn(|request| respond(Arc::clone(&shared), request));
                        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection to the storage emulator ended early");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, for example: others may be closed soon.
                    tracing::warn!(%error, "the storage emulator cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Trouble {
    /// There is one: a refusal.
    Refused(Failure),
    /// The connection is to end.
    Dropped,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// The connection is ended without an answer.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// One request, but for its body.
struct Call {
    shared: Arc<Shared>,
    method: Method,
    /// The path's segments, decoded.
    segments: Vec<String>,
    query: Query,
    headers: HeaderMap,
    caller: Caller,
}

impl Call {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn object_json(&self, place: &Place) -> Result<Response<Body>, Trouble> {
        let json = self.shared.store().json(place, &self.shared.base)?;
        Ok(answer(&json))
    }
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let mut headers = parts.headers.clone();
    headers.remove(header::AUTHORIZATION);
    shared.remember(Asked { method: method.to_string(), target: target.clone(), headers });
    let failing = shared.faults.pick(method.as_str(), &target);
    let body = Body::new(body);
    match &failing {
        Some(Failing::Dropped) => return Err(Dropped),
        Some(Failing::Silent) => return std::future::pending().await,
        Some(Failing::Slow(delay)) => tokio::time::sleep(*delay).await,
        Some(Failing::Refused(status, reason)) => {
            drain(body).await;
            return Ok(fault::refused(*status, reason));
        }
        _ => {}
    }
    let body = fault::arriving(body, failing.as_ref());
    let is_media = parts.uri.query().is_some_and(|query| query.contains("alt=media"));
    let response = match route(shared, parts, body).await {
        Ok(response) => response,
        Err(Trouble::Refused(failure)) if is_media => failure.into_plain_response(),
        Err(Trouble::Refused(failure)) => failure.into_response(),
        Err(Trouble::Dropped) => return Err(Dropped),
    };
    match failing {
        Some(Failing::DroppedAfter) => Err(Dropped),
        Some(Failing::RefusedAfter(status, reason)) => Ok(fault::refused(status, reason)),
        Some(failing) => Ok(fault::leaving(response, &failing).await),
        None => Ok(response),
    }
}

/// Takes a body and forgets it: an answer that comes before its end may never be read.
async fn drain(body: Body) {
    use futures::StreamExt as _;
    let mut stream = body.into_data_stream();
    while let Some(Ok(_)) = stream.next().await {}
}

async fn route(shared: Arc<Shared>, parts: http::request::Parts, body: Body) -> Result<Response<Body>, Trouble> {
    let segments: Vec<String> = parts.uri.path().split('/').skip(1).map(decoded).collect();
    let query = Query::parse(parts.uri.query());
    if segments.first().is_some_and(|first| first == "computeMetadata") {
        return Ok(metadata_server(&shared, &segments));
    }
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // The URL of a session is as good as the credentials that it was begun with.
    let identities = if query.get("upload_id").is_some() { &[] } else { shared.options.identities.as_slice() };
    let caller = Caller::of(authorization, identities)?;
    let method = parts.method;
    let call = Call { shared, method, segments, query, headers: parts.headers, caller };
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["upload", "storage", "v1", "b", bucket, "o"] => upload::upload(&call, bucket, body).await,
        ["download", "storage", "v1", "b", bucket, "o", object] => download::download(&call, &place(bucket, object)),
        ["storage", "v1", "b", bucket, "o", object] if call.method == Method::GET && call.query.get("alt") == Some("media") => {
            download::download(&call, &place(bucket, object))
        }
        ["storage", "v1", "b", bucket, "o", rest @ ..] => object::operate(&call, bucket, rest, body).await,
        ["storage", "v1", "b", rest @ ..] => bucket::operate(&call, rest, body).await,
        _ => Err(Failure::new(404, "notFound", "Not Found").into()),
    }
}

fn place(bucket: &str, object: &str) -> Place {
    Place { bucket: bucket.to_owned(), object: object.to_owned() }
}

fn answer(value: &Value) -> Response<Body> {
    with_status(200, "application/json; charset=UTF-8", value.to_string().into())
}

fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    response
}

/// A document of metadata; none is an empty one.
async fn document(body: Body) -> Result<Value, Trouble> {
    let bytes: Bytes = axum::body::to_bytes(body, METADATA_LIMIT).await.map_err(|_| Trouble::Dropped)?;
    parsed(&bytes)
}

fn parsed(bytes: &[u8]) -> Result<Value, Trouble> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(json!({}));
    }
    serde_json::from_slice(bytes).map_err(|error| Failure::new(400, "parseError", format!("Parse Error: {error}")).into())
}

/// The metadata server of a virtual machine, as far as tokens need it.
fn metadata_server(shared: &Shared, segments: &[String]) -> Response<Body> {
    let mut response = match (&shared.options.metadata_token, segments.last().map(String::as_str)) {
        (Some(token), Some("token")) => answer(&json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"})),
        (Some(_), Some("universe-domain")) => with_status(200, "application/text", "googleapis.com".into()),
        _ => with_status(404, "text/html", Body::empty()),
    };
    response.headers_mut().insert("metadata-flavor", header::HeaderValue::from_static("Google"));
    response
}

/// For bodies that cannot fail.
type Pieces = futures::stream::Iter<std::vec::IntoIter<Result<Bytes, Infallible>>>;

fn pieces(bytes: Vec<Bytes>) -> Pieces {
    futures::stream::iter(bytes.into_iter().map(Ok).collect::<Vec<_>>())
}
