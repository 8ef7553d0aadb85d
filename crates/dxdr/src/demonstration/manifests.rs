//! The shipped manifests, with a store that the demonstration has.

/// As shipped in `policies/`.
const ENVIRONMENTS: &str = include_str!("../../../../policies/environments.yaml");
/// As shipped in `policies/`.
const BACKUP: &str = include_str!("../../../../policies/backup.yaml");

/// File names and texts: the shipped environments and policies, and a store in `bucket` under the name they use. The engine is dxdr's own, since no
/// Velero runs there.
pub(crate) fn in_bucket(bucket: &str) -> [(&'static str, String); 3] {
    let store = format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata:\n  name: primary\nspec:\n  gcs:\n    bucket: {bucket}\n"
    );
    let backup = BACKUP.replace("engine: velero", "engine: native");
    [("environments.yaml", ENVIRONMENTS.to_owned()), ("stores.yaml", store), ("backup.yaml", backup)]
}
