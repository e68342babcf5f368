//! From what `edge` says of a host to a row's score: `x / (x + 1)`, monotone, and never quite 1.
//!
//! `x` is the host's oddness or its news, unitless. A half is 1: a series does what it never did.

/// Score in [0, 1) of this much.
pub(crate) fn score(amount: f32) -> f64 {
    let amount = f64::from(amount.max(0.0));
    amount / (amount + 1.0)
}

/// How much has this score.
pub(crate) fn amount(score: f64) -> f64 {
    score / (1.0 - score)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_rises_and_stays_below_one() {
        let scores: Vec<f64> = (0..2_000u16).map(|step| score(f32::from(step) * 0.02)).collect();
        assert!(scores.windows(2).all(|two| two[0] < two[1]), "strictly");
        assert_eq!((scores[0], score(1.0), score(-1.0)), (0.0, 0.5, 0.0));
        assert!(score(1e9) < 1.0);
        assert!((amount(score(4.25)) - 4.25).abs() < 1e-12);
    }
}
