//! What tests of this folder share: time that passes by itself, a death that comes to whoever asks a service, and the emulated one that is asked.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dxdr_database_emulator::{Failing, Options, Service};
use dxdr_environment::InstanceName;
use dxdr_provider::{
    Clock, InstanceError, Instances,
    instance::{Instance, InstanceBackup, InstanceOperation, InstanceRequest, RecoveryWindow, Rows},
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::{
    InstanceTurns, LedgerLease,
    emulated::{Emulated, Place},
};
use crate::{StopRequest, event::Silent, lease::tests::Shelf};

/// Follows the time of tokio, which the tests let pass by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch(pub(super) tokio::time::Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        "2024-05-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// Counts the calls to a service. At a chosen one whoever asks dies: before the request has its effect, or behind it.
#[derive(Debug, Default)]
pub(super) struct Death {
    calls: AtomicUsize,
    comes: Mutex<Option<(usize, bool)>>,
    came: Notify,
}

impl Death {
    /// Lets it come at a call, counted from 0, and says whether the request still has its effect.
    pub(super) fn comes_at(&self, call: usize, with_effect: bool) {
        *self.comes.lock().unwrap() = Some((call, with_effect));
    }

    /// Returns when it came.
    pub(super) async fn has_come(&self) {
        self.came.notified().await;
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// One call, which is never answered to whoever died.
    pub(super) async fn around<T>(&self, effect: impl FnOnce() -> T) -> T {
        self.around_async(async { effect() }).await
    }

    /// The same of one that takes time, which is not cut short.
    async fn around_async<T>(&self, effect: impl Future<Output = T>) -> T {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let comes = self.comes.lock().unwrap().filter(|(at, _)| *at == call).map(|(_, with_effect)| with_effect);
        if comes == Some(false) {
            self.die().await;
        }
        let answer = effect.await;
        if comes == Some(true) {
            self.die().await;
        }
        answer
    }

    async fn die(&self) {
        self.came.notify_one();
        std::future::pending().await
    }
}

/// A service that whoever asks it may die of.
#[derive(Debug)]
pub(super) struct Mortal {
    pub(super) instances: Arc<dyn Instances>,
    pub(super) death: Death,
}

/// Such a service, emulated, with the instance `own` in project `p`.
pub(super) struct World {
    pub(super) clock: Watch,
    pub(super) service: Arc<Mortal>,
    place: Arc<Place>,
    shelf: Arc<Shelf>,
}

impl World {
    /// The next operation of each of these requests takes a minute.
    pub(super) fn new(slow: &[&str]) -> Self {
        let clock = Watch(tokio::time::Instant::now());
        let options = Options { clock: Arc::new(move || clock.now()), ..Options::default() };
        let place = Arc::new(Place::Here(Service::new(options).unwrap()));
        let instances = Arc::new(Emulated { place: Arc::clone(&place), token: "" });
        let service = Arc::new(Mortal { instances, death: Death::default() });
        place.service().create_instance("p", "own", dxdr_database_emulator::Instance::default());
        for request in slow {
            place.service().faults().next(request, Failing::Slow(Duration::from_secs(60)));
        }
        Self { clock, service, place, shelf: Arc::default() }
    }

    pub(super) fn emulator(&self) -> &Service {
        self.place.service()
    }

    /// How often that was asked for.
    pub(super) fn asked(&self, kind: &str) -> usize {
        self.emulator().operations_of(kind).len()
    }

    /// Those of a process on the instance.
    pub(super) fn turns(&self, process: &str) -> InstanceTurns {
        let instance = InstanceName::new("p", "own");
        InstanceTurns {
            instances: self.service.clone(),
            lease: LedgerLease::new(self.shelf.clone(), "dxdr-system", &instance),
            instance,
            clock: Arc::new(self.clock),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            process: process.to_owned(),
            first_pause: Duration::from_secs(1),
        }
    }
}

#[async_trait]
impl Instances for Mortal {
    fn describe(&self) -> String {
        self.instances.describe()
    }

    async fn instance(&self, instance: &InstanceName) -> Result<Instance, InstanceError> {
        self.death.around_async(self.instances.instance(instance)).await
    }

    async fn instances(&self, project: &str) -> Result<Vec<Instance>, InstanceError> {
        self.death.around_async(self.instances.instances(project)).await
    }

    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<Vec<String>, InstanceError> {
        self.death.around_async(self.instances.granted(project, permissions)).await
    }

    async fn recovery_window(&self, instance: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        self.death.around_async(self.instances.recovery_window(instance)).await
    }

    async fn databases(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        self.death.around_async(self.instances.databases(instance)).await
    }

    async fn users(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        self.death.around_async(self.instances.users(instance)).await
    }

    async fn backups(&self, instance: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError> {
        self.death.around_async(self.instances.backups(instance)).await
    }

    async fn operations(&self, instance: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        self.death.around_async(self.instances.operations(instance)).await
    }

    async fn operation(&self, project: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        self.death.around_async(self.instances.operation(project, name)).await
    }

    async fn submit(&self, instance: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        self.death.around_async(self.instances.submit(instance, request)).await
    }

    async fn execute(&self, instance: &InstanceName, database: &str, statement: &str) -> Result<Rows, InstanceError> {
        self.death.around_async(self.instances.execute(instance, database, statement)).await
    }
}
