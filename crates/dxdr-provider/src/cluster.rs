//! A Kubernetes API, as much of it as dxdr uses: discovery, raw lists, and single objects as JSON.
//!
//! Objects cross this boundary as the bytes the server sent, or as trees: never through typed structs, which drop the fields
//! they do not know.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_environment::{DiscoveredKind, ObjectReference, ResourceKind};
use futures::stream::BoxStream;

/// A Kubernetes API.
#[async_trait]
pub trait Cluster: Debug + Send + Sync {
    /// Where it is, for people: context and endpoint. Never credentials.
    fn describe(&self) -> String;

    /// `gitVersion`, major and minor of the server.
    async fn version(&self) -> Result<ServerVersion, ClusterError>;

    /// All kinds in the version the server prefers, without subresources, and the groups that could not be discovered.
    async fn discover(&self) -> Result<Discovery, ClusterError>;

    /// One page of a list, items in the server's order with the server's bytes. `continuation` comes from the page before; an
    /// expired one fails with [`ClusterErrorKind::Expired`].
    async fn list(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        limit: u32,
        continuation: Option<&str>,
    ) -> Result<ObjectPage, ClusterError>;

    /// The object as the server has it, or `None`.
    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError>;

    /// What happens to the object from `resource_version` on, event by event. The stream ends whenever the server or the network
    /// ends it, which it will: look at the object again and watch from there. [`ClusterErrorKind::Expired`] when the version is too
    /// old.
    async fn watch(&self, reference: &ObjectReference, resource_version: &str) -> Result<WatchStream, ClusterError>;

    /// The same for every object of a kind in `scope`.
    async fn watch_all(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        resource_version: &str,
    ) -> Result<WatchStream, ClusterError>;

    /// Creates the object whose JSON is `body`; answers what the server made of it.
    async fn create(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError>;

    /// Server-side apply.
    async fn apply(
        &self,
        reference: &ObjectReference,
        body: Bytes,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Bytes, ClusterError>;

    /// Replaces the object; guarded by the `resourceVersion` in `body` when there is one.
    async fn replace(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError>;

    /// Runs a command in a container of a running pod and waits for its end, for so long at most.
    async fn execute(&self, command: &PodCommand) -> Result<Executed, ClusterError>;

    /// Deletes the object; with `uid`, only if it is still that one. `Ok(false)` when it was not there.
    async fn delete(&self, reference: &ObjectReference, uid: Option<&str>, options: &WriteOptions) -> Result<bool, ClusterError>;
}

/// A command in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCommand {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executed {
    /// It succeeded.
    Succeeded,
    /// It did not: what the kubelet says, and the end of what the command said on stderr.
    Failed(String),
}

/// Events of a watch.
pub type WatchStream = BoxStream<'static, Result<WatchEvent, ClusterError>>;

/// What happened to a watched object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// It is like this now: JSON.
    Applied(Bytes),
    /// It is gone; of several watched ones, one is.
    Deleted,
}

/// How a write is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Field manager recorded for the write.
    pub manager: String,
    /// Let the server check everything and store nothing.
    pub dry_run: bool,
    /// Let the adapter send it again where nothing can have happened: a refused connection, 429. `false` for who tries again
    /// anyway, since two layers of tries multiply.
    pub retry: bool,
}

/// Which objects of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListScope {
    /// `None`: all namespaces, or a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Label selector in kubectl's syntax.
    pub label_selector: Option<String>,
}

/// One page of objects.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// Each item's JSON as the server sent it. **Built-in kinds leave `apiVersion` and `kind` out of list items.**
    pub items: Vec<Bytes>,
    /// Of the list: the same on all its pages.
    pub resource_version: String,
    /// For the next page; `None` on the last.
    pub continuation: Option<String>,
}

/// What the server serves.
#[derive(Debug, Clone, Default)]
pub struct Discovery {
    /// One entry a kind, in the server's order of groups, in the preferred version.
    pub kinds: Vec<DiscoveredKind>,
    /// Groups (`metrics.k8s.io/v1beta1`) that failed, with the reason: an aggregated API that is down.
    pub failed_groups: Vec<(String, String)>,
}

/// Version of an API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersion {
    /// `v1.36.3`
    pub git_version: String,
    /// `1`
    pub major: String,
    /// `36`
    pub minor: String,
}

/// What went wrong with a cluster.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object} on {cluster}: {message}")]
pub struct ClusterError {
    /// What kind of failure it is; callers decide by this.
    pub kind: ClusterErrorKind,
    /// What was tried: `list`, `create`, `apply`, …
    pub action: &'static str,
    /// The object or the kind, as people name it.
    pub object: String,
    /// [`Cluster::describe`] of the cluster.
    pub cluster: String,
    /// What the server said, or what happened instead of an answer.
    pub message: String,
    /// The cause below, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Kinds of failure a caller tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterErrorKind {
    /// Nothing answers there, or the connection broke before an answer: it is not known whether a write happened.
    Unreachable,
    /// 401.
    Unauthenticated,
    /// 403 by authorization.
    Forbidden,
    /// 403: the namespace is being deleted.
    NamespaceTerminating,
    /// 403: a ResourceQuota is used up.
    QuotaExceeded,
    /// An admission webhook or policy said no.
    DeniedByAdmission,
    /// 404 of the object, or of the kind: it is not served here.
    NotFound,
    /// 409 at creation.
    AlreadyExists,
    /// 409: another resourceVersion, or another field manager owns a field.
    Conflict,
    /// 422 or 400: the server refuses the content.
    Invalid,
    /// 410: a continuation or a resourceVersion is too old.
    Expired,
    /// 429, with the server's `Retry-After`.
    TooManyRequests(Option<Duration>),
    /// No answer in time.
    TimedOut,
    /// 5xx.
    Unavailable,
    /// The answer cannot be understood.
    Malformed,
    /// Anything else.
    Other,
}

impl ClusterErrorKind {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TooManyRequests(_) | Self::TimedOut | Self::Unavailable)
    }
}
