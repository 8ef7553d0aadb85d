//! Ports on loopback for servers that cannot choose their own.
//!
//! A port that is free when probed may be taken before the server binds it. Runs of this program therefore take
//! whole blocks, each under a file lock that is held until the servers listen; and the blocks lie below the range
//! from which Linux gives out ports for outgoing connections (32768 and up).
//!
//! Servers leave things on the machine that are named after their ports. So that nobody takes away what by now belongs to
//! whoever has the ports since, the locked file says which folder took the block last.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::checkout;

/// Ports in a block; the S3 server takes the most.
pub(crate) const BLOCK: u16 = 8;
const REMEMBERED: &str = "ports";
const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// A block of ports; others keep away from it as long as this lives.
pub(crate) struct Block {
    first: u16,
    lock: File,
}

impl Block {
    /// The block of a folder, remembered in its file `ports`: started again, its servers keep their addresses where
    /// these are free.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(REMEMBERED);
        let mut block = Self::take(remembered(folder))?;
        block.belong_to(folder)?;
        std::fs::write(&path, format!("{}\n", block.first)).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(block)
    }

    /// The block that a folder had, unless another folder took it since. Waits for one that is about to.
    pub(crate) fn left_by(folder: &Path) -> Result<Option<Self>> {
        match remembered(folder) {
            Some(first) => Self::left_by_in(&locks()?, first, folder),
            None => Ok(None),
        }
    }

    fn left_by_in(locks: &Path, first: u16, folder: &Path) -> Result<Option<Self>> {
        let (lock, path) = open(locks, first)?;
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        let mut block = Self { first, lock };
        let mut owner = Vec::new();
        block.lock.read_to_end(&mut owner).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((owner.is_empty() || owner == name(folder)).then_some(block))
    }

    fn take(remembered: Option<u16>) -> Result<Self> {
        let locks = locks()?;
        for first in remembered.into_iter().chain((FIRST..LAST).step_by(10)) {
            let (lock, path) = open(&locks, first)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if (first..first + BLOCK).all(is_free) {
                return Ok(Self { first, lock });
            }
        }
        bail!("no {BLOCK} free ports in a row on 127.0.0.1 between {FIRST} and {LAST}")
    }

    fn belong_to(&mut self, folder: &Path) -> Result<()> {
        let mut write = || {
            self.lock.set_len(0)?;
            self.lock.rewind()?;
            self.lock.write_all(&name(folder))
        };
        write().with_context(|| format!("cannot note whose the ports from {} on are", self.first))
    }

    /// The port at a place in the block, below [`BLOCK`].
    pub(crate) fn port(&self, place: u16) -> u16 {
        debug_assert!(place < BLOCK, "a block has {BLOCK} ports");
        self.first + place
    }
}

/// The first port of the block that a folder had, if it had one.
fn remembered(folder: &Path) -> Option<u16> {
    let first = std::fs::read_to_string(folder.join(REMEMBERED)).ok()?.trim().parse().ok()?;
    ((FIRST..LAST).contains(&first) && first.is_multiple_of(10)).then_some(first)
}

/// A folder by one name, whatever links lead to it.
fn name(folder: &Path) -> Vec<u8> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.as_os_str().as_bytes().to_owned()
}

/// The folder with a file for each block.
fn locks() -> Result<PathBuf> {
    let folder = checkout::tool_cache()?.join("ports");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A block's file, not yet locked.
fn open(locks: &Path, first: u16) -> Result<(File, PathBuf)> {
    let path = locks.join(first.to_string());
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    Ok((file.with_context(|| format!("cannot create {}", path.display()))?, path))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_left_by_the_folder_that_took_it_last() {
        let place = tempfile::tempdir().unwrap();
        let (locks, one, other) = (place.path(), place.path().join("one"), place.path().join("another, of a longer name"));
        let take = |folder: &Path| {
            let (lock, _) = open(locks, FIRST).unwrap();
            lock.lock().unwrap();
            Block { first: FIRST, lock }.belong_to(folder).unwrap();
        };
        let left_by = |folder: &Path| Block::left_by_in(locks, FIRST, folder).unwrap().is_some();
        assert!(left_by(&one), "nobody says that it is another's");
        take(&other);
        take(&one);
        assert!(left_by(&one) && !left_by(&other));
        take(&other);
        assert!(left_by(&other) && !left_by(&one));
    }
}
