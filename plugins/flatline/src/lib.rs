//! `flatline`: does a metric that always moves stand still?
//!
//! A stuck sensor, a frozen exporter or a hanging process gives the same value again and again: nothing that is far from
//! usual, and so nothing for a detector of levels. The share of values that repeat the one before is learnt with
//! exponential weights, and so is the longest run of them, which fades. A run's score is the number of repetitions beyond
//! the longest, each worth −log10 of a third: at least so surprising is a repetition where at most every third value is
//! one.
//!
//! A source that a reading is taken from each second may move each quarter of a minute: so repetitions are told apart by looks that
//! are ten seconds apart at least, however often values come. Each value in between may end a run, and teaches nothing.
//!
//! Series that rest by themselves are none of its business: it has no opinion where more than a third of the values
//! repeat, and none at zero or at a bound, where a load that has ended rests. What stands still for [`ADOPTED`] looks is
//! usual from then on.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, Parameters, Sample, Series};

vedette_sdk::export!(Flatline);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// One value for longer than ever.
    pub const STANDS_STILL: u32 = 601;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.2.0";
/// Time between two looks, and what is a look: a twentieth less, for readers that come a little early.
const LOOK_MS: u32 = 10_000;
const DUE_MS: u32 = LOOK_MS / 20 * 19;
/// Looks that are learnt before the first score.
pub const WARM_UP_LOOKS: u32 = 120;
/// Looks that count in the share of those that repeat, about.
const MEMORY: f64 = 512.0;
/// Share of repetitions beyond which a series rests by itself.
const RESTS: f64 = 1.0 / 3.0;
/// What a repetition is worth: −log10 of [`RESTS`].
const WORTH: f64 = 0.477;
/// The longest run counts a third after so many looks.
const LONGEST_MEMORY: f64 = 16_384.0;
/// A run of so many repetitions is usual from then on.
pub const ADOPTED: u32 = 8_192;
/// From this score before compression on it is explained.
const NOTABLE: f64 = 1.0;

/// The detector; it has no parameters.
#[derive(Clone, Copy, Debug)]
pub struct Flatline;

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    /// Told by the series, not learnt: not part of a snapshot.
    lower: f64,
    upper: f64,
    resolution: f64,
    last: f64,
    /// Time since the last look, and whether anything moved since.
    since_ms: u32,
    moved: bool,
    /// Share of looks at which nothing had moved since the one before.
    repeats: f64,
    /// Repetitions of the longest run, fading.
    longest: f64,
    learnt: u32,
    /// Repetitions of the last value, and for how long.
    run: u32,
    run_ms: u32,
    /// Learning was held during the run.
    held: bool,
}

impl Detector for Flatline {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "flatline",
            version: VERSION,
            input: Input::Timeless,
            // At one a second; slower series need fewer.
            warm_up_values: WARM_UP_LOOKS * (LOOK_MS / 1_000),
            state_bytes_max: 64,
            look_ms: LOOK_MS,
            parameters: &[],
        }
    }

    fn configure(_: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        Some(State {
            lower: series.lower,
            upper: series.upper,
            resolution: series.resolution,
            last: f64::NAN,
            since_ms: DUE_MS,
            moved: false,
            repeats: 0.0,
            longest: 0.0,
            learnt: 0,
            run: 0,
            run_ms: 0,
            held: false,
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        if !sample.value.is_finite() {
            return f64::NAN;
        }
        if state.repeated(sample.value) {
            state.run_ms = state.run_ms.saturating_add(sample.dt_ms);
            state.held |= sample.hold();
        } else {
            state.end_run();
            (state.last, state.moved) = (sample.value, true);
        }
        state.since_ms = state.since_ms.saturating_add(sample.dt_ms);
        if state.since_ms >= DUE_MS {
            state.look(sample.hold());
        }
        if state.learnt < WARM_UP_LOOKS || state.repeats > RESTS {
            return f64::NAN;
        }
        compress(state.score())
    }

    fn explain(&self, state: &State) -> Explanation {
        if state.score() < NOTABLE {
            return Explanation { observed: state.last, ..Explanation::NONE };
        }
        Explanation {
            code: code::STANDS_STILL,
            observed: state.last,
            onset_ms_ago: state.run_ms,
            onset_uncertainty_ms: state.run_ms / state.run.max(1),
            ..Explanation::NONE
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        out.f64s(&[state.last, state.repeats, state.longest]);
        out.u32(state.learnt);
        out.u32(state.run);
        out.u32(state.run_ms);
        out.u32(state.since_ms);
        out.u8(u8::from(state.held) | u8::from(state.moved) << 1);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        [state.last, state.repeats, state.longest] = input.f64s()?;
        let sound = (0.0..=1.0).contains(&state.repeats) && state.longest >= 0.0 && state.longest.is_finite();
        state.learnt = input.u32()?;
        state.run = input.u32()?;
        state.run_ms = input.u32()?;
        state.since_ms = input.u32()?;
        let bits = input.u8()?;
        (state.held, state.moved) = (bits & 1 != 0, bits & 2 != 0);
        let sound = sound && bits < 4;
        if sound { Ok(()) } else { Err(Damaged) }
    }
}

impl State {
    /// The same value as before, and not where a series comes to rest.
    #[inline]
    fn repeated(&self, value: f64) -> bool {
        (value - self.last).abs() <= 0.5 * self.resolution && !self.is_at_rest(value)
    }

    /// At zero or a bound: a load that has ended, or a stock that is full or empty.
    fn is_at_rest(&self, value: f64) -> bool {
        let near = |place: f64| (value - place).abs() <= self.resolution;
        value == 0.0 || near(self.lower) || near(self.upper)
    }

    fn score(&self) -> f64 {
        (f64::from(self.run) - self.longest).at_least(0.0) * WORTH
    }

    /// A look is due.
    #[inline]
    fn look(&mut self, hold: bool) {
        self.since_ms = 0;
        if !core::mem::replace(&mut self.moved, false) {
            self.run = self.run.saturating_add(1);
            if self.run >= ADOPTED {
                self.longest = self.longest.at_least(f64::from(self.run));
            }
        }
        if !hold {
            self.learn();
        }
    }

    /// What a run teaches, unless it was not to be learnt from.
    #[inline]
    fn end_run(&mut self) {
        if self.run > 0 && !self.held {
            self.longest = self.longest.at_least(f64::from(self.run));
        }
        (self.run, self.run_ms, self.held) = (0, 0, false);
    }

    #[inline]
    fn learn(&mut self) {
        self.learnt = self.learnt.saturating_add(1);
        let count = f64::from(self.learnt);
        let share = if count < MEMORY { 1.0 / count } else { 1.0 / MEMORY };
        self.repeats += share * (f64::from(u8::from(self.run > 0)) - self.repeats);
        self.longest -= self.longest * (1.0 / LONGEST_MEMORY);
    }
}

#[cfg(test)]
mod tests;
