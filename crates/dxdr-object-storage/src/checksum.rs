//! CRC32C, which both Amazon and Google know.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of bytes as they pass.
pub(crate) struct Crc32c(Digest);

impl Default for Crc32c {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Crc32c {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn value(&self) -> u32 {
        // 32 bits in a wider integer.
        self.0.finalize() as u32
    }

    pub(crate) fn text(&self) -> String {
        text(self.value())
    }
}

/// As in headers: base64 of the big-endian bytes.
pub(crate) fn text(checksum: u32) -> String {
    BASE64_STANDARD.encode(checksum.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_algorithm() {
        let mut checksum = Crc32c::default();
        checksum.update(b"1234");
        checksum.update(b"56789");
        assert_eq!((checksum.value(), checksum.text().as_str()), (0xE306_9283, "4waSgw=="));
    }
}
