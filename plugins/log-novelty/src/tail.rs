//! Upper tail of the negative binomial distribution.

use vedette_sdk::math::{Limit as _, ln, sqrt};

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

    /// Whether `count` is more than so many deviations above the mean.
    #[inline]
    pub(crate) fn is_beyond(&self, count: f64, deviations: f64) -> bool {
        let above = count - self.mean;
        above > 0.0 && above * above > deviations * deviations * self.variance
    }

    /// −log10 of the probability of `count` or more lines; 0 where `count` is within a deviation of the mean, which
    /// surprises nobody.
    #[inline]
    pub(crate) fn surprise(&self, count: f64) -> f64 {
        if self.is_beyond(count, 1.0) { self.tail(count) } else { 0.0 }
    }

    /// The tail is bounded by a geometric series from its first term on, since the ratio of terms never grows beyond the
    /// larger of its value at `count` and its limit: at most the true surprise, and exact far out.
    ///
    /// The first term is taken in the form of Loader 2000 (Fast and accurate computation of binomial probabilities), in
    /// which nothing cancels, however great the counts: deviances and the errors of Stirling's formula.
    #[cold]
    fn tail(&self, count: f64) -> f64 {
        let shape = (self.mean * self.mean / (self.variance - self.mean).at_least(f64::MIN_POSITIVE))
            .at_least(SHAPE_MIN)
            .at_most(SHAPE_MAX);
        let both = shape + count;
        let odds = self.mean / (shape + self.mean);
        let ratio = (odds * both / (count + 1.0)).at_least(odds).at_most(1.0 - 1e-9);
        let deviance = count * ln(self.mean / count) + both * ln(both / (shape + self.mean));
        let rest = 1.0 - ratio;
        let root = 0.5 * ln(shape / (core::f64::consts::TAU * count * both * rest * rest));
        let ln_tail = deviance + root + stirling_error(both) - stirling_error(count) - stirling_error(shape);
        (-ln_tail / LN_10).at_least(0.0)
    }
}

/// ln Γ(x) less Stirling's formula for it, (x − ½) ln x − x + ½ ln 2π: from 1 on by Stieltjes' continued fraction, to
/// within 1e-7, below by recurrence.
fn stirling_error(x: f64) -> f64 {
    if x < 1.0 {
        return stirling_error(x + 1.0) + (x + 0.5) * ln(1.0 + 1.0 / x) - 1.0;
    }
    if x < 3.0 {
        return fraction(x + 2.0) + (x + 0.5) * ln((x + 1.0) / x) + (x + 1.5) * ln((x + 2.0) / (x + 1.0)) - 2.0;
    }
    fraction(x)
}

fn fraction(x: f64) -> f64 {
    (1.0 / 12.0) / (x + (1.0 / 30.0) / (x + (53.0 / 210.0) / (x + (195.0 / 371.0) / x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_sdk::math::{exp, lgamma, log10};

    /// The probability of exactly `count` lines.
    fn probability(of: &Prediction, count: f64) -> f64 {
        let shape = of.mean * of.mean / (of.variance - of.mean);
        let odds = of.mean / (shape + of.mean);
        exp(lgamma(shape + count) - lgamma(shape) - lgamma(count + 1.0) + shape * ln(1.0 - odds) + count * ln(odds))
    }

    #[test]
    fn the_tail_is_that_of_the_summed_probabilities() {
        for (mean, variance) in [(0.05, 0.0525), (5.0, 6.0), (5.0, 50.0), (0.4, 3.0), (200.0, 2_000.0)] {
            let prediction = Prediction { mean, variance };
            let counts = [1.0, 3.0, 10.0, 40.0, 300.0];
            for count in counts.into_iter().filter(|count| prediction.is_beyond(*count, 1.0) && *count < 100.0 + mean) {
                let exact: f64 = (0..5_000).map(|beyond| probability(&prediction, count + f64::from(beyond))).sum();
                let (exact, bound) = (-log10(exact), prediction.surprise(count));
                assert!(bound <= exact + 1e-5 && bound > exact - 0.6, "{prediction:?} {count}: {bound} {exact}");
            }
        }
    }

    #[test]
    fn errors_of_stirlings_formula_are_those_of_the_gamma_function() {
        for x in [1e-3, 0.02, 0.5, 1.0, 1.7, 2.999, 3.0, 4.5, 20.0, 300.0] {
            let exact = lgamma(x) - ((x - 0.5) * ln(x) - x + 0.5 * ln(core::f64::consts::TAU));
            assert!((stirling_error(x) - exact).abs() < 3e-7, "{x}: {} {exact}", stirling_error(x));
        }
    }

    #[test]
    fn surprise_grows_with_the_count_and_is_finite() {
        let prediction = Prediction { mean: 3.0, variance: 3.0 };
        let grown: Vec<f64> = (0..200).map(|count| prediction.surprise(f64::from(count))).collect();
        assert!(grown.is_sorted() && prediction.surprise(4e9).is_finite());
        assert_eq!((prediction.surprise(4.0), prediction.surprise(5.0) > 0.5), (0.0, true));
    }
}
