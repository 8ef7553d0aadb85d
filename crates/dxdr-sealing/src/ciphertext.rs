//! The bytes of a sealed item, and their text.
//!
//! ```text
//! u16 big-endian: length of the wrapped key │ wrapped key (RSA-OAEP, SHA-256, label) │ AES-256-GCM payload and tag
//! ```
//!
//! Nothing in it says which key, which item or which scope it is for.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::payload::TAG_LENGTH;

const PREFIX_LENGTH: usize = 2;

/// A sealed item. What is in it is no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext {
    bytes: Vec<u8>,
    wrapped_length: usize,
}

/// Why a text or some bytes are no sealed item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCiphertext {
    /// Not base64.
    #[error("it is not base64 (standard alphabet, padded): {0}")]
    Encoding(String),
    /// Too short for what it announces.
    #[error("it is {found} bytes long, where its beginning announces at least {expected}")]
    TooShort {
        /// Bytes there are.
        found: usize,
        /// Bytes that a sealed empty value has.
        expected: usize,
    },
    /// The wrapped key is as long as no RSA modulus in use.
    #[error("it announces a wrapped key of {0} bytes, which is no size of an RSA key (2048 to 8192 bits are 256 to 1024 bytes)")]
    KeySize(usize),
}

impl Ciphertext {
    /// Reads what stands in a manifest. As Go does, line breaks within are passed over; any other space is an error.
    pub fn from_base64(text: &str) -> Result<Self, InvalidCiphertext> {
        let decoded =
            if text.contains(['\n', '\r']) { STANDARD.decode(text.replace(['\n', '\r'], "")) } else { STANDARD.decode(text) };
        Self::from_bytes(decoded.map_err(|error| InvalidCiphertext::Encoding(error.to_string()))?)
    }

    /// Checks the lengths of the parts.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidCiphertext> {
        let found = bytes.len();
        let Some((prefix, _)) = bytes.split_first_chunk::<PREFIX_LENGTH>() else {
            return Err(InvalidCiphertext::TooShort { found, expected: PREFIX_LENGTH });
        };
        let wrapped_length = usize::from(u16::from_be_bytes(*prefix));
        if !(256..=1024).contains(&wrapped_length) {
            return Err(InvalidCiphertext::KeySize(wrapped_length));
        }
        let expected = PREFIX_LENGTH + wrapped_length + TAG_LENGTH;
        if found < expected {
            return Err(InvalidCiphertext::TooShort { found, expected });
        }
        Ok(Self { bytes, wrapped_length })
    }

    /// Joins the parts; the length of `wrapped` is that of an RSA modulus, which a `u16` holds.
    pub(crate) fn join(wrapped: &[u8], payload: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX_LENGTH + wrapped.len() + payload.len());
        bytes.extend_from_slice(&(wrapped.len() as u16).to_be_bytes());
        bytes.extend_from_slice(wrapped);
        bytes.extend_from_slice(payload);
        Self { bytes, wrapped_length: wrapped.len() }
    }

    /// The text for a manifest: one line.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// All the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the modulus of the key that it was sealed with: the only thing it says about that key.
    pub fn modulus_length(&self) -> usize {
        self.wrapped_length
    }

    pub(crate) fn wrapped(&self) -> &[u8] {
        &self.bytes[PREFIX_LENGTH..PREFIX_LENGTH + self.wrapped_length]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[PREFIX_LENGTH + self.wrapped_length..]
    }
}

impl fmt::Debug for Ciphertext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ciphertext({} bytes, RSA-{})", self.bytes.len(), self.wrapped_length * 8)
    }
}
