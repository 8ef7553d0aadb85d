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
//!
//! That is held against a limit that somebody declares. Where nobody does, a point is refused only where it is certain that parts which are of a moment lie apart: what takes its
//! time by nature, and what is merely not known, is then told and nothing else.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{
    interval::Interval,
    recovery_point::{Component, DatabaseComponent, RecoveryPoint, VolumeComponent},
};

/// How far apart parts that are of a moment may lie where no `maxSkew` is declared: capturing an environment takes seconds, a policy for several environments takes a few
/// minutes. What certainly lies further apart is of a run that was interrupted, or that waited for something.
pub const USUAL_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Parts of a point that lie further apart than is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFarApart {
    /// The one, and when it was captured.
    pub one: (String, Interval),
    /// The other.
    pub other: (String, Interval),
    /// How far apart they lie: at most, where a limit is declared; at least, where none is.
    pub apart: SignedDuration,
    /// How far apart they may lie, where that is declared.
    pub declared: Option<SignedDuration>,
    /// How far apart any two parts of the point lie at most: what has to be allowed for it.
    pub skew: SignedDuration,
}

impl std::error::Error for TooFarApart {}

impl fmt::Display for TooFarApart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, other, apart, declared, .. } = self;
        write!(formatter, "{} {} and {} {} ", one.0, When(one.1), other.0, When(other.1))?;
        match declared {
            Some(allowed) => write!(formatter, "may lie {apart:#} apart; {allowed:#} is allowed"),
            None => write!(formatter, "lie {apart:#} apart at least; without a `maxSkew` {USUAL_SKEW:#} is allowed"),
        }
    }
}

impl TooFarApart {
    /// How to take them as they are.
    pub fn hint(&self) -> String {
        format!("to take them as they are, add `--max-skew {:#}`", self.skew)
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

/// Fails where parts of `point` may lie further apart than the `max_skew` that is declared: the same as where [`RecoveryPoint::skew`] is more. Where none is, fails where
/// parts that are of a moment certainly lie further apart than [`USUAL_SKEW`]. Keys in escrow are of no instant: they open what was sealed before and behind it alike.
pub fn of_one_instant(point: &RecoveryPoint, max_skew: Option<SignedDuration>) -> Result<(), TooFarApart> {
    let apart = match max_skew {
        Some(_) => furthest(point),
        None => pair(point.components.iter().filter(|component| is_of_a_moment(component)), Interval::nearest),
    };
    match apart {
        Some((one, other, apart)) if apart > max_skew.unwrap_or(USUAL_SKEW) => {
            Err(TooFarApart { one, other, apart, declared: max_skew, skew: point.skew() })
        }
        _ => Ok(()),
    }
}

/// Whether a part is captured in one moment, however well that is known. What the database service writes takes as long as the database is large, behind what is in front of it on
/// its instance, and a copy made file by file takes as long as there are files.
fn is_of_a_moment(component: &Component) -> bool {
    match component {
        Component::Database(database) => {
            ![DatabaseComponent::EXPORT, DatabaseComponent::BACKUP].contains(&database.method.as_str())
        }
        Component::Volume(volume) => volume.method != VolumeComponent::FILE_SYSTEM,
        Component::Resources(_) | Component::Keys(_) => true,
    }
}

/// The two parts that lie furthest apart, and how far at most; `None` where there are not two.
pub(crate) fn furthest(point: &RecoveryPoint) -> Option<(Captured, Captured, SignedDuration)> {
    pair(point.components.iter(), Interval::furthest)
}

/// The two of `components` that lie furthest apart, and how far, by that measure.
fn pair<'a>(
    components: impl Iterator<Item = &'a Component>,
    apart: fn(Interval, Interval) -> SignedDuration,
) -> Option<(Captured, Captured, SignedDuration)> {
    let captured: Vec<Captured> = components.filter_map(captured).collect();
    let pairs = captured.iter().enumerate().flat_map(|(place, other)| captured[..place].iter().map(move |one| (one, other)));
    let (one, other) = pairs.max_by_key(|(one, other)| apart(one.1, other.1))?;
    Some((one.clone(), other.clone(), apart(one.1, other.1)))
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
    use crate::query::tests::point;

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
        assert_eq!(of_one_instant(&point, Some(SignedDuration::from_secs(501))), Ok(()));
        let refused = of_one_instant(&point, Some(SignedDuration::from_secs(300))).unwrap_err();
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
            assert_eq!(of_one_instant(&of(components), Some(SignedDuration::ZERO)), Ok(()));
        }
    }

    #[test]
    fn without_a_limit_what_takes_its_time_is_no_objection_and_a_declared_one_counts_as_it_stands() {
        // Two exports, one behind the other, and copies of files: two hours behind the snapshot.
        let copied = |between: Interval| match volume(Some(between), 7200) {
            Component::Volume(volume) => {
                Component::Volume(VolumeComponent { method: VolumeComponent::FILE_SYSTEM.to_owned(), ..volume })
            }
            other => other,
        };
        let exported = [database("orders", Some(between(30, 3600)), 3600), database("carts", Some(between(3600, 7200)), 7200)];
        let point = of([&[volume(None, 20), copied(between(3600, 7200))], &exported[..]].concat());
        assert_eq!(of_one_instant(&point, None), Ok(()));
        assert_eq!(point.skew(), SignedDuration::from_secs(7180), "it is told all the same");
        let refused = of_one_instant(&point, Some(USUAL_SKEW)).unwrap_err();
        assert!(refused.to_string().ends_with("may lie 1h 59m 40s apart; 10m is allowed"), "{refused}");
    }

    #[test]
    fn without_a_limit_only_what_certainly_lies_apart_is_refused() {
        let dumped = |between: Interval| match database("orders", Some(between), 0) {
            Component::Database(database) => {
                Component::Database(DatabaseComponent { method: DatabaseComponent::DUMP.to_owned(), ..database })
            }
            other => other,
        };
        // Of what Velero's schedules capture, nothing is known but that it was at work for hours.
        let unknown = of(vec![dumped(between(30, 31)), volume(Some(between(0, 10_000)), 10_000)]);
        assert_eq!(of_one_instant(&unknown, None), Ok(()));
        let snapshot = || volume(Some(between(0, 20)), 20);
        let apart = |second| of(vec![snapshot(), dumped(between(second, second + 60)), database("carts", None, 9000)]);
        assert_eq!(of_one_instant(&apart(620), None), Ok(()));
        let refused = of_one_instant(&apart(621), None).unwrap_err();
        assert!(refused.to_string().ends_with("lie 10m 1s apart at least; without a `maxSkew` 10m is allowed"), "{refused}");
        // Whoever allows more declares a limit, which then is of all parts.
        assert_eq!(refused.hint(), "to take them as they are, add `--max-skew 2h 30m 1s`");
        assert_eq!(of_one_instant(&apart(621), Some(refused.skew)), Ok(()));
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
            prop_assert_eq!(of_one_instant(&point, Some(SignedDuration::from_secs(allowed))).is_ok(), worst <= allowed);
        }
    }
}
