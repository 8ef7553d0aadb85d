//! The program stopped by signals, killed, and met by another one, in the middle of its work.

use std::{
    fs,
    io::Read,
    process::Stdio,
    sync::{Arc, Condvar, Mutex},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gated::{Held, Running, World};

/// The list of ConfigMaps: in the middle of a capture.
const CAPTURE: Held = Held { writes: false, path: "/configmaps", behind: 0 };
/// ConfigMaps being created: a few are, most are not.
const RESTORE: Held = Held { writes: true, path: "/configmaps", behind: 3 };
/// More than are in flight at a time, so that a restore that stops has something left.
const MANY: u32 = 80;

#[test]
fn a_backup_that_is_asked_to_stop_says_what_remains_and_is_resumed() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::of(3);
        world.hold(CAPTURE);
        let backup = world.start(&["backup", "now", "staging"]);
        world.until_somebody_waits();
        backup.signal(signal);
        let (code, said) = backup.ends();
        assert_eq!(code, Some(130), "{said}");
        let run = world.unfinished();
        assert!(said.contains("there is no recovery point yet"), "{said}");
        assert!(said.contains(&format!("`dxdr runs resume {run}`")), "{said}");
        assert_eq!(world.stored(), Vec::<String>::new());
        world.open();
        let point = world.place.run(&["runs", "resume", &run, "--yes"]).exits(0).stdout.trim().to_owned();
        let said = world.place.run(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]).exits(0);
        assert!(said.stderr.contains("nothing to do"), "{}", said.stderr);
    }
}

#[test]
fn a_restore_that_is_asked_to_stop_finishes_what_is_in_flight_and_is_resumed() {
    let world = World::of(MANY);
    let (point, before) = world.lost();
    world.hold(RESTORE);
    let restore = world.start(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]);
    world.until_somebody_waits();
    restore.signal(Signal::INT);
    restore.until_it_says("stopping at the next safe place");
    world.open();
    let (code, said) = restore.ends();
    assert_eq!(code, Some(130), "{said}");
    let run = world.unfinished();
    assert!(said.contains(&format!("`dxdr runs resume {run}`")), "{said}");
    // As many are written as it says, and not one more: nothing was in flight when it ended.
    let written = world.state().len() - 1;
    assert!(written > 3 && written < before.len(), "{written}");
    assert!(said.contains(&format!("{written} of {} objects are written", before.len())), "{written}: {said}");
    world.place.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(world.state(), before);
}

#[test]
fn a_second_signal_ends_the_program_at_once_and_another_process_finishes() {
    let world = World::of(MANY);
    let (point, before) = world.lost();
    world.hold(RESTORE);
    let restore = world.start(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]);
    world.until_somebody_waits();
    restore.signal(Signal::INT);
    restore.until_it_says("stopping at the next safe place");
    restore.signal(Signal::INT);
    // The gate is still closed: nothing that is in flight can have been waited for.
    let (code, said) = restore.ends();
    assert_eq!(code, Some(130), "{said}");
    world.open();
    world.place.run(&["runs", "resume", &world.unfinished(), "--yes"]).exits(0);
    assert_eq!(world.state(), before);
}

#[test]
fn a_restore_that_is_killed_is_listed_and_finished_by_another_process() {
    let world = World::of(MANY);
    let (point, before) = world.lost();
    world.hold(RESTORE);
    let restore = world.start(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]);
    world.until_somebody_waits();
    restore.kill();
    world.open();
    let run = world.unfinished();
    assert!(world.place.run(&["runs", "list"]).exits(0).stdout.contains(&format!("dxdr runs resume {run}")));
    world.place.run(&["runs", "resume", &run, "--yes"]).exits(0);
    assert_eq!(world.state(), before);
    world.place.run(&["runs", "resume", &run, "--yes"]).refuses(2);
}

#[test]
fn a_backup_that_is_killed_is_cleaned_up() {
    let world = World::of(3);
    world.hold(CAPTURE);
    let backup = world.start(&["backup", "now", "staging"]);
    world.until_somebody_waits();
    backup.kill();
    world.open();
    let run = world.unfinished();
    world.place.run(&["runs", "clean", &run, "--yes"]).exits(0);
    assert_eq!(world.stored(), Vec::<String>::new());
    assert!(world.place.run(&["runs", "list"]).exits(0).stdout.contains("cleaned"));
    assert!(!world.place.run(&["runs", "list"]).exits(0).stdout.contains("unfinished"));
}

#[test]
fn a_run_is_finished_as_it_was_begun_whatever_the_policies_say_by_then() {
    let world = World::of(3);
    let policy = "---\napiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: without-secrets}\nspec: {environments: [staging], objectives: {dataLoss: 1h, recoveryTime: 30m}, engine: native, store: primary, resources: {excluded: [secrets]}, retention: {hourly: 1, atLeast: 1}}\n";
    world.declare("staging", policy);
    world.hold(CAPTURE);
    let backup = world.start(&["backup", "now", "staging"]);
    world.until_somebody_waits();
    backup.kill();
    world.open();
    world.declare("staging", "");
    let run = world.unfinished();
    let planned = world.place.run(&["runs", "resume", &run, "--dry-run", "--output", "json"]).exits(0).stdout;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["left"].as_array().unwrap().len(), 4, "{planned}");
    assert_eq!(planned["plainSecrets"], json!({"names": [], "encryption": null}), "{planned}");
    assert_eq!(world.unfinished(), run);
    world.place.run(&["runs", "resume", &run, "--yes"]).exits(0);
    let points = world.place.run(&["points", "staging", "--output", "json"]).exits(0).stdout;
    let points: Value = serde_json::from_str(&points).unwrap();
    assert_eq!(points["points"][0]["policy"], "without-secrets");
    let point = points["points"][0]["name"].as_str().unwrap();
    let plan = world.place.run(&["restore", "staging", "--point", point, "--plan", "--output", "json"]).exits(0).stdout;
    assert!(plan.contains("settings-001") && !plan.contains("secrets staging"), "{plan}");
}

#[test]
fn what_is_left_of_a_killed_restore_is_shown_without_anything_being_done() {
    let world = World::of(MANY);
    let (point, before) = world.lost();
    world.hold(RESTORE);
    let restore = world.start(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]);
    world.until_somebody_waits();
    restore.kill();
    world.open();
    let run = world.unfinished();
    let (state, writes) = (world.state(), world.writes());
    let planned = world.place.run(&["runs", "resume", &run, "--dry-run", "--output", "json"]).exits(0).stdout;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["backupPlan"], Value::Null, "{planned}");
    // Besides what was written, the stray is there.
    let left = before.len() - (world.state().len() - 1);
    assert_eq!(planned["restorePlan"]["counts"]["create"], left, "{planned}");
    let text = world.place.run(&["runs", "resume", &run, "--dry-run"]).exits(0).stdout;
    assert!(text.contains("✓ Write the manifest of") && text.contains(&format!("{left} to create")), "{text}");
    let cleaned = world.place.run(&["runs", "clean", &run, "--dry-run", "--output", "json"]).exits(0).stdout;
    let cleaned: Value = serde_json::from_str(&cleaned).unwrap();
    assert_eq!((&cleaned["removed"], &cleaned["objects"]), (&json!(false), &json!([])), "{cleaned}");
    assert_eq!((world.state(), world.writes(), world.unfinished()), (state, writes, run));
}

#[test]
fn a_restore_in_place_names_the_secrets_that_its_protective_point_will_hold() {
    let world = World::of(3);
    let point = world.point();
    world.delete("configmaps", "settings-001");
    let restore = ["restore", "staging", "--point", &point, "--in-place", "--dry-run"];
    let text = world.place.run(&restore).exits(0).stdout;
    assert!(text.contains("1 Secret in plain in the archive: database"), "{text}");
    let plan = world.place.run(&[&restore[..], &["--output", "json"]].concat()).exits(0).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["protectivePoint"]["plainSecrets"], json!({"names": ["database"], "encryption": null}), "{plan}");
    let beside = world.place.run(&["restore", "staging", "--point", &point, "--dry-run", "--output", "json"]).exits(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&beside).unwrap()["protectivePoint"], Value::Null);
}

#[test]
fn a_backup_during_a_restore_of_the_same_environment_is_told_who_is_at_work() {
    let world = World::of(MANY);
    let (point, before) = world.lost();
    world.hold(RESTORE);
    let restore = world.start(&["restore", "staging", "--point", &point, "--in-place", "--prune", "--yes"]);
    world.until_somebody_waits();
    let said = world.place.run(&["backup", "now", "staging"]).refuses(6).stderr;
    let run = world.unfinished();
    assert!(said.contains(&format!(", run {run}")) && said.contains(" since 20"), "{said}");
    world.open();
    assert_eq!(restore.ends().0, Some(0));
    assert_eq!(world.state(), before);
    world.point();
}

#[test]
fn a_second_restore_has_nothing_to_do_and_writes_nothing() {
    let world = World::of(3);
    let (point, before) = world.lost();
    for place in [["--in-place", "--prune"], ["--into", "staging-again"]] {
        let restore = [&["restore", "staging", "--point", &point, "--yes"][..], &place[..]].concat();
        world.place.run(&restore).exits(0);
        let writes = world.writes();
        let said = world.place.run(&restore).exits(0);
        assert!(said.stderr.contains("nothing to do"), "{}", said.stderr);
        assert_eq!(world.writes(), writes);
    }
    assert_eq!(world.state(), before);
}

#[test]
fn a_restore_whose_archive_changes_behind_its_plan_ends_before_it_writes_anything_else() {
    let world = World::of(3);
    let other = world.point();
    world.delete("configmaps", "settings-001");
    world.config_map("settings-001", "changed by then");
    let (point, before) = world.lost();
    // Planned, and about to take the environment.
    world.hold(Held { writes: true, path: "/dxdr-staging", behind: 0 });
    let restore = world.start(&["restore", "staging", "--point", &point, "--into", "staging-again", "--yes"]);
    world.until_somebody_waits();
    let archive = |name: &str| world.place.path().join(format!("store/backups/{name}/{name}.tar.gz"));
    fs::copy(archive(&other), archive(&point)).unwrap();
    world.open();
    let (code, said) = restore.ends();
    assert_eq!(code, Some(9), "{said}");
    assert!(said.contains("changed since the plan was made") && said.contains("`settings-001`"), "{said}");
    assert!(said.contains(&format!("of {} objects are written", before.len() + 1)), "{said}");
}

#[test]
fn a_signal_at_a_prompt_changes_nothing() {
    let world = World::of(3);
    let (point, _) = world.lost();
    let writes = world.writes();
    let stored = world.stored();
    let (terminal, name) = {
        let terminal = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::grantpt(&terminal).unwrap();
        rustix::pty::unlockpt(&terminal).unwrap();
        let name = rustix::pty::ptsname(&terminal, Vec::new()).unwrap();
        (fs::File::from(terminal), name.into_string().unwrap())
    };
    let open = || Stdio::from(fs::File::options().read(true).write(true).open(&name).unwrap());
    let mut command = world.place.command(&["restore", "staging", "--point", &point, "--in-place"]);
    command.stdin(open()).stdout(open()).stderr(open());
    let restore = Running::start(command);
    until_it_asks(terminal);
    restore.signal(Signal::INT);
    assert_eq!(restore.ends().0, Some(130));
    assert_eq!((world.writes(), world.stored()), (writes, stored));
    assert!(!world.place.run(&["runs", "list"]).exits(0).stdout.contains("-restore-"));
}

/// Reads what is shown on a terminal until a question stands there, and goes on reading so that nobody waits.
fn until_it_asks(mut terminal: fs::File) {
    let asked = Arc::new((Mutex::new(String::new()), Condvar::new()));
    let tell = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = terminal.read(&mut bytes) {
            tell.0.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            tell.1.notify_all();
        }
    });
    let patience = std::time::Duration::from_secs(120);
    let (shown, timeout) =
        asked.1.wait_timeout_while(asked.0.lock().unwrap(), patience, |shown| !shown.contains("[y/N]")).unwrap();
    assert!(!timeout.timed_out(), "it never asked:\n{shown}");
}

#[test]
fn a_protective_point_holds_what_the_policy_leaves_out() {
    let world = World::of(3);
    let point = world.point();
    world.config_map("stray", "was not there");
    let before = world.state();
    let policy = "---\napiVersion: dxdr.io/v1alpha1\nkind: BackupPolicy\nmetadata: {name: without-settings}\nspec: {environments: [staging], objectives: {dataLoss: 1h, recoveryTime: 30m}, engine: native, store: primary, resources: {excluded: [configmaps]}, retention: {hourly: 1, atLeast: 1}}\n";
    world.declare("staging", policy);
    let in_place = ["--in-place", "--prune", "--yes", "--output", "json"];
    let restore = |point: &str| world.place.run(&[&["restore", "staging", "--point", point], &in_place[..]].concat()).exits(0);
    let report: Value = serde_json::from_str(&restore(&point).stdout).unwrap();
    assert!(!world.state().contains_key("configmaps/stray"));
    restore(report["protectivePoint"].as_str().unwrap());
    assert_eq!(world.state(), before);
}
