//! Chores that are not tests.
fn main() {}
