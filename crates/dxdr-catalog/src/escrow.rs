//! Sealing keys that are kept apart from the cluster.

use dxdr_environment::KeyFingerprint;
use jiff::Timestamp;

use crate::recovery_point::Sha256;

/// A key in escrow: all but what is secret of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscrowedKey {
    /// Which key.
    pub fingerprint: KeyFingerprint,
    /// Its certificate, PEM.
    pub certificate: String,
    /// From when on the certificate is valid: of several keys, the one whose certificate begins last is sealed with.
    pub not_before: Timestamp,
    /// Until when people should seal with it.
    pub not_after: Timestamp,
    /// Namespace of the Secret that it was taken from.
    pub namespace: String,
    /// Name of that Secret.
    pub name: String,
    /// The cluster, as people know it.
    pub cluster: String,
    /// The public keys of those who can open it.
    pub recipients: Vec<String>,
    /// When it was put there. To the second: it is part of the name.
    pub escrowed: Timestamp,
    /// When somebody last opened it with an identity and tried it.
    pub proved: Option<Timestamp>,
    /// Bytes of the file.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Sha256,
    /// Whether the store has that file, as it was written. Somebody who has not looked says no.
    pub whole: bool,
}
