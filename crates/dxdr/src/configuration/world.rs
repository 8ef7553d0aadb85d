//! The world a command acts in: the model, and on demand the adapters that reach it.

use std::{path::PathBuf, sync::Arc};

use dxdr_api::Model;
use dxdr_cloud_sql::CloudSql;
use dxdr_environment::{Environment, EnvironmentName};
use dxdr_format::layout::StoreLayout;
use dxdr_kubernetes::{ConnectOptions, KubernetesCluster};
use dxdr_object_storage::{DirectoryStorage, GcsOptions, GcsStorage, S3Encryption, S3Options, S3Storage, gcs::GcsCredentials};
use dxdr_policy::{BackupPolicy, BackupStore, StoreLocation};
use dxdr_provider::{Cluster, Instances, ObjectStorage};
use dxdr_run::Store;
use jiff::SignedDuration;

use super::{
    file::{self, Configuration},
    manifests,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
};

/// Names another server than Google's, for emulation.
const CLOUD_SQL_ENDPOINT: &str = "DXDR_CLOUD_SQL_ENDPOINT";

/// Configuration and model, and the ways to the adapters they name.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) configuration: Configuration,
    pub(crate) model: Model,
    global: Global,
}

impl World {
    /// Reads the configuration and every manifest. Connects to nothing.
    pub(crate) fn load(global: &Global) -> Result<Self, Failure> {
        let configuration = file::load(global.config.as_deref())?;
        let paths = paths(global, &configuration);
        if paths.is_empty() {
            return Err(Failure::new(Kind::BadInput, "there are no manifests: no configuration, and no folder `policies` here")
                .hint("name them with `--manifests PATH`")
                .hint("or try dxdr on the embedded cluster: `dxdr sandbox up`"));
        }
        let model = manifests::load(&paths)?;
        Ok(Self { configuration, model, global: global.clone() })
    }

    /// The environment that was named, or the configuration's.
    pub(crate) fn environment(&self, named: Option<&str>) -> Result<&Environment, Failure> {
        let known = || self.model.environments.iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>().join(", ");
        let known = || Some(known()).filter(|names| !names.is_empty()).unwrap_or_else(|| "no environment at all".to_owned());
        let name = named.or(self.configuration.environment.as_deref()).ok_or_else(|| {
            Failure::new(Kind::Usage, "no environment is named")
                .hint(format!("the manifests have: {}", known()))
                .hint("`environment: NAME` in the configuration names the one that is meant where none is named")
        })?;
        let environments = &self.model.environments;
        environments.iter().find(|environment| environment.name.as_str() == name).ok_or_else(|| {
            let names = environments.iter().map(|environment| environment.name.as_str());
            let meant = dxdr_api::nearest(name, names).map(|name| format!("did you mean `{name}`?"));
            Failure::new(Kind::BadInput, format!("there is no environment `{name}`"))
                .hints(meant)
                .hint(format!("the manifests have: {}", known()))
        })
    }

    /// The policy that covers the environment.
    pub(crate) fn policy(&self, environment: &Environment) -> Option<&BackupPolicy> {
        self.model.policies.iter().find(|policy| policy.environments.contains(&environment.name))
    }

    /// How far apart the parts of a point of the environment may lie, where its policy says that.
    pub(crate) fn max_skew(&self, environment: &EnvironmentName) -> Option<SignedDuration> {
        self.model.policies.iter().find(|policy| policy.environments.contains(environment))?.max_skew
    }

    /// The store of the environment: the one named by a flag, else the configuration's, else its policy's, else the only one.
    pub(crate) fn store_declaration(&self, environment: Option<&Environment>) -> Result<&BackupStore, Failure> {
        let stores = &self.model.stores;
        let known = || stores.iter().map(|store| store.name.as_str()).collect::<Vec<_>>().join(", ");
        let named = self
            .global
            .store
            .as_deref()
            .or(self.configuration.store.as_deref())
            .or_else(|| environment.and_then(|environment| self.policy(environment)).map(|policy| policy.store.as_str()));
        match (named, stores.as_slice()) {
            (Some(name), _) => stores.iter().find(|store| store.name.as_str() == name).ok_or_else(|| {
                Failure::new(Kind::BadInput, format!("there is no BackupStore `{name}`"))
                    .hint(format!("the manifests have: {}", known()))
            }),
            (None, [only]) => Ok(only),
            (None, []) => Err(Failure::new(Kind::BadInput, "the manifests have no BackupStore")
                .hint("declare one: `kind: BackupStore` with `spec.directory.path`, `spec.s3.bucket` or `spec.gcs.bucket`")),
            (None, _) => Err(Failure::new(Kind::BadInput, "no policy covers the environment, and there is more than one store")
                .hint(format!("choose one with `--store NAME`: {}", known()))),
        }
    }

    /// Opens the environment's store.
    pub(crate) async fn store(&self, environment: Option<&Environment>) -> Result<Store, Failure> {
        self.open(self.store_declaration(environment)?).await
    }

    /// How a bucket of Google Cloud Storage is reached.
    pub(crate) fn google_bucket(&self, name: &str) -> GcsOptions {
        let endpoint = self.configuration.cloud_storage.clone().and_then(|configured| configured.endpoint);
        let credentials = if endpoint.is_some() { GcsCredentials::Anonymous } else { GcsCredentials::default() };
        GcsOptions { bucket: name.to_owned(), endpoint, credentials, ..GcsOptions::default() }
    }

    /// Opens a declared store.
    pub(crate) async fn open(&self, declared: &BackupStore) -> Result<Store, Failure> {
        let (storage, prefix): (Arc<dyn ObjectStorage>, String) = match &declared.location {
            StoreLocation::Directory { path } => (Arc::new(DirectoryStorage::new(path)), String::new()),
            StoreLocation::S3(location) => {
                let options = S3Options {
                    bucket: location.bucket.clone(),
                    region: location.region.clone(),
                    endpoint: location.endpoint.clone(),
                    force_path_style: location.force_path_style,
                    profile: location.profile.clone(),
                    certificate_authority: location.certificate_authority.clone(),
                    encryption: location.kms_key.clone().map(|key| S3Encryption::Kms(Some(key))),
                    ..S3Options::default()
                };
                (Arc::new(S3Storage::connect(options).await?), location.prefix.clone())
            }
            StoreLocation::Gcs(location) => {
                let options = GcsOptions { kms_key: location.kms_key.clone(), ..self.google_bucket(&location.bucket) };
                (Arc::new(GcsStorage::connect(options).await?), location.prefix.clone())
            }
        };
        Ok(Store { name: declared.name.to_string(), storage, layout: StoreLayout::new(&prefix) })
    }

    /// Connects to the cluster.
    pub(crate) async fn cluster(&self) -> Result<Arc<dyn Cluster>, Failure> {
        connect(&self.global, &self.configuration).await
    }

    /// Cloud SQL, by the credentials that the configuration or the surroundings name. Asks it nothing yet.
    pub(crate) async fn instances(&self) -> Result<Arc<dyn Instances>, Failure> {
        let service = CloudSql::connect(self.cloud_sql()).await.map_err(|error| {
            let hint = error.hint.clone();
            Failure::from_error(Kind::Unreachable, error).hint(hint)
        })?;
        Ok(Arc::new(service))
    }

    /// Where Cloud SQL is, and who we are there.
    pub(crate) fn cloud_sql(&self) -> dxdr_cloud_sql::Options {
        let configured = self.configuration.cloud_sql.clone().unwrap_or_default();
        let endpoint = std::env::var(CLOUD_SQL_ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty());
        let credentials = configured.service_account_key.map(dxdr_cloud_sql::Credentials::ServiceAccount);
        dxdr_cloud_sql::Options { endpoint: endpoint.or(configured.endpoint), credentials }
    }

    /// The namespace in which Leases are held.
    pub(crate) fn lease_namespace(&self) -> String {
        self.configuration.lease_namespace.clone().unwrap_or_else(|| dxdr_run::LEASE_NAMESPACE.to_owned())
    }

    /// The namespace in which Velero is installed.
    pub(crate) fn velero_namespace(&self) -> &str {
        let chosen = self.global.velero_namespace.as_deref().or(self.configuration.velero_namespace.as_deref());
        chosen.unwrap_or(dxdr_plan::velero::NAMESPACE)
    }
}

/// Which manifests are meant.
pub(crate) fn paths(global: &Global, configuration: &Configuration) -> Vec<PathBuf> {
    if !global.manifests.is_empty() {
        return global.manifests.clone();
    }
    if !configuration.manifests.is_empty() {
        return configuration.manifests.clone();
    }
    let default = PathBuf::from(manifests::DEFAULT);
    if default.is_dir() { vec![default] } else { Vec::new() }
}

/// Which cluster flags and configuration name. Flags win.
pub(crate) fn connect_options(global: &Global, configuration: &Configuration) -> ConnectOptions {
    let context = global.context.clone().or_else(|| {
        // A kubeconfig from the command line is another file than the one whose context the configuration names.
        if global.kubeconfig.is_some() { None } else { configuration.context.clone() }
    });
    let kubeconfig = global.kubeconfig.clone().or_else(|| {
        // A context from the command line is looked up where kubectl would look, unless a file is named.
        if global.context.is_some() { None } else { configuration.kubeconfig.clone() }
    });
    ConnectOptions { kubeconfig, context, ..ConnectOptions::default() }
}

/// Connects to that cluster.
pub(crate) async fn connect(global: &Global, configuration: &Configuration) -> Result<Arc<dyn Cluster>, Failure> {
    let cluster: KubernetesCluster = dxdr_kubernetes::connect(connect_options(global, configuration)).await?;
    Ok(Arc::new(cluster))
}
