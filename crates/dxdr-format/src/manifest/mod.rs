//! The manifest of a recovery point: `dxdr-manifest.json`, written after everything else. With it the point exists.
//!
//! It is read by every dxdr that comes later and created once; nobody changes one. See the crate's three questions.

mod v1;

use dxdr_catalog::RecoveryPoint;

use crate::{FormatError, version};

pub(crate) const WHAT: &str = "recovery point manifest";
pub(crate) const KIND: &str = "RecoveryPointManifest";
/// Bytes. A point with ten thousand kinds and objects has about 3 MiB.
const LIMIT: u64 = 64 << 20;

/// Indented JSON; the same point makes the same bytes.
pub fn encode(point: &RecoveryPoint) -> Vec<u8> {
    v1::Manifest::from(point).encode()
}

/// Reads a manifest of any version up to ours. Fields that a later minor change added are passed over; a later major version is
/// [`FormatError::Future`].
pub fn decode(bytes: &[u8]) -> Result<RecoveryPoint, FormatError> {
    if bytes.len() as u64 > LIMIT {
        return Err(FormatError::TooLarge { what: WHAT, limit: LIMIT });
    }
    version::check(WHAT, KIND, bytes)?;
    let manifest: v1::Manifest = serde_json::from_slice(bytes).map_err(|source| FormatError::Json { what: WHAT, source })?;
    manifest.try_into()
}
