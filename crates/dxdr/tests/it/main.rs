//! Scenarios of the program `dxdr`, run as its users run it: as a process, in a folder of its own, against the sandbox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod adoption;
mod bad_input;
mod cloud_sql;
mod cloud_sql_backups;
mod cloud_sql_postgresql;
mod cloud_sql_reap;
mod cloud_sql_restore;
mod cloud_sql_routes;
mod command_line;
mod database_refusals;
mod databases;
mod documentation;
mod environment;
mod gated;
mod google_bucket;
mod interrupted;
mod journey;
mod json_reference;
mod objects;
mod place;
#[path = "../../../dxdr-postgresql/tests/it/server.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests of dxdr-postgresql, which use more of it")]
mod postgresql_server;
mod readiness;
mod real_servers;
mod schedules;
mod scripted_bucket;
mod scripted_files;
mod scripted_velero;
mod seal;
mod served;
mod velero_databases;
