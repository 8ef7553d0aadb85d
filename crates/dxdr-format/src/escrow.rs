//! What lies beside the file of a key in escrow: `dxdr.io/v1` `EscrowedKey`, created once like everything else.

use dxdr_catalog::{EscrowedKey, Sha256};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    FormatError,
    version::{self, API_VERSION},
};

const KIND: &str = "EscrowedKey";
const WHAT: &str = "entry of the escrow";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    api_version: String,
    kind: String,
    fingerprint: String,
    certificate: String,
    not_before: Timestamp,
    not_after: Timestamp,
    secret: StoredSecret,
    cluster: String,
    recipients: Vec<String>,
    escrowed: Timestamp,
    file: StoredFile,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredSecret {
    namespace: String,
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFile {
    size: u64,
    sha256: String,
}

/// The bytes of an entry. When it was proved is not among them: that is an object of its own.
pub fn write(key: &EscrowedKey) -> Vec<u8> {
    let stored = StoredKey {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        fingerprint: key.fingerprint.to_string(),
        certificate: key.certificate.clone(),
        not_before: key.not_before,
        not_after: key.not_after,
        secret: StoredSecret { namespace: key.namespace.clone(), name: key.name.clone() },
        cluster: key.cluster.clone(),
        recipients: key.recipients.clone(),
        escrowed: key.escrowed,
        file: StoredFile { size: key.size, sha256: key.sha256.to_string() },
    };
    // Texts and numbers serialise.
    let mut bytes = serde_json::to_vec_pretty(&stored).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Reads an entry.
pub fn read(bytes: &[u8]) -> Result<EscrowedKey, FormatError> {
    version::check(WHAT, KIND, bytes)?;
    let stored: StoredKey = serde_json::from_slice(bytes).map_err(|source| FormatError::Json { what: WHAT, source })?;
    let wrong = |found: String, expected: &str| FormatError::Kind { what: WHAT, found, expected: expected.to_owned() };
    Ok(EscrowedKey {
        fingerprint: stored.fingerprint.parse().map_err(|_| wrong(format!("of {}", stored.fingerprint), "of a fingerprint"))?,
        certificate: stored.certificate,
        not_before: stored.not_before,
        not_after: stored.not_after,
        namespace: stored.secret.namespace,
        name: stored.secret.name,
        cluster: stored.cluster,
        recipients: stored.recipients,
        escrowed: stored.escrowed,
        proved: None,
        size: stored.file.size,
        sha256: Sha256::parse(&stored.file.sha256).ok_or_else(|| wrong("without a digest".to_owned(), "with a SHA-256"))?,
        whole: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_what_is_newer_is_refused() {
        let key = EscrowedKey {
            fingerprint: "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k".parse().unwrap(),
            certificate: "-----BEGIN CERTIFICATE-----\n".to_owned(),
            not_before: "2026-05-01T10:00:00Z".parse().unwrap(),
            not_after: "2036-05-01T10:00:00Z".parse().unwrap(),
            namespace: "kube-system".to_owned(),
            name: "sealed-secrets-keyabcde".to_owned(),
            cluster: "context `production` (https://10.0.0.1)".to_owned(),
            recipients: vec!["age1x".to_owned()],
            escrowed: "2026-05-01T10:00:05Z".parse().unwrap(),
            proved: None,
            size: 3,
            sha256: Sha256([7; 32]),
            whole: false,
        };
        let bytes = write(&key);
        assert_eq!(read(&bytes).unwrap(), key);
        let newer = String::from_utf8(bytes).unwrap().replace("dxdr.io/v1", "dxdr.io/v2");
        assert!(matches!(read(newer.as_bytes()), Err(FormatError::Future { .. })));
        assert!(read(b"{}").is_err());
    }
}
