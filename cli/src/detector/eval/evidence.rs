//! From surprises to the one score of a row: the only place where detectors and series are combined.
//!
//! A surprise is −log10 of the probability that a healthy host shows this much, as `edge`'s calibration tells it. The
//! row's is that of the least probable of its `n` verdicts among `n`: 1 − (1 − p)ⁿ (Šidák 1967). The score is
//! `s / (s + 6)`: 0 for what is certain, ½ for one in a million, monotone, and never quite 1.

/// Surprise whose score is one half.
const HALF: f64 = 6.0;
/// Below this probability 1 − (1 − p)ⁿ is n·p to all digits that count.
const LINEAR: f64 = 1e-8;

/// Surprise of the most surprising of `verdicts` verdicts; 0 for none.
pub(crate) fn of_row(most: f32, verdicts: usize) -> f64 {
    let count = super::bench::number(verdicts);
    if verdicts == 0 || most <= 0.0 || most.is_nan() {
        return 0.0;
    }
    let most = f64::from(most);
    let p = libm::pow(10.0, -most);
    if p < LINEAR {
        return (most - libm::log10(count)).max(0.0);
    }
    -libm::log10(-libm::expm1(count * libm::log1p(-p))).min(0.0) + 0.0
}

/// Score in [0, 1) of a row with this surprise.
pub(crate) fn score(surprise: f64) -> f64 {
    surprise / (surprise + HALF)
}

/// The surprise that has this score.
pub(crate) fn surprise(score: f64) -> f64 {
    HALF * score / (1.0 - score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_rises_with_surprise_and_stays_below_one() {
        let scores: Vec<f64> = (0..2_000u16).map(|step| score(of_row(f32::from(step) * 0.02, 3))).collect();
        assert!(scores.windows(2).all(|two| two[0] < two[1]), "strictly");
        assert_eq!((scores[0], score(6.0)), (0.0, 0.5));
        assert!(score(1e9) < 1.0);
        assert!((surprise(score(4.2)) - 4.2).abs() < 1e-12);
    }

    #[test]
    fn one_of_many_is_less_surprising_than_one_of_one() {
        assert!((of_row(3.0, 1) - 3.0).abs() < 1e-6);
        assert!((of_row(12.0, 100) - 10.0).abs() < 1e-6);
        assert!((of_row(6.0, 100) - 4.0).abs() < 1e-3);
        assert_eq!((of_row(9.0, 0), of_row(f32::NAN, 3)), (0.0, 0.0));
    }
}
