//! Ctrl-C as a value, so that servers are stopped before the chore ends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Interrupted;

static RECEIVED: AtomicBool = AtomicBool::new(false);
static WATCHING: OnceLock<()> = OnceLock::new();

/// From now on Ctrl-C, SIGTERM and SIGHUP no longer end this process; [`check`] tells of them.
pub(crate) fn watch() -> Result<()> {
    if WATCHING.set(()).is_err() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot listen for signals")?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?,
        )
    };
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                RECEIVED.store(true, Ordering::SeqCst);
            }
        });
    });
    Ok(())
}

/// Fails with [`Interrupted`] once a signal has arrived.
pub(crate) fn check() -> Result<()> {
    if RECEIVED.load(Ordering::SeqCst) {
        return Err(Interrupted.into());
    }
    Ok(())
}
