//! Chance that is the same for the same seed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Numbers that look random (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Others, which do not depend on how often these are thrown from now on.
    pub(super) fn split(&self) -> Self {
        Self::new(self.throw())
    }

    fn throw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `limit`.
    pub(super) fn below(&self, limit: u64) -> u64 {
        self.throw() % limit
    }

    /// Once in so many throws.
    pub(super) fn once_in(&self, throws: u64) -> bool {
        self.below(throws) == 0
    }

    /// From `least` to below `limit` seconds, in milliseconds.
    pub(super) fn seconds(&self, least: u64, limit: u64) -> Duration {
        Duration::from_millis(least * 1_000 + self.below((limit - least) * 1_000))
    }
}
