//! Objects in every version that has not been compacted away, and the log that watches read.
//!
//! Each key holds a short chain of versions, so that a paged LIST can go on reading at the revision of its first page
//! while others write. Compaction forgets old versions and old log entries together.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::kind::ResourceId;

/// An object as stored: its JSON without `kind` and `apiVersion`, and the metadata the server itself asks for.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) body: Bytes,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) owners: Vec<String>,
    pub(crate) revision: u64,
}

pub(crate) type Key = Arc<str>;
pub(crate) type Locator = (ResourceId, Key);

/// One change, for watches. `current` is absent for a deletion.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) resource: ResourceId,
    pub(crate) key: Key,
    pub(crate) current: Option<Arc<Stored>>,
    pub(crate) previous: Option<Arc<Stored>>,
}

type Chain = Vec<(u64, Option<Arc<Stored>>)>;

pub(crate) struct Store {
    revision: u64,
    compacted: u64,
    chains: HashMap<ResourceId, BTreeMap<Key, Chain>>,
    counts: HashMap<(ResourceId, String), usize>,
    log: VecDeque<Event>,
    by_uid: HashMap<String, Locator>,
    dependents: HashMap<String, BTreeSet<Locator>>,
    history: usize,
    changed: tokio::sync::watch::Sender<u64>,
}

/// A page of a LIST.
pub(crate) struct Page {
    pub(crate) items: Vec<Arc<Stored>>,
    /// The key to go on from, when there is more.
    pub(crate) next: Option<Key>,
    pub(crate) remaining: usize,
}

/// `namespace/name`, or `name` in no namespace: the order of etcd.
pub(crate) fn key(namespace: &str, name: &str) -> Key {
    if namespace.is_empty() { name.into() } else { format!("{namespace}/{name}").into() }
}

impl Store {
    pub(crate) fn new(history: usize) -> Self {
        Self {
            revision: 1,
            compacted: 0,
            chains: HashMap::new(),
            counts: HashMap::new(),
            log: VecDeque::new(),
            by_uid: HashMap::new(),
            dependents: HashMap::new(),
            history,
            changed: tokio::sync::watch::Sender::new(1),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn get(&self, resource: ResourceId, key: &str) -> Option<Arc<Stored>> {
        self.chains.get(&resource)?.get(key)?.last()?.1.clone()
    }

    pub(crate) fn find_uid(&self, uid: &str) -> Option<&Locator> {
        self.by_uid.get(uid)
    }

    pub(crate) fn dependents(&self, uid: &str) -> Vec<Locator> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// How many objects of a resource a namespace holds.
    pub(crate) fn count(&self, resource: ResourceId, namespace: &str) -> usize {
        self.counts.get(&(resource, namespace.to_owned())).copied().unwrap_or(0)
    }

    /// The resources of which a namespace still holds objects.
    pub(crate) fn resources_in(&self, namespace: &str) -> Vec<ResourceId> {
        let mut found: Vec<ResourceId> = self
            .counts
            .iter()
            .filter(|((_, at), count)| at == namespace && **count > 0)
            .map(|((resource, _), _)| *resource)
            .collect();
        found.sort_unstable();
        found
    }

    /// The revision the next write gets; the object's `resourceVersion` must say so.
    pub(crate) fn next_revision(&self) -> u64 {
        self.revision + 1
    }

    pub(crate) fn put(&mut self, resource: ResourceId, key: Key, stored: Stored) -> Arc<Stored> {
        let stored = Arc::new(stored);
        self.write(resource, key, Some(Arc::clone(&stored)));
        stored
    }

    pub(crate) fn delete(&mut self, resource: ResourceId, key: Key) {
        self.write(resource, key, None);
    }

    fn write(&mut self, resource: ResourceId, key: Key, current: Option<Arc<Stored>>) {
        self.revision += 1;
        let revision = self.revision;
        let locator = (resource, Arc::clone(&key));
        let chain = self.chains.entry(resource).or_default().entry(Arc::clone(&key)).or_default();
        let previous = chain.last().and_then(|(_, stored)| stored.clone());
        chain.push((revision, current.clone()));
        if let Some(previous) = &previous {
            for owner in &previous.owners {
                if let Some(set) = self.dependents.get_mut(owner) {
                    set.remove(&locator);
                    if set.is_empty() {
                        self.dependents.remove(owner);
                    }
                }
            }
            if current.is_none() {
                self.by_uid.remove(&previous.uid);
                if let Some(count) = self.counts.get_mut(&(resource, previous.namespace.clone())) {
                    *count = count.saturating_sub(1);
                }
            }
        }
        if let Some(current) = &current {
            for owner in &current.owners {
                self.dependents.entry(owner.clone()).or_default().insert(locator.clone());
            }
            if previous.is_none() {
                self.by_uid.insert(current.uid.clone(), locator);
                *self.counts.entry((resource, current.namespace.clone())).or_default() += 1;
            }
        }
        self.log.push_back(Event { revision, resource, key, current, previous });
        if self.log.len() > self.history.saturating_mul(2) {
            let target = self.log[self.log.len() - self.history].revision;
            self.compact(target);
        }
        self.changed.send_replace(revision);
    }

    /// Forgets what was before `revision`: reads and watches from there get 410.
    pub(crate) fn compact(&mut self, revision: u64) {
        let revision = revision.min(self.revision);
        self.compacted = self.compacted.max(revision);
        while self.log.front().is_some_and(|event| event.revision <= revision) {
            let Some(event) = self.log.pop_front() else { break };
            let Some(chains) = self.chains.get_mut(&event.resource) else { continue };
            let Some(chain) = chains.get_mut(&event.key) else { continue };
            let kept = chain.iter().rposition(|(at, _)| *at <= revision).unwrap_or(0);
            chain.drain(..kept);
            if matches!(chain.as_slice(), [(_, None)]) {
                chains.remove(&event.key);
            }
        }
        self.changed.send_replace(self.revision);
    }

    /// Reads at `revision`, in key order, from `start` on; `prefix` is empty or ends with a slash.
    pub(crate) fn list(
        &self,
        resource: ResourceId,
        prefix: &str,
        start: &str,
        revision: u64,
        limit: usize,
        mut wanted: impl FnMut(&Stored) -> bool,
    ) -> Page {
        let mut page = Page { items: Vec::new(), next: None, remaining: 0 };
        let Some(chains) = self.chains.get(&resource) else { return page };
        let from = if start > prefix { start } else { prefix };
        for (key, chain) in chains.range::<str, _>((std::ops::Bound::Included(from), std::ops::Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            let version = chain.iter().rev().find(|(at, _)| *at <= revision);
            let Some((_, Some(stored))) = version else { continue };
            if limit > 0 && page.items.len() == limit {
                if page.next.is_none() {
                    page.next = Some(Arc::clone(key));
                }
                page.remaining += 1;
                continue;
            }
            if wanted(stored) {
                page.items.push(Arc::clone(stored));
            }
        }
        page
    }

    /// The changes after `revision`, or `None` when some of them are compacted.
    pub(crate) fn events_after(&self, revision: u64) -> Option<impl Iterator<Item = &Event>> {
        if revision < self.compacted {
            return None;
        }
        let start = self.log.partition_point(|event| event.revision <= revision);
        Some(self.log.range(start..))
    }
}
