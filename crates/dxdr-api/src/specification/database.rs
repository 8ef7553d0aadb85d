//! The databases of an `Environment`.

use schemars::JsonSchema;
use serde::Deserialize;

/// A database, or several on one server.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["cloudSql"]}, {"required": ["postgresql"]}]))]
pub(crate) struct DatabaseSpec {
    /// What people call it. Unique in its environment.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// On a Cloud SQL instance.
    pub(crate) cloud_sql: Option<CloudSqlSpec>,
    /// On a PostgreSQL server in the namespace.
    pub(crate) postgresql: Option<PostgresqlSpec>,
}

/// A Cloud SQL instance, or some databases of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CloudSqlSpec {
    /// Google Cloud project.
    #[schemars(length(min = 1))]
    pub(crate) project: String,
    /// Instance.
    #[schemars(length(min = 1))]
    pub(crate) instance: String,
    /// Databases on the instance that belong to the environment. Left out: the instance is all its own.
    #[serde(default)]
    pub(crate) databases: Vec<String>,
}

/// A PostgreSQL server in the namespace: a StatefulSet, or what an operator runs, behind a Service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PostgresqlSpec {
    /// Service to connect to. Left out: the Secret says the host.
    #[schemars(length(min = 1))]
    pub(crate) service: Option<String>,
    /// Its port. Left out: the Secret says it, or it is 5432.
    #[schemars(range(min = 1))]
    pub(crate) port: Option<u16>,
    /// Where dxdr reaches the server, as `HOST` or `HOST:PORT`, when it does not run in the cluster: the end of a port-forward, a load
    /// balancer. Left out: as pods do, by the Service's name in the namespace.
    #[schemars(length(min = 1))]
    pub(crate) address: Option<String>,
    /// Databases on it. Left out: the one that the Secret names.
    #[serde(default)]
    pub(crate) databases: Vec<String>,
    /// Secret in the namespace that says how to log in. Left out: as `postgres`, without a password.
    #[schemars(length(min = 1))]
    pub(crate) credentials_secret: Option<String>,
    /// Which items of the Secret say what, where they are not called as CloudNativePG calls them.
    #[serde(default)]
    pub(crate) secret_keys: SecretKeysSpec,
    /// How the connection is protected. `require` when left out.
    #[serde(default)]
    pub(crate) tls: TlsName,
}

/// Names of items of a Secret.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SecretKeysSpec {
    /// The user; `username` when left out.
    #[schemars(length(min = 1))]
    pub(crate) username: Option<String>,
    /// The password; `password` when left out.
    #[schemars(length(min = 1))]
    pub(crate) password: Option<String>,
    /// The host, for a server without a `service`; `host` when left out.
    #[schemars(length(min = 1))]
    pub(crate) host: Option<String>,
    /// The port, for a server without a `port`; `port` when left out.
    #[schemars(length(min = 1))]
    pub(crate) port: Option<String>,
    /// The database, for a server without `databases`; `dbname` when left out.
    #[schemars(length(min = 1))]
    pub(crate) database: Option<String>,
    /// Certificates of those who may sign the server's, as PEM, for `verify-full`; `ca.crt` when left out.
    #[schemars(length(min = 1))]
    pub(crate) certificate_authority: Option<String>,
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsName {
    /// not at all: for a server without TLS in a network that is trusted
    Disable,
    /// it is encrypted, with whoever answers
    #[default]
    Require,
    /// it is encrypted, and the server proves its name by a certificate that the Secret's authority signed
    VerifyFull,
}
