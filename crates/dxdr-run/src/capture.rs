//! Capturing resources: lists in flight on one side, one archive streaming out on the other.
//!
//! ```text
//! list ─┐
//! list ─┼─ pages, a few in flight ─► blocking thread: select, splice, tar, gzip, hash ─► stream ─► store
//! list ─┘        (in plan order)                     └─► what else belongs to it ─► get ─┘
//! ```
//!
//! Memory is bounded by the pages in flight ([`LISTS_IN_FLIGHT`] lists, two pages each, sized to [`PAGE_BYTES`]) and by the names of
//! the objects, never by their number of bytes. Objects pass through as the server's own bytes; only the `apiVersion` and `kind`
//! that list items lack are spliced in.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashSet},
    io::Write,
    sync::Arc,
};

use bytes::Bytes;
use dxdr_catalog::{CapturedKind, Gap, Interval, Sha256, StoredObject};
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_format::{
    hashing::Hashing,
    velero::{
        archive::{ArchiveWriter, ItemPath},
        csi_snapshot::CsiSnapshot,
    },
};
use dxdr_plan::{
    backup::{BackupPlan, ListTask},
    related::RelatedCollector,
    selection::{Decision, ObjectHead, OwnerHead, SkipReason},
};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind,
    cluster::{ListScope, ObjectPage},
    object_storage::{ObjectBody, PutCondition},
};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
};

use crate::{
    context::RunContext,
    error::RunError,
    event::Event,
    sealing::Examination,
    snapshot::{content_reference, snapshot_reference},
    stream,
};

/// Lists read at the same time. Two keep the server and the decoder busy; the others hide the latency of small kinds.
const LISTS_IN_FLIGHT: usize = 4;
/// Objects on the first page of a list, before their size is known: Secrets and ConfigMaps may have a mebibyte each.
const FIRST_PAGE: u32 = 50;
/// Later pages are sized to about this many bytes.
const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// How often a list begins again whose revision the server forgot. A server that forgets faster than it is read would never let the
/// list come to its end.
const RESTARTS: u32 = 3;
/// More objects than this on a page bring no speed any more.
const LARGEST_PAGE: u32 = 1_000;

/// What capturing found and stored.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The archive as stored.
    pub archive: StoredObject,
    /// Objects in it.
    pub items: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The lists it was read from.
    pub kinds: Vec<CapturedKind>,
    /// What could not be read, and whom nobody could open again.
    pub gaps: Vec<Gap>,
    /// The sealing keys that its SealedSecrets need; `None` where no policy says what becomes of keys.
    pub keys: Option<Vec<String>>,
    /// Objects left out, by reason.
    pub left_out: BTreeMap<String, u64>,
    /// `v1/Pod` to `namespace/name`: Velero's list of resources.
    pub resource_list: BTreeMap<String, Vec<String>>,
    /// When the last list had been read.
    pub instant: Timestamp,
    /// From the first list to the last object, by the clock of this process.
    pub read: Interval,
}

/// Reads what `plan` says and stores it as the archive under `key`, with what leads to the `snapshots` of its volumes. Stores nothing
/// when it fails.
#[tracing::instrument(skip_all)]
pub async fn capture(
    context: &RunContext,
    plan: &BackupPlan,
    snapshots: &[CsiSnapshot],
    key: &str,
) -> Result<Captured, RunError> {
    let began = context.clock.now();
    let receivers = start_lists(context, plan);
    let (writer, bytes) = stream::writer();
    let (world, plan, snapshots, handle) = (context.clone(), plan.clone(), snapshots.to_vec(), Handle::current());
    let writing = tokio::task::spawn_blocking(move || {
        let mut capture = Capture::new(plan, world, snapshots, handle, writer)?;
        capture.captured.read.first = began;
        capture.lists(receivers)?;
        capture.snapshots()?;
        capture.related()?;
        capture.captured.read.last = capture.context.clock.now();
        capture.finish()
    });
    let storing = context.store.storage.put(key, ObjectBody::Stream(bytes), PutCondition::Always);
    let (stored, written) = tokio::join!(storing, writing);
    let written = written.map_err(|panic| RunError::Unexpected(panic.to_string()))?;
    match (stored, written) {
        (Ok(stat), Ok(mut captured)) => {
            captured.archive.size = stat.size;
            Ok(captured)
        }
        // The writer only notices a broken pipe when the store gave up: the store's reason is the real one.
        (Err(error), Err(RunError::Archive(_)) | Ok(_)) => Err(error.into()),
        (_, Err(error)) => Err(error),
    }
}

type Pages = mpsc::Receiver<Result<ObjectPage, ClusterError>>;

/// Starts every list; [`LISTS_IN_FLIGHT`] run at a time, in plan order. In another order those that run could all wait for somebody to
/// take their pages, who waits for one that has not begun: tasks do not run in the order in which they were spawned, so that one task
/// takes the permits.
fn start_lists(context: &RunContext, plan: &BackupPlan) -> Vec<Pages> {
    let (senders, receivers): (Vec<_>, Vec<_>) = plan.lists.iter().map(|_| mpsc::channel(1)).unzip();
    let lists: Vec<_> = plan.lists.iter().cloned().zip(senders).collect();
    let context = context.clone();
    tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(LISTS_IN_FLIGHT));
        for (task, sender) in lists {
            let permit = tokio::select! {
                permit = Arc::clone(&permits).acquire_owned() => permit,
                () = context.stop.wait() => return,
            };
            let context = context.clone();
            tokio::spawn(async move {
                // The semaphore is never closed; without a permit the list would only start earlier.
                let _permit = permit;
                // Reading may be dropped at any place; whoever takes the pages knows that a list cut short then is no list.
                tokio::select! {
                    () = read_list(context.cluster.as_ref(), &task, &sender) => {}
                    () = context.stop.wait() => {}
                }
            });
        }
    });
    receivers
}

/// Sends the pages of one list, sized to their bytes. Ends after the last page, an error, or when nobody listens any more.
async fn read_list(cluster: &dyn Cluster, task: &ListTask, sender: &mpsc::Sender<Result<ObjectPage, ClusterError>>) {
    let scope = ListScope { namespace: task.namespace.clone(), label_selector: task.label_selector.clone() };
    let (mut limit, mut continuation, mut restarts) = (FIRST_PAGE, None::<String>, 0);
    loop {
        let answer = cluster.list(&task.kind, &scope, limit, continuation.as_deref()).await;
        let next = match &answer {
            Ok(page) => {
                limit = page_limit(page);
                page.continuation.clone()
            }
            // The server forgot the list's revision: begin again. The reader passes over what it has.
            Err(error) if error.kind == ClusterErrorKind::Expired && continuation.is_some() && restarts < RESTARTS => {
                restarts += 1;
                continuation = None;
                continue;
            }
            Err(_) => None,
        };
        if sender.send(answer).await.is_err() || next.is_none() {
            return;
        }
        continuation = next;
    }
}

/// How many objects like those on `page` make [`PAGE_BYTES`].
fn page_limit(page: &ObjectPage) -> u32 {
    let bytes: usize = page.items.iter().map(Bytes::len).sum();
    let average = bytes / page.items.len().max(1);
    u32::try_from(PAGE_BYTES / average.max(1)).unwrap_or(LARGEST_PAGE).clamp(2, LARGEST_PAGE)
}

/// What must be known of an object to decide about it; everything else passes by unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    metadata: MetadataHead<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetadataHead<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    labels: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    deletion_timestamp: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Owner<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    controller: Option<bool>,
}

/// The plan's decision about a listed object.
fn decide(plan: &BackupPlan, kind: &ResourceKind, head: &Head<'_>) -> Decision {
    let owners: Vec<OwnerHead<'_>> = head
        .metadata
        .owner_references
        .iter()
        .flatten()
        .map(|owner| OwnerHead {
            api_version: &owner.api_version,
            kind: &owner.kind,
            name: &owner.name,
            controller: owner.controller.unwrap_or(false),
        })
        .collect();
    plan.decide(
        kind,
        &ObjectHead {
            name: &head.metadata.name,
            namespace: head.metadata.namespace.as_deref(),
            labels: head.metadata.labels.as_ref(),
            deleting: head.metadata.deletion_timestamp.is_some(),
            owners: &owners,
        },
    )
}

/// The plan's decision, once it is proved that what it trusts a SealedSecret to make again is made again.
fn settle(plan: &BackupPlan, examination: &Examination, kind: &ResourceKind, head: &Head<'_>, json: &[u8]) -> Decision {
    match decide(plan, kind, head) {
        Decision::Skip(SkipReason::Sealed)
            if !examination.recreates(head.metadata.namespace.as_deref(), &head.metadata.name, json) =>
        {
            Decision::Keep
        }
        decision => decision,
    }
}

/// The name of a listed object that would go into the archive, which `examination` looks at.
pub(crate) fn kept_name(plan: &BackupPlan, examination: &mut Examination, kind: &ResourceKind, json: &[u8]) -> Option<String> {
    let head: Head<'_> = serde_json::from_slice(json).ok()?;
    if !matches!(settle(plan, examination, kind, &head, json), Decision::Keep) {
        return None;
    }
    examination.observe(kind, head.metadata.namespace.as_deref(), &head.metadata.name, json);
    Some(head.metadata.name.to_string())
}

/// The blocking side: one archive being written.
struct Capture {
    plan: BackupPlan,
    context: RunContext,
    snapshots: Vec<CsiSnapshot>,
    handle: Handle,
    archive: ArchiveWriter<Hashing<stream::StreamWriter>>,
    collector: RelatedCollector,
    examination: Examination,
    scratch: Vec<u8>,
    captured: Captured,
}

impl Capture {
    fn new(
        plan: BackupPlan,
        context: RunContext,
        snapshots: Vec<CsiSnapshot>,
        handle: Handle,
        writer: stream::StreamWriter,
    ) -> Result<Self, RunError> {
        let archive = ArchiveWriter::new(Hashing::new(writer), plan.started)?;
        let captured = Captured {
            archive: StoredObject { key: String::new(), size: 0, sha256: Sha256([0; 32]) },
            items: 0,
            bytes: 0,
            kinds: Vec::new(),
            gaps: plan.gaps.clone(),
            keys: None,
            left_out: BTreeMap::new(),
            resource_list: BTreeMap::new(),
            instant: plan.started,
            read: Interval { first: plan.started, last: plan.started },
        };
        let collector = RelatedCollector::new(&plan);
        let examination = Examination::new(context.sealing.clone());
        Ok(Self { plan, context, snapshots, handle, archive, collector, examination, scratch: Vec::new(), captured })
    }

    /// Takes every list in plan order.
    fn lists(&mut self, receivers: Vec<Pages>) -> Result<(), RunError> {
        let tasks = self.plan.lists.clone();
        for (task, receiver) in tasks.iter().zip(receivers) {
            self.list(task, receiver)?;
        }
        let earlier = self.snapshots.iter().map(|snapshot| snapshot.taken).fold(self.plan.started, Timestamp::max);
        // A storage whose clock goes ahead of ours has taken nothing after the point's instant for that.
        self.captured.instant = up_to_milliseconds(self.context.clock.now().max(earlier));
        Ok(())
    }

    /// Writes what leads from the claims to the snapshots, whatever the filters say: without it there is no data.
    fn snapshots(&mut self) -> Result<(), RunError> {
        let (snapshots, point) = (self.snapshots.clone(), self.plan.point.clone());
        for snapshot in snapshots {
            let object = snapshot_reference(&snapshot.namespace, &snapshot.name);
            self.write(&object, snapshot.volume_snapshot(&point).to_string().as_bytes(), true)?;
            let content = content_reference(&snapshot.content);
            self.write(&content, snapshot.volume_snapshot_content(&point).to_string().as_bytes(), true)?;
        }
        Ok(())
    }

    fn list(&mut self, task: &ListTask, mut receiver: Pages) -> Result<(), RunError> {
        let mut revision: Option<String> = None;
        let mut kept = 0;
        let mut seen = HashSet::new();
        let mut whole = false;
        while let Some(answer) = receiver.blocking_recv() {
            if self.context.stop.asked() {
                return Err(RunError::Interrupted);
            }
            let page = match answer {
                Ok(page) => page,
                Err(error) if fatal(&error) => return Err(error.into()),
                Err(error) if error.kind == ClusterErrorKind::Forbidden && is_namespaces(&task.kind) => {
                    return self.own_namespaces(task, &error.message);
                }
                Err(error) => {
                    self.gap(task, error.message);
                    return Ok(());
                }
            };
            if revision.as_ref().is_some_and(|revision| *revision != page.resource_version) {
                let text =
                    format!("it changed while it was read, and the server had forgotten its state ({kept} objects are older)");
                self.gap(task, text);
            }
            revision = Some(page.resource_version.clone());
            whole = page.continuation.is_none();
            for item in &page.items {
                kept += u64::from(self.item(task, item, &mut seen)?);
            }
            self.context.reporter.report(&Event::Progress {
                step: "capture".to_owned(),
                done: self.captured.items,
                total: None,
                bytes: self.captured.bytes,
                at: task.kind.group_resource(),
            });
        }
        if self.context.stop.asked() {
            return Err(RunError::Interrupted);
        }
        // Its reader went without a word: half a list must never pass for all of it.
        if !whole {
            return Err(RunError::Unexpected(format!("the list of {} ended before its last page", task.kind)));
        }
        if let Some(resource_version) = revision {
            self.captured.kinds.push(CapturedKind {
                group_resource: task.kind.group_resource(),
                version: task.kind.version.clone(),
                namespace: task.namespace.clone(),
                resource_version,
                items: kept,
            });
        }
        Ok(())
    }

    /// An account that may not list all namespaces may still see those that are backed up.
    fn own_namespaces(&mut self, task: &ListTask, refusal: &str) -> Result<(), RunError> {
        let names = self.plan.namespaces.clone();
        if names.is_empty() {
            self.gap(task, refusal.to_owned());
        }
        for name in names {
            let reference = ObjectReference { kind: task.kind.clone(), namespace: None, name };
            let cluster = Arc::clone(&self.context.cluster);
            match self.handle.block_on(cluster.get(&reference)) {
                Ok(Some(json)) => {
                    self.item(task, &json, &mut HashSet::new())?;
                }
                Ok(None) => {}
                Err(error) if fatal(&error) => return Err(error.into()),
                Err(error) => self.captured.gaps.push(Gap { what: reference.to_string(), reason: error.message }),
            }
        }
        Ok(())
    }

    /// One listed object: decided upon, and written if it is kept. A list that began again repeats what is in `seen`. Nothing is
    /// concluded from the order: the servers behind an APIService list in whichever they like.
    fn item(&mut self, task: &ListTask, item: &Bytes, seen: &mut HashSet<String>) -> Result<bool, RunError> {
        let head: Head<'_> = match serde_json::from_slice(item) {
            Ok(head) => head,
            Err(error) => {
                self.gap(task, format!("an object of it cannot be read: {error}"));
                return Ok(false);
            }
        };
        if !seen.insert(format!("{}/{}", head.metadata.namespace.as_deref().unwrap_or_default(), head.metadata.name)) {
            return Ok(false);
        }
        match settle(&self.plan, &self.examination, &task.kind, &head, item) {
            Decision::Keep => {
                let reference = ObjectReference {
                    kind: task.kind.clone(),
                    namespace: head.metadata.namespace.as_deref().map(str::to_owned),
                    name: head.metadata.name.to_string(),
                };
                let complete = head.api_version.is_some();
                match self.annotated(&reference, item) {
                    Some(claim) => self.write(&reference, &claim, complete)?,
                    None => self.write(&reference, item, complete)?,
                }
                Ok(true)
            }
            Decision::Skip(reason) => {
                *self.captured.left_out.entry(reason.to_string()).or_default() += 1;
                Ok(false)
            }
        }
    }

    /// A claim with its snapshot's name; `None` for everything that has none.
    fn annotated(&self, reference: &ObjectReference, json: &[u8]) -> Option<Vec<u8>> {
        if !reference.kind.group.is_empty() || reference.kind.plural != "persistentvolumeclaims" {
            return None;
        }
        let is_of = |snapshot: &&CsiSnapshot| {
            snapshot.claim == reference.name && reference.namespace.as_deref() == Some(snapshot.namespace.as_str())
        };
        self.snapshots.iter().find(is_of)?.annotated(json)
    }

    /// Writes one object, with `apiVersion` and `kind` put in front where the list left them out.
    fn write(&mut self, reference: &ObjectReference, json: &[u8], complete: bool) -> Result<(), RunError> {
        let json = if complete {
            json
        } else {
            self.scratch.clear();
            // A JSON object begins with a brace; what follows it goes behind our two fields.
            let rest = json.get(1..).unwrap_or_default();
            write!(self.scratch, "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", reference.kind.kind, reference.kind.api_version())
                .map_err(|error| RunError::Unexpected(error.to_string()))?;
            self.scratch.extend_from_slice(rest);
            &self.scratch
        };
        self.collector.observe(&reference.kind, json);
        self.examination.observe(&reference.kind, reference.namespace.as_deref(), &reference.name, json);
        let path = ItemPath {
            group_resource: reference.kind.group_resource(),
            version: Some(reference.kind.version.clone()),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        };
        self.archive.append(&path, json)?;
        self.captured.items += 1;
        self.captured.bytes += json.len() as u64;
        let listed = match &reference.namespace {
            Some(namespace) => format!("{namespace}/{}", reference.name),
            None => reference.name.clone(),
        };
        let kind = format!("{}/{}", reference.kind.api_version(), reference.kind.kind);
        self.captured.resource_list.entry(kind).or_default().push(listed);
        Ok(())
    }

    /// Fetches what the kept objects lean on: their definitions, volumes, cluster roles.
    fn related(&mut self) -> Result<(), RunError> {
        if let Some(kind) = self.collector.wanted_list().cloned() {
            self.related_list(&kind)?;
        }
        let mut seen: HashSet<ObjectReference> = HashSet::new();
        loop {
            let wanted: BTreeSet<ObjectReference> =
                self.collector.wanted().into_iter().filter(|reference| !seen.contains(reference)).collect();
            if wanted.is_empty() {
                return Ok(());
            }
            for reference in wanted {
                if self.context.stop.asked() {
                    return Err(RunError::Interrupted);
                }
                let cluster = Arc::clone(&self.context.cluster);
                match self.handle.block_on(cluster.get(&reference)) {
                    Ok(Some(json)) => self.write(&reference, &json, true)?,
                    Ok(None) => {}
                    Err(error) if fatal(&error) => return Err(error.into()),
                    Err(error) => self.captured.gaps.push(Gap { what: reference.to_string(), reason: error.message }),
                }
                seen.insert(reference);
            }
        }
    }

    /// Takes those objects of a cluster-scoped kind that belong to kept ones.
    fn related_list(&mut self, kind: &ResourceKind) -> Result<(), RunError> {
        let task = ListTask { kind: kind.clone(), namespace: None, label_selector: None };
        let scope = ListScope { namespace: None, label_selector: None };
        let (cluster, mut continuation, mut restarts) = (Arc::clone(&self.context.cluster), None::<String>, 0);
        let mut seen = HashSet::new();
        loop {
            if self.context.stop.asked() {
                return Err(RunError::Interrupted);
            }
            let page = match self.handle.block_on(cluster.list(kind, &scope, LARGEST_PAGE, continuation.as_deref())) {
                Ok(page) => page,
                // What was taken already belongs to what is kept, whichever state of the list it is from.
                Err(error) if error.kind == ClusterErrorKind::Expired && continuation.is_some() && restarts < RESTARTS => {
                    restarts += 1;
                    continuation = None;
                    continue;
                }
                Err(error) if fatal(&error) => return Err(error.into()),
                Err(error) => {
                    self.gap(&task, error.message);
                    return Ok(());
                }
            };
            for item in &page.items {
                if self.collector.belongs(item) {
                    self.item(&task, item, &mut seen)?;
                }
            }
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(());
            }
        }
    }

    fn finish(mut self) -> Result<Captured, RunError> {
        let (writer, sha256) = self.archive.finish()?.finish();
        writer.finish().map_err(|error| RunError::Unexpected(error.to_string()))?;
        for names in self.captured.resource_list.values_mut() {
            names.sort_unstable();
        }
        let findings = self.examination.finish();
        for text in findings.warnings.into_iter().chain(findings.gaps.iter().map(|gap| gap.reason.clone())) {
            self.context.reporter.report(&Event::Warning { text });
        }
        self.captured.gaps.extend(findings.gaps);
        self.captured.keys = findings.fingerprints;
        self.captured.gaps.sort();
        self.captured.archive.sha256 = sha256;
        Ok(self.captured)
    }

    fn gap(&mut self, task: &ListTask, reason: String) {
        let what = match &task.namespace {
            Some(namespace) => format!("{} in {namespace}", task.kind),
            None => task.kind.to_string(),
        };
        self.context.reporter.report(&Event::Warning { text: format!("{what} could not be captured: {reason}") });
        self.captured.gaps.push(Gap { what, reason });
    }
}

fn is_namespaces(kind: &ResourceKind) -> bool {
    kind.group.is_empty() && kind.plural == "namespaces"
}

/// Rounded up, since everything was captured at or before it: people copy instants, and nobody copies nanoseconds.
fn up_to_milliseconds(instant: Timestamp) -> Timestamp {
    let milliseconds =
        instant.as_nanosecond().div_euclid(1_000_000) + i128::from(instant.as_nanosecond().rem_euclid(1_000_000) > 0);
    i64::try_from(milliseconds).ok().and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok()).unwrap_or(instant)
}

/// Whether an error ends the capture: a server that is gone or does not know us fails every list, and says so once.
pub(crate) fn fatal(error: &ClusterError) -> bool {
    matches!(
        error.kind,
        ClusterErrorKind::Unreachable
            | ClusterErrorKind::Unauthenticated
            | ClusterErrorKind::TimedOut
            | ClusterErrorKind::TooManyRequests(_)
    )
}

#[cfg(test)]
#[path = "capture_test.rs"]
pub(crate) mod tests;
