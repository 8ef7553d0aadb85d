//! What the project's own pages tell people to type.

use std::fs;

use crate::place::{Place, project};

/// Commands of the indented and fenced blocks: comments, prompts and what stands in capitals for a value taken off.
fn commands(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("dxdr "))
        .map(|line| line.split(" #").next().unwrap_or_default())
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn every_command_of_the_readme_and_the_runbooks_is_one() {
    let place = Place::empty();
    let mut pages = vec![project().join("README.md")];
    pages.extend(fs::read_dir(project().join("runbooks")).unwrap().map(|entry| entry.unwrap().path()));
    let mut count = 0;
    for page in pages {
        for mut command in commands(&fs::read_to_string(&page).unwrap()) {
            count += 1;
            command.push("--help".to_owned());
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            assert!(!place.run(&arguments).is_usage_error(), "{}: dxdr {}", page.display(), command.join(" "));
        }
    }
    assert!(count > 5, "only {count} commands found");
}

#[test]
fn the_shipped_policies_have_no_problem() {
    Place::empty().run(&["check", project().join("policies").to_str().unwrap()]).exits(0);
}
