//! Why something that a machine wrote cannot be understood.

use std::io;

/// What is wrong with an object of a store. Which object it is, the caller knows.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Not JSON, or not of the expected shape.
    #[error("the {what} is not as expected")]
    Json {
        /// `recovery point manifest`
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// Not gzip, cut off, or damaged.
    #[error("the {what} cannot be decompressed")]
    Compression {
        /// `resource list`
        what: &'static str,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// More than any such object has.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// `backup metadata`
        what: &'static str,
        /// How many bytes are read.
        limit: u64,
    },
    /// Something else altogether.
    #[error("the {what} says that it is {found}, not {expected}")]
    Kind {
        /// `journal entry`
        what: &'static str,
        /// What it says.
        found: String,
        /// What was looked for.
        expected: String,
    },
    /// Written by a later version of dxdr, in a way that this one must not guess at.
    #[error("the {what} comes from the future: it has version {found}, and this dxdr ({program}) reads {supported}", program = env!("CARGO_PKG_VERSION"))]
    Future {
        /// `recovery point manifest`
        what: &'static str,
        /// `dxdr.io/v2`
        found: String,
        /// `dxdr.io/v1`
        supported: &'static str,
    },
    /// A field that cannot be what it is.
    #[error("the {what} has {found:?} in `{field}`: {problem}")]
    Field {
        /// `recovery point manifest`
        what: &'static str,
        /// `spec.environment`
        field: &'static str,
        /// What stands there.
        found: String,
        /// Why that cannot be.
        problem: String,
    },
}

impl FormatError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Future { .. } => "upgrade dxdr: an older one would have to guess what the newer one meant",
            Self::Json { .. } | Self::Kind { .. } | Self::Field { .. } => {
                "find out who wrote it; dxdr and Velero write nothing like it"
            }
            Self::Compression { .. } => {
                "fetch it again; if it stays damaged, restore it from the store's own versions or use another point"
            }
            Self::TooLarge { .. } => "find out who wrote it: no environment makes one that large",
        }
    }
}
