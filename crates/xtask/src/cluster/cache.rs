//! Where built and installed programs are kept between runs.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{checkout, interruption};

const PAUSE: Duration = Duration::from_millis(100);

/// Held while something may be added: builds take all of a machine, and go one after the other.
pub(crate) struct Cache {
    folder: PathBuf,
    _lock: File,
}

impl Cache {
    /// Waits for another run that has it, and says so.
    pub(crate) fn locked() -> Result<Self> {
        Self::locked_at(checkout::tool_cache()?, |lock| {
            eprintln!("waiting for another run that builds servers, which has {} locked", lock.display());
        })
    }

    fn locked_at(folder: PathBuf, waits: impl FnOnce(&Path)) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("build.lock");
        let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut waits = Some(waits);
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { folder, _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
            }
            interruption::check()?;
            if let Some(waits) = waits.take() {
                waits(&path);
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_says_so_and_gets_it_once_it_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = Some(Cache::locked_at(folder.path().to_owned(), |_| panic!("nobody has it")).unwrap());
        let mut said = false;
        Cache::locked_at(folder.path().to_owned(), |lock| {
            assert!(lock.starts_with(folder.path()));
            said = true;
            first.take();
        })
        .unwrap();
        assert!(said);
    }
}
