//! Raw scores to tail probabilities: one pool per detector and metric name.
//!
//! A pool is a histogram over logarithmic bins, fading by half each day, from which everything is derived: the
//! empirical body up to a threshold, and above it a generalised Pareto tail fitted to the excesses (peaks over
//! threshold; Coles 2001, chapter 4; moment estimator of Hosking and Wallis 1987). Shape and scale are shrunk to a
//! cautious prior, so that a pool that has seen two minutes says "rare" only of what is far outside.

use serde::{Deserialize, Serialize};

/// Bins per doubling of the score.
const BINS_PER_OCTAVE: usize = 8;
/// Scores below this, 2⁻³, share the first bin.
const OCTAVE_MIN: i32 = -3;
const BINS: usize = 16 * BINS_PER_OCTAVE;
/// Share of the values above the threshold, at most.
const TAIL_SHARE: f64 = 0.02;
const SHAPE_MIN: f64 = 0.02;

/// What is believed of a tail before it was seen, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Prior {
    /// The threshold is not below this: nobody cares for rarity inside the noise.
    threshold_min: f64,
    /// Scale of the excesses, as a share of the threshold plus a constant.
    scale_share: f64,
    scale_base: f64,
    shape: f64,
    shape_max: f64,
    /// Values above the threshold, at most: what happens now and then on a healthy host is a tail of its own, far outside
    /// of the noise, and must not be extrapolated from the noise.
    tail_count: f64,
    /// Weight in independent excesses; that against a scale wider than this one.
    weight: f64,
    weight_wider: f64,
    /// Excesses that make one independent observation.
    cluster: f64,
    /// Values count half after this long, by the pool's own clock.
    halve_ms: u64,
}

/// Of single scores: ticks of one departure overlap. A wider tail than the prior is believed soon, a narrower slowly.
pub const SCORES: Prior = Prior {
    threshold_min: 1.0,
    scale_share: 0.25,
    scale_base: 0.25,
    shape: 0.08,
    shape_max: 0.2,
    tail_count: 150.0,
    weight: 15.0,
    weight_wider: 4.0,
    cluster: 3.0,
    halve_ms: 86_400_000,
};

/// Of the heights of bouts: sums of bounded terms that drift downwards have exponential tails whatever the terms are
/// (Siegmund, Sequential Analysis, 1985, chapter 8), so the shape hardly leaves that. Bouts are apart from each other.
pub const BOUTS: Prior = Prior {
    threshold_min: 1.0,
    scale_share: 0.0,
    scale_base: 1.5,
    shape: 0.02,
    shape_max: 0.15,
    tail_count: 40.0,
    weight: 20.0,
    weight_wider: 2.0,
    cluster: 1.0,
    halve_ms: 4 * 86_400_000,
};

/// Histogram and fitted tail of the statistics that like series of one detector gave.
#[derive(Clone, Debug)]
pub struct Pool {
    prior: Prior,
    bins: Vec<f32>,
    total: f64,
    /// When values count half, by the pool's own clock.
    halves_at_ms: u64,
    fit: Fit,
}

/// A pool on its way over a restart: its histogram without the empty ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LearntPool {
    first: u8,
    bins: Vec<f32>,
    total: f64,
    halves_in_ms: u64,
}

impl LearntPool {
    /// The same, so much after it was written.
    pub(crate) fn later(&self, ms: u64) -> Self {
        Self { halves_in_ms: self.halves_in_ms.saturating_sub(ms), ..self.clone() }
    }

    /// Bytes in memory beside its own.
    pub(crate) fn bytes(&self) -> usize {
        self.bins.len() * size_of::<f32>()
    }

    /// Whether a pool can have learnt it.
    pub(crate) fn is_sound(&self) -> bool {
        let weights = self.bins.iter().all(|bin| bin.is_finite() && *bin >= 0.0);
        weights && usize::from(self.first) + self.bins.len() <= BINS && self.total.is_finite() && self.total >= 0.0
    }
}

/// The tail of a pool: what is beyond a threshold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tail {
    threshold: f64,
    threshold_surprise: f64,
    shape: f64,
    pub(crate) scale: f64,
}

/// Excesses over a threshold: how many, their sum, and that of their squares.
#[derive(Clone, Copy, Debug, Default)]
struct Excesses {
    count: f64,
    sum: f64,
    squares: f64,
}

/// What was derived from the histogram at the last refresh.
#[derive(Clone, Debug, Default)]
struct Fit {
    /// Per bin: −log10 of the share of values in it or above.
    body: Vec<f32>,
    tail: Tail,
    excesses: Excesses,
}

impl Pool {
    /// What a pool has on the heap.
    pub(crate) const HEAP_BYTES: usize = 2 * (BINS * size_of::<f32>() + crate::room::BLOCK);

    /// An empty pool.
    pub fn new(prior: Prior) -> Self {
        let (bins, halves_at_ms) = (vec![0.0; BINS], prior.halve_ms);
        let mut pool = Self { prior, bins, total: 0.0, halves_at_ms, fit: Fit::default() };
        pool.refresh(0);
        pool
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self, now_ms: u64) -> LearntPool {
        let first = self.bins.iter().position(|bin| *bin > 0.0).unwrap_or(0);
        let end = self.bins.iter().rposition(|bin| *bin > 0.0).map_or(first, |last| last + 1);
        LearntPool {
            first: u8::try_from(first).expect("there are 128 bins"),
            bins: self.bins[first..end].to_vec(),
            total: self.total,
            halves_in_ms: self.halves_at_ms.saturating_sub(now_ms),
        }
    }

    /// Takes over what was learnt, which is sound, so long ago; the tail is fitted anew.
    pub(crate) fn recall(&mut self, learnt: &LearntPool, now_ms: u64, away_ms: u64) {
        self.bins.fill(0.0);
        let first = usize::from(learnt.first);
        self.bins[first..first + learnt.bins.len()].copy_from_slice(&learnt.bins);
        self.total = learnt.total;
        self.halves_at_ms = now_ms.saturating_add(learnt.halves_in_ms.saturating_sub(away_ms));
        self.refresh(now_ms);
    }

    /// Adds one value, `score` ≥ 0 (NaN is ignored). Takes effect with the next [`Pool::refresh`].
    #[inline]
    pub fn record(&mut self, score: f32) {
        self.record_as(score, 1.0);
    }

    /// Adds a value that stands for `weight` of them.
    #[inline]
    pub fn record_as(&mut self, score: f32, weight: f32) {
        if score.is_nan() {
            return;
        }
        self.bins[bin_of(score)] += weight;
        self.total += f64::from(weight);
    }

    /// Adds `count` values of 0.
    pub fn record_zeros(&mut self, count: u32) {
        #[expect(clippy::cast_possible_truncation, reason = "a count needs no more digits than f32 has")]
        let weight = f64::from(count) as f32;
        self.bins[0] += weight;
        self.total += f64::from(count);
    }

    /// Number of values, faded.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// −log10 of the probability that a healthy series gives `score` or more; 0 for NaN.
    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    #[inline]
    pub fn surprise(&self, score: f32) -> f32 {
        let x = f64::from(score);
        if x.is_nan() {
            return 0.0;
        }
        if x <= self.fit.tail.threshold {
            return self.fit.body[bin_of(score)].min(self.fit.tail.threshold_surprise as f32);
        }
        self.fit.tail.surprise(x) as f32
    }

    /// Its tail.
    pub(crate) fn tail(&self) -> Tail {
        self.fit.tail
    }

    /// Its tail, had `value` been seen as well, so many times.
    pub(crate) fn tail_with(&self, value: f32, times: f32) -> Tail {
        let Fit { mut tail, excesses: Excesses { mut count, mut sum, mut squares }, .. } = self.fit;
        let (excess, times) = (f64::from(value) - tail.threshold, f64::from(times));
        if excess > 0.0 {
            (count, sum, squares) = (count + times, sum + times * excess, squares + times * excess * excess);
            tail.threshold_surprise = surprise_of(count, self.total + times);
            tail.fit(&self.prior, &Excesses { count, sum, squares });
        }
        tail
    }

    /// Derives body and tail anew, and lets old values fade. `now_ms` is monotonic.
    pub fn refresh(&mut self, now_ms: u64) {
        // Beyond 2²⁴ an f32 does not count on by ones.
        let full = self.bins.iter().any(|bin| *bin >= 8_388_608.0);
        if full || now_ms >= self.halves_at_ms {
            self.halves_at_ms = now_ms.saturating_add(self.prior.halve_ms);
            self.bins.iter_mut().for_each(|bin| *bin /= 2.0);
            self.total /= 2.0;
        }
        let (tail_start, above) = self.tail_start();
        let tail = &mut self.fit.tail;
        tail.threshold = lower_edge(tail_start).max(self.prior.threshold_min);
        tail.threshold_surprise = surprise_of(above, self.total);
        let mut excesses = Excesses { count: above, ..Excesses::default() };
        for (bin, count) in self.bins.iter().enumerate().skip(tail_start) {
            let excess = (lower_edge(bin) + lower_edge(bin + 1)) / 2.0 - tail.threshold;
            excesses.sum += f64::from(*count) * excess;
            excesses.squares += f64::from(*count) * excess * excess;
        }
        tail.fit(&self.prior, &excesses);
        self.fit.excesses = excesses;
        self.fit_body();
    }

    /// First bin of the tail and the values in it or above: at most [`TAIL_SHARE`] of all.
    fn tail_start(&self) -> (usize, f64) {
        let lowest = bin_of_f64(self.prior.threshold_min);
        let room = (TAIL_SHARE * self.total).min(self.prior.tail_count);
        let (mut bin, mut above) = (BINS, 0.0);
        while bin > lowest && above + f64::from(self.bins[bin - 1]) <= room {
            bin -= 1;
            above += f64::from(self.bins[bin]);
        }
        (bin, above)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    fn fit_body(&mut self) {
        self.fit.body.resize(BINS, 0.0);
        let mut above = 0.5;
        for (bin, surprise) in self.fit.body.iter_mut().enumerate().rev() {
            above += f64::from(self.bins[bin]);
            *surprise = (-(above / (self.total + 1.0)).min(1.0).log10()) as f32;
        }
    }

    /// What a verdict was calibrated with: threshold, its surprise, scale, shape and number of values.
    pub fn parameters(&self) -> [f64; 5] {
        let Tail { threshold, threshold_surprise, shape, scale } = self.fit.tail;
        [threshold, threshold_surprise, scale, shape, self.total]
    }
}

impl Tail {
    /// −log10 of the probability of a value beyond the threshold.
    pub(crate) fn surprise(&self, value: f64) -> f64 {
        let excess = (value.clamp(self.threshold, 1e12) - self.threshold) / self.scale;
        self.threshold_surprise + (self.shape * excess).ln_1p() / self.shape * std::f64::consts::LOG10_E
    }

    fn fit(&mut self, prior: &Prior, excesses: &Excesses) {
        let (mut shape, mut scale) = (prior.shape, prior.scale_share * self.threshold + prior.scale_base);
        let seen = excesses.count / prior.cluster;
        if seen > 0.5 {
            let mean = excesses.sum / excesses.count;
            let variance = (excesses.squares / excesses.count - mean * mean).max(1e-9);
            let fitted_shape = (0.5 * (1.0 - mean * mean / variance)).clamp(0.0, prior.shape_max);
            let fitted_scale = mean * (1.0 - fitted_shape);
            let weight = seen / (seen + prior.weight);
            shape += weight * (fitted_shape - shape);
            let weight = if fitted_scale > scale { seen / (seen + prior.weight_wider) } else { weight };
            scale += weight * (fitted_scale - scale);
        }
        self.shape = shape.clamp(SHAPE_MIN, prior.shape_max);
        self.scale = scale.max(1e-3);
    }
}

/// −log10 of the share of so many values in all. The unseen rest is half an observation, so that nothing is impossible.
fn surprise_of(above: f64, total: f64) -> f64 {
    -((above + 0.5) / (total + 1.0)).log10()
}

/// Bin of a score: eighths of octaves from 2⁻³, read off the bits of the float.
fn bin_of(score: f32) -> usize {
    // The sum has no negative zero, whose sign `max` may keep.
    let eighths = i32::try_from((score.max(0.0) + 0.0).to_bits() >> 20).expect("12 bits fit");
    let first = (127 + OCTAVE_MIN) * 8;
    usize::try_from(eighths - first).map_or(0, |bin| bin.min(BINS - 1))
}

#[expect(clippy::cast_possible_truncation, reason = "bins are far coarser than f32")]
fn bin_of_f64(score: f64) -> usize {
    bin_of(score as f32)
}

/// Lower edge of a bin: within an octave the eighths are linear, as in the float's mantissa.
fn lower_edge(bin: usize) -> f64 {
    let (octave, eighth) = (bin / BINS_PER_OCTAVE, bin % BINS_PER_OCTAVE);
    let octave = i32::try_from(octave).expect("few octaves") + OCTAVE_MIN;
    let eighth = f64::from(u32::try_from(eighth).expect("under eight"));
    2f64.powi(octave) * (1.0 + eighth / 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values at the quantiles of an exponential distribution.
    fn exponential(count: u32, scale: f64) -> Pool {
        let mut pool = Pool::new(SCORES);
        for rank in 0..count {
            let p = (f64::from(rank) + 0.5) / f64::from(count);
            #[expect(clippy::cast_possible_truncation, reason = "a test's score")]
            pool.record((-p.ln() * scale) as f32);
        }
        pool.refresh(0);
        pool
    }

    #[test]
    fn bins_cover_the_scores_in_order() {
        for bin in 1..BINS {
            assert_eq!(bin_of_f64(lower_edge(bin)), bin);
            assert!(lower_edge(bin) < lower_edge(bin + 1));
        }
        assert_eq!((bin_of(0.0), bin_of(f32::INFINITY), bin_of(-1.0), bin_of(-0.0)), (0, BINS - 1, 0, 0));
    }

    #[test]
    fn well_fed_pool_tells_the_tail_of_an_exponential() {
        let pool = exponential(100_000, 1.0);
        for decades in [1.0f32, 2.0, 4.0, 6.0] {
            let told = pool.surprise(decades * std::f32::consts::LN_10);
            assert!((told - decades).abs() < 0.25 * decades, "{decades} told as {told}");
        }
    }

    #[test]
    fn surprise_never_falls_as_the_score_grows() {
        for pool in [Pool::new(SCORES), exponential(1_000, 3.0), exponential(50_000, 0.2)] {
            let surprises: Vec<_> = (0..4_000u16).map(|step| pool.surprise(f32::from(step) * 0.05)).collect();
            assert!(surprises.is_sorted(), "{:?}", pool.fit);
        }
    }

    #[test]
    fn little_seen_is_told_carefully_and_scale_moves_the_verdict() {
        let (short, long) = (exponential(600, 1.0), exponential(600_000, 1.0));
        assert!(short.surprise(12.0) < long.surprise(12.0));
        assert!(exponential(5_000, 10.0).surprise(40.0) + 2.0 < exponential(5_000, 1.0).surprise(40.0));
    }

    #[test]
    fn a_pool_goes_on_over_a_restart_as_if_there_had_been_none() {
        let mut pool = exponential(5_000, 2.0);
        let mut again = Pool::new(SCORES);
        let learnt = pool.learnt(SCORES.halve_ms - 1_000);
        assert!(learnt.is_sound() && learnt.bins.len() < BINS);
        // The next boot's clock began meanwhile.
        again.recall(&learnt, 500, 400);
        for score in [0.0, 0.5, 3.0, 7.0, 40.0] {
            assert_eq!(again.surprise(score).to_bits(), pool.surprise(score).to_bits());
        }
        let total = pool.total();
        pool.refresh(SCORES.halve_ms);
        again.refresh(1_099);
        assert_eq!(again.total(), total, "a moment before");
        again.refresh(1_100);
        assert_eq!((again.total(), pool.total()), (total / 2.0, total / 2.0));
        let (long, negative) = (vec![1.0; BINS + 1], vec![-1.0]);
        for bins in [long, negative, vec![f32::NAN]] {
            assert!(!LearntPool { bins, ..LearntPool::default() }.is_sound());
        }
    }

    #[test]
    fn tail_with_one_more_value_is_that_of_a_pool_that_saw_it() {
        for count in [400, 3_000, 50_000] {
            let (pool, mut other) = (exponential(count, 1.0), exponential(count, 1.0));
            other.record(24.0);
            other.refresh(0);
            let tail = pool.tail_with(24.5, 1.0);
            for score in [30.0, 60.0] {
                let [with, seen] = [tail.surprise(score), other.fit.tail.surprise(score)];
                assert!((with - seen).abs() < 0.1 * seen, "{count}: {with} {seen}");
            }
            assert!(tail.surprise(30.0) < f64::from(pool.surprise(30.0)));
            assert_eq!(pool.tail_with(0.5, 1.0).surprise(30.0), pool.fit.tail.surprise(30.0), "below the threshold");
        }
    }

    #[test]
    fn old_values_fade() {
        let mut pool = exponential(1_000, 1.0);
        pool.refresh(SCORES.halve_ms);
        assert!((pool.total() - 500.0).abs() < 1e-9);
        assert!(pool.surprise(f32::NAN) == 0.0);
    }
}
