//! The configuration file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};

/// The folder in which a project keeps its configuration.
pub(crate) const FOLDER: &str = ".dxdr";

/// What a configuration file holds. Paths are relative to the folder that holds `.dxdr`, or to the file's own folder elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Configuration {
    /// Folders and files of manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) manifests: Vec<PathBuf>,
    /// Kubeconfig file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// Environment meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// Store to use instead of the policies'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    /// Zone of `--at` where neither the flag nor the environment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time_zone: Option<String>,
    /// Namespace in which Leases are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_namespace: Option<String>,
    /// Namespace in which Velero is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) velero_namespace: Option<String>,
    /// How Cloud SQL is reached, where that is not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloud_sql: Option<CloudSqlConfiguration>,
    /// How Google Cloud Storage is reached, where that is not as usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cloud_storage: Option<CloudStorageConfiguration>,
}

/// How Cloud SQL is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CloudSqlConfiguration {
    /// URL of another server than Google's, for emulation; `DXDR_CLOUD_SQL_ENDPOINT` in the environment counts more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// The key of a service account, as JSON in a file. Without it: application default credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_account_key: Option<PathBuf>,
}

/// How Google Cloud Storage is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CloudStorageConfiguration {
    /// URL of another server than Google's, for emulation. No credentials are sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
}

/// Finds and reads the configuration; the empty one where there is none. A file that was named must be there.
pub(crate) fn load(named: Option<&Path>) -> Result<Configuration, Failure> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => match find() {
            Some(path) => path,
            None => return Ok(Configuration::default()),
        },
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::from_error(Kind::BadInput, error)
            .context(format!("cannot read the configuration {}", path.display()))
            .hint("name another one with `--config FILE`, or leave the flag out")
    })?;
    let mut configuration: Configuration = serde_saphyr::from_str(&text).map_err(|error| {
        Failure::new(Kind::BadInput, error.to_string()).context(format!("the configuration {} is wrong", path.display())).hint(
            "its fields: manifests, kubeconfig, context, environment, store, timeZone, leaseNamespace, veleroNamespace, cloudSql, cloudStorage",
        )
    })?;
    let folder = base(&path);
    for manifest in &mut configuration.manifests {
        *manifest = folder.join(&*manifest);
    }
    configuration.kubeconfig = configuration.kubeconfig.map(|kubeconfig| folder.join(kubeconfig));
    if let Some(cloud_sql) = &mut configuration.cloud_sql {
        cloud_sql.service_account_key = cloud_sql.service_account_key.take().map(|key| folder.join(key));
    }
    Ok(configuration)
}

/// The folder that relative paths start from.
fn base(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("."));
    match folder.file_name() {
        Some(name) if name == FOLDER => folder.parent().unwrap_or(Path::new(".")).to_owned(),
        _ => folder.to_owned(),
    }
}

/// `.dxdr/config.yaml` in the current folder or one above, then the person's own.
fn find() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let above = here.ancestors().map(|folder| folder.join(FOLDER).join("config.yaml"));
    let own = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")))
        .map(|folder| folder.join("dxdr/config.yaml"));
    above.chain(own).find(|path| path.is_file())
}
