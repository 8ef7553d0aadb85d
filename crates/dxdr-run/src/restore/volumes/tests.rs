use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use dxdr_provider::cluster::{Discovery, Executed, ObjectPage, PodCommand, ServerVersion, WatchStream};
use serde_json::json;

use super::*;
use crate::event::Silent;

/// Claims that are bound from so many looks on; one that is not named is not there.
#[derive(Debug, Default)]
struct Claims {
    looks_until_bound: Mutex<BTreeMap<String, u64>>,
    /// What the class of all of them says of when volumes are bound.
    binding: Option<&'static str>,
    deleted: Mutex<Vec<String>>,
}

#[async_trait]
impl Cluster for Claims {
    fn describe(&self) -> String {
        "a cluster".to_owned()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        unreachable!("nobody asks")
    }

    /// There are no pods, and nobody says anything.
    async fn list(&self, _: &ResourceKind, _: &ListScope, _: u32, _: Option<&str>) -> Result<ObjectPage, ClusterError> {
        Ok(ObjectPage { items: Vec::new(), resource_version: "1".to_owned(), continuation: None })
    }

    async fn get(&self, claim: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        if claim.kind.plural == "storageclasses" {
            return Ok(self.binding.map(|mode| Bytes::from(json!({"volumeBindingMode": mode}).to_string())));
        }
        let mut claims = self.looks_until_bound.lock().unwrap();
        let Some(looks) = claims.get_mut(&claim.name) else { return Ok(None) };
        let phase = if *looks == 0 { "Bound" } else { "Pending" };
        *looks = looks.saturating_sub(1);
        Ok(Some(Bytes::from(json!({"spec": {"storageClassName": "fast"}, "status": {"phase": phase}}).to_string())))
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

    async fn delete(&self, object: &ObjectReference, _: Option<&str>, _: &WriteOptions) -> Result<bool, ClusterError> {
        self.deleted.lock().unwrap().push(format!("{} {}", object.kind.kind, object.name));
        Ok(true)
    }
}

fn held(claim: &str) -> Held {
    let reference =
        ObjectReference { kind: volume::snapshots(), namespace: Some("copy".to_owned()), name: format!("dxdr-{claim}") };
    Held { reference, claim: claim.to_owned(), of: None, in_group: false }
}

fn cluster(claims: &[(&str, u64)]) -> Claims {
    let looks_until_bound = claims.iter().map(|(name, looks)| ((*name).to_owned(), *looks)).collect();
    Claims { looks_until_bound: Mutex::new(looks_until_bound), ..Claims::default() }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_let_go_of_when_its_claim_is_bound_or_gone_and_one_that_waits_for_a_pod_is_kept() {
    let cluster = cluster(&[("soon", 3), ("waits", u64::MAX)]);
    let began = tokio::time::Instant::now();
    let snapshots = ["soon", "waits", "gone"].map(held).into();
    let left = let_go(&cluster, &Silent, &StopRequest::new(), "release", snapshots).await.unwrap();
    assert_eq!(left.iter().map(|held| held.claim.as_str()).collect::<Vec<_>>(), ["waits"]);
    let waited = began.elapsed();
    assert!(waited > BINDING && waited < BINDING + Duration::from_secs(1), "{waited:?}");
    assert_eq!(
        *cluster.deleted.lock().unwrap(),
        ["gone", "soon"]
            .map(|name| [format!("VolumeSnapshot dxdr-{name}"), format!("VolumeSnapshotContent dxdr-{name}")])
            .concat()
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_when_all_claims_are_bound_or_somebody_asks_to_stop() {
    let began = tokio::time::Instant::now();
    let bound = let_go(&cluster(&[("data", 0)]), &Silent, &StopRequest::new(), "release", vec![held("data")]).await;
    assert!(bound.unwrap().is_empty());
    assert_eq!(began.elapsed(), Duration::ZERO);
    let stop = StopRequest::new();
    stop.ask();
    let stopped = let_go(&cluster(&[("data", u64::MAX)]), &Silent, &stop, "release", vec![held("data")]).await;
    assert!(matches!(stopped, Err(RunError::Interrupted)));
}

#[tokio::test]
async fn a_claim_that_is_not_bound_has_failed_unless_its_class_waits_for_a_pod_that_is_not_there() {
    let failed = |binding| async move {
        let cluster = Claims { binding, ..cluster(&[("data", u64::MAX)]) };
        let failed = not_bound(&cluster, &Silent, ("a-run", "copy"), &[held("data")]).await.unwrap();
        failed.into_iter().map(|error| (error.object, error.message)).collect::<Vec<_>>()
    };
    assert_eq!(failed(Some("WaitForFirstConsumer")).await, []);
    let immediate = failed(Some("Immediate")).await;
    assert_eq!(immediate[0].0, "persistentvolumeclaims copy/data");
    assert!(immediate[0].1.starts_with("it is not bound after 120 s: nobody says why"), "{immediate:?}");
    assert!(immediate[0].1.contains("-l dxdr.io/run=a-run -n copy"), "{immediate:?}");
    assert!(failed(None).await[0].1.contains("`fast` is not in the cluster"));
}
