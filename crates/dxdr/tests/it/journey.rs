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
fn a_sandbox_has_databases_and_keeps_its_points_where_that_is_asked_for() {
    let place = Place::with_sandbox();
    let point = place.run(&["backup", "now", "staging"]).exits(0).stdout.trim().to_owned();
    let points = place.run(&["points", "staging", "--output", "json"]).exits(0).stdout;
    assert!(points.contains("\"kind\": \"database\"") && points.contains("gs://dxdr-demonstration/"), "{points}");
    assert!(place.run(&["databases", "instances"]).exits(0).stdout.contains("staging_orders"));
    place.run(&["databases", "operations"]).exits(0);
    place.run(&["sandbox", "down", "--keep-store"]).exits(0);
    place.run(&["sandbox", "up"]).exits(0);
    assert!(place.run(&["points", "staging"]).exits(0).stdout.contains(&point));
    let restored =
        place.run(&["restore", "--point", &point, "staging", "--in-place", "--yes", "--output", "json"]).exits(0).stdout;
    let restored: serde_json::Value = serde_json::from_str(&restored).unwrap();
    assert_eq!(restored["databases"][0]["database"], "staging_orders", "{restored:#}");
    place.run(&["databases", "undo", restored["run"].as_str().unwrap(), "--yes"]).exits(0);
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
