//! What a run needs, as the command line would make it.

use std::{
    convert::Infallible,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use dxdr_environment::{Environment, EnvironmentName, NamespaceName, ObjectReference, ResourceKind, environment::Tier};
use dxdr_format::layout::StoreLayout;
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster};
use dxdr_object_storage::{DirectoryStorage, S3Options, S3Storage};
use dxdr_provider::{
    Cluster, ClusterError, ObjectStorage,
    clock::SystemClock,
    cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream, WriteOptions},
};
use dxdr_run::{Reporter, RunContext, StopRequest, Store};

use crate::Place;

pub(crate) async fn connect(place: &Place) -> Result<KubernetesCluster> {
    let options = ConnectOptions {
        kubeconfig: Some(place.kubeconfig.clone()),
        context: place.context.clone(),
        ..ConnectOptions::default()
    };
    Ok(dxdr_kubernetes::connect(options).await?)
}

pub(crate) fn environment(namespace: &str) -> Result<Environment> {
    Ok(Environment::bare(EnvironmentName::parse(namespace)?, NamespaceName::parse(namespace)?, Tier::NonProduction))
}

/// Where recovery points are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorePlace {
    Directory(PathBuf),
    /// Bucket and prefix; everything else is in the environment, as other clients of S3 find it.
    Bucket(String, String),
}

impl FromStr for StorePlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix("s3://") {
            Some(place) => {
                let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
                Self::Bucket(bucket.to_owned(), prefix.to_owned())
            }
            None => Self::Directory(text.into()),
        })
    }
}

pub(crate) async fn store(place: &StorePlace) -> Result<Store> {
    let (storage, prefix): (Arc<dyn ObjectStorage>, &str) = match place {
        StorePlace::Directory(directory) => (Arc::new(DirectoryStorage::create(directory)?), ""),
        StorePlace::Bucket(bucket, prefix) => {
            let options = S3Options { bucket: bucket.clone(), force_path_style: true, ..S3Options::default() };
            (Arc::new(S3Storage::connect(options).await?), prefix)
        }
    };
    Ok(Store { name: "bench".to_owned(), storage, layout: StoreLayout::new(prefix) })
}

pub(crate) fn context(store: Store, cluster: Arc<dyn Cluster>, reporter: Arc<dyn Reporter>) -> RunContext {
    RunContext {
        store,
        declared: None,
        cluster,
        clock: Arc::new(SystemClock),
        reporter,
        stop: StopRequest::new(),
        holder: format!("bench-{}", std::process::id()),
        lease_namespace: "dxdr-bench-system".to_owned(),
        velero_namespace: dxdr_plan::velero::NAMESPACE.to_owned(),
        sealing: None,
        databases: None,
        instances: None,
        program: "dxdr-bench".to_owned(),
    }
}

/// A cluster that counts what is written to it.
#[derive(Debug)]
pub(crate) struct CountingWrites {
    inner: KubernetesCluster,
    writes: AtomicU64,
    reads: AtomicU64,
}

impl CountingWrites {
    pub(crate) fn new(inner: KubernetesCluster) -> Self {
        Self { inner, writes: AtomicU64::new(0), reads: AtomicU64::new(0) }
    }

    /// Creates, applies, replacements and deletions.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Single objects and pages.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn write(&self) -> &KubernetesCluster {
        self.writes.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }

    fn read(&self) -> &KubernetesCluster {
        self.reads.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

#[async_trait]
impl Cluster for CountingWrites {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        self.inner.version().await
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        self.inner.discover().await
    }

    async fn list(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        limit: u32,
        continuation: Option<&str>,
    ) -> Result<ObjectPage, ClusterError> {
        self.read().list(kind, scope, limit, continuation).await
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        self.read().get(reference).await
    }

    async fn watch(&self, reference: &ObjectReference, resource_version: &str) -> Result<WatchStream, ClusterError> {
        self.read().watch(reference, resource_version).await
    }

    async fn watch_all(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        resource_version: &str,
    ) -> Result<WatchStream, ClusterError> {
        self.inner.watch_all(kind, scope, resource_version).await
    }

    async fn create(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.write().create(reference, body, options).await
    }

    async fn apply(
        &self,
        reference: &ObjectReference,
        body: Bytes,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Bytes, ClusterError> {
        self.write().apply(reference, body, force, options).await
    }

    async fn replace(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.write().replace(reference, body, options).await
    }

    async fn execute(&self, command: &PodCommand) -> Result<Executed, ClusterError> {
        self.inner.execute(command).await
    }

    async fn delete(&self, reference: &ObjectReference, uid: Option<&str>, options: &WriteOptions) -> Result<bool, ClusterError> {
        self.write().delete(reference, uid, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_folder_or_a_place_in_a_bucket() {
        assert_eq!("s3://bucket/some/prefix".parse(), Ok(StorePlace::Bucket("bucket".to_owned(), "some/prefix".to_owned())));
        assert_eq!("/srv/points".parse(), Ok(StorePlace::Directory("/srv/points".into())));
    }
}
