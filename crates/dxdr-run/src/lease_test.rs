use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use dxdr_provider::cluster::{Discovery, Executed, ListScope, ObjectPage, PodCommand, ServerVersion, WatchStream};

use super::*;

/// Objects by name, with resource versions; no more than a Lease needs.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    objects: Mutex<HashMap<String, Value>>,
    down: AtomicBool,
    /// Takes requests and never answers.
    silent: AtomicBool,
    namespace_missing: AtomicBool,
    /// Writes until one fails, from 1; 0: none does.
    fails_in: AtomicUsize,
}

impl Shelf {
    fn error(&self, kind: ClusterErrorKind, reference: &ObjectReference) -> ClusterError {
        let message = format!("{kind:?}");
        ClusterError { kind, action: "touch", object: reference.to_string(), cluster: "shelf".into(), message, source: None }
    }

    /// Puts an object there, as somebody else.
    pub(crate) fn put(&self, reference: &ObjectReference, object: Value) {
        self.objects.lock().unwrap().insert(reference.to_string(), object);
    }

    /// Takes one away.
    pub(crate) fn remove(&self, reference: &ObjectReference) {
        self.objects.lock().unwrap().remove(&reference.to_string());
    }

    fn lease(&self) -> Value {
        self.objects.lock().unwrap()["leases.coordination.k8s.io dxdr-system/dxdr-staging"].clone()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        change(self.objects.lock().unwrap().get_mut("leases.coordination.k8s.io dxdr-system/dxdr-staging").unwrap());
    }

    /// Fails one write, after so many that do not.
    pub(crate) fn fail_after(&self, writes: usize) {
        self.fails_in.store(writes + 1, Ordering::SeqCst);
    }

    fn written(&self, reference: &ObjectReference) -> Result<(), ClusterError> {
        let left = self.fails_in.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if left == Ok(1) { Err(self.error(ClusterErrorKind::Unreachable, reference)) } else { self.reachable(reference) }
    }

    fn reachable(&self, reference: &ObjectReference) -> Result<(), ClusterError> {
        if self.down.load(Ordering::SeqCst) { Err(self.error(ClusterErrorKind::Unreachable, reference)) } else { Ok(()) }
    }
}

#[async_trait]
impl Cluster for Shelf {
    fn describe(&self) -> String {
        "shelf".into()
    }

    async fn version(&self) -> Result<ServerVersion, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn discover(&self) -> Result<Discovery, ClusterError> {
        Ok(Discovery::default())
    }

    async fn list(&self, _: &ResourceKind, _: &ListScope, _: u32, _: Option<&str>) -> Result<ObjectPage, ClusterError> {
        Ok(ObjectPage { items: Vec::new(), resource_version: "1".to_owned(), continuation: None })
    }

    async fn get(&self, reference: &ObjectReference) -> Result<Option<Bytes>, ClusterError> {
        self.reachable(reference)?;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.objects.lock().unwrap().get(&reference.to_string()).map(|object| Bytes::from(object.to_string())))
    }

    async fn watch(&self, _: &ObjectReference, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn watch_all(&self, _: &ResourceKind, _: &ListScope, _: &str) -> Result<WatchStream, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn create(&self, reference: &ObjectReference, body: Bytes, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.written(reference)?;
        if reference.kind.plural == "namespaces" {
            self.namespace_missing.store(false, Ordering::SeqCst);
        } else if self.namespace_missing.load(Ordering::SeqCst) {
            return Err(self.error(ClusterErrorKind::NotFound, reference));
        }
        let mut objects = self.objects.lock().unwrap();
        if objects.contains_key(&reference.to_string()) {
            return Err(self.error(ClusterErrorKind::AlreadyExists, reference));
        }
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        object["metadata"]["resourceVersion"] = json!("1");
        objects.insert(reference.to_string(), object);
        Ok(body)
    }

    async fn apply(&self, _: &ObjectReference, _: Bytes, _: bool, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn replace(&self, reference: &ObjectReference, body: Bytes, _: &WriteOptions) -> Result<Bytes, ClusterError> {
        self.written(reference)?;
        let mut objects = self.objects.lock().unwrap();
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        let Some(there) = objects.get(&reference.to_string()) else {
            return Err(self.error(ClusterErrorKind::NotFound, reference));
        };
        if there["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return Err(self.error(ClusterErrorKind::Conflict, reference));
        }
        let version: u64 = there["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        objects.insert(reference.to_string(), object);
        Ok(body)
    }

    async fn execute(&self, _: &PodCommand) -> Result<Executed, ClusterError> {
        unreachable!("nobody asks")
    }

    async fn delete(&self, _: &ObjectReference, _: Option<&str>, _: &WriteOptions) -> Result<bool, ClusterError> {
        unreachable!("nobody asks")
    }
}

#[derive(Debug)]
struct Hands(Mutex<Timestamp>);

impl Hands {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(text.parse().unwrap())))
    }

    fn advance(&self, seconds: i64) {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(seconds);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn lock(shelf: &Arc<Shelf>, clock: &Arc<Hands>, holder: &str, run: &str) -> Lock {
    Lock {
        cluster: shelf.clone(),
        clock: clock.clone(),
        namespace: "dxdr-system".into(),
        environment: "staging".into(),
        holder: holder.into(),
        run: run.into(),
        duration: DURATION,
    }
}

fn world() -> (Arc<Shelf>, Arc<Hands>) {
    (Arc::new(Shelf::default()), Hands::at("2026-05-01T10:00:00Z"))
}

#[tokio::test]
async fn one_run_holds_and_the_next_is_told_who_does() {
    let (shelf, clock) = world();
    shelf.namespace_missing.store(true, Ordering::SeqCst);
    lock(&shelf, &clock, "desk/one", "backup-1").acquire().await.unwrap();
    let spec = &shelf.lease()["spec"];
    assert_eq!(spec["holderIdentity"], "desk/one");
    assert_eq!(spec["renewTime"], "2026-05-01T10:00:00.000000Z");
    assert_eq!(spec["leaseDurationSeconds"], 15);
    assert_eq!(spec["leaseTransitions"], 0);
    let error = lock(&shelf, &clock, "desk/two", "restore-1").acquire().await.unwrap_err();
    assert_eq!(error.to_string(), "environment `staging` is held by desk/one since 2026-05-01T10:00:00Z, run backup-1");
}

#[tokio::test]
async fn a_released_or_expired_lease_is_free() {
    let (shelf, clock) = world();
    let first = lock(&shelf, &clock, "desk/one", "backup-1");
    first.acquire().await.unwrap();
    first.release().await.unwrap();
    let second = lock(&shelf, &clock, "desk/two", "restore-1");
    second.acquire().await.unwrap();
    assert_eq!(shelf.lease()["spec"]["leaseTransitions"], 1);
    // What is not ours any more is not given back by us.
    first.release().await.unwrap();
    assert_eq!(shelf.lease()["spec"]["holderIdentity"], "desk/two");
    clock.advance(15);
    lock(&shelf, &clock, "desk/three", "restore-2").acquire().await.unwrap_err();
    clock.advance(1);
    lock(&shelf, &clock, "desk/three", "restore-2").acquire().await.unwrap();
    assert!(matches!(second.renew().await.unwrap(), Renewal::Lost(reason) if reason == "desk/three took it"));
}

#[tokio::test]
async fn of_two_who_want_it_at_once_one_gets_it() {
    let (shelf, clock) = world();
    for round in 0..20 {
        let runs = (0..8).map(|number| {
            let lock = lock(&shelf, &clock, &format!("desk/{round}-{number}x"), &format!("run-{round}-{number}"));
            tokio::spawn(async move { lock.acquire().await.is_ok() })
        });
        let mut winners = 0;
        for run in runs.collect::<Vec<_>>() {
            winners += usize::from(run.await.unwrap());
        }
        assert_eq!(winners, 1);
        clock.advance(16);
    }
}

#[tokio::test]
async fn a_run_takes_over_from_its_own_process_that_is_gone() {
    let (shelf, clock) = world();
    // No process has this number: it is above the largest that Linux gives.
    lock(&shelf, &clock, "desk/4194305/1", "backup-1").acquire().await.unwrap();
    let own = format!("desk/{}/2", std::process::id());
    lock(&shelf, &clock, &own, "another-run").acquire().await.unwrap_err();
    if Path::new("/proc/self").exists() {
        lock(&shelf, &clock, &own, "backup-1").acquire().await.unwrap();
        assert_eq!(shelf.lease()["spec"]["holderIdentity"], own.as_str());
    }
}

#[tokio::test]
async fn a_run_that_still_renews_elsewhere_is_left_alone() {
    let (shelf, clock) = world();
    lock(&shelf, &clock, "other-desk/1", "backup-1").acquire().await.unwrap();
    let (renewing, hands) = (shelf.clone(), clock.clone());
    let renewal = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        hands.advance(5);
        lock(&renewing, &hands, "other-desk/1", "backup-1").renew().await.map(|_| ())
    });
    let error = lock(&shelf, &clock, "desk/1", "backup-1").acquire().await.unwrap_err();
    assert!(matches!(error, RunError::Locked { holder, .. } if holder == "other-desk/1"));
    renewal.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_over_whatever_its_clock_says() {
    let (shelf, clock) = world();
    lock(&shelf, &clock, "other-desk/1", "backup-1").acquire().await.unwrap();
    shelf.change(|lease| {
        lease["spec"]["renewTime"] = json!("2030-01-01T00:00:00.000000Z");
        lease["spec"]["leaseDurationSeconds"] = json!(1);
    });
    lock(&shelf, &clock, "desk/1", "backup-1").acquire().await.unwrap();
}

#[tokio::test]
async fn a_hold_renews_itself_and_is_given_back() {
    let (shelf, clock) = world();
    let stop = StopRequest::new();
    let hold = Hold::begin(lock(&shelf, &clock, "desk/1", "backup-1"), Duration::from_millis(10), stop.clone()).await.unwrap();
    clock.advance(7);
    for _ in 0..500 {
        if shelf.lease()["spec"]["renewTime"] == "2026-05-01T10:00:07.000000Z" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(shelf.lease()["spec"]["renewTime"], "2026-05-01T10:00:07.000000Z");
    hold.check().unwrap();
    assert!(!stop.asked());
    hold.release().await;
    assert_eq!(shelf.lease()["spec"]["holderIdentity"], "");
}

#[tokio::test]
async fn a_hold_that_is_taken_or_cannot_be_renewed_stops_the_run() {
    for end in ["taken", "down", "silent"] {
        let (shelf, clock) = world();
        let stop = StopRequest::new();
        let lock = Lock { duration: Duration::from_millis(100), ..lock(&shelf, &clock, "desk/1", "backup-1") };
        let hold = Hold::begin(lock, Duration::from_millis(10), stop.clone()).await.unwrap();
        match end {
            // Written as somebody else's between two renewals: a renewal under way meets a conflict and looks again.
            "taken" => shelf.change(|lease| {
                lease["spec"]["holderIdentity"] = json!("desk/2");
                lease["metadata"]["resourceVersion"] = json!("1000");
            }),
            "down" => shelf.down.store(true, Ordering::SeqCst),
            _ => shelf.silent.store(true, Ordering::SeqCst),
        }
        for _ in 0..500 {
            if stop.asked() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let error = hold.conclude::<()>(Err(RunError::Interrupted)).await.unwrap_err();
        assert!(matches!(error, RunError::HoldLost { .. }), "{end}: {error}");
    }
}
