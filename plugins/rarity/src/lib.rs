//! `rarity`: is what a metric does of a size that seldom comes?
//!
//! Two sizes are counted of each step, in units of the series' spread: how far it is from the step before, and how far from
//! what this hour of the day usually has. The first is the residual of the plainest forecast there is, the second that of a
//! seasonal one (for both Hyndman and Athanasopoulos, *Forecasting*, chapter 5: naïve, and means by season). How seldom a
//! size came is read off the counts of those that were as large, with no shape assumed of their tail (of which Siffer and
//! others 2017 fit one). The rarer of the two scores, by its decades.
//!
//! Steps are at least a minute long: values that come faster are averaged, and keep the last score in between. Between
//! steps of which some were missed or left out no jump is told, since nobody knows how it came about; nor over values that
//! came while learning was held.
//!
//! It votes, and no vote of it is worth much: what comes once in a thousand steps comes daily. Where many metrics of a
//! host do so at once, their sum is a word. What it cannot see: what lasts, but by the hours of the day that follow.
//!
//! The clock is the sum of the times between values, as that of `seasonal` is.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod day;
mod sizes;

use day::{DAY_MS, Day};
use sizes::Sizes;
use vedette_sdk::math::{Limit as _, sqrt};
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, Parameters, Sample, Series};

vedette_sdk::export!(Rarity);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// Seldom so far from the step before.
    pub const JUMP: u32 = 801;
    /// Seldom so far from what this hour of the day usually has.
    pub const OFF_HOUR: u32 = 802;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.2.0";
const STEP_MS: u32 = 60_000;
/// Six values of a minute give its mean well enough.
const LOOK_MS: u32 = 10_000;
/// Steps before sizes are counted: their unit has to be known.
const WARM_UP_STEPS: u32 = 12;
/// A step has at least this share of the values that it usually has, learnt over so many steps: where values are missed
/// or come seldom, it lasts longer.
const ENOUGH: f64 = 0.5;
const COUNT_STEPS: f64 = 64.0;
/// A value counts for so many steps at most: who was away for longer was not thinned.
const ELAPSED_MAX: u32 = 60;
/// Memory of location and spread, in steps: two weeks of minutes.
const MEMORY_STEPS: f64 = 20_000.0;
/// Decades from which on a size scores, and those that score one. So what comes once in a hundred steps scores what a
/// host's oddness takes as usual (`edge/src/oddness.rs`).
const DECADES_MIN: f64 = 0.75;
const DECADES_OF_ONE: f64 = 25.0;
/// Least spread as a share of the location: what readings of a steady quantity differ by anyway.
const RELATIVE: f64 = 0.001;
/// Values beyond are taken as this, so that squares stay finite.
const VALUE_MAX: f64 = 1e100;

/// The detector; it has no parameters.
#[derive(Clone, Copy, Debug)]
pub struct Rarity;

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    /// Time of the series' own day.
    phase_ms: u32,
    /// Sum, number and time of the values of the step under way.
    sum: f64,
    count: u32,
    since_ms: u32,
    /// Values that a step usually has: the mean of fewer of them is another thing.
    usual_count: f64,
    steps: u32,
    location: f64,
    variance: f64,
    /// Hours are kept relative to the first step's value, so that four bytes hold what differs.
    origin: f64,
    /// The step before; not a number where values were missed or held since.
    before: f64,
    day: Day,
    jumps: Sizes,
    departures: Sizes,
    last: Last,
    resolution: f64,
    /// How long a step is if no value is left out.
    step_ms: u32,
}

/// The last step, for its explanation and for the values before the next.
#[derive(Clone, Copy, Debug)]
struct Last {
    score: f64,
    value: f64,
    expected: f64,
    is_jump: bool,
}

/// How far a step is from where it was expected.
struct Residual {
    expected: f64,
    size: f64,
}

impl Detector for Rarity {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "rarity",
            version: VERSION,
            input: Input::Votes,
            // At one a second; slower series need fewer.
            warm_up_values: (WARM_UP_STEPS + 2) * 60,
            state_bytes_max: 512,
            look_ms: LOOK_MS,
            parameters: &[],
        }
    }

    fn configure(_: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        let resolution = if series.resolution.is_finite() { series.resolution.at_least(0.0) } else { 0.0 };
        Some(State {
            phase_ms: 0,
            sum: 0.0,
            count: 0,
            // The first value stands for one interval, too.
            since_ms: series.interval_ms,
            usual_count: 0.0,
            steps: 0,
            location: 0.0,
            variance: 0.0,
            origin: 0.0,
            before: f64::NAN,
            day: Day::default(),
            jumps: Sizes::default(),
            departures: Sizes::default(),
            last: Last { score: f64::NAN, value: f64::NAN, expected: f64::NAN, is_jump: false },
            resolution,
            step_ms: STEP_MS.max(series.interval_ms),
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        state.phase_ms = state.phase_ms.saturating_add(sample.dt_ms) % DAY_MS;
        if !sample.value.is_finite() || sample.flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        let value = sample.value.at_least(-VALUE_MAX).at_most(VALUE_MAX);
        if sample.hold() {
            let score = if sample.dt_ms >= STEP_MS { state.judged(value).score } else { state.last.score };
            // What comes after it is compared with nothing before it, nor averaged with that.
            (state.sum, state.count, state.since_ms, state.before) = (0.0, 0, 0, f64::NAN);
            return score;
        }
        if sample.gap() {
            state.before = f64::NAN;
        }
        // What was missed is not what was left out: nobody knows what happened.
        let dt_ms = if sample.gap() { sample.dt_ms.min(state.step_ms) } else { sample.dt_ms };
        state.sum += value;
        state.count = state.count.saturating_add(1);
        state.since_ms = state.since_ms.saturating_add(dt_ms);
        if state.since_ms >= STEP_MS && f64::from(state.count) >= ENOUGH * state.usual_count {
            state.step();
        }
        state.last.score
    }

    fn explain(&self, state: &State) -> Explanation {
        let Last { value, expected, is_jump, .. } = state.last;
        let code = match (expected.is_nan(), is_jump) {
            (true, _) => 0,
            (false, true) => code::JUMP,
            (false, false) => code::OFF_HOUR,
        };
        Explanation { code, observed: value, expected, onset_uncertainty_ms: state.step_ms, ..Explanation::NONE }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        [state.phase_ms, state.count, state.since_ms, state.steps].iter().for_each(|number| out.u32(*number));
        out.f64s(&[state.sum, state.usual_count, state.location, state.variance, state.origin, state.before]);
        out.f64s(&[state.last.score, state.last.value, state.last.expected]);
        out.u8(u8::from(state.last.is_jump));
        state.day.save(out);
        state.jumps.save(out);
        state.departures.save(out);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        for number in [&mut state.phase_ms, &mut state.count, &mut state.since_ms, &mut state.steps] {
            *number = input.u32()?;
        }
        if state.phase_ms >= DAY_MS {
            return Err(Damaged);
        }
        [state.sum, state.usual_count, state.location, state.variance, state.origin, state.before] = input.f64s()?;
        let numbers = [state.sum, state.usual_count, state.location, state.variance, state.origin];
        if !numbers.iter().all(|number| number.is_finite()) || state.usual_count < 0.0 || state.variance < 0.0 {
            return Err(Damaged);
        }
        let [score, value, expected] = input.f64s()?;
        state.last = Last { score, value, expected, is_jump: input.u8()? == 1 };
        state.day = Day::load(input)?;
        (state.jumps, state.departures) = (Sizes::load(input)?, Sizes::load(input)?);
        Ok(())
    }
}

impl State {
    /// A step is over.
    #[cold]
    fn step(&mut self) {
        let count = f64::from(self.count);
        let (value, elapsed) = (self.sum / count, self.elapsed());
        (self.sum, self.count, self.since_ms) = (0.0, 0, 0);
        if self.steps == 0 {
            (self.origin, self.location, self.usual_count) = (value, value, count);
        }
        self.usual_count += (count - self.usual_count) / COUNT_STEPS;
        if elapsed > 1 {
            self.before = f64::NAN;
        }
        self.last = self.judged(value);
        if self.steps >= WARM_UP_STEPS {
            let [jump, departure] = self.residuals(value);
            jump.into_iter().for_each(|jump| self.jumps.learn(jump.size));
            departure.into_iter().for_each(|departure| self.departures.learn(departure.size));
        }
        self.day.learn(self.phase_ms, value - self.origin);
        self.before = value;
        let stands_for = f64::from(elapsed);
        let share = (stands_for / (f64::from(self.steps) + stands_for)).at_least(stands_for / MEMORY_STEPS);
        let deviation = value - self.location;
        self.location += share * deviation;
        self.variance += share * (deviation * deviation - self.variance);
        self.steps = self.steps.saturating_add(elapsed);
    }

    /// Steps that a value stands for which comes so long after the one before.
    fn elapsed(&self) -> u32 {
        let rounded = self.since_ms.saturating_add(self.step_ms / 2) / self.step_ms.max(1);
        rounded.clamp(1, ELAPSED_MAX)
    }

    /// From the step before, and from what is usual at this hour; none where that is unknown.
    fn residuals(&self, value: f64) -> [Option<Residual>; 2] {
        let least = self.resolution.at_least(RELATIVE * self.location.abs()).at_least(1e-9);
        let spread = sqrt(self.variance).at_least(least);
        let before = Some(self.before).filter(|before| !before.is_nan());
        let usual = self.day.usual(self.phase_ms).map(|usual| self.origin + usual);
        [before, usual]
            .map(|expected| expected.map(|expected| Residual { expected, size: (value - expected).abs() / spread }))
    }

    fn judged(&self, value: f64) -> Last {
        let [jump, departure] = self.residuals(value);
        let decades = |residual: &Option<Residual>, sizes: &Sizes| {
            let residual = residual.as_ref()?;
            Some((sizes.decades(residual.size)?, residual.expected))
        };
        let (jump, departure) = (decades(&jump, &self.jumps), decades(&departure, &self.departures));
        let is_jump = match (jump, departure) {
            (Some(jump), Some(departure)) => jump.0 >= departure.0,
            (jump, _) => jump.is_some(),
        };
        match if is_jump { jump } else { departure } {
            None => Last { score: f64::NAN, value, expected: f64::NAN, is_jump: false },
            Some((decades, expected)) => {
                let score = ((decades - DECADES_MIN) / DECADES_OF_ONE).at_least(0.0);
                Last { score, value, expected: if score > 0.0 { expected } else { f64::NAN }, is_jump }
            }
        }
    }
}

#[cfg(test)]
mod tests;
