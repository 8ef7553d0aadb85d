//! The shipped manifests, with a store that the demonstration has.

use std::path::Path;

/// As shipped in `policies/`.
const ENVIRONMENTS: &str = include_str!("../../../../policies/environments.yaml");
/// As shipped in `policies/`.
const BACKUP: &str = include_str!("../../../../policies/backup.yaml");

/// File names and texts: the shipped environments and policies, and a store in `directory` under the name they use. The engine is
/// dxdr's own, since no Velero runs in the sandbox, and databases are left out: no Cloud SQL runs there either.
pub(crate) fn in_directory(directory: &Path) -> [(&'static str, String); 3] {
    let path = serde_json::Value::from(directory.to_string_lossy().into_owned());
    let store = store(&format!("directory:\n    path: {path}"));
    let native = native();
    let backup = native.lines().filter(|line| !line.starts_with("  databases:")).map(|line| format!("{line}\n")).collect();
    [("environments.yaml", ENVIRONMENTS.to_owned()), ("stores.yaml", store), ("backup.yaml", backup)]
}

/// The same with a store in `bucket`, and databases exported into it as shipped.
pub(crate) fn in_bucket(bucket: &str) -> [(&'static str, String); 3] {
    let store = store(&format!("gcs:\n    bucket: {bucket}"));
    [("environments.yaml", ENVIRONMENTS.to_owned()), ("stores.yaml", store), ("backup.yaml", native())]
}

fn native() -> String {
    BACKUP.replace("engine: velero", "engine: native")
}

fn store(location: &str) -> String {
    format!("apiVersion: dxdr.io/v1alpha1\nkind: BackupStore\nmetadata:\n  name: primary\nspec:\n  {location}\n")
}
