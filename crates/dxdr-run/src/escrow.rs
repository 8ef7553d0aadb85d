//! Sealing keys in a store, apart from the cluster: what is there, and how it gets there.
//!
//! The bytes of a key's file are somebody else's business: they come encrypted, and leave so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dxdr_catalog::EscrowedKey;
use dxdr_environment::KeyFingerprint;
use dxdr_format::{hashing::sha256, layout::EscrowObject};
use dxdr_provider::object_storage::PutCondition;
use jiff::{SignedDuration, Timestamp};

use crate::{RunError, Store};

/// The keys that a policy has in escrow, each as it was put there last, or last such that its file is still there as it was written; the newest
/// certificate first.
pub async fn list(store: &Store, policy: &str) -> Result<Vec<EscrowedKey>, RunError> {
    let prefix = store.layout.escrow_prefix(policy);
    let mut entries: BTreeMap<KeyFingerprint, BTreeSet<Timestamp>> = BTreeMap::new();
    let mut proofs: BTreeMap<(KeyFingerprint, Timestamp), Timestamp> = BTreeMap::new();
    for key in store.keys(&prefix).await? {
        match store.layout.parse_escrow_key(policy, &key) {
            Some((fingerprint, EscrowObject::Entry(escrowed))) => {
                entries.entry(fingerprint).or_default().insert(escrowed);
            }
            Some((fingerprint, EscrowObject::Proof(escrowed, proved))) => {
                let known = proofs.entry((fingerprint, escrowed)).or_insert(proved);
                *known = (*known).max(proved);
            }
            // A file without an entry is one that was being written when everything stopped.
            Some((_, EscrowObject::File(_))) | None => {}
        }
    }
    let mut keys = Vec::with_capacity(entries.len());
    for (fingerprint, times) in entries {
        let mut known: Option<EscrowedKey> = None;
        for escrowed in times.into_iter().rev() {
            let key = store.layout.escrow_key(policy, &fingerprint, EscrowObject::Entry(escrowed));
            let Some(bytes) = store.read(&key).await? else { continue };
            let entry = dxdr_format::escrow::read(&bytes).map_err(|source| RunError::Format {
                key,
                store: store.storage.describe(),
                source,
            })?;
            let whole = match read_file(store, policy, &entry).await {
                Ok(_) => true,
                Err(RunError::Missing { .. } | RunError::Checksum { .. }) => false,
                Err(error) => return Err(error),
            };
            let proved = proofs.get(&(fingerprint.clone(), escrowed)).copied();
            let entry = EscrowedKey { proved, whole, ..entry };
            if whole {
                known = Some(entry);
                break;
            }
            known.get_or_insert(entry);
        }
        keys.extend(known);
    }
    keys.sort_by_key(|key| std::cmp::Reverse(key.not_before));
    Ok(keys)
}

/// Writes the file of a key, and answers what the store has of it now, with the entry that describes it. Nobody counts it yet. Names have seconds: where there
/// is a file of this one already, or of a later one, it gets the next.
pub async fn put_file(store: &Store, policy: &str, mut key: EscrowedKey, file: &[u8]) -> Result<(EscrowedKey, Bytes), RunError> {
    for known in store.keys(&store.layout.escrow_prefix(policy)).await? {
        if let Some((fingerprint, EscrowObject::File(there) | EscrowObject::Entry(there))) =
            store.layout.parse_escrow_key(policy, &known)
            && fingerprint == key.fingerprint
            && there >= key.escrowed
        {
            key.escrowed = there.checked_add(SignedDuration::from_secs(1)).unwrap_or(there);
        }
    }
    key.size = file.len() as u64;
    key.sha256 = sha256(file);
    let place = store.layout.escrow_key(policy, &key.fingerprint, EscrowObject::File(key.escrowed));
    store.write(&place, file.to_vec(), PutCondition::IfAbsent).await?;
    let stored = read_file(store, policy, &key).await?;
    Ok((key, stored))
}

/// Writes the entry that makes a file count: for when the file has been opened.
pub async fn put_entry(store: &Store, policy: &str, key: &EscrowedKey) -> Result<(), RunError> {
    let place = store.layout.escrow_key(policy, &key.fingerprint, EscrowObject::Entry(key.escrowed));
    Ok(store.write(&place, dxdr_format::escrow::write(key), PutCondition::IfAbsent).await?)
}

/// The file of a key, as it was put there.
pub async fn read_file(store: &Store, policy: &str, key: &EscrowedKey) -> Result<Bytes, RunError> {
    let place = store.layout.escrow_key(policy, &key.fingerprint, EscrowObject::File(key.escrowed));
    let Some(file) = store.read(&place).await? else {
        return Err(RunError::Missing { key: place, store: store.storage.describe() });
    };
    let found = sha256(&file);
    if found != key.sha256 {
        let (expected, found) = (key.sha256.to_string(), found.to_string());
        return Err(RunError::Checksum { key: place, store: store.storage.describe(), expected, found });
    }
    Ok(file)
}

/// Writes down that somebody has opened the file, and tried the key.
pub async fn note_proof(store: &Store, policy: &str, key: &EscrowedKey, now: Timestamp) -> Result<(), RunError> {
    let place = store.layout.escrow_key(policy, &key.fingerprint, EscrowObject::Proof(key.escrowed, now));
    Ok(store.write(&place, Bytes::new(), PutCondition::Always).await?)
}
