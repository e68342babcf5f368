//! What tests of detectors share: a rig that runs one series, repeatable signals, and the promises that hold for any
//! detector.
//!
//! For native builds only. Signals are pure functions of a seed and the tick, in units of the caller.

use crate::detector::{Detector, Kind, Sample, Series};
use crate::instance::{Columns, Instance};
use crate::math::Limit as _;
use std::ops::Range;

/// SplitMix64 (Steele, Lea and Flood 2014): seeded noise without a dependency.
#[derive(Clone, Debug)]
pub struct Noise(pub u64);

impl Noise {
    /// Evenly distributed between 0 and 1.
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed around 0 with deviation 1, as a sum of twelve: no tail beyond 6.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A ramp over so many seconds: 0 before `from_s`, 1 from its end on.
pub fn ramp(second: f64, from_s: f64, length_s: f64) -> f64 {
    ((second - from_s) / length_s).at_least(0.0).at_most(1.0)
}

/// Mostly 0, with bursts of two ticks each thirty: what an idle disk writes.
pub fn disk_bursts(noise: &mut Noise, tick: usize) -> f64 {
    if tick % 30 < 2 {
        2e6 * (0.3 + noise.uniform())
    } else if tick.is_multiple_of(5) {
        40_000.0
    } else {
        0.0
    }
}

/// The share of a core that an idle host uses: a little noise and small jumps.
pub fn idle_cpu(noise: &mut Noise, tick: usize) -> f64 {
    let jump = if tick % 17 < 2 { 0.03 * noise.uniform() } else { 0.0 };
    (0.005 + 0.003 * noise.normal()).at_least(0.0) + jump
}

/// A series of this unit, read each second, of which nothing else is known.
pub fn series(unit: &str, kind: Kind, bounds: Range<f64>) -> Series {
    Series {
        key: 7,
        metric: "test.metric".into(),
        unit: unit.into(),
        kind,
        attributes: Vec::new(),
        interval_ms: 1_000,
        resolution: 0.0,
        lower: bounds.start,
        upper: bounds.end,
    }
}

/// One reading of a series.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Time since the reading before; the first of a series gets 0 whatever stands here.
    pub dt_ms: u32,
    /// Bits of [`Sample::flags`].
    pub flags: u8,
    /// The value.
    pub value: f64,
}

impl Reading {
    /// A value a second after the one before.
    pub fn second(value: f64) -> Self {
        Self { dt_ms: 1_000, flags: 0, value }
    }
}

/// One series under a detector with default parameters.
pub struct Rig<D: Detector> {
    /// The detector; its only series has column id 0.
    pub instance: Instance<D>,
    series: Series,
    started: bool,
}

impl<D: Detector> Rig<D> {
    /// The detector with this series, which has no values yet.
    pub fn new(series: &Series) -> Self {
        let mut instance = Instance::new(&[]).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        assert!(instance.add(0, series, &[]), "it declines {}", series.metric);
        Self { instance, series: series.clone(), started: false }
    }

    /// Judges one reading.
    pub fn read(&mut self, reading: Reading) -> f32 {
        let dt_ms = if self.started { reading.dt_ms } else { 0 };
        self.started = true;
        let columns = Columns { ids: &[0], dt_ms: &[dt_ms], flags: &[reading.flags], values: &[reading.value] };
        self.instance.observe(columns)[0]
    }

    /// Judges one value.
    pub fn step(&mut self, dt_ms: u32, flags: u8, value: f64) -> f32 {
        self.read(Reading { dt_ms, flags, value })
    }

    /// Judges a value a second.
    pub fn run(&mut self, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        self.run_each(1_000, values)
    }

    /// Judges a value each so many milliseconds.
    pub fn run_each(&mut self, dt_ms: u32, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        values.into_iter().map(|value| self.step(dt_ms, 0, value)).collect()
    }

    /// The state of the series.
    pub fn state(&self) -> Vec<u8> {
        self.instance.snapshot(&[0]).pop().map(|(_, state)| state).unwrap_or_default()
    }

    /// Another instance that goes on from this one's snapshot.
    pub fn restored(&self) -> Self {
        let mut copy = Self { started: self.started, ..Self::new(&self.series) };
        let state = self.state();
        let restored = copy.instance.restore([(0, state.as_slice())].into_iter());
        restored.unwrap_or_else(|refusal| panic!("its own state was refused: {refusal:?}"));
        copy
    }
}

/// The highest score; a NaN is none.
pub fn highest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(0.0, f32::max)
}

/// Checks that a detector goes on from a snapshot at any cut as if nothing had happened: the same scores and the same
/// final state, bit for bit, and no state beyond what it promised.
///
/// # Panics
///
/// If not, naming the cut.
pub fn same_bits_after_any_cut<D: Detector>(series: &Series, readings: &[Reading]) {
    let promised = D::describe().state_bytes_max as usize;
    let mut whole = Rig::<D>::new(series);
    let mut expected = Vec::new();
    let mut parts = vec![whole.restored()];
    for reading in readings {
        let score = whole.read(*reading).to_bits();
        expected.push(score);
        assert!(whole.state().len() <= promised, "a state of {} bytes", whole.state().len());
        parts.push(whole.restored());
    }
    for (cut, mut part) in parts.into_iter().enumerate() {
        for (reading, expected) in readings.iter().zip(&expected).skip(cut) {
            assert_eq!(part.read(*reading).to_bits(), *expected, "cut at {cut}");
        }
        assert_eq!(part.state(), whole.state(), "cut at {cut}");
        assert_eq!(part.instance.explain(&[0])[0].1.code, whole.instance.explain(&[0])[0].1.code, "cut at {cut}");
    }
}

/// A property test's readings: seeded values of `value` with changing intervals, gaps, resets, held ticks, and now and
/// then what is not a number.
pub fn rough_readings(seed: u64, count: usize, mut value: impl FnMut(&mut Noise, usize) -> f64) -> Vec<Reading> {
    let mut noise = Noise(seed);
    let mut dt_ms = 1_000;
    (0..count)
        .map(|tick| {
            if noise.uniform() < 0.02 {
                dt_ms = [250, 1_000, 5_000, 10_000, 60_000][tick % 5];
            }
            let flags = match noise.uniform() {
                draw if draw < 0.02 => Sample::GAP,
                draw if draw < 0.03 => Sample::RESET,
                draw if draw < 0.08 => Sample::HOLD,
                _ => 0,
            };
            let value = value(&mut noise, tick);
            Reading { dt_ms, flags, value: if noise.uniform() < 0.01 { f64::NAN } else { value } }
        })
        .collect()
}

/// Checks that damaged bytes are refused as a state, at any length, change nothing, and keep no other state out.
///
/// # Panics
///
/// If some are accepted, or do harm.
pub fn damaged_states_are_refused<D: Detector>(series: &Series, state: &[u8]) {
    let mut rig = Rig::<D>::new(series);
    let untouched = rig.state();
    let mut refused = |bytes: &[u8]| {
        let refused = rig.instance.restore([(0, bytes)].into_iter()).is_err();
        assert!(!refused || rig.state() == untouched, "what was refused was taken over in part");
        refused
    };
    for length in 0..state.len() {
        assert!(refused(&state[..length]), "{length} bytes of {}", state.len());
    }
    assert!(refused(&[state, &[0]].concat()) && refused(&[255; 700]));
    assert!(!refused(state));
    let mut beside = Rig::<D>::new(series);
    assert!(beside.instance.restore([(7, state), (0, state)].into_iter()).is_err(), "column 7 was never added");
    assert_eq!(beside.state(), rig.state(), "a state beside a refused one");
}
