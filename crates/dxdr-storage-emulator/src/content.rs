//! The bytes of an object, in the pieces in which they came.

use std::ops::Range;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

/// Bytes in pieces; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pieces: Vec<Bytes>,
    length: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.length += bytes.len() as u64;
            self.pieces.push(bytes);
        }
    }

    /// Appends another one's bytes.
    pub(crate) fn append(&mut self, other: &Self) {
        self.pieces.extend(other.pieces.iter().cloned());
        self.length += other.length;
    }

    /// Keeps this many bytes.
    pub(crate) fn truncate(&mut self, length: u64) {
        if length < self.length {
            *self = Self { pieces: self.range(0..length), length };
        }
    }

    /// The pieces of a range, which lies within.
    pub(crate) fn range(&self, range: Range<u64>) -> Vec<Bytes> {
        let mut found = Vec::new();
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len() as u64;
            if end > range.start && start < range.end {
                // Both within the piece, whose length is a `usize`.
                let from = range.start.saturating_sub(start) as usize;
                let to = (range.end.min(end) - start) as usize;
                found.push(piece.slice(from..to));
            }
            start = end;
        }
        found
    }

    /// Flips a byte.
    pub(crate) fn damage(&mut self, position: u64) -> bool {
        if position >= self.length {
            return false;
        }
        let mut damaged = Self::default();
        for piece in self.range(0..position) {
            damaged.push(piece);
        }
        for piece in self.range(position..position + 1) {
            damaged.push(piece.iter().map(|byte| !byte).collect::<Vec<_>>().into());
        }
        for piece in self.range(position + 1..self.length) {
            damaged.push(piece);
        }
        *self = damaged;
        true
    }

    pub(crate) fn crc32c(&self) -> u32 {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        for piece in &self.pieces {
            digest.update(piece);
        }
        // A checksum of 32 bits in a wider integer.
        digest.finalize() as u32
    }

    pub(crate) fn md5(&self) -> [u8; 16] {
        let mut context = md5::Context::new();
        for piece in &self.pieces {
            context.consume(piece);
        }
        context.finalize().0
    }
}

/// As in `x-goog-hash` and in the JSON of objects: base64 of the big-endian bytes.
pub(crate) fn crc32c_text(checksum: u32) -> String {
    BASE64_STANDARD.encode(checksum.to_be_bytes())
}

pub(crate) fn md5_text(digest: [u8; 16]) -> String {
    BASE64_STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(pieces: &[&'static str]) -> Content {
        let mut content = Content::default();
        for piece in pieces {
            content.push(Bytes::from_static(piece.as_bytes()));
        }
        content
    }

    fn text(pieces: &[Bytes]) -> String {
        pieces.iter().map(|piece| String::from_utf8(piece.to_vec()).unwrap()).collect()
    }

    #[test]
    fn ranges_are_cut_out_of_the_pieces() {
        let content = content(&["abc", "", "d", "efgh"]);
        assert_eq!(content.len(), 8);
        for start in 0..8 {
            for end in start..=8 {
                assert_eq!(text(&content.range(start..end)), "abcdefgh"[start as usize..end as usize], "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_truncated_content_is_shorter() {
        let mut content = content(&["abc", "def"]);
        content.truncate(4);
        assert_eq!((content.len(), text(&content.range(0..4))), (4, "abcd".to_owned()));
        content.truncate(9);
        assert_eq!(content.len(), 4);
    }

    #[test]
    fn checksums_are_those_of_the_whole() {
        let content = content(&["12345", "6789"]);
        assert_eq!(crc32c_text(content.crc32c()), "4waSgw==");
        assert_eq!(md5_text(content.md5()), "JfnnlDI7RTiF9RgfG2JNCw==");
    }
}
