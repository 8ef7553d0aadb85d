//! The shipped manifests, with the store replaced by a directory.

use std::path::Path;

/// As shipped in `policies/`.
const ENVIRONMENTS: &str = include_str!("../../../../policies/environments.yaml");
/// As shipped in `policies/`.
const BACKUP: &str = include_str!("../../../../policies/backup.yaml");

/// File names and texts: the shipped environments and policies, and a store in `directory` under the name they use. The engine is
/// dxdr's own, since no Velero runs in the sandbox, and databases are left out: no Cloud SQL runs there either.
pub(crate) fn files(directory: &Path) -> [(&'static str, String); 3] {
    let store = format!(
        "apiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata:\n  name: primary\nspec:\n  directory:\n    path: {}\n",
        serde_json::Value::from(directory.to_string_lossy().into_owned())
    );
    let native = BACKUP.replace("engine: velero", "engine: native");
    let backup = native.lines().filter(|line| !line.starts_with("  databases:")).map(|line| format!("{line}\n")).collect();
    [("environments.yaml", ENVIRONMENTS.to_owned()), ("stores.yaml", store), ("backup.yaml", backup)]
}
