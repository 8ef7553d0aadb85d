//! One database on a server.

use std::sync::Arc;

use async_trait::async_trait;
use dxdr_environment::DatabaseFacts;
use dxdr_provider::{
    Database, DatabaseError, DatabaseErrorKind,
    database::{DumpPlace, Examined, HeldDatabase, Load, Swap},
};

use crate::{
    connection::Connection,
    dump, examination, facts, load,
    program::{Program, major},
    session::{MAINTENANCE, Server, TEMPLATE},
    swap,
};

/// A PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresqlDatabase {
    pub(crate) connection: Arc<Connection>,
    pub(crate) name: String,
    pub(crate) described: String,
}

impl PostgresqlDatabase {
    /// The database of that name on the server.
    pub fn new(connection: Connection, name: String) -> Self {
        let described = format!("PostgreSQL database `{name}` at {}", connection.address());
        Self { connection: Arc::new(connection), name, described }
    }

    pub(crate) fn server(&self) -> Server<'_> {
        // A database cannot be renamed from within.
        let maintenance = if self.name == MAINTENANCE { TEMPLATE } else { MAINTENANCE };
        Server { connection: &self.connection, described: &self.described, maintenance }
    }

    /// What the server says of the database, and the program that would dump it; an error when they do not go together.
    async fn asked(&self) -> Result<DatabaseFacts, DatabaseError> {
        let (program, program_version) = Program::Dump.version(&self.described).await?;
        let answers = self.server().run("inspect", &self.name, &facts::question(false)).await?;
        let answer = answers.into_iter().next().unwrap_or_default();
        let answer: facts::Answer = serde_json::from_value(answer).map_err(|error| {
            self.server().error(DatabaseErrorKind::Other, "inspect", format!("its answer is not understood: {error}"))
        })?;
        let facts = answer.facts(&program);
        match major(&facts.version) {
            Some(server_version) if server_version > program_version => Err(DatabaseError {
                hint: Some(format!(
                    "install PostgreSQL's client programs of version {server_version} (Debian: postgresql-client-{server_version})"
                )),
                ..self.server().error(
                    DatabaseErrorKind::VersionMismatch,
                    "dump",
                    format!(
                        "the server is version {}, and pg_dump here is {program_version}, which does not read newer servers",
                        facts.version
                    ),
                )
            }),
            _ => Ok(facts),
        }
    }
}

#[async_trait]
impl Database for PostgresqlDatabase {
    fn describe(&self) -> String {
        self.described.clone()
    }

    async fn inspect(&self) -> Result<DatabaseFacts, DatabaseError> {
        let facts = self.asked().await?;
        examination::readable(self).await?;
        Ok(facts)
    }

    async fn hold(&self, place: &DumpPlace) -> Result<Box<dyn HeldDatabase>, DatabaseError> {
        Ok(Box::new(dump::hold(self, place).await?))
    }

    async fn examine(&self, load: &Load) -> Result<Examined, DatabaseError> {
        examination::examine(self, load).await
    }

    async fn load(&self, load: &Load, place: &DumpPlace) -> Result<(), DatabaseError> {
        load::load(self, load, place).await
    }

    async fn swap(&self, swap: &Swap) -> Result<(), DatabaseError> {
        swap::swap(self.server(), swap).await
    }

    async fn swapped(&self, swap: &Swap) -> Result<bool, DatabaseError> {
        swap::swapped(self.server(), swap).await
    }

    async fn discard(&self, name: &str, run: &str) -> Result<bool, DatabaseError> {
        load::discard(self.server(), name, run).await
    }
}
