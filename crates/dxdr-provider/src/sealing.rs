//! What can look inside SealedSecrets.

use std::{collections::BTreeSet, fmt};

use dxdr_environment::KeyFingerprint;

/// SHA-256 of what a Secret holds: its items' names and values. Never stored: values may be short enough to be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(pub [u8; 32]);

impl fmt::Debug for ContentDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ContentDigest")
    }
}

/// What became of opening a SealedSecret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsealed {
    /// The keys that its items opened with.
    pub keys: BTreeSet<KeyFingerprint>,
    /// The items that no key opens, by their names.
    pub unopened: Vec<String>,
    /// Of the Secret that it makes, where every item opened.
    pub content: Option<ContentDigest>,
}

/// Holds sealing keys, and tells nothing of what they open but digests. Work for a processor, not for a network: it may block for
/// milliseconds.
pub trait Unsealer: Send + Sync {
    /// Opens a SealedSecret, given as JSON. What is none has nothing in it.
    fn unseal(&self, sealed_secret: &[u8]) -> Unsealed;

    /// Of a Secret as the API has it, to be compared with what [`unseal`](Self::unseal) found; `None` where it cannot be read.
    fn content(&self, secret: &[u8]) -> Option<ContentDigest>;
}
