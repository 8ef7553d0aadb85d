//! What can be wrong with an archive.

use std::io;

/// Why an archive cannot be read or written. After one of these the reader or writer is spent.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes could not be fetched: nothing is known of the archive itself.
    #[error("cannot read on in the archive after {after} bytes of it")]
    Read {
        /// Compressed bytes that came before.
        after: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bytes could not be handed on.
    #[error("cannot write on at the archive")]
    Write(#[source] io::Error),
    /// It is something else.
    #[error("this is not a gzipped archive: it begins with {found}")]
    NotGzip {
        /// Its first bytes, or that there are none.
        found: String,
    },
    /// Decompression failed: cut off, a flipped bit, or bytes behind the end.
    #[error("the archive is damaged or cut off: decompression failed after {after} bytes of content")]
    Damaged {
        /// Decompressed bytes that came before.
        after: u64,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// The content ends in the middle.
    #[error("the archive is cut off in {within}")]
    Truncated {
        /// An entry's path, or the header or end mark.
        within: String,
    },
    /// A header that no archive may have.
    #[error("entry {number} of the archive has a bad header: {problem}")]
    Header {
        /// Counting from 1.
        number: u64,
        /// What is wrong.
        problem: String,
    },
    /// Something follows the end mark.
    #[error("the archive goes on behind its end mark")]
    Trailing,
    /// A path that leads out of the archive.
    #[error("the archive holds the path {path:?}, which {problem}")]
    UnsafePath {
        /// As it is in the archive, shortened.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An entry that is neither a file nor a directory.
    #[error("the archive holds {kind} at {path:?}")]
    Forbidden {
        /// As it is in the archive.
        path: String,
        /// `a symbolic link`
        kind: String,
    },
    /// One object is there twice, with different content.
    #[error("the archive holds {path:?} twice, with different content")]
    DuplicateEntry {
        /// Of the second one.
        path: String,
    },
    /// More of something than this reader takes.
    #[error("the archive exceeds the limit of {limit} {what}{}", place(.entry))]
    Limit {
        /// `entries`
        what: &'static str,
        /// How many are taken.
        limit: u64,
        /// The entry that is too large, if it is one.
        entry: Option<String>,
    },
    /// `metadata/version` names a format that came later.
    #[error("the archive has format {found}, and this dxdr reads 1")]
    Future {
        /// What it says.
        found: String,
    },
    /// An object that an archive cannot hold.
    #[error("{item} cannot be archived: {problem}")]
    Item {
        /// Which.
        item: String,
        /// Why not.
        problem: &'static str,
    },
    /// An earlier call failed, or the archive was finished.
    #[error("the archive cannot be used any more after an earlier error")]
    Spent,
}

impl ArchiveError {
    /// What to do about it; `None` where the cause says it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read { .. } => "the archive itself may be intact: try again once the store answers",
            Self::Write(_) | Self::Spent => return None,
            Self::NotGzip { .. } => "an encrypted or otherwise compressed file must be opened first; only gzip is read",
            Self::Damaged { .. } | Self::Truncated { .. } | Self::Header { .. } => {
                "fetch the archive again, and compare its SHA-256 with the manifest's; if it is the same, use another recovery point"
            }
            Self::Trailing | Self::UnsafePath { .. } | Self::Forbidden { .. } | Self::DuplicateEntry { .. } => {
                "neither Velero nor dxdr writes such archives: find out where it comes from before restoring from it"
            }
            Self::Limit { .. } => "if the archive is to be trusted, raise the limit",
            Self::Future { .. } => "use a newer dxdr",
            Self::Item { .. } => "no Kubernetes API server accepts such an object: find out what answered the list",
        })
    }
}

fn place(entry: &Option<String>) -> String {
    entry.as_ref().map(|entry| format!(" at {entry:?}")).unwrap_or_default()
}
