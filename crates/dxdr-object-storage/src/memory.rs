//! A store in memory, for tests and benchmarks: every property of a real one except that it lasts.

use std::{
    collections::BTreeMap,
    ops::{Bound, Range},
    sync::{PoisonError, RwLock},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dxdr_provider::object_storage::{
    ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError, StorageErrorKind,
};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::{
    failure::Call,
    listing::{self, Item},
    range,
};

/// Objects in a sorted map. A page of a listing costs what is on it, however many keys there are.
#[derive(Debug)]
pub struct MemoryStorage {
    name: String,
    objects: RwLock<BTreeMap<String, Object>>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    modified: Timestamp,
    version: u64,
}

impl Object {
    fn stat(&self, key: &str) -> ObjectStat {
        ObjectStat {
            key: key.to_owned(),
            size: self.bytes.len() as u64,
            modified: Some(self.modified),
            tag: Some(format!("\"{:x}-{:x}\"", self.version, self.bytes.len())),
        }
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new("test")
    }
}

impl MemoryStorage {
    /// An empty store; `name` is what errors call it.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), objects: RwLock::default() }
    }

    /// Puts an object without the ceremony; for preparing a million of them.
    pub fn insert(&self, key: impl Into<String>, bytes: impl Into<Bytes>) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let key = key.into();
        let version = objects.get(&key).map_or(0, |before| before.version + 1);
        objects.insert(key, Object { bytes: bytes.into(), modified: Timestamp::now(), version });
    }

    /// The bytes of an object, to look at or to damage and [`insert`](Self::insert) again.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.object(key).map(|object| object.bytes)
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn object(&self, key: &str) -> Option<Object> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn call(&self, action: &'static str, key: &str) -> Call {
        Call { action, key: key.to_owned(), store: self.describe() }
    }
}

#[async_trait]
impl ObjectStorage for MemoryStorage {
    fn describe(&self) -> String {
        format!("memory `{}`", self.name)
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        let call = self.call("write", key);
        call.valid_key()?;
        let bytes = match body {
            ObjectBody::Bytes(bytes) => bytes,
            ObjectBody::Stream(mut stream) => {
                let mut whole = BytesMut::new();
                while let Some(chunk) = stream.try_next().await.map_err(|error| call.fails_by_body(error))? {
                    whole.extend_from_slice(&chunk);
                }
                whole.freeze()
            }
        };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let version = match objects.get(key) {
            Some(_) if condition == PutCondition::IfAbsent => {
                return Err(call.fails(StorageErrorKind::AlreadyExists));
            }
            Some(before) => before.version + 1,
            None => 0,
        };
        let object = Object { bytes, modified: Timestamp::now(), version };
        let stat = object.stat(key);
        objects.insert(key.to_owned(), object);
        Ok(stat)
    }

    async fn replace(&self, read: &ObjectStat, bytes: Bytes) -> Result<Option<ObjectStat>, StorageError> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let Some(there) = objects.get_mut(&read.key).filter(|there| there.stat(&read.key).is_still(read)) else {
            return Ok(None);
        };
        *there = Object { bytes, modified: Timestamp::now(), version: there.version + 1 };
        Ok(Some(there.stat(&read.key)))
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        let object = self.object(key).ok_or_else(|| call.fails(StorageErrorKind::NotFound))?;
        let stat = object.stat(key);
        let wanted = range::within(range, stat.size).map_err(|problem| call.fails_by(StorageErrorKind::Invalid, problem))?;
        // Both ends are at most the length of bytes in memory, which is a usize.
        let bytes = object.bytes.slice(wanted.start as usize..wanted.end as usize);
        let chunks: Vec<_> = bytes.chunks(1 << 20).map(|chunk| Ok(bytes.slice_ref(chunk))).collect();
        Ok(ObjectReader { stat, stream: futures::stream::iter(chunks).boxed() })
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        let size = listing::page_size(request);
        let prefix = request.prefix.as_str();
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let mut items = Vec::new();
        let mut from = match listing::begins_after(request) {
            Some(after) if after >= prefix => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.to_owned()),
        };
        // A common prefix that the request begins after covers the keys below it as well.
        if let (true, Bound::Excluded(after)) = (request.directories, &from)
            && let Some(directory) = directory_of(prefix, after)
        {
            from = Bound::Included(behind(directory));
        }
        while items.len() <= size
            && let Some((key, object)) = objects.range::<String, _>((from.clone(), Bound::Unbounded)).next()
            && key.starts_with(prefix)
        {
            if let (true, Some(directory)) = (request.directories, directory_of(prefix, key)) {
                items.push(Item::Directory(directory.to_owned()));
                from = Bound::Included(behind(directory));
            } else {
                items.push(Item::Object(object.stat(key)));
                from = Bound::Excluded(key.clone());
            }
        }
        Ok(listing::page(items, size))
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        let call = self.call("read", key);
        call.valid_key()?;
        Ok(self.object(key).ok_or_else(|| call.fails(StorageErrorKind::NotFound))?.stat(key))
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.call("delete", key).valid_key()?;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}

/// The common prefix, ending in `/`, that `key` is rolled up into below `prefix`.
pub(crate) fn directory_of<'key>(prefix: &str, key: &'key str) -> Option<&'key str> {
    let rest = key.strip_prefix(prefix)?;
    let slash = rest.find('/')?;
    Some(&key[..prefix.len() + slash + 1])
}

/// The first text that sorts behind every key below `directory`: `0` follows `/`.
fn behind(directory: &str) -> String {
    let mut text = directory.strip_suffix('/').unwrap_or(directory).to_owned();
    text.push('0');
    text
}
