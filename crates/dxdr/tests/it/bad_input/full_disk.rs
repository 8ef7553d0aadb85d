//! A disk that is full in the middle of a backup.

use std::{fs::OpenOptions, path::Path};

use crate::{objects, place::Place, served::Served};

/// Text that does not compress: the archive becomes larger than any entry of the journal.
fn fill(served: &Served) {
    for number in 0..40_u64 {
        let word = |word: u64| format!("{:x}", (number * 64 + word + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let noise: String = (0..64).map(word).collect();
        served.create(objects::config_map("staging", &format!("noise-{number}"), &noise));
    }
}

#[test]
fn what_a_full_disk_left_is_no_point_and_can_be_cleaned_up() {
    let served = Served::new();
    fill(&served);
    let good = served.point();
    let before = served.objects();
    let said = served.place.run_with_files_of(32, &["backup", "now", "staging"]).refuses(1);
    assert!(said.stderr.contains(".tar.gz`") && said.stderr.contains("no space left"), "{}", said.stderr);
    assert!(said.stderr.contains("hint: make room: `df -h"), "{}", said.stderr);
    assert_eq!(served.objects(), before);

    let points = served.run(&["points", "staging"]).exits(0).stdout;
    assert_eq!(points.lines().filter(|line| line.contains("complete")).count(), 1, "{points}");
    assert!(points.contains(&good), "{points}");
    let runs = served.run(&["runs", "list"]).exits(0).stdout;
    let unfinished = runs.lines().find(|line| line.contains("unfinished")).unwrap();
    assert!(unfinished.contains("no space left"), "{unfinished}");
    let run = unfinished.split_whitespace().next().unwrap();
    served.run(&["runs", "clean", run, "--yes"]).exits(0);
    assert!(!served.run(&["runs", "list"]).exits(0).stdout.contains("unfinished"));
    assert!(served.stored().keys().all(|file| !file.to_string_lossy().contains(".dxdr-incoming/")));
    served.run(&["restore", "--at", "-0s", "staging", "--plan"]).exits(0);
}

#[test]
fn a_run_that_was_stopped_by_a_full_disk_is_resumed_once_there_is_room() {
    let served = Served::new();
    fill(&served);
    let said = served.place.run_with_files_of(32, &["backup", "now", "staging"]).refuses(1);
    let hint = said.stderr.split("`dxdr ").find(|hint| hint.starts_with("runs resume")).unwrap();
    let goes_on: Vec<&str> = hint.split('`').next().unwrap().split_whitespace().chain(["--yes"]).collect();
    served.run(&goes_on).exits(0);
    assert!(served.run(&["points", "staging"]).exits(0).stdout.contains("complete"));
}

#[test]
fn a_result_that_finds_no_room_is_not_called_a_success() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let place = Place::empty();
    place.write("policies/one.yaml", crate::served::ENVIRONMENT);
    let command = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.stdout(OpenOptions::new().write(true).open(full).unwrap()).output().unwrap()
    };
    let output = command(&["environment", "list", "--output", "json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write the result to standard output"), "{said}");
}
