//! `novelty`: does a metric do something of a kind that it never did?
//!
//! What a series does at one step is described by four numbers: its value, and its means over about 8, 32 and 128 steps.
//! Kinds of this are collected as they come (leader clustering: Hartigan 1975, chapter 3; as one-pass learning of
//! categories with a vigilance: Carpenter and Grossberg 1987): what is nearer than one standard deviation of the series to
//! a kind is of that kind, anything else begins a new one. Of [`kinds::KINDS_MAX`] kinds the one that was not seen for the
//! longest time makes room. The score of a new kind is its distance from all others, less where new kinds came often of
//! late. What is of a known kind scores a sixteenth of its distance from the *established* ones, those that began long ago: so a departure stands out when it
//! begins, and is seen for as long as it lasts.
//!
//! Steps are at least a minute long: values that come faster are averaged, and keep the last score in between. A series
//! that is shown less often than it is read counts each value for the steps since the one before, in its means and in
//! what is usual: so what was learnt of some values holds for all.
//!
//! It votes: a new kind is news, and seldom a fault by itself. What it cannot see: what stays within a
//! deviation of what was there before, such as a pattern that stands still at a usual level; and rhythms whose phase
//! changes.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod kinds;

use kinds::{Kinds, Near};
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::steps::{Step, Steps};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, ParameterSpec, Parameters, Sample, Series};

vedette_sdk::export!(Novelty);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// Of a kind never seen.
    pub const NEW_KIND: u32 = 501;
    /// Of a kind that is known for a short time only.
    pub const YOUNG_KIND: u32 = 502;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.4.0";
/// Steps of the three means.
const MEANS: [f64; 3] = [8.0, 32.0, 128.0];
/// Steps before kinds are collected.
const WARM_UP_STEPS: u32 = 12;
const STEP_S: f64 = 60.0;
/// It is shown no more than a value in so long.
const STEP_S_MIN: f64 = 10.0;
/// Six values of a minute give its mean well enough.
const LOOK_MS: u32 = 10_000;
/// Share of its distance from the established kinds by which a known kind scores, and the distance that counts at most.
const KNOWN: f64 = 1.0 / 16.0;
const KNOWN_MAX: f64 = 10.0;
/// New kinds count for less by this part for each that came of late, and are forgotten to a third in so many steps.
const BIRTH: f64 = 0.1;
const BIRTH_STEPS: f64 = 200.0;

/// The detector's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Novelty {
    step_ms: u32,
}

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    steps: Steps,
    /// New kinds of late.
    births: f64,
    means: [f64; 3],
    /// Relative to the first step's value.
    kinds: Kinds,
    last: Last,
}

/// The last step, for its explanation and for the values before the next.
#[derive(Clone, Copy, Debug)]
struct Last {
    score: f64,
    value: f64,
    expected: f64,
    spread: f64,
    is_new: bool,
}

impl Last {
    const NONE: Self = Self { score: f64::NAN, value: f64::NAN, expected: f64::NAN, spread: f64::NAN, is_new: false };
}

impl Detector for Novelty {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "novelty",
            version: VERSION,
            input: Input::Votes,
            // At one a second; slower series need fewer.
            warm_up_values: WARM_UP_STEPS * 60,
            state_bytes_max: 2_048,
            look_ms: LOOK_MS,
            parameters: &[ParameterSpec {
                name: "step-s",
                default: STEP_S,
                minimum: STEP_S_MIN,
                maximum: 3_600.0,
                documentation: "values that come faster than this are averaged over it",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        // Between 10,000 and 3,600,000.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds were checked")]
        let step_ms = (parameters.get("step-s") * 1_000.0) as u32;
        Ok(Self { step_ms })
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        Some(State {
            steps: Steps::new(series, self.step_ms),
            births: 0.0,
            means: [0.0; 3],
            kinds: Kinds::default(),
            last: Last::NONE,
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        if !sample.value.is_finite() || sample.flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        let Some(step) = state.steps.take(&sample) else { return state.last.score };
        if sample.hold() {
            return state.held(step);
        }
        state.end(step);
        state.last.score
    }

    fn explain(&self, state: &State) -> Explanation {
        let Last { value, expected, spread, is_new, .. } = state.last;
        if expected.is_nan() {
            return Explanation { observed: value, ..Explanation::NONE };
        }
        let code = if is_new { code::NEW_KIND } else { code::YOUNG_KIND };
        let (lower, upper) = (expected - spread, expected + spread);
        let observed = value;
        let onset_uncertainty_ms = state.steps.length_ms();
        Explanation { code, observed, expected, lower, upper, onset_ms_ago: 0, onset_uncertainty_ms }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        state.steps.save(out);
        out.f64(state.births);
        out.f64s(&state.means);
        out.f64s(&[state.last.score, state.last.value, state.last.expected, state.last.spread]);
        out.u8(u8::from(state.last.is_new));
        state.kinds.save(out);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        state.steps.load(input)?;
        state.births = input.f64()?;
        state.means = input.f64s()?;
        let [score, value, expected, spread] = input.f64s()?;
        let is_sound = state.births >= 0.0
            && state.births.is_finite()
            && state.means.iter().all(|mean| mean.is_finite())
            && (score.is_nan() || score.is_finite() && score >= 0.0);
        if !is_sound {
            return Err(Damaged);
        }
        state.last = Last { score, value, expected, spread, is_new: input.u8()? == 1 };
        state.kinds = Kinds::load(input)?;
        Ok(())
    }
}

impl State {
    /// A step is over.
    #[cold]
    fn end(&mut self, step: Step) {
        let is_warm = self.is_warm();
        // Until warm a step stands for itself alone.
        let step = if is_warm { step } else { Step { elapsed: 1, ..step } };
        if self.steps.so_far() == 0 {
            self.means = [step.value; 3];
        }
        self.means = self.means_with(step);
        if is_warm {
            let here = self.described(step.value, self.means);
            let (spread, near) = (self.steps.spread(), self.kinds.near(&here, self.steps.so_far()));
            self.births -= self.births * forgotten(BIRTH_STEPS, step.elapsed);
            self.last = self.judged(step.value, spread, near);
            self.kinds.learn(&here, near, spread, self.steps.so_far());
            self.births += f64::from(u8::from(self.last.is_new));
        }
        self.steps.learn(step);
    }

    fn is_warm(&self) -> bool {
        self.steps.so_far() >= WARM_UP_STEPS
    }

    /// The score of a step that is not to be learnt.
    fn held(&self, step: Step) -> f64 {
        if !self.is_warm() {
            return self.last.score;
        }
        let here = self.described(step.value, self.means_with(step));
        self.judged(step.value, self.steps.spread(), self.kinds.near(&here, self.steps.so_far())).score
    }

    fn means_with(&self, Step { value, elapsed }: Step) -> [f64; 3] {
        let mut means = self.means;
        means.iter_mut().zip(MEANS).for_each(|(mean, steps)| *mean += (value - *mean) * forgotten(steps, elapsed));
        means
    }

    #[expect(clippy::cast_possible_truncation, reason = "limited before")]
    fn described(&self, value: f64, means: [f64; 3]) -> [f32; 4] {
        let relative = |number: f64| (number - self.steps.origin()).at_least(-1e30).at_most(1e30) as f32;
        [relative(value), relative(means[0]), relative(means[1]), relative(means[2])]
    }

    fn judged(&self, value: f64, spread: f64, near: Option<Near>) -> Last {
        let Some(near) = near else { return Last { score: 0.0, value, ..Last::NONE } };
        let (any, established) = (near.distance / spread, near.established / spread);
        let is_new = any >= 1.0;
        let news = if is_new { compress(any) / (1.0 + BIRTH * self.births) } else { 0.0 };
        let score = news + KNOWN * established.at_most(KNOWN_MAX);
        let expected = if is_new || established >= 1.0 { self.steps.origin() + near.expected } else { f64::NAN };
        Last { score, value, expected, spread, is_new }
    }
}

/// Share that a mean over so many steps has forgotten after some.
fn forgotten(memory_steps: f64, elapsed: u32) -> f64 {
    let each = 1.0 / memory_steps;
    let kept = (1..elapsed).fold(1.0, |kept, _| kept * (1.0 - each));
    1.0 - kept * (1.0 - each)
}

#[cfg(test)]
mod tests;
