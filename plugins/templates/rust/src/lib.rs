//! How far a value is from where its series usually is, in units of how much it usually varies: an exponentially
//! weighted mean and variance (West 1979), and the distance of each value from the mean in standard deviations.
//!
//! Change `Spread` into your own detector; `vedette detector check` says what must stay true.

#![cfg_attr(target_arch = "wasm32", no_std)]

use vedette_sdk::math::{Limit as _, sqrt};
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{
    ConfigError, Description, Detector, Explanation, Input, ParameterSpec, Parameters, Sample, Series,
};

vedette_sdk::export!(Spread);

/// Values that are learnt before the first score.
const WARM_UP_VALUES: u32 = 30;
/// Differences below this share of the level are nothing: no source is more exact.
const LEAST_SPREAD_RATIO: f64 = 1e-4;
/// A distance beyond this says no more.
const DISTANCE_MAX: f64 = 1e6;
/// Values beyond this are not learnt: their squares would leave the range of numbers.
const VALUE_MAX: f64 = 1e150;
/// How wide a band `explain` calls usual, in standard deviations.
const BAND: f64 = 3.0;

/// The detector: what all series share. Here, how long it remembers.
pub struct Spread {
    memory_s: f64,
}

/// What is remembered of one series.
#[derive(Clone)]
pub struct State {
    /// Told by the series, not learnt: not part of a snapshot.
    resolution: f64,
    mean: f64,
    variance: f64,
    /// The value judged last, for `explain`.
    last: f64,
    learnt: u32,
}

impl State {
    fn spread(&self) -> f64 {
        sqrt(self.variance).at_least(self.resolution).at_least(self.mean.abs() * LEAST_SPREAD_RATIO)
    }
}

impl Detector for Spread {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "@NAME@",
            version: "0.1.0",
            input: Input::Metrics,
            warm_up_values: WARM_UP_VALUES,
            state_bytes_max: 28,
            look_ms: 0,
            parameters: &[ParameterSpec {
                name: "memory-s",
                default: 600.0,
                minimum: 10.0,
                maximum: 86_400.0,
                documentation: "Seconds after which a value counts a third of a new one.",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self { memory_s: parameters.get("memory-s") })
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        // `None` would decline the series for good.
        Some(State { resolution: series.resolution, mean: 0.0, variance: 0.0, last: f64::NAN, learnt: 0 })
    }

    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        // The host gives finite values; a detector that met another one must not be spoilt for good.
        if !sample.value.is_finite() {
            return f64::NAN;
        }
        state.last = sample.value;
        let departure = sample.value - state.mean;
        // First judge against what was learnt before, ...
        let score = if state.learnt < WARM_UP_VALUES {
            f64::NAN
        } else if departure == 0.0 {
            0.0
        } else {
            compress((departure.abs() / state.spread()).at_most(DISTANCE_MAX))
        };
        // ... then learn, unless told to hold.
        if !sample.hold() && sample.value.abs() < VALUE_MAX {
            // Intervals change, so time decides and not the number of values; a gap teaches a tenth of the memory at most.
            let dt_s = f64::from(sample.dt_ms) / 1_000.0;
            let share = dt_s.at_most(self.memory_s * 0.1) / self.memory_s;
            let share = share.at_least(1.0 / (f64::from(state.learnt) + 1.0));
            state.mean += share * departure;
            state.variance = (1.0 - share) * (state.variance + share * departure * departure);
            state.learnt = state.learnt.saturating_add(1);
        }
        score
    }

    fn explain(&self, state: &State) -> Explanation {
        if state.learnt < WARM_UP_VALUES {
            return Explanation::NONE;
        }
        Explanation {
            code: 1,
            observed: state.last,
            expected: state.mean,
            lower: state.mean - BAND * state.spread(),
            upper: state.mean + BAND * state.spread(),
            ..Explanation::NONE
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        out.f64s(&[state.mean, state.variance, state.last]);
        out.u32(state.learnt);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        let [mean, variance, last] = input.f64s()?;
        let learnt = input.u32()?;
        // A state may be old, foreign or cut: believe nothing that `save` cannot have written.
        if !mean.is_finite() || !(0.0..f64::INFINITY).contains(&variance) {
            return Err(Damaged);
        }
        *state = State { resolution: state.resolution, mean, variance, last, learnt };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_sdk::{Columns, Instance, Kind};

    fn series() -> Series {
        Series {
            key: 1,
            metric: "test".into(),
            unit: "1".into(),
            kind: Kind::Gauge,
            attributes: Vec::new(),
            interval_ms: 1_000,
            resolution: 0.0,
            lower: f64::NAN,
            upper: f64::NAN,
        }
    }

    #[test]
    fn a_jump_stands_out() {
        let mut instance = Instance::<Spread>::new(&[]).unwrap();
        instance.add(0, &series(), &[]);
        let mut judge = |value| {
            instance.observe(Columns { ids: &[0], dt_ms: &[1_000], flags: &[0], values: &[value] })[0]
        };
        for tick in 0..100 {
            assert!(!(judge(f64::from(tick % 5)) > 3.0), "usual at tick {tick}");
        }
        assert!(judge(50.0) > 10.0);
    }
}
