//! How Go writes and reads JSON: `null` for what is empty, times in whole seconds.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Deserializer, Serializer};

/// `null` means the default.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// As `metav1.Time` is written.
pub(super) fn seconds<S: Serializer>(instant: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match instant {
        Some(instant) => serializer.collect_str(
            &instant.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).unwrap_or(*instant),
        ),
        None => serializer.serialize_none(),
    }
}

/// Whether Go's `omitempty` would leave it out.
pub(super) fn zero(count: &u64) -> bool {
    *count == 0
}
