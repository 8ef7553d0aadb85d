//! A directory as an object store: a key is a path below the root.
//!
//! An object is written under a name of its own in `.dxdr-incoming/`, flushed to the disk, and then given its key by a rename (or
//! by a hard link, which fails when the name is taken: that is the conditional create). A process killed at any moment leaves at
//! most a file in `.dxdr-incoming/`, which is never listed and is swept away a day later.
//!
//! Two limits that buckets do not have: a name cannot be an object and a directory at once (`a` and `a/b`; the second put is
//! refused as [`StorageErrorKind::Invalid`]), and conditional writes need a file system with hard links.
//!
//! There are no checksums beside the objects: a file next to every file is one more thing that can be missing, and other tools
//! would list it as an object. What is read is checked against the size that it had when it was opened; that the bytes are those
//! once written is proved by the SHA-256 that a recovery point's manifest holds of each of its objects.

mod level;
mod listing;
mod write;

use std::{
    fs, io,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dxdr_provider::object_storage::{
    ByteStream, ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError,
    StorageErrorKind,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use crate::{
    failure::{Call, into_stream_error},
    key::RESERVED_SEGMENT,
    range,
};

/// Bytes read from a file at once: large enough that the way to the blocking thread and back does not count.
const READ_SIZE: usize = 256 * 1024;

/// How old a file in `.dxdr-incoming/` is when nobody can be writing it any more.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory that behaves like a bucket.
#[derive(Debug, Clone)]
pub struct DirectoryStorage {
    root: Arc<Path>,
}

impl DirectoryStorage {
    /// The store in a directory. Touches nothing; calls on a directory that is not there fail as
    /// [`StorageErrorKind::NoSuchStore`].
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into().into() }
    }

    /// Like [`new`](Self::new), and makes the directory (for its owner only) when it is not there.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let storage = Self::new(root);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(write::DIRECTORY_MODE)
            .create(&storage.root)
            .map_err(|error| storage.call("write", "").fails_by_io(error))?;
        Ok(storage)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn call(&self, action: &'static str, key: &str) -> Call {
        Call { action, key: key.to_owned(), store: self.describe() }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// What an error of the file system means for a call: a root that is gone is more than a key that is gone.
    fn failed(&self, call: &Call, error: io::Error) -> StorageError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if !self.root.is_dir() => {
                call.fails_by(StorageErrorKind::NoSuchStore, error)
            }
            // A part of the path is an object, or the whole path is a directory: no object has this key.
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory if call.action == "read" => {
                call.fails(StorageErrorKind::NotFound)
            }
            _ => call.fails_by_io(error),
        }
    }

    fn open(&self, call: &Call) -> Result<(fs::File, fs::Metadata), StorageError> {
        let failed = |error| self.failed(call, error);
        let file = fs::File::open(self.path(&call.key)).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(call.fails(StorageErrorKind::NotFound)) }
    }

    /// Removes an object, and the directories above it that are empty then.
    fn remove(&self, call: &Call) -> Result<(), StorageError> {
        let path = self.path(&call.key);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if !self.root.is_dir() => {
                return Err(call.fails_by(StorageErrorKind::NoSuchStore, error));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || path.is_dir() => {
                return Ok(());
            }
            Err(error) => return Err(call.fails_by_io(error)),
        }
        let mut last_standing = path.parent();
        while let Some(directory) = last_standing
            && directory != &*self.root
            && fs::remove_dir(directory).is_ok()
        {
            last_standing = directory.parent();
        }
        if let Some(directory) = last_standing {
            match write::flush_directory(directory) {
                // Somebody else pruned further up: that is flushed by them.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(call.fails_by_io(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStorage for DirectoryStorage {
    fn describe(&self) -> String {
        format!("directory {}", self.root.display())
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let call = self.call("write", key);
        call.valid_key()?;
        self.write(call, body, condition).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        let storage = self.clone();
        blocking(call.clone(), move || {
            let (file, metadata) = storage.open(&call)?;
            let stat = stat_of(&call.key, &metadata);
            let wanted = range::within(range, stat.size).map_err(|problem| call.fails_by(StorageErrorKind::Invalid, problem))?;
            Ok(ObjectReader { stat, stream: read(call, file, metadata, wanted) })
        })
        .await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let call = self.call("list", &request.prefix);
        let storage = self.clone();
        let request = request.clone();
        blocking(call.clone(), move || listing::page(&storage.root, &request).map_err(|error| storage.failed(&call, error))).await
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        let storage = self.clone();
        blocking(call.clone(), move || match fs::metadata(storage.path(&call.key)) {
            Ok(metadata) if metadata.is_file() => Ok(stat_of(&call.key, &metadata)),
            Ok(_) => Err(call.fails(StorageErrorKind::NotFound)),
            Err(error) => Err(storage.failed(&call, error)),
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let call = self.call("delete", key);
        call.valid_key()?;
        let storage = self.clone();
        blocking(call.clone(), move || storage.remove(&call)).await
    }
}

fn stat_of(key: &str, metadata: &fs::Metadata) -> ObjectStat {
    let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    ObjectStat { key: key.to_owned(), size: metadata.len(), modified, tag: None }
}

/// Reads `wanted` of a file. The name may meanwhile stand for another object: what was opened is what is read.
fn read(call: Call, file: fs::File, opened: fs::Metadata, wanted: Range<u64>) -> ByteStream {
    let file = Arc::new(file);
    let failed = |call: &Call, error: io::Error| into_stream_error(call.fails_by_io(error));
    stream::try_unfold(wanted.start, move |position| {
        let (call, file, opened, end) = (call.clone(), Arc::clone(&file), opened.clone(), wanted.end);
        async move {
            if position == end {
                return Ok(None);
            }
            let task_call = call.clone();
            let bytes = spawn_blocking(move || {
                let bytes = read_at(&file, position, end).map_err(|error| failed(&task_call, error))?;
                let is_last = position + bytes.len() as u64 == end;
                if bytes.is_empty() || (is_last && changed(&file, &opened)) {
                    return Err(into_stream_error(
                        task_call
                            .fails_by(StorageErrorKind::Corrupt, ChangedWhileRead { position: position + bytes.len() as u64 }),
                    ));
                }
                Ok(bytes)
            })
            .await
            .map_err(|error| failed(&call, io::Error::other(error)))??;
            let position = position + bytes.len() as u64;
            Ok(Some((bytes, position)))
        }
    })
    .boxed()
}

/// The file is no longer as it was when it was opened.
#[derive(Debug, thiserror::Error)]
#[error("the file was cut or changed while it was read (at byte {position})")]
struct ChangedWhileRead {
    position: u64,
}

fn changed(file: &fs::File, opened: &fs::Metadata) -> bool {
    file.metadata().is_ok_and(|now| now.len() != opened.len() || now.modified().ok() != opened.modified().ok())
}

/// The bytes from `position` on, as many as are read at once; none at the end of the file.
fn read_at(file: &fs::File, position: u64, end: u64) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let length = (end - position).min(READ_SIZE as u64) as usize;
    let mut buffer = BytesMut::zeroed(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut buffer[filled..], position + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.freeze())
}

/// Runs what waits for the disk where waiting hurts nobody.
async fn blocking<T: Send + 'static>(
    call: Call,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(call.fails_by(StorageErrorKind::Other, error)))
}

/// Removes what writers left that did not live to finish. Best effort: what cannot be removed hurts nobody.
fn sweep(incoming: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(incoming) else {
        return;
    };
    for entry in entries.flatten() {
        let abandoned = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > ABANDONED_AFTER));
        if abandoned && fs::remove_file(entry.path()).is_ok() {
            tracing::info!(file = %entry.path().display(), "removed an object that was never finished");
        }
    }
}

/// Where objects are while they are written.
fn incoming(root: &Path) -> PathBuf {
    root.join(RESERVED_SEGMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_objects_are_swept_away_after_a_day() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("old"), "x").unwrap();
        sweep(root.path(), SystemTime::now());
        assert!(root.path().join("old").exists());
        sweep(root.path(), SystemTime::now() + ABANDONED_AFTER + Duration::from_secs(60));
        assert!(!root.path().join("old").exists());
    }
}
