//! What instances that dxdr makes are called, and what their labels say: which run made them, for whom, and when they may go.

use std::collections::BTreeMap;

use dxdr_catalog::name;
use jiff::Timestamp;

/// The label that names the run.
pub const RUN: &str = "dxdr-run";
/// The label that names the environment.
pub const ENVIRONMENT: &str = "dxdr-environment";
/// The label that says from when on it may be deleted.
pub const EXPIRES: &str = "dxdr-expires";
/// What stands in front of the run in the description of a backup.
const BACKUP: &str = "dxdr run ";
/// As long as the value of a label can be.
const LONGEST: usize = 63;
/// How much of an environment's name goes into an instance's.
const READABLE: usize = 40;
const STAMP: &str = "%Y%m%dt%H%M%Sz";

/// The name of a clone: `dxdr-staging-20240501-1a2b3c4d`. The end tells it apart from every other one, since the name of an instance that is gone stays
/// taken for days.
pub fn clone_name(environment: &str, source: &str, now: Timestamp) -> String {
    let readable: String =
        value(environment).chars().map(|letter| if letter == '_' { '-' } else { letter }).take(READABLE).collect();
    let tail = name::fingerprint(&format!("{environment}/{source}/{}", now.as_nanosecond()));
    format!("dxdr-{readable}-{}-{tail}", now.strftime("%Y%m%d"))
}

/// The labels of a clone.
pub fn clone_labels(run: &str, environment: &str, expires: Timestamp) -> BTreeMap<String, String> {
    BTreeMap::from([
        (RUN.to_owned(), value(run)),
        (ENVIRONMENT.to_owned(), value(environment)),
        (EXPIRES.to_owned(), expires.strftime(STAMP).to_string()),
    ])
}

/// The description of a backup of a run, by which it is found again. Another attempt has another one.
pub fn backup_description(run: &str, attempt: u32) -> String {
    match attempt {
        ..=1 => format!("{BACKUP}{run}"),
        _ => format!("{BACKUP}{run} {attempt}"),
    }
}

/// The run that made a backup of this description; `None`: it is not ours.
pub fn run_of_backup(description: &str) -> Option<&str> {
    let run = description.strip_prefix(BACKUP)?;
    Some(run.split_once(' ').map_or(run, |(run, _)| run))
}

/// Whether an instance with these labels was made by a run.
pub fn is_clone_of(labels: &BTreeMap<String, String>, run: &str) -> bool {
    labels.get(RUN).is_some_and(|label| names(label, run))
}

/// Whether the value of the label means that run.
pub fn names(label: &str, run: &str) -> bool {
    label == value(run)
}

/// Whether the value of a label may be the beginning of a name that was too long.
pub fn may_be_cut(label: &str) -> bool {
    label.len() >= LONGEST
}

/// When an instance with these labels may go; `None` where they do not say so.
pub fn expires(labels: &BTreeMap<String, String>) -> Option<Timestamp> {
    instant(labels.get(EXPIRES)?)
}

/// An instant as labels and names of runs have it.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime(STAMP, text).ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// As the value of a label: lower case, and not too long. What is cut off leaves its fingerprint.
fn value(text: &str) -> String {
    let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_');
    let plain: String = text.chars().map(|letter| if fits(letter) { letter } else { '-' }).collect();
    if plain.len() <= LONGEST {
        return plain;
    }
    let tail = name::fingerprint(text);
    let head: String = plain.chars().take(LONGEST - tail.len() - 1).collect();
    format!("{head}-{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn labels_are_read_back_and_say_whose_it_is() {
        let long = format!("20240501t100000z-restore-{}-x7k2v", "a".repeat(60));
        for run in ["20240501t100000z-restore-staging-x7k2v", &long] {
            let labels = clone_labels(run, "staging", at("2024-05-08T10:00:00Z"));
            assert!(labels.values().all(|value| value.len() <= LONGEST));
            assert!(is_clone_of(&labels, run) && !is_clone_of(&labels, "another"));
            assert_eq!(expires(&labels), Some(at("2024-05-08T10:00:00Z")));
        }
        let cut = &clone_labels(&long, "s", at("2024-05-08T10:00:00Z"))[RUN];
        assert!(may_be_cut(cut) && names(cut, &long) && !may_be_cut("20240501t100000z-restore-staging-x7k2v"));
        assert!(!is_clone_of(&clone_labels(&long, "s", at("2024-05-08T10:00:00Z")), &format!("{long}y")));
        assert_eq!(expires(&BTreeMap::from([(EXPIRES.to_owned(), "soon".to_owned())])), None);
    }

    #[test]
    fn a_backup_says_whose_it_is_whichever_attempt_made_it() {
        let run = "20240501t100000z-backup-staging-x7k2v";
        let descriptions = [1, 2, 9].map(|attempt| backup_description(run, attempt));
        assert!(descriptions.iter().all(|description| run_of_backup(description) == Some(run)));
        assert!(descriptions[0] != descriptions[1] && descriptions[1] != descriptions[2]);
        assert_eq!((run_of_backup(""), run_of_backup("before the upgrade")), (None, None));
    }

    #[test]
    fn a_clone_has_a_name_that_the_service_takes_and_no_other_has() {
        let name = clone_name("staging", "shared", at("2024-05-01T10:00:00.000000001Z"));
        assert!(name.starts_with("dxdr-staging-20240501-") && name.len() == "dxdr-staging-20240501-".len() + 8, "{name}");
        assert_ne!(name, clone_name("staging", "shared", at("2024-05-01T10:00:00.000000002Z")));
        assert_ne!(name, clone_name("staging", "other", at("2024-05-01T10:00:00.000000001Z")));
        assert!(clone_name(&"x".repeat(63), "shared", at("2024-05-01T10:00:00Z")).len() <= 70);
    }
}
