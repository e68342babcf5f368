//! Values of a series gathered into steps, and where and how widely those usually lie.
//!
//! Whatever changes a step, or what is saved of it, changes the versions of the detectors that use it.

use crate::detector::{Sample, Series};
use crate::math::{Limit as _, sqrt};
use crate::state::{Damaged, Reader, Writer};

/// A step has at least this share of the values that it usually has, learnt over so many steps: where values are missed
/// or come seldom, it lasts longer.
const ENOUGH: f64 = 0.5;
const COUNT_STEPS: f64 = 64.0;
/// A value counts for so many steps at most: who was away for longer was not thinned.
const ELAPSED_MAX: u32 = 60;
/// Memory of location and spread, in steps: two weeks of minutes.
const MEMORY_STEPS: f64 = 20_000.0;
/// Least spread as a share of the location: what readings of a steady quantity differ by anyway.
const RELATIVE: f64 = 0.001;
/// First byte of what is saved. A successor by name is given its predecessor's states: another layout is refused by it.
const LAYOUT: u8 = 1;
/// Values beyond are taken as this, so that squares stay finite.
const VALUE_MAX: f64 = 1e100;

/// Gathers values that come faster than its steps into their means; any that come slower are steps of their own.
#[derive(Clone, Debug)]
pub struct Steps {
    /// Sum, number and time of the values of the step under way.
    sum: f64,
    count: u32,
    since_ms: u32,
    /// Values that a step usually has: the mean of fewer of them is another thing.
    usual_count: f64,
    so_far: u32,
    origin: f64,
    location: f64,
    variance: f64,
    resolution: f64,
    /// How long a step is at least, and how long if no value is left out.
    least_ms: u32,
    length_ms: u32,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Mean of its values.
    pub value: f64,
    /// Steps that it stands for, with those whose values were left out before it.
    pub elapsed: u32,
}

impl Steps {
    /// Steps of a series that last so long at least.
    pub fn new(series: &Series, least_ms: u32) -> Self {
        let resolution = if series.resolution.is_finite() { series.resolution.at_least(0.0) } else { 0.0 };
        Self {
            sum: 0.0,
            count: 0,
            // The first value stands for one interval, too.
            since_ms: series.interval_ms,
            usual_count: 0.0,
            so_far: 0,
            origin: 0.0,
            location: 0.0,
            variance: 0.0,
            resolution,
            least_ms,
            length_ms: least_ms.max(series.interval_ms),
        }
    }

    /// Takes a finite value; the step that ends with it, to be judged and then given to [`Steps::learn`]. A value that is
    /// held is a step if it lasts as long as one, and ends the one under way unseen: nothing is averaged over it.
    #[inline]
    pub fn take(&mut self, sample: &Sample) -> Option<Step> {
        let value = sample.value.at_least(-VALUE_MAX).at_most(VALUE_MAX);
        // What was missed is not what was left out: nobody knows what happened.
        let dt_ms = if sample.gap() { sample.dt_ms.min(self.length_ms) } else { sample.dt_ms };
        if sample.hold() {
            (self.sum, self.count, self.since_ms) = (0.0, 0, 0);
            return (dt_ms >= self.least_ms).then(|| Step { value, elapsed: self.elapsed(dt_ms) });
        }
        self.sum += value;
        self.count = self.count.saturating_add(1);
        self.since_ms = self.since_ms.saturating_add(dt_ms);
        let is_over = self.since_ms >= self.least_ms && f64::from(self.count) >= ENOUGH * self.usual_count;
        is_over.then(|| self.end())
    }

    #[cold]
    fn end(&mut self) -> Step {
        let count = f64::from(self.count);
        let step = Step { value: self.sum / count, elapsed: self.elapsed(self.since_ms) };
        (self.sum, self.count, self.since_ms) = (0.0, 0, 0);
        if self.so_far == 0 {
            (self.origin, self.location, self.usual_count) = (step.value, step.value, count);
        }
        self.usual_count += (count - self.usual_count) / COUNT_STEPS;
        step
    }

    fn elapsed(&self, since_ms: u32) -> u32 {
        let rounded = since_ms.saturating_add(self.length_ms / 2) / self.length_ms.max(1);
        rounded.clamp(1, ELAPSED_MAX)
    }

    /// Learns where a step lies, for as many as it stands for.
    pub fn learn(&mut self, step: Step) {
        let stands_for = f64::from(step.elapsed);
        let share = (stands_for / (f64::from(self.so_far) + stands_for)).at_least(stands_for / MEMORY_STEPS);
        let deviation = step.value - self.location;
        self.location += share * deviation;
        self.variance += share * (deviation * deviation - self.variance);
        self.so_far = self.so_far.saturating_add(step.elapsed);
    }

    /// Steps that were learnt from, with those whose values were left out.
    pub fn so_far(&self) -> u32 {
        self.so_far
    }

    /// Value of the first step: relative to it four bytes hold what steps differ by.
    pub fn origin(&self) -> f64 {
        self.origin
    }

    /// One standard deviation, no less than the source can express.
    pub fn spread(&self) -> f64 {
        let least = self.resolution.at_least(RELATIVE * self.location.abs()).at_least(1e-9);
        sqrt(self.variance).at_least(least)
    }

    /// How long a step is if no value is left out.
    pub fn length_ms(&self) -> u32 {
        self.length_ms
    }

    /// Writes what is remembered; the series itself says the rest.
    pub fn save(&self, out: &mut Writer) {
        out.u8(LAYOUT);
        out.f64s(&[self.sum, self.usual_count, self.origin, self.location, self.variance]);
        [self.count, self.since_ms, self.so_far].iter().for_each(|number| out.u32(*number));
    }

    /// Reads it back.
    ///
    /// # Errors
    ///
    /// If no step could have left this behind.
    pub fn load(&mut self, input: &mut Reader<'_>) -> Result<(), Damaged> {
        if input.u8()? != LAYOUT {
            return Err(Damaged);
        }
        let numbers = input.f64s()?;
        [self.sum, self.usual_count, self.origin, self.location, self.variance] = numbers;
        for number in [&mut self.count, &mut self.since_ms, &mut self.so_far] {
            *number = input.u32()?;
        }
        let lies = [self.origin, self.location].iter().all(|place| place.abs() <= VALUE_MAX);
        let counts = (0.0..=f64::from(u32::MAX)).contains(&self.usual_count);
        let is_sound = numbers.iter().all(|number| number.is_finite()) && lies && counts && self.variance >= 0.0;
        is_sound.then_some(()).ok_or(Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::Kind;
    use crate::testing::{Noise, series};

    const MINUTE_MS: u32 = 60_000;

    fn steps(interval_ms: u32) -> Steps {
        Steps::new(&Series { interval_ms, ..series("", Kind::Gauge, f64::NAN..f64::NAN) }, MINUTE_MS)
    }

    fn sample(dt_ms: u32, flags: u8, value: f64) -> Sample {
        Sample { dt_ms, flags, value }
    }

    /// Takes values this far apart, and learns from each step.
    fn run(steps: &mut Steps, dt_ms: u32, values: impl IntoIterator<Item = f64>) -> Vec<Step> {
        let step = |value| steps.take(&sample(dt_ms, 0, value)).inspect(|step| steps.learn(*step));
        values.into_iter().filter_map(step).collect()
    }

    #[test]
    fn fast_values_are_averaged_and_slow_ones_are_steps_though_they_come_early() {
        let means = run(&mut steps(10_000), 10_000, (0..12).map(f64::from));
        let step = |value| Step { value, elapsed: 1 };
        // The first value stands for one interval, too.
        assert_eq!(means, [step(2.0), step(7.5)]);
        let mut slow = steps(300_000);
        let first = Step { value: 1.0, elapsed: 2 };
        assert_eq!(run(&mut slow, 299_995, [1.0, 2.0, 3.0]), [first, step(2.0), step(3.0)]);
    }

    #[test]
    fn what_was_left_out_counts_and_what_was_missed_does_not() {
        let mut steps = steps(MINUTE_MS);
        let mut elapsed = |dt_ms: u32, flags: u8| steps.take(&sample(dt_ms, flags, 1.0)).map(|step| step.elapsed);
        assert_eq!(elapsed(10 * MINUTE_MS, 0), Some(11), "with the interval before the first value");
        assert_eq!(elapsed(10 * MINUTE_MS, 0), Some(10));
        assert_eq!(elapsed(10 * MINUTE_MS, Sample::GAP), Some(1));
        assert_eq!(elapsed(10_000 * MINUTE_MS, 0), Some(ELAPSED_MAX));
    }

    #[test]
    fn a_step_waits_for_half_of_the_values_that_it_usually_has() {
        let mut steps = steps(1_000);
        run(&mut steps, 1_000, (0..600).map(|_| 0.0));
        let late = run(&mut steps, 30_000, (0..30).map(|_| 1.0));
        assert_eq!(late.len(), 1, "{late:?}");
    }

    #[test]
    fn nothing_is_averaged_over_a_value_that_is_held() {
        let mut fast = steps(1_000);
        run(&mut fast, 1_000, [1e6; 30]);
        assert_eq!(fast.take(&sample(1_000, Sample::HOLD, 1e6)), None);
        let after = run(&mut fast, 1_000, [1.0; 60]);
        assert_eq!(after, [Step { value: 1.0, elapsed: 1 }]);
        let before = fast.spread();
        assert_eq!(fast.take(&sample(MINUTE_MS, Sample::HOLD, 7.0)), Some(Step { value: 7.0, elapsed: 1 }));
        assert_eq!((fast.so_far(), fast.spread()), (1, before), "it is not learnt");
    }

    #[test]
    fn spread_is_that_of_the_steps_and_never_less_than_can_be_told() {
        let (mut noise, mut of_noise) = (Noise(1), steps(MINUTE_MS));
        run(&mut of_noise, MINUTE_MS, (0..5_000).map(|_| 50.0 + 3.0 * noise.normal()));
        assert!((2.8..3.2).contains(&of_noise.spread()), "{}", of_noise.spread());
        let mut steady = steps(MINUTE_MS);
        run(&mut steady, MINUTE_MS, [50.0; 20]);
        assert_eq!((steady.spread(), steady.origin(), steady.so_far()), (0.05, 50.0, 21));
        run(&mut steady, MINUTE_MS, [f64::MAX, f64::MIN, 1e300]);
        assert!(steady.spread().is_finite());
    }

    #[test]
    fn goes_on_from_what_was_saved_and_refuses_what_was_damaged() {
        let (mut noise, mut whole) = (Noise(2), steps(7_000));
        run(&mut whole, 7_000, (0..100).map(|_| noise.normal()));
        let mut written = Writer::new();
        whole.save(&mut written);
        let bytes = written.finish();
        let mut part = steps(7_000);
        part.load(&mut Reader::new(&bytes)).unwrap();
        let rest: Vec<f64> = (0..100).map(|_| noise.normal()).collect();
        assert_eq!(run(&mut part, 7_000, rest.iter().copied()), run(&mut whole, 7_000, rest.iter().copied()));
        assert_eq!(part.spread().to_bits(), whole.spread().to_bits());
        let damages =
            [(1, f64::NAN), (9, -1.0), (9, 1e300), (17, 1e101), (25, f64::INFINITY), (25, -1e101), (33, -1.0)];
        assert!(part.load(&mut Reader::new(&[&[LAYOUT + 1], &bytes[1..]].concat())).is_err(), "another layout");
        for (at, number) in damages {
            let mut damaged = bytes.clone();
            damaged[at..at + 8].copy_from_slice(&number.to_le_bytes());
            assert!(part.load(&mut Reader::new(&damaged)).is_err(), "{number} at {at}");
        }
    }
}
