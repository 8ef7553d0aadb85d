//! Everything that cannot work is one error, of a kind, with what to do.

use bytes::Bytes;
use dxdr_postgresql::{Connection, PostgresqlDatabase, Tls};
use dxdr_provider::{
    Database as _, DatabaseError, DatabaseErrorKind as Kind,
    object_storage::{ObjectBody, PutCondition},
};

use crate::{
    server::{self, PASSWORD, Server},
    world,
};

async fn refused(connection: Connection, name: &str) -> (Kind, String) {
    let error = PostgresqlDatabase::new(connection, name.to_owned()).inspect().await.unwrap_err();
    told(&error)
}

fn told(error: &DatabaseError) -> (Kind, String) {
    assert!(error.hint.is_some(), "{error}");
    assert!(!error.to_string().contains(PASSWORD), "{error}");
    (error.kind, error.to_string())
}

fn verifying(server: &Server, authority: &str, name: Option<&str>) -> Connection {
    let tls = Tls::VerifyFull { authority: authority.as_bytes().to_vec(), name: name.map(str::to_owned) };
    Connection { tls, ..world::connection(server, "postgres", PASSWORD) }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_hears_why() {
    let Some(server) = server::shared() else { return };
    let connection = || world::connection(&server, "postgres", PASSWORD);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (kind, text) = refused(Connection { port: closed, ..connection() }, "postgres").await;
    assert_eq!(kind, Kind::Unreachable, "{text}");
    let (kind, text) = refused(Connection { host: "nowhere.invalid".to_owned(), ..connection() }, "postgres").await;
    assert_eq!(kind, Kind::Unreachable, "{text}");
    let (kind, text) = refused(world::connection(&server, "postgres", "wrong"), "postgres").await;
    assert_eq!(kind, Kind::Unauthenticated, "{text}");
    let (kind, text) = refused(Connection { password: None, ..connection() }, "postgres").await;
    assert_eq!(kind, Kind::Unauthenticated, "{text}");
    let (kind, text) = refused(connection(), "no such database").await;
    assert_eq!(kind, Kind::NotFound, "{text}");
    assert!(text.contains("cannot inspect PostgreSQL database `no such database` at 127.0.0.1:"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_as_protected_as_was_asked_for() {
    let Some(server) = server::shared() else { return };
    let authority = server.authority.clone().unwrap();
    let inspect = |connection| async move { PostgresqlDatabase::new(connection, "postgres".to_owned()).inspect().await };
    // The certificate has the Service's name, and the connection goes to an address.
    inspect(verifying(&server, &authority, Some("postgres.staging.svc"))).await.unwrap();
    inspect(Connection { host: "localhost".to_owned(), ..verifying(&server, &authority, None) }).await.unwrap();
    let (kind, text) = refused(verifying(&server, &authority, Some("postgres.production.svc")), "postgres").await;
    assert_eq!(kind, Kind::Insecure, "{text}");
    let Some(other) = server::start(false) else { return };
    let stranger = rcgen::generate_simple_self_signed(vec!["stranger".to_owned()]).unwrap().cert.pem();
    let (kind, text) = refused(verifying(&server, &stranger, Some("postgres.staging.svc")), "postgres").await;
    assert_eq!(kind, Kind::Insecure, "{text}");
    let (kind, text) =
        refused(Connection { tls: Tls::Require, ..world::connection(&other, "postgres", PASSWORD) }, "postgres").await;
    assert_eq!(kind, Kind::Insecure, "{text}");
    assert!(text.contains("server does not support SSL"), "{text}");
    inspect(world::connection(&other, "postgres", PASSWORD)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_rights_are_told_before_anything_is_done() {
    let Some(server) = server::shared() else { return };
    server.sql("postgres", "CREATE ROLE weak LOGIN PASSWORD 'weak'; CREATE ROLE owner_of_secrets; CREATE DATABASE secrets;");
    server.sql("secrets", "CREATE TABLE hidden (n int); ALTER TABLE hidden OWNER TO owner_of_secrets;");
    let weak = PostgresqlDatabase::new(world::connection(&server, "weak", "weak"), "secrets".to_owned());
    let (kind, text) = told(&weak.inspect().await.unwrap_err());
    assert_eq!(kind, Kind::Forbidden);
    assert!(text.ends_with("`weak` may not read public.hidden"), "{text}");

    let mut place = world::place();
    let (_, mut load) = world::dumped(&world::database(&server, "secrets"), &mut place, "secrets_restored").await;
    load.facts.extensions.push(("no_such_extension".to_owned(), "1.0".to_owned()));
    load.facts.roles.push("no_such_role".to_owned());
    let problems: Vec<String> =
        weak.examine(&load).await.unwrap().problems.iter().map(|problem| problem.message.clone()).collect();
    for part in
        ["may not create databases", "no role `no_such_role`", "not a member of `owner_of_secrets`", "`no_such_extension`"]
    {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:?}");
    }
    // Who tries all the same is told so by the server, and nothing is left.
    let (kind, text) = told(&weak.load(&load, &place).await.unwrap_err());
    assert_eq!(kind, Kind::Forbidden, "{text}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'secrets_restored';"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_not_what_was_written_leaves_no_database() {
    let Some(server) = server::shared() else { return };
    server.sql("postgres", "CREATE DATABASE damaged;");
    server.sql("damaged", "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 5000) n;");
    let database = world::database(&server, "damaged");
    let mut place = world::place();
    let (_, load) = world::dumped(&database, &mut place, "damaged_restored").await;
    let whole = read(&place).await;
    let mut other = whole.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    for bytes in [other, whole[..whole.len() - 1].to_vec(), Vec::new()] {
        let body = ObjectBody::Bytes(Bytes::from(bytes));
        place.storage.put(&place.key, body, PutCondition::Always).await.unwrap();
        let error = database.load(&load, &place).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Corrupt | Kind::Other), "{error}");
        assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'damaged_restored';"), "0");
    }
    // Somebody else's database of the name is not touched.
    server.sql("postgres", "CREATE DATABASE damaged_restored;");
    let (kind, text) = told(&database.load(&load, &place).await.unwrap_err());
    assert_eq!(kind, Kind::NameTaken, "{text}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'damaged_restored';"), "1");
}

async fn read(place: &dxdr_provider::database::DumpPlace) -> Vec<u8> {
    use futures::StreamExt as _;
    let mut reader = place.storage.get(&place.key, None).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.stream.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}
