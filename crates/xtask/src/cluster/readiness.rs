//! Waiting for conditions, never for a time: a loaded machine is slower by a factor of seven.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::processes::Processes;
use crate::interruption;

/// Generous, because it is only reached when something is broken: on a quiet machine everything is ready in seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Asks `ready` until it says yes. Fails early when one of the named processes has died (with its last lines) or
/// Ctrl-C arrived, and after two minutes with what was last seen.
pub(crate) fn wait(processes: &Processes, names: &[&str], what: &str, mut ready: impl FnMut() -> Readiness) -> Result<()> {
    let start = Instant::now();
    loop {
        interruption::check()?;
        let seen = match ready() {
            Readiness::Ready => return Ok(()),
            Readiness::NotYet(seen) => seen,
        };
        for name in names {
            processes.check_alive(name)?;
        }
        if start.elapsed() > PATIENCE {
            let logs = names.iter().map(|name| processes.log_of(name).display().to_string());
            bail!(
                "{what} is not ready after {} s: {}\nhint: see {}",
                PATIENCE.as_secs(),
                seen.trim(),
                logs.collect::<Vec<_>>().join(", ")
            );
        }
        thread::sleep(PAUSE);
    }
}

/// One answer to "is it ready?".
pub(crate) enum Readiness {
    Ready,
    /// With what was seen instead, for the message at the end.
    NotYet(String),
}
