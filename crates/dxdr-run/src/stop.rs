//! Asking a run to stop at the next safe place.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

/// Shared between whoever may ask (a signal handler) and the run, which looks between steps and between objects.
#[derive(Debug, Clone, Default)]
pub struct StopRequest(Arc<State>);

#[derive(Debug, Default)]
struct State {
    asked: AtomicBool,
    heeded: AtomicBool,
    changed: Notify,
}

impl StopRequest {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask. Asking twice is the same as once.
    pub fn ask(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Says that from here on somebody looks: a run is under way that stops at a safe place.
    pub fn heed(&self) {
        self.0.heeded.store(true, Ordering::SeqCst);
    }

    /// Whether somebody looks. While nobody does, nothing was begun, and a process may simply end.
    pub fn heeded(&self) -> bool {
        self.0.heeded.load(Ordering::SeqCst)
    }

    /// Returns once somebody has asked.
    pub async fn wait(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that a request in between is noticed.
            changed.as_mut().enable();
            if self.asked() {
                return;
            }
            changed.await;
        }
    }
}
