use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use dxdr_environment::{DiscoveredKind, EnvironmentName};
use dxdr_format::layout::StoreLayout;
use dxdr_plan::backup::{self, BackupRequest};
use dxdr_provider::{
    ObjectStorage, StorageError,
    clock::SystemClock,
    cluster::{Discovery, Executed, PodCommand, ServerVersion, WatchStream, WriteOptions},
    object_storage::{ListPage, ListRequest, ObjectReader, ObjectStat},
};
use futures::StreamExt;
use serde_json::json;

use super::*;
use crate::{event::Silent, stop::StopRequest, store::Store};

/// What a list answers: its resourceVersion, the names on the page, and whether more follow.
pub(crate) type Page = Result<(&'static str, &'static [&'static str], bool), ClusterErrorKind>;

/// Lists objects from pages that a test wrote down, and without any three pages of every kind; nobody asks for anything else. What is not
/// in a namespace binds `staging/api`.
#[derive(Debug)]
struct Pageant {
    pages: Vec<Page>,
    next: AtomicU32,
}

#[async_trait]
impl Cluster for Pageant {
    fn describe(&self) -> String {
        "pageant".into()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn list(
        &self,
        kind: &ResourceKind,
        _: &ListScope,
        _: u32,
        continuation: Option<&str>,
    ) -> Result<ObjectPage, ClusterError> {
        if self.pages.is_empty() {
            let page: u32 = continuation.map_or(0, |page| page.parse().unwrap());
            let item = json!({"metadata": {"name": format!("page-{page}"), "namespace": "staging"}});
            tokio::task::yield_now().await;
            return Ok(ObjectPage {
                items: vec![Bytes::from(item.to_string())],
                resource_version: "7".to_owned(),
                continuation: (page < 2).then(|| (page + 1).to_string()),
            });
        }
        let number = self.next.fetch_add(1, Ordering::SeqCst) as usize;
        match &self.pages[number] {
            Ok((resource_version, names, more)) => Ok(ObjectPage {
                items: names
                    .iter()
                    .map(|name| {
                        let object = if kind.namespaced {
                            json!({"metadata": {"name": name, "namespace": "staging"}})
                        } else {
                            json!({"metadata": {"name": name}, "subjects": [{"kind": "ServiceAccount", "namespace": "staging", "name": "api"}]})
                        };
                        Bytes::from(object.to_string())
                    })
                    .collect(),
                resource_version: (*resource_version).to_owned(),
                continuation: more.then(|| "more".to_owned()),
            }),
            Err(error) => Err(ClusterError {
                kind: error.clone(),
                action: "list",
                object: kind.to_string(),
                cluster: "pageant".into(),
                message: "refused".into(),
                source: None,
            }),
        }
    }

    async fn get(&self, _: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn watch(&self, _: &ObjectReference, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn watch_all(&self, _: &ResourceKind, _: &ListScope, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn create(&self, _: &ObjectReference, _: Bytes, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn apply(&self, _: &ObjectReference, _: Bytes, _: bool, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn replace(&self, _: &ObjectReference, _: Bytes, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn execute(&self, _: &PodCommand) -> Result<Executed, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn delete(&self, _: &ObjectReference, _: Option<&str>, _: &WriteOptions) -> Result<bool, ClusterError> {
        unreachable!("nobody asks")
    }
}

/// Takes an archive and forgets it.
#[derive(Debug)]
struct Sink;

#[async_trait]
impl ObjectStorage for Sink {
    fn describe(&self) -> String {
        "sink".into()
    }

    async fn put(&self, key: &str, body: ObjectBody, _: PutCondition) -> Result<ObjectStat, StorageError> {
        let ObjectBody::Stream(mut stream) = body else { unreachable!("archives are streamed") };
        let mut size = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            size += chunk.len() as u64;
        }
        Ok(ObjectStat { key: key.to_owned(), size, modified: None, tag: None })
    }

    async fn get(&self, _: &str, _: Option<std::ops::Range<u64>>) -> Result<ObjectReader, StorageError> {
        unreachable!("nobody asks")
    }

    async fn list(&self, _: &ListRequest) -> Result<ListPage, StorageError> {
        unreachable!("nobody asks")
    }

    async fn stat(&self, _: &str) -> Result<ObjectStat, StorageError> {
        unreachable!("nobody asks")
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        unreachable!("nobody asks")
    }
}

pub(crate) fn kind(group: &str, kind: &str, namespaced: bool) -> DiscoveredKind {
    let singular = kind.to_lowercase();
    DiscoveredKind {
        kind: ResourceKind {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: format!("{singular}s"),
            namespaced,
        },
        verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
        short_names: Vec::new(),
        singular,
        served_versions: vec!["v1".into()],
    }
}

/// Captures `staging`, whose ConfigMaps come in `pages`: revision, names, whether more follow.
async fn captured(pages: Vec<Page>) -> Captured {
    captured_of(pages, &[kind("", "ConfigMap", true)]).await
}

/// The world of a run that writes nothing but archives, in a cluster.
pub(crate) fn context(cluster: Arc<dyn Cluster>) -> RunContext {
    RunContext {
        store: Store { name: "sink".into(), storage: Arc::new(Sink), layout: StoreLayout::new("") },
        declared: None,
        cluster,
        clock: Arc::new(SystemClock),
        reporter: Arc::new(Silent),
        stop: StopRequest::new(),
        holder: "test".into(),
        lease_namespace: "dxdr-system".into(),
        velero_namespace: dxdr_plan::velero::NAMESPACE.to_owned(),
        sealing: None,
        databases: None,
        instances: None,
        program: "test".into(),
    }
}

/// A backup of `staging`.
pub(crate) fn plan(kinds: &[DiscoveredKind]) -> BackupPlan {
    let request = BackupRequest::of_environment(EnvironmentName::parse("staging").unwrap(), vec!["staging".into()]);
    backup::plan(&request, kinds, &[], "2024-05-01T10:00:00Z".parse().unwrap(), 1).unwrap()
}

/// A cluster that lists from `pages`.
pub(crate) fn pageant(pages: Vec<Page>) -> Arc<dyn Cluster> {
    Arc::new(Pageant { pages, next: AtomicU32::new(0) })
}

async fn captured_of(pages: Vec<Page>, kinds: &[DiscoveredKind]) -> Captured {
    let context = context(pageant(pages));
    capture(&context, &plan(kinds), &[], "archive").await.unwrap()
}

fn names(captured: &Captured) -> Vec<&str> {
    captured.resource_list["v1/ConfigMap"].iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_list_in_no_order_is_captured_whole() {
    let captured = captured(vec![Ok(("7", &["b", "c"], true)), Ok(("7", &["a", "d"], false))]).await;
    assert_eq!(names(&captured), ["staging/a", "staging/b", "staging/c", "staging/d"]);
    assert_eq!((captured.items, captured.gaps.len(), captured.kinds[0].items), (4, 0, 4));
}

#[tokio::test]
async fn a_list_that_began_again_has_each_object_once_and_is_called_incomplete() {
    let pages = vec![
        Ok(("7", &["a", "c"][..], true)),
        Err(ClusterErrorKind::Expired),
        Ok(("9", &["a", "b", "c"][..], true)),
        Ok(("9", &["d"][..], false)),
    ];
    let captured = captured(pages).await;
    assert_eq!(names(&captured), ["staging/a", "staging/b", "staging/c", "staging/d"]);
    assert_eq!(captured.gaps.len(), 1, "{:?}", captured.gaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_long_lists_come_to_their_end_whatever_order_their_tasks_run_in() {
    let kinds: Vec<DiscoveredKind> = (0..40).map(|number| kind("", &format!("Kind{number:02}"), true)).collect();
    for _ in 0..50 {
        let kinds = kinds.clone();
        // On a worker, where the task that was spawned last runs first.
        let capturing = tokio::spawn(async move { captured_of(Vec::new(), &kinds).await });
        // Lists that wait for each other wait for ever.
        let captured = tokio::time::timeout(std::time::Duration::from_secs(60), capturing).await.expect("it hangs").unwrap();
        assert_eq!((captured.items, captured.gaps.len()), (120, 0));
    }
}

#[tokio::test]
async fn a_related_list_whose_state_the_server_forgot_begins_again() {
    let kinds = [kind("", "ServiceAccount", true), kind("rbac.authorization.k8s.io", "ClusterRoleBinding", false)];
    let pages = vec![
        Ok(("7", &["api"][..], false)),
        Ok(("8", &["a", "b"][..], true)),
        Err(ClusterErrorKind::Expired),
        Ok(("9", &["a", "b", "c"][..], false)),
    ];
    let captured = captured_of(pages, &kinds).await;
    assert_eq!(captured.resource_list["rbac.authorization.k8s.io/v1/ClusterRoleBinding"], ["a", "b", "c"]);
    assert!(captured.gaps.is_empty(), "{:?}", captured.gaps);
}
