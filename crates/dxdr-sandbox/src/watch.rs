//! Watches: a position in the log, and what to send from there on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::selector::Selector;
use crate::server::Shared;
use crate::status::Failure;
use crate::store::Stored;
use crate::table;
use crate::world::{render, value};

/// What a client asked to watch.
pub(crate) struct WatchRequest {
    pub(crate) kind: Arc<Kind>,
    pub(crate) prefix: String,
    pub(crate) selector: Selector,
    /// The revision to go on from; everything that is there comes first when absent.
    pub(crate) from: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events_end: bool,
    pub(crate) timeout: Duration,
    pub(crate) as_table: bool,
}

struct Position {
    shared: Arc<Shared>,
    request: WatchRequest,
    revision: u64,
    changes: tokio::sync::watch::Receiver<u64>,
    ready: VecDeque<Bytes>,
    deadline: tokio::time::Instant,
    finished: bool,
}

/// How long a quiet watch waits between bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// Starts a watch; fails when it would begin before what is kept.
pub(crate) fn stream(shared: &Arc<Shared>, request: WatchRequest) -> Result<Body, Failure> {
    let mut ready = VecDeque::new();
    let (revision, changes) = {
        let world = shared.world();
        let changes = world.store.changes();
        let current = world.store.revision();
        let revision = match request.from {
            Some(from) => {
                if from < world.store.compacted() {
                    // As the real server: the stream opens, and its one event says why it ends.
                    ready.push_back(gone(from, world.store.compacted()));
                }
                from
            }
            None => {
                let page = world
                    .store
                    .list(request.kind.resource, &request.prefix, "", current, 0, |stored| request.selector.matches(stored));
                for stored in &page.items {
                    ready.push_back(line("ADDED", &request, stored));
                }
                current
            }
        };
        if request.initial_events_end {
            ready.push_back(bookmark(&request, revision, true));
        }
        (revision, changes)
    };
    let finished = request.from.is_some() && !ready.is_empty() && !request.initial_events_end;
    let deadline = tokio::time::Instant::now() + request.timeout;
    let position = Position { shared: Arc::clone(shared), request, revision, changes, ready, deadline, finished };
    let stream = futures::stream::unfold(position, |mut position| async move {
        position.next().await.map(|bytes| (Ok::<Bytes, std::io::Error>(bytes), position))
    });
    Ok(Body::from_stream(stream))
}

impl Position {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.finished {
                return None;
            }
            self.changes.borrow_and_update();
            self.collect();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        self.finished = true;
                    }
                }
                () = tokio::time::sleep(BOOKMARK_INTERVAL), if self.request.bookmarks => {
                    self.ready.push_back(bookmark(&self.request, self.revision, false));
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    self.finished = true;
                    if self.request.bookmarks {
                        self.ready.push_back(bookmark(&self.request, self.revision, false));
                    }
                }
                () = self.shared.stopping() => self.finished = true,
            }
        }
    }

    fn collect(&mut self) {
        let world = self.shared.world();
        let Some(events) = world.store.events_after(self.revision) else {
            self.ready.push_back(gone(self.revision, world.store.compacted()));
            self.finished = true;
            return;
        };
        // Many changes at once are sent in portions, so that the lock is not held for long.
        for event in events.take(1000) {
            self.revision = event.revision;
            if event.resource != self.request.kind.resource || !event.key.starts_with(&self.request.prefix) {
                continue;
            }
            let matching =
                |stored: &Option<Arc<Stored>>| stored.as_ref().filter(|stored| self.request.selector.matches(stored)).cloned();
            match (matching(&event.previous), matching(&event.current)) {
                (None, Some(current)) => self.ready.push_back(line("ADDED", &self.request, &current)),
                (Some(_), Some(current)) => self.ready.push_back(line("MODIFIED", &self.request, &current)),
                (Some(previous), None) => {
                    // A deletion shows the last state, at the revision of the deletion.
                    let last = event.current.clone().unwrap_or(previous);
                    self.ready.push_back(deleted(&self.request, &last, event.revision));
                }
                (None, None) => {}
            }
        }
    }
}

fn line(of_type: &str, request: &WatchRequest, stored: &Stored) -> Bytes {
    if request.as_table {
        let rows = table::of(&request.kind, &[value(&request.kind, stored)], &stored.revision.to_string(), None, None);
        return Bytes::from(format!("{}\n", json!({"type": of_type, "object": rows})));
    }
    let object = render(&request.kind, stored);
    let mut bytes = Vec::with_capacity(object.len() + 32);
    bytes.extend_from_slice(b"{\"type\":\"");
    bytes.extend_from_slice(of_type.as_bytes());
    bytes.extend_from_slice(b"\",\"object\":");
    bytes.extend_from_slice(&object);
    bytes.extend_from_slice(b"}\n");
    Bytes::from(bytes)
}

fn deleted(request: &WatchRequest, stored: &Stored, revision: u64) -> Bytes {
    let mut object = value(&request.kind, stored);
    object["metadata"]["resourceVersion"] = revision.to_string().into();
    let object = if request.as_table { table::of(&request.kind, &[object], &revision.to_string(), None, None) } else { object };
    Bytes::from(format!("{}\n", json!({"type": "DELETED", "object": object})))
}

fn bookmark(request: &WatchRequest, revision: u64, initial: bool) -> Bytes {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({"kind": request.kind.kind, "apiVersion": request.kind.api_version(), "metadata": metadata});
    let event: Value = json!({"type": "BOOKMARK", "object": object});
    Bytes::from(format!("{event}\n"))
}

fn gone(from: u64, compacted: u64) -> Bytes {
    let failure = Failure::expired(format!("too old resource version: {from} ({compacted})"));
    Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": failure.to_value()})))
}
