//! Readings to samples: counters become rates, resets and gaps are flagged, values are quantised once and for all.

use crate::metric::{MetricKind, MetricSpec};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::worker::flags;

/// A value is late, hence follows a gap, if it comes after more than this many intervals.
const GAP_INTERVALS: f64 = 2.5;
/// A counter that is not read for this many intervals starts afresh: the mean over so long says little.
const STALE_INTERVALS: f64 = 20.0;
/// Wall clock against monotonic clock: a smaller difference between two ticks is slewing, not a step.
const CLOCK_STEP_NS_MIN: u64 = 500_000_000;

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was read.
    pub at: MonoTime,
    /// Milliseconds since the series' previous value; 0 for its first.
    pub dt_ms: u32,
    /// Bits of [`flags`].
    pub flags: u8,
    /// Quantised value in the series' unit.
    pub value: f64,
}

/// Why a reading made no sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// First reading of a counter: a rate needs two.
    First,
    /// The counter went down: its process or device began anew.
    Reset,
    /// Not a number, or infinite.
    NotFinite,
    /// Not later than the previous reading.
    OutOfOrder,
}

/// What is remembered of one series between two readings.
#[derive(Clone, Copy, Debug)]
pub struct Normaliser {
    counted: f64,
    counted_at: MonoTime,
    sampled_at: Option<MonoTime>,
    pending_flags: u8,
}

impl Default for Normaliser {
    fn default() -> Self {
        Self { counted: f64::NAN, counted_at: MonoTime::default(), sampled_at: None, pending_flags: 0 }
    }
}

impl Normaliser {
    /// Turns one reading into a sample.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why there is none; the next sample then carries the matching flags.
    pub fn accept(
        &mut self,
        now: MonoTime,
        interval_ms: u32,
        spec: &MetricSpec,
        reading: f64,
    ) -> Result<Sample, Refusal> {
        if !reading.is_finite() {
            self.pending_flags |= flags::GAP;
            return Err(Refusal::NotFinite);
        }
        if self.sampled_at.is_some_and(|last| now <= last) {
            return Err(Refusal::OutOfOrder);
        }
        let interval_ns = f64::from(interval_ms.max(1)) * 1e6;
        let value = match spec.kind {
            MetricKind::Gauge => reading,
            MetricKind::Counter => self.rate(now, interval_ns, reading)?,
        };
        let value = quantise(value, spec.series_resolution(interval_ms));
        Ok(self.sample(now, interval_ns, value))
    }

    fn rate(&mut self, now: MonoTime, interval_ns: f64, reading: f64) -> Result<f64, Refusal> {
        let (before, elapsed_ns) = (self.counted, ns(now, self.counted_at));
        if before.is_finite() && elapsed_ns <= 0.0 {
            return Err(Refusal::OutOfOrder);
        }
        (self.counted, self.counted_at) = (reading, now);
        if !before.is_finite() {
            return Err(Refusal::First);
        }
        if elapsed_ns > interval_ns * STALE_INTERVALS {
            self.pending_flags |= flags::GAP;
            return Err(Refusal::First);
        }
        if reading < before {
            self.pending_flags |= flags::RESET | flags::GAP;
            return Err(Refusal::Reset);
        }
        Ok((reading - before) / (elapsed_ns / 1e9))
    }

    fn sample(&mut self, now: MonoTime, interval_ns: f64, value: f64) -> Sample {
        let mut sample_flags = std::mem::take(&mut self.pending_flags);
        let dt_ms = match self.sampled_at.replace(now) {
            None => 0,
            Some(last) => {
                if ns(now, last) > interval_ns * GAP_INTERVALS {
                    sample_flags |= flags::GAP;
                }
                elapsed_ms(now, last)
            }
        };
        Sample { at: now, dt_ms, flags: sample_flags, value }
    }
}

/// Whether values were missed between two that are so far apart.
pub(crate) fn is_gap(elapsed_ms: u32, interval_ms: u32) -> bool {
    f64::from(elapsed_ms) > f64::from(interval_ms.max(1)) * GAP_INTERVALS
}

/// Whole milliseconds from `earlier` to `later`, at least 1 if they differ, saturating.
pub(crate) fn elapsed_ms(later: MonoTime, earlier: MonoTime) -> u32 {
    let elapsed = later.since(earlier);
    let ms = u32::try_from((elapsed.as_nanos() + 500_000) / 1_000_000).unwrap_or(u32::MAX);
    if elapsed.is_zero() { 0 } else { ms.max(1) }
}

fn ns(later: MonoTime, earlier: MonoTime) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a difference below 2^53 ns is 104 days")]
    let difference = later.ns.saturating_sub(earlier.ns) as f64;
    difference
}

/// `value` on the grid of `resolution`; unchanged if that is 0 or beyond what an `f64` can place on it.
///
/// A grid finer than 1 divides by its inverse, so that 0.3 comes out as the double nearest to 0.3.
pub fn quantise(value: f64, resolution: f64) -> f64 {
    let steps = value / resolution;
    if resolution.is_nan() || resolution <= 0.0 || steps.abs() > 2f64.powi(52) {
        return value;
    }
    place(steps.round(), resolution)
}

/// The value that is `steps` whole steps of `resolution` from 0.
pub(crate) fn place(steps: f64, resolution: f64) -> f64 {
    let inverse = (1.0 / resolution).round();
    let placed =
        if inverse >= 1.0 && (inverse * resolution - 1.0).abs() < 1e-9 { steps / inverse } else { steps * resolution };
    placed + 0.0 // −0 becomes 0
}

/// Relates the two clocks and notices when the wall clock is set.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    mono: MonoTime,
    wall: WallTime,
}

impl Clocks {
    /// Both clocks, read together.
    pub const fn new(mono: MonoTime, wall: WallTime) -> Self {
        Self { mono, wall }
    }

    /// Takes the next pair; the size of the step in nanoseconds if the wall clock was set since the last one.
    pub fn advance(&mut self, mono: MonoTime, wall: WallTime) -> Option<i64> {
        let step = wall.unix_ns.saturating_sub(self.wall_at(mono).unix_ns);
        *self = Self { mono, wall };
        (step.unsigned_abs() >= CLOCK_STEP_NS_MIN).then_some(step)
    }

    /// Wall time at a moment of this boot, by the wall clock's present setting.
    pub fn wall_at(&self, at: MonoTime) -> WallTime {
        let forward = i64::try_from(at.ns.saturating_sub(self.mono.ns)).unwrap_or(i64::MAX);
        let backward = i64::try_from(self.mono.ns.saturating_sub(at.ns)).unwrap_or(i64::MAX);
        self.wall.offset_by(forward.saturating_sub(backward))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{COUNTER, GAUGE};

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ms(ms)
    }

    #[test]
    fn counter_becomes_rate_and_reset_is_flagged_on_the_next_value() {
        let mut series = Normaliser::default();
        assert_eq!(series.accept(at(0), 1_000, &COUNTER, 5.0), Err(Refusal::First));
        let first = series.accept(at(1_000), 1_000, &COUNTER, 5.25).unwrap();
        assert_eq!((first.value, first.dt_ms, first.flags), (0.25, 0, 0));
        assert_eq!(series.accept(at(2_000), 1_000, &COUNTER, 0.5), Err(Refusal::Reset));
        let after = series.accept(at(3_000), 1_000, &COUNTER, 0.75).unwrap();
        assert_eq!((after.value, after.dt_ms, after.flags), (0.25, 2_000, flags::RESET | flags::GAP));
    }

    #[test]
    fn rate_is_over_the_true_elapsed_time() {
        let mut series = Normaliser::default();
        let _ = series.accept(at(0), 1_000, &COUNTER, 0.0);
        assert_eq!(series.accept(at(2_000), 1_000, &COUNTER, 1.0).unwrap().value, 0.5);
    }

    #[test]
    fn gap_is_flagged_and_a_long_one_starts_the_counter_afresh() {
        let mut gauge = Normaliser::default();
        gauge.accept(at(0), 1_000, &GAUGE, 1.0).unwrap();
        assert_eq!(gauge.accept(at(1_400), 1_000, &GAUGE, 1.0).unwrap().flags, 0, "jitter is no gap");
        assert_eq!(gauge.accept(at(5_000), 1_000, &GAUGE, 1.0).unwrap().flags, flags::GAP);
        let mut counter = Normaliser::default();
        let _ = counter.accept(at(0), 1_000, &COUNTER, 0.0);
        assert_eq!(counter.accept(at(60_000), 1_000, &COUNTER, 10.0), Err(Refusal::First));
    }

    #[test]
    fn hostile_readings_are_refused() {
        let mut series = Normaliser::default();
        assert_eq!(series.accept(at(0), 1_000, &GAUGE, f64::NAN), Err(Refusal::NotFinite));
        assert_eq!(series.accept(at(1), 1_000, &GAUGE, f64::INFINITY), Err(Refusal::NotFinite));
        series.accept(at(2_000), 1_000, &GAUGE, 0.0).unwrap();
        assert_eq!(series.accept(at(2_000), 1_000, &GAUGE, 0.0), Err(Refusal::OutOfOrder));
        assert_eq!(series.accept(at(1_000), 1_000, &GAUGE, 0.0), Err(Refusal::OutOfOrder));
    }

    #[test]
    fn quantising_is_idempotent_and_exact_in_decimal() {
        assert_eq!(quantise(0.299_7, 0.01), 0.3);
        assert_eq!(quantise(quantise(0.123_456, 0.01), 0.01), quantise(0.123_456, 0.01));
        assert_eq!(quantise(5_000.0, 1_024.0), 5_120.0);
        assert_eq!(quantise(1.5, 0.0), 1.5);
        assert_eq!(quantise(-0.001, 0.01).to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn clock_step_is_seen_and_slewing_is_not() {
        let mut clocks = Clocks::new(at(0), WallTime::from_unix_ms(1_000_000));
        assert_eq!(clocks.advance(at(1_000), WallTime::from_unix_ms(1_001_010)), None);
        assert_eq!(clocks.advance(at(2_000), WallTime::from_unix_ms(4_602_010)), Some(3_600_000_000_000));
        assert_eq!(clocks.wall_at(at(1_500)), WallTime::from_unix_ms(4_601_510));
    }
}
