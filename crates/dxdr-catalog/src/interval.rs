//! When something was captured, as far as that is known.

use jiff::{SignedDuration, Timestamp};

/// It was captured at one instant of these, on the clock of who watched it being done: not before the first, not after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// It was not asked for before.
    pub first: Timestamp,
    /// It was seen done by then.
    pub last: Timestamp,
}

impl Interval {
    /// What an instant means that a clock told and of which nothing else is known: clocks leave away what they do not tell. A whole second may have been anything up to the
    /// next one.
    pub fn told(instant: Timestamp) -> Self {
        let nanoseconds = instant.subsec_nanosecond();
        let left_away = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| nanoseconds % unit == 0).unwrap_or(0);
        let last = instant.saturating_add(SignedDuration::from_nanos(left_away.into())).unwrap_or(instant);
        Self { first: instant, last }
    }

    /// The same, on a clock that differs by up to `by`.
    pub fn on_another_clock(self, by: SignedDuration) -> Self {
        Self {
            first: self.first.saturating_sub(by).unwrap_or(self.first),
            last: self.last.saturating_add(by).unwrap_or(self.last),
        }
    }

    /// How far apart two things at least are that were captured then.
    pub fn nearest(self, other: Self) -> SignedDuration {
        let between = |earlier: Self, later: Self| later.first.duration_since(earlier.last);
        between(self, other).max(between(other, self)).max(SignedDuration::ZERO)
    }

    /// How far apart two things at most are that were captured then.
    pub fn furthest(self, other: Self) -> SignedDuration {
        let ahead = |left: Self, right: Self| left.last.duration_since(right.first);
        ahead(self, other).max(ahead(other, self)).max(SignedDuration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: i64) -> Timestamp {
        Timestamp::from_nanosecond(nanoseconds.into()).unwrap()
    }

    #[test]
    fn a_clock_may_have_left_away_what_it_does_not_tell() {
        for (told, unit) in
            [(3_000_000_000, 1_000_000_000), (3_250_000_000, 1_000_000), (3_250_001_000, 1_000), (3_250_001_001, 0)]
        {
            assert_eq!(Interval::told(at(told)), Interval { first: at(told), last: at(told + unit) });
        }
    }

    #[test]
    fn two_things_are_as_far_apart_as_the_ends_of_what_is_known_of_them() {
        let hour = Interval { first: at(0), last: at(3_600_000_000_000) };
        let middle = Interval { first: at(1_000_000_000), last: at(2_000_000_000) };
        assert_eq!(hour.furthest(middle), SignedDuration::from_secs(3_599));
        assert_eq!(hour.nearest(middle), SignedDuration::ZERO, "they may be of one moment");
        let later = Interval { first: at(3_605_000_000_000), last: at(3_606_000_000_000) };
        assert_eq!((hour.nearest(later), later.nearest(hour)), (SignedDuration::from_secs(5), SignedDuration::from_secs(5)));
        assert_eq!(middle.furthest(hour), SignedDuration::from_secs(3_599));
    }
}
