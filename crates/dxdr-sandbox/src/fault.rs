//! Faults: what goes wrong, for whom, how often.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What happens to a request a [`Fault`] picks.
#[derive(Debug, Clone)]
pub enum Failing {
    /// It is answered after a delay.
    Slow(Duration),
    /// 429 with `Retry-After`, in seconds.
    TooManyRequests {
        /// The seconds the answer asks the client to wait.
        retry_after: u32,
    },
    /// 500 `InternalError`.
    InternalError,
    /// 503 `ServiceUnavailable`.
    Unavailable,
    /// The answer breaks off: headers arrive, then the connection ends.
    Dropped,
    /// The write is carried out, but its answer never arrives whole.
    DroppedAfter,
    /// 403, as RBAC says it.
    Forbidden,
    /// 400 to 403 as a validating webhook of this name says it, with its message.
    DeniedByWebhook {
        /// The webhook's name.
        webhook: String,
        /// What it says.
        message: String,
    },
}

/// Which requests fail, how, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    failing: Failing,
    method: Option<String>,
    path: Option<String>,
    skip: u64,
    count: Option<u64>,
}

impl Fault {
    /// Every request fails like this, until narrowed down.
    pub fn new(failing: Failing) -> Self {
        Self { failing, method: None, path: None, skip: 0, count: None }
    }

    /// Only requests with this HTTP method, `GET` or `PATCH` for example.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only requests whose path and query contain this text, `/secrets` for example.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Ends after this many failures.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    fn picks(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.path.as_deref().is_none_or(|part| target.contains(part))
    }
}

/// The faults of a server; none at first.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    read_only: bool,
    requests: u64,
}

impl Faults {
    /// Adds a fault. Faults are asked in the order they were added; the first that picks a request decides.
    pub fn add(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Takes every fault away.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.read_only = false;
    }

    /// Every request breaks off, as when nobody listens.
    pub fn unreachable(&self) {
        self.add(Fault::new(Failing::Dropped));
    }

    /// Writes are refused with 403 while reads go on.
    pub fn read_only(&self) {
        self.lock().read_only = true;
    }

    /// How many requests the server has seen.
    pub fn requests(&self) -> u64 {
        self.lock().requests
    }

    pub(crate) fn pick(&self, method: &str, target: &str) -> Option<Failing> {
        let mut state = self.lock();
        state.requests += 1;
        if state.read_only && method != "GET" && method != "HEAD" {
            return Some(Failing::Forbidden);
        }
        let mut picked = None;
        for fault in &mut state.faults {
            if fault.count == Some(0) || !fault.picks(method, target) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if let Some(count) = &mut fault.count {
                *count -= 1;
            }
            picked = Some(fault.failing.clone());
            break;
        }
        state.faults.retain(|fault| fault.count != Some(0));
        picked
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
