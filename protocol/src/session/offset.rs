//! Clock offset from the four times of a round trip.

use crate::time::WallTime;

/// What one round trip says of the other end's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// Other end's wall clock minus ours.
    pub(super) offset_ns: i64,
    /// Time on the way, both ways. The offset is right within half of it.
    pub(super) rtt_ns: u64,
}

impl Offset {
    /// From the wall time `asked` at which we sent, the other end's wall times `received` and `answered`, and the time
    /// that passed here on the monotonic clock. Source: RFC 5905, section 8.
    pub(super) fn of_exchange(asked: WallTime, received: WallTime, answered: WallTime, elapsed_ns: u64) -> Self {
        let held_ns = answered.unix_ns.saturating_sub(received.unix_ns).max(0).unsigned_abs().min(elapsed_ns);
        let there = i128::from(received.unix_ns) - i128::from(asked.unix_ns);
        let back = i128::from(answered.unix_ns) - i128::from(asked.unix_ns) - i128::from(elapsed_ns);
        Self { offset_ns: saturate((there + back) / 2), rtt_ns: elapsed_ns - held_ns }
    }
}

fn saturate(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// Remembered measurements: the one with the shortest way is the best.
const REMEMBERED: usize = 4;

/// The best of the last measurements, forgotten when the clock was evidently set.
#[derive(Clone, Debug, Default)]
pub(super) struct OffsetFilter {
    recent: Vec<Offset>,
}

impl OffsetFilter {
    pub(super) fn add(&mut self, offset: Offset) -> Offset {
        if self.recent.iter().any(|known| known.contradicts(offset)) {
            self.recent.clear();
        }
        if self.recent.len() == REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push(offset);
        self.recent.iter().copied().min_by_key(|known| known.rtt_ns).unwrap_or(offset)
    }
}

impl Offset {
    /// Their error bounds do not overlap.
    fn contradicts(self, other: Self) -> bool {
        let apart = self.offset_ns.abs_diff(other.offset_ns);
        apart > (self.rtt_ns / 2).saturating_add(other.rtt_ns / 2).saturating_add(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn wall(ms: i64) -> WallTime {
        WallTime::from_unix_ms(ms)
    }

    #[test]
    fn symmetric_ways_give_the_exact_offset() {
        // The other clock is 500 ms ahead, 20 ms each way, 5 ms held.
        let offset = Offset::of_exchange(wall(1_000), wall(1_520), wall(1_525), 45_000_000);
        assert_eq!(offset, Offset { offset_ns: 500_000_000, rtt_ns: 40_000_000 });
    }

    #[test]
    fn nonsense_times_do_not_overflow() {
        let far = WallTime { unix_ns: i64::MAX };
        let past = WallTime { unix_ns: i64::MIN };
        assert_eq!(Offset::of_exchange(past, far, past, 1).rtt_ns, 1);
        assert_eq!(Offset::of_exchange(past, past, far, 1).rtt_ns, 0);
        assert_eq!(Offset::of_exchange(past, far, far, u64::MAX).offset_ns, i64::MAX);
    }

    #[test]
    fn the_shortest_way_counts_until_the_clock_is_set() {
        let mut filter = OffsetFilter::default();
        let good = Offset { offset_ns: 10_000_000, rtt_ns: 2_000_000 };
        let slow = Offset { offset_ns: 30_000_000, rtt_ns: 80_000_000 };
        let set = Offset { offset_ns: 5_000_000_000, rtt_ns: 3_000_000 };
        assert_eq!(filter.add(slow), slow);
        assert_eq!(filter.add(good), good);
        assert_eq!(filter.add(slow), good);
        assert_eq!(filter.add(set), set);
    }
}
