//! Writing one planned object, and comparing what the server made of it with the plan.

use std::time::Duration;

use bytes::Bytes;
use dxdr_environment::{ObjectReference, difference::difference};
use dxdr_plan::restore::{Action, Existing, PlannedObject, RestoreRequest, transform};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::WriteOptions};
use serde_json::Value;
use tokio::time::Instant;

use super::{copies, volumes};
use crate::{adaptive_limit::AdaptiveLimit, stop::StopRequest};

/// The field manager of everything dxdr restores.
pub const FIELD_MANAGER: &str = "dxdr";
/// Attempts at one object while the server is unreachable or overloaded, with pauses doubling from 100 ms: about 25 s in all. They are
/// the only ones: the adapter is told not to try again by itself, so that the limit learns of every refusal, and since only here is it
/// known what to make of a write whose answer was lost.
const ATTEMPTS: u32 = 9;
/// How long an object may take to go that is being deleted: as long as the attempts at one that cannot be reached. Who gives pods half a
/// minute to end holds their claims for as long.
const ENDING: Duration = Duration::from_secs(40);
/// Between two looks at it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What became of one object.
#[derive(Debug)]
pub enum Written {
    /// It was not there; now it is.
    Created,
    /// It was there and differed; now it is as planned.
    Updated,
    /// It was there as planned already.
    Unchanged,
    /// It was there, differs, and was left as it is, as the request says.
    Left,
    /// It was written, but the server made something else of some fields (defaults and webhooks do).
    Differs {
        /// The paths of those fields.
        paths: Vec<String>,
        /// Whether it was not there before.
        created: bool,
    },
    /// It is there, is being deleted, and did not go in time: nothing can take its place until it does.
    BeingDeleted,
    /// It could not be written.
    Failed(ClusterError),
}

/// Carries out the plan for one object: create what is missing, apply what is there.
///
/// Repeatable: an object that an earlier attempt created is found to be as planned. One write for an object that was not there.
/// Requests go out as `limit` allows, which learns from the answers; once `stop` is asked, nothing is tried again. One that is being deleted
/// since the plan was made is waited for, and then created.
pub async fn write(
    cluster: &dyn Cluster,
    limit: &AdaptiveLimit,
    stop: &StopRequest,
    (run, request): (&str, &RestoreRequest),
    planned: &PlannedObject,
    archived: &[u8],
) -> Written {
    let object: Value = match serde_json::from_slice(archived) {
        Ok(object) => object,
        Err(error) => return Written::Failed(unreadable(cluster, &planned.target, &error)),
    };
    let mut desired = transform::transform(request, object).object;
    if let (Action::Create, Some(volume)) = (&planned.action, &planned.volume) {
        copies::mark(volume, &request.point, &mut desired);
        if let Err(error) = volumes::fill(cluster, stop, run, &planned.target, volume, &mut desired).await {
            return Written::Failed(error);
        }
    }
    let body = Bytes::from(desired.to_string());
    let mut pause = Duration::from_millis(100);
    let mut patience = None;
    for attempt in 1.. {
        let result = match planned.action {
            Action::Create | Action::Update { .. } if patience.is_some() => {
                limit.within(create(cluster, request, &planned.target, &desired, body.clone())).await
            }
            Action::Create => limit.within(create(cluster, request, &planned.target, &desired, body.clone())).await,
            Action::Update { recreates: true, .. } => limit.within(recreate(cluster, &planned.target, &desired)).await,
            Action::Update { removes: false, .. } => limit.within(apply(cluster, &planned.target, &desired, body.clone())).await,
            Action::Update { removes: true, .. } => limit.within(replace(cluster, request, &planned.target, &desired)).await,
            Action::Same => return Written::Unchanged,
            Action::Leave { .. } => return Written::Left,
        };
        match result {
            Ok(Written::BeingDeleted) => {
                let until = *patience.get_or_insert_with(|| Instant::now() + ENDING);
                if !gone(cluster, stop, &planned.target, until).await {
                    return Written::BeingDeleted;
                }
            }
            Ok(written) if planned.action == Action::Create => return written,
            Ok(written) => return written.of_what_was_there(),
            Err(error) if error.kind.retryable() && attempt < ATTEMPTS && !stop.asked() => {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.wait() => return Written::Failed(error),
                }
                pause *= 2;
            }
            Err(error) => return Written::Failed(error),
        }
    }
    Written::Unchanged
}

impl Written {
    /// Of an object that was there when the plan was made, also where it had to go first.
    fn of_what_was_there(self) -> Self {
        match self {
            Self::Created => Self::Updated,
            Self::Differs { paths, .. } => Self::Differs { paths, created: false },
            other => other,
        }
    }
}

/// Waits until an object that is being deleted is there no more; `false` when it is there still, or somebody asked to stop.
async fn gone(cluster: &dyn Cluster, stop: &StopRequest, target: &ObjectReference, until: Instant) -> bool {
    loop {
        match cluster.get(target).await {
            Ok(Some(live)) if is_being_deleted(&live) => {}
            Ok(_) => return true,
            Err(error) => tracing::debug!(%error, "it is looked for again"),
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
            () = stop.wait() => return false,
        }
    }
}

fn is_being_deleted(live: &[u8]) -> bool {
    serde_json::from_slice::<Value>(live).is_ok_and(|live| live.pointer("/metadata/deletionTimestamp").is_some())
}

async fn create(
    cluster: &dyn Cluster,
    request: &RestoreRequest,
    target: &ObjectReference,
    desired: &Value,
    body: Bytes,
) -> Result<Written, ClusterError> {
    match cluster.create(target, body.clone(), &options()).await {
        Ok(answer) => Ok(compared(desired, &answer, Written::Created)),
        // Made by a controller in the meantime (a namespace's default ServiceAccount), or by an attempt whose answer was lost.
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => match cluster.get(target).await? {
            // However much it is as planned, it will not be there.
            Some(live) if is_being_deleted(&live) => Ok(Written::BeingDeleted),
            Some(live) if differing(desired, &live).is_empty() => Ok(Written::Unchanged),
            // The plan did not see it, because it may not list the kind, or because it was made since: left as it would have been.
            Some(_) if request.existing == Existing::Leave || request.leaves_shared(&target.kind) => Ok(Written::Left),
            _ => apply(cluster, target, desired, body).await,
        },
        Err(error) => Err(error),
    }
}

async fn apply(cluster: &dyn Cluster, target: &ObjectReference, desired: &Value, body: Bytes) -> Result<Written, ClusterError> {
    // Going back to T is what was consented to: fields that others own are taken over, fields we do not name stay theirs.
    let answer = cluster.apply(target, body, true, &options()).await?;
    Ok(compared(desired, &answer, Written::Updated))
}

/// Fields that are only in the live object belong to whoever wrote them, and server-side apply would leave them there: the object is
/// replaced, guarded by the `resourceVersion` that was just read.
async fn replace(
    cluster: &dyn Cluster,
    request: &RestoreRequest,
    target: &ObjectReference,
    desired: &Value,
) -> Result<Written, ClusterError> {
    for attempt in 1.. {
        let Some(live) = cluster.get(target).await? else {
            let answer = cluster.create(target, Bytes::from(desired.to_string()), &options()).await?;
            return Ok(compared(desired, &answer, Written::Created));
        };
        let live: Value = serde_json::from_slice(&live).map_err(|error| unreadable(cluster, target, &error))?;
        let replacement = transform::replacement(request, desired, &live);
        match cluster.replace(target, Bytes::from(replacement.to_string()), &options()).await {
            Ok(answer) => return Ok(compared(desired, &answer, Written::Updated)),
            // A controller wrote it in between.
            Err(error) if error.kind == ClusterErrorKind::Conflict && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Written::Unchanged)
}

/// Deletes the object, and creates it as it was. One that was deleted by an earlier attempt is only created.
async fn recreate(cluster: &dyn Cluster, target: &ObjectReference, desired: &Value) -> Result<Written, ClusterError> {
    if let Some(live) = cluster.get(target).await? {
        let live: Value = serde_json::from_slice(&live).map_err(|error| unreadable(cluster, target, &error))?;
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(Written::BeingDeleted);
        }
        if difference(desired, &live).is_empty() {
            return Ok(Written::Unchanged);
        }
        let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
        cluster.delete(target, uid, &options()).await?;
    }
    match cluster.create(target, Bytes::from(desired.to_string()), &options()).await {
        Ok(answer) => Ok(compared(desired, &answer, Written::Updated)),
        // Its finalizers hold it for a moment.
        Err(error) if error.kind == ClusterErrorKind::AlreadyExists => Ok(Written::BeingDeleted),
        Err(error) => Err(error),
    }
}

/// The result as it is, unless the server made something else of it.
fn compared(desired: &Value, answer: &[u8], written: Written) -> Written {
    if is_being_deleted(answer) {
        return Written::BeingDeleted;
    }
    let paths = differing(desired, answer);
    if paths.is_empty() { written } else { Written::Differs { paths, created: matches!(written, Written::Created) } }
}

/// Paths at which `live` is not what `desired` says; what `desired` does not say is free.
fn differing(desired: &Value, live: &[u8]) -> Vec<String> {
    match serde_json::from_slice::<Value>(live) {
        Ok(live) => difference(desired, &live).into_iter().map(|difference| difference.path.to_string()).collect(),
        Err(_) => vec!["(the answer cannot be read)".to_owned()],
    }
}

pub(crate) fn options() -> WriteOptions {
    WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: false }
}

fn unreadable(cluster: &dyn Cluster, target: &ObjectReference, error: &serde_json::Error) -> ClusterError {
    ClusterError {
        kind: ClusterErrorKind::Malformed,
        action: "restore",
        object: target.to_string(),
        cluster: cluster.describe(),
        message: format!("the archive's object is not JSON: {error}"),
        source: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dxdr_environment::{EnvironmentName, ResourceKind};
    use dxdr_plan::restore::{Changes, Executor, Target, Volumes};
    use serde_json::json;

    use super::*;
    use crate::{adaptive_limit::Bounds, lease::tests::Shelf};

    fn target() -> ObjectReference {
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
        };
        ObjectReference { kind, namespace: Some("staging".to_owned()), name: "one".to_owned() }
    }

    fn object() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "staging"}, "data": {"a": "b"}})
    }

    /// Writes it as planned, while it is there and on its way out.
    async fn written(shelf: &Arc<Shelf>, stop: &StopRequest) -> Written {
        let mut leaving = object();
        leaving["metadata"]["deletionTimestamp"] = json!("2024-05-01T10:00:00Z");
        shelf.put(&target(), leaving);
        let request = RestoreRequest {
            environment: EnvironmentName::parse("staging").unwrap(),
            point: "p".to_owned(),
            instant: jiff::Timestamp::UNIX_EPOCH,
            source_namespace: "staging".to_owned(),
            target: Target::InPlace,
            existing: Existing::Update,
            prune: false,
            include: Vec::new(),
            exclude: Vec::new(),
            executor: Executor::Dxdr,
            volumes: Volumes::Captured,
            storage_classes: Default::default(),
        };
        let planned =
            PlannedObject { index: 0, target: target(), action: Action::Create, changes: Changes::default(), volume: None };
        let limit = AdaptiveLimit::new(Bounds::default());
        write(shelf.as_ref(), &limit, stop, ("run", &request), &planned, object().to_string().as_bytes()).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_being_deleted_since_the_plan_was_made_is_no_object_that_is_there() {
        let shelf = Arc::new(Shelf::default());
        let begun = Instant::now();
        assert!(matches!(written(&shelf, &StopRequest::new()).await, Written::BeingDeleted));
        assert!(begun.elapsed() >= ENDING);
        // Who is asked to stop does not wait.
        let stop = StopRequest::new();
        stop.ask();
        let begun = Instant::now();
        assert!(matches!(written(&shelf, &stop).await, Written::BeingDeleted));
        assert!(begun.elapsed() < ENDING);
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_is_gone_it_is_created() {
        let shelf = Arc::new(Shelf::default());
        let stop = StopRequest::new();
        let (written, ()) = futures::join!(written(&shelf, &stop), async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            shelf.remove(&target());
        });
        assert!(matches!(written, Written::Created), "{written:?}");
        assert_eq!(shelf.get(&target()).await.unwrap().map(|live| is_being_deleted(&live)), Some(false));
    }
}
