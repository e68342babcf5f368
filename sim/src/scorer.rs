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

/// Share of a new value in the mean and the spread, once warm.
const LEARNING_RATE: f64 = 0.01;
/// A score above this is not learnt as it is: the value is pulled to this many spreads.
const CLIP: f64 = 5.0;

impl LevelScorer {
    /// For metric values.
    pub fn metrics() -> Self {
        Self { input: DetectorInput::Metrics, warm_up_values: 60, series: BTreeMap::new() }
    }

    /// For counts of log templates: one that was never seen is far from its expected 0 at once.
    pub fn log_templates() -> Self {
        Self { input: DetectorInput::LogTemplates, warm_up_values: 0, series: BTreeMap::new() }
    }

    fn observe(&mut self, columns: &Columns) -> Vec<f32> {
        let rows = columns.ids.iter().zip(&columns.dt_ms).zip(columns.flags.iter().zip(&columns.values));
        rows.map(|((id, &dt_ms), (&bits, &value))| match self.series.get_mut(id) {
            Some(level) => level.observe(dt_ms, bits, value, self.warm_up_values),
            None => f32::NAN,
        })
        .collect()
    }
}

impl Level {
    fn new(key: SeriesKey, resolution: f64) -> Self {
        Self { key, resolution, values: 0, mean: 0.0, spread: 0.0, last: f64::NAN, departed_ms: 0 }
    }

    fn observe(&mut self, dt_ms: u32, bits: u8, value: f64, warm_up_values: u32) -> f32 {
        self.values = self.values.saturating_add(1);
        self.last = value;
        if self.values == 1 && warm_up_values > 0 {
            self.mean = value;
        }
        let score = (value - self.mean).abs() / self.unit_spread();
        if bits & flags::HOLD_LEARNING == 0 {
            self.learn(value);
        }
        if self.values <= warm_up_values {
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

    fn learn(&mut self, value: f64) {
        let rate = LEARNING_RATE.max(1.0 / f64::from(self.values));
        let room = if self.values > 10 { CLIP * self.unit_spread() } else { f64::INFINITY };
        let departure = (value - self.mean).clamp(-room, room);
        self.mean += rate * departure;
        self.spread += rate * (departure.abs() - self.spread);
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
                DetectorInput::Metrics => "sim-level".to_owned(),
                DetectorInput::LogTemplates => "sim-log-level".to_owned(),
            },
            version: "1".to_owned(),
            input: self.input,
            warm_up_values: self.warm_up_values,
            state_bytes_max: 20,
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
                WorkerReply::Done { detector }
            }
            WorkerRequest::SeriesRemoved { detector, ids } => {
                self.series.retain(|id, _| !ids.contains(id));
                WorkerReply::Done { detector }
            }
            WorkerRequest::Observe { detector, tick, columns } => {
                WorkerReply::Scores { detector, tick, scores: self.observe(&columns), guest_ns: 0 }
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
