//! How sure a figure is.

use super::super::bench::number;
use vedette_sim::Seed;

/// Resamples of a bootstrap, and the seed that draws them.
const RESAMPLES: usize = 2_000;
const SEED: Seed = Seed(20_261_120);

/// The 95 % interval of a share (Wilson 1927).
pub(super) fn share(hits: usize, of: usize) -> [f64; 2] {
    let (n, z) = (number(of.max(1)), 1.96);
    let share = number(hits) / n;
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Middle value, infinite ones included; NaN of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// The ratio of two medians of the same events, `ours` by `theirs`, and its 95 % interval by resampling events (percentile bootstrap, Efron 1979).
pub(super) fn ratio(ours: &[f64], theirs: &[f64]) -> (f64, [f64; 2]) {
    let of = |at: &[usize]| {
        let median_of = |values: &[f64]| median(&mut at.iter().map(|at| values[*at]).collect::<Vec<_>>());
        median_of(ours) / median_of(theirs)
    };
    let whole: Vec<usize> = (0..ours.len().min(theirs.len())).collect();
    if whole.is_empty() {
        return (f64::NAN, [f64::NAN; 2]);
    }
    let mut rng = SEED.rng("bootstrap");
    let mut drawn = vec![0; whole.len()];
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.iter_mut().for_each(|at| *at = *rng.pick(&whole));
            of(&drawn)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    (of(&whole), [ratios[RESAMPLES / 40], ratios[RESAMPLES - 1 - RESAMPLES / 40]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_a_share_agrees_with_a_table() {
        let [low, high] = share(8, 10);
        assert!((low - 0.490).abs() < 1e-3 && (high - 0.943).abs() < 1e-3, "{low} {high}");
        assert_eq!(share(0, 0)[0], 0.0);
    }

    #[test]
    fn median_counts_what_was_never_found_as_infinitely_late() {
        assert_eq!(median(&mut [f64::INFINITY, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [f64::INFINITY, f64::INFINITY, 2.0]), f64::INFINITY);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn ratio_lies_in_its_interval() {
        let theirs: Vec<f64> = (1..60u8).map(f64::from).collect();
        let ours: Vec<f64> = theirs.iter().map(|delay| 2.0 * delay).collect();
        let (middle, [low, high]) = ratio(&ours, &theirs);
        assert!((middle - 2.0).abs() < 1e-9 && low <= middle && middle <= high, "{low} {middle} {high}");
        assert!(ratio(&[], &[]).0.is_nan());
    }
}
