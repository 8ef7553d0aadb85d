//! Looking at a cluster and at stores, for [`dxdr_plan::readiness::judge`].
//!
//! Objects of reviews are answers and are stored nowhere. Two things are written, and removed again: a ServerStatusRequest, by which
//! Velero says its version, and a small object in each store.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use dxdr_catalog::name;
use dxdr_environment::{DiscoveredKind, Environment, ObjectReference, ResourceKind};
use dxdr_format::velero::layout::TOP_LEVEL_DIRECTORIES;
use dxdr_plan::{
    readiness::{
        Activity, Answer, ClaimObserved, Model, Observed, Right, RightsAnswered, StoreObserved, Trouble, VeleroObserved, Writing,
        activities,
    },
    velero::{
        CredentialObserved, Observed as VeleroObjects, kind as velero_kind, schedules, snapshot_locations, storage_locations,
    },
};
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind, StorageError, StorageErrorKind,
    cluster::{ListScope, WriteOptions},
    object_storage::PutCondition,
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    comparison::listed,
    error::RunError,
    store::Store,
    velero::server::{self, FIELD_MANAGER},
};

/// Questions about rights that are under way at the same time.
const QUESTIONS_IN_FLIGHT: usize = 16;
/// What the object says that is written into a store and removed again.
const PROBE: &str = "written by `dxdr check --cluster` and removed again; it may be deleted\n";

/// What the adapters know about their errors: what to do next.
#[derive(Debug, Clone, Copy)]
pub struct Remedies {
    /// About a cluster's failure.
    pub cluster: fn(&ClusterError) -> Vec<String>,
    /// About a store's failure.
    pub storage: fn(&StorageError) -> Vec<String>,
}

/// Where to look.
#[derive(Debug)]
pub struct Look<'a> {
    /// What the model promises.
    pub model: Model<'a>,
    /// The cluster, where there is a way to it.
    pub cluster: Answer<Arc<dyn Cluster>>,
    /// Every store, by name, where there is a way to it.
    pub stores: BTreeMap<String, Answer<Store>>,
    /// What to do about errors.
    pub remedies: Remedies,
    /// Write nothing at all: neither a ServerStatusRequest nor into a store.
    pub dry_run: bool,
    /// For the names of what is written.
    pub seed: u64,
}

/// Looks. What cannot be seen is part of the answer.
pub async fn observe(look: &Look<'_>) -> Observed {
    let mut observed = Observed {
        cluster: String::new(),
        version: Err(Trouble { message: "nobody asked".to_owned(), hints: Vec::new(), unreachable: false }),
        kinds: Vec::new(),
        failed_groups: Vec::new(),
        user: None,
        velero: Ok(None),
        stores: BTreeMap::new(),
        snapshot_classes: Ok(Vec::new()),
        claims: BTreeMap::new(),
        rights: Vec::new(),
    };
    match &look.cluster {
        Ok(cluster) => look.cluster(cluster.as_ref(), &mut observed).await,
        Err(trouble) => observed.version = Err(trouble.clone()),
    }
    for (name, store) in &look.stores {
        observed.stores.insert(name.clone(), look.store(store).await);
    }
    observed
}

impl Look<'_> {
    fn trouble(&self, error: &ClusterError) -> Trouble {
        let unreachable =
            matches!(error.kind, ClusterErrorKind::Forbidden | ClusterErrorKind::Unauthenticated) || error.kind.retryable();
        Trouble { message: chain(error), hints: (self.remedies.cluster)(error), unreachable }
    }

    fn storage_trouble(&self, error: &StorageError) -> Trouble {
        let denied = [StorageErrorKind::Forbidden, StorageErrorKind::Unauthenticated, StorageErrorKind::NoSuchStore];
        let unreachable = denied.contains(&error.kind) || error.kind.retryable();
        Trouble { message: chain(error), hints: (self.remedies.storage)(error), unreachable }
    }

    fn run_trouble(&self, error: &RunError) -> Trouble {
        match error {
            RunError::Cluster(error) => self.trouble(error),
            RunError::NoVelero { source, .. } => self.trouble(source),
            error => Trouble { message: chain(error), hints: Vec::new(), unreachable: false },
        }
    }

    async fn cluster(&self, cluster: &dyn Cluster, observed: &mut Observed) {
        observed.cluster = cluster.describe();
        observed.version = match cluster.version().await {
            Ok(version) => Ok(version.git_version),
            Err(error) => return observed.version = Err(self.trouble(&error)),
        };
        match cluster.discover().await {
            Ok(discovery) => {
                observed.kinds = discovery.kinds;
                observed.failed_groups = discovery.failed_groups;
            }
            Err(error) => return observed.version = Err(self.trouble(&error)),
        }
        let serves = |group: &str, plural: &str| {
            let found = observed.kinds.iter().find(|kind| kind.kind.group == group && kind.kind.plural == plural);
            found.map(|kind| kind.kind.clone())
        };
        observed.user = user(cluster).await;
        if serves("velero.io", "backups").is_some() {
            observed.velero = self.velero(cluster).await;
        }
        if let Some(classes) = serves("snapshot.storage.k8s.io", "volumesnapshotclasses") {
            observed.snapshot_classes = listed(cluster, &classes, &everywhere()).await.map_err(|error| self.run_trouble(&error));
        }
        for (environment, _) in self.model.with_volumes() {
            let claims = claims(cluster, environment).await.map_err(|error| self.run_trouble(&error));
            observed.claims.insert(environment.name.clone(), claims);
        }
        observed.rights = self.rights(cluster, &observed.kinds).await;
    }

    async fn velero(&self, cluster: &dyn Cluster) -> Answer<Option<VeleroObserved>> {
        let namespace = self.model.velero_namespace;
        let trouble = |error: RunError| self.run_trouble(&error);
        let deployment = deployment(cluster, namespace).await;
        let node_agent = visible(cluster, &of("apps", "DaemonSet", "daemonsets"), namespace, "node-agent").await;
        let schedules = server::objects(cluster, &schedules(), namespace).await.map_err(trouble)?;
        let locations = server::objects(cluster, &storage_locations(), namespace).await.map_err(trouble)?;
        let snapshot_locations = server::objects(cluster, &snapshot_locations(), namespace).await.map_err(trouble)?;
        let status = if self.dry_run {
            None
        } else {
            match server::status(cluster, namespace, self.seed).await {
                Ok(status) => status,
                // Its kinds are left over from an installation that is gone, or it is in another namespace.
                Err(RunError::NoVelero { .. }) => return Ok(None),
                Err(error) => return Err(trouble(error)),
            }
        };
        if self.dry_run && deployment.is_none() && locations.is_empty() {
            return Ok(None);
        }
        let mut credentials = BTreeMap::new();
        for location in &locations {
            if let Some(secret) = location.pointer("/spec/credential/name").and_then(Value::as_str) {
                credentials.insert(secret.to_owned(), credential(cluster, namespace, secret).await);
            }
        }
        let (server_version, plugins) = status.map(|status| (status.version, status.plugins)).unzip();
        Ok(Some(VeleroObserved {
            objects: VeleroObjects {
                server_version,
                plugins: plugins.unwrap_or_default(),
                schedules,
                locations,
                snapshot_locations,
                credentials,
                // Classes and claims have rows of their own.
                ..VeleroObjects::default()
            },
            asked: !self.dry_run,
            deployment,
            node_agent,
        }))
    }

    async fn rights(&self, cluster: &dyn Cluster, kinds: &[DiscoveredKind]) -> Vec<(Activity, RightsAnswered)> {
        let everything = Right { verb: "*".to_owned(), group: "*".to_owned(), resource: "*".to_owned(), namespace: None };
        let administrator = matches!(allowed(cluster, &everything).await, Ok(true));
        let mut answered = Vec::new();
        for activity in activities(&self.model, kinds) {
            let answers = stream::iter(activity.rights.clone()).map(|right| async move {
                let answer = if administrator { Ok(true) } else { allowed(cluster, &right).await };
                (right, answer.map_err(|error| self.trouble(&error)))
            });
            let answers = answers.buffered(QUESTIONS_IN_FLIGHT).collect().await;
            answered.push((activity, answers));
        }
        answered
    }

    async fn store(&self, store: &Answer<Store>) -> StoreObserved {
        let store = match store {
            Ok(store) => store,
            Err(trouble) => {
                return StoreObserved { place: String::new(), unknown_folders: Err(trouble.clone()), writing: Writing::NotTried };
            }
        };
        let place = store.storage.describe();
        let folders = match store.folders(store.layout.velero_prefix()).await {
            Ok(folders) => folders,
            // A directory that is not there yet is made by the first run.
            Err(error) if error.kind == StorageErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let trouble = self.storage_trouble(&error);
                return StoreObserved { place, unknown_folders: Err(trouble), writing: Writing::NotTried };
            }
        };
        let unknown = folders.into_iter().filter(|folder| !TOP_LEVEL_DIRECTORIES.contains(&folder.as_str())).collect();
        let writing = if self.dry_run { Writing::NotTried } else { self.write(store).await };
        StoreObserved { place, unknown_folders: Ok(unknown), writing }
    }

    /// Writes a small object twice, of which the second must be refused, and removes it.
    async fn write(&self, store: &Store) -> Writing {
        let key = store.layout.probe_key(&name::tail(self.seed));
        if let Err(error) = store.write(&key, PROBE, PutCondition::IfAbsent).await {
            return Writing::Refused(self.storage_trouble(&error));
        }
        let again = store.write(&key, PROBE, PutCondition::IfAbsent).await;
        if let Err(error) = store.storage.delete(&key).await {
            return Writing::NotRemoved(key, self.storage_trouble(&error));
        }
        match again {
            Ok(()) => Writing::Unconditional,
            Err(error) if error.kind == StorageErrorKind::AlreadyExists => Writing::Works,
            Err(error) => Writing::Refused(self.storage_trouble(&error)),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

pub(crate) fn everywhere() -> ListScope {
    ListScope { namespace: None, label_selector: None }
}

fn of(group: &str, kind: &str, plural: &str) -> ResourceKind {
    ResourceKind { group: group.to_owned(), version: "v1".to_owned(), ..velero_kind(kind, plural) }
}

fn cluster_scoped(group: &str, kind: &str, plural: &str) -> ResourceKind {
    ResourceKind { namespaced: false, ..of(group, kind, plural) }
}

/// That of Velero's server, where it is and we may see it.
pub(crate) async fn deployment(cluster: &dyn Cluster, namespace: &str) -> Option<Value> {
    visible(cluster, &of("apps", "Deployment", "deployments"), namespace, "velero").await
}

/// The object, where it is and we may see it.
async fn visible(cluster: &dyn Cluster, kind: &ResourceKind, namespace: &str, name: &str) -> Option<Value> {
    let reference = ObjectReference { kind: kind.clone(), namespace: Some(namespace.to_owned()), name: name.to_owned() };
    serde_json::from_slice(&cluster.get(&reference).await.ok()??).ok()
}

/// Which keys a Secret has; its values are dropped here.
pub(crate) async fn credential(cluster: &dyn Cluster, namespace: &str, name: &str) -> CredentialObserved {
    let reference =
        ObjectReference { kind: of("", "Secret", "secrets"), namespace: Some(namespace.to_owned()), name: name.to_owned() };
    match cluster.get(&reference).await {
        Ok(Some(secret)) => {
            let secret: Value = serde_json::from_slice(&secret).unwrap_or_default();
            let data = secret.get("data").and_then(Value::as_object);
            CredentialObserved::Keys(data.into_iter().flat_map(|data| data.keys().cloned()).collect())
        }
        Ok(None) => CredentialObserved::Missing,
        Err(error) => CredentialObserved::Hidden(error.message),
    }
}

/// The claims of an environment, each with the CSI driver of its volume.
pub(crate) async fn claims(cluster: &dyn Cluster, environment: &Environment) -> Result<Vec<ClaimObserved>, RunError> {
    let scope = ListScope { namespace: Some(environment.namespace.to_string()), label_selector: None };
    let claims = listed(cluster, &of("", "PersistentVolumeClaim", "persistentvolumeclaims"), &scope).await?;
    let mut observed = Vec::with_capacity(claims.len());
    for claim in claims {
        let text = |pointer: &str| claim.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        let driver = match text("/spec/volumeName") {
            Some(volume) => of_volume(cluster, volume).await?,
            None => match text("/metadata/annotations/volume.kubernetes.io~1storage-provisioner") {
                Some(provisioner) => Some(provisioner.to_owned()),
                None => of_class(cluster, text("/spec/storageClassName")).await?,
            },
        };
        // What Kubernetes brings along itself takes no snapshots.
        let driver = driver.filter(|driver| !driver.starts_with("kubernetes.io/"));
        observed.push(ClaimObserved { name: text("/metadata/name").unwrap_or_default().to_owned(), driver });
    }
    Ok(observed)
}

async fn of_volume(cluster: &dyn Cluster, name: &str) -> Result<Option<String>, RunError> {
    field(cluster, cluster_scoped("", "PersistentVolume", "persistentvolumes"), name, "/spec/csi/driver").await
}

async fn of_class(cluster: &dyn Cluster, name: Option<&str>) -> Result<Option<String>, RunError> {
    let Some(name) = name else { return Ok(None) };
    field(cluster, cluster_scoped("storage.k8s.io", "StorageClass", "storageclasses"), name, "/provisioner").await
}

async fn field(cluster: &dyn Cluster, kind: ResourceKind, name: &str, pointer: &str) -> Result<Option<String>, RunError> {
    let found = cluster.get(&ObjectReference { kind, namespace: None, name: name.to_owned() }).await?;
    let object: Value = found.and_then(|object| serde_json::from_slice(&object).ok()).unwrap_or_default();
    Ok(object.pointer(pointer).and_then(Value::as_str).map(str::to_owned))
}

/// Asks a review; the answer is the object with its status, and nothing is stored.
async fn review(cluster: &dyn Cluster, kind: ResourceKind, spec: Value) -> Result<Value, ClusterError> {
    let mut question = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {}});
    if !spec.is_null() {
        question["spec"] = spec;
    }
    let options = WriteOptions { manager: FIELD_MANAGER.to_owned(), dry_run: false, retry: true };
    let reference = ObjectReference { kind, namespace: None, name: "question".to_owned() };
    let answer = cluster.create(&reference, Bytes::from(question.to_string()), &options).await?;
    Ok(serde_json::from_slice(&answer).unwrap_or_default())
}

async fn allowed(cluster: &dyn Cluster, right: &Right) -> Result<bool, ClusterError> {
    let mut attributes = json!({"verb": right.verb, "group": right.group, "resource": right.resource});
    if let Some(namespace) = &right.namespace {
        attributes["namespace"] = namespace.as_str().into();
    }
    let kind = cluster_scoped("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews");
    let answer = review(cluster, kind, json!({"resourceAttributes": attributes})).await?;
    Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
}

async fn user(cluster: &dyn Cluster) -> Option<String> {
    let kind = cluster_scoped("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews");
    let answer = review(cluster, kind, Value::Null).await.ok()?;
    answer.pointer("/status/userInfo/username").and_then(Value::as_str).map(str::to_owned)
}
