//! The tar file inside, entry after entry: its headers understood, its paths made harmless, its limits kept.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{
    error::ArchiveError,
    header::{BLOCK, Block, Header, Kind, padding},
    limits::{Limits, RATIO_FROM},
};

/// Read from the source, and decompressed, in pieces of this size.
const PIECE: usize = 64 << 10;
/// PAX records and GNU's long names of one entry: a path and some times.
const LARGEST_EXTENSION: u64 = 64 << 10;
/// What an error shows of a path.
const SHOWN: usize = 200;

/// One entry whose content comes next.
#[derive(Debug)]
pub(super) struct TapeEntry {
    /// Without empty, `.` and `..` components; empty for the top directory.
    pub(super) path: String,
    pub(super) directory: bool,
    pub(super) size: u64,
}

/// A tar.gz being read.
pub(super) struct Tape<R> {
    content: BufReader<MultiGzDecoder<BufReader<Counting<R>>>>,
    limits: Limits,
    /// Decompressed bytes consumed.
    after: u64,
    entries: u64,
    ended: bool,
}

impl<R: Read> Tape<R> {
    /// The tape, and what is wrong with its first bytes.
    pub(super) fn open(source: R, limits: Limits) -> (Self, Option<ArchiveError>) {
        let mut source = BufReader::with_capacity(PIECE, Counting { inner: source, count: 0, failed: false });
        let problem = match source.fill_buf() {
            Err(error) => Some(ArchiveError::Read { after: 0, source: error }),
            Ok(start) => not_gzip(start).map(|found| ArchiveError::NotGzip { found }),
        };
        let content = BufReader::with_capacity(PIECE, MultiGzDecoder::new(source));
        (Self { content, limits, after: 0, entries: 0, ended: false }, problem)
    }

    pub(super) fn into_inner(self) -> R {
        self.content.into_inner().into_inner().into_inner().inner
    }

    /// The next file or directory; `None` behind the end mark, when the source was read to its end and all checksums are right.
    pub(super) fn next(&mut self) -> Result<Option<TapeEntry>, ArchiveError> {
        if self.ended {
            return Ok(None);
        }
        let mut path = None;
        let mut size = None;
        loop {
            let mut block: Block = [0; BLOCK];
            if self.fill(&mut block)? < BLOCK {
                return Err(ArchiveError::Truncated { within: "a header, before its end mark".to_owned() });
            }
            if block == [0; BLOCK] {
                self.end()?;
                self.ended = true;
                return Ok(None);
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(ArchiveError::Limit { what: "entries", limit: self.limits.entries, entry: None });
            }
            let header = Header::parse(&block).map_err(|problem| self.bad(problem))?;
            match header.kind {
                Kind::Extended => {
                    let records = self.extension(header.size)?;
                    let found = Records::parse(&records).map_err(|problem| self.bad(problem))?;
                    path = found.path.or(path);
                    size = found.size.or(size);
                }
                Kind::Global => {
                    let records = self.extension(header.size)?;
                    let found = Records::parse(&records).map_err(|problem| self.bad(problem))?;
                    if found.path.is_some() || found.size.is_some() {
                        return Err(self.bad("it gives one path or size to all that follow"));
                    }
                }
                Kind::LongPath => {
                    let mut name = self.extension(header.size)?;
                    while name.last() == Some(&0) {
                        name.pop();
                    }
                    path = Some(name);
                }
                Kind::LongLink => drop(self.extension(header.size)?),
                Kind::File | Kind::Directory | Kind::Forbidden(_) | Kind::Unknown(_) => {
                    return self.entry(header.kind, &path.unwrap_or(header.path), size.unwrap_or(header.size)).map(Some);
                }
            }
        }
    }

    /// Reads the content of the entry that came last.
    pub(super) fn read(&mut self, entry: &TapeEntry, into: &mut Vec<u8>) -> Result<(), ArchiveError> {
        let limit = self.limits.entry_bytes;
        let size = usize::try_from(entry.size).ok().filter(|_| entry.size <= limit);
        let Some(size) = size else {
            return Err(ArchiveError::Limit { what: "bytes of one object", limit, entry: Some(shown(entry.path.as_bytes())) });
        };
        into.resize(size, 0);
        if self.fill(into)? < size {
            return Err(ArchiveError::Truncated { within: entry.path.clone() });
        }
        self.padding(entry)
    }

    /// Passes over the content of the entry that came last.
    pub(super) fn skip(&mut self, entry: &TapeEntry) -> Result<(), ArchiveError> {
        let mut scratch = [0; 4096];
        let mut left = entry.size;
        while left > 0 {
            // The smaller of the two fits.
            let piece = left.min(scratch.len() as u64) as usize;
            if self.fill(&mut scratch[..piece])? < piece {
                return Err(ArchiveError::Truncated { within: entry.path.clone() });
            }
            left -= piece as u64;
        }
        self.padding(entry)
    }

    /// An error about the header that came last.
    fn bad(&self, problem: impl Into<String>) -> ArchiveError {
        ArchiveError::Header { number: self.entries, problem: problem.into() }
    }

    fn entry(&self, kind: Kind, path: &[u8], size: u64) -> Result<TapeEntry, ArchiveError> {
        match kind {
            Kind::Forbidden(what) => {
                return Err(ArchiveError::Forbidden { path: shown(path), kind: what.to_owned() });
            }
            Kind::Unknown(byte) => {
                let kind = format!("an entry of unknown type {:?}", char::from(byte));
                return Err(ArchiveError::Forbidden { path: shown(path), kind });
            }
            _ => {}
        }
        if path.len() as u64 > self.limits.path_bytes {
            let limit = self.limits.path_bytes;
            return Err(ArchiveError::Limit { what: "bytes of a path", limit, entry: Some(shown(path)) });
        }
        if size > self.limits.total_bytes.saturating_sub(self.after) {
            return Err(self.too_much(Some(shown(path))));
        }
        // Before there was a type for directories, their names ended in a slash.
        let directory = kind == Kind::Directory || path.ends_with(b"/");
        if directory && size > 0 {
            return Err(self.bad("it is of a directory with content"));
        }
        let path = harmless(path)?;
        if path.is_empty() && !directory {
            return Err(self.bad("it has no path"));
        }
        Ok(TapeEntry { path, directory, size })
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ArchiveError> {
        if size > LARGEST_EXTENSION {
            return Err(self.bad(format!("its extension has {size} bytes")));
        }
        let mut bytes = Vec::new();
        let entry = TapeEntry { path: "an extended header".to_owned(), directory: false, size };
        // At most 64 KiB, whatever the limit for objects.
        bytes.resize(usize::try_from(size).unwrap_or(0), 0);
        if self.fill(&mut bytes)? < bytes.len() {
            return Err(ArchiveError::Truncated { within: entry.path });
        }
        self.padding(&entry)?;
        Ok(bytes)
    }

    fn padding(&mut self, entry: &TapeEntry) -> Result<(), ArchiveError> {
        let mut block = [0; BLOCK];
        let padding = padding(entry.size);
        if self.fill(&mut block[..padding])? < padding {
            return Err(ArchiveError::Truncated { within: entry.path.clone() });
        }
        Ok(())
    }

    /// One block of zeros was read: another one must follow, and nothing but zeros behind it.
    fn end(&mut self) -> Result<(), ArchiveError> {
        let mut block: Block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Err(ArchiveError::Truncated { within: "its end mark".to_owned() });
        }
        loop {
            if block != [0; BLOCK] {
                return Err(ArchiveError::Trailing);
            }
            // Reading on is what makes the decompressor compare its checksum.
            match self.fill(&mut block)? {
                0 => return Ok(()),
                BLOCK => {}
                rest => block[rest..].fill(0),
            }
        }
    }

    /// Reads until `into` is full or the content ends, and says how much that was.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.content.read(&mut into[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
        self.after += filled as u64;
        let compressed = self.source().count.max(1);
        if self.after > self.limits.total_bytes {
            return Err(self.too_much(None));
        }
        if self.after > RATIO_FROM && self.after / compressed > self.limits.ratio {
            let limit = self.limits.ratio;
            return Err(ArchiveError::Limit { what: "bytes of content for each compressed byte", limit, entry: None });
        }
        Ok(filled)
    }

    fn too_much(&self, entry: Option<String>) -> ArchiveError {
        ArchiveError::Limit { what: "bytes of content", limit: self.limits.total_bytes, entry }
    }

    fn failure(&self, source: io::Error) -> ArchiveError {
        let from = self.source();
        if from.failed {
            ArchiveError::Read { after: from.count, source }
        } else {
            ArchiveError::Damaged { after: self.after, source }
        }
    }

    fn source(&self) -> &Counting<R> {
        self.content.get_ref().get_ref().get_ref()
    }
}

/// Counts what is read, and remembers whether the source itself failed: the decompressor's errors look the same.
pub(super) struct Counting<R> {
    inner: R,
    count: u64,
    failed: bool,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(into) {
            Ok(count) => {
                self.count += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}

/// What PAX records say that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Records {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Records {
    fn parse(mut bytes: &[u8]) -> Result<Self, &'static str> {
        let mut records = Self::default();
        while !bytes.is_empty() {
            let blank = bytes.iter().position(|&byte| byte == b' ').ok_or("a record of it has no length")?;
            let length: usize = std::str::from_utf8(&bytes[..blank])
                .ok()
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .ok_or("a record of it has no length")?;
            let record = bytes.get(blank + 1..length).ok_or("a record of it is cut off")?;
            let record = record.strip_suffix(b"\n").ok_or("a record of it does not end")?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or("a record of it has no value")?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => records.path = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                    records.size = Some(size.ok_or("its size is not a number")?);
                }
                _ if key.starts_with(b"GNU.sparse.") => return Err("it is of a sparse file"),
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Ok(records)
    }
}

/// A path without empty, `.` and `..` components.
fn harmless(path: &[u8]) -> Result<String, ArchiveError> {
    let refused = |problem| Err(ArchiveError::UnsafePath { path: shown(path), problem });
    let Ok(text) = std::str::from_utf8(path) else {
        return refused("is not UTF-8");
    };
    if text.starts_with('/') {
        return refused("is absolute");
    }
    if text.contains('\0') {
        return refused("has a zero byte in it");
    }
    if text.split('/').all(|component| !matches!(component, "" | "." | "..")) {
        return Ok(text.to_owned());
    }
    let mut components = Vec::new();
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." => return refused("leads upwards"),
            component => components.push(component),
        }
    }
    Ok(components.join("/"))
}

/// Of a path, what an error shows.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(&path[..path.len().min(SHOWN)]).into_owned();
    if path.len() > SHOWN { text + "…" } else { text }
}

/// What the first bytes are when they are not gzip's.
fn not_gzip(start: &[u8]) -> Option<String> {
    const KNOWN: [(&[u8], &str); 5] = [
        (b"\x28\xb5\x2f\xfd", "zstd's mark"),
        (b"age-encryption.org/", "age's mark: it is encrypted"),
        (b"PK\x03\x04", "a zip file's mark"),
        (b"metadata/", "a path: it is not compressed"),
        (b"resources/", "a path: it is not compressed"),
    ];
    if start.is_empty() {
        return Some("nothing: it is empty".to_owned());
    }
    if b"\x1f\x8b".starts_with(&start[..start.len().min(2)]) {
        return None;
    }
    let known = KNOWN.iter().find(|(mark, _)| start.starts_with(mark)).map(|(_, name)| (*name).to_owned());
    Some(known.unwrap_or_else(|| start.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_harmless_or_refused() {
        assert_eq!(harmless(b"./a//b/./c").unwrap(), "a/b/c");
        assert_eq!(harmless(b"./").unwrap(), "");
        assert_eq!(harmless(b"a/..b/c..").unwrap(), "a/..b/c..");
        for path in [&b"/a"[..], b"..", b"a/../b", b"../a", b"a/b/..", b"a\0b", b"\xff"] {
            assert!(harmless(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn records_are_taken_as_long_as_they_say() {
        let records = Records::parse(b"12 path=a b\n11 size=42\n7 uid=\n").unwrap();
        assert_eq!(records, Records { path: Some(b"a b".to_vec()), size: Some(42) });
        for bad in [
            &b"12 path=ab"[..],
            b"x path=a\n",
            b"0 \n",
            b"+8 a=bc\n",
            b"99999999999999999999999 a=b\n",
            b"5 ab\n",
            b"11 size=4x\n",
        ] {
            assert!(Records::parse(bad).is_err(), "{bad:?}");
        }
    }
}
