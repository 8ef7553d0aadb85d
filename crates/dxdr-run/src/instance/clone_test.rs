//! Clones, on a service that dies with whoever asks it: before a request has its effect, or behind it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_plan::{instance::label, restore::CloneRoute};
use dxdr_provider::{
    Clock, InstanceError, InstanceErrorKind, Instances,
    instance::{Instance, InstanceOperation, InstanceRequest, OperationState, RecoveryWindow, Rows},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    Beside, BesideOrder, InstanceTurns, LedgerLease,
    mortal::{Death, Watch},
};
use crate::{RunError, StopRequest, event::Silent, lease::tests::Shelf};

const RUN: &str = "run-1";
const CLONE: &str = "dxdr-staging-20240501-1a2b3c4d";

/// Labels, and whether it is protected from being deleted.
type Settings = (BTreeMap<String, String>, bool);

#[derive(Debug, Default)]
struct State {
    instances: BTreeMap<String, Settings>,
    /// Operations with their instances, when they end and what they achieve then.
    operations: Vec<(InstanceOperation, String, Timestamp, InstanceRequest)>,
    achieved: usize,
}

/// A service whose operations take a minute each.
#[derive(Debug)]
struct Service {
    clock: Watch,
    state: Mutex<State>,
    death: Death,
}

impl Service {
    fn new() -> Arc<Self> {
        let instances = BTreeMap::from([("own".to_owned(), (BTreeMap::new(), true))]);
        let state = Mutex::new(State { instances, ..State::default() });
        let clock = Watch(tokio::time::Instant::now());
        Arc::new(Self { clock, state, death: Death::default() })
    }

    /// Does it, unless whoever asks dies before.
    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> Result<T, InstanceError>) -> Result<T, InstanceError> {
        self.death
            .around(|| {
                let mut state = self.state.lock().unwrap();
                self.settle(&mut state);
                effect(&mut state)
            })
            .await
    }

    /// Lets operations end whose time it is.
    fn settle(&self, state: &mut State) {
        let now = self.clock.now();
        while let Some((_, instance, end, request)) = state.operations.get(state.achieved).cloned() {
            if end > now {
                return;
            }
            match request {
                InstanceRequest::Clone { destination, .. } => {
                    let settings = state.instances[&instance].clone();
                    assert_eq!(state.instances.insert(destination, settings), None);
                }
                InstanceRequest::Label { labels, deletion_protection } => {
                    let settings = state.instances.get_mut(&instance).unwrap();
                    settings.0.extend(labels);
                    settings.1 = deletion_protection.unwrap();
                }
                InstanceRequest::Delete => assert!(state.instances.remove(&instance).is_some()),
                other => panic!("{other:?} is not asked for"),
            }
            let operation = &mut state.operations[state.achieved].0;
            (operation.ended, operation.state) = (Some(end), OperationState::Succeeded);
            state.achieved += 1;
        }
    }

    fn error(kind: InstanceErrorKind) -> InstanceError {
        let (what, message) = ("instance".to_owned(), format!("{kind:?}"));
        InstanceError { kind, action: "look at", what, message, hint: None, source: None }
    }

    fn instances(&self) -> BTreeMap<String, Settings> {
        self.state.lock().unwrap().instances.clone()
    }

    fn asked(&self, kind: &str) -> usize {
        self.state.lock().unwrap().operations.iter().filter(|(operation, ..)| operation.kind == kind).count()
    }
}

#[async_trait]
impl Instances for Service {
    fn describe(&self) -> String {
        "a service".to_owned()
    }

    async fn instance(&self, name: &InstanceName) -> Result<Instance, InstanceError> {
        self.call(|state| {
            let (labels, deletion_protection) =
                state.instances.get(&name.instance).cloned().ok_or_else(|| Self::error(InstanceErrorKind::NotFound))?;
            Ok(Instance {
                name: name.clone(),
                version: "POSTGRES_15".to_owned(),
                state: "RUNNABLE".to_owned(),
                stopped: false,
                region: String::new(),
                service_account: String::new(),
                deletion_protection,
                automatic_backups: true,
                log_kept: true,
                log_days: Some(7),
                statements_allowed: true,
                account_login: true,
                labels,
                disk_gigabytes: None,
                created: None,
            })
        })
        .await
    }

    async fn instances(&self, _: &str) -> Result<Vec<Instance>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn granted(&self, _: &str, _: &[&str]) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn recovery_window(&self, _: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn databases(&self, _: &InstanceName) -> Result<Vec<String>, InstanceError> {
        unreachable!("nobody asks")
    }

    async fn operations(&self, name: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        self.call(|state| {
            let of =
                state.operations.iter().filter(|(operation, on, ..)| *on == name.instance || operation.target == name.instance);
            Ok(of.rev().map(|(operation, ..)| operation.clone()).collect())
        })
        .await
    }

    async fn operation(&self, _: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        self.call(|state| {
            Ok(state.operations.iter().map(|(operation, ..)| operation.clone()).find(|operation| operation.name == name))
        })
        .await
    }

    async fn submit(&self, on: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        let now = self.clock.now();
        self.call(|state| {
            if state.achieved < state.operations.len() {
                return Err(Self::error(InstanceErrorKind::Busy));
            }
            let (kind, target) = match request {
                InstanceRequest::Clone { destination, .. } if state.instances.contains_key(destination) => {
                    return Err(Self::error(InstanceErrorKind::NameTaken));
                }
                InstanceRequest::Clone { destination, .. } => ("CLONE", destination.clone()),
                InstanceRequest::Label { .. } => ("UPDATE", on.instance.clone()),
                InstanceRequest::Delete => ("DELETE", on.instance.clone()),
                other => panic!("{other:?} is not asked for"),
            };
            let name = format!("operation-{}", state.operations.len());
            let operation = InstanceOperation {
                name: name.clone(),
                kind: kind.to_owned(),
                uri: None,
                databases: Vec::new(),
                offloaded: false,
                target,
                description: None,
                user: "dxdr".to_owned(),
                accepted: Some(now),
                started: Some(now),
                ended: None,
                state: OperationState::Running,
            };
            let end = now + SignedDuration::from_mins(1);
            state.operations.push((operation, on.instance.clone(), end, request.clone()));
            Ok(name)
        })
        .await
    }

    async fn execute(&self, _: &InstanceName, _: &str, _: &str) -> Result<Rows, InstanceError> {
        unreachable!("nobody asks")
    }
}

fn beside(service: &Arc<Service>, shelf: &Arc<Shelf>, process: &str) -> Beside {
    let instance = InstanceName::new("p", "own");
    let turns = InstanceTurns {
        instances: service.clone(),
        lease: LedgerLease::new(shelf.clone(), "dxdr-system", &instance),
        instance,
        clock: Arc::new(service.clock),
        reporter: Arc::new(Silent),
        stop: StopRequest::new(),
        process: process.to_owned(),
        first_pause: Duration::from_secs(1),
    };
    let order = BesideOrder { run: RUN.to_owned(), environment: "staging".to_owned(), timeout: SignedDuration::from_hours(1) };
    Beside { turns, order }
}

fn route() -> CloneRoute {
    CloneRoute {
        source: InstanceName::new("p", "own"),
        destination: CLONE.to_owned(),
        at: "2024-05-01T09:00:00Z".parse().unwrap(),
        expires: "2024-05-08T10:00:00Z".parse().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_anywhere_is_followed_by_one_who_clones_nothing_twice() {
    let calls = {
        let (service, shelf) = (Service::new(), Arc::new(Shelf::default()));
        beside(&service, &shelf, "one").clone_instance(&route()).await.unwrap();
        service.death.calls()
    };
    assert!(calls > 8, "{calls}");
    for at in 0..calls {
        for with_effect in [false, true] {
            let (service, shelf) = (Service::new(), Arc::new(Shelf::default()));
            service.death.comes_at(at, with_effect);
            let (first, route) = (beside(&service, &shelf, "one"), route());
            tokio::select! {
                _ = first.clone_instance(&route) => panic!("it was to die at call {at}"),
                () = service.death.has_come() => {}
            }
            let second = beside(&service, &shelf, "two");
            second.clone_instance(&route).await.unwrap_or_else(|error| panic!("{at} {with_effect}: {error}"));
            // Another database of the same instance comes by the same clone.
            second.clone_instance(&route).await.unwrap();
            assert_eq!(service.asked("CLONE"), 1, "{at} {with_effect}");
            let (labels, protected) = service.instances()[CLONE].clone();
            assert_eq!((labels, protected), (label::clone_labels(RUN, "staging", route.expires), false), "{at} {with_effect}");
            assert_eq!(service.instances()["own"], (BTreeMap::new(), true), "the source is as it was");
            assert!(second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap());
            assert!(!second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap(), "it is gone");
            assert_eq!((service.asked("DELETE"), service.instances().len()), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_the_runs_label_is_neither_taken_nor_deleted() {
    let (service, shelf) = (Service::new(), Arc::new(Shelf::default()));
    service.state.lock().unwrap().instances.insert(CLONE.to_owned(), (BTreeMap::new(), false));
    let one = beside(&service, &shelf, "one");
    let refused = |error: RunError| matches!(&error, RunError::Instance(error) if error.kind == InstanceErrorKind::NameTaken);
    assert!(one.clone_instance(&route()).await.is_err_and(refused));
    for name in [CLONE, "own"] {
        assert!(one.discard_instance(&InstanceName::new("p", name)).await.is_err_and(refused));
    }
    assert_eq!((service.asked("CLONE"), service.asked("DELETE"), service.asked("UPDATE")), (0, 0, 0));
    assert_eq!(service.instances().len(), 2);
}
