//! Durations as people write them: `90s`, `30m`, `1h30m`, `7d`. A day is 24 hours.

use jiff::SignedDuration;

/// Units from the longest to the shortest, with their seconds.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads a duration of at least a second; each unit at most once, longest first.
pub(crate) fn parse(text: &str) -> Option<SignedDuration> {
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut seconds: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next()?;
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(*worth)?)?;
        rest = &after[unit.len_utf8()..];
    }
    // A hundred years: what is longer is a slip of the keyboard, and instants must stay computable.
    (1..=3_155_760_000).contains(&seconds).then(|| SignedDuration::from_secs(seconds))
}

/// A duration as people would write it: `1h30m`.
pub(crate) fn written(duration: SignedDuration) -> String {
    let mut seconds = duration.as_secs();
    let mut text = String::new();
    for (unit, worth) in UNITS {
        if seconds >= worth {
            text.push_str(&format!("{}{unit}", seconds / worth));
            seconds %= worth;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{parse, written};

    #[test]
    fn units_stand_once_each_from_the_longest_to_the_shortest() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("7d", 604_800), ("1d12h30m5s", 131_405)] {
            assert_eq!(parse(text).map(|duration| duration.as_secs()), Some(seconds), "{text}");
            assert_eq!(parse(&written(parse(text).unwrap())), parse(text), "{text}");
        }
        for text in
            ["", "1", "h", "0s", "30m1h", "1h1h", "1 h", "-1h", "1.5h", "1w", "1ü", "99999999999999999999d", "99999999d", "1hs"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
