//! New instances, on the emulated service, which dies with whoever asks it: before a request has its effect, or behind it.

use std::{sync::Arc, time::Duration};

use dxdr_database_emulator::{Failing, Instance, Options, Service};
use dxdr_environment::InstanceName;
use dxdr_plan::{instance::label, restore::CloneRoute};
use dxdr_provider::{Clock, InstanceErrorKind};
use jiff::{SignedDuration, Timestamp};

use super::{
    Beside, BesideOrder, InstanceTurns, LedgerLease,
    emulated::{Emulated, Place},
    mortal::{Death, Mortal, Watch},
};
use crate::{RunError, StopRequest, event::Silent, lease::tests::Shelf};

const RUN: &str = "run-1";
const CLONE: &str = "dxdr-staging-20240501-1a2b3c4d";

/// A service whose operations take a minute each, and the instance `own` on it.
struct World {
    clock: Watch,
    place: Arc<Place>,
    service: Arc<Mortal>,
    shelf: Arc<Shelf>,
}

impl World {
    fn new() -> Self {
        let clock = Watch(tokio::time::Instant::now());
        let options = Options { clock: Arc::new(move || clock.now()), ..Options::default() };
        let place = Arc::new(Place::Here(Service::new(options).unwrap()));
        let instances = Arc::new(Emulated { place: Arc::clone(&place), token: "" });
        let world = Self {
            clock,
            place,
            service: Arc::new(Mortal { instances, death: Death::default() }),
            shelf: Arc::new(Shelf::default()),
        };
        world.emulator().create_instance("p", "own", Instance::default());
        world.emulator().create_database("p", "own", "orders");
        assert!(world.emulator().execute("p", "own", "orders", "as it was"));
        for request in ["clone", "patch", "delete"] {
            world.emulator().faults().next(request, Failing::Slow(Duration::from_secs(60)));
        }
        world
    }

    fn emulator(&self) -> &Service {
        self.place.service()
    }

    fn asked(&self, kind: &str) -> usize {
        self.emulator().operations_of(kind).len()
    }

    fn beside(&self, process: &str) -> Beside {
        let instance = InstanceName::new("p", "own");
        let turns = InstanceTurns {
            instances: self.service.clone(),
            lease: LedgerLease::new(self.shelf.clone(), "dxdr-system", &instance),
            instance,
            clock: Arc::new(self.clock),
            reporter: Arc::new(Silent),
            stop: StopRequest::new(),
            process: process.to_owned(),
            first_pause: Duration::from_secs(1),
        };
        let order =
            BesideOrder { run: RUN.to_owned(), environment: "staging".to_owned(), timeout: SignedDuration::from_hours(1) };
        Beside { turns, order }
    }

    /// Labels, and whether it is protected from being deleted.
    fn settings(&self, instance: &str) -> (std::collections::BTreeMap<String, String>, bool) {
        let mut seen = None;
        assert!(self.emulator().change_instance("p", instance, |instance| {
            seen = Some((instance.labels.clone(), instance.deletion_protection));
        }));
        seen.unwrap()
    }
}

fn route(world: &World) -> CloneRoute {
    CloneRoute {
        source: InstanceName::new("p", "own"),
        destination: CLONE.to_owned(),
        at: world.clock.now(),
        expires: "2024-05-08T10:00:00Z".parse::<Timestamp>().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_anywhere_is_followed_by_one_who_makes_nothing_twice() {
    let calls = {
        let world = World::new();
        world.beside("one").clone_instance(&route(&world)).await.unwrap();
        world.service.death.calls()
    };
    assert!(calls > 8, "{calls}");
    for at in 0..calls {
        for with_effect in [false, true] {
            let world = World::new();
            world.service.death.comes_at(at, with_effect);
            let (first, route) = (world.beside("one"), route(&world));
            tokio::select! {
                _ = first.clone_instance(&route) => panic!("it was to die at call {at}"),
                () = world.service.death.has_come() => {}
            }
            let second = world.beside("two");
            second.clone_instance(&route).await.unwrap_or_else(|error| panic!("{at} {with_effect}: {error}"));
            // Another database of the same instance comes by the same clone.
            second.clone_instance(&route).await.unwrap();
            assert_eq!(world.asked("CLONE"), 1, "{at} {with_effect}");
            assert_eq!(world.emulator().statements("p", CLONE, "orders").unwrap(), ["as it was"]);
            let labels = label::clone_labels(RUN, "staging", route.expires);
            assert_eq!(world.settings(CLONE), (labels, false), "{at} {with_effect}");
            assert_eq!(world.settings("own"), (Default::default(), true), "the source is as it was");
            assert!(second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap());
            assert!(!second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap(), "it is gone");
            assert_eq!((world.asked("DELETE"), world.emulator().instance_names("p")), (1, vec!["own".to_owned()]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_the_runs_label_is_neither_taken_nor_deleted() {
    let world = World::new();
    world.emulator().create_instance("p", CLONE, Instance { deletion_protection: false, ..Instance::default() });
    let one = world.beside("one");
    let refused = |error: RunError| matches!(&error, RunError::Instance(error) if error.kind == InstanceErrorKind::NameTaken);
    assert!(one.clone_instance(&route(&world)).await.is_err_and(refused));
    for name in [CLONE, "own"] {
        assert!(one.discard_instance(&InstanceName::new("p", name)).await.is_err_and(refused));
    }
    assert_eq!((world.asked("CLONE"), world.asked("DELETE"), world.asked("UPDATE")), (0, 0, 0));
    assert_eq!(world.emulator().instance_names("p").len(), 2);
}
