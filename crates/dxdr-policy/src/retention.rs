//! How long recovery points are kept: a decision with reasons; deleting is someone else's job.

use std::collections::BTreeSet;

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// How many points are kept: the newest of each of the last so many hours, days, weeks, months and years that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Hours.
    pub hourly: u32,
    /// Days.
    pub daily: u32,
    /// Weeks, from Monday.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
    /// Years.
    pub yearly: u32,
    /// So many of the newest complete points are kept, however old they are.
    pub at_least: u32,
}

/// A point, as far as retention looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The instant it stands for.
    pub instant: Timestamp,
    /// Whether everything it should hold is in it.
    pub complete: bool,
}

/// What becomes of one point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The point.
    pub candidate: Candidate,
    /// Why it is kept; empty: it may go.
    pub reasons: Vec<Reason>,
}

/// Why a point is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// One of the newest complete ones.
    AtLeast,
    /// Newer than every complete one: what happened since is in nothing else.
    NewerThanComplete,
    /// Nothing is promised, so nothing goes.
    NoRule,
}

/// Decides about every point. A partial point never takes a complete one's place; it is kept while no complete one is newer.
pub fn decide(retention: &Retention, mut candidates: Vec<Candidate>, zone: &TimeZone) -> Vec<Kept> {
    candidates.sort_by(|left, right| right.instant.cmp(&left.instant).then_with(|| left.name.cmp(&right.name)));
    let newest_complete = candidates.iter().find(|candidate| candidate.complete).map(|candidate| candidate.instant);
    let mut kept: Vec<Kept> = candidates.into_iter().map(|candidate| Kept { candidate, reasons: Vec::new() }).collect();
    if *retention == Retention::default() {
        kept.iter_mut().for_each(|kept| kept.reasons.push(Reason::NoRule));
        return kept;
    }
    let rules: [(u32, Reason, fn(Date, i8) -> String); 5] = [
        (retention.hourly, Reason::Hourly, |date, hour| format!("{date} {hour}")),
        (retention.daily, Reason::Daily, |date, _| date.to_string()),
        (retention.weekly, Reason::Weekly, |date, _| {
            let week = date.iso_week_date();
            format!("{} {}", week.year(), week.week())
        }),
        (retention.monthly, Reason::Monthly, |date, _| format!("{} {}", date.year(), date.month())),
        (retention.yearly, Reason::Yearly, |date, _| date.year().to_string()),
    ];
    for (count, reason, bucket) in rules {
        let mut buckets = BTreeSet::new();
        for kept in kept.iter_mut().filter(|kept| kept.candidate.complete) {
            let civil = zone.to_datetime(kept.candidate.instant);
            let bucket = bucket(civil.date(), civil.hour());
            if buckets.len() < count as usize && buckets.insert(bucket) {
                kept.reasons.push(reason);
            }
        }
    }
    for kept in kept.iter_mut().filter(|kept| kept.candidate.complete).take(retention.at_least as usize) {
        kept.reasons.push(Reason::AtLeast);
    }
    for kept in &mut kept {
        if !kept.candidate.complete && newest_complete.is_none_or(|newest| kept.candidate.instant > newest) {
            kept.reasons.push(Reason::NewerThanComplete);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(hours: i64, complete: bool) -> Candidate {
        let instant = Timestamp::from_second(1_700_000_000 + hours * 3_600).unwrap();
        Candidate { name: format!("point-{hours}"), instant, complete }
    }

    #[test]
    fn the_newest_of_each_day_is_kept_with_its_reason() {
        let retention = Retention { daily: 2, ..Retention::default() };
        let kept = decide(&retention, (0..60).map(|hour| candidate(hour, true)).collect(), &TimeZone::UTC);
        let names: Vec<_> =
            kept.iter().filter(|kept| !kept.reasons.is_empty()).map(|kept| kept.candidate.name.as_str()).collect();
        assert_eq!(names, ["point-59", "point-49"]);
    }

    #[test]
    fn a_partial_point_does_not_take_a_complete_ones_place() {
        let retention = Retention { hourly: 1, ..Retention::default() };
        let kept = decide(&retention, vec![candidate(0, true), candidate(1, false)], &TimeZone::UTC);
        assert_eq!(kept[0].reasons, [Reason::NewerThanComplete]);
        assert_eq!(kept[1].reasons, [Reason::Hourly]);
    }

    proptest! {
        #[test]
        fn at_least_so_many_complete_points_are_kept(hours in proptest::collection::btree_set(0i64..2_000, 0..60), at_least in 1u32..8) {
            let retention = Retention { hourly: 3, daily: 2, at_least, ..Retention::default() };
            let count = hours.len();
            let kept = decide(&retention, hours.into_iter().map(|hour| candidate(hour, true)).collect(), &TimeZone::UTC);
            prop_assert_eq!(kept.len(), count);
            let stay = kept.iter().filter(|kept| !kept.reasons.is_empty()).count();
            prop_assert!(stay >= count.min(at_least as usize));
            prop_assert!(stay <= 3 + 2 + at_least as usize);
        }
    }
}
