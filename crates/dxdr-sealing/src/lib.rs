//! Sealed Secrets: ciphertexts, and the keys that make and open them. The only crate that holds plaintext beside keys.
//!
//! ```text
//! certificate (PEM) ─► SealingCertificate ─┐
//! Secret manifest ─► identity, items ──────┴─► seal ─► Ciphertext ─► SealedSecret
//! key (PEM) ─► OpeningKey ─► KeyRing ─────────► open ◄──────┘
//! ```
//!
//! Architecture invariant: no I/O. What is secret is zeroised when it is dropped, and no type that holds it can be printed.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bech32;
pub mod certificate;
pub mod check;
pub mod ciphertext;
pub mod escrow;
pub mod key;
pub mod key_secret;
pub mod manifest;
mod modular;
mod oaep;
mod payload;
pub mod plaintext;
pub mod reencrypt;
pub mod sealed;
mod shamir;
pub mod share;
mod unsealer;

pub use certificate::{CertificateError, SealingCertificate};
pub use ciphertext::{Ciphertext, InvalidCiphertext};
pub use key::{KeyError, KeyRing, OpeningKey};
pub use key_secret::{KeySecret, KeySecretError};
pub use manifest::{SealedSecret, SecretManifest};
pub use plaintext::Plaintext;
pub use sealed::{SealedItem, SealedObject, UnusableItem};
pub use share::Share;
