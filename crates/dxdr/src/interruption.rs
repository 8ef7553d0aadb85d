//! Ctrl-C and SIGTERM.
//!
//! ```text
//! nothing begun (connecting, planning, at a prompt) ── signal ─► the process ends, nothing was changed
//! a run is under way ── signal ─► it stops at a safe place ── another signal ─► the process ends at once
//! ```

use dxdr_run::StopRequest;

use crate::{
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Listens for both signals until the process ends.
pub(crate) fn listen(terminal: &Terminal) -> StopRequest {
    let terminal = terminal.clone();
    let stop = StopRequest::new();
    let asked = stop.clone();
    // Registered before anything is begun, and once: a signal between two of them is not lost.
    let mut signals = Signals::register();
    tokio::spawn(async move {
        signals.next().await;
        if !asked.heeded() {
            end(&terminal, "stopped on request", "nothing was changed");
        }
        tracing::warn!("stopping at the next safe place; press Ctrl-C again to stop at once");
        asked.ask();
        signals.next().await;
        end(&terminal, "stopped at once", "`dxdr runs list` says what is unfinished; `dxdr runs resume RUN` goes on");
    });
    stop
}

/// Ends the process as one that was interrupted: whoever waits for an answer on a terminal waits no longer.
fn end(terminal: &Terminal, what: &'static str, hint: &str) -> ! {
    if terminal.for_people() {
        // Behind the ^C that the terminal shows, or the question.
        terminal.note("");
    }
    terminal.failure(&Failure::new(Kind::Interrupted, what).hint(hint));
    std::process::exit(i32::from(Kind::Interrupted.code()))
}

/// The signals that mean stop.
#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    fn register() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        // A signal that cannot be listened to does what it does by itself: it ends the process.
        Self([SignalKind::interrupt(), SignalKind::terminate()].into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    async fn next(&mut self) {
        if self.0.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}

/// The signals that mean stop.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn register() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
