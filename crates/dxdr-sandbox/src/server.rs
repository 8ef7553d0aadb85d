//! HTTP: which operation a request asks for, and its answer.

mod delete;
mod fault;
mod path;
mod read;
mod subresource;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use bytes::Bytes;
use serde_json::{Value, json};

use self::fault::{broken, failed};
use self::path::{Path, Query};
use crate::fault::{Failing, Faults};
use crate::kind::Kind;
use crate::status::{Cause, Failure, json_response};
use crate::world::{FieldValidation, PatchFormat, World, Write, Written, metadata_mut, text};
use crate::{discovery, openapi, protobuf, table};

/// What every request sees.
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Faults,
    pub(crate) token: Option<String>,
    pub(crate) stop: tokio::sync::watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server is told to stop; watches end then.
    pub(crate) async fn stopping(&self) {
        let mut stop = self.stop.subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The server as one router.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let shared = Arc::clone(&shared);
        async move { respond(shared, request).await }
    })
}

/// Larger bodies are refused, as etcd would.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

async fn respond(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let failing = shared.faults.pick(parts.method.as_str(), &target);
    match &failing {
        Some(Failing::Slow(delay)) => tokio::time::sleep(*delay).await,
        Some(Failing::DroppedAfter) | None => {}
        Some(other) => return failed(other, &parts),
    }
    if let Some(token) = &shared.token {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if given != Some(&format!("Bearer {token}")) {
            return Failure::new(401, "Unauthorized", "Unauthorized").into_response();
        }
    }
    let body = match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(_) => {
            return Failure::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 16777216").into_response();
        }
    };
    let response = route(&shared, &parts, &body).unwrap_or_else(Failure::into_response);
    if matches!(failing, Some(Failing::DroppedAfter)) {
        return broken();
    }
    response
}

fn not_found_page() -> Response<Body> {
    let mut response = json_response(404, "404 page not found\n");
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn plain(text: &'static str) -> Response<Body> {
    let mut response = json_response(200, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn answer(value: &Value) -> Response<Body> {
    json_response(200, value.to_string())
}

fn route(shared: &Arc<Shared>, parts: &Parts, body: &Bytes) -> Result<Response<Body>, Failure> {
    let path = parts.uri.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if parts.method == Method::GET
        && let Some(response) = about(shared, parts, &segments)
    {
        return Ok(response);
    }
    let Some(path) = Path::parse(path) else { return Ok(not_found_page()) };
    if parts.method == Method::POST
        && let Some((_, _, kind)) =
            discovery::REVIEWS.iter().find(|(group, plural, _)| *group == path.group && *plural == path.plural)
    {
        return review(kind, &path, body);
    }
    let (kind, known) = {
        let kinds = &shared.world().kinds;
        (kinds.get(&path.group, &path.version, &path.plural), kinds.has_group_version(&path.group, &path.version))
    };
    let Some(kind) = kind else {
        return if known { Err(Failure::no_resource()) } else { Ok(not_found_page()) };
    };
    if kind.namespaced && path.namespace.is_empty() && !path.name.is_empty() || !kind.namespaced && !path.namespace.is_empty() {
        return Ok(not_found_page());
    }
    let query = Query::parse(parts.uri.query());
    let deprecated = kind.deprecated.clone();
    let call = Call { shared, kind, path, query, headers: &parts.headers, body };
    let mut response = dispatch(&call, parts)?;
    if let Some(text) = deprecated {
        warn(&mut response, &text);
    }
    Ok(response)
}

/// Adds a warning to an answer, which clients show to people.
fn warn(response: &mut Response<Body>, text: &str) {
    let quoted = format!("299 - \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    if let Ok(value) = HeaderValue::from_str(&quoted) {
        response.headers_mut().append(header::WARNING, value);
    }
}

fn dispatch(call: &Call<'_>, parts: &Parts) -> Result<Response<Body>, Failure> {
    if call.path.name.is_empty() {
        return match parts.method.as_str() {
            "GET" | "HEAD" if call.query.flag("watch") => call.watch(),
            "GET" | "HEAD" => call.list(),
            "POST" => call.create(),
            "DELETE" => call.delete_collection(),
            _ => Err(Failure::method_not_allowed()),
        };
    }
    match (parts.method.as_str(), call.path.subresource.as_str()) {
        ("GET" | "POST", "log" | "exec" | "attach" | "portforward") if call.kind.is("", "pods") => call.without_node(),
        ("GET", "scale") => call.scale(None),
        ("PUT" | "PATCH", "scale") => call.scale(Some(&parts.method)),
        ("POST", "eviction") => call.delete(),
        ("POST", "token") => call.token(),
        ("PUT", "finalize") => call.finalize(),
        (_, sub) if !sub.is_empty() && !call.serves(sub) => Err(Failure::no_resource()),
        ("GET" | "HEAD", _) if call.query.flag("watch") => call.watch(),
        ("GET" | "HEAD", _) => call.get(),
        ("PUT", _) => call.update(),
        ("PATCH", _) => call.patch(),
        ("DELETE", "") => call.delete(),
        _ => Err(Failure::method_not_allowed()),
    }
}

/// What the server says about itself.
fn about(shared: &Arc<Shared>, parts: &Parts, segments: &[&str]) -> Option<Response<Body>> {
    let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let aggregated = accept.contains("apidiscovery.k8s.io") && accept.contains("v=v2;");
    let world = shared.world();
    let kinds = &world.kinds;
    let aggregate = |core: bool| {
        let mut response = answer(&discovery::aggregated(kinds, core));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        );
        response
    };
    Some(match segments {
        ["healthz" | "readyz" | "livez", ..] => plain("ok"),
        ["version"] => answer(&discovery::version()),
        ["api"] if aggregated => aggregate(true),
        ["apis"] if aggregated => aggregate(false),
        ["api"] => answer(&json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => answer(&discovery::group_list(kinds)),
        ["api", version] => discovery::resource_list(kinds, "", version).map_or_else(not_found_page, |list| answer(&list)),
        ["apis", group] => discovery::groups(kinds)
            .iter()
            .find(|(name, _)| name == group)
            .map_or_else(not_found_page, |(name, versions)| answer(&discovery::group(name, versions))),
        ["apis", group, version] => {
            discovery::resource_list(kinds, group, version).map_or_else(not_found_page, |list| answer(&list))
        }
        // No bytes are an empty document in protocol buffers.
        ["openapi", "v2"] if accept.contains("proto-openapi") => {
            let mut response = json_response(200, Body::empty());
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
            );
            response
        }
        ["openapi", "v2"] => answer(&openapi::version_two()),
        ["openapi", "v3"] => answer(&openapi::index(kinds)),
        ["openapi", "v3", "api", version] => {
            openapi::document(kinds, "", version).map_or_else(not_found_page, |document| answer(&document))
        }
        ["openapi", "v3", "apis", group, version] => {
            openapi::document(kinds, group, version).map_or_else(not_found_page, |document| answer(&document))
        }
        _ => return None,
    })
}

fn review(kind: &str, path: &Path, body: &Bytes) -> Result<Response<Body>, Failure> {
    let mut object = parse_body(body)?;
    object["kind"] = kind.into();
    object["apiVersion"] = format!("{}/{}", path.group, path.version).into();
    metadata_mut(&mut object)?;
    object["status"] = match kind {
        "SelfSubjectReview" => json!({"userInfo": {"username": "sandbox", "groups": ["system:masters", "system:authenticated"]}}),
        "TokenReview" => json!({"authenticated": true, "user": {"username": "sandbox", "groups": ["system:masters"]}}),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}], "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    Ok(json_response(201, object.to_string()))
}

fn parse_body(body: &Bytes) -> Result<Value, Failure> {
    if body.first().is_some_and(|first| *first == b'{' || *first == b'[' || first.is_ascii_whitespace())
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    if let Some(message) = body.strip_prefix(b"k8s\0") {
        return protobuf::decode(message).ok_or_else(|| Failure::unsupported_media_type("application/json, application/yaml"));
    }
    std::str::from_utf8(body)
        .ok()
        .and_then(|text| serde_saphyr::from_str::<Value>(text).ok())
        .filter(|value| value.is_object() || value.is_array())
        .ok_or_else(|| {
            Failure::bad_request(
                "the object provided is unrecognized (must be of type Object): couldn't get version/kind; json parse error",
            )
        })
}

/// One request about one resource.
struct Call<'a> {
    shared: &'a Arc<Shared>,
    kind: Arc<Kind>,
    path: Path,
    query: Query,
    headers: &'a HeaderMap,
    body: &'a Bytes,
}

impl Call<'_> {
    fn serves(&self, subresource: &str) -> bool {
        match subresource {
            "status" => self.kind.has_status,
            "approval" => self.kind.is("certificates.k8s.io", "certificatesigningrequests"),
            "ephemeralcontainers" | "resize" => self.kind.is("", "pods"),
            _ => false,
        }
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn as_table(&self) -> bool {
        let accept = self.header(header::ACCEPT);
        accept.split(',').next().is_some_and(|first| first.contains("as=Table"))
    }

    fn manager(&self) -> String {
        let given = self.query.get("fieldManager");
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = self.header(header::USER_AGENT).split('/').next().unwrap_or_default();
        if agent.is_empty() { "unknown".to_owned() } else { agent.to_owned() }
    }

    fn write<'b>(&'b self, manager: &'b str) -> Result<Write<'b>, Failure> {
        let dry_run = match self.query.get("dryRun") {
            "" => false,
            "All" => true,
            other => {
                return Err(Failure::bad_request(format!("dryRun: Unsupported value: \"{other}\": supported values: \"All\"")));
            }
        };
        Ok(Write {
            kind: &self.kind,
            namespace: &self.path.namespace,
            manager,
            subresource: &self.path.subresource,
            dry_run,
            validation: match self.query.get("fieldValidation") {
                "Strict" => FieldValidation::Strict,
                "Ignore" => FieldValidation::Ignore,
                _ => FieldValidation::Warn,
            },
        })
    }

    fn written(&self, written: Written) -> Response<Body> {
        let mut response = if self.as_table()
            && let Ok(object) = serde_json::from_slice::<Value>(&written.body)
        {
            let version = text(object["metadata"].get("resourceVersion"));
            json_response(written.code, table::of(&self.kind, &[object], &version, None, None).to_string())
        } else {
            json_response(written.code, written.body)
        };
        for warning in &written.warnings {
            warn(&mut response, warning);
        }
        response
    }

    fn create(&self) -> Result<Response<Body>, Failure> {
        if self.kind.namespaced && self.path.namespace.is_empty() {
            return Err(Failure::method_not_allowed());
        }
        let object = parse_body(self.body)?;
        let manager = self.manager();
        let write = self.write(&manager)?;
        let written = self.shared.world().create(&write, object)?;
        Ok(self.written(written))
    }

    fn update(&self) -> Result<Response<Body>, Failure> {
        let object = parse_body(self.body)?;
        let manager = self.manager();
        let write = self.write(&manager)?;
        let written = self.shared.world().update(&write, &self.path.name, object)?;
        Ok(self.written(written))
    }

    fn patch(&self) -> Result<Response<Body>, Failure> {
        let manager = self.manager();
        let write = self.write(&manager)?;
        let content_type = self.header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
        let format = match content_type.as_str() {
            "application/json-patch+json" => PatchFormat::Json,
            "application/merge-patch+json" => PatchFormat::Merge,
            "application/strategic-merge-patch+json" => PatchFormat::Strategic,
            "application/apply-patch+yaml" => PatchFormat::Apply { force: self.query.flag("force") },
            _ => {
                return Err(Failure::unsupported_media_type(
                    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml, application/apply-patch+cbor",
                ));
            }
        };
        if matches!(format, PatchFormat::Apply { .. }) && self.query.get("fieldManager").is_empty() {
            return Err(Failure::invalid_options(
                "PatchOptions",
                &Cause::required("fieldManager", "is required for apply patch"),
            ));
        }
        if self.query.flag("force") && !matches!(format, PatchFormat::Apply { .. }) {
            let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
            return Err(Failure::invalid_options("PatchOptions", &cause));
        }
        let patch = parse_body(self.body)?;
        let mut world = self.shared.world();
        let existed = world.read(&self.kind, &self.path.namespace, &self.path.name).is_some();
        let mut written = world.patch(&write, &self.path.name, &patch, format)?;
        written.code = if existed { 200 } else { 201 };
        drop(world);
        Ok(self.written(written))
    }
}
