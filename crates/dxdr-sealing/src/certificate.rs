//! The public half: what developers seal with.

use std::fmt;

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use dxdr_environment::KeyFingerprint;
use jiff::Timestamp;
use rsa::{PublicKey, pkcs8::DecodePublicKey as _, traits::PublicKeyParts};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate,
    der::{DecodePem as _, Encode as _, EncodePem as _, pem::LineEnding},
    spki::ObjectIdentifier,
};

use crate::{ciphertext::Ciphertext, payload};

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A certificate of a Sealed Secrets controller: an RSA key to seal with, and until when people should.
///
/// Issuer, usages and signature mean nothing here: the controller makes self-signed ones, and looks at none of it.
pub struct SealingCertificate {
    key: OaepPublicEncryptingKey,
    public: PublicKey,
    fingerprint: KeyFingerprint,
    bits: usize,
    not_before: Timestamp,
    not_after: Timestamp,
    pem: String,
}

/// Why a text is no certificate to seal with.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Nothing in it is a certificate.
    #[error("there is no PEM certificate in it (a block that begins with `-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    /// The block is broken.
    #[error("its certificate cannot be read: {0}")]
    Broken(String),
    /// Elliptic curves and others: nothing that the controller could open.
    #[error("its key is not RSA (algorithm {0}), and Sealed Secrets are sealed with RSA keys only")]
    NotRsa(String),
    /// Too small or too large.
    #[error("its RSA key has {0} bits; expected 2048 to 8192")]
    KeySize(usize),
}

/// Why a value could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no random bytes.
    #[error("the system has no random bytes to give")]
    NoRandomness,
    /// The key or the value is beyond what the ciphers take.
    #[error("the ciphers refuse the value: it is too large")]
    Refused,
}

impl SealingCertificate {
    /// Reads the first certificate of a PEM text, as kubeseal does; what stands around it is passed over.
    pub fn from_pem(text: &str) -> Result<Self, CertificateError> {
        let begin = text.find(PEM_BEGIN).ok_or(CertificateError::NoCertificate)?;
        let length = text[begin..].find(PEM_END).ok_or(CertificateError::NoCertificate)? + PEM_END.len();
        // Lines may end in CRLF, or be indented where somebody copied them out of a manifest.
        let lines: Vec<&str> = text[begin..begin + length].lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let certificate = Certificate::from_pem(lines.join("\n")).map_err(|error| CertificateError::Broken(error.to_string()))?;
        Self::from_certificate(&certificate)
    }

    fn from_certificate(certificate: &Certificate) -> Result<Self, CertificateError> {
        let broken = |error: &dyn fmt::Display| CertificateError::Broken(error.to_string());
        let content = certificate.tbs_certificate();
        let public = content.subject_public_key_info();
        if public.algorithm.oid != RSA_ENCRYPTION {
            return Err(CertificateError::NotRsa(public.algorithm.oid.to_string()));
        }
        let der = public.to_der().map_err(|error| broken(&error))?;
        let parts = PublicKey::from_public_key_der(&der).map_err(|error| broken(&error))?;
        let bits = parts.size() * 8;
        let key = PublicEncryptingKey::from_der(&der).map_err(|_| CertificateError::KeySize(bits))?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| CertificateError::KeySize(bits))?;
        let validity = content.validity();
        let instant = |seconds: u64| {
            let seconds = i64::try_from(seconds).map_err(|error| broken(&error))?;
            Timestamp::from_second(seconds).map_err(|error| broken(&error))
        };
        Ok(Self {
            key,
            fingerprint: fingerprint(&parts),
            public: parts,
            bits,
            not_before: instant(validity.not_before.to_unix_duration().as_secs())?,
            not_after: instant(validity.not_after.to_unix_duration().as_secs())?,
            pem: certificate.to_pem(LineEnding::LF).map_err(|error| broken(&error))?,
        })
    }

    /// The numbers of the key.
    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Which key it is.
    pub fn fingerprint(&self) -> &KeyFingerprint {
        &self.fingerprint
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// From when on it is valid. The controller seals with the key whose certificate begins last.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when people should seal with it. Opening has no end.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The certificate alone, with a newline behind every line.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Seals a value for `label` ([`SealedIdentity::label`](dxdr_environment::SealedIdentity::label)). No two calls answer the same.
    pub fn seal(&self, label: &str, value: &[u8]) -> Result<Ciphertext, SealError> {
        let session_key = payload::fresh_key().ok_or(SealError::NoRandomness)?;
        let sealed = payload::seal(&session_key, value).ok_or(SealError::Refused)?;
        let mut wrapped = vec![0; self.key.ciphertext_size()];
        let wrapped = self
            .key
            .encrypt(&OAEP_SHA256_MGF1SHA256, &*session_key, &mut wrapped, Some(label.as_bytes()))
            .map_err(|_| SealError::Refused)?;
        Ok(Ciphertext::join(wrapped, &sealed))
    }
}

impl fmt::Debug for SealingCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SealingCertificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// SHA-256 over the key in OpenSSH's form: `string("ssh-rsa") mpint(e) mpint(n)`, each with its length in four bytes (RFC 4253, 6.6).
pub(crate) fn fingerprint(key: &impl PublicKeyParts) -> KeyFingerprint {
    let mut digest = Sha256::new();
    let mut field = |bytes: &[u8]| {
        digest.update((bytes.len() as u32).to_be_bytes());
        digest.update(bytes);
    };
    field(b"ssh-rsa");
    field(&multiple_precision(&key.e_bytes()));
    field(&multiple_precision(&key.n_bytes()));
    let text = format!("SHA256:{}", STANDARD_NO_PAD.encode(digest.finalize()));
    // 32 bytes are 43 characters of base64.
    #[allow(clippy::expect_used)]
    text.parse().expect("a SHA-256 digest in base64 is a fingerprint")
}

/// A positive number as an mpint (RFC 4251, 5): no leading zero bytes but the one that keeps it positive.
fn multiple_precision(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    let digits = &number[start..];
    let sign = digits.first().is_some_and(|first| first & 0x80 != 0);
    let mut bytes = Vec::with_capacity(digits.len() + 1);
    bytes.extend(sign.then_some(0));
    bytes.extend_from_slice(digits);
    bytes
}
