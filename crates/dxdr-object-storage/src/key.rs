//! Which keys every store takes. Stricter than S3: a key that one store takes, all take.

/// The longest key, in bytes: S3's limit.
pub const LONGEST_KEY: usize = 1024;

/// The longest segment between two slashes, in bytes: the limit of the usual file systems.
pub const LONGEST_SEGMENT: usize = 255;

/// Top-level name that [`crate::DirectoryStorage`] keeps for objects that are still being written; refused by every store,
/// so that a bucket can be copied into a directory.
pub const RESERVED_SEGMENT: &str = ".dxdr-incoming";

/// Why a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Empty keys name nothing.
    #[error("the key is empty")]
    Empty,
    /// A leading, trailing or doubled slash.
    #[error("the key has an empty segment (a leading, trailing or doubled slash)")]
    EmptySegment,
    /// `.` or `..`, which file systems read as directions.
    #[error("the key has the segment `{0}`")]
    Dots(String),
    /// Control characters cannot be listed in XML.
    #[error("the key has a control character at byte {0}")]
    Control(usize),
    /// Some servers read `\\` as `/`.
    #[error("the key has a backslash at byte {0}, which some servers read as a slash")]
    Backslash(usize),
    /// Longer than [`LONGEST_KEY`].
    #[error("the key has {0} bytes, and {LONGEST_KEY} is the most")]
    TooLong(usize),
    /// A segment longer than [`LONGEST_SEGMENT`].
    #[error("the key has a segment of {0} bytes, and {LONGEST_SEGMENT} is the most")]
    SegmentTooLong(usize),
    /// [`RESERVED_SEGMENT`] at the front.
    #[error("keys below `{RESERVED_SEGMENT}/` are reserved")]
    Reserved,
}

/// Accepts a key, or says why not.
pub fn validate(key: &str) -> Result<(), KeyProblem> {
    if key.is_empty() {
        return Err(KeyProblem::Empty);
    }
    if key.len() > LONGEST_KEY {
        return Err(KeyProblem::TooLong(key.len()));
    }
    if let Some((position, _)) = key.char_indices().find(|(_, character)| character.is_control()) {
        return Err(KeyProblem::Control(position));
    }
    if let Some(position) = key.find('\\') {
        return Err(KeyProblem::Backslash(position));
    }
    for segment in key.split('/') {
        match segment {
            "" => return Err(KeyProblem::EmptySegment),
            "." | ".." => return Err(KeyProblem::Dots(segment.to_owned())),
            _ if segment.len() > LONGEST_SEGMENT => {
                return Err(KeyProblem::SegmentTooLong(segment.len()));
            }
            _ => {}
        }
    }
    if key.split('/').next() == Some(RESERVED_SEGMENT) {
        return Err(KeyProblem::Reserved);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_and_unicode_keys_are_accepted() {
        for key in ["a", "a/b", "backups/staging-20240501/velero-backup.json", "grüße/день/数 据", "...", "a/.hidden", "-"]
        {
            assert_eq!(validate(key), Ok(()), "{key}");
        }
        assert_eq!(validate("s/".repeat(512).trim_end_matches('/')), Ok(()));
    }

    #[test]
    fn keys_that_leave_the_root_or_cannot_be_listed_are_refused() {
        assert_eq!(validate(""), Err(KeyProblem::Empty));
        for key in ["/a", "a/", "a//b", "/"] {
            assert_eq!(validate(key), Err(KeyProblem::EmptySegment), "{key}");
        }
        for key in ["..", "../a", "a/../b", "a/."] {
            assert!(matches!(validate(key), Err(KeyProblem::Dots(_))), "{key}");
        }
        assert_eq!(validate("a\0b"), Err(KeyProblem::Control(1)));
        assert_eq!(validate("a\nb"), Err(KeyProblem::Control(1)));
        assert_eq!(validate("a\\b"), Err(KeyProblem::Backslash(1)));
        assert_eq!(validate(&"x".repeat(256)), Err(KeyProblem::SegmentTooLong(256)));
        assert_eq!(validate(&"xyz/".repeat(300)), Err(KeyProblem::TooLong(1200)));
        assert_eq!(validate(".dxdr-incoming/1"), Err(KeyProblem::Reserved));
    }
}
