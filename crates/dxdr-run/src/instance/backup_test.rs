//! Backups of instances, on the emulated service, which dies with whoever asks it.

use dxdr_database_emulator::Failing;
use dxdr_environment::InstanceName;
use jiff::SignedDuration;

use super::{BackedUp, InstanceBackupOrder, back_up, backup::remove_backup, mortal::World};
use crate::RunError;

/// The instance `own`, which the service has backed up by itself; the backups and removals that are asked for take a minute each.
fn world() -> World {
    let world = World::new(&["backupRuns", "deleteBackup"]);
    world.emulator().back_up("p", "own").unwrap();
    world
}

fn order() -> InstanceBackupOrder {
    InstanceBackupOrder { run: "run-1".to_owned(), environment: "staging".to_owned(), timeout: SignedDuration::from_hours(1) }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_anywhere_is_followed_by_one_who_backs_nothing_up_or_removes_it_twice() {
    let calls = {
        let world = self::world();
        let made = back_up(&world.turns("one"), &order()).await.unwrap();
        assert!(remove_backup(&world.turns("one"), "run-1", &made.name).await.unwrap());
        world.service.death.calls()
    };
    assert!(calls > 8, "{calls}");
    for at in 0..calls {
        for with_effect in [false, true] {
            let world = self::world();
            world.service.death.comes_at(at, with_effect);
            let both = async |process: &str| -> Result<BackedUp, RunError> {
                let made = back_up(&world.turns(process), &order()).await?;
                remove_backup(&world.turns(process), "run-1", &made.name).await?;
                Ok(made)
            };
            tokio::select! {
                _ = both("one") => panic!("it was to die at call {at}"),
                () = world.service.death.has_come() => {}
            }
            let backups = world.asked("BACKUP_VOLUME");
            let removals = world.asked("DELETE_BACKUP");
            if removals == 0 {
                let made = back_up(&world.turns("two"), &order()).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                assert!(made.started <= made.ended && made.ended <= made.seen, "{made:?}");
                assert!(backups == 0 || made.asked.is_none(), "{at} {with_effect}: whoever found it did not ask");
                remove_backup(&world.turns("two"), "run-1", &made.name).await.unwrap();
            } else {
                // What is being removed is waited for.
                let listed = world.service.instances.backups(&InstanceName::new("p", "own")).await.unwrap();
                let ours = listed.iter().find(|backup| !backup.description.is_empty());
                if let Some(ours) = ours {
                    assert!(remove_backup(&world.turns("two"), "run-1", &ours.name).await.unwrap());
                }
            }
            assert_eq!(world.asked("BACKUP_VOLUME"), 1, "{at} {with_effect}");
            assert_eq!(world.asked("DELETE_BACKUP"), 1, "{at} {with_effect}");
            assert_eq!(world.emulator().backup_descriptions("p"), [""], "what the service made by itself stays");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_before_is_tried_again_and_what_is_not_ours_is_not_removed() {
    let world = self::world();
    world.emulator().faults().end();
    world.emulator().faults().next("backupRuns", Failing::Fails("INTERNAL_ERROR".to_owned(), "no".to_owned()));
    let failed = back_up(&world.turns("one"), &order()).await.unwrap_err();
    assert!(matches!(&failed, RunError::InstanceOperation { message, .. } if message.contains("no")), "{failed}");
    let made = back_up(&world.turns("two"), &order()).await.unwrap();
    assert_eq!(world.emulator().backup_descriptions("p"), ["", "dxdr run run-1", "dxdr run run-1 2"]);
    for (run, name) in [("run-2", made.name.as_str()), ("run-1", "projects/p/backups/1")] {
        let refused = remove_backup(&world.turns("three"), run, name).await.unwrap_err();
        assert!(refused.to_string().contains("does not say"), "{refused}");
    }
    assert!(world.emulator().operations_of("DELETE_BACKUP").is_empty());
}
