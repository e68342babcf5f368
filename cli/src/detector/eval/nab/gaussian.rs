//! NAB's windowed Gaussian: a reference whose score is known, run beside ours to show that the scorer scores right.
//!
//! How far out is a value under a normal distribution fitted to the 6,400 values before it, moved on by 100 at a time?
//! Not a detector of the product.

const WINDOW: usize = 6_400;
const STEP: usize = 100;

/// Scores of a series, each from the values before it; a missing value counts as the last one.
pub(crate) fn scores(values: &[f64]) -> Vec<f64> {
    let (mut window, mut step) = (Vec::with_capacity(WINDOW), Vec::with_capacity(STEP));
    let (mut mean, mut deviation, mut last) = (0.0, 1.0, 0.0);
    let judge = |value: &f64| {
        last = if value.is_finite() { *value } else { last };
        let score = if window.is_empty() { 0.0 } else { 1.0 - tail(last, mean, deviation) };
        if window.len() < WINDOW {
            window.push(last);
            (mean, deviation) = moments(&window);
        } else {
            step.push(last);
            if step.len() == STEP {
                window.drain(..STEP);
                window.append(&mut step);
                (mean, deviation) = moments(&window);
            }
        }
        score
    };
    values.iter().map(judge).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = super::super::bench::number(values.len());
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count;
    let deviation = variance.sqrt();
    (mean, if deviation == 0.0 { 0.000_001 } else { deviation })
}

/// Probability of more than this on its own side of the mean.
fn tail(value: f64, mean: f64, deviation: f64) -> f64 {
    let distance = (value - mean).abs() / deviation;
    0.5 * libm::erfc(distance * std::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_tail_probabilities_under_the_values_before() {
        let values: Vec<f64> = (0..100u8).map(|at| f64::from(at % 2)).chain([0.5, 5.5]).collect();
        let scores = scores(&values);
        assert_eq!(scores[0], 0.0);
        assert!((scores[100] - 0.5).abs() < 1e-9, "at the mean half are beyond");
        assert!(scores[101] > 0.999_999);
        assert!((1.0 - tail(1.0, 0.0, 1.0) - 0.841_34).abs() < 1e-4);
    }

    #[test]
    fn window_moves_in_steps() {
        let mut values = vec![0.0; WINDOW];
        values.extend(std::iter::repeat_n(1.0, STEP));
        values.extend([1.0; 3]);
        let scores = scores(&values);
        assert!(scores[WINDOW + STEP - 1] > 0.999, "the step is not in the window yet");
        assert!(scores[WINDOW + STEP] < 1.0 && scores[WINDOW + STEP] > 0.9);
    }
}
