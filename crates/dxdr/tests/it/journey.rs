//! From an empty folder to an environment that is back.

use crate::place::Place;

#[test]
fn the_quickstart_proves_itself_and_leaves_nothing_behind() {
    let place = Place::empty();
    let said = place.run(&["quickstart"]).exits(0).stdout;
    // Databases as well: exported by Cloud SQL, imported into a new one, and put in place.
    for line in
        ["Database orders: export", "it takes the place of `staging_orders`", "the database of staging as it was at the instant"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_second_sandbox_is_refused_and_stopping_twice_is_harmless() {
    let place = Place::with_sandbox();
    place.run(&["sandbox", "up"]).refuses(4);
    assert!(place.run(&["sandbox", "status"]).exits(0).stdout.contains("runs at"));
    place.run(&["sandbox", "down"]).exits(0);
    place.run(&["sandbox", "down"]).exits(0);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn an_environment_is_backed_up_planned_and_restored_beside_and_in_place() {
    let place = Place::with_sandbox();
    let point = place.run(&["backup", "now", "staging"]).exits(0).stdout.trim().to_owned();
    assert!(place.run(&["points", "staging"]).exits(0).stdout.contains(&point));
    assert!(place.run(&["points", "staging", "--output", "json"]).exits(0).stdout.contains(&point));
    place.run(&["restore", "--point", &point, "staging", "--plan"]).exits(0);
    place.run(&["restore", "--point", &point, "staging", "--into", "staging-again", "--yes"]).exits(0);
    place.run(&["restore", "--point", &point, "staging", "--in-place", "--prune", "--yes"]).exits(0);
    place.run(&["environment", "render", "staging"]).exits(0);
    place.run(&["environment", "diff", "staging"]).exits(0);
}
