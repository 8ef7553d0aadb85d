//! A store that counts its calls, around any store.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use dxdr_provider::object_storage::{
    ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, ObjectStorage, PutCondition, StorageError,
};

/// Counts calls, failed ones too, and passes them on.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn ObjectStorage>,
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    stats: AtomicU64,
    deletes: AtomicU64,
}

/// How many calls there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the number of calls of that name")]
pub struct Counts {
    pub puts: u64,
    pub gets: u64,
    pub lists: u64,
    pub stats: u64,
    pub deletes: u64,
}

impl Counts {
    /// All calls together.
    pub fn total(self) -> u64 {
        self.puts + self.gets + self.lists + self.stats + self.deletes
    }
}

impl Counting {
    /// Around a store; nothing is counted yet.
    pub fn new(inner: Arc<dyn ObjectStorage>) -> Self {
        Self {
            inner,
            puts: AtomicU64::default(),
            gets: AtomicU64::default(),
            lists: AtomicU64::default(),
            stats: AtomicU64::default(),
            deletes: AtomicU64::default(),
        }
    }

    /// The calls since the beginning, or since [`reset`](Self::reset).
    pub fn counts(&self) -> Counts {
        Counts {
            puts: self.puts.load(Ordering::Relaxed),
            gets: self.gets.load(Ordering::Relaxed),
            lists: self.lists.load(Ordering::Relaxed),
            stats: self.stats.load(Ordering::Relaxed),
            deletes: self.deletes.load(Ordering::Relaxed),
        }
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        for counter in [&self.puts, &self.gets, &self.lists, &self.stats, &self.deletes] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl ObjectStorage for Counting {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn url(&self, key: &str) -> Option<String> {
        self.inner.url(key)
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        self.inner.put(key, body, condition).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(key, range).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.inner.list(request).await
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        self.stats.fetch_add(1, Ordering::Relaxed);
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.deletes.fetch_add(1, Ordering::Relaxed);
        self.inner.delete(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStorage;

    #[tokio::test]
    async fn every_call_is_counted_by_its_name() {
        let storage = Counting::new(Arc::new(MemoryStorage::default()));
        storage.stat("missing").await.unwrap_err();
        storage.list(&ListRequest::default()).await.unwrap();
        storage.list(&ListRequest::default()).await.unwrap();
        assert_eq!(storage.counts(), Counts { lists: 2, stats: 1, ..Counts::default() });
        assert_eq!(storage.counts().total(), 3);
        storage.reset();
        assert_eq!(storage.counts(), Counts::default());
    }
}
