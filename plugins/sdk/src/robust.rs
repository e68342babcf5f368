//! Small robust statistics in bounded state, shared by detectors.

use crate::math::{Limit as _, ln_1p, sqrt};

/// The middle of three numbers; none may be NaN.
#[inline]
pub fn median3(a: f64, b: f64, c: f64) -> f64 {
    a.at_most(b).at_least(a.at_least(b).at_most(c))
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

/// A robust z turned into a score: itself up to 1, then growing ever more slowly towards its logarithm, so that scores
/// of heavy-tailed series have an exponential tail that peaks over threshold can fit. Strictly growing.
#[inline]
pub fn compress(z: f64) -> f64 {
    if z <= 1.0 { z } else { 1.0 + 8.0 * ln_1p((z - 1.0) / 8.0) }
}

/// The prior's share after `learnt` values: 1 at first, fading as the square root once `weight` values were learnt.
#[inline]
pub fn prior_share(learnt: u32, weight: f64) -> f64 {
    sqrt(weight / (weight + f64::from(learnt)))
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

    /// An envelope known to be of this height.
    pub fn of(height: f64) -> Self {
        Self { height }
    }

    /// Height in the unit of the deviations; 0 while no burst was seen.
    #[inline]
    pub fn height(&self) -> f64 {
        self.height
    }

    /// Learns from one deviation after `dt_s` seconds and `learnt` values. Below `base` nothing counts as a burst.
    #[inline]
    pub fn learn(&mut self, deviation: f64, base: f64, dt_s: f64, learnt: u32) {
        let dt_s = dt_s.at_most(10.0);
        let early = 1.0 / (f64::from(learnt) + 1.0);
        if deviation > self.height.at_least(base) {
            self.height =
                deviation.at_most(self.height.at_least(base) * (1.0 + (Self::GROWTH_PER_S + 3.0 * early) * dt_s));
        } else {
            self.height *= 1.0 - (Self::SHRINKAGE_PER_S + (0.3 * early).at_most(0.01)) * dt_s;
        }
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
        let scores: Vec<f64> = (0..100).map(|step| compress(f64::from(step) * 0.1)).collect();
        assert!(scores.is_sorted() && (compress(1.0 + 1e-9) - 1.0).abs() < 1e-8);
        assert!(compress(1e12) < 250.0);
    }

    #[test]
    fn envelope_learns_recurring_bursts_and_outlives_one_long_disturbance() {
        let mut envelope = Envelope::of(0.0);
        for tick in 0..3_000_u32 {
            envelope.learn(if tick % 30 < 3 { 50.0 } else { 0.0 }, 3.0, 1.0, tick);
        }
        assert!((20.0..=50.0).contains(&envelope.height()), "{envelope:?}");
        for _ in 0..10 {
            envelope.learn(1e6, 3.0, 1.0, 3_000);
        }
        assert!(envelope.height() < 100.0, "{envelope:?}");
    }
}
