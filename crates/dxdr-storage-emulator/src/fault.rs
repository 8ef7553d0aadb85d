//! Faults: what goes wrong, for whom, how often.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What happens to a request that a [`Fault`] picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// It is refused with this status and reason, and not carried out.
    Refused(u16, &'static str),
    /// It is carried out, and answered as if it had been refused.
    RefusedAfter(u16, &'static str),
    /// The connection ends without an answer, and nothing is done.
    Dropped,
    /// It is carried out, and the connection ends without an answer.
    DroppedAfter,
    /// The connection ends when this many bytes of the request's body have come. A session keeps them.
    BrokenUpload(u64),
    /// The connection ends when this many bytes of the object have been sent.
    BrokenDownload(u64),
    /// Nothing more comes after this many bytes of the object, and the connection stays.
    StalledDownload(u64),
    /// The answer ends properly after this many bytes of the object.
    Truncated(u64),
    /// The byte at this position of what is sent is another one.
    FlippedDownload(u64),
    /// The byte at this position of the request's body is another one when it arrives.
    FlippedUpload(u64),
    /// The answer names the checksum of other bytes.
    WrongChecksum,
    /// It is answered after a delay.
    Slow(Duration),
    /// It is never answered.
    Silent,
}

/// Which requests fail, how, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    failing: Failing,
    method: Option<String>,
    target: Option<String>,
    skip: u64,
    count: Option<u64>,
}

impl Fault {
    /// Every request fails like this, until narrowed down.
    pub fn new(failing: Failing) -> Self {
        Self { failing, method: None, target: None, skip: 0, count: None }
    }

    /// Only requests with this method, `GET` or `PUT` for example.
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only requests whose path and query contain this text, `upload_id=` for example.
    #[must_use]
    pub fn target(mut self, part: impl Into<String>) -> Self {
        self.target = Some(part.into());
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

    fn matches(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.target.as_deref().is_none_or(|wanted| target.contains(wanted))
            && self.count != Some(0)
    }
}

/// The faults of a server. The first that matches a request decides.
#[derive(Debug, Default)]
pub struct Faults {
    active: Mutex<Vec<Fault>>,
}

impl Faults {
    /// Adds a fault behind those there are.
    pub fn add(&self, fault: Fault) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.active.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn pick(&self, method: &str, target: &str) -> Option<Failing> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = active.iter_mut().find(|fault| fault.matches(method, target))?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        Some(fault.failing.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_picks_what_it_is_told_to_and_ends() {
        let faults = Faults::default();
        faults.add(Fault::new(Failing::Dropped).method("PUT").target("upload_id=").after(1).times(2));
        let pick = |method, target| faults.pick(method, target).is_some();
        assert!(!pick("GET", "/x?upload_id=1") && !pick("PUT", "/x"));
        assert_eq!([(); 4].map(|()| pick("PUT", "/x?upload_id=1")), [false, true, true, false]);
        faults.add(Fault::new(Failing::Silent));
        assert!(pick("GET", "/"));
        faults.clear();
        assert!(!pick("GET", "/"));
    }
}
