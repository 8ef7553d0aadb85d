//! What to do about what Velero says went wrong.

/// Words of a message that say what is behind it, and what mends it. The first that fits counts.
const REMEDIES: [(&[&str], &str); 17] = [
    (
        &["x509: certificate signed by unknown authority", "x509: certificate is not trusted"],
        "the store's certificate is of an authority that Velero does not know, or of another one than `spec.objectStorage.caCert` of the location says: put the right one there, base64 of PEM",
    ),
    (
        &["x509: "],
        "Velero does not accept the store's certificate: `spec.config.s3Url` must name a host that the certificate is for, and it must not have expired",
    ),
    (
        &["invalid top-level directories"],
        "something else lies beside Velero's folders: move it away, or give Velero a prefix of its own; `dxdr check --cluster` names it",
    ),
    (
        &["unable to get key for secret", "unable to get credentials", "failed to get credential"],
        "the Secret with the credentials is missing or lacks the key: `dxdr check --cluster` says which one, and how to make it",
    ),
    (&["NoSuchBucket"], "the bucket is not there: make it, or name the right one"),
    (
        &["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidClientTokenId"],
        "the store does not accept the credentials: renew those in the Secret that the location names",
    ),
    (&["AccessDenied", "Forbidden"], "the credentials do not allow it: Velero lists, reads, writes and deletes in its prefix"),
    (
        &["unable to locate ObjectStore plugin", "unable to locate VolumeSnapshotter plugin"],
        "a plugin is missing: `velero plugin add velero/velero-plugin-for-PROVIDER:VERSION`",
    ),
    (
        &["connection refused", "no such host", "i/o timeout"],
        "Velero does not reach the store: look at `spec.config` of the location",
    ),
    (
        &["failed to get VolumeSnapshotClass", "velero.io/csi-volumesnapshotclass"],
        "no VolumeSnapshotClass for the driver has Velero's label: `kubectl label volumesnapshotclass NAME velero.io/csi-volumesnapshot-class=true`",
    ),
    (
        &["has no volume backing this claim", "not in phase Bound"],
        "the claim is bound to no volume: delete it if nothing uses it, or let a pod use it",
    ),
    (
        &["more than one possible volume snapshot location"],
        "there are several VolumeSnapshotLocations of one provider: start the server with `--default-volume-snapshot-locations PROVIDER:NAME`, or leave one",
    ),
    (
        &["during the server starting"],
        "Velero was stopped while the backup ran: `kubectl describe pods` in its namespace says why; too little memory is common",
    ),
    (
        &["timed out awaiting reconciliation of volumesnapshot", "timed out waiting for volumesnapshot", "CSISnapshotTimeout"],
        "the storage took longer for a snapshot than the policy's `volumes.timeout`: `kubectl describe volumesnapshot` shows what the driver says",
    ),
    (
        &["command terminated with exit code", "error executing hook", "hook execution failed"],
        "a command that a pod's annotations ask for failed in it: `velero backup logs` has what it printed",
    ),
    (&["backup already exists in object storage"], "a backup of that name is in the store already: take another one"),
    (&["is unavailable", "is currently unavailable"], "Velero does not reach its location: `dxdr check --cluster` says why"),
];

/// What to do about `message`; `None` where it says nothing that is known.
pub fn remedy(message: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(words, _)| words.iter().any(|words| message.contains(words))).map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_velero_says_leads_to_what_mends_it() {
        // As servers of v1.18.3 say it.
        for (message, mends) in [
            (
                "failed to get VolumeSnapshotClass for StorageClass fast: error getting VolumeSnapshotClass: failed to get VolumeSnapshotClass for provisioner csi.example.org, ensure that the desired VolumeSnapshot class has the velero.io/csi-volumesnapshotclass label",
                "kubectl label volumesnapshotclass",
            ),
            (
                "operation error S3: ListObjectsV2, tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "caCert",
            ),
            ("unable to get credentials: unable to get key for secret: Secret \"cloud\" not found", "dxdr check --cluster"),
            ("Backup store contains invalid top-level directories: [journal]", "move it away"),
            (
                "get a backup with status \"InProgress\" during the server starting, mark it as \"Failed\"",
                "kubectl describe pods",
            ),
        ] {
            assert!(remedy(message).is_some_and(|remedy| remedy.contains(mends)), "{message}");
        }
        assert_eq!(remedy("something else"), None);
    }
}
