//! How a request fails when a fault picks it.

use axum::body::Body;
use axum::http::{Response, request::Parts};
use bytes::Bytes;
use serde_json::json;

use super::path::Path;
use crate::fault::Failing;
use crate::status::{Failure, json_response};

/// An answer that breaks off.
pub(super) fn broken() -> Response<Body> {
    let stream = futures::stream::once(async {
        Err::<Bytes, _>(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer"))
    });
    json_response(200, Body::from_stream(stream))
}

pub(super) fn failed(failing: &Failing, parts: &Parts) -> Response<Body> {
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
