//! What the tests share: a way to the server's databases, and a store in memory.

use std::sync::Arc;

use dxdr_object_storage::MemoryStorage;
use dxdr_postgresql::{Connection, PostgresqlDatabase, Tls};
use dxdr_provider::{
    Database as _, ObjectStorage,
    database::{DumpPlace, Dumped, HeldDatabase, Load},
};

use crate::server::{PASSWORD, Server};

/// The database of that name, as the superuser.
pub fn database(server: &Server, name: &str) -> PostgresqlDatabase {
    PostgresqlDatabase::new(connection(server, "postgres", PASSWORD), name.to_owned())
}

/// A way in for that user.
pub fn connection(server: &Server, user: &str, password: &str) -> Connection {
    let tls = if server.authority.is_some() { Tls::Require } else { Tls::Disable };
    Connection {
        host: "127.0.0.1".to_owned(),
        port: server.port,
        user: user.to_owned(),
        password: Some(password.to_owned().into()),
        tls,
    }
}

/// A place for a dump in a store of its own.
pub fn place() -> DumpPlace {
    let storage: Arc<dyn ObjectStorage> = Arc::new(MemoryStorage::default());
    DumpPlace { storage, key: "backups/p/databases/orders.dump".to_owned(), sha256: None }
}

/// Dumps, and says what loading it needs.
pub async fn dumped(database: &PostgresqlDatabase, place: &mut DumpPlace, name: &str) -> (Dumped, Load) {
    let held = database.hold(place).await.unwrap();
    finished(held, place, name).await
}

/// Dumps what is held.
pub async fn finished(held: Box<dyn HeldDatabase>, place: &mut DumpPlace, name: &str) -> (Dumped, Load) {
    let facts = held.facts().clone();
    let dumped = held.dump().await.unwrap();
    place.sha256 = Some(dumped.sha256);
    (dumped, Load { name: name.to_owned(), facts, size: Some(dumped.size), run: "restore-tests-1".to_owned() })
}
