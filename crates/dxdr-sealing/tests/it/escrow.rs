//! Keys that are put into escrow come out again, for those they were put there for and nobody else.

use age::secrecy::ExposeSecret as _;
use dxdr_sealing::{
    KeyRing, KeySecret, SealingCertificate,
    escrow::{EscrowError, Identities, Recipients, open, seal},
    key_secret::begin_behind,
};
use jiff::Timestamp;

/// A key pair of SSH made for these tests, and for nothing else.
const SSH_PUBLIC: &str = include_str!("../vectors/ssh.pub");
const SSH_PRIVATE: &str = include_str!("../vectors/ssh");

fn now() -> Timestamp {
    "2026-05-01T10:00:00.5Z".parse().unwrap()
}

#[test]
fn a_new_key_is_what_the_controller_would_make() {
    let key = KeySecret::generate(now()).unwrap();
    assert!(key.works() && key.is_loaded());
    let certificate = key.certificate();
    assert_eq!(certificate.bits(), 4096);
    assert_eq!(certificate.not_before().to_string(), "2026-05-01T10:00:00Z");
    assert_eq!(certificate.not_after().to_string(), "2036-04-28T10:00:00Z");
    assert!(format!("{key:?}").contains("SHA256:") && !format!("{key:?}").contains("PRIVATE"));
    let secret: serde_json::Value = serde_json::from_str(&key.to_secret("kube-system")).unwrap();
    assert_eq!(secret["type"], "kubernetes.io/tls");
    assert_eq!(secret["metadata"]["labels"]["sealedsecrets.bitnami.com/sealed-secrets-key"], "active");
    let read = KeySecret::read(&secret).unwrap();
    assert_eq!((read.fingerprint(), &read.name), (key.fingerprint(), &key.name));

    let other = KeySecret::generate(now()).unwrap();
    let mut mixed = secret.clone();
    mixed["data"]["tls.crt"] =
        serde_json::from_str::<serde_json::Value>(&other.to_secret("a")).unwrap()["data"]["tls.crt"].clone();
    assert!(KeySecret::read(&mixed).unwrap_err().to_string().contains("of another key"));
    let mut without = secret;
    without["data"]["tls.crt"] = serde_json::Value::Null;
    assert_eq!(KeySecret::read(&without).unwrap_err().to_string(), "it has no tls.crt");
}

#[test]
fn a_new_key_begins_later_than_every_other_one() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let begin = |others: &[&str]| {
        let begin = begin_behind(now(), others.iter().map(|other| at(other)));
        Timestamp::from_second(begin.as_second()).unwrap().to_string()
    };
    assert_eq!(begin(&[]), "2026-05-01T10:00:00Z");
    assert_eq!(begin(&["2026-05-01T09:59:59Z"]), "2026-05-01T10:00:00Z");
    assert_eq!(begin(&["2026-04-01T00:00:00Z", "2026-05-01T10:00:00Z"]), "2026-05-01T10:00:01Z", "in the same second");
    assert_eq!(begin(&["2026-05-03T00:00:00Z"]), "2026-05-03T00:00:01Z", "made by somebody whose clock is ahead");
}

#[test]
fn everybody_whom_it_is_for_opens_it_and_nobody_else() {
    let (first, second, stranger) =
        (age::x25519::Identity::generate(), age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let key = KeySecret::generate(now()).unwrap();
    let recipients = [first.to_public().to_string(), second.to_public().to_string(), SSH_PUBLIC.trim().to_owned()];
    let (file, trial) = seal(&key, "kube-system", &Recipients::read(&recipients).unwrap()).unwrap();
    assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
    let private = key.to_secret("kube-system");
    let line = private.lines().find(|line| line.contains("tls.key")).unwrap().trim();
    assert!(!String::from_utf8_lossy(&file).contains(line));
    let of = |identity: &age::x25519::Identity| {
        Identities::read(&format!("# created: today\n{}\n", identity.to_string().expose_secret())).unwrap()
    };
    for identities in [of(&first), of(&second), Identities::read(SSH_PRIVATE).unwrap(), trial] {
        let opened = open(&file, &identities).unwrap();
        let sealed = SealingCertificate::from_pem(key.certificate().pem()).unwrap().seal("a/b", b"value").unwrap();
        let ring = KeyRing::new([opened.into_opening_key()]);
        assert_eq!(ring.open("a/b", &sealed).unwrap().1.expose(), b"value");
    }
    assert!(matches!(open(&file, &of(&stranger)), Err(EscrowError::Decryption(_))));
    let mut cut = file.clone();
    cut.truncate(file.len() / 2);
    assert!(open(&cut, &of(&first)).is_err());
    let middle = file.len() - 200;
    let mut changed = file;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    assert!(open(&changed, &of(&first)).is_err());
}

#[test]
fn what_is_no_key_is_said_without_being_repeated() {
    let private = age::x25519::Identity::generate().to_string();
    let mut misspelt = age::x25519::Identity::generate().to_public().to_string();
    misspelt.replace_range(10..11, if &misspelt[10..11] == "q" { "p" } else { "q" });
    for (text, place) in [(private.expose_secret().to_owned(), 2), (misspelt, 2)] {
        let valid = age::x25519::Identity::generate().to_public().to_string();
        let Err(error) = Recipients::read(&[valid, text.clone()]) else { panic!("{text} is no recipient") };
        assert!(error.to_string().starts_with(&format!("recipient {place} of the escrow")));
        assert!(!error.to_string().contains(&text));
    }
    assert!(matches!(Recipients::read(&[]), Err(EscrowError::Nobody)));
    for text in ["", "age1notanidentity", "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----"] {
        assert!(matches!(Identities::read(text), Err(EscrowError::NoIdentity)), "{text}");
    }
}
