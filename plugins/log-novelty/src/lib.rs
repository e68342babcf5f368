//! `log-novelty`: log templates that are new, or far more frequent than they were.
//!
//! Lines of a template within the last five seconds are compared with what its own history predicts: a Gamma–Poisson
//! (negative binomial) distribution whose mean and dispersion are learnt from such windows with exponential weights
//! (Gelman et al., Bayesian Data Analysis, section 2.6, for the predictive; dispersion by moments). A template that was
//! never seen has as its prior the time for which this log stream was watched without it, so its first line is mildly
//! surprising and each further one adds to it; templates that appear while the detector is learning what is there are not
//! held against anyone. The score is −log10 of the tail probability, compressed; 0 up to one deviation above the mean.
//!
//! Time watched is the greatest age of any row. The host keeps a row of all lines of the host from the start, zeros
//! included, so time counts while every log is silent and the first lines after that are judged at once.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod rate;
mod tail;

use rate::{Rate, Window};
use tail::Prediction;
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, ParameterSpec, Parameters, Sample, Series};

vedette_sdk::export!(LogNovelty);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// Lines of a template that was not there before.
    pub const NEW_TEMPLATE: u32 = 301;
    /// More lines of a known template than its history predicts.
    pub const SURGE: u32 = 302;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.2.0";
/// Time for which the log stream is watched before anything in it counts as new.
const WARM_UP_MS: u64 = 60_000;
/// A template is called new for this long.
const NEW_MS: u64 = 600_000;
/// Surprise (−log10 of the probability) from which a departure is counted for its onset.
const NOTABLE: f64 = 2.0;

/// The detector's parameters, and how long it has watched.
#[derive(Clone, Copy, Debug)]
pub struct LogNovelty {
    memory_s: f64,
    /// The greatest birth plus age of any template: all that is shared between them, and found again from their states.
    watched_ms: u64,
}

/// What is remembered of one template.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Time watched up to its last value.
    now_ms: u64,
    window: Window,
    /// Time watched up to the last value with lines in its window, and time since then that is not to be learnt: what is
    /// between is silence. Kept this way because most values of most templates are silence.
    lined_ms: u64,
    skipped_ms: u64,
    /// Time watched from which windows are free of lines that were held.
    free_ms: u64,
    /// Time watched when it appeared.
    birth_ms: u64,
    rate: Rate,
    /// What the last window with lines was judged with.
    predicted: Prediction,
    departed: bool,
    departed_ms: u32,
    onset_step_ms: u32,
}

impl Detector for LogNovelty {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "log-novelty",
            version: VERSION,
            input: Input::LogTemplates,
            warm_up_values: 60,
            state_bytes_max: 256,
            look_ms: 0,
            parameters: &[ParameterSpec {
                name: "memory-s",
                default: 1_800.0,
                minimum: 60.0,
                maximum: 604_800.0,
                documentation: "time over which a template's usual rate is learnt",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self { memory_s: parameters.get("memory-s"), watched_ms: 0 })
    }

    fn added(&mut self, _: &Series) -> Option<State> {
        Some(State {
            now_ms: self.watched_ms,
            window: Window::default(),
            lined_ms: self.watched_ms,
            skipped_ms: 0,
            free_ms: 0,
            birth_ms: self.watched_ms,
            rate: Rate::born(self.watched_ms),
            predicted: Prediction { mean: f64::NAN, variance: f64::NAN },
            departed: false,
            departed_ms: 0,
            onset_step_ms: 0,
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        let silent = sample.value == 0.0 && state.window.is_empty();
        if !silent && !(0.0..=f64::from(u32::MAX)).contains(&sample.value) {
            return f64::NAN;
        }
        state.now_ms = state.now_ms.saturating_add(u64::from(sample.dt_ms));
        if state.now_ms > self.watched_ms {
            self.watch(state.now_ms);
        }
        let surprise = if silent {
            state.silence(sample)
        } else {
            state.lines(sample.dt_ms, sample.flags, sample.value, self.memory_s)
        };
        if self.watched_ms < WARM_UP_MS { f64::NAN } else { compress(surprise) }
    }

    fn explain(&self, state: &State) -> Explanation {
        let observed = state.window.lines();
        let band = state.predicted.mean + 3.0 * state.predicted.deviation();
        let notable = observed > band;
        let new = state.birth_ms >= WARM_UP_MS && state.age_ms() < NEW_MS;
        Explanation {
            code: match (notable || (new && observed > 0.0), new) {
                (false, _) => 0,
                (true, true) => code::NEW_TEMPLATE,
                (true, false) => code::SURGE,
            },
            observed,
            expected: state.predicted.mean,
            lower: 0.0,
            upper: band,
            onset_ms_ago: state.departed_ms,
            onset_uncertainty_ms: state.onset_step_ms,
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        out.u64(state.birth_ms);
        out.u64(state.age_ms());
        rate::save(&state.window, &state.rate, out);
        out.u64(state.silent_ms());
        out.u32(u32::try_from(state.free_ms.saturating_sub(state.now_ms)).unwrap_or(u32::MAX));
        out.f64s(&[state.predicted.mean, state.predicted.variance]);
        out.u8(u8::from(state.departed));
        out.u32(state.departed_ms);
        out.u32(state.onset_step_ms);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        let (birth_ms, age_ms) = (input.u64()?, input.u64()?);
        let now_ms = birth_ms.saturating_add(age_ms);
        let (window, rate) = rate::load(birth_ms, age_ms, input)?;
        let lined_ms = now_ms.saturating_sub(input.u64()?);
        let free_ms = now_ms.saturating_add(u64::from(input.u32()?));
        let [mean, variance] = input.f64s()?;
        let predicted = Prediction { mean, variance };
        let departed = input.u8()? == 1;
        let (departed_ms, onset_step_ms) = (input.u32()?, input.u32()?);
        *state = State {
            now_ms,
            window,
            lined_ms,
            skipped_ms: 0,
            free_ms,
            birth_ms,
            rate,
            predicted,
            departed,
            departed_ms,
            onset_step_ms,
        };
        self.watched_ms = self.watched_ms.max(now_ms);
        Ok(())
    }
}

impl LogNovelty {
    /// Time has passed. Out of line because it is so for one row of a tick: a jump that is foreseen costs less than to
    /// have each row wait for the one before.
    #[cold]
    fn watch(&mut self, now_ms: u64) {
        self.watched_ms = now_ms;
    }
}

impl State {
    fn age_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.birth_ms)
    }

    /// Time without a line that is not yet in the rate.
    #[inline]
    fn silent_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.lined_ms).saturating_sub(self.skipped_ms)
    }

    #[inline]
    fn silence(&mut self, sample: Sample) -> f64 {
        if sample.flags & (Sample::GAP | Sample::HOLD) != 0 {
            self.skipped_ms = self.skipped_ms.saturating_add(u64::from(sample.dt_ms));
        }
        0.0
    }

    /// Out of line, so that the loop over mostly silent templates stays small; a sample in parts, since a module would
    /// pass it whole through memory.
    #[inline(never)]
    fn lines(&mut self, dt_ms: u32, flags: u8, value: f64, memory_s: f64) -> f64 {
        let sample = Sample { dt_ms, flags, value };
        self.window.count(self.age_ms(), whole(sample.value));
        let lines = self.window.lines();
        if self.window.is_empty() {
            self.departed = false;
            self.departed_ms = 0;
            return self.silence(sample);
        }
        // This value's own time goes with its lines.
        self.rate.settle(self.silent_ms().saturating_sub(u64::from(sample.dt_ms)));
        (self.lined_ms, self.skipped_ms) = (self.now_ms, 0);
        self.predicted = self.rate.predict();
        let surprise = self.predicted.surprise(lines);
        if self.departed {
            self.departed_ms = self.departed_ms.saturating_add(sample.dt_ms);
        } else {
            self.departed_ms = 0;
            self.onset_step_ms = sample.dt_ms;
        }
        self.departed = surprise >= NOTABLE || (self.departed && surprise >= 0.5 * NOTABLE);
        if sample.hold() {
            self.free_ms = self.now_ms.saturating_add(rate::WINDOW_MS);
        } else if self.now_ms >= self.free_ms {
            self.rate.learn(sample, lines, &self.predicted, memory_s);
        }
        surprise
    }
}

/// The whole number nearest to a count from 0 to 2³² − 1: beside 2⁵² it stands in the last bits of the mantissa. A cast
/// checks for what was checked before, which takes longer than all else that a silent template needs.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
fn whole(count: f64) -> u32 {
    (count + (1_u64 << 52) as f64).to_bits() as u32
}

#[cfg(test)]
mod tests;
