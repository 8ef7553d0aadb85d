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
    fn bytes_keep_one_digit_behind_the_point() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
    }
}
