//! The plan of a restore: per object of the archive what becomes of it, and why.
//!
//! ```text
//! archive item ─► filter ─► transform ─► compare with the live object ─► create | update | same | leave
//!                   │                                                        │
//!                   └──────────► left out, with a reason ◄── owner restored ─┘    (settled when all items were seen)
//! ```
//!
//! Items stream through in the archive's order, each looked at once; what is kept of one is its name and its verdict. Planner and
//! executor share [`transform`](transform::transform), so what is compared is what is written.

mod carrier;
pub mod change;
pub mod choice;
mod claim;
pub mod copies;
pub mod database;
mod finding;
pub mod live;
mod mapping;
pub mod plan;
mod planner;
mod prune;
mod quota;
mod recovery;
pub mod request;
mod route;
mod rules;
mod settlement;
mod shared_storage;
pub mod transform;
pub mod volume;

pub(crate) use carrier::REPLACES;
pub use carrier::{Carrying, InertPod, carrying, mounts_claim, warnings};
pub use change::{Change, Changes};
pub use choice::{Considered, RouteKind, Verdict, Window};
pub use copies::{CopiedClaim, FileCopies};
pub use database::{DatabaseOrder, DatabaseRestore, DatabaseRestores, RecordedDatabase, recorded as recorded_databases};
pub use live::{FieldChange, LiveObjects};
pub use plan::{Action, Counts, Estimate, LeaveReason, LeftOut, LeftOutReason, PlannedObject, PrunedObject, RestorePlan, Stage};
pub use planner::RestorePlanner;
pub use recovery::{Recovery, SeenBackup};
pub use request::{Executor, Existing, RestoreRequest, Target, Volumes};
pub use route::{CloneRoute, Cost, Route};
pub(crate) use shared_storage::selectors;
pub use volume::{CapturedVolume, VeleroVolume, VolumeSource};

#[cfg(test)]
mod tests;
