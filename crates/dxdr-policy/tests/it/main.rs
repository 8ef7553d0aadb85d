//! Schedules against what Velero's parsers make of the same expressions.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod velero_parsers;
