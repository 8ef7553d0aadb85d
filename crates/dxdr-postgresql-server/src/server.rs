//! A running server.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// How long one may take to stop. Two loaded cores may take long.
const STOPPED: Duration = Duration::from_secs(60);

/// The process of a server. Dropped, it ends at once, and so does everything that it started.
#[derive(Debug)]
pub struct Server {
    process: Child,
}

impl Server {
    pub(crate) fn new(process: Child) -> Self {
        Self { process }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Cuts every connection, writes down what there is, and stops: what is in its folder can be copied.
    pub fn stop(&mut self) {
        self.tell(Signal::INT);
    }

    /// Stops at once. Started again on its folder, it recovers.
    pub fn end(&mut self) {
        self.tell(Signal::QUIT);
    }

    fn tell(&mut self, signal: Signal) {
        if self.has_ended() {
            return;
        }
        // It was not waited for, so that its number is its own.
        let _ = rustix::process::kill_process(Pid::from_child(&self.process), signal);
        let end = Instant::now() + STOPPED;
        while !self.has_ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
