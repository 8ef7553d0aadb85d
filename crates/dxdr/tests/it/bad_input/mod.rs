//! What cannot work is refused in one clear error, with what to do, and changes nothing.

mod cluster;
mod request;
mod store;
