//! Numbers as people read them.

use jiff::{SignedDuration, Timestamp};

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `3d4h`, `5m10s`, `0.4s`: the two largest units that say something.
pub fn duration(duration: SignedDuration) -> String {
    let milliseconds = duration.as_millis().unsigned_abs();
    let sign = if duration.is_negative() { "-" } else { "" };
    if milliseconds < 10_000 {
        return format!("{sign}{:.1}s", milliseconds as f64 / 1000.0);
    }
    let seconds = milliseconds / 1000;
    let (days, hours, minutes, rest) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")];
    let first = parts.iter().position(|(value, _)| *value > 0).unwrap_or(3);
    let said: String =
        parts.iter().skip(first).take(2).filter(|(value, _)| *value > 0).map(|(value, unit)| format!("{value}{unit}")).collect();
    format!("{sign}{said}")
}

/// As [`duration`], and never less than it is: of what is left away, something is added.
pub fn at_most(exact: SignedDuration) -> String {
    let nanoseconds = exact.as_nanos().max(0);
    let tenths = 100_000_000;
    let unit = [(10, tenths), (3_600, tenths * 10), (86_400, tenths * 600)];
    let unit =
        unit.into_iter().find(|(seconds, _)| nanoseconds < seconds * tenths * 10).map_or(tenths * 36_000, |(_, unit)| unit);
    let rounded = i64::try_from((nanoseconds + unit - 1) / unit * unit / 1_000_000).unwrap_or(i64::MAX);
    duration(SignedDuration::from_millis(rounded))
}

/// Whole seconds, and never less than it is.
pub fn seconds_at_most(exact: SignedDuration) -> i64 {
    exact.as_secs().saturating_add(i64::from(exact.subsec_nanos() > 0))
}

/// An instant in UTC, to the millisecond, which is what points have: `2024-05-01T10:00:00.250Z`. Written this way, `--at` finds it.
pub fn instant(at: Timestamp) -> String {
    if at.subsec_nanosecond() == 0 { format!("{at:.0}") } else { format!("{at:.3}") }
}

/// `1 object`, `2 objects`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_shows_its_two_largest_units() {
        assert_eq!(duration(SignedDuration::from_secs(3 * 86_400 + 4 * 3_600 + 59)), "3d4h");
        assert_eq!(duration(SignedDuration::from_secs(310)), "5m10s");
        assert_eq!(duration(SignedDuration::from_millis(420)), "0.4s");
        assert_eq!(duration(SignedDuration::from_secs(-3_600)), "-1h");
    }

    #[test]
    fn what_is_at_most_so_much_is_never_said_to_be_less() {
        let said = |seconds, nanoseconds| at_most(SignedDuration::new(seconds, nanoseconds));
        assert_eq!(said(0, 0), "0.0s");
        assert_eq!(said(0, 1), "0.1s");
        assert_eq!(said(9, 900_000_001), "10s");
        assert_eq!(said(10, 0), "10s");
        assert_eq!(said(70, 1), "1m11s");
        assert_eq!(said(3_600, 0), "1h");
        assert_eq!(said(3_601, 0), "1h1m");
        assert_eq!(said(86_400 + 1, 0), "1d1h");
        assert_eq!(seconds_at_most(SignedDuration::new(3, 0)), 3);
        assert_eq!(seconds_at_most(SignedDuration::new(3, 1)), 4);
    }

    #[test]
    fn bytes_keep_one_digit_behind_the_point() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }
}
