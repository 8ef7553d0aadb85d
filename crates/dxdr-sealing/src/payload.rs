//! The symmetric half of an item: AES-256-GCM under a key that is used once.

use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce, aead::Aead as _};
use zeroize::Zeroizing;

/// Bytes of the key of one item.
pub(crate) const KEY_LENGTH: usize = 32;
/// Bytes that sealing adds to a value.
pub(crate) const TAG_LENGTH: usize = 16;

/// Twelve zero bytes, which is safe because no key seals twice: [`fresh_key`] is called for every item.
const NONCE: [u8; 12] = [0; 12];

/// A key for one item; `None` when the system has no randomness to give.
pub(crate) fn fresh_key() -> Option<Zeroizing<[u8; KEY_LENGTH]>> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    aws_lc_rs::rand::fill(&mut *key).ok()?;
    Some(key)
}

/// `None` only for values beyond the 64 GiB that GCM takes.
pub(crate) fn seal(key: &[u8; KEY_LENGTH], value: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(key.into()).encrypt(&Nonce::from(NONCE), value).ok()
}

/// `None` when key and payload do not belong together.
pub(crate) fn open(key: &[u8; KEY_LENGTH], payload: &[u8]) -> Option<Vec<u8>> {
    Aes256Gcm::new(key.into()).decrypt(&Nonce::from(NONCE), payload).ok()
}
