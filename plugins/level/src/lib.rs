//! `level`: is a metric far from where it usually is?
//!
//! Location and spread are tracked with winsorised exponential weights (after Gelper, Fried and Croux 2010; the spread is
//! the mean of winsorised distances), the reach of ordinary bursts with a multiplicative quantile estimate on each side
//! (Yazidi and Hammer 2017), starting from median and median absolute deviation of the first values. The score is the
//! distance from the location in units of the widest of: spread, a third of the burst reach, and a floor made of the
//! source's resolution, one per cent of the value, and a prior for the unit that fades as the series is known better. A
//! value is judged before it is learnt, and the median of the last three distances counts, so a burst of one tick says
//! nothing. What stays on one side for longer than a burst is hardly learnt, and a burst is learnt once it is over, so a
//! ramp stands out while it goes on; a level that was kept for the length of the memory is adopted. The memory holds thirty
//! values at least: a series that is read each minute lives in a slower time of its own.
//!
//! Where values follow one another, as those of a slow wander do, a distance says little and a jump says much: there the
//! score is the distance from the last value in units of the usual stride, for as long as a jump is not undone, and the
//! distance from the location counts only beyond what a wander reaches by itself.
//!
//! What it cannot see: a ramp so slow that the location keeps up, which is one that rises by less than about two spreads
//! within the memory; and of a longer one the part after four times the memory, unless learning is held by then.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod baseline;
mod excursion;
mod floor;
mod walk;

use alloc::boxed::Box;
use baseline::{Baseline, Judged, Seen, Step};
use floor::Floor;
use vedette_sdk::robust::{compress, median3};
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, ParameterSpec, Parameters, Sample, Series};

vedette_sdk::export!(Level);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// The value is above its usual band.
    pub const ABOVE: u32 = 101;
    /// The value is below its usual band.
    pub const BELOW: u32 = 102;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.4.0";
/// Beyond this distance a value is away from its baseline, for the onset; it comes back below [`BACK`].
const AWAY: f64 = 3.0;
const BACK: f64 = 2.0;
/// At longer steps a single value is a mean over long enough to be judged alone.
const ALONE_MS: u32 = 5_000;
/// Values kept before the first judgement, at most; fewer if they span [`WARM_UP_MS`].
const WARM_UP_VALUES: usize = 48;
const WARM_UP_VALUES_MIN: usize = 12;
const WARM_UP_MS: u32 = 60_000;
/// Stands for the number of first values in the state of a series that is known.
const KNOWN: u8 = u8::MAX;

/// The detector's parameters, and the time step of the value before.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    step: Step,
}

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    baseline: Baseline,
    distances: [f64; 2],
    last: Last,
    floor: Floor,
    /// The first values, until they are enough to judge the next.
    first: Option<Box<First>>,
}

#[derive(Clone, Debug)]
struct First {
    values: [f64; WARM_UP_VALUES],
    count: usize,
    span_ms: u32,
}

/// The last verdict, for its explanation.
#[derive(Clone, Copy, Debug)]
struct Last {
    value: f64,
    judged: Judged,
    away: bool,
    away_ms: u32,
    onset_step_ms: u32,
}

impl Last {
    const NONE: Self = Self { value: f64::NAN, judged: Judged::NONE, away: false, away_ms: 0, onset_step_ms: 0 };
}

impl Detector for Level {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "level",
            version: VERSION,
            input: Input::Metrics,
            warm_up_values: 48,
            state_bytes_max: 512,
            look_ms: 0,
            parameters: &[ParameterSpec {
                name: "memory-s",
                default: 300.0,
                minimum: 30.0,
                maximum: 86_400.0,
                documentation: "time over which the location is learnt, thirty values at least (the spread: four times that), and after which a new level is adopted",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self { step: Step::new(0, parameters.get("memory-s")) })
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        Some(State::learning(Floor::of(series), First::NONE))
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        let seen = state.baseline.see(sample.value);
        let plain = sample.flags & (Sample::RESET | Sample::HOLD) == 0 && sample.dt_ms == self.step.dt_ms;
        if plain && !state.last.away && state.baseline.is_usual(&seen) {
            state.observe_usual(&seen, &self.step)
        } else {
            self.observe_any(state, sample.value, sample.dt_ms, sample.flags)
        }
    }

    fn explain(&self, state: &State) -> Explanation {
        let (last, judged) = (&state.last, state.last.judged.settled(state.last.value, state.distances[0]));
        let lower = state.floor.clamp(judged.location - AWAY * judged.scale(1));
        let upper = state.floor.clamp(judged.location + AWAY * judged.scale(0));
        Explanation {
            code: match last.value {
                value if value > upper => code::ABOVE,
                value if value < lower => code::BELOW,
                _ => 0,
            },
            observed: last.value,
            expected: judged.location,
            lower,
            upper,
            onset_ms_ago: last.away_ms,
            onset_uncertainty_ms: last.onset_step_ms,
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        if let Some(first) = &state.first {
            first.save(out);
            return;
        }
        out.u8(KNOWN);
        state.baseline.save(out);
        out.f64s(&state.distances);
        state.last.judged.settled(state.last.value, state.distances[0]).save(out);
        out.f64(state.last.value);
        out.u8(u8::from(state.last.away));
        out.u32(state.last.away_ms);
        out.u32(state.last.onset_step_ms);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        let count = input.u8()?;
        if count != KNOWN {
            *state = State::learning(state.floor, First::load(count, input)?);
            return Ok(());
        }
        let baseline = Baseline::load(input, &state.floor)?;
        let distances = input.f64s()?;
        let judged = Judged::load(input)?;
        let (value, away) = (input.f64()?, input.u8()? == 1);
        let last = Last { value, judged, away, away_ms: input.u32()?, onset_step_ms: input.u32()? };
        *state = State { baseline, distances, last, floor: state.floor, first: None };
        Ok(())
    }
}

impl Level {
    /// Judges and learns any value.
    #[cold]
    fn observe_any(&mut self, state: &mut State, value: f64, dt_ms: u32, flags: u8) -> f64 {
        let sample = Sample { dt_ms, flags, value };
        if !value.is_finite() || flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        if state.first.is_some() {
            if !sample.hold() {
                state.begin(value, dt_ms);
            }
            return f64::NAN;
        }
        self.step.turn(dt_ms);
        let seen = state.baseline.see(value);
        let score = state.judge(&seen, dt_ms);
        if sample.hold() {
            state.baseline.hold(&seen);
        } else {
            state.baseline.learn(&seen, sample.gap(), &self.step, &state.floor);
        }
        score
    }
}

impl State {
    fn learning(floor: Floor, first: First) -> Self {
        let (baseline, first) = (Baseline::unknown(), Some(Box::new(first)));
        Self { baseline, distances: [0.0; 2], last: Last::NONE, floor, first }
    }

    /// Keeps a first value; with the last of them the series is known.
    #[cold]
    fn begin(&mut self, value: f64, dt_ms: u32) {
        let Some(first) = &mut self.first else { return };
        if let Some(values) = first.push(value, dt_ms) {
            self.baseline = Baseline::start(values, &self.floor);
            self.first = None;
        }
    }

    /// Judges and learns a value that is usual, and comes in the step of the one before.
    ///
    /// Most values are, so here is nothing that calls: what is alive over a call is kept in memory all along.
    #[inline]
    fn observe_usual(&mut self, seen: &Seen, step: &Step) -> f64 {
        let distance = self.baseline.judge(seen, &mut self.last.judged);
        let worth = self.baseline.worth_usual(seen, distance);
        self.last.value = seen.value;
        self.last.onset_step_ms = step.dt_ms;
        let score = self.score(worth, step.dt_ms);
        self.baseline.learn_usual(seen, step, &self.floor);
        score
    }

    /// Judges any value of a series that is known.
    fn judge(&mut self, seen: &Seen, dt_ms: u32) -> f64 {
        let distance = self.baseline.judge(seen, &mut self.last.judged);
        let worth = self.baseline.worth(seen, distance, &mut self.last.judged);
        self.last.value = seen.value;
        self.last.follow(worth, self.distances[0], dt_ms);
        self.score(worth, dt_ms)
    }

    /// The score after a distance of this worth.
    #[inline]
    fn score(&mut self, worth: f64, dt_ms: u32) -> f64 {
        let [before, first] = self.distances;
        self.distances = [worth, before];
        compress(if dt_ms < ALONE_MS { median3(worth, before, first) } else { worth })
    }
}

impl First {
    const NONE: Self = Self { values: [0.0; WARM_UP_VALUES], count: 0, span_ms: 0 };

    /// Adds a value; all of them once they are enough.
    fn push(&mut self, value: f64, dt_ms: u32) -> Option<&[f64]> {
        *self.values.get_mut(self.count)? = value;
        self.count += 1;
        self.span_ms = self.span_ms.saturating_add(dt_ms);
        let enough = self.count == WARM_UP_VALUES || (self.count >= WARM_UP_VALUES_MIN && self.span_ms >= WARM_UP_MS);
        if enough { self.values.get(..self.count) } else { None }
    }

    fn save(&self, out: &mut Writer) {
        out.u8(u8::try_from(self.count).unwrap_or(0));
        out.u32(self.span_ms);
        out.f64s(self.values.get(..self.count).unwrap_or(&[]));
    }

    fn load(count: u8, input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut first = Self { count: usize::from(count), span_ms: input.u32()?, ..Self::NONE };
        if first.count >= WARM_UP_VALUES {
            return Err(Damaged);
        }
        first.values.iter_mut().take(first.count).try_for_each(|value| input.f64().map(|read| *value = read))?;
        Ok(first)
    }
}

impl Last {
    fn follow(&mut self, distance: f64, before: f64, dt_ms: u32) {
        if self.away {
            self.away_ms = self.away_ms.saturating_add(dt_ms);
            self.away = distance >= BACK || before >= BACK;
        } else {
            self.away = distance > AWAY;
            self.away_ms = 0;
            self.onset_step_ms = dt_ms;
        }
        if !self.away {
            self.away_ms = 0;
            self.onset_step_ms = dt_ms;
        }
    }
}

#[cfg(test)]
mod tests;
