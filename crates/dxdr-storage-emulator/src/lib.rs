//! Google Cloud Storage in memory, as one HTTP server on loopback.
//!
//! It speaks the JSON API as far as programs need it that keep backups: inserting (multipart, media, resumable sessions with status
//! queries), reading whole objects and ranges, metadata, paged listings with prefix and delimiter, deleting, patching, composing,
//! and buckets. What protects objects is enforced, not only stored: the four conditions on generations, temporary and event-based
//! holds, retention policies and their locks, and what an identity may do.
//!
//! ```text
//! connection ─► fault ─► identity ─► server (upload, download, object, bucket) ─► store ─► condition, protection
//! ```
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use dxdr_storage_emulator::{Bucket, Emulator, Options};
//! let emulator = Emulator::start(Options::default()).await?;
//! emulator.create_bucket("exports", Bucket::default());
//! println!("STORAGE_EMULATOR_HOST={}", emulator.endpoint());
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: object versioning and soft delete, rewriting and copying, batches, access lists, notifications, gRPC; it
//! answers such requests with 501 rather than doing something else. `fields` is ignored: answers are whole.
//!
//! Architecture invariant: this crate knows nothing of dxdr and touches no disk; every byte that is kept is kept in memory.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bucket;
mod condition;
mod content;
mod failure;
mod fault;
mod identity;
mod listing;
mod multipart;
mod object;
mod protection;
mod query;
mod server;
mod session;
mod store;

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

pub use bucket::{Bucket, RetentionPolicy};
pub use fault::{Failing, Fault, Faults};
pub use identity::{Access, Identity};

use store::Store;

/// Where the server reads the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an emulator is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// What session URLs begin with. `None`: the address it listens on.
    pub base: Option<String>,
    /// The time of objects, generations and retention; the system's by default.
    pub clock: Clock,
    /// Who may do what. Empty: everybody may do everything, with and without credentials.
    pub identities: Vec<Identity>,
    /// The token that its metadata server (`GCE_METADATA_HOST`) hands out, if there is to be one.
    pub metadata_token: Option<String>,
    /// Whether objects that were not composed have MD5 digests, which cost much more time than CRC32C.
    pub md5: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            base: None,
            clock: Arc::new(Timestamp::now),
            identities: Vec::new(),
            metadata_token: None,
            md5: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Options").field("address", &self.address).field("base", &self.base).finish_non_exhaustive()
    }
}

/// A request as the server saw it, without its body and without credentials.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers but for `authorization`.
    pub headers: http::HeaderMap,
}

impl Asked {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Most requests that are remembered.
const REMEMBERED: usize = 10_000;

/// What every request sees.
struct Shared {
    store: Mutex<Store>,
    faults: Faults,
    asked: Mutex<VecDeque<Asked>>,
    options: Options,
    base: String,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    fn remember(&self, asked: Asked) {
        let mut all = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(asked);
    }
}

/// A running server. It stops when it is dropped, connections under way included.
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Emulator {
    /// Listens, and answers from then on. Has no buckets.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let base = options.base.clone().unwrap_or_else(|| format!("http://{address}"));
        let shared = Arc::new(Shared {
            store: Mutex::new(Store::new(options.md5)),
            faults: Faults::default(),
            asked: Mutex::default(),
            base: base.trim_end_matches('/').to_owned(),
            options,
        });
        let task = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { shared, address, task })
    }

    /// `http://127.0.0.1:PORT`, as `STORAGE_EMULATOR_HOST` wants it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a bucket, or gives the one that is there these settings. Its objects stay.
    pub fn create_bucket(&self, name: &str, bucket: Bucket) {
        let now = self.shared.now();
        self.shared.store().configure_bucket(name, bucket, now);
    }

    /// What goes wrong on this server.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The last requests, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn forget_asked(&self) {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Names of the objects of a bucket, in order; none when there is no such bucket.
    pub fn object_names(&self, bucket: &str) -> Vec<String> {
        self.shared.store().names(bucket)
    }

    /// Upload sessions that were begun and neither finished nor cancelled.
    pub fn open_sessions(&self) -> usize {
        self.shared.store().sessions.open()
    }

    /// Makes every session that is open answer 410, as after a week.
    pub fn expire_sessions(&self) {
        self.shared.store().sessions.expire();
    }

    /// Changes a stored byte behind everybody's back: checksums stay as they were. False when there is no such byte.
    pub fn damage(&self, bucket: &str, object: &str, position: u64) -> bool {
        self.shared.store().damage(bucket, object, position)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Emulator").field("address", &self.address).finish_non_exhaustive()
    }
}
