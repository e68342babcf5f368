//! What can go wrong with a series.

use std::time::Duration;

/// One fault of one series, from `start` until `end` (exclusive), since the start of the simulation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// From then on.
    pub start: Duration,
    /// Until then.
    pub end: Duration,
}

/// Shapes of faults. Amounts are in the series' unit; for a counter, in its rate per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    /// The level is off by this much at once.
    Step {
        /// Amount, negative for a fall.
        by: f64,
    },
    /// The level moves in a line and is off by this much at the end.
    Ramp {
        /// Amount at the end.
        by: f64,
    },
    /// The level jumps at the start and is back at the end, in a line.
    Spike {
        /// Amount at the start.
        by: f64,
    },
    /// The noise is wider.
    Variance {
        /// Factor on the noise.
        factor: f64,
    },
    /// The level falls to a share of itself.
    Dip {
        /// What is left, below 1.
        share: f64,
    },
    /// The level creeps without end: a leak.
    Drift {
        /// Amount per hour.
        per_hour: f64,
    },
    /// The source falls silent.
    Stop,
}

/// What faults do to one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// Added to the level.
    pub add: f64,
    /// Multiplies the level.
    pub level_factor: f64,
    /// Multiplies the noise.
    pub noise_factor: f64,
    /// There is no value.
    pub silent: bool,
}

impl Effect {
    /// Nothing is wrong.
    pub const NONE: Self = Self { add: 0.0, level_factor: 1.0, noise_factor: 1.0, silent: false };

    /// Both at once.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            add: self.add + other.add,
            level_factor: self.level_factor * other.level_factor,
            noise_factor: self.noise_factor * other.noise_factor,
            silent: self.silent || other.silent,
        }
    }
}

impl Fault {
    /// A fault.
    ///
    /// # Panics
    ///
    /// If it ends before it starts.
    pub fn new(kind: FaultKind, start: Duration, end: Duration) -> Self {
        assert!(start < end, "a fault must last");
        Self { kind, start, end }
    }

    /// What it does at `elapsed`; nothing outside its time.
    pub fn effect(&self, elapsed: Duration) -> Effect {
        if elapsed < self.start || elapsed >= self.end {
            return Effect::NONE;
        }
        let since = (elapsed - self.start).as_secs_f64();
        let progress = since / (self.end - self.start).as_secs_f64();
        let add = |add| Effect { add, ..Effect::NONE };
        match self.kind {
            FaultKind::Step { by } => add(by),
            FaultKind::Ramp { by } => add(by * progress),
            FaultKind::Spike { by } => add(by * (1.0 - progress)),
            FaultKind::Drift { per_hour } => add(per_hour * since / 3_600.0),
            FaultKind::Variance { factor } => Effect { noise_factor: factor, ..Effect::NONE },
            FaultKind::Dip { share } => Effect { level_factor: share, ..Effect::NONE },
            FaultKind::Stop => Effect { silent: true, ..Effect::NONE },
        }
    }
}

impl FaultKind {
    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step { .. } => "step",
            Self::Ramp { .. } => "ramp",
            Self::Spike { .. } => "spike",
            Self::Variance { .. } => "variance",
            Self::Dip { .. } => "dip",
            Self::Drift { .. } => "drift",
            Self::Stop => "stop",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn effects_have_their_shape_and_only_their_time() {
        let check = |kind: FaultKind, wanted: [f64; 4]| {
            let fault = Fault::new(kind, second(100), second(200));
            let added = [99, 100, 150, 200].map(|at| fault.effect(second(at)).add);
            assert_eq!(added, wanted, "{}", kind.name());
        };
        check(FaultKind::Step { by: 2.0 }, [0.0, 2.0, 2.0, 0.0]);
        check(FaultKind::Ramp { by: 2.0 }, [0.0, 0.0, 1.0, 0.0]);
        check(FaultKind::Spike { by: 2.0 }, [0.0, 2.0, 1.0, 0.0]);
        check(FaultKind::Drift { per_hour: 3_600.0 }, [0.0, 0.0, 50.0, 0.0]);
    }

    #[test]
    fn faults_add_up() {
        let both = Fault::new(FaultKind::Dip { share: 0.5 }, second(0), second(9))
            .effect(second(1))
            .and(Fault::new(FaultKind::Variance { factor: 3.0 }, second(0), second(9)).effect(second(1)))
            .and(Fault::new(FaultKind::Stop, second(0), second(9)).effect(second(1)));
        assert_eq!(both, Effect { add: 0.0, level_factor: 0.5, noise_factor: 3.0, silent: true });
    }
}
