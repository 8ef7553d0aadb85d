//! The world of the quickstart and of `dxdr sandbox up`: three environments as the shipped manifests declare them, filled with
//! what such environments hold, and ways to damage them.

pub(crate) mod cloud;
pub(crate) mod damage;
pub(crate) mod definitions;
pub(crate) mod manifests;
pub(crate) mod seed;
pub(crate) mod workloads;
