//! Reading the catalog out of a store: all of it, one point, or what an instant needs.
//!
//! Two ways lead to a point. The index holds our points newest first, so that the one for an instant is found with one LIST among
//! any number. The folders under `backups/` hold everything, Velero's own backups included; they are read whole where a listing is
//! asked for, and up to a few pages where an instant is.

use std::collections::HashSet;

use dxdr_catalog::{Entry, RecoveryPoint, name};
use dxdr_format::{manifest, velero};
use dxdr_provider::object_storage::{ListPage, ListRequest};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{
    error::RunError,
    store::{Store, folder_name},
};

/// Manifests read at the same time.
const READS_IN_FLIGHT: usize = 16;
/// Manifests read before looking whether one of them is the answer: usually the first is.
const CHUNK: usize = 8;
/// Pages of the index read for one instant: two thousand partial points in a row are passed over.
const INDEX_PAGES: usize = 2;
/// LISTs for one instant, however many points there are.
const LISTS: usize = 4;

/// What was found, and what could not be understood.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The entries, by instant, newest first.
    pub entries: Vec<Entry>,
    /// Folders whose metadata cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Points whose objects are not all there in the size that was written, with what is wrong. Only [`all`] looks; whether the bytes
    /// are the right ones, only reading them tells.
    pub damaged: Vec<(String, String)>,
    /// Folders without a manifest and without Velero's marker: what an unfinished backup left.
    pub leftovers: Vec<String>,
    /// Whether every backup of the store was looked at. If not, Velero's own may be missing here.
    pub whole: bool,
}

/// Every point of the store that covers the environment `environment` in `namespace`; of all environments when `None`.
pub async fn all(store: &Store, only: Option<(&str, &str)>) -> Result<Found, RunError> {
    let names = store.folders(&store.layout.backups_prefix()).await?;
    let wanted = names.into_iter().filter(|name| match (only, name::parse(name)) {
        // A name of ours says whose it is, without reading anything.
        (Some((environment, _)), Some(parsed)) => parsed.is_of(environment),
        _ => true,
    });
    let mut found = read(store, wanted.collect()).await?;
    found.whole = true;
    let mut leftovers = Vec::new();
    for name in std::mem::take(&mut found.leftovers) {
        // Some stores go on listing a folder that was emptied.
        if !store.keys(&store.layout.backup_prefix(&name)).await?.is_empty() {
            leftovers.push(name);
        }
    }
    found.leftovers = leftovers;
    keep(&mut found, only);
    found.damaged = damaged(store, &found.entries).await?;
    Ok(found)
}

/// The entries that may be the answer to "as it was at `at`": ours at or before it, newest first, up to a complete one; and Velero's
/// own as far as the LISTs that are left show the store's backups; and ours that those show and the index has lost. Where none of ours
/// leads back, the first one after it, for the hint.
/// At most [`LISTS`].
pub async fn around(store: &Store, environment: &str, namespace: &str, at: Timestamp) -> Result<Found, RunError> {
    let index = store.layout.point_index_prefix(environment);
    let mut request = ListRequest {
        prefix: index.clone(),
        start_after: Some(store.layout.point_index_start_after(environment, at)),
        ..ListRequest::default()
    };
    let (mut found, mut lists) = (Found::default(), 0);
    // A point that was mended has a later instant than it was entered under, until that entry is gone.
    let leads_back = |entry: &Entry| complete(entry) && entry.instant().is_some_and(|instant| instant <= at);
    for _ in 0..INDEX_PAGES {
        let page = store.storage.list(&request).await?;
        lists += 1;
        for names in indexed(store, &page).chunks(CHUNK) {
            found.extend(read(store, names.to_vec()).await?);
            if found.entries.iter().any(leads_back) {
                break;
            }
        }
        match page.continuation {
            Some(continuation) if !found.entries.iter().any(leads_back) => request.continuation = Some(continuation),
            _ => break,
        }
    }
    if !found.entries.iter().any(|entry| entry.instant().is_some_and(|instant| instant <= at)) {
        // The index begins with the newest: on a page that is the last one, the last entry is the first one after T.
        let newest = store.storage.list(&ListRequest { prefix: index, ..ListRequest::default() }).await?;
        lists += 1;
        found.extend(read(store, indexed(store, &newest).into_iter().rev().take(1).collect()).await?);
    }
    let prefix = store.layout.backups_prefix();
    let mut folders = ListRequest { prefix: prefix.clone(), directories: true, ..ListRequest::default() };
    while lists < LISTS && !found.whole {
        let page = store.storage.list(&folders).await?;
        lists += 1;
        let (mut foreign, mut lost) = (Vec::new(), Vec::new());
        for name in page.directories.iter().filter_map(|folder| folder_name(&prefix, folder)) {
            match name::parse(&name) {
                None => foreign.push(name),
                Some(ours) if ours.is_of(environment) && ours.started <= at => lost.push((ours.started, name)),
                Some(_) => {}
            }
        }
        found.extend(read(store, foreign).await?);
        lost.sort_unstable_by(|left, right| right.cmp(left));
        for (started, name) in lost {
            // The index said all about those before the point that it led to.
            let reaches = |entry: &Entry| {
                entry.instant().is_some_and(|instant| instant <= at) && begun(entry).is_some_and(|begun| begun >= started)
            };
            if found.entries.iter().any(|entry| complete(entry) && reaches(entry)) {
                break;
            }
            if !found.entries.iter().any(|entry| entry.name() == name) {
                found.extend(read(store, vec![name]).await?);
            }
        }
        found.whole = page.continuation.is_none();
        folders.continuation = page.continuation;
    }
    keep(&mut found, Some((environment, namespace)));
    Ok(found)
}

/// Compares what the manifests say with what is listed, and reads nothing.
async fn damaged(store: &Store, entries: &[Entry]) -> Result<Vec<(String, String)>, RunError> {
    let points: Vec<&RecoveryPoint> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Ours(point) => Some(point),
            Entry::Foreign(_) => None,
        })
        .collect();
    let checked: Vec<Option<(String, String)>> = stream::iter(points)
        .map(|point| async move {
            let sizes = store.sizes(&store.layout.backup_prefix(&point.name)).await?;
            let problems =
                point.objects.iter().filter_map(|object| match sizes.get(&store.layout.object_key(&point.name, &object.key)) {
                    None => Some(format!("`{}` is missing", object.key)),
                    Some(size) if *size != object.size => {
                        Some(format!("`{}` has {size} bytes, and {} were written", object.key, object.size))
                    }
                    Some(_) => None,
                });
            let problems: Vec<String> = problems.collect();
            Ok::<_, RunError>((!problems.is_empty()).then(|| (point.name.clone(), problems.join("; "))))
        })
        .buffered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(checked.into_iter().flatten().collect())
}

/// When a point of ours was begun, to the second, as its name says.
fn begun(entry: &Entry) -> Option<Timestamp> {
    name::parse(entry.name()).map(|name| name.started)
}

/// Whether a point of ours needs no older one behind it.
fn complete(entry: &Entry) -> bool {
    matches!(entry, Entry::Ours(point) if point.complete())
}

impl Found {
    fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.unreadable.extend(other.unreadable);
        self.leftovers.extend(other.leftovers);
    }
}

/// The point or backup of that name; `None` when the store has none.
pub async fn named(store: &Store, name: &str) -> Result<Option<Entry>, RunError> {
    match entry(store, name).await? {
        Read::Entry(entry) => Ok(Some(*entry)),
        Read::Leftover => Ok(None),
        Read::Unreadable(error) => Err(error),
    }
}

/// Enters a point into the index, under its instant. Entering it twice is the same as once.
pub async fn index(store: &Store, point: &RecoveryPoint) -> Result<(), RunError> {
    let key = store.layout.point_index_key(point.environment.as_str(), point.instant, &point.name);
    Ok(store.write(&key, Vec::new(), dxdr_provider::object_storage::PutCondition::Always).await?)
}

/// Takes those entries out of the index whose points are gone, as Velero and people delete them, of `environment` or of all; answers the
/// names. `found`: what [`all`] has just read there. A folder that holds anything keeps its entry, since a point is entered before its
/// manifest is written.
pub async fn forget_deleted(store: &Store, environment: Option<&str>, found: &Found) -> Result<Vec<String>, RunError> {
    let there: HashSet<&str> = found.entries.iter().map(Entry::name).collect();
    let indexes = match environment {
        Some(environment) => vec![store.layout.point_index_prefix(environment)],
        None => {
            let all = store.folders(&store.layout.point_indexes_prefix()).await?;
            all.iter().map(|environment| store.layout.point_index_prefix(environment)).collect()
        }
    };
    let mut forgotten = Vec::new();
    for index in indexes {
        for key in store.keys(&index).await? {
            let Some((_, name)) = store.layout.parse_point_index_key(&key) else { continue };
            if !there.contains(name.as_str()) && store.keys(&store.layout.backup_prefix(&name)).await?.is_empty() {
                store.storage.delete(&key).await?;
                forgotten.push(name);
            }
        }
    }
    Ok(forgotten)
}

fn indexed(store: &Store, page: &ListPage) -> Vec<String> {
    page.objects.iter().filter_map(|object| store.layout.parse_point_index_key(&object.key)).map(|(_, name)| name).collect()
}

/// Keeps what covers the environment, newest first, each name once.
fn keep(found: &mut Found, only: Option<(&str, &str)>) {
    if let Some((environment, namespace)) = only {
        found.entries.retain(|entry| match entry {
            Entry::Ours(point) => point.environment.as_str() == environment,
            Entry::Foreign(backup) => backup.covers(namespace),
        });
    }
    found.entries.sort_by(|left, right| right.instant().cmp(&left.instant()).then_with(|| left.name().cmp(right.name())));
    found.entries.dedup_by(|left, right| left.name() == right.name());
}

/// What lies in one folder.
enum Read {
    Entry(Box<Entry>),
    Leftover,
    Unreadable(RunError),
}

async fn read(store: &Store, names: Vec<String>) -> Result<Found, RunError> {
    let mut results = stream::iter(names)
        .map(|name| async move {
            let read = entry(store, &name).await;
            read.map(|read| (name, read))
        })
        .buffered(READS_IN_FLIGHT);
    let mut found = Found::default();
    while let Some((name, read)) = results.try_next().await? {
        match read {
            Read::Entry(entry) => found.entries.push(*entry),
            Read::Leftover => found.leftovers.push(name),
            Read::Unreadable(error) => found.unreadable.push((name, crate::active::chain(&error))),
        }
    }
    Ok(found)
}

/// The manifest first, then what Velero wrote.
async fn entry(store: &Store, name: &str) -> Result<Read, RunError> {
    let format = |key: &str, source| RunError::Format { key: key.to_owned(), store: store.storage.describe(), source };
    let key = store.layout.manifest_key(name);
    if let Some(bytes) = store.read(&key).await? {
        return Ok(match manifest::decode(&bytes) {
            Ok(point) => Read::Entry(Box::new(Entry::Ours(point))),
            Err(source) => Read::Unreadable(format(&key, source)),
        });
    }
    let key = store.layout.backup_key(name);
    match store.read(&key).await? {
        None => Ok(Read::Leftover),
        // A name of ours whose manifest is missing: the run died between Velero's marker and the manifest.
        Some(_) if name::parse(name).is_some() => Ok(Read::Leftover),
        Some(bytes) => Ok(match velero::backup::decode(&bytes) {
            Ok(backup) => Read::Entry(Box::new(Entry::Foreign(backup.into()))),
            Err(source) => Read::Unreadable(format(&key, source)),
        }),
    }
}

#[cfg(test)]
#[path = "catalog_test.rs"]
mod tests;
