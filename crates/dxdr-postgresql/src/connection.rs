//! How to reach a server, and what the programs are told of it.

use std::fmt;

use command_fds::{CommandFdExt as _, FdMapping};
use dxdr_provider::{DatabaseError, DatabaseErrorKind};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::memory_file::MemoryFile;

/// Descriptors of the children, behind the three that every program has.
const PASSWORD_DESCRIPTOR: i32 = 3;
const AUTHORITY_DESCRIPTOR: i32 = 4;
/// Seconds that libpq waits for a server to answer.
const CONNECT_SECONDS: &str = "10";
/// No file: whatever lies in the account's home folder is not meant.
const NOWHERE: &str = "/dev/null/none";

/// A server and who logs in to it.
pub struct Connection {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// With what; `None`: the server asks for nothing.
    pub password: Option<Zeroizing<String>>,
    /// How it is protected.
    pub tls: Tls,
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Encrypted, with whoever answers.
    Require,
    /// Encrypted, with a server whose certificate names the host it is reached by.
    VerifyFull {
        /// Who may have signed it: PEM.
        authority: Vec<u8>,
        /// The name that the certificate has, where that is not the host it is reached by.
        name: Option<String>,
    },
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("tls", &self.tls.word())
            .finish_non_exhaustive()
    }
}

impl Tls {
    fn word(&self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyFull { .. } => "verify-full",
        }
    }
}

impl Connection {
    /// `postgres.staging.svc:5432`.
    pub fn address(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// Tells a program where to connect, and nothing that this process was told.
    pub(crate) fn prepare(&self, command: &mut Command, described: &str) -> Result<(), DatabaseError> {
        let failed = |error: &dyn fmt::Display| DatabaseError {
            kind: DatabaseErrorKind::Other,
            action: "reach",
            database: described.to_owned(),
            message: format!("the password cannot be handed to PostgreSQL's programs: {error}"),
            hint: None,
            source: None,
        };
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("LC_ALL", "C")
            .env("PGAPPNAME", "dxdr")
            .env("PGCLIENTENCODING", "UTF8")
            .env("PGCONNECT_TIMEOUT", CONNECT_SECONDS)
            // Quoting in scripts relies on it; nothing of ours waits for itself. 0 is for ever.
            .env("PGOPTIONS", "-c standard_conforming_strings=on -c statement_timeout=0 -c idle_in_transaction_session_timeout=0")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGSSLMODE", self.tls.word())
            .env("PGSSLCERT", NOWHERE)
            .env("PGSSLKEY", NOWHERE)
            .env("PGGSSENCMODE", "disable");
        let mut mappings = Vec::new();
        match &self.tls {
            Tls::VerifyFull { authority, name } => {
                let file = MemoryFile::new(authority).and_then(|file| file.descriptor()).map_err(|error| failed(&error))?;
                mappings.push(FdMapping { parent_fd: file, child_fd: AUTHORITY_DESCRIPTOR });
                command.env("PGSSLROOTCERT", format!("/proc/self/fd/{AUTHORITY_DESCRIPTOR}"));
                match name {
                    // The certificate is held against the name; the connection goes to the address.
                    Some(name) => {
                        command.env("PGHOST", name).env("PGHOSTADDR", &self.host);
                    }
                    None => {
                        command.env("PGHOST", &self.host);
                    }
                }
            }
            Tls::Disable | Tls::Require => {
                command.env("PGHOST", &self.host).env("PGSSLROOTCERT", NOWHERE);
            }
        }
        command.env("PGPASSFILE", NOWHERE);
        if let Some(password) = &self.password {
            let line = Zeroizing::new(format!("*:*:*:*:{}\n", password.replace('\\', "\\\\").replace(':', "\\:")));
            let file = MemoryFile::new(line.as_bytes()).and_then(|file| file.descriptor()).map_err(|error| failed(&error))?;
            mappings.push(FdMapping { parent_fd: file, child_fd: PASSWORD_DESCRIPTOR });
            command.env("PGPASSFILE", format!("/proc/self/fd/{PASSWORD_DESCRIPTOR}"));
        }
        command.fd_mappings(mappings).map_err(|error| failed(&error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_connection_has_no_password_in_it() {
        let connection = Connection {
            host: "::1".to_owned(),
            port: 5432,
            user: "shop".to_owned(),
            password: Some(Zeroizing::new("hunter2".to_owned())),
            tls: Tls::Require,
        };
        assert!(!format!("{connection:?}").contains("hunter2"));
        assert_eq!(connection.address(), "[::1]:5432");
        let mut command = Command::new("true");
        connection.prepare(&mut command, "PostgreSQL").unwrap();
        assert!(!format!("{command:?}").contains("hunter2"));
    }
}
