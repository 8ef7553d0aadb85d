//! When something happens: five cron fields in a time zone.
//!
//! We accept what both of Velero's parsers read alike, and refuse the rest with an unambiguous way to write it. The fields are parsed
//! into numeric lists here; the `cron` crate finds the civil times that match, and `jiff` says which instants those are. A firing in
//! a spring gap happens when the gap ends; one in a repeated hour happens once, the first time.

use std::{collections::BTreeSet, str::FromStr};

use chrono::{DateTime as PseudoUtc, Datelike, NaiveDate, Timelike, Utc};
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::cron_field::{self, Field, FieldError};

/// The days on which schedules are looked at: years that are to come, so that only clocks count that will still be set, and enough of
/// them for three leap days. Fixed, so that what is right does not depend on the day it is read.
const LOOKED_AT: (Date, Date) = (Date::constant(2026, 1, 1), Date::constant(2037, 12, 31));

/// Minutes of a day.
pub(crate) const MINUTES_OF_A_DAY: u32 = 24 * 60;

/// The usual periods, in minutes: days consist of each of them.
const PERIODS: [u32; 16] = [1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720, MINUTES_OF_A_DAY];

/// When something happens.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    zone: TimeZone,
    fields: Box<Fields>,
    matches: Box<cron::Schedule>,
}

/// What the five fields allow.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    week: Field,
}

/// A schedule that cannot be used, and how to write it instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error("`{expression}` has {found} fields; a schedule has 5: minute, hour, day of month, month, day of week")]
    Fields {
        /// As given.
        expression: String,
        /// How many it has.
        found: usize,
    },
    /// `@every`, which counts from whatever happened last.
    #[error("`{expression}` counts from the last backup, so that nobody can say when the next one is; write fields{}", instead.as_ref().map(|instead| format!(", such as `{instead}`")).unwrap_or_default())]
    Every {
        /// As given.
        expression: String,
        /// The same period by the clock, if there is one.
        instead: Option<String>,
    },
    /// A word with `@` that is not known to every version of Velero.
    #[error("`{expression}` is not one of @hourly, @daily, @weekly, @monthly, @yearly")]
    Descriptor {
        /// As given.
        expression: String,
    },
    /// `TZ=` or `CRON_TZ=` in front of the fields.
    #[error("`{expression}` names its time zone in front; write `{instead}`, and `{zone}` as the time zone")]
    ZoneInFront {
        /// As given.
        expression: String,
        /// The zone.
        zone: String,
        /// The rest.
        instead: String,
    },
    /// A field that cannot be read.
    #[error("{error}")]
    Field {
        /// As given.
        expression: String,
        /// Which field, from 0.
        position: usize,
        /// What is wrong with it.
        error: FieldError,
    },
    /// Both day fields are restricted.
    #[error(
        "`{expression}` restricts both the day of month and the day of week, which Velero's versions read differently; use one policy with `{first}` and another with `{second}`"
    )]
    BothDays {
        /// As given.
        expression: String,
        /// Only the day of month.
        first: String,
        /// Only the day of week.
        second: String,
    },
    /// It never fires.
    #[error("`{expression}` never fires: no such day exists")]
    Never {
        /// As given.
        expression: String,
    },
    /// The zone does not exist.
    #[error("there is no time zone `{0}`; zones are named like `Europe/Berlin`, or `UTC`")]
    Zone(String),
}

impl ScheduleError {
    /// What to write instead, where that is certain. More than one: each in a policy of its own.
    pub fn rewrites(&self) -> Vec<String> {
        match self {
            Self::Every { instead, .. } => instead.iter().cloned().collect(),
            Self::ZoneInFront { instead, .. } => vec![instead.clone()],
            Self::BothDays { first, second, .. } => vec![first.clone(), second.clone()],
            Self::Field { expression, position, error } => {
                let Some(instead) = &error.instead else { return Vec::new() };
                let part = |part: &str| if part == error.part { instead.clone() } else { part.to_owned() };
                let fields = expression.split_whitespace().enumerate().map(|(index, field)| match index == *position {
                    true => field.split(',').map(part).collect::<Vec<_>>().join(","),
                    false => field.to_owned(),
                });
                vec![fields.collect::<Vec<_>>().join(" ")]
            }
            Self::Fields { .. } | Self::Descriptor { .. } | Self::Never { .. } | Self::Zone(_) => Vec::new(),
        }
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.expression == other.expression && self.zone == other.zone
    }
}

impl Eq for Schedule {}

impl Schedule {
    /// Reads five fields, or one of `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`; the zone is UTC
    /// when none is named.
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = match zone {
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
            None => TimeZone::UTC,
        };
        let written = expression.trim();
        let fields_text = match described(written) {
            Some(fields) => fields,
            None => {
                refuse_special(written)?;
                written
            }
        };
        let texts: Vec<&str> = fields_text.split_whitespace().collect();
        let [minute_text, hour_text, day_text, month_text, week_text] = texts.as_slice() else {
            return Err(ScheduleError::Fields { expression: written.to_owned(), found: texts.len() });
        };
        let read = |position: usize, text: &str, bounds| {
            cron_field::parse(text, bounds).map_err(|error| ScheduleError::Field {
                expression: written.to_owned(),
                position,
                error,
            })
        };
        let fields = Fields {
            minute: read(0, minute_text, cron_field::MINUTE)?,
            hour: read(1, hour_text, cron_field::HOUR)?,
            day: read(2, day_text, cron_field::DAY_OF_MONTH)?,
            month: read(3, month_text, cron_field::MONTH)?,
            week: read(4, week_text, cron_field::DAY_OF_WEEK)?,
        };
        if !fields.day.star && !fields.week.star {
            return Err(ScheduleError::BothDays {
                expression: written.to_owned(),
                first: format!("{minute_text} {hour_text} {day_text} {month_text} *"),
                second: format!("{minute_text} {hour_text} * {month_text} {week_text}"),
            });
        }
        let never = || ScheduleError::Never { expression: written.to_owned() };
        let matches = cron::Schedule::from_str(&fields.numeric()).map_err(|_| never())?;
        let schedule = Self { expression: written.to_owned(), zone, fields: Box::new(fields), matches: Box::new(matches) };
        // From a fixed instant, so that what is a valid schedule does not depend on the day it is read. Velero looks five years ahead,
        // and in five years from then is a leap day.
        let from = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        if schedule.next_after(from).is_none() {
            return Err(never());
        }
        Ok(schedule)
    }

    /// The schedule that follows from "lose at most `data_loss`", at a minute of the environment's own, so that not everything starts at once.
    pub fn derived(environment: &str, data_loss: SignedDuration) -> Self {
        Self::every(Self::derived_period(data_loss), stable(environment))
    }

    /// Minutes between two points where at most `data_loss` may be lost: the longest usual period that is at most half of it, because a
    /// backup takes time and may fail once. Days consist of it.
    pub(crate) fn derived_period(data_loss: SignedDuration) -> u32 {
        let half = u32::try_from((data_loss.as_mins() / 2).clamp(1, i64::from(MINUTES_OF_A_DAY))).unwrap_or(1);
        PERIODS.iter().rev().find(|period| **period <= half).copied().unwrap_or(1)
    }

    /// Each of those `period`s, so many minutes behind its beginning; those of a day begin at midnight.
    pub(crate) fn every(period: u32, offset: u32) -> Self {
        let offset = offset % period;
        let (minute, hour) = (offset % 60, offset / 60);
        let expression = match period {
            MINUTES_OF_A_DAY => format!("{minute} {hour} * * *"),
            61.. => format!("{minute} {hour}-23/{} * * *", period / 60),
            60 => format!("{minute} * * * *"),
            1 => "* * * * *".to_owned(),
            minutes => format!("{minute}-59/{minutes} * * * *"),
        };
        // Every expression above is within the grammar: periods are those of the table, whose steps are smaller than their ranges.
        #[allow(clippy::expect_used)]
        Self::parse(&expression, None).expect("a step of the table in the range that belongs to it")
    }

    /// The minutes of a day, in UTC, at which it fires on some day: of a zone that sets its clocks, those of both.
    pub(crate) fn minutes_of_a_day(&self) -> BTreeSet<u32> {
        // A fixed year, so that it does not depend on the day it is asked. Clocks are set in its first half and set back in the other, everywhere.
        let months = (0..12).map(|month| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (365 * 56 + 30 * month)));
        let offsets: BTreeSet<i32> = months.map(|instant| self.zone.to_offset(instant).seconds() / 60).collect();
        let times = self.fields.times();
        let in_utc = |offset: &i32| {
            times.iter().map(|time| (time - offset).rem_euclid(MINUTES_OF_A_DAY as i32) as u32).collect::<Vec<_>>()
        };
        offsets.iter().flat_map(in_utc).collect()
    }

    /// The expression as it was written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Its zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first firing behind `after`; `None` when there is none before the year 2100.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.firings(after).next()
    }

    /// The last firing before `before`; `None` when there is none since 1970.
    pub fn previous_before(&self, before: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(before);
        // The second time around, what the repeated hour still shows has happened the first time.
        if let AmbiguousOffset::Fold { before: first, after: second } = self.zone.to_ambiguous_timestamp(civil).offset()
            && self.zone.to_offset(before) == second
        {
            let repeated = SignedDuration::from_secs(i64::from(first.seconds() - second.seconds()));
            civil = civil.checked_add(repeated).ok()?;
        }
        // Behind the second that `before` is in, because the crate looks strictly before what it is given.
        let from = pseudo_utc(civil)? + chrono::TimeDelta::seconds(1);
        let civil_times = self.matches.after(&from).rev();
        civil_times.filter_map(civil_time).filter_map(|civil| self.instant(civil)).find(|instant| *instant < before)
    }

    /// The firings behind `after`, in order.
    pub fn firings(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        // Instants follow civil times in order. What the clock showed at `after` happened by then, and so did everything before it;
        // several civil times in a gap end up at one instant.
        let mut last = after;
        let from = pseudo_utc(self.zone.to_datetime(after));
        let civil_times = from.into_iter().flat_map(|from| self.matches.after_owned(from)).filter_map(civil_time);
        civil_times.filter_map(|civil| self.instant(civil)).filter(move |instant| {
            let later = *instant > last;
            last = last.max(*instant);
            later
        })
    }

    /// The longest time between two firings in years to come. `None` when there are not two.
    pub fn longest_interval(&self) -> Option<SignedDuration> {
        self.longest_interval_between(LOOKED_AT.0, LOOKED_AT.1)
    }

    /// The longest time between two firings of the days from `first` to `last`, days on which clocks are set included: where an hour
    /// is repeated, a schedule of every half hour leaves an hour and a half. `None` when there are not two.
    pub fn longest_interval_between(&self, first: Date, last: Date) -> Option<SignedDuration> {
        let times = self.fields.times();
        let set = self.days_on_which_clocks_are_set(first, last);
        let usual = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        let usual = usual.map(|minutes| SignedDuration::from_mins(i64::from(minutes)));
        let (mut longest, mut previous) = (None::<SignedDuration>, None::<Timestamp>);
        let days = first.series(jiff::Span::new().days(1)).take_while(|day| *day <= last);
        for day in days.filter(|day| self.fields.allow(*day)) {
            let at = |minutes: i32| self.instant(day.at((minutes / 60) as i8, (minutes % 60) as i8, 0, 0));
            // On most days, only the first and the last firing are of interest.
            let all_of_interest = set.contains(&day);
            let firings: Vec<Timestamp> = if all_of_interest {
                times.iter().filter_map(|minutes| at(*minutes)).collect()
            } else {
                longest = longest.max(usual);
                times.first().into_iter().chain(times.last()).filter_map(|minutes| at(*minutes)).collect()
            };
            for (index, firing) in firings.into_iter().enumerate() {
                if let Some(previous) = previous.filter(|previous| firing > *previous && (all_of_interest || index == 0)) {
                    longest = longest.max(Some(firing.duration_since(previous)));
                }
                previous = previous.max(Some(firing));
            }
        }
        longest
    }

    /// Both what the clock showed before and after it was set.
    fn days_on_which_clocks_are_set(&self, first: Date, last: Date) -> BTreeSet<Date> {
        let day = SignedDuration::from_hours(24);
        let Ok(from) = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)) else { return BTreeSet::new() };
        let Ok(until) = TimeZone::UTC.to_timestamp(last.at(23, 59, 59, 0)) else { return BTreeSet::new() };
        let transitions = self.zone.following(from.saturating_sub(day).unwrap_or(from)).map(|transition| transition.timestamp());
        transitions
            .take_while(|instant| instant.duration_since(until) <= day)
            .flat_map(|instant| [instant, instant.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(instant)])
            .map(|instant| self.zone.to_datetime(instant).date())
            .collect()
    }

    /// The instant of a civil time: the end of the gap it falls into, the first of the two times it happens.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
            AmbiguousOffset::Gap { before, .. } => {
                let behind_the_gap = before.to_timestamp(civil).ok()? + SignedDuration::from_secs(1);
                self.zone.preceding(behind_the_gap).next().map(|transition| transition.timestamp())
            }
        }
    }
}

impl Fields {
    /// The same for the `cron` crate: seconds in front, numbers only, and days of the week counted from 1.
    fn numeric(&self) -> String {
        let day = if self.day.star { "*".to_owned() } else { list(&self.day.values) };
        let week: Vec<u8> = self.week.values.iter().map(|value| value + 1).collect();
        format!("0 {} {} {day} {} {}", list(&self.minute.values), list(&self.hour.values), list(&self.month.values), list(&week))
    }

    /// Whether they fire on `day`.
    fn allow(&self, day: Date) -> bool {
        self.month.allows(day.month()) && self.day.allows(day.day()) && self.week.allows(day.weekday().to_sunday_zero_offset())
    }

    /// When they fire on a day they fire on, in minutes since midnight, ascending.
    fn times(&self) -> Vec<i32> {
        let minutes =
            |hour: &u8| self.minute.values.iter().map(|minute| i32::from(*hour) * 60 + i32::from(*minute)).collect::<Vec<_>>();
        self.hour.values.iter().flat_map(minutes).collect()
    }
}

/// The fields that a descriptor stands for.
fn described(expression: &str) -> Option<&'static str> {
    Some(match expression {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return None,
    })
}

/// What Velero reads and we do not, because it says less than fields do.
fn refuse_special(expression: &str) -> Result<(), ScheduleError> {
    let given = || expression.to_owned();
    if let Some(period) = expression.strip_prefix("@every") {
        let instead = period.trim().parse::<SignedDuration>().ok().and_then(by_the_clock);
        return Err(ScheduleError::Every { expression: given(), instead });
    }
    if expression.starts_with('@') {
        return Err(ScheduleError::Descriptor { expression: given() });
    }
    let zoned = expression.strip_prefix("TZ=").or_else(|| expression.strip_prefix("CRON_TZ="));
    if let Some((zone, rest)) = zoned.and_then(|zoned| zoned.split_once(char::is_whitespace)) {
        return Err(ScheduleError::ZoneInFront { expression: given(), zone: zone.to_owned(), instead: rest.trim().to_owned() });
    }
    Ok(())
}

/// The fields that fire with this period, if a clock can show it.
fn by_the_clock(period: SignedDuration) -> Option<String> {
    let minutes = period.as_mins();
    if period != SignedDuration::from_mins(minutes) || minutes < 1 {
        return None;
    }
    match (minutes, minutes / 60, minutes % 60) {
        (1, ..) => Some("* * * * *".to_owned()),
        (_, 0, minutes) => (60 % minutes == 0).then(|| format!("*/{minutes} * * * *")),
        (_, 1, 0) => Some("0 * * * *".to_owned()),
        (_, 24, 0) => Some("0 0 * * *".to_owned()),
        (_, hours, 0) => (24 % hours == 0).then(|| format!("0 */{hours} * * *")),
        _ => None,
    }
}

/// A civil time as the `cron` crate takes it, to the second.
fn pseudo_utc(civil: DateTime) -> Option<PseudoUtc<Utc>> {
    NaiveDate::from_ymd_opt(i32::from(civil.year()), civil.month() as u32, civil.day() as u32)?
        .and_hms_opt(civil.hour() as u32, civil.minute() as u32, civil.second() as u32)?
        .and_local_timezone(Utc)
        .single()
}

/// A civil time as the `cron` crate gives it.
fn civil_time(civil: PseudoUtc<Utc>) -> Option<DateTime> {
    let (hour, minute) = (civil.hour() as i8, civil.minute() as i8);
    DateTime::new(i16::try_from(civil.year()).ok()?, civil.month() as i8, civil.day() as i8, hour, minute, 0, 0).ok()
}

fn list(values: &[u8]) -> String {
    values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

/// FNV-1a: the same on every machine and in every version, unlike the standard library's hash.
pub(crate) fn stable(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn firings(expression: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        Schedule::parse(expression, Some(zone)).unwrap().firings(at(from)).take(count).map(|firing| firing.to_string()).collect()
    }

    #[test]
    fn monday_is_monday() {
        assert_eq!(firings("0 2 * * 1", "UTC", "2026-11-20T00:00:00Z", 2), ["2026-11-23T02:00:00Z", "2026-11-30T02:00:00Z"]);
        assert_eq!(firings("0 2 * * mon-fri", "UTC", "2026-11-20T03:00:00Z", 1), ["2026-11-23T02:00:00Z"]);
    }

    #[test]
    fn a_firing_in_a_spring_gap_happens_when_the_gap_ends() {
        // New York, 2026-03-08: 02:00 to 03:00 does not exist.
        assert_eq!(
            firings("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
            ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]
        );
    }

    #[test]
    fn a_firing_in_a_repeated_hour_happens_once() {
        // New York, 2026-11-01: 01:00 to 02:00 happens twice.
        assert_eq!(
            firings("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
            ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]
        );
    }

    #[test]
    fn what_velero_versions_read_differently_is_refused_with_another_way_to_write_it() {
        for (expression, expected) in [
            (
                "0 0 13 * 5",
                "`0 0 13 * 5` restricts both the day of month and the day of week, which Velero's versions read differently; use one policy with `0 0 13 * *` and another with `0 0 * * 5`",
            ),
            ("0 0 * * 7", "`7` in the day of week: Velero's versions disagree about 7; write 0 or sun for Sunday"),
            ("0 22-2 * * *", "`22-2` in the hour wraps around, which Velero's versions read differently; write `0-2,22,23`"),
            ("0 0 30 2 *", "`0 0 30 2 *` never fires: no such day exists"),
            ("* * * *", "`* * * *` has 4 fields; a schedule has 5: minute, hour, day of month, month, day of week"),
            ("60 * * * *", "`60` in the minute is outside of 0 to 59"),
            ("*/0 * * * *", "`*/0` in the minute never advances: its step is 0"),
            ("0 0 * * 5-7", "`5-7` in the day of week: Velero's versions disagree about 7; write `0,5,6`"),
            (
                "0 0 * * mon/2",
                "`mon/2` in the day of week reaches Sunday again in some of Velero's versions and not in others; write `1-5/2`",
            ),
            ("*/60 * * * *", "the step of `*/60` in the minute is larger than its range; write `0`"),
            ("@every 90m", "`@every 90m` counts from the last backup, so that nobody can say when the next one is; write fields"),
            (
                "@every 2h",
                "`@every 2h` counts from the last backup, so that nobody can say when the next one is; write fields, such as `0 */2 * * *`",
            ),
            ("@reboot", "`@reboot` is not one of @hourly, @daily, @weekly, @monthly, @yearly"),
            (
                "TZ=Europe/Berlin 0 2 * * *",
                "`TZ=Europe/Berlin 0 2 * * *` names its time zone in front; write `0 2 * * *`, and `Europe/Berlin` as the time zone",
            ),
            ("x * * * *", "`x` in the minute is not a number, a range or `*`"),
        ] {
            assert_eq!(Schedule::parse(expression, None).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            Schedule::parse("* * * * *", Some("Mars/Olympus")).unwrap_err(),
            ScheduleError::Zone("Mars/Olympus".to_owned())
        );
    }

    #[test]
    fn a_leap_day_is_a_day_that_exists() {
        assert_eq!(firings("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn the_longest_interval_is_found_across_a_weekend() {
        let schedule = Schedule::parse("0 * * * mon-fri", None).unwrap();
        assert_eq!(
            schedule.longest_interval_between(Date::constant(2026, 11, 20), Date::constant(2026, 12, 20)),
            Some(SignedDuration::from_hours(49))
        );
    }

    #[test]
    fn a_derived_schedule_keeps_its_objective_and_is_stable() {
        for minutes in [1, 2, 7, 15, 45, 60, 90, 240, 720, 1_440, 2_880, 10_000] {
            let data_loss = SignedDuration::from_mins(minutes);
            for environment in ["staging", "dev", "production"] {
                let schedule = Schedule::derived(environment, data_loss);
                let (first, last) = (Date::constant(2026, 11, 20), Date::constant(2027, 1, 20));
                let longest = schedule.longest_interval_between(first, last).unwrap();
                assert!(longest <= data_loss, "{} for {minutes} min", schedule.expression());
                assert_eq!(schedule, Schedule::derived(environment, data_loss));
            }
        }
        assert_ne!(
            Schedule::derived("staging", SignedDuration::from_hours(48)).expression(),
            Schedule::derived("dev", SignedDuration::from_hours(48)).expression()
        );
    }

    #[test]
    fn every_rewrite_is_a_schedule() {
        for expression in [
            "0 0 13 * 5",
            "0 22-2 * * *",
            "5,22-2/3,9 22-2 * * *",
            "0 0 * * 5-7",
            "0 0 * * fri-mon",
            "0 0 * * mon/2",
            "0 0 * * 0/7",
            "0 0 * * 0-7",
            "*/60 * * * *",
            "@every 30m",
            "@every 1h",
            "@every 24h",
            "@every 8h",
            "@every 1m",
            "TZ=UTC 0 2 * * *",
            "0 0 * * 2-7/5",
        ] {
            let mut given = expression.to_owned();
            // One thing at a time is told.
            while let Err(error) = Schedule::parse(&given, None) {
                let rewrites = error.rewrites();
                assert!(!rewrites.is_empty() && !rewrites.contains(&given), "{error}");
                given.clone_from(&rewrites[0]);
            }
        }
    }

    #[test]
    fn every_half_hour_leaves_more_where_an_hour_is_repeated() {
        let year = |schedule: &Schedule| {
            schedule.longest_interval_between(Date::constant(2026, 1, 1), Date::constant(2026, 12, 31)).unwrap()
        };
        let schedule = |zone| Schedule::parse("*/30 * * * *", Some(zone)).unwrap();
        assert_eq!(year(&schedule("UTC")), SignedDuration::from_mins(30));
        assert_eq!(year(&schedule("Europe/Berlin")), SignedDuration::from_mins(90));
        assert_eq!(year(&schedule("Australia/Lord_Howe")), SignedDuration::from_mins(60));
        let weekend = Schedule::parse("0 * * * mon-fri", None).unwrap();
        assert_eq!(year(&weekend), SignedDuration::from_hours(49));
        let leap_day = Schedule::parse("0 0 29 2 *", None).unwrap();
        assert_eq!(leap_day.longest_interval_between(Date::constant(2026, 1, 1), Date::constant(2026, 12, 31)), None);
        let days =
            leap_day.longest_interval_between(Date::constant(2024, 1, 1), Date::constant(2028, 12, 31)).unwrap().as_hours() / 24;
        assert_eq!(days, 1_461);
    }

    fn any_field(bounds: cron_field::Bounds) -> impl Strategy<Value = String> {
        let value = bounds.low..=bounds.high;
        let part = prop_oneof![
            2 => Just("*".to_owned()),
            2 => value.clone().prop_map(|value| value.to_string()),
            1 => (value.clone(), value.clone()).prop_map(|(left, right)| format!("{}-{}", left.min(right), left.max(right))),
            1 => (1..=(bounds.high - bounds.low)).prop_map(|step| format!("*/{step}")),
            1 => (value, 1..=(bounds.high - bounds.low)).prop_map(|(low, step)| format!("{low}/{step}")),
        ];
        proptest::collection::vec(part, 1..3).prop_map(|parts| parts.join(","))
    }

    /// Whatever the parser takes.
    fn any_schedule() -> impl Strategy<Value = Schedule> {
        // Half an hour (Lord Howe), across midnight (Beirut), a day that never was (Apia), behind UTC, none at all.
        let zones =
            ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia", "Atlantic/Azores"];
        let days = prop_oneof![
            Just("* * *".to_owned()),
            (any_field(cron_field::DAY_OF_MONTH), any_field(cron_field::MONTH))
                .prop_map(|(day, month)| format!("{day} {month} *")),
            (any_field(cron_field::MONTH), any_field(cron_field::DAY_OF_WEEK))
                .prop_map(|(month, week)| format!("* {month} {week}")),
        ];
        (any_field(cron_field::MINUTE), any_field(cron_field::HOUR), days, proptest::sample::select(zones.to_vec()))
            .prop_filter_map("refused", |(minute, hour, days, zone)| {
                Schedule::parse(&format!("{minute} {hour} {days}"), Some(zone)).ok()
            })
    }

    /// Days before clocks are set somewhere, and any other.
    fn any_instant() -> impl Strategy<Value = Timestamp> {
        let set = [
            "2024-03-09T12:00:00Z",
            "2024-03-30T00:00:00Z",
            "2024-10-26T00:00:00Z",
            "2024-11-02T12:00:00Z",
            "2024-04-06T00:00:00Z",
            "2024-10-05T00:00:00Z",
            "2011-12-29T12:00:00Z",
        ];
        prop_oneof![
            (proptest::sample::select(set.to_vec()), 0i64..172_800)
                .prop_map(|(day, second)| at(day) + SignedDuration::from_secs(second)),
            (1_000_000_000i64..1_900_000_000).prop_map(|second| Timestamp::from_second(second).unwrap()),
        ]
    }

    /// Whether the schedule fires at `minute`, told by looking at clocks alone.
    fn fires_at(schedule: &Schedule, minute: Timestamp) -> bool {
        let zone = schedule.zone();
        let matches = |civil: DateTime| {
            schedule.fields.allow(civil.date())
                && schedule.fields.minute.allows(civil.minute())
                && schedule.fields.hour.allows(civil.hour())
        };
        let civil = zone.to_datetime(minute);
        // What the clock jumped over, if it did just now.
        let mut shown =
            zone.to_datetime(minute - SignedDuration::from_mins(1)).checked_add(SignedDuration::from_mins(1)).unwrap();
        while shown < civil {
            if matches(shown) {
                return true;
            }
            shown = shown.checked_add(SignedDuration::from_mins(1)).unwrap();
        }
        let earlier = |minutes: &i64| zone.to_datetime(minute - SignedDuration::from_mins(*minutes)) == civil;
        matches(civil) && ![30, 60].iter().any(earlier)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn firings_are_those_that_somebody_watching_the_clock_would_note(schedule in any_schedule(), from in any_instant()) {
            let until = from + SignedDuration::from_hours(50);
            let first = Timestamp::from_second(from.as_second().div_euclid(60) * 60).unwrap();
            let minutes = (0..=50 * 60).map(|minute| first + SignedDuration::from_mins(minute));
            let expected: Vec<Timestamp> =
                minutes.filter(|minute| *minute > from && *minute <= until && fires_at(&schedule, *minute)).collect();
            let firings: Vec<Timestamp> = schedule.firings(from).take_while(|firing| *firing <= until).collect();
            prop_assert_eq!(firings, expected, "{} {:?}", schedule.expression(), schedule.zone());
        }

        #[test]
        fn the_previous_firing_is_the_one_whose_next_is_not_before(schedule in any_schedule(), from in any_instant()) {
            if let Some(previous) = schedule.previous_before(from) {
                prop_assert!(previous < from);
                prop_assert!(schedule.next_after(previous).is_none_or(|next| next >= from), "{} {:?}", schedule.expression(), schedule.zone());
            }
            if let Some(next) = schedule.next_after(from) {
                prop_assert!(next > from);
                prop_assert!(schedule.previous_before(next).is_none_or(|previous| previous <= from));
                prop_assert_eq!(schedule.previous_before(next + SignedDuration::from_nanos(1)), Some(next));
            }
        }

        #[test]
        fn the_longest_interval_is_that_between_two_of_the_firings(schedule in any_schedule(), from in any_instant()) {
            let first = schedule.zone().to_datetime(from).date();
            let last = first.checked_add(jiff::Span::new().days(3)).unwrap();
            let of_these_days = |firing: &Timestamp| schedule.zone().to_datetime(*firing).date();
            let before = schedule.instant(first.at(0, 0, 0, 0)).unwrap() - SignedDuration::from_nanos(1);
            let firings: Vec<Timestamp> = schedule.firings(before).take_while(|firing| of_these_days(firing) <= last).collect();
            let expected = firings.windows(2).map(|pair| pair[1].duration_since(pair[0])).max();
            prop_assert_eq!(schedule.longest_interval_between(first, last), expected, "{} {:?}", schedule.expression(), schedule.zone());
        }

        #[test]
        fn any_text_is_a_schedule_or_is_refused(text in "[0-9*?/,a-z@ -]{0,24}") {
            if let Err(error) = Schedule::parse(&text, None) {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn a_derived_schedule_keeps_any_objective_of_a_minute_or_more(environment in "[a-z]{1,20}", minutes in 1i64..5_000) {
            let schedule = Schedule::derived(&environment, SignedDuration::from_mins(minutes));
            let longest = schedule.longest_interval_between(Date::constant(2026, 3, 1), Date::constant(2026, 3, 9)).unwrap();
            prop_assert!(longest <= SignedDuration::from_mins(minutes.max(1)), "{}", schedule.expression());
        }
    }
}
