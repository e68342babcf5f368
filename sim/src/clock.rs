//! Virtual time: nothing happens between two calls of [`Clock::advance`].

use std::time::Duration;
use vedette_protocol::time::{MonoTime, WallTime};

/// True wall time at which every simulation starts: Monday 2026-01-05, 00:00 UTC.
pub const START: WallTime = WallTime::from_unix_ms(1_767_571_200_000);

/// Time since boot at which every simulation starts, so that monotonic time is never mistaken for elapsed time.
const UPTIME_AT_START: Duration = Duration::from_secs(600);

/// One host's clocks: monotonic, true wall, and what the host believes the wall time to be.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    elapsed: Duration,
    wall_error_ns: i64,
}

impl Clock {
    /// A clock at [`START`] that tells the truth.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time since the start of the simulation.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The host's monotonic time.
    pub fn mono(&self) -> MonoTime {
        MonoTime::default() + UPTIME_AT_START + self.elapsed
    }

    /// Wall time as the host believes it.
    pub fn wall(&self) -> WallTime {
        self.true_wall().offset_by(self.wall_error_ns)
    }

    /// Wall time as it is.
    pub fn true_wall(&self) -> WallTime {
        START.offset_by(i64::try_from(self.elapsed.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        self.elapsed += by;
    }

    /// Sets the host's wall clock forth or back, as an operator or a time daemon does; monotonic time does not notice.
    pub fn step_wall(&mut self, by_ns: i64) {
        self.wall_error_ns = self.wall_error_ns.saturating_add(by_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_step_leaves_monotonic_and_true_time_alone() {
        let mut clock = Clock::new();
        clock.advance(Duration::from_secs(5));
        let (mono, truth) = (clock.mono(), clock.true_wall());
        clock.step_wall(-3_000_000_000);
        assert_eq!((clock.mono(), clock.true_wall()), (mono, truth));
        assert_eq!(clock.wall().unix_ms() - START.unix_ms(), 2_000);
    }
}
