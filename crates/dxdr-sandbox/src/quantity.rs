//! Amounts of resources.

use serde_json::Value;

/// An amount in thousandths, as Kubernetes quantities are written: `500m`, `1Gi`, `3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Quantity {
    pub(crate) thousandths: i128,
    pub(crate) binary: bool,
}

const BINARY: [(&str, i128); 6] =
    [("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, i128); 6] = [
    ("E", 1_000_000_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Quantity {
    pub(crate) fn count(number: usize) -> Self {
        Self { thousandths: number as i128 * 1000, binary: false }
    }

    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let owned;
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Number(number) => {
                owned = number.to_string();
                &owned
            }
            _ => return None,
        };
        for (suffix, factor) in BINARY {
            if let Some(number) = text.strip_suffix(suffix) {
                return Some(Self { thousandths: scaled(number, factor * 1000)?, binary: true });
            }
        }
        for (suffix, factor) in DECIMAL {
            if let Some(number) = text.strip_suffix(suffix) {
                return Some(Self { thousandths: scaled(number, factor * 1000)?, binary: false });
            }
        }
        if let Some(number) = text.strip_suffix('m') {
            return Some(Self { thousandths: scaled(number, 1)?, binary: false });
        }
        Some(Self { thousandths: scaled(text, 1000)?, binary: false })
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        let binary = if self.thousandths == 0 { other.binary } else { self.binary };
        Self { thousandths: self.thousandths + other.thousandths, binary }
    }
}

fn scaled(number: &str, factor: i128) -> Option<i128> {
    if let Ok(whole) = number.parse::<i128>() {
        return whole.checked_mul(factor);
    }
    let float: f64 = number.parse().ok()?;
    // Amounts with a fraction are small enough for a double.
    Some((float * factor as f64).ceil() as i128)
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.thousandths % 1000 != 0 {
            return write!(f, "{}m", self.thousandths);
        }
        let whole = self.thousandths / 1000;
        let units: &[(&str, i128)] = if self.binary { &BINARY } else { &DECIMAL };
        for (suffix, factor) in units {
            if whole != 0 && whole % factor == 0 {
                return write!(f, "{}{suffix}", whole / factor);
            }
        }
        write!(f, "{whole}")
    }
}
