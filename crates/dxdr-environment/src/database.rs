//! The databases of an environment, and where they are.

use std::fmt;

/// A database that belongs to an environment, or several on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// What people call it: unique in its environment.
    pub name: String,
    /// Where it is.
    pub location: DatabaseLocation,
}

impl Database {
    /// Everything that is captured and brought back on its own: a database each. Where the model names none, the one that the server
    /// or the Secret says.
    pub fn units(&self) -> Vec<DatabaseUnit> {
        let databases = self.location.databases();
        let unit = |database: Option<&String>| DatabaseUnit {
            name: match database {
                Some(database) if databases.len() > 1 => format!("{}/{database}", self.name),
                _ => self.name.clone(),
            },
            database: database.cloned(),
            location: self.location.clone(),
        };
        if databases.is_empty() { vec![unit(None)] } else { databases.iter().map(|database| unit(Some(database))).collect() }
    }
}

/// One database on one server: the unit of recovery. The server is the unit that operations wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUnit {
    /// What recovery points and people call it: the model's name, with the database behind it where the model's name stands for
    /// several (`orders/staging_orders`).
    pub name: String,
    /// The database on the server; `None`: the Secret names it, or it is a whole instance.
    pub database: Option<String>,
    /// Where it is.
    pub location: DatabaseLocation,
}

impl DatabaseUnit {
    /// A name that is good for a file: what is not a letter, a digit, `-`, `_` or `.` is written as its bytes.
    pub fn file_name(&self) -> String {
        let mut name = String::with_capacity(self.name.len());
        for (index, byte) in self.name.bytes().enumerate() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                b'.' if index > 0 => name.push('.'),
                byte => name.push_str(&format!("%{byte:02X}")),
            }
        }
        name
    }
}

impl fmt::Display for DatabaseUnit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "database {}", self.name)
    }
}

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseLocation {
    /// On a Cloud SQL instance, which other environments may share.
    CloudSql {
        /// Google Cloud project.
        project: String,
        /// Instance in the project.
        instance: String,
        /// Databases on the instance that are the environment's; empty: the instance is all its own.
        databases: Vec<String>,
    },
    /// On a PostgreSQL server in the environment's namespace.
    Postgresql(PostgresqlServer),
}

impl DatabaseLocation {
    /// The databases that the model names there.
    pub fn databases(&self) -> &[String] {
        match self {
            Self::CloudSql { databases, .. } => databases,
            Self::Postgresql(server) => &server.databases,
        }
    }
}

/// A PostgreSQL server in an environment's namespace: a StatefulSet or an operator's cluster behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresqlServer {
    /// Service in front of it; `None`: the Secret says the host.
    pub service: Option<String>,
    /// Its port; `None`: the Secret says it, or it is 5432.
    pub port: Option<u16>,
    /// How dxdr reaches it where that differs from how pods do: `HOST` or `HOST:PORT`.
    pub address: Option<String>,
    /// Databases on it; empty: the one that the Secret names.
    pub databases: Vec<String>,
    /// Secret in the namespace that says how to log in; `None`: without a password, as `postgres`.
    pub credentials_secret: Option<String>,
    /// Which item of the Secret is what.
    pub secret_keys: SecretKeys,
    /// How the connection is protected.
    pub tls: TlsMode,
}

/// Which item of a Secret says what about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKeys {
    /// The user.
    pub username: String,
    /// Its password.
    pub password: String,
    /// The host, where the model names no Service.
    pub host: String,
    /// The port, where the model names none.
    pub port: String,
    /// The database, where the model names none.
    pub database: String,
    /// Certificates of those who may sign the server's, as PEM.
    pub certificate_authority: String,
}

impl Default for SecretKeys {
    /// As CloudNativePG and most others name them.
    fn default() -> Self {
        Self {
            username: "username".to_owned(),
            password: "password".to_owned(),
            host: "host".to_owned(),
            port: "port".to_owned(),
            database: "dbname".to_owned(),
            certificate_authority: "ca.crt".to_owned(),
        }
    }
}

/// How a connection to a database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// It is encrypted, with whoever answers.
    #[default]
    Require,
    /// It is encrypted, and the server proves its name by a certificate.
    VerifyFull,
}

impl TlsMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Disable, Self::Require, Self::VerifyFull];

    /// As manifests and PostgreSQL write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// What a database was like when it was captured: all that it takes to bring it back somewhere else, and to say beforehand why that
/// would fail. Empty where the service behind it keeps such things to itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DatabaseFacts {
    /// `postgresql`.
    pub engine: String,
    /// Version of the server: `15.14`.
    pub version: String,
    /// The program that wrote the dump, with its version.
    pub program: String,
    /// What the server calls it.
    pub database: String,
    /// Bytes on the server.
    pub size: Option<u64>,
    /// The role that owns it.
    pub owner: String,
    /// Its encoding: `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collation: String,
    /// `LC_CTYPE`.
    pub character_type: String,
    /// What provides its collation: `libc`, `icu`, `builtin`; `None` where the server has but one.
    pub locale_provider: Option<String>,
    /// Its ICU locale, where ICU provides its collation.
    pub icu_locale: Option<String>,
    /// Its locale, where PostgreSQL itself provides its collation.
    pub builtin_locale: Option<String>,
    /// What people wrote about it.
    pub comment: Option<String>,
    /// Extensions in it, by name and version.
    pub extensions: Vec<(String, String)>,
    /// Roles that own something in it or have rights to something.
    pub roles: Vec<String>,
    /// Settings that belong to it.
    pub settings: Vec<DatabaseSetting>,
    /// Rights to the database itself that are not those of every new one; `None`: nobody changed them.
    pub grants: Option<Vec<DatabaseGrant>>,
    /// The place in the server's log at the instant.
    pub coordinates: Option<String>,
    /// Whether it was read from a replica: the instant is then the last one of its primary that it certainly had.
    pub replica: bool,
}

/// A setting of a database (`ALTER DATABASE … SET`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSetting {
    /// For this role only.
    pub role: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value, as the server keeps it.
    pub value: String,
}

/// A right to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseGrant {
    /// Who has it; `None`: everybody.
    pub role: Option<String>,
    /// `CONNECT`, `CREATE`, `TEMPORARY`.
    pub privilege: String,
    /// Whether it may be given on.
    pub grantable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud(databases: &[&str]) -> Database {
        let databases = databases.iter().map(|name| (*name).to_owned()).collect();
        let location = DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases };
        Database { name: "orders".to_owned(), location }
    }

    #[test]
    fn a_name_that_stands_for_several_databases_is_told_apart_by_them() {
        let names = |database: Database| database.units().into_iter().map(|unit| (unit.name, unit.database)).collect::<Vec<_>>();
        assert_eq!(names(cloud(&[])), [("orders".to_owned(), None)]);
        assert_eq!(names(cloud(&["shop"])), [("orders".to_owned(), Some("shop".to_owned()))]);
        assert_eq!(
            names(cloud(&["a", "b"])),
            [("orders/a".to_owned(), Some("a".to_owned())), ("orders/b".to_owned(), Some("b".to_owned()))]
        );
    }

    #[test]
    fn a_file_name_leads_nowhere_and_no_two_databases_share_one() {
        let name = |name: &str| DatabaseUnit { name: name.to_owned(), ..cloud(&[]).units().remove(0) }.file_name();
        assert_eq!(name("orders-1.2_x"), "orders-1.2_x");
        assert_eq!(name("../a b"), "%2E.%2Fa%20b");
        assert_eq!(name("orders/a"), "orders%2Fa");
        assert_ne!(name("orders%2Fa"), name("orders/a"));
    }
}
