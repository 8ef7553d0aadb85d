//! Reading archives: streamed from the store, never unpacked, checked against the manifest on the way.

use std::{
    hash::{BuildHasher, RandomState},
    io::Read,
    sync::Arc,
};

use dxdr_catalog::Sha256;
use dxdr_format::{
    hashing::Hashing,
    velero::archive::{ArchiveError, ArchiveReader, ItemPath, Limits},
};
use dxdr_provider::StorageErrorKind;
use tokio::sync::mpsc;

use crate::{error::RunError, store::Store, stream};

/// Between the thread that decompresses and the one that looks at the items.
const BATCHES_IN_FLIGHT: usize = 2;
/// Size at which a batch is handed on; one object may be larger.
const BATCH: usize = 256 * 1024;

/// An archive in a store.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    /// Where it lies.
    pub store: Store,
    /// Its key.
    pub key: String,
    /// What the manifest says of its bytes; `None` for a backup without a manifest of ours.
    pub sha256: Option<Sha256>,
}

/// What the items of an archive were when a plan was made from them, so that what is written is what was planned. Eight bytes an
/// item, by a hash whose key nobody outside of this process knows.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints {
    key: RandomState,
    items: Vec<u64>,
}

impl Fingerprints {
    /// Takes the next item's.
    pub fn take(&mut self, path: &ItemPath, json: &[u8]) {
        self.items.push(self.of(path, json));
    }

    fn matches(&self, number: u32, path: &ItemPath, json: &[u8]) -> bool {
        let taken = usize::try_from(number).ok().and_then(|number| self.items.get(number));
        taken == Some(&self.of(path, json))
    }

    fn of(&self, path: &ItemPath, json: &[u8]) -> u64 {
        self.key.hash_one((&path.group_resource, &path.namespace, &path.name, json))
    }
}

impl ArchiveSource {
    /// Hands every item to `visit`, on a blocking thread, in the archive's order; item numbers count from 0. The visitor ends the
    /// reading early with `Ok(false)`. Read to its end, the archive is checked against its SHA-256. Another thread decompresses what
    /// comes next meanwhile.
    pub async fn visit<T, F>(&self, mut state: T, mut visit: F) -> Result<T, RunError>
    where
        T: Send + 'static,
        F: FnMut(&mut T, u32, &ItemPath, &[u8]) -> Result<bool, RunError> + Send + 'static,
    {
        let opened = self.store.storage.get(&self.key, None).await.map_err(|error| match error.kind {
            StorageErrorKind::NotFound => RunError::Missing { key: self.key.clone(), store: error.store },
            _ => error.into(),
        })?;
        let reader = Hashing::new(stream::reader(opened.stream));
        let expected = self.sha256;
        let (sender, mut receiver) = mpsc::channel::<Batch>(BATCHES_IN_FLIGHT);
        let reading = tokio::task::spawn_blocking(move || read(reader, &sender));
        let looking = tokio::task::spawn_blocking(move || {
            let mut number = 0;
            while let Some(batch) = receiver.blocking_recv() {
                for (path, json) in batch.items() {
                    match visit(&mut state, number, path, json) {
                        Ok(true) => number += 1,
                        Ok(false) => return Ok(state),
                        Err(error) => {
                            // Of an item that makes no sense, an archive that is not what was written is the better reason, and
                            // only its end tells.
                            while matches!(error, RunError::Plan(_)) && receiver.blocking_recv().is_some() {}
                            return Err(error);
                        }
                    }
                }
            }
            Ok::<T, RunError>(state)
        });
        let (read, looked) = tokio::join!(reading, looking);
        let panicked = |panic: tokio::task::JoinError| RunError::Unexpected(panic.to_string());
        let looked = match looked.map_err(panicked)? {
            Err(error) if !matches!(error, RunError::Plan(_)) => return Err(error),
            looked => looked,
        };
        let digest = read.map_err(panicked)?.map_err(|source| RunError::Unrestorable {
            key: self.key.clone(),
            store: self.store.storage.describe(),
            source,
        })?;
        match (expected, digest) {
            (Some(expected), Some(found)) if expected != found => Err(RunError::Checksum {
                key: self.key.clone(),
                store: self.store.storage.describe(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => looked,
        }
    }

    /// Sends the items whose numbers are in `wanted` (ascending), and stops behind the last of them. Each is held against what it was
    /// when the plan was made, before anything is done with it.
    ///
    /// # Errors
    /// [`RunError::ArchiveChanged`] at the first one that is another one now.
    pub async fn pick(
        &self,
        wanted: Vec<u32>,
        planned: Arc<Fingerprints>,
        sender: mpsc::Sender<(u32, Vec<u8>)>,
    ) -> Result<(), RunError> {
        let mut next = 0;
        let (key, store) = (self.key.clone(), self.store.storage.describe());
        self.visit((), move |(), number, item, json| {
            if wanted.get(next) == Some(&number) {
                next += 1;
                if !planned.matches(number, item, json) {
                    let item = format!("item {number}, {} `{}`,", item.group_resource, item.name);
                    return Err(RunError::ArchiveChanged { key: key.clone(), store: store.clone(), item });
                }
                if sender.blocking_send((number, json.to_vec())).is_err() {
                    return Ok(false);
                }
            }
            Ok(next < wanted.len())
        })
        .await
    }
}

/// Some items, in a row.
#[derive(Default)]
struct Batch {
    /// Where each lies in the archive, and where its bytes end in `json`.
    items: Vec<(ItemPath, usize)>,
    json: Vec<u8>,
}

impl Batch {
    fn push(&mut self, path: &ItemPath, json: &[u8]) {
        self.json.extend_from_slice(json);
        self.items.push((path.clone(), self.json.len()));
    }

    fn items(&self) -> impl Iterator<Item = (&ItemPath, &[u8])> {
        let mut start = 0;
        self.items.iter().map(move |(path, end)| (path, &self.json[std::mem::replace(&mut start, *end)..*end]))
    }
}

/// Sends what an archive holds; its SHA-256 when it was read to its end, `None` when nobody wants more of it.
fn read(reader: Hashing<impl Read>, sender: &mpsc::Sender<Batch>) -> Result<Option<Sha256>, ArchiveError> {
    let mut archive = ArchiveReader::new(reader, Limits::default());
    let mut batch = Batch::default();
    while let Some(item) = archive.next_item()? {
        batch.push(item.path, item.json);
        if batch.json.len() >= BATCH && sender.blocking_send(std::mem::take(&mut batch)).is_err() {
            return Ok(None);
        }
    }
    if sender.blocking_send(batch).is_err() {
        return Ok(None);
    }
    Ok(Some(archive.into_inner().digest()))
}
