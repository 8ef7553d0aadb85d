//! The Secrets in which the controller keeps its keys.

use std::fmt;

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_environment::KeyFingerprint;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    certificate::SealingCertificate,
    key::{KeyError, OpeningKey},
};

/// The label by which the controller finds its keys.
pub const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
/// Its value on keys that the controller loads.
pub const ACTIVE: &str = "active";
/// What names of key Secrets begin with, where the controller is told nothing else; the Secret that is called just so is loaded whatever its label.
pub const KEY_PREFIX: &str = "sealed-secrets-key";

/// Seconds that a new certificate is valid: ten years, as the controller has it.
const VALIDITY: i64 = 87_600 * 3_600;

/// A private key with its certificate, as one Secret holds them. Cannot be printed; zeroised when dropped.
pub struct KeySecret {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// `metadata.labels`
    pub labels: Map<String, Value>,
    /// What a server calls this very Secret; none of one that is not stored.
    pub uid: Option<String>,
    /// When a server stored it, to the second.
    pub created: Option<Timestamp>,
    /// Whether the controller loads it because of what it is called, whatever its label.
    pub loaded_by_name: bool,
    private_key: Zeroizing<String>,
    certificate: SealingCertificate,
    key: OpeningKey,
}

/// Why a Secret is no sealing key. No part of its values is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySecretError {
    /// Something is not there, or no text.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// Something is not base64, or not text below it.
    #[error("its {0} is no text in base64")]
    Encoding(&'static str),
    /// The private key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate.
    #[error("its certificate cannot be used: {0}")]
    Certificate(String),
    /// They do not belong together.
    #[error("its certificate is of another key than its private key")]
    Mismatch,
    /// A new one could not be made.
    #[error("a new key could not be made: {0}")]
    Generation(String),
}

/// The text of an item of a Secret.
pub fn item_text(secret: &Value, item: &'static str) -> Result<Zeroizing<String>, KeySecretError> {
    if let Some(text) = secret["stringData"][item].as_str() {
        return Ok(Zeroizing::new(text.to_owned()));
    }
    let encoded = secret["data"][item].as_str().ok_or(KeySecretError::Missing(item))?;
    let encoded = Zeroizing::new(encoded.replace(['\n', '\r'], ""));
    let decoded = STANDARD.decode(&*encoded).map_err(|_| KeySecretError::Encoding(item))?;
    String::from_utf8(decoded).map(Zeroizing::new).map_err(|_| KeySecretError::Encoding(item))
}

/// When a server stored an object.
pub fn created(object: &Value) -> Option<Timestamp> {
    object["metadata"]["creationTimestamp"].as_str()?.parse().ok()
}

/// From when on the certificate of a new key is valid, so that the controller seals with it: certificates know seconds only, and of two that
/// begin in the same one the controller goes on with the key that it knew first.
pub fn begin_behind(now: Timestamp, others: impl IntoIterator<Item = Timestamp>) -> Timestamp {
    let second = SignedDuration::from_secs(1);
    // Nothing begins behind the end of time.
    others.into_iter().fold(now, |begin, other| begin.max(other.checked_add(second).unwrap_or(other)))
}

/// A name as the controller's keys have.
fn fresh_name() -> Result<String, KeySecretError> {
    let mut suffix = [0_u8; 8];
    rand::fill(&mut suffix).map_err(|_| KeySecretError::Generation("the system has no random bytes to give".to_owned()))?;
    // Letters and digits that Kubernetes uses in names it makes.
    let alphabet = b"bcdfghjklmnpqrstvwxz2456789";
    let suffix = suffix.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]));
    Ok(KEY_PREFIX.chars().chain(suffix).collect())
}

impl KeySecret {
    /// Makes a key of 4,096 bits and a certificate of the profile that the controller's own have, valid from `begin` on
    /// ([`begin_behind`]). Half a second, as a rule; at times two.
    pub fn generate(begin: Timestamp) -> Result<Self, KeySecretError> {
        let failed = |error: &dyn fmt::Display| KeySecretError::Generation(error.to_string());
        let mut pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).map_err(|error| failed(&error))?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::EncipherOnly];
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |seconds: i64| std::time::Duration::from_secs(seconds.max(0) as u64);
        parameters.not_before = epoch + since(begin.as_second());
        parameters.not_after = epoch + since(begin.as_second() + VALIDITY);
        let certificate = parameters.self_signed(&pair).map(|certificate| certificate.pem());
        let labels = Map::from_iter([(KEY_LABEL.to_owned(), ACTIVE.into())]);
        let private_key = Zeroizing::new(pair.serialize_pem());
        pair.zeroize();
        let certificate = certificate.map_err(|error| failed(&error))?;
        Self::of_parts(Some(fresh_name()?), labels, private_key, &certificate)
    }

    /// Gives it another name, by which the controller finds it as it did before.
    pub fn rename(&mut self) -> Result<(), KeySecretError> {
        if self.is_loaded() {
            self.labels.insert(KEY_LABEL.to_owned(), ACTIVE.into());
        }
        self.name = Some(fresh_name()?);
        self.loaded_by_name = false;
        Ok(())
    }

    /// Reads the Secret. A certificate that is missing or of another key is an error: the controller would crash over it.
    pub fn read(secret: &Value) -> Result<Self, KeySecretError> {
        let name = secret["metadata"]["name"].as_str().map(str::to_owned);
        let labels = secret["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let key = Self::of_parts(name, labels, item_text(secret, "tls.key")?, &item_text(secret, "tls.crt")?)?;
        let uid = secret["metadata"]["uid"].as_str().map(str::to_owned);
        Ok(Self { uid, created: created(secret), ..key })
    }

    fn of_parts(
        name: Option<String>,
        labels: Map<String, Value>,
        private_key: Zeroizing<String>,
        certificate: &str,
    ) -> Result<Self, KeySecretError> {
        let key = OpeningKey::from_pem(&private_key)?;
        let certificate =
            SealingCertificate::from_pem(certificate).map_err(|error| KeySecretError::Certificate(error.to_string()))?;
        if key.fingerprint() != certificate.fingerprint() {
            return Err(KeySecretError::Mismatch);
        }
        let loaded_by_name = name.as_deref() == Some(KEY_PREFIX);
        Ok(Self { name, labels, uid: None, created: None, loaded_by_name, private_key, certificate, key })
    }

    /// Which key it is.
    pub fn fingerprint(&self) -> &KeyFingerprint {
        self.key.fingerprint()
    }

    /// The public half.
    pub fn certificate(&self) -> &SealingCertificate {
        &self.certificate
    }

    /// The value of the label by which the controller finds it.
    pub fn label(&self) -> Option<&str> {
        self.labels.get(KEY_LABEL).and_then(Value::as_str)
    }

    /// Whether the controller loads it when it starts.
    pub fn is_loaded(&self) -> bool {
        self.label() == Some(ACTIVE) || self.loaded_by_name
    }

    /// The private half.
    pub fn into_opening_key(self) -> OpeningKey {
        self.key
    }

    /// Whether what is sealed with the certificate opens with the private key.
    pub fn works(&self) -> bool {
        let value = b"a value to try a key with";
        let sealed = self.certificate.seal("dxdr/trial", value);
        sealed.ok().and_then(|sealed| self.key.open("dxdr/trial", &sealed)).is_some_and(|opened| opened.expose() == value)
    }

    /// The Secret, as JSON that kubectl applies. The private key is in it.
    pub fn to_secret(&self, namespace: &str) -> Zeroizing<String> {
        let private_key = Zeroizing::new(STANDARD.encode(self.private_key.as_bytes()));
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": self.name, "namespace": namespace, "labels": self.labels},
            "data": {"tls.crt": STANDARD.encode(self.certificate.pem())},
        });
        let public = secret.to_string().len();
        secret["data"]["tls.key"] = private_key.as_str().into();
        // Written into a buffer that need not grow: one that does leaves what it held behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * public + private_key.len() + 1024));
        // Texts and maps serialise, and a Vec takes everything.
        let written = serde_json::to_writer_pretty(&mut *bytes, &secret);
        debug_assert!(written.is_ok());
        bytes.push(b'\n');
        if let Value::String(text) = &mut secret["data"]["tls.key"] {
            zeroize::Zeroize::zeroize(text);
        }
        // What JSON writes is UTF-8.
        Zeroizing::new(String::from_utf8(std::mem::take(&mut *bytes)).unwrap_or_default())
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeySecret")
            .field("name", &self.name)
            .field("fingerprint", self.fingerprint())
            .finish_non_exhaustive()
    }
}
