//! A window of values to run detectors on: series told once, then columns tick by tick.

mod builtin;
mod csv;
mod rows;
mod timestamp;

pub(crate) use builtin::{Noise, builtin};
pub(crate) use csv::{SeriesForm, descriptor, interval_ms, read};
pub(crate) use rows::{Row, Rows};
pub(crate) use timestamp::text as time_text;

use vedette_protocol::worker::{Columns, SeriesDescriptor, flags};

/// Values of one window, all series together.
pub(crate) const VALUES_MAX: usize = 4_000_000;
/// Series of one window.
pub(crate) const SERIES_MAX: usize = 4_000;

/// A window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Series; a column's id is its place here.
    pub(crate) series: Vec<SeriesDescriptor>,
    /// Ticks, oldest first.
    pub(crate) ticks: Vec<Columns>,
}

impl Window {
    /// Values in it.
    pub(crate) fn values(&self) -> usize {
        self.ticks.iter().map(|tick| tick.ids.len()).sum()
    }
}

/// Puts values into columns: keeps each series' time since its previous value and whether ticks were missed between.
#[derive(Debug, Default)]
struct Columnist {
    last: Vec<Option<(u64, usize)>>,
    ticks: Vec<Columns>,
}

impl Columnist {
    fn begin_tick(&mut self) {
        self.ticks.push(Columns::default());
    }

    /// A value of the tick begun last, at `at_ms`.
    fn value(&mut self, series: usize, at_ms: u64, value: f64, extra_flags: u8) {
        if series >= self.last.len() {
            self.last.resize(series + 1, None);
        }
        let tick = self.ticks.len();
        let (dt_ms, gap) = match self.last[series].replace((at_ms, tick)) {
            Some((before_ms, before)) => (at_ms.saturating_sub(before_ms), tick - before > 1),
            None => (0, false),
        };
        let Some(columns) = self.ticks.last_mut() else { return };
        columns.ids.push(u32::try_from(series).unwrap_or(u32::MAX));
        columns.dt_ms.push(u32::try_from(dt_ms).unwrap_or(u32::MAX));
        columns.flags.push(extra_flags | if gap { flags::GAP } else { 0 });
        columns.values.push(value);
    }
}
