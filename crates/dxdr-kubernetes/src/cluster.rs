//! One cluster, through one client.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind,
    cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream, WriteOptions},
};
use http::Method;
use serde::Deserialize;

use crate::{
    call::{self, APPLY, Call, JSON, Unaddressable},
    connect::Timeouts,
    discovery,
    exchange::Exchange,
    execute,
    failure::Failure,
    page,
    retry::{Retries, RetryPolicy},
    watch,
};

/// Bytes. A page of 500 objects at etcd's limit of 1.5 MiB each would be three times as long, but does not occur; what does is a
/// `limit` that something between us and the server ignores.
const LONGEST_ANSWER: usize = 256 << 20;

/// How long a watch may last: servers end them anyway, and an idle connection that died unnoticed is noticed then.
const WATCH: Duration = Duration::from_secs(60);

/// An API server and the way to it. Cheap to share behind an `Arc`; calls may run side by side.
pub struct KubernetesCluster {
    exchange: Exchange,
    timeouts: Timeouts,
    default_namespace: String,
}

impl KubernetesCluster {
    /// A cluster behind a client that exists already, such as a router in this process. `description` is for people.
    ///
    /// The client should not retry by itself: two layers of tries multiply.
    pub fn new(client: kube::Client, description: impl Into<String>) -> Self {
        Self::with_limits(client, description, Timeouts::default(), RetryPolicy::default())
    }

    /// The same, with limits of one's own.
    pub fn with_limits(
        client: kube::Client,
        description: impl Into<String>,
        timeouts: Timeouts,
        retry_policy: RetryPolicy,
    ) -> Self {
        let default_namespace = client.default_namespace().to_owned();
        let exchange = Exchange {
            client,
            description: description.into(),
            connect_limit: timeouts.connect,
            longest_answer: LONGEST_ANSWER,
            retries: Retries::new(retry_policy),
        };
        Self { exchange, timeouts, default_namespace }
    }

    /// The same, refusing answers longer than this many bytes instead of 256 MiB.
    #[must_use]
    pub fn with_longest_answer(mut self, bytes: usize) -> Self {
        self.exchange.longest_answer = bytes;
        self
    }

    /// The namespace that the kubeconfig's context names; `default` when it names none.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    pub(crate) fn malformed(&self, call: &Call, what: &str, error: serde_json::Error) -> ClusterError {
        self.exchange.error(call, Failure::new(ClusterErrorKind::Malformed, what).with_source(error))
    }

    /// A call that writes to `reference`, at the place that `place` finds.
    fn write(
        &self,
        reference: &ObjectReference,
        method: Method,
        action: &'static str,
        place: impl FnOnce(&ObjectReference) -> Result<String, Unaddressable>,
    ) -> Result<Call, ClusterError> {
        let object = reference.to_string();
        let target = place(reference).map_err(|problem| self.unaddressable(action, &object, problem))?;
        Ok(Call { method, ..Call::read(target, action, object, self.timeouts.request) })
    }

    /// Opens a watch and answers its events.
    async fn watched(&self, call: &Call) -> Result<WatchStream, ClusterError> {
        let opened = tokio::time::timeout(self.timeouts.request, self.exchange.open(call)).await;
        let opened = opened.unwrap_or_else(|_| Err(Failure::new(ClusterErrorKind::TimedOut, "no answer in time")));
        let body = opened.map_err(|failure| self.exchange.error(call, failure))?;
        Ok(watch::events(body, self.exchange.failing(call)))
    }

    fn unaddressable(&self, action: &'static str, object: &str, problem: Unaddressable) -> ClusterError {
        let call = Call::read(String::new(), action, object.to_owned(), Duration::ZERO);
        self.exchange.error(&call, Failure::new(ClusterErrorKind::Invalid, problem.0))
    }
}

impl fmt::Debug for KubernetesCluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("KubernetesCluster").field(&self.exchange.description).finish()
    }
}

#[async_trait]
impl Cluster for KubernetesCluster {
    fn describe(&self) -> String {
        self.exchange.description.clone()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        let call = Call::read("/version".into(), "ask", "the version".into(), self.timeouts.request);
        let body = self.exchange.body(&call).await?;
        let version: Version =
            serde_json::from_slice(&body).map_err(|error| self.malformed(&call, "the answer is no version", error))?;
        Ok(ServerVersion { git_version: version.git_version, major: version.major, minor: version.minor })
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        discovery::discover(self).await
    }

    async fn list(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        limit: u32,
        continuation: Option<&str>,
    ) -> Result<ObjectPage, ClusterError> {
        let object = listed(kind, scope);
        let mut target =
            call::collection(kind, scope.namespace.as_deref()).map_err(|problem| self.unaddressable("list", &object, problem))?;
        call::push_page(&mut target, scope, limit, continuation);
        let call = Call::read(target, "list", object, self.timeouts.list);
        let body = self.exchange.body(&call).await?;
        page::cut(&body).map_err(|problem| match problem {
            page::NotAList::Json(error) => self.malformed(&call, "the answer is no list of objects", error),
            page::NotAList::Other(what) => {
                self.exchange.error(&call, Failure::new(ClusterErrorKind::Malformed, format!("the answer is {what}")))
            }
        })
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        let call = self.write(reference, Method::GET, "get", call::object)?;
        match self.exchange.attempt(&call).await {
            Ok(body) => Ok(Some(body)),
            Err(failure) if failure.object_missing => Ok(None),
            Err(failure) => Err(self.exchange.error(&call, failure)),
        }
    }

    async fn watch(&self, reference: &ObjectReference, resource_version: &str) -> Result<WatchStream, ClusterError> {
        let mut call = self.write(reference, Method::GET, "watch", call::collection_of)?;
        let name = format!("metadata.name={}", reference.name);
        call::push_watch(&mut call.target, Some(&name), None, resource_version, WATCH.as_secs());
        self.watched(&call).await
    }

    async fn watch_all(
        &self,
        kind: &ResourceKind,
        scope: &ListScope,
        resource_version: &str,
    ) -> Result<WatchStream, ClusterError> {
        let object = listed(kind, scope);
        let mut target = call::collection(kind, scope.namespace.as_deref())
            .map_err(|problem| self.unaddressable("watch", &object, problem))?;
        call::push_watch(&mut target, None, scope.label_selector.as_deref(), resource_version, WATCH.as_secs());
        self.watched(&Call::read(target, "watch", object, self.timeouts.request)).await
    }

    async fn create(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        let mut call = self.write(reference, Method::POST, "create", call::collection_of)?;
        call::push_write(&mut call.target, options, None);
        self.exchange.body(&Call { body, retry: options.retry, ..call }).await
    }

    async fn apply(
        &self,
        reference: &ObjectReference,
        body: Bytes,
        force: bool,
        options: &WriteOptions,
    ) -> Result<Bytes, ClusterError> {
        let mut call = self.write(reference, Method::PATCH, "apply", call::object)?;
        call::push_write(&mut call.target, options, Some(force));
        self.exchange.body(&Call { body, content_type: APPLY, retry: options.retry, ..call }).await
    }

    async fn replace(&self, reference: &ObjectReference, body: Bytes, options: &WriteOptions) -> Result<Bytes, ClusterError> {
        let mut call = self.write(reference, Method::PUT, "replace", call::object)?;
        call::push_write(&mut call.target, options, None);
        self.exchange.body(&Call { body, retry: options.retry, ..call }).await
    }

    async fn execute(&self, command: &PodCommand) -> Result<Executed, ClusterError> {
        let object = format!("pods {}/{}", command.namespace, command.pod);
        let call = Call::read(String::new(), "run a command in", object, command.timeout);
        execute::execute(self.exchange.client.clone(), command).await.map_err(|failure| self.exchange.error(&call, failure))
    }

    async fn delete(&self, reference: &ObjectReference, uid: Option<&str>, options: &WriteOptions) -> Result<bool, ClusterError> {
        let mut body = serde_json::json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background" });
        if let Some(uid) = uid {
            body["preconditions"] = serde_json::json!({ "uid": uid });
        }
        if options.dry_run {
            body["dryRun"] = serde_json::json!(["All"]);
        }
        let call = self.write(reference, Method::DELETE, "delete", call::object)?;
        let call = Call { body: Bytes::from(body.to_string()), content_type: JSON, retry: options.retry, ..call };
        match self.exchange.attempt(&call).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.object_missing => Ok(false),
            Err(failure) => Err(self.exchange.error(&call, failure)),
        }
    }
}

/// `pods in staging`, as people name a list.
fn listed(kind: &ResourceKind, scope: &ListScope) -> String {
    match &scope.namespace {
        Some(namespace) if kind.namespaced => format!("{kind} in {namespace}"),
        _ => kind.to_string(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    git_version: String,
    major: String,
    minor: String,
}
