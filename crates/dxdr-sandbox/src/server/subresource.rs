//! What lies below an object: its scale, its token, its finalizers, and what only a node could answer.

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::{Value, json};

use super::{Call, answer, parse_body, plain};
use crate::status::{Failure, json_response};
use crate::world::{text, value};

impl Call<'_> {
    /// Sets the finalizers of a namespace.
    pub(super) fn finalize(&self) -> Result<Response<Body>, Failure> {
        let object = parse_body(self.body)?;
        let manager = self.manager();
        let mut write = self.write(&manager)?;
        write.subresource = "";
        let written = self.shared.world().update(&write, &self.path.name, object)?;
        Ok(self.written(written))
    }

    /// Nothing runs here, so there is nothing to read from or to connect to.
    pub(super) fn without_node(&self) -> Result<Response<Body>, Failure> {
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

    pub(super) fn token(&self) -> Result<Response<Body>, Failure> {
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
    pub(super) fn scale(&self, method: Option<&Method>) -> Result<Response<Body>, Failure> {
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
