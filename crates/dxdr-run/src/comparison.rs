//! Making a cluster what a model compiles to.

use bytes::Bytes;
use dxdr_environment::{Environment, ObjectReference, Placement, PlannedObject, comparison, compile, compile::environment_of};
use dxdr_provider::{
    Cluster, ClusterError,
    cluster::{ListScope, WriteOptions},
};
use serde_json::Value;

use crate::error::RunError;

/// What is asked for of a list at once.
const PAGE: u32 = 500;

/// What an environment means, held against what lives; and what is left of what it meant once.
pub async fn environment(
    cluster: &dyn Cluster,
    environment: &Environment,
) -> Result<(Vec<PlannedObject>, Vec<ObjectReference>), RunError> {
    let desired = compile(environment, &Placement::home(environment)).objects;
    // Only in its namespace: of the same environment beside or in a drill, others take care.
    let scope = ListScope {
        namespace: Some(environment.namespace.to_string()),
        label_selector: Some(compile::selector(environment.name.as_str())),
    };
    let is_ours = |live: &Value| environment_of(live) == Some(environment.name.as_str());
    let mut orphaned = Vec::new();
    for kind in compile::kinds_in_namespace() {
        let live = listed(cluster, &kind, &scope).await?;
        orphaned.extend(comparison::orphaned(&kind, &live, &desired, is_ours));
    }
    let mut objects = Vec::with_capacity(desired.len());
    for desired in desired {
        let live = match cluster.get(&desired.reference).await? {
            Some(bytes) => Some(read(&bytes, &desired.reference)?),
            None => None,
        };
        objects.push(PlannedObject::new(desired, live.as_ref()));
    }
    Ok((objects, orphaned))
}

/// Every object of `kind` in `scope`.
pub(crate) async fn listed(
    cluster: &dyn Cluster,
    kind: &dxdr_environment::ResourceKind,
    scope: &ListScope,
) -> Result<Vec<Value>, RunError> {
    let (mut objects, mut continuation) = (Vec::new(), None::<String>);
    loop {
        let page = cluster.list(kind, scope, PAGE, continuation.as_deref()).await?;
        for item in &page.items {
            objects.push(read(item, kind)?);
        }
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(objects);
        }
    }
}

fn read(bytes: &[u8], what: &impl std::fmt::Display) -> Result<Value, RunError> {
    serde_json::from_slice(bytes).map_err(|error| RunError::Unexpected(format!("{what}: {error}")))
}

/// What became of one object.
#[derive(Debug)]
pub struct Applied {
    /// Which.
    pub object: ObjectReference,
    /// Whether it was removed; otherwise it was applied.
    pub removed: bool,
    /// Why not, where it failed.
    pub error: Option<ClusterError>,
}

/// Applies what is missing or differs, and then removes what is `orphaned`. With a dry run the server checks everything and stores
/// nothing. An object that fails does not stop the others, but then nothing is removed: what is left over may do the work of what
/// could not be applied.
pub async fn apply(
    cluster: &dyn Cluster,
    objects: &[PlannedObject],
    orphaned: &[ObjectReference],
    force: bool,
    options: &WriteOptions,
) -> Vec<Applied> {
    let mut results = Vec::new();
    for planned in objects.iter().filter(|planned| !planned.is_same()) {
        let body = Bytes::from(planned.desired.value.to_string());
        let object = planned.desired.reference.clone();
        let error = cluster.apply(&object, body, force, options).await.err();
        results.push(Applied { object, removed: false, error });
    }
    if results.iter().any(|result| result.error.is_some()) {
        return results;
    }
    for object in orphaned {
        let error = cluster.delete(object, None, options).await.err();
        results.push(Applied { object: object.clone(), removed: true, error });
    }
    results
}
