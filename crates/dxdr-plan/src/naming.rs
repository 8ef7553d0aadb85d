//! Names of recovery points and of runs: sorted by time, unique by their end, decided before anything is done.

use dxdr_catalog::name;
use dxdr_environment::EnvironmentName;
use jiff::{Timestamp, tz::TimeZone};

/// `staging-20240501t100000z-x7k2m`: names of one environment sort by time. The end comes from `seed`.
pub fn point_name(environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    name::point_name(environment, started, seed)
}

/// `20240501t100000z-restore-staging-x7k2m`: runs of all environments sort by time.
pub fn run_name(what: &str, environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    format!("{}-{what}-{environment}-{}", stamp(started), name::tail(seed))
}

fn stamp(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_instant_and_differ_by_seed() {
        let environment = EnvironmentName::parse("staging").unwrap();
        let started: Timestamp = "2024-05-01T10:00:00.9Z".parse().unwrap();
        let name = point_name(&environment, started, 1);
        assert!(name.starts_with("staging-20240501t100000z-"), "{name}");
        assert_ne!(name, point_name(&environment, started, 2));
        assert_eq!(name, point_name(&environment, started, 1));
        assert!(run_name("restore", &environment, started, 1).starts_with("20240501t100000z-restore-staging-"));
    }
}
