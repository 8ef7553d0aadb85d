//! Asking a Velero server what it is.

use std::time::Duration;

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::{ObjectReference, ResourceKind};
use dxdr_plan::velero::server_status_requests;
use dxdr_provider::{
    Cluster, ClusterErrorKind,
    cluster::{ListScope, WriteOptions},
};
use serde_json::{Value, json};

use crate::error::RunError;

/// Field manager of what is written in Velero's namespace.
pub const FIELD_MANAGER: &str = "dxdr-velero";
/// A server that runs answers within a second.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
const PAGE: u32 = 500;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// `v1.18.3`
    pub version: String,
    /// Names of its plugins: `velero.io/aws`.
    pub plugins: Vec<String>,
}

/// Asks the server in `namespace`; `None` when nobody answers within five seconds. The question is an object, which is removed again.
///
/// # Errors
/// [`RunError::NoVelero`] where the cluster does not know Velero's kinds, or the namespace.
pub async fn status(cluster: &dyn Cluster, namespace: &str, seed: u64) -> Result<Option<ServerStatus>, RunError> {
    let name = format!("dxdr-{}", name::tail(seed));
    let kind = server_status_requests();
    let question = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "dxdr"}}, "spec": {},
    });
    let reference = ObjectReference { kind, namespace: Some(namespace.to_owned()), name };
    let options = options();
    let asked = cluster.create(&reference, Bytes::from(question.to_string()), &options).await;
    asked.map_err(|error| no_velero(error, namespace))?;
    let answer = answer(cluster, &reference).await;
    // Velero removes it after a minute, too.
    let removed = cluster.delete(&reference, None, &options).await;
    let answer = answer?;
    removed?;
    Ok(answer)
}

async fn answer(cluster: &dyn Cluster, reference: &ObjectReference) -> Result<Option<ServerStatus>, RunError> {
    let patience = tokio::time::Instant::now() + PATIENCE;
    loop {
        let Some(object) = cluster.get(reference).await? else { return Ok(None) };
        let object: Value = serde_json::from_slice(&object).unwrap_or_default();
        if object.pointer("/status/phase").and_then(Value::as_str) == Some("Processed") {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
            let plugins = object.pointer("/status/plugins").and_then(Value::as_array).into_iter().flatten();
            return Ok(Some(ServerStatus {
                version: text(object.pointer("/status/serverVersion")),
                plugins: plugins.map(|plugin| text(plugin.get("name"))).collect(),
            }));
        }
        if tokio::time::Instant::now() >= patience {
            return Ok(None);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Every object of a kind of Velero's in `namespace`.
pub async fn objects(cluster: &dyn Cluster, kind: &ResourceKind, namespace: &str) -> Result<Vec<Value>, RunError> {
    selected(cluster, kind, namespace, None).await.map_err(|error| match error {
        RunError::Cluster(error) => no_velero(error, namespace),
        error => error,
    })
}

/// Every object of a kind in `namespace` that a label selector finds.
pub(crate) async fn labelled(
    cluster: &dyn Cluster,
    kind: &ResourceKind,
    namespace: &str,
    selector: &str,
) -> Result<Vec<Value>, RunError> {
    selected(cluster, kind, namespace, Some(selector)).await
}

async fn selected(
    cluster: &dyn Cluster,
    kind: &ResourceKind,
    namespace: &str,
    selector: Option<&str>,
) -> Result<Vec<Value>, RunError> {
    let scope = ListScope { namespace: Some(namespace.to_owned()), label_selector: selector.map(str::to_owned) };
    let (mut objects, mut continuation) = (Vec::new(), None::<String>);
    loop {
        let page = cluster.list(kind, &scope, PAGE, continuation.as_deref()).await?;
        for item in &page.items {
            let object = serde_json::from_slice(item).map_err(|error| RunError::Unexpected(format!("a {kind}: {error}")))?;
            objects.push(object);
        }
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(objects);
        }
    }
}

/// What an object of a kind is called.
pub(crate) fn reference(kind: &ResourceKind, object: &Value) -> ObjectReference {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    ObjectReference {
        kind: kind.clone(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}

/// By which one object is told from another of the same name.
pub(crate) fn uid(object: &Value) -> Option<&str> {
    object.pointer("/metadata/uid").and_then(Value::as_str)
}

/// Changes a live object, which others write, too. `change` says whether there is something to change; answers what the server made of
/// it, `None` where there is nothing to change, or no object.
pub(crate) async fn amend(
    cluster: &dyn Cluster,
    object: &ObjectReference,
    options: &WriteOptions,
    change: impl Fn(&mut Value) -> bool,
) -> Result<Option<Value>, RunError> {
    loop {
        let Some(live) = cluster.get(object).await? else { return Ok(None) };
        let mut live: Value = serde_json::from_slice(&live).unwrap_or_default();
        if !change(&mut live) {
            return Ok(None);
        }
        match cluster.replace(object, Bytes::from(live.to_string()), options).await {
            Ok(made) => return Ok(Some(serde_json::from_slice(&made).unwrap_or_default())),
            Err(error) if error.kind == ClusterErrorKind::Conflict => {}
            Err(error) if error.kind == ClusterErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// How what is in Velero's namespace is written.
pub(crate) fn options() -> WriteOptions {
    WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true }
}

/// A kind that is not served, or a namespace that is not there, means that Velero is not installed here.
pub(crate) fn no_velero(error: dxdr_provider::ClusterError, namespace: &str) -> RunError {
    match error.kind {
        ClusterErrorKind::NotFound => RunError::NoVelero { namespace: namespace.to_owned(), source: error },
        _ => error.into(),
    }
}
