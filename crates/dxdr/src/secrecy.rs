//! What the process does before it reads its first secret.

/// Forbids core dumps and the debugging of this process by others of the same account: both would copy its memory. A system that refuses has
/// stricter rules of its own, or none to give.
#[cfg(target_os = "linux")]
pub(crate) fn keep() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Forbids core dumps.
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn keep() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Nothing that this system offers.
#[cfg(not(unix))]
pub(crate) fn keep() {}
