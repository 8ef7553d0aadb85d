//! Saying what is there and what happened: as text for people, and as JSON for programs.
//!
//! Each page is a function from domain values to a `String` and one to a [`serde_json::Value`]. The text may change with every
//! version; the JSON is a contract, and every page carries its `format` with a version.
//!
//! Architecture invariant: prints nothing, decides nothing, and knows no adapter. Wording lives here and nowhere else.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backup_plan;
pub mod comparison;
pub mod databases;
pub mod difference;
pub mod event;
pub mod instances;
pub mod leftovers;
pub mod points;
pub mod quantity;
pub mod readiness;
mod restore_databases;
pub mod restore_plan;
pub mod runs;
pub mod schedule_plan;
pub mod table;
