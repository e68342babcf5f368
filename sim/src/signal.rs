//! What a series does when nothing is wrong: level, shapes, noise, bursts, gaps; as a gauge, counts or a counter.

mod noise;
mod shape;

pub use noise::Noise;
pub use shape::Shape;

use crate::fault::Effect;
use crate::rng::{Rng, whole};
use noise::NoiseState;
use std::time::Duration;

/// A recipe for a signal, in the series' own unit.
///
/// ```
/// use std::time::Duration;
/// use vedette_sim::{Noise, Shape, SignalSpec};
///
/// // A service's request counter: 40 a second, twice as many at three in the afternoon, half on weekends.
/// let requests = SignalSpec::counter(40.0, Noise::gaussian(2.0))
///     .shaped(Shape::daily(0.5, 15.0))
///     .shaped(Shape::weekend(0.5))
///     .reset_every(Duration::from_secs(86_400))
///     .at_least(0.0);
/// ```
#[derive(Clone, Debug)]
pub struct SignalSpec {
    level: f64,
    noise: Noise,
    shapes: Vec<Shape>,
    bursts: Option<Bursts>,
    gaps: Option<Gaps>,
    output: Output,
    lower: f64,
    upper: f64,
    resolution: f64,
}

/// What becomes of the level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    /// It is the value.
    Gauge,
    /// It is the mean of a Poisson count since the previous sample.
    Count,
    /// It is the rate per second of a cumulative whole number.
    Counter {
        /// Mean time between resets to 0 (process restarts); `None` for never.
        reset_mean: Option<Duration>,
        /// The counter starts again from 0 at this value: 2³² for a 32-bit register.
        wrap: Option<u64>,
    },
}

/// Times in which a signal is raised, such as a batch job or a compaction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bursts {
    /// Mean time from the end of one burst to the begin of the next (exponential).
    pub every_mean: Duration,
    /// Mean length (exponential).
    pub length_mean: Duration,
    /// Added to the level meanwhile.
    pub height: f64,
}

/// Times in which a source gives no value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaps {
    /// Mean time from the end of one gap to the begin of the next (exponential).
    pub every_mean: Duration,
    /// Mean length (exponential).
    pub length_mean: Duration,
}

/// A signal in progress. Samples must be taken in order of time.
#[derive(Clone, Debug)]
pub struct Signal {
    spec: SignalSpec,
    rng: Rng,
    noise: NoiseState,
    burst: Window,
    gap: Window,
    previous: Option<Duration>,
    counter: f64,
    reset_at: Option<Duration>,
}

impl SignalSpec {
    /// A level that goes up and down.
    pub fn gauge(level: f64, noise: Noise) -> Self {
        Self {
            level,
            noise,
            shapes: Vec::new(),
            bursts: None,
            gaps: None,
            output: Output::Gauge,
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
            resolution: 0.0,
        }
    }

    /// Events since the previous sample, `rate` a second on average.
    pub fn count(rate: f64) -> Self {
        Self { output: Output::Count, lower: 0.0, ..Self::gauge(rate, Noise::None) }
    }

    /// A cumulative counter that grows by `rate` a second; it never falls but on reset and wrap.
    pub fn counter(rate: f64, noise: Noise) -> Self {
        Self { output: Output::Counter { reset_mean: None, wrap: None }, lower: 0.0, ..Self::gauge(rate, noise) }
    }

    /// Multiplies the level over the day or week.
    #[must_use]
    pub fn shaped(mut self, shape: Shape) -> Self {
        self.shapes.push(shape);
        self
    }

    /// Natural bounds; values are clamped to them.
    #[must_use]
    pub fn within(mut self, lower: f64, upper: f64) -> Self {
        assert!(lower < upper, "bounds must have room between them");
        (self.lower, self.upper) = (lower, upper);
        self
    }

    /// Natural lower bound.
    #[must_use]
    pub fn at_least(self, lower: f64) -> Self {
        let upper = self.upper;
        self.within(lower, upper)
    }

    /// Smallest difference that the source can express: gauges are rounded to multiples of it.
    #[must_use]
    pub fn rounded_to(mut self, resolution: f64) -> Self {
        self.resolution = resolution;
        self
    }

    /// Raised now and then.
    #[must_use]
    pub fn bursting(mut self, bursts: Bursts) -> Self {
        self.bursts = Some(bursts);
        self
    }

    /// Times in which it is raised.
    pub fn bursts(&self) -> Option<Bursts> {
        self.bursts
    }

    /// Without values now and then.
    #[must_use]
    pub fn gapped(mut self, gaps: Gaps) -> Self {
        self.gaps = Some(gaps);
        self
    }

    /// A counter that starts again from 0 after about this time; no effect on other outputs.
    #[must_use]
    pub fn reset_every(mut self, mean: Duration) -> Self {
        if let Output::Counter { reset_mean, .. } = &mut self.output {
            *reset_mean = Some(mean);
        }
        self
    }

    /// A counter that wraps at `wrap_at`; no effect on other outputs.
    #[must_use]
    pub fn wrapping_at(mut self, wrap_at: u64) -> Self {
        if let Output::Counter { wrap, .. } = &mut self.output {
            *wrap = Some(wrap_at);
        }
        self
    }
}

impl Signal {
    /// Starts a signal; `rng` is its own.
    pub fn new(spec: SignalSpec, rng: Rng) -> Self {
        Self {
            spec,
            rng,
            noise: NoiseState::default(),
            burst: Window::default(),
            gap: Window::default(),
            previous: None,
            counter: 0.0,
            reset_at: None,
        }
    }

    /// The value at `elapsed` since the start of the simulation, with a fault's effect on it; `None` in a gap.
    ///
    /// A counter goes on counting in a gap, as a real one does.
    pub fn sample(&mut self, elapsed: Duration, effect: Effect) -> Option<f64> {
        let dt = self.previous.map_or(Duration::ZERO, |previous| elapsed.saturating_sub(previous));
        self.previous = Some(elapsed);
        let in_gap = self
            .spec
            .gaps
            .is_some_and(|gaps| self.gap.contains(elapsed, gaps.every_mean, gaps.length_mean, &mut self.rng));
        let level = self.level(elapsed, dt, effect).clamp(self.spec.lower, self.spec.upper);
        let value = match self.spec.output {
            Output::Gauge => round_to(level, self.spec.resolution).clamp(self.spec.lower, self.spec.upper),
            Output::Count => self.rng.poisson(level * dt.as_secs_f64()) as f64,
            Output::Counter { reset_mean, wrap } => self.count_on(elapsed, dt, level, reset_mean, wrap),
        };
        (!in_gap && !effect.silent).then_some(value)
    }

    fn level(&mut self, elapsed: Duration, dt: Duration, effect: Effect) -> f64 {
        let shape: f64 = self.spec.shapes.iter().map(|shape| shape.factor(elapsed)).product();
        let burst = match self.spec.bursts {
            Some(bursts) if self.burst.contains(elapsed, bursts.every_mean, bursts.length_mean, &mut self.rng) => {
                bursts.height
            }
            _ => 0.0,
        };
        let noise = self.noise.next(&self.spec.noise, dt, &mut self.rng);
        (self.spec.level * shape + burst) * effect.level_factor + noise * effect.noise_factor + effect.add
    }

    fn count_on(
        &mut self,
        elapsed: Duration,
        dt: Duration,
        rate: f64,
        reset_mean: Option<Duration>,
        wrap: Option<u64>,
    ) -> f64 {
        self.counter += rate.max(0.0) * dt.as_secs_f64();
        if let Some(mean) = reset_mean {
            let due = *self.reset_at.get_or_insert_with(|| elapsed + exponential(&mut self.rng, mean));
            if elapsed >= due {
                self.counter = 0.0;
                self.reset_at = None;
            }
        }
        if let Some(wrap) = wrap {
            self.counter %= wrap as f64;
        }
        whole(self.counter.floor()) as f64
    }
}

/// A stretch of time that comes again and again, with exponential lengths and distances.
#[derive(Clone, Debug, Default)]
struct Window {
    next: Option<(Duration, Duration)>,
}

impl Window {
    fn contains(&mut self, elapsed: Duration, every_mean: Duration, length_mean: Duration, rng: &mut Rng) -> bool {
        let mut draw = |from: Duration| {
            let start = from + exponential(rng, every_mean);
            (start, start + exponential(rng, length_mean))
        };
        let (mut start, mut end) = match self.next {
            Some(window) => window,
            None => draw(elapsed),
        };
        while elapsed >= end {
            // A mean of zero would never get past `elapsed`.
            (start, end) = draw(end + Duration::from_millis(1));
        }
        self.next = Some((start, end));
        (start..end).contains(&elapsed)
    }
}

fn exponential(rng: &mut Rng, mean: Duration) -> Duration {
    Duration::from_secs_f64(rng.exponential(mean.as_secs_f64()).min(1e9))
}

fn round_to(value: f64, resolution: f64) -> f64 {
    if resolution > 0.0 { (value / resolution).round() * resolution } else { value }
}

#[cfg(test)]
mod tests;
