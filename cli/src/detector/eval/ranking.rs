//! Measures without a threshold: average precision, and VUS-PR.

use super::bench::number;
use super::events::Span;

/// Thresholds of VUS-PR, as TSB-AD has them.
const VUS_THRESHOLDS: usize = 250;
/// Its largest buffer around a span, in rows: TSB-AD's default.
pub(crate) const VUS_WINDOW: usize = 100;

/// Area under precision over recall as a sum over distinct thresholds, not interpolated; NaN without a positive.
pub(crate) fn average_precision(scores: &[f64], labels: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len().min(labels.len())).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let positives = number(labels.iter().filter(|label| **label).count());
    let (mut hits, mut sum, mut seen, mut counted) = (0.0, 0.0, 0.0, 0.0);
    for (rank, row) in order.iter().enumerate() {
        hits += f64::from(u8::from(labels[*row]));
        seen += 1.0;
        // Equal scores come together: only the last of them is a threshold.
        if order.get(rank + 1).is_none_or(|next| scores[*next] < scores[*row]) {
            sum += (hits - counted) * hits / seen;
            counted = hits;
        }
    }
    sum / positives
}

/// Volume under the precision-recall surface (Paparrizos et al. 2022, in the form of TSB-AD 2024): range-based
/// precision and recall with labels that fade over a buffer around each span, averaged over buffers of 0 to
/// `window` rows. NaN without spans or scores.
pub(crate) fn vus_pr(scores: &[f64], spans: &[Span], window: usize) -> f64 {
    if spans.is_empty() || scores.is_empty() {
        return f64::NAN;
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let cuts: Vec<Cut> = (0..VUS_THRESHOLDS).map(|step| Cut::new(&sorted, step)).collect();
    let sum: f64 = (0..=window).map(|buffer| range_pr(scores, spans, buffer, &cuts)).sum();
    sum / number(window + 1)
}

/// One threshold and how many rows reach it.
struct Cut {
    threshold: f64,
    predicted: f64,
}

impl Cut {
    fn new(sorted: &[f64], step: usize) -> Self {
        let threshold = sorted[step * (sorted.len() - 1) / (VUS_THRESHOLDS - 1)];
        Self { threshold, predicted: number(sorted.partition_point(|score| *score >= threshold)) }
    }
}

/// Area under range-based precision over recall for one buffer.
fn range_pr(scores: &[f64], spans: &[Span], buffer: usize, cuts: &[Cut]) -> f64 {
    let positives: f64 = spans.iter().map(|span| number(span.last - span.first + 1)).sum();
    let faded = faded_rows(scores.len(), spans, buffer);
    let reach: Vec<Span> = reaches(scores.len(), spans, buffer);
    let highest: Vec<f64> = reach.iter().map(|span| highest(&scores[span.first..=span.last])).collect();
    let mut inside: Vec<f64> = spans.iter().flat_map(|span| &scores[span.first..=span.last]).copied().collect();
    inside.sort_by(|a, b| b.total_cmp(a));
    let (mut area, mut recall_before) = (0.0, 0.0);
    for cut in cuts {
        let whole = number(inside.partition_point(|score| *score >= cut.threshold));
        let part: f64 = faded.iter().filter(|(row, _)| scores[*row] >= cut.threshold).map(|(_, label)| label).sum();
        let existing = highest.iter().filter(|score| **score >= cut.threshold).count();
        let true_positives = whole + part;
        let recall = (true_positives / ((positives + positives + part) / 2.0)).min(1.0);
        let recall = recall * number(existing) / number(reach.len());
        area += (recall - recall_before) * true_positives / cut.predicted;
        recall_before = recall;
    }
    area
}

fn highest(scores: &[f64]) -> f64 {
    scores.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Rows outside of the spans whose label fades with the distance: √(1 − distance / buffer) up to half the buffer, added
/// up between two spans, at most 1.
fn faded_rows(rows: usize, spans: &[Span], buffer: usize) -> Vec<(usize, f64)> {
    let mut faded: std::collections::BTreeMap<usize, f64> = std::collections::BTreeMap::new();
    for span in spans {
        for distance in 1..=buffer / 2 {
            let label = (1.0 - number(distance) / number(buffer)).sqrt();
            let before = span.first.checked_sub(distance);
            let after = Some(span.last + distance).filter(|row| *row < rows);
            for row in [before, after].into_iter().flatten() {
                *faded.entry(row).or_default() += label;
            }
        }
    }
    let outside = |row: &usize| !spans.iter().any(|span| span.holds(*row));
    faded.into_iter().filter(|(row, _)| outside(row)).map(|(row, label)| (row, label.min(1.0))).collect()
}

/// Spans with their buffers; those that touch are one.
fn reaches(rows: usize, spans: &[Span], buffer: usize) -> Vec<Span> {
    let half = buffer / 2;
    let mut reaches: Vec<Span> = Vec::new();
    for span in spans {
        let first = span.first.saturating_sub(half);
        let last = (span.last + half).min(rows - 1);
        match reaches.last_mut() {
            Some(before) if first <= before.last => before.last = last,
            _ => reaches.push(Span { first, last }),
        }
    }
    reaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::eval::events::spans;

    #[test]
    fn average_precision_agrees_with_hand_made_cases() {
        let labels = [false, true, false, true];
        assert_eq!(average_precision(&[0.1, 0.9, 0.2, 0.8], &labels), 1.0);
        // Order: hit, miss, hit, miss: (1/1 + 2/3) / 2.
        assert!((average_precision(&[0.8, 0.9, 0.1, 0.7], &labels) - 5.0 / 6.0).abs() < 1e-12);
        assert_eq!(average_precision(&[0.5; 4], &labels), 0.5, "ties are one threshold");
        assert!(average_precision(&[0.5; 2], &[false; 2]).is_nan());
    }

    #[test]
    fn perfect_scores_have_all_the_volume() {
        let labels: Vec<bool> = (0..1_000).map(|row| (300..400).contains(&row)).collect();
        let scores: Vec<f64> = labels.iter().map(|label| f64::from(u8::from(*label))).collect();
        assert!((vus_pr(&scores, &spans(&labels), 0) - 1.0).abs() < 1e-9);
        assert!((vus_pr(&scores, &spans(&labels), 40) - 1.0).abs() < 1e-9, "nobody has to predict the buffer");
    }

    #[test]
    fn late_scores_keep_some_volume_and_random_ones_little() {
        let labels: Vec<bool> = (0..4_000).map(|row| (2_000..2_100).contains(&row)).collect();
        let late: Vec<f64> = (0..4_000).map(|row| f64::from(u8::from((2_030..2_130).contains(&row)))).collect();
        let random: Vec<f64> = (0..4_000u32).map(|row| f64::from(row.wrapping_mul(2_654_435_761) >> 8)).collect();
        let spans = spans(&labels);
        let (late, random) = (vus_pr(&late, &spans, VUS_WINDOW), vus_pr(&random, &spans, VUS_WINDOW));
        assert!(late > 0.6 && late < 0.95, "{late}");
        assert!(random < 0.1, "{random}");
        assert!(vus_pr(&[0.0], &[], VUS_WINDOW).is_nan());
    }

    /// Worked by hand: four rows, one span of one row, two predicted.
    #[test]
    fn range_precision_agrees_with_a_hand_made_case() {
        let spans = [Span { first: 1, last: 1 }];
        let scores = [0.0, 0.9, 0.8, 0.0];
        let cuts: Vec<Cut> = [0.9, 0.8, 0.0]
            .map(|threshold| Cut {
                threshold,
                predicted: number(scores.iter().filter(|one| **one >= threshold).count()),
            })
            .into();
        assert_eq!(range_pr(&scores, &spans, 0, &cuts), 1.0);
        // Buffer 2: rows 0 and 2 have label √½. At 0.9: recall 1, precision 1.
        assert_eq!(range_pr(&scores, &spans, 2, &cuts), 1.0);
        assert_eq!(faded_rows(4, &spans, 2), [(0, 0.5f64.sqrt()), (2, 0.5f64.sqrt())]);
        assert_eq!(reaches(4, &spans, 2), [Span { first: 0, last: 2 }]);
    }
}
