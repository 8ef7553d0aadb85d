//! Sealing and opening.

use dxdr_sealing::{Ciphertext, KeyRing, OpeningKey};
use proptest::prelude::*;

use crate::{FINGERPRINT, KEY, certificate, key, pkcs8};

const VECTORS: [(&str, &str); 2] =
    [("myns/myname", include_str!("../vectors/strict.txt")), ("myns", include_str!("../vectors/namespace-wide.txt"))];

#[test]
fn what_the_controllers_own_code_sealed_opens_under_its_label_alone() {
    let key = key();
    for (label, text) in VECTORS {
        let ciphertext = Ciphertext::from_base64(text).unwrap();
        assert_eq!(key.open(label, &ciphertext).unwrap().expose(), b"s3cr3t");
        for (other, _) in VECTORS.into_iter().chain([("", "")]).filter(|(other, _)| *other != label) {
            assert!(key.open(other, &ciphertext).is_none(), "{label} opened as {other:?}");
        }
    }
}

#[test]
fn the_fingerprint_is_that_of_the_controllers_registry() {
    assert_eq!(key().fingerprint().as_str(), FINGERPRINT);
    assert_eq!(certificate().fingerprint().as_str(), FINGERPRINT);
}

#[test]
fn both_forms_of_a_key_open() {
    let (label, text) = VECTORS[0];
    let ciphertext = Ciphertext::from_base64(text).unwrap();
    let indented = KEY.replace('\n', "\r\n    ");
    for form in [pkcs8(), format!("a comment\n{KEY}"), indented] {
        assert_eq!(OpeningKey::from_pem(&form).unwrap().open(label, &ciphertext).unwrap().expose(), b"s3cr3t");
    }
}

#[test]
fn an_independent_implementation_opens_what_was_sealed() {
    use rsa::{oaep::DecryptingKey, pkcs1::DecodeRsaPrivateKey as _, traits::Decryptor as _};
    let sealed = certificate().seal("shop/database", b"value").unwrap();
    let length = usize::from(u16::from_be_bytes([sealed.as_bytes()[0], sealed.as_bytes()[1]]));
    let key = rsa::PrivateKey::from_pkcs1_pem(KEY).unwrap();
    let key = DecryptingKey::<sha2::Sha256>::new_with_label(key, b"shop/database".to_vec());
    let session_key = key.decrypt(&sealed.as_bytes()[2..2 + length]).unwrap();
    assert_eq!(session_key.len(), 32);
    assert_eq!(sealed.as_bytes().len(), 2 + length + b"value".len() + 16);
}

#[test]
fn no_two_ciphertexts_are_the_same() {
    let certificate = certificate();
    assert_ne!(certificate.seal("", b"value").unwrap(), certificate.seal("", b"value").unwrap());
}

#[test]
fn a_ring_says_which_key_opened() {
    let generated = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let newest = OpeningKey::from_pem(&generated.serialize_pem()).unwrap();
    let ring = KeyRing::new([newest, key(), key()]);
    assert_eq!(ring.keys().len(), 2);
    let ciphertext = Ciphertext::from_base64(VECTORS[0].1).unwrap();
    let (opened_by, plaintext) = ring.open(VECTORS[0].0, &ciphertext).unwrap();
    assert_eq!((opened_by.fingerprint().as_str(), plaintext.expose()), (FINGERPRINT, b"s3cr3t".as_slice()));
}

#[test]
fn values_and_keys_cannot_be_printed() {
    let ciphertext = Ciphertext::from_base64(VECTORS[0].1).unwrap();
    let plaintext = key().open(VECTORS[0].0, &ciphertext).unwrap();
    assert!(plaintext.same_as(&plaintext.clone()));
    assert_eq!(
        format!("{plaintext:?} {:?}", key()),
        format!("Plaintext(…) OpeningKey {{ fingerprint: KeyFingerprint({FINGERPRINT:?}), .. }}")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_sealed_opens_and_what_is_changed_does_not(
        label in "[a-z0-9/.-]{0,40}", value in proptest::collection::vec(any::<u8>(), 0..2000), at in any::<prop::sample::Index>(), bit in 0_u8..8,
    ) {
        let sealed = certificate().seal(&label, &value).unwrap();
        let text = sealed.to_base64();
        let read = Ciphertext::from_base64(&text).unwrap();
        prop_assert_eq!(&read, &sealed);
        let opened = key().open(&label, &read).unwrap();
        prop_assert_eq!(opened.expose(), &value[..]);
        let other = format!("{label}x");
        prop_assert!(key().open(&other, &read).is_none());
        let mut bytes = sealed.as_bytes().to_vec();
        let changed = at.index(bytes.len());
        bytes[changed] ^= 1 << bit;
        if let Ok(changed) = Ciphertext::from_bytes(bytes) {
            prop_assert!(key().open(&label, &changed).is_none());
        }
    }
}
