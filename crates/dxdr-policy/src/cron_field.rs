//! One field of a cron expression: the values it allows.
//!
//! The grammar is what both of Velero's parsers (robfig/cron up to 1.18.2, go-cron from 1.18.3) read alike: `*`, `?`, `a`, `a-b`,
//! `*/n`, `a-b/n`, `a/n`, lists of those, and three-letter names for months and days of the week.

use std::fmt;

/// A field's place and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) name: &'static str,
    pub(crate) low: u8,
    pub(crate) high: u8,
    pub(crate) names: &'static [&'static str],
}

pub(crate) const MINUTE: Bounds = Bounds { name: "minute", low: 0, high: 59, names: &[] };
pub(crate) const HOUR: Bounds = Bounds { name: "hour", low: 0, high: 23, names: &[] };
pub(crate) const DAY_OF_MONTH: Bounds = Bounds { name: "day of month", low: 1, high: 31, names: &[] };
pub(crate) const MONTH: Bounds = Bounds {
    name: "month",
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
pub(crate) const DAY_OF_WEEK: Bounds =
    Bounds { name: "day of week", low: 0, high: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Bounds {
    fn is_day_of_week(self) -> bool {
        self.name == DAY_OF_WEEK.name
    }
}

/// The values a field allows, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) values: Vec<u8>,
    /// `*` or `?` without a step: says nothing about which days are meant.
    pub(crate) star: bool,
}

impl Field {
    pub(crate) fn allows(&self, value: i8) -> bool {
        u8::try_from(value).is_ok_and(|value| self.values.binary_search(&value).is_ok())
    }
}

/// A part of a field that cannot be read, or that Velero's versions read differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The part, as given.
    pub part: String,
    /// Which field it stands in.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
    /// What to write in its place, if that is certain.
    pub instead: Option<String>,
}

/// What is wrong with a part of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not a number, a name, a range or a star.
    Unreadable,
    /// Not a value of the field.
    OutOfBounds {
        /// The least value.
        low: u8,
        /// The greatest value.
        high: u8,
    },
    /// A step of 0.
    NoStep,
    /// A step that leaves only the first value: one of Velero's parsers refuses it.
    StepTooLarge,
    /// A range that ends before it begins: one of Velero's parsers refuses it, the other goes around.
    WrapsAround,
    /// 7 as a day of the week: an error in one of Velero's parsers, Sunday in the other.
    Seven,
    /// A step without an end among the days of the week, which in one of Velero's parsers reaches Sunday again.
    ReachesSunday,
}

impl std::error::Error for FieldError {}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, field, fault, instead } = self;
        match fault {
            Fault::Unreadable => write!(formatter, "`{part}` in the {field} is not a number, a range or `*`"),
            Fault::OutOfBounds { low, high } => write!(formatter, "`{part}` in the {field} is outside of {low} to {high}"),
            Fault::NoStep => write!(formatter, "`{part}` in the {field} never advances: its step is 0"),
            Fault::StepTooLarge => write!(formatter, "the step of `{part}` in the {field} is larger than its range"),
            Fault::WrapsAround => {
                write!(formatter, "`{part}` in the {field} wraps around, which Velero's versions read differently")
            }
            Fault::Seven if part == "7" => {
                return write!(
                    formatter,
                    "`{part}` in the {field}: Velero's versions disagree about 7; write 0 or sun for Sunday"
                );
            }
            Fault::Seven => write!(formatter, "`{part}` in the {field}: Velero's versions disagree about 7"),
            Fault::ReachesSunday => {
                write!(formatter, "`{part}` in the {field} reaches Sunday again in some of Velero's versions and not in others")
            }
        }?;
        instead.iter().try_for_each(|instead| write!(formatter, "; write `{instead}`"))
    }
}

/// Reads one field; the error says what is wrong with it, and how to write it instead.
pub(crate) fn parse(text: &str, bounds: Bounds) -> Result<Field, FieldError> {
    let mut allowed = [false; 60];
    let mut star = false;
    for part in text.split(',') {
        let parsed = Part::parse(part, bounds)?;
        star |= parsed.star;
        for value in (parsed.low..=parsed.high).step_by(usize::from(parsed.step)) {
            allowed[usize::from(value)] = true;
        }
    }
    let values = (bounds.low..=bounds.high).filter(|value| allowed[usize::from(*value)]).collect();
    Ok(Field { values, star })
}

/// One part of a list: within bounds, ascending, with a step of 1 or more.
struct Part {
    low: u8,
    high: u8,
    step: u8,
    star: bool,
}

impl Part {
    fn parse(part: &str, bounds: Bounds) -> Result<Self, FieldError> {
        let refuse = |fault, instead: Option<String>| FieldError { part: part.to_owned(), field: bounds.name, fault, instead };
        let unreadable = || refuse(Fault::Unreadable, None);
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).ok_or_else(unreadable)?)),
            None => (part, None),
        };
        if step == Some(0) {
            return Err(refuse(Fault::NoStep, None));
        }
        let advance = step.unwrap_or(1);
        if matches!(range, "*" | "?") {
            if step.is_some_and(|step| step > bounds.high - bounds.low) {
                return Err(refuse(Fault::StepTooLarge, Some(bounds.low.to_string())));
            }
            return Ok(Self { low: bounds.low, high: bounds.high, step: advance, star: advance == 1 });
        }
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (value(low, bounds).ok_or_else(unreadable)?, value(high, bounds).ok_or_else(unreadable)?),
            None => {
                let low = value(range, bounds).ok_or_else(unreadable)?;
                (low, if step.is_some() { bounds.high } else { low })
            }
        };
        if bounds.is_day_of_week() && (low == 7 || high == 7) {
            let instead = (low < 7).then(|| listed((low..=7).step_by(usize::from(advance)).map(|day| day % 7)));
            return Err(refuse(Fault::Seven, instead));
        }
        if [low, high].iter().any(|value| *value < bounds.low || *value > bounds.high) {
            return Err(refuse(Fault::OutOfBounds { low: bounds.low, high: bounds.high }, None));
        }
        if low > high {
            let around = (low..=bounds.high).chain(bounds.low..=high).step_by(usize::from(advance));
            return Err(refuse(Fault::WrapsAround, Some(listed(around))));
        }
        if advance != 1 && advance > high - low {
            return Err(refuse(Fault::StepTooLarge, Some(low.to_string())));
        }
        let open = step.is_some() && !range.contains('-');
        if open && bounds.is_day_of_week() && (7 - low).is_multiple_of(advance) {
            let last = low + (high - low) / advance * advance;
            let instead = if advance == 1 { format!("{low}-{last}") } else { format!("{low}-{last}/{advance}") };
            return Err(refuse(Fault::ReachesSunday, Some(instead)));
        }
        Ok(Self { low, high, step: advance, star: false })
    }
}

/// `0-2,22-23` for the values, whatever their order.
fn listed(values: impl Iterator<Item = u8>) -> String {
    let mut values: Vec<u8> = values.collect();
    values.sort_unstable();
    values.dedup();
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for value in values {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == value => *last = value,
            _ => ranges.push((value, value)),
        }
    }
    let texts = ranges.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

fn value(text: &str, bounds: Bounds) -> Option<u8> {
    let position = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    // Twelve names at most.
    position.map(|position| bounds.low + position as u8).or_else(|| number(text))
}

/// Greater than any value when it is too large for one.
fn number(text: &str) -> Option<u8> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().unwrap_or(u8::MAX))
}
