//! What keeps objects from being deleted or replaced.

use jiff::Timestamp;

use crate::{
    bucket::{RetentionPolicy, stamp},
    failure::Failure,
};

/// Holds on one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Protection {
    pub(crate) temporary_hold: bool,
    pub(crate) event_based_hold: bool,
    /// Since when the retention period counts, once an event-based hold was released.
    released: Option<Timestamp>,
}

impl Protection {
    pub(crate) fn new(temporary_hold: bool, event_based_hold: bool) -> Self {
        Self { temporary_hold, event_based_hold, released: None }
    }

    pub(crate) fn set_event_based_hold(&mut self, hold: bool, now: Timestamp) {
        if self.event_based_hold && !hold {
            self.released = Some(now);
        }
        self.event_based_hold = hold;
    }

    /// Until when the bucket's policy keeps an object that was created then. `None` without a policy, and as long as it is not known because
    /// an event-based hold has yet to be released.
    pub(crate) fn retained_until(&self, policy: Option<RetentionPolicy>, created: Timestamp) -> Option<Timestamp> {
        let policy = policy?;
        if self.event_based_hold {
            return None;
        }
        self.released.unwrap_or(created).checked_add(policy.period).ok()
    }

    /// Whether the object may be deleted, or replaced by another one.
    pub(crate) fn check(
        &self,
        (bucket, object): (&str, &str),
        policy: Option<RetentionPolicy>,
        created: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let held = |kind: &str| {
            let message = format!(
                "Object '{bucket}/{object}' is under active {kind} hold and cannot be deleted, overwritten or archived until hold is removed."
            );
            Err(Failure::new(403, "objectUnderActiveHold", message))
        };
        if self.temporary_hold {
            return held("Temporary");
        }
        if self.event_based_hold {
            return held("Event-Based");
        }
        match self.retained_until(policy, created) {
            Some(until) if until > now => Err(Failure::new(
                403,
                "retentionPolicyNotMet",
                format!(
                    "Object '{bucket}/{object}' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until {}",
                    stamp(until)
                ),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_period_counts_from_the_release_of_an_event_based_hold() {
        let policy = Some(RetentionPolicy { period: SignedDuration::from_secs(100), locked: false });
        let mut protection = Protection::new(false, true);
        let check = |protection: &Protection, now| protection.check(("b", "o"), policy, at(0), at(now)).map_err(|it| it.reason);
        assert_eq!(check(&protection, 1_000), Err("objectUnderActiveHold"));
        protection.set_event_based_hold(false, at(1_000));
        assert_eq!(check(&protection, 1_099), Err("retentionPolicyNotMet"));
        assert_eq!(check(&protection, 1_100), Ok(()));
        protection.temporary_hold = true;
        assert_eq!(check(&protection, 2_000), Err("objectUnderActiveHold"));
    }
}
