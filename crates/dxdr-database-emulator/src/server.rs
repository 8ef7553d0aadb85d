//! HTTP in front of the service.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request as HttpRequest, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{Request, Shared, failure::Failure, request};

/// Larger requests are refused.
const LIMIT: usize = 1024 * 1024;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(respond).with_state(shared)
}

async fn respond(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    let (status, answer) = match read(request).await {
        Ok(request) => request::answer(&shared, request).await,
        Err(failure) => failure.said(),
    };
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(answer)).into_response()
}

async fn read(request: HttpRequest) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, LIMIT).await.map_err(|_| Failure::invalid("The request is too large."))?;
    let body: Value = if bytes.iter().all(u8::is_ascii_whitespace) {
        json!({})
    } else {
        serde_json::from_slice(&bytes).map_err(|error| Failure::new(400, "parseError", error.to_string()))?
    };
    let token = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Request { method: parts.method, path, token, body })
}
