//! A world that a process loses: behind a number of calls, no call to the store or the cluster ever returns.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{
    Cluster, ClusterError, ObjectStorage, StorageError,
    cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream, WriteOptions},
    object_storage::{ListPage, ListRequest, ObjectBody, ObjectReader, ObjectStat, PutCondition},
};
use tokio::sync::Notify;

/// How many calls are left, and who waits for the last one.
#[derive(Debug)]
pub(crate) struct Life {
    left: AtomicU64,
    pub(crate) over: Notify,
}

impl Life {
    pub(crate) fn of(calls: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(calls), over: Notify::new() })
    }

    /// Returns while there is life; for ever in it when there is none.
    async fn spend(&self) {
        let alive = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if !alive {
            self.over.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug)]
pub(crate) struct DyingStorage {
    pub(crate) inner: Arc<dyn ObjectStorage>,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl ObjectStorage for DyingStorage {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &str, body: ObjectBody, condition: PutCondition) -> Result<ObjectStat, StorageError> {
        self.life.spend().await;
        self.inner.put(key, body, condition).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ObjectReader, StorageError> {
        self.life.spend().await;
        self.inner.get(key, range).await
    }

    async fn list(&self, request: &ListRequest) -> Result<ListPage, StorageError> {
        self.life.spend().await;
        self.inner.list(request).await
    }

    async fn stat(&self, key: &str) -> Result<ObjectStat, StorageError> {
        self.life.spend().await;
        self.inner.stat(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.life.spend().await;
        self.inner.delete(key).await
    }
}

#[derive(Debug)]
pub(crate) struct DyingCluster {
    pub(crate) inner: Arc<dyn Cluster>,
    pub(crate) executed: Arc<Mutex<Vec<String>>>,
    pub(crate) life: Arc<Life>,
}

#[async_trait]
impl Cluster for DyingCluster {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        self.life.spend().await;
        self.inner.version().await
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        self.life.spend().await;
        self.inner.discover().await
    }

    async fn list(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        limit: u32,
        continuation: Option<&str>,
    ) -> Result<ObjectPage, ClusterError> {
        self.life.spend().await;
        self.inner.list(kind, scope, limit, continuation).await
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        self.life.spend().await;
        self.inner.get(reference).await
    }

    async fn watch(&self, reference: &ObjectReference, resource_version: &str) -> Result<WatchStream, ClusterError> {
        self.life.spend().await;
        self.inner.watch(reference, resource_version).await
    }

    async fn watch_all(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        resource_version: &str,
    ) -> Result<WatchStream, ClusterError> {
        self.life.spend().await;
        self.inner.watch_all(kind, scope, resource_version).await
    }

    async fn create(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.life.spend().await;
        self.inner.create(reference, body, options).await
    }

    async fn apply(
        &self,
        reference: &ObjectReference,
        body: Bytes,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Bytes, ClusterError> {
        self.life.spend().await;
        self.inner.apply(reference, body, force, options).await
    }

    async fn replace(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.life.spend().await;
        self.inner.replace(reference, body, options).await
    }

    /// Of what runs in pods the sandbox knows nothing: it is written down.
    async fn execute(&self, command: &PodCommand) -> Result<Executed, ClusterError> {
        self.life.spend().await;
        let words = command.command.join(" ");
        let broken = words.contains("broken");
        self.executed.lock().unwrap().push(words);
        Ok(if broken { Executed::Failed("command terminated with exit code 1".to_owned()) } else { Executed::Succeeded })
    }

    async fn delete(&self, reference: &ObjectReference, uid: Option<&str>, options: &WriteOptions) -> Result<bool, ClusterError> {
        self.life.spend().await;
        self.inner.delete(reference, uid, options).await
    }
}
