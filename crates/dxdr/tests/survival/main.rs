//! Runs that are killed: at every call to the store or the cluster, and then resumed or cleaned up by another process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod dying;
mod snapshots;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use dxdr_catalog::{Component, Entry, RecoveryPoint, Trigger};
use dxdr_environment::{Environment, ObjectReference, ResourceKind};
use dxdr_format::layout::StoreLayout;
use dxdr_kubernetes::KubernetesCluster;
use dxdr_object_storage::{Action, Fault, Faulty, MemoryStorage};
use dxdr_plan::restore::{Executor, Existing, RestoreRequest, Target, Volumes};
use dxdr_provider::{
    Cluster, ObjectStorage, StorageErrorKind, clock::SystemClock, cluster::WriteOptions, object_storage::PutCondition,
};
use dxdr_run::{
    RunContext, RunError, StopRequest, Store, backup, catalog,
    event::Silent,
    restore::{self, ProtectivePoint, RestoreOrder, RestoreReport},
    runs::{self, Resumed, RunState},
};
use dxdr_sandbox::{Failing, Fault as ApiFault, Sandbox};
use dying::{DyingCluster, DyingStorage, Life};
use serde_json::json;

const STAGING: &str = "apiVersion: dxdr.io/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec: {namespace: staging, tier: non-production}\n";

/// A cluster with a small environment, and an empty store.
struct World {
    sandbox: Sandbox,
    cluster: Arc<dyn Cluster>,
    storage: Arc<dyn ObjectStorage>,
    environment: Environment,
    /// The commands that ran in pods.
    executed: Arc<Mutex<Vec<String>>>,
}

impl World {
    async fn new() -> Self {
        let sandbox = Sandbox::new(dxdr_sandbox::Options::default());
        let client = kube::Client::new(sandbox.router(), "default");
        let cluster: Arc<dyn Cluster> = Arc::new(KubernetesCluster::new(client, "sandbox"));
        let model = dxdr_api::load(&[dxdr_api::SourceText { name: "staging.yaml", text: STAGING }]).unwrap();
        let world = Self {
            sandbox,
            cluster,
            storage: Arc::new(MemoryStorage::new("test")),
            environment: model.environments[0].clone(),
            executed: Arc::default(),
        };
        world
            .create(
                &backup::namespace_reference("staging"),
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "staging"}}),
            )
            .await;
        for name in ["one", "two", "three"] {
            world.config_map(name, "as it was").await;
        }
        world
    }

    async fn create(&self, reference: &ObjectReference, object: serde_json::Value) {
        self.cluster.create(reference, Bytes::from(object.to_string()), &options()).await.unwrap();
    }

    async fn config_map(&self, name: &str, value: &str) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "staging"}, "data": {"value": value}});
        self.create(&config_map(name), object).await;
    }

    /// One is gone, one is changed, one is new.
    async fn damage(&self) {
        self.cluster.delete(&config_map("one"), None, &options()).await.unwrap();
        self.cluster.delete(&config_map("two"), None, &options()).await.unwrap();
        self.config_map("two", "damaged").await;
        self.config_map("stray", "was not there").await;
    }

    /// A process that lives for so many calls.
    fn process(&self, calls: u64, number: u32) -> (RunContext, Arc<Life>) {
        let life = Life::of(calls);
        let storage = Arc::new(DyingStorage { inner: Arc::clone(&self.storage), life: Arc::clone(&life) });
        let (inner, executed) = (Arc::clone(&self.cluster), Arc::clone(&self.executed));
        let cluster = Arc::new(DyingCluster { inner, executed, life: Arc::clone(&life) });
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default();
        let context = RunContext {
            store: Store { name: "memory".to_owned(), storage, layout: StoreLayout::new("velero") },
            declared: None,
            cluster,
            clock: Arc::new(SystemClock),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            // A process number that no process has: the Lease of a process that is gone is free for its own run.
            holder: format!("{host}/{}/1", 4_194_305 + number),
            lease_namespace: dxdr_run::LEASE_NAMESPACE.to_owned(),
            velero_namespace: dxdr_plan::velero::NAMESPACE.to_owned(),
            sealing: None,
            databases: None,
            instances: None,
            program: "test".to_owned(),
        };
        (context, life)
    }

    fn immortal(&self, number: u32) -> RunContext {
        self.process(u64::MAX, number).0
    }

    async fn take(&self) -> RecoveryPoint {
        self.take_as(&self.immortal(0)).await.unwrap()
    }

    async fn take_as(&self, context: &RunContext) -> Result<RecoveryPoint, RunError> {
        let plan = backup::plan(context, &self.environment, None, Trigger::Requested).await?;
        backup::backup(context, &plan).await
    }

    async fn restore_as(&self, context: &RunContext, point: &RecoveryPoint) -> Result<RestoreReport, RunError> {
        let request = RestoreRequest { prune: point.complete(), ..request(&self.environment, point) };
        let entry = Entry::Ours(point.clone());
        let run = "20260101t000000z-restore-staging-abcde".to_owned();
        let prepared = restore::prepare(&context.store, Some(&context.cluster), &entry, request.clone()).await?;
        let trigger = Trigger::Protective { restore_run: run.clone() };
        let protective = backup::plan(context, &self.environment, None, trigger).await?;
        let protective = protective.clone().named(&protective.point, &run);
        let protective = Some(ProtectivePoint::ToTake(Box::new(protective)));
        restore::restore(context, &RestoreOrder { run, entry, request, protective }, prepared).await
    }

    /// Whether the environment is as it was at the point.
    async fn as_it_was(&self, point: &RecoveryPoint) -> bool {
        let context = self.immortal(9);
        let request = request(&self.environment, point);
        let entry = Entry::Ours(point.clone());
        restore::prepare(&context.store, Some(&context.cluster), &entry, request).await.unwrap().plan.nothing_to_do()
    }

    /// Every point that is listed can be restored.
    async fn points(&self) -> Vec<RecoveryPoint> {
        let context = self.immortal(9);
        let found = catalog::all(&context.store, None).await.unwrap();
        let mut points = Vec::new();
        for entry in found.entries {
            let Entry::Ours(point) = entry else { panic!("nobody else writes into this store") };
            let request = RestoreRequest { prune: point.complete(), ..request(&self.environment, &point) };
            restore::prepare(&context.store, None, &Entry::Ours(point.clone()), request).await.unwrap();
            points.push(point);
        }
        points
    }

    async fn unfinished(&self) -> Option<String> {
        let context = self.immortal(9);
        let runs = runs::list(&context.store).await.unwrap();
        runs.runs.into_iter().find(|run| matches!(run.state, RunState::Unfinished { .. })).map(|run| run.run)
    }

    async fn resume(&self, run: &str) -> Resumed {
        let context = self.immortal(1);
        let history = runs::unfinished(&context.store, run).await.unwrap();
        let resumption = runs::prepare(&context, &self.environment, history).await.unwrap();
        runs::resume(&context, resumption).await.unwrap()
    }
}

/// Runs a test on a runtime of its own. Threads of killed runs wait for answers that never come: nobody waits for them.
fn in_a_process(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(test)));
    runtime.shutdown_background();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn options() -> WriteOptions {
    WriteOptions { manager: "test".to_owned(), dry_run: false, retry: true }
}

fn config_map(name: &str) -> ObjectReference {
    let kind = ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
    };
    ObjectReference { kind, namespace: Some("staging".to_owned()), name: name.to_owned() }
}

fn request(environment: &Environment, point: &RecoveryPoint) -> RestoreRequest {
    RestoreRequest {
        environment: environment.name.clone(),
        point: point.name.clone(),
        instant: point.instant,
        source_namespace: "staging".to_owned(),
        target: Target::InPlace,
        existing: Existing::Update,
        prune: true,
        include: Vec::new(),
        exclude: Vec::new(),
        executor: Executor::Dxdr,
        volumes: Volumes::Captured,
        storage_classes: std::collections::BTreeMap::new(),
    }
}

/// Runs `work` in a process that dies at its last call; whether it came to its end before.
async fn survives<T>(life: &Life, work: impl Future<Output = Result<T, RunError>>) -> bool {
    tokio::select! {
        result = work => {
            assert!(result.is_ok(), "{}", result.err().map(|error| dxdr_run::active::chain(&error)).unwrap_or_default());
            true
        }
        () = life.over.notified() => false,
    }
}

#[test]
fn a_backup_that_is_killed_at_any_call_leaves_no_half_point_and_is_resumed_to_a_whole_one() {
    in_a_process(async {
        for calls in 0.. {
            let world = World::new().await;
            let (context, life) = world.process(calls, 0);
            let ended = survives(&life, world.take_as(&context)).await;
            let points = world.points().await;
            let Some(run) = world.unfinished().await else {
                // Killed before the journal began, or behind its last entry, while it let go of the environment.
                assert!(points.len() == 1 || !ended, "after {calls} calls");
                if ended {
                    assert!(calls > 40, "a backup takes more than {calls} calls: the sweep missed its middle");
                    return;
                }
                continue;
            };
            assert!(points.len() <= 1);
            let Resumed::Backup(point) = world.resume(&run).await else { panic!("it was a backup") };
            assert!(point.complete(), "after {calls} calls: {:?}", point.gaps);
            assert_eq!(world.points().await.len(), 1, "after {calls} calls");
            assert!(world.as_it_was(&point).await, "after {calls} calls");
            assert_eq!(world.unfinished().await, None);
        }
    });
}

#[test]
fn a_backup_into_a_store_that_is_full_from_any_write_on_leaves_no_half_point_and_is_resumed_or_cleaned_up() {
    in_a_process(async {
        for writes in 1.. {
            let mut world = World::new().await;
            let full = Fault::fail(StorageErrorKind::Full).on(Action::Put).from_call(writes);
            let faulty = Arc::new(Faulty::new(Arc::clone(&world.storage)).with(full));
            world.storage = faulty.clone();
            let result = world.take_as(&world.immortal(0)).await;
            faulty.heal();
            let points = world.points().await;
            let error = match result {
                Ok(_) => {
                    assert!(writes > 15, "a backup writes more than {writes} objects: the sweep missed its middle");
                    return;
                }
                Err(error) => dxdr_run::active::chain(&error),
            };
            assert!(error.contains("no space left"), "after {writes} writes: {error}");
            let Some(run) = world.unfinished().await else {
                assert!(points.is_empty() && writes == 1, "after {writes} writes");
                continue;
            };
            assert!(points.len() <= 1);
            if writes % 2 == 0 {
                let Resumed::Backup(point) = world.resume(&run).await else { panic!("it was a backup") };
                assert!(point.complete() && world.as_it_was(&point).await, "after {writes} writes");
                assert_eq!(world.points().await.len(), 1, "after {writes} writes");
            } else {
                let context = world.immortal(1);
                let history = runs::unfinished(&context.store, &run).await.unwrap();
                runs::clean(&context, &history).await.unwrap();
                assert_eq!(world.points().await, points, "after {writes} writes");
            }
            assert_eq!(world.unfinished().await, None);
        }
    });
}

#[test]
fn what_was_captured_is_finished_though_its_namespace_is_gone_and_captured_again_only_when_it_is_damaged() {
    in_a_process(async {
        let (mut finished, mut damaged) = (0, 0);
        for calls in 0.. {
            let world = World::new().await;
            let (context, life) = world.process(calls, 0);
            if survives(&life, world.take_as(&context)).await {
                break;
            }
            let Some(run) = world.unfinished().await else { continue };
            let context = world.immortal(1);
            let history = runs::unfinished(&context.store, &run).await.unwrap();
            if history.finished("capture").is_none() {
                continue;
            }
            let point = history.planned().unwrap().points[0].clone();
            if calls % 2 == 0 {
                finished += 1;
                let namespace = backup::namespace_reference("staging");
                assert!(world.cluster.delete(&namespace, None, &options()).await.unwrap());
                let resumption = runs::prepare(&context, &world.environment, history).await.unwrap();
                let Resumed::Backup(resumed) = runs::resume(&context, resumption).await.unwrap() else { panic!("a backup") };
                assert_eq!((&resumed.name, resumed.resources().map(|resources| resources.items > 3)), (&point, Some(true)));
            } else {
                damaged += 1;
                let key = context.store.layout.archive_key(&point);
                let mut bytes = context.store.read(&key).await.unwrap().unwrap().to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                context.store.write(&key, bytes, PutCondition::Always).await.unwrap();
                // What is read again is read at another instant.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                let Resumed::Backup(resumed) = world.resume(&run).await else { panic!("a backup") };
                assert!(world.as_it_was(&resumed).await, "after {calls} calls");
                let index = context.store.keys(&context.store.layout.point_index_prefix("staging")).await.unwrap();
                let entry = context.store.layout.point_index_key("staging", resumed.instant, &point);
                assert_eq!(index, [entry], "after {calls} calls");
            }
        }
        assert!(finished > 3 && damaged > 3, "{finished} {damaged}");
    });
}

#[test]
fn a_run_whose_environment_moved_is_not_resumed_into_the_other_namespace() {
    in_a_process(async {
        let world = World::new().await;
        let point = world.take().await;
        world.damage().await;
        let moved = STAGING.replace("namespace: staging", "namespace: elsewhere");
        let model = dxdr_api::load(&[dxdr_api::SourceText { name: "staging.yaml", text: &moved }]).unwrap();
        // In the middle of its protective point, which is of the namespace that is restored.
        let (context, life) = world.process(60, 0);
        assert!(!survives(&life, world.restore_as(&context, &point)).await);
        let context = world.immortal(1);
        let history = runs::unfinished(&context.store, &world.unfinished().await.unwrap()).await.unwrap();
        let refused = runs::prepare(&context, &model.environments[0], history).await.unwrap_err();
        assert!(matches!(&refused, RunError::Moved { was, is, .. } if was == "staging" && is == "elsewhere"), "{refused}");
    });
}

#[test]
fn what_velero_would_see_of_a_killed_backup_goes_first() {
    in_a_process(async {
        let mut seen = 0;
        for calls in 0.. {
            let world = World::new().await;
            let (context, life) = world.process(calls, 0);
            if survives(&life, world.take_as(&context)).await {
                break;
            }
            let Some(run) = world.unfinished().await else { continue };
            let context = world.immortal(1);
            let history = runs::unfinished(&context.store, &run).await.unwrap();
            let leftovers = runs::leftovers(&context.store, &history).await.unwrap();
            let place = |part: &str| leftovers.keys.iter().position(|key| key.contains(part));
            if let Some(index) = place("/points/") {
                seen += 1;
                assert_eq!((place("velero-backup.json"), index), (Some(0), 1), "{leftovers:?}");
                assert!(place(".tar.gz").is_some_and(|archive| archive > 1), "{leftovers:?}");
            }
        }
        assert!(seen > 0);
    });
}

#[test]
fn what_a_killed_backup_left_is_cleaned_up_and_a_point_that_came_to_be_is_not() {
    in_a_process(async {
        for calls in (0..).step_by(3) {
            let world = World::new().await;
            let (context, life) = world.process(calls, 0);
            if survives(&life, world.take_as(&context)).await {
                return;
            }
            let Some(run) = world.unfinished().await else { continue };
            let before = world.points().await;
            let context = world.immortal(1);
            let history = runs::unfinished(&context.store, &run).await.unwrap();
            runs::clean(&context, &history).await.unwrap();
            assert_eq!(world.points().await, before, "after {calls} calls");
            let left: Vec<String> = [
                context.store.keys(&context.store.layout.backups_prefix()).await.unwrap(),
                context.store.keys(&context.store.layout.point_index_prefix("staging")).await.unwrap(),
            ]
            .concat();
            assert!(!before.is_empty() || left.is_empty(), "after {calls} calls: {left:?}");
        }
    });
}

#[test]
fn a_restore_that_is_killed_at_any_call_is_resumed_and_everything_is_as_it_was() {
    in_a_process(async {
        for calls in (0..).step_by(2) {
            let world = World::new().await;
            let point = world.take().await;
            world.damage().await;
            let (context, life) = world.process(calls, 0);
            let ended = survives(&life, world.restore_as(&context, &point)).await;
            if ended {
                assert!(world.as_it_was(&point).await);
                assert!(calls > 80, "a restore takes more than {calls} calls: the sweep missed its middle");
                return;
            }
            let Some(run) = world.unfinished().await else { continue };
            let Resumed::Restore(report) = world.resume(&run).await else { panic!("it was a restore") };
            assert!(report.failed.is_empty(), "after {calls} calls: {:?}", report.failed);
            assert!(world.as_it_was(&point).await, "after {calls} calls");
            // The state before is not lost either: the damage is a recovery point of its own.
            let protective = report.protective_point.unwrap();
            assert!(world.points().await.iter().any(|point| point.name == protective), "after {calls} calls");
            assert_eq!(world.unfinished().await, None);
        }
    });
}

#[test]
fn a_restore_that_is_resumed_removes_nothing_that_its_protective_point_would_not_bring_back() {
    in_a_process(async {
        let (mut partial, mut gone) = (0, 0);
        for calls in (60..).step_by(4) {
            let world = World::new().await;
            let point = world.take().await;
            world.damage().await;
            world.sandbox.faults().add(ApiFault::new(Failing::Forbidden).method("GET").path("/namespaces/staging/services"));
            let (context, life) = world.process(calls, 0);
            if survives(&life, world.restore_as(&context, &point)).await {
                break;
            }
            world.sandbox.faults().clear();
            let Some(run) = world.unfinished().await else { continue };
            // A point that was not finished is finished by the second process, to which nothing is forbidden.
            let Some(protective) = world.points().await.into_iter().find(|point| !point.complete()) else { continue };
            if (partial + gone) % 2 == 0 {
                partial += 1;
                let Resumed::Restore(report) = world.resume(&run).await else { panic!("it was a restore") };
                let reason = report.kept.unwrap_or_default();
                assert!(reason.contains("lacks services in staging"), "after {calls} calls: {reason:?}");
            } else {
                gone += 1;
                let store = world.immortal(1).store;
                store.storage.delete(&store.layout.manifest_key(&protective.name)).await.unwrap();
                let Resumed::Restore(report) = world.resume(&run).await else { panic!("it was a restore") };
                let reason = report.kept.unwrap_or_default();
                assert!(reason.contains("is gone"), "after {calls} calls: {reason:?}");
            }
            assert!(world.cluster.get(&config_map("stray")).await.unwrap().is_some(), "after {calls} calls");
        }
        assert!(partial > 0 && gone > 0, "{partial} {gone}");
    });
}

#[test]
fn two_runs_of_one_environment_exclude_each_other() {
    in_a_process(async {
        let world = World::new().await;
        let (first, second) = (world.immortal(0), world.immortal(1));
        let hold = dxdr_run::lease::hold(&first, "staging", "a run").await.unwrap();
        let refused = world.take_as(&second).await.unwrap_err();
        assert!(matches!(refused, RunError::Locked { .. }), "{refused}");
        hold.release().await;
        assert!(world.take_as(&second).await.is_ok());
    });
}

/// What an application does when the one that told it to hold still is heard of no more.
const GOES_ON: &str = "(goes on)";

fn handles(points: &[RecoveryPoint]) -> Vec<String> {
    let components = points.iter().flat_map(|point| &point.components);
    let volumes = components.filter_map(|component| match component {
        Component::Volume(volume) => Some(volume.handle.clone()),
        _ => None,
    });
    volumes.collect()
}

#[test]
fn a_killed_backup_of_volumes_is_resumed_or_cleaned_up_and_the_storage_keeps_what_a_point_names_and_nothing_else() {
    in_a_process(async {
        let (mut resumed, mut cleaned, mut asked_again) = (0, 0, 0);
        for calls in (0..).step_by(3) {
            let world = World::new().await;
            let storage = snapshots::with_volumes(&world, "freeze").await;
            let (context, life) = world.process(calls, 0);
            let ended = survives(&life, world.take_as(&context)).await;
            if let Some(run) = world.unfinished().await {
                if (resumed + cleaned) % 2 == 0 {
                    resumed += 1;
                    let history = runs::unfinished(&world.immortal(1).store, &run).await.unwrap();
                    let (asked, taken) = (history.started("snapshot"), history.finished("snapshot").is_some());
                    // Nothing holds still for as long as it takes until somebody goes on with the run.
                    world.executed.lock().unwrap().push(GOES_ON.to_owned());
                    let Resumed::Backup(point) = world.resume(&run).await else { panic!("it was a backup") };
                    assert!(point.complete(), "after {calls} calls: {:?}", point.gaps);
                    let handles = handles(&[*point]);
                    assert_eq!(handles.len(), 2, "after {calls} calls");
                    for handle in handles {
                        let before = storage.cut_after(&handle);
                        assert_eq!(before.last().map(String::as_str), Some("freeze"), "after {calls} calls: {before:?}");
                        assert_eq!(before.contains(&GOES_ON.to_owned()), !taken, "after {calls} calls: {before:?}");
                    }
                    asked_again += u32::from(asked && !taken);
                } else {
                    cleaned += 1;
                    let context = world.immortal(1);
                    let history = runs::unfinished(&context.store, &run).await.unwrap();
                    runs::clean(&context, &history).await.unwrap();
                }
            }
            // The storage looks every few milliseconds whether something is to be removed.
            let named = handles(&world.points().await);
            for _ in 0..500 {
                if storage.handles().len() == named.len() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            assert_eq!(storage.handles().into_iter().collect::<Vec<_>>(), named, "after {calls} calls");
            assert_eq!(snapshots::objects(&world).await, Vec::<String>::new(), "after {calls} calls");
            // Nobody is left holding still.
            let mut executed = world.executed.lock().unwrap().clone();
            executed.retain(|command| command != GOES_ON);
            assert!(
                executed.is_empty() || executed.last().is_some_and(|last| last == "thaw"),
                "after {calls} calls: {executed:?}"
            );
            assert!(!ended || executed == ["freeze", "thaw"], "{executed:?}");
            if ended {
                break;
            }
        }
        assert!(resumed > 5 && cleaned > 5 && asked_again > 0, "{resumed} {cleaned} {asked_again}");
    });
}

#[test]
fn a_claim_whose_snapshot_cannot_be_used_ends_the_run_before_anything_mounts_it_and_resuming_fills_it() {
    in_a_process(async {
        let world = World::new().await;
        snapshots::with_volumes(&world, "freeze").await;
        let deployment = snapshots::reference("apps", "Deployment", "deployments", Some("staging"), "db");
        let labels = json!({"app": "db"});
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "db", "namespace": "staging"},
            "spec": {"selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "db", "image": "db"}]}}}
        });
        world.create(&deployment, object).await;
        let point = world.take().await;
        for gone in [&deployment, &snapshots::claim("data"), &snapshots::claim("logs")] {
            world.cluster.delete(gone, None, &options()).await.unwrap();
        }
        // Whatever keeps one of two snapshots from being known to the cluster.
        let fault = ApiFault::new(Failing::Forbidden).method("POST").path("/volumesnapshotcontents").times(1);
        world.sandbox.faults().add(fault);
        let context = world.immortal(0);
        let error = world.restore_as(&context, &point).await.unwrap_err();
        assert!(
            matches!(&error, RunError::Unfinished { source, .. } if matches!(&**source, RunError::Unfilled(text) if text.contains("persistentvolumeclaims staging/"))),
            "{}",
            dxdr_run::active::chain(&error)
        );
        assert!(world.cluster.get(&deployment).await.unwrap().is_none());
        let Resumed::Restore(report) = world.resume(&world.unfinished().await.unwrap()).await else { panic!("a restore") };
        assert!(report.complete(), "{report:?}");
        assert!(world.cluster.get(&deployment).await.unwrap().is_some());
        for name in ["data", "logs"] {
            let claim = world.cluster.get(&snapshots::claim(name)).await.unwrap().unwrap();
            let claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
            assert_eq!(claim["spec"]["dataSource"]["kind"], "VolumeSnapshot", "{claim}");
        }
        assert_eq!(snapshots::objects(&world).await, Vec::<String>::new());
    });
}

#[test]
fn a_killed_restore_of_volumes_is_resumed_and_nothing_that_stands_for_a_snapshot_stays() {
    in_a_process(async {
        let mut resumed = 0;
        for calls in (40..).step_by(7) {
            let world = World::new().await;
            let storage = snapshots::with_volumes(&world, "freeze").await;
            let point = world.take().await;
            for name in ["data", "logs"] {
                world.cluster.delete(&snapshots::claim(name), None, &options()).await.unwrap();
            }
            let (context, life) = world.process(calls, 0);
            let ended = survives(&life, world.restore_as(&context, &point)).await;
            if let Some(run) = world.unfinished().await {
                resumed += 1;
                if resumed % 2 == 0 {
                    snapshots::let_go_of_what_is_bound(&world).await;
                }
                let Resumed::Restore(report) = world.resume(&run).await else { panic!("it was a restore") };
                assert!(report.complete(), "after {calls} calls: {report:?}");
            }
            for name in ["data", "logs"] {
                let claim = world.cluster.get(&snapshots::claim(name)).await.unwrap();
                let Some(claim) = claim else {
                    // Killed before there was a run to go on with.
                    assert!(!ended && resumed == 0, "after {calls} calls: {name}");
                    continue;
                };
                let claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
                assert_eq!(claim["spec"]["dataSource"]["kind"], "VolumeSnapshot", "after {calls} calls: {claim}");
            }
            if resumed > 0 || ended {
                assert_eq!(snapshots::objects(&world).await, Vec::<String>::new(), "after {calls} calls");
            }
            let named: BTreeSet<String> = handles(&world.points().await).into_iter().collect();
            assert_eq!(storage.handles(), named, "after {calls} calls");
            if ended {
                break;
            }
        }
        assert!(resumed > 5, "{resumed}");
    });
}

#[test]
fn a_snapshot_that_was_not_ready_in_time_is_in_the_point_as_such_and_a_restore_uses_it_once_it_is() {
    in_a_process(async {
        let world = World::new().await;
        let storage = snapshots::with_volumes(&world, "freeze").await;
        storage.dawdle("logs");
        let context = world.immortal(0);
        let mut plan = backup::plan(&context, &world.environment, None, Trigger::Requested).await.unwrap();
        plan.volume_policy.timeout = jiff::SignedDuration::from_secs(2);
        let point = backup::backup(&context, &plan).await.unwrap();
        let volumes = point.components.iter().filter_map(|component| match component {
            Component::Volume(volume) => Some((volume.claim.as_str(), volume.late)),
            _ => None,
        });
        assert_eq!(volumes.collect::<Vec<_>>(), [("data", false), ("logs", true)]);
        let gaps: Vec<_> = point.gaps.iter().map(|gap| (gap.what.as_str(), gap.reason.as_str())).collect();
        let reason = "its snapshot cannot be restored from yet: the driver said nothing within 2 s";
        assert_eq!(gaps, [("volume staging/logs", reason)]);
        assert_eq!((storage.handles().len(), snapshots::objects(&world).await.len()), (2, 0));

        // It is ready for whoever asks for it later.
        world.cluster.delete(&snapshots::claim("logs"), None, &options()).await.unwrap();
        let report = world.restore_as(&context, &point).await.unwrap();
        assert!(report.complete(), "{report:?}");
        let claim = world.cluster.get(&snapshots::claim("logs")).await.unwrap().unwrap();
        let claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
        assert_eq!(claim["spec"]["dataSource"]["kind"], "VolumeSnapshot", "{claim}");
    });
}

#[test]
fn a_volume_whose_driver_refuses_and_one_whose_pod_does_not_hold_still_are_missing_and_said_and_the_rest_is_a_point() {
    in_a_process(async {
        let world = World::new().await;
        let storage = snapshots::with_volumes(&world, "broken freeze").await;
        storage.refuse("logs");
        let context = world.immortal(0);
        let mut plan = backup::plan(&context, &world.environment, None, Trigger::Requested).await.unwrap();
        plan.volume_policy.timeout = jiff::SignedDuration::from_millis(200);
        let point = backup::backup(&context, &plan).await.unwrap();
        let gaps: Vec<String> = point.gaps.iter().map(|gap| format!("{}: {}", gap.what, gap.reason)).collect();
        let failed = "command terminated with exit code 1";
        assert_eq!(
            gaps,
            [
                format!("pre hook of pod staging/db-0: {failed}"),
                format!("volume staging/data: the pre hook of pod staging/db-0 failed: {failed}"),
                "volume staging/logs: the disk is on fire".to_owned(),
            ]
        );
        assert_eq!(*world.executed.lock().unwrap(), ["broken freeze", "thaw"]);
        assert!(point.resources().is_some_and(|resources| resources.items > 5));
        assert_eq!((storage.handles().len(), snapshots::objects(&world).await.len()), (0, 0));
    });
}
