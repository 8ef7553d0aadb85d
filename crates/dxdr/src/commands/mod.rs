//! One file a command: its arguments, whose comments are its help, and the function that loads, plans, shows, runs and reports.

mod application;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod databases;
pub(crate) mod environment;
pub(crate) mod generate;
pub(crate) mod man;
pub(crate) mod points;
pub(crate) mod quickstart;
pub(crate) mod restore;
pub(crate) mod runs;
pub(crate) mod sandbox;
pub(crate) mod schedule;
pub(crate) mod seal;
