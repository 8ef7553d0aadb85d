//! Names of recovery points and of runs: sorted by time, unique by their end, decided before anything is done.

use dxdr_environment::EnvironmentName;
use jiff::{Timestamp, tz::TimeZone};

/// `staging-20240501t100000z-x7k2`: names of one environment sort by time. The end comes from `seed`.
pub fn point_name(environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    format!("{environment}-{}-{}", stamp(started), tail(seed))
}

/// `20240501t100000z-restore-staging-x7k2`: runs of all environments sort by time.
pub fn run_name(what: &str, environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    format!("{}-{what}-{environment}-{}", stamp(started), tail(seed))
}

fn stamp(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string()
}

/// Letters and digits that nobody takes for each other and that make no words.
const ALPHABET: &[u8; 28] = b"bcdfghjkmnpqrstvwxz023456789";

fn tail(seed: u64) -> String {
    // SplitMix64's finalizer: seeds that differ in one bit must not share their ends.
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    (0..5)
        .map(|_| {
            // The remainder is below 28.
            let letter = ALPHABET[(state % 28) as usize];
            state /= 28;
            char::from(letter)
        })
        .collect()
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
