//! One field of a cron expression: the values it allows.
//!
//! The grammar is what both of Velero's parsers (robfig/cron up to 1.18.2, go-cron from 1.18.3) read alike: `*`, `?`, `a`, `a-b`,
//! `*/n`, `a-b/n`, `a/n`, lists of those, and three-letter names for months and days of the week.

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

/// The values a field allows, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) values: Vec<u8>,
    /// `*` or `?` without a step: says nothing about which days are meant.
    pub(crate) star: bool,
}

/// Reads one field; the error says what is wrong with it, and how to write it instead.
pub(crate) fn parse(text: &str, bounds: Bounds) -> Result<Field, String> {
    let mut allowed = [false; 60];
    let mut star = false;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step, part, bounds)?)),
            None => (part, None),
        };
        if step == Some(0) {
            return Err(format!("`{part}` in the {} never advances: its step is 0", bounds.name));
        }
        let (low, high) = match range {
            "*" | "?" => {
                star |= step.is_none_or(|step| step == 1);
                (bounds.low, bounds.high)
            }
            _ => match range.split_once('-') {
                Some((low, high)) => (value(low, part, bounds)?, value(high, part, bounds)?),
                None => {
                    let low = value(range, part, bounds)?;
                    (low, if step.is_some() { bounds.high } else { low })
                }
            },
        };
        if low > high {
            return Err(format!(
                "`{part}` in the {} wraps around, which Velero's versions read differently; write `{low}-{},{}-{high}`",
                bounds.name, bounds.high, bounds.low
            ));
        }
        // Go-cron refuses a step that leaves only the first value; robfig takes it.
        if let Some(step) = step
            && step > high - low
            && step != 1
        {
            return Err(format!("the step of `{part}` in the {} is larger than its range; write `{low}`", bounds.name));
        }
        for value in (low..=high).step_by(usize::from(step.unwrap_or(1))) {
            allowed[usize::from(value)] = true;
        }
    }
    let values = (bounds.low..=bounds.high).filter(|value| allowed[usize::from(*value)]).collect();
    Ok(Field { values, star })
}

fn value(text: &str, part: &str, bounds: Bounds) -> Result<u8, String> {
    if let Some(position) = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        // Twelve names at most.
        return Ok(bounds.low + position as u8);
    }
    let value = number(text, part, bounds)?;
    if bounds.name == DAY_OF_WEEK.name && value == 7 {
        return Err(format!("`{part}` in the day of week: Velero's versions disagree about 7; write 0 or sun for Sunday"));
    }
    if value < bounds.low || value > bounds.high {
        return Err(format!("`{part}` in the {} is outside of {} to {}", bounds.name, bounds.low, bounds.high));
    }
    Ok(value)
}

fn number(text: &str, part: &str, bounds: Bounds) -> Result<u8, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| format!("`{part}` in the {} is not a number, a range or `*`", bounds.name))
}
