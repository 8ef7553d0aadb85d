//! HTTP: which operation a request asks for, and its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, header, request::Parts};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fault::{Failing, Faults};
use crate::kind::Kind;
use crate::selector::Selector;
use crate::status::{Cause, Failure, json_response};
use crate::store::Page;
use crate::world::{
    DeleteOptions, Deleted, FieldValidation, PatchFormat, World, Write, Written, metadata_mut, render, text, value,
};
use crate::{discovery, openapi, protobuf, table, watch};

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

/// An answer that breaks off.
fn broken() -> Response<Body> {
    let stream = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer"))
    });
    json_response(200, Body::from_stream(stream))
}

fn failed(failing: &Failing, parts: &Parts) -> Response<Body> {
    let failure = match failing {
        Failing::Dropped | Failing::DroppedAfter | Failing::Slow(_) => return broken(),
        Failing::TooManyRequests { retry_after } => {
            let mut failure =
                Failure::new(429, "TooManyRequests", "The apiserver has received too many requests, please try again later");
            failure.retry_after_seconds = Some(*retry_after);
            failure
        }
        Failing::InternalError => Failure::new(500, "InternalError", "Internal error occurred: etcdserver: request timed out"),
        Failing::Unavailable => Failure::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        Failing::DeniedByWebhook { webhook, message } => {
            Failure::new(403, "Forbidden", format!("admission webhook \"{webhook}\" denied the request: {message}"))
        }
        Failing::Forbidden => {
            let path = Path::parse(parts.uri.path());
            let named = path.as_ref().is_some_and(|path| !path.name.is_empty());
            let watching = parts.uri.query().is_some_and(|query| query.contains("watch="));
            let verb = match parts.method.as_str() {
                "GET" if watching => "watch",
                "GET" if named => "get",
                "GET" => "list",
                "POST" => "create",
                "PUT" => "update",
                "PATCH" => "patch",
                "DELETE" if named => "delete",
                "DELETE" => "deletecollection",
                other => other,
            };
            let (resource, group, namespace, name) =
                path.map_or_else(Default::default, |path| (path.plural, path.group, path.namespace, path.name));
            let scope = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace \"{namespace}\"")
            };
            let qualified = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
            let object = if name.is_empty() { qualified.clone() } else { format!("{qualified} \"{name}\"") };
            let mut failure = Failure::new(
                403,
                "Forbidden",
                format!(
                    "{object} is forbidden: User \"sandbox\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}"
                ),
            );
            let mut details = json!({"kind": resource});
            if !name.is_empty() {
                details["name"] = name.into();
            }
            if !group.is_empty() {
                details["group"] = group.into();
            }
            failure.details = Some(details);
            failure
        }
    };
    failure.into_response()
}

/// A resource path, taken apart.
#[derive(Debug, Default)]
struct Path {
    group: String,
    version: String,
    namespace: String,
    plural: String,
    name: String,
    subresource: String,
}

impl Path {
    fn parse(path: &str) -> Option<Self> {
        let decoded: Vec<String> = path.split('/').filter(|segment| !segment.is_empty()).map(percent_decoded).collect();
        let mut segments = decoded.into_iter();
        let mut parsed = Self::default();
        match segments.next()?.as_str() {
            "api" => parsed.version = segments.next()?,
            "apis" => {
                parsed.group = segments.next()?;
                parsed.version = segments.next()?;
            }
            _ => return None,
        }
        let rest: Vec<String> = segments.collect();
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        let place = match rest.as_slice() {
            ["namespaces", namespace, sub @ ("status" | "finalize")] => ["", "namespaces", namespace, sub],
            ["namespaces", namespace, plural] => [*namespace, plural, "", ""],
            ["namespaces", namespace, plural, name] => [*namespace, plural, name, ""],
            ["namespaces", namespace, plural, name, sub] => [*namespace, plural, name, sub],
            [plural] => ["", plural, "", ""],
            [plural, name] => ["", plural, name, ""],
            [plural, name, sub] => ["", plural, name, sub],
            _ => return None,
        };
        [parsed.namespace, parsed.plural, parsed.name, parsed.subresource] = place.map(str::to_owned);
        Some(parsed)
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = text.get(index + 1..index + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[index], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                index += 3;
            }
            (b'+', _) => {
                decoded.push(b' ');
                index += 1;
            }
            (byte, _) => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The query, by name; of a repeated parameter the last counts.
struct Query(HashMap<String, String>);

impl Query {
    fn parse(query: Option<&str>) -> Self {
        Self(
            query
                .unwrap_or_default()
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "True") || (self.0.contains_key(name) && self.get(name).is_empty())
    }
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

    fn get(&self) -> Result<Response<Body>, Failure> {
        let world = self.shared.world();
        let Some(stored) = world.read(&self.kind, &self.path.namespace, &self.path.name) else {
            return Err(Failure::not_found(&self.kind, &self.path.name));
        };
        let now = (world.clock)();
        drop(world);
        if self.as_table() {
            let revision = stored.revision.to_string();
            return Ok(answer(&table::of(&self.kind, &[value(&self.kind, &stored)], &revision, Some(now), None)));
        }
        Ok(json_response(200, render(&self.kind, &stored)))
    }

    fn prefix(&self) -> String {
        if self.path.namespace.is_empty() { String::new() } else { format!("{}/", self.path.namespace) }
    }

    fn selector(&self) -> Result<Selector, Failure> {
        Selector::parse(self.query.get("labelSelector"), self.query.get("fieldSelector"), &self.kind)
    }

    fn list(&self) -> Result<Response<Body>, Failure> {
        let selector = self.selector()?;
        let limit: usize = self.query.get("limit").parse().unwrap_or(0);
        let (page, revision, now) = self.page(&selector, limit)?;
        let next = page.next.as_ref().map(|key| (continue_token(revision, key), page.remaining));
        let revision = revision.to_string();
        if self.as_table() {
            let objects: Vec<Value> = page.items.iter().map(|stored| value(&self.kind, stored)).collect();
            let next = next.as_ref().map(|(token, remaining)| (token.as_str(), *remaining));
            return Ok(answer(&table::of(&self.kind, &objects, &revision, Some(now), next)));
        }
        let mut metadata = json!({"resourceVersion": revision});
        if let Some((token, remaining)) = next {
            metadata["continue"] = token.into();
            if selector.is_empty() {
                metadata["remainingItemCount"] = remaining.into();
            }
        }
        let size: usize = page.items.iter().map(|stored| stored.body.len() + 1).sum();
        let mut body = Vec::with_capacity(size + 256);
        body.extend_from_slice(
            format!(
                "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
                Value::from(self.kind.list_kind.as_str()),
                Value::from(self.kind.api_version())
            )
            .as_bytes(),
        );
        for (index, stored) in page.items.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            if !self.kind.renamed.is_empty() {
                body.extend_from_slice(&render(&self.kind, stored));
            } else if self.kind.custom.is_some() {
                body.extend_from_slice(self.kind.prefix.as_bytes());
                body.push(b',');
                body.extend_from_slice(&stored.body[1..]);
            } else {
                body.extend_from_slice(&stored.body);
            }
        }
        body.extend_from_slice(b"]}");
        Ok(json_response(200, body))
    }

    fn page(&self, selector: &Selector, limit: usize) -> Result<(Page, u64, jiff::Timestamp), Failure> {
        let world = self.shared.world();
        let store = &world.store;
        let token = self.query.get("continue");
        let asked = self.query.get("resourceVersion");
        let mut revision = store.revision();
        let mut start = String::new();
        if !token.is_empty() {
            if !asked.is_empty() && asked != "0" {
                return Err(Failure::bad_request("specifying resource version is not allowed when using continue"));
            }
            let (at, from) = parse_continue_token(token).ok_or_else(|| {
                Failure::bad_request("invalid continue token: continue key is not valid: illegal base64 data at input byte 0")
            })?;
            if let Some(at) = at {
                revision = at;
            }
            start = from;
            if revision < store.compacted() {
                let mut failure = Failure::expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
                );
                failure.continue_token = Some(inconsistent_token(&start));
                return Err(failure);
            }
        } else if let Some(detail) = match (self.query.get("resourceVersionMatch"), asked) {
            ("", _) => None,
            (_, "") => Some("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            ("Exact", "0") => Some("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
            _ => None,
        } {
            return Err(Failure::invalid_options("ListOptions", &Cause::forbidden("resourceVersionMatch", detail)));
        } else if !asked.is_empty() && asked != "0" {
            let wanted: u64 = asked.parse().map_err(|_| {
                Failure::bad_request(format!(
                    "invalid resource version: resourceVersion: Invalid value: \"{asked}\": strconv.ParseUint: parsing \"{asked}\": invalid syntax"
                ))
            })?;
            if wanted > revision {
                let mut failure =
                    Failure::new(504, "Timeout", format!("Timeout: Too large resource version: {wanted}, current: {revision}"));
                failure.retry_after_seconds = Some(1);
                failure.details =
                    Some(json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]}));
                return Err(failure);
            }
            if self.query.get("resourceVersionMatch") == "Exact" {
                if wanted < store.compacted() {
                    return Err(Failure::expired("The resourceVersion for the provided list is too old."));
                }
                revision = wanted;
            }
        }
        let page = match selector.single_name() {
            Some(name) if !self.path.namespace.is_empty() || !self.kind.namespaced => {
                let items = world
                    .read(&self.kind, &self.path.namespace, name)
                    .into_iter()
                    .filter(|stored| selector.matches(stored))
                    .collect();
                Page { items, next: None, remaining: 0 }
            }
            _ => store.list(self.kind.resource, &self.prefix(), &start, revision, limit, |stored| selector.matches(stored)),
        };
        Ok((page, revision, (world.clock)()))
    }

    fn watch(&self) -> Result<Response<Body>, Failure> {
        let mut selector = self.selector()?;
        if !self.path.name.is_empty() {
            selector = Selector::parse("", &format!("metadata.name={}", self.path.name), &self.kind)?;
        }
        let asked = self.query.get("resourceVersion");
        let initial = self.query.flag("sendInitialEvents");
        if initial && self.query.get("resourceVersionMatch") != "NotOlderThan" {
            return Err(Failure::invalid_options(
                "ListOptions",
                &Cause::forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ),
            ));
        }
        let from = match asked {
            _ if initial => None,
            "" | "0" => None,
            version => Some(version.parse::<u64>().map_err(|_| {
                Failure::new(
                    500,
                    "",
                    format!(
                        "resourceVersion: Invalid value: \"{version}\": strconv.ParseUint: parsing \"{version}\": invalid syntax"
                    ),
                )
            })?),
        };
        let seconds: u64 = self.query.get("timeoutSeconds").parse().unwrap_or(1800);
        let bookmarks = self.query.flag("allowWatchBookmarks");
        let body = watch::stream(
            self.shared,
            watch::WatchRequest {
                kind: Arc::clone(&self.kind),
                prefix: self.prefix(),
                selector,
                from,
                bookmarks,
                initial_events_end: initial && bookmarks,
                timeout: Duration::from_secs(seconds),
                as_table: self.as_table(),
            },
        )?;
        Ok(json_response(200, body))
    }

    fn delete_options(&self) -> Result<DeleteOptions, Failure> {
        let body = if self.body.is_empty() { json!({}) } else { parse_body(self.body)? };
        let body = if body["kind"] == "Eviction" { body["deleteOptions"].clone() } else { body };
        let optional = |value: &Value| value.as_str().map(str::to_owned);
        let mut propagation = optional(&body["propagationPolicy"]);
        if propagation.is_none() && !self.query.get("propagationPolicy").is_empty() {
            propagation = Some(self.query.get("propagationPolicy").to_owned());
        }
        if body["orphanDependents"] == true {
            propagation = Some("Orphan".to_owned());
        }
        if let Some(policy) = propagation.as_deref().filter(|policy| !matches!(*policy, "Orphan" | "Foreground" | "Background")) {
            let supported = "\"Foreground\", \"Background\", \"Orphan\", \"nil\"";
            return Err(Failure::invalid_options("DeleteOptions", &Cause::unsupported("propagationPolicy", policy, supported)));
        }
        Ok(DeleteOptions {
            uid: optional(&body["preconditions"]["uid"]),
            resource_version: optional(&body["preconditions"]["resourceVersion"]),
            propagation,
            dry_run: self.query.get("dryRun") == "All"
                || body["dryRun"].as_array().is_some_and(|list| list.iter().any(|one| one == "All")),
        })
    }

    fn delete(&self) -> Result<Response<Body>, Failure> {
        let options = self.delete_options()?;
        let deleted = self.shared.world().delete(&self.kind, &self.path.namespace, &self.path.name, &options)?;
        let code = if self.path.subresource == "eviction" { 201 } else { 200 };
        Ok(match deleted {
            Deleted::Going(stored) => json_response(code, render(&self.kind, &stored)),
            Deleted::Gone(stored)
                if RETURNED.contains(&self.kind.plural.as_str()) && self.kind.group.is_empty() && code == 200 =>
            {
                json_response(code, render(&self.kind, &stored))
            }
            Deleted::Gone(stored) => {
                let mut details = json!({"name": stored.name, "kind": self.kind.plural, "uid": stored.uid});
                if !self.kind.group.is_empty() {
                    details["group"] = self.kind.group.as_str().into();
                }
                let status =
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                json_response(code, status.to_string())
            }
        })
    }

    fn delete_collection(&self) -> Result<Response<Body>, Failure> {
        let options = self.delete_options()?;
        let selector = self.selector()?;
        let mut world = self.shared.world();
        let page = world.store.list(self.kind.resource, &self.prefix(), "", u64::MAX, 0, |stored| selector.matches(stored));
        let mut items = Vec::with_capacity(page.items.len());
        for stored in &page.items {
            match world.delete(&self.kind, &stored.namespace, &stored.name, &options) {
                Ok(Deleted::Gone(stored) | Deleted::Going(stored)) => items.push(value(&self.kind, &stored)),
                // Something else deleted it meanwhile, as its owner's removal does.
                Err(failure) if failure.code == 404 => {}
                Err(failure) => return Err(failure),
            }
        }
        let revision = world.store.revision().to_string();
        drop(world);
        Ok(answer(&json!({
            "kind": self.kind.list_kind, "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": revision}, "items": items,
        })))
    }

    /// Sets the finalizers of a namespace.
    fn finalize(&self) -> Result<Response<Body>, Failure> {
        let object = parse_body(self.body)?;
        let manager = self.manager();
        let mut write = self.write(&manager)?;
        write.subresource = "";
        let written = self.shared.world().update(&write, &self.path.name, object)?;
        Ok(self.written(written))
    }

    /// Nothing runs here, so there is nothing to read from or to connect to.
    fn without_node(&self) -> Result<Response<Body>, Failure> {
        let world = self.shared.world();
        let Some(stored) = world.read(&self.kind, &self.path.namespace, &self.path.name) else {
            return Err(Failure::not_found(&self.kind, &self.path.name));
        };
        let pod = value(&self.kind, &stored);
        if pod["spec"].get("nodeName").is_none() {
            // Logs of a Pod that has not begun are empty.
            return match self.path.subresource.as_str() {
                "log" => Ok(plain("")),
                _ => Err(Failure::bad_request(format!("pod {} does not have a host assigned", self.path.name))),
            };
        }
        Err(Failure::new(
            503,
            "ServiceUnavailable",
            format!("the sandbox runs no containers: there is no {} of pod {}", self.path.subresource, self.path.name),
        ))
    }

    fn token(&self) -> Result<Response<Body>, Failure> {
        let world = self.shared.world();
        if world.read(&self.kind, &self.path.namespace, &self.path.name).is_none() {
            return Err(Failure::not_found(&self.kind, &self.path.name));
        }
        let expires = world.now();
        Ok(json_response(
            201,
            json!({
                "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"name": self.path.name, "namespace": self.path.namespace},
                "spec": {"audiences": [], "expirationSeconds": 3600}, "status": {"token": "sandbox", "expirationTimestamp": expires},
            })
            .to_string(),
        ))
    }

    /// Reads or writes the scale of an object.
    fn scale(&self, method: Option<&Method>) -> Result<Response<Body>, Failure> {
        let Some(paths) = &self.kind.scale else { return Err(Failure::no_resource()) };
        let mut world = self.shared.world();
        let Some(stored) = world.read(&self.kind, &self.path.namespace, &self.path.name) else {
            return Err(Failure::not_found(&self.kind, &self.path.name));
        };
        let mut object = value(&self.kind, &stored);
        if let Some(method) = method {
            let mut scale = scale_of(&object, paths);
            let body = parse_body(self.body)?;
            if *method == Method::PATCH {
                crate::patch::merge_patch(&mut scale, &body);
            } else {
                scale = body;
            }
            let pointer = format!("/{}", paths.spec_replicas.replace('.', "/"));
            let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
            match object.pointer_mut(&pointer) {
                Some(place) => *place = replicas.into(),
                None => object["spec"]["replicas"] = replicas.into(),
            }
            let version = text(scale["metadata"].get("resourceVersion"));
            object["metadata"]["resourceVersion"] = if version.is_empty() { stored.revision.to_string() } else { version }.into();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            let manager = self.manager();
            let write = self.write(&manager)?;
            let written = world.update(&write, &self.path.name, object)?;
            object =
                serde_json::from_slice(&written.body).map_err(|error| Failure::new(500, "InternalError", error.to_string()))?;
        }
        Ok(answer(&scale_of(&object, paths)))
    }
}

/// Core resources whose deletion answers with the object.
const RETURNED: [&str; 8] = [
    "pods",
    "services",
    "persistentvolumeclaims",
    "persistentvolumes",
    "serviceaccounts",
    "resourcequotas",
    "podtemplates",
    "replicationcontrollers",
];

fn scale_of(object: &Value, paths: &crate::kind::ScalePaths) -> Value {
    let at = |path: &str| object.pointer(&format!("/{}", path.replace('.', "/"))).cloned();
    let metadata = &object["metadata"];
    let selector = if paths.selector.is_empty() {
        object["spec"]["selector"]["matchLabels"]
            .as_object()
            .map(|labels| labels.iter().map(|(key, value)| format!("{key}={}", text(Some(value)))).collect::<Vec<_>>().join(","))
    } else {
        at(&paths.selector).and_then(|value| value.as_str().map(str::to_owned))
    };
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": at(&paths.spec_replicas).unwrap_or_else(|| 0.into())},
        "status": {"replicas": at(&paths.status_replicas).unwrap_or_else(|| 0.into())},
    });
    if let Some(selector) = selector {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

const TOKEN: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn continue_token(revision: u64, key: &str) -> String {
    TOKEN.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": key}).to_string())
}

fn inconsistent_token(key: &str) -> String {
    TOKEN.encode(json!({"v": "meta.k8s.io/v1", "rv": -1, "start": key}).to_string())
}

fn parse_continue_token(token: &str) -> Option<(Option<u64>, String)> {
    let value: Value = serde_json::from_slice(&TOKEN.decode(token).ok()?).ok()?;
    Some((value["rv"].as_u64(), value["start"].as_str()?.to_owned()))
}
