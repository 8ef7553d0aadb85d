//! One block of a tar file: 512 bytes that say what follows them.
//!
//! Written as Go's `archive/tar` writes: ustar, the path split at a slash where it is longer than 100 bytes, and a PAX record
//! before it where that does not help. Read in all the styles that are met: v7, ustar, PAX, and GNU.

use std::ops::Range;

/// Everything in a tar file comes in blocks.
pub(super) const BLOCK: usize = 512;

/// A block.
pub(super) type Block = [u8; BLOCK];

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const OWNER: Range<usize> = 108..116;
const GROUP: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MODIFIED: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: Range<usize> = 257..265;
const DEVICE_MAJOR: Range<usize> = 329..337;
const DEVICE_MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

/// What a header is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// PAX records for the next entry.
    Extended,
    /// PAX records for all that follow.
    Global,
    /// GNU's long path for the next entry.
    LongPath,
    /// GNU's long link target for the next entry.
    LongLink,
    Forbidden(&'static str),
    Unknown(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            b'0' | 0 | b'7' => Self::File,
            b'1' => Self::Forbidden("a hard link"),
            b'2' => Self::Forbidden("a symbolic link"),
            b'3' => Self::Forbidden("a character device"),
            b'4' => Self::Forbidden("a block device"),
            b'5' => Self::Directory,
            b'6' => Self::Forbidden("a FIFO"),
            b'S' => Self::Forbidden("a sparse file"),
            b'x' => Self::Extended,
            b'g' => Self::Global,
            b'L' => Self::LongPath,
            b'K' => Self::LongLink,
            other => Self::Unknown(other),
        }
    }
}

/// What a block says when it is a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Prefix and name, joined.
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
}

impl Header {
    /// Reads a block that is not all zero.
    pub(super) fn parse(block: &Block) -> Result<Self, &'static str> {
        let stored = number(&block[CHECKSUM]).ok_or("its checksum is not a number")?;
        let (unsigned, signed) = checksums(block);
        // Very old programs added the bytes up as signed ones.
        if stored != unsigned && i64::try_from(stored) != Ok(signed) {
            return Err("its checksum is wrong");
        }
        let size = number(&block[SIZE]).ok_or("its size is not a number")?;
        let mut path = Vec::new();
        // GNU keeps other things where ustar has the prefix.
        if &block[MAGIC] == b"ustar\x0000" {
            path.extend_from_slice(text(&block[PREFIX]));
            if !path.is_empty() {
                path.push(b'/');
            }
        }
        path.extend_from_slice(text(&block[NAME]));
        Ok(Self { kind: Kind::of(block[KIND]), path, size })
    }
}

/// Writes headers that differ in nothing but path and size.
#[derive(Debug, Clone)]
pub(super) struct HeaderTemplate {
    block: Block,
}

impl HeaderTemplate {
    /// Mode 0755, owner 0, one time for all: as Velero writes, but for the time.
    pub(super) fn new(modified: u64) -> Self {
        let mut block = [0; BLOCK];
        octal(&mut block[MODE], 0o755);
        octal(&mut block[OWNER], 0);
        octal(&mut block[GROUP], 0);
        // Eleven octal digits: until the year 2242.
        octal(&mut block[MODIFIED], modified.min((1 << 33) - 1));
        octal(&mut block[DEVICE_MAJOR], 0);
        octal(&mut block[DEVICE_MINOR], 0);
        block[MAGIC].copy_from_slice(b"ustar\x0000");
        block[KIND] = b'0';
        Self { block }
    }

    /// Appends the header of a file of `size` bytes, and what must precede it where its path is long.
    pub(super) fn append(&self, target: &mut Vec<u8>, path: &str, size: u64) {
        if path.is_ascii() {
            if path.len() <= NAME.len() {
                return self.block(target, b'0', "", path, size);
            }
            if let Some((prefix, name)) = split(path) {
                return self.block(target, b'0', prefix, name, size);
            }
        }
        let record = record("path", path);
        // Programs that do not know PAX see these names: as Go's, in a folder of their own.
        let shown: String = path.rsplit('/').next().unwrap_or_default().chars().filter(char::is_ascii).take(80).collect();
        self.block(target, b'x', "", &format!("PaxHeaders.0/{shown}"), record.len() as u64);
        target.extend_from_slice(record.as_bytes());
        pad(target, record.len() as u64);
        self.block(target, b'0', "", &shown, size);
    }

    fn block(&self, target: &mut Vec<u8>, kind: u8, prefix: &str, name: &str, size: u64) {
        let mut block = self.block;
        block[KIND] = kind;
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[PREFIX][..prefix.len()].copy_from_slice(prefix.as_bytes());
        octal(&mut block[SIZE], size);
        let (sum, _) = checksums(&block);
        octal(&mut block[CHECKSUM][..7], sum);
        block[CHECKSUM][7] = b' ';
        target.extend_from_slice(&block);
    }
}

/// Fills the last block of `size` bytes with zeros.
pub(super) fn pad(target: &mut Vec<u8>, size: u64) {
    target.resize(target.len() + padding(size), 0);
}

/// Bytes that fill the last block.
pub(super) fn padding(size: u64) -> usize {
    // The remainder is below the size of a block.
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK - over }
}

/// Splits at the last slash that leaves at most 155 bytes before and at most 100 behind it, as Go does.
fn split(path: &str) -> Option<(&str, &str)> {
    let bytes = path.as_bytes();
    let reach = bytes.len().min(PREFIX.len() + 1);
    let slash = bytes[..reach].iter().rposition(|&byte| byte == b'/')?;
    let (prefix, name) = (path.get(..slash)?, path.get(slash + 1..)?);
    (!prefix.is_empty() && !name.is_empty() && name.len() <= NAME.len()).then_some((prefix, name))
}

/// `30 path=…\n`, where the number counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() != rest.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n")
}

/// The sum of all bytes, with blanks in place of the checksum: unsigned, and signed.
fn checksums(block: &Block) -> (u64, i64) {
    let mut unsigned: u64 = 0;
    let mut signed: i64 = 0;
    for (index, &byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&index) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(i8::from_ne_bytes([byte]));
    }
    (unsigned, signed)
}

/// Leading zeros, and a zero byte behind.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    for (index, byte) in field[..digits].iter_mut().enumerate() {
        // Three bits: below 8.
        *byte = b'0' + ((value >> (3 * (digits - 1 - index))) & 7) as u8;
    }
    field[digits] = 0;
}

/// Octal digits among blanks and zero bytes, or GNU's binary form.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, binary @ ..] = field {
        let (high, low) = binary.split_at(binary.len().saturating_sub(8));
        return high.iter().all(|&byte| byte == 0).then(|| low.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)));
    }
    let mut value: u64 = 0;
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|&byte| byte == 0 || byte == b' ').unwrap_or(digits.len());
    for &byte in &digits[..end] {
        if !(b'0'..=b'7').contains(&byte) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(u64::from(byte - b'0'))?;
    }
    digits[end..].iter().all(|&byte| byte == 0 || byte == b' ').then_some(value)
}

/// Up to the first zero byte.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        HeaderTemplate::new(1).append(&mut bytes, path, size);
        bytes
    }

    #[test]
    fn numbers_are_octal_or_binary_in_fields_of_every_length() {
        for (field, value) in [
            (&b"0000123\0"[..], Some(0o123)),
            (b"  17 \0", Some(0o17)),
            (b"", Some(0)),
            (b"\x80", Some(0)),
            (b"\x80\0\0\0\0\0\x01\x02", Some(0x102)),
            (b"\x80\0\0\0\0\0\0\0\x01\0\0\x02", Some(0x0100_0002)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\x02", None),
            (b"89", None),
            (b"1 1", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn a_header_says_what_was_written() {
        let bytes = written("resources/pods/namespaces/a/b.json", 0o1234567);
        let header = Header::parse(bytes[..].try_into().unwrap()).unwrap();
        assert_eq!(header, Header { kind: Kind::File, path: b"resources/pods/namespaces/a/b.json".to_vec(), size: 0o1234567 });
    }

    #[test]
    fn a_path_over_one_hundred_bytes_is_split_at_a_slash() {
        let path = format!("resources/{}/namespaces/{}/b.json", "x".repeat(60), "y".repeat(60));
        let bytes = written(&path, 1);
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(Header::parse(bytes[..].try_into().unwrap()).unwrap().path, path.as_bytes());
    }

    #[test]
    fn a_path_that_cannot_be_split_gets_a_record() {
        for path in [format!("resources/{}.json", "x".repeat(120)), "resources/ü.json".to_owned()] {
            let bytes = written(&path, 1);
            assert_eq!(bytes.len(), 3 * BLOCK);
            assert_eq!(Header::parse(bytes[..BLOCK].try_into().unwrap()).unwrap().kind, Kind::Extended);
            let record = String::from_utf8(text(&bytes[BLOCK..2 * BLOCK]).to_vec()).unwrap();
            assert_eq!(record, format!("{} path={path}\n", record.len()));
        }
    }

    #[test]
    fn a_record_counts_its_own_number() {
        for length in 80..120 {
            let record = record("path", &"x".repeat(length));
            assert!(record.starts_with(&format!("{} ", record.len())), "{record}");
        }
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000755\0"), Some(0o755));
        assert_eq!(number(b"    755 "), Some(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"0000789\0"), None);
        assert_eq!(number(b"00 0789\0"), None);
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), Some(1 << 32));
        assert_eq!(number(&[0x80, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]), None);
        assert_eq!(number(&[0xff; 12]), None);
    }
}
