//! The databases of an `Environment` into the model.

use std::collections::BTreeSet;

use dxdr_environment::{
    Database, DatabaseLocation, FieldPath, PostgresqlServer,
    database::{SecretKeys, TlsMode},
};

use super::{Reading, below, field_path, is_dns_name};
use crate::specification::database::{DatabaseSpec, PostgresqlSpec, SecretKeysSpec, TlsName};

impl Reading<'_> {
    pub(super) fn databases(&mut self, specs: &[DatabaseSpec]) -> Vec<Database> {
        let mut databases: Vec<Database> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            if databases.iter().any(|database| database.name == spec.name) {
                let path = field_path!["spec", "databases", index, "name"];
                self.report(self.wrong(&path, format!("there is another database named `{}`", spec.name)));
            }
            let location = match (&spec.cloud_sql, &spec.postgresql) {
                (Some(sql), None) => DatabaseLocation::CloudSql {
                    project: sql.project.clone(),
                    instance: sql.instance.clone(),
                    databases: sql.databases.clone(),
                },
                (None, Some(server)) => {
                    DatabaseLocation::Postgresql(self.postgresql(&field_path!["spec", "databases", index, "postgresql"], server))
                }
                // The shape says that exactly one is there.
                _ => continue,
            };
            self.once(&field_path!["spec", "databases", index], location.databases());
            databases.push(Database { name: spec.name.clone(), location });
        }
        databases
    }

    fn once(&mut self, path: &FieldPath, names: &[String]) {
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            self.report(self.wrong(path, format!("database `{twice}` is named twice")));
        }
    }

    fn postgresql(&mut self, path: &FieldPath, spec: &PostgresqlSpec) -> PostgresqlServer {
        let from_secret = |missing: bool, field: &str| {
            (missing && spec.credentials_secret.is_none())
                .then(|| format!("`{path}` has neither `{field}` nor `credentialsSecret`"))
        };
        let unknown = [
            from_secret(spec.service.is_none() && spec.address.is_none(), "service"),
            from_secret(spec.databases.is_empty(), "databases"),
        ];
        for message in unknown.into_iter().flatten() {
            let hint = "name it here, or name the Secret that says it (`credentialsSecret`)";
            self.report(self.wrong(path, message).hint(hint));
        }
        if let Some(service) = spec.service.as_deref().filter(|service| !is_dns_name(service)) {
            let path = below(path, "service");
            let hint = "name a Service of the namespace; where dxdr reaches the server in another way, say so in `address`";
            self.report(self.wrong(&path, format!("`{service}` is not the name of a Service")).hint(hint));
        }
        if let Some(address) = spec.address.as_deref().filter(|address| !is_address(address)) {
            let path = below(path, "address");
            self.report(
                self.wrong(&path, format!("`{address}` is not `HOST` or `HOST:PORT`"))
                    .hint("as in `127.0.0.1:15432`, `[::1]:5432`"),
            );
        }
        if let (TlsName::VerifyFull, None) = (spec.tls, &spec.credentials_secret) {
            let path = below(path, "tls");
            let problem = self.wrong(&path, "`verify-full` needs a Secret with the certificate authority".to_owned());
            self.report(problem.hint("name it in `credentialsSecret`; its item `ca.crt` is read"));
        }
        PostgresqlServer {
            service: spec.service.clone(),
            port: spec.port,
            address: spec.address.clone(),
            databases: spec.databases.clone(),
            credentials_secret: spec.credentials_secret.clone(),
            secret_keys: secret_keys(&spec.secret_keys),
            tls: match spec.tls {
                TlsName::Disable => TlsMode::Disable,
                TlsName::Require => TlsMode::Require,
                TlsName::VerifyFull => TlsMode::VerifyFull,
            },
        }
    }
}

fn secret_keys(spec: &SecretKeysSpec) -> SecretKeys {
    let usual = SecretKeys::default();
    let chosen = |given: &Option<String>, usual: String| given.clone().unwrap_or(usual);
    SecretKeys {
        username: chosen(&spec.username, usual.username),
        password: chosen(&spec.password, usual.password),
        host: chosen(&spec.host, usual.host),
        port: chosen(&spec.port, usual.port),
        database: chosen(&spec.database, usual.database),
        certificate_authority: chosen(&spec.certificate_authority, usual.certificate_authority),
    }
}

/// `db.example.org`, `10.0.0.1:5432`, `[::1]`, `[::1]:5432`.
fn is_address(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                (true, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("none")) })
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (is_host(host), Some(port)),
            None => (is_host(text), None),
        },
    };
    host && port
        .is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_maybe_a_port() {
        for text in ["db", "db.example.org", "10.0.0.1:5432", "[::1]", "[::1]:5432", "localhost:1"] {
            assert!(is_address(text), "{text}");
        }
        for text in ["", ":5432", "db:", "db:0", "db:65536", "::1", "[::1]x", "[db]:1", "a b", "postgres://db", "db:1:2", "db:+1"]
        {
            assert!(!is_address(text), "{text}");
        }
    }
}
