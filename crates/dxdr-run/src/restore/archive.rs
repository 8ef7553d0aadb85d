//! Reading archives: streamed from the store, never unpacked, checked against the manifest on the way.

use dxdr_catalog::Sha256;
use dxdr_format::{
    hashing::Hashing,
    velero::archive::{ArchiveReader, ItemPath, Limits},
};
use dxdr_provider::StorageErrorKind;
use tokio::sync::mpsc;

use crate::{error::RunError, store::Store, stream};

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

impl ArchiveSource {
    /// Hands every item to `visit`, on a blocking thread, in the archive's order; item numbers count from 0. The visitor ends the
    /// reading early with `Ok(false)`. Read to its end, the archive is checked against its SHA-256.
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
        let (result, digest) = tokio::task::spawn_blocking(move || {
            let mut archive = ArchiveReader::new(reader, Limits::default());
            let mut number = 0;
            let result = loop {
                match archive.next_item() {
                    Ok(Some(item)) => match visit(&mut state, number, item.path, item.json) {
                        Ok(true) => number += 1,
                        Ok(false) => return (Ok(state), None),
                        Err(error) => break Err(error),
                    },
                    Ok(None) => break Ok(state),
                    Err(error) => break Err(RunError::from(error)),
                }
            };
            let digest = archive.into_inner().digest();
            (result, Some(digest))
        })
        .await
        .map_err(|panic| RunError::Unexpected(panic.to_string()))?;
        let state = result?;
        match (expected, digest) {
            (Some(expected), Some(found)) if expected != found => Err(RunError::Checksum {
                key: self.key.clone(),
                store: self.store.storage.describe(),
                expected: expected.to_string(),
                found: found.to_string(),
            }),
            _ => Ok(state),
        }
    }

    /// Sends the items whose numbers are in `wanted` (ascending), and stops behind the last of them.
    pub async fn pick(&self, wanted: Vec<u32>, sender: mpsc::Sender<(u32, Vec<u8>)>) -> Result<(), RunError> {
        let mut next = 0;
        self.visit((), move |(), number, _, json| {
            if wanted.get(next) == Some(&number) {
                next += 1;
                if sender.blocking_send((number, json.to_vec())).is_err() {
                    return Ok(false);
                }
            }
            Ok(next < wanted.len())
        })
        .await
    }
}
