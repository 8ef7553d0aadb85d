//! What cannot work is refused in one clear error, with what to do, and changes nothing.

mod access;
mod archive;
mod cluster;
mod full_disk;
mod manifests;
mod request;
mod restore;
mod store;
