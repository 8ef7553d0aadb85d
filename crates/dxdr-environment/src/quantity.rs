//! Kubernetes quantities: `500m`, `0.5`, `32Gi`, `1e3`. Two texts of one amount are equal.

use std::{cmp::Ordering, fmt};

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a quantity: {reason}")]
pub struct InvalidQuantity {
    /// The text as it was given.
    pub given: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// An amount of something, as the Kubernetes API writes it. Compared by value; shown as it was written.
#[derive(Clone)]
pub struct Quantity {
    text: String,
    nanos: i128,
    binary: bool,
}

const NANOS: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;

/// Decimal suffixes with their exponent of ten, largest first.
const DECIMAL: [(&str, i32); 10] =
    [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9)];
/// Binary suffixes with their exponent of two, largest first.
const BINARY: [(&str, u32); 6] = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];

impl Quantity {
    /// Reads a quantity by the grammar of the Kubernetes API. Amounts below a billionth are rounded up, as the API does; amounts
    /// of 2⁶³ and more, which the API caps, are refused.
    pub fn parse(given: &str) -> Result<Self, InvalidQuantity> {
        let refuse = |reason| InvalidQuantity { given: given.to_owned(), reason };
        let digits_end = given
            .char_indices()
            .find(|(index, character)| {
                !(character.is_ascii_digit() || *character == '.' || (*index == 0 && "+-".contains(*character)))
            })
            .map_or(given.len(), |(index, _)| index);
        let (number, suffix) = given.split_at(digits_end);
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(refuse("it must start with a decimal number"));
        }
        // 28 digits hold every amount below 2⁶³, in billionths too; more could only overflow below.
        if whole.trim_start_matches('0').len() > 28 || fraction.len() > 30 {
            return Err(refuse("it has too many digits"));
        }
        let (multiplier, binary) = multiplier(suffix).ok_or_else(|| {
            refuse("the suffix must be one of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or an exponent as in 1e3")
        })?;
        let nanos = amount(whole, fraction, multiplier).filter(|nanos| *nanos <= i128::from(i64::MAX) * NANOS);
        let nanos = nanos.ok_or_else(|| refuse("it is larger than the API can hold"))?;
        Ok(Self { text: given.to_owned(), nanos: if negative { -nanos } else { nanos }, binary })
    }

    /// The amount in billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it counts whole things, as everything but processor time must.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANOS == 0
    }

    /// `factor` times the amount, rounded up: to thousandths when `fractional`, to whole units otherwise. Never below one step for
    /// an amount above zero.
    #[must_use]
    pub fn scaled(&self, factor: QuotaScale, fractional: bool) -> Self {
        let step = if fractional { MILLI } else { NANOS };
        let exact = self.nanos.saturating_mul(i128::from(factor.millionths));
        let divisor = step * 1_000_000;
        let steps = exact.div_euclid(divisor) + i128::from(exact.rem_euclid(divisor) != 0);
        let nanos = steps.saturating_mul(step);
        Self { text: canonical_text(nanos, self.binary), nanos, binary: self.binary }
    }
}

/// Numerator and denominator of what one unit of `suffix` is worth, and whether it is a power of two.
fn multiplier(suffix: &str) -> Option<((i128, i128), bool)> {
    if let Some((_, exponent)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some(((1_i128 << exponent, 1), true));
    }
    let exponent = match DECIMAL.iter().find(|(name, _)| *name == suffix) {
        Some((_, exponent)) => *exponent,
        None => suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok().filter(|exponent| (-30..=18).contains(exponent))?,
    };
    let power = 10_i128.pow(exponent.unsigned_abs());
    Some((if exponent < 0 { (1, power) } else { (power, 1) }, false))
}

/// `whole.fraction` × `numerator / denominator`, in billionths, rounded up; `None` when it does not fit.
fn amount(whole: &str, fraction: &str, (numerator, denominator): (i128, i128)) -> Option<i128> {
    // Twelve digits behind the point are exact with every suffix; anything finer only matters for rounding up.
    let (kept, rest) = fraction.split_at(fraction.len().min(12));
    let places = i128::from(10_u32).checked_pow(u32::try_from(kept.len()).ok()?)?;
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let whole = number(whole)?.checked_mul(numerator)?.checked_mul(NANOS)?;
    let part = number(kept)?.checked_mul(numerator)?.checked_mul(NANOS)?;
    let divide = |value: i128, by: i128| (value / by, value % by != 0);
    let (part, part_left) = divide(part, places);
    let (total, left) = divide(whole.checked_add(part)?, denominator);
    let inexact = left || part_left || rest.bytes().any(|digit| digit != b'0');
    Some(total + i128::from(inexact))
}

/// The shortest exact text, with binary suffixes if asked for and possible.
fn canonical_text(nanos: i128, binary: bool) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    if binary && nanos % NANOS == 0 {
        let units = nanos / NANOS;
        if let Some((suffix, exponent)) = BINARY.iter().find(|(_, exponent)| units % (1_i128 << exponent) == 0) {
            return format!("{}{suffix}", units >> exponent);
        }
    }
    for (suffix, exponent) in DECIMAL {
        // Exponents are between -9 and 18, so the shift is between 0 and 27.
        let unit = 10_i128.pow(exponent.unsigned_abs().min(27));
        let unit = if exponent >= 0 { NANOS * unit } else { NANOS / unit };
        if nanos % unit == 0 {
            return format!("{}{suffix}", nanos / unit);
        }
    }
    format!("{nanos}n")
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Quantity({})", self.text)
    }
}

/// A factor above 0 and at most 100, exact to millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaScale {
    millionths: u64,
}

impl QuotaScale {
    /// Everything as it is.
    pub const ONE: Self = Self { millionths: 1_000_000 };

    /// `None` outside of 0.000001 to 100.
    pub fn new(factor: f64) -> Option<Self> {
        let millionths = (factor * 1e6).round();
        // Within this range the conversion is exact.
        (1.0..=1e8).contains(&millionths).then_some(Self { millionths: millionths as u64 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn two_texts_of_one_amount_are_equal() {
        for (left, right) in [
            ("500m", "0.5"),
            ("1Gi", "1024Mi"),
            ("1e3", "1k"),
            ("1E", "1000P"),
            ("0.5Ki", "512"),
            ("1500000u", "1.5"),
            (".5", "500m"),
            ("5.", "5"),
        ] {
            assert_eq!(quantity(left), quantity(right), "{left} {right}");
        }
        assert_ne!(quantity("1G"), quantity("1Gi"));
        assert!(quantity("1G") < quantity("1Gi"));
    }

    #[test]
    fn what_is_finer_than_a_billionth_is_rounded_up() {
        assert_eq!(quantity("0.1n"), quantity("1n"));
        assert_eq!(quantity("0.0000000011"), quantity("2n"));
    }

    #[test]
    fn a_text_that_is_no_quantity_is_refused_with_the_reason() {
        for text in ["", ".", "Gi", "1GB", "1 Gi", "1..2", "--1", "1e", "1e99", "ten", "9223372036854775808", "16Ei"] {
            assert!(Quantity::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Quantity::parse("32gb").unwrap_err().reason,
            "the suffix must be one of n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or an exponent as in 1e3"
        );
    }

    #[test]
    fn scaling_keeps_the_kind_of_unit_and_rounds_up() {
        let half = QuotaScale::new(0.5).unwrap();
        assert_eq!(quantity("32Gi").scaled(half, false).to_string(), "16Gi");
        assert_eq!(quantity("1Gi").scaled(half, false).to_string(), "512Mi");
        assert_eq!(quantity("5").scaled(half, false).to_string(), "3");
        assert_eq!(quantity("5").scaled(half, true).to_string(), "2500m");
        assert_eq!(quantity("1").scaled(QuotaScale::new(0.01).unwrap(), false).to_string(), "1");
        assert_eq!(quantity("0").scaled(half, false).to_string(), "0");
    }

    proptest! {
        #[test]
        fn the_canonical_text_reads_back_as_the_same_amount(nanos in 0_i128..9_000_000_000_000_000_000_000_000_000, binary: bool) {
            let text = canonical_text(nanos, binary);
            prop_assert_eq!(Quantity::parse(&text).unwrap().nanos(), nanos, "{}", text);
        }

        #[test]
        fn parsing_never_panics(text in "[-+0-9.eEkKMGi]{0,40}") {
            let _ = Quantity::parse(&text);
        }
    }
}
