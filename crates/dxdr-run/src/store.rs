//! A store with its layout: where points, runs and the index lie, and the few ways in which runs use them.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use bytes::{Bytes, BytesMut};
use dxdr_catalog::Sha256;
use dxdr_format::{hashing::Hashing, layout::StoreLayout};
use dxdr_provider::{
    ObjectStorage, StorageError, StorageErrorKind,
    object_storage::{ListRequest, ObjectBody, ObjectStat, PutCondition},
};
use futures::StreamExt;

use crate::{error::RunError, stop::StopRequest};

/// No side object is larger than this; archives are never read whole.
const LARGEST_SMALL_OBJECT: usize = 64 * 1024 * 1024;

/// A store and its layout.
#[derive(Debug, Clone)]
pub struct Store {
    /// The name of its manifest.
    pub name: String,
    /// Where the objects lie.
    pub storage: Arc<dyn ObjectStorage>,
    /// Under which keys.
    pub layout: StoreLayout,
}

impl Store {
    /// Reads a small object whole; `None` when it is not there.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(self.read_to_replace(key).await?.map(|(_, bytes)| bytes))
    }

    /// The same, for who may [replace](ObjectStorage::replace) it.
    pub(crate) async fn read_to_replace(&self, key: &str) -> Result<Option<(ObjectStat, Bytes)>, StorageError> {
        let mut reader = match self.storage.get(key, None).await {
            Ok(reader) => reader,
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = BytesMut::new();
        while let Some(chunk) = reader.stream.next().await {
            let chunk = chunk.map_err(|error| self.error(StorageErrorKind::Corrupt, "read", key, error))?;
            if bytes.len() + chunk.len() > LARGEST_SMALL_OBJECT {
                let error = std::io::Error::other("it is larger than 64 MiB");
                return Err(self.error(StorageErrorKind::Invalid, "read", key, error));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some((reader.stat, bytes.freeze())))
    }

    /// Reads an object of any size whole, and says what it is; `None` when it is not there. `read` hears how many bytes have been read.
    ///
    /// # Errors
    /// When the store fails, or somebody asks to stop.
    pub(crate) async fn digest(
        &self,
        key: &str,
        stop: &StopRequest,
        mut read: impl FnMut(u64),
    ) -> Result<Option<Digested>, RunError> {
        let mut reader = match self.storage.get(key, None).await {
            Ok(reader) => reader,
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut hashing = Hashing::new(std::io::sink());
        loop {
            let chunk = tokio::select! {
                chunk = reader.stream.next() => chunk,
                () = stop.wait() => return Err(RunError::Interrupted),
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(|error| self.error(StorageErrorKind::Corrupt, "read", key, error))?;
            // Nothing that is written into a sink fails.
            hashing.write_all(&chunk).map_err(|error| RunError::Unexpected(error.to_string()))?;
            read(hashing.count());
        }
        let size = hashing.count();
        Ok(Some(Digested { stat: reader.stat, size, sha256: hashing.digest() }))
    }

    /// Writes a small object.
    pub async fn write(&self, key: &str, bytes: impl Into<Bytes>, condition: PutCondition) -> Result<(), StorageError> {
        self.storage.put(key, ObjectBody::Bytes(bytes.into()), condition).await.map(|_| ())
    }

    /// Every key below `prefix`.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        Ok(self.sizes(prefix).await?.into_keys().collect())
    }

    /// The sizes of all objects below `prefix`, by their keys.
    pub async fn sizes(&self, prefix: &str) -> Result<BTreeMap<String, u64>, StorageError> {
        let mut request = ListRequest { prefix: prefix.to_owned(), ..ListRequest::default() };
        let mut sizes = BTreeMap::new();
        loop {
            let page = self.storage.list(&request).await?;
            sizes.extend(page.objects.into_iter().map(|object| (object.key, object.size)));
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => return Ok(sizes),
            }
        }
    }

    /// The names of the folders directly below `prefix`, which ends in `/`.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut request = ListRequest { prefix: prefix.to_owned(), directories: true, ..ListRequest::default() };
        let mut folders = Vec::new();
        loop {
            let page = self.storage.list(&request).await?;
            folders.extend(page.directories.iter().filter_map(|folder| folder_name(prefix, folder)));
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => return Ok(folders),
            }
        }
    }

    /// An error of this store.
    pub(crate) fn error(
        &self,
        kind: StorageErrorKind,
        action: &'static str,
        key: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> StorageError {
        StorageError { kind, action, key: key.to_owned(), store: self.storage.describe(), source: Some(Box::new(source)) }
    }
}

/// An object that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digested {
    /// As the store has it.
    pub(crate) stat: ObjectStat,
    /// Bytes that were read.
    pub(crate) size: u64,
    /// Of them.
    pub(crate) sha256: Sha256,
}

/// `backups/` and `backups/one/` make `one`.
pub(crate) fn folder_name(prefix: &str, folder: &str) -> Option<String> {
    folder.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('/')).map(str::to_owned)
}
