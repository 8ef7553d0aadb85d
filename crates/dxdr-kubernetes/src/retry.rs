//! When a request is tried again, and how long to wait before.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How often a request is tried and how long is waited between tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries altogether, the first included.
    pub tries: u32,
    /// Before the second try; doubles with each further one.
    pub first_wait: Duration,
    /// No wait is longer. A server that asks for more (`Retry-After`) is taken at its word: the request fails at once.
    pub longest_wait: Duration,
    /// Where the jitter begins.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// Waits of 0.2, 0.4, 0.8 and 1.6 seconds: a server that restarts behind a load balancer is back by then, and one that is not
    /// there at all is reported after three seconds.
    fn default() -> Self {
        Self { tries: 5, first_wait: Duration::from_millis(200), longest_wait: Duration::from_secs(30), seed: 0x5eed }
    }
}

impl RetryPolicy {
    /// Never tries again.
    pub fn never() -> Self {
        Self { tries: 1, ..Self::default() }
    }
}

/// A policy in use.
#[derive(Debug)]
pub(crate) struct Retries {
    pub(crate) policy: RetryPolicy,
    drawn: AtomicU64,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let drawn = AtomicU64::new(policy.seed);
        Self { policy, drawn }
    }

    /// How long to wait after try number `tries` (from 1) has failed, or `None` to give up.
    pub(crate) fn wait_after(&self, tries: u32, retry_after: Option<Duration>) -> Option<Duration> {
        if tries >= self.policy.tries {
            return None;
        }
        let doublings = (tries - 1).min(16);
        let backoff = self.policy.first_wait.saturating_mul(1 << doublings).min(self.policy.longest_wait);
        // Between three quarters and five quarters: many requests refused together do not come back together.
        let backoff = backoff.mul_f64(0.75 + 0.5 * self.fraction());
        match retry_after {
            Some(asked) if asked > self.policy.longest_wait => None,
            Some(asked) => Some(asked.max(backoff)),
            None => Some(backoff),
        }
    }

    /// A number in [0, 1), by splitmix64.
    fn fraction(&self) -> f64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.drawn.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_vary_by_a_quarter_at_most() {
        let retries = Retries::new(RetryPolicy::default());
        for (tries, middle) in [(1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6)] {
            let wait = retries.wait_after(tries, None).unwrap().as_secs_f64();
            assert!((middle * 0.75..=middle * 1.25).contains(&wait), "{tries}: {wait}");
        }
        assert_eq!(retries.wait_after(5, None), None);
    }

    #[test]
    fn the_server_s_own_wait_counts_unless_it_is_too_long() {
        let retries = Retries::new(RetryPolicy::default());
        assert_eq!(retries.wait_after(1, Some(Duration::from_secs(7))), Some(Duration::from_secs(7)));
        assert_eq!(retries.wait_after(1, Some(Duration::from_secs(3600))), None);
    }
}
