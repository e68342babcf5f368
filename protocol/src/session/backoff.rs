//! When to try again: full jitter, so that a fleet that lost its collector comes back spread out.

use std::ops::RangeInclusive;
use std::time::Duration;

const BASE_MS: u64 = 200;
const CAP_MS: u64 = 10_000;
/// A server's longer wish is cut to an hour.
const RETRY_AFTER_MS_MAX: u64 = 3_600_000;
/// A server's wish is stretched by up to this share, so that those who got the same wish do not return together.
const RETRY_AFTER_SPREAD: u64 = 2;

/// A small deterministic generator for jitter (`SplitMix64`, Steele et al. 2014); not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same jitter.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `range`.
    pub fn within(&mut self, range: &RangeInclusive<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let width = (range.end() - range.start()).saturating_add(1);
        range.start() + z % width
    }
}

/// Delays between tries: uniform between 0 and 200 ms · 2ⁿ, at most 10 s.
///
/// Source: Brooker, "Exponential Backoff And Jitter" (AWS, 2015).
#[derive(Clone, Debug)]
pub struct Backoff {
    jitter: Jitter,
    failures: u32,
    floor_ms: u64,
}

impl Backoff {
    /// No failure yet.
    pub const fn new(seed: u64) -> Self {
        Self { jitter: Jitter::new(seed), failures: 0, floor_ms: 0 }
    }

    /// It worked: begin with short delays again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The other end asked for this delay before the next try.
    pub fn retry_after(&mut self, delay: Duration) {
        self.floor_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).min(RETRY_AFTER_MS_MAX);
    }

    /// The delay before the next try.
    pub fn next_delay(&mut self) -> Duration {
        let bound = BASE_MS.saturating_mul(1 << self.failures.min(16)).min(CAP_MS);
        self.failures = self.failures.saturating_add(1);
        let floor = std::mem::take(&mut self.floor_ms);
        let spread = self.jitter.within(&(0..=floor / RETRY_AFTER_SPREAD));
        Duration::from_millis(floor + spread.max(self.jitter.within(&(0..=bound))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_tries_are_fast_and_later_ones_are_capped_and_spread() {
        let mut backoff = Backoff::new(1);
        assert!(backoff.next_delay() <= Duration::from_millis(200));
        assert!(backoff.next_delay() <= Duration::from_millis(400));
        let later: Vec<_> = (0..1_000).map(|_| backoff.next_delay()).collect();
        assert!(later.iter().all(|delay| *delay <= Duration::from_millis(CAP_MS)));
        let mean = later.iter().sum::<Duration>() / 1_000;
        assert!((4_000..6_000).contains(&mean.as_millis()), "{mean:?}");
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(200));
    }

    #[test]
    fn fleet_whose_collector_was_away_comes_back_spread_over_the_longest_delay() {
        const HOSTS: u64 = 2_000;
        const AWAY: Duration = Duration::from_secs(1_800);
        // All lost it at the same moment.
        let comes_back = |seed| {
            let mut backoff = Backoff::new(seed);
            let mut at = Duration::ZERO;
            while at < AWAY {
                at += backoff.next_delay();
            }
            u64::try_from((at - AWAY).as_millis()).expect("at most the longest delay")
        };
        let mut tenths = std::collections::BTreeMap::new();
        (0..HOSTS).for_each(|seed| *tenths.entry(comes_back(seed) / 100).or_insert(0) += 1);
        // Who waits uniformly long has that density at its begin: a fiftieth in the first tenth of a second, then less.
        let most = tenths.values().copied().max();
        assert!(most < Some(HOSTS / 30), "{most:?} of {HOSTS} within a tenth of a second: {tenths:?}");
        assert!(tenths.keys().all(|tenth| *tenth <= CAP_MS / 100));
    }

    #[test]
    fn retry_after_is_honoured_once_and_spread() {
        let delays: Vec<_> = (0..100)
            .map(|seed| {
                let mut backoff = Backoff::new(seed);
                backoff.retry_after(Duration::from_secs(30));
                let asked = backoff.next_delay();
                assert!(backoff.next_delay() <= Duration::from_secs(1));
                asked
            })
            .collect();
        assert!(delays.iter().all(|delay| (30..=45).contains(&delay.as_secs())));
        assert!(delays.iter().max() > delays.iter().min());
    }
}
