//! How many requests to have in flight: as many as the server takes gladly, found by trying.
//!
//! ```text
//! acquire ─► a permit, or wait ─► the request ─► observe ─┬─ an answer in good time: a little more
//!                                                         ├─ much slower than it can be: a little less
//!                                                         └─ 429, 5xx, no answer: half as many, and a pause
//! ```
//!
//! Additive increase, multiplicative decrease, as TCP does: several writers against one server settle at a fair share each. An
//! answer that refuses the object (409, 422, a quota) is an answer: the server is well.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use dxdr_provider::{ClusterError, ClusterErrorKind};
use tokio::{sync::Notify, time::Instant};

/// Between which bounds the limit moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// At the start; doubles with each round of answers until something goes wrong.
    pub initial: usize,
    /// Never fewer, however bad it gets.
    pub smallest: usize,
    /// Never more.
    pub largest: usize,
    /// Answers faster than this are never called slow.
    pub patience: Duration,
}

impl Default for Bounds {
    /// An API server on two cores takes creates at its full rate with 32 in flight; more only queue.
    fn default() -> Self {
        Self { initial: 8, smallest: 1, largest: 32, patience: Duration::from_secs(2) }
    }
}

/// A pause when the server says that it is overloaded but not for how long.
const PAUSE: Duration = Duration::from_millis(250);

/// No pause is longer, whatever the server asks for: after it, one request at a time finds out.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A limit on requests in flight, shared by all who send them. Clones share one limit.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    in_flight: AtomicUsize,
    changed: Notify,
}

/// Leave to have one request in flight; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl AdaptiveLimit {
    /// A limit that knows nothing of the server yet.
    pub fn new(bounds: Bounds) -> Self {
        let shared = Shared { state: Mutex::new(State::new(bounds)), in_flight: AtomicUsize::new(0), changed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Waits until one more request may be sent.
    pub async fn acquire(&self) -> Permit {
        loop {
            // Registered before looking, so that a permit given back in between is noticed.
            let changed = self.shared.changed.notified();
            let (pause, limit) = {
                let state = self.state();
                (state.paused_until, state.limit())
            };
            match pause {
                Some(until) if until > Instant::now() => {
                    tokio::time::sleep_until(until).await;
                    continue;
                }
                _ => {}
            }
            let taken = self
                .shared
                .in_flight
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |in_flight| (in_flight < limit).then_some(in_flight + 1));
            if taken.is_ok() {
                // One wake-up may have been one too few: the next in line looks for itself.
                self.shared.changed.notify_one();
                return Permit { shared: Arc::clone(&self.shared) };
            }
            changed.await;
        }
    }

    /// Learns from a request that took `latency`.
    pub fn observe<T>(&self, result: &Result<T, ClusterError>, latency: Duration) {
        let in_flight = self.in_flight();
        let before = self.current();
        self.state().observe(result.as_ref().err().map(|error| &error.kind), latency, in_flight, Instant::now());
        let now = self.current();
        if now < before {
            tracing::debug!(before, now, ?latency, "fewer requests in flight");
        } else if now > before {
            self.shared.changed.notify_one();
        }
    }

    /// Sends a request within the limit, learns from it, and answers what it answered.
    pub async fn within<T>(&self, request: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
        let permit = self.acquire().await;
        let begun = Instant::now();
        let result = request.await;
        self.observe(&result, begun.elapsed());
        drop(permit);
        result
    }

    /// How many requests may be in flight now.
    pub fn current(&self) -> usize {
        self.state().limit()
    }

    /// How many are.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete in itself; a thread that panicked elsewhere does not spoil it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State {
    bounds: Bounds,
    limit: f64,
    /// Nothing has gone wrong yet: the limit doubles each round.
    starting: bool,
    paused_until: Option<Instant>,
    /// What was sent before this says nothing new about the server.
    decreased: Option<Instant>,
    /// Seconds; the latency of an unburdened server, creeping up so that an old one is forgotten.
    quickest: Option<f64>,
}

impl State {
    fn new(bounds: Bounds) -> Self {
        let smallest = bounds.smallest.max(1);
        let largest = bounds.largest.max(smallest);
        let limit = bounds.initial.clamp(smallest, largest) as f64;
        let bounds = Bounds { smallest, largest, ..bounds };
        Self { bounds, limit, starting: true, paused_until: None, decreased: None, quickest: None }
    }

    fn limit(&self) -> usize {
        // Never negative, never above `largest`.
        (self.limit as usize).clamp(self.bounds.smallest, self.bounds.largest)
    }

    fn observe(&mut self, error: Option<&ClusterErrorKind>, latency: Duration, in_flight: usize, now: Instant) {
        match error {
            Some(ClusterErrorKind::TooManyRequests(asked)) => {
                let pause = asked.unwrap_or(PAUSE).min(LONGEST_PAUSE);
                self.paused_until = self.paused_until.max(Some(now + pause));
                self.decrease(0.5, latency, now);
            }
            Some(ClusterErrorKind::TimedOut | ClusterErrorKind::Unavailable | ClusterErrorKind::Unreachable) => {
                self.paused_until = self.paused_until.max(Some(now + PAUSE));
                self.decrease(0.5, latency, now);
            }
            _ => {
                let seconds = latency.as_secs_f64();
                let quickest = self.quickest.map_or(seconds, |quickest| seconds.min(quickest * 1.001));
                self.quickest = Some(quickest);
                if latency > self.bounds.patience && seconds > 10.0 * quickest {
                    self.decrease(0.8, latency, now);
                } else {
                    self.increase(in_flight);
                }
            }
        }
    }

    fn increase(&mut self, in_flight: usize) {
        // A limit that is not used has not been tried.
        if in_flight * 2 >= self.limit() {
            self.limit += if self.starting { 1.0 } else { 1.0 / self.limit };
            self.limit = self.limit.min(self.bounds.largest as f64);
        }
    }

    /// Once a round: the requests that were in flight together all tell of the same overload.
    fn decrease(&mut self, factor: f64, latency: Duration, now: Instant) {
        let sent = now.checked_sub(latency);
        if self.decreased.is_some_and(|decreased| sent.is_none_or(|sent| sent <= decreased)) {
            return;
        }
        self.starting = false;
        self.decreased = Some(now);
        self.limit = (self.limit * factor).max(self.bounds.smallest as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(10);

    /// Answers `count` requests one after the other, each sent when the one before was answered.
    fn answer(state: &mut State, now: &mut Instant, count: usize, error: Option<ClusterErrorKind>, latency: Duration) {
        for _ in 0..count {
            *now += latency + Duration::from_millis(1);
            let in_flight = state.limit();
            state.observe(error.as_ref(), latency, in_flight, *now);
        }
    }

    fn error(kind: ClusterErrorKind) -> ClusterError {
        ClusterError { kind, action: "create", object: "x".into(), cluster: "y".into(), message: "z".into(), source: None }
    }

    #[test]
    fn a_willing_server_is_given_more_and_more_up_to_the_largest() {
        let (mut state, mut now) = (State::new(Bounds::default()), Instant::now());
        answer(&mut state, &mut now, 8, None, QUICK);
        assert_eq!(state.limit(), 16);
        answer(&mut state, &mut now, 100, None, QUICK);
        assert_eq!(state.limit(), 32);
    }

    #[test]
    fn a_busy_server_gets_half_and_is_left_alone_as_long_as_it_asks() {
        let (mut state, mut now) = (State::new(Bounds::default()), Instant::now());
        answer(&mut state, &mut now, 100, None, QUICK);
        let asked = Duration::from_secs(3);
        answer(&mut state, &mut now, 1, Some(ClusterErrorKind::TooManyRequests(Some(asked))), QUICK);
        assert_eq!(state.limit(), 16);
        assert_eq!(state.paused_until, Some(now + asked));
        // Afterwards it grows slowly: by one for each round of sixteen.
        answer(&mut state, &mut now, 17, None, QUICK);
        assert_eq!(state.limit(), 17);
    }

    #[test]
    fn one_overload_counts_once_however_many_requests_tell_of_it() {
        let (mut state, now) = (State::new(Bounds::default()), Instant::now() + Duration::from_secs(60));
        for millis in 0..8 {
            let told = now + Duration::from_millis(millis);
            state.observe(Some(&ClusterErrorKind::TooManyRequests(None)), Duration::from_millis(500), 8, told);
        }
        assert_eq!(state.limit(), 4);
    }

    #[test]
    fn a_server_that_stays_broken_is_asked_one_at_a_time() {
        let (mut state, mut now) = (State::new(Bounds::default()), Instant::now());
        answer(&mut state, &mut now, 20, Some(ClusterErrorKind::TimedOut), Duration::from_secs(1));
        assert_eq!(state.limit(), 1);
        answer(&mut state, &mut now, 400, None, QUICK);
        assert!(state.limit() > 16);
    }

    #[test]
    fn a_slow_server_is_given_less_but_one_that_was_never_faster_is_not_called_slow() {
        let (mut state, mut now) = (State::new(Bounds::default()), Instant::now());
        answer(&mut state, &mut now, 100, None, QUICK);
        answer(&mut state, &mut now, 5, None, Duration::from_secs(4));
        assert!(state.limit() < 16, "{}", state.limit());
        let mut state = State::new(Bounds::default());
        answer(&mut state, &mut now, 100, None, Duration::from_secs(4));
        assert_eq!(state.limit(), 32);
    }

    #[test]
    fn a_refused_object_says_nothing_against_the_server() {
        let (mut state, mut now) = (State::new(Bounds::default()), Instant::now());
        for kind in [ClusterErrorKind::AlreadyExists, ClusterErrorKind::Invalid, ClusterErrorKind::QuotaExceeded] {
            answer(&mut state, &mut now, 30, Some(kind), QUICK);
        }
        assert_eq!(state.limit(), 32);
    }

    #[test]
    fn an_unused_limit_does_not_grow() {
        let (mut state, now) = (State::new(Bounds::default()), Instant::now());
        for _ in 0..100 {
            state.observe(None, QUICK, 1, now);
        }
        assert_eq!(state.limit(), 8);
    }

    #[tokio::test]
    async fn no_more_requests_are_in_flight_than_the_limit_says() {
        let limit = AdaptiveLimit::new(Bounds { initial: 2, largest: 5, ..Bounds::default() });
        let most = Arc::new(AtomicUsize::new(0));
        let now = Arc::new(AtomicUsize::new(0));
        let requests: Vec<_> = (0..200)
            .map(|_| {
                let (limit, most, now) = (limit.clone(), Arc::clone(&most), Arc::clone(&now));
                tokio::spawn(async move {
                    let request = async {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        now.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    };
                    limit.within(request).await.unwrap();
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 5);
        assert_eq!(limit.in_flight(), 0);
    }

    #[tokio::test]
    async fn a_pause_holds_everybody_and_then_ends() {
        let limit = AdaptiveLimit::new(Bounds::default());
        let asked = Duration::from_millis(80);
        limit.observe::<()>(&Err(error(ClusterErrorKind::TooManyRequests(Some(asked)))), QUICK);
        let begun = Instant::now();
        drop(limit.acquire().await);
        assert!(begun.elapsed() >= Duration::from_millis(60));
        assert_eq!(limit.current(), 4);
    }

    /// A server that takes at most `able` requests at once and refuses the others.
    #[tokio::test]
    async fn the_limit_settles_around_what_the_server_is_able_to_take() {
        let able = 6;
        let limit = AdaptiveLimit::new(Bounds { initial: 16, largest: 64, ..Bounds::default() });
        let now = Arc::new(AtomicUsize::new(0));
        let requests: Vec<_> = (0..400)
            .map(|_| {
                let (limit, now) = (limit.clone(), Arc::clone(&now));
                tokio::spawn(async move {
                    loop {
                        let request = async {
                            let among = now.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(2)).await;
                            now.fetch_sub(1, Ordering::SeqCst);
                            let refused = ClusterErrorKind::TooManyRequests(Some(Duration::from_millis(5)));
                            if among < able { Ok(()) } else { Err(error(refused)) }
                        };
                        if limit.within(request).await.is_ok() {
                            break;
                        }
                    }
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert!((2..=2 * able).contains(&limit.current()), "{}", limit.current());
    }
}
