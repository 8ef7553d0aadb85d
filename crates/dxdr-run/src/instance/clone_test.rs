//! New instances, on the emulated service, which dies with whoever asks it: before a request has its effect, or behind it.

use std::collections::BTreeMap;

use dxdr_database_emulator::Instance;
use dxdr_environment::InstanceName;
use dxdr_plan::{instance::label, restore::CloneRoute};
use dxdr_provider::{Clock, InstanceErrorKind};
use jiff::{SignedDuration, Timestamp};

use super::{Beside, BesideOrder, mortal::World};
use crate::RunError;

const RUN: &str = "run-1";
const CLONE: &str = "dxdr-staging-20240501-1a2b3c4d";

/// The instance `own`, with a backup, on a service whose operations take a minute each.
fn world() -> World {
    let world = World::new(&["clone", "restoreBackup", "patch", "delete"]);
    world.emulator().create_database("p", "own", "orders");
    assert!(world.emulator().execute("p", "own", "orders", "as it was"));
    world.emulator().back_up("p", "own").unwrap();
    world
}

impl World {
    fn beside(&self, process: &str) -> Beside {
        let order =
            BesideOrder { run: RUN.to_owned(), environment: "staging".to_owned(), timeout: SignedDuration::from_hours(1) };
        Beside { turns: self.turns(process), order }
    }

    /// Labels, and whether it is protected from being deleted.
    fn settings(&self, instance: &str) -> (BTreeMap<String, String>, bool) {
        let mut seen = None;
        assert!(self.emulator().change_instance("p", instance, |instance| {
            seen = Some((instance.labels.clone(), instance.deletion_protection));
        }));
        seen.unwrap()
    }
}

/// The two ways to a new instance, with what they are to the service.
const WAYS: [(bool, &str); 2] = [(false, "CLONE"), (true, "RESTORE_VOLUME")];

async fn route(world: &World, out_of_backup: bool) -> CloneRoute {
    let backups = world.service.instances.backups(&InstanceName::new("p", "own")).await.unwrap();
    CloneRoute {
        source: InstanceName::new("p", "own"),
        destination: CLONE.to_owned(),
        at: world.clock.now(),
        expires: "2024-05-08T10:00:00Z".parse::<Timestamp>().unwrap(),
        backup: out_of_backup.then(|| backups[0].name.clone()),
    }
}

/// How often the service is called where nobody dies.
async fn calls(out_of_backup: bool) -> usize {
    let world = self::world();
    let route = route(&world, out_of_backup).await;
    world.beside("one").clone_instance(&route).await.unwrap();
    world.service.death.calls()
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_anywhere_is_followed_by_one_who_makes_nothing_twice() {
    for (out_of_backup, kind) in WAYS {
        let calls = calls(out_of_backup).await;
        assert!(calls > 8, "{calls}");
        for at in 0..calls {
            for with_effect in [false, true] {
                let world = self::world();
                world.service.death.comes_at(at, with_effect);
                let (first, route) = (world.beside("one"), route(&world, out_of_backup).await);
                tokio::select! {
                    _ = first.clone_instance(&route) => panic!("it was to die at call {at}"),
                    () = world.service.death.has_come() => {}
                }
                let second = world.beside("two");
                second.clone_instance(&route).await.unwrap_or_else(|error| panic!("{kind} {at} {with_effect}: {error}"));
                // Another database of the same instance comes by the same one.
                second.clone_instance(&route).await.unwrap();
                assert_eq!(world.asked(kind), 1, "{at} {with_effect}");
                assert_eq!(world.emulator().statements("p", CLONE, "orders").unwrap(), ["as it was"]);
                let labels = label::clone_labels(RUN, "staging", route.expires);
                assert_eq!(world.settings(CLONE), (labels, false), "{kind} {at} {with_effect}");
                assert_eq!(world.settings("own"), (Default::default(), true), "the source is as it was");
                assert!(second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap());
                assert!(!second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap(), "it is gone");
                assert_eq!((world.asked("DELETE"), world.emulator().instance_names("p")), (1, vec!["own".to_owned()]));
            }
        }
    }
}

/// Whoever ends a run whose process died finds what it asked for, whenever that comes to be.
#[tokio::test(start_paused = true)]
async fn what_was_asked_for_is_labelled_and_removed_by_whoever_ends_the_run() {
    for (out_of_backup, kind) in WAYS {
        let calls = calls(out_of_backup).await;
        for at in 0..calls {
            let world = self::world();
            world.service.death.comes_at(at, true);
            let (first, route) = (world.beside("one"), route(&world, out_of_backup).await);
            tokio::select! {
                _ = first.clone_instance(&route) => panic!("it was to die at call {at}"),
                () = world.service.death.has_come() => {}
            }
            let second = world.beside("two");
            second.settle_clone(&route).await.unwrap_or_else(|error| panic!("{kind} {at}: {error}"));
            let asked = world.asked(kind);
            let removed = second.discard_instance(&InstanceName::new("p", CLONE)).await.unwrap();
            assert_eq!((removed, asked <= 1), (asked == 1, true), "{kind} {at}");
            assert_eq!(world.emulator().instance_names("p"), ["own"], "{kind} {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_without_the_runs_label_is_neither_taken_nor_deleted() {
    let world = self::world();
    world.emulator().create_instance("p", CLONE, Instance { deletion_protection: false, ..Instance::default() });
    let one = world.beside("one");
    let refused = |error: RunError| matches!(&error, RunError::Instance(error) if error.kind == InstanceErrorKind::NameTaken);
    for (out_of_backup, _) in WAYS {
        let route = route(&world, out_of_backup).await;
        assert!(one.clone_instance(&route).await.is_err_and(refused));
    }
    for name in [CLONE, "own"] {
        assert!(one.discard_instance(&InstanceName::new("p", name)).await.is_err_and(refused));
    }
    assert!(["CLONE", "RESTORE_VOLUME", "DELETE", "UPDATE"].iter().all(|kind| world.asked(kind) == 0));
    assert_eq!(world.emulator().instance_names("p").len(), 2);
}
