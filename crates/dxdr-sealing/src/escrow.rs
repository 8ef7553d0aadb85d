//! Keys kept apart from the cluster: files of the age format, each with the Secret of one key.
//!
//! What is in such a file is what the controller needs, so that a person with the identity and any age tool gets along without dxdr:
//! `age --decrypt --identity identity.txt KEY.age | kubectl apply -f -`.

use std::{fmt, io::Read as _, io::Write as _};

use age::{
    Decryptor, Encryptor, Identity, IdentityFile, Recipient,
    armor::{ArmoredReader, ArmoredWriter, Format},
    ssh, x25519,
};
use zeroize::Zeroizing;

use crate::key_secret::{KeySecret, KeySecretError};

/// Who can open the escrow: public keys of age or of SSH.
pub struct Recipients(Vec<Box<dyn Recipient + Send + Sync>>);

/// What opens the escrow. Cannot be printed.
pub struct Identities(Vec<Box<dyn Identity>>);

/// Why something could not be put into escrow, or opened.
#[derive(Debug, thiserror::Error)]
pub enum EscrowError {
    /// No public key. It is not repeated: it may be a private one.
    #[error("recipient {0} of the escrow is no public key of age or SSH: a character of it is wrong or missing")]
    Recipient(usize),
    /// Nobody could open it.
    #[error("the escrow has no recipient")]
    Nobody,
    /// A text that is no identity.
    #[error("there is no identity of age, and no private key of SSH without a passphrase, in it")]
    NoIdentity,
    /// The format's own words.
    #[error("it cannot be encrypted: {0}")]
    Encryption(String),
    /// None of the identities, or no age file.
    #[error("it does not open: {0}")]
    Decryption(String),
    /// It opens, and holds something else.
    #[error("it opens, and holds no sealing key: {0}")]
    Content(String),
    /// What was in it is a key that does not work.
    #[error(transparent)]
    Key(#[from] KeySecretError),
}

impl Recipients {
    /// Reads public keys: `age1…`, `ssh-ed25519 …`, `ssh-rsa …`.
    pub fn read(texts: &[String]) -> Result<Self, EscrowError> {
        let mut recipients: Vec<Box<dyn Recipient + Send + Sync>> = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let text = text.trim();
            if let Ok(recipient) = text.parse::<x25519::Recipient>() {
                recipients.push(Box::new(recipient));
            } else if let Ok(recipient) = text.parse::<ssh::Recipient>() {
                recipients.push(Box::new(recipient));
            } else {
                return Err(EscrowError::Recipient(index + 1));
            }
        }
        if recipients.is_empty() { Err(EscrowError::Nobody) } else { Ok(Self(recipients)) }
    }
}

impl Identities {
    /// Reads an identity file of age, or a private key of SSH.
    pub fn read(text: &str) -> Result<Self, EscrowError> {
        if text.contains("-----BEGIN") {
            return match ssh::Identity::from_buffer(text.as_bytes(), None) {
                Ok(identity @ ssh::Identity::Unencrypted(_)) => Ok(Self(vec![Box::new(identity)])),
                _ => Err(EscrowError::NoIdentity),
            };
        }
        let identities = IdentityFile::from_buffer(text.as_bytes()).ok().and_then(|file| file.into_identities().ok());
        match identities {
            Some(identities) if !identities.is_empty() => {
                Ok(Self(identities.into_iter().map(|identity| identity as Box<dyn Identity>).collect()))
            }
            _ => Err(EscrowError::NoIdentity),
        }
    }
}

impl Identities {
    /// One that is at hand.
    pub(crate) fn one(identity: x25519::Identity) -> Self {
        Self(vec![Box::new(identity)])
    }

    /// These, and others beside them: any one opens.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Identities({})", self.0.len())
    }
}

/// The age file of a key. The key has opened what its certificate sealed before.
pub fn seal(key: &KeySecret, namespace: &str, recipients: &Recipients) -> Result<(Vec<u8>, Identities), EscrowError> {
    if !key.works() {
        return Err(EscrowError::Content("what its certificate seals, its private key does not open".to_owned()));
    }
    encrypt(key.to_secret(namespace).as_bytes(), recipients)
}

/// An age file, in armour: text that a person can carry.
///
/// Beside the recipients there is one more, made for this call: with its identity, what was stored can be opened again, and is proved to
/// hold what it should, where no identity of a person's is at hand. Nobody keeps it.
pub fn encrypt(secret: &[u8], recipients: &Recipients) -> Result<(Vec<u8>, Identities), EscrowError> {
    let failed = |error: &dyn fmt::Display| EscrowError::Encryption(error.to_string());
    let trial = x25519::Identity::generate();
    let trial_recipient = trial.to_public();
    let recipients =
        recipients.0.iter().map(|recipient| &**recipient as &dyn Recipient).chain([&trial_recipient as &dyn Recipient]);
    let encryptor = Encryptor::with_recipients(recipients).map_err(|error| failed(&error))?;
    let mut file = Vec::new();
    let armour = ArmoredWriter::wrap_output(&mut file, Format::AsciiArmor).map_err(|error| failed(&error))?;
    let mut writer = encryptor.wrap_output(armour).map_err(|error| failed(&error))?;
    writer.write_all(secret).map_err(|error| failed(&error))?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(|error| failed(&error))?;
    Ok((file, Identities::one(trial)))
}

/// Whether it is a file of the age format, armoured or not.
pub fn is_encrypted(file: &[u8]) -> bool {
    file.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") || file.starts_with(b"age-encryption.org/")
}

/// What is in an age file.
pub fn decrypt(file: &[u8], identities: &Identities) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
    let failed = |error: &dyn fmt::Display| EscrowError::Decryption(error.to_string());
    let decryptor = Decryptor::new_buffered(ArmoredReader::new(file)).map_err(|error| failed(&error))?;
    let identities = identities.0.iter().map(|identity| &**identity);
    let mut reader = decryptor.decrypt(identities).map_err(|error| failed(&error))?;
    // Enough for any key: a Vec that grows leaves its old bytes behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 << 10));
    reader.read_to_end(&mut text).map_err(|error| failed(&error))?;
    Ok(text)
}

/// The key of an age file, which has opened what its certificate sealed.
pub fn open(file: &[u8], identities: &Identities) -> Result<KeySecret, EscrowError> {
    let text = decrypt(file, identities)?;
    let mut secret: serde_json::Value =
        serde_json::from_slice(&text).map_err(|_| EscrowError::Content("it is no Secret in JSON".to_owned()))?;
    let key = KeySecret::read(&secret);
    if let Some(serde_json::Value::String(text)) = secret.pointer_mut("/data/tls.key") {
        zeroize::Zeroize::zeroize(text);
    }
    let key = key?;
    if key.works() {
        Ok(key)
    } else {
        Err(EscrowError::Content("its private key does not open what its certificate seals".to_owned()))
    }
}
