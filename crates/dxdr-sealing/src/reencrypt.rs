//! From an older key to the newest, with proof that the value is the same.
//!
//! Opening what was just sealed would prove it, at the price of a second operation with a private key, which is nearly all that moving an item
//! costs. It is proved once for each key instead, and for each item by arithmetic that needs no private key:
//!
//! ```text
//! once      sealed as below ─► opened by the private key ─► as it was: the private key undoes what the public one does
//! an item   value ─► session key, seed ─► OAEP ─► raised, by the library
//!                                           └─► decoded ─► session key ─► payload opened ─► value: the same
//! together  all that was raised, multiplied ─► raised, by our own code ─► the product of what the library made of them: the same
//! ```

use std::{fmt, num::NonZero};

use crypto_bigint::{BoxedUint, modular::BoxedMontyForm};
use dxdr_environment::KeyFingerprint;
use rsa::{PublicKey, traits::PublicKeyParts as _};
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
    #[error("what is sealed anew does not open as the same value")]
    Differs,
}

/// The key that items move to.
pub struct Destination {
    certificate: SealingCertificate,
    modulus: Modulus,
    exponent: NonZero<u64>,
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
        let exponent = NonZero::new(exponent).ok_or(SealError::Refused)?;
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
        if !self.raised_rightly(std::slice::from_ref(&sealed)) {
            return Err(ReencryptError::Differs);
        }
        let opened = key.open(label, &sealed.ciphertext).ok_or(ReencryptError::Differs)?;
        if opened.same_as(&value) { Ok(()) } else { Err(ReencryptError::Differs) }
    }

    /// Seals a value. What came of it opens to the same value with the key of this destination, if it was raised rightly.
    fn seal(&self, label: &str, value: &Plaintext) -> Result<Sealed, ReencryptError> {
        let session_key = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let seed = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let public = self.certificate.public();
        let encoded = oaep::encode(public.size(), label.as_bytes(), &*session_key, &seed).ok_or(SealError::Refused)?;
        let wrapped = raise(public, self.exponent, &encoded).ok_or(SealError::Refused)?;
        let payload = payload::seal(&session_key, value.expose()).ok_or(SealError::Refused)?;
        let sealed = Sealed { ciphertext: Ciphertext::join(&wrapped, &payload), encoded };
        if sealed.opens_to(label, value) { Ok(sealed) } else { Err(ReencryptError::Differs) }
    }

    /// Whether what stands in these ciphertexts is what was raised for them.
    fn raised_rightly(&self, sealed: &[Sealed]) -> bool {
        let pairs: Vec<_> = sealed.iter().map(|sealed| (&sealed.encoded[..], sealed.ciphertext.wrapped())).collect();
        self.modulus.are_powers(&pairs, self.exponent)
    }
}

/// A ciphertext, and the number that was raised for it.
struct Sealed {
    ciphertext: Ciphertext,
    encoded: Zeroizing<Vec<u8>>,
}

impl Sealed {
    /// Whether who finds `encoded` with the private key, and goes on as anybody does, finds `value`.
    fn opens_to(&self, label: &str, value: &Plaintext) -> bool {
        oaep::decode(&self.encoded, label.as_bytes())
            .and_then(|session_key| payload::open(session_key.as_slice().try_into().ok()?, self.ciphertext.payload()))
            .is_some_and(|opened| Plaintext::new(opened).same_as(value))
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Destination").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The operation with a public key, by the library's multiplications: one for each bit of the exponent and each that is set. `rsa_encrypt` takes over twice
/// as many, because it keeps the exponent secret as well.
fn raise(public: &PublicKey, exponent: NonZero<u64>, encoded: &[u8]) -> Option<Vec<u8>> {
    let number = BoxedUint::from_be_slice(encoded, public.n_bits_precision()).ok()?;
    let number = Zeroizing::new(BoxedMontyForm::new(number, public.n_params()));
    let raised = (0..exponent.ilog2()).rev().fold((*number).clone(), |power, bit| {
        let square = power.square();
        if exponent.get() >> bit & 1 == 1 { square.mul(&number) } else { square }
    });
    let raised = raised.retrieve().to_be_bytes();
    raised.len().checked_sub(encoded.len()).map(|front| raised[front..].to_vec())
}

/// Moves items to a destination. What it answers counts when [`together`] returns.
pub struct Mover<'a> {
    keys: &'a KeyRing,
    destination: &'a Destination,
    sealed: Vec<Sealed>,
}

impl Mover<'_> {
    /// Moves an item. The label it opens for is the label it is sealed for; values live only in here.
    pub fn reencrypt(&mut self, label: &str, ciphertext: &Ciphertext) -> Result<Reencrypted, ReencryptError> {
        let Some((key, value)) = self.keys.open(label, ciphertext) else { return Ok(Reencrypted::Unopened) };
        if key.fingerprint() == self.destination.certificate.fingerprint() {
            return Ok(Reencrypted::Current);
        }
        let sealed = self.destination.seal(label, &value)?;
        let to = sealed.ciphertext.clone();
        self.sealed.push(sealed);
        Ok(Reencrypted::Moved { from: key.fingerprint().clone(), to, proved: self.destination.proved })
    }
}

impl fmt::Debug for Mover<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mover").field("destination", self.destination).finish_non_exhaustive()
    }
}

/// What `act` answers, when all that it moved is proved. One item that is not is an error for all of them, since nobody knows which one it is.
pub fn together<T>(
    keys: &KeyRing,
    destination: &Destination,
    act: impl FnOnce(&mut Mover<'_>) -> T,
) -> Result<T, ReencryptError> {
    let mut mover = Mover { keys, destination, sealed: Vec::new() };
    let answer = act(&mut mover);
    if destination.raised_rightly(&mover.sealed) { Ok(answer) } else { Err(ReencryptError::Differs) }
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
        let reencrypt = |label: &str, sealed: &Ciphertext| {
            together(&ring, &destination, |mover| mover.reencrypt(label, sealed)).and_then(|moved| moved)
        };
        let moved = reencrypt("a/b", &sealed).unwrap();
        let Reencrypted::Moved { from, to, proved: true } = moved else { panic!("{moved:?}") };
        let (key, value) = ring.open("a/b", &to).unwrap();
        assert_eq!((&from, key.fingerprint()), (old_certificate.fingerprint(), other.fingerprint()));
        assert_eq!(value.expose(), b"value");
        assert_eq!(reencrypt("a/b", &to), Ok(Reencrypted::Current));
        assert_eq!(reencrypt("a", &sealed), Ok(Reencrypted::Unopened));
        assert!(!Destination::new(other, &KeyRing::new([])).unwrap().is_proved());

        // Whatever goes wrong between the value and what is written is seen.
        let (session_key, seed) = ([7; 32], [8; 32]);
        let public = destination.certificate.public();
        let encoded = oaep::encode(public.size(), b"a/b", &session_key, &seed).unwrap();
        let sound = Ciphertext::join(
            &raise(public, destination.exponent, &encoded).unwrap(),
            &payload::seal(&session_key, b"value").unwrap(),
        );
        let opens = |label: &str, encoded: &[u8], ciphertext: &Ciphertext, value: &[u8]| {
            let sealed = Sealed { ciphertext: ciphertext.clone(), encoded: Zeroizing::new(encoded.to_vec()) };
            let neighbour = destination.seal("a/b", &Plaintext::new(b"other".to_vec())).unwrap();
            let opens = sealed.opens_to(label, &Plaintext::new(value.to_vec()));
            opens && destination.raised_rightly(&[neighbour, sealed])
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
        let foreign = Ciphertext::join(&raise(foreign, destination.exponent, &encoded).unwrap(), sound.payload());
        assert!(!opens("a/b", &encoded, &foreign, b"value"), "raised by another key");
        let moved = together(&ring, &destination, |mover| {
            mover.reencrypt("a/b", &sealed).unwrap();
            mover.sealed.push(Sealed { ciphertext: foreign, encoded: Zeroizing::new(encoded.to_vec()) });
        });
        assert_eq!(moved, Err(ReencryptError::Differs), "one that is not proved, beside one that is");
    }
}
