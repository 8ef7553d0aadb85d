//! The first thing that a reader looks at: what this is, and in which version it was written.

use serde::Deserialize;

use crate::FormatError;

/// What this dxdr writes, and the newest that it reads.
pub(crate) const API_VERSION: &str = "dxdr.io/v1";

/// Says whether `bytes` are a `kind` of a version that is known here.
pub(crate) fn check(what: &'static str, kind: &str, bytes: &[u8]) -> Result<(), FormatError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        api_version: String,
        kind: String,
    }

    let head: Head = serde_json::from_slice(bytes).map_err(|source| FormatError::Json { what, source })?;
    if head.api_version != API_VERSION {
        let major = head.api_version.strip_prefix("dxdr.io/v").and_then(|major| major.parse::<u32>().ok());
        return Err(match major {
            Some(major) if major > 1 => FormatError::Future { what, found: head.api_version, supported: API_VERSION },
            _ => FormatError::Kind { what, found: format!("of {:?}", head.api_version), expected: format!("of {API_VERSION:?}") },
        });
    }
    if head.kind != kind {
        return Err(FormatError::Kind { what, found: format!("{:?}", head.kind), expected: format!("{kind:?}") });
    }
    Ok(())
}
