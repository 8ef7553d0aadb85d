//! The private half: what opens sealed items.

use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering},
};

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use dxdr_environment::KeyFingerprint;
use rsa::{
    PrivateKey,
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _},
    traits::PublicKeyParts as _,
};
use zeroize::Zeroizing;

use crate::{
    certificate::fingerprint,
    ciphertext::Ciphertext,
    payload::{self, KEY_LENGTH},
    plaintext::Plaintext,
};

/// A private key of a Sealed Secrets controller. Cannot be printed; zeroised when dropped.
pub struct OpeningKey {
    key: OaepPrivateDecryptingKey,
    fingerprint: KeyFingerprint,
    modulus_length: usize,
}

/// Why a text is no private key that could open anything. No part of the text is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing in it is a key.
    #[error("there is no RSA private key in it (a PEM block `RSA PRIVATE KEY` or `PRIVATE KEY`)")]
    NoKey,
    /// It is protected by a passphrase.
    #[error("its private key is encrypted with a passphrase, which the controller cannot read either")]
    Encrypted,
    /// An elliptic curve, or another kind.
    #[error("its private key is `{0}`, and Sealed Secrets are opened with RSA keys only")]
    NotRsa(&'static str),
    /// The block is broken.
    #[error("its private key cannot be read: it is damaged, or no RSA key")]
    Broken,
    /// Too small or too large.
    #[error("its RSA key has {0} bits; expected 2048 to 8192")]
    KeySize(usize),
}

/// The kinds of PEM blocks, and what they are.
const PKCS1: &str = "RSA PRIVATE KEY";
const PKCS8: &str = "PRIVATE KEY";

impl OpeningKey {
    /// Reads the first private key of a PEM text, PKCS#1 or PKCS#8; what stands around it is passed over.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if let Some(block) = block(text, PKCS1) {
            return Self::from_parts(PrivateKey::from_pkcs1_pem(&block).map_err(|_| KeyError::Broken)?);
        }
        if let Some(block) = block(text, PKCS8) {
            return Self::from_parts(PrivateKey::from_pkcs8_pem(&block).map_err(|_| KeyError::Broken)?);
        }
        let has = |kind: &str| text.contains(&format!("-----BEGIN {kind}-----"));
        Err(match () {
            () if has("ENCRYPTED PRIVATE KEY") => KeyError::Encrypted,
            () if has("EC PRIVATE KEY") => KeyError::NotRsa("EC PRIVATE KEY"),
            () if has("OPENSSH PRIVATE KEY") => KeyError::NotRsa("OPENSSH PRIVATE KEY"),
            () => KeyError::NoKey,
        })
    }

    fn from_parts(parts: PrivateKey) -> Result<Self, KeyError> {
        let modulus_length = parts.size();
        let refused = KeyError::KeySize(modulus_length * 8);
        let encoded = parts.to_pkcs8_der().map_err(|_| KeyError::Broken)?;
        let key = PrivateDecryptingKey::from_pkcs8(encoded.as_bytes()).map_err(|_| refused.clone())?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| refused)?;
        Ok(Self { key, fingerprint: fingerprint(&parts), modulus_length })
    }

    /// Which key it is.
    pub fn fingerprint(&self) -> &KeyFingerprint {
        &self.fingerprint
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        self.modulus_length * 8
    }

    /// Opens an item, or `None`: it was sealed with another key or for another label, or has been changed. The ciphers cannot
    /// tell these apart, and must not.
    pub fn open(&self, label: &str, ciphertext: &Ciphertext) -> Option<Plaintext> {
        // A modulus of another size is public, and saves the private operation.
        if ciphertext.modulus_length() != self.modulus_length {
            return None;
        }
        let mut unwrapped = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let unwrapped =
            self.key.decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext.wrapped(), &mut unwrapped, Some(label.as_bytes())).ok()?;
        let session_key: &[u8; KEY_LENGTH] = (&*unwrapped).try_into().ok()?;
        payload::open(session_key, ciphertext.payload()).map(Plaintext::new)
    }
}

impl fmt::Debug for OpeningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpeningKey").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// The PEM block of a kind, its lines trimmed: a key may have been copied with the indentation of a manifest.
fn block(text: &str, kind: &str) -> Option<Zeroizing<String>> {
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let start = text.find(&begin)?;
    let length = text[start..].find(&end)? + end.len();
    let mut block = Zeroizing::new(String::with_capacity(length + 1));
    for line in text[start..start + length].lines().map(str::trim).filter(|line| !line.is_empty()) {
        block.push_str(line);
        block.push('\n');
    }
    Some(block)
}

/// Keys in the order in which they are tried: the newest first, but for the one that opened something last. What lies together was mostly
/// sealed with the same key, and a key that does not open costs as much as one that does.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: Vec<OpeningKey>,
    last: AtomicUsize,
}

impl KeyRing {
    /// One key of each pair is enough.
    pub fn new(keys: impl IntoIterator<Item = OpeningKey>) -> Self {
        let mut ring: Vec<OpeningKey> = Vec::new();
        for key in keys {
            if ring.iter().all(|known| known.fingerprint != key.fingerprint) {
                ring.push(key);
            }
        }
        Self { keys: ring, last: AtomicUsize::new(0) }
    }

    /// The same, with the key that most is sealed with in front.
    #[must_use]
    pub fn preferring(mut self, fingerprint: &KeyFingerprint) -> Self {
        self.keys.sort_by_key(|key| key.fingerprint() != fingerprint);
        self
    }

    /// The keys, in the order in which they are tried.
    pub fn keys(&self) -> &[OpeningKey] {
        &self.keys
    }

    /// Opens an item with the first key that can, and says which one that was. Every key that cannot costs a private operation
    /// (about 1.5 ms for 4096 bits).
    pub fn open(&self, label: &str, ciphertext: &Ciphertext) -> Option<(&OpeningKey, Plaintext)> {
        // Others may change it meanwhile: it decides what is tried first, not what is found.
        let last = self.last.load(Ordering::Relaxed);
        let others = (0..self.keys.len()).filter(|index| *index != last);
        std::iter::once(last).chain(others).find_map(|index| {
            let key = self.keys.get(index)?;
            let plaintext = key.open(label, ciphertext)?;
            self.last.store(index, Ordering::Relaxed);
            Some((key, plaintext))
        })
    }
}
