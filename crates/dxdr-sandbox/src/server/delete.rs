//! Deleting one object or many.

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use super::{Call, answer, parse_body};
use crate::status::{Cause, Failure, json_response};
use crate::world::{DeleteOptions, Deleted, render, value};

impl Call<'_> {
    pub(super) fn delete_options(&self) -> Result<DeleteOptions, Failure> {
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

    pub(super) fn delete(&self) -> Result<Response<Body>, Failure> {
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

    pub(super) fn delete_collection(&self) -> Result<Response<Body>, Failure> {
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
