//! What is promised for sealing keys: how often they are renewed, who can open them when the cluster is gone, and how often that is tried.

use dxdr_environment::EnvironmentName;
use jiff::{SignedDuration, Timestamp};

/// A policy for the keys of the controllers that some environments name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingPolicy {
    /// Name of the manifest.
    pub name: String,
    /// The environments whose controllers it is for.
    pub environments: Vec<EnvironmentName>,
    /// How old the newest key may grow.
    pub renew_every: SignedDuration,
    /// Where keys are kept apart.
    pub escrow: EscrowPolicy,
}

/// Where private keys are kept, encrypted for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowPolicy {
    /// Public keys: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. Any one of them opens everything.
    pub recipients: Vec<String>,
    /// Name of the BackupStore.
    pub store: String,
    /// Whether a recovery point whose keys are not all in escrow is incomplete, and not only warned about.
    pub required: bool,
    /// How long ago a person may have opened what is in escrow.
    pub prove_every: SignedDuration,
}

/// A key in escrow, as far as it must be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escrowed {
    /// When it was put there; it was read back and opened then.
    pub at: Timestamp,
    /// When a person opened it last.
    pub proved: Option<Timestamp>,
}

/// When something is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// From then on it is late.
    pub at: Timestamp,
    /// How late it is; `None` while there is time.
    pub overdue: Option<SignedDuration>,
}

impl Due {
    fn at(at: Timestamp, now: Timestamp) -> Self {
        Self { at, overdue: (at <= now).then(|| now.duration_since(at)) }
    }
}

impl SealingPolicy {
    /// When the next key is to be made, given when the certificates of those begin that the controller loads. Where there is none, now.
    pub fn renewal(&self, begins: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Due {
        let newest = begins.into_iter().max();
        Due::at(newest.map_or(now, |newest| newest.saturating_add(self.renew_every).unwrap_or(Timestamp::MAX)), now)
    }

    /// When a person is to open a key in escrow again.
    pub fn proof(&self, escrowed: Escrowed, now: Timestamp) -> Due {
        let last = escrowed.proved.unwrap_or(escrowed.at);
        Due::at(last.saturating_add(self.escrow.prove_every).unwrap_or(Timestamp::MAX), now)
    }

    /// When a person is to open what is in escrow again: as soon as one key of it is due. `None` where there is no key.
    pub fn next_proof(&self, escrowed: impl IntoIterator<Item = Escrowed>, now: Timestamp) -> Option<Due> {
        escrowed.into_iter().map(|escrowed| self.proof(escrowed, now)).min_by_key(|due| due.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> SealingPolicy {
        SealingPolicy {
            name: "default".to_owned(),
            environments: Vec::new(),
            renew_every: SignedDuration::from_hours(30 * 24),
            escrow: EscrowPolicy {
                recipients: Vec::new(),
                store: "primary".to_owned(),
                required: true,
                prove_every: SignedDuration::from_hours(90 * 24),
            },
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_due_as_long_after_the_newest_as_the_policy_says() {
        let (older, newer) = (at("2024-01-01T00:00:00Z"), at("2024-03-01T00:00:00Z"));
        let due = |now| policy().renewal([newer, older], at(now));
        assert_eq!(due("2024-03-30T23:59:59Z"), Due { at: at("2024-03-31T00:00:00Z"), overdue: None });
        assert_eq!(due("2024-03-31T00:00:00Z").overdue, Some(SignedDuration::ZERO));
        assert_eq!(due("2024-04-02T00:00:00Z").overdue, Some(SignedDuration::from_hours(48)));
        let now = at("2024-05-01T00:00:00Z");
        assert_eq!(policy().renewal([], now), Due { at: now, overdue: Some(SignedDuration::ZERO) });
        // A certificate from the future, as a wrong clock makes it.
        assert_eq!(policy().renewal([Timestamp::MAX], now), Due { at: Timestamp::MAX, overdue: None });
    }

    #[test]
    fn the_escrow_is_tried_as_soon_as_one_key_of_it_is_due() {
        let now = at("2024-06-01T00:00:00Z");
        let proved = Escrowed { at: at("2023-01-01T00:00:00Z"), proved: Some(at("2024-05-01T00:00:00Z")) };
        let never = Escrowed { at: at("2024-03-01T00:00:00Z"), proved: None };
        assert_eq!(policy().proof(proved, now), Due { at: at("2024-07-30T00:00:00Z"), overdue: None });
        let due = policy().next_proof([proved, never], now).unwrap();
        assert_eq!(due, Due { at: at("2024-05-30T00:00:00Z"), overdue: Some(SignedDuration::from_hours(48)) });
        assert_eq!(policy().next_proof([], now), None);
    }

    proptest! {
        #[test]
        fn another_key_never_makes_the_renewal_earlier(
            begins in prop::collection::vec(0_i64..2_000_000_000, 1..6), more in 0_i64..2_000_000_000, now in 0_i64..2_000_000_000,
        ) {
            let instant = |second: i64| Timestamp::from_second(second).unwrap();
            let due = |seconds: &[i64]| policy().renewal(seconds.iter().copied().map(instant), instant(now));
            let before = due(&begins);
            let after = due(&[&begins[..], &[more]].concat());
            prop_assert!(after.at >= before.at);
            prop_assert!(after.overdue <= before.overdue || before.overdue.is_some());
            prop_assert_eq!(before.overdue.is_some(), before.at <= instant(now));
        }
    }
}
