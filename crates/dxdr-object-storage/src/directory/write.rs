//! Writing an object so that it is there whole or not at all.

use std::{
    collections::hash_map::RandomState,
    fs,
    hash::{BuildHasher, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use dxdr_provider::object_storage::{ObjectBody, ObjectStat, PutCondition, StorageError, StorageErrorKind};
use futures::TryStreamExt;

use super::{DirectoryStorage, blocking, incoming, stat_of, sweep};
use crate::failure::Call;

/// Archives may hold Secrets: what we make is for its owner.
pub(super) const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// How often the directory of a key is made again because somebody prunes it at the same time.
const PRUNING_RACES: usize = 64;

impl DirectoryStorage {
    pub(super) async fn write(&self, call: Call, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let (storage, task_call) = (self.clone(), call.clone());
        let unfinished = Arc::new(
            blocking(call.clone(), move || {
                // Early, so that a large stream is not read in vain; what decides is the link at the end.
                if condition == PutCondition::IfAbsent && storage.path(&task_call.key).is_file() {
                    return Err(task_call.fails(StorageErrorKind::AlreadyExists));
                }
                Unfinished::create(&storage.root).map_err(|error| storage.failed(&task_call, error))
            })
            .await?,
        );
        match body {
            ObjectBody::Bytes(bytes) => append(&call, &unfinished, bytes).await?,
            ObjectBody::Stream(mut stream) => {
                while let Some(bytes) = stream.try_next().await.map_err(|error| call.fails_by_body(error))? {
                    append(&call, &unfinished, bytes).await?;
                }
            }
        }
        let storage = self.clone();
        blocking(call.clone(), move || {
            unfinished.file.sync_all().map_err(|error| call.fails_by_io(error))?;
            let metadata = unfinished.file.metadata().map_err(|error| call.fails_by_io(error))?;
            storage.publish(&call, &unfinished.path, condition)?;
            Ok(stat_of(&call.key, &metadata))
        })
        .await
    }

    /// Gives a finished file its key.
    fn publish(&self, call: &Call, finished: &Path, condition: PutCondition) -> Result<(), StorageError> {
        let target = self.path(&call.key);
        for _ in 0..PRUNING_RACES {
            let made_below = match self.make_parents(&target) {
                Ok(there) => there,
                // What was there a moment ago has been pruned, or the reverse: looked at again, it is settled.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
                        && self.root.is_dir()
                        && self.object_above(&target).is_none() =>
                {
                    continue;
                }
                Err(error) => return Err(self.not_a_place(call, &target, error)),
            };
            let moved = match condition {
                PutCondition::Always => fs::rename(finished, &target),
                PutCondition::IfAbsent => fs::hard_link(finished, &target),
            };
            match moved {
                Ok(()) => {
                    return flush_path(&target, &made_below).map_err(|error| call.fails_by_io(error));
                }
                // An empty directory that a killed process left stands for nothing.
                Err(_) if target.is_dir() && fs::remove_dir(&target).is_ok() => {}
                Err(error) if target.is_dir() => return Err(self.not_a_place(call, &target, error)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && finished.exists() => {}
                Err(error)
                    if condition == PutCondition::IfAbsent
                        && matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
                        && self.lacks_links(finished) =>
                {
                    return Err(call.fails_by(StorageErrorKind::Invalid, NoHardLinks(error)));
                }
                Err(error) => return Err(self.not_a_place(call, &target, error)),
            }
        }
        Err(call.fails_by(
            StorageErrorKind::Unavailable,
            io::Error::other("its directory is removed again and again by somebody else"),
        ))
    }

    /// Makes the directories of a path, and says which directory was the first that was there.
    fn make_parents(&self, target: &Path) -> io::Result<PathBuf> {
        let parent = target.parent().unwrap_or(&self.root);
        let mut there = parent;
        while there != &*self.root && !there.exists() {
            there = there.parent().unwrap_or(&self.root);
        }
        if there != parent {
            fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
        }
        Ok(there.to_owned())
    }

    /// The error of a key that cannot have a file: it, or a part of it, is the other thing already.
    fn not_a_place(&self, call: &Call, target: &Path, error: io::Error) -> StorageError {
        if target.is_dir() {
            return call.fails_by(StorageErrorKind::Invalid, Clash::IsDirectory);
        }
        match self.object_above(target) {
            Some(above) => call.fails_by(
                StorageErrorKind::Invalid,
                Clash::BelowObject(above.strip_prefix(&self.root).unwrap_or(above).display().to_string()),
            ),
            None => self.failed(call, error),
        }
    }

    fn object_above<'path>(&self, target: &'path Path) -> Option<&'path Path> {
        target.ancestors().skip(1).take_while(|above| *above != &*self.root).find(|above| above.is_file())
    }

    fn lacks_links(&self, finished: &Path) -> bool {
        let probe = finished.with_extension("link");
        let linked = fs::hard_link(finished, &probe);
        let _ = fs::remove_file(&probe);
        linked.is_err()
    }
}

/// A directory store cannot hold `a` and `a/b`.
#[derive(Debug, thiserror::Error)]
enum Clash {
    #[error("there are objects below this key, and a directory store cannot hold both")]
    IsDirectory,
    #[error("`{0}` is an object, and a directory store cannot hold objects below it")]
    BelowObject(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the file system has no hard links, which writing only what is absent needs")]
struct NoHardLinks(#[source] io::Error);

/// A file in the reserved folder; gone when it is dropped, unless it has been renamed.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    file: fs::File,
}

impl Unfinished {
    fn create(root: &Path) -> io::Result<Self> {
        let folder = incoming(root);
        match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => sweep(&folder, SystemTime::now()),
            Err(error) => return Err(error),
        }
        // Seeded by the system, fresh for every call.
        let name = format!("{}-{:016x}", std::process::id(), RandomState::new().build_hasher().finish());
        let path = folder.join(name);
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn append(call: &Call, unfinished: &Arc<Unfinished>, bytes: Bytes) -> Result<(), StorageError> {
    let (call, unfinished) = (call.clone(), Arc::clone(unfinished));
    blocking(call.clone(), move || (&unfinished.file).write_all(&bytes).map_err(|error| call.fails_by_io(error))).await
}

/// Makes a new name last: its directory, and the directories made for it, up to the one that was there before.
fn flush_path(target: &Path, there_before: &Path) -> io::Result<()> {
    for directory in target.ancestors().skip(1) {
        flush_directory(directory)?;
        if directory == there_before {
            break;
        }
    }
    Ok(())
}

/// Makes the names in a directory last.
pub(super) fn flush_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}
