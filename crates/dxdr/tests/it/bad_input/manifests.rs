//! Manifests that say what cannot be.

use crate::{
    place::Place,
    served::{ENVIRONMENT, Served},
};

/// What `dxdr check` and `dxdr backup now` say of one file.
#[track_caller]
fn says(manifest: &str, words: &[&str]) {
    let place = Place::empty();
    place.write("policies/all.yaml", manifest);
    for command in [&["check"][..], &["backup", "now", "staging"]] {
        let said = place.run(command).refuses(8);
        let all = format!("{}{}", said.stdout, said.stderr);
        for words in words {
            assert!(all.contains(words), "{words}\n{all}");
        }
    }
}

#[test]
fn a_misspelt_field_is_named_with_its_place_and_the_one_that_was_meant() {
    says(&ENVIRONMENT.replace("namespace: staging", "namespce: staging"), &["all.yaml:4:", "namespce", "`namespace`"]);
}

#[test]
fn two_environments_in_one_namespace_are_named_by_their_places() {
    let twin = ENVIRONMENT.replace("name: staging", "name: twin");
    says(&format!("{ENVIRONMENT}---\n{twin}"), &["all.yaml:9:", "is the environment `staging` already", "all.yaml:3:"]);
}

#[test]
fn a_policy_of_an_environment_that_nobody_knows_names_it() {
    let policy = "---\nkind: BackupPolicy\nmetadata: {name: all}\nspec: {environments: [stagign], objectives: {dataLoss: 1h, recoveryTime: 30m}, engine: native, store: primary, volumes: {method: none}, retention: {atLeast: 3}}\n---\nkind: BackupStore\nmetadata: {name: primary}\nspec: {directory: {path: store}}\n";
    says(&format!("{ENVIRONMENT}{policy}"), &["all.yaml:", "stagign", "staging"]);
}

#[test]
fn text_that_is_no_yaml_is_named_with_its_place() {
    says("apiVersion: [\n", &["all.yaml:"]);
}

#[test]
fn manifests_that_are_nowhere_are_asked_for() {
    let place = Place::empty();
    let said = place.run(&["points"]).refuses(8);
    assert!(said.stderr.contains("--manifests PATH"), "{}", said.stderr);
    place.run(&["points", "--manifests", "nowhere"]).refuses(8);
    place.run(&["points", "--config", "nowhere"]).refuses(8);
    place.write(".dxdr/config.yaml", "manifest: [policies]\n");
    place.run(&["points"]).refuses(8);
}

#[test]
fn an_instant_without_a_zone_is_settled_and_shown() {
    let served = Served::new();
    let point = served.point();
    let restore = |at: &str, zone: &str| ["restore", "--at", at, "--time-zone", zone, "staging", "--plan"].map(str::to_owned);
    let run = |arguments: [String; 7], code: i32| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        served.refuses_and_changes_nothing(&arguments, code)
    };
    // Before the first point: what would work is named, and works.
    let said = run(restore("2020-07-01T10:00", "Europe/Berlin"), 5);
    assert!(said.stderr.contains("2020-07-01 10:00 Europe/Berlin = 2020-07-01T08:00:00Z"), "{}", said.stderr);
    assert!(said.stderr.contains(&point), "{}", said.stderr);
    let hint = said.stderr.split("`dxdr ").find(|hint| hint.starts_with("restore --at")).unwrap();
    let works: Vec<&str> = hint.split('`').next().unwrap().split_whitespace().chain(["--plan"]).collect();
    served.run(&works).exits(0);

    let said = run(restore("2999-01-01T10:00", "Europe/Berlin"), 2);
    assert!(said.stderr.contains("is in the future"), "{}", said.stderr);
    let said = run(restore("2020-07-01T10:00", "Europe/Berlim"), 2);
    assert!(said.stderr.contains("there is no time zone `Europe/Berlim`"), "{}", said.stderr);
    // No zone anywhere: nothing is guessed.
    let said = served.refuses_and_changes_nothing(&["restore", "--at", "2020-07-01T10:00", "staging", "--plan"], 2);
    assert!(said.stderr.contains("--time-zone"), "{}", said.stderr);
}

#[test]
fn a_file_that_is_no_text_and_a_link_that_leads_nowhere_are_named() {
    let place = Place::empty();
    std::fs::create_dir(place.path().join("policies")).unwrap();
    let file = place.path().join("policies/one.yaml");
    std::fs::write(&file, [0xff, 0xfe, b'a', 0]).unwrap();
    let said = place.run(&["check"]).refuses(8);
    assert!(said.stderr.contains("one.yaml") && said.stderr.contains("UTF-8"), "{}", said.stderr);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere.yaml", &file).unwrap();
    let said = place.run(&["check"]).refuses(8);
    assert!(said.stderr.contains("one.yaml") && said.stderr.contains("leads nowhere"), "{}", said.stderr);
}
