//! PostgreSQL databases, by PostgreSQL's own client programs: `psql`, `pg_dump`, `pg_restore`.
//!
//! ```text
//! Secret ─► Connection ─► psql (one JSON document an answer)      facts, examination, swap
//!                      ├► psql (a transaction that stays open) ─► pg_dump --snapshot ─► store
//!                      └► pg_restore --single-transaction ◄────── store
//! ```
//!
//! Bytes stream between the programs and the store; no file is written. A password goes to the programs in a file that exists in memory
//! alone. The programs die when what started them is dropped, and with their pipes when the process dies.
//!
//! Architecture invariant: knows the cluster and the store only as traits of `dxdr-provider`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod connection;
mod credentials;
mod database;
mod dump;
mod examination;
mod facts;
mod failure;
mod load;
mod memory_file;
mod program;
mod quoting;
mod session;
mod swap;

pub use connection::{Connection, Tls};
pub use credentials::PostgresqlDatabases;
pub use database::PostgresqlDatabase;
