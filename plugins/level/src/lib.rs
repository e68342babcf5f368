//! `level`: is a metric far from where it usually is?
//!
//! Location and spread are tracked with winsorised exponential weights (Gelper, Fried and Croux 2010), the reach of
//! ordinary bursts with a multiplicative quantile estimate on each side (Yazidi and Hammer 2017), starting from median
//! and median absolute deviation of the first values. The score is the distance from the location in units of the
//! widest of: spread, a third of the burst reach, and a floor made of the source's resolution, one per cent of the
//! value, and a prior for the unit that fades as the series is known better. A value is judged before it is learnt, and
//! the median of the last three distances counts, so a burst of one tick says nothing. When the series stays on one
//! side for the length of the memory, the new level is adopted.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod baseline;
mod floor;

use baseline::{Baseline, Side};
use floor::Floor;
use vedette_sdk::math::Limit as _;
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

/// Beyond this distance a value is away from its baseline, for the onset; it comes back below [`BACK`].
const AWAY: f64 = 3.0;
const BACK: f64 = 2.0;
/// At longer steps a single value is a mean over long enough to be judged alone.
const ALONE_MS: u32 = 5_000;

/// The detector's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    memory_s: f64,
}

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    floor: Floor,
    baseline: Baseline,
    distances: [f64; 2],
    last: Last,
}

/// The last verdict, for its explanation.
#[derive(Clone, Copy, Debug)]
struct Last {
    value: f64,
    expected: f64,
    lower: f64,
    upper: f64,
    away: bool,
    away_ms: u32,
    onset_step_ms: u32,
}

impl Last {
    const NONE: Self = Self {
        value: f64::NAN,
        expected: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        away: false,
        away_ms: 0,
        onset_step_ms: 0,
    };
}

impl Detector for Level {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "level",
            version: env!("CARGO_PKG_VERSION"),
            input: Input::Metrics,
            warm_up_values: baseline::WARM_UP_VALUES,
            state_bytes_max: 512,
            parameters: &[ParameterSpec {
                name: "memory-s",
                default: 300.0,
                minimum: 30.0,
                maximum: 86_400.0,
                documentation: "time over which location and spread are learnt, and after which a new level is adopted",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self { memory_s: parameters.get("memory-s") })
    }

    fn added(&mut self, series: &Series) -> State {
        State { floor: Floor::of(series), baseline: Baseline::new(), distances: [0.0; 2], last: Last::NONE }
    }

    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        if !sample.value.is_finite() || sample.flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        let score = match state.baseline.side(sample.value) {
            Some(side) => state.judge(side, sample),
            None => f64::NAN,
        };
        if !sample.hold() {
            state.baseline.learn(sample, &state.floor, self.memory_s);
        }
        score
    }

    fn explain(&self, state: &State) -> Explanation {
        let last = &state.last;
        Explanation {
            code: match last.value {
                value if value > last.upper => code::ABOVE,
                value if value < last.lower => code::BELOW,
                _ => 0,
            },
            observed: last.value,
            expected: last.expected,
            lower: last.lower,
            upper: last.upper,
            onset_ms_ago: last.away_ms,
            onset_uncertainty_ms: last.onset_step_ms,
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        state.baseline.save(out);
        out.f64s(&state.distances);
        let last = &state.last;
        out.f64s(&[last.value, last.expected, last.lower, last.upper]);
        out.u8(u8::from(last.away));
        out.u32(last.away_ms);
        out.u32(last.onset_step_ms);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        state.baseline = Baseline::load(input)?;
        state.distances = input.f64s()?;
        let [value, expected, lower, upper] = input.f64s()?;
        let away = input.u8()? == 1;
        state.last = Last { value, expected, lower, upper, away, away_ms: input.u32()?, onset_step_ms: input.u32()? };
        Ok(())
    }
}

impl State {
    fn judge(&mut self, side: Side, sample: Sample) -> f64 {
        let floor = self.floor.at(side.location, sample.value, self.baseline.learnt());
        let (above, below) = (side.above.at_least(floor), side.below.at_least(floor));
        let deviation = sample.value - side.location;
        let distance = if deviation >= 0.0 { deviation / above } else { -deviation / below };
        let judged = match sample.dt_ms {
            ALONE_MS.. => distance,
            _ => median3(distance, self.distances[0], self.distances[1]),
        };
        self.distances = [distance, self.distances[0]];
        self.last.value = sample.value;
        self.last.expected = side.location;
        self.last.lower = self.floor.clamp(side.location - AWAY * below);
        self.last.upper = self.floor.clamp(side.location + AWAY * above);
        self.follow_onset(distance, sample.dt_ms);
        compress(judged)
    }

    fn follow_onset(&mut self, distance: f64, dt_ms: u32) {
        let last = &mut self.last;
        if last.away {
            last.away_ms = last.away_ms.saturating_add(dt_ms);
            last.away = distance >= BACK || self.distances[1] >= BACK;
        } else if distance > AWAY {
            last.away = true;
            last.away_ms = 0;
            last.onset_step_ms = dt_ms;
        }
        if !last.away {
            last.away_ms = 0;
            last.onset_step_ms = dt_ms;
        }
    }
}

#[cfg(test)]
mod tests;
