//! A PostgreSQL server of one's own, made of the programs that are installed: for tests, and for the emulator of Cloud SQL.
//!
//! PostgreSQL refuses to run as root. Where the process is root, everything that an [`Installation`] starts runs as `nobody`, and what it is to read or write must be
//! [given away](account::give_away); elsewhere it runs as the process does.
//!
//! Architecture invariant: this crate knows nothing of dxdr, opens no connection, and ends no process but those that it started.

pub mod account;
mod installation;
mod server;

pub use installation::Installation;
pub use server::Server;
