//! The time, as something that can be given.

use std::fmt::Debug;

use jiff::Timestamp;

/// Tells the time. Real in the application, fixed or stepped in tests.
pub trait Clock: Debug + Send + Sync {
    /// The instant it is now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
