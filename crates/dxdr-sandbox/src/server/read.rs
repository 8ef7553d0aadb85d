//! Reading: one object, pages of them, and what happens to them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use serde_json::{Value, json};

use super::{Call, answer};
use crate::selector::Selector;
use crate::status::{Cause, Failure, json_response};
use crate::store::Page;
use crate::world::{render, value};
use crate::{table, watch};

impl Call<'_> {
    pub(super) fn get(&self) -> Result<Response<Body>, Failure> {
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

    pub(super) fn prefix(&self) -> String {
        if self.path.namespace.is_empty() { String::new() } else { format!("{}/", self.path.namespace) }
    }

    pub(super) fn selector(&self) -> Result<Selector, Failure> {
        Selector::parse(self.query.get("labelSelector"), self.query.get("fieldSelector"), &self.kind)
    }

    pub(super) fn list(&self) -> Result<Response<Body>, Failure> {
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

    pub(super) fn page(&self, selector: &Selector, limit: usize) -> Result<(Page, u64, jiff::Timestamp), Failure> {
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

    pub(super) fn watch(&self) -> Result<Response<Body>, Failure> {
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
