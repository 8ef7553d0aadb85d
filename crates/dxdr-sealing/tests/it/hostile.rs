//! Input that somebody got wrong, or means harm with.

use dxdr_sealing::{CertificateError, Ciphertext, InvalidCiphertext, KeyError, OpeningKey, SealingCertificate};

use crate::{KEY, certificate_pem};

#[test]
fn broken_ciphertexts_say_what_is_wrong() {
    let whole = include_str!("../vectors/strict.txt");
    assert!(matches!(Ciphertext::from_base64("not base64!"), Err(InvalidCiphertext::Encoding(_))));
    assert!(matches!(Ciphertext::from_base64(&whole[..whole.len() - 3]), Err(InvalidCiphertext::Encoding(_))));
    assert!(matches!(Ciphertext::from_base64(&format!("{} {}", &whole[..8], &whole[8..])), Err(InvalidCiphertext::Encoding(_))));
    assert_eq!(Ciphertext::from_base64(""), Err(InvalidCiphertext::TooShort { found: 0, expected: 2 }));
    assert_eq!(Ciphertext::from_base64("AQ=="), Err(InvalidCiphertext::TooShort { found: 1, expected: 2 }));
    assert_eq!(Ciphertext::from_base64("AQAA"), Err(InvalidCiphertext::TooShort { found: 3, expected: 274 }));
    assert_eq!(Ciphertext::from_base64("AAAA"), Err(InvalidCiphertext::KeySize(0)));
    assert_eq!(Ciphertext::from_base64("////"), Err(InvalidCiphertext::KeySize(65535)));
}

#[test]
fn a_ciphertext_may_have_line_breaks_in_it() {
    let whole = include_str!("../vectors/strict.txt").trim_end();
    let wrapped: Vec<String> = whole.as_bytes().chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    assert_eq!(Ciphertext::from_base64(&wrapped.join("\r\n")), Ciphertext::from_base64(whole));
}

#[test]
fn only_rsa_certificates_seal() {
    let curve = rcgen::generate_simple_self_signed(vec!["sealing".to_owned()]).unwrap().cert.pem();
    assert!(matches!(SealingCertificate::from_pem(&curve), Err(CertificateError::NotRsa(_))));
    assert!(matches!(SealingCertificate::from_pem(""), Err(CertificateError::NoCertificate)));
    assert!(matches!(SealingCertificate::from_pem(KEY), Err(CertificateError::NoCertificate)));
    let broken = certificate_pem().replace("MII", "MIJ");
    assert!(matches!(SealingCertificate::from_pem(&broken), Err(CertificateError::Broken(_))));
    let cut: String = certificate_pem().lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(matches!(SealingCertificate::from_pem(&cut), Err(CertificateError::NoCertificate)));
}

#[test]
fn the_first_certificate_counts_wherever_it_stands() {
    let pem = certificate_pem();
    let expected = SealingCertificate::from_pem(&pem).unwrap();
    let indented = pem.replace('\n', "\r\n      ");
    for text in [format!("# sealing key\n{pem}{pem}"), indented] {
        let read = SealingCertificate::from_pem(&text).unwrap();
        assert_eq!((read.fingerprint(), read.pem()), (expected.fingerprint(), expected.pem()));
    }
}

#[test]
fn only_rsa_keys_open_and_no_error_has_a_part_of_them() {
    let curve = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let cut = KEY.replace("MIIEpAIBAAKCAQEA", "MIIEpAIBAAKC");
    for (text, expected) in [
        ("", KeyError::NoKey),
        (certificate_pem().as_str(), KeyError::NoKey),
        (curve.as_str(), KeyError::Broken),
        (cut.as_str(), KeyError::Broken),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII\n-----END ENCRYPTED PRIVATE KEY-----\n", KeyError::Encrypted),
        ("-----BEGIN EC PRIVATE KEY-----\nMII\n-----END EC PRIVATE KEY-----\n", KeyError::NotRsa("EC PRIVATE KEY")),
    ] {
        let error = OpeningKey::from_pem(text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("MII"));
    }
}
