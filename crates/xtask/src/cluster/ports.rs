//! Ports on loopback for servers that cannot choose their own.
//!
//! A port that is free when probed may be taken before the server binds it. Runs of this program therefore take
//! whole blocks, each under a file lock that is held until the servers listen; and the blocks lie below the range
//! from which Linux gives out ports for outgoing connections (32768 and up).

use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

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
    _lock: File,
}

impl Block {
    /// The block of a folder, remembered in its file `ports`: started again, its servers keep their addresses where
    /// these are free.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(REMEMBERED);
        let block = Self::take(remembered(folder))?;
        std::fs::write(&path, format!("{}\n", block.first())).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(block)
    }

    fn take(remembered: Option<u16>) -> Result<Self> {
        let folder = checkout::tool_cache()?.join("ports");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let remembered = remembered.filter(|first| *first >= FIRST && *first < LAST && first.is_multiple_of(10));
        for first in remembered.into_iter().chain((FIRST..LAST).step_by(10)) {
            let path = folder.join(first.to_string());
            let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            if (first..first + BLOCK).all(is_free) {
                return Ok(Self { first, _lock: lock });
            }
        }
        bail!("no {BLOCK} free ports in a row on 127.0.0.1 between {FIRST} and {LAST}")
    }

    pub(crate) fn first(&self) -> u16 {
        self.first
    }

    /// The port at a place in the block, below [`BLOCK`].
    pub(crate) fn port(&self, place: u16) -> u16 {
        debug_assert!(place < BLOCK, "a block has {BLOCK} ports");
        self.first + place
    }
}

/// The first port of the block that a folder had, if it had one.
pub(crate) fn remembered(folder: &Path) -> Option<u16> {
    std::fs::read_to_string(folder.join(REMEMBERED)).ok()?.trim().parse().ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
