//! The window that `replay` uses when it is given none: a host's quarter of an hour with everything in it that makes
//! detectors differ. Deterministic: no clock, a fixed seed.

use super::{Columnist, Window};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::{DetectorInput, SeriesDescriptor, flags};

const TICKS: u64 = 900;
const INTERVAL_MS: u32 = 1_000;
/// Nobody was reading in these ticks.
const MISSED: std::ops::Range<u64> = 400..420;
/// An episode is open in these ticks.
const HELD: std::ops::Range<u64> = 700..760;
/// The counter behind a rate was reset here.
const RESET: u64 = 500;

/// A window of `count` series for a detector of this input.
pub(crate) fn builtin(input: DetectorInput, count: usize) -> Window {
    let shapes: &[Shape] = match input {
        DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
            &[Shape::Cpu, Shape::Disk, Shape::Filling, Shape::Memory]
        }
        DetectorInput::LogTemplates => &[Shape::Heartbeat, Shape::Hourly, Shape::NewError],
    };
    let shape = |series: usize| shapes[series % shapes.len()];
    let series = (0..count).map(|at| shape(at).descriptor(at)).collect();
    let mut noise = Noise(0x7665_6465_7474_6531);
    let mut columns = Columnist::default();
    for tick in (0..TICKS).filter(|tick| !MISSED.contains(tick)) {
        columns.begin_tick();
        for at in 0..count {
            let held = if HELD.contains(&tick) { flags::HOLD_LEARNING } else { 0 };
            let missed = if tick == MISSED.end { flags::GAP } else { 0 };
            let reset = if tick == RESET && matches!(shape(at), Shape::Disk) { flags::RESET } else { 0 };
            // One draw for each value, so that a wider window begins like a narrow one only in shape.
            let value = shape(at).value(tick, noise.draw());
            if shape(at).is_read(tick) {
                columns.value(at, tick * u64::from(INTERVAL_MS), value, held | missed | reset);
            }
        }
    }
    Window { series, ticks: columns.ticks }
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Idle with small jumps, then a full core.
    Cpu,
    /// Bursts on nothing.
    Disk,
    /// A disk that begins to fill; appears late.
    Filling,
    /// A slow wave, read every five seconds for a while.
    Memory,
    /// A line a second.
    Heartbeat,
    /// A few lines now and then.
    Hourly,
    /// Never seen, then many.
    NewError,
}

impl Shape {
    fn is_read(self, tick: u64) -> bool {
        match self {
            Self::Filling => tick >= 100,
            Self::Memory => !(200..350).contains(&tick) || tick.is_multiple_of(5),
            Self::NewError => tick >= 600,
            _ => true,
        }
    }

    /// The value at a tick, with `noise` between 0 and 1. Only operations that are exact or correctly rounded.
    fn value(self, tick: u64, noise: f64) -> f64 {
        let second = f64::from(u32::try_from(tick).unwrap_or(u32::MAX));
        let burning = (640..700).contains(&tick);
        match self {
            Self::Cpu if burning => 0.95 + 0.05 * noise,
            Self::Cpu => 0.01 * noise + if tick % 23 < 2 { 0.03 } else { 0.0 },
            Self::Disk if burning => 1.2e8 * (0.8 + 0.4 * noise),
            Self::Disk => {
                if tick % 30 < 2 {
                    2e6 * noise
                } else {
                    0.0
                }
            }
            Self::Filling => 0.4 + 1e-6 * noise + 6e-4 * (second - 640.0).max(0.0),
            Self::Memory => 0.3 + 2e-5 * (second - 450.0).abs() + 1e-4 * noise,
            Self::Heartbeat => {
                if burning {
                    12.0
                } else {
                    1.0
                }
            }
            Self::Hourly => {
                if tick % 60 == 7 {
                    (1.0 + 4.0 * noise).floor()
                } else {
                    0.0
                }
            }
            Self::NewError => {
                if burning {
                    (10.0 * noise).floor()
                } else {
                    0.0
                }
            }
        }
    }

    fn descriptor(self, at: usize) -> SeriesDescriptor {
        let (metric, unit, kind, upper) = match self {
            Self::Cpu => ("system.cpu.utilization", "1", SeriesKind::Gauge, 1.0),
            Self::Disk => ("system.disk.io", "By/s", SeriesKind::Rate, f64::NAN),
            Self::Filling => ("system.filesystem.utilization", "1", SeriesKind::Gauge, 1.0),
            Self::Memory => ("system.memory.utilization", "1", SeriesKind::Gauge, 1.0),
            Self::Heartbeat | Self::Hourly | Self::NewError => {
                ("vedette.log.template", "{line}", SeriesKind::Count, f64::NAN)
            }
        };
        let meta = SeriesMeta {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            kind,
            attributes: vec![("replay.series".to_owned(), at.to_string())],
            resolution: 0.0,
            lower: 0.0,
            upper,
        };
        let id = u32::try_from(at).unwrap_or(u32::MAX);
        SeriesDescriptor { id, key: meta.key(), meta, interval_ms: INTERVAL_MS, prior: Vec::new() }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// Between 0 and 1.
    pub(crate) fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_each_time_and_holds_what_it_promises() {
        let window = builtin(DetectorInput::Metrics, 8);
        assert_eq!(window.ticks, builtin(DetectorInput::Metrics, 8).ticks);
        assert_eq!((window.series.len(), window.ticks.len()), (8, 880));
        let has = |bit| window.ticks.iter().flat_map(|tick| &tick.flags).any(|flags| flags & bit != 0);
        assert!(has(flags::GAP) && has(flags::RESET) && has(flags::HOLD_LEARNING));
        assert!(
            window.ticks[0].ids.len() < 8 && window.ticks.iter().flat_map(|tick| &tick.dt_ms).any(|dt| *dt == 5_000)
        );
        let mut keys: Vec<_> = window.series.iter().map(|one| one.key.0).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 8);
    }

    #[test]
    fn counts_of_lines_are_whole() {
        let window = builtin(DetectorInput::LogTemplates, 6);
        assert!(window.ticks.iter().flat_map(|tick| &tick.values).all(|count| count.fract() == 0.0));
    }
}
