//! Names of recovery points and of the runs that make them.
//!
//! `staging-20240501t100000z-x7k2m` says whose point it is and when it was begun without anything being read, sorts by time within
//! one environment, and is a valid name and label value in Kubernetes. `20240501t100000z-restore-staging-x7k2m` is a run's: those of
//! all environments sort by time.

use dxdr_environment::EnvironmentName;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// A label's value, which Velero makes of a backup's name, holds no more.
pub const LONGEST: usize = 63;
/// `20240501t100000z`
const STAMP: usize = 16;
/// Five of 28 letters: seventeen million, of which one second needs a handful.
const TAIL: usize = 5;
/// What is left for the environment, after two hyphens.
const LONGEST_PREFIX: usize = LONGEST - STAMP - TAIL - 2;
/// `-1a2b3c4d`, in the place of what does not fit.
const FINGERPRINT: usize = 9;
/// Letters and digits that nobody takes for each other and that make no words.
const ALPHABET: &[u8; 28] = b"bcdfghjkmnpqrstvwxz023456789";

/// A name of ours, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointName {
    /// The environment's name, shortened if it is long: see [`PointName::is_of`].
    pub prefix: String,
    /// When the point was begun, to the second.
    pub started: Timestamp,
    /// What makes it unique.
    pub tail: String,
}

impl PointName {
    /// Whether the name may be one of `environment`'s points. Certain for names that fit; two that are shortened share a prefix
    /// once in four thousand million, and the manifest has the last word.
    pub fn is_of(&self, environment: &str) -> bool {
        self.prefix == prefix(environment)
    }
}

/// The name of a point begun at `started`; its end comes from `seed`.
pub fn point_name(environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    format!("{}-{}-{}", prefix(environment.as_str()), stamp(started), tail(seed))
}

/// The name of a run: `what` is `backup` or `restore`; its end comes from `seed`, as the point's does that it takes.
pub fn run_name(what: &str, environment: &EnvironmentName, started: Timestamp, seed: u64) -> String {
    format!("{}-{what}-{environment}-{}", stamp(started), tail(seed))
}

/// Takes a name of ours apart; `None` for any other, those that Velero gives included.
pub fn parse(name: &str) -> Option<PointName> {
    let (rest, tail) = name.rsplit_once('-')?;
    let (prefix, stamp) = rest.rsplit_once('-')?;
    let plausible = name.len() <= LONGEST
        && tail.len() == TAIL
        && tail.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && stamp.len() == STAMP
        && stamp.bytes().enumerate().all(|(index, byte)| match index {
            8 => byte == b't',
            15 => byte == b'z',
            _ => byte.is_ascii_digit(),
        })
        && EnvironmentName::parse(prefix).is_ok();
    if !plausible {
        return None;
    }
    let civil = DateTime::strptime("%Y%m%dt%H%M%Sz", stamp).ok()?;
    let started = TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(PointName { prefix: prefix.to_owned(), started, tail: tail.to_owned() })
}

/// Takes apart what Velero calls the backups of a Schedule: `SCHEDULE-20240501100000`, in UTC.
pub fn parse_of_velero_schedule(name: &str) -> Option<(&str, Timestamp)> {
    let (schedule, stamp) = name.rsplit_once('-')?;
    if schedule.is_empty() || stamp.len() != 14 || !stamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let civil = DateTime::strptime("%Y%m%d%H%M%S", stamp).ok()?;
    Some((schedule, TimeZone::UTC.to_timestamp(civil).ok()?))
}

/// What makes a name unique, from `seed`: the same seed has the same end.
pub fn tail(seed: u64) -> String {
    // SplitMix64's finalizer: seeds that differ in one bit must not share their ends.
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^= state >> 31;
    let letters = ALPHABET.len() as u64;
    (0..TAIL)
        .map(|_| {
            // The remainder is an index of the alphabet.
            let letter = ALPHABET[(state % letters) as usize];
            state /= letters;
            char::from(letter)
        })
        .collect()
}

/// `20240501t100000z`, in UTC.
fn stamp(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string()
}

/// The environment's name, or as much of it as fits and a fingerprint of all of it.
fn prefix(environment: &str) -> String {
    shortened(environment, LONGEST_PREFIX)
}

/// The value of a label that names a run: the run's name, or as much of it as a label holds.
pub fn in_label(run: &str) -> String {
    shortened(run, LONGEST)
}

/// `name`, or as much of it as fits into `longest` bytes and a fingerprint of all of it. Names of Kubernetes are ASCII.
pub fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let start: String = name.chars().take(longest.saturating_sub(FINGERPRINT)).collect();
    format!("{}-{}", start.trim_end_matches('-'), fingerprint(name))
}

/// Eight hexadecimal digits that tell names apart which look alike. FNV-1a: the same on every machine and in every version, unlike the standard
/// library's hash.
pub fn fingerprint(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_names_of_runs_begin_with_their_time_and_differ_by_seed() {
        let (staging, started) = (EnvironmentName::parse("staging").unwrap(), at("2024-05-01T10:00:00.9Z"));
        let name = run_name("restore", &staging, started, 1);
        assert!(name.starts_with("20240501t100000z-restore-staging-"), "{name}");
        assert_eq!(name, run_name("restore", &staging, started, 1));
        assert_ne!(name, run_name("restore", &staging, started, 2));
    }

    #[test]
    fn a_name_says_whose_point_it_is_and_when_it_was_begun() {
        let staging = EnvironmentName::parse("staging").unwrap();
        let name = point_name(&staging, at("2024-05-01T10:00:00.9Z"), 1);
        assert!(name.starts_with("staging-20240501t100000z-"), "{name}");
        let parsed = parse(&name).unwrap();
        assert!(parsed.is_of("staging"));
        assert!(!parsed.is_of("stag"));
        assert_eq!(parsed.started, at("2024-05-01T10:00:00Z"));
    }

    #[test]
    fn names_that_others_give_are_not_ours() {
        for name in [
            "staging",
            "",
            "-",
            "nightly-20240501100000",
            "staging-20240501t100000z",
            "staging-20240501t100000z-",
            "staging-20240501t100000z-x7k2",
            "staging-20240501t100000z-X7K2M",
            "staging-20241301t100000z-x7k2m",
            "staging-20240501t250000z-x7k2m",
            "staging-20240501T100000Z-x7k2m",
            "-20240501t100000z-x7k2m",
            "Staging-20240501t100000z-x7k2m",
            "staging-+0240501t100000z-x7k2m",
            "größe-20240501t100000z-x7k2m",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_backups_of_a_velero_schedule_are_recognised() {
        assert_eq!(
            parse_of_velero_schedule("velero-nightly-20240501100000"),
            Some(("velero-nightly", at("2024-05-01T10:00:00Z")))
        );
        for name in ["nightly", "nightly-2024050110000", "nightly-20240501250000", "-20240501100000", "a-20240501t100000z-x7k2m"]
        {
            assert_eq!(parse_of_velero_schedule(name), None, "{name}");
        }
    }

    fn environment_name() -> impl Strategy<Value = EnvironmentName> {
        "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?".prop_map(|name| EnvironmentName::parse(&name).unwrap())
    }

    proptest! {
        #[test]
        fn every_name_is_a_label_and_is_read_as_it_was_made(
            environment in environment_name(), second in 0i64..253_402_207_200, seed: u64,
        ) {
            let started = Timestamp::from_second(second).unwrap();
            let name = point_name(&environment, started, seed);
            prop_assert!(EnvironmentName::parse(&name).is_ok(), "{}", name);
            let parsed = parse(&name).unwrap();
            prop_assert!(parsed.is_of(environment.as_str()));
            prop_assert_eq!(parsed.started, started);
            prop_assert_eq!(parsed.tail, tail(seed));
            prop_assert_eq!(parse_of_velero_schedule(&name), None);
        }

        #[test]
        fn names_of_one_environment_sort_by_time(
            environment in environment_name(), left in 0i64..253_402_207_200, right in 0i64..253_402_207_200, seeds: (u64, u64),
        ) {
            prop_assume!(left != right);
            let name = |second, seed| point_name(&environment, Timestamp::from_second(second).unwrap(), seed);
            prop_assert_eq!(name(left, seeds.0).cmp(&name(right, seeds.1)), left.cmp(&right));
        }

        #[test]
        fn environments_that_differ_only_behind_what_fits_have_names_of_their_own(start in "[a-z]{50}", left in "[a-z]{1,13}", right in "[a-z]{1,13}") {
            prop_assume!(left != right);
            prop_assert_ne!(prefix(&format!("{start}{left}")), prefix(&format!("{start}{right}")));
        }

        #[test]
        fn any_text_can_be_asked_about(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse_of_velero_schedule(&text);
        }
    }
}
