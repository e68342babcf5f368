//! Upper tail of the negative binomial distribution.

use vedette_sdk::math::{Limit as _, lgamma, ln, sqrt};

const LN_10: f64 = core::f64::consts::LN_10;
/// Dispersion from which the distribution is a Poisson for our purposes.
const SHAPE_MAX: f64 = 1e6;
const SHAPE_MIN: f64 = 1e-3;

/// A prediction of how many lines a window holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Prediction {
    pub(crate) mean: f64,
    pub(crate) variance: f64,
}

impl Prediction {
    pub(crate) fn deviation(&self) -> f64 {
        sqrt(self.variance)
    }

    /// −log10 of the probability of `count` or more lines; 0 where `count` is not above the mean.
    ///
    /// The tail is bounded by a geometric series from its first term on, since the ratio of terms never grows beyond the
    /// larger of its value at `count` and its limit: at most the true surprise, and exact far out.
    pub(crate) fn surprise(&self, count: f64) -> f64 {
        if count <= self.mean {
            return 0.0;
        }
        let shape = (self.mean * self.mean / (self.variance - self.mean).at_least(f64::MIN_POSITIVE))
            .at_least(SHAPE_MIN)
            .at_most(SHAPE_MAX);
        let odds = self.mean / (shape + self.mean);
        let ln_first =
            lgamma(shape + count) - lgamma(shape) - lgamma(count + 1.0) - shape * ln((shape + self.mean) / shape)
                + count * ln(odds);
        let ratio = (odds * (shape + count) / (count + 1.0)).at_least(odds).at_most(1.0 - 1e-9);
        let ln_tail = ln_first - ln(1.0 - ratio);
        (-ln_tail / LN_10).at_least(0.0)
    }

    /// The probability of exactly `count` lines, for tests of the tail.
    #[cfg(test)]
    fn probability(&self, count: f64) -> f64 {
        let shape = self.mean * self.mean / (self.variance - self.mean);
        let odds = self.mean / (shape + self.mean);
        vedette_sdk::math::exp(
            lgamma(shape + count) - lgamma(shape) - lgamma(count + 1.0) + shape * ln(1.0 - odds) + count * ln(odds),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_the_summed_probabilities() {
        for (mean, variance) in [(0.05, 0.0525), (5.0, 6.0), (5.0, 50.0), (0.4, 3.0), (200.0, 2_000.0)] {
            let prediction = Prediction { mean, variance };
            for count in
                [1.0, 3.0, 10.0, 40.0, 300.0].into_iter().filter(|count| *count > mean + 1.0 && *count < 100.0 + mean)
            {
                let exact: f64 = (0..5_000).map(|beyond| prediction.probability(count + f64::from(beyond))).sum();
                let (exact, bound) = (-vedette_sdk::math::log10(exact), prediction.surprise(count));
                assert!(bound <= exact + 1e-6 && bound > exact - 0.6, "{prediction:?} {count}: {bound} {exact}");
            }
        }
    }

    #[test]
    fn surprise_grows_with_the_count_and_is_finite() {
        let prediction = Prediction { mean: 3.0, variance: 3.0 };
        let grown: Vec<f64> = (0..200).map(|count| prediction.surprise(f64::from(count))).collect();
        assert!(grown.is_sorted() && prediction.surprise(4e9).is_finite());
    }
}
