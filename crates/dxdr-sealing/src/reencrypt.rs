//! From an older key to the newest, with proof that the value is the same.

use dxdr_environment::KeyFingerprint;

use crate::{
    certificate::{SealError, SealingCertificate},
    ciphertext::Ciphertext,
    key::KeyRing,
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
        /// Whether the new one was opened again and compared. Not without the newest private key.
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
    /// What was sealed opens as something else.
    #[error("the value sealed anew does not open as the same value")]
    Differs,
}

/// Moves an item to the key of `certificate`. The label it opens for is the label it is sealed for; values live only in here.
pub fn reencrypt(
    label: &str,
    ciphertext: &Ciphertext,
    keys: &KeyRing,
    certificate: &SealingCertificate,
) -> Result<Reencrypted, ReencryptError> {
    let Some((key, value)) = keys.open(label, ciphertext) else { return Ok(Reencrypted::Unopened) };
    if key.fingerprint() == certificate.fingerprint() {
        return Ok(Reencrypted::Current);
    }
    let to = certificate.seal(label, value.expose())?;
    let newest = keys.keys().iter().find(|key| key.fingerprint() == certificate.fingerprint());
    let proved = match newest {
        None => false,
        Some(newest) => {
            let again = newest.open(label, &to).ok_or(ReencryptError::Differs)?;
            if !again.same_as(&value) {
                return Err(ReencryptError::Differs);
            }
            true
        }
    };
    Ok(Reencrypted::Moved { from: key.fingerprint().clone(), to, proved })
}
