//! A store for objects: a bucket, or a directory that behaves like one.
//!
//! Keys are `/`-separated text below the store's root, without a leading slash; they are listed in the order of their bytes.
//! Everything streams: neither side of a put or a get ever holds an object whole.

use std::{fmt, fmt::Debug, ops::Range, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;

/// Bytes on their way in or out.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, std::io::Error>> + Send>>;

/// What to do when the key is taken already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutCondition {
    /// Write, replacing what is there.
    Always,
    /// Write only if nothing is there; [`StorageErrorKind::AlreadyExists`] otherwise. Atomic: of two writers, one wins.
    IfAbsent,
}

/// What is to be written.
pub enum ObjectBody {
    /// Bytes that are there already.
    Bytes(Bytes),
    /// Bytes that are still being made; their number need not be known. An error of the stream aborts the put and leaves nothing.
    Stream(ByteStream),
}

impl Debug for ObjectBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(formatter, "ObjectBody::Bytes({} bytes)", bytes.len()),
            Self::Stream(_) => formatter.write_str("ObjectBody::Stream"),
        }
    }
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStat {
    /// Its key below the store's root.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub modified: Option<Timestamp>,
    /// The store's own tag of this content (ETag), if it has one.
    pub tag: Option<String>,
}

impl ObjectStat {
    /// Whether it is of the same content as an earlier one of its key: by the store's tags, or, where there are none, by size and time.
    pub fn is_still(&self, earlier: &Self) -> bool {
        match (&self.tag, &earlier.tag) {
            (Some(now), Some(then)) => now == then,
            _ => (self.size, self.modified) == (earlier.size, earlier.modified),
        }
    }
}

/// An object being read.
pub struct ObjectReader {
    /// What is being read; `size` is that of the whole object, also when a range was asked for.
    pub stat: ObjectStat,
    /// Its bytes. Cut short or changed on the way, the stream ends in an error, never silently.
    pub stream: ByteStream,
}

impl Debug for ObjectReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ObjectReader").field("stat", &self.stat).finish_non_exhaustive()
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that start with it.
    pub prefix: String,
    /// Only keys (and common prefixes) that sort after it.
    pub start_after: Option<String>,
    /// Roll keys up to the next `/` behind the prefix into common prefixes, as directories do.
    pub directories: bool,
    /// At most this many keys and prefixes together on the page; 1,000 when `None` (and at most).
    pub limit: Option<usize>,
    /// From the page before.
    pub continuation: Option<String>,
}

/// One page of a listing, in the order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectStat>,
    /// Common prefixes, each ending in `/`; only with [`ListRequest::directories`].
    pub directories: Vec<String>,
    /// Where the next page begins; `None` on the last one.
    pub continuation: Option<String>,
}

/// A store for objects.
#[async_trait]
pub trait ObjectStorage: Debug + Send + Sync {
    /// Where it is, for people: `s3://bucket/prefix at https://…`, `directory /var/backups`. Never credentials.
    fn describe(&self) -> String;

    /// The URL by which other services of the same cloud find an object, `gs://BUCKET/OBJECT`; `None` where there is none.
    fn url(&self, key: &str) -> Option<String> {
        let _ = key;
        None
    }

    /// Writes an object whole or not at all. Large streams go in parts; a failed put leaves no object and cleans its parts up.
    /// The answer's `size` is what was written.
    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError>;

    /// Writes over a small object that is still the one that `read` is of, as [`get`](Self::get) or [`stat`](Self::stat) said it; `None`, and nothing is written, where it is
    /// another one by now, or gone. Servers that compare and write at once do. Elsewhere it is looked at right before it is written, which leaves a moment in between.
    async fn replace(&self, read: &ObjectStat, bytes: Bytes) -> Result<Option<ObjectStat>, StorageError> {
        match self.stat(&read.key).await {
            Ok(now) if now.is_still(read) => self.put(&read.key, ObjectBody::Bytes(bytes), PutCondition::Always).await.map(Some),
            Ok(_) => Ok(None),
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens an object, or the bytes of `range` of it (end exclusive, cut at the object's end).
    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError>;

    /// One page of keys. Each call is one LIST request to the store.
    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError>;

    /// What is known of an object, without reading it.
    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError>;

    /// Removes an object. Removing what is not there succeeds.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;
}

/// What went wrong with a store, and whether trying again can help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{key}` in {store}: {}", .kind.describe())]
pub struct StorageError {
    /// What kind of failure it is; callers decide by this.
    pub kind: StorageErrorKind,
    /// What was tried: `read`, `write`, `list`, `delete`.
    pub action: &'static str,
    /// The key, or the prefix that was listed.
    pub key: String,
    /// [`ObjectStorage::describe`] of the store.
    pub store: String,
    /// What the store or the system said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of failure a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// No object of that key.
    NotFound,
    /// The bucket or directory itself is not there.
    NoSuchStore,
    /// [`PutCondition::IfAbsent`], and something is there.
    AlreadyExists,
    /// The credentials are known but may not do this.
    Forbidden,
    /// The credentials are missing, wrong or expired.
    Unauthenticated,
    /// Nothing answers there.
    Unreachable,
    /// It did not answer in time, also after retries.
    TimedOut,
    /// It asked to slow down, also after retries.
    Throttled,
    /// The store failed (5xx), also after retries.
    Unavailable,
    /// What was read is not what was written: cut short, or a checksum differs.
    Corrupt,
    /// No space left.
    Full,
    /// A key or an argument the store cannot take.
    Invalid,
    /// Anything else.
    Other,
}

impl StorageErrorKind {
    /// In words, without a noun: it stands behind what was tried.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "it does not exist",
            Self::NoSuchStore => "the bucket or directory does not exist",
            Self::AlreadyExists => "it exists already",
            Self::Forbidden => "access denied",
            Self::Unauthenticated => "the credentials are missing or not accepted",
            Self::Unreachable => "nothing answers there",
            Self::TimedOut => "no answer in time",
            Self::Throttled => "the store asks to slow down",
            Self::Unavailable => "the store reports an internal failure",
            Self::Corrupt => "the bytes are not those that were written",
            Self::Full => "no space left",
            Self::Invalid => "the store does not accept the request",
            Self::Other => "an unexpected failure",
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Throttled | Self::Unavailable)
    }
}
