//! Key rings as what backups look into SealedSecrets with.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_provider::{
    Unsealer,
    sealing::{ContentDigest, Unsealed},
};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{key::KeyRing, sealed::SealedObject};

/// A Secret, its values where they lie.
#[derive(Deserialize)]
struct SecretContent<'a> {
    #[serde(borrow, default)]
    data: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
}

impl Unsealer for KeyRing {
    fn unseal(&self, sealed_secret: &[u8]) -> Unsealed {
        let mut unsealed = Unsealed::default();
        // Lists leave out what all their items have in common.
        let Ok(object) = serde_json::from_slice::<Value>(sealed_secret) else { return unsealed };
        let mut object = SealedObject::of(&object);
        object.items.sort_by(|one, other| one.name.cmp(&other.name));
        let label = object.identity.label();
        let mut digest = Sha256::new();
        for item in &object.items {
            let opened = item.content.as_ref().ok().and_then(|ciphertext| self.open(&label, ciphertext));
            match opened {
                Some((key, value)) if item.whole => {
                    unsealed.keys.insert(key.fingerprint().clone());
                    unsealed.content = self.content(value.expose());
                }
                Some((key, value)) => {
                    unsealed.keys.insert(key.fingerprint().clone());
                    digest_item(&mut digest, &item.name, value.expose());
                }
                None => unsealed.unopened.push(item.name.clone()),
            }
        }
        if unsealed.unopened.is_empty() && !object.is_whole() {
            unsealed.content = Some(ContentDigest(digest.finalize().into()));
        }
        unsealed
    }

    fn content(&self, secret: &[u8]) -> Option<ContentDigest> {
        let secret: SecretContent<'_> = serde_json::from_slice(secret).ok()?;
        let mut digest = Sha256::new();
        for (name, value) in secret.data.unwrap_or_default() {
            let value = Zeroizing::new(STANDARD.decode(value.as_bytes()).ok()?);
            digest_item(&mut digest, &name, &value);
        }
        Some(ContentDigest(digest.finalize().into()))
    }
}

/// Each with its length in front: nothing can move from one into the next.
fn digest_item(digest: &mut Sha256, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
}
