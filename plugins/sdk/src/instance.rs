//! One configured detector with its series: what the WebAssembly exports and the native runner share.

use crate::detector::{ConfigError, Detector, Explanation, Parameters, Sample, Series, config_code};
use crate::math::canonical;
use crate::state::{Reader, Writer};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Column ids are dense and small; one beyond this is refused instead of growing the table.
pub const COLUMNS_MAX: u32 = 1 << 17;

/// Columns of one tick; all have one length, and each id stands at most once.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a, V> {
    /// Column ids.
    pub ids: &'a [u32],
    /// Time since that series' previous value.
    pub dt_ms: &'a [u32],
    /// Bits of [`Sample::flags`].
    pub flags: &'a [u8],
    /// Values.
    pub values: &'a [V],
}

struct Slot<S> {
    key: u64,
    state: S,
}

/// A configured detector and its series in a table by column id.
pub struct Instance<D: Detector> {
    detector: D,
    slots: Vec<Option<Slot<D::State>>>,
}

impl<D: Detector> Instance<D> {
    /// Configures the detector.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the parameter that was refused.
    pub fn new(parameters: &[(String, f64)]) -> Result<Self, ConfigError> {
        let parameters = Parameters::check(D::describe().parameters, parameters)?;
        Ok(Self { detector: D::configure(&parameters)?, slots: Vec::new() })
    }

    /// Starts a series; an unusable prior is the same as none. An id that is in use starts anew. False if the detector
    /// declines the series: it is not known then.
    pub fn add(&mut self, id: u32, series: &Series, prior: &[u8]) -> bool {
        if id >= COLUMNS_MAX {
            return true;
        }
        let index = id as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let mut state = self.detector.added(series);
        if let Some(started) = state.as_mut().filter(|_| !prior.is_empty()) {
            let _ = load(&mut self.detector, started, prior);
        }
        self.slots[index] = state.map(|state| Slot { key: series.key, state });
        self.slots[index].is_some()
    }

    /// Forgets series.
    pub fn remove(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(slot) = self.slots.get_mut(*id as usize) {
                *slot = None;
            }
        }
    }

    /// Scores one tick: one score per value, in order; NaN for an unknown column.
    ///
    /// # Panics
    ///
    /// If the columns differ in length: the host's mistake.
    pub fn observe<V: Copy + Into<f64>>(&mut self, columns: Columns<'_, V>) -> Vec<f32> {
        let Columns { ids, dt_ms, flags, values } = columns;
        assert!(dt_ms.len() == ids.len() && flags.len() == ids.len() && values.len() == ids.len());
        let rows = ids.iter().zip(dt_ms).zip(flags).zip(values);
        let score = |(((id, dt_ms), flags), value): (((&u32, &u32), &u8), &V)| {
            let Some(Some(slot)) = self.slots.get_mut(*id as usize) else { return canonical(f64::NAN) };
            let sample = Sample { dt_ms: *dt_ms, flags: *flags, value: (*value).into() };
            canonical(self.detector.observe(&mut slot.state, sample))
        };
        rows.map(score).collect()
    }

    /// Explains the last scores; unknown columns are left out.
    pub fn explain(&self, ids: &[u32]) -> Vec<(u32, Explanation)> {
        ids.iter().filter_map(|id| Some((*id, self.detector.explain(&self.slot(*id)?.state)))).collect()
    }

    /// States of series under their stable keys; unknown columns are left out.
    pub fn snapshot(&self, ids: &[u32]) -> Vec<(u64, Vec<u8>)> {
        let save = |slot: &Slot<D::State>| {
            let mut out = Writer::new();
            self.detector.save(&slot.state, &mut out);
            (slot.key, out.finish())
        };
        ids.iter().filter_map(|id| self.slot(*id).map(save)).collect()
    }

    /// Takes over what [`Instance::snapshot`] gave; a state that is refused leaves its series as it was.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the first column that is unknown or whose bytes are not a state; all others are restored.
    pub fn restore<'a>(&mut self, states: impl Iterator<Item = (u32, &'a [u8])>) -> Result<(), ConfigError> {
        let one = |(id, bytes): (u32, &[u8])| {
            let refuse =
                |code, message: &str| ConfigError { field: format!("column {id}"), code, message: message.to_string() };
            let slot = self.slots.get_mut(id as usize).and_then(Option::as_mut);
            let slot = slot.ok_or_else(|| refuse(config_code::UNKNOWN_SERIES, "this column was not added"))?;
            load(&mut self.detector, &mut slot.state, bytes)
                .map_err(|_| refuse(config_code::BAD_STATE, "not a state of this detector and version"))
        };
        states.map(one).fold(Ok(()), Result::and)
    }

    fn slot(&self, id: u32) -> Option<&Slot<D::State>> {
        self.slots.get(id as usize)?.as_ref()
    }
}

/// Loads into a copy, so that a refused state leaves nothing behind.
fn load<D: Detector>(detector: &mut D, state: &mut D::State, bytes: &[u8]) -> Result<(), crate::state::Damaged> {
    let mut copy = state.clone();
    let mut input = Reader::new(bytes);
    detector.load(&mut copy, &mut input)?;
    input.finish()?;
    *state = copy;
    Ok(())
}
