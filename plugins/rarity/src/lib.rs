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
use vedette_sdk::math::Limit as _;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::steps::{Step, Steps};
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
/// Decades from which on a size scores, and those that score one. So what comes once in a hundred steps scores what a
/// host's oddness takes as usual (`edge/src/oddness.rs`).
const DECADES_MIN: f64 = 0.75;
const DECADES_OF_ONE: f64 = 25.0;

/// The detector; it has no parameters.
#[derive(Clone, Copy, Debug)]
pub struct Rarity;

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    /// Time of the series' own day.
    phase_ms: u32,
    steps: Steps,
    /// The step before; not a number where values were missed or held since.
    before: f64,
    day: Day,
    jumps: Sizes,
    departures: Sizes,
    last: Last,
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
        Some(State {
            phase_ms: 0,
            steps: Steps::new(series, STEP_MS),
            before: f64::NAN,
            day: Day::default(),
            jumps: Sizes::default(),
            departures: Sizes::default(),
            last: Last { score: f64::NAN, value: f64::NAN, expected: f64::NAN, is_jump: false },
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        state.phase_ms = state.phase_ms.saturating_add(sample.dt_ms) % DAY_MS;
        if sample.gap() {
            state.before = f64::NAN;
        }
        if !sample.value.is_finite() || sample.flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        let step = state.steps.take(&sample);
        if sample.hold() {
            let score = step.map_or(state.last.score, |step| state.judged(step.value).score);
            // Nor is what comes after it compared with what came before.
            state.before = f64::NAN;
            return score;
        }
        if let Some(step) = step {
            state.end(step);
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
        Explanation {
            code,
            observed: value,
            expected,
            onset_uncertainty_ms: state.steps.length_ms(),
            ..Explanation::NONE
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        out.u32(state.phase_ms);
        state.steps.save(out);
        out.f64s(&[state.before, state.last.score, state.last.value, state.last.expected]);
        out.u8(u8::from(state.last.is_jump));
        state.day.save(out);
        state.jumps.save(out);
        state.departures.save(out);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        state.phase_ms = input.u32()?;
        if state.phase_ms >= DAY_MS {
            return Err(Damaged);
        }
        state.steps.load(input)?;
        let [before, score, value, expected] = input.f64s()?;
        if before.is_infinite() || score.is_infinite() || score < 0.0 {
            return Err(Damaged);
        }
        state.before = before;
        state.last = Last { score, value, expected, is_jump: input.u8()? == 1 };
        state.day = Day::load(input)?;
        (state.jumps, state.departures) = (Sizes::load(input)?, Sizes::load(input)?);
        Ok(())
    }
}

impl State {
    /// A step is over.
    #[cold]
    fn end(&mut self, step: Step) {
        if step.elapsed > 1 {
            self.before = f64::NAN;
        }
        self.last = self.judged(step.value);
        if self.steps.so_far() >= WARM_UP_STEPS {
            let [jump, departure] = self.residuals(step.value);
            jump.into_iter().for_each(|jump| self.jumps.learn(jump.size));
            departure.into_iter().for_each(|departure| self.departures.learn(departure.size));
        }
        self.day.learn(self.phase_ms, step.value - self.steps.origin());
        self.before = step.value;
        self.steps.learn(step);
    }

    /// From the step before, and from what is usual at this hour; none where that is unknown.
    fn residuals(&self, value: f64) -> [Option<Residual>; 2] {
        let spread = self.steps.spread();
        let before = Some(self.before).filter(|before| !before.is_nan());
        let usual = self.day.usual(self.phase_ms).map(|usual| self.steps.origin() + usual);
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
