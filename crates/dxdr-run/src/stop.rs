//! Asking a run to stop at the next safe place.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Shared between whoever may ask (a signal handler) and the run, which looks between steps and between objects.
#[derive(Debug, Clone, Default)]
pub struct StopRequest(Arc<AtomicBool>);

impl StopRequest {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask. Asking twice is the same as once.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
