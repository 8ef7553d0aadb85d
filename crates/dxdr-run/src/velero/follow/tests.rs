use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dxdr_environment::ResourceKind;
use dxdr_plan::velero::backups;
use dxdr_provider::{
    Cluster, ClusterError, ClusterErrorKind,
    cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream, WriteOptions},
};
use serde_json::json;

use super::*;
use crate::event::Silent;

fn reference() -> ObjectReference {
    ObjectReference { kind: backups(), namespace: Some("velero".to_owned()), name: "a".to_owned() }
}

fn complete(object: &Value) -> bool {
    phase(object) == Some("Completed")
}

/// A Backup that moves on by one object with every look, and whose watches break in every way there is.
#[derive(Debug)]
struct Breaking {
    looks: AtomicU64,
    watches: AtomicU64,
    /// Looks until it is complete.
    complete_at: u64,
    deleted_at: u64,
}

impl Breaking {
    fn object(&self, done: u64) -> Bytes {
        let phase = if done >= self.complete_at { "Completed" } else { "InProgress" };
        let status = json!({"phase": phase, "progress": {"itemsBackedUp": done, "totalItems": self.complete_at}});
        Bytes::from(json!({"metadata": {"resourceVersion": done.to_string()}, "status": status}).to_string())
    }

    fn error(kind: ClusterErrorKind) -> ClusterError {
        let (object, cluster, message) = ("a backup".to_owned(), "a cluster".to_owned(), "cut off".to_owned());
        ClusterError { kind, action: "watch", object, cluster, message, source: None }
    }
}

#[async_trait]
impl Cluster for Breaking {
    fn describe(&self) -> String {
        "a cluster".to_owned()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn list(&self, _: &ResourceKind, _: &ListScope, _: u32, _: Option<&str>) -> Result<ObjectPage, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn get(&self, _: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        Ok((look < self.deleted_at).then(|| self.object(look)))
    }

    async fn watch(&self, _: &ObjectReference, version: &str) -> Result<WatchStream, ClusterError> {
        let done: u64 = version.parse().unwrap();
        let progress = Ok(WatchEvent::Applied(self.object(done)));
        match self.watches.fetch_add(1, Ordering::SeqCst) % 4 {
            0 => Err(Self::error(ClusterErrorKind::Unreachable)),
            1 => Ok(Box::pin(futures::stream::iter([Err(Self::error(ClusterErrorKind::Expired))]))),
            2 => Ok(Box::pin(futures::stream::iter([progress, Err(Self::error(ClusterErrorKind::Unreachable))]))),
            _ => Ok(Box::pin(futures::stream::pending())),
        }
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

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_a_hundred_times_loses_nothing() {
    let cluster = Breaking { looks: AtomicU64::new(0), watches: AtomicU64::new(0), complete_at: 101, deleted_at: u64::MAX };
    let object = follow(&cluster, &Silent, &StopRequest::new(), &reference(), "follow", complete).await.unwrap();
    assert_eq!(object["status"]["progress"]["itemsBackedUp"], 101);
    assert!(cluster.watches.load(Ordering::SeqCst) >= 100);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deletes_is_not_waited_for() {
    let cluster = Breaking { looks: AtomicU64::new(0), watches: AtomicU64::new(0), complete_at: u64::MAX, deleted_at: 3 };
    let outcome = follow(&cluster, &Silent, &StopRequest::new(), &reference(), "follow", complete).await;
    assert!(matches!(outcome, Err(RunError::Vanished { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_stop_is_heard_while_a_watch_says_nothing() {
    let cluster = Breaking { looks: AtomicU64::new(0), watches: AtomicU64::new(3), complete_at: u64::MAX, deleted_at: u64::MAX };
    let (stop, backup) = (StopRequest::new(), reference());
    let asking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.ask();
    };
    let (outcome, ()) = tokio::join!(follow(&cluster, &Silent, &stop, &backup, "follow", complete), asking);
    assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
}
