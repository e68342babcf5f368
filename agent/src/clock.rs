//! The shell's clocks and the one-second tick.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::time::Instant;
use vedette_protocol::time::{MonoTime, WallTime};

/// Time between two ticks.
pub const TICK: Duration = Duration::from_secs(1);

/// Nanoseconds since boot, suspended time included.
pub fn mono_now() -> MonoTime {
    let now = clock_gettime(ClockId::Boottime);
    let ns = |value: i64| u64::try_from(value).unwrap_or(0);
    MonoTime { ns: ns(now.tv_sec) * 1_000_000_000 + ns(now.tv_nsec) }
}

/// The host's wall clock, uncorrected.
pub fn wall_now() -> WallTime {
    let now = clock_gettime(ClockId::Realtime);
    WallTime { unix_ns: now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec) }
}

/// Says when the next tick is due and counts those that were missed.
///
/// Sans-IO. Ticks stand on a fixed grid, so a late one does not move those after it. The grid is on the clock that
/// stands still while the host is suspended: sleep is a gap, not a missed tick.
#[derive(Debug)]
pub struct Ticker {
    next: Instant,
    run: u64,
    missed: u64,
}

impl Ticker {
    /// The first tick is at the next full second of wall time, so that hosts sample at the same moments.
    pub fn new(now: Instant, wall: WallTime) -> Self {
        let into_second_ns = wall.unix_ns.rem_euclid(1_000_000_000).unsigned_abs();
        Self { next: now + TICK - Duration::from_nanos(into_second_ns), run: 0, missed: 0 }
    }

    /// When the next tick is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// A tick begins at `now`; ticks whose whole second has passed unused are missed.
    pub fn handle_tick(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.next).as_secs();
        self.missed += late;
        self.run += 1;
        self.next += TICK * u32::try_from(late + 1).unwrap_or(u32::MAX);
    }

    /// Ticks that ran.
    pub fn run(&self) -> u64 {
        self.run
    }

    /// Ticks that did not.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticker() -> (Ticker, Instant) {
        let start = Instant::now();
        let ticker = Ticker::new(start, WallTime::from_unix_ms(1_700_000_000_250));
        (ticker, start + Duration::from_millis(750))
    }

    #[test]
    fn first_tick_is_at_the_full_second() {
        let (ticker, first) = ticker();
        assert_eq!(ticker.next(), first);
    }

    #[test]
    fn late_tick_keeps_the_grid_and_is_not_missed() {
        let (mut ticker, first) = ticker();
        ticker.handle_tick(first + Duration::from_millis(900));
        assert_eq!((ticker.run(), ticker.missed()), (1, 0));
        assert_eq!(ticker.next(), first + TICK);
    }

    #[test]
    fn every_second_that_passed_unused_is_missed() {
        let (mut ticker, first) = ticker();
        ticker.handle_tick(first + Duration::from_millis(3_100));
        assert_eq!((ticker.run(), ticker.missed()), (1, 3));
        assert_eq!(ticker.next(), first + 4 * TICK);
    }
}
