//! Acting on a Velero server, through the objects it watches.

pub mod adoption;
pub mod backup;
pub(crate) mod ending;
pub mod follow;
pub mod restore;
pub mod schedules;
pub mod server;
