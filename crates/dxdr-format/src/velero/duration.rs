//! Durations as Go prints them: `720h0m0s`.

use jiff::SignedDuration;

/// Whole seconds, never negative.
pub fn encode(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Hours, minutes, seconds and milliseconds, each at most once and in any order; `None` for anything else.
pub fn decode(text: &str) -> Option<SignedDuration> {
    if text == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut rest = text;
    let mut duration = SignedDuration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..end] {
            "h" => SignedDuration::from_secs(3600),
            "m" => SignedDuration::from_secs(60),
            "s" => SignedDuration::from_secs(1),
            "ms" => SignedDuration::from_millis(1),
            _ => return None,
        };
        duration = duration.checked_add(unit.checked_mul(i32::try_from(number).ok()?)?)?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m1s"), (3600, "1h0m0s"), (2_592_000, "720h0m0s")] {
            assert_eq!(encode(SignedDuration::from_secs(seconds)), text);
            assert_eq!(decode(text), Some(SignedDuration::from_secs(seconds)));
        }
        assert_eq!(encode(SignedDuration::from_secs(-5)), "0s");
        assert_eq!(decode("1h30m"), Some(SignedDuration::from_secs(5400)));
        for bad in ["", "5", "h", "1d", "1h-2m", "1.5h", "99999999999999h"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
