//! How long recovery points are kept: a decision with reasons; deleting is someone else's job.

use std::{collections::BTreeSet, fmt};

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
pub struct Decision {
    /// The point.
    pub candidate: Candidate,
    /// Whether it stays, and why.
    pub verdict: Verdict,
}

/// Whether a point stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for at least one reason.
    Keep(Vec<Reason>),
    /// It may go.
    Remove(Removal),
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

/// Why a point may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// No rule asks for it: newer ones stand for its hour, day, week, month and year, as far back as each is kept.
    NoLongerAskedFor,
    /// It is partial, and this complete one is newer.
    PartialBefore(String),
}

impl Decision {
    /// Whether it stays.
    pub fn stays(&self) -> bool {
        matches!(self.verdict, Verdict::Keep(_))
    }
}

/// Decides about every point, newest first. A partial point never takes a complete one's place; it is kept while no complete one is
/// newer. Hours and days are those of `zone`. No clock is asked: a period counts if it has a point, so that an environment whose
/// backups stopped keeps what it has.
pub fn decide(retention: &Retention, mut candidates: Vec<Candidate>, zone: &TimeZone) -> Vec<Decision> {
    candidates.sort_by(|left, right| right.instant.cmp(&left.instant).then_with(|| left.name.cmp(&right.name)));
    let newest_complete = candidates.iter().find(|candidate| candidate.complete).cloned();
    let mut reasons = vec![Vec::new(); candidates.len()];
    let complete: Vec<usize> = (0..candidates.len()).filter(|index| candidates[*index].complete).collect();
    let rules = [
        (retention.hourly, Reason::Hourly),
        (retention.daily, Reason::Daily),
        (retention.weekly, Reason::Weekly),
        (retention.monthly, Reason::Monthly),
        (retention.yearly, Reason::Yearly),
    ];
    for (count, reason) in rules {
        let mut periods = BTreeSet::new();
        for index in &complete {
            let new = periods.len() < count as usize && periods.insert(period(reason, candidates[*index].instant, zone));
            if new {
                reasons[*index].push(reason);
            }
        }
    }
    for index in complete.iter().take(retention.at_least as usize) {
        reasons[*index].push(Reason::AtLeast);
    }
    let no_rule = *retention == Retention::default();
    let decide = |(candidate, mut reasons): (Candidate, Vec<Reason>)| {
        if no_rule {
            reasons.push(Reason::NoRule);
        }
        let newer = newest_complete.as_ref().filter(|newest| newest.instant >= candidate.instant);
        let verdict = match (candidate.complete, newer) {
            (false, None) => {
                reasons.push(Reason::NewerThanComplete);
                Verdict::Keep(reasons)
            }
            _ if !reasons.is_empty() => Verdict::Keep(reasons),
            (false, Some(newer)) => Verdict::Remove(Removal::PartialBefore(newer.name.clone())),
            (true, _) => Verdict::Remove(Removal::NoLongerAskedFor),
        };
        Decision { candidate, verdict }
    };
    candidates.into_iter().zip(reasons).map(decide).collect()
}

/// The period of a kind that an instant lies in; two instants share it or not. An hour that is repeated is two.
fn period(kind: Reason, instant: Timestamp, zone: &TimeZone) -> (i16, i8, i8, i8, i32) {
    let civil = zone.to_datetime(instant);
    let date: Date = civil.date();
    match kind {
        Reason::Hourly => (date.year(), date.month(), date.day(), civil.hour(), zone.to_offset(instant).seconds()),
        Reason::Daily => (date.year(), date.month(), date.day(), 0, 0),
        Reason::Weekly => (date.iso_week_date().year(), date.iso_week_date().week(), 0, 0, 0),
        Reason::Monthly => (date.year(), date.month(), 0, 0, 0),
        Reason::Yearly | Reason::AtLeast | Reason::NewerThanComplete | Reason::NoRule => (date.year(), 0, 0, 0, 0),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Hourly => "the newest of its hour",
            Self::Daily => "the newest of its day",
            Self::Weekly => "the newest of its week",
            Self::Monthly => "the newest of its month",
            Self::Yearly => "the newest of its year",
            Self::AtLeast => "one of the newest complete ones",
            Self::NewerThanComplete => "newer than every complete one",
            Self::NoRule => "no rule says what may go",
        })
    }
}

impl fmt::Display for Removal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLongerAskedFor => formatter.write_str("no rule asks for it any more"),
            Self::PartialBefore(name) => write!(formatter, "it is partial, and {name} is newer and complete"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(minutes: i64, complete: bool) -> Candidate {
        let instant = Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap();
        Candidate { name: format!("point-{minutes}"), instant, complete }
    }

    fn verdicts(decisions: &[Decision]) -> Vec<(&str, Verdict)> {
        decisions.iter().map(|decision| (decision.candidate.name.as_str(), decision.verdict.clone())).collect()
    }

    #[test]
    fn the_newest_of_each_day_is_kept_with_its_reason() {
        let retention = Retention { daily: 2, ..Retention::default() };
        let decisions = decide(&retention, (0..60).map(|hour| candidate(hour * 60, true)).collect(), &TimeZone::UTC);
        let kept: Vec<_> = verdicts(&decisions).into_iter().filter(|(_, verdict)| matches!(verdict, Verdict::Keep(_))).collect();
        let daily = || Verdict::Keep(vec![Reason::Daily]);
        assert_eq!(kept, [("point-3540", daily()), ("point-2940", daily())]);
    }

    #[test]
    fn a_partial_point_stays_until_a_complete_one_is_newer_and_takes_no_place() {
        let retention = Retention { hourly: 1, ..Retention::default() };
        let decisions = decide(&retention, vec![candidate(60, true), candidate(120, false), candidate(0, false)], &TimeZone::UTC);
        assert_eq!(
            verdicts(&decisions),
            [
                ("point-120", Verdict::Keep(vec![Reason::NewerThanComplete])),
                ("point-60", Verdict::Keep(vec![Reason::Hourly])),
                ("point-0", Verdict::Remove(Removal::PartialBefore("point-60".to_owned()))),
            ]
        );
    }

    #[test]
    fn without_a_rule_nothing_goes() {
        let decisions =
            decide(&Retention::default(), vec![candidate(0, true), candidate(60, false), candidate(90, true)], &TimeZone::UTC);
        assert!(decisions.iter().all(Decision::stays));
    }

    #[test]
    fn a_day_is_that_of_the_zone() {
        // 22:13 and 23:13 in UTC are on two days in Berlin.
        let points = || vec![candidate(0, true), candidate(60, true)];
        let retention = Retention { daily: 5, ..Retention::default() };
        let staying = |zone: &TimeZone| decide(&retention, points(), zone).iter().filter(|decision| decision.stays()).count();
        assert_eq!(staying(&TimeZone::UTC), 1);
        assert_eq!(staying(&TimeZone::get("Europe/Berlin").unwrap()), 2);
    }

    fn any_retention() -> impl Strategy<Value = Retention> {
        (0u32..5, 0u32..5, 0u32..4, 0u32..4, 0u32..3, 0u32..5).prop_map(|(hourly, daily, weekly, monthly, yearly, at_least)| {
            Retention { hourly, daily, weekly, monthly, yearly, at_least }
        })
    }

    fn any_points() -> impl Strategy<Value = Vec<Candidate>> {
        // Close together and far apart.
        let minutes = prop_oneof![0i64..300, 0i64..20_000, 0i64..900_000];
        proptest::collection::btree_map(minutes, any::<bool>(), 0..40)
            .prop_map(|points| points.into_iter().map(|(minutes, complete)| candidate(minutes, complete)).collect())
    }

    proptest! {
        #[test]
        fn what_stays_is_asked_for_and_what_goes_is_not(retention in any_retention(), points in any_points()) {
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let decisions = decide(&retention, points.clone(), &zone);
            prop_assert_eq!(decisions.len(), points.len());
            let newer = |point: &Candidate| points.iter().filter(|other| other.complete && other.instant > point.instant).cloned().collect::<Vec<_>>();
            for Decision { candidate, verdict } in &decisions {
                let newer = newer(candidate);
                let asked = |count: u32, kind: Reason| {
                    let own = period(kind, candidate.instant, &zone);
                    let others: BTreeSet<_> = newer.iter().map(|other| period(kind, other.instant, &zone)).collect();
                    candidate.complete && !others.contains(&own) && others.len() < count as usize
                };
                let expected: Vec<Reason> = [
                    (Reason::Hourly, asked(retention.hourly, Reason::Hourly)),
                    (Reason::Daily, asked(retention.daily, Reason::Daily)),
                    (Reason::Weekly, asked(retention.weekly, Reason::Weekly)),
                    (Reason::Monthly, asked(retention.monthly, Reason::Monthly)),
                    (Reason::Yearly, asked(retention.yearly, Reason::Yearly)),
                    (Reason::AtLeast, candidate.complete && newer.len() < retention.at_least as usize),
                    (Reason::NoRule, retention == Retention::default()),
                    (Reason::NewerThanComplete, !candidate.complete && newer.is_empty()),
                ].into_iter().filter(|(_, applies)| *applies).map(|(reason, _)| reason).collect();
                match verdict {
                    Verdict::Keep(reasons) => prop_assert_eq!(reasons, &expected),
                    Verdict::Remove(_) => prop_assert!(expected.is_empty()),
                }
            }
        }

        #[test]
        fn removing_what_may_go_changes_no_other_decision(retention in any_retention(), points in any_points()) {
            let decisions = decide(&retention, points, &TimeZone::UTC);
            let staying: Vec<Decision> = decisions.into_iter().filter(Decision::stays).collect();
            let again = decide(&retention, staying.iter().map(|decision| decision.candidate.clone()).collect(), &TimeZone::UTC);
            prop_assert_eq!(again, staying);
        }

        #[test]
        fn the_order_in_which_points_are_listed_decides_nothing(retention in any_retention(), points in any_points()) {
            let reversed = points.iter().rev().cloned().collect();
            prop_assert_eq!(decide(&retention, points, &TimeZone::UTC), decide(&retention, reversed, &TimeZone::UTC));
        }
    }
}
