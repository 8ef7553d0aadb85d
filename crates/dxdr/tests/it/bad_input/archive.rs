//! Recovery points that are not as they were written.

use std::{fs, path::PathBuf};

use crate::{objects, served::Served};

/// Two points of one environment, the older of which stays as it is, and an environment that is not as it was.
struct Points {
    served: Served,
    intact: String,
    newest: String,
}

impl Points {
    fn new() -> Self {
        let served = Served::new();
        let intact = served.point();
        let newest = served.point();
        served.delete(&objects::core("ConfigMap", Some("staging"), "one"));
        Self { served, intact, newest }
    }

    /// A file of the newest point's folder; `{}` stands for its name.
    fn file(&self, name: &str) -> PathBuf {
        self.served.store().join("backups").join(&self.newest).join(name.replace("{}", &self.newest))
    }

    /// The newest point cannot be restored, offline, beside or in place, and nothing is changed.
    #[track_caller]
    fn cannot_restore(&self, code: i32, words: &str) {
        let restore = ["restore", "--point", &self.newest, "staging"];
        for options in [&["--plan"][..], &["--yes"], &["--in-place", "--prune", "--yes"]] {
            let said = self.served.refuses_and_changes_nothing(&[&restore, options].concat(), code);
            assert!(said.stderr.contains(words), "{}", said.stderr);
        }
    }

    /// The listing has both points, and says of the newest what is wrong with it.
    #[track_caller]
    fn lists_what_is_wrong(&self, words: &str) {
        let said = self.served.refuses_and_changes_nothing(&["points", "staging"], 3);
        assert!(said.stdout.contains(&self.intact) && said.stdout.contains(&self.newest), "{}", said.stdout);
        assert!(said.stderr.contains(&self.newest) && said.stderr.contains(words), "{}", said.stderr);
        assert!(!said.stderr.contains(&self.intact), "{}", said.stderr);
    }

    #[track_caller]
    fn older_point_brings_everything_back(&self) {
        self.served.run(&["restore", "--point", &self.intact, "staging", "--in-place", "--yes"]).exits(0);
        assert!(self.served.get(&objects::core("ConfigMap", Some("staging"), "one")).is_some());
    }
}

#[test]
fn an_archive_that_was_cut_in_half_is_found_out() {
    let points = Points::new();
    let archive = points.file("{}.tar.gz");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
    points.cannot_restore(9, "damaged or cut off");
    points.lists_what_is_wrong(&format!("has {} bytes, and {} were written", bytes.len() / 2, bytes.len()));
    let at = points.served.refuses_and_changes_nothing(&["restore", "--at", "-0s", "staging", "--in-place", "--yes"], 9);
    assert!(at.stderr.contains("hint: "), "{}", at.stderr);
    points.older_point_brings_everything_back();
}

#[test]
fn an_archive_with_a_flipped_bit_is_found_out_wherever_it_is() {
    let points = Points::new();
    let archive = points.file("{}.tar.gz");
    let bytes = fs::read(&archive).unwrap();
    let restore = ["restore", "--point", &points.newest, "staging"];
    for position in [0, 4, bytes.len() / 3, bytes.len() / 2, bytes.len() - 6, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1;
        fs::write(&archive, &flipped).unwrap();
        points.served.refuses_and_changes_nothing(&[&restore[..], &["--plan"]].concat(), 9);
    }
    points.cannot_restore(9, "hint: ");
    // Only reading it tells.
    points.served.run(&["points", "staging"]).exits(0);
    points.older_point_brings_everything_back();
}

#[test]
fn a_missing_archive_is_no_mystery() {
    let points = Points::new();
    fs::remove_file(points.file("{}.tar.gz")).unwrap();
    points.cannot_restore(9, ".tar.gz` is missing");
    points.lists_what_is_wrong(".tar.gz` is missing");
    points.older_point_brings_everything_back();
}

#[test]
fn a_missing_side_object_is_named_and_the_point_is_restored_without_it() {
    for side in ["{}-results.gz", "velero-backup.json"] {
        let points = Points::new();
        fs::remove_file(points.file(side)).unwrap();
        points.lists_what_is_wrong("is missing");
        points.served.run(&["restore", "--point", &points.newest, "staging", "--in-place", "--yes"]).exits(0);
        assert!(points.served.get(&objects::core("ConfigMap", Some("staging"), "one")).is_some());
    }
}

#[test]
fn a_manifest_from_the_future_is_left_to_the_future() {
    let points = Points::new();
    let manifest = points.file("dxdr-manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"dxdr.io/v1\"", "\"dxdr.io/v7\"")).unwrap();
    points.cannot_restore(8, "comes from the future: it has version dxdr.io/v7");
    points.lists_what_is_wrong("comes from the future");
    // The newest one that can be understood, and a word about the other.
    let said = points.served.run(&["restore", "--at", "-0s", "staging", "--in-place", "--yes"]).exits(0);
    assert!(said.stderr.contains(&format!("warning: {} is passed over", points.newest)), "{}", said.stderr);
}

#[test]
fn a_manifest_that_is_garbage_hides_no_other_point() {
    for garbage in ["", "{", "[]", "{\"apiVersion\": \"dxdr.io/v1\", \"kind\": \"RecoveryPointManifest\"}", "\u{0}\u{1}"] {
        let points = Points::new();
        fs::write(points.file("dxdr-manifest.json"), garbage).unwrap();
        points.cannot_restore(9, "cannot understand `backups/");
        points.lists_what_is_wrong("the recovery point manifest");
    }
}

#[test]
fn a_journal_from_the_future_hides_no_other_run() {
    let points = Points::new();
    let runs = points.served.store().join("metadata/dxdr/runs");
    let mut names: Vec<String> =
        fs::read_dir(&runs).unwrap().map(|run| run.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let (first, last) = (&names[0], &names[1]);
    let entry = runs.join(last).join("000000.json");
    let text = fs::read_to_string(&entry).unwrap();
    fs::write(&entry, text.replace("\"dxdr.io/v1\"", "\"dxdr.io/v7\"")).unwrap();
    let said = points.served.refuses_and_changes_nothing(&["runs", "list"], 3);
    assert!(said.stdout.contains(first) && said.stdout.contains(last), "{}", said.stdout);
    assert!(said.stderr.contains("comes from the future"), "{}", said.stderr);
    for command in [&["runs", "show", last][..], &["runs", "resume", last, "--yes"], &["runs", "clean", last, "--yes"]] {
        let said = points.served.refuses_and_changes_nothing(command, 8);
        assert!(said.stderr.contains("hint: upgrade dxdr"), "{}", said.stderr);
    }
}
