//! JSON in gzip: what stands beside an archive.

use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder};
use serde::{Serialize, de::DeserializeOwned};

use crate::FormatError;

/// Decompressed bytes. The largest is a resource list: 60 bytes for each of some million objects.
const LIMIT: u64 = 256 << 20;

/// The same value makes the same bytes.
pub(crate) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, FormatError> {
    let mut json = serde_json::to_vec(value).map_err(|source| FormatError::Json { what, source })?;
    // As Go's encoder ends a value.
    json.push(b'\n');
    compress(what, &json)
}

/// Compresses text.
pub(crate) fn compress(what: &'static str, content: &[u8]) -> Result<Vec<u8>, FormatError> {
    let compressed = |source| FormatError::Compression { what, source };
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    encoder.write_all(content).map_err(compressed)?;
    encoder.finish().map_err(compressed)
}

/// Reads a value; `null` is the default one.
pub(crate) fn decode<T: DeserializeOwned + Default>(what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    let json = decompress(what, bytes, LIMIT)?;
    let value: Option<T> = serde_json::from_slice(&json).map_err(|source| FormatError::Json { what, source })?;
    Ok(value.unwrap_or_default())
}

fn decompress(what: &'static str, bytes: &[u8], limit: u64) -> Result<Vec<u8>, FormatError> {
    let mut content = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(limit + 1).read_to_end(&mut content);
    read.map_err(|source| FormatError::Compression { what, source })?;
    if content.is_empty() {
        let source = io::Error::from(io::ErrorKind::UnexpectedEof);
        return Err(FormatError::Compression { what, source });
    }
    if content.len() as u64 > limit {
        return Err(FormatError::TooLarge { what, limit });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_nothing_and_a_list_are_read() {
        for (json, expected) in [("null", vec![]), ("[]", vec![]), ("[1,2]\n", vec![1, 2])] {
            let bytes = compress("list", json.as_bytes()).unwrap();
            assert_eq!(decode::<Vec<u8>>("list", &bytes).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_an_error() {
        let bytes = encode("list", &vec![1, 2, 3]).unwrap();
        for end in 0..bytes.len() {
            assert!(decode::<Vec<u8>>("list", &bytes[..end]).is_err(), "cut off at {end}");
        }
        assert!(decode::<Vec<u8>>("list", &[&bytes[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = compress("list", &vec![b' '; 1 << 20]).unwrap();
        assert!(matches!(decompress("list", &bomb, 1 << 16), Err(FormatError::TooLarge { limit: 65536, .. })));
    }
}
