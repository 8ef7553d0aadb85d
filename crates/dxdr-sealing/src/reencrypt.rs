//! From an older key to the newest, with proof that the value is the same.
//!
//! Opening what was just sealed would prove it, at the price of a second operation with a private key, which is nearly all that moving an item
//! costs. It is proved once for each key instead, and for each item by arithmetic that needs no private key:
//!
//! ```text
//! once      sealed as below ─► opened by the private key ─► as it was: the private key undoes what the public one does
//! an item   value ─► session key, seed ─► OAEP ─► raised, by the library ─┐
//!                                           │                             ├─ the same number
//!                                           ├─► raised, by our own code ──┘
//!                                           └─► decoded ─► session key ─► payload opened ─► value: the same
//! ```

use std::fmt;

use dxdr_environment::KeyFingerprint;
use rsa::{BoxedUint, PublicKey, hazmat::rsa_encrypt, traits::PublicKeyParts as _};
use zeroize::Zeroizing;

use crate::{
    certificate::{SealError, SealingCertificate},
    ciphertext::Ciphertext,
    key::{KeyRing, OpeningKey},
    modular::Modulus,
    oaep, payload,
    plaintext::Plaintext,
};

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reencrypted {
    /// It is under the newest key already, and stays.
    Current,
    /// It was under an older key.
    Moved {
        /// The key that opened it.
        from: KeyFingerprint,
        /// The same value under the newest key.
        to: Ciphertext,
        /// Whether the newest private key is known to open it. Not where nobody has it at hand.
        proved: bool,
    },
    /// No key opens it for this label.
    Unopened,
}

/// Why an item that opened could not be moved. It stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReencryptError {
    /// The ciphers failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// What is sealed opens as something else, or not at all.
    #[error("the value sealed anew does not open as the same value")]
    Differs,
}

/// The key that items move to.
pub struct Destination {
    certificate: SealingCertificate,
    modulus: Modulus,
    exponent: u64,
    proved: bool,
}

impl Destination {
    /// The key of a certificate. Where its private half is among `keys`, what is sealed here is opened with it once; that it does not open is an error.
    pub fn new(certificate: SealingCertificate, keys: &KeyRing) -> Result<Self, ReencryptError> {
        let public = certificate.public();
        let modulus = Modulus::new(&public.n_bytes()).ok_or(SealError::Refused)?;
        let exponent = public.e_bytes();
        if exponent.len() > 8 {
            return Err(SealError::Refused.into());
        }
        let exponent = exponent.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let mut destination = Self { modulus, exponent, proved: false, certificate };
        if let Some(key) = keys.keys().iter().find(|key| key.fingerprint() == destination.certificate.fingerprint()) {
            destination.try_with(key)?;
            destination.proved = true;
        }
        Ok(destination)
    }

    /// Its certificate.
    pub fn certificate(&self) -> &SealingCertificate {
        &self.certificate
    }

    /// Whether what is sealed here is known to open.
    pub fn is_proved(&self) -> bool {
        self.proved
    }

    fn try_with(&self, key: &OpeningKey) -> Result<(), ReencryptError> {
        let label = "dxdr/trial";
        let value = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let value = Plaintext::new(value.to_vec());
        let sealed = self.seal(label, &value)?;
        let opened = key.open(label, &sealed).ok_or(ReencryptError::Differs)?;
        if opened.same_as(&value) { Ok(()) } else { Err(ReencryptError::Differs) }
    }

    /// Seals a value, and proves that what came of it opens to the same value with the key of this destination.
    fn seal(&self, label: &str, value: &Plaintext) -> Result<Ciphertext, ReencryptError> {
        let session_key = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let seed = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let public = self.certificate.public();
        let encoded = oaep::encode(public.size(), label.as_bytes(), &*session_key, &seed).ok_or(SealError::Refused)?;
        let wrapped = raise(public, &encoded).ok_or(SealError::Refused)?;
        let sealed = payload::seal(&session_key, value.expose()).ok_or(SealError::Refused)?;
        let sealed = Ciphertext::join(&wrapped, &sealed);
        if self.opens_to(label, &encoded, &sealed, value) { Ok(sealed) } else { Err(ReencryptError::Differs) }
    }

    /// Whether the private key, of which is known that it undoes what the public one does, opens `sealed` to `value`: then it finds `encoded`, and the rest
    /// is what anybody does who has that.
    fn opens_to(&self, label: &str, encoded: &[u8], sealed: &Ciphertext, value: &Plaintext) -> bool {
        let again = self.modulus.power(encoded, self.exponent);
        let opened = oaep::decode(encoded, label.as_bytes())
            .and_then(|session_key| payload::open(session_key.as_slice().try_into().ok()?, sealed.payload()))
            .map(Plaintext::new);
        again.as_slice() == sealed.wrapped() && opened.is_some_and(|opened| opened.same_as(value))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Destination").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The library's operation with a public key.
fn raise(public: &PublicKey, encoded: &[u8]) -> Option<Vec<u8>> {
    let number = Zeroizing::new(BoxedUint::from_be_slice(encoded, public.n_bits_precision()).ok()?);
    let raised = rsa_encrypt(public, &number).ok()?.to_be_bytes();
    raised.len().checked_sub(encoded.len()).map(|front| raised[front..].to_vec())
}

/// Moves an item to `destination`. The label it opens for is the label it is sealed for; values live only in here.
pub fn reencrypt(
    label: &str,
    ciphertext: &Ciphertext,
    keys: &KeyRing,
    destination: &Destination,
) -> Result<Reencrypted, ReencryptError> {
    let Some((key, value)) = keys.open(label, ciphertext) else { return Ok(Reencrypted::Unopened) };
    if key.fingerprint() == destination.certificate.fingerprint() {
        return Ok(Reencrypted::Current);
    }
    let to = destination.seal(label, &value)?;
    Ok(Reencrypted::Moved { from: key.fingerprint().clone(), to, proved: destination.proved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeySecret;

    #[test]
    fn what_is_moved_opens_and_anything_else_is_no_proof() {
        let now = "2026-05-01T10:00:00Z".parse().unwrap();
        let [old, new] = [(); 2].map(|()| KeySecret::generate(now).unwrap());
        let again = |key: &KeySecret| SealingCertificate::from_pem(key.certificate().pem()).unwrap();
        let (old_certificate, new_certificate, other) = (again(&old), again(&new), again(&new));
        let sealed = old_certificate.seal("a/b", b"value").unwrap();
        let ring = KeyRing::new([old, new].map(KeySecret::into_opening_key));
        let destination = Destination::new(new_certificate, &ring).unwrap();
        assert!(destination.is_proved());
        let moved = reencrypt("a/b", &sealed, &ring, &destination).unwrap();
        let Reencrypted::Moved { from, to, proved: true } = moved else { panic!("{moved:?}") };
        let (key, value) = ring.open("a/b", &to).unwrap();
        assert_eq!((&from, key.fingerprint()), (old_certificate.fingerprint(), other.fingerprint()));
        assert_eq!(value.expose(), b"value");
        assert_eq!(reencrypt("a/b", &to, &ring, &destination), Ok(Reencrypted::Current));
        assert_eq!(reencrypt("a", &sealed, &ring, &destination), Ok(Reencrypted::Unopened));
        assert!(!Destination::new(other, &KeyRing::new([])).unwrap().is_proved());

        // Whatever goes wrong between the value and what is written is seen.
        let (session_key, seed) = ([7; 32], [8; 32]);
        let public = destination.certificate.public();
        let encoded = oaep::encode(public.size(), b"a/b", &session_key, &seed).unwrap();
        let sound = Ciphertext::join(&raise(public, &encoded).unwrap(), &payload::seal(&session_key, b"value").unwrap());
        let opens = |label: &str, encoded: &[u8], sealed: &Ciphertext, value: &[u8]| {
            destination.opens_to(label, encoded, sealed, &Plaintext::new(value.to_vec()))
        };
        assert!(opens("a/b", &encoded, &sound, b"value"));
        assert!(!opens("a/b", &encoded, &sound, b"valus"));
        assert!(!opens("a/c", &encoded, &sound, b"value"));
        for at in [2, 300, 513, sound.as_bytes().len() - 1] {
            let mut bytes = sound.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(!opens("a/b", &encoded, &Ciphertext::from_bytes(bytes).unwrap(), b"value"), "{at}");
        }
        let mut changed = encoded.clone();
        changed[200] ^= 1;
        assert!(!opens("a/b", &changed, &sound, b"value"));
        let foreign = old_certificate.public();
        let foreign = Ciphertext::join(&raise(foreign, &encoded).unwrap(), sound.payload());
        assert!(!opens("a/b", &encoded, &foreign, b"value"), "raised by another key");
    }
}
