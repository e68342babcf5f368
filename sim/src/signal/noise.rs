//! What a signal does around its level.

use crate::rng::Rng;
use std::time::Duration;

/// Noise, in the series' unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// None: a constant.
    None,
    /// Independent and normal.
    Gaussian {
        /// Standard deviation.
        deviation: f64,
    },
    /// Independent with heavy tails: Student's t times a scale.
    Heavy {
        /// Scale: the middle half lies within about ±0.7 to ±1 of it.
        scale: f64,
        /// Degrees of freedom, at least 1; 3 is wild, 30 nearly normal.
        freedom: u32,
    },
    /// Autoregressive of order 1, the memory of queues, caches and temperatures.
    Wander {
        /// Standard deviation of the whole process.
        deviation: f64,
        /// Time after which 1/e of a deviation is left.
        memory: Duration,
    },
}

impl Noise {
    /// Normal noise.
    pub const fn gaussian(deviation: f64) -> Self {
        Self::Gaussian { deviation }
    }

    /// Heavy-tailed noise.
    pub const fn heavy(scale: f64, freedom: u32) -> Self {
        Self::Heavy { scale, freedom }
    }

    /// Noise with a memory.
    pub const fn wander(deviation: f64, memory: Duration) -> Self {
        Self::Wander { deviation, memory }
    }
}

/// What noise remembers from sample to sample.
#[derive(Clone, Debug, Default)]
pub(super) struct NoiseState {
    /// Of [`Noise::Wander`], in standard deviations; unknown before the first sample.
    deviation: Option<f64>,
}

impl NoiseState {
    /// The next value, `dt` after the previous one.
    pub(super) fn next(&mut self, noise: &Noise, dt: Duration, rng: &mut Rng) -> f64 {
        match *noise {
            Noise::None => 0.0,
            Noise::Gaussian { deviation } => deviation * rng.normal(),
            Noise::Heavy { scale, freedom } => scale * rng.student_t(freedom),
            Noise::Wander { deviation, memory } => deviation * self.wander(memory, dt, rng),
        }
    }

    /// One step of a stationary AR(1): the kept share follows from `dt`, so the interval may change on the way.
    fn wander(&mut self, memory: Duration, dt: Duration, rng: &mut Rng) -> f64 {
        let kept = libm::exp(-dt.as_secs_f64() / memory.as_secs_f64().max(f64::MIN_POSITIVE));
        let next = match self.deviation {
            Some(previous) => kept * previous + (1.0 - kept * kept).sqrt() * rng.normal(),
            None => rng.normal(),
        };
        self.deviation = Some(next);
        next
    }
}
