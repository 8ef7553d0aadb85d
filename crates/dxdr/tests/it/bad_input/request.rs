//! Requests that mean nothing.

use crate::place::Place;

#[test]
fn instants_and_names_that_mean_nothing_are_refused() {
    let place = Place::with_sandbox();
    place.run(&["backup", "now", "stagging"]).refuses(8);
    place.run(&["restore", "--at", "yesterday-ish", "staging", "--plan"]).refuses(2);
    // Clocks in Berlin went from 02:00 to 03:00, and from 03:00 to 02:00.
    place.run(&["restore", "--at", "2024-03-31T02:30", "--time-zone", "Europe/Berlin", "staging", "--plan"]).refuses(2);
    place.run(&["restore", "--at", "2024-10-27T02:30", "--time-zone", "Europe/Berlin", "staging", "--plan"]).refuses(2);
}
