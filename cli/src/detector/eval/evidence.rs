//! From what `edge` says of a host to a row's score: `x / (x + 1)`, monotone, and never quite 1.
//!
//! Where detectors vote, `x` is the host's oddness or its news, unitless. A half is 1: a series does what it never did.
//!
//! Where none does, `x` is a sixth of the row's surprise, so that a half is one in a million. A surprise is −log10 of the
//! probability that a healthy host shows this much, as `edge`'s calibration tells it. The row's is that of the least
//! probable of its `n` verdicts among `n`: 1 − (1 − p)ⁿ (Šidák 1967).

/// Surprise whose score is one half.
const HALF: f64 = 6.0;
/// Below this probability 1 − (1 − p)ⁿ is n·p to all digits that count.
const LINEAR: f64 = 1e-8;

/// Score in [0, 1) of this much.
pub(crate) fn score(amount: f64) -> f64 {
    let amount = amount.max(0.0);
    amount / (amount + 1.0)
}

/// What counts of the most surprising of `verdicts` verdicts; 0 for none.
pub(crate) fn of_row(most: f32, verdicts: usize) -> f64 {
    let count = super::bench::number(verdicts);
    if verdicts == 0 || most <= 0.0 || most.is_nan() {
        return 0.0;
    }
    let most = f64::from(most);
    let p = libm::pow(10.0, -most);
    let surprise = match p < LINEAR {
        true => most - libm::log10(count),
        false => -libm::log10(-libm::expm1(count * libm::log1p(-p))),
    };
    surprise.max(0.0) / HALF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_rises_and_stays_below_one() {
        let scores: Vec<f64> = (0..2_000u16).map(|step| score(f64::from(step) * 0.02)).collect();
        assert!(scores.windows(2).all(|two| two[0] < two[1]), "strictly");
        assert_eq!((scores[0], score(1.0), score(-1.0)), (0.0, 0.5, 0.0));
        assert!(score(1e9) < 1.0);
    }

    #[test]
    fn one_of_many_is_less_surprising_than_one_of_one() {
        assert!((score(of_row(6.0, 1)) - 0.5).abs() < 1e-6, "one in a million");
        assert!((of_row(12.0, 100) * HALF - 10.0).abs() < 1e-6);
        assert!((of_row(6.0, 100) * HALF - 4.0).abs() < 1e-3);
        assert_eq!((of_row(9.0, 0), of_row(f32::NAN, 3), of_row(0.1, 512)), (0.0, 0.0, 0.0));
    }
}
