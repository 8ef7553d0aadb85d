//! What tests of this folder share: time that passes by itself, and a death that comes to whoever asks a service.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use dxdr_provider::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

/// Follows the time of tokio, which the tests let pass by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch(pub(super) tokio::time::Instant);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        "2024-05-01T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// Counts the calls to a service. At a chosen one whoever asks dies: before the request has its effect, or behind it.
#[derive(Debug, Default)]
pub(super) struct Death {
    calls: AtomicUsize,
    comes: Mutex<Option<(usize, bool)>>,
    came: Notify,
}

impl Death {
    /// Lets it come at a call, counted from 0, and says whether the request still has its effect.
    pub(super) fn comes_at(&self, call: usize, with_effect: bool) {
        *self.comes.lock().unwrap() = Some((call, with_effect));
    }

    /// Returns when it came.
    pub(super) async fn has_come(&self) {
        self.came.notified().await;
    }

    /// Calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// One call, which is never answered to whoever died.
    pub(super) async fn around<T>(&self, effect: impl FnOnce() -> T) -> T {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let comes = self.comes.lock().unwrap().filter(|(at, _)| *at == call).map(|(_, with_effect)| with_effect);
        if comes == Some(false) {
            self.die().await;
        }
        let answer = effect();
        if comes == Some(true) {
            self.die().await;
        }
        answer
    }

    async fn die(&self) {
        self.came.notify_one();
        std::future::pending().await
    }
}
