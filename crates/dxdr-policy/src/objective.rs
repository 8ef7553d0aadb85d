//! Promise and fact: whether as much as was promised could be brought back at this moment.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// What is known of the newest recovery point that can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// It stands for this instant.
    At(Timestamp),
    /// There is none.
    None,
    /// Nobody could look.
    NotObserved,
}

/// How the data loss, were everything lost now, stands against the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Kept, and the next point comes in time.
    Met {
        /// What would be lost.
        data_loss: SignedDuration,
    },
    /// Kept still, but the next point comes too late, or is overdue.
    AtRisk {
        /// What would be lost.
        data_loss: SignedDuration,
        /// When the promise is broken if no point comes.
        breached_at: Timestamp,
    },
    /// Broken.
    Breached {
        /// What would be lost; `None`: everything.
        data_loss: Option<SignedDuration>,
    },
    /// Not known: nobody could look, or the newest point is later than now.
    Unknown,
}

/// How the promise of losing at most `promised` stands at `now`. `next` is when the next point is due, reckoned from the newest one;
/// without a schedule there is none, and the last quarter of what was promised is at risk.
pub fn data_loss_standing(promised: SignedDuration, newest: Newest, next: Option<Timestamp>, now: Timestamp) -> Standing {
    let newest = match newest {
        Newest::At(newest) if newest <= now => newest,
        Newest::None => return Standing::Breached { data_loss: None },
        Newest::At(_) | Newest::NotObserved => return Standing::Unknown,
    };
    let data_loss = now.duration_since(newest);
    if data_loss > promised {
        return Standing::Breached { data_loss: Some(data_loss) };
    }
    let breached_at = newest.saturating_add(promised).unwrap_or(Timestamp::MAX);
    let late = match next {
        Some(next) => next > breached_at || next <= now,
        None => data_loss > promised - promised / 4,
    };
    if late { Standing::AtRisk { data_loss, breached_at } } else { Standing::Met { data_loss } }
}

impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Met { data_loss } => write!(formatter, "met: {data_loss:#} would be lost"),
            Self::AtRisk { data_loss, breached_at } => {
                write!(formatter, "at risk: {data_loss:#} would be lost, and at {breached_at} more than promised")
            }
            Self::Breached { data_loss: Some(data_loss) } => write!(formatter, "breached: {data_loss:#} would be lost"),
            Self::Breached { data_loss: None } => formatter.write_str("breached: there is no recovery point"),
            Self::Unknown => formatter.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn standing(newest: i64, next: Option<i64>, now: i64) -> Standing {
        data_loss_standing(SignedDuration::from_mins(60), Newest::At(at(newest)), next.map(at), at(now))
    }

    #[test]
    fn a_promise_is_met_at_risk_or_breached_by_the_age_of_the_newest_point() {
        let minutes = SignedDuration::from_mins;
        assert_eq!(standing(0, Some(30), 10), Standing::Met { data_loss: minutes(10) });
        assert_eq!(standing(0, Some(30), 30), Standing::AtRisk { data_loss: minutes(30), breached_at: at(60) });
        assert_eq!(standing(0, Some(61), 10), Standing::AtRisk { data_loss: minutes(10), breached_at: at(60) });
        assert_eq!(standing(0, Some(90), 60), Standing::AtRisk { data_loss: minutes(60), breached_at: at(60) });
        assert_eq!(standing(0, Some(90), 61), Standing::Breached { data_loss: Some(minutes(61)) });
        assert_eq!(standing(0, None, 45), Standing::Met { data_loss: minutes(45) });
        assert_eq!(standing(0, None, 46), Standing::AtRisk { data_loss: minutes(46), breached_at: at(60) });
    }

    #[test]
    fn what_nobody_could_look_at_is_unknown_and_no_point_at_all_is_a_breach() {
        let promised = SignedDuration::from_mins(60);
        assert_eq!(data_loss_standing(promised, Newest::NotObserved, None, at(0)), Standing::Unknown);
        assert_eq!(data_loss_standing(promised, Newest::At(at(5)), None, at(0)), Standing::Unknown);
        assert_eq!(data_loss_standing(promised, Newest::None, None, at(0)), Standing::Breached { data_loss: None });
    }

    proptest! {
        #[test]
        fn a_promise_is_breached_exactly_when_more_would_be_lost(promised in 1i64..500, newest in 0i64..500, next in proptest::option::of(0i64..999), now in 0i64..999) {
            let promise = SignedDuration::from_mins(promised);
            let standing = data_loss_standing(promise, Newest::At(at(newest)), next.map(at), at(now));
            prop_assert_eq!(standing == Standing::Unknown, newest > now);
            prop_assert_eq!(matches!(standing, Standing::Breached { .. }), now - newest > promised);
        }
    }
}
