//! A stand-in for the `level` detector: winsorised exponential location and spread, median of three, compressed.

use std::collections::HashMap;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::worker::{Columns, Explanation, SeriesState, WorkerRequest, flags};

const WARM_UP: u32 = 48;
const MEMORY_S: f64 = 300.0;

#[derive(Clone, Debug, Default)]
struct Level {
    location: f64,
    spread: f64,
    reach: f64,
    learnt: u32,
    first: Vec<f64>,
    distances: [f64; 2],
    last: f64,
    away_ms: u32,
}

/// All series of one detector in the worker.
#[derive(Debug, Default)]
pub(crate) struct Scorer {
    series: HashMap<u32, (SeriesKey, Level)>,
    ticks: u32,
    /// Once the first minute is over a new series is judged against silence at once, as log templates are.
    pub(crate) new_is_news: bool,
    pub(crate) scores: Vec<f32>,
}

impl Scorer {
    /// Registers and forgets series; restores states.
    pub(crate) fn handle(&mut self, request: &WorkerRequest) {
        match request {
            WorkerRequest::SeriesAdded { series, .. } => {
                for added in series {
                    let news = self.new_is_news && self.ticks > 60;
                    let mut level = if news {
                        Level { spread: 0.5, learnt: WARM_UP, ..Level::default() }
                    } else {
                        Level::default()
                    };
                    if !added.prior.is_empty() {
                        level.restore(&added.prior);
                    }
                    let before = self.series.insert(added.id, (added.key, level));
                    assert!(before.is_none(), "{} was added twice", added.id);
                }
            }
            WorkerRequest::SeriesRemoved { ids, .. } => {
                for id in ids {
                    assert!(self.series.remove(id).is_some(), "{id} was removed but never added");
                }
            }
            WorkerRequest::Restore { ids, states, .. } => {
                for (id, state) in ids.iter().zip(states) {
                    let (key, level) = self.series.get_mut(id).expect("restored series was added");
                    assert_eq!(*key, state.key);
                    level.restore(&state.state);
                }
            }
            _ => {}
        }
    }

    /// Scores of one tick.
    pub(crate) fn observe(&mut self, columns: &Columns) -> &[f32] {
        self.scores.clear();
        self.ticks += 1;
        for (row, id) in columns.ids.iter().enumerate() {
            let (_, level) = self.series.get_mut(id).expect("observed series was added");
            self.scores.push(level.score(columns.values[row], columns.dt_ms[row], columns.flags[row]));
        }
        &self.scores
    }

    pub(crate) fn explain(&self, ids: &[u32]) -> Vec<Explanation> {
        let explain = |id: &u32| {
            let (_, level) = &self.series[id];
            Explanation {
                id: *id,
                code: 101,
                observed: level.last,
                expected: level.location,
                lower: level.location - 3.0 * level.spread,
                upper: level.location + 3.0 * level.spread,
                onset_ms_ago: level.away_ms,
                onset_uncertainty_ms: 1_000,
            }
        };
        ids.iter().map(explain).collect()
    }

    pub(crate) fn snapshot(&self, ids: &[u32]) -> Vec<SeriesState> {
        let state = |id: &u32| {
            let (key, level) = &self.series[id];
            SeriesState { key: *key, state: level.snapshot() }
        };
        ids.iter().map(state).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
    }
}

impl Level {
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
    fn score(&mut self, value: f64, dt_ms: u32, value_flags: u8) -> f32 {
        self.last = value;
        if self.learnt < WARM_UP {
            if value_flags & flags::HOLD_LEARNING != 0 {
                return f32::NAN;
            }
            self.first.push(value);
            self.learnt += 1;
            if self.learnt == WARM_UP {
                self.begin();
            }
            return f32::NAN;
        }
        let deviation = value - self.location;
        let scale = self.spread.max(self.reach / 3.0).max(0.01 * self.location.abs()).max(0.02);
        let distance = deviation.abs() / scale;
        let three = [distance, self.distances[0], self.distances[1]];
        self.distances = [distance, self.distances[0]];
        self.away_ms = if distance > 3.0 { self.away_ms + dt_ms } else { 0 };
        if value_flags & flags::HOLD_LEARNING == 0 {
            self.learn(deviation);
        }
        let judged = three[0].max(three[1]).min(three[0].min(three[1]).max(three[2]));
        (if judged <= 1.0 { judged } else { 1.0 + 8.0 * ((judged - 1.0) / 8.0).ln_1p() }) as f32
    }

    fn begin(&mut self) {
        self.first.sort_by(f64::total_cmp);
        self.location = self.first[self.first.len() / 2];
        let mut deviations: Vec<_> = self.first.iter().map(|value| (value - self.location).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        self.spread = 1.4826 * deviations[deviations.len() / 2];
        self.first = Vec::new();
    }

    fn learn(&mut self, deviation: f64) {
        let core = self.spread.max(0.02);
        self.learnt = self.learnt.saturating_add(1);
        let share = (1.0 / f64::from(self.learnt)).max(1.0 / MEMORY_S);
        let clamped = deviation.clamp(-2.0 * core, 2.0 * core);
        self.location += share * clamped;
        let within = (1.0 - (deviation / core / 2.0).powi(2)).max(0.0);
        let rho = 2.52 * (1.0 - within.powi(3));
        self.spread = (share * rho * core * core + (1.0 - share) * self.spread * self.spread).sqrt();
        let beyond = deviation.abs() > self.reach.max(3.0 * core);
        let (up, down) = (0.05, 0.05 * 0.005);
        self.reach = if beyond { self.reach.max(3.0 * core) * (1.0 + up) } else { self.reach * (1.0 - down) };
    }

    fn snapshot(&self) -> Vec<u8> {
        let numbers =
            [self.location, self.spread, self.reach, self.distances[0], self.distances[1], f64::from(self.learnt)];
        let numbers = numbers.iter().chain(&self.first);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "it was a u32")]
    fn restore(&mut self, state: &[u8]) {
        let mut numbers = state.chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        let mut next = || numbers.next().expect("six numbers");
        (self.location, self.spread, self.reach) = (next(), next(), next());
        self.distances = [next(), next()];
        self.learnt = next() as u32;
        self.first = numbers.collect();
    }
}
