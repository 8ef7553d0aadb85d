//! When something happens: five cron fields in a time zone.
//!
//! We accept what both of Velero's parsers read alike, and refuse the rest with an unambiguous way to write it. The fields are parsed
//! into numeric lists here; the `cron` crate finds the civil times that match, and `jiff` says which instants those are. A firing in
//! a spring gap happens when the gap ends; one in a repeated hour happens once, the first time.

use std::str::FromStr;

use chrono::{Datelike, NaiveDate, Timelike, Utc};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::cron_field::{self, Field};

/// How many firings are looked at to find the longest time between two of them: a year of hourly ones, a week of those every minute.
const FIRINGS_LOOKED_AT: usize = 10_000;
/// Civil time looked at before an instant: firings in a gap belong to its end, and no zone ever skipped more than a day.
const LOOK_BACK_HOURS: i64 = 25;

/// When something happens.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    zone: TimeZone,
    matches: Box<cron::Schedule>,
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
    /// A field that cannot be read.
    #[error("{0}")]
    Field(String),
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
        let fields_text = described(written).unwrap_or(written);
        let texts: Vec<&str> = fields_text.split_whitespace().collect();
        let [minute_text, hour_text, day_text, month_text, week_text] = texts.as_slice() else {
            return Err(ScheduleError::Fields { expression: written.to_owned(), found: texts.len() });
        };
        let read = |text: &str, bounds| cron_field::parse(text, bounds).map_err(ScheduleError::Field);
        let minute = read(minute_text, cron_field::MINUTE)?;
        let hour = read(hour_text, cron_field::HOUR)?;
        let day = read(day_text, cron_field::DAY_OF_MONTH)?;
        let month = read(month_text, cron_field::MONTH)?;
        let week = read(week_text, cron_field::DAY_OF_WEEK)?;
        if !day.star && !week.star {
            return Err(ScheduleError::BothDays {
                expression: written.to_owned(),
                first: format!("{minute_text} {hour_text} {day_text} {month_text} *"),
                second: format!("{minute_text} {hour_text} * {month_text} {week_text}"),
            });
        }
        let never = || ScheduleError::Never { expression: written.to_owned() };
        // The crate counts days of the week from 1.
        let weekdays: Vec<u8> = week.values.iter().map(|value| value + 1).collect();
        let numeric = format!(
            "0 {} {} {} {} {}",
            list(&minute.values),
            list(&hour.values),
            days(&day),
            list(&month.values),
            list(&weekdays)
        );
        let matches = cron::Schedule::from_str(&numeric).map_err(|_| never())?;
        let schedule = Self { expression: written.to_owned(), zone, matches: Box::new(matches) };
        // From a fixed instant, so that what is a valid schedule does not depend on the day it is read. Leap days come within 8 years.
        let from = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        if schedule.next_after(from).is_none() {
            return Err(never());
        }
        Ok(schedule)
    }

    /// The schedule that follows from "lose at most `data_loss`": the longest usual period that is at most half of it, because a
    /// backup takes time and may fail once; at a minute of the environment's own, so that not everything starts at once.
    pub fn derived(environment: &str, data_loss: SignedDuration) -> Self {
        const MINUTES: [u32; 9] = [1, 2, 3, 5, 10, 15, 20, 30, 60];
        const HOURS: [u32; 7] = [2, 3, 4, 6, 8, 12, 24];
        let half = u32::try_from(data_loss.as_mins() / 2).unwrap_or(1).max(1);
        let offset = stable(environment);
        let expression = match HOURS.iter().rev().find(|hours| *hours * 60 <= half) {
            Some(24) => format!("{} {} * * *", offset % 60, offset / 60 % 24),
            Some(hours) => format!("{} {}-23/{hours} * * *", offset % 60, offset / 60 % hours),
            None => match MINUTES.iter().rev().find(|minutes| **minutes <= half) {
                Some(60) => format!("{} * * * *", offset % 60),
                Some(1) | None => "* * * * *".to_owned(),
                Some(minutes) => format!("{}-59/{minutes} * * * *", offset % minutes),
            },
        };
        // Every expression above is within the grammar: the tables hold steps smaller than their ranges.
        Self::parse(&expression, None).unwrap_or_else(|_| Self::every_minute())
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

    /// The firings behind `after`, in order.
    pub fn firings(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        // One walk over the civil times: asking again for each firing would look back a day each time.
        let mut last = after;
        self.civil_times(after).into_iter().flatten().filter_map(|civil| self.instant(civil)).filter(move |instant| {
            let later = *instant > last;
            last = last.max(*instant);
            later
        })
    }

    /// The civil times that match, from a day before `after` on.
    fn civil_times(&self, after: Timestamp) -> Option<impl Iterator<Item = DateTime> + '_> {
        let civil = self.zone.to_datetime(after - SignedDuration::from_hours(LOOK_BACK_HOURS));
        let from = NaiveDate::from_ymd_opt(i32::from(civil.year()), civil.month() as u32, civil.day() as u32)?
            .and_hms_opt(civil.hour() as u32, civil.minute() as u32, civil.second() as u32)?
            .and_local_timezone(Utc)
            .single()?;
        Some(self.matches.after_owned(from).filter_map(|civil| {
            let (hour, minute) = (civil.hour() as i8, civil.minute() as i8);
            DateTime::new(i16::try_from(civil.year()).ok()?, civil.month() as i8, civil.day() as i8, hour, minute, 0, 0).ok()
        }))
    }

    /// The longest time between two firings, of those that follow `from`.
    pub fn longest_interval(&self, from: Timestamp) -> SignedDuration {
        let (mut longest, mut last) = (SignedDuration::ZERO, None::<Timestamp>);
        for firing in self.firings(from).take(FIRINGS_LOOKED_AT) {
            if let Some(last) = last {
                longest = longest.max(firing.duration_since(last));
            }
            last = Some(firing);
        }
        longest
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

    fn every_minute() -> Self {
        // Six stars are within the crate's grammar, and match every minute.
        #[allow(clippy::expect_used)]
        let matches = cron::Schedule::from_str("0 * * * * *").expect("six fields of the crate's own grammar");
        Self { expression: "* * * * *".to_owned(), zone: TimeZone::UTC, matches: Box::new(matches) }
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

fn list(values: &[u8]) -> String {
    values.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

fn days(day: &Field) -> String {
    if day.star { "*".to_owned() } else { list(&day.values) }
}

/// FNV-1a: the same on every machine and in every version, unlike the standard library's hash.
fn stable(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
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
            ("0 22-2 * * *", "`22-2` in the hour wraps around, which Velero's versions read differently; write `22-23,0-2`"),
            ("0 0 30 2 *", "`0 0 30 2 *` never fires: no such day exists"),
            ("* * * *", "`* * * *` has 4 fields; a schedule has 5: minute, hour, day of month, month, day of week"),
            ("60 * * * *", "`60` in the minute is outside of 0 to 59"),
            ("*/0 * * * *", "`*/0` in the minute never advances: its step is 0"),
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
        assert_eq!(schedule.longest_interval(at("2026-11-20T00:00:00Z")), SignedDuration::from_hours(49));
    }

    #[test]
    fn a_derived_schedule_keeps_its_objective_and_is_stable() {
        for minutes in [1, 2, 7, 15, 45, 60, 90, 240, 720, 1_440, 2_880, 10_000] {
            let data_loss = SignedDuration::from_mins(minutes);
            for environment in ["staging", "dev", "production"] {
                let schedule = Schedule::derived(environment, data_loss);
                let longest = schedule.longest_interval(at("2026-11-20T00:00:00Z"));
                assert!(longest <= data_loss, "{} for {minutes} min", schedule.expression());
                assert_eq!(schedule, Schedule::derived(environment, data_loss));
            }
        }
        assert_ne!(
            Schedule::derived("staging", SignedDuration::from_hours(48)).expression(),
            Schedule::derived("dev", SignedDuration::from_hours(48)).expression()
        );
    }
}
