//! A detector that needs no sandbox: answers the worker's requests in place, so that `edge` can be driven without one.

use std::collections::BTreeMap;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::worker::{
    Columns, DetectorDescription, DetectorInput, Explanation, SeriesState, WorkerReply, WorkerRequest, flags,
};

/// Stands where a worker with one detector stands.
pub trait Scorer: std::fmt::Debug {
    /// What a worker would say after loading it.
    fn description(&self) -> DetectorDescription;

    /// The one answer to a request.
    fn answer(&mut self, request: WorkerRequest) -> WorkerReply;
}

/// Distance from an exponentially weighted mean, in exponentially weighted mean absolute deviations.
///
/// Deliberately plain: what is simulated with it is the pipeline around a detector, not the detector.
#[derive(Debug)]
pub struct LevelScorer {
    input: DetectorInput,
    warm_up_values: u32,
    ticks: u32,
    series: BTreeMap<u32, Level>,
}

/// One series; numbers in its unit.
#[derive(Clone, Copy, Debug)]
struct Level {
    key: SeriesKey,
    resolution: f64,
    values: u32,
    mean: f64,
    spread: f64,
    last: f64,
    /// Time since the score was last usual.
    departed_ms: u32,
}

/// Share of a new value in the mean, once warm.
const LEARNING_RATE: f64 = 0.01;
/// The same for the spread: slower, so that a ramp is not taken for a wider noise.
const SPREAD_RATE: f64 = 0.002;
/// A departure above this many spreads is learnt as this many.
const CLIP: f64 = 4.0;

impl LevelScorer {
    /// For metric values.
    pub fn metrics() -> Self {
        Self { input: DetectorInput::Metrics, warm_up_values: 60, ticks: 0, series: BTreeMap::new() }
    }

    /// For counts of log templates. What is seen while the scorer learns is usual; what appears later was expected not
    /// to be there and is scored from its first line on.
    pub fn log_templates() -> Self {
        Self { input: DetectorInput::LogTemplates, warm_up_values: 60, ticks: 0, series: BTreeMap::new() }
    }

    fn observe(&mut self, columns: &Columns) -> Vec<f32> {
        self.ticks = self.ticks.saturating_add(1);
        let learning_all = self.ticks <= self.warm_up_values;
        let (input, warm_up_values) = (self.input, self.warm_up_values);
        let rows = columns.ids.iter().zip(&columns.dt_ms).zip(columns.flags.iter().zip(&columns.values));
        rows.map(|((id, &dt_ms), (&bits, &value))| {
            let Some(level) = self.series.get_mut(id) else { return f32::NAN };
            let learning = match input {
                DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                    level.values < warm_up_values
                }
                DetectorInput::LogTemplates => learning_all,
            };
            level.observe(dt_ms, bits, value, learning)
        })
        .collect()
    }
}

impl Level {
    fn new(key: SeriesKey, resolution: f64) -> Self {
        Self { key, resolution, values: 0, mean: 0.0, spread: 0.0, last: f64::NAN, departed_ms: 0 }
    }

    fn observe(&mut self, dt_ms: u32, bits: u8, value: f64, learning: bool) -> f32 {
        self.values = self.values.saturating_add(1);
        self.last = value;
        let score = (value - self.mean).abs() / self.unit_spread();
        if bits & flags::HOLD_LEARNING == 0 {
            self.learn(value, learning);
        }
        if learning {
            return f32::NAN;
        }
        self.departed_ms = if score < 3.0 { 0 } else { self.departed_ms.saturating_add(dt_ms) };
        #[expect(clippy::cast_possible_truncation, reason = "a score needs no more than 24 bits")]
        let score = score as f32;
        score
    }

    /// The spread, never below what the source can express, nor below a thousandth of the level.
    fn unit_spread(&self) -> f64 {
        self.spread.max(self.resolution).max(self.mean.abs() * 1e-3).max(1e-9)
    }

    /// Takes a value in: plain averages while learning, clipped and weighted ones after.
    fn learn(&mut self, value: f64, learning: bool) {
        let room = if learning { f64::INFINITY } else { CLIP * self.unit_spread() };
        let departure = (value - self.mean).clamp(-room, room);
        let share = if learning { 1.0 / f64::from(self.values) } else { 0.0 };
        self.mean += share.max(LEARNING_RATE) * departure;
        // The first departure is that from nothing.
        if self.values > 1 || !learning {
            self.spread += share.max(SPREAD_RATE) * (departure.abs() - self.spread);
        }
    }

    fn explain(&self, id: u32) -> Explanation {
        let band = CLIP * self.unit_spread();
        Explanation {
            id,
            code: 1,
            observed: self.last,
            expected: self.mean,
            lower: self.mean - band,
            upper: self.mean + band,
            onset_ms_ago: self.departed_ms,
            onset_uncertainty_ms: 1_000,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut state = self.values.to_le_bytes().to_vec();
        state.extend([self.mean, self.spread].iter().flat_map(|number| number.to_le_bytes()));
        state
    }

    /// Takes a state over; one that is not its own is ignored, as a cold start.
    fn decode(&mut self, state: &[u8]) {
        let Ok(state) = <&[u8; 20]>::try_from(state) else { return };
        let number = |from: usize| f64::from_le_bytes(std::array::from_fn(|i| state[from + i]));
        self.values = u32::from_le_bytes(std::array::from_fn(|i| state[i]));
        (self.mean, self.spread) = (number(4), number(12));
    }
}

impl Scorer for LevelScorer {
    fn description(&self) -> DetectorDescription {
        DetectorDescription {
            name: match self.input {
                DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                    "sim-level".to_owned()
                }
                DetectorInput::LogTemplates => "sim-log-level".to_owned(),
            },
            version: "1".to_owned(),
            input: self.input,
            warm_up_values: self.warm_up_values,
            state_bytes_max: 20,
            look_ms: 0,
            parameters: Vec::new(),
        }
    }

    fn answer(&mut self, request: WorkerRequest) -> WorkerReply {
        match request {
            WorkerRequest::Load { detector, .. } => WorkerReply::Loaded { detector, description: self.description() },
            WorkerRequest::Seal => WorkerReply::Sealed { confinement: Vec::new() },
            WorkerRequest::SeriesAdded { detector, series } => {
                for descriptor in series {
                    let mut level = Level::new(descriptor.key, descriptor.meta.resolution);
                    level.decode(&descriptor.prior);
                    self.series.insert(descriptor.id, level);
                }
                WorkerReply::Added { detector, declined: Vec::new() }
            }
            WorkerRequest::SeriesRemoved { detector, ids } => {
                self.series.retain(|id, _| !ids.contains(id));
                WorkerReply::Done { detector }
            }
            WorkerRequest::Observe { detector, tick, columns } => {
                WorkerReply::Scores { detector, tick, scores: self.observe(&columns), guest_ns: 0, memory_bytes: 0 }
            }
            WorkerRequest::Explain { detector, ids } => {
                let known = ids.into_iter().filter_map(|id| Some(self.series.get(&id)?.explain(id)));
                WorkerReply::Explanations { detector, explanations: known.collect() }
            }
            WorkerRequest::Snapshot { detector, ids } => {
                let known = ids.iter().filter_map(|id| self.series.get(id));
                let states = known.map(|level| SeriesState { key: level.key, state: level.encode() }).collect();
                WorkerReply::Snapshots { detector, states }
            }
            WorkerRequest::Restore { detector, ids, states } => {
                // Whoever left a state had learnt already.
                self.ticks = self.ticks.max(self.warm_up_values);
                for (id, state) in ids.iter().zip(&states) {
                    if let Some(level) = self.series.get_mut(id) {
                        level.decode(&state.state);
                    }
                }
                WorkerReply::Done { detector }
            }
        }
    }
}
