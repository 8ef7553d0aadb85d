//! The recovery target time: the instant that was asked for, once time zone and ambiguity are settled.
//!
//! ```text
//! 2024-05-01T10:00:00Z          an instant already
//! 2024-05-01T10:00+02:00        so is this
//! 2024-05-01T10:00              needs a zone, and must have happened once in it
//! 2024-05-01 10:00[Europe/Berlin]
//! today 10:00, yesterday 10:00  the day is the zone's
//! -2h, 2h ago, -1d              before now; days are the zone's, too
//! now
//! ```
//!
//! Nothing is guessed: a civil time without a zone, one that happened twice or never, and a day without a time are refused with what
//! can be written instead.

use std::fmt;

use jiff::{
    Span, Timestamp, ToSpan,
    civil::{Date, DateTime, Time},
    fmt::temporal::Pieces,
    tz::{AmbiguousOffset, TimeZone},
};

/// The instant asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryTarget {
    /// The instant.
    pub instant: Timestamp,
    /// The zone it was understood in, or is shown in.
    pub zone: Option<TimeZone>,
    /// As it was written.
    pub as_given: String,
}

impl fmt::Display for RecoveryTarget {
    /// `2024-05-01 10:00 Europe/Berlin = 2024-05-01T08:00:00Z`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) if *zone != TimeZone::UTC => {
                let civil = zone.to_datetime(self.instant);
                let date = civil.date();
                write!(formatter, "{date} {} {} = {}", shortest(civil.time()), zone_name(zone, self.instant), self.instant)
            }
            _ => write!(formatter, "{}", self.instant),
        }
    }
}

/// An instant that cannot be settled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not in any form that is understood.
    #[error("`{given}` is not an instant")]
    Unreadable {
        /// As given.
        given: String,
    },
    /// A day without a time.
    #[error("`{given}` is a day, not an instant")]
    DayOnly {
        /// As given.
        given: String,
        /// The day.
        date: Date,
    },
    /// A time without a day.
    #[error("`{given}` does not say on which day")]
    TimeOnly {
        /// As given.
        given: String,
        /// The time.
        time: Time,
    },
    /// A civil time, and no zone to understand it in.
    #[error("`{given}` has no time zone, and none is configured")]
    NoZone {
        /// As given.
        given: String,
        /// What can be written instead, if it can be said.
        instead: Option<String>,
    },
    /// A zone in brackets that does not exist.
    #[error("`{given}` names a time zone that does not exist")]
    UnknownZone {
        /// As given.
        given: String,
    },
    /// An offset that the zone in brackets does not have then.
    #[error("`{given}` contradicts itself: {zone} is at {offset} then")]
    OffsetContradictsZone {
        /// As given.
        given: String,
        /// The zone in brackets.
        zone: String,
        /// Its offset.
        offset: String,
    },
    /// Clocks were set forward over it.
    #[error("`{given}` never happened in {zone}: clocks were set forward over it")]
    Never {
        /// As given.
        given: String,
        /// The zone.
        zone: String,
        /// The two instants that may be meant, in RFC 3339.
        candidates: [String; 2],
    },
    /// Clocks were set back over it.
    #[error("`{given}` happened twice in {zone}: clocks were set back")]
    Twice {
        /// As given.
        given: String,
        /// The zone.
        zone: String,
        /// The two instants, in RFC 3339.
        candidates: [String; 2],
    },
    /// It has not happened yet.
    #[error("`{given}` is in the future: it is {instant}, and now is {now}")]
    Future {
        /// As given.
        given: String,
        /// What it means.
        instant: Timestamp,
        /// Now, to the second.
        now: Timestamp,
    },
    /// Before the year 1970 or so far away that it cannot be computed.
    #[error("`{given}` is out of range")]
    OutOfRange {
        /// As given.
        given: String,
    },
}

impl TargetError {
    /// What to write instead.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } | Self::OutOfRange { .. } => {
                vec![
                    "write `2024-05-01T10:00:00Z`, `2024-05-01T10:00` with a time zone, `yesterday 10:00`, `-2h` or `now`"
                        .to_owned(),
                ]
            }
            Self::DayOnly { date, .. } => {
                let mut hints = vec![format!("write `{date}T00:00` for its beginning")];
                hints.extend(date.tomorrow().ok().map(|next| format!("write `{next}T00:00` for its end")));
                hints
            }
            Self::TimeOnly { time, .. } => {
                let time = shortest(*time);
                vec![format!("write `today {time}`, `yesterday {time}`, or the date")]
            }
            Self::NoZone { instead, .. } => {
                let mut hints =
                    vec!["say which with `--time-zone Europe/Berlin`, or set `timeZone` of the environment".to_owned()];
                hints.extend(instead.iter().map(|instead| format!("or write `{instead}`")));
                hints
            }
            Self::UnknownZone { .. } => vec!["zones are named like `Europe/Berlin` or `UTC`".to_owned()],
            Self::OffsetContradictsZone { .. } => vec!["leave out the offset or the zone".to_owned()],
            Self::Never { candidates: [before, after], .. } => vec![
                format!("write `{before}` for as long before the clocks were set forward"),
                format!("write `{after}` for as long after"),
            ],
            Self::Twice { candidates: [first, second], .. } => {
                vec![format!("write `{first}` for the first time"), format!("write `{second}` for the second time")]
            }
            Self::Future { .. } => vec!["a recovery goes back: `-2h` is two hours ago".to_owned()],
        }
    }
}

/// Settles what `given` means. `zone` is where a civil time is understood: whoever calls decides which one applies; `None` refuses
/// civil times, and the machine's own zone is never looked at.
pub fn resolve(given: &str, zone: Option<&TimeZone>, now: Timestamp) -> Result<RecoveryTarget, TargetError> {
    let text = given.trim();
    let asked = Asked { given: text, zone, now };
    let target = match asked.word()? {
        Some(target) => target,
        None => match asked.relative()? {
            Some(target) => target,
            None => asked.absolute()?,
        },
    };
    if target.instant > now {
        let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
        return Err(TargetError::Future { given: asked.given(), instant: target.instant, now });
    }
    if target.instant < Timestamp::UNIX_EPOCH {
        return Err(TargetError::OutOfRange { given: asked.given() });
    }
    Ok(target)
}

struct Asked<'a> {
    given: &'a str,
    zone: Option<&'a TimeZone>,
    now: Timestamp,
}

impl Asked<'_> {
    fn given(&self) -> String {
        self.given.to_owned()
    }

    fn target(&self, instant: Timestamp, zone: Option<&TimeZone>) -> RecoveryTarget {
        RecoveryTarget { instant, zone: zone.or(self.zone).cloned(), as_given: self.given() }
    }

    fn zone(&self, instead: Option<String>) -> Result<&TimeZone, TargetError> {
        self.zone.ok_or_else(|| TargetError::NoZone { given: self.given(), instead })
    }

    /// `now`, `today 10:00`, `yesterday 10:00`, and a time that lacks its day.
    fn word(&self) -> Result<Option<RecoveryTarget>, TargetError> {
        if self.given.eq_ignore_ascii_case("now") {
            return Ok(Some(self.target(self.now, None)));
        }
        if let Some(time) = time_of_day(self.given) {
            return Err(TargetError::TimeOnly { given: self.given(), time });
        }
        let Some((word, rest)) = self.given.split_once(char::is_whitespace) else { return Ok(None) };
        let days_back = match word.to_ascii_lowercase().as_str() {
            "today" => 0,
            "yesterday" => 1,
            _ => return Ok(None),
        };
        let Some(time) = time_of_day(rest.trim()) else { return Err(TargetError::Unreadable { given: self.given() }) };
        let zone = self.zone(None)?;
        let today = zone.to_datetime(self.now).date();
        let date = today.checked_sub(days_back.days()).map_err(|_| TargetError::OutOfRange { given: self.given() })?;
        self.settle(date.to_datetime(time), zone).map(|instant| Some(self.target(instant, None)))
    }

    /// `-2h`, `2h ago`. Days and more are the zone's: they have 23 to 25 hours.
    fn relative(&self) -> Result<Option<RecoveryTarget>, TargetError> {
        let Ok(span) = self.given.parse::<Span>() else { return Ok(None) };
        let out_of_range = || TargetError::OutOfRange { given: self.given() };
        let date_part = Span::new()
            .try_years(span.get_years())
            .and_then(|part| part.try_months(span.get_months()))
            .and_then(|part| part.try_weeks(span.get_weeks()))
            .and_then(|part| part.try_days(span.get_days()))
            .map_err(|_| out_of_range())?;
        let mut start = self.now;
        if !date_part.is_zero() {
            let hours = span.get_years() == 0 && span.get_months() == 0;
            let days = span.get_days() + span.get_weeks() * 7;
            let zone = self.zone(hours.then(|| format!("{}h", days * 24)))?;
            let civil = zone.to_datetime(self.now).checked_add(date_part).map_err(|_| out_of_range())?;
            start = self.settle(civil, zone)?;
        }
        let hours_part = Span::new()
            .try_hours(span.get_hours())
            .and_then(|part| part.try_minutes(span.get_minutes()))
            .and_then(|part| part.try_seconds(span.get_seconds()))
            .and_then(|part| part.try_milliseconds(span.get_milliseconds()))
            .and_then(|part| part.try_microseconds(span.get_microseconds()))
            .and_then(|part| part.try_nanoseconds(span.get_nanoseconds()))
            .map_err(|_| out_of_range())?;
        start.checked_add(hours_part).map(|instant| Some(self.target(instant, None))).map_err(|_| out_of_range())
    }

    /// A date with a time, an offset or a zone, or neither.
    fn absolute(&self) -> Result<RecoveryTarget, TargetError> {
        let unreadable = || TargetError::Unreadable { given: self.given() };
        let pieces = Pieces::parse(self.given).map_err(|_| unreadable())?;
        let date = pieces.date();
        let Some(time) = pieces.time() else { return Err(TargetError::DayOnly { given: self.given(), date }) };
        let civil = date.to_datetime(time);
        let annotated = match pieces.time_zone_annotation() {
            Some(annotation) => Some(annotation.to_time_zone().map_err(|_| TargetError::UnknownZone { given: self.given() })?),
            None => None,
        };
        let Some(offset) = pieces.to_numeric_offset() else {
            let zone = match &annotated {
                Some(zone) => zone,
                None => self.zone(Some(format!("{date}T{}Z", shortest(time))))?,
            };
            return self.settle(civil, zone).map(|instant| self.target(instant, Some(zone)));
        };
        let instant = offset.to_timestamp(civil).map_err(|_| TargetError::OutOfRange { given: self.given() })?;
        // `Z` says the instant and leaves the zone open; a number is the zone's, or one of the two is wrong.
        let zulu = matches!(pieces.offset(), Some(jiff::fmt::temporal::PiecesOffset::Zulu));
        if let Some(zone) = annotated.as_ref().filter(|zone| !zulu && zone.to_offset(instant) != offset) {
            let (zone, offset) = (zone_name(zone, instant), zone.to_offset(instant).to_string());
            return Err(TargetError::OffsetContradictsZone { given: self.given(), zone, offset });
        }
        Ok(self.target(instant, annotated.as_ref()))
    }

    /// The one instant of a civil time.
    fn settle(&self, civil: DateTime, zone: &TimeZone) -> Result<Timestamp, TargetError> {
        let out_of_range = || TargetError::OutOfRange { given: self.given() };
        let candidate = |offset: jiff::tz::Offset| {
            let instant = offset.to_timestamp(civil).map_err(|_| out_of_range())?;
            Ok(rfc3339(instant, zone))
        };
        match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).map_err(|_| out_of_range()),
            // What the clock would have shown before it was set is the later instant: clocks went forward.
            AmbiguousOffset::Gap { before, after } => Err(TargetError::Never {
                given: self.given(),
                zone: zone_name(zone, self.now),
                candidates: [candidate(after)?, candidate(before)?],
            }),
            AmbiguousOffset::Fold { before, after } => Err(TargetError::Twice {
                given: self.given(),
                zone: zone_name(zone, self.now),
                candidates: [candidate(before)?, candidate(after)?],
            }),
        }
    }
}

/// `10:00`, `10:00:30`; not `10` and not `1000`, which may be anything.
fn time_of_day(text: &str) -> Option<Time> {
    let starts = text
        .split_once(':')
        .is_some_and(|(hour, _)| (1..=2).contains(&hour.len()) && hour.bytes().all(|byte| byte.is_ascii_digit()));
    if !starts {
        return None;
    }
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    padded.parse().ok()
}

/// `10:00`, and no more than what is needed.
fn shortest(time: Time) -> String {
    if time.second() == 0 && time.subsec_nanosecond() == 0 { time.strftime("%H:%M").to_string() } else { time.to_string() }
}

fn zone_name(zone: &TimeZone, at: Timestamp) -> String {
    zone.iana_name().map_or_else(|| zone.to_offset(at).to_string(), str::to_owned)
}

/// `2024-03-31T03:30:00+02:00`: a form that this module reads, in the zone's own time.
fn rfc3339(instant: Timestamp, zone: &TimeZone) -> String {
    instant.display_with_offset(zone.to_offset(instant)).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    const NOW: &str = "2024-05-02T03:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn in_berlin(given: &str) -> Result<RecoveryTarget, TargetError> {
        resolve(given, Some(&zone("Europe/Berlin")), at(NOW))
    }

    #[test]
    fn what_people_write_is_understood() {
        for (given, expected) in [
            ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
            (" 2024-05-01 10:00Z ", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00:00.5Z", "2024-05-01T10:00:00.5Z"),
            ("2024-05-01T10:00+02:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00:30", "2024-05-01T08:00:30Z"),
            ("2024-05-01 10:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01 10:00[America/New_York]", "2024-05-01T14:00:00Z"),
            ("2024-05-01T10:00-04:00[America/New_York]", "2024-05-01T14:00:00Z"),
            ("2024-05-01T10:00Z[America/New_York]", "2024-05-01T10:00:00Z"),
            ("now", NOW),
            ("-2h", "2024-05-02T01:00:00Z"),
            ("2h ago", "2024-05-02T01:00:00Z"),
            ("2 hours ago", "2024-05-02T01:00:00Z"),
            ("-1h30m", "2024-05-02T01:30:00Z"),
            ("-90m", "2024-05-02T01:30:00Z"),
            ("-PT90M", "2024-05-02T01:30:00Z"),
            ("-1d", "2024-05-01T03:00:00Z"),
            ("yesterday 10:00", "2024-05-01T08:00:00Z"),
            ("Yesterday 9:30", "2024-05-01T07:30:00Z"),
            ("today 04:59:59", "2024-05-02T02:59:59Z"),
        ] {
            let target = in_berlin(given).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(target.instant, at(expected), "{given}");
            assert_eq!(target.as_given, given.trim());
        }
    }

    #[test]
    fn what_is_shown_has_both_the_civil_time_and_the_instant() {
        let shown = |given: &str| in_berlin(given).unwrap().to_string();
        assert_eq!(shown("2024-05-01T10:00"), "2024-05-01 10:00 Europe/Berlin = 2024-05-01T08:00:00Z");
        assert_eq!(shown("2024-05-01T08:00:30Z"), "2024-05-01 10:00:30 Europe/Berlin = 2024-05-01T08:00:30Z");
        assert_eq!(shown("2024-05-01T10:00[America/New_York]"), "2024-05-01 10:00 America/New_York = 2024-05-01T14:00:00Z");
        assert_eq!(resolve("2024-05-01T10:00:00Z", None, at(NOW)).unwrap().to_string(), "2024-05-01T10:00:00Z");
    }

    #[test]
    fn a_civil_time_without_a_zone_is_refused_naming_the_flag() {
        for (given, instead) in [
            ("2024-05-01T10:00", Some("or write `2024-05-01T10:00Z`")),
            ("yesterday 10:00", None),
            ("-1d", Some("or write `-24h`")),
            ("-1w 1d", Some("or write `-192h`")),
            ("-1mo", None),
        ] {
            let error = resolve(given, None, at(NOW)).unwrap_err();
            assert_eq!(error.to_string(), format!("`{given}` has no time zone, and none is configured"));
            let hints = error.hints();
            assert!(hints[0].contains("--time-zone"), "{hints:?}");
            assert_eq!(hints.get(1).map(String::as_str), instead, "{given}");
        }
        for given in ["2024-05-01T10:00Z", "2024-05-01T10:00[UTC]", "-2h", "now"] {
            assert!(resolve(given, None, at(NOW)).is_ok(), "{given}");
        }
    }

    #[test]
    fn a_time_that_never_happened_is_refused_with_both_instants_it_may_mean() {
        let error = in_berlin("2024-03-31T02:30").unwrap_err();
        assert_eq!(error.to_string(), "`2024-03-31T02:30` never happened in Europe/Berlin: clocks were set forward over it");
        assert_eq!(
            error.hints(),
            [
                "write `2024-03-31T01:30:00+01:00` for as long before the clocks were set forward",
                "write `2024-03-31T03:30:00+02:00` for as long after",
            ]
        );
    }

    #[test]
    fn a_time_that_happened_twice_is_refused_with_both_instants() {
        let error = in_berlin("2023-10-29 02:30").unwrap_err();
        assert_eq!(error.to_string(), "`2023-10-29 02:30` happened twice in Europe/Berlin: clocks were set back");
        assert_eq!(
            error.hints(),
            ["write `2023-10-29T02:30:00+02:00` for the first time", "write `2023-10-29T02:30:00+01:00` for the second time"]
        );
    }

    #[test]
    fn what_is_no_instant_is_refused_with_what_to_write() {
        for (given, error, hint) in [
            ("2024-05-01", "`2024-05-01` is a day, not an instant", "write `2024-05-01T00:00` for its beginning"),
            ("10:00", "`10:00` does not say on which day", "write `today 10:00`, `yesterday 10:00`, or the date"),
            (
                "2h",
                "`2h` is in the future: it is 2024-05-02T05:00:00Z, and now is 2024-05-02T03:00:00Z",
                "a recovery goes back: `-2h` is two hours ago",
            ),
            (
                "2024-05-01T10:00[Mars/Olympus]",
                "`2024-05-01T10:00[Mars/Olympus]` names a time zone that does not exist",
                "zones are named like `Europe/Berlin` or `UTC`",
            ),
            (
                "2024-05-01T10:00+05:00[Europe/Berlin]",
                "`2024-05-01T10:00+05:00[Europe/Berlin]` contradicts itself: Europe/Berlin is at +02 then",
                "leave out the offset or the zone",
            ),
        ] {
            let refused = in_berlin(given).unwrap_err();
            assert_eq!(refused.to_string(), error);
            assert_eq!(refused.hints()[0], hint);
        }
        for given in [
            "",
            "  ",
            "soon",
            "yesterday",
            "today at ten",
            "2024-13-01T10:00",
            "2024-02-30T10:00",
            "1714557600",
            "01.05.2024 10:00",
            "05/01/2024",
        ] {
            assert_eq!(in_berlin(given).unwrap_err(), TargetError::Unreadable { given: given.trim().to_owned() });
        }
        for given in ["1950-01-01T00:00Z", "-90y"] {
            assert_eq!(in_berlin(given).unwrap_err(), TargetError::OutOfRange { given: given.to_owned() });
        }
    }

    #[test]
    fn a_day_ago_is_the_same_time_of_the_day_before_even_if_clocks_were_set() {
        let monday = at("2024-03-31T16:00:00Z");
        let target = resolve("-1d", Some(&zone("Europe/Berlin")), monday).unwrap();
        assert_eq!(target.to_string(), "2024-03-30 18:00 Europe/Berlin = 2024-03-30T17:00:00Z");
    }

    fn any_zone() -> impl Strategy<Value = TimeZone> {
        // Half an hour (Lord Howe), across midnight (Beirut), a day that never was (Apia), behind UTC, and none at all.
        let names =
            ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia", "Asia/Kathmandu"];
        proptest::sample::select(names.to_vec()).prop_map(zone)
    }

    proptest! {
        #[test]
        fn a_civil_time_means_the_instant_that_shows_it_or_is_refused_with_two_that_work(
            zone in any_zone(), minute in 16_000_000i64..28_000_000,
        ) {
            let civil = TimeZone::UTC.to_datetime(Timestamp::from_second(minute * 60).unwrap());
            let given = civil.strftime("%Y-%m-%dT%H:%M").to_string();
            let showing = |instant: Timestamp| zone.to_datetime(instant) == civil;
            match resolve(&given, Some(&zone), at(NOW)) {
                Ok(target) => {
                    prop_assert!(showing(target.instant));
                    // And no other one does.
                    for minutes in (-1_560..=1_560).filter(|minutes| *minutes != 0) {
                        prop_assert!(!showing(target.instant + SignedDuration::from_mins(minutes)));
                    }
                }
                Err(TargetError::Twice { candidates: [first, second], .. }) => {
                    let [first, second] = [first, second].map(|text| resolve(&text, None, at(NOW)).unwrap().instant);
                    prop_assert!(first < second && showing(first) && showing(second));
                }
                Err(TargetError::Never { candidates: [before, after], .. }) => {
                    let [before, after] = [before, after].map(|text| resolve(&text, None, at(NOW)).unwrap().instant);
                    prop_assert!(before < after && zone.to_datetime(before) < civil && zone.to_datetime(after) > civil);
                }
                Err(TargetError::Future { instant, .. }) => prop_assert!(showing(instant) && instant > at(NOW)),
                Err(error) => prop_assert!(false, "{given}: {error}"),
            }
        }

        #[test]
        fn an_instant_is_understood_as_itself_in_any_zone(zone in any_zone(), second in 0i64..1_714_000_000) {
            let instant = Timestamp::from_second(second).unwrap();
            for given in [instant.to_string(), rfc3339(instant, &zone)] {
                // Offsets with seconds, which RFC 3339 cannot say, ended before 1980 in these zones.
                if second > 400_000_000 {
                    prop_assert_eq!(resolve(&given, Some(&zone), at(NOW)).unwrap().instant, instant);
                }
            }
        }

        #[test]
        fn any_text_gets_an_instant_or_a_reason(text in "\\PC{0,40}") {
            if let Err(error) = in_berlin(&text) {
                prop_assert!(!error.hints().is_empty());
            }
        }
    }
}
