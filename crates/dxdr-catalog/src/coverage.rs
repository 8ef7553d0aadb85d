//! One instant for everything: what each component is restored to when an environment goes back to T, and whether that is close
//! enough together.
//!
//! A component is restored to its newest state at or before T. If one has none, or the states lie further apart than allowed, there
//! is no way back to T itself, and the nearest instants that would work are named.
//!
//! ```text
//!                     T
//! resources   o   o   |   o      states as they were taken
//! volume        o   o |     o
//! database  [=========|====]     a recovery window: every instant in it
//! ```

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{
    interval::Interval,
    recovery_point::{Component, RecoveryPoint},
};

/// What one component can be restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// The component, for people: `resources`, `volume staging/data-redis-0`, `database orders`.
    pub component: String,
    /// Its states.
    pub states: States,
}

/// The states of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum States {
    /// Those that were taken, in any order.
    Taken(Vec<Timestamp>),
    /// A recovery window: first to last instant it can be rolled to.
    Window {
        /// The first instant.
        first: Timestamp,
        /// The last instant.
        last: Timestamp,
    },
}

impl States {
    /// The newest state at or before `at`.
    pub fn newest(&self, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Taken(instants) => instants.iter().copied().filter(|instant| *instant <= at).max(),
            Self::Window { first, last } => (*first <= at && first <= last).then(|| at.min(*last)),
        }
    }

    /// The instants at which something about [`Self::newest`] changes.
    fn turning_points(&self) -> Vec<Timestamp> {
        match self {
            Self::Taken(instants) => instants.clone(),
            Self::Window { first, last } => vec![*first, *last],
        }
    }
}

/// What each component is restored to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// In the order of the components.
    pub instants: Vec<(String, Timestamp)>,
    /// From the earliest to the latest of them.
    pub skew: SignedDuration,
}

/// Why an environment cannot go back to an instant as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCovered {
    /// The instant asked for.
    pub at: Timestamp,
    /// What is in the way.
    pub reason: Reason,
    /// The nearest instant before that works.
    pub before: Option<Timestamp>,
    /// The nearest instant after that works.
    pub after: Option<Timestamp>,
}

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Components that have no state at or before the instant.
    Missing(Vec<String>),
    /// The states lie too far apart.
    Skew {
        /// The component that goes back furthest, and to when.
        earliest: (String, Timestamp),
        /// The component that goes back least, and to when.
        latest: (String, Timestamp),
        /// How far apart they may lie.
        allowed: SignedDuration,
    },
}

impl std::error::Error for NotCovered {}

impl fmt::Display for NotCovered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Missing(components) => write!(formatter, "nothing at or before {} of {}", self.at, components.join(", ")),
            Reason::Skew { earliest, latest, allowed } => write!(
                formatter,
                "at {} {} would go back to {} and {} to {}, which is {:#} apart; {allowed:#} is allowed",
                self.at,
                earliest.0,
                earliest.1,
                latest.0,
                latest.1,
                latest.1.duration_since(earliest.1)
            ),
        }
    }
}

impl NotCovered {
    /// The instants that would work, and how to allow more.
    pub fn hints(&self) -> Vec<String> {
        let mut hints: Vec<String> =
            [self.before, self.after].into_iter().flatten().map(|instant| format!("every component covers {instant}")).collect();
        if let Reason::Skew { earliest, latest, .. } = &self.reason {
            hints.push(format!("to take them as they are, add `--max-skew {:#}`", latest.1.duration_since(earliest.1)));
        }
        hints
    }
}

/// What each component of `point` is restored to, and whether that is close enough together. Keys in escrow are of no instant: they
/// open what was sealed before and behind it alike.
pub fn of_point(point: &RecoveryPoint, max_skew: SignedDuration) -> Result<Settled, NotCovered> {
    let components: Vec<Available> = components(point)
        .into_iter()
        .map(|(component, instant)| Available { component, states: States::Taken(vec![instant]) })
        .collect();
    settle(point.instant, &components, max_skew)
}

/// When a component was captured, as far as that is known; `None` for what is of no instant.
pub fn interval(component: &Component) -> Option<Interval> {
    let between = match component {
        Component::Resources(resources) => resources.between,
        Component::Volume(volume) => volume.between,
        Component::Database(database) => database.between,
        Component::Keys(_) => return None,
    };
    Some(between.unwrap_or_else(|| Interval::told(component.instant())))
}

/// The components of `point` that have an instant, by their names for people.
pub fn components(point: &RecoveryPoint) -> Vec<(String, Timestamp)> {
    let named = |component: &Component| match component {
        Component::Resources(resources) => Some(("resources".to_owned(), resources.instant)),
        Component::Volume(volume) => Some((volume.to_string(), volume.instant)),
        Component::Database(database) => Some((format!("database {}", database.name), database.instant)),
        Component::Keys(_) => None,
    };
    point.components.iter().filter_map(named).collect()
}

/// Settles what each of `components` is restored to when the environment goes back to `at`.
pub fn settle(at: Timestamp, components: &[Available], max_skew: SignedDuration) -> Result<Settled, NotCovered> {
    attempt(at, components, max_skew).map_err(|reason| {
        // What is in the way changes only where a state begins to count or has become too old, so the nearest instants that work are
        // among those. Later on a window's last instant nothing moves any more.
        let turning = components.iter().flat_map(|component| component.states.turning_points());
        let works = |instant: &Timestamp| attempt(*instant, components, max_skew).is_ok();
        let mut instants: Vec<Timestamp> =
            turning.flat_map(|instant| [Some(instant), instant.checked_add(max_skew).ok()]).flatten().filter(works).collect();
        instants.sort();
        let before = instants.iter().rev().find(|instant| **instant < at).copied();
        let after = instants.iter().find(|instant| **instant > at).copied();
        NotCovered { at, reason, before, after }
    })
}

fn attempt(at: Timestamp, components: &[Available], max_skew: SignedDuration) -> Result<Settled, Reason> {
    let mut instants = Vec::with_capacity(components.len());
    let mut missing = Vec::new();
    for component in components {
        match component.states.newest(at) {
            Some(instant) => instants.push((component.component.clone(), instant)),
            None => missing.push(component.component.clone()),
        }
    }
    if !missing.is_empty() {
        return Err(Reason::Missing(missing));
    }
    let earliest = instants.iter().min_by_key(|(_, instant)| *instant);
    let latest = instants.iter().max_by_key(|(_, instant)| *instant);
    let (Some(earliest), Some(latest)) = (earliest, latest) else {
        return Ok(Settled { instants, skew: SignedDuration::ZERO });
    };
    let skew = latest.1.duration_since(earliest.1);
    if skew > max_skew {
        return Err(Reason::Skew { earliest: earliest.clone(), latest: latest.clone(), allowed: max_skew });
    }
    Ok(Settled { skew, instants })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn taken(component: &str, minutes: &[i64]) -> Available {
        Available { component: component.to_owned(), states: States::Taken(minutes.iter().copied().map(at).collect()) }
    }

    fn window(component: &str, first: i64, last: i64) -> Available {
        Available { component: component.to_owned(), states: States::Window { first: at(first), last: at(last) } }
    }

    fn minutes(minutes: i64) -> SignedDuration {
        SignedDuration::from_mins(minutes)
    }

    #[test]
    fn each_component_goes_back_to_its_newest_state_at_or_before_the_instant() {
        let components = [taken("resources", &[0, 30, 60]), taken("volume", &[2, 32, 62]), window("database", 0, 59)];
        let settled = settle(at(33), &components, minutes(10)).unwrap();
        let instants: Vec<_> = settled.instants.iter().map(|(_, instant)| *instant).collect();
        assert_eq!(instants, [at(30), at(32), at(33)]);
        assert_eq!(settled.skew, minutes(3));
    }

    #[test]
    fn states_too_far_apart_are_refused_with_the_nearest_instants_that_work() {
        let components = [taken("resources", &[0, 60]), window("database orders", 0, 120)];
        let refused = settle(at(30), &components, minutes(10)).unwrap_err();
        assert_eq!((refused.before, refused.after), (Some(at(10)), Some(at(60))));
        assert_eq!(
            refused.to_string(),
            "at 1970-01-01T00:30:00Z resources would go back to 1970-01-01T00:00:00Z and database orders to 1970-01-01T00:30:00Z, which is 30m apart; 10m is allowed"
        );
        assert_eq!(
            refused.hints(),
            [
                "every component covers 1970-01-01T00:10:00Z",
                "every component covers 1970-01-01T01:00:00Z",
                "to take them as they are, add `--max-skew 30m`"
            ]
        );
    }

    #[test]
    fn a_component_without_a_state_is_named() {
        let components = [taken("resources", &[0]), taken("volume staging/data", &[]), window("database orders", 20, 40)];
        let refused = settle(at(10), &components, minutes(60)).unwrap_err();
        assert_eq!(refused.to_string(), "nothing at or before 1970-01-01T00:10:00Z of volume staging/data, database orders");
        assert_eq!((refused.before, refused.after), (None, None));
    }

    fn any_component() -> impl Strategy<Value = Available> {
        prop_oneof![
            proptest::collection::vec(0i64..100, 0..5).prop_map(|minutes| taken("taken", &minutes)),
            (0i64..100, 0i64..100).prop_map(|(left, right)| window("window", left.min(right), left.max(right))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_settled_is_near_enough_and_what_is_refused_is_not(
            components in proptest::collection::vec(any_component(), 0..4), minute in 0i64..100, allowed in 0i64..40,
        ) {
            let works = |minute: i64| settle(at(minute), &components, minutes(allowed)).is_ok();
            match settle(at(minute), &components, minutes(allowed)) {
                Ok(settled) => {
                    prop_assert_eq!(settled.instants.len(), components.len());
                    let instants: Vec<_> = settled.instants.iter().map(|(_, instant)| *instant).collect();
                    for (left, right) in instants.iter().flat_map(|left| instants.iter().map(move |right| (left, right))) {
                        prop_assert!(right.duration_since(*left) <= minutes(allowed));
                    }
                    prop_assert!(instants.iter().all(|instant| *instant <= at(minute)));
                }
                Err(refused) => {
                    for instant in [refused.before, refused.after].into_iter().flatten() {
                        prop_assert!(settle(instant, &components, minutes(allowed)).is_ok());
                    }
                    // Everything happens at whole minutes, so these are all there is to try.
                    let after = (minute + 1..200).find(|minute| works(*minute)).map(at);
                    prop_assert_eq!(refused.after, after);
                    prop_assert_eq!(refused.before.is_some(), (0..minute).any(works));
                }
            }
        }
    }
}
