//! Small robust statistics in bounded state, shared by detectors.
//!
//! What runs for each value of each series has no logarithm, root or division in its common case.

use crate::math::{Limit, sqrt};

/// The middle of three numbers; none may be NaN.
#[inline]
pub fn median3<T: Limit>(a: T, b: T, c: T) -> T {
    // Lesser and greater of the first two in this order of words: both follow from one comparison, without a jump.
    let (lesser, greater) = (a.at_most(b), b.at_least(a));
    lesser.at_least(greater.at_most(c))
}

/// Median and scale (median absolute deviation × 1.4826, the standard deviation of a normal sample) of `values`, which
/// are reordered and left as absolute deviations. Source: Leys et al. 2013.
///
/// # Panics
///
/// If there are no values.
pub fn median_and_scale(values: &mut [f64]) -> (f64, f64) {
    let median = median(values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    (median, 1.4826 * self::median(values))
}

/// Sorts a few numbers by insertion: the standard library's sorts would be most of a module's bytes.
pub fn sort_few(values: &mut [f64]) {
    for end in 1..values.len() {
        for at in (1..=end).rev() {
            if values[at - 1].total_cmp(&values[at]).is_le() {
                break;
            }
            values.swap(at - 1, at);
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    sort_few(values);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// Where [`compress`] begins to bend, less one.
const BEND: f64 = 4.0;

/// A robust z turned into a score: itself up to 5, then half as steep up to 13, a quarter as steep up to 29, and so on,
/// so that scores of heavy-tailed series have an exponential tail that peaks over threshold can fit.
///
/// That is `1 + 4 × log2(1 + (z − 1) / 4)` with the logarithm interpolated between powers of two, read off the bits of
/// the number: continuous, strictly growing, and the same everywhere without a transcendental function.
#[inline]
pub fn compress(z: f64) -> f64 {
    if z < 1.0 + BEND { z } else { bent(z) }
}

#[cold]
fn bent(z: f64) -> f64 {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: f64 = 1_023.0;
    if z.is_nan() {
        return z;
    }
    let bits = (1.0 + (z - 1.0) / BEND).to_bits();
    let exponent = f64::from(u32::try_from(bits >> MANTISSA_BITS).unwrap_or(u32::MAX)) - BIAS;
    let mantissa = (bits & ((1 << MANTISSA_BITS) - 1)) as f64 / (1_u64 << MANTISSA_BITS) as f64;
    1.0 + BEND * (exponent + mantissa)
}

/// The prior's share after `learnt` values: 1 at first, fading as the square root once `weight` values were learnt.
#[inline]
pub fn prior_share(learnt: u32, weight: f64) -> f64 {
    sqrt(weight / (weight + f64::from(learnt)))
}

/// How many values were learnt, and what a young series owes to that.
///
/// What it gives away changes with each of the first 64 values and then with each 16th, so that a value costs no
/// division. It follows from the count alone: that is all that a state holds of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Youth {
    learnt: u32,
    share: f64,
    /// Part by which an [`Envelope`] shrinks in a second.
    fade_per_s: f64,
}

impl Youth {
    const EACH: u32 = 64;
    const STEP: u32 = 16;

    /// The youth of a series of which so many values were learnt.
    pub fn after(learnt: u32) -> Self {
        let counted = if learnt < Self::EACH { learnt } else { learnt - learnt % Self::STEP };
        let share = 1.0 / (f64::from(counted) + 1.0);
        Self { learnt, share, fade_per_s: Envelope::SHRINKAGE_PER_S + (0.3 * share).at_most(0.01) }
    }

    /// Values learnt.
    #[inline]
    pub fn learnt(&self) -> u32 {
        self.learnt
    }

    /// Values learnt, as far as anything depends on them.
    #[inline]
    pub fn counted(&self) -> u32 {
        if self.learnt < Self::EACH { self.learnt } else { self.learnt - self.learnt % Self::STEP }
    }

    /// Weight of one more value in a plain mean.
    #[inline]
    pub fn share(&self) -> f64 {
        self.share
    }

    /// One more value was learnt; true if [`Youth::share`] changed.
    #[inline]
    pub fn pass(&mut self) -> bool {
        let learnt = self.learnt.saturating_add(1);
        if learnt >= Self::EACH && !learnt.is_multiple_of(Self::STEP) {
            self.learnt = learnt;
            return false;
        }
        *self = Self::after(learnt);
        true
    }
}

/// A high quantile of non-negative deviations: how far ordinary bursts of a series go.
///
/// Multiplicative recursive estimate (DUMIQE, Yazidi and Hammer 2017): it grows by a factor on a deviation beyond it and
/// shrinks by a far smaller one otherwise, so one long disturbance moves it by a factor, never to its own height. Both
/// factors are greater while little was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Envelope {
    height: f64,
}

impl Envelope {
    /// Growth over shrinkage makes this the 98.7 % quantile in the long run.
    const GROWTH_PER_S: f64 = 0.03;
    const SHRINKAGE_PER_S: f64 = 0.0004;
    /// One step stands for no more time than this: what [`Envelope::learn`] is given is cut to it by the caller, once for
    /// many values.
    pub const STEP_S_MAX: f64 = 10.0;

    /// An envelope known to be of this height.
    pub const fn of(height: f64) -> Self {
        Self { height }
    }

    /// Height in the unit of the deviations; 0 while no burst was seen.
    #[inline]
    pub fn height(&self) -> f64 {
        self.height
    }

    /// Learns from one deviation after `dt_s` seconds, at most [`Envelope::STEP_S_MAX`]. Below `base` nothing counts as a burst.
    #[inline]
    pub fn learn(&mut self, deviation: f64, base: f64, dt_s: f64, youth: &Youth) {
        if deviation > self.height.at_least(base) {
            self.rise(deviation, base, dt_s, youth);
        } else {
            self.fade(dt_s, youth);
        }
    }

    /// Learns from a deviation of which it is known that it is no burst.
    #[inline]
    pub fn fade(&mut self, dt_s: f64, youth: &Youth) {
        self.height *= 1.0 - youth.fade_per_s * dt_s;
    }

    fn rise(&mut self, deviation: f64, base: f64, dt_s: f64, youth: &Youth) {
        let growth = (Self::GROWTH_PER_S + 3.0 * youth.share()) * dt_s;
        self.height = deviation.at_most(self.height.at_least(base) * (1.0 + growth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median3_takes_the_middle_in_every_order() {
        for [a, b, c] in [[1., 2., 3.], [1., 3., 2.], [2., 1., 3.], [2., 3., 1.], [3., 1., 2.], [3., 2., 1.]] {
            assert_eq!(median3(a, b, c), 2.0);
        }
    }

    #[test]
    fn few_are_sorted() {
        let mut values = [3.0, -1.0, 2.0, 2.0, f64::NEG_INFINITY, 0.5];
        sort_few(&mut values);
        assert!(values.is_sorted());
        sort_few(&mut []);
    }

    #[test]
    fn one_outlier_moves_neither_median_nor_scale() {
        let (median, scale) = median_and_scale(&mut [1.0, 2.0, 3.0, 4.0, 1e9]);
        assert_eq!((median, scale), (3.0, 1.4826));
    }

    #[test]
    fn compression_keeps_order_and_joins_smoothly() {
        let scores: Vec<f64> = (0..100_000).map(|step| compress(f64::from(step) * 0.01)).collect();
        assert!(scores.windows(2).all(|two| two[0] < two[1] && two[1] - two[0] < 0.010_001));
        assert_eq!([0.0, 5.0, 13.0, 29.0].map(compress), [0.0, 5.0, 9.0, 13.0]);
        assert!(compress(1e12) < 250.0 && compress(f64::MAX) < compress(f64::INFINITY));
        assert!(compress(f64::NAN).is_nan());
    }

    #[test]
    fn youth_follows_from_the_count_alone() {
        let mut youth = Youth::after(0);
        for learnt in 1..5_000 {
            let before = youth.share();
            assert_eq!(youth.pass(), youth.share() != before);
            assert_eq!((youth, youth.learnt()), (Youth::after(learnt), learnt));
            assert!((youth.share() * f64::from(learnt + 1) - 1.0).abs() < 0.25);
        }
        let mut oldest = Youth::after(u32::MAX);
        oldest.pass();
        assert_eq!(oldest.learnt(), u32::MAX);
    }

    #[test]
    fn envelope_learns_recurring_bursts_and_outlives_one_long_disturbance() {
        let mut envelope = Envelope::of(0.0);
        for tick in 0..3_000_u32 {
            envelope.learn(if tick % 30 < 3 { 50.0 } else { 0.0 }, 3.0, 1.0, &Youth::after(tick));
        }
        assert!((20.0..=50.0).contains(&envelope.height()), "{envelope:?}");
        for _ in 0..10 {
            envelope.learn(1e6, 3.0, 1.0, &Youth::after(3_000));
        }
        assert!(envelope.height() < 100.0, "{envelope:?}");
    }
}
