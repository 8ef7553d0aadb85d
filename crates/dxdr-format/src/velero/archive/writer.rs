//! Writing an archive.

use std::{
    fmt,
    io::{BufWriter, Write},
};

use flate2::{GzBuilder, write::GzEncoder};
use jiff::Timestamp;

use super::{
    error::ArchiveError,
    header::{BLOCK, HeaderTemplate, pad},
    item::ItemPath,
};

/// What Velero calls the layout of both styles.
const VERSION: &[u8] = b"1.1.0\n";
/// Two blocks of zeros end a tar file.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Headers and small objects reach the compressor in pieces of this size.
const PIECE: usize = 64 << 10;

/// How hard to compress: 0, not at all, to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression(pub u8);

impl Default for Compression {
    /// 6, as Velero's.
    fn default() -> Self {
        Self(6)
    }
}

/// Writes an archive into `W`, item by item. The same items in the same order, with the same time, make the same bytes.
///
/// Without [`finish`](Self::finish) the archive has no end, and no reader takes it.
pub struct ArchiveWriter<W: Write> {
    target: BufWriter<GzEncoder<W>>,
    template: HeaderTemplate,
    headers: Vec<u8>,
    failed: bool,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive. `modified` becomes the time of all its files: no clock is read here.
    pub fn new(target: W, modified: Timestamp) -> Result<Self, ArchiveError> {
        Self::with_compression(target, modified, Compression::default())
    }

    /// As [`new`](Self::new), at a level of your own.
    pub fn with_compression(target: W, modified: Timestamp, compression: Compression) -> Result<Self, ArchiveError> {
        let level = flate2::Compression::new(u32::from(compression.0.min(9)));
        // 255, unknown, is what Go's writer says of the operating system.
        let encoder = GzBuilder::new().mtime(0).operating_system(255).write(target, level);
        let mut writer = Self {
            target: BufWriter::with_capacity(PIECE, encoder),
            template: HeaderTemplate::new(u64::try_from(modified.as_second()).unwrap_or(0)),
            headers: Vec::with_capacity(4 * BLOCK),
            failed: false,
        };
        writer.file("metadata/version", VERSION)?;
        Ok(writer)
    }

    /// Writes an object, in both styles. `json` is stored as it is; nobody looks into it.
    ///
    /// An object that cannot be archived is refused before anything is written, and the archive can go on without it. After an
    /// [`ArchiveError::Write`] it cannot.
    pub fn append(&mut self, item: &ItemPath, json: &[u8]) -> Result<(), ArchiveError> {
        if self.failed {
            return Err(ArchiveError::Spent);
        }
        let (unversioned, preferred) = item.checked()?;
        self.file(&unversioned, json)?;
        self.file(&preferred, json)
    }

    /// Writes the end, and returns what was written to.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        if self.failed {
            return Err(ArchiveError::Spent);
        }
        self.target.write_all(&END).map_err(ArchiveError::Write)?;
        let encoder = self.target.into_inner().map_err(|error| ArchiveError::Write(error.into_error()))?;
        let mut target = encoder.finish().map_err(ArchiveError::Write)?;
        target.flush().map_err(ArchiveError::Write)?;
        Ok(target)
    }

    fn file(&mut self, path: &str, content: &[u8]) -> Result<(), ArchiveError> {
        let size = content.len() as u64;
        self.headers.clear();
        self.template.append(&mut self.headers, path, size);
        let mut written = self.target.write_all(&self.headers).and_then(|()| self.target.write_all(content));
        if written.is_ok() {
            self.headers.clear();
            pad(&mut self.headers, size);
            written = self.target.write_all(&self.headers);
        }
        self.failed = written.is_err();
        written.map_err(ArchiveError::Write)
    }
}

impl<W: Write> fmt::Debug for ArchiveWriter<W> {
    /// Without what it holds: Secrets may be among it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ArchiveWriter").field("failed", &self.failed).finish_non_exhaustive()
    }
}
