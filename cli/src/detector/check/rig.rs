//! What checks work with: fresh instances, series, and ordinary input to compare with.

use crate::detector::module::Module;
use crate::detector::runner::{DetectorFailure, Guest, Place, Runner as _};
use crate::detector::window::Noise;
use std::cell::OnceCell;
use vedette_protocol::ids::Digest;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::{Columns, DetectorDescription, DetectorInput, Fault, SeriesDescriptor};

/// Nominal interval of all series.
pub(super) const INTERVAL_MS: u32 = 1_000;
/// Ordinary ticks beyond the declared warm-up before anything is asked.
const SETTLED_TICKS: u64 = 120;
/// Most values of a warm-up that are waited for.
const WARM_UP_TICKS_MAX: u64 = 5_000;

/// One value on its way in: column, time since its previous one, flags, value.
pub(super) type Cell = (u32, u32, u8, f64);

/// The detector under test.
pub(super) struct Rig {
    module: Module,
    described: DetectorDescription,
    parameters: Vec<(String, f64)>,
    ordinary: OnceCell<f32>,
    alarm: OnceCell<f32>,
}

impl Rig {
    pub(super) fn new(module: Module, described: DetectorDescription, parameters: Vec<(String, f64)>) -> Self {
        Self { module, described, parameters, ordinary: OnceCell::new(), alarm: OnceCell::new() }
    }

    pub(super) fn described(&self) -> &DetectorDescription {
        &self.described
    }

    pub(super) fn wasm_digest(&self) -> Digest {
        self.module.wasm_digest
    }

    pub(super) fn wasm_bytes(&self) -> usize {
        self.module.wasm_bytes()
    }

    pub(super) fn native_bytes(&self) -> usize {
        self.module.cwasm.len()
    }

    pub(super) fn is_of_logs(&self) -> bool {
        self.described.input == DetectorInput::LogTemplates
    }

    /// Ticks after which a series is learnt.
    pub(super) fn learnt(&self) -> u64 {
        u64::from(self.described.warm_up_values).min(WARM_UP_TICKS_MAX) + SETTLED_TICKS
    }

    /// A new instance in a worker of its own, without series.
    pub(super) fn empty(&self) -> anyhow::Result<Guest> {
        self.with_parameters(&self.parameters)
    }

    /// The same with parameters on top of those that were given.
    pub(super) fn with_parameters(&self, parameters: &[(String, f64)]) -> anyhow::Result<Guest> {
        Place::Confined(&self.module.cwasm).module(parameters)
    }

    /// Parameters that the check runs with.
    pub(super) fn parameters(&self) -> &[(String, f64)] {
        &self.parameters
    }

    /// A new instance in the interpreter, without series.
    pub(super) fn interpreted(&self) -> anyhow::Result<Guest> {
        Place::Interpreted(&self.module.for_interpreter()?).module(&self.parameters)
    }

    /// A new instance that was told series 0 to `count` - 1.
    pub(super) fn with_series(&self, count: u32) -> anyhow::Result<Guest> {
        let mut guest = self.empty()?;
        guest.add(&self.series(count))?;
        Ok(guest)
    }

    /// Series 0 to `count` - 1.
    pub(super) fn series(&self, count: u32) -> Vec<SeriesDescriptor> {
        (0..count).map(|id| self.one_series(id, 1.0)).collect()
    }

    /// A series in a unit that is `scale` times as small.
    pub(super) fn one_series(&self, id: u32, scale: f64) -> SeriesDescriptor {
        let (metric, unit, kind, upper) = match self.described.input {
            DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                ("check.gauge", "", SeriesKind::Gauge, scale)
            }
            DetectorInput::LogTemplates => ("vedette.log.template", "{line}", SeriesKind::Count, f64::NAN),
        };
        let meta = SeriesMeta {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            kind,
            attributes: vec![("check.series".to_owned(), id.to_string())],
            resolution: 0.0,
            lower: 0.0,
            upper,
        };
        SeriesDescriptor { id, key: meta.key(), meta, interval_ms: INTERVAL_MS, prior: Vec::new() }
    }

    /// What is usual for a series at a tick: noise around a level, or a few lines. The same each time.
    pub(super) fn usual(&self, id: u32, tick: u64) -> f64 {
        let mut noise = Noise((u64::from(id) << 32) ^ tick.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let sum: f64 = (0..4).map(|_| noise.draw()).sum();
        if self.is_of_logs() { sum.floor() } else { 0.5 + 0.02 * (sum - 2.0) }
    }

    /// What is not: far from the usual, within the bounds.
    pub(super) fn wild(&self) -> f64 {
        if self.is_of_logs() { 500.0 } else { 0.95 }
    }

    /// Usual values for series 0 to `count` - 1 at a tick.
    pub(super) fn tick(&self, count: u32, tick: u64) -> Columns {
        let dt_ms = if tick == 0 { 0 } else { INTERVAL_MS };
        columns((0..count).map(|id| (id, dt_ms, 0, self.usual(id, tick))))
    }

    /// Scores of usual ticks for series 0 to `count` - 1, tick by tick.
    pub(super) fn feed(
        &self,
        guest: &mut Guest,
        count: u32,
        ticks: std::ops::Range<u64>,
    ) -> anyhow::Result<Vec<Vec<f32>>> {
        ticks.map(|tick| Ok(guest.observe(&self.tick(count, tick))?.0)).collect()
    }

    /// The highest score of usual values once learnt.
    pub(super) fn usual_score(&self) -> anyhow::Result<f32> {
        if let Some(known) = self.ordinary.get() {
            return Ok(*known);
        }
        let mut guest = self.with_series(4)?;
        let learnt = self.learnt();
        self.feed(&mut guest, 4, 0..learnt)?;
        let highest = highest(self.feed(&mut guest, 4, learnt..learnt + 300)?.iter().flatten());
        Ok(*self.ordinary.get_or_init(|| highest))
    }

    /// The highest score of some wild values after usual ones.
    pub(super) fn wild_score(&self) -> anyhow::Result<f32> {
        if let Some(known) = self.alarm.get() {
            return Ok(*known);
        }
        let mut guest = self.with_series(4)?;
        self.feed(&mut guest, 4, 0..self.learnt())?;
        let highest = self.alarm(&mut guest, 4)?;
        Ok(*self.alarm.get_or_init(|| highest))
    }

    /// The highest score of the wild values that come now.
    pub(super) fn alarm(&self, guest: &mut Guest, count: u32) -> anyhow::Result<f32> {
        let mut scores = Vec::new();
        for _ in 0..5 {
            let wild = columns((0..count).map(|id| (id, INTERVAL_MS, 0, self.wild())));
            scores.extend(guest.observe(&wild)?.0);
        }
        Ok(highest(&scores))
    }

    /// The most that a score may be of values that are still usual: twice as much as usual ones had, and a little.
    pub(super) fn calm_limit(&self) -> anyhow::Result<f32> {
        Ok(2.0 * self.usual_score()? + 1.0)
    }
}

/// Columns of some cells.
pub(super) fn columns(cells: impl IntoIterator<Item = Cell>) -> Columns {
    let mut columns = Columns::default();
    for (id, dt_ms, flags, value) in cells {
        columns.ids.push(id);
        columns.dt_ms.push(dt_ms);
        columns.flags.push(flags);
        columns.values.push(value);
    }
    columns
}

/// The highest score, 0 without any.
pub(super) fn highest<'a>(scores: impl IntoIterator<Item = &'a f32>) -> f32 {
    scores.into_iter().copied().filter(|score| !score.is_nan()).fold(0.0, f32::max)
}

/// Whether scores agree in every bit.
pub(super) fn same_bits(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    let bits = |scores: &[Vec<f32>]| scores.iter().flatten().map(|score| score.to_bits()).collect::<Vec<_>>();
    bits(a) == bits(b)
}

/// Ordinary refusals are answers; anything else is a failure.
pub(super) fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<DetectorFailure>().is_some_and(|failure| failure.fault == Fault::Misconfigured)
}
