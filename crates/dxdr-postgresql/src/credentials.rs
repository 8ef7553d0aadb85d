//! From what a manifest says of a server to a connection: the Secret is read where it lives.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_environment::{DatabaseLocation, DatabaseUnit, ObjectReference, PostgresqlServer, ResourceKind, database::TlsMode};
use dxdr_provider::{Cluster, Database, DatabaseError, DatabaseErrorKind, Databases};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    connection::{Connection, Tls},
    database::PostgresqlDatabase,
};

const PORT: u16 = 5432;
/// Who logs in where no Secret says it.
const USER: &str = "postgres";

/// The PostgreSQL servers of a cluster's namespaces.
#[derive(Debug, Clone)]
pub struct PostgresqlDatabases {
    cluster: Arc<dyn Cluster>,
}

impl PostgresqlDatabases {
    /// Those whose Secrets are in `cluster`.
    pub fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self { cluster }
    }
}

#[async_trait]
impl Databases for PostgresqlDatabases {
    async fn open(&self, namespace: &str, unit: &DatabaseUnit) -> Result<Arc<dyn Database>, DatabaseError> {
        let DatabaseLocation::Postgresql(server) = &unit.location else {
            return Err(failure(unit, DatabaseErrorKind::Unsupported, "it is not on a PostgreSQL server".to_owned()));
        };
        let secret = match &server.credentials_secret {
            Some(name) => self.secret(namespace, name, unit).await?,
            None => Items::default(),
        };
        let database = match &unit.database {
            Some(database) => database.clone(),
            None => secret.required(&server.secret_keys.database, unit)?,
        };
        let connection = connection(namespace, server, &secret, unit)?;
        Ok(Arc::new(PostgresqlDatabase::new(connection, database)))
    }
}

impl PostgresqlDatabases {
    async fn secret(&self, namespace: &str, name: &str, unit: &DatabaseUnit) -> Result<Items, DatabaseError> {
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            plural: "secrets".to_owned(),
            namespaced: true,
        };
        let reference = ObjectReference { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() };
        let missing = |message: String, source| DatabaseError {
            hint: Some(format!(
                "`credentialsSecret` in the manifest names a Secret of namespace `{namespace}` that dxdr may read"
            )),
            source,
            ..failure(unit, DatabaseErrorKind::Unauthenticated, message)
        };
        let json = match self.cluster.get(&reference).await {
            Ok(Some(json)) => json,
            Ok(None) => return Err(missing(format!("there is no Secret `{name}` in namespace `{namespace}`"), None)),
            Err(error) => {
                let message = format!("Secret `{name}` in namespace `{namespace}` cannot be read");
                return Err(missing(message, Some(Box::new(error))));
            }
        };
        #[derive(Deserialize)]
        struct Secret {
            #[serde(default)]
            data: BTreeMap<String, String>,
        }
        let unreadable = || missing(format!("Secret `{name}` in namespace `{namespace}` cannot be understood"), None);
        let secret: Secret = serde_json::from_slice(&json).map_err(|_| unreadable())?;
        let mut items = BTreeMap::new();
        for (key, value) in secret.data {
            let value = Zeroizing::new(value);
            items.insert(key, Zeroizing::new(STANDARD.decode(value.as_bytes()).map_err(|_| unreadable())?));
        }
        Ok(Items { name: Some(name.to_owned()), items })
    }
}

/// What a Secret holds.
#[derive(Default)]
struct Items {
    name: Option<String>,
    items: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Items {
    /// A value as text, without the line break that `echo` puts behind it.
    fn text(&self, key: &str, unit: &DatabaseUnit) -> Result<Option<Zeroizing<String>>, DatabaseError> {
        let Some(bytes) = self.items.get(key) else { return Ok(None) };
        let wrong = |what: &str| {
            let secret = self.name.as_deref().unwrap_or_default();
            let message = format!("item `{key}` of Secret `{secret}` {what}");
            DatabaseError {
                hint: Some("put the value alone into it, as text".to_owned()),
                ..failure(unit, DatabaseErrorKind::Unauthenticated, message)
            }
        };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("is not text"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.contains(['\n', '\r', '\0']) {
            return Err(wrong("has more than one line"));
        }
        Ok(Some(Zeroizing::new(text.to_owned())).filter(|text| !text.is_empty()))
    }

    fn required(&self, key: &str, unit: &DatabaseUnit) -> Result<String, DatabaseError> {
        if let Some(text) = self.text(key, unit)? {
            return Ok(text.to_string());
        }
        let message = match &self.name {
            Some(secret) => format!("Secret `{secret}` has no item `{key}`"),
            None => format!("nothing says what `{key}` would say in a Secret"),
        };
        Err(DatabaseError {
            hint: Some("put it into the Secret, name another item in `secretKeys`, or say it in the manifest".to_owned()),
            ..failure(unit, DatabaseErrorKind::Unauthenticated, message)
        })
    }
}

fn failure(unit: &DatabaseUnit, kind: DatabaseErrorKind, message: String) -> DatabaseError {
    DatabaseError { kind, action: "reach", database: unit.to_string(), message, hint: None, source: None }
}

fn connection(
    namespace: &str,
    server: &PostgresqlServer,
    secret: &Items,
    unit: &DatabaseUnit,
) -> Result<Connection, DatabaseError> {
    let keys = &server.secret_keys;
    let known_port = match (server.port, server.credentials_secret.is_some() && server.service.is_none()) {
        (Some(port), _) => port,
        (None, true) => match secret.text(&keys.port, unit)? {
            Some(text) => text.parse().map_err(|_| {
                let message = format!("item `{}` of the Secret is no port", keys.port);
                failure(unit, DatabaseErrorKind::Unauthenticated, message)
            })?,
            None => PORT,
        },
        (None, false) => PORT,
    };
    // What a pod of the namespace would connect to: a server's certificate has this name.
    let name = match &server.service {
        Some(service) => Some(format!("{service}.{namespace}.svc")),
        None if server.address.is_none() => Some(secret.required(&keys.host, unit)?),
        None => secret.text(&keys.host, unit)?.map(|host| host.to_string()),
    };
    let (host, port) = match (&server.address, &name) {
        (Some(address), _) => parsed(address, known_port),
        (None, Some(name)) => (name.clone(), known_port),
        (None, None) => return Err(failure(unit, DatabaseErrorKind::Unauthenticated, "nothing says where it is".to_owned())),
    };
    let (user, password) = match &server.credentials_secret {
        Some(_) => (secret.required(&keys.username, unit)?, secret.text(&keys.password, unit)?),
        None => (USER.to_owned(), None),
    };
    let tls = match server.tls {
        TlsMode::Disable => Tls::Disable,
        TlsMode::Require => Tls::Require,
        TlsMode::VerifyFull => {
            let Some(authority) = secret.items.get(&keys.certificate_authority) else {
                let message =
                    format!("`verify-full` needs item `{}` of the Secret, which is not there", keys.certificate_authority);
                return Err(DatabaseError {
                    hint: Some("put the authority's certificate there, or name another item in `secretKeys`".to_owned()),
                    ..failure(unit, DatabaseErrorKind::Insecure, message)
                });
            };
            // A name can be told apart from the address only where the address is one by number.
            let by_number = host.parse::<IpAddr>().is_ok();
            Tls::VerifyFull { authority: authority.to_vec(), name: name.filter(|name| by_number && *name != host) }
        }
    };
    Ok(Connection { host, port, user, password, tls })
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; manifests have been checked.
fn parsed(address: &str, port: u16) -> (String, u16) {
    let (host, given) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    (host.to_owned(), given.and_then(|port| port.parse().ok()).unwrap_or(port))
}
