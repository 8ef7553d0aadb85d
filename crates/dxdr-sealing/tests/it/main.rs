//! Ciphertexts against those of the program that invented them, and manifests by values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod ciphers;
mod escrow;
mod hostile;
mod manifests;
mod shares;

use dxdr_sealing::{OpeningKey, SealingCertificate};
use rcgen::{CertificateParams, KeyPair};
use rsa::{
    pkcs1::DecodeRsaPrivateKey as _,
    pkcs8::{EncodePrivateKey as _, LineEnding},
};

/// A throwaway key with which Sealed Secrets' own code made the other vectors.
const KEY: &str = include_str!("../vectors/key.pem");
const FINGERPRINT: &str = "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k";

fn key() -> OpeningKey {
    OpeningKey::from_pem(KEY).unwrap()
}

fn pkcs8() -> String {
    let key = rsa::PrivateKey::from_pkcs1_pem(KEY).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

fn certificate_pem() -> String {
    let key = KeyPair::from_pem(&pkcs8()).unwrap();
    CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
}

fn certificate() -> SealingCertificate {
    SealingCertificate::from_pem(&certificate_pem()).unwrap()
}
