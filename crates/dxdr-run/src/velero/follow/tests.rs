use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

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

/// Keeps what a person would read.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl Reporter for Seen {
    fn report(&self, event: &Event) {
        let text = match event {
            Event::Phase { phase, .. } => phase.clone(),
            Event::Progress { .. } => return,
            Event::Warning { text } => format!("warning: {text}"),
            other => panic!("{other:?}"),
        };
        self.0.lock().unwrap().push(text);
    }
}

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
    /// One after the other, instead.
    statuses: Vec<Value>,
    /// There is another one, which is at work for so many looks.
    other_until: Option<u64>,
}

impl Breaking {
    fn object(&self, done: u64) -> Bytes {
        let phase = if done >= self.complete_at { "Completed" } else { "InProgress" };
        let counted = || json!({"phase": phase, "progress": {"itemsBackedUp": done, "totalItems": self.complete_at}});
        let last = self.statuses.len().saturating_sub(1);
        let status = self.statuses.get(last.min(done as usize)).cloned().unwrap_or_else(counted);
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
        let other = self.other_until.map(|until| {
            let phase = if self.looks.load(Ordering::SeqCst) < until { "InProgress" } else { "Completed" };
            Bytes::from(json!({"status": {"phase": phase}}).to_string())
        });
        Ok(ObjectPage { items: other.into_iter().collect(), resource_version: String::new(), continuation: None })
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
    let cluster = Breaking {
        looks: AtomicU64::new(0),
        watches: AtomicU64::new(0),
        complete_at: 101,
        deleted_at: u64::MAX,
        statuses: Vec::new(),
        other_until: None,
    };
    let object = follow(&cluster, &Silent, &StopRequest::new(), &reference(), "follow", complete).await.unwrap();
    assert_eq!(object["status"]["progress"]["itemsBackedUp"], 101);
    assert!(cluster.watches.load(Ordering::SeqCst) >= 100);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_deletes_is_not_waited_for() {
    let cluster = Breaking {
        looks: AtomicU64::new(0),
        watches: AtomicU64::new(0),
        complete_at: u64::MAX,
        deleted_at: 3,
        statuses: Vec::new(),
        other_until: None,
    };
    let outcome = follow(&cluster, &Silent, &StopRequest::new(), &reference(), "follow", complete).await;
    assert!(matches!(outcome, Err(RunError::Vanished { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn who_asks_to_stop_is_heard_while_a_watch_says_nothing() {
    let cluster = Breaking {
        looks: AtomicU64::new(0),
        watches: AtomicU64::new(3),
        complete_at: u64::MAX,
        deleted_at: u64::MAX,
        statuses: Vec::new(),
        other_until: None,
    };
    let (stop, backup) = (StopRequest::new(), reference());
    let asking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.ask();
    };
    let (outcome, ()) = tokio::join!(follow(&cluster, &Silent, &stop, &backup, "follow", complete), asking);
    assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_up_or_stands_still_is_not_followed_for_ever() {
    let of = |phase: &str| json!({"phase": phase});
    let uploading = of("WaitingForPluginOperations");
    for (status, other_until, phase, minutes) in [
        (json!({}), None, "New", 10..15),
        // It is their turn first.
        (json!({}), Some(100), "New", 30..240),
        (of("Queued"), None, "Queued", 300..310),
        (uploading, None, "WaitingForPluginOperations", 300..310),
    ] {
        let (looks, watches) = (AtomicU64::new(0), AtomicU64::new(0));
        let cluster =
            Breaking { looks, watches, complete_at: u64::MAX, deleted_at: u64::MAX, statuses: vec![status], other_until };
        let outcome = follow(&cluster, &Silent, &StopRequest::new(), &reference(), "follow", complete).await;
        let Err(RunError::Standstill { phase: found, minutes: waited, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(found, phase);
        assert!(minutes.contains(&waited), "{phase}: {waited} min");
    }
}

async fn seen(statuses: Vec<Value>) -> Vec<String> {
    let cluster = Breaking {
        looks: AtomicU64::new(0),
        watches: AtomicU64::new(0),
        complete_at: u64::MAX,
        deleted_at: u64::MAX,
        statuses,
        other_until: None,
    };
    let reporter = Seen::default();
    let over = |object: &Value| phase(object).is_some_and(|phase| ["Completed", "Failed"].contains(&phase));
    follow(&cluster, &reporter, &StopRequest::new(), &reference(), "follow", over).await.unwrap();
    reporter.0.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_place_in_the_queue_is_told_until_it_is_its_turn() {
    let queued = |position: u64| json!({"phase": "Queued", "queuePosition": position});
    let of = |phase: &str| json!({"phase": phase});
    // As Velero 1.18 goes on; a position that is out of date stays behind.
    let ready = json!({"phase": "ReadyToStart", "queuePosition": 1});
    let statuses = vec![
        json!({}),
        queued(2),
        queued(2),
        queued(1),
        ready,
        of("InProgress"),
        of("WaitingForPluginOperations"),
        of("Finalizing"),
        of("Completed"),
    ];
    assert_eq!(
        seen(statuses).await,
        [
            "New",
            "Queued, position 2",
            "Queued, position 1",
            "ReadyToStart",
            "InProgress",
            "WaitingForPluginOperations",
            "Finalizing",
            "Completed"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_an_older_server_leaves_new_is_told_of_once() {
    // Before 1.18 it stays so while another one is at work.
    let mut statuses = vec![json!({"phase": "New"}); 12];
    statuses.extend([json!({"phase": "InProgress"}), json!({"phase": "Failed"})]);
    let seen = seen(statuses).await;
    let warnings: Vec<&String> = seen.iter().filter(|text| text.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{seen:?}");
    assert!(warnings[0].contains("nobody has taken up backups.velero.io velero/a for 30 s"), "{}", warnings[0]);
    assert_eq!(seen.last().unwrap(), "Failed");
}
