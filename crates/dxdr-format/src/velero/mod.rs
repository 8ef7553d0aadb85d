//! Velero's format: a folder of objects for each backup, as a Velero server of version 1.13 to 1.18 writes and reads it.
//!
//! [`layout`] names the objects, [`archive`] is the one that holds everything, [`backup`] is the marker without which there is no
//! backup, and the others stand beside: none of them is needed for a restore, but one that is there and broken is worse than none.

pub mod adoption;
pub mod archive;
pub mod backup;
pub mod csi_snapshot;
pub mod duration;
pub mod item_operation;
pub mod layout;
mod lenient;
pub mod pod_volume_backup;
pub mod resource_list;
pub mod results;
pub mod side;
pub mod volume_info;
pub mod volume_snapshot;
