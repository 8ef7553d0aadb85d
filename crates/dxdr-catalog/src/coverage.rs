//! Whether what a point brings back is of one instant, near enough.
//!
//! Each part was captured at an instant of its own, of which only an interval may be known. What counts is how far apart they lie at most: what is not known is not in
//! the point's favour.
//!
//! ```text
//! resources   |=|                 captured at some instant of these
//! volume        |==|
//! database           |======|
//!             <------------->     the most that they lie apart
//! ```

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{
    interval::Interval,
    recovery_point::{Component, RecoveryPoint},
};

/// Parts of a point that may lie further apart than is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFarApart {
    /// The one, and when it was captured.
    pub one: (String, Interval),
    /// The other.
    pub other: (String, Interval),
    /// How far apart they lie at most.
    pub apart: SignedDuration,
    /// How far apart they may lie.
    pub allowed: SignedDuration,
}

impl std::error::Error for TooFarApart {}

impl fmt::Display for TooFarApart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other, apart, allowed } = self;
        write!(
            formatter,
            "{} {} and {} {} may lie {apart:#} apart; {allowed:#} is allowed",
            one.0,
            When(one.1),
            other.0,
            When(other.1)
        )
    }
}

impl TooFarApart {
    /// How to take them as they are.
    pub fn hint(&self) -> String {
        format!("to take them as they are, add `--max-skew {:#}`", self.apart)
    }
}

/// When something was captured, for people.
struct When(Interval);

impl fmt::Display for When {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { first, last } = self.0;
        if first == last { write!(formatter, "at {first}") } else { write!(formatter, "between {first} and {last}") }
    }
}

/// Fails where parts of `point` may lie further apart than `max_skew`: the same as where [`RecoveryPoint::skew`] is more. Keys in escrow are of no instant: they
/// open what was sealed before and behind it alike.
pub fn of_one_instant(point: &RecoveryPoint, max_skew: SignedDuration) -> Result<(), TooFarApart> {
    match furthest(point) {
        Some((one, other, apart)) if apart > max_skew => Err(TooFarApart { one, other, apart, allowed: max_skew }),
        _ => Ok(()),
    }
}

/// The two parts that lie furthest apart, and how far at most; `None` where there are not two.
pub(crate) fn furthest(point: &RecoveryPoint) -> Option<(Captured, Captured, SignedDuration)> {
    let captured: Vec<Captured> = point.components.iter().filter_map(captured).collect();
    let pairs = captured.iter().enumerate().flat_map(|(place, other)| captured[..place].iter().map(move |one| (one, other)));
    let (one, other) = pairs.max_by_key(|(one, other)| one.1.furthest(other.1))?;
    Some((one.clone(), other.clone(), one.1.furthest(other.1)))
}

/// A part by its name for people, and when it was captured.
type Captured = (String, Interval);

fn captured(component: &Component) -> Option<Captured> {
    Some((named(component)?.0, interval(component)?))
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
    point.components.iter().filter_map(named).collect()
}

fn named(component: &Component) -> Option<(String, Timestamp)> {
    match component {
        Component::Resources(resources) => Some(("resources".to_owned(), resources.instant)),
        Component::Volume(volume) => Some((volume.to_string(), volume.instant)),
        Component::Database(database) => {
            let place = if database.log.is_some() { " in its instance's log" } else { "" };
            Some((format!("database {}{place}", database.name), database.instant))
        }
        Component::Keys(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        query::tests::point,
        recovery_point::{DatabaseComponent, VolumeComponent},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn between(first: i64, last: i64) -> Interval {
        Interval { first: at(first), last: at(last) }
    }

    fn database(name: &str, between: Option<Interval>, second: i64) -> Component {
        Component::Database(DatabaseComponent {
            name: name.to_owned(),
            instant: at(second),
            between,
            method: DatabaseComponent::EXPORT.to_owned(),
            location: "gs://b/o".to_owned(),
            size: None,
            consistency: None,
            facts: None,
            log: None,
            backup: None,
            users: Vec::new(),
        })
    }

    fn volume(between: Option<Interval>, second: i64) -> Component {
        Component::Volume(VolumeComponent {
            namespace: "staging".to_owned(),
            claim: "data".to_owned(),
            pod: None,
            instant: at(second),
            between,
            method: "csi-snapshot".to_owned(),
            driver: "csi.example.org".to_owned(),
            handle: "snap-1".to_owned(),
            size: None,
            late: false,
        })
    }

    fn of(components: Vec<Component>) -> RecoveryPoint {
        RecoveryPoint { components, ..point("p", 0) }
    }

    #[test]
    fn parts_whose_recorded_instants_are_near_may_still_lie_too_far_apart() {
        // The volume says 600, and the export when it was seen done: 650. Nobody knows when it looked at the database.
        let point = of(vec![volume(None, 600), database("orders", Some(between(100, 650)), 650)]);
        assert_eq!(point.skew(), SignedDuration::from_secs(501));
        assert_eq!(of_one_instant(&point, SignedDuration::from_secs(501)), Ok(()));
        let refused = of_one_instant(&point, SignedDuration::from_secs(300)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "volume staging/data between 1970-01-01T00:10:00Z and 1970-01-01T00:10:01Z and database orders between 1970-01-01T00:01:40Z and \
             1970-01-01T00:10:50Z may lie 8m 21s apart; 5m is allowed"
        );
        assert_eq!(refused.hint(), "to take them as they are, add `--max-skew 8m 21s`");
    }

    #[test]
    fn one_part_alone_is_of_one_moment_however_little_is_known_of_it() {
        for components in [Vec::new(), vec![database("orders", Some(between(0, 3600)), 3600)]] {
            assert_eq!(of_one_instant(&of(components), SignedDuration::ZERO), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn what_is_refused_is_what_may_really_lie_further_apart(
            parts in proptest::collection::vec((0i64..50, 0i64..20), 0..5), allowed in 0i64..60,
        ) {
            let components = parts.iter().enumerate().map(|(place, (first, length))| {
                database(&place.to_string(), Some(between(*first, first + length)), first + length)
            });
            let point = of(components.collect());
            // Each part may have been captured at either end of its interval: that is the worst there is.
            let ends = |(first, length): &(i64, i64)| [*first, first + length];
            let pairs = parts.iter().enumerate().flat_map(|(place, one)| parts[..place].iter().map(move |other| (one, other)));
            let worst = pairs
                .flat_map(|(one, other)| ends(one).into_iter().flat_map(move |left| ends(other).map(|right| (left - right).abs())))
                .max()
                .unwrap_or(0);
            prop_assert_eq!(point.skew(), SignedDuration::from_secs(worst));
            prop_assert_eq!(of_one_instant(&point, SignedDuration::from_secs(allowed)).is_ok(), worst <= allowed);
        }
    }
}
