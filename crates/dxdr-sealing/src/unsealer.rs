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

use crate::{key::KeyRing, manifest::LAST_APPLIED, sealed::SealedObject};

type Texts<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// A Secret, its values where they lie.
#[derive(Deserialize)]
struct SecretContent<'a> {
    #[serde(borrow, default)]
    data: Option<Texts<'a>>,
    #[serde(flatten, borrow)]
    around: Around<'a>,
}

/// What a Secret is beside its values, and what the template of a SealedSecret makes of it.
#[derive(Default, Deserialize)]
struct Around<'a> {
    #[serde(borrow, default)]
    metadata: Option<Noted<'a>>,
    #[serde(borrow, default, rename = "type")]
    secret_type: Option<Cow<'a, str>>,
    #[serde(default)]
    immutable: Option<bool>,
}

#[derive(Default, Deserialize)]
struct Noted<'a> {
    #[serde(borrow, default)]
    labels: Option<Texts<'a>>,
    #[serde(borrow, default)]
    annotations: Option<Texts<'a>>,
}

impl Unsealer for KeyRing {
    fn unseal(&self, sealed_secret: &[u8]) -> Unsealed {
        let mut unsealed = Unsealed::default();
        // Lists leave out what all their items have in common.
        let Ok(object) = serde_json::from_slice::<Value>(sealed_secret) else { return unsealed };
        let (template, beside) = (&object["spec"]["template"], &object["spec"]["data"]);
        let mut object = SealedObject::of(&object);
        let whole = object.is_whole();
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
        // Beside items, the controller takes the deprecated field for a mistake, and makes nothing.
        let is_refused = !whole && !beside.is_null() && !object.items.is_empty();
        if unsealed.unopened.is_empty() && !whole && !is_refused {
            // A template that makes no sense makes no Secret either.
            let around = if template.is_null() { Some(Around::default()) } else { Around::deserialize(template).ok() };
            unsealed.content = around.map(|around| around.digest(digest));
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
        Some(secret.around.digest(digest))
    }
}

impl Around<'_> {
    /// Behind the values, what else must be the same: a Secret that somebody has labelled by hand is not made again by its SealedSecret.
    fn digest(&self, values: Sha256) -> ContentDigest {
        let mut digest = Sha256::new();
        digest.update(values.finalize());
        let noted = self.metadata.as_ref();
        let labels = noted.and_then(|noted| noted.labels.as_ref()).into_iter().flatten();
        let annotations = noted.and_then(|noted| noted.annotations.as_ref()).into_iter().flatten();
        // A copy of the whole object, which says nothing that is not in it.
        let annotations = annotations.filter(|(name, _)| !LAST_APPLIED.contains(&&***name));
        let secret_type = self.secret_type.as_deref().filter(|known| !known.is_empty()).unwrap_or("Opaque");
        digest_item(&mut digest, "type", secret_type.as_bytes());
        digest_item(&mut digest, "immutable", &[u8::from(self.immutable == Some(true))]);
        for (what, texts) in [("label", labels.collect::<Vec<_>>()), ("annotation", annotations.collect())] {
            digest.update((texts.len() as u64).to_be_bytes());
            for (name, text) in texts {
                digest_item(&mut digest, what, name.as_bytes());
                digest_item(&mut digest, what, text.as_bytes());
            }
        }
        ContentDigest(digest.finalize().into())
    }
}

/// Each with its length in front: nothing can move from one into the next.
fn digest_item(digest: &mut Sha256, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
}
